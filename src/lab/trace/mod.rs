//! What happened, as it can be read, drawn and explained: JSON lines, the first of which says what they are. A node's
//! lab keeps such events ([`ring`]), the shell joins those of all nodes ([`merge`]), and the simulation writes the same.
//!
//! ```text
//! {"synod_trace":2,"nodes":[8000,8001,8002],"seed":42,"steps":310,"faults":"crash=0..1,loss=2..3"}
//! {"step":0,"tick":0,"node":8000,"clock":[1,0,0],"kind":"start","text":"life 1"}
//! {"us":70412,"node":8000,"clock":[4,0,0],"kind":"send","message":"8000:4","peer":8001,"name":"Prepare",
//!  "instance":"default","ballot":"1.8000","text":"Prepare(1.8000) in default"}
//! ```
//!
//! The header, version 2: the nodes, in the order of the vector clocks; of a simulation also the seed and the options
//! that give the run again (`synod sim --seed 42 --steps 310 --nodes 3 --faults …`). Then one [`Event`] a line, each
//! behind all that may have caused it; members that do not apply are left out. What is not in a trace: ticks that had no
//! effect, and of real nodes heartbeats and messages that only repeat what was said ([`ring::Ring`]).
//!
//! Vector clocks: an event of a node raises the node's own entry; a message carries the clock of its `send`, and its
//! `receive` takes the higher of each entry. So of two events the first may have caused the second exactly if its clock
//! is nowhere higher. What happens to a message between two nodes (`lose`, `double`, `hold`, `release`) is no event of a
//! node: it has the clock of the send.

pub mod about;
mod kept;
pub mod merge;
pub mod ring;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use crate::protocol::clock::Relation;
use crate::sim::{Filter, Options, Protocol};

/// The version that this program writes.
pub const VERSION: u32 = 2;

/// What happened, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// A gate keeps a message.
    Hold,
    /// A gate lets it go.
    Release,
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
    /// In a simulation: how many protocol steps were taken before; the step that is being taken counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// In a simulation: the virtual time, in ticks of 10 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<u64>,
    /// Of real nodes: the time in microseconds, by the monotonic clock of whoever joined the nodes' traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub us: Option<u64>,
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
    pub message: Option<String>,
    /// The other end of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// The message's, the record's or the news' name, in the protocol's words: `Prepare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the rest is about.
    #[serde(flatten)]
    pub about: Facts,
    /// All of it, for people.
    pub text: String,
}

/// What an event says, in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The instance of a single decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The ballot or epoch it is about: `3.8000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ballot: Option<String>,
    /// The value, as people see it, and at most some hundred bytes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of a Promise: the ballot in which the value, or the log, was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// Of a Reject: the ballot that was promised instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised: Option<String>,
    /// The counter of the last entry of the log that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<u64>,
    /// How many entries it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// The counter up to which the sender knows the log to be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<u64>,
    /// The entry of the eventual board that it is about: `7.8000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The stamp of what was done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    /// What else there is to say, in few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub synod_trace: u32,
    /// The nodes, in the order of the vector clocks.
    pub nodes: Vec<u32>,
    /// Of a simulation: the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Of a simulation: how many steps the faulty phase lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Of a simulation: which faults are let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Filter>,
    /// Of a simulation: the protocol whose clients ask; those of single-decree Paxos need not be named.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
}

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What it is a trace of.
    pub header: Header,
    /// What happened, each event behind what may have caused it.
    pub events: Vec<Event>,
}

impl Header {
    /// The header of a trace of real nodes.
    #[must_use]
    pub fn of(nodes: Vec<u32>) -> Self {
        Self { synod_trace: VERSION, nodes, seed: None, steps: None, faults: None, protocol: Protocol::default() }
    }

    /// The options that give a simulated run again, with the seed; `None` for a run of real nodes.
    #[must_use]
    pub fn options(&self) -> Option<Options> {
        // A header that was read may name more nodes than there can be; the world takes as many as it can.
        let nodes = u32::try_from(self.nodes.len()).ok();
        Some(Options { protocol: self.protocol, nodes, steps: self.steps?, faults: self.faults? })
    }
}

impl Event {
    /// When it happened, in microseconds.
    #[must_use]
    pub fn time_us(&self) -> u64 {
        self.us.or_else(|| Some(self.tick? * 10_000)).unwrap_or(0)
    }

    /// The ballot or epoch as (round, node), to be compared.
    #[must_use]
    pub fn ballot(&self) -> Option<(u64, u32)> {
        self.about.ballot.as_deref().and_then(parse_ballot)
    }

    /// Whether it is of this kind and name.
    #[must_use]
    pub fn is(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name.as_deref() == Some(name)
    }

    /// How this event stands to another of the same trace; `None` if one of them has no clock.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Relation> {
        if self.clock.is_empty() || self.clock.len() != other.clock.len() {
            return None;
        }
        let (mut lower, mut higher) = (false, false);
        for (one, other) in self.clock.iter().zip(&other.clock) {
            match one.cmp(other) {
                Ordering::Less => lower = true,
                Ordering::Greater => higher = true,
                Ordering::Equal => {}
            }
        }
        Some(match (lower, higher) {
            (true, false) => Relation::Before,
            (false, true) => Relation::After,
            (false, false) => Relation::Equal,
            (true, true) => Relation::Concurrent,
        })
    }
}

/// A ballot's text as what it is compared by.
#[must_use]
pub fn parse_ballot(text: &str) -> Option<(u64, u32)> {
    let (round, node) = text.split_once('.')?;
    Some((round.parse().ok()?, node.parse().ok()?))
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

    /// The instances of single decisions that it tells of.
    #[must_use]
    pub fn instances(&self) -> BTreeSet<&str> {
        self.events.iter().filter_map(|event| event.about.instance.as_deref()).collect()
    }

    /// How people name an event of a node: the node, and how many events it had counted, `8000:17`.
    #[must_use]
    pub fn name_of(&self, event: &Event) -> Option<String> {
        let node = event.node?;
        let lane = self.header.nodes.iter().position(|&known| known == node)?;
        Some(format!("{node}:{}", event.clock.get(lane)?))
    }

    /// Reads what [`Trace::write`] wrote.
    ///
    /// # Errors
    /// A line is not what it should be, or the version is another one; says which line.
    pub fn read(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            synod_trace: u32,
        }
        let mut lines = text.lines().enumerate();
        let wrong = |at: usize, error: &dyn std::fmt::Display| format!("line {} of the trace: {error}", at + 1);
        let (_, first) = lines.next().ok_or("the trace is empty")?;
        let version: Version = serde_json::from_str(first).map_err(|error| wrong(0, &error))?;
        if version.synod_trace != VERSION {
            return Err(format!("the trace has version {}, and this program reads {VERSION}", version.synod_trace));
        }
        let header: Header = serde_json::from_str(first).map_err(|error| wrong(0, &error))?;
        let nodes = header.nodes.len();
        let event = |(at, line): (usize, &str)| {
            let event: Event = serde_json::from_str(line).map_err(|error| wrong(at, &error))?;
            // What draws and compares rests on it.
            if !event.clock.is_empty() && event.clock.len() != nodes {
                return Err(wrong(at, &format!("a clock of {} entries for {nodes} nodes", event.clock.len())));
            }
            Ok(event)
        };
        Ok(Self { events: lines.map(event).collect::<Result<_, _>>()?, header })
    }
}
