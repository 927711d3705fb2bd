//! The clients of the services: each does one thing at a time, and what it sees is written into a history.
//!
//! A call under a request id whose outcome is unknown is mostly made again, at another node. One without is made once,
//! and writes a text that no other writes.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::rule;
use crate::history::{Answer, Event as Seen, History, Op, check_alone};
use crate::protocol::strong::Failure;
use crate::protocol::types::{NodeId, RequestId};
use crate::service::Services;
use crate::service::command::{Action, Command, Fence, RequestKey};
use crate::service::reply::{Refusal, Reply, Standing};
use crate::sim::check::{Call, Verdict, Who, ensure};
use crate::sim::report::Tally;

/// So many steps of the model may be taken for a key's history.
const BUDGET: u64 = 40_000;
/// A call is made so often at most.
const MOST_TRIES: u32 = 5;
/// A client waits for so many ticks longer than it has told the node to.
const PATIENCE_TICKS: u64 = 40;

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    clients: Vec<Client>,
    keys: u64,
    locks: u64,
    /// How many of a thousand ticks bring a wish.
    haste: u32,
    /// How many of a hundred calls carry a request id.
    keyed: u64,
    /// How many of a hundred calls are about locks, and how many of the others only read.
    about_locks: u64,
    about_reads: u64,
    ticks: u64,
    next_request: u64,
    next_value: u64,
    /// What was asked for, without the place for the time: by generation, whether it may enter the log but once, and how
    /// often it did.
    asked: BTreeMap<(u64, Vec<u8>), Asked>,
    /// The highest slot of which a client knows that it is applied, by generation.
    acknowledged: BTreeMap<u64, u64>,
    generations: BTreeSet<u64>,
    seen: Vec<Seen>,
    goal: u64,
    pub(super) tally: Tally,
}

#[derive(Debug, Default)]
struct Asked {
    keyed: bool,
    chosen: u64,
    /// Its client was told that it did not happen, and will not.
    refused: bool,
}

#[derive(Debug)]
struct Client {
    name: String,
    sequence: u64,
    versions: BTreeMap<u64, u64>,
    tokens: BTreeMap<u64, u64>,
    open: Option<Open>,
}

/// A call that is running.
#[derive(Debug)]
struct Open {
    wish: Wish,
    /// The command; none to read.
    command: Option<Vec<u8>>,
    keyed: bool,
    request: RequestId,
    node: NodeId,
    generation: Option<u64>,
    tries: u32,
    /// It may have happened, though its client was not told.
    exposed: bool,
    until: u64,
    /// It is to be made again.
    again: bool,
    /// What was acknowledged when it began.
    floor: u64,
    /// What a read has found.
    found: Option<Answer>,
}

/// What a client wants.
#[derive(Debug, Clone)]
enum Wish {
    Put { key: u64, value: u64, token: Option<u64> },
    Cas { key: u64, version: u64, value: u64 },
    Delete { key: u64 },
    Get { key: u64 },
    Acquire { lock: u64, ttl_ms: u64, wait_ms: u64 },
    Renew { lock: u64 },
    Release { lock: u64, token: Option<u64> },
}

impl Clients {
    pub(super) fn new(rng: &mut Pcg64Mcg) -> Self {
        let client = |number: u64| Client {
            name: format!("c{number}"),
            sequence: 0,
            versions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            open: None,
        };
        Self {
            clients: (0..rng.random_range(2..=6)).map(client).collect(),
            keys: rng.random_range(1..=3),
            locks: rng.random_range(1..=2),
            haste: rng.random_range(150..=900),
            keyed: [0, 50, 100, 100][rng.random_range(0..4)],
            about_locks: [0, 20, 40][rng.random_range(0..3)],
            about_reads: rng.random_range(10..=60),
            ticks: 0,
            next_request: 0,
            next_value: 0,
            asked: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            generations: BTreeSet::new(),
            seen: Vec::new(),
            goal: 0,
            tally: Tally::default(),
        }
    }

    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    // What they ask.

    /// What one of them asks at this tick, if anything.
    pub(super) fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        self.ticks += 1;
        let mut chance = Pcg64Mcg::seed_from_u64(rng.random());
        let node = members[chance.random_range(0..members.len())];
        self.give_up(&mut chance);
        if let Some(at) = self.clients.iter().position(|client| client.open.as_ref().is_some_and(|open| open.again)) {
            return self.repeat(at, node, &mut chance);
        }
        if !chance.random_ratio(self.haste, 1000) {
            return None;
        }
        if chance.random_range(0..400) == 0 {
            return Some((node, Call::Elect));
        }
        let at = chance.random_range(0..self.clients.len());
        if self.clients[at].open.is_some() {
            return None;
        }
        let wish = self.draw(at, &mut chance);
        Some(self.begin(at, wish, node, &mut chance))
    }

    /// The core must get this done, soon: a write of its own, again and again under the same request id.
    pub(super) fn urge(&mut self, core: &[NodeId], done: bool, rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        self.ticks += 1;
        let mut chance = Pcg64Mcg::seed_from_u64(rng.random());
        let node = core[chance.random_range(0..core.len())];
        self.give_up(&mut chance);
        if let Some(at) = self.clients.iter().position(|client| client.open.as_ref().is_some_and(|open| open.again)) {
            return self.repeat(at, node, &mut chance);
        }
        if done || !self.ticks.is_multiple_of(16) {
            return None;
        }
        let value = format!("g{}", self.goal);
        let request = Some(RequestKey { client: "goal", sequence: self.goal });
        let action = Action::KvPut { key: "goal", value: &value, fence: None };
        let command = Command { request, time_ms: 0, author: 0, action }.encode();
        let request = self.request();
        Some((node, Call::Command { request, command, keyed: true, deadline_ticks: 100 }))
    }

    pub(super) const fn healed(&mut self) {
        self.goal += 1;
    }

    /// What the core must get done.
    pub(super) const fn goal(&self) -> u64 {
        self.goal
    }

    fn draw(&mut self, at: usize, chance: &mut Pcg64Mcg) -> Wish {
        let client = &self.clients[at];
        let (key, lock) = (chance.random_range(0..self.keys), chance.random_range(0..self.locks));
        self.next_value += 1;
        let value = self.next_value;
        if chance.random_range(0..100) < self.about_locks {
            let token = client.tokens.get(&lock).copied();
            return match chance.random_range(0..10) {
                0..5 => {
                    let wait_ms = [0, 0, 200, 1500][chance.random_range(0..4)];
                    Wish::Acquire { lock, ttl_ms: chance.random_range(20..=1500), wait_ms }
                }
                5 => Wish::Renew { lock },
                6..8 => Wish::Release { lock, token: token.filter(|_| chance.random_bool(0.7)) },
                _ => Wish::Put { key, value, token },
            };
        }
        if chance.random_range(0..100) < self.about_reads {
            return Wish::Get { key };
        }
        let version = client.versions.get(&key).copied().unwrap_or(0);
        match chance.random_range(0..10) {
            0..6 => Wish::Put { key, value, token: None },
            6..9 => Wish::Cas { key, version, value },
            _ => Wish::Delete { key },
        }
    }

    fn begin(&mut self, at: usize, wish: Wish, node: NodeId, chance: &mut Pcg64Mcg) -> (NodeId, Call) {
        // Only what no other call can be taken for goes without a request id.
        let distinct = matches!(wish, Wish::Put { .. } | Wish::Cas { .. });
        let keyed = !distinct || chance.random_range(0..100) < self.keyed;
        let request = self.request();
        let deadline_ticks = chance.random_range(10..=200);
        let client = &mut self.clients[at];
        client.sequence += 1;
        let command = wish.command(client, keyed, node);
        let open = Open {
            wish,
            command,
            keyed,
            request,
            node,
            generation: None,
            tries: 1,
            exposed: false,
            until: self.ticks + deadline_ticks + PATIENCE_TICKS,
            again: false,
            floor: self.acknowledged.values().next_back().copied().unwrap_or(0),
            found: None,
        };
        let call = open.call(deadline_ticks);
        match open.command {
            Some(_) => self.tally.commands += 1,
            None => self.tally.reads += 1,
        }
        if let Some(op) = open.wish.op() {
            self.seen.push(Seen::Invoke { process: at as u64, time_ns: self.ticks, op });
        }
        client.open = Some(open);
        (node, call)
    }

    fn repeat(&mut self, at: usize, node: NodeId, chance: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        let request = self.request();
        let deadline_ticks = chance.random_range(10..=200);
        let open = self.clients[at].open.as_mut()?;
        (open.request, open.node, open.again, open.generation) = (request, node, false, None);
        open.tries += 1;
        open.until = self.ticks + deadline_ticks + PATIENCE_TICKS;
        self.tally.repeats += 1;
        Some((node, open.call(deadline_ticks)))
    }

    /// Who has waited for too long knows nothing.
    fn give_up(&mut self, chance: &mut Pcg64Mcg) {
        for at in 0..self.clients.len() {
            let late = |open: &Open| !open.again && open.until <= self.ticks;
            if self.clients[at].open.as_ref().is_some_and(late) {
                self.unknown(at, chance.random_bool(0.8));
            }
        }
    }

    // What they hear.

    /// The node of a call is down: nobody has heard of it.
    pub(super) fn turned_away(&mut self, request: RequestId) {
        if let Some(at) = self.waiting(request) {
            self.not_done(at);
        }
    }

    pub(super) fn called(&mut self, who: Who, call: &Call) {
        self.generations.insert(who.generation);
        if let Call::Command { request, command, keyed, .. } = call {
            let asked = self.asked.entry((who.generation, timeless(command))).or_default();
            asked.keyed = *keyed;
            if let Some(at) = self.waiting(*request)
                && let Some(open) = &mut self.clients[at].open
            {
                open.generation = Some(who.generation);
            }
        }
    }

    fn waiting(&self, request: RequestId) -> Option<usize> {
        self.clients
            .iter()
            .position(|client| client.open.as_ref().is_some_and(|open| open.request == request && !open.again))
    }

    /// A node says that a read may be answered from its state.
    pub(super) fn readable(&mut self, who: Who, request: RequestId, services: &Services) -> Verdict {
        let Some(at) = self.waiting(request) else { return Ok(()) };
        let Some(open) = &mut self.clients[at].open else { return Ok(()) };
        let applied = services.applied().counter;
        ensure(applied >= open.floor || self.generations.len() > 1, rule::STALE, || {
            format!("{} reads at {applied}, and {} was acknowledged before", who.node, open.floor)
        })?;
        if let Wish::Get { key } = open.wish {
            open.found = Some(services.kv_get(&key_name(key)).map_or(Answer::Absent, |entry| Answer::Found {
                value: entry.value.as_str().to_owned(),
                version: Some(entry.version),
            }));
        }
        Ok(())
    }

    /// A reader is answered.
    pub(super) fn read(&mut self, request: RequestId, result: &Result<(), Failure>) {
        let Some(at) = self.waiting(request) else { return };
        let found = self.clients[at].open.as_mut().and_then(|open| open.found.take());
        match (result, found) {
            (Ok(()), Some(answer)) => {
                self.tally.answered_reads += 1;
                self.returned(at, answer);
            }
            _ => self.not_done(at),
        }
    }

    /// A command is answered; in slot `last` or before, if it was applied.
    pub(super) fn replied(&mut self, who: Who, request: RequestId, result: &Result<Reply, Failure>) -> Verdict {
        let Some(at) = self.waiting(request) else { return Ok(()) };
        match result {
            Ok(reply) => {
                self.tally.answered_chosen += 1;
                if let Some(position) = reply.position() {
                    let known = self.acknowledged.entry(who.generation).or_default();
                    *known = (*known).max(position.counter);
                }
                self.answered(at, reply);
                Ok(())
            }
            Err(Failure::Unavailable { .. } | Failure::NoMember | Failure::NoRoom { .. } | Failure::Unchanged(_)) => {
                let open = self.clients[at].open.as_ref();
                if let Some(Open { command: Some(command), generation: Some(generation), exposed: false, .. }) = open {
                    let asked = self.asked.entry((*generation, timeless(command))).or_default();
                    asked.refused = true;
                    let chosen = asked.chosen;
                    ensure(chosen == 0, rule::ANSWER, || {
                        format!("{} says that call {} did not happen, and it is chosen", who.node, request.0)
                    })?;
                }
                self.tally.answered_refused += 1;
                self.not_done(at);
                Ok(())
            }
            Err(Failure::Unknown | Failure::Restarted) => {
                self.tally.answered_unknown += 1;
                self.unknown(at, true);
                Ok(())
            }
        }
    }

    /// The request id of a call for which somebody waits, if it has one.
    pub(super) fn key_of(&self, request: RequestId) -> Option<Option<(&str, u64)>> {
        let client = &self.clients[self.waiting(request)?];
        client.open.as_ref().map(|open| open.keyed.then_some((client.name.as_str(), client.sequence)))
    }

    pub(super) fn crashed(&mut self, node: NodeId) {
        for at in 0..self.clients.len() {
            let here = |open: &Open| open.node == node && !open.again;
            if self.clients[at].open.as_ref().is_some_and(here) {
                self.unknown(at, true);
            }
        }
    }

    /// A command is chosen.
    pub(super) fn chosen(&mut self, generation: u64, command: &[u8]) -> Verdict {
        let asked = self.asked.get_mut(&(generation, timeless(command)));
        let what = || format!("{:?} in generation {generation}", Command::decode(command));
        let Some(asked) = asked else {
            let expires = Command::decode(command).is_ok_and(|command| command.action == Action::Expire);
            return ensure(expires, rule::PROPOSED, what);
        };
        asked.chosen += 1;
        ensure(asked.keyed || asked.chosen == 1, rule::PROPOSED, what)?;
        ensure(!asked.refused, rule::ANSWER, || format!("its client was told that it did not happen: {}", what()))
    }

    // What comes of it.

    fn answered(&mut self, at: usize, reply: &Reply) {
        let client = &mut self.clients[at];
        let Some(open) = &client.open else { return };
        let exposed = open.exposed;
        let answer = match (&open.wish, reply) {
            (Wish::Put { key, .. } | Wish::Cas { key, .. }, Reply::Put { version, .. }) => {
                client.versions.insert(*key, *version);
                Some(Answer::Written { version: *version })
            }
            (Wish::Cas { key, .. }, Reply::Refused(Refusal::Compare { current, .. })) => {
                let version = current.unwrap_or(0);
                client.versions.insert(*key, version);
                Some(Answer::Conflict { version })
            }
            (Wish::Delete { .. }, Reply::Deleted { version: Some(_), .. }) => Some(Answer::Done),
            (Wish::Delete { .. }, Reply::Deleted { version: None, .. }) => Some(Answer::Absent),
            (Wish::Acquire { lock, .. }, Reply::Lock { standing: Standing::Held { token, .. }, .. }) => {
                client.tokens.insert(*lock, *token);
                None
            }
            _ => None,
        };
        match answer {
            Some(answer) => self.returned(at, answer),
            // A refusal by token, or nothing that a history is kept of. What was refused did nothing.
            None if exposed && self.clients[at].open.as_ref().is_some_and(|open| !open.keyed) => {
                self.unknown(at, false)
            }
            None => self.fail(at),
        }
    }

    fn returned(&mut self, at: usize, answer: Answer) {
        let ended = self.clients[at].open.take().is_some_and(|open| open.wish.op().is_some());
        if ended {
            self.seen.push(Seen::Return { process: at as u64, time_ns: self.ticks, answer });
        }
    }

    /// This try has not done it. An earlier one may have.
    fn not_done(&mut self, at: usize) {
        match &self.clients[at].open {
            Some(open) if open.exposed => self.unknown(at, true),
            _ => self.fail(at),
        }
    }

    fn fail(&mut self, at: usize) {
        if self.clients[at].open.take().is_some_and(|open| open.wish.op().is_some()) {
            self.seen.push(Seen::Fail { process: at as u64, time_ns: self.ticks, reason: String::new() });
        }
    }

    /// It may have happened. With a request id it is made again, if the client likes to.
    fn unknown(&mut self, at: usize, likes: bool) {
        let Some(open) = &mut self.clients[at].open else { return };
        if open.command.is_none() {
            return self.fail(at);
        }
        open.exposed = true;
        if likes && open.keyed && open.tries < MOST_TRIES {
            open.again = true;
            return;
        }
        let has_op = open.wish.op().is_some();
        self.clients[at].open = None;
        if has_op {
            self.seen.push(Seen::Unknown { process: at as u64, time_ns: self.ticks, reason: String::new() });
        }
    }

    /// The run is over: the histories of all keys are looked at. A restart of the lab takes all keys away, so there is
    /// nothing to look at then.
    pub(super) fn ended(&mut self) -> Verdict {
        if self.generations.len() > 1 {
            return Ok(());
        }
        let history = match History::from_events(std::mem::take(&mut self.seen)) {
            Ok(history) => history,
            Err((at, error)) => return ensure(false, rule::LINEARIZABLE, || format!("event {at}: {error}")),
        };
        let report = check_alone(&history, BUDGET);
        let undecided = report.undecided().count() as u64;
        self.tally.undecided += undecided;
        if undecided == 0 {
            self.tally.linearized += history.count() as u64;
        }
        report.witnesses().next().map_or(Ok(()), |witness| ensure(false, rule::LINEARIZABLE, || witness.to_string()))
    }
}

impl Open {
    fn call(&self, deadline_ticks: u64) -> Call {
        let request = self.request;
        match &self.command {
            Some(command) => Call::Command { request, command: command.clone(), keyed: self.keyed, deadline_ticks },
            None => Call::Read { request, deadline_ticks },
        }
    }
}

impl Wish {
    fn command(&self, client: &Client, keyed: bool, node: NodeId) -> Option<Vec<u8>> {
        let request = keyed.then_some(RequestKey { client: &client.name, sequence: client.sequence });
        let (name, value) = self.texts();
        let (name, value, owner) = (name.as_str(), value.as_str(), client.name.as_str());
        let action = match *self {
            Self::Get { .. } => return None,
            Self::Put { token, .. } => {
                Action::KvPut { key: name, value, fence: token.map(|token| Fence { token, lock: None }) }
            }
            Self::Cas { version, .. } => Action::KvCas { key: name, version, value, fence: None },
            Self::Delete { .. } => Action::KvDelete { key: name, fence: None },
            Self::Acquire { ttl_ms, wait_ms, .. } => Action::LockAcquire { name, owner, ttl_ms, wait_ms },
            Self::Renew { .. } => Action::LockRenew { name, owner, token: None, ttl_ms: None },
            Self::Release { token, .. } => Action::LockRelease { name, owner, token },
        };
        Some(Command { request, time_ms: 0, author: node.number(), action }.encode())
    }

    /// What it is about, and the value that it writes.
    fn texts(&self) -> (String, String) {
        match *self {
            Self::Put { key, value, .. } | Self::Cas { key, value, .. } => (key_name(key), format!("v{value}")),
            Self::Delete { key } | Self::Get { key } => (key_name(key), String::new()),
            Self::Acquire { lock, .. } | Self::Renew { lock } | Self::Release { lock, .. } => {
                (lock_name(lock), String::new())
            }
        }
    }

    /// What a history says of it. Of locks none is kept: the replay of the log knows more.
    fn op(&self) -> Option<Op> {
        Some(match *self {
            Self::Put { key, value, .. } => Op::Put { key: key_name(key), value: format!("v{value}") },
            Self::Cas { key, version, value } => Op::Cas { key: key_name(key), version, value: format!("v{value}") },
            Self::Delete { key } => Op::Remove { key: key_name(key) },
            Self::Get { key } => Op::Get { key: key_name(key) },
            Self::Acquire { .. } | Self::Renew { .. } | Self::Release { .. } => return None,
        })
    }
}

fn key_name(key: u64) -> String {
    format!("k{key}")
}

fn lock_name(lock: u64) -> String {
    format!("l{lock}")
}

/// A command without the place where its leader writes the time.
fn timeless(command: &[u8]) -> Vec<u8> {
    command.get(9..).unwrap_or_default().to_vec()
}
