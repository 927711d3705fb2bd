//! The quorum register: a value under a name, kept without a leader and without a log.
//!
//! # The story
//!
//! Attiya, Bar-Noy and Dolev ("Sharing Memory Robustly in Message-Passing Systems", 1995), for many writers (Lynch and
//! Shvartsman, 1997). Every node keeps a copy: the value with the highest [`Timestamp`], (counter, node), that it was told
//! to store. The node that a client calls does two rounds, each with all nodes, itself included:
//!
//! 1. *Query*: what do you hold? It waits for a *read quorum* of answers.
//! 2. *Store*: hold this, unless you hold something higher. It waits for a *write quorum* of them.
//!
//! A write stores its value under a timestamp with a counter one past the highest found. A read stores what it found with
//! the highest timestamp (*write-back*, or read repair) and then returns it: a later read must not find less than it did.
//! If the answers show that a write quorum holds it already, there is nothing to write back.
//!
//! Why that is linearizable: what a write or a read has finished with is held by a write quorum; every later query meets
//! that quorum in at least one node, so it finds that timestamp or a higher one. So the order of timestamps is an order
//! that fits real time. It takes that *any read quorum meets any write quorum*: R + W > N.
//!
//! # Messages
//!
//! | message | who sends it | to whom | when |
//! |---|---|---|---|
//! | `Query` | the node that a client called | all others | a call begins; again while answers are missing |
//! | `Held` | who is asked | who asked | what it holds, saved |
//! | `Store` | the node that a client called | all others | the read quorum has answered; again while answers are missing |
//! | `Stored` | who was told to store | who told it | it holds that, or something higher, saved |
//!
//! # Invariants
//!
//! - What a node holds only rises, also across a crash; `Held` and `Stored` leave after it was saved.
//! - A timestamp has one value: the writer saves it in its own copy before anyone hears of it, and never uses a counter
//!   that is not above its own copy's.
//! - A timestamp is believed to be at most [`MAX_LEAP`] above what is held, so no message uses them up.
//!
//! # What is known of a call
//!
//! No read quorum answered in time: nothing was written ([`Failure::Unavailable`]). The value left, and no write quorum
//! answered: it may be read by some and not by others, until a read that finds it writes it back, or another write hides
//! it ([`Failure::Unknown`]). A read that fails has changed nothing of what was written.
//!
//! # Caveats
//!
//! - There is no compare-and-set: two that read, count up and write lose an update. That needs consensus: see the strong
//!   services.
//! - Quorum sizes are set for the calls of one node. A read meets the writes of *other* nodes only if the sizes of all
//!   intersect, and with what was written under sizes that were set earlier: so a node in service takes no size below a
//!   majority. A lab's node takes any, and then reads can be stale; that is what the lab is for.
//! - A node whose directory was wiped, or put back from an old copy, has forgotten what it held, and may break all of the
//!   above, as an acceptor of Paxos does.

pub mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::quorum::Members;
use super::types::{NodeId, RequestId, Value};
use super::{Event, Out, Record as AnyRecord};
pub use memory::Timestamp;
use memory::{Held, Memory, Record};

/// Bytes of a register's name.
pub const MAX_NAME_BYTES: usize = 512;
/// Bytes of a value.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// How far above what it holds a node believes a counter to be.
pub const MAX_LEAP: u64 = 1 << 40;
/// Where counters end.
pub const MAX_COUNTER: u64 = 1 << 61;

/// What nodes say to each other; the module's table says who, when, and to whom. `call` is the asking node's number for
/// its client's call: an answer counts only for that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the module's table says who sends what")]
pub enum Message {
    Query(Query),
    Held(Answer),
    Store(Store),
    Stored(Stored),
}

/// "What do you hold?"
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Query {
    /// The asking node's number.
    pub call: u64,
    /// The register.
    pub name: Arc<str>,
}

/// "I hold this."
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The asking node's number.
    pub call: u64,
    /// Absent if it was never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// "Hold this, unless you hold something higher."
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Store {
    /// The asking node's number.
    pub call: u64,
    /// The register.
    pub name: Arc<str>,
    /// What to hold.
    pub held: Held,
}

/// "I hold that, or something higher."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stored {
    /// The asking node's number.
    pub call: u64,
    /// What was to be held.
    pub timestamp: Timestamp,
}

impl From<Message> for super::Message {
    fn from(message: Message) -> Self {
        Self::Register(message)
    }
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Ticks after which who has not answered is asked again.
    pub again_ticks: u64,
    /// How many registers there may be.
    pub registers: usize,
    /// Bytes of all names and values.
    pub bytes: usize,
    /// Calls that wait at the same time.
    pub calls: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { again_ticks: 30, registers: 10_000, bytes: 64 << 20, calls: 4096 }
    }
}

/// How many nodes a read asks, and a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The read quorum.
    pub read: usize,
    /// The write quorum.
    pub write: usize,
}

/// Why sizes were not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSizes {
    /// There are not so many nodes.
    #[error("a quorum has 1 to {nodes} nodes")]
    Impossible {
        /// How many there are.
        nodes: usize,
    },
    /// In service, reads could miss writes.
    #[error(
        "a read of {read} of {nodes} nodes can miss a write to {write} of them, or what another node writes to a majority: \
         in service both sizes are at least {majority}"
    )]
    Apart {
        /// The read quorum asked for.
        read: usize,
        /// The write quorum asked for.
        write: usize,
        /// How many nodes there are.
        nodes: usize,
        /// A majority of them.
        majority: usize,
    },
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Done {
    /// The value is held by a write quorum, under this timestamp.
    Written(Timestamp),
    /// This was read; nothing, if the register was never written.
    Read(Option<Held>),
}

/// Why a call did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Too few nodes answered in time, or too many calls wait; nothing was written.
    Unavailable {
        /// Who answered, this node included.
        heard: Vec<NodeId>,
        /// How many were needed.
        needed: usize,
    },
    /// The value left under this timestamp, and too few nodes said in time that they hold it.
    Unknown {
        /// Its timestamp.
        timestamp: Timestamp,
        /// Who holds it, this node included.
        stored: Vec<NodeId>,
        /// How many were needed.
        needed: usize,
    },
    /// This node holds as many registers as it may, or the register's counter has been driven to its end; nothing was
    /// written.
    Full,
    /// There is no room on this node's disk; nothing was written.
    NoRoom,
    /// The node was restarted meanwhile, and has forgotten the call.
    Restarted,
}

/// What a client wants.
#[derive(Debug, Clone)]
enum Wish {
    Read,
    Write(Value),
}

/// How far a call is.
#[derive(Debug)]
enum Phase {
    /// What each node holds that has answered.
    Querying(BTreeMap<NodeId, Option<Held>>),
    /// Who holds this.
    Storing(Held, BTreeSet<NodeId>),
}

/// A client's call.
#[derive(Debug)]
struct Call {
    request: RequestId,
    name: Arc<str>,
    wish: Wish,
    sizes: Sizes,
    phase: Phase,
    deadline: u64,
    again_at: u64,
}

/// One node's part: its copies, and the calls of its clients.
#[derive(Debug)]
pub struct Register {
    id: NodeId,
    members: Members,
    options: Options,
    memory: Memory,
    /// Of all names and values.
    bytes: usize,
    /// Absent: a majority for both.
    sizes: Option<Sizes>,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    now_ticks: u64,
}

impl Register {
    /// Starts from what the node remembers.
    #[must_use]
    pub fn new(id: NodeId, members: Members, options: Options, memory: Memory, mut rng: Pcg64Mcg) -> Self {
        // By chance: what is said to an earlier life must not be taken for an answer to this one.
        let next_call = rng.random::<u64>() >> 2;
        let bytes = memory.registers.iter().map(|(name, held)| weight(name, held)).sum();
        Self { id, members, options, memory, bytes, sizes: None, calls: BTreeMap::new(), next_call, now_ticks: 0 }
    }

    // Clients.

    /// A client reads. It is answered by an [`Event::Finished`] within so many ticks.
    pub fn read(&mut self, request: RequestId, name: &str, deadline_ticks: u64, out: &mut Out) {
        self.begin(request, name, Wish::Read, deadline_ticks, out);
    }

    /// A client writes. It is answered by an [`Event::Finished`] within so many ticks.
    pub fn write(&mut self, request: RequestId, name: &str, value: Value, deadline_ticks: u64, out: &mut Out) {
        self.begin(request, name, Wish::Write(value), deadline_ticks, out);
    }

    fn begin(&mut self, request: RequestId, name: &str, wish: Wish, deadline_ticks: u64, out: &mut Out) {
        let sizes = self.sizes();
        if self.calls.len() >= self.options.calls {
            let failure = Failure::Unavailable { heard: Vec::new(), needed: sizes.read };
            return out.notify(Event::Finished { request, result: Err(failure) });
        }
        if let Wish::Write(value) = &wish
            && !self.has_room(name, value, 1)
        {
            return out.notify(Event::Finished { request, result: Err(Failure::Full) });
        }
        self.next_call += 1;
        let (call, name): (u64, Arc<str>) = (self.next_call, Arc::from(name));
        for to in self.members.others(self.id) {
            out.send(to, Message::Query(Query { call, name: name.clone() }));
        }
        let mine = self.memory.registers.get(&name).cloned();
        let again_at = self.now_ticks + self.options.again_ticks;
        let deadline = self.now_ticks.saturating_add(deadline_ticks);
        let phase = Phase::Querying(BTreeMap::from([(self.id, mine)]));
        self.calls.insert(call, Call { request, name, wish, sizes, phase, deadline, again_at });
        self.proceed(call, out);
    }

    /// How many nodes a read and a write ask.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let majority = self.members.majority();
        self.sizes.unwrap_or(Sizes { read: majority, write: majority })
    }

    /// Sets the sizes for the calls that come from here on.
    ///
    /// # Errors
    /// They cannot be met; or, if not everything is allowed, reads could miss writes.
    pub fn set_sizes(&mut self, sizes: Sizes, allow_all: bool) -> Result<(), BadSizes> {
        let (nodes, majority) = (self.members.len(), self.members.majority());
        let Sizes { read, write } = sizes;
        if !(1..=nodes).contains(&read) || !(1..=nodes).contains(&write) {
            return Err(BadSizes::Impossible { nodes });
        }
        if !allow_all && (read < majority || write < majority) {
            return Err(BadSizes::Apart { read, write, nodes, majority });
        }
        self.sizes = Some(sizes);
        Ok(())
    }

    // Messages.

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        if from == self.id || !self.members.contains(from) {
            return out.ignore(from, "registers are kept by the other members only");
        }
        match message {
            Message::Query(Query { call, name }) => {
                let held = self.memory.registers.get(&name).cloned();
                out.send(from, Message::Held(Answer { call, held }));
            }
            Message::Store(Store { call, name, held }) => {
                let timestamp = held.timestamp;
                if !self.is_credible(&name, timestamp) {
                    return out.ignore(from, "the timestamp is too far above what is held");
                }
                if !self.has_room(&name, &held.value, 2) {
                    return out.ignore(from, "this node holds as many registers as it may");
                }
                self.store(name, held, out);
                out.send(from, Message::Stored(Stored { call, timestamp }));
            }
            Message::Held(Answer { call, held }) => self.on_held(from, call, held, out),
            Message::Stored(Stored { call, timestamp }) => self.on_stored(from, call, timestamp, out),
        }
    }

    fn on_held(&mut self, from: NodeId, number: u64, held: Option<Held>, out: &mut Out) {
        let Some(name) = self.calls.get(&number).map(|call| call.name.clone()) else {
            return out.ignore(from, "nobody waits for this, or not any more");
        };
        if held.as_ref().is_some_and(|held| !self.is_credible(&name, held.timestamp)) {
            return out.ignore(from, "the timestamp is too far above what is held");
        }
        if let Some(Call { phase: Phase::Querying(heard), .. }) = self.calls.get_mut(&number) {
            heard.entry(from).or_insert(held);
            self.proceed(number, out);
        }
    }

    fn on_stored(&mut self, from: NodeId, number: u64, timestamp: Timestamp, out: &mut Out) {
        if let Some(Call { phase: Phase::Storing(held, stored), .. }) = self.calls.get_mut(&number)
            && held.timestamp == timestamp
        {
            stored.insert(from);
            self.proceed(number, out);
        }
    }

    /// Takes a call as far as the answers allow.
    fn proceed(&mut self, number: u64, out: &mut Out) {
        let Some(call) = self.calls.get(&number) else { return };
        let (read, write) = (call.sizes.read, call.sizes.write);
        if let Phase::Querying(heard) = &call.phase {
            if heard.len() + usize::from(mutant!(ReadQuorumMinusOne)) < read {
                return;
            }
            let highest = heard.values().flatten().max_by_key(|held| held.timestamp);
            let first = || heard.values().flatten().next();
            let highest = if mutant!(ReadTakesTheFirst) { first() } else { highest }.cloned();
            let holds = |held: &Option<Held>| held.as_ref().map(|held| held.timestamp);
            let top = holds(&highest);
            let holders = heard.iter().filter(|(_, held)| holds(held) == top).map(|(node, _)| *node).collect();
            if !self.enter_store(number, highest, holders, out) {
                return;
            }
        }
        let Some(Call { phase: Phase::Storing(held, stored), wish, request, .. }) = self.calls.get(&number) else {
            return;
        };
        if stored.len() + usize::from(mutant!(WriteQuorumMinusOne)) >= write {
            let done = match wish {
                Wish::Read => Done::Read(Some(held.clone())),
                Wish::Write(_) => Done::Written(held.timestamp),
            };
            out.notify(Event::Finished { request: *request, result: Ok(done) });
            self.calls.remove(&number);
        }
    }

    /// The read quorum has answered: what is to be stored, and who holds it already. False if the call is over.
    fn enter_store(&mut self, number: u64, highest: Option<Held>, holders: BTreeSet<NodeId>, out: &mut Out) -> bool {
        let Some(call) = self.calls.get(&number) else { return false };
        let (name, write) = (call.name.clone(), call.sizes.write);
        let (held, mut stored) = match (&call.wish, highest) {
            (Wish::Read, None) => {
                out.notify(Event::Finished { request: call.request, result: Ok(Done::Read(None)) });
                self.calls.remove(&number);
                return false;
            }
            (Wish::Read, Some(held)) => (held, holders),
            (Wish::Write(value), highest) => {
                let mine = self.memory.registers.get(&name).filter(|_| !mutant!(OwnTimestampForgotten));
                let found = highest.filter(|_| !mutant!(WritesWithoutAsking));
                let top = found.iter().chain(mine).map(|held| held.timestamp.counter).max().unwrap_or(0);
                if top >= MAX_COUNTER {
                    out.notify(Event::Finished { request: call.request, result: Err(Failure::Full) });
                    self.calls.remove(&number);
                    return false;
                }
                let timestamp = Timestamp { counter: top + 1, node: self.id };
                (Held { timestamp, value: value.clone() }, BTreeSet::new())
            }
        };
        let is_enough = stored.len() >= write || (matches!(call.wish, Wish::Read) && mutant!(ReadsDoNotWriteBack));
        if !is_enough {
            // In this node's own copy first: the timestamp is not used again, whatever happens.
            self.store(name.clone(), held.clone(), out);
            stored.insert(self.id);
            for to in self.members.others(self.id).filter(|to| !stored.contains(to)) {
                out.send(to, Message::Store(Store { call: number, name: name.clone(), held: held.clone() }));
            }
        } else if mutant!(ReadsDoNotWriteBack) {
            stored.extend(self.members.iter());
        }
        if let Some(call) = self.calls.get_mut(&number) {
            call.phase = Phase::Storing(held, stored);
            call.again_at = self.now_ticks + self.options.again_ticks;
        }
        true
    }

    /// Holds this, unless something higher is held.
    fn store(&mut self, name: Arc<str>, held: Held, out: &mut Out) {
        let is_higher = self.memory.registers.get(&name).is_none_or(|mine| mine.timestamp < held.timestamp);
        if is_higher || mutant!(StoresLower) {
            let before = self.memory.registers.get(&name).map_or(0, |mine| weight(&name, mine));
            self.bytes = self.bytes - before + weight(&name, &held);
            let record = Record { name, held };
            self.memory.apply(&record);
            out.save(AnyRecord::Register(Box::new(record)));
        }
    }

    fn is_credible(&self, name: &str, timestamp: Timestamp) -> bool {
        let mine = self.memory.registers.get(name).map_or(0, |held| held.timestamp.counter);
        timestamp.counter <= MAX_COUNTER && timestamp.counter.saturating_sub(mine) <= MAX_LEAP
    }

    /// Whether a value can be held under this name. Other nodes may go on a little: what a client was told to be full at
    /// one of them is not to be half written here.
    fn has_room(&self, name: &str, value: &Value, times: usize) -> bool {
        let fits = name.len() <= MAX_NAME_BYTES && value.as_str().len() <= MAX_VALUE_BYTES;
        let bytes = self.bytes + name.len() + value.as_str().len();
        let Options { registers, bytes: most, .. } = self.options;
        let is_there = self.memory.registers.contains_key(name);
        fits && bytes <= most * times && (is_there || self.memory.registers.len() < registers * times)
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now_ticks += 1;
        let now = self.now_ticks;
        let over: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.deadline <= now).map(|(&number, _)| number).collect();
        for number in over {
            if let Some(call) = self.calls.remove(&number) {
                out.notify(Event::Finished { request: call.request, result: Err(call.failure()) });
            }
        }
        for (&number, call) in self.calls.iter_mut().filter(|(_, call)| call.again_at <= now) {
            call.again_at = now + self.options.again_ticks;
            let name = &call.name;
            for to in self.members.others(self.id) {
                match &call.phase {
                    Phase::Querying(heard) if !heard.contains_key(&to) => {
                        out.send(to, Message::Query(Query { call: number, name: name.clone() }));
                    }
                    Phase::Storing(held, stored) if !stored.contains(&to) => {
                        out.send(to, Message::Store(Store { call: number, name: name.clone(), held: held.clone() }));
                    }
                    _ => {}
                }
            }
        }
    }

    /// The node is restarted: whoever waits is told so.
    pub fn abandon(&mut self, out: &mut Out) {
        for (_, call) in std::mem::take(&mut self.calls) {
            out.notify(Event::Finished { request: call.request, result: Err(Failure::Restarted) });
        }
    }

    // Observers.

    /// What this node holds.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The clients' calls that wait here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.calls.len()
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        assert!(self.memory.registers.len() <= self.options.registers * 2, "more registers than there may be");
        for call in self.calls.values() {
            if let Phase::Storing(held, _) = &call.phase {
                let mine = self.memory.registers.get(&call.name).map(|mine| mine.timestamp);
                assert!(mine >= Some(held.timestamp), "{} is told to others and not held here", held.timestamp);
            }
        }
    }
}

impl Call {
    /// What is known of it when its time is up.
    fn failure(self) -> Failure {
        match (self.phase, self.wish) {
            (Phase::Querying(heard), _) => {
                Failure::Unavailable { heard: heard.into_keys().collect(), needed: self.sizes.read }
            }
            (Phase::Storing(_, stored), Wish::Read) => {
                Failure::Unavailable { heard: stored.into_iter().collect(), needed: self.sizes.write }
            }
            (Phase::Storing(held, stored), Wish::Write(_)) => Failure::Unknown {
                timestamp: held.timestamp,
                stored: stored.into_iter().collect(),
                needed: self.sizes.write,
            },
        }
    }
}

fn weight(name: &str, held: &Held) -> usize {
    name.len() + held.value.as_str().len()
}

#[cfg(test)]
pub(crate) mod tests;
