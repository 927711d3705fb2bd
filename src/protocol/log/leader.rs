//! The proposer's side: an epoch of one's own, the log that it begins with, and the entries that follow.

use std::collections::BTreeMap;

use super::fetch::{Fetching, Purpose};
use super::memory::Record;
use super::{Beginning, Command, Entry, Holding, Log, Message, Notice, Role, first_of_epoch};
use crate::protocol::Out;
use crate::protocol::quorum::Tally;
use crate::protocol::types::{Ballot, NodeId};

/// Phase 1: promises are collected.
#[derive(Debug)]
pub(super) struct Campaign {
    epoch: Ballot,
    promised: Tally,
    holdings: BTreeMap<NodeId, Holding>,
    /// Whose log is adopted, once a majority has promised.
    adopted: Option<Holding>,
    until_ticks: u64,
}

/// Phase 2: the epoch is ours.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) epoch: Ballot,
    began: Beginning,
    followers: BTreeMap<NodeId, Follower>,
    /// Our own log is on disk up to this slot.
    durable: u64,
    /// It was handed to the disk up to this slot.
    flushed: u64,
    waiting_reads: Vec<u64>,
    round: Round,
    asked_ticks: u64,
}

/// One follower, as the leader sees it.
#[derive(Debug)]
struct Follower {
    holding: Holding,
    /// Its log is ours up to this slot; absent until it is synchronised.
    matched: Option<u64>,
    /// The last slot sent.
    sent: u64,
    under_way: u32,
    sent_ticks: u64,
    told_committed: u64,
}

/// Reads that wait for a majority to confirm that we still lead.
#[derive(Debug, Default)]
struct Round {
    number: u64,
    reads: Vec<u64>,
    slot: u64,
    confirmed: Tally,
    asked_ticks: u64,
}

impl Campaign {
    pub(super) const fn epoch(&self) -> Ballot {
        self.epoch
    }
}

impl Leading {
    pub(super) const fn flushed(&self) -> u64 {
        self.flushed
    }

    pub(super) fn reads(&self) -> impl Iterator<Item = u64> + '_ {
        self.waiting_reads.iter().chain(&self.round.reads).copied()
    }
}

impl Log {
    /// An election says that this node shall lead: asks a majority for an epoch.
    pub fn campaign(&mut self, out: &mut Out) {
        if !matches!(self.role, Role::Follower) {
            return;
        }
        let promised = self.memory.promised.map_or(0, |epoch| epoch.round);
        let Some(round) = promised.max(self.highest_round).checked_add(1).filter(|_| self.memory.proven) else {
            // Without a memory this node has no vote of its own, and cannot lead.
            self.notices.push(Notice::Deposed(None));
            return;
        };
        let epoch = Ballot { round, node: self.id };
        self.fetching = None;
        self.highest_round = round;
        let until_ticks = self.now_ticks + self.options.campaign_ticks;
        let (promised, holdings) = (Tally::default(), BTreeMap::new());
        self.role = Role::Candidate(Campaign { epoch, promised, holdings, adopted: None, until_ticks });
        self.save(Record::Promise { epoch }, out);
        for to in self.members.others(self.id) {
            out.send(to, Message::Prepare { epoch });
        }
        let holds = self.holding();
        self.on_promise(self.id, epoch, holds, true, out);
    }

    pub(super) fn on_promise(&mut self, from: NodeId, epoch: Ballot, holds: Holding, votes: bool, out: &mut Out) {
        if !self.members.contains(from) {
            return out.ignore(from, "a promise of a node that is no member");
        }
        match &mut self.role {
            Role::Candidate(campaign) if campaign.epoch == epoch => {
                campaign.holdings.insert(from, holds);
                if votes {
                    campaign.promised.add(from);
                }
                self.adopt_if_promised(out);
            }
            Role::Leader(leading) if leading.epoch == epoch && from != self.id => {
                leading.followers.entry(from).or_insert_with(|| Follower::new(holds));
            }
            _ => {}
        }
    }

    /// With a majority's promises: the highest epoch's log, and of those the longest, holds all that may be chosen.
    fn adopt_if_promised(&mut self, out: &mut Out) {
        let Role::Candidate(campaign) = &mut self.role else { return };
        if campaign.adopted.is_some() || !campaign.promised.is_majority(&self.members) {
            return;
        }
        let voted = campaign.holdings.iter().filter(|(node, _)| campaign.promised.contains(**node));
        let best = voted.max_by_key(|(node, holds)| (holds.accepted, holds.length, **node == self.id));
        let Some((&best, &holds)) = best else { return };
        campaign.adopted = Some(holds);
        let epoch = campaign.epoch;
        if best == self.id || (holds.accepted, holds.length) == self.memory.rank() {
            return self.begin(None, out);
        }
        let agreed = self.holding().agrees_through(holds.accepted, holds.length);
        let Some(hash) = self.memory.entries.hash_at(agreed) else { return self.step_down(None) };
        let fetching = Fetching::new(epoch, best, Purpose::Adopt, agreed, hash, holds.length);
        if agreed >= holds.length {
            return self.begin(Some(fetching), out);
        }
        self.fetch(fetching);
        self.ask_for_more(out);
    }

    /// The epoch begins: with the adopted log, and an empty entry of its own.
    pub(super) fn begin(&mut self, fetched: Option<Fetching>, out: &mut Out) {
        let Role::Candidate(campaign) = &mut self.role else { return };
        let Some(adopted) = campaign.adopted else { return };
        let epoch = campaign.epoch;
        let holdings = std::mem::take(&mut campaign.holdings);
        let record = match fetched {
            Some(fetched) => {
                let first = Entry::after(fetched.last_hash(), epoch, first_of_epoch());
                fetched.record(Some(first))
            }
            None => {
                let first = Entry::after(self.memory.entries.last_hash(), epoch, first_of_epoch());
                Record::Sync { epoch, after: self.memory.length(), entries: vec![first] }
            }
        };
        self.save(record, out);
        let start = self.memory.length();
        let began = Beginning { accepted: adopted.accepted, length: adopted.length, start };
        let others = holdings.into_iter().filter(|(node, _)| *node != self.id);
        let followers: BTreeMap<NodeId, Follower> =
            others.map(|(node, holding)| (node, Follower::new(holding))).collect();
        let known = followers.values().map(|follower| follower.holding.committed).max().unwrap_or(0);
        self.learn_committed(known.min(adopted.length));
        self.role = Role::Leader(Box::new(Leading {
            epoch,
            began,
            followers,
            durable: 0,
            flushed: start,
            waiting_reads: Vec::new(),
            round: Round::default(),
            asked_ticks: self.now_ticks,
        }));
        self.notices.push(Notice::Established(epoch));
        out.send(self.id, Message::Accepted { epoch, length: Some(start) });
    }

    pub(super) fn on_reject(&mut self, from: NodeId, epoch: Ballot, promised: Ballot, out: &mut Out) {
        let known = self.memory.promised.map_or(0, |promised| promised.round).max(self.highest_round);
        if !self.members.contains(from)
            || promised <= epoch
            || promised.round > known.saturating_add(super::MAX_ROUND_LEAP)
        {
            return out.ignore(from, "a rejection that cannot be meant");
        }
        self.highest_round = known.max(promised.round);
        let running = match &self.role {
            Role::Follower => return,
            Role::Candidate(campaign) => campaign.epoch,
            Role::Leader(leading) => leading.epoch,
        };
        if running == epoch {
            self.fetching = None;
            self.step_down(Some(promised));
        }
    }

    pub(super) fn tick_campaign(&mut self, out: &mut Out) {
        let Role::Candidate(campaign) = &self.role else { return };
        let epoch = campaign.epoch;
        if campaign.until_ticks <= self.now_ticks {
            self.fetching = None;
            return self.step_down(None);
        }
        // Prepare again to those that are silent: the first may have been lost.
        if (campaign.until_ticks - self.now_ticks).is_multiple_of(self.options.resend_ticks) {
            let silent = self.members.others(self.id).filter(|node| !campaign.holdings.contains_key(node));
            silent.for_each(|to| out.send(to, Message::Prepare { epoch }));
        }
    }

    /// The election has another coordinator, or none: this node leads no longer.
    pub fn resign(&mut self) {
        self.fetching = None;
        self.step_down(None);
    }

    /// A command becomes an entry: its slot and epoch, or `None` if this node does not lead. It leaves with the next
    /// [`Log::flush`].
    pub fn append(&mut self, command: Command) -> Option<(Ballot, u64)> {
        let Role::Leader(leading) = &self.role else { return None };
        let epoch = leading.epoch;
        self.memory.entries.append(epoch, command);
        Some((epoch, self.memory.length()))
    }

    /// A read, to be answered from the state at the commit index, if this node still leads; a [`Notice`] says when. It
    /// is `false` if this node does not lead.
    pub fn read(&mut self, read: u64) -> bool {
        let Role::Leader(leading) = &mut self.role else { return false };
        leading.waiting_reads.push(read);
        true
    }

    pub(super) fn flush_leading(&mut self, out: &mut Out) {
        self.send_entries(out);
        let Role::Leader(leading) = &mut self.role else { return };
        let (length, epoch) = (self.memory.entries.length(), leading.epoch);
        if length > leading.flushed {
            // After the sends: the followers write while we do.
            let entries = self.memory.entries.page(leading.flushed, usize::MAX, usize::MAX);
            out.save(crate::protocol::Record::Log(Record::Append { after: leading.flushed, entries }));
            leading.flushed = length;
            out.send(self.id, Message::Accepted { epoch, length: Some(length) });
        }
        self.start_round(out);
    }

    fn send_entries(&mut self, out: &mut Out) {
        let Role::Leader(leading) = &mut self.role else { return };
        let Leading { followers, epoch, began, .. } = &mut **leading;
        let pace = (self.now_ticks, self.options.window);
        for (&to, follower) in followers {
            let mut accept = |after: u64, most: usize, began: Option<Beginning>| -> u64 {
                let entries = self.memory.entries.page(after, most, self.options.batch_bytes);
                let hash = self.memory.entries.hash_at(after).unwrap_or(0);
                let committed = self.memory.committed;
                let through = after + entries.len() as u64;
                out.send(to, Message::Accept { epoch: *epoch, began, after, hash, entries, committed });
                through
            };
            let entries = &self.memory.entries;
            match follower.matched {
                None if follower.under_way == 0 && follower.sent_ticks < pace.0 => {
                    let agreed = follower.holding.agrees_through(began.accepted, began.length);
                    let pages = entries.page(agreed, self.options.batch_entries, self.options.batch_bytes).len() as u64;
                    // What does not go into one message is fetched by the follower.
                    let whole = agreed >= entries.base() && agreed + pages >= began.start;
                    follower.sent = if whole {
                        accept(agreed, self.options.batch_entries, Some(*began))
                    } else {
                        accept(entries.length(), 0, Some(*began))
                    };
                    follower.note_sent(pace.0, self.memory.committed);
                }
                None => {}
                Some(_) if follower.sent < entries.base() && follower.under_way == 0 => {
                    let is_time = follower.sent_ticks + self.options.idle_ticks <= pace.0;
                    if is_time {
                        accept(entries.length(), 0, Some(*began));
                        follower.note_sent(pace.0, self.memory.committed);
                    }
                }
                Some(_) => {
                    while follower.under_way < pace.1 && follower.sent < entries.length() {
                        follower.sent = accept(follower.sent, self.options.batch_entries, None);
                        follower.note_sent(pace.0, self.memory.committed);
                    }
                }
            }
        }
    }

    pub(super) fn on_accepted(&mut self, from: NodeId, epoch: Ballot, length: Option<u64>, out: &mut Out) {
        let own = from == self.id;
        let Role::Leader(leading) = &mut self.role else { return };
        if leading.epoch != epoch || !self.members.contains(from) {
            return;
        }
        let ends = self.memory.entries.length();
        if length.is_some_and(|length| length > ends) {
            return out.ignore(from, "it accepted more than there is");
        }
        if own {
            leading.durable = leading.durable.max(length.unwrap_or(0));
        } else {
            let Some(follower) = leading.followers.get_mut(&from) else { return };
            follower.under_way = follower.under_way.saturating_sub(1);
            follower.matched = match length {
                // Synchronised means: up to where the epoch began.
                Some(length) if length >= leading.began.start => Some(length),
                _ => None,
            };
            if let Some(length) = follower.matched.filter(|_| follower.under_way == 0) {
                follower.sent = length;
            }
        }
        self.advance_commit();
    }

    /// What a majority has accepted in this epoch is chosen; and so is all before it.
    fn advance_commit(&mut self) {
        let Role::Leader(leading) = &self.role else { return };
        let mut lengths: Vec<u64> = leading.followers.values().filter_map(|follower| follower.matched).collect();
        lengths.push(leading.durable);
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&chosen) = lengths.get(self.members.majority() - 1) else { return };
        if chosen >= leading.began.start {
            self.learn_committed(chosen);
        }
    }

    /// Begins a round of confirmations for the reads that wait, when none is running and the epoch has committed: before
    /// that the leader may not yet know all that is committed.
    fn start_round(&mut self, out: &mut Out) {
        let (me, now, slot) = (self.id, self.now_ticks, self.memory.committed);
        let Role::Leader(leading) = &mut self.role else { return };
        if leading.waiting_reads.is_empty() || !leading.round.reads.is_empty() || slot < leading.began.start {
            return;
        }
        let (number, reads) = (leading.round.number + 1, std::mem::take(&mut leading.waiting_reads));
        let epoch = leading.epoch;
        leading.round = Round { number, reads, slot, confirmed: Tally::default(), asked_ticks: now };
        for to in self.members.others(me) {
            out.send(to, Message::Confirm { epoch, round: number });
        }
        self.on_confirmed(me, epoch, number, out);
    }

    pub(super) fn on_confirmed(&mut self, from: NodeId, epoch: Ballot, round: u64, _: &mut Out) {
        let Role::Leader(leading) = &mut self.role else { return };
        if leading.epoch != epoch || leading.round.number != round || !self.members.contains(from) {
            return;
        }
        leading.round.confirmed.add(from);
        if leading.round.confirmed.is_majority(&self.members) {
            let slot = leading.round.slot;
            let reads = std::mem::take(&mut leading.round.reads);
            self.notices.extend(reads.into_iter().map(|read| Notice::Readable { read, slot }));
        }
    }

    /// Tells a follower at once what is committed, if it does not know and nothing is under way that says so.
    pub fn tell_committed(&mut self, to: NodeId, out: &mut Out) {
        let (now, committed) = (self.now_ticks, self.memory.committed);
        let (length, hash) = (self.memory.length(), self.memory.entries.last_hash());
        let Role::Leader(leading) = &mut self.role else { return };
        let epoch = leading.epoch;
        let Some(follower) = leading.followers.get_mut(&to) else { return };
        if follower.matched.is_some() && follower.sent == length && follower.told_committed < committed {
            let entries = Vec::new();
            out.send(to, Message::Accept { epoch, began: None, after: length, hash, entries, committed });
            follower.note_sent(now, committed);
        }
    }

    pub(super) fn tick_leading(&mut self, out: &mut Out) {
        let (now, options, committed) = (self.now_ticks, self.options, self.memory.committed);
        let (length, hash) = (self.memory.length(), self.memory.entries.last_hash());
        let Role::Leader(leading) = &mut self.role else { return };
        let Leading { epoch, followers, round, asked_ticks, waiting_reads, .. } = &mut **leading;
        for (&to, follower) in followers.iter_mut() {
            if follower.under_way > 0 && follower.sent_ticks + options.resend_ticks <= now {
                follower.under_way = 0;
                follower.sent = follower.matched.unwrap_or(follower.sent);
            }
            let news = follower.told_committed < committed && follower.sent == length;
            let idle = follower.sent_ticks + options.idle_ticks <= now;
            if follower.matched.is_some() && follower.under_way == 0 && follower.sent == length && (news || idle) {
                let entries = Vec::new();
                out.send(to, Message::Accept { epoch: *epoch, began: None, after: length, hash, entries, committed });
                follower.note_sent(now, committed);
            }
        }
        if *asked_ticks + options.resend_ticks <= now {
            *asked_ticks = now;
            let silent = self.members.others(self.id).filter(|node| !followers.contains_key(node));
            silent.for_each(|to| out.send(to, Message::Prepare { epoch: *epoch }));
        }
        if !round.reads.is_empty() && round.asked_ticks + options.resend_ticks <= now {
            waiting_reads.append(&mut round.reads);
        }
    }
}

impl Follower {
    const fn new(holding: Holding) -> Self {
        Self { holding, matched: None, sent: 0, under_way: 0, sent_ticks: 0, told_committed: 0 }
    }

    const fn note_sent(&mut self, now: u64, committed: u64) {
        self.under_way += 1;
        self.sent_ticks = now;
        self.told_committed = committed;
    }
}
