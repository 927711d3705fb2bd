//! A central index, as in Napster: one node knows who holds which key, and the key stays where it was set.
//!
//! # The story
//!
//! - *Set*: the node asks the index whether it is there at all, saves the value itself, and has itself entered as the
//!   holder. The index saves the entry before it confirms it, and tells the holder before to let go of its copy.
//! - *Get*: the index says who holds the key, and that node has the value: two hops, whatever the number of nodes.
//! - *Remove*: the index takes out the entry, and tells the holder.
//!
//! # Messages
//!
//! | message | sent by | when | answered with |
//! |---|---|---|---|
//! | `Ask` | who is asked by a client | first | `Holder` |
//! | `Enter` | who has saved a value | to the index | `Entered` |
//! | `Strike` | who removes a key | to the index | `Entered` |
//! | `Fetch` | who knows the holder | | `Held` |
//! | `Drop` | the index | to a holder whose entry is gone | |
//!
//! # Invariants
//!
//! - The index names one holder for each key, and that holder has saved the value that was acknowledged, or a newer one.
//! - An entry is saved before it is confirmed. A copy is dropped only by the serial number that the entry had.
//!
//! # Caveats
//!
//! - The index is always the member with the lowest id. When it is down nothing is found, set or removed; when a holder is
//!   down its keys are not found. That is what the other two overlays are for.
//! - A copy whose entry was never confirmed stays on its node until the next set of that key there.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::items::Items;
use super::{Answer, Call, Failure, Item, Key, Record, Shelf, Stamp, Version, done};
use crate::protocol::Out;
use crate::protocol::types::{NodeId, RequestId};

/// What was not answered by then is asked again.
const ANSWER_TICKS: u64 = 50;

/// What nodes say to each other; see the table above.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the table says what they are for")]
pub enum Message {
    Ask {
        id: u64,
        key: Key,
    },
    /// The stamp's node is the holder, the counter its serial number.
    Holder {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        entry: Option<Stamp>,
        room: bool,
    },
    Enter {
        id: u64,
        key: Key,
        serial: u64,
    },
    Strike {
        id: u64,
        key: Key,
    },
    Entered {
        id: u64,
        done: bool,
    },
    Fetch {
        id: u64,
        key: Key,
    },
    Held {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
    },
    Drop {
        key: Key,
        serial: u64,
    },
}

impl Message {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Ask { .. } => "index.ask",
            Self::Holder { .. } => "index.holder",
            Self::Enter { .. } => "index.enter",
            Self::Strike { .. } => "index.strike",
            Self::Entered { .. } => "index.entered",
            Self::Fetch { .. } => "index.fetch",
            Self::Held { .. } => "index.held",
            Self::Drop { .. } => "index.drop",
        }
    }

    pub(super) const fn key(&self) -> Option<&Key> {
        match self {
            Self::Ask { key, .. }
            | Self::Enter { key, .. }
            | Self::Strike { key, .. }
            | Self::Fetch { key, .. }
            | Self::Drop { key, .. } => Some(key),
            _ => None,
        }
    }
}

impl From<Message> for crate::protocol::Message {
    fn from(message: Message) -> Self {
        super::Message::Index(message).into()
    }
}

/// One node of the overlay with an index, or the index itself.
#[derive(Debug)]
pub struct Index {
    me: NodeId,
    /// Who is the index.
    server: NodeId,
    items: Items,
    directory: Items,
    calls: BTreeMap<u64, Running>,
    now: u64,
    next_id: u64,
    next_serial: u64,
}

/// A call under way.
#[derive(Debug)]
struct Running {
    request: RequestId,
    call: Call,
    deadline: u64,
    state: State,
    /// When to ask again.
    until: u64,
    holder: Option<NodeId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The index is asked who holds the key.
    Asking,
    /// The holder is asked for it.
    Fetching(NodeId),
    /// The index is told who holds it now.
    Entering { serial: u64 },
    /// The index is told that nobody shall hold it.
    Striking,
}

impl Index {
    /// Starts from what the node remembers.
    #[must_use]
    pub fn new(me: NodeId, server: NodeId, items: Items, directory: Items, mut rng: Pcg64Mcg) -> Self {
        let next_id = u64::from(rng.random::<u32>()) << 24;
        // Never used before by this node, as good as certainly: an old `Drop` must not fit a new copy.
        let next_serial = u64::from(rng.random::<u32>()) << 24;
        Self { me, server, items, directory, calls: BTreeMap::new(), now: 0, next_id, next_serial }
    }

    /// A client asks.
    pub fn call(&mut self, request: RequestId, call: Call, deadline_ticks: u64, out: &mut Out) {
        self.next_id += 1;
        let deadline = self.now.saturating_add(deadline_ticks);
        let running = Running { request, call, deadline, state: State::Asking, until: 0, holder: None };
        self.calls.insert(self.next_id, running);
        self.ask(self.next_id, out);
    }

    /// Says, once more perhaps, what this state of the call has to say.
    fn ask(&mut self, id: u64, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id) else { return };
        running.until = self.now + ANSWER_TICKS;
        let key = running.call.key().clone();
        match running.state {
            State::Asking => out.send(self.server, Message::Ask { id, key }),
            State::Fetching(holder) => out.send(holder, Message::Fetch { id, key }),
            State::Entering { serial } => out.send(self.server, Message::Enter { id, key, serial }),
            State::Striking => out.send(self.server, Message::Strike { id, key }),
        }
    }

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Ask { id, key } => {
                let entry = self.directory.version(&key).map(|version| version.stamp);
                let room = entry.is_some() || self.directory.len() < super::items::MAX_KEYS;
                out.send(from, Message::Holder { id, entry, room });
            }
            Message::Enter { id, key, serial } => self.on_enter(from, id, key, serial, out),
            Message::Strike { id, key } => self.on_strike(from, id, key, out),
            Message::Fetch { id, key } => {
                let version = self.items.version(&key).cloned();
                out.send(from, Message::Held { id, version });
            }
            Message::Drop { key, serial } => {
                let held = self.items.version(&key).map(|version| version.stamp.counter);
                if from == self.server && (held == Some(serial) || mutant!(IndexDropsAny)) {
                    self.items.forget(&key);
                    out.save(Record::Release { shelf: Shelf::Index, key }.into());
                }
            }
            Message::Holder { id, entry, room } if from == self.server => self.on_holder(id, entry, room, out),
            Message::Entered { id, done } if from == self.server => self.on_entered(id, done, out),
            Message::Held { id, version } => self.on_held(from, id, version, out),
            Message::Holder { .. } | Message::Entered { .. } => out.ignore(from, "the sender is not the index"),
        }
    }

    // The index.

    fn on_enter(&mut self, from: NodeId, id: u64, key: Key, serial: u64, out: &mut Out) {
        if self.me != self.server {
            return out.ignore(from, "this node is not the index");
        }
        let stamp = Stamp { counter: serial, node: from };
        let item = Item { key: key.clone(), version: Version { stamp, value: None } };
        let before = self.directory.version(&key).map(|version| version.stamp);
        if serial > Stamp::MAX_COUNTER || (before.is_none() && !self.directory.has_room(&item)) {
            return out.send(from, Message::Entered { id, done: false });
        }
        if mutant!(IndexKeepsFirst) && before.is_some() {
            return out.send(from, Message::Entered { id, done: true });
        }
        if before != Some(stamp) {
            if !mutant!(IndexEntryUnsaved) {
                out.save(Record::Hold { shelf: Shelf::Directory, item: item.clone() }.into());
            }
            self.directory.put(item);
        }
        out.send(from, Message::Entered { id, done: true });
        // A holder that sets the key again has only its new copy.
        if let Some(before) = before.filter(|before| before.node != from) {
            out.send(before.node, Message::Drop { key, serial: before.counter });
        }
    }

    fn on_strike(&mut self, from: NodeId, id: u64, key: Key, out: &mut Out) {
        if self.me != self.server {
            return out.ignore(from, "this node is not the index");
        }
        if let Some(before) = self.directory.version(&key).map(|version| version.stamp) {
            if !mutant!(IndexStrikesNothing) {
                out.save(Record::Release { shelf: Shelf::Directory, key: key.clone() }.into());
                self.directory.forget(&key);
            }
            out.send(before.node, Message::Drop { key, serial: before.counter });
        }
        out.send(from, Message::Entered { id, done: true });
    }

    // Everyone else, and the index for its own clients.

    fn on_holder(&mut self, id: u64, entry: Option<Stamp>, room: bool, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id).filter(|running| running.state == State::Asking) else { return };
        running.holder = entry.map(|entry| entry.node);
        match (&running.call, entry) {
            (Call::Get { .. }, None) => return self.finish(id, Ok(None), out),
            (Call::Get { .. }, Some(entry)) => running.state = State::Fetching(entry.node),
            (Call::Remove { .. }, None) => return self.finish(id, Err(Failure::NotFound), out),
            (Call::Remove { .. }, Some(_)) => running.state = State::Striking,
            (Call::Set { .. }, _) if !room => return self.finish(id, Err(Failure::Full), out),
            (Call::Set { key, value }, _) => {
                self.next_serial += 1;
                let stamp = Stamp { counter: self.next_serial, node: self.me };
                let item = Item { key: key.clone(), version: Version { stamp, value: Some(value.clone()) } };
                if !self.items.has_room(&item) {
                    return self.finish(id, Err(Failure::Full), out);
                }
                running.state = State::Entering { serial: self.next_serial };
                if !mutant!(IndexEntersUnsaved) {
                    out.save(Record::Hold { shelf: Shelf::Index, item: item.clone() }.into());
                }
                self.items.put(item);
            }
        }
        self.ask(id, out);
    }

    fn on_entered(&mut self, id: u64, is_done: bool, out: &mut Out) {
        let Some(running) = self.calls.get(&id) else { return };
        if matches!(running.state, State::Entering { .. } | State::Striking) {
            let refused = Failure::Unknown("the index is full; the value is saved here, and may not be found");
            self.finish(id, if is_done { Ok(None) } else { Err(refused) }, out);
        }
    }

    fn on_held(&mut self, from: NodeId, id: u64, version: Option<Version>, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id).filter(|running| running.state == State::Fetching(from)) else {
            return;
        };
        match version {
            Some(version) => self.finish(id, Ok(version.value), out),
            // It was set elsewhere, or removed, meanwhile: the index knows. At the next tick, so that two who disagree do
            // not keep each other busy.
            None => (running.state, running.until) = (State::Asking, self.now + 1),
        }
    }

    fn finish(&mut self, id: u64, result: Result<Option<crate::protocol::types::Value>, Failure>, out: &mut Out) {
        let Some(running) = self.calls.remove(&id) else { return };
        let mut hops = vec![self.me];
        let holder = running.holder.filter(|_| !matches!(running.call, Call::Set { .. }));
        for node in [Some(self.server), holder].into_iter().flatten() {
            if !hops.contains(&node) {
                hops.push(node);
            }
        }
        let copies = usize::from(running.holder.is_some() || matches!(running.call, Call::Set { .. }));
        done(running.request, result.map(|value| Answer { value, hops, copies, messages: 0 }), out);
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now += 1;
        let due = |running: &Running| running.until <= self.now || running.deadline <= self.now;
        let due: Vec<u64> = self.calls.iter().filter(|(_, running)| due(running)).map(|(&id, _)| id).collect();
        for id in due {
            let Some(running) = self.calls.get(&id) else { continue };
            if running.deadline > self.now {
                self.ask(id, out);
                continue;
            }
            let failure = match running.state {
                State::Asking => Failure::Unavailable("the index does not answer"),
                State::Fetching(_) => Failure::Unavailable("the node that holds the key does not answer"),
                State::Entering { .. } => Failure::Unknown("the index has not confirmed the entry"),
                State::Striking => Failure::Unknown("the index has not confirmed that the entry is gone"),
            };
            self.finish(id, Err(failure), out);
        }
    }

    /// Who waits for an answer.
    pub fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.calls.values().map(|running| running.request)
    }

    /// Who is the index.
    #[must_use]
    pub const fn server(&self) -> NodeId {
        self.server
    }

    /// What was set here.
    #[must_use]
    pub const fn items(&self) -> &Items {
        &self.items
    }

    /// The entries, if this is the index.
    #[must_use]
    pub const fn directory(&self) -> &Items {
        &self.directory
    }
}

#[cfg(test)]
pub(crate) mod tests;
