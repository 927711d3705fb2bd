//! The board as one node has it: its memory, the indexes into it, and what has changed for those who watch.
//!
//! Everything that changes goes through `Board::put` and `Board::drop_entry`, and into the record of the step.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use xxhash_rust::xxh64::Xxh64;

use super::memory::{Entry, Memory, Operation, Record, Stamp};
use crate::protocol::clock::VectorClock;
use crate::protocol::types::NodeId;

/// How many changes, and how many bytes of their texts, are kept for those who watch.
const MAX_JOURNAL: usize = 4096;
const MAX_JOURNAL_BYTES: usize = 8 << 20;

/// What can be seen to happen to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The entry.
    pub id: Stamp,
    /// The operation that did it.
    pub by: Stamp,
    /// What it did.
    pub what: What,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The entry has come, with this text.
    Posted(Arc<str>),
    /// It has this text now.
    Modified(Arc<str>),
    /// It is gone.
    Deleted,
}

/// A tombstone: older ones, by the stamps of the deletes, come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tombstone {
    /// The stamp of the delete.
    pub(super) stamp: Stamp,
    /// The entry.
    pub(super) id: Stamp,
}

/// The board of one node.
#[derive(Debug, Default)]
pub struct Board {
    memory: Memory,
    /// The tombstones among the entries, oldest first.
    tombstones: BTreeSet<Tombstone>,
    bytes: usize,
    /// The sum of the hashes of all entries that can be seen: it does not hang on the order in which they came.
    sum: u64,
    /// The latest changes; the last one has the number `memory.changes`.
    journal: VecDeque<Change>,
    journal_bytes: usize,
    /// What the present step has changed.
    put: Vec<Operation>,
    gone: Vec<Stamp>,
    has_changed: bool,
}

impl Board {
    pub(super) fn new(memory: Memory) -> Self {
        let mut board = Self { memory, ..Self::default() };
        for (&id, entry) in &board.memory.entries {
            match &entry.text {
                Some(text) => {
                    board.bytes += text.len();
                    board.sum = board.sum.wrapping_add(hash(id, entry));
                }
                None => _ = board.tombstones.insert(Tombstone { stamp: entry.stamp, id }),
            }
        }
        board
    }

    /// Merges an operation: it stands from here on, unless one that is here beats it, or its entry was deleted and
    /// forgotten. Merging it again, or in another order, comes to the same. If this node's memory is distrusted (it
    /// is being told everything), it also gives way to an operation of the same stamp: it has used that one twice.
    pub(super) fn put(&mut self, operation: &Operation, is_distrusted: bool) {
        let Operation { id, stamp, text } = operation;
        match self.memory.entries.get(id) {
            Some(entry) => {
                let standing = Operation { id: *id, stamp: entry.stamp, text: entry.text.clone() };
                let is_used_twice = is_distrusted && operation.stamp == standing.stamp && *operation != standing;
                if !operation.beats(&standing) && !is_used_twice {
                    return;
                }
            }
            None if self.memory.versions.covers(*id) && !mutant!(CoveredComesBack) => return,
            None => {}
        }
        let before = self.unlink(*id);
        let entry = Entry { stamp: *stamp, text: text.clone() };
        match text {
            Some(text) => {
                self.bytes += text.len();
                self.sum = self.sum.wrapping_add(hash(*id, &entry));
            }
            None => _ = self.tombstones.insert(Tombstone { stamp: *stamp, id: *id }),
        }
        let was_seen = before.is_some_and(|entry| entry.text.is_some());
        match (was_seen, text) {
            (false, Some(text)) => self.tell(*id, *stamp, What::Posted(text.clone())),
            (true, Some(text)) => self.tell(*id, *stamp, What::Modified(text.clone())),
            (true, None) => self.tell(*id, *stamp, What::Deleted),
            (false, None) => {}
        }
        self.memory.entries.insert(*id, entry);
        self.put.push(operation.clone());
        self.has_changed = true;
    }

    /// Takes an entry off the board, without leaving a tombstone.
    pub(super) fn drop_entry(&mut self, id: Stamp) {
        let Some(entry) = self.unlink(id) else { return };
        if entry.text.is_some() {
            self.tell(id, entry.stamp, What::Deleted);
        }
        self.memory.entries.remove(&id);
        self.gone.push(id);
        self.has_changed = true;
    }

    /// Takes a tombstone away, and remembers that it was there.
    pub(super) fn forget(&mut self, tombstone: Tombstone) {
        self.drop_entry(tombstone.id);
        if !mutant!(ForgetsThatItForgot) {
            self.memory.forgotten.raise_to(tombstone.stamp.server, tombstone.stamp.clock);
        }
    }

    /// All operations of a server up to this clock are known.
    pub(super) fn cover(&mut self, server: NodeId, clock: u64) {
        if self.memory.versions.of(server) < clock {
            self.memory.versions.raise_to(server, clock);
            self.has_changed = true;
        }
    }

    /// All that another node covered is covered here, and what it forgot of that is forgotten.
    pub(super) fn reach(&mut self, versions: &VectorClock, forgotten: &VectorClock) {
        let before = (self.memory.versions.clone(), self.memory.forgotten.clone());
        self.memory.versions.join(versions);
        let mut forgotten = forgotten.clone();
        forgotten.meet(&self.memory.versions);
        self.memory.forgotten.join(&forgotten);
        self.has_changed |= (&before.0, &before.1) != (&self.memory.versions, &self.memory.forgotten);
    }

    /// What the step has changed, if anything.
    pub(super) fn take_record(&mut self) -> Option<Record> {
        std::mem::take(&mut self.has_changed).then(|| Record {
            put: std::mem::take(&mut self.put),
            gone: std::mem::take(&mut self.gone),
            versions: self.memory.versions.clone(),
            forgotten: self.memory.forgotten.clone(),
            changes: self.memory.changes,
        })
    }

    /// Takes an entry out of the indexes.
    fn unlink(&mut self, id: Stamp) -> Option<Entry> {
        let entry = self.memory.entries.get(&id)?.clone();
        self.tombstones.remove(&Tombstone { stamp: entry.stamp, id });
        if let Some(text) = &entry.text {
            self.bytes -= text.len();
            self.sum = self.sum.wrapping_sub(hash(id, &entry));
        }
        Some(entry)
    }

    fn tell(&mut self, id: Stamp, by: Stamp, what: What) {
        self.memory.changes += 1;
        self.journal_bytes += what.bytes();
        self.journal.push_back(Change { id, by, what });
        while self.journal.len() > MAX_JOURNAL || self.journal_bytes > MAX_JOURNAL_BYTES {
            let Some(oldest) = self.journal.pop_front() else { break };
            self.journal_bytes -= oldest.what.bytes();
        }
    }

    /// The node's memory.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What an entry says; `None` if there is none, or none any more.
    #[must_use]
    pub fn text(&self, id: Stamp) -> Option<&Arc<str>> {
        self.memory.entries.get(&id)?.text.as_ref()
    }

    /// What can be seen, in the order of the ids, after one of them.
    pub fn posts(&self, after: Option<Stamp>) -> impl DoubleEndedIterator<Item = (Stamp, Stamp, &Arc<str>)> {
        self.entries(after).filter_map(|(id, entry)| Some((id, entry.stamp, entry.text.as_ref()?)))
    }

    /// What changed after the change of this number, each with its own; `None` if not all of it is kept.
    #[must_use]
    pub fn changes_since(&self, since: u64) -> Option<impl Iterator<Item = (u64, &Change)>> {
        let first = self.memory.changes + 1 - self.journal.len() as u64;
        let skip = since.checked_add(1)?.checked_sub(first)?;
        let numbered = (first..).zip(&self.journal);
        // The cast cannot cut: it is at most the length.
        (since <= self.memory.changes).then(|| numbered.skip(skip as usize))
    }

    /// All entries, by their ids, after one of them.
    pub(super) fn entries(&self, after: Option<Stamp>) -> impl DoubleEndedIterator<Item = (Stamp, &Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.memory.entries.range((after.map_or(Unbounded, Excluded), Unbounded)).map(|(&id, entry)| (id, entry))
    }

    /// The tombstones, oldest first.
    pub(super) const fn tombstones(&self) -> &BTreeSet<Tombstone> {
        &self.tombstones
    }

    /// How many entries there are, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.entries.len()
    }

    /// Whether there is nothing, not even a tombstone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.entries.is_empty()
    }

    /// The bytes of all texts.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A hash of all that can be seen, with its stamps: boards that show the same have the same.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.sum
    }

    /// What must hold after every step.
    pub fn check_invariants(&self, clock: u64) {
        let Memory { versions, forgotten, .. } = &self.memory;
        assert!(versions.covers_all(forgotten), "deletes up to {forgotten} are forgotten, and {versions} is covered");
        assert!(self.memory.clock() <= clock, "something is known from beyond the clock {clock}");
        for (id, entry) in &self.memory.entries {
            assert!(*id <= entry.stamp, "{id} was changed by {} before it was posted", entry.stamp);
            assert_eq!(self.tombstones.contains(&Tombstone { stamp: entry.stamp, id: *id }), entry.text.is_none());
        }
    }
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            Self::Posted(text) | Self::Modified(text) => text.len(),
            Self::Deleted => 0,
        }
    }
}

fn hash(id: Stamp, entry: &Entry) -> u64 {
    let mut hash = Xxh64::new(0);
    for stamp in [id, entry.stamp] {
        hash.update(&stamp.clock.to_le_bytes());
        hash.update(&stamp.server.number().to_le_bytes());
    }
    hash.update(entry.text.as_deref().unwrap_or_default().as_bytes());
    hash.digest()
}
