//! Fetching what a node lacks, piece by piece, until it can be taken whole.

use super::follower::continues;
use super::memory::{Record, Snapshot};
use super::{Entry, Log, Message, Piece, Role};
use crate::protocol::Out;
use crate::protocol::types::{Ballot, NodeId};

/// Why a node fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// To have the leader's log.
    Follow,
    /// To lead with the best log of those that promised.
    Adopt,
}

/// What a node is fetching. Nothing of it is in its log before all of it is there.
#[derive(Debug, Clone, Hash)]
pub(super) struct Fetching {
    epoch: Ballot,
    from: NodeId,
    pub(super) purpose: Purpose,
    /// Where the log agrees with ours: what is fetched follows it, unless a snapshot stands for all before.
    agreed: u64,
    snapshot: Option<Snapshot>,
    part: Option<Part>,
    entries: Vec<Entry>,
    /// The hash of the chain up to the last slot that we have or have fetched.
    hash: u64,
    goal: u64,
    asked_ticks: u64,
}

/// A snapshot, as far as it is here.
#[derive(Debug, Clone, Hash)]
struct Part {
    slot: u64,
    hash: u64,
    bytes: Vec<u8>,
}

/// No snapshot is larger: a message that claims so is not believed, and memory stays bounded.
const MAX_SNAPSHOT: u64 = 1 << 30;

impl Fetching {
    pub(super) const fn new(epoch: Ballot, from: NodeId, purpose: Purpose, agreed: u64, hash: u64, goal: u64) -> Self {
        let entries = Vec::new();
        Self { epoch, from, purpose, agreed, snapshot: None, part: None, entries, hash, goal, asked_ticks: 0 }
    }

    fn through(&self) -> u64 {
        self.snapshot.as_ref().map_or(self.agreed, |snapshot| snapshot.slot) + self.entries.len() as u64
    }

    /// The record by which all that was fetched, and perhaps an entry more, becomes the log.
    pub(super) fn record(self, more: Option<Entry>) -> Record {
        let Self { epoch, agreed, snapshot, mut entries, .. } = self;
        entries.extend(more);
        match snapshot {
            Some(snapshot) => Record::Install { epoch, snapshot, entries },
            None => Record::Sync { epoch, after: agreed, entries },
        }
    }

    pub(super) const fn last_hash(&self) -> u64 {
        self.hash
    }
}

impl Log {
    pub(super) fn fetch(&mut self, fetching: Fetching) {
        self.fetching = Some(fetching);
    }

    pub(super) fn ask_for_more(&mut self, out: &mut Out) {
        let now = self.now_ticks;
        let Some(fetching) = &mut self.fetching else { return };
        fetching.asked_ticks = now;
        let offset = fetching.part.as_ref().map_or(0, |part| part.bytes.len() as u64);
        out.send(fetching.from, Message::Fetch { epoch: fetching.epoch, after: fetching.through(), offset });
    }

    pub(super) fn tick_fetching(&mut self, out: &mut Out) {
        let late = |fetching: &Fetching| fetching.asked_ticks + self.options.resend_ticks <= self.now_ticks;
        if self.fetching.as_ref().is_some_and(late) {
            self.ask_for_more(out);
        }
    }

    /// Somebody lacks entries: the leader's follower, or the leader itself.
    pub(super) fn on_fetch(&mut self, from: NodeId, epoch: Ballot, after: u64, offset: u64, out: &mut Out) {
        self.hear_newcomer(from);
        match self.memory.promised {
            Some(promised) if promised == epoch => {}
            Some(promised) if promised > epoch => return out.send(from, Message::Reject { epoch, promised }),
            _ => return out.ignore(from, "the epoch was not promised here"),
        }
        let entries = &self.memory.entries;
        let piece = if after >= entries.base() {
            // Not what a leader has not handed to its disk: it is forgotten if the leader steps down.
            let most = usize::try_from(self.handed_out().saturating_sub(after)).unwrap_or(usize::MAX);
            let entries = entries.page(after, most.min(self.options.batch_entries), self.options.batch_bytes);
            if let Role::Leader(leading) = &mut self.role {
                leading.hand(after + entries.len() as u64);
            }
            Piece::Entries { after, entries }
        } else {
            let Some(Snapshot { slot, hash, state, members }) = &self.memory.snapshot else { return };
            let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(state.len());
            let end = begin.saturating_add(self.options.batch_bytes).min(state.len());
            let bytes = state[begin..end].to_vec();
            let (offset, total, members) = (begin as u64, state.len() as u64, members.clone());
            Piece::Snapshot { slot: *slot, hash: *hash, offset, total, bytes, members }
        };
        out.send(from, Message::Fetched { epoch, piece });
    }

    pub(super) fn on_fetched(&mut self, from: NodeId, epoch: Ballot, piece: Piece, out: &mut Out) {
        let Some(fetching) = &mut self.fetching else { return };
        if fetching.from != from || fetching.epoch != epoch || self.memory.promised != Some(epoch) {
            return;
        }
        match piece {
            Piece::Entries { after, entries } => {
                if after != fetching.through() {
                    return;
                }
                if entries.is_empty() || !continues(fetching.hash, &entries) {
                    self.give_up_fetching();
                    return out.ignore(from, "what was fetched does not continue what was there");
                }
                fetching.hash = entries.last().map_or(fetching.hash, |last| last.hash);
                fetching.entries.extend(entries);
            }
            Piece::Snapshot { slot, hash, offset, total, bytes, members } => {
                let fresh = || Part { slot, hash, bytes: Vec::new() };
                let part = match &mut fetching.part {
                    Some(part) if part.slot == slot => part,
                    // The other has a newer one by now: once more from its beginning.
                    part => part.insert(fresh()),
                };
                if slot <= fetching.agreed || total > MAX_SNAPSHOT {
                    self.give_up_fetching();
                    return out.ignore(from, "the snapshot stands for less than was there");
                }
                if offset == part.bytes.len() as u64 && offset + bytes.len() as u64 <= total {
                    part.bytes.extend(bytes);
                }
                if part.bytes.len() as u64 == total
                    && let Some(part) = fetching.part.take()
                {
                    fetching.hash = part.hash;
                    fetching.entries.clear();
                    fetching.snapshot = Some(Snapshot { slot, hash, state: part.bytes.into(), members });
                }
            }
        }
        if fetching.part.is_none() && fetching.through() >= fetching.goal {
            self.finish_fetching(out);
        } else {
            self.ask_for_more(out);
        }
    }

    fn give_up_fetching(&mut self) {
        if self.fetching.take().is_some_and(|fetching| fetching.purpose == Purpose::Adopt) {
            self.step_down(None);
        }
    }

    fn finish_fetching(&mut self, out: &mut Out) {
        let Some(fetching) = self.fetching.take() else { return };
        match fetching.purpose {
            Purpose::Adopt => self.begin(Some(fetching), out),
            Purpose::Follow => {
                let (from, epoch) = (fetching.from, fetching.epoch);
                self.save(fetching.record(None), out);
                out.send(from, Message::Accepted { epoch, length: Some(self.memory.length()) });
            }
        }
    }
}
