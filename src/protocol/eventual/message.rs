//! What nodes say to each other about the board.

use serde::{Deserialize, Serialize};

use super::memory::{Operation, Stamp};
use crate::protocol::clock::VectorClock;

/// The table in [`super`] says who sends what, when, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the module's table says who sends what")]
pub enum Message {
    Spread(Spread),
    Have(Have),
    Ask(Ask),
    Tell(Tell),
}

/// How far a node is. Rides on every message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Have {
    /// The node's logical clock.
    pub clock: u64,
    /// What it covers.
    pub versions: VectorClock,
    /// The deletes whose tombstones it no longer has.
    pub forgotten: VectorClock,
    /// A hash of what it shows: as much of the board's digest as fits an integer of XML-RPC.
    pub digest: u64,
}

/// "A client did this here."
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spread {
    /// How far the sender is, with this operation.
    pub have: Have,
    /// The clock of the sender's operation before this one; 0 if this is its first.
    pub previous: u64,
    /// The operation.
    pub operation: Operation,
}

/// "What do you have that I lack?"
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// How far the asking node is.
    pub have: Have,
    /// The sender's number for this repair: an answer counts only for the one that is running.
    pub repair: u64,
    /// Whether it must be told everything, since it no longer knows what it lacks.
    pub whole: bool,
    /// Go on after this entry, the last one told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Stamp>,
}

/// "This is what you lack", or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tell {
    /// How far the telling node is.
    pub have: Have,
    /// The number of the repair that it answers.
    pub repair: u64,
    /// What was gone on after. An answer to an earlier question of the same repair, which comes late, is known by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Stamp>,
    /// Another number than with the page before says that since then entries have gone, of which the asking node may know
    /// nothing, or that the telling node has begun another life.
    pub era: u64,
    /// Whether all entries are told, and not only what the asking node does not cover.
    pub whole: bool,
    /// What stands, in the order of the entries.
    pub operations: Vec<Operation>,
    /// Whether there is more: ask again, from the last of these on.
    pub more: bool,
}

impl From<Message> for crate::protocol::Message {
    fn from(message: Message) -> Self {
        Self::Eventual(message)
    }
}
