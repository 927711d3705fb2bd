//! A central index, as in Napster: one node knows who holds which key, and the key stays where it was set.
//!
//! # The story
//!
//! - *Set*: the node asks the index, which gives it a *serial number* for the new copy; it saves the value with that, and
//!   has itself entered as the holder. The index saves the entry before it confirms it, and tells the holder before to let
//!   go of its copy.
//! - *Get*: the index says who holds the key, and that node has the value: two hops, whatever the number of nodes.
//! - *Remove*: the index takes out the entry that it named, and tells the holder.
//! - *Claim*: from time to time each node names some of its copies. The index tells it to drop those that another holder
//!   has superseded: the word that they are to go may have been lost.
//!
//! A serial number is good for one entry. A message that was doubled, and comes when the key has had another holder for
//! long, finds its number used up; so does one that strikes out an entry which is there no more. Whoever is refused asks
//! anew; and so does a call that gets its number when another one of the same node has saved the key under a later one.
//!
//! # Messages
//!
//! | message | sent by | when | answered with |
//! |---|---|---|---|
//! | `Ask` | who is asked by a client | first, and when it went wrong | `Holder` |
//! | `Enter` | who has saved a value | to the index | `Entered` |
//! | `Strike` | who removes a key | to the index | `Entered` |
//! | `Fetch` | who knows the holder | | `Held` |
//! | `Claim` | who holds copies | to the index, from time to time | `Drop`, perhaps |
//! | `Drop` | the index | to a holder whose entry is gone | |
//!
//! # Invariants
//!
//! - The index names one holder for each key, and that holder has saved the value that was acknowledged, or a newer one.
//! - An entry is saved before it is confirmed. A serial number is given once, also across a crash of the index, and is
//!   entered once. A copy is dropped only by the serial number that the index knows to be superseded.
//!
//! # Caveats
//!
//! - The index is always the founding member with the lowest id. When it is down nothing is found, set or removed; when a
//!   holder is down its keys are not found. That is what the other two overlays are for.
//! - A copy that has no entry, because none was confirmed, or because the key was removed while its node was down, stays on
//!   its node until the next set of that key; nobody is sent there. An index without entries may be one that has lost its
//!   disk, so it has nothing destroyed.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::items::Items;
use super::numbers::Numbers;
use super::{Answer, Call, Failure, Item, Key, Memory, Record, Shelf, Stamp, Version, done};
use crate::protocol::Out;
use crate::protocol::types::{NodeId, RequestId, Value};

/// What was not answered by then is asked again.
const ANSWER_TICKS: u64 = 50;
/// Who was sent to a holder that has nothing, or was refused, asks again after so long: two who disagree do not keep each
/// other busy.
const AGAIN_TICKS: u64 = 1;
/// Once in so many ticks a node claims ...
const CLAIM_TICKS: u64 = 100;
/// ... so many of its copies at most.
const MAX_CLAIMS: usize = 64;
/// So many serial numbers may be on their way to become entries; then the oldest are void.
const MAX_TICKETS: usize = 4096;

/// What nodes say to each other; see the table above.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the table says what they are for")]
pub enum Message {
    Ask {
        id: u64,
        key: Key,
        sets: bool,
    },
    /// The entry's node is the holder, the counter the serial number of its copy. To who sets the key, with the serial
    /// number of the new copy, if there is room for it.
    Holder {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        entry: Option<Stamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<u64>,
    },
    Enter {
        id: u64,
        key: Key,
        serial: u64,
    },
    Strike {
        id: u64,
        key: Key,
        entry: Stamp,
    },
    Entered {
        id: u64,
        serial: u64,
        done: bool,
    },
    Fetch {
        id: u64,
        key: Key,
    },
    Claim {
        copies: Vec<(Key, u64)>,
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
            Self::Claim { .. } => "index.claim",
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
    /// For the serial numbers that the index gives.
    numbers: Numbers,
    /// To whom it gave them, for which key, until they are entered.
    tickets: BTreeMap<u64, (NodeId, Key)>,
    calls: BTreeMap<u64, Running>,
    now: u64,
    next_id: u64,
    next_claim: u64,
    /// The last key that was claimed.
    claimed: Option<Key>,
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
    /// Whether something has left that changes an entry.
    written: bool,
    /// The entry whose holder said that it has nothing.
    empty: Option<Stamp>,
    /// The highest serial number under which this node has saved the key since the call began.
    saved: u64,
    /// What was in the way last.
    trouble: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The index is asked who holds the key.
    Asking,
    /// The holder is asked for it.
    Fetching(Stamp),
    /// The index is told who holds it now.
    Entering { serial: u64 },
    /// The index is told that nobody shall hold it as this entry says.
    Striking(Stamp),
}

impl Index {
    /// Starts from what the node remembers, and takes that.
    #[must_use]
    pub fn new(me: NodeId, server: NodeId, memory: &mut Memory, mut rng: Pcg64Mcg) -> Self {
        Self {
            me,
            server,
            items: std::mem::take(&mut memory.index),
            directory: std::mem::take(&mut memory.directory),
            numbers: Numbers::new(Shelf::Directory, memory.reserved(Shelf::Directory)),
            tickets: BTreeMap::new(),
            calls: BTreeMap::new(),
            now: 0,
            next_id: u64::from(rng.random::<u32>()) << 24,
            next_claim: rng.random_range(1..=CLAIM_TICKS),
            claimed: None,
        }
    }

    pub(super) fn is_blank(&self) -> bool {
        self.items.is_empty() && self.directory.is_empty() && self.numbers.is_blank()
    }

    /// A client asks.
    pub fn call(&mut self, request: RequestId, call: Call, deadline_ticks: u64, out: &mut Out) {
        self.next_id += 1;
        let deadline = self.now.saturating_add(deadline_ticks);
        let (holder, empty, trouble) = (None, None, "the index does not answer");
        let state = State::Asking;
        let (until, written, saved) = (0, false, 0);
        let running = Running { request, call, deadline, state, until, holder, written, empty, saved, trouble };
        self.calls.insert(self.next_id, running);
        self.ask(self.next_id, out);
    }

    /// Says, once more perhaps, what this state of the call has to say.
    fn ask(&mut self, id: u64, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id) else { return };
        running.until = self.now + ANSWER_TICKS;
        let key = running.call.key().clone();
        match running.state {
            State::Asking => {
                let sets = matches!(running.call, Call::Set { .. });
                out.send(self.server, Message::Ask { id, key, sets });
            }
            State::Fetching(entry) => out.send(entry.node, Message::Fetch { id, key }),
            State::Entering { serial } => out.send(self.server, Message::Enter { id, key, serial }),
            State::Striking(entry) => out.send(self.server, Message::Strike { id, key, entry }),
        }
    }

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        let is_server = self.me == self.server;
        match message {
            Message::Ask { .. } | Message::Enter { .. } | Message::Strike { .. } | Message::Claim { .. }
                if !is_server =>
            {
                out.ignore(from, "this node is not the index");
            }
            Message::Ask { id, key, sets } => self.on_ask(from, id, key, sets, out),
            Message::Enter { id, key, serial } => self.on_enter(from, id, key, serial, out),
            Message::Strike { id, key, entry } => self.on_strike(from, id, key, entry, out),
            Message::Claim { copies } => self.on_claim(from, copies, out),
            Message::Fetch { id, key } => {
                let version = self.items.version(&key).cloned();
                out.send(from, Message::Held { id, version });
            }
            Message::Drop { .. } | Message::Holder { .. } | Message::Entered { .. } if from != self.server => {
                out.ignore(from, "the sender is not the index");
            }
            Message::Drop { key, serial } => {
                let held = self.items.version(&key).map(|version| version.stamp.counter);
                if held == Some(serial) || mutant!(IndexDropsAny) && held.is_some() {
                    self.items.forget(&key);
                    out.save(Record::Release { shelf: Shelf::Index, key }.into());
                }
            }
            Message::Holder { id, entry, serial } => self.on_holder(id, entry, serial, out),
            Message::Entered { id, serial, done } => self.on_entered(id, serial, done, out),
            Message::Held { id, version } => self.on_held(from, id, version, out),
        }
    }

    // The index.

    fn on_ask(&mut self, from: NodeId, id: u64, key: Key, sets: bool, out: &mut Out) {
        let entry = self.directory.version(&key).map(|version| version.stamp);
        let has_room = entry.is_some() || self.directory.has_room(&entry_of(&key, Stamp { counter: 0, node: from }));
        let serial = if sets && has_room { self.numbers.next(0, out) } else { None };
        if let Some(serial) = serial {
            self.tickets.insert(serial, (from, key));
            if self.tickets.len() > MAX_TICKETS {
                self.tickets.pop_first();
            }
        }
        out.send(from, Message::Holder { id, entry, serial });
    }

    fn on_enter(&mut self, from: NodeId, id: u64, key: Key, serial: u64, out: &mut Out) {
        let stamp = Stamp { counter: serial, node: from };
        let before = self.directory.version(&key).map(|version| version.stamp);
        let is_good =
            self.tickets.get(&serial).is_some_and(|ticket| *ticket == (from, key.clone())) || mutant!(IndexEntersAgain);
        if before == Some(stamp) || mutant!(IndexKeepsFirst) && before.is_some() {
            return out.send(from, Message::Entered { id, serial, done: true });
        }
        let item = entry_of(&key, stamp);
        if !is_good || (before.is_none() && !self.directory.has_room(&item)) {
            return out.send(from, Message::Entered { id, serial, done: false });
        }
        self.void(from, &key, serial);
        self.enter(item, out);
        out.send(from, Message::Entered { id, serial, done: true });
        // A holder that sets the key again has only its new copy.
        if let Some(before) = before.filter(|before| before.node != from) {
            out.send(before.node, Message::Drop { key, serial: before.counter });
        }
    }

    /// A holder has but its newest copy: the numbers that it was given up to this one stand for nothing any more.
    fn void(&mut self, holder: NodeId, key: &Key, upto: u64) {
        let upto_here = |serial: u64| if mutant!(IndexEntersEarlier) { serial == upto } else { serial <= upto };
        self.tickets.retain(|&serial, (to, of)| !(upto_here(serial) && *to == holder && of == key));
    }

    fn enter(&mut self, item: Item, out: &mut Out) {
        if !mutant!(IndexEntryUnsaved) {
            out.save(Record::Hold { shelf: Shelf::Directory, item: item.clone() }.into());
        }
        self.directory.put(item);
    }

    fn on_strike(&mut self, from: NodeId, id: u64, key: Key, entry: Stamp, out: &mut Out) {
        let before = self.directory.version(&key).map(|version| version.stamp);
        let done = before.is_none_or(|before| before == entry || mutant!(IndexStrikesAny));
        if let Some(before) = before.filter(|_| done) {
            if !mutant!(IndexStrikesNothing) {
                out.save(Record::Release { shelf: Shelf::Directory, key: key.clone() }.into());
                self.directory.forget(&key);
            }
            out.send(before.node, Message::Drop { key, serial: before.counter });
        }
        out.send(from, Message::Entered { id, serial: entry.counter, done });
    }

    fn on_claim(&mut self, from: NodeId, copies: Vec<(Key, u64)>, out: &mut Out) {
        if copies.len() > MAX_CLAIMS {
            return out.ignore(from, "it claims more than it may");
        }
        for (key, serial) in copies {
            let Some(entry) = self.directory.version(&key).map(|version| version.stamp) else { continue };
            if entry.node != from && !mutant!(IndexLeavesCopies) {
                // Should it be on its way to become an entry, it shall not be one without a copy.
                self.void(from, &key, serial);
                out.send(from, Message::Drop { key, serial });
            } else if entry.node == from && entry.counter < serial && self.tickets.remove(&serial).is_some() {
                // The holder has a newer copy instead, and did not get to say so.
                self.enter(entry_of(&key, Stamp { counter: serial, node: from }), out);
            }
        }
    }

    // Everyone else, and the index for its own clients.

    fn on_holder(&mut self, id: u64, entry: Option<Stamp>, serial: Option<u64>, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id).filter(|running| running.state == State::Asking) else { return };
        running.holder = entry.map(|entry| entry.node);
        match (&running.call, entry) {
            (Call::Get { .. }, None) => return self.finish(id, Ok(None), out),
            (Call::Get { .. }, Some(entry)) if running.empty == Some(entry) => {
                let why = "the node that holds the key has lost its copy";
                return self.finish(id, Err(Failure::Unavailable(why)), out);
            }
            (Call::Get { .. }, Some(entry)) => {
                (running.state, running.trouble) =
                    (State::Fetching(entry), "the node that holds the key does not answer");
            }
            // It is gone, by this call's own word perhaps.
            (Call::Remove { .. }, None) if running.written => return self.finish(id, Ok(None), out),
            (Call::Remove { .. }, None) => return self.finish(id, Err(Failure::NotFound), out),
            (Call::Remove { .. }, Some(entry)) => (running.state, running.written) = (State::Striking(entry), true),
            (Call::Set { key, value }, _) => {
                let Some(counter) = serial else { return self.finish(id, Err(Failure::Full), out) };
                if counter < running.saved && !mutant!(IndexOlderReplaces) {
                    // The later copy is on its way to become the entry, or is it already: it must stay.
                    (running.state, running.until) = (State::Asking, self.now + AGAIN_TICKS);
                    return;
                }
                let version = Version { stamp: Stamp { counter, node: self.me }, value: Some(value.clone()) };
                let item = Item { key: key.clone(), version };
                if !self.items.has_room(&item) {
                    return self.finish(id, Err(Failure::Full), out);
                }
                (running.state, running.written) = (State::Entering { serial: counter }, true);
                if !mutant!(IndexEntersUnsaved) {
                    out.save(Record::Hold { shelf: Shelf::Index, item: item.clone() }.into());
                }
                for other in self.calls.values_mut().filter(|other| *other.call.key() == item.key) {
                    other.saved = other.saved.max(counter);
                }
                self.items.put(item);
            }
        }
        self.ask(id, out);
    }

    fn on_entered(&mut self, id: u64, of: u64, is_done: bool, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id) else { return };
        let concerned = match running.state {
            State::Entering { serial } => serial == of,
            State::Striking(entry) => entry.counter == of,
            State::Asking | State::Fetching(_) => false,
        };
        if !concerned {
            return;
        }
        if is_done {
            return self.finish(id, Ok(None), out);
        }
        // Somebody else has set it, or removed it, meanwhile; or the index has no use for the number any more.
        (running.state, running.until) = (State::Asking, self.now + AGAIN_TICKS);
    }

    fn on_held(&mut self, from: NodeId, id: u64, version: Option<Version>, out: &mut Out) {
        let Some(running) = self.calls.get_mut(&id) else { return };
        let State::Fetching(entry) = running.state else { return };
        if entry.node != from {
            return;
        }
        match version {
            Some(version) => self.finish(id, Ok(version.value), out),
            // It was set elsewhere, or removed, meanwhile: the index knows.
            None => {
                running.empty = Some(entry);
                (running.state, running.until) = (State::Asking, self.now + AGAIN_TICKS);
            }
        }
    }

    fn finish(&mut self, id: u64, result: Result<Option<Value>, Failure>, out: &mut Out) {
        let Some(running) = self.calls.remove(&id) else { return };
        let mut hops = vec![self.me];
        let holder = running.holder.filter(|_| !matches!(running.call, Call::Set { .. }));
        for node in [Some(self.server), holder].into_iter().flatten() {
            if !hops.contains(&node) {
                hops.push(node);
            }
        }
        let copies = usize::from(running.holder.is_some() || matches!(running.call, Call::Set { .. }));
        let result = match result {
            Err(_) if running.written => Err(Failure::Unknown("the index has not confirmed it")),
            result => result.map(|value| Answer { value, hops, copies, messages: 0 }),
        };
        done(running.request, result, out);
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now += 1;
        if self.now >= self.next_claim {
            self.claim(out);
        }
        let due = |running: &Running| running.until <= self.now || running.deadline <= self.now;
        let due: Vec<u64> = self.calls.iter().filter(|(_, running)| due(running)).map(|(&id, _)| id).collect();
        for id in due {
            let Some(running) = self.calls.get_mut(&id) else { continue };
            if running.deadline <= self.now {
                let trouble = running.trouble;
                self.finish(id, Err(Failure::Unavailable(trouble)), out);
                continue;
            }
            // There may be another holder by now.
            if matches!(running.state, State::Fetching(_)) {
                running.state = State::Asking;
            }
            self.ask(id, out);
        }
    }

    /// Claims the next of the copies.
    fn claim(&mut self, out: &mut Out) {
        self.next_claim = self.now + CLAIM_TICKS;
        let copies: Vec<(Key, u64)> = self
            .items
            .behind(self.claimed.as_ref())
            .take(MAX_CLAIMS)
            .map(|(key, version)| (key.clone(), version.stamp.counter))
            .collect();
        // From the beginning again, when all have had their turn.
        self.claimed = copies.last().filter(|_| copies.len() == MAX_CLAIMS).map(|(key, _)| key.clone());
        if !copies.is_empty() {
            out.send(self.server, Message::Claim { copies });
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

/// What stands in the directory.
fn entry_of(key: &Key, stamp: Stamp) -> Item {
    Item { key: key.clone(), version: Version { stamp, value: None } }
}

#[cfg(test)]
pub(crate) mod tests;
