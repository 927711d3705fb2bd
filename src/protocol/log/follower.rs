//! The acceptor's side: promise, accept, confirm.

use super::fetch::{Fetching, Purpose};
use super::memory::Record;
use super::{Beginning, Entry, Log, MAX_ROUND_LEAP, Message, Notice, Role};
use crate::protocol::Out;
use crate::protocol::types::{Ballot, NodeId};

impl Log {
    /// Phase 1b, for all slots at once: promise, unless a higher epoch was promised.
    pub(super) fn on_prepare(&mut self, from: NodeId, epoch: Ballot, out: &mut Out) {
        if !self.is_believable(from, epoch, out) {
            return;
        }
        let higher = self.memory.promised.filter(|&promised| promised > epoch && !mutant!(EpochPromisedLower));
        if let Some(promised) = higher {
            return out.send(from, Message::Reject { epoch, promised });
        }
        if self.memory.promised != Some(epoch) {
            self.leave_for(epoch);
            self.save(Record::Promise { epoch }, out);
        }
        let votes = self.memory.proven || mutant!(BlankVotes);
        let members = self.memory.members_at(self.memory.length()).cloned();
        out.send(from, Message::Promise { epoch, holds: self.holding(), votes, members });
    }

    /// Whether an epoch is its sender's own and does not leap: one message must not use up the rounds.
    fn is_believable(&mut self, from: NodeId, epoch: Ballot, out: &mut Out) -> bool {
        let known = self.memory.promised.map_or(0, |promised| promised.round).max(self.highest_round);
        if from != epoch.node {
            out.ignore(from, "the epoch is another node's");
        } else if epoch.round > known.saturating_add(MAX_ROUND_LEAP) {
            out.ignore(from, "the epoch leaps too far above what was promised here");
        } else {
            self.highest_round = known.max(epoch.round);
            return true;
        }
        false
    }

    /// A higher epoch than any before: what this node did for an earlier one is over.
    fn leave_for(&mut self, epoch: Ballot) {
        self.fetching = None;
        self.step_down(Some(epoch));
    }

    /// Leads no longer, and seeks no longer to lead.
    pub(super) fn step_down(&mut self, higher: Option<Ballot>) {
        match std::mem::replace(&mut self.role, Role::Follower) {
            Role::Follower => return,
            Role::Candidate(_) => {}
            Role::Leader(leading) => {
                // What was never handed to the disk, nor to anyone else, has not been.
                if !mutant!(UnflushedKept) {
                    self.memory.entries.truncate(leading.flushed());
                }
                self.notices.extend(leading.reads().map(|read| Notice::Unreadable { read }));
                if leading.newcomer.is_some() {
                    self.notices.push(Notice::NotJoined { why: None });
                }
                self.look_at_members();
            }
        }
        self.note_correspondents();
        self.notices.push(Notice::Deposed(higher));
    }

    /// Phase 2b, for a run of slots: accept, unless a higher epoch was promised.
    #[allow(clippy::too_many_arguments, reason = "they are the message's fields")]
    pub(super) fn on_accept(
        &mut self,
        from: NodeId,
        epoch: Ballot,
        began: Option<Beginning>,
        (after, hash): (u64, u64),
        entries: Vec<Entry>,
        committed: u64,
        out: &mut Out,
    ) {
        if from == self.id || !self.is_believable(from, epoch, out) {
            return;
        }
        let higher = self.memory.promised.filter(|&promised| promised > epoch && !mutant!(EpochAcceptedLower));
        if let Some(promised) = higher {
            return out.send(from, Message::Reject { epoch, promised });
        }
        if self.memory.promised != Some(epoch) {
            self.leave_for(epoch);
            self.save(Record::Promise { epoch }, out);
        }
        if !continues(hash, &entries) {
            return out.ignore(from, "the entries are no chain");
        }
        let length = if self.memory.accepted == Some(epoch) {
            self.stream(from, epoch, began, (after, hash), entries, out)
        } else {
            self.synchronise(from, epoch, began, (after, hash), entries, out)
        };
        if let Some(length) = length {
            self.learn_committed(if mutant!(CommitsBeyondLength) { committed } else { committed.min(length) });
        }
        out.send(from, Message::Accepted { epoch, length });
    }

    /// More of the leader's log, for a follower that has it from its beginning on. How long the log is then.
    fn stream(
        &mut self,
        from: NodeId,
        epoch: Ballot,
        began: Option<Beginning>,
        (after, hash): (u64, u64),
        entries: Vec<Entry>,
        out: &mut Out,
    ) -> Option<u64> {
        let length = self.memory.length();
        if after > length {
            // Something was lost on the way, and the leader hears where we are; if it says how the epoch began, it no
            // longer holds what we lack, and we fetch.
            if began.is_some() && self.fetching.is_none() {
                self.fetch(Fetching::new(epoch, from, Purpose::Follow, length, self.memory.entries.last_hash(), after));
                self.ask_for_more(out);
            }
            return Some(length);
        }
        let other = self.memory.entries.hash_at(after).is_some_and(|ours| ours != hash);
        if other && !mutant!(ChainUnchecked) {
            out.ignore(from, "the chain before these entries is another than ours");
            return None;
        }
        let known = usize::try_from(length - after).unwrap_or(usize::MAX);
        let news: Vec<Entry> = entries.into_iter().skip(known).collect();
        if !news.is_empty() {
            if !news[0].follows(self.memory.entries.last_hash()) {
                out.ignore(from, "the chain of these entries does not continue ours");
                return None;
            }
            // What is being fetched would end before this, and cut it off.
            self.fetching = None;
            self.save(Record::Append { after: length, entries: news }, out);
        }
        Some(self.memory.length())
    }

    /// The beginning of an epoch's log: taken whole, or fetched if it did not come whole.
    fn synchronise(
        &mut self,
        from: NodeId,
        epoch: Ballot,
        began: Option<Beginning>,
        (after, hash): (u64, u64),
        entries: Vec<Entry>,
        out: &mut Out,
    ) -> Option<u64> {
        let began = began?;
        let agreed = self.holding().agrees_through(began.accepted, began.length);
        if agreed < self.memory.committed {
            out.ignore(from, "the epoch begins with less than was committed here");
            return None;
        }
        let comes_whole =
            after <= agreed && (after + entries.len() as u64 >= began.start || mutant!(SynchronisesInPart));
        if comes_whole && self.memory.entries.hash_at(after).is_none_or(|ours| ours == hash) {
            let known = usize::try_from(agreed - after).unwrap_or(usize::MAX);
            let rest: Vec<Entry> = entries.into_iter().skip(known).collect();
            let ours = self.memory.entries.hash_at(agreed)?;
            if rest.first().is_some_and(|first| !first.follows(ours)) {
                out.ignore(from, "the chain of these entries does not continue ours");
                return None;
            }
            self.fetching = None;
            self.save(Record::Sync { epoch, after: agreed, entries: rest }, out);
            return Some(self.memory.length());
        }
        if self.fetching.is_none()
            && let Some(ours) = self.memory.entries.hash_at(agreed)
        {
            self.fetch(Fetching::new(epoch, from, Purpose::Follow, agreed, ours, began.start));
            self.ask_for_more(out);
        }
        None
    }

    pub(super) fn learn_committed(&mut self, slot: u64) {
        let slot = if mutant!(CommitsBeyondLength) { slot } else { slot.min(self.memory.length()) };
        self.memory.committed = self.memory.committed.max(slot);
    }

    /// The leader asks whether it still leads.
    pub(super) fn on_confirm(&mut self, from: NodeId, epoch: Ballot, round: u64, out: &mut Out) {
        match self.memory.promised {
            Some(promised) if (promised == epoch || mutant!(ConfirmsDeposed)) && epoch.node == from => {
                if self.memory.proven {
                    out.send(from, Message::Confirmed { epoch, round });
                }
            }
            Some(promised) if promised > epoch => out.send(from, Message::Reject { epoch, promised }),
            _ => out.ignore(from, "the epoch was not promised here"),
        }
    }
}

/// Whether these entries are a chain that continues this hash.
pub(super) fn continues(hash: u64, entries: &[Entry]) -> bool {
    let mut previous = hash;
    entries.iter().all(|entry| {
        let follows = entry.follows(previous);
        previous = entry.hash;
        follows
    })
}
