//! Every state that a protocol can reach in a small world, explored with stateright.
//!
//! The simulation samples long runs of large clusters; this goes through *all* runs of a small one. The protocol structs
//! are the same, and so is the contract: what a step saves is one action, its completion another, and what stands behind
//! a `Save` leaves only then.
//!
//! - **The network is the set of all messages ever sent.** Delivering one leaves it there: so every message may be
//!   lost, late, overtaken, and doubled as often as anyone likes, and no state is spent on where it is.
//! - **A crash** takes a node's memory and all that was not synced; it starts again from its disk at once. That a crash
//!   keeps all that was written is the same as a completed `Save` whose messages are lost. A batch is one transaction,
//!   so nothing is between the two.
//! - **Time** is an input like a client's call: the subject says what passes when it is up.
//!
//! Two shortcuts leave out no outcome:
//!
//! - A node whose `Save` is not complete takes nothing in. On a real node a batch may hold several inputs; but all that
//!   they lead to is held back until the one write is done, so nobody can tell that from one input after the other.
//! - When no crash is left to come, a `Save` is complete at once: only a crash could tell.
//!
//! What a node sends to itself is its next input, as in the driver: it is not lost, late or doubled.
//!
//! A step depends on the node and its input only, and nodes are in far fewer states than the world is. So steps are
//! remembered: most states cost a look-up.
//!
//! # To explore another protocol
//!
//! Implement [`Subject`] for it beside its tests, say which inputs the world may give how often, and write its properties
//! as functions of a [`State`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use stateright::{Model, Property};

use crate::mutants::{Mutant, with};
use crate::protocol::durable::Durable;
use crate::protocol::types::NodeId;
use crate::protocol::{Effect, Event, Message, Out, Record};

/// A protocol as the explorer sees it. Equal hashes are equal states: what never matters is left out of them.
pub(crate) trait Subject: Clone + Hash + Debug + Send + Sync + 'static {
    /// What comes from outside: clients, time.
    type Input: Clone + PartialEq + Debug + Send + Sync;
    /// What the outside was told and properties ask about.
    type Told: Clone + Ord + Hash + Debug + Send + Sync;

    /// A node starts, out of what it remembers.
    fn start(id: NodeId, durable: Durable) -> Self;
    /// The same after so many crashes of this node, for a protocol that draws something new in each life.
    fn restart(id: NodeId, durable: Durable, _crashes: u8) -> Self {
        Self::start(id, durable)
    }
    /// A message of another node, or of itself.
    fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out);
    /// An input from outside.
    fn on_input(&mut self, input: &Self::Input, out: &mut Out);
    /// Whether an input means anything in this state.
    fn may(&self, input: &Self::Input) -> bool;
    /// Panics if an invariant of its own is broken.
    fn check_invariants(&self);
    /// Whether a message is worth a place in the network. What is not is always lost.
    fn carries(message: &Message) -> bool;
    /// What is worth knowing about an event.
    fn told(event: Event) -> Option<Self::Told>;
}

/// A small world: who there is, what may happen to them, and what must hold.
pub(crate) struct World<S: Subject> {
    pub(crate) members: Vec<NodeId>,
    /// How each is at the beginning, and what its disk holds then.
    pub(crate) first: fn(NodeId) -> (S, Durable),
    pub(crate) inputs: Vec<Given<S::Input>>,
    /// Who may crash ...
    pub(crate) mortals: Vec<NodeId>,
    /// ... and how often that happens in all, at most.
    pub(crate) crashes: u8,
    pub(crate) properties: Vec<Property<Self>>,
    /// What is explored further: a protocol that may try again for ever has no end otherwise.
    pub(crate) within: fn(&State<S>) -> bool,
    /// The defect that the protocol has.
    pub(crate) mutant: Option<Mutant>,
    /// By node and cause.
    steps: Mutex<BTreeMap<(u64, u64), KnownStep<S>>>,
}

/// What may come from outside.
#[derive(Debug, Clone)]
pub(crate) struct Given<I> {
    pub(crate) to: NodeId,
    pub(crate) input: I,
    /// How often, at most.
    pub(crate) times: u8,
    /// Whether only after that node has crashed.
    pub(crate) after_crash: bool,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node<S: Subject> {
    pub(crate) id: NodeId,
    pub(crate) subject: S,
    /// What is certain to last.
    pub(crate) disk: Durable,
    /// What the disk has not finished, in order.
    pub(crate) unsynced: Vec<Record>,
    /// Whether anything waits for it.
    pub(crate) syncing: bool,
    /// What leaves when it has finished: all at once, so the order and doubles are nothing.
    pub(crate) held_back: Heard<S>,
    /// How often it has crashed.
    pub(crate) crashes: u8,
    /// Whether an invariant of its own is broken.
    pub(crate) broken: bool,
    key: u64,
}

/// A message that was sent. Whether it ever arrives is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Envelope {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) message: Message,
}

/// Something that leaves a node.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Said<S: Subject> {
    /// A message.
    Sent(Arc<Envelope>),
    /// Something that the outside is told.
    Told(S::Told),
}

/// What leaves a node at once, by its hash.
type Heard<S> = BTreeMap<u64, Said<S>>;

type KnownStep<S> = Arc<Step<S>>;

/// What a node becomes, and what it says.
#[derive(Debug)]
struct Step<S: Subject> {
    node: Arc<Node<S>>,
    said: Heard<S>,
}

/// A state of the world. Two are the same if their keys are; hashes of 64 bits stand for their contents, as they do in
/// stateright itself.
#[derive(Debug)]
pub(crate) struct State<S: Subject> {
    pub(crate) nodes: Vec<Arc<Node<S>>>,
    /// All that was ever sent, by its hash.
    pub(crate) network: Arc<BTreeMap<u64, Arc<Envelope>>>,
    /// All that the outside was told, and by whom.
    pub(crate) told: Arc<BTreeSet<(NodeId, S::Told)>>,
    /// How often each input was given.
    pub(crate) given: Vec<u8>,
    /// How many crashes there were.
    pub(crate) crashes: u8,
}

/// What may happen next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action<I> {
    /// A message arrives, for the first time or again.
    Deliver(u64, Arc<Envelope>),
    /// A node's disk has done: what waited for it leaves.
    Saved(usize),
    /// The input with this number, from outside.
    Give(usize, I),
    /// A node loses its memory and what was not synced, and starts again.
    Crash(usize),
}

impl<S: Subject> World<S> {
    /// These nodes, without inputs, crashes and properties.
    pub(crate) fn new(members: Vec<NodeId>) -> Self {
        let steps = Mutex::default();
        let first = |id| (S::start(id, Durable::default()), Durable::default());
        let (inputs, mortals, properties) = (Vec::new(), Vec::new(), Vec::new());
        Self { members, first, inputs, mortals, crashes: 0, properties, within: |_| true, mutant: None, steps }
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.members.iter().position(|&member| member == id)
    }

    /// What comes of a node by some cause; worked out once.
    fn step(&self, node: &Node<S>, cause: u64, run: impl FnOnce(&mut Node<S>) -> Heard<S>) -> Arc<Step<S>> {
        if let Some(known) = self.steps.lock().get(&(node.key, cause)) {
            return Arc::clone(known);
        }
        let mut next = node.clone();
        let ran = with(self.mutant, || {
            catch_unwind(AssertUnwindSafe(|| {
                let said = run(&mut next);
                next.subject.check_invariants();
                said
            }))
        });
        next.broken |= ran.is_err();
        next.key = next.hashed();
        let step = Arc::new(Step { node: Arc::new(next), said: ran.unwrap_or_default() });
        self.steps.lock().insert((node.key, cause), Arc::clone(&step));
        step
    }

    /// A node takes an input. `None` if nothing comes of it.
    fn take(&self, state: &State<S>, at: usize, cause: u64, input: impl FnOnce(&mut S, &mut Out)) -> Option<State<S>> {
        let at_once = state.crashes == self.crashes;
        let run = |node: &mut Node<S>| {
            let mut heard = node.take(input);
            while at_once && node.syncing {
                heard.extend(node.saved());
            }
            heard
        };
        state.after(at, &self.step(&state.nodes[at], hash_of(&(cause, at_once)), run))
    }
}

impl<S: Subject> Node<S> {
    fn new(id: NodeId, (subject, disk): (S, Durable)) -> Self {
        let (unsynced, held_back) = (Vec::new(), Heard::new());
        let mut node =
            Self { id, subject, disk, unsynced, syncing: false, held_back, crashes: 0, broken: false, key: 0 };
        node.key = node.hashed();
        node
    }

    fn hashed(&self) -> u64 {
        let waiting: Vec<u64> = self.held_back.keys().copied().collect();
        hash_of(&(self.id, &self.subject, &self.disk, &self.unsynced, self.syncing, waiting, self.crashes, self.broken))
    }

    /// One input, and those that the node hands to itself. What stands behind a `Save` waits for it; the rest leaves.
    fn take(&mut self, input: impl FnOnce(&mut S, &mut Out)) -> Heard<S> {
        let mut out = Out::default();
        input(&mut self.subject, &mut out);
        let mut heard = Heard::new();
        for effect in out.drain() {
            let said = match effect {
                Effect::Save(record) => {
                    self.unsynced.push(record);
                    self.syncing = true;
                    continue;
                }
                Effect::Note(record) => {
                    self.unsynced.push(record);
                    continue;
                }
                Effect::Send { to, message } if S::carries(&message) => {
                    Said::Sent(Arc::new(Envelope { from: self.id, to, message }))
                }
                Effect::Send { .. } => continue,
                Effect::Notify(event) => match S::told(event) {
                    Some(told) => Said::Told(told),
                    None => continue,
                },
            };
            let key = hash_of(&said);
            if self.syncing {
                self.held_back.insert(key, said)
            } else {
                heard.insert(key, said)
            };
        }
        self.hand_over(heard)
    }

    /// What leaves a node for itself is its next input.
    fn hand_over(&mut self, heard: Heard<S>) -> Heard<S> {
        let mut all = heard.clone();
        for said in heard.into_values() {
            if let Said::Sent(envelope) = said
                && envelope.to == self.id
            {
                let message = envelope.message.clone();
                all.extend(self.take(|subject, out| subject.on_message(envelope.from, message, out)));
            }
        }
        all
    }

    /// The disk has done.
    fn saved(&mut self) -> Heard<S> {
        self.unsynced.drain(..).for_each(|record| self.disk.apply(&record));
        self.syncing = false;
        let heard = std::mem::take(&mut self.held_back);
        self.hand_over(heard)
    }

    fn crash(&mut self) -> Heard<S> {
        self.unsynced.clear();
        self.held_back.clear();
        self.syncing = false;
        self.crashes += 1;
        self.subject = S::restart(self.id, self.disk.clone(), self.crashes);
        Heard::new()
    }
}

impl<S: Subject> State<S> {
    /// The state after a node's step; `None` if it is the same.
    fn after(&self, at: usize, step: &Step<S>) -> Option<Self> {
        let id = self.nodes[at].id;
        let is_new = |(key, said): &(&u64, &Said<S>)| match said {
            Said::Sent(_) => !self.network.contains_key(key),
            Said::Told(told) => !self.told.contains(&(id, told.clone())),
        };
        let news: Vec<(&u64, &Said<S>)> = step.said.iter().filter(is_new).collect();
        if step.node.key == self.nodes[at].key && news.is_empty() {
            return None;
        }
        let mut next = self.clone();
        next.nodes[at] = Arc::clone(&step.node);
        for (key, said) in news {
            match said {
                Said::Sent(envelope) => _ = Arc::make_mut(&mut next.network).insert(*key, Arc::clone(envelope)),
                Said::Told(told) => _ = Arc::make_mut(&mut next.told).insert((id, told.clone())),
            }
        }
        Some(next)
    }
}

impl<S: Subject> Model for World<S> {
    type State = State<S>;
    type Action = Action<S::Input>;

    fn init_states(&self) -> Vec<State<S>> {
        vec![State {
            nodes: self.members.iter().map(|&id| Arc::new(Node::new(id, (self.first)(id)))).collect(),
            network: Arc::default(),
            told: Arc::default(),
            given: vec![0; self.inputs.len()],
            crashes: 0,
        }]
    }

    fn actions(&self, state: &State<S>, actions: &mut Vec<Self::Action>) {
        for (at, node) in state.nodes.iter().enumerate() {
            if node.syncing {
                actions.push(Action::Saved(at));
            }
            if state.crashes < self.crashes && self.mortals.contains(&node.id) {
                actions.push(Action::Crash(at));
            }
        }
        for (number, Given { to, input, times, after_crash }) in self.inputs.iter().enumerate() {
            let Some(node) = self.place(*to).map(|at| &state.nodes[at]) else { continue };
            let is_time = !node.syncing && (!after_crash || node.crashes > 0);
            if state.given[number] < *times && is_time && node.subject.may(input) {
                actions.push(Action::Give(number, input.clone()));
            }
        }
        for (key, envelope) in state.network.iter().filter(|(_, envelope)| envelope.from != envelope.to) {
            if self.place(envelope.to).is_some_and(|at| !state.nodes[at].syncing) {
                actions.push(Action::Deliver(*key, Arc::clone(envelope)));
            }
        }
    }

    fn next_state(&self, state: &State<S>, action: Self::Action) -> Option<State<S>> {
        match action {
            Action::Deliver(key, envelope) => {
                let at = self.place(envelope.to)?;
                self.take(state, at, key, |subject, out| {
                    subject.on_message(envelope.from, envelope.message.clone(), out);
                })
            }
            Action::Saved(at) => state.after(at, &self.step(&state.nodes[at], 0, Node::saved)),
            Action::Give(number, input) => {
                let at = self.place(self.inputs[number].to)?;
                let cause = hash_of(&("input", number));
                let mut next = self.take(state, at, cause, |subject, out| subject.on_input(&input, out))?;
                next.given[number] += 1;
                Some(next)
            }
            Action::Crash(at) => {
                let mut next = state.after(at, &self.step(&state.nodes[at], 1, Node::crash))?;
                next.crashes += 1;
                Some(next)
            }
        }
    }

    fn within_boundary(&self, state: &State<S>) -> bool {
        (self.within)(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.properties.clone()
    }
}

impl<S: Subject> Clone for State<S> {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            network: Arc::clone(&self.network),
            told: Arc::clone(&self.told),
            given: self.given.clone(),
            crashes: self.crashes,
        }
    }
}

impl<S: Subject> Hash for State<S> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.nodes.iter().for_each(|node| node.key.hash(hasher));
        self.network.keys().for_each(|key| key.hash(hasher));
        self.told.hash(hasher);
        self.given.hash(hasher);
    }
}

impl<S: Subject> PartialEq for State<S> {
    fn eq(&self, other: &Self) -> bool {
        hash_of(self) == hash_of(other)
    }
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
