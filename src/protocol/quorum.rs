//! Majorities, and who has answered.

use std::collections::BTreeSet;

use super::types::NodeId;

/// The members of a cluster, itself included. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Members(BTreeSet<NodeId>);

impl Members {
    /// The members; `None` when there are none, or when one of them is the guest.
    #[must_use]
    pub fn new(ids: impl IntoIterator<Item = NodeId>) -> Option<Self> {
        let ids: BTreeSet<NodeId> = ids.into_iter().collect();
        (!ids.is_empty() && !ids.contains(&NodeId::GUEST)).then_some(Self(ids))
    }

    /// Whether a node belongs to the cluster.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.contains(&id)
    }

    /// All members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().copied()
    }

    /// All members but one, in ascending order.
    pub fn others(&self, me: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.iter().filter(move |&id| id != me)
    }

    /// How many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a cluster is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The least number of members of which any two sets overlap: 3 of 5, 3 of 4, 2 of 3.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.len() / 2 + 1
    }
}

/// The distinct members that have answered. A second answer of the same node changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tally(BTreeSet<NodeId>);

impl Tally {
    /// Notes an answer.
    pub fn add(&mut self, from: NodeId) {
        let again = !self.0.insert(from);
        if again && mutant!(CountsTwice) {
            self.0.insert(NodeId::GUEST);
        }
    }

    /// Whether this node has answered.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.contains(&node)
    }

    /// Whether a majority of these members has answered.
    #[must_use]
    pub fn is_majority(&self, members: &Members) -> bool {
        let counts = |node: &&NodeId| members.contains(**node) || mutant!(CountsTwice);
        self.0.iter().filter(counts).count() + usize::from(mutant!(MajorityMinusOne)) >= members.majority()
    }

    /// The members that have not answered.
    #[must_use]
    pub fn missing(&self, members: &Members) -> Vec<NodeId> {
        members.iter().filter(|id| !self.0.contains(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> NodeId {
        NodeId::new(number).unwrap()
    }

    #[test]
    fn majorities() {
        for (size, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)] {
            assert_eq!(Members::new((1..=size).map(id)).unwrap().majority(), majority, "of {size}");
        }
        assert!(Members::new([]).is_none());
        assert!(Members::new([id(1), NodeId::GUEST]).is_none());
    }

    #[test]
    fn a_node_counts_once() {
        let members = Members::new((1..=3).map(id)).unwrap();
        let mut tally = Tally::default();
        tally.add(id(1));
        tally.add(id(1));
        assert!(!tally.is_majority(&members));
        assert_eq!(tally.missing(&members), [id(2), id(3)]);
        tally.add(id(3));
        assert!(tally.is_majority(&members));
        let others = Members::new([1, 4, 5].map(id)).unwrap();
        assert!(!tally.is_majority(&others), "who is no member does not count");
    }
}
