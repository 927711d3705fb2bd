//! What the driver tells the node's ring of events: each is one more event of the node's logical clocks.

use std::sync::Arc;

use crate::lab::trace::Kind;
use crate::lab::trace::about::About;
use crate::lab::trace::ring::{MessageId, Ring};
use crate::protocol::bully::State;
use crate::protocol::clock::{Clocks, Stamp};
use crate::protocol::host::Sender;
use crate::protocol::strong::Strong;
use crate::protocol::types::{Ballot, NodeId};
use crate::protocol::{Event, Message, Record, log};

/// Sees what the protocols do.
#[derive(Debug)]
pub(super) struct Witness {
    ring: Arc<Ring>,
    /// What the node did about its leader when it was last looked at.
    view: Option<(State, Option<Ballot>)>,
}

impl Witness {
    pub(super) const fn new(ring: Arc<Ring>) -> Self {
        Self { ring, view: None }
    }

    /// Something that happens here alone.
    pub(super) fn record(&self, clocks: &mut Clocks, kind: Kind, about: impl FnOnce() -> About) {
        if self.ring.is_on() {
            self.ring.record(kind, &clocks.tick(), about);
        }
    }

    /// A record that must be synced.
    pub(super) fn saves(&self, clocks: &mut Clocks, record: &Record) {
        self.record(clocks, Kind::Save, || About::record(record));
    }

    /// What the protocols tell the outside; that a client's command was applied happens too often to be told of.
    pub(super) fn told(&self, clocks: &mut Clocks, event: &Event) {
        if !matches!(event, Event::Replied { .. } | Event::Readable { .. }) {
            self.record(clocks, Kind::Tell, || About::news(event));
        }
    }

    /// A message was received, and counted: the clocks show the receipt.
    pub(super) fn received(&self, clocks: &Clocks, sender: Sender, clock: Option<&Stamp>, message: &Message) {
        let id = clock.map(|clock| MessageId::of(sender.from, clock));
        self.ring.message(Kind::Receive, clocks.now(), id, sender.from, message);
    }

    /// A message will leave with this stamp.
    pub(super) fn sent(&self, me: NodeId, stamp: &Stamp, to: NodeId, message: &Message) {
        self.ring.message(Kind::Send, stamp, Some(MessageId::of(me, stamp)), to, message);
    }

    /// An answer that was to travel back with a call is lost on its link.
    pub(super) fn lost(&self, me: NodeId, stamp: &Stamp, to: NodeId, message: &Message) {
        self.ring.message(Kind::Lose, stamp, Some(MessageId::of(me, stamp)), to, message);
    }

    /// Looks whether the node does something else about its leader than before.
    pub(super) fn look(&mut self, clocks: &mut Clocks, strong: Option<&Strong>) {
        let Some(strong) = strong.filter(|_| self.ring.is_on()) else { return };
        let status = strong.bully().status();
        let view = (status.state, status.epoch);
        let Some(before) = self.view.replace(view).filter(|before| *before != view) else { return };
        let hears = || {
            let nodes: Vec<String> = status.hears.iter().map(ToString::to_string).collect();
            format!("hears {}", if nodes.is_empty() { "nobody".to_owned() } else { nodes.join(", ") })
        };
        let mut tell = |name: &'static str, ballot: Option<Ballot>| {
            self.ring.record(Kind::Tell, &clocks.tick(), || About { ballot, ..About::named(name, hears()) });
        };
        if before.0 == State::Coordinating && view.0 != State::Coordinating {
            tell("StepsDown", before.1);
        } else if before.0 == State::Following && matches!(view.0, State::Looking | State::Electing | State::Yielding) {
            tell("Looks", before.1);
        }
        match view.0 {
            State::Electing => tell("Stands", None),
            State::Coordinating => tell("Coordinates", view.1),
            State::Following => tell("Follows", view.1),
            State::Looking | State::Yielding | State::Won => {}
        }
    }
}

/// Whether a message may change what a node does about its leader.
pub(super) const fn concerns_leader(message: &Message) -> bool {
    match message {
        Message::Bully(_) => true,
        Message::Log(message) => {
            matches!(message, log::Message::Prepare { .. } | log::Message::Promise { .. } | log::Message::Reject { .. })
        }
        _ => false,
    }
}
