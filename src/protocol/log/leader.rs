//! Phase 2: the leader's side, an epoch of one's own and the entries that follow; [`super::campaign`] is how it begins.

use std::collections::BTreeMap;

use super::changing::{Newcomer, Removed};
use super::memory::Record;
use super::{Beginning, Command, Holding, Log, Message, Notice, Role};
use crate::protocol::Out;
use crate::protocol::quorum::{Members, Tally};
use crate::protocol::types::{Ballot, NodeId};

/// A follower that is not prompt does not lag further behind than this.
pub(super) const LATE_ENTRIES: u64 = 512;
/// Nor does it lag for longer than this, in ticks. Nobody waits for it to write and sync, so it does so seldom.
pub(super) const LATE_TICKS: u64 = 5;

/// Phase 2: the epoch is ours.
#[derive(Debug, Clone, Hash)]
pub(super) struct Leading {
    pub(super) epoch: Ballot,
    began: Beginning,
    /// Those that have promised: members, the newcomer, and removed ones that have yet to hear of it.
    pub(super) followers: BTreeMap<NodeId, Follower>,
    pub(super) newcomer: Option<Newcomer>,
    pub(super) removed: Vec<Removed>,
    /// Our own log is on disk up to this slot.
    durable: u64,
    /// It was handed to the disk up to this slot.
    flushed: u64,
    /// It was sent to somebody up to this slot.
    handed: u64,
    waiting_reads: Vec<u64>,
    round: Round,
    asked_ticks: u64,
}

/// One follower, as the leader sees it.
#[derive(Debug, Clone, Hash)]
pub(super) struct Follower {
    holding: Holding,
    /// Its log is ours up to this slot; absent until it is synchronised.
    matched: Option<u64>,
    /// The last slot sent.
    sent: u64,
    under_way: u32,
    sent_ticks: u64,
    /// Since when something is under way, and its log has not grown.
    waiting_since: u64,
    told_committed: u64,
    /// Whether entries are sent to it at once. The others get them now and then, in one message.
    prompt: bool,
    /// Somebody waits for this one to know what is committed.
    awaited: bool,
    /// Its process has ended, and it has not been heard since.
    gone: bool,
}

/// Reads that wait for a majority to confirm that we still lead.
#[derive(Debug, Clone, Default, Hash)]
struct Round {
    number: u64,
    reads: Vec<u64>,
    slot: u64,
    confirmed: Tally,
    asked_ticks: u64,
    /// Whether all were asked, and not only those that are prompt.
    wide: bool,
}

impl Leading {
    /// Our log is handed to the disk, and to nobody else, up to where the epoch starts.
    pub(super) fn new(epoch: Ballot, began: Beginning, followers: BTreeMap<NodeId, Follower>, now_ticks: u64) -> Self {
        Self {
            epoch,
            began,
            followers,
            newcomer: None,
            removed: Vec::new(),
            durable: 0,
            flushed: began.start,
            handed: began.start,
            waiting_reads: Vec::new(),
            round: Round::default(),
            asked_ticks: now_ticks,
        }
    }

    /// Picks the followers that are sent entries at once: with a thrifty leader as many as make a majority with it. One
    /// that is late with an answer is replaced by one that is not, and stays replaced.
    fn appoint(&mut self, members: &Members, now: u64, most: usize) {
        let voters = self.followers.iter().filter(|(node, _)| members.contains(**node));
        let candidates = voters.filter(|(_, follower)| follower.matched.is_some());
        let mut order: Vec<_> =
            candidates.map(|(&node, follower)| (follower.is_overdue(now), !follower.prompt, node)).collect();
        order.sort_unstable();
        order.truncate(most);
        for (node, follower) in &mut self.followers {
            follower.prompt = order.iter().any(|(_, _, chosen)| chosen == node);
        }
    }

    /// Those that are asked first, when a majority is needed: all, if too few are prompt.
    fn asked_first(&self, most: usize) -> Vec<NodeId> {
        let prompt = self.followers.iter().filter(|(_, follower)| follower.prompt).map(|(&node, _)| node);
        let prompt: Vec<NodeId> = prompt.collect();
        if prompt.len() < most { Vec::new() } else { prompt }
    }

    /// The epoch's first entry of its own.
    pub(super) const fn start(&self) -> u64 {
        self.began.start
    }

    /// What a node has accepted in this epoch.
    fn counted(&self, node: NodeId) -> Option<u64> {
        self.followers.get(&node).and_then(Follower::counted)
    }

    /// Up to where a follower has the log.
    pub(super) fn matched(&self, node: NodeId) -> Option<u64> {
        self.followers.get(&node)?.matched
    }

    pub(super) const fn flushed(&self) -> u64 {
        self.flushed
    }

    pub(super) const fn handed(&self) -> u64 {
        self.handed
    }

    /// Somebody is sent the log up to this slot.
    pub(super) fn hand(&mut self, slot: u64) {
        self.handed = self.handed.max(slot);
    }

    pub(super) const fn is_writing(&self, committed: u64) -> bool {
        committed < self.flushed
    }

    pub(super) const fn is_confirming(&self) -> bool {
        !self.round.reads.is_empty()
    }

    pub(super) fn reads(&self) -> impl Iterator<Item = u64> + '_ {
        self.waiting_reads.iter().chain(&self.round.reads).copied()
    }
}

impl Log {
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
        if mutant!(ReadJoinsRunningRound) && !leading.round.reads.is_empty() {
            leading.round.reads.push(read);
        } else {
            leading.waiting_reads.push(read);
        }
        true
    }

    pub(super) fn flush_leading(&mut self, out: &mut Out) {
        let Role::Leader(leading) = &mut self.role else { return };
        // A batch grows for as long as the one before is under way: a sync is what costs, on every node.
        let grows = leading.is_writing(self.memory.committed);
        let length = if grows { leading.flushed } else { self.memory.entries.length() };
        self.send_entries(length, out);
        let Role::Leader(leading) = &mut self.role else { return };
        let epoch = leading.epoch;
        if length > leading.flushed {
            // After the sends: the followers write while we do.
            let most = usize::try_from(length - leading.flushed).unwrap_or(usize::MAX);
            let entries = self.memory.entries.page(leading.flushed, most, usize::MAX);
            out.save(crate::protocol::Record::Log(Record::Append { after: leading.flushed, entries }));
            leading.flushed = length;
            out.send(self.id, Message::Accepted { epoch, length: Some(length) });
        }
        self.start_round(out);
    }

    /// Sends what each follower lacks of the log up to a slot.
    fn send_entries(&mut self, length: u64, out: &mut Out) {
        let Role::Leader(leading) = &mut self.role else { return };
        let Leading { followers, epoch, began, handed, .. } = &mut **leading;
        let pace = (self.now_ticks, self.options.window);
        for (&to, follower) in followers {
            let mut accept = |after: u64, most: usize, began: Option<Beginning>| -> u64 {
                let most = most.min(usize::try_from(length.saturating_sub(after)).unwrap_or(usize::MAX));
                let entries = self.memory.entries.page(after, most, self.options.batch_bytes);
                let hash = self.memory.entries.hash_at(after).unwrap_or(0);
                let committed = self.memory.committed;
                let through = after + entries.len() as u64;
                *handed = (*handed).max(through);
                out.send(to, Message::Accept { epoch: *epoch, began, after, hash, entries, committed });
                through
            };
            let entries = &self.memory.entries;
            match follower.matched {
                None if follower.under_way == 0 && follower.sent_ticks < pace.0 => {
                    let agreed = follower.holding.agrees_through(began.accepted, began.length);
                    let pages = entries.page(agreed, self.options.batch_entries, self.options.batch_bytes).len() as u64;
                    // What does not go into one message is fetched by the follower.
                    let whole =
                        agreed >= entries.base() && (agreed + pages >= began.start || mutant!(SynchronisesInPart));
                    follower.sent = if whole {
                        accept(agreed, self.options.batch_entries, Some(*began))
                    } else {
                        accept(length, 0, Some(*began))
                    };
                    follower.note_sent(pace.0, self.memory.committed);
                }
                None => {}
                Some(_) if follower.sent < entries.base() && follower.under_way == 0 => {
                    let is_time = follower.sent_ticks + self.options.idle_ticks <= pace.0;
                    if is_time {
                        accept(length, 0, Some(*began));
                        follower.note_sent(pace.0, self.memory.committed);
                    }
                }
                Some(_) if !follower.is_due(pace.0, length, self.membership.members().contains(to)) => {}
                Some(_) => {
                    let news = follower.awaited && follower.told_committed < self.memory.committed;
                    let mut go_on = follower.sent < length || news;
                    while follower.under_way < pace.1 && go_on {
                        follower.sent = accept(follower.sent, self.options.batch_entries, None);
                        follower.note_sent(pace.0, self.memory.committed);
                        go_on = follower.sent < length;
                    }
                }
            }
        }
    }

    pub(super) fn on_accepted(&mut self, from: NodeId, epoch: Ballot, length: Option<u64>, out: &mut Out) {
        let own = from == self.id;
        let Role::Leader(leading) = &mut self.role else { return };
        if leading.epoch != epoch && !mutant!(AcceptedAcrossEpochs) {
            return;
        }
        // What has not left this node, nobody can have.
        if length.is_some_and(|length| length > leading.flushed) {
            return out.ignore(from, "it accepted more than it was sent");
        }
        if own {
            leading.durable = leading.durable.max(length.unwrap_or(0));
        } else {
            let Some(follower) = leading.followers.get_mut(&from) else { return };
            if length > follower.matched {
                follower.waiting_since = self.now_ticks;
            }
            follower.under_way = follower.under_way.saturating_sub(1);
            follower.gone = false;
            follower.matched = match length {
                // Synchronised means: up to where the epoch began.
                Some(length) if length >= leading.began.start => Some(length),
                _ => None,
            };
            if let Some(length) = follower.matched {
                // What it has need not be sent, and may be gone here by now: a late word of less had us begin there.
                follower.sent = if follower.under_way == 0 { length } else { follower.sent.max(length) };
            }
            if follower.matched.is_some() && !follower.prompt {
                let (most, now) = (self.prompt_followers(), self.now_ticks);
                if let Role::Leader(leading) = &mut self.role {
                    leading.appoint(self.membership.members(), now, most);
                }
            }
            self.hear_newcomer(from);
            self.admit_newcomer();
        }
        self.advance_commit();
    }

    /// What a majority of the members in force has accepted in this epoch is chosen; and so is all before it.
    fn advance_commit(&mut self) {
        let Role::Leader(leading) = &self.role else { return };
        let has = |node| if node == self.id { leading.durable } else { leading.counted(node).unwrap_or_default() };
        let mut lengths: Vec<u64> = self.members().iter().map(has).collect();
        if mutant!(FollowerCountsTwice) {
            lengths.extend_from_within(..1);
        }
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let needed = self.members().majority() - usize::from(mutant!(CommitsMinusOne));
        let Some(&chosen) = lengths.get(needed.saturating_sub(1)) else { return };
        if chosen >= leading.began.start || mutant!(CommitsByPromises) {
            self.learn_committed(chosen);
        }
    }

    /// Begins a round of confirmations for the reads that wait, when none is running and the epoch has committed: before
    /// that the leader may not yet know all that is committed.
    fn start_round(&mut self, out: &mut Out) {
        let (me, now, slot, most) = (self.id, self.now_ticks, self.memory.committed, self.prompt_followers());
        let Role::Leader(leading) = &mut self.role else { return };
        let early = slot < leading.began.start && !mutant!(ReadsBeforeEpochCommits);
        if leading.waiting_reads.is_empty() || !leading.round.reads.is_empty() || early {
            return;
        }
        let (number, reads) = (leading.round.number + 1, std::mem::take(&mut leading.waiting_reads));
        let epoch = leading.epoch;
        let first = leading.asked_first(most);
        let wide = first.is_empty();
        leading.round = Round { number, reads, slot, confirmed: Tally::default(), asked_ticks: now, wide };
        for to in self.membership.members().others(me).filter(|to| wide || first.contains(to)) {
            out.send(to, Message::Confirm { epoch, round: number });
        }
        self.on_confirmed(me, epoch, number, out);
        if mutant!(ReadsUnconfirmed) {
            self.members().clone().iter().for_each(|node| self.on_confirmed(node, epoch, number, out));
        }
    }

    pub(super) fn on_confirmed(&mut self, from: NodeId, epoch: Ballot, round: u64, _: &mut Out) {
        let Role::Leader(leading) = &mut self.role else { return };
        let other = leading.round.number != round && !mutant!(ConfirmedAcrossRounds);
        if leading.epoch != epoch || other || !self.membership.members().contains(from) {
            return;
        }
        leading.round.confirmed.add(from);
        if leading.round.confirmed.is_majority(self.membership.members()) {
            let slot = leading.round.slot;
            let reads = std::mem::take(&mut leading.round.reads);
            self.notices.extend(reads.into_iter().map(|read| Notice::Readable { read, slot }));
        }
    }

    /// Somebody waits for a follower to know what is committed: it is sent what it lacks, or just told, with the next
    /// [`Log::flush`].
    pub fn tell_committed(&mut self, to: NodeId) {
        let Role::Leader(leading) = &mut self.role else { return };
        if let Some(follower) = leading.followers.get_mut(&to) {
            follower.awaited = true;
        }
    }

    /// This node leaves the cluster: all the others are told at once what is committed.
    pub fn farewell(&mut self, out: &mut Out) {
        let Role::Leader(leading) = &mut self.role else { return };
        leading.followers.values_mut().for_each(|follower| follower.awaited = true);
        let length = leading.flushed;
        self.send_entries(length, out);
    }

    /// The transport saw that a member's process has ended: what was under way to it is lost.
    pub fn disconnected(&mut self, peer: NodeId) {
        let (most, now) = (self.prompt_followers(), self.now_ticks);
        let Role::Leader(leading) = &mut self.role else { return };
        if let Some(follower) = leading.followers.get_mut(&peer) {
            // Another takes its place at once.
            follower.gone = true;
            leading.appoint(self.membership.members(), now, most);
        }
    }

    /// How many followers are sent entries at once.
    fn prompt_followers(&self) -> usize {
        let members = self.members();
        if self.options.thrifty { members.majority() - 1 } else { members.others(self.id).count() }
    }

    pub(super) fn tick_leading(&mut self, out: &mut Out) {
        let (now, options, committed) = (self.now_ticks, self.options, self.memory.committed);
        let most = self.prompt_followers();
        let Role::Leader(leading) = &mut self.role else { return };
        leading.appoint(self.membership.members(), now, most);
        let Leading { epoch, followers, round, asked_ticks, waiting_reads, flushed: length, .. } = &mut **leading;
        let (length, hash) = (*length, self.memory.entries.hash_at(*length).unwrap_or(0));
        for (&to, follower) in followers.iter_mut() {
            // Not since it was last sent something: under load that is always just now.
            if follower.under_way > 0 && follower.waiting_since + options.resend_ticks <= now {
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
            let others = self.membership.members().others(self.id);
            let silent = others.filter(|node| !followers.contains_key(node));
            silent.for_each(|to| out.send(to, Message::Prepare { epoch: *epoch }));
        }
        if !round.reads.is_empty() && !round.wide && round.asked_ticks < now {
            // Whoever was asked first is late: the others may be faster.
            round.wide = true;
            let rest = self.membership.members().others(self.id).filter(|node| !round.confirmed.contains(*node));
            rest.for_each(|to| out.send(to, Message::Confirm { epoch: *epoch, round: round.number }));
        }
        if !round.reads.is_empty() && round.asked_ticks + options.resend_ticks <= now {
            waiting_reads.append(&mut round.reads);
        }
    }
}

impl Follower {
    pub(super) const fn new(holding: Holding) -> Self {
        Self {
            holding,
            matched: None,
            sent: 0,
            under_way: 0,
            sent_ticks: 0,
            waiting_since: 0,
            told_committed: 0,
            prompt: false,
            awaited: false,
            gone: false,
        }
    }

    /// What it said that it has, when it promised.
    pub(super) const fn holding(&self) -> &Holding {
        &self.holding
    }

    /// Whether an answer takes longer than it should: a tick, and what was left of the one before.
    const fn is_overdue(&self, now: u64) -> bool {
        self.gone || (self.under_way > 0 && self.waiting_since + 2 <= now)
    }

    /// Whether it is to be sent what it lacks of a log of this length now. For who is no member somebody waits: until it
    /// can be one, or knows that it is none any more.
    const fn is_due(&self, now: u64, length: u64, is_member: bool) -> bool {
        let ticks = if is_member { LATE_TICKS } else { 1 };
        self.prompt || self.awaited || self.sent_ticks + ticks <= now || length - self.sent >= LATE_ENTRIES
    }

    /// What it has accepted in this epoch.
    fn counted(&self) -> Option<u64> {
        self.matched.or_else(|| mutant!(CommitsByPromises).then_some(self.holding.length))
    }

    /// Whether it has the log up to here, and has heard that this much is committed.
    pub(super) fn knows(&self, slot: u64) -> bool {
        self.under_way == 0 && self.told_committed >= slot && self.matched.is_some_and(|length| length >= slot)
    }

    const fn note_sent(&mut self, now: u64, committed: u64) {
        if self.under_way == 0 {
            self.waiting_since = now;
        }
        self.under_way += 1;
        self.sent_ticks = now;
        self.told_committed = committed;
        self.awaited = false;
    }
}
