//! What these methods return.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::eventual::memory::Stamp;
use crate::protocol::register::Timestamp;
use crate::protocol::types::Value;

/// The result of any of them.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(in crate::rpc) enum Answer {
    Entry(EntryRow),
    Entries(Vec<EntryRow>),
    Watched(Watched),
    Board(Box<BoardStatus>),
    Written(Written),
    Read(ReadAnswer),
    Quorum(Quorum),
}

/// An entry of the eventual board: in a list, or after something was done to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// Its name for ever: the stamp of the post that made it, `7.8000`.
    pub id: Stamp,
    /// What it says; absent if it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The node where it was posted.
    pub author: u32,
    /// The logical clock of what was done to it last.
    pub clock: u64,
    /// The node where that was done.
    pub server: u32,
}

/// The result of `board.eventual.watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// What happened, in the order in which this node came to know it.
    pub events: Vec<EventRow>,
    /// Go on from here, on this node.
    pub next: u64,
}

/// Something that happened to an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// `posted`, `modified` or `deleted`.
    pub what: String,
    /// This node's number for the change.
    pub counter: u64,
    /// The entry, as it was then.
    #[serde(flatten)]
    pub entry: EntryRow,
}

/// The result of `board.eventual.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardStatus {
    /// The highest logical clock that this node has seen.
    pub clock: u64,
    /// Of each server, the clock up to which all its operations are known here.
    pub versions: BTreeMap<String, u64>,
    /// A hash of all that can be seen, in hexadecimal: equal on nodes that show the same.
    pub digest: String,
    /// Entries that can be seen.
    pub posts: u64,
    /// Deleted entries that not every member is known to have seen deleted.
    pub tombstones: u64,
    /// Operations that stand here and that some member is not known to have.
    pub pending: u64,
    /// This node's number of the last change: watch from here.
    pub changes: u64,
    /// Whether this node was away for so long that it must be told everything before it tells anything.
    pub astray: bool,
}

/// The result of `register.write`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// When it was written, in the register's own order.
    pub timestamp: Timestamp,
}

/// The result of `register.read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// Whether it was ever written.
    pub found: bool,
    /// What was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// When that was written, in the register's own order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// The result of `register.quorum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// How many nodes a read asks.
    pub read: u64,
    /// How many nodes a write asks.
    pub write: u64,
    /// How many nodes there are.
    pub nodes: u64,
    /// Whether every read meets every write, and every write every write.
    pub intersect: bool,
}
