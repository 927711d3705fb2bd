//! The proposer's side: an epoch of one's own, the log that it begins with, and the entries that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::changing::{Newcomer, Removed};
use super::fetch::{Fetching, Purpose};
use super::members::Membership;
use super::memory::Record;
use super::{Beginning, Command, Entry, Holding, Log, Message, Notice, Role, first_of_epoch};
use crate::protocol::Out;
use crate::protocol::quorum::{Members, Tally};
use crate::protocol::types::{Ballot, NodeId};

/// A follower that is not prompt does not lag further behind than this.
const LATE_ENTRIES: u64 = 256;

/// Phase 1: promises are collected.
#[derive(Debug, Clone, Hash)]
pub(super) struct Campaign {
    epoch: Ballot,
    promised: Tally,
    /// What they have, and the last membership in it.
    holdings: BTreeMap<NodeId, (Holding, Option<Arc<Membership>>)>,
    /// Who was asked: the members that we know of, and those of logs that may be adopted.
    asked: BTreeSet<NodeId>,
    /// Whose log is adopted, once a majority has promised.
    adopted: Option<Holding>,
    until_ticks: u64,
}

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
    /// Whether entries are sent to it at once. The others get them once a tick, in one message.
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

impl Campaign {
    pub(super) const fn epoch(&self) -> Ballot {
        self.epoch
    }

    /// The memberships that those who promised know of.
    pub(super) fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.holdings.values().filter_map(|(_, members)| members.as_deref())
    }
}

impl Leading {
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
    /// An election says that this node shall lead: asks a majority for an epoch.
    pub fn campaign(&mut self, out: &mut Out) {
        if !matches!(self.role, Role::Follower) {
            return;
        }
        let promised = self.memory.promised.map_or(0, |epoch| epoch.round);
        let more = u64::from(!mutant!(EpochUsedAgain));
        let may = self.memory.proven && self.members().contains(self.id);
        let Some(round) = promised.max(self.highest_round).max(1 - more).checked_add(more).filter(|_| may) else {
            // Without a memory, or as no member, this node has no vote of its own, and cannot lead.
            self.notices.push(Notice::Deposed(None));
            return;
        };
        let epoch = Ballot { round, node: self.id };
        self.fetching = None;
        self.highest_round = round;
        let until_ticks = self.now_ticks + self.options.campaign_ticks;
        let (promised, holdings) = (Tally::default(), BTreeMap::new());
        let asked = self.members().iter().collect();
        self.role = Role::Candidate(Campaign { epoch, promised, holdings, asked, adopted: None, until_ticks });
        self.save(Record::Promise { epoch }, out);
        for to in self.membership.members().others(self.id) {
            out.send(to, Message::Prepare { epoch });
        }
        let (holds, members) = (self.holding(), self.memory.members_at(self.memory.length()).cloned());
        self.on_promise(self.id, epoch, holds, true, members, out);
    }

    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        epoch: Ballot,
        holds: Holding,
        votes: bool,
        members: Option<Arc<Membership>>,
        out: &mut Out,
    ) {
        self.hear_newcomer(from);
        match &mut self.role {
            Role::Candidate(campaign) if campaign.epoch == epoch || mutant!(LatePromiseOfEpochCounts) => {
                if !campaign.asked.contains(&from) {
                    return out.ignore(from, "a promise of a node that is no member");
                }
                campaign.holdings.insert(from, (holds, members));
                if votes || mutant!(CountsNonVoters) {
                    campaign.promised.add(from);
                }
                self.adopt_if_promised(out);
            }
            Role::Leader(leading) if leading.epoch == epoch && from != self.id => {
                let newcomer = leading.newcomer.as_ref().is_some_and(|newcomer| newcomer.node == from);
                if !newcomer && !self.membership.members().contains(from) {
                    return out.ignore(from, "a promise of a node that is no member");
                }
                leading.followers.entry(from).or_insert_with(|| Follower::new(holds));
            }
            _ => {}
        }
    }

    /// With a majority's promises: the highest epoch's log, and of those the longest, holds all that may be chosen. The
    /// majority is of the members that this very log ends with.
    fn adopt_if_promised(&mut self, out: &mut Out) {
        let Role::Candidate(campaign) = &mut self.role else { return };
        if campaign.adopted.is_some() {
            return;
        }
        let voted = campaign.holdings.iter().filter(|(node, _)| campaign.promised.contains(**node));
        let best = voted.max_by_key(|(node, (holds, _))| {
            let own = **node == self.id;
            match () {
                () if mutant!(AdoptsShortestLog) => (holds.accepted, u64::MAX - holds.length, own),
                () if mutant!(AdoptsLongestLog) => (None, holds.length, own),
                () if mutant!(AdoptsOwnLog) => (None, 0, own),
                () => (holds.accepted, holds.length, own),
            }
        });
        let Some((&best, (holds, members))) = best else { return };
        let (holds, members) = (*holds, members.clone());
        let members = members.as_deref().unwrap_or(&self.founding).members();
        if !members.contains(self.id) {
            return self.step_down(None);
        }
        if !campaign.promised.is_majority(members) && !mutant!(EpochBeforeMajority) {
            let epoch = campaign.epoch;
            let unasked: Vec<NodeId> = members.iter().filter(|node| campaign.asked.insert(*node)).collect();
            if !unasked.is_empty() {
                self.note_correspondents();
            }
            return unasked.into_iter().for_each(|to| out.send(to, Message::Prepare { epoch }));
        }
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
        self.note_correspondents();
        let members = self.membership.members();
        let others = holdings.into_iter().filter(|(node, _)| *node != self.id && members.contains(*node));
        let followers: BTreeMap<NodeId, Follower> =
            others.map(|(node, (holding, _))| (node, Follower::new(holding))).collect();
        let known = followers.values().map(|follower| follower.holding.committed).max().unwrap_or(0);
        self.learn_committed(known.min(adopted.length));
        self.role = Role::Leader(Box::new(Leading {
            epoch,
            began,
            followers,
            newcomer: None,
            removed: Vec::new(),
            durable: 0,
            flushed: start,
            handed: start,
            waiting_reads: Vec::new(),
            round: Round::default(),
            asked_ticks: self.now_ticks,
        }));
        self.notices.push(Notice::Established(epoch));
        out.send(self.id, Message::Accepted { epoch, length: Some(start) });
    }

    pub(super) fn on_reject(&mut self, from: NodeId, epoch: Ballot, promised: Ballot, out: &mut Out) {
        let known = self.memory.promised.map_or(0, |promised| promised.round).max(self.highest_round);
        let asked = match &self.role {
            Role::Follower => false,
            Role::Candidate(campaign) => campaign.asked.contains(&from),
            Role::Leader(leading) => {
                let newcomer = leading.newcomer.as_ref().is_some_and(|newcomer| newcomer.node == from);
                newcomer || leading.followers.contains_key(&from)
            }
        };
        if !(asked || self.members().contains(from))
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
            let silent = campaign.asked.iter().copied().filter(|node| !campaign.holdings.contains_key(node));
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
                Some(_) if !follower.is_due(pace.0, length) => {}
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
    const fn new(holding: Holding) -> Self {
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

    /// Whether an answer takes longer than it should: a tick, and what was left of the one before.
    const fn is_overdue(&self, now: u64) -> bool {
        self.gone || (self.under_way > 0 && self.waiting_since + 2 <= now)
    }

    /// Whether it is to be sent what it lacks of a log of this length now.
    const fn is_due(&self, now: u64, length: u64) -> bool {
        self.prompt || self.awaited || self.sent_ticks < now || length - self.sent >= LATE_ENTRIES
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
