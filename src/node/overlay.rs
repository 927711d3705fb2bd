//! The driver's part in the overlays: clients' calls in, their answers out.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;

use crate::protocol::Out;
use crate::protocol::overlay::{Answer, Call, Failure, Overlay, Which};
use crate::protocol::types::RequestId;

/// What became of a call.
pub(crate) type Outcome = Result<Answer, Failure>;

/// What reaches the driver about overlays.
pub(crate) enum Input {
    /// A client's call about a key.
    Call { which: Which, call: Call, deadline_ticks: u64, reply: SyncSender<Outcome> },
    /// Be part of the ring.
    Join { deadline_ticks: u64, reply: SyncSender<Outcome> },
    /// Hand over all keys, and be part of the ring no more.
    Leave { deadline_ticks: u64, reply: SyncSender<Outcome> },
    /// A look at what there is.
    Look(Box<dyn FnOnce(&Overlay) + Send>),
}

/// The clients that wait for an overlay.
#[derive(Default)]
pub(super) struct Clients(BTreeMap<RequestId, SyncSender<Outcome>>);

impl Clients {
    /// Hands an input to the protocols.
    pub(super) fn step(&mut self, overlay: &mut Overlay, request: RequestId, input: Input, out: &mut Out) {
        match input {
            Input::Call { which, call, deadline_ticks, reply } => {
                self.0.insert(request, reply);
                overlay.call(which, request, call, deadline_ticks, out);
            }
            Input::Join { deadline_ticks, reply } => {
                self.0.insert(request, reply);
                overlay.chord_mut().join(request, deadline_ticks, out);
            }
            Input::Leave { deadline_ticks, reply } => {
                self.0.insert(request, reply);
                overlay.chord_mut().leave(request, deadline_ticks, out);
            }
            Input::Look(look) => look(overlay),
        }
    }

    /// What is answered while nothing can be saved.
    pub(super) fn step_without_room(overlay: &Overlay, input: Input) {
        match input {
            Input::Call { reply, .. } | Input::Join { reply, .. } | Input::Leave { reply, .. } => {
                _ = reply.send(Err(Failure::Refused("its disk is full")));
            }
            Input::Look(look) => look(overlay),
        }
    }

    /// Who waits for this call, no longer.
    pub(super) fn take(&mut self, request: RequestId) -> Option<SyncSender<Outcome>> {
        self.0.remove(&request)
    }
}
