//! The method table: names, signatures, help. What a node serves, what `system.*` tells, and what arguments are read
//! all come from here.

use std::sync::LazyLock;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::access::Role;
use super::peers::Kind;
use super::validator1::Test;
use super::wire::{Envelope, holds_nil};
use super::{lab, overlay, strong, weak, wire_strong};
use crate::protocol::Message;
use crate::protocol::paxos::{self, learner};
use crate::protocol::types::{Ballot, Instance, NodeId, Value};
use crate::xmlrpc;

/// One method.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// The name on the wire.
    pub name: &'static str,
    pub(super) id: Id,
    /// The types of the result and of the parameters, as `system.methodSignature` gives them: one row for each number
    /// of parameters.
    pub signatures: &'static [&'static [&'static str]],
    /// The parameters, as a person writes them.
    pub usage: &'static str,
    /// What it does and returns.
    pub help: &'static str,
    /// Whether only a lab node serves it.
    pub lab: bool,
    /// Who may call it.
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    Propose,
    Decided,
    Prepare,
    Accept,
    Commit,
    Learn,
    Restart,
    Status,
    Version,
    Faults,
    GateHold,
    GateRelease,
    GateWait,
    GateList,
    GateClear,
    GetCapabilities,
    ListMethods,
    MethodSignature,
    MethodHelp,
    Multicall,
    Validator(Test),
    /// What only a lab does.
    Lab(lab::Id),
    /// A service on the replicated log.
    Strong(strong::methods::Id),
    /// The eventual board, or a register.
    Weak(weak::methods::Id),
    /// An overlay.
    Overlay(overlay::methods::Id),
    /// A message of election, log or forwarded calls.
    Said(&'static str),
}

/// All methods, by name.
pub static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| {
    let said = wire_strong::NAMES.map(|name| Method {
        name,
        id: Id::Said(name),
        signatures: &[&["struct", "struct", "struct"]],
        usage: "message, envelope",
        help: "For nodes among themselves: a message of the election, of the log, of the eventual board, of a register or of \
               an overlay.",
        lab: false,
        role: Role::Peer,
    });
    let tables = BASE
        .iter()
        .chain(lab::METHODS)
        .chain(weak::methods::METHODS)
        .chain(strong::methods::METHODS)
        .chain(strong::methods::LAB_METHODS)
        .chain(overlay::methods::METHODS)
        .chain(&said);
    let mut all: Vec<Method> = tables.copied().collect();
    all.sort_unstable_by_key(|method| method.name);
    all
});

/// The methods of single-decree Paxos, of the lab and of the node itself.
static BASE: &[Method] = &[
    Method {
        name: "accept",
        id: Id::Accept,
        signatures: &[&["struct", "string", "string"], &["struct", "string", "string", "string"]],
        usage: "ballot, value [, instance]",
        help: "Phase 2 of Paxos, asked of this acceptor. Accepts the value unless a higher ballot was promised. Returns \
               accepted (boolean) and promised_ballot. The ballot is a string such as '3.8000'; a lab also takes an int. \
               The value may have any type but nil.",
        lab: false,
        role: Role::Peer,
    },
    Method {
        name: "commit",
        id: Id::Commit,
        signatures: &[&["struct", "string", "string"], &["struct", "string", "string", "string"]],
        usage: "ballot, value [, instance]",
        help: "Tells this node that the value was chosen. Returns committed (boolean).",
        lab: false,
        role: Role::Peer,
    },
    Method {
        name: "decided",
        id: Id::Decided,
        signatures: &[&["struct"], &["struct", "string"]],
        usage: "[instance]",
        help: "What this node knows to be chosen. Returns decided (boolean) and, when decided, value and ballot.",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "lab.gate.clear",
        id: Id::GateClear,
        signatures: &[&["struct"]],
        usage: "",
        help: "Opens all gates of this node and sends what they held. Returns released (int).",
        lab: true,
        role: Role::Admin,
    },
    Method {
        name: "lab.gate.hold",
        id: Id::GateHold,
        signatures: &[&["struct", "string", "int"], &["struct", "string", "int", "int"]],
        usage: "method, to [, ttl_ms]",
        help: "Holds this node's messages of one kind (prepare, accept, commit, learn; a method of nodes among themselves, \
               such as register.store; or all) to one node, itself included, until released or until ttl_ms (default 30000) have passed. Returns held (int).",
        lab: true,
        role: Role::Admin,
    },
    Method {
        name: "lab.gate.list",
        id: Id::GateList,
        signatures: &[&["array"]],
        usage: "",
        help: "The gates that stand: an array of structs of method, to and held (int).",
        lab: true,
        role: Role::Admin,
    },
    Method {
        name: "lab.gate.release",
        id: Id::GateRelease,
        signatures: &[&["struct", "string", "int"], &["struct", "string", "int", "int"]],
        usage: "method, to [, count]",
        help: "Sends what a gate holds and opens it; with count (int) only the first so many, and the gate stays closed. \
               Returns released (int).",
        lab: true,
        role: Role::Admin,
    },
    Method {
        name: "lab.gate.wait",
        id: Id::GateWait,
        signatures: &[&["struct", "string", "int", "int", "int"]],
        usage: "method, to, count, timeout_ms",
        help: "Waits until a gate holds count messages. Returns held (int), which is less if the time was up.",
        lab: true,
        role: Role::Admin,
    },
    Method {
        name: "learn",
        id: Id::Learn,
        signatures: &[&["struct", "struct", "struct"]],
        usage: "ask, envelope",
        help: "For nodes among themselves: what was decided while the asking node was away.",
        lab: false,
        role: Role::Peer,
    },
    Method {
        name: "prepare",
        id: Id::Prepare,
        signatures: &[&["struct", "string"], &["struct", "string", "string"]],
        usage: "ballot [, instance]",
        help: "Phase 1 of Paxos, asked of this acceptor. Promises to accept nothing below the ballot, unless a higher \
               one was promised. Returns promised (boolean), promised_ballot and, if something was accepted, \
               accepted_ballot and accepted_value. The ballot is a string such as '3.8000'; a lab also takes an int.",
        lab: false,
        role: Role::Peer,
    },
    Method {
        name: "propose",
        id: Id::Propose,
        signatures: &[
            &["struct", "string"],
            &["struct", "string", "string"],
            &["struct", "string", "string", "struct"],
        ],
        usage: "value [, instance [, options]]",
        help: "Proposes a value of any type but nil, and waits until one is chosen. Returns instance, value (the chosen \
               one), outcome ('yours' or 'another's'), ballot, attempts (int) and message. Options: deadline_ms (int, \
               default 5000, at most 60000). Faults: 100 and 101 (not written), 102 (unknown), see synod.faults().",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "restart",
        id: Id::Restart,
        signatures: &[&["struct"]],
        usage: "",
        help: "Wipes this lab node to its initial state and moves it to a new generation: nothing said before acts after. \
               Restart all nodes of the lab; one alone sits out until the others follow. Returns generation (int) and \
               message.",
        lab: true,
        role: Role::Admin,
    },
    Method {
        name: "status",
        id: Id::Status,
        signatures: &[&["struct"], &["struct", "string"]],
        usage: "[instance]",
        help: "How this node is: node, address, members, founders (who decide single values; none if it joined), mode, \
               generation, uptime_ms, counters, disk (only if that is full: 'reserve' while writes are refused, 'full' \
               while nothing can be saved), and per instance what it promised, accepted and knows to be decided: of the \
               one named, or of the first hundred.",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "synod.faults",
        id: Id::Faults,
        signatures: &[&["array"]],
        usage: "",
        help: "The faults that are this program's own: an array of structs of code (int), name, definite (boolean: the \
               call certainly had no effect) and meaning.",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "synod.version",
        id: Id::Version,
        signatures: &[&["struct"]],
        usage: "",
        help: "Returns synod (the program's version), protocol (int, that of the messages between nodes) and process (int, \
               the id of the process that answers).",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "system.getCapabilities",
        id: Id::GetCapabilities,
        signatures: &[&["struct"]],
        usage: "",
        help: "The specifications that this node keeps to: a struct of structs of specUrl and specVersion (int).",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "system.listMethods",
        id: Id::ListMethods,
        signatures: &[&["array"]],
        usage: "",
        help: "The names of all methods.",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "system.methodHelp",
        id: Id::MethodHelp,
        signatures: &[&["string", "string"]],
        usage: "name",
        help: "What a method does, with a line of Python to try it.",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "system.methodSignature",
        id: Id::MethodSignature,
        signatures: &[&["array", "string"]],
        usage: "name",
        help: "The types of a method: an array of arrays, each the result's and then the parameters'. Where any type is \
               taken, it says string.",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "system.multicall",
        id: Id::Multicall,
        signatures: &[&["array", "array"]],
        usage: "calls",
        help: "Makes several calls at once. Takes an array of structs of methodName and params; returns for each an array \
               of its one result, or a fault struct.",
        lab: false,
        role: Role::Client,
    },
    Method {
        name: "validator1.arrayOfStructsTest",
        id: Id::Validator(Test::ArrayOfStructs),
        signatures: &[&["int", "array"]],
        usage: "array of structs",
        help: "The sum of all members curly. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
    Method {
        name: "validator1.countTheEntities",
        id: Id::Validator(Test::CountTheEntities),
        signatures: &[&["struct", "string"]],
        usage: "text",
        help: "How many of the five characters that XML escapes are in the text. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
    Method {
        name: "validator1.easyStructTest",
        id: Id::Validator(Test::EasyStruct),
        signatures: &[&["int", "struct"]],
        usage: "struct",
        help: "The sum of the members moe, larry and curly. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
    Method {
        name: "validator1.echoStructTest",
        id: Id::Validator(Test::EchoStruct),
        signatures: &[&["struct", "struct"]],
        usage: "struct",
        help: "The struct. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
    Method {
        name: "validator1.manyTypesTest",
        id: Id::Validator(Test::ManyTypes),
        signatures: &[&["array", "int", "boolean", "string", "double", "dateTime.iso8601", "base64"]],
        usage: "number, boolean, string, double, date, bytes",
        help: "The six values, in an array. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
    Method {
        name: "validator1.moderateSizeArrayCheck",
        id: Id::Validator(Test::ModerateSizeArray),
        signatures: &[&["string", "array"]],
        usage: "array of strings",
        help: "The first and the last string, joined. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
    Method {
        name: "validator1.nestedStructTest",
        id: Id::Validator(Test::NestedStruct),
        signatures: &[&["int", "struct"]],
        usage: "struct",
        help: "The sum of moe, larry and curly of the day 01 in the month 04 of the year 2000 in a calendar of structs. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
    Method {
        name: "validator1.simpleStructReturnTest",
        id: Id::Validator(Test::SimpleStructReturn),
        signatures: &[&["struct", "int"]],
        usage: "number",
        help: "The number times 10, 100 and 1000. One of the validator1 suite.",
        lab: true,
        role: Role::Client,
    },
];

/// A call whose arguments have been read.
#[derive(Debug)]
pub(super) enum Request {
    Propose { value: Value, instance: Instance, options: ProposeOptions },
    Decided { instance: Instance },
    Message { message: Message, envelope: Option<Envelope> },
    Restart,
    Status { instance: Option<Instance> },
    Version,
    Faults,
    GateHold { kind: Kind, to: NodeId, ttl_ms: u32 },
    GateRelease { kind: Kind, to: NodeId, count: Option<u32> },
    GateWait { kind: Kind, to: NodeId, count: u32, timeout_ms: u32 },
    GateList,
    GateClear,
    GetCapabilities,
    ListMethods,
    MethodSignature { name: String },
    MethodHelp { name: String },
    Validator { test: Test, argument: xmlrpc::Value },
    Lab(lab::Request),
    Strong(strong::Request),
    Weak(weak::Request),
    Overlay(overlay::Request),
}

impl Request {
    /// Whether the driver's answer is all that the caller waits for.
    pub(super) fn needs_no_thread(&self) -> bool {
        match self {
            Self::Message { .. } => true,
            Self::Strong(request) => request.needs_no_thread(),
            _ => false,
        }
    }
}

/// The last argument of `propose`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposeOptions {
    /// How long to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// In a lab: how many rejections to answer with a new ballot at once, without a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impatient: Option<u32>,
    /// In a lab: how long a ballot may take before it is given up, so that a held message does not end it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ballot_ms: Option<u32>,
}

impl Method {
    /// The method of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        METHODS.binary_search_by(|method| method.name.cmp(name)).ok().map(|at| &METHODS[at])
    }

    /// Whether it is `system.multicall`, which holds other calls.
    #[must_use]
    pub fn is_multicall(&self) -> bool {
        self.id == Id::Multicall
    }

    /// The text of `system.methodHelp`.
    #[must_use]
    pub fn help_text(&self) -> String {
        // The line to copy leaves out what may be left out.
        let required = match self.usage {
            usage if usage.starts_with('[') => "",
            usage => usage.split(" [").next().unwrap_or_default(),
        };
        format!(
            "{}({})\n\n{}{}\n\nPython: xmlrpc.client.ServerProxy('http://127.0.0.1:8000').{}({})",
            self.name,
            self.usage,
            self.help,
            if self.lab { " Lab nodes only." } else { "" },
            self.name,
            required,
        )
    }

    /// Reads the arguments.
    pub(super) fn read<'de, D: Deserializer<'de>>(&self, params: D) -> Result<Request, D::Error> {
        // An empty tuple for the methods without parameters: any parameter is then one too many.
        type None = [u8; 0];
        let no_parameters = |params, request| <None>::deserialize(params).map(|_| request);
        match self.id {
            Id::Propose => {
                let (value, instance, options): (_, Option<_>, Option<_>) = Deserialize::deserialize(params)?;
                let (instance, options) = (instance.unwrap_or_default(), options.unwrap_or_default());
                Ok(Request::Propose { value, instance, options })
            }
            Id::Decided => {
                let (instance,): (Option<_>,) = Deserialize::deserialize(params)?;
                Ok(Request::Decided { instance: instance.unwrap_or_default() })
            }
            Id::Prepare => {
                let (ballot, instance, envelope): (_, Option<_>, _) = Deserialize::deserialize(params)?;
                let instance = instance.unwrap_or_default();
                Ok(Request::Message { message: paxos::Message::Prepare { instance, ballot }.into(), envelope })
            }
            Id::Accept => {
                let (ballot, value, instance, envelope) = ballot_and_value(params)?;
                Ok(Request::Message { message: paxos::Message::Accept { instance, ballot, value }.into(), envelope })
            }
            Id::Commit => {
                let (ballot, value, instance, envelope) = ballot_and_value(params)?;
                Ok(Request::Message { message: paxos::Message::Commit { instance, ballot, value }.into(), envelope })
            }
            Id::Learn => {
                let (ask, envelope): (learner::Ask, _) = Deserialize::deserialize(params)?;
                Ok(Request::Message { message: paxos::Message::Learn(ask).into(), envelope: Some(envelope) })
            }
            Id::Restart => no_parameters(params, Request::Restart),
            Id::Status => {
                let (instance,) = Deserialize::deserialize(params)?;
                Ok(Request::Status { instance })
            }
            Id::Version => no_parameters(params, Request::Version),
            Id::Faults => no_parameters(params, Request::Faults),
            Id::GateHold => {
                let (kind, to, ttl_ms): (GateKind, _, Option<_>) = Deserialize::deserialize(params)?;
                Ok(Request::GateHold { kind: kind.0, to, ttl_ms: ttl_ms.unwrap_or(30_000) })
            }
            Id::GateRelease => {
                let (kind, to, count): (GateKind, _, _) = Deserialize::deserialize(params)?;
                Ok(Request::GateRelease { kind: kind.0, to, count })
            }
            Id::GateWait => {
                let (kind, to, count, timeout_ms): (GateKind, _, _, _) = Deserialize::deserialize(params)?;
                Ok(Request::GateWait { kind: kind.0, to, count, timeout_ms })
            }
            Id::GateList => no_parameters(params, Request::GateList),
            Id::GateClear => no_parameters(params, Request::GateClear),
            Id::GetCapabilities => no_parameters(params, Request::GetCapabilities),
            Id::ListMethods => no_parameters(params, Request::ListMethods),
            Id::MethodSignature => {
                let (name,) = Deserialize::deserialize(params)?;
                Ok(Request::MethodSignature { name })
            }
            Id::MethodHelp => {
                let (name,) = Deserialize::deserialize(params)?;
                Ok(Request::MethodHelp { name })
            }
            Id::Validator(test @ Test::ManyTypes) => {
                type Six = (i64, bool, String, f64, xmlrpc::DateTime, xmlrpc::Bytes);
                let (number, boolean, text, double, date, bytes): Six = Deserialize::deserialize(params)?;
                let six = [number.into(), boolean.into(), text.into(), double.into(), date.into(), bytes.into()];
                Ok(Request::Validator { test, argument: xmlrpc::Value::Array(six.into()) })
            }
            Id::Validator(test) => {
                let (argument,) = Deserialize::deserialize(params)?;
                if holds_nil(&argument) {
                    return Err(D::Error::custom("the value holds nil, which stock clients cannot read back"));
                }
                Ok(Request::Validator { test, argument })
            }
            Id::Lab(id) => lab::read(id, params).map(Request::Lab),
            Id::Strong(id) => strong::read(id, params).map(Request::Strong),
            Id::Weak(id) => weak::read(id, params).map(Request::Weak),
            Id::Overlay(id) => overlay::read(id, params).map(Request::Overlay),
            Id::Said(name) => {
                let (members, envelope) = Deserialize::deserialize(params)?;
                let message = wire_strong::message(name, members).ok_or_else(|| {
                    D::Error::custom(format!("{name} lacks a member, or has one that cannot be meant"))
                })?;
                Ok(Request::Message { message, envelope: Some(envelope) })
            }
            Id::Multicall => Err(D::Error::custom("system.multicall cannot call itself")),
        }
    }
}

type BallotAndValue = (Ballot, Value, Instance, Option<Envelope>);

fn ballot_and_value<'de, D: Deserializer<'de>>(params: D) -> Result<BallotAndValue, D::Error> {
    let (ballot, value, instance, envelope): (_, _, Option<_>, _) = Deserialize::deserialize(params)?;
    Ok((ballot, value, instance.unwrap_or_default(), envelope))
}

/// The name of a kind of message that a gate can hold.
struct GateKind(Kind);

impl<'de> Deserialize<'de> for GateKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let kind = name.parse().map_err(|()| {
            D::Error::custom("a gate holds one of the methods prepare, accept, commit and learn, another one of nodes among themselves, \
                 or all".to_owned())
        })?;
        Ok(Self(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(METHODS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for method in METHODS.iter() {
            assert!(std::ptr::eq(Method::named(method.name).unwrap(), method));
            assert!(!method.help.is_empty() && !method.signatures.is_empty(), "{}", method.name);
            let required = if method.usage.starts_with('[') || method.usage.is_empty() {
                0
            } else {
                method.usage.split(" [").next().unwrap().split(", ").count()
            };
            assert_eq!(method.signatures[0].len() - 1, required, "{}", method.name);
        }
        assert!(Method::named("no such method").is_none());
        for (name, line) in [("decided", ".decided()"), ("propose", ".propose(value)"), ("restart", ".restart()")] {
            let help = Method::named(name).unwrap().help_text();
            assert!(help.ends_with(line), "{help}");
        }
    }
}
