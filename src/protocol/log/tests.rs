//! The log alone, in a small world of its own: candidates are picked by chance, messages are lost, doubled and late, and
//! nodes die with what they had not saved. Members come and go, and who has gone may come back empty. The whole node in the whole world is [`crate::sim`]'s.

mod leading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::entries::Entries;
use super::members::Change;
use super::*;
use crate::protocol::quorum::Members;
use crate::protocol::{Effect, Message as AnyMessage, Record as AnyRecord};

mod changes;

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

struct World {
    rng: Pcg64Mcg,
    founding: Members,
    /// All nodes that there are, members or not.
    ids: Vec<NodeId>,
    options: Options,
    nodes: BTreeMap<NodeId, Option<Log>>,
    disks: BTreeMap<NodeId, Memory>,
    flying: Vec<(NodeId, NodeId, Message)>,
    /// What some node held for committed first, and what was acknowledged.
    chosen: BTreeMap<u64, u64>,
    /// The memberships among that.
    memberships: BTreeMap<u64, Members>,
    leaders: BTreeMap<Ballot, NodeId>,
    loss: u32,
    commands: u64,
    readable: u64,
    installs: u64,
}

impl World {
    fn new(seed: u64, count: u32) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let founding = Members::new((1..=count).map(node)).unwrap();
        let ids: Vec<NodeId> = (1..=count + 2).map(node).collect();
        let options = Options {
            batch_entries: rng.random_range(1..6),
            batch_bytes: rng.random_range(4..40),
            tail: rng.random_range(0..5),
            thrifty: rng.random_bool(0.5),
            window: rng.random_range(1..4),
            newcomer_ticks: rng.random_range(5..40),
            ..Options::default()
        };
        let loss = if rng.random_bool(0.5) { rng.random_range(0..25) } else { 0 };
        let mut world = Self {
            rng,
            founding: founding.clone(),
            ids: ids.clone(),
            options,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            flying: Vec::new(),
            chosen: BTreeMap::new(),
            memberships: BTreeMap::from([(0, founding.clone())]),
            leaders: BTreeMap::new(),
            loss,
            commands: 0,
            readable: 0,
            installs: 0,
        };
        for id in ids {
            world.disks.insert(id, Memory { proven: founding.contains(id), ..Memory::default() });
            world.start(id);
        }
        world
    }

    fn start(&mut self, id: NodeId) {
        // Who joins later is not among the members that it is given.
        let given = Members::new(self.founding.iter().filter(|&member| self.founding.contains(id) || member != id));
        let log = Log::new(id, given.unwrap(), self.options, self.disks[&id].clone());
        self.nodes.insert(id, Some(log));
    }

    fn step(&mut self, id: NodeId, input: impl FnOnce(&mut Log, &mut Out)) {
        let Some(Some(log)) = self.nodes.get_mut(&id) else { return };
        let before = (log.leads(), log.memory().committed);
        let mut out = Out::default();
        input(log, &mut out);
        let mut own = Vec::new();
        loop {
            for effect in out.drain().collect::<Vec<_>>() {
                match effect {
                    Effect::Save(AnyRecord::Log(record)) | Effect::Note(AnyRecord::Log(record)) => {
                        self.installs += u64::from(matches!(record, Record::Install { .. }));
                        self.disks.get_mut(&id).unwrap().apply(&record);
                    }
                    Effect::Send { to, message: AnyMessage::Log(message) } if to == id => own.push(message),
                    Effect::Send { to, message: AnyMessage::Log(message) } => self.flying.push((id, to, message)),
                    _ => {}
                }
            }
            let Some(message) = own.pop() else { break };
            log.on_message(id, message, &mut out);
        }
        log.check_invariants();
        for notice in log.take_notices() {
            match notice {
                Notice::Established(epoch) => assert_eq!(*self.leaders.entry(epoch).or_insert(id), id, "{epoch}"),
                Notice::Readable { slot, read } => {
                    assert!(slot >= read, "a read that began when {read} was committed is answered at {slot}");
                    self.readable += 1;
                }
                Notice::Deposed(_) | Notice::Unreadable { .. } => {}
                Notice::Joined { .. } | Notice::NotJoined { .. } => {}
            }
        }
        if log.leads().is_some() && !log.members().contains(id) && log.leaving().is_none() {
            log.resign();
        }
        let members = log.members().clone();
        let counted = before.0.is_some() && before.0 == log.leads() && before.1 < log.memory().committed;
        let memory = log.memory();
        // The chain's hash says all about what comes before it.
        for slot in memory.entries.base().max(1)..=memory.committed {
            let hash = memory.entries.hash_at(slot).unwrap();
            assert_eq!(*self.chosen.entry(slot).or_insert(hash), hash, "slot {slot} differs at {id}");
            if let Some(Command::Members(members)) = memory.entries.get(slot).map(|entry| &entry.command) {
                self.memberships.insert(slot, members.members().clone());
            }
        }
        let (committed, hash) = (memory.committed, memory.entries.hash_at(memory.committed));
        if counted {
            self.check_counted(&members, committed, hash);
        }
    }

    /// What a leader has just taken for chosen is on the disks of a majority of the members that are in force there.
    fn check_counted(&self, members: &Members, slot: u64, hash: Option<u64>) {
        let has =
            |disk: &Memory| disk.entries.base() >= slot && disk.committed >= slot || disk.entries.hash_at(slot) == hash;
        let holders = members.iter().filter(|member| has(&self.disks[member])).count();
        assert!(holders >= members.majority(), "{slot} is taken for chosen, and {holders} of {members:?} have it");
    }

    /// Memberships follow one another by one node, so that majorities of the two meet.
    fn check_memberships(&self) {
        let all: Vec<BTreeSet<NodeId>> = self.memberships.values().map(|members| members.iter().collect()).collect();
        for pair in all.windows(2) {
            assert_eq!(pair[0].symmetric_difference(&pair[1]).count(), 1, "{pair:?}");
        }
    }

    /// A leader, if there is one, is asked for a change.
    fn change(&mut self) {
        let leads = |id: &&NodeId| self.nodes[id].as_ref().is_some_and(|log| log.leads().is_some());
        let Some(&leader) = self.ids.iter().find(leads) else { return };
        let node = self.ids[self.rng.random_range(0..self.ids.len())];
        let is_member = self.nodes[&leader].as_ref().is_some_and(|log| log.members().contains(node));
        let change = if is_member { Change::Remove { node } } else { Change::Add { node, address: Arc::from("") } };
        self.step(leader, |log, out| _ = log.change(&change, out));
    }

    /// One who is no member, by anyone's log, loses its disk.
    fn wipe(&mut self) {
        let id = self.ids[self.rng.random_range(0..self.ids.len())];
        let in_force = |memory: &Memory| {
            let members = memory.members_at(memory.length());
            members.map_or_else(|| self.founding.contains(id), |members| members.members().contains(id))
        };
        let live = self.nodes.values().flatten().map(Log::memory);
        if !self.disks.values().chain(live).any(in_force) {
            // Its process has ended, and with it the connections on which it was answering.
            self.flying.retain(|(from, ..)| *from != id);
            self.disks.insert(id, Memory::default());
            self.start(id);
        }
    }

    fn chance(&mut self) {
        let ids = self.ids.clone();
        let id = ids[self.rng.random_range(0..ids.len())];
        match self.rng.random_range(0..1000) {
            0..600 if !self.flying.is_empty() => {
                let at = self.rng.random_range(0..self.flying.len().min(12));
                let (from, to, message) = self.flying.remove(at);
                if self.rng.random_range(0..100) < self.loss {
                    return;
                }
                if self.rng.random_range(0..100) < self.loss {
                    self.flying.push((from, to, message.clone()));
                }
                self.step(to, |log, out| log.on_message(from, message, out));
            }
            600..700 => self.step(id, Log::flush),
            700..850 => self.step(id, Log::on_tick),
            850..858 => self.change(),
            858..862 => self.wipe(),
            862..940 => {
                self.commands += 1;
                let command = Command::Service(Arc::from(self.commands.to_string().as_bytes()));
                self.step(id, |log, _| _ = log.append(command));
            }
            940..960 => {
                // A read must see what anyone held for committed when it began.
                let committed = self.chosen.last_key_value().map_or(0, |(slot, _)| *slot);
                self.step(id, |log, _| _ = log.read(committed));
            }
            960..970 => self.step(id, Log::campaign),
            970..980 => {
                let state: Arc<[u8]> = Arc::from(&b"a state of some length"[..]);
                self.step(id, |log, out| {
                    let (slot, entries) = (log.memory().committed, &log.memory().entries);
                    let hash = entries.hash_at(slot).unwrap();
                    // Now and then one that was begun for a log that has been exchanged since.
                    let hash = hash.wrapping_add(u64::from(slot % 7 == 0));
                    log.compact((slot, hash), state, out);
                });
            }
            980..984 => {
                self.nodes.insert(id, None);
                let noticed: Vec<NodeId> = ids.iter().copied().filter(|_| self.rng.random_bool(0.5)).collect();
                noticed.into_iter().for_each(|other| self.step(other, |log, _| log.disconnected(id)));
            }
            984..1000 if self.nodes[&id].is_none() => self.start(id),
            _ => {}
        }
    }

    /// All up, nothing lost: one leader gets everything everywhere.
    fn settle(&mut self) {
        self.loss = 0;
        let ids = self.ids.clone();
        for &id in &ids {
            if self.nodes[&id].is_none() {
                self.start(id);
            }
        }
        self.run_quietly(200);
        for attempt in 0..40 {
            let id = ids[attempt % ids.len()];
            self.step(id, Log::campaign);
            self.run_quietly(200);
            if self.nodes[&id].as_ref().unwrap().leads().is_some() {
                self.step(id, |log, _| _ = log.append(Command::Noop));
                self.step(id, |log, _| _ = log.read(0));
                let before = self.readable;
                self.run_quietly(300);
                let members = self.nodes[&id].as_ref().unwrap().members().clone();
                let lengths: Vec<_> = members
                    .iter()
                    .map(|id| self.nodes[&id].as_ref().unwrap().memory())
                    .map(|memory| (memory.committed, memory.length(), memory.entries.last_hash()))
                    .collect();
                let alike = lengths.iter().all(|one| *one == lengths[0] && one.0 == one.1);
                assert!(alike, "{id} leads {members:?}: {lengths:?}\n{}", self.told());
                assert!(self.readable > before, "the read was not answered");
                let others = ids.iter().copied().filter(|other| !members.contains(*other));
                // Whoever is out comes in; or, if all are in, one goes.
                let change = others.map(|node| Change::Add { node, address: Arc::from("") }).next();
                let change = change.unwrap_or(Change::Remove { node: ids[0] });
                self.step(id, |log, out| assert!(matches!(log.change(&change, out), Some(Ok(_))), "{change:?}"));
                self.run_quietly(300);
                let log = self.nodes[&id].as_ref().unwrap();
                assert!(!log.memory().is_changing() && *log.members() != members, "{change:?} was not committed");
                return self.check_memberships();
            }
        }
        panic!("nobody leads");
    }

    /// What each node is about, for a message.
    fn told(&self) -> String {
        let told = |(id, log): (&NodeId, &Option<Log>)| {
            let Some(Log { role, membership, memory, fetching, .. }) = log else { return format!("{id} is down\n") };
            let (promised, accepted, members) = (memory.promised, memory.accepted, membership.members());
            let (length, committed) = (memory.length(), memory.committed);
            format!("{id}: {promised:?} {accepted:?} {length} {committed} {members:?}\n  {role:?}\n  {fetching:?}\n")
        };
        self.nodes.iter().map(told).collect()
    }

    fn run_quietly(&mut self, ticks: u32) {
        for _ in 0..ticks {
            for id in self.ids.clone() {
                self.step(id, Log::on_tick);
                self.step(id, Log::flush);
            }
            for (from, to, message) in std::mem::take(&mut self.flying) {
                self.step(to, |log, out| log.on_message(from, message, out));
                self.step(to, Log::flush);
            }
        }
    }
}

#[test]
fn whatever_happens_all_hold_the_same_log() {
    let (mut slots, mut epochs, mut reads, mut installs, mut changes) = (0, 0, 0, 0, 0);
    for seed in 0..300 {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, [3, 5][seed as usize % 2]);
            for _ in 0..3000 {
                world.chance();
            }
            world.settle();
            (world.chosen.len(), world.leaders.len(), world.readable, world.installs, world.memberships.len() - 2)
        });
        let Ok((chosen, leaders, readable, installed, changed)) = result else { panic!("seed {seed}") };
        slots += chosen;
        epochs += leaders;
        reads += readable;
        installs += installed;
        changes += changed;
    }
    // The runs must have been about something.
    let told = format!("{slots} {epochs} {reads} {installs} {changes}");
    assert!(slots > 3000 && epochs > 600 && reads > 300 && installs > 50 && changes > 300, "{told}");
}

/// A leader whose chain is another one up to where our log ends is told nothing of what we have.
#[test]
pub(crate) fn a_log_that_continues_another_chain_is_not_acknowledged() {
    let members = Members::new((1..=3).map(node)).unwrap();
    let memory = Memory { proven: true, ..Memory::default() };
    let mut log = Log::new(node(2), members, Options::default(), memory);
    let epoch = Ballot { round: 1, node: node(1) };
    let first = Entry::after(0, epoch, Command::Noop);
    let began = Some(Beginning { accepted: None, length: 0, start: 1 });
    let mut hear = |began, after, hash, entries| {
        let mut out = Out::default();
        log.on_message(node(1), Message::Accept { epoch, began, after, hash, entries, committed: 0 }, &mut out);
        let told = out.drain().filter_map(|effect| match effect {
            Effect::Send { message: AnyMessage::Log(Message::Accepted { length, .. }), .. } => Some(length),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(hear(began, 0, 0, vec![first.clone()]), [Some(1)]);
    assert_eq!(hear(None, 1, first.hash, Vec::new()), [Some(1)]);
    assert_eq!(hear(None, 1, first.hash ^ 1, Vec::new()), [None]);
    assert_eq!(hear(None, 1, first.hash ^ 1, vec![Entry::after(first.hash ^ 1, epoch, Command::Noop)]), [None]);
}

/// A follower of epoch 1, with its first entry.
fn follower(entries: &[Entry]) -> Log {
    let members = Members::new((1..=3).map(node)).unwrap();
    let mut log = Log::new(node(2), members, Options::default(), Memory { proven: true, ..Memory::default() });
    let began = Some(Beginning { accepted: None, length: 0, start: 1 });
    hear(&mut log, began, 0, 0, &entries[..1]);
    log
}

fn hear(log: &mut Log, began: Option<Beginning>, after: u64, hash: u64, entries: &[Entry]) {
    let (epoch, entries) = (Ballot { round: 1, node: node(1) }, entries.to_vec());
    log.on_message(node(1), Message::Accept { epoch, began, after, hash, entries, committed: 0 }, &mut Out::default());
}

#[test]
fn what_was_fetched_takes_nothing_back_that_came_meanwhile() {
    let epoch = Ballot { round: 1, node: node(1) };
    let mut chain = Entries::default();
    (0..4).for_each(|_| chain.append(epoch, Command::Noop));
    let all = chain.page(0, 9, 99);
    let mut log = follower(&all);
    // The leader holds no more what follows slot 1, and is asked for it; but then that comes after all.
    hear(&mut log, Some(Beginning { accepted: None, length: 0, start: 1 }), 3, all[2].hash, &[]);
    assert!(log.is_fetching());
    hear(&mut log, None, 1, all[0].hash, &all[1..]);
    assert_eq!(log.memory().length(), 4);
    let piece = Piece::Entries { after: 1, entries: all[1..3].to_vec() };
    log.on_message(node(1), Message::Fetched { epoch, piece }, &mut Out::default());
    assert_eq!(log.memory().length(), 4, "entries that were acknowledged are gone");
}

/// A snapshot takes its time: what it is of may be gone when it is ready.
#[test]
pub(crate) fn a_snapshot_is_of_this_very_log_and_newer_than_the_last() {
    let epoch = Ballot { round: 1, node: node(1) };
    let mut chain = Entries::default();
    (0..4).for_each(|_| chain.append(epoch, Command::Noop));
    let all = chain.page(0, 9, 99);
    let mut log = follower(&all);
    hear(&mut log, None, 1, all[0].hash, &all[1..]);
    let commit = Message::Accept { epoch, began: None, after: 4, hash: all[3].hash, entries: Vec::new(), committed: 3 };
    log.on_message(node(1), commit, &mut Out::default());
    let mut compact = |slot: u64, hash| {
        let mut out = Out::default();
        log.compact((slot, hash), Arc::from(&b"a state"[..]), &mut out);
        (out.len(), log.memory().snapshot.as_ref().map(|snapshot| snapshot.slot))
    };
    let hash = |slot: usize| all[slot - 1].hash;
    assert_eq!(compact(2, hash(2) ^ 1), (0, None), "of another log");
    assert_eq!(compact(4, hash(4)), (0, None), "of what is not committed");
    assert_eq!(compact(2, hash(2)), (1, Some(2)));
    assert_eq!(compact(2, hash(2)), (0, Some(2)), "no newer than the last");
    assert_eq!(compact(3, hash(3)), (1, Some(3)));
    assert_eq!(compact(2, hash(2)), (0, Some(3)), "older than the last");
}

/// A candidate of three, and its epoch.
fn candidate(memory: Memory) -> (Log, Ballot) {
    let members = Members::new((1..=3).map(node)).unwrap();
    let mut log = Log::new(node(1), members, Options::default(), Memory { proven: true, ..memory });
    log.campaign(&mut Out::default());
    let epoch = log.campaigns().unwrap();
    (log, epoch)
}

fn promise(log: &mut Log, epoch: Ballot, accepted: Option<Ballot>, length: u64) {
    let holds = Holding { accepted, length, committed: 0 };
    log.on_message(node(2), Message::Promise { epoch, holds, votes: true, members: None }, &mut Out::default());
}

fn accepted(log: &mut Log, from: u32, epoch: Ballot, length: u64) {
    log.on_message(node(from), Message::Accepted { epoch, length: Some(length) }, &mut Out::default());
}

/// A leader of three that has begun its epoch with slot 1. With a majority it has committed that.
fn leader() -> (Log, Ballot) {
    let (mut log, epoch) = candidate(Memory::default());
    promise(&mut log, epoch, None, 0);
    accepted(&mut log, 1, epoch, 1);
    log.on_tick(&mut Out::default());
    log.flush(&mut Out::default());
    (log, epoch)
}

fn readable(log: &mut Log) -> Vec<u64> {
    let reads = log.take_notices().into_iter().filter_map(|notice| match notice {
        Notice::Readable { read, .. } => Some(read),
        _ => None,
    });
    reads.collect()
}

/// Epoch 1's log of one slot stands against one of an unknown, lower epoch that is longer.
#[test]
pub(crate) fn the_log_of_the_highest_epoch_is_adopted() {
    let first = Ballot { round: 1, node: node(1) };
    let mut memory = Memory::default();
    let entries = vec![Entry::after(0, first, Command::Noop)];
    memory.apply(&Record::Sync { epoch: first, after: 0, entries });
    let (mut log, epoch) = candidate(memory);
    promise(&mut log, epoch, None, 5);
    assert_eq!((log.leads(), log.memory().length()), (Some(epoch), 2));
}

#[test]
pub(crate) fn what_belongs_to_another_epoch_is_not_counted() {
    let (mut log, epoch) = candidate(Memory::default());
    promise(&mut log, Ballot { round: epoch.round + 1, ..epoch }, None, 0);
    assert_eq!(log.campaigns(), Some(epoch), "a promise");
    let (mut log, epoch) = leader();
    accepted(&mut log, 2, Ballot { round: epoch.round + 1, ..epoch }, 1);
    assert_eq!(log.memory().committed, 0, "an acceptance");
    accepted(&mut log, 2, epoch, 1);
    assert_eq!(log.memory().committed, 1);
}

/// No round begins before the epoch has committed; a read waits for a round that began after it came.
#[test]
pub(crate) fn reads_wait_for_a_round_of_their_own() {
    let (mut log, epoch) = leader();
    let mut out = Out::default();
    let confirms = |out: &mut Out| {
        out.drain()
            .filter(|effect| matches!(effect, Effect::Send { message: AnyMessage::Log(Message::Confirm { .. }), .. }))
            .count()
    };
    assert!(log.read(7));
    log.flush(&mut out);
    assert_eq!(confirms(&mut out), 0);
    accepted(&mut log, 2, epoch, 1);
    log.flush(&mut out);
    assert_eq!(confirms(&mut out), 2);
    assert!(log.read(8));
    log.on_message(node(2), Message::Confirmed { epoch, round: 0 }, &mut out);
    assert_eq!(readable(&mut log), [0; 0]);
    log.on_message(node(2), Message::Confirmed { epoch, round: 1 }, &mut out);
    assert_eq!(readable(&mut log), [7]);
    log.flush(&mut out);
    log.on_message(node(2), Message::Confirmed { epoch, round: 2 }, &mut out);
    assert_eq!(readable(&mut log), [8]);
}

#[test]
fn what_was_lost_is_sent_again_also_under_load() {
    let (mut log, epoch) = leader();
    accepted(&mut log, 2, epoch, 1);
    let mut out = Out::default();
    let holds = Holding { accepted: None, length: 0, committed: 0 };
    log.on_message(node(3), Message::Promise { epoch, holds, votes: true, members: None }, &mut out);
    log.on_tick(&mut out);
    log.flush(&mut out);
    accepted(&mut log, 3, epoch, 1);
    out.drain();
    let (mut lost, mut again) = (false, false);
    for _ in 0..200 {
        log.on_tick(&mut out);
        log.append(Command::Noop);
        log.flush(&mut out);
        for effect in out.drain().collect::<Vec<_>>() {
            let Effect::Send { to, message: AnyMessage::Log(message) } = effect else { continue };
            match message {
                Message::Accepted { .. } => log.on_message(to, message, &mut out),
                Message::Accept { after, entries, .. } if to == node(3) => {
                    let length = Some(after + entries.len() as u64);
                    log.on_message(to, Message::Accepted { epoch, length }, &mut out);
                }
                Message::Accept { after, entries, .. } if !entries.is_empty() => {
                    again |= lost && after == 1;
                    // The first is lost, and the others do not continue what the follower has.
                    if std::mem::replace(&mut lost, true) {
                        log.on_message(to, Message::Accepted { epoch, length: Some(1) }, &mut out);
                    }
                }
                _ => {}
            }
        }
    }
    assert!(again);
}
