//! What clients ask, and keys that are handed over: look up the owners, ask them, write to them.

use std::collections::{BTreeMap, BTreeSet};

use super::lookup::Purpose;
use super::{ANSWER_TICKS, Chord, Message, Phase};
use crate::protocol::Out;
use crate::protocol::overlay::ring::Point;
use crate::protocol::overlay::{Answer, Call, Failure, Item, Key, Stamp, Version, done};
use crate::protocol::types::{NodeId, RequestId};

/// After so many ticks a call that found no way is tried again.
const RETRY_TICKS: u64 = 20;
/// Handing over a key is given up after so long, and begun anew later.
const HAND_OVER_TICKS: u64 = 500;

/// Something that is done with a key.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    aim: Aim,
    deadline: u64,
    state: State,
    route: Vec<NodeId>,
    messages: usize,
    /// Whether a new version has left.
    written: bool,
    /// What was in the way last.
    trouble: &'static str,
}

#[derive(Debug, Clone)]
enum Aim {
    Client { request: RequestId, call: Call },
    HandOver { item: Item },
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing could be done; tried again at this tick.
    Pausing(u64),
    /// The owners are looked up.
    Looking,
    /// They are asked for their versions.
    Asking { owners: Vec<NodeId>, held: BTreeMap<NodeId, Option<Version>>, room: bool, until: u64 },
    /// They are told a version.
    Writing { owners: BTreeSet<NodeId>, copies: usize, until: u64 },
}

impl Operation {
    fn key(&self) -> &Key {
        match &self.aim {
            Aim::Client { call, .. } => call.key(),
            Aim::HandOver { item } => &item.key,
        }
    }

    /// The key, if it is one that is handed over.
    pub(super) fn handed_over(&self) -> Option<&Key> {
        match &self.aim {
            Aim::HandOver { item } => Some(&item.key),
            Aim::Client { .. } => None,
        }
    }

    fn waits_for(&self, node: NodeId) -> bool {
        match &self.state {
            State::Asking { owners, held, .. } => owners.contains(&node) && !held.contains_key(&node),
            State::Writing { owners, .. } => owners.contains(&node),
            State::Pausing(_) | State::Looking => false,
        }
    }
}

impl Chord {
    /// A client asks.
    pub fn call(&mut self, request: RequestId, call: Call, deadline_ticks: u64, out: &mut Out) {
        self.begin(Aim::Client { request, call }, deadline_ticks, out);
        self.answer_itself(out);
    }

    pub(super) fn begin_hand_over(&mut self, item: Item, out: &mut Out) {
        self.begin(Aim::HandOver { item }, HAND_OVER_TICKS, out);
    }

    fn begin(&mut self, aim: Aim, deadline_ticks: u64, out: &mut Out) {
        let id = self.new_id();
        let operation = Operation {
            aim,
            deadline: self.now.saturating_add(deadline_ticks),
            state: State::Looking,
            route: Vec::new(),
            messages: 0,
            written: false,
            trouble: "nobody in the ring answered",
        };
        let target = operation.key().position();
        self.operations.insert(id, operation);
        self.due_at(self.now);
        self.start(id, target, out);
    }

    fn start(&mut self, id: u64, target: crate::protocol::overlay::ring::Position, out: &mut Out) {
        if matches!(self.phase, Phase::Joining { .. }) {
            // It would ask those who look for their places, too. Soon it is part of the ring.
            return self.operation_pauses(id);
        }
        self.look_up(target, Purpose::Operation(id), out);
    }

    /// Who waits for an answer.
    pub fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        let leaving = match &self.phase {
            Phase::Leaving { waiting, .. } => waiting.as_slice(),
            _ => &[],
        };
        let calls = self.operations.values().filter_map(|operation| match operation.aim {
            Aim::Client { request, .. } => Some(request),
            Aim::HandOver { .. } => None,
        });
        calls.chain(leaving.iter().copied()).chain(self.arrivals.iter().map(|(request, _)| *request))
    }

    pub(super) fn operation_pauses(&mut self, id: u64) {
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.state = State::Pausing(self.now + RETRY_TICKS);
        }
    }

    /// The owners are known.
    pub(super) fn operation_goes_on(&mut self, id: u64, owners: Vec<Point>, mut route: Vec<NodeId>, out: &mut Out) {
        let copies = if mutant!(DhtTwoCopies) { self.options.replicas - 1 } else { self.options.replicas };
        let owners: Vec<NodeId> = owners.into_iter().take(copies).map(|owner| owner.node).collect();
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let Some(&owner) = owners.first() else { return self.operation_pauses(id) };
        operation.messages += 2 * (route.len() - 1) + 2 * owners.len();
        // A detour that comes back to the owner is left out.
        route.truncate(route.iter().position(|&node| node == owner).unwrap_or(route.len()));
        route.push(owner);
        operation.route = route;
        let until = self.now + ANSWER_TICKS;
        match &operation.aim {
            Aim::Client { call, .. } => {
                for &owner in &owners {
                    out.send(owner, Message::Fetch { id, key: call.key().clone() });
                }
                operation.state = State::Asking { owners, held: BTreeMap::new(), room: true, until };
            }
            Aim::HandOver { item } => {
                let item = item.clone();
                if owners.contains(&self.me) {
                    self.operations.remove(&id);
                    return;
                }
                self.write(id, owners, item, out);
            }
        }
    }

    fn write(&mut self, id: u64, owners: Vec<NodeId>, item: Item, out: &mut Out) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.written = true;
        operation.messages += 2 * owners.len();
        for &owner in &owners {
            out.send(owner, Message::Copies { id: Some(id), items: vec![item.clone()] });
        }
        let (copies, until) = (owners.len(), self.now + ANSWER_TICKS);
        operation.state = State::Writing { owners: owners.into_iter().collect(), copies, until };
    }

    pub(super) fn on_fetch(&self, from: NodeId, id: u64, key: &Key, out: &mut Out) {
        if self.phase == Phase::Left {
            return self.say_outside(from, Some(id), out);
        }
        let version = self.items.version(key).cloned();
        let room = version.is_some() || self.items.len() < crate::protocol::overlay::items::MAX_KEYS;
        out.send(from, Message::Held { id, version, room });
    }

    pub(super) fn on_held(&mut self, from: NodeId, id: u64, version: Option<Version>, room: bool, out: &mut Out) {
        let Some(operation) = self.operations.get_mut(&id).filter(|operation| operation.waits_for(from)) else {
            return;
        };
        let State::Asking { owners, held, room: all_have_room, .. } = &mut operation.state else { return };
        let version = version.filter(|version| version.stamp.counter <= Stamp::MAX_COUNTER);
        held.insert(from, version);
        *all_have_room &= room;
        if held.len() < owners.len() && !mutant!(DhtFirstAnswerCounts) {
            return;
        }
        let newest = held.values().flatten().max_by_key(|version| version.stamp).cloned();
        let stale: Vec<NodeId> = held
            .iter()
            .filter(|(_, version)| version.as_ref().map(|version| version.stamp) < newest.as_ref().map(|v| v.stamp))
            .map(|(&node, _)| node)
            .collect();
        let (owners, has_room) = (owners.clone(), *all_have_room);
        self.answered(id, &owners, newest, &stale, has_room, out);
    }

    /// All owners have told their versions.
    fn answered(
        &mut self,
        id: u64,
        owners: &[NodeId],
        newest: Option<Version>,
        stale: &[NodeId],
        room: bool,
        out: &mut Out,
    ) {
        let Some(operation) = self.operations.get(&id) else { return };
        let Aim::Client { call, .. } = &operation.aim else { return };
        let value = match call {
            Call::Get { key } => {
                if let Some(version) = &newest
                    && !mutant!(DhtRepairsNothing)
                {
                    let items = vec![Item { key: key.clone(), version: version.clone() }];
                    stale.iter().for_each(|&node| out.send(node, Message::Copies { id: None, items: items.clone() }));
                }
                let copies = owners.len() - stale.len();
                let found = newest.and_then(|version| version.value);
                let copies = if found.is_some() { copies } else { 0 };
                return self.finish(id, Ok((found, copies)), out);
            }
            Call::Set { value, .. } => Some(value.clone()),
            Call::Remove { .. } => None,
        };
        let is_there = newest.as_ref().is_some_and(|version| version.value.is_some());
        if value.is_none() && !is_there && !operation.written {
            return self.finish(id, Err(Failure::NotFound), out);
        }
        if value.is_some() && !room {
            return self.finish(id, Err(Failure::Full), out);
        }
        let key = call.key().clone();
        let Some(counter) = self.numbers.next(newest.map_or(0, |version| version.stamp.counter), out) else {
            return self.finish(id, Err(Failure::Full), out);
        };
        let item = Item { key, version: Version { stamp: Stamp { counter, node: self.me }, value } };
        self.write(id, owners.to_vec(), item, out);
    }

    pub(super) fn on_copied(&mut self, from: NodeId, id: u64, kept: bool, out: &mut Out) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let State::Writing { owners, copies, .. } = &mut operation.state else { return };
        if !kept && owners.contains(&from) {
            return self.finish(id, Err(Failure::Full), out);
        }
        if !owners.remove(&from) || !(owners.is_empty() || mutant!(DhtOneCopyIsEnough)) {
            return;
        }
        let copies = *copies;
        self.finish(id, Ok((None, copies)), out);
    }

    fn finish(
        &mut self,
        id: u64,
        result: Result<(Option<crate::protocol::types::Value>, usize), Failure>,
        out: &mut Out,
    ) {
        let Some(operation) = self.operations.remove(&id) else { return };
        match operation.aim {
            Aim::Client { request, .. } => {
                let (hops, messages) = (operation.route, operation.messages);
                let result = match result {
                    Err(failure) if operation.written && failure != Failure::NotFound => {
                        Err(Failure::Unknown("not all owners have confirmed it"))
                    }
                    result => result.map(|(value, copies)| Answer { value, hops, copies, messages }),
                };
                done(request, result, out);
            }
            Aim::HandOver { item } => {
                if result.is_ok() {
                    self.handed_over(&item, out);
                }
            }
        }
    }

    /// A node does not answer, or not as an owner: what waits for it begins anew, with whoever is an owner then.
    pub(super) fn operation_misses(&mut self, node: NodeId, id: Option<u64>) {
        let now = self.now;
        let concerned = self.operations.iter_mut().filter(|(own, _)| id.is_none_or(|id| id == **own));
        for (_, operation) in concerned.filter(|(_, operation)| operation.waits_for(node)) {
            operation.trouble = "an owner of the key does not answer, and nobody has taken its place yet";
            operation.state = State::Pausing(now + 1);
        }
    }

    pub(super) fn tick_operations(&mut self, out: &mut Out) {
        if self.operations.is_empty() {
            return;
        }
        let now = self.now;
        let silent: BTreeSet<NodeId> = self
            .operations
            .values()
            .flat_map(|operation| match &operation.state {
                State::Asking { owners, held, until, .. } if *until <= now => {
                    owners.iter().copied().filter(|owner| !held.contains_key(owner)).collect()
                }
                State::Writing { owners, until, .. } if *until <= now => owners.iter().copied().collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        for node in silent {
            self.suspect(node, out);
            self.operation_misses(node, None);
        }
        let over: Vec<u64> = self.operations.iter().filter(|(_, op)| op.deadline <= now).map(|(&id, _)| id).collect();
        for id in over {
            let trouble = self.operations.get(&id).map_or("", |operation| operation.trouble);
            self.finish(id, Err(Failure::Unavailable(trouble)), out);
        }
        let due = |operation: &Operation| matches!(operation.state, State::Pausing(until) if until <= now);
        let again: Vec<u64> = self.operations.iter().filter(|(_, op)| due(op)).map(|(&id, _)| id).collect();
        for id in again {
            let Some(mut operation) = self.operations.remove(&id) else { continue };
            // Under another number: what comes late of the last attempt does not count in this one.
            let id = if mutant!(DhtLateAnswersCount) { id } else { self.new_id() };
            operation.state = State::Looking;
            let target = operation.key().position();
            self.operations.insert(id, operation);
            self.start(id, target, out);
        }
    }
}
