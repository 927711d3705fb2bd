//! What the methods return: the structs of the interface. Servers write them, the shell and the tests read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::introspect::Capability;
use super::wire::Answer;
use crate::node::status::StrongStatus;
use crate::protocol::clock::Stamp;
use crate::protocol::types::{Ballot, Instance, NodeId, Value};
use crate::xmlrpc;

/// The result of any method.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Returned {
    Acceptor(Answer),
    Strong(Box<super::strong::answers::Answer>),
    Weak(Box<super::weak::answers::Answer>),
    Overlay(Box<super::overlay::Answer>),
    Proposed(Proposed),
    Decided(Decided),
    Restarted(Restarted),
    Status(Box<Status>),
    Version(Version),
    Faults(Vec<FaultRow>),
    Lab(super::lab::Answer),
    Gates(Vec<GateRow>),
    Held {
        held: u64,
    },
    Released {
        released: u64,
    },
    Capabilities(BTreeMap<&'static str, Capability>),
    /// What the validator1 suite returns.
    Value(xmlrpc::Value),
    Names(Vec<&'static str>),
    Signatures(&'static [&'static [&'static str]]),
    Text(String),
}

/// The result of `propose`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// Where it was decided.
    pub instance: Instance,
    /// The chosen value.
    pub value: Value,
    /// Whether that is the caller's.
    pub outcome: Whose,
    /// The ballot in which the node learned it.
    pub ballot: Ballot,
    /// How many ballots the node tried for the call.
    pub attempts: u32,
    /// A sentence for people.
    pub message: String,
}

/// Whose value was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// The value the caller asked for.
    #[serde(rename = "yours")]
    Yours,
    /// Another one.
    #[serde(rename = "another's")]
    Anothers,
}

/// The result of `decided`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Whether the node knows of a decision.
    pub decided: bool,
    /// The chosen value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The ballot in which the node learned it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ballot: Option<Ballot>,
}

/// The result of `restart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    /// The node's new generation.
    pub generation: u64,
    /// A sentence for people.
    pub message: String,
}

/// The result of `synod.version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The program's version.
    pub synod: String,
    /// The version of the messages between nodes.
    pub protocol: i32,
    /// The process that answered: so whoever started a node knows that it is the one.
    pub process: u32,
}

/// A row of `synod.faults`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRow {
    /// The `faultCode`.
    pub code: i32,
    /// Its name.
    pub name: String,
    /// Whether it is certain that the call had no effect.
    pub definite: bool,
    /// What it means, and what to do.
    pub meaning: String,
}

/// A row of `lab.gate.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRow {
    /// The kind of message that is held.
    pub method: String,
    /// The receiver.
    pub to: NodeId,
    /// How many are held.
    pub held: u64,
}

/// The result of `lab.gate.wait` and `lab.gate.hold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How many messages the gate holds.
    pub held: u64,
}

/// The result of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeId,
    /// Where it listens.
    pub address: String,
    /// The members, as its log has them.
    pub members: Vec<Member>,
    /// Who founded the cluster, and decides single values; a node that joined does not know it, and says nobody.
    #[serde(default)]
    pub founders: Vec<NodeId>,
    /// `lab` or `service`.
    pub mode: String,
    /// Counts the restarts; the first life is 1.
    pub generation: u64,
    /// Milliseconds since the process started.
    pub uptime_ms: u64,
    /// What is wrong with the room on its disk, if anything is: `reserve` (what clients write is refused) or `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// What the node knows of instances: of the one asked for, or of the first hundred.
    pub instances: Vec<InstanceRow>,
    /// What it has counted.
    pub counters: BTreeMap<String, u64>,
    /// Election, log and services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<StrongStatus>,
    /// The logical clocks.
    pub clock: ClockRow,
}

/// A node's logical clocks, as of its last event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockRow {
    /// Lamport's.
    pub lamport: u64,
    /// The vector clock: how many events of each node this one knows of.
    pub vector: BTreeMap<String, u64>,
}

impl From<&Stamp> for ClockRow {
    fn from(stamp: &Stamp) -> Self {
        let vector = stamp.vector.iter().map(|(node, count)| (node.to_string(), count)).collect();
        Self { lamport: stamp.lamport.number(), vector }
    }
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Where it listens.
    pub address: String,
}

/// What a node knows of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// Which one.
    pub instance: Instance,
    /// Whether a decision is known.
    pub decided: bool,
    /// The ballot that this node's proposer is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposing_ballot: Option<Ballot>,
    /// The highest ballot promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised_ballot: Option<Ballot>,
    /// The highest ballot accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_ballot: Option<Ballot>,
    /// What was accepted in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_value: Option<Value>,
    /// The ballot in which the decision was learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ballot: Option<Ballot>,
    /// The decided value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}
