//! Lookups: who owns a place on the ring, and by which way that was found.

use ::log::debug;
use rand::seq::SliceRandom;

use super::table::MAX_LIST;
use super::{ANSWER_TICKS, Chord, Message, Phase};
use crate::protocol::Out;
use crate::protocol::overlay::MAX_HOPS;
use crate::protocol::overlay::ring::{Point, Position};
use crate::protocol::types::NodeId;

/// So many points are named as the next ones to ask, so that a dead one among them costs no step.
const NEARER: usize = 3;
/// So many nodes outside the own tables are tried to get into the ring.
const ENTRANCES: usize = 8;
/// A question names so many nodes at most that did not answer.
const MAX_SILENT: usize = 64;
/// A joining node that must wait asks again after so long.
const PAUSE_TICKS: u64 = 20;

/// What a lookup is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client's call, or a key that is handed over.
    Operation(u64),
    /// A finger.
    Finger { index: usize, exponent: u32 },
    /// Whether a finger is still right: only the one that it points to is asked.
    Confirm { index: usize, exponent: u32 },
    /// The places of a newcomer.
    Join,
    /// Whether the ring looks the same from outside.
    Outside { index: usize },
}

/// A lookup under way.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    pub(super) purpose: Purpose,
    target: Position,
    /// Who is being asked, and until when.
    asked: Option<(Point, u64)>,
    /// Who has answered, this node first.
    route: Vec<NodeId>,
    /// Whom to ask next, the closest to the target last.
    candidates: Vec<Point>,
    /// Whom to ask while nobody in the ring has answered.
    entrances: Vec<NodeId>,
    tried: Vec<NodeId>,
    /// How far the one that answered last is before the target.
    way: Option<u64>,
}

impl Lookup {
    /// Until when it waits for whoever is being asked.
    pub(super) const fn until(&self) -> Option<u64> {
        match self.asked {
            Some((_, until)) => Some(until),
            None => None,
        }
    }

    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        self.asked.is_some_and(|(point, _)| point.node == node)
    }

    fn offer(&mut self, points: impl IntoIterator<Item = Point>) {
        for point in points.into_iter().take(MAX_LIST) {
            let way = point.at.way_to(self.target);
            let closer = self.way.is_none_or(|last| way < last);
            if closer && !self.tried.contains(&point.node) {
                self.candidates.push(point);
            }
        }
        self.candidates.sort_unstable_by_key(|point| std::cmp::Reverse(point.at.way_to(self.target)));
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.route.len() <= MAX_HOPS, "a route of {} hops", self.route.len());
        let mut seen = self.route.clone();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() == self.route.len(), "a loop: {:?}", self.route);
    }
}

/// The points closest before a place, of distinct nodes.
struct Nearest {
    target: Position,
    /// Only what is closer than so far before it.
    way: u64,
    /// With how far they are before it, the closest first.
    points: Vec<(u64, Point)>,
}

impl Nearest {
    /// Takes the closest of points that are offered against the order of the ring.
    fn offer(&mut self, me: NodeId, points: impl Iterator<Item = Point>) {
        for point in points {
            let left = point.at.way_to(self.target);
            if left == 0 || left >= self.way || point.node == me {
                continue;
            }
            if self.points.get(NEARER - 1).is_some_and(|(other, _)| *other <= left) {
                // The rest is further away.
                break;
            }
            self.points.retain(|(other, held)| held.node != point.node || *other <= left);
            if self.points.iter().all(|(_, held)| held.node != point.node) {
                self.points.push((left, point));
                self.points.sort_unstable();
                self.points.truncate(NEARER);
            }
        }
    }
}

/// What a node knows about a place.
enum Known {
    Owners(Vec<Point>),
    Nearer(Vec<Point>),
}

impl Chord {
    /// Looks for the owners of a place, from the own tables on if this node is part of the ring.
    pub(super) fn look_up(&mut self, target: Position, purpose: Purpose, out: &mut Out) {
        if self.phase != Phase::Joined {
            return self.look_up_from_outside(target, purpose, out);
        }
        let route = vec![self.me];
        match self.knowledge(target, &[]) {
            Known::Owners(owners) => self.found(purpose, owners, route, out),
            Known::Nearer(points) => {
                let mut lookup = self.lookup(target, purpose);
                lookup.way = Some(u64::MAX);
                lookup.offer(points);
                self.begin_lookup(lookup, out);
            }
        }
    }

    /// Looks a finger up: the node that it points to can tell in one step whether nobody has come in between. Only if
    /// somebody has, or it does not answer, the way there is gone anew.
    pub(super) fn fix_finger(&mut self, index: usize, exponent: u32, out: &mut Out) {
        let table = &self.virtuals[index];
        let target = table.start(exponent);
        let Some(point) = table.finger(exponent).filter(|point| point.node != self.me) else {
            return self.look_up(target, Purpose::Finger { index, exponent }, out);
        };
        if mutant!(DhtFingersStay) {
            return;
        }
        let mut lookup = self.lookup(target, Purpose::Confirm { index, exponent });
        lookup.candidates.push(point);
        self.begin_lookup(lookup, out);
    }

    fn begin_lookup(&mut self, lookup: Lookup, out: &mut Out) {
        let id = self.new_id();
        self.lookups.insert(id, Box::new(lookup));
        self.ask_next(id, out);
    }

    /// Looks for the owners of a place, from some other node on.
    pub(super) fn look_up_from_outside(&mut self, target: Position, purpose: Purpose, out: &mut Out) {
        let mut lookup = self.lookup(target, purpose);
        let mut entrances = self.contacts.clone();
        if self.phase != Phase::Joined {
            entrances.extend(self.known().into_iter().filter(|node| !self.contacts.contains(node)));
        }
        entrances.retain(|node| !self.suspects.contains_key(node));
        if entrances.is_empty() {
            entrances.clone_from(&self.contacts);
        }
        entrances.shuffle(&mut self.rng);
        let outside = matches!(purpose, Purpose::Outside { .. });
        entrances.truncate(if outside { 1 } else { ENTRANCES.max(self.contacts.len().min(MAX_HOPS)) });
        lookup.entrances = entrances;
        self.begin_lookup(lookup, out);
    }

    /// Looks for the point behind a virtual node that nobody knows yet.
    pub(super) fn look_up_place(&mut self, index: usize, out: &mut Out) {
        let target = self.virtuals[index].at.plus(1);
        self.look_up_from_outside(target, Purpose::Join, out);
    }

    /// Looks at a virtual node's place, as those outside see it. Its own ring names it as the owner, and what comes behind.
    pub(super) fn look_at_own(&mut self, index: usize, out: &mut Out) {
        let target = self.virtuals[index].at;
        self.look_up_from_outside(target, Purpose::Outside { index }, out);
    }

    fn lookup(&self, target: Position, purpose: Purpose) -> Lookup {
        Lookup {
            purpose,
            target,
            asked: None,
            route: vec![self.me],
            candidates: Vec::new(),
            entrances: Vec::new(),
            tried: vec![self.me],
            way: None,
        }
    }

    /// The owners, if this node knows them for certain, as far as anything is certain here; or the points known to be
    /// closest before them. Whoever asks has had no answer from these nodes; this node may not know that yet.
    fn knowledge(&self, target: Position, silent: &[NodeId]) -> Known {
        let count = self.options.successors;
        // Of the own virtual nodes, the last one before the target, and the first one at or behind it.
        let last = self.virtuals.iter().min_by_key(|table| table.at.plus(1).way_to(target));
        let next = self.virtuals.iter().min_by_key(|table| target.way_to(table.at));
        if let Some(table) = next
            && let Some((before, _)) = table.predecessor
            && target.is_within(before.at, table.at)
        {
            return Known::Owners(table.own(self.me, count));
        }
        let Some(table) = last else { return Known::Nearer(Vec::new()) };
        // Whoever finds all of them silent is cut off; this node is not the only one.
        let is_cut_off = table.successors.iter().all(|point| silent.contains(&point.node));
        let silent = if is_cut_off || mutant!(DhtRoutesToTheDead) { &[] } else { silent };
        let answers = |point: &Point| !silent.contains(&point.node);
        let successor = table.successors.iter().copied().find(answers);
        if successor.is_none_or(|successor| target.is_within(table.at, successor.at)) {
            return Known::Owners(table.owners(self.me, count, silent));
        }
        // Closer to the target than any own point: so nobody is asked who has been.
        let mut nearest = Nearest { target, way: table.at.way_to(target), points: Vec::with_capacity(NEARER + 1) };
        for table in &self.virtuals {
            let fingers = if mutant!(DhtForgetsFingers) { &[] } else { table.fingers.as_slice() };
            nearest.offer(self.me, fingers.iter().rev().map(|(_, point)| *point).filter(answers));
            nearest.offer(self.me, table.successors.iter().rev().copied().filter(answers));
        }
        Known::Nearer(nearest.points.into_iter().map(|(_, point)| point).collect())
    }

    pub(super) fn on_find(
        &mut self,
        from: NodeId,
        id: u64,
        target: Position,
        upkeep: bool,
        silent: &[NodeId],
        out: &mut Out,
    ) {
        if self.phase != Phase::Joined {
            return self.say_outside(from, Some(id), out);
        }
        if silent.len() > MAX_SILENT {
            return out.ignore(from, "it names more silent nodes than it may");
        }
        match self.knowledge(target, silent) {
            Known::Owners(owners) => out.send(from, Message::Found { id, owners, upkeep }),
            Known::Nearer(nearer) => out.send(from, Message::Next { id, nearer, upkeep }),
        }
    }

    pub(super) fn on_next(&mut self, from: NodeId, id: u64, nearer: Vec<Point>, out: &mut Out) {
        let Some(lookup) = self.lookups.get_mut(&id).filter(|lookup| lookup.waits_for(from)) else {
            return debug!("{} does not ask {from} any more", self.me);
        };
        if matches!(lookup.purpose, Purpose::Confirm { .. }) {
            // Somebody has come in between.
            return self.give_up(id, out);
        }
        lookup.route.push(from);
        if let Some((point, _)) = lookup.asked.take()
            && lookup.way.is_some()
        {
            lookup.way = Some(point.at.way_to(lookup.target));
        }
        // An entrance stands anywhere; from the first point of the ring on it only comes closer.
        lookup.entrances.clear();
        if lookup.way.is_none() {
            lookup.way =
                nearer.iter().map(|point| point.at.way_to(lookup.target)).max().map(|way| way.saturating_add(1));
        }
        lookup.offer(nearer);
        self.ask_next(id, out);
    }

    pub(super) fn on_found(&mut self, from: NodeId, id: u64, owners: Vec<Point>, out: &mut Out) {
        let Some(lookup) = self.lookups.get_mut(&id).filter(|lookup| lookup.waits_for(from)) else {
            return debug!("{} does not ask {from} any more", self.me);
        };
        lookup.route.push(from);
        if let Some(lookup) = self.lookups.remove(&id) {
            self.found(lookup.purpose, owners, lookup.route, out);
        }
    }

    /// Whoever was asked does not answer, or not as one that is part of the ring.
    pub(super) fn lookup_goes_on(&mut self, node: NodeId, id: u64, out: &mut Out) {
        if let Some(lookup) = self.lookups.get_mut(&id).filter(|lookup| lookup.waits_for(node)) {
            lookup.asked = None;
            self.ask_next(id, out);
        }
    }

    pub(super) fn tick_lookups(&mut self, out: &mut Out) {
        let asked = self.lookups.values().filter_map(|lookup| lookup.asked);
        let silent: Vec<NodeId> = asked.filter(|(_, until)| *until <= self.now).map(|(point, _)| point.node).collect();
        silent.into_iter().for_each(|node| self.suspect(node, out));
    }

    fn ask_next(&mut self, id: u64, out: &mut Out) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        let point = loop {
            let known = lookup.candidates.pop();
            let point = known.or_else(|| lookup.entrances.pop().map(|node| Point { at: lookup.target, node }));
            let Some(point) = point.filter(|_| lookup.route.len() < MAX_HOPS) else { break None };
            let suspected = known.is_some() && self.suspects.contains_key(&point.node);
            if !suspected && !lookup.tried.contains(&point.node) {
                break Some(point);
            }
        };
        match point {
            Some(point) => {
                lookup.tried.push(point.node);
                let until = self.now + ANSWER_TICKS;
                lookup.asked = Some((point, until));
                let upkeep = !matches!(lookup.purpose, Purpose::Operation(_) | Purpose::Join);
                let silent =
                    self.suspects.keys().copied().filter(|node| *node != point.node).take(MAX_SILENT).collect();
                out.send(point.node, Message::Find { id, target: lookup.target, upkeep, silent });
                self.due_at(until);
            }
            None => self.give_up(id, out),
        }
    }

    fn give_up(&mut self, id: u64, out: &mut Out) {
        if let Some(lookup) = self.lookups.remove(&id) {
            self.lost(lookup.purpose, lookup.route.len() > 1, out);
        }
    }

    fn found(&mut self, purpose: Purpose, mut owners: Vec<Point>, route: Vec<NodeId>, out: &mut Out) {
        owners.truncate(MAX_LIST);
        let leaves = self.phase != Phase::Joined;
        owners.retain(|owner| !(self.suspects.contains_key(&owner.node) || leaves && owner.node == self.me));
        match purpose {
            Purpose::Operation(id) => self.operation_goes_on(id, owners, route, out),
            Purpose::Finger { index, exponent } | Purpose::Confirm { index, exponent } => {
                if let Some(&owner) = owners.first() {
                    self.virtuals[index].set_finger(exponent, owner);
                }
            }
            Purpose::Join => self.found_place(owners, out),
            Purpose::Outside { index } => self.found_outside(index, owners, out),
        }
    }

    /// Nobody knows the way any more; whether somebody in the ring was asked at all.
    fn lost(&mut self, purpose: Purpose, is_answered: bool, out: &mut Out) {
        match purpose {
            Purpose::Operation(id) => self.operation_pauses(id),
            Purpose::Confirm { index, exponent } => {
                let target = self.virtuals[index].start(exponent);
                self.look_up(target, Purpose::Finger { index, exponent }, out);
            }
            Purpose::Finger { .. } | Purpose::Outside { .. } => {}
            Purpose::Join => {
                let is_ring = (is_answered || !self.known().is_empty()) && !mutant!(DhtEntersUnplaced);
                let Phase::Joining { pause, defers } = &mut self.phase else { return };
                // There is a ring, and the way to the place only leads over such as do not answer: they are noticed there.
                // Who entered now would take what it happens to know for its neighbours, and all between for its own.
                // Or nobody is there, or all look for their places as this node does: then the lowest of them begins.
                if is_ring || std::mem::replace(defers, false) {
                    *pause = self.now + PAUSE_TICKS;
                } else {
                    self.enter(out);
                }
            }
        }
    }

    /// A newcomer knows what comes behind one of its virtual nodes.
    fn found_place(&mut self, owners: Vec<Point>, out: &mut Out) {
        let Phase::Joining { pause, .. } = &mut self.phase else { return };
        let Some(index) = self.virtuals.iter().position(|table| table.successors.is_empty()) else { return };
        if owners.is_empty() {
            // Only such as do not answer, or this node's own places from before.
            *pause = self.now + PAUSE_TICKS;
            return;
        }
        self.virtuals[index].merge(self.me, owners, self.options.successors);
        self.look_for_place(out);
    }

    /// A newcomer looks for the first of its places that it does not know.
    pub(super) fn look_for_place(&mut self, out: &mut Out) {
        match self.virtuals.iter().position(|table| table.successors.is_empty()) {
            Some(next) => self.look_up_place(next, out),
            None => self.enter(out),
        }
    }

    /// How the ring looks from outside. If there is something between a virtual node and its successor, it joins in; if it is
    /// not known there, it says that it is there: the one behind has a new predecessor then, and tells the one before.
    fn found_outside(&mut self, index: usize, owners: Vec<Point>, out: &mut Out) {
        if mutant!(DhtRingsStayApart) || self.phase != Phase::Joined {
            return;
        }
        let table = &mut self.virtuals[index];
        let by = Point { at: table.at, node: self.me };
        let first = table.successors.first().copied();
        let behind = owners.first().copied().filter(|owner| *owner != by);
        table.merge(self.me, owners, self.options.successors);
        if table.successors.first().copied() != first {
            debug!("{}: there is more than one ring, or there was a newcomer", self.me);
            table.asked = None;
            self.stabilise(index, out);
        } else if let Some(behind) = behind.filter(|_| !mutant!(DhtSaysNothingOutside)) {
            self.pass(behind.node, Message::Stabilise { of: behind.at, by }, out);
        }
    }
}
