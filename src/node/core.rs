//! The handle through which connection threads reach the driver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use super::inbox::Inbox;
use super::input::{Answering, Arrival, Input, Query, Reaction, Then, Wish};
use super::intake::{Intake, Lane};
use super::overlay::{Input as OverlayInput, Outcome as OverlayOutcome};
use super::status::Snapshot;
use crate::lab::trace::ring::Ring;
use crate::protocol::Out;
use crate::protocol::durable::Remembered;
use crate::protocol::host::Host;
use crate::protocol::log::members::Change;
use crate::protocol::overlay::{Call, Overlay, Which};
use crate::protocol::paxos::Outcome;
use crate::protocol::register::{self, Register};
use crate::protocol::strong::{Failure, Strong};
use crate::protocol::types::{Instance, NodeId, RequestId};
use crate::rpc::access::Access;
use crate::rpc::peers::Peers;
use crate::service::reply::Reply;

/// What a node is, and the way to its driver. Every call is handed over at once; the receiver yields the answer when
/// the driver has it, and an error if the driver ended first.
pub(crate) struct Core {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    /// Whether it joined a cluster that others founded.
    pub(crate) joined: bool,
    pub(crate) lab: bool,
    pub(crate) access: Access,
    pub(crate) since: Instant,
    pub(crate) peers: Arc<Peers>,
    /// The node's last events.
    pub(crate) ring: Arc<Ring>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) intake: Arc<Intake>,
}

impl Core {
    pub(crate) fn message(&self, said: Arrival) -> Receiver<Reaction> {
        let (reply, reaction) = sync_channel(1);
        self.message_then(said, Box::new(move |reacted| _ = reply.send(reacted)));
        reaction
    }

    /// The same, without a thread that waits.
    pub(crate) fn message_then(&self, Arrival { sender, message, clock }: Arrival, reply: Answering<Reaction>) {
        // If the driver has ended, this and its `reply` are dropped, and whoever waits hears of that.
        _ = self.inbox.send(Input::Call { sender, message, clock, reply });
    }

    pub(crate) fn propose(&self, wish: Wish) -> Receiver<Outcome> {
        self.ask(|reply| Input::Propose { wish, reply })
    }

    pub(crate) fn decided(&self, instance: Instance) -> Receiver<Option<Remembered>> {
        self.ask(|reply| Input::Decided { instance, reply })
    }

    pub(crate) fn restart(&self) -> Receiver<Option<u64>> {
        self.ask(|reply| Input::Restart { reply })
    }

    pub(crate) fn status(&self, from: Option<Instance>, limit: usize) -> Receiver<Snapshot> {
        self.ask(|reply| Input::Status { from, limit, reply })
    }

    /// A client's command for the services; `keyed` if it carries a request id.
    pub(crate) fn command(
        &self,
        command: Vec<u8>,
        keyed: bool,
        deadline_ticks: u64,
    ) -> Receiver<Result<Reply, Failure>> {
        let (reply, answer) = sync_channel(1);
        self.command_then(command, keyed, deadline_ticks, Box::new(move |result| _ = reply.send(result)));
        answer
    }

    /// The same, for a caller that does not wait: the driver runs `reply` with the answer, or drops it when it ends.
    pub(crate) fn command_then(
        &self,
        command: Vec<u8>,
        keyed: bool,
        deadline_ticks: u64,
        reply: Answering<Result<Reply, Failure>>,
    ) {
        self.wait_in(&self.intake.commands, Input::Command { command, keyed, deadline_ticks, reply });
    }

    /// A look at the state: the newest within so many ticks, or without a deadline the one that is here.
    pub(crate) fn query<T: Send + 'static>(
        &self,
        deadline_ticks: Option<u64>,
        look: impl FnOnce(&Strong) -> T + Send + 'static,
    ) -> Receiver<Result<T, Failure>> {
        let (reply, answer) = sync_channel(1);
        self.query_then(deadline_ticks, Box::new(move |strong| _ = reply.send(strong.map(look))));
        answer
    }

    /// The same, for a caller that does not wait.
    pub(crate) fn query_then(&self, deadline_ticks: Option<u64>, query: Query) {
        let input = Input::Query { query, deadline_ticks };
        match deadline_ticks {
            Some(_) => self.wait_in(&self.intake.reads, input),
            None => _ = self.inbox.send(input),
        }
    }

    /// Waits until a look at the state finds something, or so many ticks are over; the look is told when it is the last.
    pub(crate) fn watch<T: Send + 'static>(
        &self,
        deadline_ticks: u64,
        mut look: impl FnMut(&Strong, bool) -> Option<T> + Send + 'static,
    ) -> Receiver<T> {
        self.watch_host(deadline_ticks, move |host, last| look(host.strong()?, last))
    }

    /// The same for a look at anything.
    pub(crate) fn watch_host<T: Send + 'static>(
        &self,
        deadline_ticks: u64,
        mut look: impl FnMut(&Host, bool) -> Option<T> + Send + 'static,
    ) -> Receiver<T> {
        self.ask(|reply| {
            let watch = move |host: &Host, last: bool| match look(host, last) {
                Some(found) => {
                    _ = reply.send(found);
                    true
                }
                None => last,
            };
            Input::Watch { watch: Box::new(watch), deadline_ticks }
        })
    }

    /// Other members.
    pub(crate) fn change(&self, change: Change, deadline_ticks: u64) -> Receiver<Result<Reply, Failure>> {
        self.ask(|reply| {
            let reply = Box::new(move |result| _ = reply.send(result));
            Input::Change { change, deadline_ticks, reply }
        })
    }

    /// Does something with the protocols, or looks at them; answers when all it rests on is saved, or nothing if there is
    /// no room on the disk to do what `changes` something.
    pub(crate) fn act<T: Send + 'static>(
        &self,
        changes: bool,
        act: impl FnOnce(&mut Host, &mut Out) -> T + Send + 'static,
    ) -> Receiver<Option<T>> {
        self.ask(|reply| {
            let act = move |host: Option<(&mut Host, &mut Out)>| -> Then {
                let answer = host.map(|(host, out)| act(host, out));
                Box::new(move |saved| _ = reply.send(answer.filter(|_| saved)))
            };
            Input::Act { act: Box::new(act), changes }
        })
    }

    /// A call of a register.
    pub(crate) fn register(
        &self,
        call: impl FnOnce(&mut Register, RequestId, &mut Out) + Send + 'static,
    ) -> Receiver<Result<register::Done, register::Failure>> {
        self.ask(|reply| Input::Register { call: Box::new(call), reply })
    }

    pub(crate) fn elect(&self) -> Receiver<()> {
        self.ask(|reply| Input::Elect { reply })
    }

    /// A client's call about a key of an overlay.
    pub(crate) fn seek(&self, which: Which, call: Call, deadline_ticks: u64) -> Receiver<OverlayOutcome> {
        self.ask(|reply| Input::Overlay(OverlayInput::Call { which, call, deadline_ticks, reply }))
    }

    pub(crate) fn join_ring(&self, deadline_ticks: u64) -> Receiver<OverlayOutcome> {
        self.ask(|reply| Input::Overlay(OverlayInput::Join { deadline_ticks, reply }))
    }

    pub(crate) fn leave_ring(&self, deadline_ticks: u64) -> Receiver<OverlayOutcome> {
        self.ask(|reply| Input::Overlay(OverlayInput::Leave { deadline_ticks, reply }))
    }

    /// A look at the overlays as they are here.
    pub(crate) fn look<T: Send + 'static>(&self, look: impl FnOnce(&Overlay) -> T + Send + 'static) -> Receiver<T> {
        self.ask(|reply| Input::Overlay(OverlayInput::Look(Box::new(move |overlay| _ = reply.send(look(overlay))))))
    }

    /// Brings several calls to the driver for one turn.
    pub(crate) fn together<T>(&self, bring: impl FnOnce() -> T) -> T {
        self.inbox.together(bring)
    }

    fn wait_in(&self, lane: &Lane, input: Input) {
        if lane.push(input) {
            // If the driver ends at this moment, it closes the lane, which drops what waits there.
            _ = self.inbox.send(Input::Waiting);
        }
    }

    fn ask<T>(&self, input: impl FnOnce(SyncSender<T>) -> Input) -> Receiver<T> {
        let (reply, answer) = sync_channel(1);
        // If the driver has ended, the input and its `reply` are dropped, and the receiver says so.
        _ = self.inbox.send(input(reply));
        answer
    }
}
