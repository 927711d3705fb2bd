//! The replicated log, with the election that gives it leaders and the services that it feeds.
//!
//! [`ledger`] follows what all disks keep, and knows by that what is chosen; [`replay`] applies it as one node would that
//! never fails; [`clients`] ask, and compare. The rules are named in [`rule`].
//!
//! # Faults
//!
//! All are on but `stale`: an old copy of a log is in order, so nobody can notice it. A disk that is wiped, or whose log
//! is found damaged, is noticed by the node itself, which does not vote until it is repaired. That defence is good only
//! against a loss that the others can bear at that moment, and what they cannot bear is not asked of them: see
//! [`Watch::may_lose`]. In short, nobody campaigns with a promise of the lost node, nobody still leads an epoch lower than
//! the one that it had promised, and a majority of the others has all that is chosen, and all that the lost node had
//! accepted is. A node without a memory is in its first moments no better than one whose promises were forgotten, and
//! messages do not say in which life their sender is.
//!
//! A forwarded call is never doubled by the network, nor its refusal: nodes send them once, over a connection.

mod clients;
mod ledger;
mod replay;
mod rule;

use std::collections::BTreeMap;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::{Call, Subject, Verdict, Who, ensure};
use crate::protocol::durable::Durable;
use crate::protocol::host::Host;
use crate::protocol::log::memory::{self, Memory};
use crate::protocol::log::{Message, Options as LogOptions};
use crate::protocol::quorum::Members;
use crate::protocol::strong::{self, Snapshots};
use crate::protocol::types::{Ballot, NodeId, RequestId};
use crate::protocol::{Effect, Event, Message as HostMessage, Record, bully};
use crate::service::reply::Reply;
use crate::sim::report::Tally;
use clients::Clients;
use ledger::{Ledger, Shelf};

/// All that is known of the logs of one world.
#[derive(Debug)]
pub(in crate::sim) struct Watch {
    members: Members,
    options: strong::Options,
    /// Whether the cluster has been at work before, so that every node may vote.
    founded: bool,
    clients: Clients,
    /// What each disk keeps, and in which generation.
    shelves: BTreeMap<NodeId, (u64, Shelf)>,
    ledgers: BTreeMap<u64, Ledger>,
    /// What was looked at last of each node.
    seen: BTreeMap<NodeId, Look>,
}

/// What tells whether a node has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    generation: u64,
    epochs: (Option<Ballot>, Option<Ballot>, Option<Ballot>),
    slots: (u64, u64, u64, u64),
    proven: bool,
    saved: u64,
}

impl Watch {
    pub(in crate::sim) fn new(members: Members, rng: &mut Pcg64Mcg) -> Self {
        let options = draw(rng);
        let founded = rng.random_range(0..4) > 0;
        let shelves = members.iter().map(|node| (node, (1, Shelf::default()))).collect();
        let clients = Clients::new(rng);
        let (ledgers, seen) = (BTreeMap::new(), BTreeMap::new());
        Self { members, options, founded, clients, shelves, ledgers, seen }
    }

    fn ledger(&mut self, generation: u64) -> &mut Ledger {
        let majority = self.members.majority();
        self.ledgers.entry(generation).or_insert_with(|| Ledger::new(majority))
    }

    /// What a node's disk keeps, if it has not moved on to another generation.
    fn shelf(&self, who: Who) -> Option<&Shelf> {
        self.shelves.get(&who.node).filter(|(generation, _)| *generation == who.generation).map(|(_, shelf)| shelf)
    }

    /// Whoever hears of a promise may rely on it.
    fn promised(&self, who: Who, epoch: Ballot) -> Verdict {
        let Some(shelf) = self.shelf(who) else { return Ok(()) };
        ensure(shelf.promised >= Some(epoch), rule::SAVED_FIRST, || {
            format!("{} tells of a promise of {epoch} with {:?} on disk", who.node, shelf.promised)
        })
    }

    /// The same of what was accepted.
    fn accepted(&self, who: Who, epoch: Option<Ballot>, length: u64) -> Verdict {
        let Some(shelf) = self.shelf(who) else { return Ok(()) };
        let had = (shelf.accepted, shelf.length());
        ensure(had >= (epoch, length), rule::SAVED_FIRST, || {
            format!("{} tells that it has {length} of {epoch:?} with {had:?} on disk", who.node)
        })
    }

    fn said(&mut self, who: Who, message: &Message) -> Verdict {
        match message {
            Message::Prepare { epoch } | Message::Confirmed { epoch, .. } => self.promised(who, *epoch),
            Message::Reject { promised, .. } => self.promised(who, *promised),
            Message::Promise { epoch, holds, votes, .. } => {
                self.promised(who, *epoch)?;
                self.accepted(who, holds.accepted, holds.length)?;
                let proven = self.shelf(who).is_none_or(|shelf| shelf.proven);
                ensure(proven || !votes, rule::SAVED_FIRST, || format!("{} votes without a memory", who.node))?;
                self.ledger(who.generation).committed(who.node, holds.committed)
            }
            Message::Accepted { epoch, length } => {
                self.promised(who, *epoch)?;
                length.map_or(Ok(()), |length| self.accepted(who, Some(*epoch), length))
            }
            Message::Accept { committed, .. } => self.ledger(who.generation).committed(who.node, *committed),
            _ => Ok(()),
        }
    }

    /// What a node was told is compared with what is chosen.
    fn replied(&mut self, who: Who, request: RequestId, reply: &Reply) -> Verdict {
        let Some(ledger) = self.ledgers.get(&who.generation) else { return Ok(()) };
        // Who has given up the call has perhaps made it again, and is told elsewhere.
        let Some(key) = self.clients.key_of(request) else { return Ok(()) };
        let first = match key {
            Some((client, sequence)) => {
                let last = ledger.replay.last_request(client);
                ensure(last.is_some_and(|(last, _)| *last >= sequence), rule::ANSWER, || {
                    format!("{} answers {client}/{sequence} with {reply:?}, and it is not chosen", who.node)
                })?;
                last.filter(|(last, _)| *last == sequence).map(|(_, reply)| reply)
            }
            None => reply.position().and_then(|at| ledger.replay.reply_at(at.counter)),
        };
        let waited = |first: &Reply| matches!((first, reply), (Reply::Lock { .. }, Reply::Lock { .. }));
        ensure(first.is_none_or(|first| first == reply || waited(first)), rule::ANSWER, || {
            format!("{} answers {reply:?}, and the replay {first:?}", who.node)
        })?;
        match reply.position() {
            Some(at) => ledger.committed(who.node, at.counter),
            None => Ok(()),
        }
    }

    /// Once nothing waits for the disk, a node is what its disk is, and what it holds for chosen is.
    fn looked_at(&self, who: Who, memory: &Memory, leads: bool) -> Verdict {
        let Some(shelf) = self.shelf(who) else {
            return ensure(false, rule::DURABLE, || format!("{} is in a generation that its disk knows not", who.node));
        };
        let kept = (shelf.promised, shelf.accepted, shelf.proven, shelf.length(), Some(shelf.last_hash()));
        // A leader's newest entries wait for the end of the batch.
        let ends = if leads { memory.length().min(shelf.length()) } else { memory.length() };
        let held = (memory.promised, memory.accepted, memory.proven, ends, memory.entries.hash_at(ends));
        ensure(kept == held, rule::DURABLE, || format!("{} holds {held:?}, and its disk {kept:?}", who.node))
    }
}

/// What makes rare paths common: short logs, small pages, few messages under way.
fn draw(rng: &mut Pcg64Mcg) -> strong::Options {
    let defaults = LogOptions::default();
    let small = rng.random_bool(0.7);
    let log = LogOptions {
        batch_entries: if small { rng.random_range(1..=8) } else { defaults.batch_entries },
        batch_bytes: if small { rng.random_range(20..=600) } else { defaults.batch_bytes },
        window: rng.random_range(1..=3),
        thrifty: rng.random_bool(0.5),
        campaign_ticks: rng.random_range(30..=100),
        resend_ticks: rng.random_range(5..=40),
        idle_ticks: rng.random_range(3..=20),
        newcomer_ticks: defaults.newcomer_ticks,
        tail: [0, 1, 3, 8][rng.random_range(0..4)],
    };
    let bytes = [100, 300, 900, 1 << 20][rng.random_range(0..4)];
    let bully = bully::Options { preempt: rng.random_bool(0.2), ..bully::Options::default() };
    strong::Options { bully, log, snapshots: Snapshots { entries: rng.random_range(3..=60), bytes } }
}

impl Subject for Watch {
    fn strong(&self) -> Option<strong::Options> {
        Some(self.options)
    }

    fn founding(&self) -> Option<Record> {
        self.founded.then_some(Record::Log(memory::Record::Prove))
    }

    fn may_vote(&self, node: NodeId) -> bool {
        self.shelves.get(&node).is_some_and(|(_, shelf)| shelf.proven)
    }

    /// The head of the module says what the others can bear.
    fn may_lose(&self, node: NodeId, hosts: &[&Host]) -> bool {
        let Some((generation, lost)) = self.shelves.get(&node) else { return false };
        let others = || self.shelves.iter().filter(|(id, _)| **id != node);
        if others().filter(|(_, (_, shelf))| shelf.proven).count() < self.members.majority() {
            return false;
        }
        let logs = || hosts.iter().filter(|host| host.id() != node).filter_map(|host| host.strong()).map(|s| s.log());
        if logs().any(|log| log.campaigns().is_some() || log.leads().is_some_and(|epoch| Some(epoch) < lost.promised)) {
            return false;
        }
        let Some(ledger) = self.ledgers.get(generation) else { return lost.length() == 0 };
        let chosen = ledger.chosen();
        let hash = ledger.hash_at(chosen).unwrap_or(0);
        let holds = |shelf: &Shelf| shelf.proven && shelf.length() >= chosen && shelf.has(chosen, hash);
        let holders = others().filter(|(_, (other, shelf))| other == generation && holds(shelf)).count();
        lost.length() <= chosen && holders >= self.members.majority()
    }

    fn lost(&mut self, node: NodeId, generation: u64) {
        self.shelves.insert(node, (generation, Shelf::default()));
        self.ledgers.values_mut().for_each(|ledger| ledger.lost(node));
    }

    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        self.clients.wish(members, rng)
    }

    fn healed(&mut self) {
        self.clients.healed();
    }

    fn urge(&mut self, core: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        let goal = self.clients.goal();
        let newest = self.ledgers.values().next_back().and_then(|ledger| ledger.replay.last_request("goal"));
        self.clients.urge(core, newest.is_some_and(|(last, _)| *last >= goal), rng)
    }

    /// All live in one generation, may vote, have applied the same slots, the last goal among them; and nobody waits.
    fn settled(&self, core: &[&Host]) -> Result<(), String> {
        let Some(first) = core.first() else { return Ok(()) };
        let generation = first.generation();
        if core.iter().any(|host| host.generation() != generation) {
            return Err("the nodes live in several generations".to_owned());
        }
        let goal = self.clients.goal();
        let last = self.ledgers.get(&generation).and_then(|ledger| ledger.replay.last_request("goal"));
        if last.is_none_or(|(last, _)| *last < goal) {
            return Err(format!("goal {goal} is not chosen"));
        }
        let chosen = self.ledgers.get(&generation).map_or(0, Ledger::chosen);
        for host in core {
            let Some(strong) = host.strong() else { continue };
            if strong.applied() != chosen {
                return Err(format!("{} has applied {} of {chosen} slots", host.id(), strong.applied()));
            }
            if !strong.log().memory().proven {
                return Err(format!("{} may not vote", host.id()));
            }
            if strong.waiting() > 0 {
                return Err(format!("{} has not answered all calls", host.id()));
            }
        }
        Ok(())
    }

    fn turned_away(&mut self, call: &Call) {
        if let Call::Command { request, .. } | Call::Read { request, .. } = call {
            self.clients.turned_away(*request);
        }
    }

    fn called(&mut self, who: Who, call: &Call) {
        self.clients.called(who, call);
    }

    fn emitted(&mut self, who: Who, host: &Host, effect: &Effect) -> Verdict {
        match (effect, host.strong()) {
            (Effect::Notify(Event::Readable { request, result: Ok(()) }), Some(strong)) => {
                self.clients.readable(who, *request, strong.services())
            }
            _ => Ok(()),
        }
    }

    fn stepped(&mut self, who: Who, host: &Host) -> Verdict {
        let Some(strong) = host.strong() else { return Ok(()) };
        let memory = strong.log().memory();
        let (applied, committed, length) = (strong.applied(), memory.committed, memory.length());
        ensure(applied <= committed && committed <= length, rule::ORDER, || {
            format!("{} has applied {applied}, committed {committed}, of {length}", who.node)
        })
    }

    fn rested(&mut self, who: Who, host: &Host) -> Verdict {
        let Some(strong) = host.strong() else { return Ok(()) };
        let (log, memory) = (strong.log(), strong.log().memory());
        let snapshot = memory.snapshot.as_ref().map_or(0, |snapshot| snapshot.slot);
        let saved = self.shelf(who).map_or(0, Shelf::last_hash);
        let look = Look {
            generation: who.generation,
            epochs: (memory.promised, memory.accepted, log.leads()),
            slots: (memory.length(), memory.committed, strong.applied(), snapshot),
            proven: memory.proven,
            saved,
        };
        if self.seen.get(&who.node) == Some(&look) {
            return Ok(());
        }
        self.looked_at(who, memory, log.leads().is_some())?;
        self.seen.insert(who.node, look);
        let ledger = self.ledger(who.generation);
        ledger.committed(who.node, memory.committed)?;
        let (applied, hash) = (strong.applied(), strong.services().state_hash());
        ensure(ledger.replay.hash_at(applied) == Some(hash), rule::STATE, || {
            format!("{} has {hash:016x} after slot {applied}, not {:016x?}", who.node, ledger.replay.hash_at(applied))
        })?;
        log.leads().map_or(Ok(()), |epoch| ledger.leads(who.node, who.life, epoch))
    }

    fn saved(&mut self, node: NodeId, records: &[(u64, Record)]) -> Verdict {
        for (generation, record) in records {
            match record {
                Record::Log(record) => {
                    let (_, mut shelf) = self.shelves.remove(&node).unwrap_or_default();
                    let taken = self.ledger(*generation).take(node, &mut shelf, record);
                    self.shelves.insert(node, (*generation, shelf));
                    taken?;
                    let news = self.ledger(*generation).replay.take_news();
                    news.iter().try_for_each(|command| self.clients.chosen(*generation, command))?;
                }
                Record::Generation { generation, .. } => {
                    let proven = self.may_vote(node);
                    self.shelves.insert(node, (*generation, Shelf::empty(proven)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn sent(&mut self, who: Who, message: &HostMessage, _disk: &Durable) -> Verdict {
        match message {
            HostMessage::Log(message) => self.said(who, message),
            HostMessage::Strong(strong::Message::ReadAt { slot: Some(slot), .. }) => {
                self.ledger(who.generation).committed(who.node, *slot)
            }
            _ => Ok(()),
        }
    }

    fn told(&mut self, who: Who, event: &Event, _disk: &Durable) -> Verdict {
        match event {
            Event::Replied { request, result, .. } => {
                if let Ok(reply) = result {
                    self.replied(who, *request, reply)?;
                }
                self.clients.replied(who, *request, result)
            }
            Event::Readable { request, result } => {
                self.clients.read(*request, result);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn crashed(&mut self, node: NodeId) {
        self.seen.remove(&node);
        self.clients.crashed(node);
    }

    fn recovered(&mut self, who: Who, host: &Host) -> Verdict {
        let (Some(strong), Some(shelf)) = (host.strong(), self.shelf(who)) else { return Ok(()) };
        let memory = strong.log().memory();
        let kept = (shelf.promised, shelf.accepted, shelf.proven, shelf.length(), shelf.last_hash());
        let entries = &memory.entries;
        let held = (memory.promised, memory.accepted, memory.proven, entries.length(), entries.last_hash());
        ensure(kept == held, rule::KEPT, || format!("{} comes back with {held:?}, and had saved {kept:?}", who.node))
    }

    fn ended(&mut self) -> Verdict {
        self.clients.ended()
    }

    fn count(&self, tally: &mut Tally) {
        *tally += self.clients.tally;
        for ledger in self.ledgers.values() {
            tally.epochs += ledger.epochs();
            tally.entries += ledger.chosen();
            tally.snapshots += ledger.snapshots;
            tally.installs += ledger.installs;
            tally.grants += ledger.replay.grants;
            tally.fenced += ledger.replay.fenced;
        }
    }
}
