//! A simulated disk: keeps what was synced, and of the rest what chance leaves; tears, rots, and can be put back or lost.
//!
//! It stands for [`crate::store::sqlite`], and notices what that notices:
//!
//! - *torn*: the write-ahead log ends in a record that is only half there. Nobody relied on it, since it was not synced:
//!   recovery cuts it off. (SQLite keeps a whole batch or nothing of it; this disk may keep a part, which is harder.)
//! - *rotten*: a row's checksum does not fit. The node refuses to start: it must not vote with what it half remembers.
//!   If it is one of the replicated log's, the node starts with an empty log, and knows that it may not vote: the others
//!   repair it.
//! - *wiped*: all is gone. Single-decree Paxos has no defence; the log has: a node without a memory does not vote.
//! - *stale*: an old copy of the directory was put back, or the directory was wiped. Every row is in order, so **the store
//!   cannot notice**, and an acceptor that has forgotten a promise can make two values chosen. The same holds for damage
//!   inside SQLite's write-ahead log: it takes the log to end there. So [`super::faults::Fault::Stale`] is off unless
//!   asked for by name; with it the simulation shows how promises are forgotten.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::faults::Fortune;
use crate::protocol::Record;
use crate::protocol::durable::Durable;
use crate::protocol::types::Value;
use crate::protocol::{log, overlay};

/// One node's disk.
#[derive(Debug, Default)]
pub struct Disk {
    frames: Vec<Frame>,
    /// How many of the frames are synced.
    synced: usize,
    /// What the synced frames came to when they were written.
    durable: Durable,
}

/// One record as it lies there.
#[derive(Debug, Clone)]
struct Frame {
    record: Record,
    checksum: u64,
}

/// What a node that starts finds on its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The records that have become durable by it, each with its generation.
    pub records: Vec<(u64, Record)>,
    /// Whether a torn tail was cut off.
    pub cut: bool,
    /// Whether the log was damaged: nothing of it is left.
    pub distrusted: bool,
}

/// What damage leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rot {
    /// The node does not start any more.
    Fatal,
    /// It starts without a log, and takes no part in quorums.
    Log,
}

/// A synced record is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the checksum of record {at} does not fit")]
pub struct Damaged {
    /// Which record, from 0.
    pub at: usize,
}

impl Disk {
    /// Writes a record behind the others. It survives a crash only by luck until the next sync.
    pub fn write(&mut self, record: &Record) {
        self.frames.push(Frame::new(record.clone()));
    }

    /// How many records a crash may take.
    #[must_use]
    pub const fn unsynced(&self) -> usize {
        self.frames.len() - self.synced
    }

    /// Makes everything written durable, and tells what that was, each record with the generation it belongs to.
    pub fn sync(&mut self) -> Vec<(u64, Record)> {
        let mut kept = Vec::with_capacity(self.unsynced());
        let mut void = 0;
        for (at, frame) in self.frames.iter().enumerate().skip(self.synced) {
            self.durable.apply(&frame.record);
            kept.push((self.durable.generation, frame.record.clone()));
            if matches!(frame.record, Record::Generation { .. }) {
                void = at;
            }
        }
        // A generation makes all earlier records void, and the store deletes them, but for one.
        let stays = |frame: &Frame| void > 0 && matches!(frame.record, Record::Log(log::memory::Record::Prove));
        let proven = void > 0 && self.durable.log.proven && !self.frames[void..].iter().any(stays);
        self.frames.drain(..void);
        if proven {
            self.frames.insert(1, Frame::new(Record::Log(log::memory::Record::Prove)));
        }
        self.synced = self.frames.len();
        kept
    }

    /// The machine dies: of what was not synced, the first so many records survive, and perhaps a part of the next.
    pub fn lose(&mut self, survive: usize, torn: bool) {
        let keep = self.synced + survive.min(self.unsynced());
        if torn && let Some(frame) = self.frames.get_mut(keep) {
            frame.checksum ^= 1;
            self.frames.truncate(keep + 1);
        } else {
            self.frames.truncate(keep);
        }
    }

    /// A synced record is damaged; returns what that means, or nothing if there was none.
    pub(super) fn rot(&mut self, fortune: &mut Fortune) -> Option<Rot> {
        if self.synced == 0 {
            return None;
        }
        // Many of the records have been superseded; the last has not. The cast cannot cut: it is below a length.
        let last = self.synced - 1;
        let at = if fortune.is_one_of(2) { last } else { fortune.within(0..=last as u64) as usize };
        self.frames[at].damage();
        Some(if matches!(self.frames[at].record, Record::Log(_)) { Rot::Log } else { Rot::Fatal })
    }

    /// All is gone.
    pub(super) fn wipe(&mut self) {
        *self = Self::default();
    }

    /// An old copy of the disk is put back; returns whether it differs from what was there.
    pub(super) fn turn_back(&mut self, fortune: &mut Fortune) -> bool {
        let before = self.frames.len();
        self.frames.truncate(fortune.within(0..=self.synced as u64) as usize);
        self.synced = self.frames.len();
        self.durable = Durable::default();
        self.frames.iter().for_each(|frame| self.durable.apply(&frame.record));
        self.frames.len() < before
    }

    /// What a node that starts now finds; a torn tail is cut off. From here on all of it is durable: it will be relied
    /// on.
    ///
    /// # Errors
    /// A synced record is damaged that is not the log's: the node must not start.
    pub fn recover(&mut self) -> Result<Recovered, Damaged> {
        let mut damaged = self.frames[..self.synced].iter().enumerate().filter(|(_, frame)| !frame.is_sound());
        let distrusted = match damaged.next() {
            Some((at, frame)) if !matches!(frame.record, Record::Log(_)) => return Err(Damaged { at }),
            found => found.is_some(),
        };
        let sound = self.frames[self.synced..].iter().position(|frame| !frame.is_sound());
        if let Some(end) = sound {
            self.frames.truncate(self.synced + end);
        }
        let mut records = self.sync();
        if distrusted {
            self.distrust();
            records.retain(|(_, record)| !matches!(record, Record::Log(_)));
        }
        Ok(Recovered { records, cut: sound.is_some(), distrusted })
    }

    /// Nothing of the log can be trusted, and the node is to know that also the next time.
    fn distrust(&mut self) {
        self.frames.retain(|frame| !matches!(frame.record, Record::Log(_)));
        self.synced = self.frames.len();
        (self.durable.log, self.durable.log_damaged) = (log::memory::Memory::default(), true);
    }

    /// As [`Disk::recover`], by a store that trusts its disk. For the test that shows why it must not.
    #[cfg(test)]
    pub(super) fn recover_blindly(&mut self) {
        for frame in &mut self.frames {
            *frame = Frame::new(frame.record.clone());
        }
        self.durable = Durable::default();
        self.frames.iter().for_each(|frame| self.durable.apply(&frame.record));
        self.synced = self.frames.len();
    }

    /// The machine dies and starts again: of what was not synced the first part survives, so many hundredths of it. Tells
    /// what did.
    pub fn crash(&mut self, hundredths: usize) -> Vec<(u64, Record)> {
        self.lose(self.unsynced() * hundredths.min(100) / 100, false);
        self.sync()
    }

    /// What a node would find that started now, on a sound disk.
    #[must_use]
    pub fn read(&self) -> Durable {
        let mut durable = self.durable.clone();
        self.frames[self.synced..].iter().for_each(|frame| durable.apply(&frame.record));
        durable
    }

    /// What is certain to survive.
    #[must_use]
    pub const fn durable(&self) -> &Durable {
        &self.durable
    }
}

impl Frame {
    fn new(record: Record) -> Self {
        let checksum = checksum(&record);
        Self { record, checksum }
    }

    fn is_sound(&self) -> bool {
        checksum(&self.record) == self.checksum
    }

    /// The record becomes another one, as plausible as it was.
    fn damage(&mut self) {
        match &mut self.record {
            Record::Promise { ballot, .. } => ballot.round = ballot.round.saturating_sub(1),
            Record::Accept { value, .. } | Record::Decide { value, .. } => *value = Value::new("<int>-1</int>"),
            Record::Generation { generation, .. } => *generation += 1,
            Record::Log(record) => damage(record),
            Record::Eventual(record) => record.changes += 1,
            Record::Register(record) => record.held.value = Value::new("<int>-1</int>"),
            Record::Overlay(record) => damage_held(record),
        }
    }
}

fn damage_held(record: &mut overlay::Record) {
    use overlay::Record;
    match record {
        Record::Hold { item, .. } => item.version.stamp.counter += 1,
        Record::Release { shelf, .. } => *shelf = overlay::Shelf::Directory,
        Record::Membership { joined } => *joined = !*joined,
        Record::Reserve { upto, .. } => *upto = 0,
    }
}

fn damage(record: &mut log::memory::Record) {
    use log::memory::Record;
    match record {
        Record::Promise { epoch } | Record::Sync { epoch, .. } | Record::Install { epoch, .. } => {
            epoch.round = epoch.round.saturating_sub(1);
        }
        Record::Append { after, .. } => *after += 1,
        Record::Compact { through, .. } => *through += 1,
        Record::Commit { slot } => *slot += 1,
        Record::Prove => *record = Record::Commit { slot: 1 },
    }
}

fn checksum(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::protocol::types::{Ballot, Instance, NodeId};
    use crate::sim::faults::{Chances, Fault, Filter};

    fn promise(round: u64) -> Record {
        Record::Promise { instance: Instance::default(), ballot: Ballot { round, node: NodeId::new(1).unwrap() } }
    }

    fn promised(disk: &Disk) -> Option<u64> {
        disk.durable().instances.get(&Instance::default()).and_then(|state| state.promised).map(|ballot| ballot.round)
    }

    fn fortune() -> Fortune {
        let mut chances = Chances::draw(&mut Pcg64Mcg::seed_from_u64(1), Filter::default());
        chances.strikes_at(Fault::Crash, 1000).unwrap()
    }

    /// Round 1 synced, rounds 2 to 4 only written.
    fn disk() -> Disk {
        let mut disk = Disk::default();
        disk.write(&promise(1));
        disk.sync();
        (2..=4).for_each(|round| disk.write(&promise(round)));
        disk
    }

    #[test]
    fn a_crash_takes_a_tail_of_what_was_not_synced() {
        for survive in 0..5 {
            let mut disk = disk();
            disk.lose(survive, false);
            let Recovered { records, cut, .. } = disk.recover().unwrap();
            assert_eq!((records.len(), cut), (survive.min(3), false));
            assert_eq!(promised(&disk), Some(1 + survive.min(3) as u64));
        }
    }

    #[test]
    fn a_torn_record_is_cut_and_the_next_one_stands() {
        let mut disk = disk();
        disk.lose(1, true);
        let Recovered { records, cut, .. } = disk.recover().unwrap();
        assert_eq!((records.len(), cut, promised(&disk)), (1, true, Some(2)));
        disk.write(&promise(9));
        disk.sync();
        disk.lose(0, true);
        assert_eq!(disk.recover(), Ok(Recovered { records: Vec::new(), cut: false, distrusted: false }));
        assert_eq!(promised(&disk), Some(9));
    }

    #[test]
    fn rot_is_noticed_wherever_it_strikes() {
        for record in [
            promise(3),
            Record::Accept {
                instance: Instance::default(),
                ballot: Ballot { round: 1, node: NodeId::GUEST },
                value: Value::new("5"),
            },
            Record::Generation { generation: 2, followed: false },
        ] {
            let mut disk = Disk::default();
            disk.write(&record);
            disk.sync();
            assert_eq!(disk.rot(&mut fortune()), Some(Rot::Fatal));
            assert_eq!(disk.recover(), Err(Damaged { at: 0 }), "{record:?}");
        }
        assert_eq!(Disk::default().rot(&mut fortune()), None);
    }

    #[test]
    fn an_old_copy_is_not_noticed() {
        let mut disk = Disk::default();
        (1..=50).for_each(|round| disk.write(&promise(round)));
        disk.sync();
        assert!(disk.turn_back(&mut fortune()));
        assert!(disk.recover().is_ok());
        assert!(promised(&disk) < Some(50));
    }

    #[test]
    fn a_generation_voids_what_was_before() {
        let mut disk = disk();
        disk.write(&Record::Generation { generation: 2, followed: true });
        disk.sync();
        assert_eq!((promised(&disk), disk.frames.len()), (None, 1));
    }
}
