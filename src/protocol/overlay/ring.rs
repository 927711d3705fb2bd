//! Consistent hashing: keys and nodes on one ring, and who owns which key (Karger et al., "Consistent Hashing and Random
//! Trees", 1997).
//!
//! A key belongs to the first node at or after its position, clockwise. A node that comes or goes moves only the keys
//! between itself and the point before it: about one in n. One point for each node makes the arcs very unequal (the
//! longest is some ln n times the mean), so each stands at several points, as *virtual nodes*.
//!
//! The hash is xxh3 of 64 bits: specified, so every node of every build finds a key at the same place. A node's points
//! follow from its id alone: who knows the node knows its points.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::protocol::types::NodeId;

/// So that a key that is written like a node does not stand where the node stands.
const KEYS: u64 = 1;
const NODES: u64 = 2;

/// A place on the ring of 2⁶⁴, shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Where a key stands.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        Self(xxh3_64_with_seed(key.as_bytes(), KEYS))
    }

    /// Where a node stands with one of its virtual nodes.
    #[must_use]
    pub fn of_node(node: NodeId, number: u32) -> Self {
        let text = format!("{node}/{number}");
        Self(xxh3_64_with_seed(text.as_bytes(), NODES))
    }

    /// The way clockwise from here to there.
    #[must_use]
    pub const fn way_to(self, other: Self) -> u64 {
        other.0.wrapping_sub(self.0)
    }

    /// So far clockwise from here.
    #[must_use]
    pub const fn plus(self, way: u64) -> Self {
        Self(self.0.wrapping_add(way))
    }

    /// Whether it lies behind `from` and not behind `to`: in (from, to]. From a point to itself is all the way round.
    #[must_use]
    pub const fn is_within(self, from: Self, to: Self) -> bool {
        let way = from.way_to(self);
        from.0 == to.0 || (way != 0 && way <= from.way_to(to))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| "a position is 16 hexadecimal digits".to_owned())
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A virtual node: a place, and the node that stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// Where.
    pub at: Position,
    /// Who.
    pub node: NodeId,
}

/// The points of a node, in the order of the ring.
#[must_use]
pub fn points_of(node: NodeId, virtual_nodes: u32) -> Vec<Point> {
    let mut points: Vec<Point> =
        (0..virtual_nodes).map(|number| Point { at: Position::of_node(node, number), node }).collect();
    points.sort_unstable();
    points
}

/// The whole ring, for whoever sees it all: the simulation, and the tests that hold Chord to it.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    points: BTreeMap<Position, NodeId>,
}

impl Ring {
    /// A node comes, with so many points. Should two nodes meet at one point, it stays the first one's.
    pub fn add(&mut self, node: NodeId, virtual_nodes: u32) {
        for point in points_of(node, virtual_nodes) {
            self.points.entry(point.at).or_insert(node);
        }
    }

    /// A node goes.
    pub fn remove(&mut self, node: NodeId) {
        self.points.retain(|_, owner| *owner != node);
    }

    /// The first so many distinct nodes at or after a position, clockwise: who owns a key, and who holds its copies.
    #[must_use]
    pub fn owners(&self, at: Position, count: usize) -> Vec<NodeId> {
        let mut owners = Vec::with_capacity(count);
        for (_, &node) in self.points.range(at..).chain(self.points.range(..at)) {
            if owners.len() == count {
                break;
            }
            if !owners.contains(&node) {
                owners.push(node);
            }
        }
        owners
    }

    /// Which part of the ring belongs to each node; the parts add up to 1.
    #[must_use]
    pub fn shares(&self) -> BTreeMap<NodeId, f64> {
        let mut shares = BTreeMap::new();
        let Some((&last, _)) = self.points.last_key_value() else { return shares };
        let mut before = last;
        for (&at, &node) in &self.points {
            // One point owns all.
            let way = if before == at { u64::MAX } else { before.way_to(at) };
            *shares.entry(node).or_insert(0.0) += way as f64 / 2_f64.powi(64);
            before = at;
        }
        shares
    }

    /// All points, in order.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.points.iter().map(|(&at, &node)| Point { at, node })
    }

    /// The first point behind this one.
    #[must_use]
    pub fn after(&self, at: Position) -> Option<Point> {
        let next = self.points.range((Excluded(at), Unbounded)).next().or_else(|| self.points.first_key_value());
        next.map(|(&at, &node)| Point { at, node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> NodeId {
        NodeId::new(number).unwrap()
    }

    #[test]
    fn positions_are_the_same_in_every_build() {
        assert_eq!(Position::of_key("hello").to_string(), "74b07ed397a89e92");
        assert_ne!(Position::of_node(id(8000), 0), Position::of_key("8000/0"));
    }

    #[test]
    fn arcs_wrap_around() {
        let at = Position;
        for (position, from, to, within) in [
            (5, 3, 7, true),
            (3, 3, 7, false),
            (7, 3, 7, true),
            (8, 3, 7, false),
            (1, u64::MAX - 1, 2, true),
            (u64::MAX, u64::MAX - 1, 2, true),
            (u64::MAX - 1, u64::MAX - 1, 2, false),
            (9, 4, 4, true),
            (4, 4, 4, true),
        ] {
            assert_eq!(at(position).is_within(at(from), at(to)), within, "{position} in ({from}, {to}]");
        }
        assert_eq!(at(u64::MAX).way_to(at(1)), 2);
        assert_eq!(at(u64::MAX).plus(2), at(1));
        assert_eq!("00000000000000ff".parse::<Position>(), Ok(at(255)));
        for text in ["", "ff", "00000000000000fg", "+0000000000000ff", "00000000000000ff0"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    /// The dumb twin: all points in a list, walked from the beginning.
    fn dumb_owners(nodes: &[NodeId], virtual_nodes: u32, at: Position, count: usize) -> Vec<NodeId> {
        let mut points: Vec<Point> = nodes.iter().flat_map(|&node| points_of(node, virtual_nodes)).collect();
        points.sort_by_key(|point| at.way_to(point.at));
        let mut owners: Vec<NodeId> = Vec::new();
        for point in points {
            if !owners.contains(&point.node) {
                owners.push(point.node);
            }
        }
        owners.truncate(count);
        owners
    }

    proptest::proptest! {
        #[test]
        fn owners_are_the_next_distinct_nodes(nodes in proptest::collection::btree_set(1..10_000_u32, 1..30), v in 1..6_u32, key: u64) {
            let nodes: Vec<NodeId> = nodes.into_iter().map(id).collect();
            let mut ring = Ring::default();
            nodes.iter().for_each(|&node| ring.add(node, v));
            let owners = ring.owners(Position(key), 3);
            assert_eq!(owners, dumb_owners(&nodes, v, Position(key), 3));
            assert_eq!(owners.len(), nodes.len().min(3));
            let sum: f64 = ring.shares().values().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }

        /// Whoever comes takes keys from others, and nobody else's keys move; whoever goes gives back the same.
        #[test]
        fn only_the_newcomers_keys_move(nodes in proptest::collection::btree_set(1..10_000_u32, 2..30), v in 1..6_u32) {
            let mut nodes: Vec<NodeId> = nodes.into_iter().map(id).collect();
            let newcomer = nodes.pop().unwrap();
            let mut ring = Ring::default();
            nodes.iter().for_each(|&node| ring.add(node, v));
            let keys: Vec<Position> = (0..200).map(|key| Position::of_key(&format!("key {key}"))).collect();
            let before: Vec<NodeId> = keys.iter().map(|&key| ring.owners(key, 1)[0]).collect();
            ring.add(newcomer, v);
            for (&key, &owner) in keys.iter().zip(&before) {
                let now = ring.owners(key, 1)[0];
                assert!(now == owner || now == newcomer);
            }
            ring.remove(newcomer);
            assert!(keys.iter().zip(&before).all(|(&key, &owner)| ring.owners(key, 1)[0] == owner));
        }
    }

    /// The more virtual nodes, the more equal the parts: the spread falls with the root of their number.
    #[test]
    fn virtual_nodes_balance() {
        let longest = |virtual_nodes: u32| {
            let mut ring = Ring::default();
            (1..=200).for_each(|node| ring.add(id(node), virtual_nodes));
            ring.shares().into_values().fold(0.0, f64::max) * 200.0
        };
        let (one, eight, many) = (longest(1), longest(8), longest(64));
        assert!(one > 3.5 && one > eight && eight > many && many < 1.6, "{one} {eight} {many}");
    }
}
