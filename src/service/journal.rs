//! What happened, for those who watch: the latest events of a service, in the log's order.

use std::fmt;
use std::marker::PhantomData;

use imbl::Vector;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::limits::Limits;
use super::reply::{Position, Refusal};
use super::table::digest;

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
    events: Events<E>,
    bytes: u64,
    /// The counter of the last event that was dropped; 0 if none was. Whoever has seen this one can be told the rest.
    dropped: u64,
}

impl<E> Default for Journal<E> {
    fn default() -> Self {
        Self { events: Events::default(), bytes: 0, dropped: 0 }
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
        self.events.push((at, event));
        while self.events.len() > limits.events || self.bytes > limits.events_bytes {
            let Some((at, event)) = self.events.pop() else { break };
            self.bytes -= event.bytes() as u64;
            self.dropped = at.counter;
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
        for (at, event) in self.events.after(since) {
            if !wanted(event) {
                continue;
            }
            if events.len() == limit || !events.is_empty() && bytes + event.bytes() > Limits::PAGE_BYTES {
                // What stands between the last that is told and this one was looked at and not wanted.
                return Ok(Watched { events, next: at.counter - 1 });
            }
            bytes += event.bytes();
            events.push((*at, event.clone()));
        }
        Ok(Watched { events, next: since.max(applied) })
    }

    pub(super) fn digest(&self, hash: &mut Xxh64) {
        for part in [self.events.sum, self.bytes, self.dropped] {
            hash.update(&part.to_le_bytes());
        }
    }
}

/// The events themselves. As in a table, copies share what they hold, and the sum of the rows' hashes is known; but what
/// only grows at one end and shrinks at the other needs no tree to be searched.
#[derive(Debug, Clone)]
struct Events<E> {
    rows: Vector<Row<E>>,
    sum: u64,
}

#[derive(Debug, Clone)]
struct Row<E> {
    event: (Position, E),
    digest: u64,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self { rows: Vector::new(), sum: 0 }
    }
}

impl<E: Clone + Serialize> Events<E> {
    fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    fn push(&mut self, event: (Position, E)) {
        let digest = digest(&(event.0.counter, &event));
        self.sum = self.sum.wrapping_add(digest);
        self.rows.push_back(Row { event, digest });
    }

    /// Takes the oldest.
    fn pop(&mut self) -> Option<(Position, E)> {
        let Row { event, digest } = self.rows.pop_front()?;
        self.sum = self.sum.wrapping_sub(digest);
        Some(event)
    }

    /// Those after an entry of the log, in order.
    fn after(&self, counter: u64) -> impl Iterator<Item = &(Position, E)> {
        let found = self.rows.binary_search_by_key(&counter, |row| row.event.0.counter);
        let first = found.map_or_else(|place| place, |place| place + 1);
        self.rows.focus().narrow(first..).into_iter().map(|row| &row.event)
    }
}

/// Each behind its counter, which is its name.
impl<E: Clone + Serialize> Serialize for Events<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.rows.len()))?;
        for Row { event, .. } in &self.rows {
            rows.serialize_element(&(event.0.counter, event))?;
        }
        rows.end()
    }
}

impl<'de, E: Clone + Serialize + Deserialize<'de>> Deserialize<'de> for Events<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reading(PhantomData))
    }
}

/// Reads events one by one: no length that the bytes claim is believed, and no other order than theirs.
struct Reading<E>(PhantomData<E>);

impl<'de, E: Clone + Serialize + Deserialize<'de>> Visitor<'de> for Reading<E> {
    type Value = Events<E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the events of a journal")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Events<E>, A::Error> {
        let mut events = Events::default();
        let mut last = 0;
        while let Some((counter, event)) = rows.next_element::<(u64, (Position, E))>()? {
            if counter <= last || counter != event.0.counter {
                return Err(A::Error::custom("an event out of its order"));
            }
            last = counter;
            events.push(event);
        }
        Ok(events)
    }
}
