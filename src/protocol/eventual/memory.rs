//! What a node remembers of the eventual board: the winning operation of each entry, and what it has covered.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::clock::VectorClock;
use crate::protocol::types::{Malformed, NodeId, digits};

/// Names an operation, and, by the post that made it, an entry: shown `7.8000`. All order by the clock, then by the
/// server, so no two operations are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The logical clock of the operation: one past the highest that its server had seen.
    pub clock: u64,
    /// The node that took the operation from a client.
    pub server: NodeId,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.clock, self.server)
    }
}

impl FromStr for Stamp {
    type Err = Malformed;

    /// Reads `7.8000`. Clocks begin at 1.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parse = || {
            let (clock, server) = text.split_once('.')?;
            let clock = digits(clock).filter(|&clock| clock > 0)?;
            Some(Self { clock, server: server.parse().ok()? })
        };
        parse().ok_or_else(|| Malformed::new(text, "the id of an entry: write clock.server, as in 7.8000"))
    }
}

/// What a client did to an entry. A post names itself; a modification carries the whole text, so it stands alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// The entry: the stamp of the post that made it.
    pub id: Stamp,
    /// The operation's own stamp.
    pub stamp: Stamp,
    /// What the entry says from now on; absent if it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
}

impl Operation {
    /// Whether this one stands against another of the same entry, wherever and in whatever order they meet: a delete
    /// against anything but a later delete, and of two texts the one with the higher stamp. (Two operations never share a
    /// stamp, unless a node lost its memory; then the text decides, so that all decide alike.)
    #[must_use]
    pub fn beats(&self, other: &Self) -> bool {
        let rank = |operation: &Self| (operation.text.is_none(), operation.stamp);
        let (mine, theirs) = (rank(self), rank(other));
        if mutant!(LastArrivalWins) {
            return true;
        }
        if mutant!(StampsBeatDeletes) {
            return self.stamp > other.stamp;
        }
        mine > theirs || (mine == theirs && self.text > other.text)
    }
}

/// The entry as the node keeps it: what stands of all its operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The stamp of the operation that stands.
    pub stamp: Stamp,
    /// What it says; absent in a tombstone.
    pub text: Option<Arc<str>>,
}

/// A node's memory of the board.
///
/// - `versions` covers a stamp if every operation of that server up to it is known here: it is the one that stands, or
///   another one of its entry stands against it, or the entry was deleted.
/// - An entry whose post is covered, and that is not there, was deleted, and its tombstone has gone.
/// - `forgotten` covers the deletes whose tombstones have gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// What stands, by the entries' ids.
    pub entries: BTreeMap<Stamp, Entry>,
    /// What is covered.
    pub versions: VectorClock,
    /// The deletes whose tombstones have gone.
    pub forgotten: VectorClock,
    /// How often anything that can be seen has changed here; never falls.
    pub changes: u64,
}

/// What a step has changed, as it stands afterwards: nothing is left to be decided when it is read again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// What stands now.
    pub put: Vec<Operation>,
    /// The entries that have gone, with their tombstones.
    pub gone: Vec<Stamp>,
    /// What is covered now.
    pub versions: VectorClock,
    /// The deletes whose tombstones have gone by now.
    pub forgotten: VectorClock,
    /// How often anything has changed by now.
    pub changes: u64,
}

impl Memory {
    /// Takes one record more.
    pub fn apply(&mut self, record: &Record) {
        for Operation { id, stamp, text } in &record.put {
            self.entries.insert(*id, Entry { stamp: *stamp, text: text.clone() });
        }
        for id in &record.gone {
            self.entries.remove(id);
        }
        self.versions = record.versions.clone();
        self.forgotten = record.forgotten.clone();
        self.changes = record.changes;
    }

    /// The highest clock of anything known.
    #[must_use]
    pub fn clock(&self) -> u64 {
        let stamps = self.entries.iter().map(|(id, entry)| id.clock.max(entry.stamp.clock));
        stamps.chain(self.versions.iter().map(|(_, clock)| clock)).max().unwrap_or(0)
    }
}

impl VectorClock {
    /// Whether a stamp is covered.
    #[must_use]
    pub fn covers(&self, stamp: Stamp) -> bool {
        self.of(stamp.server) >= stamp.clock
    }

    /// Whether all that another covers is covered.
    #[must_use]
    pub fn covers_all(&self, other: &Self) -> bool {
        other.iter().all(|(node, clock)| self.of(node) >= clock)
    }
}
