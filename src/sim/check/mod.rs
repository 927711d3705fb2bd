//! What watches a run: for each protocol a [`Subject`], which plays its clients and knows its invariants.
//!
//! The world reports everything to every subject, at the moment named beside each hook, and a subject that returns
//! [`Broken`] ends the run. A subject knows what nobody in the cluster knows: all messages, all disks, all lives.

pub(super) mod bully;
pub(super) mod eventual;
pub(super) mod log;
pub(super) mod overlay;
pub(super) mod paxos;
pub(super) mod register;

use std::fmt;

use rand_pcg::Pcg64Mcg;

use super::report::Tally;
use crate::protocol::durable::Durable;
use crate::protocol::host::{Host, Sender};
use crate::protocol::overlay::{Call as KeyCall, Options as OverlayOptions, Which};
use crate::protocol::paxos::Proposal;
use crate::protocol::types::{Instance, NodeId, RequestId, Value};
use crate::protocol::{self, Effect, Event, Message, Record, strong};
use crate::service::command::Command;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Which one, in the same words each time.
    pub(super) rule: String,
    /// Who broke it, and how.
    pub(super) what: String,
}

/// What a hook finds.
pub(super) type Verdict = Result<(), Broken>;

/// The check itself; `what` is only put into words when it fails.
pub(super) fn ensure(holds: bool, rule: &str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken { rule: rule.to_owned(), what: what() }) }
}

/// What a client asks of a node.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// To get a value chosen.
    Propose(Proposal),
    /// To tell what it knows of an instance.
    Ask(Instance),
    /// To have the services carry out a command; `keyed` if it carries a request id.
    Command { request: RequestId, command: Vec<u8>, keyed: bool, deadline_ticks: u64 },
    /// To read the newest state.
    Read { request: RequestId, deadline_ticks: u64 },
    /// To hold an election there, whether there is a coordinator or not.
    Elect,
    /// To do something to its eventual board.
    Board(BoardCall),
    /// To write a register, or to read it if there is no value.
    Register { request: RequestId, name: String, value: Option<Value>, deadline_ticks: u64 },
    /// To do something with a key of an overlay.
    Seek { request: RequestId, which: Which, call: KeyCall, deadline_ticks: u64 },
    /// To be part of the ring, or not.
    Move { request: RequestId, joins: bool, deadline_ticks: u64 },
}

/// What a client does to an eventual board. What it picks is one of the entries that its node shows, by a number.
#[derive(Debug, Clone)]
pub(super) enum BoardCall {
    /// To post.
    Post { text: String },
    /// To give an entry another text.
    Modify { pick: u64, text: String },
    /// To delete an entry.
    Delete { pick: u64 },
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Propose(proposal) => write!(f, "Propose({proposal:?})"),
            Self::Ask(instance) => write!(f, "Ask({instance:?})"),
            Self::Command { request, command, deadline_ticks, .. } => {
                write!(f, "call {}, within {deadline_ticks} ticks: ", request.0)?;
                match Command::decode(command) {
                    Ok(Command { request: Some(key), action, .. }) => {
                        write!(f, "{action:?} as {}/{}", key.client, key.sequence)
                    }
                    Ok(command) => write!(f, "{:?}", command.action),
                    Err(error) => write!(f, "{error}"),
                }
            }
            Self::Read { request, deadline_ticks } => {
                write!(f, "call {}, within {deadline_ticks} ticks: read", request.0)
            }
            Self::Elect => f.write_str("elect"),
            Self::Board(call) => write!(f, "{call:?}"),
            Self::Register { request, name, value, deadline_ticks } => {
                write!(f, "call {}, within {deadline_ticks} ticks: register {name}", request.0)?;
                value.as_ref().map_or(Ok(()), |value| write!(f, " = {value}"))
            }
            Self::Seek { request, which, call, deadline_ticks } => {
                write!(f, "call {}, within {deadline_ticks} ticks: {which:?} {call:?}", request.0)
            }
            Self::Move { request, joins, deadline_ticks } => {
                let what = if *joins { "join" } else { "leave" };
                write!(f, "call {}, within {deadline_ticks} ticks: {what}", request.0)
            }
        }
    }
}

/// Which node, in which of its lives, out of which generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) node: NodeId,
    /// Counts the node's starts.
    pub(super) life: u64,
    /// The generation it lives in when this is reported.
    pub(super) generation: u64,
}

/// One protocol under test.
pub(super) trait Subject: fmt::Debug {
    /// What is set for the nodes' election, log and services; without, they have none.
    fn strong(&self) -> Option<strong::Options> {
        None
    }

    /// What is set for the nodes' eventual boards; without, they have none.
    fn eventual(&self) -> Option<protocol::eventual::Options> {
        None
    }

    /// What is set for the nodes' registers; without, they have none.
    fn register(&self) -> Option<protocol::register::Options> {
        None
    }
    /// What is set for the nodes' overlays; without, they have none.
    fn overlay(&self) -> Option<OverlayOptions> {
        None
    }

    /// What every disk holds when the run begins.
    fn founding(&self) -> Option<Record> {
        None
    }

    /// Whether a node's vote counts, as far as its disk is certain to know. Without a majority of such votes no core can
    /// be asked to make progress, so all nodes are healed at once.
    fn may_vote(&self, _node: NodeId) -> bool {
        true
    }

    /// Whether the others can do without what this node, which is down, has on its disk. These nodes are up.
    fn may_lose(&self, _node: NodeId, _hosts: &[&Host]) -> bool {
        true
    }

    /// A node that is down has lost its disk, or what it keeps of the log; all that was under way to it or from it is
    /// lost as well. It will find itself in this generation.
    fn lost(&mut self, _node: NodeId, _generation: u64) {}

    /// The storm rages: what does a client ask now, and of whom? Asked at every tick. What is drawn must not depend on
    /// anything but the generator, so that a run with fewer faults has the same clients.
    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)>;

    /// Some nodes are in touch again. From here on they are urged.
    fn healed(&mut self);

    /// These nodes are in touch again, and must make progress: what does a client ask of them? Asked at every tick.
    fn urge(&mut self, core: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)>;

    /// Have these nodes made all the progress they must? Says what is missing.
    fn settled(&self, core: &[&Host]) -> Result<(), String>;

    /// A call finds its node down.
    fn turned_away(&mut self, _call: &Call) {}

    /// A call reaches a node.
    fn called(&mut self, _who: Who, _call: &Call) {}

    /// A message reaches a node, which has not handled it yet.
    fn heard(&mut self, _who: Who, _sender: Sender, _message: &Message) {}

    /// A step has had this effect, which is not carried out yet.
    fn emitted(&mut self, _who: Who, _host: &Host, _effect: &Effect) -> Verdict {
        Ok(())
    }

    /// A node has taken a step.
    fn stepped(&mut self, _who: Who, _host: &Host) -> Verdict {
        Ok(())
    }

    /// Nothing of what a node did waits for its disk, or for anything else.
    fn rested(&mut self, _who: Who, _host: &Host) -> Verdict {
        Ok(())
    }

    /// Records of a node have become certain to last, each with its generation.
    fn saved(&mut self, _node: NodeId, _records: &[(u64, Record)]) -> Verdict {
        Ok(())
    }

    /// A message leaves a node for another, or has been held back for a while and reaches the node itself; the disk is
    /// certain to keep this.
    fn sent(&mut self, _who: Who, _message: &Message, _disk: &Durable) -> Verdict {
        Ok(())
    }

    /// The outside is told, with what the disk is certain to keep.
    fn told(&mut self, _who: Who, _event: &Event, _disk: &Durable) -> Verdict {
        Ok(())
    }

    /// A client that asked is answered.
    fn answered(
        &mut self,
        _who: Who,
        _instance: &Instance,
        _known: Option<&protocol::durable::Remembered>,
        _disk: &Durable,
    ) -> Verdict {
        Ok(())
    }

    /// A node has lost its memory, and what its disk had not synced may be lost or not.
    fn crashed(&mut self, _node: NodeId) {}

    /// A node has started again from its disk.
    fn recovered(&mut self, _who: Who, _host: &Host) -> Verdict {
        Ok(())
    }

    /// The run has come to its end.
    fn ended(&mut self) -> Verdict {
        Ok(())
    }

    /// What there is to count at the end of a run.
    fn count(&self, _tally: &mut Tally) {}
}
