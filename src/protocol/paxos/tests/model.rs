//! Every run of a single decree in small worlds of three acceptors.
//!
//! What is left out, so that the worlds stay finite: the learner's messages are always lost; a client waits for ever and
//! asks once; two proposers have one ballot each (their first attempts, in any order); further attempts are explored
//! with a single proposer, as is its return after a crash. The options are a lab's: every ballot is sent to all, and
//! decisions are saved.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::*;
use crate::mutants::Mutant;
use crate::protocol::Message as HostMessage;
use crate::protocol::durable::Remembered;
use crate::sim::explore::{Given, Node, State, Subject, World};

/// What comes from outside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// A client proposes this value.
    Propose(&'static str),
    /// The running ballot's time is up, and so is the pause behind it.
    Elapse,
}

/// Paxos without what does not matter here: the generator (pauses are one tick long), and the learner, whose messages
/// are always lost.
#[derive(Debug, Clone)]
pub(crate) struct Decree(Paxos);

impl Hash for Decree {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.0.instances, &self.0.proposers, &self.0.noted).hash(hasher);
    }
}

impl Subject for Decree {
    type Input = Input;
    type Told = Value;

    fn start(id: NodeId, durable: Durable) -> Self {
        let options = Options {
            ballot_ticks: 1,
            max_pause_ticks: 1,
            learn_ticks: u64::MAX / 2,
            max_instances: 1,
            ..Options::default()
        };
        Self(Paxos::new(id, members(3), options, durable, rand::SeedableRng::seed_from_u64(1)))
    }

    fn on_message(&mut self, from: NodeId, message: HostMessage, out: &mut Out) {
        if let HostMessage::Paxos(message) = message {
            self.0.on_message(from, message, out);
        }
    }

    fn on_input(&mut self, input: &Input, out: &mut Out) {
        match input {
            Input::Propose(text) => {
                let deadline_ticks = u64::MAX;
                self.0.propose(Proposal { deadline_ticks, ..proposal(1, text) }, out);
            }
            Input::Elapse => {
                let mut done: Vec<Effect> = Vec::new();
                while !done.iter().any(matters) {
                    let mut ticked = Out::default();
                    self.0.on_tick(&mut ticked);
                    done.extend(ticked.drain());
                }
                done.into_iter().for_each(|effect| out.push(effect));
            }
        }
    }

    fn may(&self, input: &Input) -> bool {
        match input {
            Input::Propose(_) => self.0.running() == 0,
            Input::Elapse => self.0.running() == 1,
        }
    }

    fn check_invariants(&self) {
        self.0.check_invariants();
    }

    fn carries(message: &HostMessage) -> bool {
        let HostMessage::Paxos(message) = message else { return false };
        !matches!(message, Message::Learn(_) | Message::Learned(_) | Message::Committed { .. })
    }

    fn told(event: Event) -> Option<Value> {
        match event {
            Event::Answered { outcome: Outcome::Chosen { value, .. }, .. } => Some(value),
            _ => None,
        }
    }
}

fn matters(effect: &Effect) -> bool {
    match effect {
        Effect::Send { message, .. } => Decree::carries(message),
        Effect::Save(_) | Effect::Note(_) | Effect::Notify(_) => true,
    }
}

type Here = State<Decree>;
type Named = (&'static str, fn(&World<Decree>, &Here) -> bool);

/// The messages of single-decree Paxos that were ever sent, and by whom.
fn sent(state: &Here) -> impl Iterator<Item = (NodeId, &Message)> {
    state.network.values().filter_map(|envelope| match &envelope.message {
        HostMessage::Paxos(message) => Some((envelope.from, message)),
        _ => None,
    })
}

/// The values that each ballot carries.
fn carried(state: &Here) -> BTreeMap<Ballot, BTreeSet<&Value>> {
    let mut carried = BTreeMap::<Ballot, BTreeSet<&Value>>::new();
    for (_, message) in sent(state) {
        if let Message::Accept { ballot, value, .. } = message {
            carried.entry(*ballot).or_default().insert(value);
        }
    }
    carried
}

/// The ballots that a majority accepted, with what they carry.
fn chosen(state: &Here) -> BTreeSet<(Ballot, &Value)> {
    let mut accepted = BTreeMap::<Ballot, BTreeSet<NodeId>>::new();
    for (from, message) in sent(state) {
        if let Message::Accepted { ballot, .. } = message {
            accepted.entry(*ballot).or_default().insert(from);
        }
    }
    let carried = carried(state);
    let by_majority = accepted.iter().filter(|(_, by)| 2 * by.len() > state.nodes.len());
    by_majority
        .flat_map(|(ballot, _)| carried.get(ballot).into_iter().flatten().map(|value| (*ballot, *value)))
        .collect()
}

fn remembered(state: &Here) -> impl Iterator<Item = (&Node<Decree>, &Remembered)> {
    state.nodes.iter().filter_map(|node| Some((&**node, node.subject.0.remembered(&Instance::default())?)))
}

/// What a node's disk is certain to keep.
fn kept(state: &Here, of: NodeId) -> Remembered {
    let node = state.nodes.iter().find(|node| node.id == of);
    node.and_then(|node| node.disk.instances.get(&Instance::default()).cloned()).unwrap_or_default()
}

fn one_value_is_chosen(_: &World<Decree>, state: &Here) -> bool {
    chosen(state).into_iter().map(|(_, value)| value).collect::<BTreeSet<_>>().len() <= 1
}

fn what_is_chosen_was_proposed(world: &World<Decree>, state: &Here) -> bool {
    chosen(state).into_iter().all(|(_, value)| {
        let mut given = world.inputs.iter().zip(&state.given).filter(|(_, times)| **times > 0);
        given.any(|(given, _)| matches!(&given.input, Input::Propose(text) if *text == value.as_str()))
    })
}

fn what_is_decided_was_chosen(_: &World<Decree>, state: &Here) -> bool {
    let chosen: BTreeSet<&Value> = chosen(state).into_iter().map(|(_, value)| value).collect();
    let committed = sent(state).filter_map(|(_, message)| match message {
        Message::Commit { value, .. } => Some(value),
        _ => None,
    });
    let decided = remembered(state).filter_map(|(_, known)| known.decided.as_ref().map(|(_, value)| value));
    let told = state.told.iter().map(|(_, value)| value);
    committed.chain(decided).chain(told).all(|value| chosen.contains(value))
}

fn one_value_a_ballot(_: &World<Decree>, state: &Here) -> bool {
    carried(state).values().all(|values| values.len() == 1)
}

/// A proposer's own promise needs no message; it is on its disk.
fn a_majority_promised_before_accept(_: &World<Decree>, state: &Here) -> bool {
    carried(state).keys().all(|running| {
        let promised = sent(state).filter_map(|(from, message)| match message {
            Message::Promise { ballot, .. } if ballot == running => Some(from),
            _ => None,
        });
        2 * promised.chain([running.node]).collect::<BTreeSet<_>>().len() > state.nodes.len()
    })
}

fn nothing_is_heard_before_it_is_saved(_: &World<Decree>, state: &Here) -> bool {
    let said = sent(state).all(|(from, message)| match message {
        Message::Prepare { ballot, .. } | Message::Promise { ballot, .. } => {
            kept(state, from).promised >= Some(*ballot)
        }
        Message::Accepted { ballot, .. } => kept(state, from).accepted.is_some_and(|(kept, _)| kept >= *ballot),
        _ => true,
    });
    said && state.told.iter().all(|(by, _)| kept(state, *by).decided.is_some())
}

/// Nor does the memory ever hold less than the disk.
fn no_promise_falls(_: &World<Decree>, state: &Here) -> bool {
    remembered(state).all(|(node, known)| !node.broken && known.promised >= kept(state, node.id).promised)
}

const SAFETY: &[Named] = &[
    ("one value is chosen", one_value_is_chosen),
    ("what is chosen was proposed", what_is_chosen_was_proposed),
    ("what is decided was chosen", what_is_decided_was_chosen),
    ("a ballot carries one value", one_value_a_ballot),
    ("a majority promised before Accept left", a_majority_promised_before_accept),
    ("nothing is heard before it is saved", nothing_is_heard_before_it_is_saved),
    ("no promise falls", no_promise_falls),
];

/// What must be seen to happen, or the exploration proves little.
const SIGHTS: &[Named] = &[
    ("a higher ballot carries what is chosen", |_, state| {
        let carried = carried(state);
        chosen(state).iter().any(|(ballot, _)| carried.keys().any(|higher| higher > ballot))
    }),
    ("a majority accepts in two ballots", |_, state| chosen(state).len() == 2),
];

/// What a crash shows.
const CRASH_SIGHTS: &[Named] = &[
    ("a promise outlives a crash", |_, state| {
        state.nodes.iter().any(|node| node.crashes > 0 && kept(state, node.id).promised.is_some())
    }),
    ("an acceptance outlives a crash", |_, state| {
        state.nodes.iter().any(|node| node.crashes > 0 && kept(state, node.id).accepted.is_some())
    }),
];

/// What two proposers show beside.
const RIVAL_SIGHTS: &[Named] = &[
    ("a value is adopted", |_, state| {
        let other = |node: NodeId, value: &Value| (node.number() == 8000) != (value.as_str() == "A");
        carried(state).iter().any(|(ballot, values)| values.iter().any(|value| other(ballot.node, value)))
    }),
    ("a ballot is rejected", |_, state| sent(state).any(|(_, message)| matches!(message, Message::Reject { .. }))),
    ("both proposers send Accept", |_, state| {
        carried(state).keys().map(|ballot| ballot.node).collect::<BTreeSet<_>>().len() == 2
    }),
    ("both clients are told", |_, state| state.told.len() == 2),
];

/// What a proposer that comes back shows.
const RETURN_SIGHTS: &[Named] = &[
    ("after a crash the earlier client's value is adopted", |_, state| {
        let running = state.nodes[0].subject.0.running_ballot(&Instance::default());
        let values = running.and_then(|ballot| carried(state).remove(&ballot));
        state.nodes[0].crashes == 1 && values.is_some_and(|values| values.iter().any(|value| value.as_str() == "A"))
    }),
    ("after a crash the later client's value is free to go", |_, state| {
        carried(state).values().flatten().any(|value| value.as_str() == "B")
    }),
];

/// Three acceptors, and any node may crash, once in all.
fn three_acceptors(inputs: &[(u32, Input, u8, bool)]) -> World<Decree> {
    let mut world = World::new(members(3).iter().collect());
    let given = |(to, input, times, after_crash): &(u32, Input, u8, bool)| Given {
        to: node(*to),
        input: input.clone(),
        times: *times,
        after_crash: *after_crash,
    };
    world.inputs = inputs.iter().map(given).collect();
    world.mortals.clone_from(&world.members);
    world.crashes = 1;
    world.properties = SAFETY.iter().map(|(name, holds)| Property::always(name, *holds)).collect();
    world
}

/// Two of them propose, once each.
fn rivals() -> World<Decree> {
    three_acceptors(&[(8000, Input::Propose("A"), 1, false), (8001, Input::Propose("B"), 1, false)])
}

/// One of them proposes, and makes a second attempt; nobody crashes.
fn insistent() -> World<Decree> {
    let mut world = three_acceptors(&[(8000, Input::Propose("A"), 1, false), (8000, Input::Elapse, 1, false)]);
    world.mortals.clear();
    world.crashes = 0;
    world
}

/// One of them proposes, crashes, and comes back with another client.
fn returning() -> World<Decree> {
    let mut world = three_acceptors(&[(8000, Input::Propose("A"), 1, false), (8000, Input::Propose("B"), 1, true)]);
    world.mortals = vec![node(8000)];
    world
}

/// Goes through every state.
fn exhaust(mut world: World<Decree>, sights: &[Named]) -> usize {
    world.properties.extend(sights.iter().map(|(name, seen)| Property::sometimes(name, *seen)));
    let checker = world.checker().threads(2).spawn_dfs().join();
    checker.assert_properties();
    checker.unique_state_count()
}

#[test]
fn two_proposers_and_a_crash() {
    assert_eq!(exhaust(rivals(), &[SIGHTS, CRASH_SIGHTS, RIVAL_SIGHTS].concat()), 2_369_279);
}

#[test]
fn a_second_attempt() {
    assert_eq!(exhaust(insistent(), SIGHTS), 21_663);
}

#[test]
fn a_proposer_comes_back() {
    assert_eq!(exhaust(returning(), &[SIGHTS, CRASH_SIGHTS, RETURN_SIGHTS].concat()), 113_596);
}

const BEFORE_SAVED: &str = "nothing is heard before it is saved";

/// Which mutants the model finds among rivals, by which property.
const AMONG_RIVALS: &[(Mutant, &str)] = &[
    (Mutant::PromisesLower, "no promise falls"),
    (Mutant::PromiseHidesAccepted, "one value is chosen"),
    (Mutant::AcceptsLower, BEFORE_SAVED),
    (Mutant::AcceptKeepsPromise, "no promise falls"),
    (Mutant::PromiseUnsaved, BEFORE_SAVED),
    (Mutant::PromiseBeforeSave, BEFORE_SAVED),
    (Mutant::BallotUnsaved, BEFORE_SAVED),
    (Mutant::BallotBeforeSave, BEFORE_SAVED),
    (Mutant::AcceptUnsaved, BEFORE_SAVED),
    (Mutant::AcceptBeforeSave, BEFORE_SAVED),
    (Mutant::BallotBelowPromise, "no promise falls"),
    (Mutant::BallotUsedAgain, "no promise falls"),
    (Mutant::OwnAcceptanceForgotten, "one value is chosen"),
    (Mutant::MajorityMinusOne, "one value is chosen"),
    (Mutant::AcceptBeforeMajority, "a majority promised before Accept left"),
    (Mutant::AdoptsNothing, "one value is chosen"),
    (Mutant::CommitBeforeMajority, "what is decided was chosen"),
    (Mutant::DecisionUnsaved, BEFORE_SAVED),
    (Mutant::DecisionBeforeSave, BEFORE_SAVED),
    (Mutant::TellsWhatWasNoted, BEFORE_SAVED),
    (Mutant::DecidesAgain, "no promise falls"),
];

/// And which it finds when one proposer makes several ballots. That acceptances of two ballots are added up needs five
/// nodes: here the proposer and one more are a majority already.
const OF_SEVERAL_BALLOTS: &[(Mutant, &str)] = &[(Mutant::LatePromiseCounts, "a majority promised before Accept left")];

#[test]
fn the_model_finds_mutants() {
    crate::mutants::quiet();
    for (world, mutants) in [(rivals as fn() -> World<Decree>, AMONG_RIVALS), (insistent, OF_SEVERAL_BALLOTS)] {
        for &(mutant, property) in mutants {
            let mut world = world();
            world.mutant = Some(mutant);
            let until = HasDiscoveries::AnyOf([property].into());
            let checker = world.checker().finish_when(until).spawn_bfs().join();
            assert!(checker.discovery(property).is_some(), "{mutant:?} does not show in: {property}");
        }
    }
}
