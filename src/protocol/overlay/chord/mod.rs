//! A distributed hash table: Chord (Stoica, Morris, Karger, Kaashoek, Balakrishnan: "Chord: A Scalable Peer-to-peer Lookup
//! Service for Internet Applications", SIGCOMM 2001), with successor lists, virtual nodes and copies.
//!
//! # What it gives
//!
//! Keys and nodes stand on one ring ([`super::ring`]). A key's *owners* are the first three distinct nodes at or behind its
//! place. Each virtual node knows its predecessor, its next points, and *fingers*: the first point behind `at + 2ᵉ` for
//! every e. So each step of a lookup at least halves the way that is left, and it takes about ½·log₂ n of them.
//!
//! # The story
//!
//! - *Lookup* (§4.3), iterative: the node that was asked asks one node after the other for the known points that come
//!   closest before the key, until one answers who the owners are. It knows the route, because it went it. Who does not
//!   answer is gone round: each question names those who are silent, and the answer leaves them out, so nobody has to
//!   have noticed it but the one that asks. Nobody is asked twice: no loops.
//! - *Set, get, remove*: look up the owners; ask all of them for their versions; a get answers the newest, and gives it to
//!   those who have an older one; a set writes the version that follows the newest to all owners, and is done when all
//!   have saved it. While an owner is dead the call waits until it counts as gone, and goes to the next in its place.
//! - *Stabilisation* (§4.4): each virtual node in turn asks its successor who is before that, and for its list; the
//!   successor learns from the same message who is before it. A node that does not answer is *suspected* and dropped from
//!   all tables, until it speaks again.
//! - *Fingers* (§4.4): in each round one of each virtual node's, from the nearest to the farthest. Whom it points to is asked
//!   first, and can tell in one step that nobody has come in between; only if somebody has, or it does not answer, the
//!   finger is looked up anew. So a table that is right costs two messages a round.
//! - *Copies*: a node compares what belongs to it with the two nodes behind it, by a hash first, and both give each other
//!   what is newer. That is how a newcomer gets its keys, and how a third copy arises again where one was lost. Who holds
//!   a key for which nobody names it an owner any more hands it over to the owners, and drops it when all have it.
//! - *Join*: the newcomer looks up the places of its virtual nodes from outside, and is part of the ring when all are
//!   found: not before, or it would take whom it happens to know for its neighbours. Only if nobody is part of a ring, it
//!   begins one. *Leave*: it tells its neighbours, hands over all keys, and only then has left.
//! - *Two rings become one*: from time to time a node looks up one of its own places starting at a random member. If it
//!   learns of a closer one than it has, or is not named there, there are two rings, after a cut for example. It takes the
//!   closer one, or tells the one that is named that it is there; they grow together from there.
//!
//! # Messages
//!
//! | message | sent by | when | answered with |
//! |---|---|---|---|
//! | `Find` | who looks something up | at each step, with who was silent | `Found`: the owners; `Next`: closer points; `Outside` |
//! | `Stabilise` | each virtual node | to its successor, in turn; to a ring that does not know it | `Neighbours`, or `Outside` |
//! | `Neighbours` | a successor | also unasked, when somebody has come in between | |
//! | `Leaving` | who leaves | at once | |
//! | `Fetch` | who handles a call | to each owner | `Held` |
//! | `Copies` | who has something newer | to write, to repair, to hand over | `Copied`, if it has a number |
//! | `Compare` | an owner | to those behind it that hold the copies | `Holding`, if they differ |
//! | `Holding` | who was compared | | `Copies` and `Want` |
//! | `Want` | who lacks something | | `Copies` |
//!
//! `Find`, `Next` and `Found` say whether they are *upkeep*: for fingers, and looks from outside. What goes on all the time
//! is left out of the trace of a node.
//!
//! # Invariants
//!
//! - Lists of successors are clockwise and do not pass their own point; a route has no node twice and at most
//!   [`MAX_HOPS`](super::MAX_HOPS) of them.
//! - Once links hold still: each successor is the next point of the ring, and every key has one set of owners, the same
//!   whoever is asked.
//! - A stamp names one version of a key. A version is saved before it is acknowledged, and is replaced only by one with a higher stamp. It is dropped only
//!   when all owners have acknowledged it. So no key is lost while fewer than three nodes fail between two comparisons.
//!
//! # Caveats
//!
//! - The paper's join is not correct under all interleavings of joins and failures (Zave, "Reasoning about Identifier
//!   Spaces: How to Make Chord Correct", 2017). Here a newcomer takes a whole list of successors and not only one, a dead
//!   point is dropped from all tables at once, and the rings are looked at from outside; that mends what her examples
//!   break, but nothing here is a proof.
//! - Not consensus: while rings are apart, or a slow node is taken for a dead one, a key may have two sets of owners for a
//!   while. The highest stamp wins when they meet. A get may miss a version that was written on the other side.
//! - While nodes come and go a get may rarely find nothing where there is a copy: the lists of successors are not yet right,
//!   and those that they name as owners do not hold the key. It is found again when they are.
//! - That a key was removed is remembered as a version of its own, and takes a key's place in the store.
//! - All nodes must use the same number of virtual nodes and of copies.

mod calls;
mod lookup;
mod membership;
mod replicas;
mod stabilise;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, VecDeque};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::items::Items;
use super::numbers::Numbers;
use super::ring::{Point, Position, points_of};
use super::{Failure, Item, Key, Memory, Shelf, Stamp, Version};
use crate::protocol::Out;
use crate::protocol::quorum::Members;
use crate::protocol::types::{NodeId, RequestId};
use calls::Operation;
use lookup::{Lookup, Purpose};
use replicas::Lease;

pub use table::{MAX_LIST, Virtual};

/// Each virtual node stabilises once in so many ticks.
pub const PERIOD_TICKS: u64 = 100;
/// A predecessor that is silent for so long is none.
const SILENT_TICKS: u64 = 3 * PERIOD_TICKS;
/// One that missed its turn gives way to another that says it comes before.
const LATE_TICKS: u64 = PERIOD_TICKS + PERIOD_TICKS / 2;
/// Who did not answer is not taken back into the tables on hearsay for so long.
const SUSPECT_TICKS: u64 = 3 * PERIOD_TICKS;
/// Who is just looking for its place may have it in so many ticks.
const JOINING_TICKS: u64 = 20;
/// Who did not answer by then is suspected.
const ANSWER_TICKS: u64 = 100;
/// A node looks at the ring from outside in every so many rounds of stabilisation, at one of its places in turn: where two
/// rings have met at one place, their points tell each other of their predecessors, and so they close up backwards.
const OUTSIDE_ROUNDS: u64 = 4;
/// A node compares its copies in every so many rounds; and at once when the owners change.
const COMPARE_ROUNDS: u64 = 4;

/// What can be set; all nodes must have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// On how many points of the ring each node stands.
    pub virtual_nodes: u32,
    /// How many nodes hold each key.
    pub replicas: usize,
    /// How many distinct nodes a list of successors names.
    pub successors: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { virtual_nodes: 4, replicas: 3, successors: 8 }
    }
}

/// What nodes say to each other; see the table above.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the table says what they are for")]
pub enum Message {
    Find {
        id: u64,
        target: Position,
        upkeep: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        silent: Vec<NodeId>,
    },
    Next {
        id: u64,
        nearer: Vec<Point>,
        upkeep: bool,
    },
    Found {
        id: u64,
        owners: Vec<Point>,
        upkeep: bool,
    },
    Outside {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        joining: bool,
    },
    Stabilise {
        of: Position,
        by: Point,
    },
    Neighbours {
        to: Position,
        of: Point,
        #[serde(skip_serializing_if = "Option::is_none")]
        predecessor: Option<Point>,
        successors: Vec<Point>,
    },
    Leaving {},
    Fetch {
        id: u64,
        key: Key,
    },
    Held {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
        room: bool,
    },
    Copies {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        items: Vec<Item>,
    },
    Copied {
        id: u64,
        kept: bool,
    },
    Compare {
        from: Position,
        to: Position,
        digest: Digest,
    },
    Holding {
        from: Position,
        to: Position,
        have: Vec<(Position, Stamp)>,
    },
    Want {
        positions: Vec<Position>,
    },
}

impl Message {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Find { .. } => "dht.find",
            Self::Next { .. } => "dht.next",
            Self::Found { .. } => "dht.found",
            Self::Outside { .. } => "dht.outside",
            Self::Stabilise { .. } => "dht.stabilise",
            Self::Neighbours { .. } => "dht.neighbours",
            Self::Leaving {} => "dht.leaving",
            Self::Fetch { .. } => "dht.fetch",
            Self::Held { .. } => "dht.held",
            Self::Copies { .. } => "dht.copies",
            Self::Copied { .. } => "dht.copied",
            Self::Compare { .. } => "dht.compare",
            Self::Holding { .. } => "dht.holding",
            Self::Want { .. } => "dht.want",
        }
    }

    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::Fetch { key, .. } => Some(key),
            Self::Copies { items, .. } if items.len() == 1 => items.first().map(|item| &item.key),
            _ => None,
        }
    }

    pub(crate) const fn is_upkeep(&self) -> bool {
        match self {
            Self::Find { upkeep, .. } | Self::Next { upkeep, .. } | Self::Found { upkeep, .. } => *upkeep,
            Self::Stabilise { .. } | Self::Neighbours { .. } | Self::Compare { .. } => true,
            _ => false,
        }
    }
}

impl From<Message> for crate::protocol::Message {
    fn from(message: Message) -> Self {
        super::Message::Dht(message).into()
    }
}

/// A hash of what lies in an arc; it has the bits of a position, and is written like one.
pub type Digest = Position;

/// How far a node is part of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It looks for its places; so many of its virtual nodes have theirs.
    Joining {
        /// Nobody is asked again before this tick.
        pause: u64,
        /// A node with a lower id is looking for its place, too: it goes first.
        defers: bool,
    },
    /// It is part of the ring.
    Joined,
    /// It hands over its keys.
    Leaving {
        /// Who waits for it.
        waiting: Vec<RequestId>,
        /// Up to when.
        deadline: u64,
    },
    /// It is not part of the ring, and asks those that are.
    Left,
}

/// What a node that starts does: it looks for its place, or stays away; and goes on handing over what it still has.
fn begin_with(memory: &Memory) -> Phase {
    match (memory.left, memory.dht.is_empty() || mutant!(DhtLeavesWithKeys)) {
        (false, _) => Phase::Joining { pause: 0, defers: false },
        (true, true) => Phase::Left,
        (true, false) => Phase::Leaving { waiting: Vec::new(), deadline: 0 },
    }
}

/// One node of the hash table.
#[derive(Debug, Clone)]
pub struct Chord {
    me: NodeId,
    /// Members to ask from outside.
    contacts: Vec<NodeId>,
    options: Options,
    phase: Phase,
    /// In the order of the ring.
    virtuals: Vec<Virtual>,
    items: Items,
    /// For the stamps of the versions that it makes.
    numbers: Numbers,
    /// Who did not answer, and until when they are not believed to be there on hearsay.
    suspects: BTreeMap<NodeId, u64>,
    lookups: BTreeMap<u64, Box<Lookup>>,
    operations: BTreeMap<u64, Operation>,
    /// For which arcs others say that this node holds copies, by the arc's end.
    leases: BTreeMap<Position, Lease>,
    /// Answers to itself: neighbours that are virtual nodes of its own.
    own: VecDeque<Message>,
    rng: Pcg64Mcg,
    now: u64,
    /// Nothing is to be done before this tick, unless something comes in.
    due: u64,
    /// Since when it has been part of the ring.
    joined_at: u64,
    next_turn: u64,
    turns: u64,
    next_id: u64,
    /// Who waits for it to be part of the ring, and up to when.
    arrivals: Vec<(RequestId, u64)>,
    /// How many comparisons may yet go on at once in this round.
    follow_ups: usize,
    /// How many keys were handed over since it began to leave.
    handed_over: usize,
}

impl Chord {
    /// Starts from what the node remembers, and takes that. It knows these other members, and looks for its place unless it has left.
    #[must_use]
    pub fn new(me: NodeId, contacts: Vec<NodeId>, options: Options, memory: &mut Memory, mut rng: Pcg64Mcg) -> Self {
        let virtuals = points_of(me, options.virtual_nodes.max(1)).into_iter().map(|point| Virtual::new(point.at));
        // By chance: what was asked by an earlier life of this node must not be answered to this one.
        let next_id = u64::from(rng.random::<u32>()) << 24;
        let next_turn = rng.random_range(1..=PERIOD_TICKS / 4);
        Self {
            me,
            contacts,
            options,
            phase: begin_with(memory),
            virtuals: virtuals.collect(),
            items: std::mem::take(&mut memory.dht),
            numbers: Numbers::new(Shelf::Dht, memory.reserved(Shelf::Dht)),
            suspects: BTreeMap::new(),
            lookups: BTreeMap::new(),
            operations: BTreeMap::new(),
            leases: BTreeMap::new(),
            own: VecDeque::new(),
            rng,
            now: 0,
            due: 0,
            joined_at: 0,
            next_turn,
            turns: 0,
            next_id,
            arrivals: Vec::new(),
            follow_ups: 0,
            handed_over: 0,
        }
    }

    pub(super) fn is_blank(&self) -> bool {
        let wants_to_join = matches!(self.phase, Phase::Joining { .. } | Phase::Joined);
        self.items.is_empty() && self.numbers.is_blank() && wants_to_join
    }

    /// These belong to the cluster now.
    pub fn meet(&mut self, members: &Members) {
        if !members.others(self.me).eq(self.contacts.iter().copied()) {
            self.contacts = members.others(self.me).collect();
        }
    }

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        // Whoever speaks is there.
        if from != self.me && !matches!(message, Message::Leaving {} | Message::Outside { .. }) {
            self.suspects.remove(&from);
        }
        match message {
            Message::Find { id, target, upkeep, silent } => self.on_find(from, id, target, upkeep, &silent, out),
            Message::Next { id, nearer, .. } => self.on_next(from, id, nearer, out),
            Message::Found { id, owners, .. } => self.on_found(from, id, owners, out),
            Message::Outside { id, joining } => self.on_outside(from, id, joining, out),
            Message::Stabilise { of, by } => self.on_stabilise(from, of, by, out),
            Message::Neighbours { to, of, predecessor, successors } => {
                self.on_neighbours(from, to, of, predecessor, successors, out);
            }
            Message::Leaving {} => {
                self.quarantine(from, SUSPECT_TICKS);
                self.drop_node(from, out);
            }
            Message::Fetch { id, key } => self.on_fetch(from, id, &key, out),
            Message::Held { id, version, room } => self.on_held(from, id, version, room, out),
            Message::Copies { id, items } => self.on_copies(from, id, items, out),
            Message::Copied { id, kept } => self.on_copied(from, id, kept, out),
            Message::Compare { from: behind, to, digest } => self.on_compare(from, behind, to, digest, out),
            Message::Holding { from: behind, to, have } => self.on_holding(from, behind, to, &have, out),
            Message::Want { positions } => self.on_want(from, &positions, out),
        }
        self.answer_itself(out);
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now += 1;
        if self.now < self.due {
            debug_assert!(self.now < self.earliest(), "something was due at {}", self.now);
            return;
        }
        for index in 0..self.virtuals.len() {
            if let Some((point, _)) = self.virtuals[index].asked.filter(|(_, until)| *until <= self.now) {
                self.suspect(point.node, out);
            }
        }
        self.tick_lookups(out);
        self.tick_operations(out);
        if self.now >= self.next_turn {
            self.turn(out);
        }
        self.answer_itself(out);
        self.due = self.earliest();
    }

    /// The tick at which the first of all that waits is due.
    fn earliest(&self) -> u64 {
        if !self.operations.is_empty() {
            return self.now;
        }
        let neighbours = self.virtuals.iter().filter_map(|table| table.asked.map(|(_, until)| until));
        let lookups = self.lookups.values().filter_map(|lookup| lookup.until());
        neighbours.chain(lookups).fold(self.next_turn, u64::min)
    }

    /// Something more is due then.
    fn due_at(&mut self, tick: u64) {
        self.due = self.due.min(tick);
    }

    /// The transport saw that a peer's process has ended.
    pub fn disconnected(&mut self, peer: NodeId, out: &mut Out) {
        self.suspect(peer, out);
        self.answer_itself(out);
    }

    /// A virtual node's turn.
    fn turn(&mut self, out: &mut Out) {
        let count = self.virtuals.len() as u64;
        self.next_turn = self.now + (PERIOD_TICKS / count).max(1);
        self.turns += 1;
        let index = usize::try_from(self.turns % count).unwrap_or(0);
        let round = self.turns / count;
        self.suspects.retain(|_, until| *until > self.now);
        if index == 0 {
            self.follow_ups = replicas::FOLLOW_UPS;
        }
        match &mut self.phase {
            Phase::Joining { pause, .. } => {
                let now = self.now;
                for (request, _) in self.arrivals.extract_if(.., |(_, deadline)| *deadline <= now) {
                    let why = "it goes on looking for its place; ask dht.ring how far it is";
                    super::done(request, Err(Failure::Unknown(why)), out);
                }
                if *pause <= self.now && !self.lookups.values().any(|lookup| lookup.purpose == Purpose::Join) {
                    self.look_for_place(out);
                }
                // It may be found soon.
                self.next_turn = self.now + 10;
            }
            Phase::Joined => {
                let table = &mut self.virtuals[index];
                table.predecessor = table.predecessor.filter(|(_, heard)| heard + SILENT_TICKS > self.now);
                self.stabilise(index, out);
                if let Some(exponent) = self.virtuals[index].next_finger() {
                    self.fix_finger(index, exponent, out);
                }
                if round.is_multiple_of(COMPARE_ROUNDS) {
                    self.compare(index, out);
                }
                if index == 0 && round % OUTSIDE_ROUNDS == 1 {
                    let index = usize::try_from(round / OUTSIDE_ROUNDS % count).unwrap_or(0);
                    self.look_at_own(index, out);
                }
                if index == 0 && self.now > self.joined_at + replicas::LEASE_TICKS {
                    self.hand_over(out);
                }
            }
            Phase::Leaving { waiting, deadline } => {
                if *deadline <= self.now {
                    for request in std::mem::take(waiting) {
                        let why = "it goes on handing over its keys; ask dht.ring how far it is";
                        super::done(request, Err(Failure::Unknown(why)), out);
                    }
                }
                self.hand_over(out);
            }
            Phase::Left => {}
        }
    }

    /// What virtual nodes of one node say to each other needs no network.
    fn answer_itself(&mut self, out: &mut Out) {
        while let Some(message) = self.own.pop_front() {
            match message {
                Message::Stabilise { of, by } => self.on_stabilise(self.me, of, by, out),
                Message::Neighbours { to, of, predecessor, successors } => {
                    self.on_neighbours(self.me, to, of, predecessor, successors, out);
                }
                _ => {}
            }
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    fn say_outside(&self, to: NodeId, id: Option<u64>, out: &mut Out) {
        let joining = matches!(self.phase, Phase::Joining { .. });
        out.send(to, Message::Outside { id, joining });
    }

    fn on_outside(&mut self, from: NodeId, id: Option<u64>, joining: bool, out: &mut Out) {
        if let (Phase::Joining { defers, .. }, true) = (&mut self.phase, joining && from < self.me) {
            *defers = true;
        }
        self.quarantine(from, if joining { JOINING_TICKS } else { SUSPECT_TICKS });
        self.drop_node(from, out);
        if let Some(id) = id {
            self.lookup_goes_on(from, id, out);
            self.operation_misses(from, Some(id));
        }
    }

    const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// All other nodes in the tables.
    fn known(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.points().into_iter().map(|point| point.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|&node| node != self.me);
        nodes
    }

    /// Every point that this node knows, its own included, in the order of the ring.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        let mut points: Vec<Point> = Vec::new();
        for table in &self.virtuals {
            points.push(Point { at: table.at, node: self.me });
            points.extend(&table.successors);
            points.extend(table.fingers.iter().map(|(_, point)| *point));
            points.extend(table.predecessor.map(|(point, _)| point));
        }
        points.sort_unstable();
        points.dedup();
        points
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.me
    }

    /// How far it is part of the ring.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Its virtual nodes' tables, in the order of the ring.
    #[must_use]
    pub fn virtuals(&self) -> &[Virtual] {
        &self.virtuals
    }

    /// What it holds.
    #[must_use]
    pub const fn items(&self) -> &Items {
        &self.items
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        for table in &self.virtuals {
            let ways = || table.successors.iter().map(|point| table.at.way_to(point.at));
            let clockwise = ways().zip(ways().skip(1)).all(|(one, next)| one < next);
            assert!(clockwise && ways().next() != Some(0), "successors out of order: {table:?}");
            assert!(table.successors.len() <= MAX_LIST, "too many successors");
        }
        for lookup in self.lookups.values() {
            lookup.check_invariants();
        }
    }
}
