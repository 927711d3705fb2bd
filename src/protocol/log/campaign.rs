//! Phase 1: an epoch of one's own is asked for, and the log that it begins with is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fetch::{Fetching, Purpose};
use super::leader::{Follower, Leading};
use super::members::Membership;
use super::memory::Record;
use super::{Beginning, Entry, Holding, Log, Message, Notice, Role, first_of_epoch};
use crate::protocol::Out;
use crate::protocol::quorum::Tally;
use crate::protocol::types::{Ballot, NodeId};

/// Promises are collected.
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

impl Campaign {
    pub(super) const fn epoch(&self) -> Ballot {
        self.epoch
    }

    /// The memberships that those who promised know of.
    pub(super) fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.holdings.values().filter_map(|(_, members)| members.as_deref())
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
        let known = followers.values().map(|follower| follower.holding().committed).max().unwrap_or(0);
        self.learn_committed(known.min(adopted.length));
        self.role = Role::Leader(Box::new(Leading::new(epoch, began, followers, self.now_ticks)));
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
}
