//! Stabilisation: who is next, who comes before, and who is not there any more.

use ::log::debug;

use super::table::MAX_LIST;
use super::{ANSWER_TICKS, Chord, LATE_TICKS, Message, Phase, SUSPECT_TICKS, Virtual};
use crate::protocol::Out;
use crate::protocol::overlay::ring::{Point, Position};
use crate::protocol::types::NodeId;

impl Chord {
    /// Asks the successor of a virtual node who is before it, and tells it who asks.
    pub(super) fn stabilise(&mut self, index: usize, out: &mut Out) {
        let by = Point { at: self.virtuals[index].at, node: self.me };
        if self.virtuals[index].successors.is_empty() {
            self.refill(index);
        }
        let Some(&successor) = self.virtuals[index].successors.first() else { return };
        // Whoever was asked before and is not the successor any more need not answer.
        if self.virtuals[index].asked.is_some_and(|(point, _)| point == successor) {
            return;
        }
        let until = self.now + ANSWER_TICKS;
        self.virtuals[index].asked = Some((successor, until));
        self.due_at(until);
        let message = Message::Stabilise { of: successor.at, by };
        if successor.node == self.me { self.own.push_back(message) } else { out.send(successor.node, message) }
    }

    /// All successors are gone: goes on with the next point known at all.
    pub(super) fn refill(&mut self, index: usize) {
        let own = self.virtuals.iter().map(|table| Point { at: table.at, node: self.me });
        let known = self.virtuals.iter().flat_map(|table| {
            let before = table.predecessor.map(|(point, _)| point);
            table.successors.iter().copied().chain(table.fingers.iter().map(|(_, point)| *point)).chain(before)
        });
        let points: Vec<Point> = own.chain(known).collect();
        self.virtuals[index].merge(self.me, points, self.options.successors);
    }

    pub(super) fn on_stabilise(&mut self, from: NodeId, of: Position, by: Point, out: &mut Out) {
        if self.phase != Phase::Joined {
            return self.say_outside(from, None, out);
        }
        let Some(index) = self.virtuals.iter().position(|table| table.at == of) else {
            return out.ignore(from, "this node does not stand there");
        };
        if by.node != from || by.at == of {
            return out.ignore(from, "the sender does not stand there");
        }
        let before = self.virtuals[index].predecessor;
        let is_closer = |point: Point| by.at.is_within(point.at, of) && !mutant!(DhtKeepsPredecessor);
        let takes =
            before.is_none_or(|(point, heard)| by == point || is_closer(point) || heard + LATE_TICKS <= self.now);
        if takes {
            self.virtuals[index].predecessor = Some((by, self.now));
        }
        if takes && before.is_none_or(|(point, _)| point != by) {
            // The one that was before has a new successor, and need not wait for its turn to hear of it.
            if let Some((point, _)) = before.filter(|(point, _)| point.node != by.node) {
                let news = self.neighbours(index, point.at);
                self.pass(point.node, news, out);
            }
            self.compare(index, out);
        }
        let answer = self.neighbours(index, by.at);
        self.pass(from, answer, out);
    }

    pub(super) fn neighbours(&self, index: usize, to: Position) -> Message {
        let table = &self.virtuals[index];
        let (of, predecessor) = (Point { at: table.at, node: self.me }, table.predecessor.map(|(point, _)| point));
        Message::Neighbours { to, of, predecessor, successors: table.successors.clone() }
    }

    pub(super) fn pass(&mut self, to: NodeId, message: Message, out: &mut Out) {
        if to == self.me { self.own.push_back(message) } else { out.send(to, message) }
    }

    pub(super) fn on_neighbours(
        &mut self,
        from: NodeId,
        to: Position,
        of: Point,
        predecessor: Option<Point>,
        successors: Vec<Point>,
        out: &mut Out,
    ) {
        let Some(index) = self.virtuals.iter().position(|table| table.at == to) else { return };
        if self.phase != Phase::Joined || of.node != from {
            return;
        }
        let (me, others) = (self.me, self.options.successors);
        let table = &mut self.virtuals[index];
        table.asked = table.asked.filter(|(point, _)| *point != of);
        let table = &self.virtuals[index];
        let current = table.successors.first().copied();
        if current != Some(of) {
            // Not of the successor any more.
            return;
        }
        let between = predecessor.filter(|point| {
            let way = table.at.way_to(point.at);
            0 < way && way < table.at.way_to(of.at)
        });
        let replicas = table.replicas(me, self.options.replicas);
        let suspects = &self.suspects;
        let list = between.into_iter().chain([of]).chain(successors).take(MAX_LIST + 2);
        let table = &mut self.virtuals[index];
        if !table.follow(me, list.filter(|point| !suspects.contains_key(&point.node)), others) {
            return;
        }
        let has_changed = table.successors.first() != Some(&of);
        if table.replicas(me, self.options.replicas) != replicas {
            self.compare(index, out);
        }
        if has_changed {
            self.stabilise(index, out);
        }
    }

    /// A node is not part of the ring: it leaves the tables, and comes back when it speaks as one that is.
    pub(super) fn drop_node(&mut self, node: NodeId, out: &mut Out) {
        if node == self.me {
            return;
        }
        let (me, copies) = (self.me, self.options.replicas);
        let seen = |table: &Virtual| (table.successors.first().copied(), table.replicas(me, copies));
        let before: Vec<_> = self.virtuals.iter().map(seen).collect();
        self.virtuals.iter_mut().for_each(|table| table.forget(node));
        if self.phase != Phase::Joined {
            return;
        }
        for (index, (first, replicas)) in before.into_iter().enumerate() {
            if self.virtuals[index].successors.first().copied() != first {
                self.stabilise(index, out);
            }
            if self.virtuals[index].replicas(me, copies) != replicas {
                self.compare(index, out);
            }
        }
    }

    /// For so many ticks a node is not taken back into the tables because others still name it.
    pub(super) fn quarantine(&mut self, node: NodeId, ticks: u64) {
        if node != self.me {
            self.suspects.insert(node, self.now + ticks);
        }
    }

    /// A node does not answer.
    pub(super) fn suspect(&mut self, node: NodeId, out: &mut Out) {
        self.quarantine(node, SUSPECT_TICKS);
        debug!("{} suspects {node}", self.me);
        self.drop_node(node, out);
        let waiting: Vec<u64> =
            self.lookups.iter().filter(|(_, lookup)| lookup.waits_for(node)).map(|(&id, _)| id).collect();
        waiting.into_iter().for_each(|id| self.lookup_goes_on(node, id, out));
        self.operation_misses(node, None);
    }
}
