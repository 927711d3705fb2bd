//! The proposer: takes clients' values through ballots until one is chosen or the client's time is up.

use std::collections::{BTreeMap, VecDeque};

use rand::RngExt;

use super::{MAX_ROUND_LEAP, Message, Outcome, Paxos, Proposal};
use crate::protocol::quorum::{Members, Tally};
use crate::protocol::types::{Ballot, Instance, NodeId, RequestId, Value};
use crate::protocol::{Event, Out, Record};

/// How long a thrifty ballot waits for those it asked, in ticks: longer than any sync takes that is not in trouble.
const WIDEN_TICKS: u64 = 5;

/// One instance's proposer on one node. Several clients may wait for it; ballots carry the first one's value.
#[derive(Debug, Clone)]
pub(super) struct Proposer {
    waiters: VecDeque<Waiter>,
    phase: Phase,
    /// How long a phase may take.
    ballot_ticks: u64,
    /// When the phase is over, in ticks.
    until_ticks: u64,
    /// The members that the phase has not asked, and when it will, in ticks.
    spared: Vec<NodeId>,
    widen_ticks: u64,
    attempts: u32,
    /// The values with which an Accept has left, and the last ballot in which: from then on only a decision tells what
    /// became of them.
    offered: BTreeMap<Value, Ballot>,
    /// The highest round heard of in a rejection.
    highest_round: u64,
    trouble: Trouble,
}

#[derive(Debug, Clone, Hash)]
struct Waiter {
    /// Absent where the node itself wants to know.
    request: Option<RequestId>,
    value: Value,
    deadline_ticks: u64,
    impatient: u32,
}

#[derive(Debug, Clone, Hash)]
enum Phase {
    Pausing,
    /// Phase 1: promises are counted; `adopted` is the highest ballot accepted among them, and its value.
    Preparing {
        ballot: Ballot,
        promised: Tally,
        adopted: Option<(Ballot, Value)>,
    },
    /// Phase 2: acceptances are counted.
    Accepting {
        ballot: Ballot,
        value: Value,
        accepted: Tally,
    },
}

/// What stopped a ballot: members that did not answer it, or the higher ballot that one of them had promised.
#[derive(Debug, Clone)]
enum Trouble {
    Silence(Vec<NodeId>),
    Rejected(Ballot),
}

impl Paxos {
    /// A client proposes. The answer is an [`Event::Answered`], at once if the instance is decided here.
    pub fn propose(&mut self, proposal: Proposal, out: &mut Out) {
        let Proposal { request, instance, value, deadline_ticks, impatient, ballot_ticks } = proposal;
        let state = self.tell(&instance, out);
        if let Some((ballot, chosen)) = state.as_ref().and_then(|state| state.decided.clone()) {
            let yours = chosen == value;
            let outcome = Outcome::Chosen { ballot, value: chosen, yours, attempts: 0 };
            out.notify(Event::Answered { request, outcome });
            return;
        }
        if self.short {
            out.notify(Event::Answered { request, outcome: Outcome::NoRoom });
            return;
        }
        if state.is_none() && self.instances.len() >= self.options.max_instances {
            out.notify(Event::Answered { request, outcome: Outcome::Full });
            return;
        }
        let deadline_ticks = self.now_ticks.saturating_add(deadline_ticks);
        let waiter = Waiter { request: Some(request), value, deadline_ticks, impatient };
        if let Some(proposer) = self.proposers.get_mut(&instance) {
            proposer.waiters.push_back(waiter);
            return;
        }
        let ballot_ticks = ballot_ticks.unwrap_or(self.options.ballot_ticks);
        self.proposers.insert(instance.clone(), Proposer::new(waiter, ballot_ticks));
        self.start_ballot(&instance, out);
    }

    /// Nobody has told this node what became of what it accepted: it runs a ballot of its own, to find out.
    pub(super) fn finish(&mut self, instance: &Instance, out: &mut Out) {
        let accepted = self.instances.get(instance).and_then(|state| state.accepted.clone());
        let Some((_, value)) = accepted.filter(|_| !self.proposers.contains_key(instance)) else { return };
        let deadline_ticks = self.now_ticks.saturating_add(2 * self.options.ballot_ticks);
        let waiter = Waiter { request: None, value, deadline_ticks, impatient: 0 };
        self.proposers.insert(instance.clone(), Proposer::new(waiter, self.options.ballot_ticks));
        self.start_ballot(instance, out);
    }

    /// Steps 1 and 2: a ballot that was never used, promised by our own acceptor before anyone hears of it.
    fn start_ballot(&mut self, instance: &Instance, out: &mut Out) {
        let Some(proposer) = self.proposers.get_mut(instance) else { return };
        let state = self.instances.entry(instance.clone()).or_default();
        let promised_round = state.promised.filter(|_| !mutant!(BallotBelowPromise)).map_or(0, |ballot| ballot.round);
        let round = promised_round.max(proposer.highest_round).saturating_add(u64::from(!mutant!(BallotUsedAgain)));
        let ballot = Ballot { round, node: self.id };
        proposer.attempts += 1;
        if let Some(higher) = state.promised.filter(|&promised| promised >= ballot)
            && !mutant!(BallotBelowPromise)
            && !mutant!(BallotUsedAgain)
        {
            // The rounds are used up, which takes 2^44 hostile leaps: nobody can propose any more, and clients are told.
            proposer.trouble = Trouble::Rejected(higher);
            return self.pause(instance);
        }
        let mut promised = Tally::default();
        state.promised = Some(ballot);
        promised.add(self.id);
        let adopted = state.accepted.clone().filter(|_| !mutant!(OwnAcceptanceForgotten));
        proposer.until_ticks = self.now_ticks.saturating_add(proposer.ballot_ticks);
        proposer.phase = Phase::Preparing { ballot, promised, adopted };
        out.save(Record::Promise { instance: instance.clone(), ballot });
        out.notify(Event::Proposing { instance: instance.clone(), ballot });
        for to in self.asked_first(instance) {
            out.send(to, Message::Prepare { instance: instance.clone(), ballot });
        }
        self.accept_if_promised(instance, out);
    }

    /// Step 4: a Promise counts once per node, and only for the ballot now running.
    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        instance: &Instance,
        ballot: Ballot,
        accepted: Option<(Ballot, Value)>,
        out: &mut Out,
    ) {
        if !self.members.contains(from) && !mutant!(StrangersVote) {
            return out.ignore(from, "a promise of a node that is no member");
        }
        if accepted.as_ref().is_some_and(|(accepted, _)| *accepted >= ballot) {
            return out.ignore(from, "a promise that has accepted the ballot it promises, or a higher one");
        }
        let Some(Proposer { phase: Phase::Preparing { ballot: running, promised, adopted }, .. }) =
            self.proposers.get_mut(instance)
        else {
            return;
        };
        if *running != ballot && !mutant!(LatePromiseCounts) {
            return;
        }
        promised.add(from);
        let higher = accepted.as_ref().map(|(ballot, _)| *ballot) > adopted.as_ref().map(|(ballot, _)| *ballot);
        let lowest = mutant!(AdoptsLowest) && accepted.is_some() && adopted.is_some();
        if higher != lowest || mutant!(AdoptsLast) && accepted.is_some() {
            *adopted = accepted;
        }
        self.accept_if_promised(instance, out);
    }

    /// Step 5: with a majority's promises, Accept goes to all, with the adopted value if there is one.
    fn accept_if_promised(&mut self, instance: &Instance, out: &mut Out) {
        let Some(proposer) = self.proposers.get_mut(instance) else { return };
        let Phase::Preparing { ballot, promised, adopted } = &proposer.phase else { return };
        if !promised.is_majority(&self.members) && !mutant!(AcceptBeforeMajority) {
            return;
        }
        let ballot = *ballot;
        let Some(value) = adopted
            .as_ref()
            .map(|(_, value)| value.clone())
            .filter(|_| !mutant!(AdoptsNothing))
            .or_else(|| proposer.waiters.front().map(|waiter| waiter.value.clone()))
        else {
            return;
        };
        if !mutant!(OfferForgotten) {
            proposer.offered.insert(value.clone(), ballot);
        }
        proposer.until_ticks = self.now_ticks.saturating_add(proposer.ballot_ticks);
        proposer.phase = Phase::Accepting { ballot, value: value.clone(), accepted: Tally::default() };
        // To the others first: they write while our own acceptor does.
        for to in self.asked_first(instance).into_iter().chain([self.id]) {
            out.send(to, Message::Accept { instance: instance.clone(), ballot, value: value.clone() });
        }
    }

    /// Whom a phase asks first, beside ourselves: all, except that a thrifty node's first ballot asks only as many as a
    /// majority needs. Any majority will do, and every acceptor spared spares a sync.
    fn asked_first(&mut self, instance: &Instance) -> Vec<NodeId> {
        let Some(proposer) = self.proposers.get_mut(instance) else { return Vec::new() };
        let mut asked: Vec<NodeId> = self.members.others(self.id).collect();
        proposer.spared.clear();
        if self.options.thrifty && proposer.attempts == 1 {
            // Starting behind ourselves, so that the nodes share the work; those that were silent last.
            asked.sort_by_key(|&other| (self.silent.contains(&other), other < self.id));
            proposer.spared = asked.split_off(self.members.majority() - 1);
        }
        proposer.widen_ticks = self.now_ticks.saturating_add(WIDEN_TICKS);
        asked
    }

    /// Those asked did not all answer in time: asks the others too, and prefers them from now on.
    fn widen(&mut self, instance: &Instance, out: &mut Out) {
        let Some(proposer) = self.proposers.get_mut(instance) else { return };
        let spared = std::mem::take(&mut proposer.spared);
        let (tally, message) = match &proposer.phase {
            Phase::Pausing => return,
            Phase::Preparing { ballot, promised, .. } => {
                (promised, Message::Prepare { instance: instance.clone(), ballot: *ballot })
            }
            Phase::Accepting { ballot, value, accepted } => {
                (accepted, Message::Accept { instance: instance.clone(), ballot: *ballot, value: value.clone() })
            }
        };
        self.silent.extend(tally.missing(&self.members).into_iter().filter(|late| !spared.contains(late)));
        for to in spared {
            out.send(to, message.clone());
        }
    }

    /// Step 7: with a majority's acceptances in the running ballot the value is chosen.
    pub(super) fn on_accepted(&mut self, from: NodeId, instance: &Instance, ballot: Ballot, out: &mut Out) {
        if !self.members.contains(from) && !mutant!(StrangersVote) {
            return out.ignore(from, "an acceptance of a node that is no member");
        }
        let Some(Proposer { phase: Phase::Accepting { ballot: running, value, accepted }, .. }) =
            self.proposers.get_mut(instance)
        else {
            return;
        };
        if *running != ballot && !mutant!(AcceptedAcrossBallots) {
            return;
        }
        accepted.add(from);
        if !accepted.is_majority(&self.members) && !mutant!(CommitBeforeMajority) {
            return;
        }
        let value = value.clone();
        for to in self.members.others(self.id) {
            out.send(to, Message::Commit { instance: instance.clone(), ballot, value: value.clone() });
        }
        self.decide(instance, ballot, &value, out);
    }

    /// Someone has promised a higher ballot: start over above it, after a pause.
    pub(super) fn on_reject(
        &mut self,
        from: NodeId,
        instance: &Instance,
        ballot: Ballot,
        higher: Ballot,
        out: &mut Out,
    ) {
        let known = self.instances.get(instance).and_then(|state| state.promised).map_or(0, |promised| promised.round);
        if !self.members.contains(from) || higher <= ballot || higher.round > known.saturating_add(MAX_ROUND_LEAP) {
            return out.ignore(from, "a rejection that cannot be meant");
        }
        let Some(proposer) = self.proposers.get_mut(instance) else { return };
        if proposer.running() != Some(ballot) && !mutant!(LateRejectStops) {
            return;
        }
        if !mutant!(RejectTeachesNothing) {
            proposer.highest_round = proposer.highest_round.max(higher.round);
        }
        proposer.trouble = Trouble::Rejected(higher);
        if proposer.waiters.iter_mut().any(Waiter::spend_impatience) {
            self.start_ballot(instance, out);
        } else {
            self.pause(instance);
        }
    }

    /// Clients whose time is up are answered; ballots whose time is up are given up; pauses end.
    pub(super) fn tick_proposers(&mut self, out: &mut Out) {
        let now = self.now_ticks;
        let due: Vec<Instance> = self
            .proposers
            .iter()
            .filter(|(_, proposer)| proposer.is_due(now))
            .map(|(instance, _)| instance.clone())
            .collect();
        for instance in due {
            let Some(proposer) = self.proposers.get_mut(&instance) else { continue };
            proposer.answer_overdue(now, &self.members, out);
            if proposer.waiters.is_empty() {
                self.proposers.remove(&instance);
            } else if proposer.until_ticks <= now {
                if matches!(proposer.phase, Phase::Pausing) {
                    self.start_ballot(&instance, out);
                } else {
                    proposer.trouble = Trouble::Silence(Vec::new());
                    proposer.trouble = proposer.trouble_now(&self.members);
                    self.pause(&instance);
                }
            } else if proposer.widens(now) {
                self.widen(&instance, out);
            }
        }
    }

    /// A random pause whose bound doubles with every attempt: of two proposers that pre-empt each other, one will
    /// sooner or later be left alone for long enough.
    /// A save has failed for want of room, and this node will be built anew from its disk: whoever waits is told what is
    /// known.
    pub(in crate::protocol) fn lose_room(&mut self, out: &mut Out) {
        for proposer in std::mem::take(&mut self.proposers).into_values() {
            for Waiter { request, value, .. } in proposer.waiters {
                let Some(request) = request else { continue };
                let attempts = proposer.attempts;
                let outcome = match proposer.offered.get(&value) {
                    Some(&ballot) => Outcome::Unknown { ballot, silent: Vec::new(), attempts },
                    None => Outcome::NoRoom,
                };
                out.notify(Event::Answered { request, outcome });
            }
        }
    }

    fn pause(&mut self, instance: &Instance) {
        let Some(proposer) = self.proposers.get_mut(instance) else { return };
        let bound = 1_u64.checked_shl(proposer.attempts).unwrap_or(u64::MAX).min(self.options.max_pause_ticks);
        proposer.until_ticks = self.now_ticks + self.rng.random_range(1..=bound.max(1));
        proposer.phase = Phase::Pausing;
        proposer.spared.clear();
    }

    /// Tells all clients of a decided instance, whoever's ballot decided it.
    pub(super) fn answer_decided(&mut self, instance: &Instance, out: &mut Out) {
        let decided = self.instances.get(instance).and_then(|state| state.decided.clone());
        let (Some((ballot, value)), Some(proposer)) = (decided, self.proposers.remove(instance)) else {
            return;
        };
        for waiter in proposer.waiters {
            let yours = waiter.value == value;
            let outcome = Outcome::Chosen { ballot, value: value.clone(), yours, attempts: proposer.attempts };
            if let Some(request) = waiter.request {
                out.notify(Event::Answered { request, outcome });
            }
        }
    }
}

impl Proposer {
    fn new(first: Waiter, ballot_ticks: u64) -> Self {
        Self {
            waiters: VecDeque::from([first]),
            phase: Phase::Pausing,
            ballot_ticks,
            until_ticks: 0,
            spared: Vec::new(),
            widen_ticks: 0,
            attempts: 0,
            offered: BTreeMap::new(),
            highest_round: 0,
            trouble: Trouble::Silence(Vec::new()),
        }
    }

    pub(super) fn running(&self) -> Option<Ballot> {
        match &self.phase {
            Phase::Pausing => None,
            Phase::Preparing { ballot, .. } | Phase::Accepting { ballot, .. } => Some(*ballot),
        }
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.waiters.iter().filter_map(|waiter| waiter.request)
    }

    fn is_due(&self, now: u64) -> bool {
        self.until_ticks <= now || self.widens(now) || self.waiters.iter().any(|waiter| waiter.deadline_ticks <= now)
    }

    const fn widens(&self, now: u64) -> bool {
        !self.spared.is_empty() && self.widen_ticks <= now
    }

    /// What stands in the way: the last ballot's trouble, or the silence of the running one.
    fn trouble_now(&self, members: &Members) -> Trouble {
        let missing = match &self.phase {
            Phase::Preparing { promised, .. } => promised.missing(members),
            Phase::Accepting { accepted, .. } => accepted.missing(members),
            Phase::Pausing => return self.trouble.clone(),
        };
        match self.trouble {
            Trouble::Rejected(ballot) => Trouble::Rejected(ballot),
            Trouble::Silence(_) => Trouble::Silence(missing),
        }
    }

    /// Answers the clients whose time is up: definitely not chosen, unless an Accept with their value has left.
    fn answer_overdue(&mut self, now: u64, members: &Members, out: &mut Out) {
        let (trouble, attempts) = (self.trouble_now(members), self.attempts);
        self.waiters.retain(|waiter| {
            if waiter.deadline_ticks > now {
                return true;
            }
            let outcome = match (self.offered.get(&waiter.value).copied(), trouble.clone()) {
                (Some(ballot), Trouble::Silence(silent)) => Outcome::Unknown { ballot, silent, attempts },
                (Some(ballot), Trouble::Rejected(_)) => Outcome::Unknown { ballot, silent: Vec::new(), attempts },
                (None, Trouble::Rejected(ballot)) => Outcome::Preempted { ballot, attempts },
                (None, Trouble::Silence(silent)) => Outcome::Unavailable { silent, attempts },
            };
            if let Some(request) = waiter.request {
                out.notify(Event::Answered { request, outcome });
            }
            false
        });
    }

    pub(super) fn check_invariants(&self, id: NodeId) {
        assert!(!self.waiters.is_empty(), "a proposer without a client");
        if let Some(ballot) = self.running() {
            assert_eq!(ballot.node, id, "a proposer runs a ballot that is not its own");
        }
    }
}

/// What a model must tell apart. Left out is what only times and reports depend on.
#[cfg(test)]
impl std::hash::Hash for Proposer {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        let Self {
            waiters,
            phase,
            highest_round,
            spared,
            ballot_ticks: _,
            until_ticks: _,
            widen_ticks: _,
            attempts: _,
            offered: _,
            trouble: _,
        } = self;
        (waiters, phase, highest_round, spared).hash(hasher);
    }
}

impl Waiter {
    fn spend_impatience(&mut self) -> bool {
        let impatient = self.impatient > 0;
        self.impatient = self.impatient.saturating_sub(1);
        impatient
    }
}
