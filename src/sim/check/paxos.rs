//! The clients and the invariants of single-decree Paxos.
//!
//! Generations are worlds apart, so everything is kept per generation and instance. The rules are named in [`rule`].

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::{Call, Subject, Verdict, Who, ensure};
use crate::protocol::durable::{Durable, Remembered};
use crate::protocol::host::{Host, Sender};
use crate::protocol::paxos::{Message, Outcome, Proposal};
use crate::protocol::quorum::Members;
use crate::protocol::types::{Ballot, Instance, NodeId, RequestId, Value};
use crate::protocol::{Effect, Event, Message as HostMessage, Record};
use crate::sim::report::Tally;

/// The names of the invariants.
mod rule {
    pub(super) const PROMISE_FALLS: &str = "a promise never falls, also across a restart";
    pub(super) const GENERATION_FALLS: &str = "a generation never falls";
    pub(super) const KEPT: &str = "what was synced is there after a crash";
    pub(super) const ACCEPTED_PROMISED: &str = "accepted is never above promised";
    pub(super) const ONE_VALUE: &str = "a ballot has one value";
    pub(super) const ONE_OWNER: &str = "a ballot has one owner";
    pub(super) const ONE_USE: &str = "a ballot is never used twice";
    pub(super) const MAJORITY: &str = "before an Accept leaves, a majority of distinct members has promised its ballot";
    pub(super) const ADOPT: &str = "an Accept carries the value of the highest ballot accepted among its promises";
    pub(super) const PROPOSED: &str = "only what was proposed is chosen";
    pub(super) const ONE_CHOSEN: &str = "one value is chosen, and it never changes";
    pub(super) const COMMITTED: &str = "what is committed was chosen by a majority in one ballot";
    pub(super) const SAVED_FIRST: &str = "nothing is heard of a promise or an acceptance before it is saved";
    pub(super) const ANSWER: &str = "a client is answered once, and truly";
}

/// The instances of the last turn are used to the end, so that nodes have room for all.
const MOST_TURNS: u64 = 20;

type Place = (u64, Instance);

/// What is known of all instances of one world.
#[derive(Debug)]
pub(in crate::sim) struct Paxos {
    members: Members,
    /// How many of a thousand ticks bring a wish; to how many instances at a time they go, and how many wishes each such
    /// set of instances gets. One instance makes for long fights, four for many short ones.
    haste: u32,
    width: u64,
    turn: u64,
    wishes: u64,
    places: BTreeMap<Place, Watched>,
    /// What binds each node in a generation, by instance.
    nodes: BTreeMap<(NodeId, u64), BTreeMap<Instance, Held>>,
    /// The clients that wait, and at which node.
    requests: BTreeMap<RequestId, (NodeId, Place, Value)>,
    next_request: u64,
    /// Where a healed core must decide, and the client that asks for it.
    goal: Instance,
    goals: u32,
    goal_request: Option<RequestId>,
    /// The generation that each node's disk is certain to have reached.
    generations: BTreeMap<NodeId, u64>,
    tally: Tally,
    steps: u64,
}

/// What is known of one instance in one generation.
#[derive(Debug, Default)]
struct Watched {
    /// The values that clients proposed.
    proposed: BTreeSet<Value>,
    /// The values whose clients were told that they are definitely not chosen.
    refused: BTreeSet<Value>,
    ballots: BTreeMap<Ballot, Run>,
    chosen: Option<Value>,
}

/// What binds one node in one instance.
#[derive(Debug, Default)]
struct Held {
    /// The highest promise it told anyone of.
    told: Option<Ballot>,
    /// The highest promise it had in its present life.
    promised: Option<Ballot>,
    /// What its disk is certain to keep.
    saved_promise: Option<Ballot>,
    saved_acceptance: Option<(Ballot, Value)>,
    saved_decision: bool,
    /// Whether it told a client what is chosen.
    answered: bool,
}

/// What is known of one ballot.
#[derive(Debug, Default)]
struct Run {
    /// Whether its Prepare has left.
    is_out: bool,
    /// The life of its owner in which it was last started.
    started_in: Option<u64>,
    /// Whose promises have reached its owner, and what each had accepted by then.
    promises: BTreeMap<NodeId, Option<(Ballot, Value)>>,
    /// The value that it carries, once an Accept was emitted.
    value: Option<Value>,
    accepted_by: BTreeSet<NodeId>,
}

impl Paxos {
    pub(in crate::sim) fn new(members: Members, rng: &mut Pcg64Mcg) -> Self {
        Self {
            members,
            haste: rng.random_range(20..=400),
            width: rng.random_range(1..=4),
            turn: rng.random_range(4..=40),
            wishes: 0,
            places: BTreeMap::new(),
            nodes: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            goal: Instance::default(),
            goals: 0,
            goal_request: None,
            generations: BTreeMap::new(),
            tally: Tally::default(),
            steps: 0,
        }
    }

    fn place(&mut self, generation: u64, instance: &Instance) -> &mut Watched {
        self.places.entry((generation, instance.clone())).or_default()
    }

    fn held(&mut self, node: NodeId, generation: u64, instance: &Instance) -> &mut Held {
        self.nodes.entry((node, generation)).or_default().entry(instance.clone()).or_default()
    }

    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// A node believes, or says, that a value was chosen.
    fn decided(&mut self, node: NodeId, generation: u64, instance: &Instance, value: &Value) -> Verdict {
        let chosen = &self.place(generation, instance).chosen;
        ensure(chosen.as_ref() == Some(value), rule::COMMITTED, || {
            format!("{instance}: {node} holds {value} for chosen, and {} is", shown(chosen.as_ref()))
        })
    }

    /// A node starts a ballot.
    fn proposing(&mut self, who: Who, host: &Host, instance: &Instance, ballot: Ballot) -> Verdict {
        self.tally.ballots += 1;
        let accepted = host.paxos().remembered(instance).and_then(|state| state.accepted.clone());
        let run = self.place(who.generation, instance).ballots.entry(ballot).or_default();
        let node = who.node;
        ensure(ballot.node == node, rule::ONE_OWNER, || format!("{node} runs ballot {ballot}"))?;
        ensure(run.started_in != Some(who.life), rule::ONE_USE, || {
            format!("{node} starts ballot {ballot} twice in one life")
        })?;
        ensure(!run.is_out, rule::ONE_USE, || format!("{node} uses {ballot} again, which others have heard of"))?;
        run.started_in = Some(who.life);
        run.promises = BTreeMap::from([(node, accepted)]);
        Ok(())
    }

    /// Whoever hears of a promise may rely on it: it is on disk, and binds the node from here on.
    fn tell(&mut self, who: Who, instance: &Instance, ballot: Ballot, disk: &Durable) -> Verdict {
        let saved = on_disk(disk, who, instance).map(|state| state.and_then(|state| state.promised));
        ensure(saved.is_none_or(|saved| saved >= Some(ballot)), rule::SAVED_FIRST, || {
            format!("{instance}: {} tells of a promise of {ballot} with {} on disk", who.node, shown(saved.flatten()))
        })?;
        let held = self.held(who.node, who.generation, instance);
        held.told = held.told.max(Some(ballot));
        Ok(())
    }

    /// The same of an acceptance.
    fn tell_accepted(&mut self, who: Who, instance: &Instance, ballot: Ballot, disk: &Durable) -> Verdict {
        let accepted = |state: &Remembered| state.accepted.as_ref().map(|(ballot, _)| *ballot);
        let saved = on_disk(disk, who, instance).map(|state| state.and_then(accepted));
        ensure(saved.is_none_or(|saved| saved >= Some(ballot)), rule::SAVED_FIRST, || {
            format!("{instance}: {} tells that it accepted {ballot} with {} on disk", who.node, shown(saved.flatten()))
        })?;
        self.tell(who, instance, ballot, disk)
    }

    fn outcome(&mut self, who: Who, request: RequestId, outcome: &Outcome) -> Verdict {
        let Some((_, (generation, instance), proposed)) = self.requests.remove(&request) else {
            return ensure(false, rule::ANSWER, || format!("{request:?} was answered twice"));
        };
        match outcome {
            Outcome::Chosen { value, yours, .. } => {
                self.tally.answered_chosen += 1;
                ensure(*yours == (proposed == *value), rule::ANSWER, || {
                    format!("{request:?} proposed {proposed} and is told that yours is {yours} for {value}")
                })?;
                self.held(who.node, generation, &instance).answered = true;
                self.decided(who.node, generation, &instance, value)
            }
            Outcome::Preempted { .. } | Outcome::Unavailable { .. } | Outcome::Full | Outcome::NoRoom => {
                self.tally.answered_refused += 1;
                let watched = self.place(generation, &instance);
                ensure(watched.chosen.as_ref() != Some(&proposed), rule::ANSWER, || {
                    format!("{instance}: {proposed} is chosen, and its client was told {outcome:?}")
                })?;
                watched.refused.insert(proposed);
                Ok(())
            }
            Outcome::Unknown { .. } | Outcome::Restarted => {
                self.tally.answered_unknown += 1;
                Ok(())
            }
        }
    }
}

impl Subject for Paxos {
    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        if !rng.random_ratio(self.haste, 1000) {
            return None;
        }
        let at = members[rng.random_range(0..members.len())];
        self.wishes += 1;
        let (turn, name) = ((self.wishes / self.turn).min(MOST_TURNS), rng.random_range(0..self.width));
        let instance = format!("{turn}/{name}").parse().unwrap_or_default();
        if rng.random_ratio(1, 8) {
            return Some((at, Call::Ask(instance)));
        }
        let deadline_ticks = if rng.random_ratio(1, 4) { rng.random_range(1..20) } else { rng.random_range(1..400) };
        let impatient = if rng.random_ratio(1, 8) { 3 } else { 0 };
        let ballot_ticks = rng.random_ratio(1, 8).then(|| rng.random_range(1..10));
        let request = self.request();
        let value = Value::new(&format!("<int>{}</int>", request.0));
        let proposal = Proposal { request, instance, value, deadline_ticks, impatient, ballot_ticks };
        Some((at, Call::Propose(proposal)))
    }

    fn healed(&mut self) {
        self.goals += 1;
        self.goal = format!("goal {}", self.goals).parse().unwrap_or_default();
        self.goal_request = None;
    }

    fn urge(&mut self, core: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        if self.goal_request.is_some_and(|request| self.requests.contains_key(&request)) {
            return None;
        }
        // Answered, but perhaps out of time or swept away by a restart: a client asks again until all know.
        let request = self.request();
        self.goal_request = Some(request);
        let value = Value::new(&format!("<int>{}</int>", request.0));
        let (instance, deadline_ticks) = (self.goal.clone(), 500);
        let proposal = Proposal { request, instance, value, deadline_ticks, impatient: 0, ballot_ticks: None };
        Some((core[rng.random_range(0..core.len())], Call::Propose(proposal)))
    }

    /// All live in one generation; know what was proposed last, and all that any of them knows; each knows what it told
    /// a client; and nobody waits for an answer.
    fn settled(&self, core: &[&Host]) -> Result<(), String> {
        let knows = |host: &Host, instance: &Instance| {
            host.paxos().remembered(instance).is_some_and(|state| state.decided.is_some())
        };
        let Some(generation) = core.first().map(|host| host.generation()) else { return Ok(()) };
        if core.iter().any(|host| host.generation() != generation) {
            let each: Vec<u64> = core.iter().map(|host| host.generation()).collect();
            return Err(format!("the nodes live in generations {each:?}"));
        }
        let held = core.iter().filter_map(|host| self.nodes.get(&(host.id(), generation))).flatten();
        let mut known: BTreeSet<&Instance> =
            held.filter(|(_, held)| held.answered).map(|(instance, _)| instance).collect();
        known.insert(&self.goal);
        known.extend(
            core.iter().flat_map(|host| host.paxos().instances().keys().filter(|instance| knows(host, instance))),
        );
        for host in core {
            if let Some(instance) = known.iter().find(|instance| !knows(host, instance)) {
                return Err(format!("{} does not know what was chosen in {instance}", host.id()));
            }
            if let Some(request) = host.paxos().waiting().next() {
                return Err(format!("{} has not answered {request:?}", host.id()));
            }
        }
        Ok(())
    }

    fn called(&mut self, who: Who, call: &Call) {
        if let Call::Propose(Proposal { request, instance, value, .. }) = call {
            self.tally.proposals += 1;
            self.place(who.generation, instance).proposed.insert(value.clone());
            self.requests.insert(*request, (who.node, (who.generation, instance.clone()), value.clone()));
        }
    }

    fn heard(&mut self, who: Who, sender: Sender, message: &HostMessage) {
        let HostMessage::Paxos(Message::Promise { instance, ballot, accepted }) = message else { return };
        // A promise that names the ballot itself, or a later one, is an answer to a Prepare that came twice.
        if sender.generation != Some(who.generation)
            || accepted.as_ref().is_some_and(|(accepted, _)| accepted >= ballot)
        {
            return;
        }
        let run = self.place(who.generation, instance).ballots.entry(*ballot).or_default();
        if ballot.node == who.node && run.started_in == Some(who.life) && run.value.is_none() {
            run.promises.entry(sender.from).or_insert_with(|| accepted.clone());
        }
    }

    fn emitted(&mut self, who: Who, host: &Host, effect: &Effect) -> Verdict {
        match effect {
            Effect::Notify(Event::Proposing { instance, ballot }) => self.proposing(who, host, instance, *ballot),
            Effect::Send { message: HostMessage::Paxos(Message::Accept { instance, ballot, value }), .. } => {
                let majority = self.members.majority();
                self.place(who.generation, instance).accept(who.node, *ballot, value, majority)
            }
            _ => Ok(()),
        }
    }

    fn stepped(&mut self, who: Who, host: &Host) -> Verdict {
        let all_held = self.nodes.entry((who.node, who.generation)).or_default();
        let instances = host.paxos().instances();
        // What is held here is in the same order, so both are walked once.
        let mut walk = all_held.iter_mut().peekable();
        let mut new = Vec::new();
        for (instance, state) in instances {
            let accepted = state.accepted.as_ref().map(|(ballot, _)| *ballot);
            ensure(accepted <= state.promised, rule::ACCEPTED_PROMISED, || {
                format!("{instance}: {} accepted {} with {} promised", who.node, shown(accepted), shown(state.promised))
            })?;
            while walk.peek().is_some_and(|(held, _)| *held < instance) {
                Held::gone(who.node, walk.next())?;
            }
            match walk.next_if(|(held, _)| *held == instance) {
                Some((_, held)) => held.step(who.node, instance, state)?,
                None => new.push((instance.clone(), Held { promised: state.promised, ..Held::default() })),
            }
        }
        walk.try_for_each(|rest| Held::gone(who.node, Some(rest)))?;
        all_held.extend(new);
        // What the protocol asserts of itself; a panic is a violation too. It takes its time, and debug builds look after
        // every step anyway.
        self.steps += 1;
        if self.steps.is_multiple_of(16) {
            host.paxos().check_invariants();
        }
        Ok(())
    }

    /// An acceptance that lasts counts, whether or not anyone hears of it.
    fn saved(&mut self, node: NodeId, records: &[(u64, Record)]) -> Verdict {
        let majority = self.members.majority();
        for (generation, record) in records {
            match record {
                Record::Promise { instance, ballot } => {
                    let held = self.held(node, *generation, instance);
                    held.saved_promise = held.saved_promise.max(Some(*ballot));
                }
                Record::Accept { instance, ballot, value } => {
                    let held = self.held(node, *generation, instance);
                    held.saved_promise = held.saved_promise.max(Some(*ballot));
                    if held.saved_acceptance.as_ref().is_none_or(|(saved, _)| saved < ballot) {
                        held.saved_acceptance = Some((*ballot, value.clone()));
                    }
                    self.place(*generation, instance).accepted(node, *ballot, value, majority)?;
                }
                Record::Decide { instance, value, .. } => {
                    self.held(node, *generation, instance).saved_decision = true;
                    self.decided(node, *generation, instance, value)?;
                }
                Record::Generation { generation, .. } => _ = self.generations.insert(node, *generation),
                Record::Log(_) | Record::Eventual(_) | Record::Register(_) | Record::Overlay(_) => {}
            }
        }
        Ok(())
    }

    fn sent(&mut self, who: Who, message: &HostMessage, disk: &Durable) -> Verdict {
        let HostMessage::Paxos(message) = message else { return Ok(()) };
        match message {
            Message::Prepare { instance, ballot } => {
                self.place(who.generation, instance).ballots.entry(*ballot).or_default().is_out = true;
                self.tell(who, instance, *ballot, disk)
            }
            Message::Promise { instance, ballot, accepted } => {
                if let Some((accepted, _)) = accepted {
                    self.tell_accepted(who, instance, *accepted, disk)?;
                }
                self.tell(who, instance, *ballot, disk)
            }
            Message::Accepted { instance, ballot } => self.tell_accepted(who, instance, *ballot, disk),
            Message::Reject { instance, promised, .. } => self.tell(who, instance, *promised, disk),
            Message::Commit { instance, value, .. } => self.decided(who.node, who.generation, instance, value),
            Message::Learned(answer) => {
                for known in &answer.decided {
                    self.decided(who.node, who.generation, &known.instance, &known.value)?;
                }
                answer
                    .accepted
                    .iter()
                    .try_for_each(|known| self.tell_accepted(who, &known.instance, known.ballot, disk))
            }
            Message::Accept { .. } | Message::Committed { .. } | Message::Learn(_) => Ok(()),
        }
    }

    fn told(&mut self, who: Who, event: &Event, _disk: &Durable) -> Verdict {
        match event {
            Event::Answered { request, outcome } => self.outcome(who, *request, outcome),
            Event::Decided { instance, value, .. } => self.decided(who.node, who.generation, instance, value),
            _ => Ok(()),
        }
    }

    fn answered(&mut self, who: Who, instance: &Instance, known: Option<&Remembered>, disk: &Durable) -> Verdict {
        let Some((_, value)) = known.and_then(|known| known.decided.as_ref()) else { return Ok(()) };
        let saved = on_disk(disk, who, instance);
        ensure(saved.is_none_or(|state| state.is_some_and(|state| state.decided.is_some())), rule::ANSWER, || {
            format!("{instance}: {} tells a client of {value}, which is not on disk", who.node)
        })?;
        self.held(who.node, who.generation, instance).answered = true;
        self.decided(who.node, who.generation, instance, value)
    }

    fn crashed(&mut self, node: NodeId) {
        let lives = self.nodes.iter_mut().filter(|((of, _), _)| *of == node);
        lives.flat_map(|(_, held)| held.values_mut()).for_each(|held| held.promised = None);
        self.requests.retain(|_, (at, _, _)| *at != node);
    }

    fn recovered(&mut self, who: Who, host: &Host) -> Verdict {
        let kept = self.generations.get(&who.node).copied().unwrap_or(1);
        ensure(kept <= who.generation, rule::GENERATION_FALLS, || {
            format!("{} had saved generation {kept}, and comes back in {}", who.node, who.generation)
        })?;
        for (instance, held) in self.nodes.get(&(who.node, who.generation)).into_iter().flatten() {
            let state = host.paxos().remembered(instance);
            let promised = state.and_then(|state| state.promised);
            let accepted = state.and_then(|state| state.accepted.as_ref());
            let decided = state.is_some_and(|state| state.decided.is_some());
            // A record that had only been written may have survived beside what was saved.
            let saved = held.saved_acceptance.as_ref();
            let holds = promised >= held.saved_promise
                && (accepted == saved || accepted.map(|(ballot, _)| ballot) > saved.map(|(ballot, _)| ballot))
                && decided >= held.saved_decision;
            ensure(holds, rule::KEPT, || {
                let [promised, saved_promise] = [promised, held.saved_promise].map(shown);
                let acceptance = |(ballot, value): &(Ballot, Value)| format!("{value} in {ballot}");
                let [accepted, saved_acceptance] = [accepted, saved].map(|accepted| shown(accepted.map(acceptance)));
                format!(
                    "{instance}: {} comes back with {promised} promised, {accepted} accepted, decided: {decided}; saved \
                     were {saved_promise}, {saved_acceptance}, decided: {}",
                    who.node, held.saved_decision
                )
            })?;
        }
        self.stepped(who, host)
    }

    fn count(&self, tally: &mut Tally) {
        *tally += self.tally;
        tally.chosen += self.places.values().filter(|watched| watched.chosen.is_some()).count() as u64;
    }
}

impl Held {
    /// The node's promise has not fallen, nor below what it told others.
    fn step(&mut self, node: NodeId, instance: &Instance, state: &Remembered) -> Verdict {
        ensure(self.promised.max(self.told) <= state.promised, rule::PROMISE_FALLS, || {
            let [had, told, has] = [self.promised, self.told, state.promised].map(shown);
            format!("{instance}: {node} had promised {had} and told of {told}, and promises {has} now")
        })?;
        self.promised = state.promised;
        Ok(())
    }

    /// An instance of which the node knows nothing: it must not have promised anything there.
    fn gone(node: NodeId, held: Option<(&Instance, &mut Self)>) -> Verdict {
        held.map_or(Ok(()), |(instance, held)| held.step(node, instance, &Remembered::default()))
    }
}

impl Watched {
    /// P2c, exactly: at the moment at which the Accept is emitted, its owner holds the promises of a majority, and the
    /// value is that of the highest ballot accepted among them, or a client's if there is none.
    fn accept(&mut self, node: NodeId, ballot: Ballot, value: &Value, majority: usize) -> Verdict {
        let run = self.ballots.entry(ballot).or_default();
        if run.value.as_ref() == Some(value) {
            return Ok(());
        }
        ensure(ballot.node == node, rule::ONE_OWNER, || format!("{node} sends Accept({ballot}, {value})"))?;
        // Of a cluster of one nobody hears what the disk had no room for: it may begin the ballot again.
        let unheard = majority == 1 && run.accepted_by.is_empty();
        ensure(run.value.is_none() || unheard, rule::ONE_VALUE, || {
            format!("ballot {ballot} carries {value}, and {} before", shown(run.value.as_ref()))
        })?;
        ensure(run.promises.len() >= majority, rule::MAJORITY, || {
            let from: Vec<String> = run.promises.keys().map(ToString::to_string).collect();
            format!("Accept({ballot}, {value}) leaves with the promises of {}", from.join(", "))
        })?;
        let highest = run.promises.values().flatten().max_by_key(|(ballot, _)| *ballot);
        ensure(highest.is_none_or(|(_, adopted)| adopted == value), rule::ADOPT, || {
            let accepted = run.promises.values().flatten().map(|(ballot, value)| format!("{value} in {ballot}"));
            let accepted: Vec<String> = accepted.collect();
            format!("Accept({ballot}, {value}) leaves, and its promises name {}", accepted.join(", "))
        })?;
        ensure(self.proposed.contains(value), rule::PROPOSED, || {
            format!("nobody proposed {value}, which {node} sends in {ballot}")
        })?;
        run.value = Some(value.clone());
        Ok(())
    }

    /// A node has accepted a ballot for good: with a majority the ballot's value is chosen, and only one ever is.
    fn accepted(&mut self, node: NodeId, ballot: Ballot, value: &Value, majority: usize) -> Verdict {
        let run = self.ballots.entry(ballot).or_default();
        run.accepted_by.insert(node);
        ensure(run.value.as_ref() == Some(value), rule::ONE_VALUE, || {
            format!("{node} accepted {value} in {ballot}, which carries {}", shown(run.value.as_ref()))
        })?;
        if run.accepted_by.len() < majority {
            return Ok(());
        }
        ensure(!self.refused.contains(value), rule::ANSWER, || {
            format!("{value} is chosen in {ballot}, and its client was told that it is not")
        })?;
        ensure(self.chosen.as_ref().is_none_or(|chosen| chosen == value), rule::ONE_CHOSEN, || {
            format!("{value} is chosen in {ballot}, and {} before", shown(self.chosen.as_ref()))
        })?;
        self.chosen = Some(value.clone());
        Ok(())
    }
}

/// A ballot or a value as people write it.
fn shown(what: Option<impl ToString>) -> String {
    what.map_or_else(|| "nothing".to_owned(), |what| what.to_string())
}

/// What a disk keeps of an instance; `None` if it has moved on to another generation, and cannot tell of that one.
fn on_disk<'a>(disk: &'a Durable, who: Who, instance: &Instance) -> Option<Option<&'a Remembered>> {
    (disk.generation == who.generation).then(|| disk.instances.get(instance))
}
