//! Single-decree Paxos, once per named instance. Source: Lamport, "Paxos Made Simple" (2001), section 2.
//!
//! # What it guarantees
//!
//! Only a proposed value is chosen, at most one per instance, and a node learns only what was chosen, whatever is
//! lost, doubled, delayed or crashed. Of 2f + 1 members f may be down and it still decides.
//!
//! # The story
//!
//! 1. A proposer picks a ballot above all it has seen. Its own acceptor promises it, durably, before anyone else
//!    hears of it: so no ballot is used twice, also across a crash.
//! 2. It sends Prepare to all.
//! 3. An acceptor promises to accept nothing lower, and returns what it has accepted (2.2, phase 1b, P2c).
//! 4. With promises of a majority, the proposer must take the value of the highest ballot among those accepted; only
//!    if there is none is it free to take its client's.
//! 5. It sends Accept to all, itself included.
//! 6. An acceptor accepts unless it has promised higher (P1a); accepting raises the promise.
//! 7. With acceptances of a majority the value is chosen; the proposer tells all by Commit.
//!
//! Refused, or out of time: a higher round after a randomised pause that grows, until the client's deadline.
//!
//! # Messages
//!
//! | message | who sends it | when | who handles it |
//! |---|---|---|---|
//! | Prepare | proposer | it starts a ballot | acceptor |
//! | Promise | acceptor | it promised the ballot | proposer, in that ballot only |
//! | Accept | proposer | a majority promised | acceptor |
//! | Accepted | acceptor | it accepted | proposer, in that ballot only |
//! | Reject | acceptor | it has promised higher | proposer, in that ballot only |
//! | Commit | proposer | a majority accepted | learner |
//! | Committed | learner | it knows the value now | nobody: it answers the caller |
//! | Learn, Learned | learner | now and then | learner (see [`learner`]) |
//!
//! # Invariants
//!
//! A promise never falls. Accepted is never above promised. A ballot has one owner and one value. Before Accept(b, v)
//! leaves, a majority of distinct members promised exactly b, and v is the value of the highest ballot accepted among
//! them. [`crate::sim`] asserts these after every step.
//!
//! # Caveats
//!
//! - There is no leader: two proposers can pre-empt each other for ever, and only the pauses make that improbable.
//! - The first rejection ends a ballot, although a majority might still have accepted: a simple rule, at the cost of a
//!   round.
//! - Every instance ever touched stays in memory; [`Options::max_instances`] bounds them.
//! - A guest of the lab who sends Prepare and Accept by hand is believed to be an honest proposer, as any is in Paxos:
//!   one who accepts without asking first, or uses a ballot that a node owns, can make two values chosen. Nodes in
//!   service have no guests.
//! - `yours` compares values, not calls: two clients that propose the same value both hear `yours`.

pub mod learner;
mod proposer;

use std::collections::{BTreeMap, BTreeSet};

use log::error;
use rand_pcg::Pcg64Mcg;

use super::durable::{Durable, Remembered};
use super::quorum::Members;
use super::types::{Ballot, Instance, NodeId, RequestId, Value};
use super::{Event, Out, Record};
use learner::Learner;
use proposer::Proposer;

/// What nodes say to each other; see the table above.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the module's table says who sends what; the fields are the papers'")]
pub enum Message {
    Prepare { instance: Instance, ballot: Ballot },
    Promise { instance: Instance, ballot: Ballot, accepted: Option<(Ballot, Value)> },
    Accept { instance: Instance, ballot: Ballot, value: Value },
    Accepted { instance: Instance, ballot: Ballot },
    Reject { instance: Instance, ballot: Ballot, promised: Ballot },
    Commit { instance: Instance, ballot: Ballot, value: Value },
    Committed { instance: Instance, ballot: Ballot },
    Learn(learner::Ask),
    Learned(learner::Answer),
}

/// How a client's proposal went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The instance is decided.
    Chosen {
        /// The ballot in which this node learned it.
        ballot: Ballot,
        /// The chosen value.
        value: Value,
        /// Whether that is the value this client asked for.
        yours: bool,
        /// How many ballots this node tried for the client.
        attempts: u32,
    },
    /// Definite: no Accept with this value left while anyone waited here, because higher ballots stood in the way.
    Preempted {
        /// The ballot that the last rejection named.
        ballot: Ballot,
        /// How many ballots were tried.
        attempts: u32,
    },
    /// Definite: no Accept with this value left while anyone waited here, because no majority answered.
    Unavailable {
        /// Who did not answer the last ballot.
        silent: Vec<NodeId>,
        /// How many ballots were tried.
        attempts: u32,
    },
    /// Indefinite: an Accept with this value left, and no majority was heard.
    Unknown {
        /// The last ballot in which it left.
        ballot: Ballot,
        /// Who did not answer the last ballot.
        silent: Vec<NodeId>,
        /// How many ballots were tried.
        attempts: u32,
    },
    /// The node was restarted while the call was running; nothing of its instance remains here.
    Restarted,
    /// Definite: the node holds as many instances as it may.
    Full,
    /// Definite: the node's disk is full.
    NoRoom,
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long a ballot may take before it is given up, in ticks.
    pub ballot_ticks: u64,
    /// The longest pause before a new ballot, in ticks; the first is 1 or 2, then the bound doubles.
    pub max_pause_ticks: u64,
    /// How often the node asks a peer what it missed, in ticks.
    pub learn_ticks: u64,
    /// How many instances a node holds.
    pub max_instances: usize,
    /// Whether a first ballot asks only as many acceptors as a majority needs, and the rest when those are late. Phase
    /// 1 and 2 need no more (2.2: "a majority of acceptors"); a lecture's figures, and the lab, send to all.
    pub thrifty: bool,
    /// After how many ticks a node that has accepted in an instance, and hears of no decision, runs a ballot of its own to
    /// find out: with the value it accepted, since it has none to propose. Then nothing that a client was told can be
    /// hidden for long, also if every record of the decision is lost, and decisions need not be saved. A lab has none:
    /// there nothing moves that nobody asked for.
    pub finish_ticks: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ballot_ticks: 40,
            max_pause_ticks: 64,
            learn_ticks: 100,
            max_instances: 1_000_000,
            thrifty: false,
            finish_ticks: None,
        }
    }
}

impl Options {
    /// For nodes in service: as few messages and syncs as will do.
    #[must_use]
    pub fn for_service(self) -> Self {
        Self { thrifty: true, finish_ticks: Some(300), ..self }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Names the call.
    pub request: RequestId,
    /// Where to decide.
    pub instance: Instance,
    /// The value it would like.
    pub value: Value,
    /// How long the client waits, in ticks.
    pub deadline_ticks: u64,
    /// After this many first rejections the proposer tries again at once, without a pause: the lab's livelock.
    pub impatient: u32,
    /// How long a ballot may take, in ticks, if not as long as the node's [`Options::ballot_ticks`] say.
    pub ballot_ticks: Option<u64>,
}

/// How far above the highest round it knows an acceptor believes a ballot. A hostile or broken caller could otherwise
/// use up the rounds with one message; in honest runs rounds grow one at a time.
pub const MAX_ROUND_LEAP: u64 = 1 << 20;

/// One node's acceptors, proposers and learner, for all instances.
#[derive(Debug, Clone)]
pub struct Paxos {
    id: NodeId,
    members: Members,
    options: Options,
    rng: Pcg64Mcg,
    /// Ticks since the start. Never durable: only differences count.
    now_ticks: u64,
    /// What the acceptor and the learner know; mirrors the records saved.
    instances: BTreeMap<Instance, Remembered>,
    /// The ballots that this node runs, at most one per instance; each lives as long as a client waits for it.
    proposers: BTreeMap<Instance, Proposer>,
    /// Decided instances whose record was only noted: saved before anyone who asks is told.
    noted: BTreeSet<Instance>,
    learner: Learner,
    /// Members that let a thrifty ballot wait and have not been heard since.
    silent: BTreeSet<NodeId>,
    /// Whether this node's disk is short of room: clients' values are refused then.
    short: bool,
}

impl Paxos {
    /// Starts from what the node remembers.
    #[must_use]
    pub fn new(id: NodeId, members: Members, options: Options, durable: Durable, mut rng: Pcg64Mcg) -> Self {
        let learner = Learner::new(&durable, &mut rng);
        let proposers = BTreeMap::new();
        Self {
            id,
            members,
            options,
            rng,
            now_ticks: 0,
            instances: durable.instances,
            proposers,
            noted: BTreeSet::new(),
            learner,
            silent: BTreeSet::new(),
            short: false,
        }
    }

    /// Handles one message of a member or, for Prepare, Accept and Commit, of a guest.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        self.silent.remove(&from);
        match message {
            Message::Prepare { instance, ballot } => self.on_prepare(from, instance, ballot, out),
            Message::Promise { instance, ballot, accepted } => self.on_promise(from, &instance, ballot, accepted, out),
            Message::Accept { instance, ballot, value } => self.on_accept(from, instance, ballot, value, out),
            Message::Accepted { instance, ballot } => self.on_accepted(from, &instance, ballot, out),
            Message::Reject { instance, ballot, promised } => self.on_reject(from, &instance, ballot, promised, out),
            Message::Commit { instance, ballot, value } => self.on_commit(from, instance, ballot, value, out),
            Message::Committed { .. } => {}
            Message::Learn(ask) => self.on_learn(from, &ask, out),
            Message::Learned(answer) => self.on_learned(from, answer, out),
        }
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now_ticks += 1;
        self.tick_proposers(out);
        self.tick_learner(out);
    }

    /// What is known of an instance.
    #[must_use]
    pub fn remembered(&self, instance: &Instance) -> Option<&Remembered> {
        self.instances.get(instance)
    }

    /// All instances this node has heard of.
    #[must_use]
    pub const fn instances(&self) -> &BTreeMap<Instance, Remembered> {
        &self.instances
    }

    /// How many instances this node knows to be decided.
    #[must_use]
    pub fn decided_count(&self) -> usize {
        self.learner.decided_count()
    }

    /// How many ballots this node is running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.proposers.len()
    }

    /// The ballot that this node's proposer is running in an instance.
    #[must_use]
    pub fn running_ballot(&self, instance: &Instance) -> Option<Ballot> {
        self.proposers.get(instance).and_then(Proposer::running)
    }

    /// The clients that wait for an answer.
    pub fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.proposers.values().flat_map(Proposer::waiting)
    }

    /// Whether the disk is short of room, from now on: see [`super::strong::room`].
    pub(super) const fn set_short(&mut self, short: bool) {
        self.short = short;
    }

    // The acceptor.

    /// Phase 1b: promise, unless a higher ballot was promised.
    fn on_prepare(&mut self, from: NodeId, instance: Instance, ballot: Ballot, out: &mut Out) {
        let Some(acceptor) = self.acceptor(&instance, from, ballot, out) else { return };
        let accepted = acceptor.accepted.clone().filter(|_| !mutant!(PromiseHidesAccepted));
        match acceptor.promised {
            Some(promised) if ballot < promised && !mutant!(PromisesLower) => {
                out.send(from, Message::Reject { instance, ballot, promised });
                return;
            }
            // Heard before: what was promised stands, and need not be saved again.
            Some(promised) if ballot == promised && !mutant!(SavesPromiseAgain) => {}
            _ => {
                acceptor.promised = Some(ballot);
                out.save(Record::Promise { instance: instance.clone(), ballot });
            }
        }
        out.send(from, Message::Promise { instance, ballot, accepted });
    }

    /// Phase 2b: accept, unless a higher ballot was promised. Accepting raises the promise.
    fn on_accept(&mut self, from: NodeId, instance: Instance, ballot: Ballot, value: Value, out: &mut Out) {
        let Some(acceptor) = self.acceptor(&instance, from, ballot, out) else { return };
        if let Some(promised) = acceptor.promised.filter(|&promised| ballot < promised && !mutant!(AcceptsLower)) {
            out.send(from, Message::Reject { instance, ballot, promised });
            return;
        }
        if acceptor.decided.as_ref().is_some_and(|(_, decided)| *decided != value) {
            out.ignore(from, "the instance is decided, and not with this value");
            return;
        }
        match &acceptor.accepted {
            Some((accepted, other)) if *accepted == ballot && *other != value && !mutant!(AcceptsTwoValues) => {
                out.ignore(from, "another value was accepted in this very ballot");
                return;
            }
            // Heard before: it is accepted already, and need not be saved again.
            Some((accepted, _)) if *accepted == ballot && !mutant!(SavesAcceptanceAgain) => {}
            _ => {
                if !mutant!(AcceptKeepsPromise) {
                    acceptor.promised = Some(ballot);
                }
                acceptor.accepted = Some((ballot, value.clone()));
                if acceptor.decided.is_none() {
                    self.learner.opened(&instance, self.now_ticks);
                }
                out.save(Record::Accept { instance: instance.clone(), ballot, value });
            }
        }
        out.send(from, Message::Accepted { instance, ballot });
    }

    /// The acceptor's state for an instance, made if need be; `None`, and ignored, if the ballot cannot be meant.
    fn acceptor(
        &mut self,
        instance: &Instance,
        from: NodeId,
        ballot: Ballot,
        out: &mut Out,
    ) -> Option<&mut Remembered> {
        if from != NodeId::GUEST && from != ballot.node && !mutant!(AnyonesBallot) {
            out.ignore(from, "the ballot is another node's");
            return None;
        }
        let known = self.instances.get(instance).and_then(|state| state.promised).map_or(0, |promised| promised.round);
        if ballot.round > known.saturating_add(MAX_ROUND_LEAP) && !mutant!(BallotsLeap) {
            out.ignore(from, "the ballot leaps too far above what was promised here");
            return None;
        }
        if !self.instances.contains_key(instance) {
            if self.instances.len() >= self.options.max_instances {
                out.ignore(from, "this node holds as many instances as it may");
                return None;
            }
            self.instances.insert(instance.clone(), Remembered::default());
        }
        self.instances.get_mut(instance)
    }

    // The learner; what it does when a Commit was missed is in `learner`.

    fn on_commit(&mut self, from: NodeId, instance: Instance, ballot: Ballot, value: Value, out: &mut Out) {
        let room = self.instances.len() < self.options.max_instances;
        let known = self.instances.get(&instance);
        if known.is_none() && !room {
            out.ignore(from, "this node holds as many instances as it may");
            return;
        }
        if let Some((_, decided)) = known.and_then(|state| state.decided.as_ref())
            && *decided != value
        {
            error!("instance '{instance}' is decided as {decided}, but {from} commits {value} in ballot {ballot}");
            out.ignore(from, "the instance is decided, and not with this value");
            return;
        }
        self.decide(&instance, ballot, &value, out);
        out.send(from, Message::Committed { instance, ballot });
    }

    /// The value is chosen, and this node knows it now.
    fn decide(&mut self, instance: &Instance, ballot: Ballot, value: &Value, out: &mut Out) {
        let state = self.instances.entry(instance.clone()).or_default();
        if state.decided.is_some() && !mutant!(DecidesAgain) {
            return;
        }
        state.decided = Some((ballot, value.clone()));
        self.learner.decided(instance);
        let (instance, value) = (instance.clone(), value.clone());
        let record = Record::Decide { instance: instance.clone(), ballot, value: value.clone() };
        // What makes a value chosen is the acceptances of a majority, and those are saved. But they may have to be looked
        // for: who does not do that saves what a client relies on.
        if self.proposers.contains_key(&instance) && self.options.finish_ticks.is_none() {
            out.save(record);
        } else {
            self.noted.insert(instance.clone());
            out.note(record);
        }
        out.notify(Event::Decided { instance: instance.clone(), ballot, value });
        self.answer_decided(&instance, out);
    }

    /// Somebody outside asks this node what it knows of an instance: what was only noted is saved first, so that it
    /// does not know less later, also when the machine loses power.
    pub fn tell(&mut self, instance: &Instance, out: &mut Out) -> Option<Remembered> {
        let known = self.instances.get(instance).cloned();
        if let Some((ballot, value)) = known.as_ref().and_then(|known| known.decided.clone())
            && self.noted.remove(instance)
            && !mutant!(TellsWhatWasNoted)
        {
            out.save(Record::Decide { instance: instance.clone(), ballot, value });
        }
        known
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        for (instance, state) in &self.instances {
            let accepted = state.accepted.as_ref().map(|(ballot, _)| *ballot);
            assert!(
                accepted <= state.promised,
                "{instance}: accepted {accepted:?} above promised {:?}",
                state.promised
            );
        }
        let decided: BTreeSet<&Instance> =
            self.instances.iter().filter(|(_, state)| state.decided.is_some()).map(|(instance, _)| instance).collect();
        assert_eq!(decided.len(), self.learner.decided_count(), "the learner's list misses or doubles an instance");
        for (instance, proposer) in &self.proposers {
            assert!(!decided.contains(instance), "{instance}: a proposer runs on after the decision");
            proposer.check_invariants(self.id);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
