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
        Self { at, predecessor: None, successors: Vec::new(), fingers: Vec::new(), fixed: 63, asked: None }
    }

    /// Takes these points as the next ones, as far as they are in order: clockwise, before coming round to this one.
    /// Ends with so many distinct other nodes. Says whether there is anything new.
    pub(super) fn follow(&mut self, me: NodeId, points: impl IntoIterator<Item = Point>, others: usize) -> bool {
        let mut next: Vec<Point> = Vec::with_capacity(self.successors.len());
        let (mut way, mut nodes) = (0, 0);
        for point in points {
            let further = self.at.way_to(point.at);
            if further <= way {
                continue;
            }
            way = further;
            nodes += usize::from(point.node != me && next.iter().all(|known| known.node != point.node));
            next.push(point);
            if nodes == others || next.len() == MAX_LIST {
                break;
            }
        }
        let is_new = next != self.successors;
        self.successors = next;
        is_new
    }

    /// The same with more points among those that are known.
    pub(super) fn merge(&mut self, me: NodeId, more: impl IntoIterator<Item = Point>, others: usize) {
        let mut points: Vec<Point> = self.successors.iter().copied().chain(more).collect();
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

    /// Notes whom a lookup of `at + 2ᵉ` found. It is the answer also for all larger exponents that do not lead behind it:
    /// they need not be looked up in this pass.
    pub(super) fn set_finger(&mut self, exponent: u32, point: Point) {
        // Its own point, all the way round, is behind everything.
        let last = self.at.way_to(point.at).checked_ilog2().unwrap_or(u64::BITS - 1).max(exponent);
        for exponent in exponent..=last {
            match self.fingers.binary_search_by_key(&exponent, |(exponent, _)| *exponent) {
                Ok(row) => self.fingers[row].1 = point,
                Err(row) => self.fingers.insert(row, (exponent, point)),
            }
        }
        if self.fixed == exponent {
            self.fixed = last;
        }
    }

    /// Where a finger points at present.
    pub(super) fn finger(&self, exponent: u32) -> Option<Point> {
        let row = self.fingers.binary_search_by_key(&exponent, |(exponent, _)| *exponent).ok()?;
        self.fingers.get(row).map(|(_, point)| *point)
    }

    /// The next exponent to look up: from the smallest where the successor is not the answer anyway up to the largest,
    /// and again.
    pub(super) fn next_finger(&mut self) -> Option<u32> {
        let way = self.at.way_to(self.successors.first()?.at);
        // 2ᵉ must lead behind the successor.
        let least = u64::BITS - way.leading_zeros();
        self.fingers.retain(|(exponent, _)| *exponent >= least);
        if least >= u64::BITS {
            return None;
        }
        self.fixed = if self.fixed < u64::BITS - 1 { (self.fixed + 1).max(least) } else { least };
        Some(self.fixed)
    }

    /// Where a finger points.
    #[must_use]
    pub const fn start(&self, exponent: u32) -> Position {
        self.at.plus(1 << exponent)
    }

    /// The first so many distinct nodes from the successor on, this one last, by their first points; without these.
    #[must_use]
    pub fn owners(&self, me: NodeId, count: usize, silent: &[NodeId]) -> Vec<Point> {
        let answers = |point: &Point| !silent.contains(&point.node);
        distinct(self.successors.iter().copied().filter(answers), Point { at: self.at, node: me }, count)
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
        assert_eq!(table.owners(me, 3, &[]), [point(110, 2), point(120, 1), point(5, 3)]);
        assert_eq!(table.own(me, 3), [point(100, 1), point(110, 2), point(5, 3)]);
        table.merge(me, [point(103, 7), point(2, 8)], 3);
        assert_eq!(table.successors, [point(103, 7), point(110, 2), point(120, 1), point(130, 2), point(2, 8)]);
        table.forget(NodeId::new(7).unwrap());
        assert_eq!(table.successors[0], point(110, 2));
        let alone = Virtual::new(Position(7));
        assert_eq!(alone.owners(me, 3, &[]), [point(7, 1)]);
    }

    #[test]
    fn fingers_go_where_the_successor_does_not() {
        let me = NodeId::new(1).unwrap();
        let mut table = Virtual::new(Position(100));
        assert_eq!(table.next_finger(), None);
        table.follow(me, [point(100 + (1 << 60), 2)], 3);
        let exponents: Vec<u32> = (0..6).filter_map(|_| table.next_finger()).collect();
        assert_eq!(exponents, [61, 62, 63, 61, 62, 63]);
        table.set_finger(61, point(100 + (1 << 61), 4));
        table.set_finger(63, point(100 + (1 << 63), 5));
        table.set_finger(61, point(101 + (1 << 61), 6));
        assert_eq!(table.fingers, [(61, point(101 + (1 << 61), 6)), (63, point(100 + (1 << 63), 5))]);
    }

    #[test]
    fn a_finger_is_the_answer_up_to_its_point() {
        let me = NodeId::new(1).unwrap();
        let mut table = Virtual::new(Position(100));
        table.follow(me, [point(100 + (1 << 50), 2)], 3);
        assert_eq!(table.next_finger(), Some(51));
        let far = point(100 + (1 << 53), 3);
        table.set_finger(51, far);
        assert_eq!(table.fingers, [(51, far), (52, far), (53, far)]);
        assert_eq!(table.next_finger(), Some(54), "what is known is not looked up");
        // What comes late of an earlier lookup does not change whose turn it is.
        table.set_finger(51, far);
        assert_eq!(table.next_finger(), Some(55));
        // Nobody is behind this one but itself.
        table.set_finger(55, point(100, 1));
        assert_eq!((table.finger(63), table.next_finger()), (Some(point(100, 1)), Some(51)));
        // Whoever answers with a point that is not behind the start is believed as far as it was asked.
        table.set_finger(60, point(101, 4));
        assert_eq!([59, 60, 61].map(|exponent| table.finger(exponent).unwrap().node.number()), [1, 4, 1]);
    }
}
