//! What a node says about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::driver::Driver;
use super::input::Action;
use super::measure::Histogram;
use crate::protocol::clock::Stamp;
use crate::protocol::durable::Remembered;
use crate::protocol::strong::Strong;
use crate::protocol::types::{Ballot, Instance, NodeId};

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
    /// What is wrong with the room on the disk, if anything is: `reserve` or `full`.
    pub disk: Option<&'static str>,
    /// Decided files that are still to be written.
    pub files_pending: usize,
    /// What the node has counted since it was started.
    pub counters: Counters,
    /// The members, by the log, and where they listen.
    pub members: BTreeMap<NodeId, Arc<str>>,
    /// Those who founded the cluster, in order: they decide single values. Nobody, in a node that joined.
    pub founders: Vec<NodeId>,
    /// The replicated log; absent in a node that has none.
    pub strong: Option<StrongStatus>,
    /// The logical clocks.
    pub clock: Stamp,
}

impl Driver {
    /// The state now, with at most `limit` instances from this one on.
    pub(super) fn snapshot(&self, from: Option<&Instance>, limit: usize) -> Snapshot {
        let paxos = self.host.paxos();
        let all = paxos.instances();
        let first = from.cloned().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
        let instances = all.range((first, std::ops::Bound::Unbounded)).take(limit);
        // What this very batch has decided is seen below, so its files are counted too.
        let just_decided = self.actions.iter().filter(|action| matches!(action, Action::Write(_))).count();
        Snapshot {
            generation: self.host.generation(),
            instances: instances
                .map(|(instance, state)| InstanceStatus {
                    instance: instance.clone(),
                    state: state.clone(),
                    proposing: paxos.running_ballot(instance),
                })
                .collect(),
            instances_total: all.len(),
            decided_total: paxos.decided_count(),
            ballots_running: paxos.running(),
            disk: self.room.shown(),
            files_pending: self.scribe.pending() + self.tasks.len() + just_decided,
            counters: self.counters,
            members: self.host.strong().map_or_else(
                || self.host.members().iter().map(|member| (member, Arc::from(""))).collect(),
                |strong| strong.log().membership().addresses().clone(),
            ),
            founders: self.host.members().iter().filter(|_| self.host.decides()).collect(),
            strong: self.host.strong().map(StrongStatus::of),
            clock: self.clocks.now().clone(),
        }
    }
}

/// How a node's election, log and services are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrongStatus {
    /// The coordinator, if one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// Its epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Ballot>,
    /// What this node does about elections: looking, electing, yielding, won, following, coordinating.
    pub state: String,
    /// Whether it hears a majority in both directions.
    pub eligible: bool,
    /// Whom it hears, and who hears it.
    pub hears: Vec<NodeId>,
    /// Whether it belongs to the cluster, by its log.
    pub member: bool,
    /// Whether it may vote: not while its memory is empty or damaged and nobody has repaired it.
    pub votes: bool,
    /// The last slot of its log.
    pub length: u64,
    /// The last slot known to be chosen.
    pub committed: u64,
    /// The last slot applied.
    pub applied: u64,
    /// The last slot that a snapshot stands for; 0 if there is none.
    pub snapshot: u64,
    /// The hash of the services' state, in hexadecimal: equal on all nodes that have applied as much.
    pub state_hash: String,
    /// Calls that wait here for the leader.
    pub waiting: u64,
}

impl StrongStatus {
    pub(crate) fn of(strong: &Strong) -> Self {
        let (status, memory) = (strong.bully().status(), strong.log().memory());
        Self {
            leader: status.leader,
            epoch: status.epoch,
            state: format!("{:?}", status.state).to_lowercase(),
            eligible: status.eligible,
            hears: status.hears.into_iter().collect(),
            member: strong.is_member(),
            votes: memory.proven && !strong.is_broken(),
            length: memory.length(),
            committed: memory.committed,
            applied: strong.applied(),
            snapshot: memory.snapshot.as_ref().map_or(0, |snapshot| snapshot.slot),
            state_hash: format!("{:016x}", strong.services().state_hash()),
            waiting: strong.waiting() as u64,
        }
    }
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
    /// How long the transactions took that were synced.
    pub syncs: Histogram,
    /// Leaders seen, or the same one again in a later epoch.
    pub leader_changes: u64,
    /// Clients' commands that were not applied, as far as is known here.
    pub commands_failed: u64,
    /// Clients' reads that no leader confirmed.
    pub reads_failed: u64,
}
