//! What is on all disks, entry by entry, and what follows from it: what is chosen.
//!
//! Nothing here asks the protocol what it believes. A record that has become durable is taken at its word: a node that
//! has the log of an epoch up to a slot has accepted all of that in that epoch. What a majority has accepted in one epoch,
//! up to a slot that its leader began with or appended, is chosen.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Replay;
use super::rule;
use crate::protocol::log::entries::Entry;
use crate::protocol::log::memory::{Record, Snapshot};
use crate::protocol::types::{Ballot, NodeId};
use crate::sim::check::{Verdict, ensure};

/// What one node's disk is certain to keep; of the entries only the hashes of the chain.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    pub(super) promised: Option<Ballot>,
    pub(super) accepted: Option<Ballot>,
    pub(super) proven: bool,
    base: u64,
    base_hash: u64,
    hashes: Vec<u64>,
}

impl Shelf {
    /// Nothing, on a disk that may be known to have lost nothing.
    pub(super) fn empty(proven: bool) -> Self {
        Self { proven, ..Self::default() }
    }

    pub(super) fn length(&self) -> u64 {
        self.base + self.hashes.len() as u64
    }

    pub(super) fn last_hash(&self) -> u64 {
        self.hashes.last().copied().unwrap_or(self.base_hash)
    }

    fn hash_at(&self, slot: u64) -> Option<u64> {
        if slot == self.base {
            return Some(self.base_hash);
        }
        self.hashes.get(usize::try_from(slot.checked_sub(self.base)?).ok()?.checked_sub(1)?).copied()
    }

    /// Whether the log has this in a slot, or did have it when it forgot the slot.
    pub(super) fn has(&self, slot: u64, hash: u64) -> bool {
        slot < self.base || self.hash_at(slot) == Some(hash)
    }

    fn truncate(&mut self, last: u64) {
        self.hashes.truncate(usize::try_from(last.saturating_sub(self.base)).unwrap_or(usize::MAX));
    }

    fn forget(&mut self, through: u64) {
        if let Some(hash) = self.hash_at(through) {
            self.hashes.drain(..usize::try_from(through - self.base).unwrap_or(0));
            (self.base, self.base_hash) = (through, hash);
        }
    }
}

/// One epoch.
#[derive(Debug, Default)]
struct Epoch {
    /// Who has promised exactly this, and may vote.
    promised: BTreeSet<NodeId>,
    /// The log with which its owner began, to which all that follows is appended.
    began: Option<Shelf>,
    /// The hashes in the slots that somebody has saved under it.
    slots: BTreeMap<u64, u64>,
    /// Who has accepted how much of it.
    accepted: BTreeMap<NodeId, u64>,
    /// Who leads it, in which life.
    leader: Option<(NodeId, u64)>,
}

/// All that lasts in one generation.
#[derive(Debug)]
pub(super) struct Ledger {
    majority: usize,
    epochs: BTreeMap<Ballot, Epoch>,
    /// All entries that anyone has saved, by the hash of the chain.
    entries: BTreeMap<u64, Entry>,
    /// The chain of what is chosen, from slot 1 on.
    chosen: Vec<u64>,
    /// What the services make of it.
    pub(super) replay: Replay,
    pub(super) snapshots: u64,
    pub(super) installs: u64,
}

impl Ledger {
    pub(super) fn new(majority: usize) -> Self {
        Self {
            majority,
            epochs: BTreeMap::new(),
            entries: BTreeMap::new(),
            chosen: Vec::new(),
            replay: Replay::default(),
            snapshots: 0,
            installs: 0,
        }
    }

    /// All up to this slot is chosen.
    pub(super) const fn chosen(&self) -> u64 {
        self.chosen.len() as u64
    }

    /// The hash of the chain of what is chosen, up to a slot.
    pub(super) fn hash_at(&self, slot: u64) -> Option<u64> {
        match usize::try_from(slot).ok()?.checked_sub(1) {
            None => Some(0),
            Some(at) => self.chosen.get(at).copied(),
        }
    }

    /// How many epochs began.
    pub(super) fn epochs(&self) -> u64 {
        self.epochs.values().filter(|epoch| epoch.began.is_some()).count() as u64
    }

    /// A record of a node lasts.
    pub(super) fn take(&mut self, node: NodeId, shelf: &mut Shelf, record: &Record) -> Verdict {
        let had = shelf.length().min(self.chosen());
        let had = self.hash_at(had).filter(|&hash| shelf.has(had, hash)).map(|hash| (had, hash));
        match record {
            Record::Promise { epoch } => {
                ensure(Some(*epoch) > shelf.promised, rule::PROMISE_FALLS, || {
                    format!("{node} promises {epoch} after {:?}", shelf.promised)
                })?;
                shelf.promised = Some(*epoch);
                self.count_promise(node, shelf);
                return Ok(());
            }
            Record::Prove => {
                shelf.proven = true;
                self.count_promise(node, shelf);
                return Ok(());
            }
            Record::Commit { slot } => return self.committed(node, *slot),
            Record::Compact { snapshot, through } => {
                self.snapshots += 1;
                self.snapshot(node, snapshot)?;
                ensure(*through <= snapshot.slot, rule::SNAPSHOT, || {
                    format!("{node} forgets all up to {through} with a snapshot of {}", snapshot.slot)
                })?;
                shelf.forget(*through);
                return Ok(());
            }
            Record::Append { after, entries } => self.append(node, shelf, *after, entries)?,
            Record::Sync { epoch, after, entries } => {
                self.follow(node, shelf, *epoch)?;
                self.append(node, shelf, *after, entries)?;
                self.synchronised(node, shelf, *epoch)?;
            }
            Record::Install { epoch, snapshot, entries } => {
                self.installs += 1;
                self.snapshot(node, snapshot)?;
                self.follow(node, shelf, *epoch)?;
                (shelf.base, shelf.base_hash) = (snapshot.slot, snapshot.hash);
                shelf.hashes.clear();
                self.append(node, shelf, snapshot.slot, entries)?;
                self.synchronised(node, shelf, *epoch)?;
            }
        }
        if let Some((slot, hash)) = had {
            ensure(shelf.length() >= slot && shelf.has(slot, hash), rule::KEEPS_CHOSEN, || {
                format!("{node} had all up to slot {slot}, which is chosen, and has not after {record:?}")
            })?;
        }
        self.accepted(node, shelf)
    }

    fn count_promise(&mut self, node: NodeId, shelf: &Shelf) {
        if let (Some(epoch), true) = (shelf.promised, shelf.proven) {
            self.epochs.entry(epoch).or_default().promised.insert(node);
        }
    }

    /// A node accepts an epoch.
    fn follow(&mut self, node: NodeId, shelf: &mut Shelf, epoch: Ballot) -> Verdict {
        ensure(Some(epoch) >= shelf.promised, rule::PROMISE_FALLS, || {
            format!("{node} accepts {epoch} after it promised {:?}", shelf.promised)
        })?;
        // A leader's own acceptor: what was promised before it counts as a vote, and its own was saved by now.
        (shelf.promised, shelf.accepted, shelf.proven) = (Some(epoch), Some(epoch), true);
        Ok(())
    }

    fn append(&mut self, node: NodeId, shelf: &mut Shelf, after: u64, entries: &[Entry]) -> Verdict {
        ensure(shelf.base <= after && after <= shelf.length(), rule::NO_HOLE, || {
            format!("{node} appends after {after} to a log of {} to {}", shelf.base, shelf.length())
        })?;
        shelf.truncate(after);
        let Some(accepted) = shelf.accepted else {
            return ensure(entries.is_empty(), rule::NO_HOLE, || format!("{node} appends to no epoch's log"));
        };
        let epoch = self.epochs.entry(accepted).or_default();
        for (slot, entry) in (after + 1..).zip(entries) {
            ensure(entry.follows(shelf.last_hash()), rule::CHAIN, || format!("{node} saves {entry:?} in slot {slot}"))?;
            shelf.hashes.push(entry.hash);
            let known = *epoch.slots.entry(slot).or_insert(entry.hash);
            ensure(known == entry.hash, rule::ONE_ENTRY, || {
                format!("epoch {accepted} has another entry in slot {slot} than {entry:?}, which {node} saves")
            })?;
            self.entries.entry(entry.hash).or_insert_with(|| entry.clone());
        }
        Ok(())
    }

    /// A node has the log with which an epoch began; or begins it, if it is its owner.
    fn synchronised(&mut self, node: NodeId, shelf: &Shelf, epoch: Ballot) -> Verdict {
        let (chosen, majority) = (self.chosen(), self.majority);
        let hash = self.hash_at(chosen).unwrap_or(0);
        let run = self.epochs.entry(epoch).or_default();
        if epoch.node != node {
            let whole = run
                .began
                .as_ref()
                .is_some_and(|began| shelf.length() >= began.length() && shelf.has(began.length(), began.last_hash()));
            return ensure(whole, rule::SYNC_WHOLE, || {
                let start = run.began.as_ref().map(Shelf::length);
                format!("{node} has epoch {epoch} up to {}, which began with {start:?}", shelf.length())
            });
        }
        ensure(run.began.is_none(), rule::ONE_LEADER, || format!("{node} begins epoch {epoch} twice"))?;
        ensure(run.promised.len() >= majority, rule::PROMISED, || {
            format!("{epoch} begins with the promises of {:?}", run.promised)
        })?;
        ensure(shelf.length() >= chosen && shelf.has(chosen, hash), rule::LEADER_KEEPS, || {
            format!("epoch {epoch} begins with a log of {}, and {chosen} slots are chosen otherwise", shelf.length())
        })?;
        run.began = Some(shelf.clone());
        Ok(())
    }

    /// A node has accepted more: perhaps more is chosen.
    fn accepted(&mut self, node: NodeId, shelf: &Shelf) -> Verdict {
        let Some(epoch) = shelf.accepted else { return Ok(()) };
        let run = self.epochs.entry(epoch).or_default();
        let length = run.accepted.entry(node).or_default();
        *length = (*length).max(shelf.length());
        let Some(start) = run.began.as_ref().map(Shelf::length) else { return Ok(()) };
        let mut lengths: Vec<u64> = run.accepted.values().copied().collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&through) = lengths.get(self.majority - 1).filter(|&&through| through >= start) else { return Ok(()) };
        let known = through.min(self.chosen());
        let hash = self.hash_at(known).unwrap_or(0);
        ensure(shelf.length() < known || shelf.has(known, hash), rule::ONE_CHOSEN, || {
            format!("a majority has accepted {through} slots in {epoch}, and slot {known} was chosen otherwise before")
        })?;
        for slot in self.chosen() + 1..=through {
            let entry = shelf.hash_at(slot).and_then(|hash| self.entries.get(&hash));
            let Some(entry) = entry.cloned() else {
                return ensure(false, rule::SNAPSHOT, || format!("{node} has forgotten slot {slot}, just chosen"));
            };
            self.later_leaders_have(epoch, slot, entry.hash)?;
            self.chosen.push(entry.hash);
            self.replay.apply(slot, &entry)?;
        }
        Ok(())
    }

    fn later_leaders_have(&self, epoch: Ballot, slot: u64, hash: u64) -> Verdict {
        for (later, run) in self.epochs.range(epoch..).skip(1) {
            let Some(began) = &run.began else { continue };
            let same = if slot <= began.length() {
                began.has(slot, hash)
            } else {
                run.slots.get(&slot).is_none_or(|&other| other == hash)
            };
            ensure(same, rule::LEADER_KEEPS, || {
                format!("slot {slot} is chosen in {epoch}, and the leader of {later} has something else there")
            })?;
        }
        Ok(())
    }

    /// A node says, or acts upon it, that all up to a slot is chosen.
    pub(super) fn committed(&self, node: NodeId, slot: u64) -> Verdict {
        ensure(slot <= self.chosen(), rule::COMMITTED, || {
            format!("{node} holds {slot} slots for committed, and {} are chosen", self.chosen())
        })
    }

    fn snapshot(&self, node: NodeId, snapshot: &Snapshot) -> Verdict {
        self.committed(node, snapshot.slot)?;
        ensure(self.hash_at(snapshot.slot) == Some(snapshot.hash), rule::SNAPSHOT, || {
            format!("{node} has a snapshot of slot {} of another log", snapshot.slot)
        })?;
        self.replay.check_snapshot(node, snapshot)
    }

    /// A node leads.
    pub(super) fn leads(&mut self, node: NodeId, life: u64, epoch: Ballot) -> Verdict {
        let majority = self.majority;
        let run = self.epochs.entry(epoch).or_default();
        let leader = *run.leader.get_or_insert((node, life));
        ensure(leader == (node, life) && epoch.node == node, rule::ONE_LEADER, || {
            format!("{node} leads epoch {epoch} in its life {life}, and {leader:?} did")
        })?;
        ensure(run.promised.len() >= majority, rule::PROMISED, || {
            format!("{node} leads {epoch} with the promises of {:?}", run.promised)
        })
    }

    /// A node has lost what it promised and accepted. What was chosen stays chosen.
    pub(super) fn lost(&mut self, node: NodeId) {
        for run in self.epochs.values_mut() {
            run.accepted.remove(&node);
        }
    }
}
