//! Encodes snapshots, each in a thread of its own, which ends with it: there is seldom one, and never a second meanwhile.

use std::sync::Arc;
use std::thread;

use log::warn;

use super::inbox::Inbox;
use super::input::Input;
use crate::protocol::strong::snapshots::Due;
use crate::protocol::types::NodeId;

/// The driver's end.
pub(super) struct Encoder {
    id: NodeId,
    inbox: Arc<Inbox>,
}

impl Encoder {
    pub(super) const fn new(id: NodeId, inbox: Arc<Inbox>) -> Self {
        Self { id, inbox }
    }

    /// Encodes a snapshot; what comes of it is an input.
    pub(super) fn encode(&self, due: Due) {
        let (due, inbox) = (Arc::new(due), self.inbox.clone());
        let own = due.clone();
        // If the driver has ended, nobody misses the snapshot.
        let run = move || _ = inbox.send(Input::Encoded(own.encode()));
        if let Err(error) = thread::Builder::new().name(format!("{} snapshot", self.id)).spawn(run) {
            warn!("no thread could be started for a snapshot, so everything waits for it: {error}");
            _ = self.inbox.send(Input::Encoded(due.encode()));
        }
    }
}
