//! Who belongs to the cluster: a membership is an entry of the log, and changes by one node at a time.
//!
//! # The rule
//!
//! The membership *in force* on a node is the last one in its log, committed or not; before any, the one the cluster was
//! founded with. An entry that is cut off takes its membership with it, and a snapshot carries the one as of its slot. All
//! majorities are of the membership in force. This is the single-server change of Ongaro, "Consensus: Bridging Theory and
//! Practice" (2014), section 4.1.
//!
//! # Why it is safe
//!
//! 1. Memberships that differ by one node have no two majorities without a common node, so old and new may be in force on
//!    different nodes at once.
//! 2. A leader begins a change only when the one before is committed. So of the logs that can win, any two hold
//!    memberships that are the same or one step apart.
//! 3. It begins one only when it has committed an entry of its own epoch. Otherwise two leaders, each with a change that
//!    the other does not know, could be two steps apart (the flaw found in 2015 in the first form of this rule).
//! 4. A candidate counts promises by the membership *of the log that it adopts*, not by the one that it had: every promise
//!    says which membership its sender's log ends with. It asks the nodes that it did not know of, too. So it leads only
//!    with a majority of the membership that its log then has, none of which has a better log: what Raft's rule for votes
//!    comes to, and with that the argument there holds here.
//!
//! Messages are therefore answered whoever sends them: a leader may be a member of which this node has not heard yet.
//!
//! # The story of an addition
//!
//! The leader first brings the new node up to date, without counting it; so a wrong address, or a node that is not
//! started, changes nothing and is an answer ([`Unchanged::Silent`]). Only then the entry is appended. The new node was
//! started as no member, so it neither votes nor seeks to lead before the log says that it belongs to the cluster.
//!
//! # The story of a removal
//!
//! The entry is appended at once. The leader goes on sending to the node until it knows that its removal is committed. A
//! leader that removes itself leads on, without counting itself, until that is committed, and then steps down. For the
//! election a node is *leaving* so long: it has no voice, but may still coordinate.
//!
//! # Caveats
//!
//! - Single-decree Paxos keeps its founding members: its acceptors have no log to learn of others from.
//! - If the leader dies between committing a removal and telling the removed node, that one hears it from nobody. It is
//!   heard by nobody either, and so cannot be elected.
//! - Two nodes have no majority without both: of two members, one that is down cannot be removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::quorum::Members;
use crate::protocol::types::NodeId;

/// No cluster grows beyond this: every write waits for a majority.
pub const MAX_MEMBERS: usize = 64;
/// No address is longer, in bytes.
pub const MAX_ADDRESS: usize = 255;

/// Members, and where they listen. A world without addresses, as the simulation's, leaves them empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Membership {
    members: Members,
    addresses: BTreeMap<NodeId, Arc<str>>,
}

/// A change of the membership, by one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// This node belongs to it, too.
    Add {
        /// Which.
        node: NodeId,
        /// Where it listens, `HOST:PORT`.
        address: Arc<str>,
    },
    /// This node does not any more.
    Remove {
        /// Which.
        node: NodeId,
    },
}

/// Why a change was not begun. All are definite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unchanged {
    /// It is a member already.
    Member,
    /// Another member has this address.
    AddressTaken,
    /// It is no member.
    NoMember,
    /// It is the only one.
    Last,
    /// There are [`MAX_MEMBERS`].
    Full,
    /// Another change is under way, or the leader is so new that it does not know.
    Busy,
    /// The node to be added did not answer, or stopped answering before it had the log.
    Silent,
}

impl Membership {
    /// Members with their addresses; `None` without any, with the guest, or with more or longer ones than there may be.
    #[must_use]
    pub fn new(addresses: BTreeMap<NodeId, Arc<str>>) -> Option<Self> {
        let members = Members::new(addresses.keys().copied())?;
        let fits = addresses.len() <= MAX_MEMBERS && addresses.values().all(|address| address.len() <= MAX_ADDRESS);
        fits.then_some(Self { members, addresses })
    }

    /// The nodes.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// The nodes, and where they listen.
    #[must_use]
    pub const fn addresses(&self) -> &BTreeMap<NodeId, Arc<str>> {
        &self.addresses
    }

    /// The membership after a change.
    ///
    /// # Errors
    /// The change makes no sense.
    pub fn after(&self, change: &Change) -> Result<Self, Unchanged> {
        let mut addresses = self.addresses.clone();
        match change {
            Change::Add { node, .. } if addresses.contains_key(node) => return Err(Unchanged::Member),
            Change::Add { address, .. } if !address.is_empty() && addresses.values().any(|taken| taken == address) => {
                return Err(Unchanged::AddressTaken);
            }
            Change::Add { .. } if addresses.len() >= MAX_MEMBERS => return Err(Unchanged::Full),
            Change::Add { node, address } => _ = addresses.insert(*node, address.clone()),
            Change::Remove { node } if !addresses.contains_key(node) => return Err(Unchanged::NoMember),
            Change::Remove { .. } if addresses.len() == 1 => return Err(Unchanged::Last),
            Change::Remove { node } => _ = addresses.remove(node),
        }
        Self::new(addresses).ok_or(Unchanged::Full)
    }

    /// As bytes, for disk and wire: of each member, in ascending order and little-endian, the node (4 bytes), the
    /// address's length (1), and the address.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        for (node, address) in &self.addresses {
            bytes.extend_from_slice(&node.number().to_le_bytes());
            // `new` has seen to it that it fits.
            bytes.push(u8::try_from(address.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(address.as_bytes());
        }
        bytes
    }

    /// How many bytes [`Membership::encode`] makes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.addresses.values().map(|address| 5 + address.len()).sum()
    }

    /// What [`Membership::encode`] made; `None` for anything else.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut addresses = BTreeMap::new();
        while !bytes.is_empty() {
            let node = NodeId::new(u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?))?;
            let length = usize::from(*bytes.split_off_first()?);
            let address = std::str::from_utf8(bytes.split_off(..length)?).ok()?;
            let ascends = addresses.last_key_value().is_none_or(|(last, _)| *last < node);
            if !ascends || addresses.len() >= MAX_MEMBERS {
                return None;
            }
            addresses.insert(node, Arc::from(address));
        }
        Self::new(addresses)
    }
}

/// Members whose addresses nobody needs.
impl From<Members> for Membership {
    fn from(members: Members) -> Self {
        let addresses = members.iter().map(|node| (node, Arc::from(""))).collect();
        Self { members, addresses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn membership(all: &[(u32, &str)]) -> Membership {
        Membership::new(all.iter().map(|(id, address)| (node(*id), Arc::from(*address))).collect()).unwrap()
    }

    fn add(id: u32, address: &str) -> Change {
        Change::Add { node: node(id), address: Arc::from(address) }
    }

    #[test]
    fn one_comes_or_goes_and_any_two_majorities_meet() {
        let mut now = membership(&[(1, "a:1")]);
        let mut history = vec![now.clone()];
        for change in [add(2, "b:2"), add(3, "c:3"), add(4, "d:4"), Change::Remove { node: node(1) }, add(5, "e:5")] {
            now = now.after(&change).unwrap();
            history.push(now.clone());
        }
        for pair in history.windows(2) {
            let [old, new] = [&pair[0], &pair[1]].map(Membership::members);
            let all: std::collections::BTreeSet<_> = old.iter().chain(new.iter()).collect();
            assert!(old.majority() + new.majority() > all.len(), "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let two = membership(&[(1, "a:1"), (2, "b:2")]);
        assert_eq!(two.after(&add(2, "c:3")), Err(Unchanged::Member));
        assert_eq!(two.after(&add(3, "b:2")), Err(Unchanged::AddressTaken));
        assert_eq!(two.after(&Change::Remove { node: node(3) }), Err(Unchanged::NoMember));
        let one = two.after(&Change::Remove { node: node(2) }).unwrap();
        assert_eq!(one.after(&Change::Remove { node: node(1) }), Err(Unchanged::Last));
        let many: Vec<(u32, &str)> = (1..=MAX_MEMBERS as u32).map(|id| (id, "")).collect();
        assert_eq!(membership(&many).after(&add(900, "x:1")), Err(Unchanged::Full));
        assert_eq!(two.after(&add(3, &"x".repeat(MAX_ADDRESS + 1))), Err(Unchanged::Full));
    }

    #[test]
    fn bytes_and_back() {
        let three = membership(&[(1, "127.0.0.1:8001"), (2, ""), (i32::MAX as u32, "[::1]:9")]);
        let bytes = three.encode();
        assert_eq!((bytes.len(), Membership::decode(&bytes)), (three.encoded_len(), Some(three.clone())));
        for cut in 0..bytes.len() {
            assert_ne!(Membership::decode(&bytes[..cut]), Some(three.clone()), "cut at {cut}");
        }
        let twice = [&bytes[..], &bytes].concat();
        assert_eq!(Membership::decode(&twice), None, "out of order");
        assert_eq!(Membership::decode(&[0; 5]), None, "the guest");
        assert_eq!(Membership::decode(&[1, 0, 0, 0, 1, 0xff]), None, "no text");
    }
}
