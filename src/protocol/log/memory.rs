//! What a node remembers of the log: the meaning of the log's records.

use std::sync::Arc;

use super::entries::{Entries, Entry};
use super::members::Membership;
use crate::protocol::types::Ballot;

/// The services' state after a slot, in their own form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The last slot that it stands for.
    pub slot: u64,
    /// The hash of the chain up to that slot.
    pub hash: u64,
    /// The state.
    pub state: Arc<[u8]>,
    /// The membership as of that slot; absent while it is the one that the cluster was founded with.
    pub members: Option<Arc<Membership>>,
}

/// What a node makes durable about the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Record {
    /// Nothing of an epoch below this one is accepted any more.
    Promise {
        /// The epoch.
        epoch: Ballot,
    },
    /// More entries of the epoch accepted last.
    Append {
        /// The slot before the first.
        after: u64,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// The log is the leader's, as far as it was when the epoch began: at once, never in part.
    Sync {
        /// The epoch, promised and accepted with this.
        epoch: Ballot,
        /// The last slot that stays.
        after: u64,
        /// What follows it.
        entries: Vec<Entry>,
    },
    /// The same where the leader no longer has the entries that are missing.
    Install {
        /// The epoch, promised and accepted with this.
        epoch: Ballot,
        /// What stands for the entries before.
        snapshot: Snapshot,
        /// What follows it.
        entries: Vec<Entry>,
    },
    /// The services' state, for the entries up to it; those up to `through` are forgotten.
    Compact {
        /// The state.
        snapshot: Snapshot,
        /// The last entry forgotten.
        through: u64,
    },
    /// All entries up to this slot are chosen.
    Commit {
        /// The slot.
        slot: u64,
    },
    /// This node may vote.
    Prove,
}

/// A node's memory of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Memory {
    /// The highest epoch promised.
    pub promised: Option<Ballot>,
    /// The epoch whose leader's log this is, or begins like.
    pub accepted: Option<Ballot>,
    /// The log, as far as no snapshot stands for it.
    pub entries: Entries,
    /// All up to this slot are known to be chosen.
    pub committed: u64,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// Whether this memory is known to be all that the node ever promised and accepted.
    pub proven: bool,
}

impl Memory {
    /// Takes one record more.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Promise { epoch } => self.promised = Some(*epoch),
            Record::Append { after, entries } => self.replace(*after, entries),
            Record::Sync { epoch, after, entries } => {
                (self.promised, self.accepted, self.proven) = (Some(*epoch), Some(*epoch), true);
                self.replace(*after, entries);
            }
            Record::Install { epoch, snapshot, entries } => {
                (self.promised, self.accepted, self.proven) = (Some(*epoch), Some(*epoch), true);
                self.entries = Entries::after(snapshot.slot, snapshot.hash);
                self.replace(snapshot.slot, entries);
                self.committed = self.committed.max(snapshot.slot);
                self.snapshot = Some(snapshot.clone());
            }
            Record::Compact { snapshot, through } => {
                self.entries.forget(*through);
                self.committed = self.committed.max(snapshot.slot);
                self.snapshot = Some(snapshot.clone());
            }
            Record::Commit { slot } => self.committed = self.committed.max(*slot),
            Record::Prove => self.proven = true,
        }
    }

    fn replace(&mut self, after: u64, entries: &[Entry]) {
        self.entries.truncate(after);
        for entry in entries {
            assert!(self.entries.extend(entry.clone()), "an entry that was checked does not fit the chain");
        }
    }

    /// The last slot.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.entries.length()
    }

    /// The membership as of a slot not before the snapshot's: the last one in the log up to there, or else the snapshot's;
    /// `None` while it is the one that the cluster was founded with.
    #[must_use]
    pub fn members_at(&self, slot: u64) -> Option<&Arc<Membership>> {
        let covered = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.slot);
        let entry = self.entries.members(covered, slot).map(|(_, members)| members);
        entry.or_else(|| self.snapshot.as_ref()?.members.as_ref())
    }

    /// Whether the last membership in the log is not known to be chosen.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.entries.members(self.committed, self.length()).is_some()
    }

    /// How much this node knows, to be compared: the log of the highest epoch, and of those the longest, holds all that
    /// may have been chosen.
    #[must_use]
    pub fn rank(&self) -> (Option<Ballot>, u64) {
        (self.accepted, self.length())
    }
}
