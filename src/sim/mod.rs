//! The simulated world: the same protocol structs as on the real nodes, in one thread, with virtual time, a network that
//! loses, doubles, reorders, delays and cuts, disks that lose what was not synced, and nodes that crash anywhere.
//!
//! Everything is drawn from one seed: the same seed gives the same run, and the same [`Report::trace_hash`]. The
//! invariants of [`check`] are asserted after every step; a [`Violation`] names the seed that shows it again.
//!
//! A run has two phases. In the first all faults are on, each with a rate drawn for this seed (so that some seeds know
//! only loss, some only crashes, and some everything). Then everything heals, and the cluster must decide, and all
//! nodes must learn, within a bound of ticks.
//!
//! # To add an invariant
//!
//! Note what you need in [`check::Checker`], in `sent` (a message leaves a node, after what it rests on was saved),
//! `stepped` (a node has taken a step) or `answered`, and return what is wrong as an `Err`.
//!
//! # To add a fault
//!
//! Add its rate to `Faults`, draw it in `Faults::draw`, and apply it in `World::send` (to a message), in
//! `World::flush` (to a disk) or as an `Event` of its own.

pub mod check;
pub mod disk;
#[cfg(test)]
pub(crate) mod explore;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::protocol::host::{Host, Options as HostOptions, Sender};
use crate::protocol::paxos::{Options as PaxosOptions, Proposal};
use crate::protocol::quorum::Members;
use crate::protocol::types::{Instance, NodeId, RequestId, Value};
use crate::protocol::{Effect, Event as Notice, Message, Out};
use check::Checker;
use disk::Disk;

/// What a run is given beside its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many nodes there are; 3, 4, 5 or 7, by the seed, when absent.
    pub nodes: Option<u32>,
    /// How many protocol steps the faulty phase lasts.
    pub steps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: None, steps: 1500 }
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Protocol steps: messages, ticks and proposals handed to a node.
    pub steps: u64,
    /// A hash of all effects in order.
    pub trace_hash: u64,
    /// Instances in which a value was chosen.
    pub chosen: usize,
    /// Ballots that were started.
    pub ballots: u64,
    /// Crashes of a node.
    pub crashes: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// Restarts of the lab.
    pub restarts: u64,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}: {what}")]
pub struct Violation {
    /// The seed that shows it again.
    pub seed: u64,
    /// The step after which it did not hold.
    pub step: u64,
    /// What did not hold.
    pub what: String,
}

/// How often what goes wrong, in thousandths of the occasions; drawn per seed.
#[derive(Debug, Clone, Copy)]
struct Faults {
    loss: u32,
    duplication: u32,
    /// The longest delay of a message, in ticks.
    delay: u64,
    /// How long a disk takes, at most, in ticks: what comes meanwhile joins the batch.
    sync: u64,
    crash: u32,
    cut: u32,
    restart: u32,
    propose: u32,
}

impl Faults {
    /// A swarm: every fault is off in some seeds.
    fn draw(rng: &mut Pcg64Mcg) -> Self {
        let mut rate = |most: u32| if rng.random_bool(0.5) { rng.random_range(0..=most) } else { 0 };
        Self {
            loss: rate(250),
            duplication: rate(250),
            delay: rate(60).into(),
            sync: rate(4).into(),
            crash: rate(12),
            cut: rate(12),
            restart: rate(3),
            propose: 5 + rate(60),
        }
    }

    const HEALED: Self = Self { loss: 0, duplication: 0, delay: 1, sync: 0, crash: 0, cut: 0, restart: 0, propose: 0 };
}

/// What is going to happen.
#[derive(Debug)]
enum Event {
    Deliver {
        sender: Sender,
        to: NodeId,
        message: Message,
    },
    /// The disk of a node has done: what its last batch led to goes out.
    Flush {
        node: NodeId,
        life: u64,
    },
    Recover {
        node: NodeId,
    },
    /// Every node ticks, and chance may strike.
    Tick,
    /// A cut between two nodes, in one direction, heals.
    Mend {
        from: NodeId,
        to: NodeId,
    },
}

struct Node {
    /// Absent while it is down.
    host: Option<Host>,
    disk: Disk,
    /// Counts the starts, so that what belongs to an earlier life is recognised.
    life: u64,
    /// Effects of a batch that the disk has not yet finished, with the generation they were stepped in.
    pending: Vec<(u64, Effect)>,
    flushing: bool,
}

/// One world.
struct World {
    seed: u64,
    rng: Pcg64Mcg,
    faults: Faults,
    members: Members,
    nodes: Vec<(NodeId, Node)>,
    /// By time, then by order of arrival.
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// The events that the queue points to; a slot is used again when its event has happened.
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    sequence: u64,
    now: u64,
    cuts: BTreeSet<(NodeId, NodeId)>,
    out: Out,
    hasher: DefaultHasher,
    checker: Checker,
    requests: u64,
    steps: u64,
    crashes: u64,
    lost: u64,
    restarts: u64,
}

/// Runs one seed to its end.
///
/// # Errors
/// An invariant did not hold, or the healed cluster did not decide in time.
pub fn run(seed: u64, options: Options) -> Result<Report, Violation> {
    let mut world = World::new(seed, options);
    world.play(options.steps).map_err(|what| Violation { seed, step: world.steps, what })?;
    Ok(Report {
        seed,
        steps: world.steps,
        trace_hash: world.hasher.finish(),
        chosen: world.checker.chosen_count(),
        ballots: world.checker.ballots(),
        crashes: world.crashes,
        lost: world.lost,
        restarts: world.restarts,
    })
}

const FIRST_ID: u32 = 8000;
/// The healed cluster decides a proposal within so many ticks, and everyone knows it.
const LIVENESS_TICKS: u64 = 3000;

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let count = options.nodes.unwrap_or_else(|| [3, 3, 4, 5, 5, 7][rng.random_range(0..6)]);
        let ids: Vec<NodeId> = (0..count.max(1)).filter_map(|at| NodeId::new(FIRST_ID + at)).collect();
        let members = Members::new(ids.iter().copied()).expect("there is at least one node, and none is the guest");
        let faults = Faults::draw(&mut rng);
        let fresh = |_| Node { host: None, disk: Disk::default(), life: 0, pending: Vec::new(), flushing: false };
        let nodes = ids.iter().map(|&id| (id, fresh(id))).collect();
        let checker = Checker::new(members.clone());
        let mut world = Self {
            seed,
            rng,
            faults,
            members,
            nodes,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            now: 0,
            cuts: BTreeSet::new(),
            out: Out::default(),
            hasher: DefaultHasher::new(),
            checker,
            requests: 0,
            steps: 0,
            crashes: 0,
            lost: 0,
            restarts: 0,
        };
        for id in ids {
            world.start(id);
        }
        world.schedule(1, Event::Tick);
        world
    }

    fn play(&mut self, steps: u64) -> Result<(), String> {
        while self.steps < steps {
            self.happen()?;
        }
        self.heal();
        let settled = self.now + 200;
        while self.now < settled {
            self.happen()?;
        }
        // Everyone is in touch again; now it must decide, and everyone must know all that was chosen.
        let ids: Vec<NodeId> = self.members.iter().collect();
        let at = ids[self.rng.random_range(0..ids.len())];
        let last: Instance = "last".parse().map_err(|_| "no name")?;
        self.propose(at, last.clone(), 500)?;
        let deadline = self.now + LIVENESS_TICKS;
        while self.now < deadline {
            self.happen()?;
            if self.is_settled(&last) {
                return Ok(());
            }
        }
        let generations: Vec<_> =
            self.nodes.iter().filter_map(|(_, node)| node.host.as_ref()).map(Host::generation).collect();
        Err(format!(
            "the healed cluster did not settle within {LIVENESS_TICKS} ticks; the nodes are in generations {generations:?}"
        ))
    }

    /// Whether all nodes live in one generation, and know `last`, all that clients were told, and all that any of them
    /// knows.
    fn is_settled(&self, last: &Instance) -> bool {
        let hosts: Vec<&Host> = self.nodes.iter().filter_map(|(_, node)| node.host.as_ref()).collect();
        let generation = hosts[0].generation();
        let knows = |host: &Host, instance: &Instance| {
            host.paxos().remembered(instance).is_some_and(|state| state.decided.is_some())
        };
        let known_to_some: BTreeSet<&Instance> = hosts
            .iter()
            .flat_map(|host| host.paxos().instances().keys().filter(|instance| knows(host, instance)))
            .collect();
        hosts.iter().all(|host| {
            host.generation() == generation
                && knows(host, last)
                && self.checker.answered_in(generation).all(|instance| knows(host, instance))
                && known_to_some.iter().all(|instance| knows(host, instance))
        })
    }

    fn heal(&mut self) {
        self.faults = Faults::HEALED;
        self.cuts.clear();
        let down: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| node.host.is_none()).map(|(id, _)| *id).collect();
        for id in down {
            self.start(id);
        }
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[slot] = Some(event);
        self.sequence += 1;
        self.queue.push(Reverse((self.now + delay, self.sequence, slot)));
    }

    /// The next event happens.
    fn happen(&mut self) -> Result<(), String> {
        let Some(Reverse((time, _, slot))) = self.queue.pop() else {
            return Err("nothing more happens".to_owned());
        };
        self.now = time;
        let event = self.events[slot].take();
        self.free.push(slot);
        match event {
            Some(Event::Deliver { sender, to, message }) => {
                self.step(to, |host, out| host.on_message(sender, message, out))
            }
            Some(Event::Flush { node, life }) => self.flush(node, life),
            Some(Event::Recover { node }) => {
                self.start(node);
                Ok(())
            }
            Some(Event::Tick) => self.tick(),
            Some(Event::Mend { from, to }) => {
                self.cuts.remove(&(from, to));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn tick(&mut self) -> Result<(), String> {
        self.schedule(1, Event::Tick);
        let ids: Vec<NodeId> = self.members.iter().collect();
        for &id in &ids {
            self.step(id, Host::on_tick)?;
            if self.strikes(self.faults.crash) {
                self.crash(id)?;
            }
            if self.strikes(self.faults.cut) {
                let to = ids[self.rng.random_range(0..ids.len())];
                if to != id && self.cuts.insert((id, to)) {
                    let ticks = self.rng.random_range(1..400);
                    self.schedule(ticks, Event::Mend { from: id, to });
                }
            }
            if self.strikes(self.faults.propose) {
                let instance = ["default", "a", "b", "c/é"][self.rng.random_range(0..4)];
                let deadline = self.rng.random_range(1..800);
                self.propose(id, instance.parse().map_err(|_| "no name")?, deadline)?;
            }
        }
        if self.strikes(self.faults.restart) {
            self.restarts += 1;
            // As the shell does it: one after the other, those that are up; now and then only some.
            for &id in &ids {
                if !self.strikes(150) {
                    self.step(id, Host::restart)?;
                }
            }
        }
        Ok(())
    }

    fn strikes(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.rng.random_ratio(thousandths.min(1000), 1000)
    }

    fn propose(&mut self, at: NodeId, instance: Instance, deadline_ticks: u64) -> Result<(), String> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let value = Value::new(&format!("<int>{}</int>", self.requests));
        let Some(host) = self.node(at).host.as_ref() else { return Ok(()) };
        let generation = host.generation();
        self.checker.proposed(request, generation, &instance, &value);
        let impatient = if self.strikes(100) { 3 } else { 0 };
        let proposal = Proposal { request, instance, value, deadline_ticks, impatient, ballot_ticks: None };
        self.step(at, |host, out| host.propose(proposal, out))
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[index(id)].1
    }

    fn start(&mut self, id: NodeId) {
        let (seed, members) = (self.rng.next_u64(), self.members.clone());
        let node = self.node(id);
        if node.host.is_none() {
            node.life += 1;
            let paxos = PaxosOptions { max_instances: 100, ..PaxosOptions::default() };
            let options = HostOptions { lab: true, paxos };
            node.host = Some(Host::new(id, members, options, node.disk.read(), seed));
        }
    }

    /// The node dies: its memory is gone, and of what was not synced some part.
    fn crash(&mut self, id: NodeId) -> Result<(), String> {
        let survive = self.rng.random_range(0..=100);
        let node = self.node(id);
        if node.host.take().is_none() {
            return Ok(());
        }
        node.pending.clear();
        node.flushing = false;
        let kept = node.disk.crash(survive);
        self.crashes += 1;
        self.checker.crashed(id);
        let ticks = self.rng.random_range(1..300);
        self.schedule(ticks, Event::Recover { node: id });
        self.checker.kept(id, &kept)
    }

    /// One input for one node, if it is up.
    fn step(&mut self, id: NodeId, input: impl FnOnce(&mut Host, &mut Out)) -> Result<(), String> {
        let sync = self.faults.sync;
        let mut out = std::mem::take(&mut self.out);
        let node = self.node(id);
        let Some(host) = node.host.as_mut() else {
            self.out = out;
            return Ok(());
        };
        input(host, &mut out);
        let generation = host.generation();
        let life = node.life;
        self.steps += 1;
        for effect in out.drain() {
            effect.hash(&mut self.hasher);
            if let Effect::Notify(notice) = &effect {
                self.notice(id, life, generation, notice)?;
            }
            self.node(id).pending.push((generation, effect));
        }
        self.out = out;
        let (_, node) = &self.nodes[index(id)];
        if let (Some(host), false) = (&node.host, node.pending.is_empty()) {
            self.checker.stepped(id, host)?;
        }
        if !self.node(id).pending.is_empty() && !self.node(id).flushing {
            let delay = if sync > 0 { self.rng.random_range(0..=sync) } else { 0 };
            if delay == 0 {
                return self.flush(id, life);
            }
            self.node(id).flushing = true;
            self.schedule(delay, Event::Flush { node: id, life });
        }
        Ok(())
    }

    fn notice(&mut self, id: NodeId, life: u64, generation: u64, notice: &Notice) -> Result<(), String> {
        match notice {
            Notice::Proposing { instance, ballot } => {
                let accepted = self.nodes[index(id)].1.host.as_ref().and_then(|host| host.paxos().remembered(instance));
                let accepted = accepted.and_then(|state| state.accepted.clone());
                self.checker.proposing(id, life, generation, instance, *ballot, accepted)
            }
            // Nobody hears of these before the batch is written.
            Notice::Decided { .. } | Notice::Answered { .. } | Notice::Restarted { .. } | Notice::Ignored { .. } => {
                Ok(())
            }
        }
    }

    /// What the driver does with a batch: what precedes the first record that must be synced leaves; then the disk
    /// writes; then the rest leaves. A crash may come at any point.
    fn flush(&mut self, id: NodeId, life: u64) -> Result<(), String> {
        if self.node(id).life != life || self.node(id).host.is_none() {
            return Ok(());
        }
        self.node(id).flushing = false;
        let pending = std::mem::take(&mut self.node(id).pending);
        let crash_after =
            if self.strikes(self.faults.crash) { self.rng.random_range(0..=pending.len()) } else { usize::MAX };
        for (_, effect) in &pending {
            if let Effect::Save(record) | Effect::Note(record) = effect {
                self.node(id).disk.write(record);
            }
        }
        let mut synced = false;
        for (at, (generation, effect)) in pending.into_iter().enumerate() {
            if at == crash_after {
                return self.crash(id);
            }
            match effect {
                Effect::Save(_) if !synced => {
                    let kept = self.node(id).disk.sync();
                    self.checker.kept(id, &kept)?;
                    synced = true;
                }
                Effect::Save(_) | Effect::Note(_) => {}
                Effect::Send { to, message } => {
                    self.checker.sent(id, generation, &message, self.nodes[index(id)].1.disk.durable())?;
                    self.send(id, to, generation, message);
                }
                Effect::Notify(Notice::Answered { request, outcome }) => {
                    self.checker.answered(request, &outcome, self.nodes[index(id)].1.disk.durable())?;
                }
                Effect::Notify(Notice::Decided { instance, value, .. }) => {
                    self.checker.decided(id, generation, &instance, &value)?;
                }
                Effect::Notify(_) => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, from: NodeId, to: NodeId, generation: u64, message: Message) {
        let sender = Sender { from, generation: Some(generation) };
        if from == to {
            self.schedule(0, Event::Deliver { sender, to, message });
            return;
        }
        if self.cuts.contains(&(from, to)) || self.strikes(self.faults.loss) {
            self.lost += 1;
            return;
        }
        let copies = if self.strikes(self.faults.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.rng.random_range(0..=self.faults.delay);
            self.schedule(delay, Event::Deliver { sender, to, message: message.clone() });
        }
    }
}

/// Where a node stands in the list.
fn index(id: NodeId) -> usize {
    (id.number() - FIRST_ID) as usize
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("now", &self.now).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
