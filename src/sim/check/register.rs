//! The clients and the invariants of the quorum registers.
//!
//! Beside what clients saw, which the checker of histories looks at when the run is over, the proof itself is checked at
//! every answer: timestamps are an order that fits real time. Generations are worlds apart. The rules are named in
//! [`rule`].

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::{Call, Subject, Verdict, Who, ensure};
use crate::history::{Answer, Event as Seen, History, Op, check_alone};
use crate::protocol::durable::Durable;
use crate::protocol::host::Host;
use crate::protocol::register::memory::{Held, Memory};
use crate::protocol::register::{Done, Failure, Message, Options, Timestamp};
use crate::protocol::types::{NodeId, RequestId, Value};
use crate::protocol::{Event, Message as HostMessage, Record};
use crate::sim::report::Tally;

/// The names of the invariants.
mod rule {
    pub(super) const ONE_VALUE: &str = "a timestamp has one value, which a client wrote";
    pub(super) const SAVED_FIRST: &str = "nothing is heard of what a node holds before it is saved";
    pub(super) const KEPT: &str = "what was synced of a register is there after a crash";
    pub(super) const RISES: &str = "what a node holds only rises";
    pub(super) const ORDER: &str =
        "a call ends with no lower timestamp than what ended before it began, a write with a higher";
    pub(super) const ANSWER: &str = "a client is told the truth about its write";
    pub(super) const LINEARIZABLE: &str = "what clients saw of the registers is linearizable";
}

/// So many steps of the model may be taken for a register's history.
const BUDGET: u64 = 40_000;

/// A client's call.
#[derive(Debug)]
struct Open {
    process: u64,
    node: NodeId,
    name: String,
    /// What is written; nothing if it reads.
    value: Option<Value>,
    /// The generation in which it reached its node, and the highest timestamp with which a call had ended by then.
    begun: Option<(u64, Option<Timestamp>)>,
}

/// What is known of the registers of one world.
#[derive(Debug)]
pub(in crate::sim) struct Registers {
    haste: u32,
    names: u32,
    processes: u64,
    ticks: u64,
    requests: u64,
    open: BTreeMap<RequestId, Open>,
    generations: BTreeSet<u64>,
    /// By generation, name and timestamp: the value.
    values: BTreeMap<(u64, String, Timestamp), Value>,
    /// By generation: what clients wrote.
    written: BTreeSet<(u64, Value)>,
    /// By generation and name: the highest timestamp with which a call has ended.
    ended: BTreeMap<(u64, String), Timestamp>,
    shelves: BTreeMap<NodeId, (u64, Memory)>,
    /// Whether the present core has written, and then read.
    goal: (bool, bool),
    seen: Vec<Seen>,
    tally: Tally,
}

impl Registers {
    pub(in crate::sim) fn new(rng: &mut Pcg64Mcg) -> Self {
        Self {
            haste: rng.random_range(20..=400),
            names: rng.random_range(1..=3),
            processes: rng.random_range(2..=5),
            ticks: 0,
            requests: 0,
            open: BTreeMap::new(),
            generations: BTreeSet::new(),
            values: BTreeMap::new(),
            written: BTreeSet::new(),
            ended: BTreeMap::new(),
            shelves: BTreeMap::new(),
            goal: (false, false),
            seen: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn begin(&mut self, node: NodeId, process: u64, name: String, writes: bool, deadline_ticks: u64) -> Call {
        self.requests += 1;
        let request = RequestId(self.requests);
        let value = writes.then(|| Value::new(&format!("<int>{}</int>", self.requests)));
        let op = match &value {
            Some(value) => Op::WriteRegister { key: name.clone(), value: value.as_str().to_owned() },
            None => Op::ReadRegister { key: name.clone() },
        };
        self.seen.push(Seen::Invoke { process, time_ns: self.ticks, op });
        self.open.insert(request, Open { process, node, name: name.clone(), value: value.clone(), begun: None });
        Call::Register { request, name, value, deadline_ticks }
    }

    /// A value is told of: it is the only one with its timestamp, and a client wrote it.
    fn told(&mut self, who: Who, name: &str, held: &Held) -> Verdict {
        let key = (who.generation, name.to_owned(), held.timestamp);
        let first = self.values.entry(key).or_insert_with(|| held.value.clone());
        let written = self.written.contains(&(who.generation, held.value.clone()));
        ensure(*first == held.value && written, rule::ONE_VALUE, || {
            format!("{} tells of {} with {}, which {first} has", who.node, held.value, held.timestamp)
        })
    }

    /// Whoever hears of it may rely on it: some register holds it, or something higher.
    fn is_saved(who: Who, name: Option<&str>, timestamp: Timestamp, disk: &Durable) -> Verdict {
        let registers = &disk.register.registers;
        let saved = match name {
            Some(name) => registers.get(name).is_some_and(|held| held.timestamp >= timestamp),
            None => registers.values().any(|held| held.timestamp >= timestamp),
        };
        ensure(saved || disk.generation != who.generation, rule::SAVED_FIRST, || {
            format!("{} tells that it holds {timestamp}, with {registers:?} on disk", who.node)
        })
    }

    fn end(&mut self, open: &Open, ending: Option<Answer>, is_definite: bool) {
        let (process, time_ns) = (open.process, self.ticks);
        self.seen.push(match ending {
            Some(answer) => Seen::Return { process, time_ns, answer },
            // A read that was not answered changed nothing.
            None if is_definite || open.value.is_none() => Seen::Fail { process, time_ns, reason: String::new() },
            None => Seen::Unknown { process, time_ns, reason: String::new() },
        });
    }

    fn finished(&mut self, who: Who, request: RequestId, result: &Result<Done, Failure>) -> Verdict {
        let Some(open) = self.open.remove(&request) else { return Ok(()) };
        let timestamp = match result {
            Ok(Done::Written(timestamp)) => Some(*timestamp),
            Ok(Done::Read(held)) => held.as_ref().map(|held| held.timestamp),
            Err(_) => None,
        };
        if let (Ok(_), Some((generation, floor))) = (result, open.begun)
            && generation == who.generation
        {
            let fits = if open.value.is_some() { timestamp > floor } else { timestamp >= floor };
            ensure(fits, rule::ORDER, || {
                format!("{} ends a call with {timestamp:?}, and {floor:?} had ended before it began", who.node)
            })?;
            if let Some(timestamp) = timestamp {
                let ended = self.ended.entry((generation, open.name.clone())).or_insert(timestamp);
                *ended = (*ended).max(timestamp);
            }
            if open.process == GOAL {
                self.goal = (true, open.value.is_none());
            }
        }
        let answer = match result {
            Ok(Done::Written(_)) => Some(Answer::Done),
            Ok(Done::Read(None)) => Some(Answer::Absent),
            Ok(Done::Read(Some(held))) => Some(Answer::Found { value: held.value.as_str().to_owned(), version: None }),
            Err(_) => None,
        };
        self.tally.answered_chosen += u64::from(answer.is_some());
        let is_definite = matches!(result, Err(Failure::Unavailable { .. } | Failure::Full));
        self.tally.answered_refused += u64::from(is_definite);
        self.tally.answered_unknown += u64::from(answer.is_none() && !is_definite);
        if let (true, Some(value)) = (is_definite, &open.value) {
            let heard_of =
                self.values.iter().any(|((generation, ..), known)| *generation == who.generation && known == value);
            ensure(!heard_of, rule::ANSWER, || {
                format!("{} says that {value} was not written, and it was told", who.node)
            })?;
        }
        self.end(&open, answer, is_definite);
        Ok(())
    }
}

/// The client of a healed core.
const GOAL: u64 = 1000;

impl Subject for Registers {
    fn register(&self) -> Option<Options> {
        Some(Options::default())
    }

    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        self.ticks += 1;
        if !rng.random_ratio(self.haste, 1000) {
            return None;
        }
        let (at, process) = (members[rng.random_range(0..members.len())], rng.random_range(0..self.processes));
        let (name, writes) = (rng.random_range(0..self.names).to_string(), rng.random_bool(0.5));
        let deadline_ticks = rng.random_range(1..200);
        let is_busy = self.open.values().any(|open| open.process == process);
        (!is_busy).then(|| (at, self.begin(at, process, name, writes, deadline_ticks)))
    }

    fn healed(&mut self) {
        self.goal = (false, false);
    }

    fn urge(&mut self, core: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        self.ticks += 1;
        let at = core[rng.random_range(0..core.len())];
        let is_busy = self.open.values().any(|open| open.process == GOAL);
        (!is_busy && !self.goal.1).then(|| (at, self.begin(at, GOAL, "0".to_owned(), !self.goal.0, 200)))
    }

    fn settled(&self, core: &[&Host]) -> Result<(), String> {
        if !self.goal.1 {
            return Err("the core has not written and read".to_owned());
        }
        let waits = core.iter().find(|host| host.register().is_some_and(|register| register.waiting() > 0));
        waits.map_or(Ok(()), |host| Err(format!("{} has not answered all calls", host.id())))
    }

    fn turned_away(&mut self, call: &Call) {
        if let Call::Register { request, .. } = call
            && let Some(open) = self.open.remove(request)
        {
            self.end(&open, None, true);
        }
    }

    fn called(&mut self, who: Who, call: &Call) {
        let Call::Register { request, name, value, .. } = call else { return };
        self.generations.insert(who.generation);
        if let Some(value) = value {
            self.tally.proposals += 1;
            self.written.insert((who.generation, value.clone()));
        } else {
            self.tally.reads += 1;
        }
        let floor = self.ended.get(&(who.generation, name.clone())).copied();
        if let Some(open) = self.open.get_mut(request) {
            open.begun = Some((who.generation, floor));
        }
    }

    fn sent(&mut self, who: Who, message: &HostMessage, disk: &Durable) -> Verdict {
        let HostMessage::Register(message) = message else { return Ok(()) };
        match message {
            Message::Store(store) => {
                Self::is_saved(who, Some(&store.name), store.held.timestamp, disk)?;
                self.told(who, &store.name, &store.held)
            }
            Message::Held(answer) => match &answer.held {
                Some(held) => Self::is_saved(who, None, held.timestamp, disk),
                None => Ok(()),
            },
            Message::Stored(stored) => Self::is_saved(who, None, stored.timestamp, disk),
            Message::Query(_) => Ok(()),
        }
    }

    fn saved(&mut self, node: NodeId, records: &[(u64, Record)]) -> Verdict {
        for (generation, record) in records {
            let (_, shelf) = self.shelves.entry(node).or_insert_with(|| (*generation, Memory::default()));
            match record {
                Record::Register(record) => {
                    let before = shelf.registers.get(&record.name).map(|held| held.timestamp);
                    shelf.apply(record);
                    ensure(before < Some(record.held.timestamp), rule::RISES, || {
                        format!("{node} held {before:?} of '{}', and holds {}", record.name, record.held.timestamp)
                    })?;
                }
                Record::Generation { generation, .. } => {
                    self.shelves.insert(node, (*generation, Memory::default()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn told(&mut self, who: Who, event: &Event, _disk: &Durable) -> Verdict {
        match event {
            Event::Finished { request, result } => self.finished(who, *request, result),
            _ => Ok(()),
        }
    }

    fn crashed(&mut self, node: NodeId) {
        let here: Vec<RequestId> = self.open.iter().filter(|(_, open)| open.node == node).map(|(id, _)| *id).collect();
        for request in here {
            if let Some(open) = self.open.remove(&request) {
                self.end(&open, None, false);
            }
        }
    }

    fn recovered(&mut self, who: Who, host: &Host) -> Verdict {
        let (Some(register), Some((generation, shelf))) = (host.register(), self.shelves.get(&who.node)) else {
            return Ok(());
        };
        ensure(*generation != who.generation || register.memory() == shelf, rule::KEPT, || {
            format!("{} comes back with {:?}, and had saved {shelf:?}", who.node, register.memory())
        })
    }

    fn ended(&mut self) -> Verdict {
        // A restart of the lab empties the registers, so there is nothing to look at then.
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

    fn count(&self, tally: &mut Tally) {
        *tally += self.tally;
    }
}
