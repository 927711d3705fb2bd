//! The events that a node keeps, as bytes.
//!
//! Of all that an event can say, most say little: as a structure, one takes some 260 bytes and a clock of its own on the
//! heap; as bytes, some 70. They stand in one run, the oldest first, so that to keep one more takes no memory from the
//! system, and lets go of none. Who reads them has the time to decode them.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Kind;
use super::about::About;
use super::ring::MessageId;
use crate::protocol::clock::VectorClock;
use crate::protocol::eventual::memory::Stamp;
use crate::protocol::types::{Ballot, NodeId, Value};

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Microseconds since the node started.
    pub(super) us: u64,
    pub(super) clock: Cow<'a, VectorClock>,
    pub(super) kind: Kind,
    pub(super) message: Option<MessageId>,
    pub(super) peer: Option<NodeId>,
    pub(super) about: About,
}

/// The last events, and no more than so many.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: VecDeque<u8>,
    /// Where each event ends, counted from the first byte that was ever kept.
    ends: VecDeque<usize>,
    /// How many bytes have gone.
    gone: usize,
    /// Where an event is encoded.
    scratch: Vec<u8>,
}

impl Kept {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps one more; if they are so many already, the oldest goes.
    pub(super) fn push(&mut self, entry: &Entry<'_>, most: usize) {
        if self.len() >= most
            && let Some(end) = self.ends.pop_front()
        {
            self.bytes.drain(..end - self.gone);
            self.gone = end;
        }
        self.scratch.clear();
        // Appending to a vector cannot fail.
        self.scratch = entry.encode(std::mem::take(&mut self.scratch)).unwrap_or_default();
        self.bytes.extend(&self.scratch);
        self.ends.push_back(self.gone + self.bytes.len());
    }

    /// The events from this one on, counted from the oldest that is kept.
    pub(super) fn starting_at(&self, first: usize) -> impl Iterator<Item = Entry<'static>> {
        let start = first.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| end - self.gone);
        let mut bytes = self.bytes.range(start..).copied();
        let mut start = start + self.gone;
        self.ends.iter().skip(first).map(move |&end| {
            let event: Vec<u8> = bytes.by_ref().take(end - start).collect();
            start = end;
            Entry::decode(&event).expect("what was encoded here is decoded here")
        })
    }
}

/// What is encoded, in the encoder's own terms. What is absent takes a byte.
#[derive(Serialize, Deserialize)]
struct Plain<'a, C> {
    us: u64,
    clock: C,
    kind: Kind,
    message: Option<(u32, u64)>,
    peer: Option<u32>,
    #[serde(borrow)]
    about: PlainAbout<'a>,
}

/// See [`About`].
#[derive(Serialize, Deserialize)]
struct PlainAbout<'a> {
    name: Option<&'a str>,
    instance: Option<&'a str>,
    ballot: Option<(u64, u32)>,
    value: Option<&'a str>,
    accepted: Option<(u64, u32)>,
    promised: Option<(u64, u32)>,
    counter: Option<u64>,
    entries: Option<u64>,
    committed: Option<u64>,
    call: Option<u64>,
    entry: Option<(u64, u32)>,
    stamp: Option<(u64, u32)>,
    note: Option<&'a str>,
}

/// The counts of a clock.
struct Counts<'a>(&'a VectorClock);

impl Serialize for Counts<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(node, count)| (node.number(), count)))
    }
}

impl Entry<'_> {
    fn encode(&self, into: Vec<u8>) -> postcard::Result<Vec<u8>> {
        let About { instance, value, name, note, counter, entries, committed, call, .. } = &self.about;
        let ballot = |ballot: &Option<Ballot>| ballot.map(|ballot| (ballot.round, ballot.node.number()));
        let stamp = |stamp: &Option<Stamp>| stamp.map(|stamp| (stamp.clock, stamp.server.number()));
        let about = PlainAbout {
            name: name.as_deref(),
            instance: instance.as_ref().map(|instance| instance.as_str()),
            ballot: ballot(&self.about.ballot),
            value: value.as_ref().map(Value::as_str),
            accepted: ballot(&self.about.accepted),
            promised: ballot(&self.about.promised),
            counter: *counter,
            entries: *entries,
            committed: *committed,
            call: *call,
            entry: stamp(&self.about.entry),
            stamp: stamp(&self.about.stamp),
            note: note.as_deref(),
        };
        let plain = Plain {
            us: self.us,
            clock: Counts(&self.clock),
            kind: self.kind,
            message: self.message.map(|id| (id.from.number(), id.count)),
            peer: self.peer.map(NodeId::number),
            about,
        };
        postcard::to_extend(&plain, into)
    }

    fn decode(bytes: &[u8]) -> Option<Entry<'static>> {
        let Plain::<Vec<(u32, u64)>> { us, clock: counts, kind, message, peer, about } =
            postcard::from_bytes(bytes).ok()?;
        let mut clock = VectorClock::default();
        counts.into_iter().for_each(|(id, count)| clock.raise_to(node(id), count));
        let ballot = |parts: Option<(u64, u32)>| parts.map(|(round, id)| Ballot { round, node: node(id) });
        let stamp = |parts: Option<(u64, u32)>| parts.map(|(clock, id)| Stamp { clock, server: node(id) });
        let words = |text: Option<&str>| text.map(|text| Cow::Owned(text.to_owned()));
        let about = About {
            name: words(about.name),
            instance: about.instance.and_then(|name| name.parse().ok()),
            ballot: ballot(about.ballot),
            value: about.value.map(Value::new),
            accepted: ballot(about.accepted),
            promised: ballot(about.promised),
            counter: about.counter,
            entries: about.entries,
            committed: about.committed,
            call: about.call,
            entry: stamp(about.entry),
            stamp: stamp(about.stamp),
            note: words(about.note),
        };
        let message = message.map(|(from, count)| MessageId { from: node(from), count });
        Some(Entry { us, clock: Cow::Owned(clock), kind, message, peer: peer.map(node), about })
    }
}

/// The node with this number, or the guest.
fn node(number: u32) -> NodeId {
    NodeId::new(number).unwrap_or(NodeId::GUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event that says everything, or next to nothing.
    fn entry(number: u64, full: bool) -> Entry<'static> {
        let (one, two) = (node(8000), NodeId::GUEST);
        let ballot = |round| Some(Ballot { round, node: two });
        let about = About {
            name: Some(Cow::Borrowed("Promise")),
            instance: "é".parse().ok(),
            ballot: ballot(u64::MAX),
            value: Some(Value::new(&"ü".repeat(200))),
            accepted: ballot(2),
            promised: ballot(3),
            counter: Some(0),
            entries: Some(u64::MAX),
            committed: Some(4),
            call: Some(5),
            entry: Some(Stamp { clock: 6, server: one }),
            stamp: Some(Stamp { clock: 7, server: one }),
            note: Some(Cow::Borrowed("")),
        };
        Entry {
            us: number,
            clock: Cow::Owned(format!("7:1,8000:{}", number + 1).parse().unwrap()),
            kind: if full { Kind::Violation } else { Kind::Start },
            message: full.then_some(MessageId { from: one, count: 9 }),
            peer: full.then_some(two),
            about: if full { about } else { About::default() },
        }
    }

    #[test]
    fn events_and_back_and_the_oldest_go() {
        let mut kept = Kept::default();
        let entries: Vec<Entry<'_>> = (0..40).map(|number| entry(number, number % 3 == 0)).collect();
        for (at, entry) in entries.iter().enumerate() {
            kept.push(entry, 7);
            let oldest = (at + 1).saturating_sub(7);
            assert_eq!(kept.len(), at + 1 - oldest);
            for first in 0..=kept.len() {
                assert_eq!(kept.starting_at(first).collect::<Vec<_>>(), entries[oldest + first..=at]);
            }
        }
        kept.clear();
        assert_eq!(kept.starting_at(0).count(), 0);
        kept.push(&entries[0], 7);
        assert_eq!(kept.starting_at(0).collect::<Vec<_>>(), entries[..1]);
    }

    #[test]
    fn an_event_takes_few_bytes() {
        let mut kept = Kept::default();
        let about = About {
            name: Some(Cow::Borrowed("log.accept")),
            ballot: Some(Ballot { round: 3, node: node(8000) }),
            counter: Some(1 << 30),
            entries: Some(100),
            committed: Some(1 << 30),
            ..About::default()
        };
        let clock = format!("8000:{0},8001:{0},8002:{0}", 1 << 30).parse().unwrap();
        let message = Some(MessageId { from: node(8000), count: 1 << 30 });
        let clock = Cow::Owned(clock);
        kept.push(&Entry { us: 1 << 40, clock, kind: Kind::Send, message, peer: Some(node(8001)), about }, 9);
        assert!(kept.bytes.len() < 90, "{}", kept.bytes.len());
    }
}
