//! What a node is doing about the coordinator, for itself and for observers.

use std::collections::BTreeSet;

use super::message::Rank;
use crate::protocol::types::{Ballot, NodeId};

/// What a node is doing about the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Knows none.
    Looking {
        /// Since when it could have found one: since it is eligible.
        since: u64,
        /// Whether there was one which is no more.
        evidence: bool,
        /// Somebody else should be elected, because the log refused us an epoch, or because we have just died as
        /// coordinator: we do not stand before.
        not_before: u64,
    },
    /// Stands for election.
    Electing {
        /// Since when.
        since: u64,
        /// Whether a living coordinator is no reason to end it.
        forced: bool,
        /// Who has stood back.
        answered: BTreeSet<NodeId>,
        /// Who has yet to answer.
        waiting: BTreeSet<NodeId>,
    },
    /// Stands back, for someone else to become coordinator.
    Yielding {
        /// Since when.
        since: u64,
        /// For whom.
        to: NodeId,
        /// With which rank and in which of its elections, if that one stood for election here.
        candidate: Option<(Rank, u64)>,
    },
    /// Has won, and waits for an epoch.
    Won {
        /// Since when.
        since: u64,
    },
    /// Hears a coordinator, or someone who does.
    Following {
        /// The epoch; its owner is the coordinator.
        epoch: Ballot,
    },
    /// Is the coordinator.
    Coordinating {
        /// The epoch, which this node owns.
        epoch: Ballot,
        /// Since when it has been without its majority.
        alone_since: Option<u64>,
    },
}

/// What a node is doing about the coordinator, for observers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Knows no coordinator, and listens.
    Looking,
    /// Stands for election.
    Electing,
    /// Stands back for someone of higher rank.
    Yielding,
    /// Has won, and waits for its epoch.
    Won,
    /// Follows a coordinator.
    Following,
    /// Is the coordinator.
    Coordinating,
}

/// How a node sees the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The coordinator, if one is known.
    pub leader: Option<NodeId>,
    /// Its epoch.
    pub epoch: Option<Ballot>,
    /// Whether this node hears a majority in both directions.
    pub eligible: bool,
    /// Whom it hears, and who hears it.
    pub hears: BTreeSet<NodeId>,
    /// What it is doing.
    pub state: State,
}
