//! The handle through which connection threads reach the driver.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender as Inbox, SyncSender, sync_channel};
use std::time::Instant;

use super::driver::{Input, Reaction, Wish};
use super::status::Snapshot;
use crate::protocol::Message;
use crate::protocol::durable::Remembered;
use crate::protocol::host::Sender;
use crate::protocol::paxos::Outcome;
use crate::protocol::types::{Instance, NodeId};
use crate::rpc::access::Access;
use crate::rpc::peers::Peers;

/// What a node is, and the way to its driver. Every call is handed over at once; the receiver yields the answer when
/// the driver has it, and an error if the driver ended first.
pub(crate) struct Core {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) members: BTreeMap<NodeId, String>,
    pub(crate) lab: bool,
    pub(crate) access: Access,
    pub(crate) since: Instant,
    pub(crate) peers: Arc<Peers>,
    pub(super) inbox: Inbox<Input>,
}

impl Core {
    pub(crate) fn message(&self, sender: Sender, message: Message) -> Receiver<Reaction> {
        self.ask(|reply| Input::Call { sender, message, reply })
    }

    pub(crate) fn propose(&self, wish: Wish) -> Receiver<Outcome> {
        self.ask(|reply| Input::Propose { wish, reply })
    }

    pub(crate) fn decided(&self, instance: Instance) -> Receiver<Option<Remembered>> {
        self.ask(|reply| Input::Decided { instance, reply })
    }

    pub(crate) fn restart(&self) -> Receiver<u64> {
        self.ask(|reply| Input::Restart { reply })
    }

    pub(crate) fn status(&self, from: Option<Instance>, limit: usize) -> Receiver<Snapshot> {
        self.ask(|reply| Input::Status { from, limit, reply })
    }

    fn ask<T>(&self, input: impl FnOnce(SyncSender<T>) -> Input) -> Receiver<T> {
        let (reply, answer) = sync_channel(1);
        // If the driver has ended, the input and its `reply` are dropped, and the receiver says so.
        _ = self.inbox.send(input(reply));
        answer
    }
}
