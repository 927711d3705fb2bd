//! What an event is about: taken from messages, records and news without making text of them, because that happens in a
//! node's driver; and put into words later, when somebody reads it.

mod weak;

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Facts;
use crate::protocol::bully::Message as Bully;
use crate::protocol::eventual::memory::Stamp;
use crate::protocol::log::memory::Record as LogRecord;
use crate::protocol::log::{Message as Log, Piece};
use crate::protocol::overlay;
use crate::protocol::paxos::{Message as Paxos, Outcome};
use crate::protocol::strong::Message as Call;
use crate::protocol::types::{Ballot, Instance, Value};
use crate::protocol::{Event as News, Message, Record};
use crate::rpc::{text, wire_strong};

/// So much of a value is kept: a trace must not hold on to megabytes.
const MAX_VALUE_BYTES: usize = 200;

/// What an event is about; what does not apply is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// See [`super::Event::name`].
    pub name: Option<Cow<'static, str>>,
    /// See [`Facts`], also below.
    pub instance: Option<Instance>,
    /// The ballot or epoch.
    pub ballot: Option<Ballot>,
    /// The value, in its form on the wire.
    pub value: Option<Value>,
    /// Where the value, or the log, was accepted.
    pub accepted: Option<Ballot>,
    /// What was promised instead.
    pub promised: Option<Ballot>,
    /// The last entry.
    pub counter: Option<u64>,
    /// How many entries.
    pub entries: Option<u64>,
    /// Up to where the log is chosen.
    pub committed: Option<u64>,
    /// The call that is passed on or answered.
    pub call: Option<u64>,
    /// See [`Facts::entry`], and below.
    pub entry: Option<Stamp>,
    /// The stamp of the operation.
    pub stamp: Option<Stamp>,
    /// What else there is to say.
    pub note: Option<Cow<'static, str>>,
}

impl About {
    /// Only words.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self { note: Some(text.into()), ..Self::default() }
    }

    /// A name, and words.
    #[must_use]
    pub fn named(name: &'static str, note: impl Into<Cow<'static, str>>) -> Self {
        Self { name: Some(Cow::Borrowed(name)), note: Some(note.into()), ..Self::default() }
    }

    fn new(name: &'static str, ballot: Option<Ballot>) -> Self {
        Self { name: Some(Cow::Borrowed(name)), ballot, ..Self::default() }
    }

    fn single(name: &'static str, instance: &Instance, ballot: Ballot) -> Self {
        Self { instance: Some(instance.clone()), ..Self::new(name, Some(ballot)) }
    }

    fn with_value(self, value: &Value) -> Self {
        Self { value: Some(shortened(value)), ..self }
    }

    fn with_note(self, note: impl Into<Cow<'static, str>>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// A message.
    #[must_use]
    pub fn message(message: &Message) -> Self {
        match message {
            Message::Paxos(message) => Self::paxos(message),
            Message::Log(log) => Self::log(wire_strong::name(message).unwrap_or("log"), log),
            Message::Bully(bully) => Self::bully(wire_strong::name(message).unwrap_or("bully"), bully),
            Message::Strong(call) => Self::call(wire_strong::name(message).unwrap_or("call"), call),
            Message::Eventual(board) => weak::board(wire_strong::name(message).unwrap_or("eventual"), board),
            Message::Register(register) => weak::register(wire_strong::name(message).unwrap_or("register"), register),
            Message::Overlay(message) => Self::overlay(message),
            Message::Elsewhere => Self::named("Elsewhere", "the sender lives in a later generation"),
        }
    }

    fn paxos(message: &Paxos) -> Self {
        match message {
            Paxos::Prepare { instance, ballot } => Self::single("Prepare", instance, *ballot),
            Paxos::Promise { instance, ballot, accepted: None } => {
                Self::single("Promise", instance, *ballot).with_note("nothing accepted")
            }
            Paxos::Promise { instance, ballot, accepted: Some((accepted, value)) } => {
                Self { accepted: Some(*accepted), ..Self::single("Promise", instance, *ballot).with_value(value) }
            }
            Paxos::Accept { instance, ballot, value } => Self::single("Accept", instance, *ballot).with_value(value),
            Paxos::Accepted { instance, ballot } => Self::single("Accepted", instance, *ballot),
            Paxos::Reject { instance, ballot, promised } => {
                Self { promised: Some(*promised), ..Self::single("Reject", instance, *ballot) }
            }
            Paxos::Commit { instance, ballot, value } => Self::single("Commit", instance, *ballot).with_value(value),
            Paxos::Committed { instance, ballot } => Self::single("Committed", instance, *ballot),
            Paxos::Learn(ask) => Self::named("Learn", format!("after {}, {} open", ask.after, ask.open.len())),
            Paxos::Learned(answer) => {
                let (decided, accepted) = (answer.decided.len(), answer.accepted.len());
                Self::named("Learned", format!("{decided} decided, {accepted} accepted"))
            }
        }
    }

    fn log(name: &'static str, message: &Log) -> Self {
        match message {
            Log::Prepare { epoch } | Log::Confirm { epoch, .. } | Log::Confirmed { epoch, .. } => {
                Self::new(name, Some(*epoch))
            }
            Log::Promise { epoch, holds, votes, .. } => Self {
                accepted: holds.accepted,
                counter: Some(holds.length),
                committed: Some(holds.committed),
                note: (!votes).then_some(Cow::Borrowed("does not vote")),
                ..Self::new(name, Some(*epoch))
            },
            Log::Reject { epoch, promised } => Self { promised: Some(*promised), ..Self::new(name, Some(*epoch)) },
            Log::Accept { epoch, began, after, entries, committed, .. } => Self {
                counter: Some(after + entries.len() as u64),
                entries: Some(entries.len() as u64),
                committed: Some(*committed),
                note: began.is_some().then_some(Cow::Borrowed("begins the epoch")),
                ..Self::new(name, Some(*epoch))
            },
            Log::Accepted { epoch, length } => Self { counter: *length, ..Self::new(name, Some(*epoch)) },
            Log::Fetch { epoch, after, .. } => Self { counter: Some(*after), ..Self::new(name, Some(*epoch)) },
            Log::Fetched { epoch, piece: Piece::Entries { after, entries } } => Self {
                counter: Some(after + entries.len() as u64),
                entries: Some(entries.len() as u64),
                ..Self::new(name, Some(*epoch))
            },
            Log::Fetched { epoch, piece: Piece::Snapshot { slot, .. } } => {
                Self { counter: Some(*slot), ..Self::new(name, Some(*epoch)) }.with_note("a part of a snapshot")
            }
            Log::Blank => Self::named(name, "I have no memory"),
            Log::Known { blank } => Self::named(name, if *blank { "nor have I" } else { "but I have" }),
        }
    }

    fn bully(name: &'static str, message: &Bully) -> Self {
        match message {
            Bully::Election(election) => Self {
                counter: Some(election.rank.counter),
                accepted: election.rank.epoch,
                note: election.forced.then_some(Cow::Borrowed("by hand")),
                ..Self::new(name, None)
            },
            Bully::Answer(answer) => {
                let note = match (answer.coordinator, answer.ok) {
                    (Some(_), _) => Cow::Borrowed("there is a coordinator"),
                    (None, Some(node)) => format!("ok, {node} takes over").into(),
                    (None, None) => Cow::Borrowed("stands back"),
                };
                Self::new(name, answer.coordinator).with_note(note)
            }
            Bully::Coordinator(announcement) | Bully::Resign(announcement) => Self::new(name, Some(announcement.epoch)),
            Bully::Heartbeat(beat) => {
                let hears: Vec<String> = beat.hears.iter().map(ToString::to_string).collect();
                Self::new(name, beat.coordinator).with_note(format!("hears {}", hears.join(", ")))
            }
        }
    }

    fn call(name: &'static str, message: &Call) -> Self {
        match message {
            Call::Forward { id, .. } | Call::Answer { id, .. } | Call::AskRead { id } => {
                Self { call: Some(*id), ..Self::new(name, None) }
            }
            Call::Change { id, change } => Self::named(name, format!("call {id}: {change:?}")),
            Call::Unchanged { id, why } => Self::named(name, format!("call {id}: {why:?}")),
            Call::ReadAt { id, slot } => Self { counter: *slot, call: Some(*id), ..Self::new(name, None) },
        }
    }

    fn overlay(message: &overlay::Message) -> Self {
        let about = Self::new(message.name(), None);
        let key = message.key().map(|key| about_key(key, None));
        Self { note: key.map(Cow::Owned), ..about }
    }

    fn held(record: &overlay::Record) -> Self {
        match record {
            overlay::Record::Hold { shelf, item } => {
                let note = about_key(&item.key, Some(item.version.stamp));
                let about = Self::named("overlay.hold", format!("{} of {}", note, shelf.name()));
                Self { value: item.version.value.as_ref().map(shortened), ..about }
            }
            overlay::Record::Release { shelf, key } => {
                Self::named("overlay.release", format!("{} of {}", about_key(key, None), shelf.name()))
            }
            overlay::Record::Membership { joined: true } => Self::named("overlay.join", "wants to be part of the ring"),
            overlay::Record::Reserve { shelf, upto } => {
                Self::named("overlay.reserve", format!("numbers up to {upto} of {}", shelf.name()))
            }
            overlay::Record::Membership { joined: false } => Self::named("overlay.leave", "leaves the ring"),
        }
    }

    /// What a client proposes.
    #[must_use]
    pub fn wish(instance: &Instance, value: &Value) -> Self {
        Self { instance: Some(instance.clone()), ..Self::new("propose", None).with_value(value) }
    }

    /// A record to be kept.
    #[must_use]
    pub fn record(record: &Record) -> Self {
        match record {
            Record::Promise { instance, ballot } => Self::single("Promise", instance, *ballot),
            Record::Accept { instance, ballot, value } => Self::single("Accept", instance, *ballot).with_value(value),
            Record::Decide { instance, ballot, value } => Self::single("Decide", instance, *ballot).with_value(value),
            Record::Generation { generation, .. } => {
                Self::named("Generation", format!("everything is forgotten: generation {generation}"))
            }
            Record::Eventual(record) => weak::board_record(record),
            Record::Register(record) => weak::register_record(record),
            Record::Log(LogRecord::Promise { epoch }) => Self::new("log.promise", Some(*epoch)),
            Record::Log(LogRecord::Append { after, entries }) => {
                Self::entries("log.append", None, *after, entries.len())
            }
            Record::Log(LogRecord::Sync { epoch, after, entries }) => {
                Self::entries("log.sync", Some(*epoch), *after, entries.len())
            }
            Record::Log(LogRecord::Install { epoch, snapshot, entries }) => {
                Self::entries("log.install", Some(*epoch), snapshot.slot, entries.len())
            }
            Record::Log(LogRecord::Compact { through, .. }) => {
                Self { counter: Some(*through), ..Self::new("log.compact", None) }
            }
            Record::Log(LogRecord::Commit { slot }) => Self { committed: Some(*slot), ..Self::new("log.commit", None) },
            Record::Log(LogRecord::Prove) => Self::named("log.prove", "may vote"),
            Record::Overlay(record) => Self::held(record),
        }
    }

    fn entries(name: &'static str, epoch: Option<Ballot>, after: u64, entries: usize) -> Self {
        let entries = entries as u64;
        Self { counter: Some(after + entries), entries: Some(entries), ..Self::new(name, epoch) }
    }

    /// What a protocol tells the outside.
    #[must_use]
    pub fn news(news: &News) -> Self {
        match news {
            News::Answered { request, outcome } => Self::answered(request.0, outcome),
            News::Proposing { instance, ballot } => Self::single("Proposing", instance, *ballot),
            News::Decided { instance, ballot, value } => Self::single("Decided", instance, *ballot).with_value(value),
            News::Correspondents { addresses } => {
                let nodes: Vec<String> = addresses.keys().map(ToString::to_string).collect();
                Self::named("Correspondents", format!("speaks to {} from now on", nodes.join(", ")))
            }
            News::Restarted { generation } => Self::named("Restarted", format!("lives in generation {generation}")),
            News::Replied { request, result, .. } => {
                let what = if result.is_ok() { "applied" } else { "not known to be applied" };
                Self::named("Replied", format!("client {}: {what}", request.0))
            }
            News::Finished { request, result } => {
                Self::named("Finished", format!("client {}: {}", request.0, weak::finished(result)))
            }
            News::Readable { request, result } => {
                let what = if result.is_ok() { "may read" } else { "may not read" };
                Self::named("Readable", format!("client {}: {what}", request.0))
            }
            News::Found { request, result } => {
                let what = match result {
                    Ok(answer) => {
                        let hops: Vec<String> = answer.hops.iter().map(ToString::to_string).collect();
                        format!("client {}: by {}", request.0, hops.join(", "))
                    }
                    Err(failure) => format!("client {}: {failure}", request.0),
                };
                Self::named("Found", what)
            }
            News::Ignored { from, reason } => Self::named("Ignored", format!("of {from}: {reason}")),
        }
    }

    fn answered(request: u64, outcome: &Outcome) -> Self {
        let (ballot, value, word) = match outcome {
            Outcome::Chosen { ballot, value, yours, .. } => {
                (Some(*ballot), Some(value), if *yours { "yours" } else { "another's" })
            }
            Outcome::Preempted { ballot, .. } => (Some(*ballot), None, "preempted"),
            Outcome::Unavailable { .. } => (None, None, "unavailable"),
            Outcome::Unknown { ballot, .. } => (Some(*ballot), None, "unknown"),
            Outcome::Restarted => (None, None, "restarted"),
            Outcome::Full => (None, None, "full"),
            Outcome::NoRoom => (None, None, "the disk is full"),
        };
        let about = Self::new("Answered", ballot).with_note(format!("client {request}: {word}"));
        Self { value: value.map(shortened), ..about }
    }

    /// Its parts as they are read.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let shown = |ballot: Option<Ballot>| ballot.map(|ballot| ballot.to_string());
        Facts {
            instance: self.instance.as_ref().map(ToString::to_string),
            ballot: shown(self.ballot),
            value: self.value.as_ref().map(text::shown),
            accepted: shown(self.accepted),
            promised: shown(self.promised),
            counter: self.counter,
            entries: self.entries,
            committed: self.committed,
            entry: self.entry.map(|entry| entry.to_string()),
            stamp: self.stamp.map(|stamp| stamp.to_string()),
            note: self.note.as_ref().map(ToString::to_string).or_else(|| self.call.map(|id| format!("call {id}"))),
        }
    }
}

impl Facts {
    /// All of it in words, behind the name: `Promise(3.8001, accepted 'red' in 1.8000) in default`.
    #[must_use]
    pub fn words(&self, name: Option<&str>) -> String {
        let mut parts: Vec<String> = self.ballot.iter().cloned().collect();
        match (&self.accepted, &self.value) {
            (Some(ballot), Some(value)) => parts.push(format!("accepted '{value}' in {ballot}")),
            (Some(ballot), None) => parts.push(format!("accepted {ballot}")),
            (None, Some(value)) => parts.push(format!("'{value}'")),
            (None, None) => {}
        }
        parts.extend(self.promised.as_ref().map(|promised| format!("promised {promised}")));
        match (self.counter, self.entries) {
            (Some(last), Some(entries @ 2..)) => parts.push(format!("entries {} to {last}", last - entries + 1)),
            (Some(last), Some(1)) => parts.push(format!("entry {last}")),
            (Some(last), _) => parts.push(format!("up to {last}")),
            (None, _) => {}
        }
        parts.extend(self.committed.map(|committed| format!("chosen up to {committed}")));
        parts.extend(self.note.clone());
        let Some(name) = name else { return parts.join(", ") };
        let mut words = name.to_owned();
        if !parts.is_empty() {
            // Writing to a String cannot fail, here and below.
            _ = write!(words, "({})", parts.join(", "));
        }
        if let Some(instance) = &self.instance {
            _ = write!(words, " in {instance}");
        }
        words
    }
}

fn about_key(key: &overlay::Key, stamp: Option<overlay::Stamp>) -> String {
    let shown: String = key.as_str().chars().take(40).flat_map(char::escape_debug).collect();
    match stamp {
        Some(stamp) => format!("'{shown}' {}.{}", stamp.counter, stamp.node),
        None => format!("'{shown}'"),
    }
}

fn shortened(value: &Value) -> Value {
    let text = value.as_str();
    if text.len() <= MAX_VALUE_BYTES {
        return value.clone();
    }
    let end = (0..=MAX_VALUE_BYTES).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Value::new(&format!("{}…", &text[..end]))
}
