//! What happened, for those who watch: the latest events of a service, in the log's order.

use std::ops::Bound;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::limits::Limits;
use super::reply::{Position, Refusal};
use super::table::Table;

/// What a journal is told.
pub(super) trait Event: Clone + Serialize {
    /// Bytes that keeping it may cost.
    fn bytes(&self) -> usize;
}

/// The events that are kept. An entry of the log causes at most one event in a service, so its counter is the event's
/// name, and grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(serialize = "E: Event", deserialize = "E: Event + Deserialize<'de>"))]
pub(super) struct Journal<E> {
    events: Table<u64, (Position, E)>,
    bytes: u64,
    /// The counter of the last event that was dropped; 0 if none was. Whoever has seen this one can be told the rest.
    dropped: u64,
}

impl<E> Default for Journal<E> {
    fn default() -> Self {
        Self { events: Table::default(), bytes: 0, dropped: 0 }
    }
}

/// What happened since then: an answer to a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched<E> {
    /// Where and what, in the log's order, without a gap.
    pub events: Vec<(Position, E)>,
    /// What to ask for next as `since`: all up to there is told.
    pub next: u64,
}

impl<E: Event> Journal<E> {
    pub(super) fn push(&mut self, at: Position, event: E, limits: &Limits) {
        self.bytes += event.bytes() as u64;
        self.events.insert(at.counter, (at, event));
        while self.events.len() > limits.events || self.bytes > limits.events_bytes {
            let Some(&oldest) = self.events.first().map(|(counter, _)| counter) else { break };
            if let Some((_, (_, event))) = self.events.remove(&oldest) {
                self.bytes -= event.bytes() as u64;
            }
            self.dropped = oldest;
        }
    }

    /// The counter of the last event that is not kept any more.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The events after the entry `since` that are `wanted`, `limit` of them at most.
    ///
    /// `applied` is how far the log is applied: with nothing left to tell, the watcher need not ask about what is before
    /// it again, so a watcher of a quiet prefix is not left behind by the journal.
    pub(super) fn since(
        &self,
        since: u64,
        limit: usize,
        applied: u64,
        wanted: impl Fn(&E) -> bool,
    ) -> Result<Watched<E>, Refusal> {
        if since < self.dropped {
            return Err(Refusal::Forgotten { since, oldest: self.dropped });
        }
        let mut events = Vec::new();
        let mut bytes = 0;
        for (&counter, (at, event)) in self.events.range((Bound::Excluded(&since), Bound::Unbounded)) {
            if !wanted(event) {
                continue;
            }
            if events.len() == limit || !events.is_empty() && bytes + event.bytes() > Limits::PAGE_BYTES {
                // What stands between the last that is told and this one was looked at and not wanted.
                return Ok(Watched { events, next: counter - 1 });
            }
            bytes += event.bytes();
            events.push((*at, event.clone()));
        }
        Ok(Watched { events, next: since.max(applied) })
    }

    pub(super) fn digest(&self, hash: &mut Xxh64) {
        for part in [self.events.sum(), self.bytes, self.dropped] {
            hash.update(&part.to_le_bytes());
        }
    }
}
