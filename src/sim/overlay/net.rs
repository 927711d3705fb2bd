//! A network of thousands of nodes: the protocol structs as on the real nodes, virtual time, every message under way for
//! a tick or two, and nothing else that costs time.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::protocol::overlay::chord::Chord;
use crate::protocol::overlay::flood::Flood;
use crate::protocol::overlay::index::Index;
use crate::protocol::overlay::{self, Answer, Call, Failure, Memory, Message, Options, Which};
use crate::protocol::types::{NodeId, RequestId};
use crate::protocol::{Effect, Event, Message as AnyMessage, Out, Record};

/// The longest that a message is under way, in ticks.
const MAX_DELAY: usize = 2;

/// One of the overlays, alone: what is not measured costs nothing.
pub trait Member: Sized {
    /// Which one.
    const WHICH: Which;
    /// Starts a node that knows these others, and which of them is the index.
    fn start(
        id: NodeId,
        contacts: Vec<NodeId>,
        server: NodeId,
        options: Options,
        memory: Memory,
        rng: Pcg64Mcg,
    ) -> Self;
    /// Handles a message of a member.
    fn hear(&mut self, from: NodeId, message: Message, out: &mut Out);
    /// A tick has passed.
    fn tick(&mut self, out: &mut Out);
    /// A client asks.
    fn ask(&mut self, request: RequestId, call: Call, deadline_ticks: u64, out: &mut Out);
}

macro_rules! member {
    ($kind:ident, $which:ident, $new:expr) => {
        impl Member for $kind {
            const WHICH: Which = Which::$which;

            fn start(
                id: NodeId,
                contacts: Vec<NodeId>,
                server: NodeId,
                options: Options,
                memory: Memory,
                rng: Pcg64Mcg,
            ) -> Self {
                ($new)(id, contacts, server, options, memory, rng)
            }

            fn hear(&mut self, from: NodeId, message: Message, out: &mut Out) {
                if let Message::$which(message) = message {
                    self.on_message(from, message, out);
                }
            }

            fn tick(&mut self, out: &mut Out) {
                self.on_tick(out);
            }

            fn ask(&mut self, request: RequestId, call: Call, deadline_ticks: u64, out: &mut Out) {
                self.call(request, call, deadline_ticks, out);
            }
        }
    };
}

member!(Chord, Dht, |id, contacts, _, options: Options, mut memory: Memory, rng| {
    Self::new(id, contacts, options.chord, &mut memory, rng)
});
member!(Flood, Flood, |id, contacts, _, options: Options, mut memory: Memory, rng| {
    Self::new(id, contacts, options.flood, &mut memory, rng)
});
member!(Index, Index, |id, _, server, _, mut memory: Memory, rng| { Self::new(id, server, &mut memory, rng) });

/// A message under way.
#[derive(Clone)]
struct Letter {
    from: NodeId,
    to: NodeId,
    message: Message,
}

/// A node, running or not.
#[derive(Clone)]
struct Place<P> {
    node: Option<P>,
    contacts: Vec<NodeId>,
    /// What it made durable, where that is kept.
    memory: Memory,
}

/// Puts a message between two nodes into words, if it is one to be shown.
pub type Watch = fn(NodeId, NodeId, &Message) -> Option<String>;

/// What became of a call.
pub type Outcome = Result<Answer, Failure>;

/// The nodes and the network. Ids count from 1.
#[derive(Clone)]
pub struct Net<P> {
    places: Vec<Place<P>>,
    options: Options,
    server: NodeId,
    /// The messages that arrive so many ticks from now.
    mail: [Vec<Letter>; MAX_DELAY + 1],
    outcomes: BTreeMap<RequestId, Outcome>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    rng: Pcg64Mcg,
    out: Out,
    now: u64,
    next_request: u64,
    /// Ticks so far, of all nodes together.
    pub work: u64,
    /// Messages delivered so far.
    pub delivered: u64,
    /// Of those, what somebody's asking has led to.
    pub asked: u64,
    /// Copies delivered so far: what moving keys costs.
    pub copies: u64,
    /// Whether nodes find again what they saved when they start again.
    pub durable: bool,
    /// Whom a message of a kind is shown to.
    pub watch: Option<Watch>,
    /// What was shown.
    pub shown: Vec<String>,
}

impl<P: Member> Net<P> {
    /// No nodes yet.
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            places: Vec::new(),
            options,
            server: id(1),
            mail: [const { Vec::new() }; MAX_DELAY + 1],
            outcomes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            rng: Pcg64Mcg::seed_from_u64(seed),
            out: Out::default(),
            now: 0,
            next_request: 0,
            work: 0,
            delivered: 0,
            asked: 0,
            copies: 0,
            durable: false,
            watch: None,
            shown: Vec::new(),
        }
    }

    /// A new node, which knows these others.
    pub fn add(&mut self, contacts: Vec<NodeId>) -> NodeId {
        let id = id(u32::try_from(self.places.len() + 1).unwrap_or(u32::MAX));
        self.places.push(Place { node: None, contacts, memory: Memory::default() });
        self.start(id);
        id
    }

    /// A node starts, or starts again.
    pub fn start(&mut self, id: NodeId) {
        let rng = Pcg64Mcg::seed_from_u64(self.rng.random());
        let (server, options) = (self.server, self.options);
        let place = &mut self.places[index(id)];
        let memory = if self.durable { place.memory.clone() } else { Memory::default() };
        place.node = Some(P::start(id, place.contacts.clone(), server, options, memory, rng));
    }

    /// Gives a node other contacts, for its next start.
    pub fn acquaint(&mut self, id: NodeId, contacts: Vec<NodeId>) {
        self.places[index(id)].contacts = contacts;
    }

    /// A node is gone, without a word.
    pub fn crash(&mut self, id: NodeId) {
        self.places[index(id)].node = None;
    }

    /// Nothing comes from here to there any more.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// All links are whole again.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// A node, if it runs.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&P> {
        self.places.get(index(id)).and_then(|place| place.node.as_ref())
    }

    /// How many nodes there are and have been: the highest id.
    #[must_use]
    pub fn places(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = (NodeId, &P)> {
        self.places.iter().enumerate().filter_map(|(at, place)| {
            place.node.as_ref().map(|node| (id(u32::try_from(at + 1).unwrap_or(u32::MAX)), node))
        })
    }

    /// Has a node do something, and carries out what follows.
    pub fn step(&mut self, id: NodeId, act: impl FnOnce(&mut P, &mut Out)) {
        let Some(node) = self.places[index(id)].node.as_mut() else { return };
        act(node, &mut self.out);
        self.carry_out(id);
    }

    /// A client asks a node; what comes of it is found under the number.
    pub fn call(&mut self, on: NodeId, call: Call, deadline_ticks: u64) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.step(on, |node, out| node.ask(request, call, deadline_ticks, out));
        request
    }

    /// A request's number, for what is not a call about a key.
    pub const fn name(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Takes what became of a call, if it is over.
    pub fn take(&mut self, request: RequestId) -> Option<Outcome> {
        self.outcomes.remove(&request)
    }

    /// Asks, and lets time pass until there is an answer: at the deadline at the latest.
    pub fn ask(&mut self, on: NodeId, call: Call, deadline_ticks: u64) -> Outcome {
        let request = self.call(on, call, deadline_ticks);
        for _ in 0..deadline_ticks + 2 {
            if let Some(outcome) = self.take(request) {
                return outcome;
            }
            self.tick();
        }
        self.take(request).unwrap_or(Err(Failure::Unavailable("no answer")))
    }

    /// A tick passes.
    pub fn tick(&mut self) {
        self.now += 1;
        let slot = usize::try_from(self.now).unwrap_or(0) % (MAX_DELAY + 1);
        let mut letters = std::mem::take(&mut self.mail[slot]);
        for Letter { from, to, message } in letters.drain(..) {
            if !self.cuts.is_empty() && self.cuts.contains(&(from, to)) {
                continue;
            }
            let Some(node) = self.places[index(to)].node.as_mut() else { continue };
            self.delivered += 1;
            self.asked += u64::from(!message.is_upkeep());
            if let Message::Dht(overlay::chord::Message::Copies { items, .. }) = &message {
                self.copies += items.len() as u64;
            }
            node.hear(from, message, &mut self.out);
            self.carry_out(to);
        }
        // The same memory again for later letters.
        if self.mail[slot].is_empty() {
            self.mail[slot] = letters;
        }
        for at in 0..self.places.len() {
            let Some(node) = self.places[at].node.as_mut() else { continue };
            node.tick(&mut self.out);
            self.work += 1;
            if !self.out.is_empty() {
                self.carry_out(id(u32::try_from(at + 1).unwrap_or(u32::MAX)));
            }
        }
    }

    /// So many ticks pass.
    pub fn run(&mut self, ticks: u64) {
        (0..ticks).for_each(|_| self.tick());
    }

    /// The tick that it is.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    fn carry_out(&mut self, from: NodeId) {
        let mut own = Vec::new();
        for effect in self.out.drain() {
            match effect {
                Effect::Send { to, message: AnyMessage::Overlay(message) } => {
                    if let Some(text) = self.watch.and_then(|watch| watch(from, to, &message)) {
                        self.shown.push(text);
                    }
                    if to == from {
                        own.push(message);
                        continue;
                    }
                    let delay = if self.rng.random_bool(0.5) { 1 } else { MAX_DELAY as u64 };
                    let slot = usize::try_from(self.now + delay).unwrap_or(0) % (MAX_DELAY + 1);
                    if index(to) < self.places.len() {
                        self.mail[slot].push(Letter { from, to, message });
                    }
                }
                Effect::Save(Record::Overlay(record)) | Effect::Note(Record::Overlay(record)) if self.durable => {
                    self.places[index(from)].memory.apply(&record);
                }
                Effect::Notify(Event::Found { request, result }) => _ = self.outcomes.insert(request, result),
                Effect::Notify(Event::Ignored { from: sender, reason }) if self.watch.is_some() => {
                    self.shown.push(format!("{from} ignores {sender}: {reason}"));
                }
                _ => {}
            }
        }
        // What a node sends to itself is its next input.
        for message in own {
            let Some(node) = self.places[index(from)].node.as_mut() else { return };
            node.hear(from, message, &mut self.out);
            self.carry_out(from);
        }
    }
}

/// The node of a number from 1.
#[must_use]
pub fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap_or(NodeId::GUEST)
}

fn index(id: NodeId) -> usize {
    (id.number() as usize).wrapping_sub(1)
}
