//! A node's last events.
//!
//! The driver writes them, and so must be able to do that in next to no time: an event is kept as a few bytes
//! (`super::kept`), and becomes text only when somebody reads it. What would drown the rest is left out: heartbeats,
//! messages of the log that only repeat what was said last between the same two nodes, what keeps overlays in shape, and
//! the eventual board's questions whether there is news, when there is none. An Accept is one event, however many entries
//! it carries.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::about::About;
use super::kept::{Entry, Kept};
use super::{Facts, Kind};
use crate::protocol::clock::Stamp;
use crate::protocol::types::NodeId;
use crate::protocol::{Message, bully, eventual, log};

/// So many events are kept; then the oldest go.
pub const CAPACITY: usize = 1 << 16;

/// The last events of one node.
#[derive(Debug)]
pub struct Ring {
    on: AtomicBool,
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Kept,
    /// The number of the next event.
    next: u64,
    /// What was said last between this node and another, by direction.
    said: BTreeMap<(bool, NodeId), Said>,
}

/// What messages of the log repeat while nothing happens.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Said {
    committed: Option<u64>,
    length: Option<u64>,
}

/// Names a message: its sender, and how many events that one had counted at the send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The sender.
    pub from: NodeId,
    /// Its own entry in the message's vector clock.
    pub count: u64,
}

impl MessageId {
    /// The name of the message that a node sent with this stamp.
    #[must_use]
    pub fn of(from: NodeId, stamp: &Stamp) -> Self {
        Self { from, count: stamp.vector.of(from) }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.from, self.count)
    }
}

/// An event as it is read: see [`super::Event`], but for the clock, which is `8000:12,8001:4`, and the time, which counts
/// from the node's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Counts the node's events.
    pub seq: u64,
    /// Microseconds since the node started.
    pub us: u64,
    /// The vector clock.
    pub clock: String,
    /// What happened.
    pub kind: Kind,
    /// The message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The other end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// Its name, or the record's, or the news'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is about.
    #[serde(flatten)]
    pub about: Facts,
    /// All of it, for people.
    pub text: String,
}

/// Some events, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events.
    pub rows: Vec<Row>,
    /// What to ask for next.
    pub next: u64,
    /// How many of those asked for are no longer kept.
    pub lost: u64,
    /// Microseconds since the node started, now.
    pub now_us: u64,
}

impl Ring {
    /// A ring without events, that takes some or is switched off.
    #[must_use]
    pub fn new(on: bool) -> Self {
        Self { on: AtomicBool::new(on), started: Instant::now(), inner: Mutex::default() }
    }

    /// Whether it takes events.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Switches it on or off; what it holds stays.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// Forgets all events; their numbers go on.
    pub fn clear(&self) {
        let mut inner = self.inner.lock();
        inner.entries.clear();
        inner.said.clear();
    }

    /// An event of this node alone.
    pub fn record(&self, kind: Kind, stamp: &Stamp, about: impl FnOnce() -> About) {
        if self.is_on() {
            let entry = Entry {
                us: self.now_us(),
                clock: Cow::Borrowed(&*stamp.vector),
                kind,
                message: None,
                peer: None,
                about: about(),
            };
            self.inner.lock().push(&entry);
        }
    }

    /// Something happens to a message between this node and a peer. `stamp` is the event's own; of what befalls a message
    /// on its way, the send's.
    pub fn message(&self, kind: Kind, stamp: &Stamp, id: Option<MessageId>, peer: NodeId, message: &Message) {
        if !self.is_on() || is_upkeep(message) {
            return;
        }
        let mut inner = self.inner.lock();
        let repeats = match kind {
            Kind::Send | Kind::Receive => inner.repeats(kind == Kind::Send, peer, message),
            _ => is_idle(message),
        };
        if !repeats {
            inner.push(&Entry {
                us: self.now_us(),
                clock: Cow::Borrowed(&*stamp.vector),
                kind,
                message: id,
                peer: Some(peer),
                about: About::message(message),
            });
        }
    }

    /// Events from this number on, at most so many.
    #[must_use]
    pub fn since(&self, since: u64, limit: usize) -> Page {
        let inner = self.inner.lock();
        let first = inner.next - inner.entries.len() as u64;
        // A number of an earlier life of the node, or of the future: there is nothing to go on from.
        let since = if since > inner.next { 0 } else { since };
        let from = since.max(first);
        // The entries are at most as many as there are numbers.
        let skipped = usize::try_from(from - first).unwrap_or(usize::MAX);
        let entries = inner.entries.starting_at(skipped).take(limit);
        let rows: Vec<Row> = (from..).zip(entries).map(|(seq, entry)| Row::of(seq, entry)).collect();
        Page { next: from + rows.len() as u64, lost: from - since, now_us: self.now_us(), rows }
    }

    /// The number that the next event will have.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.inner.lock().next
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Inner {
    fn push(&mut self, entry: &Entry<'_>) {
        self.entries.push(entry, CAPACITY);
        self.next += 1;
    }

    /// Whether a message only says again what was said last in its direction between the same nodes.
    fn repeats(&mut self, sent: bool, peer: NodeId, message: &Message) -> bool {
        let Message::Log(message) = message else { return false };
        let last = self.said.entry((sent, peer)).or_default();
        let now = match message {
            log::Message::Accept { began: None, entries, committed, .. } if entries.is_empty() => {
                Said { committed: Some(*committed), ..*last }
            }
            log::Message::Accepted { length, .. } => Said { length: *length, ..*last },
            log::Message::Accept { committed, .. } => {
                last.committed = Some(*committed);
                return false;
            }
            _ => return false,
        };
        std::mem::replace(last, now) == now
    }
}

impl Row {
    fn of(seq: u64, entry: Entry<'_>) -> Self {
        let Entry { us, clock, kind, message, peer, about } = entry;
        let facts = about.facts();
        Self {
            seq,
            us,
            clock: clock.to_string(),
            kind,
            message: message.map(|id| id.to_string()),
            peer: peer.map(NodeId::number),
            text: facts.words(about.name.as_deref()),
            name: about.name.map(Cow::into_owned),
            about: facts,
        }
    }
}

/// Whether a message is one of those that nodes say to each other all the time, also when nobody asks them anything.
const fn is_upkeep(message: &Message) -> bool {
    match message {
        Message::Bully(message) => matches!(message, bully::Message::Heartbeat(_)),
        Message::Eventual(eventual::Message::Ask(ask)) => !ask.whole && ask.after.is_none(),
        Message::Eventual(eventual::Message::Have(_)) => true,
        Message::Eventual(eventual::Message::Tell(tell)) => !tell.whole && tell.operations.is_empty(),
        Message::Overlay(message) => message.is_upkeep(),
        _ => false,
    }
}

/// Whether a message is the leader's word that nothing is new.
const fn is_idle(message: &Message) -> bool {
    match message {
        Message::Log(log::Message::Accept { began: None, entries, .. }) => entries.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::clock::Clocks;
    use crate::protocol::paxos;
    use crate::protocol::types::{Ballot, Instance, Value};

    fn node(number: u32) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn epoch() -> Ballot {
        Ballot { round: 1, node: node(1) }
    }

    fn accepted(length: u64) -> Message {
        log::Message::Accepted { epoch: epoch(), length: Some(length) }.into()
    }

    fn idle(committed: u64) -> Message {
        log::Message::Accept { epoch: epoch(), began: None, after: 4, hash: 0, entries: Vec::new(), committed }.into()
    }

    #[test]
    fn the_oldest_go_and_readers_go_on_where_they_were() {
        let ring = Ring::new(true);
        let mut clocks = Clocks::new(node(1));
        for _ in 0..CAPACITY + 10 {
            ring.record(Kind::Save, &clocks.tick(), || About::text("x"));
        }
        let page = ring.since(0, 3);
        assert_eq!((page.lost, page.next, page.rows[0].seq), (10, 13, 10));
        assert_eq!(page.rows[0].clock, "1:11");
        let page = ring.since(page.next, 1);
        assert_eq!((page.lost, page.next, page.rows[0].seq), (0, 14, 13));
        let end = ring.next();
        assert_eq!((ring.since(end, 9).rows.len(), ring.since(end, 9).next), (0, end));
        assert_eq!(ring.since(end + 1, 1).rows[0].seq, 10, "a number of another life");
        ring.clear();
        ring.record(Kind::Save, &clocks.tick(), || About::text("y"));
        assert_eq!(ring.since(0, 9).rows[0].seq, end);
        ring.switch(false);
        ring.record(Kind::Save, &clocks.tick(), || panic!("nobody asks"));
        assert_eq!(ring.next(), end + 1);
    }

    #[test]
    fn repetition_is_left_out() {
        let ring = Ring::new(true);
        let stamp = Clocks::new(node(1)).tick();
        let names = |ring: &Ring| ring.since(0, 99).rows.into_iter().map(|row| row.text).collect::<Vec<_>>();
        for (kind, peer, message) in [
            (Kind::Send, 2, idle(3)),
            (Kind::Send, 2, idle(3)),
            (Kind::Send, 3, idle(3)),
            (Kind::Receive, 2, accepted(4)),
            (Kind::Receive, 2, accepted(4)),
            (Kind::Send, 2, idle(4)),
            (Kind::Receive, 2, accepted(5)),
        ] {
            ring.message(kind, &stamp, None, node(peer), &message);
        }
        assert_eq!(
            names(&ring),
            [
                "log.accept(1.1, up to 4, chosen up to 3)",
                "log.accept(1.1, up to 4, chosen up to 3)",
                "log.accepted(1.1, up to 4)",
                "log.accept(1.1, up to 4, chosen up to 4)",
                "log.accepted(1.1, up to 5)",
            ]
        );
    }

    #[test]
    fn a_row_says_what_was_said() {
        let ring = Ring::new(true);
        let (me, stamp) = (node(1), Clocks::new(node(1)).tick());
        let value = Value::new(&format!("<string>{}</string>", "é".repeat(1 << 19)));
        let accept = paxos::Message::Accept { instance: Instance::default(), ballot: epoch(), value };
        ring.message(Kind::Send, &stamp, Some(MessageId::of(me, &stamp)), node(2), &accept.into());
        let row = ring.since(0, 1).rows.remove(0);
        assert_eq!((row.message.as_deref(), row.peer, row.name.as_deref()), (Some("1:1"), Some(2), Some("Accept")));
        assert!(row.text.starts_with("Accept(1.1, '<string>éé") && row.text.len() < 300, "{}", row.text);
    }
}
