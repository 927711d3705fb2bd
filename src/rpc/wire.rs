//! How the protocols' messages look as XML-RPC calls and answers.
//!
//! A message that asks is a call: Prepare is `prepare(ballot, instance, envelope)`. A message that answers is the
//! result of that call. The *envelope*, a struct that guests leave out, says which member is speaking to which, out of
//! which generation, and with which logical clocks.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::wire_strong::{self, Fields};
use crate::protocol::clock::{Stamp, VectorClock};
use crate::protocol::host::Sender;
use crate::protocol::paxos::{self, learner};
use crate::protocol::register::Timestamp;
use crate::protocol::types::{Ballot, Instance, NodeId, Value};
use crate::protocol::{Message, eventual};
use crate::xmlrpc::{self, Fragment, to_fragment};

/// A value's form may be so long, so that a call with it stays well below the limit of a body.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Who speaks to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender.
    pub from: NodeId,
    /// The receiver, so that a call that reached another node by mistake is noticed.
    pub to: NodeId,
    /// The sender's generation.
    pub generation: u64,
    /// The sender's clocks at the send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Stamp>,
}

impl Envelope {
    /// The protocols' view of it.
    #[must_use]
    pub const fn sender(&self) -> Sender {
        Sender { from: self.from, generation: Some(self.generation) }
    }
}

/// The parameters of a message that is a call.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Params<'a> {
    Prepare(Ballot, &'a Instance, Envelope),
    Value(Ballot, &'a Value, &'a Instance, Envelope),
    Learn(&'a learner::Ask, Envelope),
    Strong(Box<Fields>, Envelope),
}

/// The method and the parameters of a message; `None` for one that is an answer.
pub(super) fn call(message: &Message, envelope: Envelope) -> Option<(&'static str, Params<'_>)> {
    let Message::Paxos(message) = message else {
        let name = wire_strong::name(message)?;
        return Some((name, Params::Strong(Box::new(wire_strong::fields(message)), envelope)));
    };
    match message {
        paxos::Message::Prepare { instance, ballot } => Some(("prepare", Params::Prepare(*ballot, instance, envelope))),
        paxos::Message::Accept { instance, ballot, value } => {
            Some(("accept", Params::Value(*ballot, value, instance, envelope)))
        }
        paxos::Message::Commit { instance, ballot, value } => {
            Some(("commit", Params::Value(*ballot, value, instance, envelope)))
        }
        paxos::Message::Learn(ask) => Some(("learn", Params::Learn(ask, envelope))),
        paxos::Message::Promise { .. }
        | paxos::Message::Accepted { .. }
        | paxos::Message::Reject { .. }
        | paxos::Message::Committed { .. }
        | paxos::Message::Learned(_) => None,
    }
}

/// The answer to a message: what the acceptor says. Which members are there depends on the call; peers also hear the
/// generation, and why a message was ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised_ballot: Option<Ballot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_ballot: Option<Ballot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<learner::Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) said: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
    /// In a lab: how much later than it comes the answer is to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u32>,
}

/// A message of election, log or forwarded calls that answers another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    method: String,
    members: Box<Fields>,
}

/// A protocol's answer in the members of the result.
pub(super) fn answer(message: &Message) -> Answer {
    let Message::Paxos(message) = message else {
        let members = || Box::new(wire_strong::fields(message));
        let said = wire_strong::name(message).map(|name| Said { method: name.to_owned(), members: members() });
        return Answer { said, ..Answer::default() };
    };
    match message.clone() {
        paxos::Message::Promise { ballot, accepted, .. } => {
            let (accepted_ballot, accepted_value) = accepted.unzip();
            let (promised, promised_ballot) = (Some(true), Some(ballot));
            Answer { promised, promised_ballot, accepted_ballot, accepted_value, ..Answer::default() }
        }
        paxos::Message::Accepted { ballot, .. } => {
            Answer { accepted: Some(true), promised_ballot: Some(ballot), ..Answer::default() }
        }
        // Refuses a Prepare or an Accept: the caller knows which.
        paxos::Message::Reject { promised, .. } => Answer { promised_ballot: Some(promised), ..Answer::default() },
        paxos::Message::Committed { .. } => Answer { committed: Some(true), ..Answer::default() },
        paxos::Message::Learned(learned) => Answer { learned: Some(learned), ..Answer::default() },
        paxos::Message::Prepare { .. }
        | paxos::Message::Accept { .. }
        | paxos::Message::Commit { .. }
        | paxos::Message::Learn(_) => Answer::default(),
    }
}

/// The message that an answer to `asked` stands for; `None` if the asked one ignored it.
pub(super) fn understand(asked: &Message, answer: Answer) -> Option<Message> {
    let Message::Paxos(asked) = asked else {
        let Said { method, members } = answer.said?;
        return wire_strong::message(&method, *members);
    };
    let message = match asked {
        paxos::Message::Prepare { instance, ballot } => {
            let (instance, ballot) = (instance.clone(), *ballot);
            if answer.promised? {
                let accepted = answer.accepted_ballot.zip(answer.accepted_value);
                paxos::Message::Promise { instance, ballot, accepted }
            } else {
                paxos::Message::Reject { instance, ballot, promised: answer.promised_ballot? }
            }
        }
        paxos::Message::Accept { instance, ballot, .. } => {
            let (instance, ballot) = (instance.clone(), *ballot);
            if answer.accepted? {
                paxos::Message::Accepted { instance, ballot }
            } else {
                paxos::Message::Reject { instance, ballot, promised: answer.promised_ballot? }
            }
        }
        paxos::Message::Learn(_) => paxos::Message::Learned(answer.learned?),
        // That a Commit was heard changes nothing here.
        _ => return None,
    };
    Some(message.into())
}

/// What is missing of an answer to a message, if its acceptor refused: the member that says so.
pub(super) type Refusal = fn(&mut Answer);

/// How the answer of the method that was called says no.
pub(super) const fn refusal(asked: &Message) -> Refusal {
    match asked {
        Message::Paxos(paxos::Message::Prepare { .. }) => |answer| _ = answer.promised.get_or_insert(false),
        Message::Paxos(paxos::Message::Accept { .. }) => |answer| _ = answer.accepted.get_or_insert(false),
        Message::Paxos(paxos::Message::Commit { .. }) => |answer| _ = answer.committed.get_or_insert(false),
        _ => |_| {},
    }
}

/// One result of a `system.multicall`: an array of one, a fault, or, as some servers send it, the bare result.
#[derive(Debug)]
pub(super) struct Item(pub(super) Result<Answer, xmlrpc::Fault>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a result or a fault")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
                let answer = items.next_element()?.ok_or_else(|| de::Error::custom("a result is missing"))?;
                while items.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Item(Ok(answer)))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Item, A::Error> {
                #[derive(Deserialize)]
                struct FaultOrAnswer {
                    #[serde(rename = "faultCode")]
                    code: Option<i32>,
                    #[serde(rename = "faultString")]
                    string: Option<String>,
                    #[serde(flatten)]
                    answer: Answer,
                }
                let found = FaultOrAnswer::deserialize(de::value::MapAccessDeserializer::new(members))?;
                Ok(Item(match found.code {
                    Some(code) => Err(xmlrpc::Fault { code, string: found.string.unwrap_or_default() }),
                    None => Ok(found.answer),
                }))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}

// How the protocols' types stand in XML-RPC.

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number())
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| de::Error::custom(format!("{number} is not a node id")))
    }
}

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InstanceVisitor;
        impl Visitor<'_> for InstanceVisitor {
            type Value = Instance;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an instance")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Instance, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(InstanceVisitor)
    }
}

/// What is one text on the wire: `7.8000`, `8000:12,8001:4`.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

as_text!(VectorClock, Stamp, eventual::memory::Stamp, Timestamp);

impl Serialize for Ballot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A ballot is `"3.8000"`, a struct of `round` and `node`, or a bare number: a guest's round.
impl<'de> Deserialize<'de> for Ballot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BallotVisitor;
        impl<'de> Visitor<'de> for BallotVisitor {
            type Value = Ballot;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a ballot: a string such as 3.8000, a struct of round and node, or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ballot, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, round: i64) -> Result<Ballot, E> {
                let round = u64::try_from(round).map_err(|_| E::custom(format!("the round {round} is negative")))?;
                Ok(Ballot { round, node: NodeId::GUEST })
            }

            fn visit_u64<E: de::Error>(self, round: u64) -> Result<Ballot, E> {
                Ok(Ballot { round, node: NodeId::GUEST })
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Ballot, A::Error> {
                #[derive(Deserialize)]
                struct Parts {
                    round: u64,
                    node: u32,
                }
                let Parts { round, node } = Parts::deserialize(de::value::MapAccessDeserializer::new(members))?;
                let node = match node {
                    0 => NodeId::GUEST,
                    node => NodeId::new(node).ok_or_else(|| de::Error::custom(format!("{node} is not a node id")))?,
                };
                Ok(Ballot { round, node })
            }
        }
        deserializer.deserialize_any(BallotVisitor)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fragment(self.as_str()).serialize(serializer)
    }
}

/// Any value but nil, which stock clients could not read back.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = xmlrpc::Value::deserialize(deserializer)?;
        if holds_nil(&value) {
            return Err(de::Error::custom("the value holds nil, which stock clients cannot read back"));
        }
        let fragment = to_fragment(&value).map_err(de::Error::custom)?;
        Ok(Self::new(&fragment))
    }
}

/// Values are at most as deep as the codec's limit, so the recursion is bounded.
pub(super) fn holds_nil(value: &xmlrpc::Value) -> bool {
    match value {
        xmlrpc::Value::Nil => true,
        xmlrpc::Value::Array(items) => items.iter().any(holds_nil),
        xmlrpc::Value::Struct(members) => members.values().any(holds_nil),
        _ => false,
    }
}
