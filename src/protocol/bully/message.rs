//! What nodes say to each other about who coordinates.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::protocol::paxos::MAX_ROUND_LEAP;
use crate::protocol::types::{Ballot, NodeId};

/// How much a node knows, and who it is: who knows more wins, and the id breaks ties. The order of the fields is the
/// order of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rank {
    /// The epoch of the last entry in the node's log; absent while it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Ballot>,
    /// The counter of that entry.
    pub counter: u64,
    /// The node.
    pub id: NodeId,
}

/// What nodes say to each other; the table in [`super`] says who, when, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the module's table says who sends what")]
pub enum Message {
    Election(Election),
    Answer(Answer),
    Coordinator(Announcement),
    Heartbeat(Heartbeat),
    Resign(Announcement),
}

/// "I stand for election."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Election {
    /// How much the candidate knows, at this moment: heartbeats are too old to compare by.
    pub rank: Rank,
    /// The candidate's number for this election. An answer counts only for the one that is running.
    pub number: u64,
    /// Whether it is held although a coordinator may live: by hand, or because the node pre-empts.
    pub forced: bool,
}

/// What a node says to a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the election that it answers.
    pub number: u64,
    /// The textbook's "ok": this node, of higher rank or a winner already, takes over: the sender, or someone for whom it
    /// stands back. Without it the sender stands back for the candidate, and need not be waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<NodeId>,
    /// The epoch of a coordinator that the sender hears, or is: no election is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<Ballot>,
}

/// An epoch, by the node that owns it: "I coordinate in it", or "I no longer do".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Announcement {
    /// The epoch.
    pub epoch: Ballot,
}

/// "I am here, and this is how I see it."
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// How much the sender knows.
    pub rank: Rank,
    /// The epoch that it follows, or coordinates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<Ballot>,
    /// Whether it hears that coordinator itself, and so vouches for it; by hearsay nobody does.
    pub hears_coordinator: bool,
    /// Whether it hears a majority in both directions.
    pub eligible: bool,
    /// Whom it hears. The receiver finds out whether it is among them.
    pub hears: BTreeSet<NodeId>,
    /// Whether it wants a heartbeat back at once.
    pub asks: bool,
}

/// Why a message cannot be meant, whatever is known here.
pub(super) fn implausible(from: NodeId, message: &Message) -> Option<&'static str> {
    match message {
        Message::Election(Election { rank, .. }) | Message::Heartbeat(Heartbeat { rank, .. }) if rank.id != from => {
            Some("the rank is another node's")
        }
        Message::Coordinator(Announcement { epoch }) | Message::Resign(Announcement { epoch })
            if epoch.node != from =>
        {
            Some("the epoch is another node's")
        }
        _ => None,
    }
}

/// Epochs grow by one at a time: a single message must not use them up, nor make all that follow unbelievable.
pub(super) fn leaps(message: &Message, known: Option<Ballot>) -> Option<&'static str> {
    let epoch = match message {
        Message::Election(_) => None,
        Message::Answer(answer) => answer.coordinator,
        Message::Coordinator(Announcement { epoch }) | Message::Resign(Announcement { epoch }) => Some(*epoch),
        Message::Heartbeat(beat) => beat.coordinator,
    };
    let bound = known.map_or(0, |known| known.round).saturating_add(MAX_ROUND_LEAP);
    epoch
        .is_some_and(|epoch| epoch.round > bound && !mutant!(EpochsLeap))
        .then_some("the epoch leaps too far above what is known here")
}
