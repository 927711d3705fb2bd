//! What the driver does when the disk takes no more: see [`crate::protocol::strong::room`].
//!
//! - The store has spent its reserve: the protocols go on, and are told to refuse what clients write.
//! - A save has failed all the same: the protocols go back to what is on disk, whoever waits is told what is known, and
//!   until there is room again the node is as silent to the others as if it were down. From the state that is on its disk
//!   it answers whoever asks for that.
//!
//! Either way the store is asked again and again whether there is room.

use std::time::{Duration, Instant};

use log::warn;

use super::driver::Driver;
use super::input::{Action, Input, Reaction};

use super::overlay::Clients;
use crate::lab::links::Fate;
use crate::lab::trace::Kind;
use crate::lab::trace::about::About;
use crate::protocol::paxos::Outcome;
use crate::protocol::strong::Failure;
use crate::protocol::strong::room::withheld;
use crate::protocol::{overlay, register};
use crate::store::StoreError;

/// How long it takes until the store is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// What a caller hears whose message is not handled.
const IGNORED: &str = "this node's disk is full, and it takes part in nothing until there is room";

/// Whether there is room on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Room {
    /// As far as is known.
    #[default]
    Enough,
    /// No more than a reserve.
    Short { next_try: Instant },
    /// A save has failed.
    Out { next_try: Instant },
}

impl Room {
    pub(super) const fn is_out(self) -> bool {
        matches!(self, Self::Out { .. })
    }

    pub(super) const fn shown(self) -> Option<&'static str> {
        match self {
            Self::Enough => None,
            Self::Short { .. } => Some("reserve"),
            Self::Out { .. } => Some("full"),
        }
    }
}

impl Driver {
    /// A batch could not be saved, and nothing of it was: nothing that waited for it may happen.
    pub(super) fn lose_room(&mut self, actions: Vec<Action>, error: &StoreError) -> Result<(), StoreError> {
        warn!("this node takes part in nothing until there is room: {error}");
        // It will be relied on, so it must be synced.
        self.store.idle()?;
        let durable = self.store.load()?;
        self.witness.record(&mut self.clocks, Kind::Restart, || About::text("the disk is full: back to what is on it"));
        let reached = self.host.lose_room(durable, &mut self.out);
        self.records.clear();
        self.room = Room::Out { next_try: Instant::now() + RETRY };
        self.collect(None, None);
        let told = std::mem::take(&mut self.actions);
        actions.into_iter().for_each(|action| self.withhold(action, reached));
        for action in told {
            match action {
                Action::Send(outgoing) => self.peers.send(outgoing),
                Action::Answer(client, outcome) => _ = client.send(outcome),
                Action::Reply(client, result, _) => client(result),
                Action::Finish(client, result) => _ = client.send(result),
                Action::Found(client, result) => _ = client.send(result),
                Action::Read(query, result) => self.read(query, result),
                _ => {}
            }
        }
        Ok(())
    }

    /// What waited for a save does not happen; who waited is told what is known.
    fn withhold(&self, action: Action, reached: u64) {
        let node = self.host.id();
        match action {
            Action::React(_, caller, _) => caller(self.silence()),
            Action::Answer(client, Outcome::Chosen { ballot, attempts, .. }) => {
                let alone = self.host.members().len() == 1;
                let unknown = Outcome::Unknown { ballot, silent: Vec::new(), attempts };
                _ = client.send(if alone { Outcome::NoRoom } else { unknown });
            }
            Action::Answer(client, outcome) => _ = client.send(outcome),
            Action::Tell(client, instance, _) => _ = client.send(self.host.paxos().remembered(&instance).cloned()),
            Action::Restarted(client, _) => _ = client.send(None),
            Action::Reply(client, result, entry) => client(withheld(node, result, entry, reached)),
            Action::Read(query, result) => self.read(query, result.and(Err(Failure::NoRoom { node }))),
            Action::Look(query) => self.read(query, Ok(())),
            Action::Then(then) => then(false),
            // The others may hold it.
            Action::Finish(client, result) => _ = client.send(result.and(Err(register::Failure::Restarted))),
            Action::Found(client, result) => _ = client.send(result.and(Err(overlay::Failure::Restarted))),
            Action::Save(_) | Action::Note(_) | Action::Send(_) | Action::Write(_) => {}
        }
    }

    /// To a message that is not handled.
    fn silence(&self) -> Reaction {
        let (generation, clock) = (self.host.generation(), self.clocks.now().clone());
        Reaction { generation, clock, message: None, ignored: Some(IGNORED), fate: Fate::Passes }
    }

    /// An input, while nothing can be saved.
    pub(super) fn step_without_room(&mut self, input: Input) {
        let node = self.host.id();
        // Whoever asked may have gone.
        match input {
            Input::Call { reply, .. } => reply(self.silence()),
            Input::Propose { reply, .. } => _ = reply.send(Outcome::NoRoom),
            Input::Restart { reply } => _ = reply.send(None),
            Input::Decided { instance, reply } => _ = reply.send(self.host.paxos().remembered(&instance).cloned()),
            Input::Command { reply, .. } | Input::Change { reply, .. } => reply(Err(Failure::NoRoom { node })),
            Input::Query { query, deadline_ticks: None } => self.read(query, Ok(())),
            Input::Query { query, .. } => self.read(query, Err(Failure::NoRoom { node })),
            Input::Watch { watch, deadline_ticks } => self.watch(watch, deadline_ticks),
            Input::Act { act, changes: true } => act(None)(false),
            Input::Act { act, changes: false } => {
                let then = act(Some((&mut self.host, &mut self.out)));
                then(self.out.is_empty());
                _ = self.out.drain();
            }
            Input::Overlay(input) => {
                if let Some(overlay) = self.host.overlay() {
                    Clients::step_without_room(overlay, input);
                }
            }
            Input::Register { reply, .. } => _ = reply.send(Err(register::Failure::NoRoom)),
            Input::Status { from, limit, reply } => _ = reply.send(self.snapshot(from.as_ref(), limit)),
            Input::Elect { reply } => _ = reply.send(()),
            Input::Arrived(_) | Input::Disconnected(_) | Input::Encoded(_) | Input::Waiting | Input::Stop => {}
        }
    }

    /// Sees whether room has been lost or found.
    pub(super) fn mind_room(&mut self) -> Result<(), StoreError> {
        match self.room {
            Room::Enough if self.store.is_short() => {
                self.host.set_short(true);
                self.room = Room::Short { next_try: Instant::now() + RETRY };
            }
            Room::Short { next_try } | Room::Out { next_try } if next_try <= Instant::now() => {
                if self.store.find_room()? {
                    warn!("there is room again: this node takes writes of clients");
                    self.host.set_short(false);
                    self.room = Room::Enough;
                } else if let Room::Short { next_try } | Room::Out { next_try } = &mut self.room {
                    *next_try = Instant::now() + RETRY;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
