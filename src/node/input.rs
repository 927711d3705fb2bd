//! What reaches the driver, and what it does about it.

use std::sync::mpsc::SyncSender;

use super::overlay::{Input as OverlayInput, Outcome as OverlayOutcome};
use super::scribe::Task;
use super::status::Snapshot;
use crate::lab::links::Fate;
use crate::protocol::clock::Stamp;
use crate::protocol::durable::Remembered;
use crate::protocol::host::{Host, Sender};
use crate::protocol::log::members::Change;
use crate::protocol::paxos::Outcome;
use crate::protocol::register::{self, Register};
use crate::protocol::strong::snapshots::Ready;
use crate::protocol::strong::{Failure, Strong};
use crate::protocol::types::{Instance, NodeId, RequestId, Value};
use crate::protocol::{Message, Out, Record};
use crate::rpc::peers::Outgoing;
use crate::service::reply::Reply;

/// Takes an answer to whoever waits for it, without waiting itself.
pub(crate) type Answering<T> = Box<dyn FnOnce(T) + Send>;
/// Reads the state, once it may: sends its own answer to whoever waits.
pub(crate) type Query = Box<dyn FnOnce(Result<&Strong, Failure>) + Send>;
/// Looks whether what it waits for has come, and answers if so; asked for the last time, it answers in any case.
pub(crate) type Watch = Box<dyn FnMut(&Host, bool) -> bool + Send>;
/// Does something at once; what it returns answers whoever waits, when all that the batch led to is saved.
pub(crate) type Act = Box<dyn FnOnce(Option<(&mut Host, &mut Out)>) -> Then + Send>;
/// See [`Act`].
pub(crate) type Then = Box<dyn FnOnce(bool) + Send>;
/// Starts a call of a register.
pub(crate) type RegisterCall = Box<dyn FnOnce(&mut Register, RequestId, &mut Out) + Send>;
/// Who waits for a register.
pub(super) type RegisterReply = SyncSender<Result<register::Done, register::Failure>>;

/// What reaches the driver.
pub(crate) enum Input {
    /// A client's command for the services; `keyed` if it carries a request id.
    Command { command: Vec<u8>, keyed: bool, deadline_ticks: u64, reply: Answering<Result<Reply, Failure>> },
    /// An administrator changes the members.
    Change { change: Change, deadline_ticks: u64, reply: Answering<Result<Reply, Failure>> },
    /// A client reads: the newest state within so many ticks, or without a deadline the state that is here.
    Query { query: Query, deadline_ticks: Option<u64> },
    /// A client waits for the state to change.
    Watch { watch: Watch, deadline_ticks: u64 },
    /// A client does something that needs nobody else, or looks.
    Act { act: Act, changes: bool },
    /// A client reads or writes a register.
    Register { call: RegisterCall, reply: RegisterReply },
    /// Hold an election here.
    Elect { reply: SyncSender<()> },
    /// Something about overlays.
    Overlay(OverlayInput),
    /// A peer's process has ended.
    Disconnected(NodeId),
    /// The snapshot that was due has been encoded.
    Encoded(Ready),
    /// A call: a peer's or a guest's message, whose sender waits for what this node answers.
    Call { sender: Sender, message: Message, clock: Option<Stamp>, reply: Answering<Reaction> },
    /// What came back from a peer, or was let go by a gate.
    Arrived(Vec<Arrival>),
    /// A client proposes.
    Propose { wish: Wish, reply: SyncSender<Outcome> },
    /// A client asks what is known of an instance.
    Decided { instance: Instance, reply: SyncSender<Option<Remembered>> },
    /// Something waits in the intake.
    Waiting,
    /// Forget everything; answers the new generation, or nothing if there is no room to save that it has begun.
    Restart { reply: SyncSender<Option<u64>> },
    /// A client asks how the node is, and about at most so many instances from this one on.
    Status { from: Option<Instance>, limit: usize, reply: SyncSender<Snapshot> },
    /// No more inputs will be answered: write and end.
    Stop,
}

/// A message that was sent to this node.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) sender: Sender,
    pub(crate) message: Message,
    /// Its sender's clocks at the send; absent if it says none.
    pub(crate) clock: Option<Stamp>,
}

/// A client's proposal, before it has a name: see [`Proposal`].
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) instance: Instance,
    pub(crate) value: Value,
    pub(crate) deadline_ticks: u64,
    pub(crate) impatient: u32,
    pub(crate) ballot_ticks: Option<u64>,
}

/// What a message led to at its receiver, for the sender that waits.
#[derive(Debug)]
pub(crate) struct Reaction {
    /// The receiver's generation.
    pub(crate) generation: u64,
    /// The receiver's clocks.
    pub(crate) clock: Stamp,
    /// The message addressed to the sender, if there was one.
    pub(crate) message: Option<Message>,
    /// Why the message was dropped, if it was.
    pub(crate) ignored: Option<&'static str>,
    /// What the link to the sender does to all this.
    pub(crate) fate: Fate,
}

/// What follows from a batch, in order.
pub(super) enum Action {
    Save(Record),
    Note(Record),
    Send(Outgoing),
    React(NodeId, Answering<Reaction>, Reaction),
    Answer(SyncSender<Outcome>, Outcome),
    Tell(SyncSender<Option<Remembered>>, Instance, Option<Remembered>),
    Restarted(SyncSender<Option<u64>>, u64),
    Write(Task),
    /// With the slot of the entry, as [`Event::Replied`] has it.
    Reply(Answering<Result<Reply, Failure>>, Result<Reply, Failure>, Option<u64>),
    Read(Query, Result<(), Failure>),
    /// Reads the state that is here, whatever it is.
    Look(Query),
    Then(Then),
    Finish(RegisterReply, Result<register::Done, register::Failure>),
    Found(SyncSender<OverlayOutcome>, OverlayOutcome),
}
