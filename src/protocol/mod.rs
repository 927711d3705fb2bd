//! The protocols, pure: no clock, no thread, no socket, no file, no randomness but a seeded generator handed in.
//!
//! # The contract
//!
//! A protocol is a plain struct. It is handed inputs (`on_message`, `on_tick`, a client's request) and appends
//! [`Effect`]s to an [`Out`]; it does nothing else. Handlers return `()`: an answer to a message is another message.
//!
//! **The order of effects is the safety argument.** Whoever runs a protocol completes every [`Effect::Save`] before any
//! later [`Effect::Send`] or [`Effect::Notify`]: a promise is on disk before anyone hears of it. What need not wait is
//! emitted before the `Save`. An [`Effect::Note`] is kept when there is an occasion, in order with the `Save`s, and may
//! be lost in a crash of the machine: what a node can learn again from others.
//!
//! A node may send to itself: the runner hands such a message back as an input.
//!
//! The same inputs give the same effects, byte for byte: sets are ordered, and the generator is seeded.
//!
//! Two worlds run these structs: [`crate::node`] with threads, SQLite and HTTP, and [`crate::sim`] with virtual time.
//!
//! # The parts
//!
//! [`host::Host`] is one node's protocols and its generation; [`paxos`] decides single values; [`bully`] elects, [`log`]
//! replicates, and [`strong`] joins the two to the services; [`eventual`] is the board that asks nobody, [`register`] the
//! one that asks a quorum; [`overlay`] finds who holds a key in three other ways;
//! [`durable`] is what a node remembers, rebuilt from its records; [`clock`] counts events.

pub mod bully;
pub mod clock;
pub mod durable;
pub mod eventual;
pub mod host;
pub mod log;
pub mod overlay;
pub mod paxos;
pub mod quorum;
pub mod register;
pub mod strong;
pub mod types;

use std::collections::BTreeMap;
use std::sync::Arc;

use ::log::debug;

use crate::service::reply::Reply;
use paxos::Outcome;
use strong::Failure;
use types::{Ballot, Instance, NodeId, RequestId, Value};

/// What a step asks of the world, in an order that matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make this durable before anything that follows.
    Save(Record),
    /// Keep this too, without haste: nothing that follows rests on it.
    Note(Record),
    /// Send this one way. It may be lost, doubled, late; the protocol copes.
    Send {
        /// The receiver; may be the sender itself, or the guest whose message is being answered.
        to: NodeId,
        /// What to send.
        message: Message,
    },
    /// Something that the outside wants to know.
    Notify(Event),
}

/// All that nodes say to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// Single-decree Paxos.
    Paxos(paxos::Message),
    /// The replicated log.
    Log(log::Message),
    /// Who coordinates.
    Bully(bully::Message),
    /// Calls on their way to the leader, and back.
    Strong(strong::Message),
    /// The eventually consistent board.
    Eventual(eventual::Message),
    /// The quorum register.
    Register(register::Message),
    /// A hash table, flooding, an index: who holds which key.
    Overlay(overlay::Message),
    /// "I live in a later generation", the answer to a message of an earlier one. The envelope says which.
    Elsewhere,
}

/// What a protocol tells the outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// A client's request is done with.
    Answered {
        /// Which one.
        request: RequestId,
        /// What became of it.
        outcome: Outcome,
    },
    /// A client's command was applied, or will not be.
    Replied {
        /// Which one.
        request: RequestId,
        /// What the services said, or why nothing is known of it.
        result: Result<Reply, Failure>,
        /// The slot of the entry that was applied, if this node appended it, and no other leader ever had the call.
        entry: Option<u64>,
    },
    /// A client's read may be answered from the state here, or will not be.
    Readable {
        /// Which one.
        request: RequestId,
        /// Why not.
        result: Result<(), Failure>,
    },
    /// Whom this node may have something to say to has changed: the members, and those who come and go.
    Correspondents {
        /// They, and where they listen.
        addresses: BTreeMap<NodeId, Arc<str>>,
    },
    /// A client's call of a register is done with.
    Finished {
        /// Which one.
        request: RequestId,
        /// What was written or read, or why not.
        result: Result<register::Done, register::Failure>,
    },
    /// A client's call about a key of an overlay is over.
    Found {
        /// Which one.
        request: RequestId,
        /// What was found or done, and by which way; or why it was not.
        result: Result<overlay::Answer, overlay::Failure>,
    },
    /// A proposer starts a ballot.
    Proposing {
        /// In which instance.
        instance: Instance,
        /// The ballot.
        ballot: Ballot,
    },
    /// This node now knows what was chosen.
    Decided {
        /// In which instance.
        instance: Instance,
        /// The ballot in which this node learned it.
        ballot: Ballot,
        /// The value.
        value: Value,
    },
    /// This node forgot everything and lives in a new generation.
    Restarted {
        /// The new generation.
        generation: u64,
    },
    /// A message was dropped without effect.
    Ignored {
        /// Who sent it.
        from: NodeId,
        /// Why it was dropped.
        reason: &'static str,
    },
}

/// What a node makes durable. Applied in order to an empty [`durable::Durable`] they give its memory back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Record {
    /// The acceptor will accept nothing below this ballot.
    Promise {
        /// In which instance.
        instance: Instance,
        /// What is promised.
        ballot: Ballot,
    },
    /// The acceptor accepted; raises the promise to the same ballot.
    Accept {
        /// In which instance.
        instance: Instance,
        /// In which ballot.
        ballot: Ballot,
        /// What was accepted.
        value: Value,
    },
    /// This node learned what was chosen. May stand twice: once noted, and saved when somebody is told.
    Decide {
        /// In which instance.
        instance: Instance,
        /// The ballot in which this node learned it.
        ballot: Ballot,
        /// What was chosen.
        value: Value,
    },
    /// Something about the replicated log.
    Log(log::memory::Record),
    /// What a step has changed on the eventual board.
    Eventual(Box<eventual::memory::Record>),
    /// What a register holds.
    Register(Box<register::memory::Record>),
    /// Something about an overlay.
    Overlay(overlay::Record),
    /// All earlier records are void; a new generation begins, or a followed one is claimed (see [`host`]).
    Generation {
        /// Its number.
        generation: u64,
        /// Whether the node merely followed the others into it.
        followed: bool,
    },
}

/// Collects the effects of steps, in order.
#[derive(Debug, Default, Clone)]
pub struct Out {
    effects: Vec<Effect>,
}

impl Out {
    /// Durable before anything that follows.
    pub fn save(&mut self, record: Record) {
        self.effects.push(Effect::Save(record));
    }

    /// Without haste.
    pub fn note(&mut self, record: Record) {
        self.effects.push(Effect::Note(record));
    }

    /// One way, to one node.
    pub fn send(&mut self, to: NodeId, message: impl Into<Message>) {
        self.effects.push(Effect::Send { to, message: message.into() });
    }

    /// Tells the outside.
    pub fn notify(&mut self, event: Event) {
        self.effects.push(Effect::Notify(event));
    }

    /// Drops a message: says why in the log and to a caller who waits, and changes nothing.
    pub fn ignore(&mut self, from: NodeId, reason: &'static str) {
        debug!("ignored a message of {from}: {reason}");
        self.notify(Event::Ignored { from, reason });
    }

    /// An effect as it stands.
    #[cfg(test)]
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// How many effects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.effects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// Hands the effects over, in order, and forgets them.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        #[cfg(test)]
        crate::mutants::tamper(&mut self.effects);
        self.effects.drain(..)
    }
}

impl From<overlay::Record> for Record {
    fn from(record: overlay::Record) -> Self {
        Self::Overlay(record)
    }
}

impl From<strong::Message> for Message {
    fn from(message: strong::Message) -> Self {
        Self::Strong(message)
    }
}

impl From<log::Message> for Message {
    fn from(message: log::Message) -> Self {
        Self::Log(message)
    }
}

impl From<paxos::Message> for Message {
    fn from(message: paxos::Message) -> Self {
        Self::Paxos(message)
    }
}

impl From<bully::Message> for Message {
    fn from(message: bully::Message) -> Self {
        Self::Bully(message)
    }
}
