//! A simulated disk: keeps what was synced, and of the rest what chance leaves.

use crate::protocol::Record;
use crate::protocol::durable::Durable;

/// One node's disk.
#[derive(Debug, Default)]
pub struct Disk {
    synced: Durable,
    unsynced: Vec<Record>,
}

impl Disk {
    /// Writes a record behind the others. It survives a crash only by luck until the next sync.
    pub fn write(&mut self, record: &Record) {
        self.unsynced.push(record.clone());
    }

    /// Makes everything written durable, and tells what that was, each record with the generation it belongs to.
    pub fn sync(&mut self) -> Vec<(u64, Record)> {
        let mut kept = Vec::with_capacity(self.unsynced.len());
        for record in self.unsynced.drain(..) {
            self.synced.apply(&record);
            kept.push((self.synced.generation, record));
        }
        kept
    }

    /// The machine dies: of what was not synced the first part survives, so many hundredths of it. Tells what did.
    pub fn crash(&mut self, hundredths: usize) -> Vec<(u64, Record)> {
        let kept = self.unsynced.len() * hundredths.min(100) / 100;
        self.unsynced.truncate(kept);
        self.sync()
    }

    /// What a node that starts now finds.
    #[must_use]
    pub fn read(&self) -> Durable {
        let mut durable = self.synced.clone();
        self.unsynced.iter().for_each(|record| durable.apply(record));
        durable
    }

    /// What is certain to survive.
    #[must_use]
    pub const fn durable(&self) -> &Durable {
        &self.synced
    }
}
