//! What a node says about itself.

use crate::protocol::durable::Remembered;
use crate::protocol::types::{Ballot, Instance};

/// The state of a node's protocols at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Counts the restarts; the first life is 1.
    pub generation: u64,
    /// The instances that were asked for, in the order of their names.
    pub instances: Vec<InstanceStatus>,
    /// How many instances there are in all.
    pub instances_total: usize,
    /// How many of them are decided.
    pub decided_total: usize,
    /// Ballots that run on this node now.
    pub ballots_running: usize,
    /// Decided files that are still to be written.
    pub files_pending: usize,
    /// What the node has counted since it was started.
    pub counters: Counters,
}

/// What a node knows of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceStatus {
    /// Which one.
    pub instance: Instance,
    /// What is known.
    pub state: Remembered,
    /// The ballot that this node's proposer is running.
    pub proposing: Option<Ballot>,
}

/// Counted since the node was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of peers and guests.
    pub messages_in: u64,
    /// Clients' proposals.
    pub proposals: u64,
    /// Ballots started.
    pub ballots: u64,
    /// Instances learned to be decided.
    pub decisions: u64,
    /// Transactions written.
    pub batches: u64,
    /// Records written in them.
    pub records: u64,
}
