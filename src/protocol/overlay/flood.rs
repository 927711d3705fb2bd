//! Flooding, as in Gnutella: a key stays where it was set, and whoever looks for it asks its neighbours, who ask theirs.
//!
//! # The story
//!
//! - *Neighbours*: each node picks a few at random, and who is picked picks back. They greet each other; who is silent is
//!   replaced by another.
//! - *Get*: the query goes to all neighbours with a *time to live*; each node passes it on to its own neighbours with one
//!   less, unless it has seen it before. Whoever holds the key answers the asking node directly, with the route by which
//!   the query came. Shortly after the first answer the one with the newest version is taken; without an answer the key
//!   counts as not found when the query must have died out.
//! - *Set*: a query first, so that the new version is newer than all that are in reach; then it is saved here, and those
//!   that hold older ones are told to forget them.
//! - *Remove*: a query, and all holders in reach forget the key.
//!
//! # Messages
//!
//! | message | sent by | when | answered with |
//! |---|---|---|---|
//! | `Hello` | every node | to each neighbour, from time to time | `Welcome` |
//! | `Query` | who asks, and everyone who hears it first | to all neighbours but the one it came from | `Hit`, to who asked |
//! | `Forget` | who sets or removes | to each holder that was found | `Forgot` |
//!
//! # Invariants
//!
//! - A node passes on a query at most once: what a query costs is bounded by the number of links.
//! - A route has no node twice, and no more nodes than the time to live and the one that asked.
//! - A copy is saved before the set is acknowledged, and is forgotten on disk before that is acknowledged.
//!
//! # Caveats
//!
//! - "Not found" means: not within so many hops. A holder out of reach keeps its version, and shows it when it is in reach
//!   again, also one that was removed.
//! - One copy only: when its node is down, the key is not found, or an older version that was out of reach of the set.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::items::Items;
use super::numbers::Numbers;
use super::{Answer, Call, Failure, Item, Key, MAX_HOPS, Memory, Record, Shelf, Stamp, Version, done};
use crate::protocol::Out;
use crate::protocol::quorum::Members;
use crate::protocol::types::{NodeId, RequestId, Value};

/// Neighbours are greeted once in so many ticks ...
const HELLO_TICKS: u64 = 100;
/// ... and given up when they were silent for so long.
const SILENT_TICKS: u64 = 3 * HELLO_TICKS;
/// A hop and the answer take so long at most.
const HOP_TICKS: u64 = 10;
/// After the first answer, so long for a newer one.
const SETTLE_TICKS: u64 = 10;
/// Who did not say that it forgot a key is told again after so long.
const AGAIN_TICKS: u64 = 50;
/// So many queries are remembered.
const MAX_SEEN: usize = 4096;
/// Answers to one query that are looked at.
const MAX_HITS: usize = 256;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many neighbours a node looks for. It may have up to three times as many, of those who look for it.
    pub neighbours: usize,
    /// How many hops a query goes.
    pub time_to_live: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { neighbours: 3, time_to_live: 7 }
    }
}

/// What nodes say to each other; see the table above.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the table says what they are for")]
pub enum Message {
    Hello {},
    Welcome {
        taken: bool,
    },
    /// The route begins with the node that asks.
    Query {
        id: u64,
        key: Key,
        time_to_live: u32,
        route: Vec<NodeId>,
    },
    Hit {
        id: u64,
        version: Version,
        route: Vec<NodeId>,
    },
    Forget {
        id: u64,
        key: Key,
        upto: Stamp,
    },
    Forgot {
        id: u64,
    },
}

impl Message {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Hello {} => "flood.hello",
            Self::Welcome { .. } => "flood.welcome",
            Self::Query { .. } => "flood.query",
            Self::Hit { .. } => "flood.hit",
            Self::Forget { .. } => "flood.forget",
            Self::Forgot { .. } => "flood.forgot",
        }
    }

    pub(super) const fn key(&self) -> Option<&Key> {
        match self {
            Self::Query { key, .. } | Self::Forget { key, .. } => Some(key),
            _ => None,
        }
    }
}

impl From<Message> for crate::protocol::Message {
    fn from(message: Message) -> Self {
        super::Message::Flood(message).into()
    }
}

/// One node of the unstructured overlay.
#[derive(Debug)]
pub struct Flood {
    me: NodeId,
    contacts: Vec<NodeId>,
    options: Options,
    items: Items,
    /// For the stamps of the versions that it makes.
    numbers: Numbers,
    /// With the tick at which each was last heard of.
    neighbours: BTreeMap<NodeId, u64>,
    seen: BTreeSet<(NodeId, u64)>,
    /// The same in the order in which they came.
    order: VecDeque<(NodeId, u64)>,
    calls: BTreeMap<u64, Running>,
    rng: Pcg64Mcg,
    now: u64,
    next_hello: u64,
    next_id: u64,
}

/// A call under way.
#[derive(Debug)]
struct Running {
    request: RequestId,
    call: Call,
    deadline: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Answers are gathered up to this tick.
    Gathering { until: u64, hits: Vec<(Version, Vec<NodeId>)> },
    /// These have not confirmed yet that they forgot the key.
    Forgetting { holders: BTreeSet<NodeId>, upto: Stamp, copies: usize, hops: Vec<NodeId>, again: u64 },
}

impl Flood {
    /// Starts from what the node remembers, takes that, and looks for neighbours among these members.
    #[must_use]
    pub fn new(me: NodeId, contacts: Vec<NodeId>, options: Options, memory: &mut Memory, mut rng: Pcg64Mcg) -> Self {
        let next_id = u64::from(rng.random::<u32>()) << 24;
        Self {
            me,
            contacts,
            options,
            items: std::mem::take(&mut memory.flood),
            numbers: Numbers::new(Shelf::Flood, memory.reserved(Shelf::Flood)),
            neighbours: BTreeMap::new(),
            seen: BTreeSet::new(),
            order: VecDeque::new(),
            calls: BTreeMap::new(),
            rng,
            now: 0,
            next_hello: 1,
            next_id,
        }
    }

    pub(super) fn is_blank(&self) -> bool {
        self.items.is_empty() && self.numbers.is_blank()
    }

    /// These belong to the cluster now.
    pub fn meet(&mut self, members: &Members) {
        if !members.others(self.me).eq(self.contacts.iter().copied()) {
            self.contacts = members.others(self.me).collect();
        }
    }

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Hello {} => {
                let most = 3 * self.options.neighbours;
                let taken = self.neighbours.contains_key(&from) || self.neighbours.len() < most;
                if taken && from != self.me {
                    self.neighbours.insert(from, self.now);
                }
                out.send(from, Message::Welcome { taken });
            }
            Message::Welcome { taken: true } => _ = self.neighbours.insert(from, self.now),
            Message::Welcome { taken: false } => _ = self.neighbours.remove(&from),
            Message::Query { id, key, time_to_live, route } => self.on_query(from, id, key, time_to_live, route, out),
            Message::Hit { id, version, route } => self.on_hit(from, id, version, route),
            Message::Forget { id, key, upto } => {
                if self.items.version(&key).is_some_and(|held| held.stamp <= upto) {
                    self.forget(key, out);
                }
                out.send(from, Message::Forgot { id });
            }
            Message::Forgot { id } => self.on_forgot(from, id, out),
        }
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now += 1;
        if self.now >= self.next_hello {
            self.greet(out);
        }
        if self.calls.is_empty() {
            return;
        }
        let now = self.now;
        let is_due = |running: &Running| match running.state {
            State::Gathering { until, .. } => until <= now,
            State::Forgetting { again, .. } => running.deadline.min(again) <= now,
        };
        let due: Vec<u64> = self.calls.iter().filter(|(_, running)| is_due(running)).map(|(&id, _)| id).collect();
        for id in due {
            if self.says_again(id, out) {
                continue;
            }
            let Some(running) = self.calls.remove(&id) else { continue };
            match running.state {
                State::Gathering { hits, .. } => {
                    self.gathered(id, running.request, running.call, running.deadline, hits, out);
                }
                State::Forgetting { .. } => {
                    let why = "a holder has not confirmed that it forgot the key";
                    done(running.request, Err(Failure::Unknown(why)), out);
                }
            }
        }
    }

    /// Tells the holders once more that they are to forget a key, if there is time.
    fn says_again(&mut self, id: u64, out: &mut Out) -> bool {
        let now = self.now;
        let Some(running) = self.calls.get_mut(&id).filter(|running| running.deadline > now) else { return false };
        let State::Forgetting { holders, upto, again, .. } = &mut running.state else { return false };
        *again = now + AGAIN_TICKS;
        for &node in &*holders {
            out.send(node, Message::Forget { id, key: running.call.key().clone(), upto: *upto });
        }
        true
    }

    fn greet(&mut self, out: &mut Out) {
        self.next_hello = self.now + HELLO_TICKS;
        let now = self.now;
        self.neighbours.retain(|_, heard| *heard + SILENT_TICKS > now);
        self.neighbours.keys().for_each(|&node| out.send(node, Message::Hello {}));
        let missing = self.options.neighbours.saturating_sub(self.neighbours.len());
        let mut others: Vec<NodeId> =
            self.contacts.iter().copied().filter(|node| !self.neighbours.contains_key(node)).collect();
        others.shuffle(&mut self.rng);
        others.into_iter().take(missing).for_each(|node| out.send(node, Message::Hello {}));
        if missing > 0 {
            self.next_hello = now + HELLO_TICKS / 4;
        }
    }

    /// The transport saw that a peer's process has ended.
    pub fn disconnected(&mut self, peer: NodeId) {
        self.neighbours.remove(&peer);
    }

    /// A client asks.
    pub fn call(&mut self, request: RequestId, call: Call, deadline_ticks: u64, out: &mut Out) {
        self.next_id += 1;
        let id = self.next_id;
        let key = call.key().clone();
        let deadline = self.now.saturating_add(deadline_ticks);
        let ttl = self.options.time_to_live;
        let until = deadline.min(self.now + u64::from(ttl) * HOP_TICKS);
        let mine = self.items.version(&key).map(|version| (version.clone(), vec![self.me]));
        let state = State::Gathering { until, hits: mine.into_iter().collect() };
        self.calls.insert(id, Running { request, call, deadline, state });
        self.note(self.me, id);
        for &node in self.neighbours.keys() {
            let route = vec![self.me];
            out.send(node, Message::Query { id, key: key.clone(), time_to_live: ttl, route });
        }
    }

    /// Remembers a query; whether it is new.
    fn note(&mut self, origin: NodeId, id: u64) -> bool {
        if !self.seen.insert((origin, id)) {
            return mutant!(FloodPassesOnAgain);
        }
        self.order.push_back((origin, id));
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    fn on_query(&mut self, from: NodeId, id: u64, key: Key, ttl: u32, mut route: Vec<NodeId>, out: &mut Out) {
        let Some(&origin) = route.first() else { return out.ignore(from, "the query does not say who asks") };
        if route.len() >= MAX_HOPS || route.last() != Some(&from) {
            return out.ignore(from, "the query's route cannot be");
        }
        if route.contains(&self.me) && !mutant!(FloodPassesOnAgain) || !self.note(origin, id) {
            return;
        }
        route.push(self.me);
        if let Some(version) = self.items.version(&key) {
            out.send(origin, Message::Hit { id, version: version.clone(), route: route.clone() });
        }
        let left = if mutant!(FloodLivesForEver) { ttl } else { ttl.min(self.options.time_to_live).saturating_sub(1) };
        if left == 0 {
            return;
        }
        for &node in self.neighbours.keys().filter(|&&node| node != from && node != origin) {
            let message = Message::Query { id, key: key.clone(), time_to_live: left, route: route.clone() };
            out.send(node, message);
        }
    }

    fn on_hit(&mut self, from: NodeId, id: u64, version: Version, route: Vec<NodeId>) {
        let (now, me) = (self.now, self.me);
        let Some(running) = self.calls.get_mut(&id) else { return };
        let State::Gathering { until, hits } = &mut running.state else { return };
        let credible = route.first() == Some(&me) && route.last() == Some(&from) && route.len() <= MAX_HOPS;
        if credible && hits.len() < MAX_HITS && version.stamp.counter <= Stamp::MAX_COUNTER {
            hits.push((version, route));
            // What a newer version may still follow is only waited for by who reads.
            if matches!(running.call, Call::Get { .. }) {
                *until = (*until).min(now + SETTLE_TICKS);
            }
        }
    }

    /// The query has died out, or has been answered.
    fn gathered(
        &mut self,
        id: u64,
        request: RequestId,
        call: Call,
        deadline: u64,
        hits: Vec<(Version, Vec<NodeId>)>,
        out: &mut Out,
    ) {
        let newest = if mutant!(FloodFirstHitCounts) {
            hits.first()
        } else {
            hits.iter().max_by_key(|(version, _)| version.stamp)
        };
        let newest = newest.cloned();
        let holders: BTreeSet<NodeId> =
            hits.iter().filter_map(|(_, route)| route.last().copied()).filter(|&node| node != self.me).collect();
        let copies = hits.len();
        let result = match (call, newest) {
            (Call::Get { .. }, None) => Ok(Answer { value: None, hops: vec![self.me], copies, messages: 0 }),
            (Call::Get { .. }, Some((version, hops))) => Ok(Answer { value: version.value, hops, copies, messages: 0 }),
            (Call::Set { key, value }, newest) => {
                self.set(id, key, value, newest.map(|(version, _)| version.stamp), &holders, out)
            }
            (Call::Remove { .. }, None) => Err(Failure::NotFound),
            (call @ Call::Remove { .. }, Some((version, hops))) => {
                let (key, upto) = (call.key().clone(), version.stamp);
                self.forget(key.clone(), out);
                for &node in &holders {
                    out.send(node, Message::Forget { id, key: key.clone(), upto });
                }
                if !holders.is_empty() {
                    let again = self.now + AGAIN_TICKS;
                    let state = State::Forgetting { holders, upto, copies, hops, again };
                    self.calls.insert(id, Running { request, call, deadline, state });
                    return;
                }
                Ok(Answer { value: None, hops, copies, messages: 0 })
            }
        };
        done(request, result, out);
    }

    fn set(
        &mut self,
        id: u64,
        key: Key,
        value: Value,
        newest: Option<Stamp>,
        holders: &BTreeSet<NodeId>,
        out: &mut Out,
    ) -> Result<Answer, Failure> {
        // Another call may have set it here since.
        let known = newest.max(self.items.version(&key).map(|held| held.stamp)).map_or(0, |stamp| stamp.counter);
        let known = if mutant!(FloodStampsAnew) { 0 } else { known };
        let counter = self.numbers.next(known, out).ok_or(Failure::Full)?;
        let stamp = Stamp { counter, node: self.me };
        let item = Item { key: key.clone(), version: Version { stamp, value: Some(value) } };
        if !self.items.has_room(&item) {
            return Err(Failure::Full);
        }
        if !mutant!(FloodHoldsUnsaved) {
            out.save(Record::Hold { shelf: Shelf::Flood, item: item.clone() }.into());
        }
        self.items.put(item);
        if let Some(upto) = newest {
            holders.iter().for_each(|&node| out.send(node, Message::Forget { id, key: key.clone(), upto }));
        }
        Ok(Answer { value: None, hops: vec![self.me], copies: 1, messages: 0 })
    }

    fn forget(&mut self, key: Key, out: &mut Out) {
        if self.items.version(&key).is_some() {
            self.items.forget(&key);
            out.save(Record::Release { shelf: Shelf::Flood, key }.into());
        }
    }

    fn on_forgot(&mut self, from: NodeId, id: u64, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id) else { return };
        let State::Forgetting { holders, copies, hops, .. } = &mut running.state else { return };
        holders.remove(&from);
        if holders.is_empty() {
            let answer = Answer { value: None, hops: std::mem::take(hops), copies: *copies, messages: 0 };
            done(running.request, Ok(answer), out);
            self.calls.remove(&id);
        }
    }

    /// Who waits for an answer.
    pub fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.calls.values().map(|running| running.request)
    }

    /// The neighbours.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.neighbours.keys().copied()
    }

    /// What was set here.
    #[must_use]
    pub const fn items(&self) -> &Items {
        &self.items
    }
}

#[cfg(test)]
pub(crate) mod tests;
