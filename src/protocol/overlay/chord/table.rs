//! What a virtual node knows of the ring: who comes before it, who comes next, and some who are far away.

use crate::protocol::overlay::ring::{Point, Position};
use crate::protocol::types::NodeId;

/// A list of successors has so many points at most, whoever sent it.
pub const MAX_LIST: usize = 64;

/// One virtual node's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Virtual {
    /// Where it stands.
    pub at: Position,
    /// The point before it, as far as is known, and the tick at which that was last heard of.
    pub predecessor: Option<(Point, u64)>,
    /// The next points, clockwise; empty if this is the only one there is.
    pub successors: Vec<Point>,
    /// Of the points at or behind `at + 2ᵉ` the first, by the exponent e, ascending. Where that is the successor anyway
    /// there is no row.
    pub fingers: Vec<(u32, Point)>,
    /// The exponent looked up last.
    pub(super) fixed: u32,
    /// Whom it asked about its neighbours, and until when it waits.
    pub(super) asked: Option<(Point, u64)>,
}

impl Virtual {
    pub(super) const fn new(at: Position) -> Self {
        Self { at, predecessor: None, successors: Vec::new(), fingers: Vec::new(), fixed: 64, asked: None }
    }

    /// Takes these points as the next ones, as far as they are in order: clockwise, before coming round to this one.
    /// Ends with so many distinct other nodes.
    pub(super) fn follow(&mut self, me: NodeId, points: impl IntoIterator<Item = Point>, others: usize) {
        self.successors.clear();
        let mut nodes: Vec<NodeId> = Vec::with_capacity(others);
        let mut way = 0;
        for point in points {
            let further = self.at.way_to(point.at);
            if further <= way {
                continue;
            }
            way = further;
            self.successors.push(point);
            if point.node != me && !nodes.contains(&point.node) {
                nodes.push(point.node);
            }
            if nodes.len() == others || self.successors.len() == MAX_LIST {
                break;
            }
        }
    }

    /// The same with more points among those that are known.
    pub(super) fn merge(&mut self, me: NodeId, more: impl IntoIterator<Item = Point>, others: usize) {
        let mut points = std::mem::take(&mut self.successors);
        points.extend(more);
        points.sort_unstable_by_key(|point| self.at.way_to(point.at));
        self.follow(me, points, others);
    }

    /// Nothing more is expected of a node.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.successors.retain(|point| point.node != node);
        self.fingers.retain(|(_, point)| point.node != node);
        self.predecessor = self.predecessor.filter(|(point, _)| point.node != node);
        self.asked = self.asked.filter(|(point, _)| point.node != node);
    }

    /// Notes whom a lookup of `at + 2ᵉ` found.
    pub(super) fn set_finger(&mut self, exponent: u32, point: Point) {
        match self.fingers.binary_search_by_key(&exponent, |(exponent, _)| *exponent) {
            Ok(row) => self.fingers[row].1 = point,
            Err(row) => self.fingers.insert(row, (exponent, point)),
        }
    }

    /// The next exponent to look up: from the largest down to where the successor is the answer, and again.
    pub(super) fn next_finger(&mut self) -> Option<u32> {
        let way = self.at.way_to(self.successors.first()?.at);
        // 2ᵉ must lead behind the successor.
        let least = u64::BITS - way.leading_zeros();
        self.fingers.retain(|(exponent, _)| *exponent >= least);
        if least >= u64::BITS {
            return None;
        }
        self.fixed = if self.fixed > least { self.fixed - 1 } else { 63 };
        Some(self.fixed)
    }

    /// Where a finger points.
    #[must_use]
    pub const fn start(&self, exponent: u32) -> Position {
        self.at.plus(1 << exponent)
    }

    /// The first so many distinct nodes from the successor on, this one last, by their first points.
    #[must_use]
    pub fn owners(&self, me: NodeId, count: usize) -> Vec<Point> {
        distinct(self.successors.iter().copied(), Point { at: self.at, node: me }, count)
    }

    /// The same for what belongs to this one.
    #[must_use]
    pub fn own(&self, me: NodeId, count: usize) -> Vec<Point> {
        let own = Point { at: self.at, node: me };
        distinct(std::iter::once(own).chain(self.successors.iter().copied()), own, count)
    }

    /// The other nodes that are to hold copies of what belongs to this one.
    #[must_use]
    pub fn replicas(&self, me: NodeId, replicas: usize) -> Vec<NodeId> {
        self.own(me, replicas).into_iter().skip(1).map(|point| point.node).collect()
    }
}

fn distinct(points: impl Iterator<Item = Point>, last: Point, count: usize) -> Vec<Point> {
    let mut owners: Vec<Point> = Vec::with_capacity(count);
    for point in points.chain([last]) {
        if owners.len() == count {
            break;
        }
        if owners.iter().all(|owner| owner.node != point.node) {
            owners.push(point);
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: u64, node: u32) -> Point {
        Point { at: Position(at), node: NodeId::new(node).unwrap() }
    }

    #[test]
    fn lists_are_in_order_and_end() {
        let me = NodeId::new(1).unwrap();
        let mut table = Virtual::new(Position(100));
        let points =
            [point(110, 2), point(105, 9), point(120, 1), point(130, 2), point(5, 3), point(50, 4), point(101, 5)];
        table.follow(me, points, 3);
        assert_eq!(table.successors, [point(110, 2), point(120, 1), point(130, 2), point(5, 3), point(50, 4)]);
        assert_eq!(table.owners(me, 3), [point(110, 2), point(120, 1), point(5, 3)]);
        assert_eq!(table.own(me, 3), [point(100, 1), point(110, 2), point(5, 3)]);
        table.merge(me, [point(103, 7), point(2, 8)], 3);
        assert_eq!(table.successors, [point(103, 7), point(110, 2), point(120, 1), point(130, 2), point(2, 8)]);
        table.forget(NodeId::new(7).unwrap());
        assert_eq!(table.successors[0], point(110, 2));
        let alone = Virtual::new(Position(7));
        assert_eq!(alone.owners(me, 3), [point(7, 1)]);
    }

    #[test]
    fn fingers_go_where_the_successor_does_not() {
        let me = NodeId::new(1).unwrap();
        let mut table = Virtual::new(Position(100));
        assert_eq!(table.next_finger(), None);
        table.follow(me, [point(100 + (1 << 60), 2)], 3);
        let exponents: Vec<u32> = (0..6).filter_map(|_| table.next_finger()).collect();
        assert_eq!(exponents, [63, 62, 61, 63, 62, 61]);
        table.set_finger(61, point(7, 4));
        table.set_finger(63, point(9, 4));
        table.set_finger(61, point(8, 4));
        assert_eq!(table.fingers, [(61, point(8, 4)), (63, point(9, 4))]);
    }
}
