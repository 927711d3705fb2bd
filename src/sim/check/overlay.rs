//! Overlays of a few nodes under every fault: Chord, flooding and the index beside each other on the same nodes.
//!
//! Clients set, get and remove a few keys of each, and have nodes leave the ring and join it again. Every value is set but
//! once, so a value tells which call it comes from. No disk is damaged or lost here: a key is on so many nodes, and what
//! that is worth is [`crate::sim::overlay::measure`]'s matter.
//!
//! None of the three promises much while links are cut. So most rules are about what is durable when it is acknowledged,
//! and what must not appear; the rest is about the calm. The rules are named in [`rule`].
//!
//! # Liveness
//!
//! Nobody has a majority to win here, so all nodes heal at once. From then on all are told to join, and are asked, for
//! each overlay, for every key, and then to set one each: until every answer is as it must be, the ring is the one that a
//! sorted map of its points has, and each key is held by its owners and by nobody else, in the newest version that any
//! disk ever kept.

mod calm;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::{Call, Subject, Verdict, Who, ensure};
use crate::protocol::durable::Durable;
use crate::protocol::host::{Host, Sender};
use crate::protocol::overlay::{
    Answer, Call as KeyCall, Failure, Key, MAX_HOPS, Message, Options, Stamp, Which, chord, flood, index,
};
use crate::protocol::quorum::Members;
use crate::protocol::types::{NodeId, RequestId, Value};
use crate::protocol::{Effect, Event, Message as HostMessage, Record};
use crate::sim::report::Tally;
use calm::Sweep;
use ledger::Ledger;

/// The names of the invariants.
mod rule {
    pub(super) const ONE_VALUE: &str = "a stamp names one version of a key";
    pub(super) const NEWER: &str = "a copy in the hash table is replaced only by a newer version";
    pub(super) const SAVED_FIRST: &str = "what is acknowledged has been saved";
    pub(super) const COPIES: &str = "a set of the hash table is answered when as many nodes as it says have saved it";
    pub(super) const WRITTEN: &str = "what is found was set by a client, to that key";
    pub(super) const DEFINITE: &str = "what is said not to have happened never does";
    pub(super) const ONCE: &str = "a call is answered once, by the node that was asked";
    pub(super) const ROUTE: &str = "a route begins where the call was made, has no loop, and an end";
    pub(super) const ANSWERED: &str = "a call is answered when its deadline is over";
}

/// Keys of each overlay; the first half is never removed.
const KEYS: usize = 6;
/// The slowest clock makes up for what it missed in so many ticks.
const LATE_TICKS: u64 = 400;

/// What is known of the overlays of one world.
#[derive(Debug)]
pub(in crate::sim) struct Watch {
    options: Options,
    members: Members,
    /// How many of a thousand ticks bring a call, and how many of a thousand calls are about membership.
    calls: u32,
    moves: u32,
    next_request: u64,
    open: BTreeMap<RequestId, Open>,
    ledger: Ledger,
    /// In the calm: one for each overlay.
    sweeps: Vec<Sweep>,
    ticks: u64,
    tally: Tally,
}

/// A call that reached a node and has not been answered.
#[derive(Debug)]
struct Open {
    node: NodeId,
    /// Absent if it is about membership.
    what: Option<(Which, KeyCall)>,
    /// The tick by which it should have been answered.
    until: u64,
}

/// A value, and which call it comes from.
#[derive(Debug)]
struct Origin {
    which: Which,
    key: Key,
    generation: u64,
    /// Whether the client was told that it was not set.
    refused: bool,
}

fn name(at: usize) -> Key {
    Key::new(&format!("key {at}")).expect("a short text is a key")
}

fn is_removed(at: usize) -> bool {
    at >= KEYS / 2
}

const ALL: [Which; 3] = [Which::Dht, Which::Flood, Which::Index];

impl Watch {
    pub(in crate::sim) fn new(members: Members, rng: &mut Pcg64Mcg) -> Self {
        let chord = chord::Options {
            virtual_nodes: [1, 2, 4][rng.random_range(0..3)],
            successors: [3, 8][rng.random_range(0..2)],
            ..chord::Options::default()
        };
        // With half of the others for neighbours, all are in reach.
        let flood = flood::Options { neighbours: members.len().div_ceil(2), ..flood::Options::default() };
        Self {
            options: Options { chord, flood },
            members,
            calls: [20, 100, 400][rng.random_range(0..3)],
            moves: [0, 20, 100][rng.random_range(0..3)],
            next_request: 0,
            open: BTreeMap::new(),
            ledger: Ledger::default(),
            sweeps: Vec::new(),
            ticks: 0,
            tally: Tally::default(),
        }
    }

    const fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn set(&self, key: Key) -> KeyCall {
        KeyCall::Set { key, value: Value::new(&format!("<int>{}</int>", self.next_request)) }
    }

    fn answered(&mut self, who: Who, request: RequestId, result: &Result<Answer, Failure>) -> Verdict {
        let open = self.open.remove(&request).filter(|open| open.node == who.node);
        ensure(open.is_some(), rule::ONCE, || format!("{} answers call {}: {result:?}", who.node, request.0))?;
        self.sweeps.iter_mut().for_each(|sweep| sweep.answered(who.generation, request, result, &self.ledger));
        match result {
            Ok(answer) => self.tally.answered(answer.value.is_some()),
            Err(Failure::Unknown(_) | Failure::Restarted) => self.tally.answered_unknown += 1,
            Err(_) => self.tally.answered_refused += 1,
        }
        let Some((which, call)) = open.and_then(|open| open.what) else { return Ok(()) };
        let about = || format!("{}, asked for {call:?} of {which:?}, answers {result:?}", who.node);
        match (&call, result) {
            (_, Ok(answer)) => {
                let hops: BTreeSet<NodeId> = answer.hops.iter().copied().collect();
                let fits = answer.hops.first() == Some(&who.node) && hops.len() == answer.hops.len();
                ensure(fits && hops.len() <= MAX_HOPS, rule::ROUTE, about)?;
                self.done(who, which, &call, answer)
            }
            (_, Err(Failure::Unknown(_) | Failure::Restarted)) => Ok(()),
            (KeyCall::Set { value, .. }, Err(_)) => {
                ensure(!self.ledger.is_held(value), rule::DEFINITE, about)?;
                self.ledger.refused(value);
                Ok(())
            }
            (_, Err(_)) => Ok(()),
        }
    }

    fn done(&self, who: Who, which: Which, call: &KeyCall, answer: &Answer) -> Verdict {
        let about = || format!("{}, asked for {call:?} of {which:?}, answers {answer:?}", who.node);
        let key = call.key();
        match (call, &answer.value) {
            (KeyCall::Get { .. }, Some(value)) => {
                let origin = self.ledger.origin(value);
                let fits = |origin: &&Origin| {
                    origin.which == which && origin.key == *key && origin.generation == who.generation
                };
                ensure(origin.filter(fits).is_some(), rule::WRITTEN, about)?;
                ensure(!origin.is_some_and(|origin| origin.refused), rule::DEFINITE, about)
            }
            (KeyCall::Set { value, .. }, _) => match which {
                Which::Dht => {
                    let keepers = self.ledger.keepers(who.generation, key, value);
                    ensure(keepers >= answer.copies && keepers > 0, rule::COPIES, about)
                }
                Which::Flood | Which::Index => {
                    let saved = self.ledger.has_saved(who.generation, which, who.node, value);
                    ensure(saved, rule::SAVED_FIRST, about)
                }
            },
            _ => Ok(()),
        }
    }
}

impl Tally {
    const fn answered(&mut self, found: bool) {
        self.answered_chosen += 1;
        self.answered_reads += found as u64;
    }
}

impl Subject for Watch {
    fn overlay(&self) -> Option<Options> {
        Some(self.options)
    }

    /// No majority is asked for anything.
    fn may_vote(&self, _: NodeId) -> bool {
        false
    }

    /// No disk is lost here.
    fn may_lose(&self, _: NodeId, _: &[&Host]) -> bool {
        false
    }

    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        self.ticks += 1;
        let at = members[rng.random_range(0..members.len())];
        let (which, key) = (ALL[rng.random_range(0..3)], rng.random_range(0..KEYS));
        let (kind, deadline_ticks) = (rng.random_range(0..10), rng.random_range(30..400));
        let (calls, moves, joins) =
            (rng.random_ratio(self.calls, 1000), rng.random_ratio(self.moves, 1000), rng.random_bool(0.6));
        if !calls {
            return None;
        }
        self.tally.commands += 1;
        let request = self.request();
        if moves {
            return Some((at, Call::Move { request, joins, deadline_ticks }));
        }
        let call = match kind {
            0..5 => self.set(name(key)),
            5 | 6 if is_removed(key) => KeyCall::Remove { key: name(key) },
            _ => KeyCall::Get { key: name(key) },
        };
        Some((at, Call::Seek { request, which, call, deadline_ticks }))
    }

    fn healed(&mut self) {
        self.sweeps = ALL.into_iter().map(|which| Sweep::new(which, &self.members)).collect();
    }

    fn urge(&mut self, _: &[NodeId], _: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        self.ticks += 1;
        let turn = usize::try_from(self.ticks).unwrap_or(0) % self.sweeps.len().max(1);
        let request = self.request();
        let value = Value::new(&format!("<int>{}</int>", request.0));
        self.sweeps.get_mut(turn)?.next(request, value)
    }

    fn settled(&self, core: &[&Host]) -> Result<(), String> {
        let late = self.open.values().find(|open| open.until + LATE_TICKS < self.ticks);
        if let Some(open) = late {
            return Err(format!("{} has not answered {:?}: {}", open.node, open.what, rule::ANSWERED));
        }
        self.sweeps.iter().try_for_each(Sweep::settled)?;
        calm::is_in_order(core, self.options, &self.ledger)
    }

    fn called(&mut self, who: Who, call: &Call) {
        let (request, what, deadline_ticks) = match call {
            Call::Seek { request, which, call, deadline_ticks } => {
                self.ledger.asked(who.generation, *which, call);
                (*request, Some((*which, call.clone())), *deadline_ticks)
            }
            Call::Move { request, deadline_ticks, .. } => (*request, None, *deadline_ticks),
            _ => return,
        };
        self.open.insert(request, Open { node: who.node, what, until: self.ticks + deadline_ticks });
    }

    fn heard(&mut self, who: Who, _: Sender, message: &HostMessage) {
        if let HostMessage::Overlay(message) = message {
            self.ledger.heard(who, message);
        }
    }

    fn emitted(&mut self, who: Who, _: &Host, effect: &Effect) -> Verdict {
        let Effect::Save(Record::Overlay(record)) = effect else { return Ok(()) };
        self.ledger.emitted(who, record)
    }

    fn saved(&mut self, node: NodeId, records: &[(u64, Record)]) -> Verdict {
        for (generation, record) in records {
            if let Record::Overlay(record) = record {
                self.ledger.saved(*generation, node, record)?;
            }
        }
        Ok(())
    }

    fn sent(&mut self, who: Who, message: &HostMessage, disk: &Durable) -> Verdict {
        let HostMessage::Overlay(message) = message else { return Ok(()) };
        let held = (disk.generation == who.generation).then_some(&disk.overlay);
        self.ledger.sent(who, message, held)
    }

    fn told(&mut self, who: Who, event: &Event, _: &Durable) -> Verdict {
        match event {
            Event::Found { request, result } => self.answered(who, *request, result),
            _ => Ok(()),
        }
    }

    fn crashed(&mut self, node: NodeId) {
        self.open.retain(|_, open| open.node != node);
        self.ledger.crashed(node);
    }

    fn recovered(&mut self, who: Who, host: &Host) -> Verdict {
        if let Some(overlay) = host.overlay() {
            self.ledger.recovered(who, overlay);
        }
        Ok(())
    }

    fn count(&self, tally: &mut Tally) {
        *tally += self.tally;
    }
}
