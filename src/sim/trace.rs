//! A run as it can be read and drawn: JSON lines, the first of which says what they are.
//!
//! ```text
//! {"synod_trace":1,"seed":42,"nodes":[8000,8001,8002],"steps":310,"faults":"crash=0..1,loss=2..3"}
//! {"step":0,"tick":0,"node":8000,"clock":[1,0,0],"kind":"start","text":"life 1"}
//! {"step":7,"tick":5,"node":8000,"clock":[4,0,0],"kind":"send","message":3,"peer":8001,"name":"Prepare",
//!  "ballot":"1.8000","text":"Prepare(1.8000) in default"}
//! ```
//!
//! The header, version 1: the seed and the options that give this run again (`synod sim --seed 42 --steps 310 --nodes 3
//! --faults …`), and the nodes, in the order of the vector clocks. Then one [`Event`] a line; members that do not apply
//! are left out. What is not in the trace: ticks that had no effect.
//!
//! Vector clocks: an event of a node raises the node's own entry; a message carries the clock of its `send`, and its
//! `receive` takes the higher of each entry. So of two events the first may have caused the second exactly if its clock
//! is nowhere higher. They are only computed while a trace is taken.

mod words;

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::faults::Filter;
use super::{Options, Protocol};
use crate::protocol::paxos::Message as Paxos;
use crate::protocol::types::Ballot;
use crate::protocol::{Effect, Event as Notice, Message, Record};

/// The version that this program writes.
pub const VERSION: u32 = 1;

/// What happened, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A node starts, for the first time or after a crash.
    Start,
    /// A node dies.
    Crash,
    /// A node finds its disk damaged, and stays down.
    Quarantine,
    /// A node is stopped.
    Pause,
    /// A stopped node goes on.
    Resume,
    /// A node's clock stands still, or jumps.
    Clock,
    /// A client's call reaches a node.
    Call,
    /// The lab's restart reaches a node.
    Restart,
    /// A node's transport finds that another's process has ended.
    Disconnect,
    /// A message reaches a node.
    Receive,
    /// A record is to be made durable before anything that follows.
    Save,
    /// A record is to be kept without haste.
    Note,
    /// The disk has synced all that was written.
    Sync,
    /// A message leaves a node.
    Send,
    /// A message is lost, on its way or because its receiver is down.
    Lose,
    /// A message will arrive twice.
    Double,
    /// The protocol tells the outside something.
    Tell,
    /// Links are cut.
    Cut,
    /// Cut links mend.
    Mend,
    /// A new phase of the run begins.
    Phase,
    /// An invariant does not hold: the last line.
    Violation,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// How many protocol steps were taken before; the step that is being taken counts.
    pub step: u64,
    /// The virtual time, in ticks.
    pub tick: u64,
    /// The node it happens at; absent for what concerns the whole world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// The node's vector clock, by the header's order of nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock: Vec<u64>,
    /// What happened.
    pub kind: Kind,
    /// Names a message from its `send` to each of its `receive`s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<u64>,
    /// The other end of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// The message's or the record's name, in the protocol's words: `Prepare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The ballot it is about: `3.8000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ballot: Option<String>,
    /// All of it, for people.
    pub text: String,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub synod_trace: u32,
    /// The protocol whose clients ask; traces of single-decree Paxos need not say it.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// The seed.
    pub seed: u64,
    /// The nodes, in the order of the vector clocks.
    pub nodes: Vec<u32>,
    /// How many steps the faulty phase lasts.
    pub steps: u64,
    /// Which faults are let through.
    pub faults: Filter,
}

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What it is a trace of.
    pub header: Header,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Header {
    /// The options that give this run again, with the seed.
    #[must_use]
    pub fn options(&self) -> Options {
        // A header that was read may name more nodes than there can be; the world takes as many as it can.
        let nodes = u32::try_from(self.nodes.len()).ok();
        Options { protocol: self.protocol, nodes, steps: self.steps, faults: self.faults }
    }
}

impl Trace {
    /// Writes all lines.
    ///
    /// # Errors
    /// `to` cannot be written.
    pub fn write(&self, mut to: impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut to, &self.header)?;
        to.write_all(b"\n")?;
        for event in &self.events {
            serde_json::to_writer(&mut to, event)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    /// Reads what [`Trace::write`] wrote.
    ///
    /// # Errors
    /// A line is not what it should be, or the version is another one; says which line.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().enumerate();
        let wrong = |at: usize, error: &dyn std::fmt::Display| format!("line {} of the trace: {error}", at + 1);
        let (_, first) = lines.next().ok_or("the trace is empty")?;
        let header: Header = serde_json::from_str(first).map_err(|error| wrong(0, &error))?;
        if header.synod_trace != VERSION {
            return Err(format!("the trace has version {}, and this program reads {VERSION}", header.synod_trace));
        }
        let event = |(at, line): (usize, &str)| serde_json::from_str(line).map_err(|error| wrong(at, &error));
        Ok(Self { header, events: lines.map(event).collect::<Result<_, String>>()? })
    }
}

/// Takes a trace while a world runs.
#[derive(Debug)]
pub(super) struct Recorder {
    events: Vec<Event>,
    clocks: Vec<Vec<u64>>,
    /// The clocks of the messages that were sent.
    sent: BTreeMap<u64, Vec<u64>>,
    first_id: u32,
}

/// What an event is about, beside where and when.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) message: Option<u64>,
    pub(super) peer: Option<u32>,
    name: Option<&'static str>,
    ballot: Option<Ballot>,
    pub(super) text: String,
}

impl Recorder {
    pub(super) fn new(nodes: usize, first_id: u32) -> Self {
        Self { events: Vec::new(), clocks: vec![vec![0; nodes]; nodes], sent: BTreeMap::new(), first_id }
    }

    /// Something happens at a node, or in the world.
    pub(super) fn add(&mut self, (step, tick): (u64, u64), at: Option<usize>, kind: Kind, about: About) {
        let clock = at.map(|at| {
            let carried = about.message.filter(|_| kind == Kind::Receive).and_then(|id| self.sent.get(&id));
            let clock = &mut self.clocks[at];
            for (mine, theirs) in clock.iter_mut().zip(carried.into_iter().flatten()) {
                *mine = (*mine).max(*theirs);
            }
            clock[at] += 1;
            clock.clone()
        });
        if let (Kind::Send, Some(id), Some(clock)) = (kind, about.message, &clock) {
            self.sent.insert(id, clock.clone());
        }
        self.events.push(Event {
            step,
            tick,
            // A node's place in the list is small.
            node: at.and_then(|at| u32::try_from(at).ok()).map(|at| self.first_id + at),
            clock: clock.unwrap_or_default(),
            kind,
            message: about.message,
            peer: about.peer,
            name: about.name.map(str::to_owned),
            ballot: about.ballot.map(|ballot| ballot.to_string()),
            text: about.text,
        });
    }

    pub(super) fn into_events(self) -> Vec<Event> {
        self.events
    }
}

impl About {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn new(name: &'static str, ballot: Option<Ballot>, text: String) -> Self {
        Self { name: Some(name), ballot, text, ..Self::default() }
    }

    pub(super) fn message(id: u64, peer: u32, message: &Message) -> Self {
        let about = match message {
            Message::Paxos(message) => Self::paxos(message),
            Message::Bully(message) => words::bully(message),
            Message::Log(message) => words::log(message),
            Message::Strong(message) => words::call(message),
            Message::Eventual(message) => Self::new("Eventual", None, format!("{message:?}")),
            Message::Register(message) => Self::new("Register", None, format!("{message:?}")),
            Message::Elsewhere => Self::new("Elsewhere", None, "Elsewhere".to_owned()),
        };
        Self { message: Some(id), peer: Some(peer), ..about }
    }

    fn paxos(message: &Paxos) -> Self {
        match message {
            Paxos::Prepare { instance, ballot } => {
                Self::new("Prepare", Some(*ballot), format!("Prepare({ballot}) in {instance}"))
            }
            Paxos::Promise { instance, ballot, accepted: None } => {
                Self::new("Promise", Some(*ballot), format!("Promise({ballot}, nothing accepted) in {instance}"))
            }
            Paxos::Promise { instance, ballot, accepted: Some((accepted, value)) } => Self::new(
                "Promise",
                Some(*ballot),
                format!("Promise({ballot}, accepted {value} in {accepted}) in {instance}"),
            ),
            Paxos::Accept { instance, ballot, value } => {
                Self::new("Accept", Some(*ballot), format!("Accept({ballot}, {value}) in {instance}"))
            }
            Paxos::Accepted { instance, ballot } => {
                Self::new("Accepted", Some(*ballot), format!("Accepted({ballot}) in {instance}"))
            }
            Paxos::Reject { instance, ballot, promised } => {
                Self::new("Reject", Some(*ballot), format!("Reject({ballot}, promised {promised}) in {instance}"))
            }
            Paxos::Commit { instance, ballot, value } => {
                Self::new("Commit", Some(*ballot), format!("Commit({ballot}, {value}) in {instance}"))
            }
            Paxos::Committed { instance, ballot } => {
                Self::new("Committed", Some(*ballot), format!("Committed({ballot}) in {instance}"))
            }
            Paxos::Learn(ask) => {
                Self::new("Learn", None, format!("Learn(after {}, {} open)", ask.after, ask.open.len()))
            }
            Paxos::Learned(answer) => {
                let (decided, accepted) = (answer.decided.len(), answer.accepted.len());
                Self::new("Learned", None, format!("Learned({decided} decided, {accepted} accepted)"))
            }
        }
    }

    /// What a step has led to, but for messages: those are told of when they leave.
    pub(super) fn effect(effect: &Effect) -> Option<(Kind, Self)> {
        match effect {
            Effect::Save(record) => Some((Kind::Save, Self::record(record))),
            Effect::Note(record) => Some((Kind::Note, Self::record(record))),
            Effect::Notify(notice) => Some((Kind::Tell, Self::notice(notice))),
            Effect::Send { .. } => None,
        }
    }

    fn record(record: &Record) -> Self {
        match record {
            Record::Promise { instance, ballot } => {
                Self::new("Promise", Some(*ballot), format!("promised {ballot} in {instance}"))
            }
            Record::Accept { instance, ballot, value } => {
                Self::new("Accept", Some(*ballot), format!("accepted {value} in {ballot} in {instance}"))
            }
            Record::Decide { instance, ballot, value } => {
                Self::new("Decide", Some(*ballot), format!("decided {value} in {instance}, learned in {ballot}"))
            }
            Record::Log(record) => words::log_record(record),
            Record::Eventual(record) => Self::new("Board", None, format!("{record:?}")),
            Record::Register(record) => Self::new("Hold", None, format!("{record:?}")),
            Record::Generation { generation, .. } => {
                Self::new("Generation", None, format!("everything is forgotten: generation {generation}"))
            }
        }
    }

    fn notice(notice: &Notice) -> Self {
        match notice {
            Notice::Answered { request, outcome } => {
                Self::new("Answered", None, format!("client {} is answered: {outcome:?}", request.0))
            }
            Notice::Proposing { instance, ballot } => {
                Self::new("Proposing", Some(*ballot), format!("starts ballot {ballot} in {instance}"))
            }
            Notice::Decided { instance, ballot, value } => {
                Self::new("Decided", Some(*ballot), format!("knows that {value} is chosen in {instance}"))
            }
            Notice::Restarted { generation } => {
                Self::new("Restarted", None, format!("lives in generation {generation}"))
            }
            Notice::Replied { request, result } => {
                Self::new("Replied", None, format!("client {} is answered: {result:?}", request.0))
            }
            Notice::Finished { request, result } => {
                Self::new("Finished", None, format!("client {} is answered: {result:?}", request.0))
            }
            Notice::Readable { request, result } => {
                Self::new("Readable", None, format!("client {} may read: {result:?}", request.0))
            }
            Notice::Ignored { from, reason } => Self::new("Ignored", None, format!("ignores {from}: {reason}")),
        }
    }
}
