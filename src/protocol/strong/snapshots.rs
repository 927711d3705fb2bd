//! Snapshots: when the services' state is kept whole, so that the entries before it can go.
//!
//! To clone the state takes no time, to encode it takes time in proportion to it, and all clients would wait. So a
//! snapshot is made in two steps. Whoever runs a node takes the one that is due ([`Strong::take_due`]), encodes it in its
//! own time ([`Due::encode`]), and hands it back ([`Strong::snapshot_ready`]): then it is saved like any other record.
//!
//! One at a time is under way. Much may have happened until it comes back: it is dropped if a newer one was installed
//! meanwhile, or if the log is another one, which the hash of the chain tells. If it never comes back, because the process
//! died, nothing is lost: the entries are still there.

use std::sync::Arc;

use super::{Out, Services, Strong};

/// When a snapshot is due: after so many entries, but not before the log weighs four times as much as the last snapshot,
/// so that writing snapshots costs little beside writing the log; in any case once the log is so heavy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshots {
    /// So many entries.
    pub entries: u64,
    /// So many bytes of commands.
    pub bytes: usize,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 64 << 20 }
    }
}

/// A snapshot that is to be encoded.
#[derive(Debug, Clone)]
pub struct Due {
    slot: u64,
    hash: u64,
    services: Services,
}

/// A snapshot that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The last slot that it stands for.
    slot: u64,
    /// The hash of the chain up to that slot.
    hash: u64,
    state: Arc<[u8]>,
}

impl Due {
    /// Takes time in proportion to the state.
    #[must_use]
    pub fn encode(&self) -> Ready {
        Ready { slot: self.slot, hash: self.hash, state: self.services.snapshot() }
    }
}

impl Strong {
    /// Looks whether a snapshot is due.
    pub(super) fn note_due(&mut self) {
        let memory = self.log.memory();
        let (kept, size) = memory.snapshot.as_ref().map_or((0, 0), |snapshot| (snapshot.slot, snapshot.state.len()));
        let Snapshots { entries, bytes } = self.options.snapshots;
        let weight = memory.entries.weight();
        let many = self.applied.saturating_sub(kept) >= entries && weight >= size.saturating_mul(4);
        // With a snapshot just taken, the entries kept for late followers must not ask for the next one.
        let heavy = weight >= bytes && self.applied.saturating_sub(kept) > self.options.log.tail;
        if !(many || heavy) || self.broken || self.short || self.encoding.is_some() {
            return;
        }
        let slot = self.applied - u64::from(mutant!(SnapshotOfEarlierSlot));
        let Some(hash) = memory.entries.hash_at(slot) else { return };
        self.encoding = Some((slot, hash));
        self.due = Some(Due { slot, hash, services: self.services.clone() });
    }

    /// The snapshot that is due, once. No other is due until this one is handed to [`Strong::snapshot_ready`].
    pub const fn take_due(&mut self) -> Option<Due> {
        self.due.take()
    }

    /// A snapshot has been encoded: it is saved, unless it has become superfluous.
    pub fn snapshot_ready(&mut self, ready: Ready, out: &mut Out) {
        let Ready { slot, hash, state } = ready;
        if self.encoding == Some((slot, hash)) {
            self.encoding = None;
        }
        let slot = if mutant!(SnapshotOfLaterSlot) { self.applied } else { slot };
        let hash = if mutant!(SnapshotOfLaterSlot) { self.log.memory().entries.hash_at(slot) } else { Some(hash) };
        if let Some(hash) = hash.filter(|_| !self.broken && !self.short) {
            self.log.compact((slot, hash), state, out);
        }
        self.settle(out);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::protocol::log::memory::{Memory, Record as LogRecord};
    use crate::protocol::quorum::Members;
    use crate::protocol::strong::Options;
    use crate::protocol::types::{NodeId, RequestId};
    use crate::protocol::{Effect, Event, Record};
    use crate::service::command::{Action, Command};

    const EVERY: u64 = 5;

    /// The only node of its cluster, which leads.
    pub(in crate::protocol::strong) struct Alone {
        pub(in crate::protocol::strong) strong: Strong,
        /// The slots of the snapshots that were saved.
        saved: Vec<u64>,
        /// What clients were told.
        pub(in crate::protocol::strong) told: Vec<Event>,
        puts: u64,
    }

    impl Alone {
        pub(in crate::protocol::strong) fn new() -> Self {
            let id = NodeId::new(1).unwrap();
            let snapshots = Snapshots { entries: EVERY, bytes: usize::MAX };
            let options = Options { snapshots, ..Options::default() };
            let memory = Memory { proven: true, ..Memory::default() };
            let members = Members::new([id]).unwrap();
            let strong = Strong::new(id, members, options, memory, Pcg64Mcg::seed_from_u64(1));
            let mut alone = Self { strong, saved: Vec::new(), told: Vec::new(), puts: 0 };
            while alone.strong.log().leads().is_none() {
                alone.step(Strong::on_tick);
            }
            alone
        }

        pub(in crate::protocol::strong) fn step(&mut self, step: impl FnOnce(&mut Strong, &mut Out)) {
            let mut out = Out::default();
            step(&mut self.strong, &mut out);
            self.strong.flush(&mut out);
            while !out.is_empty() {
                for effect in out.drain().collect::<Vec<_>>() {
                    match effect {
                        Effect::Send { message, .. } => self.strong.on_message(self.strong.id, message, &mut out),
                        Effect::Save(Record::Log(LogRecord::Compact { snapshot, .. })) => {
                            self.saved.push(snapshot.slot)
                        }
                        Effect::Notify(event @ (Event::Replied { .. } | Event::Readable { .. })) => {
                            self.told.push(event)
                        }
                        _ => {}
                    }
                }
                self.strong.flush(&mut out);
            }
        }

        pub(in crate::protocol::strong) fn put(&mut self, count: u64) {
            for _ in 0..count {
                self.puts += 1;
                let (request, value) = (RequestId(self.puts), self.puts.to_string());
                let action = Action::KvPut { key: "k", value: &value, fence: None };
                let command = Command { request: None, time_ms: 0, author: 1, action };
                self.step(|strong, out| strong.command(request, command.encode(), false, 100, out));
            }
        }
    }

    #[test]
    fn one_at_a_time_is_encoded_while_the_log_goes_on() {
        let mut alone = Alone::new();
        alone.put(EVERY);
        let due = alone.strong.take_due().unwrap();
        alone.put(3 * EVERY);
        assert!(alone.strong.take_due().is_none(), "one is being encoded");
        let ready = due.encode();
        assert!(ready.slot < alone.strong.applied());
        alone.step(|strong, out| strong.snapshot_ready(ready.clone(), out));
        assert_eq!(alone.saved, [ready.slot]);
        let kept = alone.strong.log().memory().snapshot.clone().unwrap();
        let services = Services::restore(&kept.state).unwrap();
        assert_eq!(services.applied().counter, ready.slot, "it is the state of its slot, and not of now");
        // What came meanwhile asks for the next one, at once.
        let next = alone.strong.take_due().unwrap();
        assert_eq!(next.slot, alone.strong.applied());
        // The same one again is of no use, and does not make room for a third.
        alone.step(|strong, out| strong.snapshot_ready(ready, out));
        assert!(alone.strong.take_due().is_none());
        alone.step(|strong, out| strong.snapshot_ready(next.encode(), out));
        assert_eq!(alone.saved, [EVERY, next.slot]);
    }

    #[test]
    fn a_node_that_starts_has_no_snapshot_under_way() {
        let mut alone = Alone::new();
        alone.put(EVERY);
        let lost = alone.strong.take_due().unwrap();
        let memory = alone.strong.log().memory().clone();
        let Alone { strong: before, .. } = alone;
        let rng = Pcg64Mcg::seed_from_u64(2);
        let members = before.log().membership().clone();
        let mut strong = Strong::new(before.id, members, before.options, memory, rng);
        strong.settle(&mut Out::default());
        assert!(strong.applied() >= lost.slot);
        assert_eq!(strong.take_due().map(|due| due.slot), Some(strong.applied()), "it is due again");
    }
}
