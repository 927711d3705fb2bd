//! What happens: events in virtual time, and nodes that take steps.

mod life;
mod phases;
mod room;
mod wires;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::check::{BoardCall, Broken, Call, Subject, Verdict, Who, bully, eventual, log, overlay, paxos, register};
use super::disk::Disk;
use super::faults::{Chances, Fault, Fortune};
use super::network::{Cut, Network};
use super::queue::Queue;
use super::report::{Report, Tally};
use super::trace::{About, Header, Kind, Recorder, Trace, VERSION};
use super::{MAX_NODES, Options, Protocol, Violation};
use crate::protocol::durable::Remembered;
use crate::protocol::host::{Host, Sender};
use crate::protocol::overlay::Options as OverlayOptions;
use crate::protocol::quorum::Members;
use crate::protocol::strong::snapshots::Due;
use crate::protocol::types::{Instance, NodeId};
use crate::protocol::{Effect, Message, Out, strong};

const FIRST_ID: u32 = 8000;
/// A stopped node that goes on makes up for so many ticks at most, as the driver does.
const MAX_LATE_TICKS: u64 = 5;

/// What is going to happen.
#[derive(Debug)]
enum Event {
    Deliver {
        from: usize,
        to: usize,
        generation: u64,
        message: Message,
        /// Names the message in the trace.
        id: u64,
    },
    /// The disk of a node has done: what its last batch led to goes out.
    Flush {
        at: usize,
        life: u64,
    },
    /// The transport of one node finds that another's process has ended.
    Disconnect {
        at: usize,
        peer: usize,
    },
    Recover {
        at: usize,
    },
    Resume {
        at: usize,
    },
    /// There is room on a node's disk again.
    Room {
        at: usize,
        life: u64,
    },
    /// The snapshot that a node had due has been encoded.
    Encoded {
        at: usize,
        life: u64,
        due: Box<Due>,
    },
    Mend(Cut),
    /// Time passes for every node, and chance may strike.
    Tick,
}

/// What is handed to a node.
#[derive(Debug)]
enum Input {
    Message { from: usize, generation: u64, message: Message, id: u64 },
    Call(Call),
    Disconnected(NodeId),
    Snapshot(Box<Due>),
    Tick,
    Restart,
}

/// What waits for the disk.
#[derive(Debug)]
enum Pending {
    Effect(Effect),
    /// The answer to a client that asked.
    Answer(Instance, Option<Remembered>),
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    /// Absent while it is down.
    host: Option<Host>,
    disk: Disk,
    /// Counts the starts, so that what belongs to an earlier life is recognised.
    life: u64,
    /// What a batch led to and the disk has not yet finished, with the generation it was stepped in.
    pending: Vec<(u64, Pending)>,
    flushing: bool,
    /// Stopped: what comes waits here, and ticks are only counted.
    paused: bool,
    inbox: Vec<Input>,
    missed_ticks: u64,
    /// For how many ticks its clock stands still.
    stalled: u64,
    /// Its disk was damaged: it is of no use any more.
    rotten: bool,
    /// Messages from it and to it with lower numbers are lost: its disk was lost after they were sent.
    void_before: u64,
}

/// What the nodes have when a subject is about the replicated log.
#[derive(Debug, Clone, Copy)]
struct Replicated {
    options: strong::Options,
    /// One in so many inputs ends its batch; a tick always does.
    batch: u32,
}

/// One world.
#[derive(Debug)]
pub(super) struct World {
    seed: u64,
    options: Options,
    /// What is drawn once, or when a phase begins.
    plan: Pcg64Mcg,
    clients: Pcg64Mcg,
    wires: Pcg64Mcg,
    chances: Chances,
    /// The longest usual delay of a message that is delayed.
    delay: u64,
    /// A node handles what it sends to itself at once, as the driver does; otherwise when it is saved.
    eager: bool,
    replicated: Option<Replicated>,
    overlay: Option<OverlayOptions>,
    /// Of a thousand occasions to see that a peer's process has ended so many are taken; single decisions need none.
    notices: Option<u32>,
    members: Members,
    ids: Vec<NodeId>,
    nodes: Vec<Node>,
    network: Network,
    queue: Queue<Event>,
    now: u64,
    /// The nodes that are healed, and nothing goes wrong with any more; none in the storm.
    core: Vec<usize>,
    /// The same, by node.
    spared: Vec<bool>,
    out: Out,
    hasher: DefaultHasher,
    subjects: Vec<Box<dyn Subject>>,
    recorder: Option<Box<Recorder>>,
    messages: u64,
    steps: u64,
    tally: Tally,
    /// Nodes start without looking at checksums.
    #[cfg(test)]
    pub(super) blind: bool,
}

impl World {
    pub(super) fn new(seed: u64, options: Options) -> Self {
        let mut plan = Pcg64Mcg::seed_from_u64(seed);
        let mut stream = || Pcg64Mcg::seed_from_u64(plan.random());
        let (clients, wires) = (stream(), stream());
        let drawn = [3, 3, 4, 5, 5, 7][plan.random_range(0..6)];
        let count = options.nodes.unwrap_or(drawn).clamp(1, MAX_NODES);
        let ids: Vec<NodeId> = (0..count).filter_map(|at| NodeId::new(FIRST_ID + at)).collect();
        let members = Members::new(ids.iter().copied()).expect("there is at least one node, and none is the guest");
        let chances = Chances::draw(&mut plan, options.faults);
        let (delay, eager) = (plan.random_range(1..=60), plan.random_bool(0.5));
        let loss = chances.rate(Fault::Loss);
        let network = Network::new(ids.len(), || plan.random_range(0..=loss));
        let subject: Box<dyn Subject> = match options.protocol {
            Protocol::Paxos => Box::new(paxos::Paxos::new(members.clone(), &mut plan)),
            Protocol::Log => Box::new(log::Watch::new(members.clone(), &mut plan)),
            Protocol::Bully => Box::new(bully::Watch::new(members.clone(), &mut plan)),
            Protocol::Eventual => Box::new(eventual::Boards::new(&mut plan)),
            Protocol::Register => Box::new(register::Registers::new(&mut plan)),
            Protocol::Overlay => Box::new(overlay::Watch::new(members.clone(), &mut plan)),
        };
        let replicated = subject.strong().map(|options| {
            let batch = [1, 1, 2, 4][plan.random_range(0..4)];
            Replicated { options, batch }
        });
        let overlay = subject.overlay();
        let notices = (replicated.is_some() || overlay.is_some()).then(|| [0, 300, 900, 1000][plan.random_range(0..4)]);
        Self {
            seed,
            options,
            plan,
            clients,
            wires,
            chances,
            delay,
            eager,
            replicated,
            overlay,
            notices,
            nodes: ids.iter().map(|&id| Node::new(id)).collect(),
            spared: vec![false; ids.len()],
            members,
            ids,
            network,
            queue: Queue::new(),
            now: 0,
            core: Vec::new(),
            out: Out::default(),
            hasher: DefaultHasher::new(),
            subjects: vec![subject],
            recorder: None,
            messages: 0,
            steps: 0,
            tally: Tally::default(),
            #[cfg(test)]
            blind: false,
        }
    }

    /// From here on, what happens is written down.
    pub(super) fn record(&mut self) {
        self.recorder = Some(Box::new(Recorder::new(self.nodes.len(), FIRST_ID)));
    }

    #[cfg(test)]
    pub(super) fn watch(&mut self, subject: Box<dyn Subject>) {
        self.subjects.push(subject);
    }

    pub(super) fn report(&self) -> Report {
        let mut tally = self.tally;
        self.subjects.iter().for_each(|subject| subject.count(&mut tally));
        Report { seed: self.seed, steps: self.steps, ticks: self.now, trace_hash: self.hasher.finish(), tally }
    }

    pub(super) fn violation(&self, Broken { rule, what }: Broken) -> Violation {
        Violation { seed: self.seed, step: self.steps, tick: self.now, rule, what }
    }

    pub(super) fn into_trace(mut self, violation: Option<&Violation>) -> Trace {
        if let Some(violation) = violation {
            self.note(None, Kind::Violation, || About::text(violation.to_string()));
        }
        let header = Header {
            synod_trace: VERSION,
            nodes: self.ids.iter().map(|id| id.number()).collect(),
            seed: Some(self.seed),
            steps: Some(self.options.steps),
            faults: Some(self.options.faults),
            protocol: self.options.protocol,
        };
        Trace { header, events: self.recorder.map_or_else(Vec::new, |recorder| recorder.into_events()) }
    }

    // Events.

    fn happen(&mut self) -> Verdict {
        // There is always a next tick.
        let Some((time, event)) = self.queue.pop() else { return Ok(()) };
        self.now = time;
        match event {
            Event::Deliver { from, to, generation, message, id } => {
                self.input(to, Input::Message { from, generation, message, id })
            }
            Event::Flush { at, life } => {
                let node = &self.nodes[at];
                // A stopped node writes when it goes on.
                if node.life == life && node.flushing && !node.paused { self.flush(at) } else { Ok(()) }
            }
            Event::Disconnect { at, peer } => self.input(at, Input::Disconnected(self.ids[peer])),
            Event::Recover { at } => self.start(at),
            Event::Resume { at } => self.resume(at),
            Event::Room { at, life } if self.nodes[at].life == life => {
                self.set_short(at, false);
                Ok(())
            }
            Event::Room { .. } => Ok(()),
            Event::Encoded { at, life, due } if self.nodes[at].life == life => self.input(at, Input::Snapshot(due)),
            Event::Encoded { .. } => Ok(()),
            Event::Mend(cut) => {
                self.network.mend(&cut);
                self.note(None, Kind::Mend, || About::text(format!("{:?} of {:?}", cut.shape, cut.order)));
                Ok(())
            }
            Event::Tick => self.tick(),
        }
    }

    fn tick(&mut self) -> Verdict {
        self.queue.push(self.now + 1, Event::Tick);
        for at in 0..self.nodes.len() {
            self.pass_time(at)?;
        }
        if let Some(mut fortune) = self.strikes(Fault::Cut, None) {
            let cut = Cut::draw(self.nodes.len(), &mut fortune);
            if self.network.cut(&cut) {
                self.tally.count(Fault::Cut);
                self.note(None, Kind::Cut, || About::text(format!("{:?} of {:?}", cut.shape, cut.order)));
                self.queue.push(self.now + fortune.within(1..=200), Event::Mend(cut));
            }
        }
        if self.core.is_empty()
            && let Some(mut fortune) = self.strikes(Fault::Restart, None)
        {
            self.tally.count(Fault::Restart);
            // As the shell does it: one after the other, those that are up; now and then only some.
            for at in 0..self.nodes.len() {
                if !fortune.is_one_of(7) {
                    self.input(at, Input::Restart)?;
                }
            }
        }
        self.ask()
    }

    /// Clients ask.
    fn ask(&mut self) -> Verdict {
        let core: Vec<NodeId> = self.core.iter().map(|&at| self.ids[at]).collect();
        for number in 0..self.subjects.len() {
            let subject = &mut self.subjects[number];
            let call = if core.is_empty() {
                subject.wish(&self.ids, &mut self.clients)
            } else {
                subject.urge(&core, &mut self.clients)
            };
            if let Some((node, call)) = call {
                self.input(index(node), Input::Call(call))?;
            }
        }
        Ok(())
    }

    /// A tick passes for one node, as its clock has it.
    fn pass_time(&mut self, at: usize) -> Verdict {
        if self.nodes[at].host.is_none() {
            return Ok(());
        }
        let mut ticks = 1;
        if self.nodes[at].paused {
            self.nodes[at].missed_ticks += 1;
            ticks = 0;
        } else if self.nodes[at].stalled > 0 {
            self.nodes[at].stalled -= 1;
            ticks = 0;
        } else if let Some(mut fortune) = self.strikes(Fault::Clock, Some(at)) {
            self.tally.count(Fault::Clock);
            if fortune.is_one_of(2) {
                ticks = fortune.within(2..=100);
                self.note(Some(at), Kind::Clock, || About::text(format!("jumps ahead by {ticks} ticks")));
            } else {
                let stalled = fortune.within(1..=150);
                self.note(Some(at), Kind::Clock, || About::text(format!("stands still for {stalled} ticks")));
                (self.nodes[at].stalled, ticks) = (stalled, 0);
            }
        }
        for _ in 0..ticks {
            self.input(at, Input::Tick)?;
        }
        if let Some(mut fortune) = self.strikes(Fault::Pause, Some(at))
            && !self.nodes[at].paused
        {
            self.tally.count(Fault::Pause);
            self.nodes[at].paused = true;
            self.note(Some(at), Kind::Pause, || About::text("stopped"));
            self.queue.push(self.now + fortune.within(1..=150), Event::Resume { at });
        }
        match self.strikes(Fault::Crash, Some(at)) {
            Some(fortune) => self.crash(at, fortune),
            None => Ok(()),
        }
    }

    /// Does it strike? Never where all is healed.
    fn strikes(&mut self, fault: Fault, at: Option<usize>) -> Option<Fortune> {
        if at.is_some_and(|at| self.spared[at]) { None } else { self.chances.strikes(fault) }
    }

    // Steps.

    /// One input for one node, if it is up.
    fn input(&mut self, at: usize, input: Input) -> Verdict {
        if self.nodes[at].host.is_none() || self.is_void(at, &input) {
            self.turn_away(at, &input);
            return Ok(());
        }
        let node = &mut self.nodes[at];
        if node.paused {
            node.inbox.push(input);
            return Ok(());
        }
        self.step(at, input)?;
        let node = &self.nodes[at];
        if node.flushing {
            return Ok(());
        }
        if node.pending.is_empty() {
            return self.rest(at);
        }
        if let Some(mut fortune) = self.strikes(Fault::Sync, Some(at)) {
            self.tally.count(Fault::Sync);
            let life = self.nodes[at].life;
            self.nodes[at].flushing = true;
            self.queue.push(self.now + fortune.within(1..=4), Event::Flush { at, life });
            return Ok(());
        }
        self.flush(at)
    }

    /// Nothing of what the node did waits for its disk.
    fn rest(&mut self, at: usize) -> Verdict {
        let who = self.who(at);
        let Some(host) = &self.nodes[at].host else { return Ok(()) };
        self.subjects.iter_mut().try_for_each(|subject| subject.rested(who, host))
    }

    /// The node handles the input, and what it sends to itself if it is eager.
    fn step(&mut self, at: usize, input: Input) -> Verdict {
        self.steps += 1;
        let is_tick = matches!(input, Input::Tick);
        let mut out = std::mem::take(&mut self.out);
        let answer = self.hand_over(at, input, &mut out)?;
        let mut effects = self.absorb(at, &mut out)?;
        if self.ends_batch(is_tick) {
            // Twice, as the driver does: what our own acceptor says of the first may let more leave.
            for _ in 0..2 {
                self.nodes[at].host.iter_mut().for_each(|host| host.flush(&mut out));
                effects += self.absorb(at, &mut out)?;
            }
        }
        self.out = out;
        self.begin_encoding(at);
        let who = self.who(at);
        if let Some((instance, known)) = answer {
            self.nodes[at].pending.push((who.generation, Pending::Answer(instance, known)));
        }
        // A tick that has no effect changes nothing that could be wrong.
        if let (Some(host), true) = (&self.nodes[at].host, effects > 0 || !is_tick) {
            self.subjects.iter_mut().try_for_each(|subject| subject.stepped(who, host))?;
        }
        Ok(())
    }

    /// Without a replicated log nothing waits for the end of a batch.
    fn ends_batch(&mut self, is_tick: bool) -> bool {
        self.replicated.is_some_and(|Replicated { batch, .. }| is_tick || self.wires.random_range(0..batch) == 0)
    }

    /// Takes up the effects of a step, and what the node has sent to itself. Tells how many effects there were.
    fn absorb(&mut self, at: usize, out: &mut Out) -> Result<u64, Broken> {
        let mut effects = 0;
        let mut own = VecDeque::new();
        loop {
            let who = self.who(at);
            for effect in out.drain() {
                effects += 1;
                effect.hash(&mut self.hasher);
                self.nodes[at].host.iter().try_for_each(|host| {
                    self.subjects.iter_mut().try_for_each(|subject| subject.emitted(who, host, &effect))
                })?;
                if let Some((kind, about)) = self.recorder.is_some().then(|| About::effect(&effect)).flatten() {
                    self.note(Some(at), kind, || about);
                }
                match effect {
                    Effect::Send { to, message } if self.eager && to == who.node => own.push_back(message),
                    effect => self.nodes[at].pending.push((who.generation, Pending::Effect(effect))),
                }
            }
            let Some(message) = own.pop_front() else { break };
            self.messages += 1;
            let (generation, id, peer) = (who.generation, self.messages, who.node.number());
            self.note(Some(at), Kind::Send, || About::message(id, peer, &message));
            self.hand_over(at, Input::Message { from: at, generation, message, id }, out)?;
        }
        Ok(effects)
    }

    /// Hands an input to the host. A client that asks is given what the host knows.
    fn hand_over(
        &mut self,
        at: usize,
        input: Input,
        out: &mut Out,
    ) -> Result<Option<(Instance, Option<Remembered>)>, Broken> {
        let who = self.who(at);
        let note = |world: &mut Self, kind, about: &dyn Fn() -> About| world.note(Some(at), kind, about);
        match &input {
            Input::Message { from, generation, message, id } => {
                self.tally.delivered += 1;
                let sender = Sender { from: self.ids[*from], generation: Some(*generation) };
                let peer = sender.from.number();
                note(self, Kind::Receive, &|| About::message(*id, peer, message));
                self.subjects.iter_mut().for_each(|subject| subject.heard(who, sender, message));
            }
            Input::Call(call) => {
                note(self, Kind::Call, &|| About::text(call.to_string()));
                self.subjects.iter_mut().for_each(|subject| subject.called(who, call));
            }
            Input::Restart => note(self, Kind::Restart, &|| About::text("told to restart")),
            Input::Disconnected(peer) => {
                note(self, Kind::Disconnect, &|| About::text(format!("sees that the process of {peer} has ended")));
            }
            Input::Snapshot(_) | Input::Tick => {}
        }
        let Some(host) = self.nodes[at].host.as_mut() else { return Ok(None) };
        match input {
            Input::Message { from, generation, message, .. } => {
                let sender = Sender { from: self.ids[from], generation: Some(generation) };
                host.on_message(sender, message, out);
            }
            Input::Call(Call::Propose(proposal)) => host.propose(proposal, out),
            Input::Call(Call::Ask(instance)) => {
                let known = host.tell(&instance, out);
                return Ok(Some((instance, known)));
            }
            Input::Call(Call::Board(call)) => ask_board(host, call, out),
            Input::Call(Call::Register { request, name, value, deadline_ticks }) => {
                match (host.register_mut(), value) {
                    (Some(register), Some(value)) => register.write(request, &name, value, deadline_ticks, out),
                    (Some(register), None) => register.read(request, &name, deadline_ticks, out),
                    (None, _) => {}
                }
            }
            Input::Call(call @ (Call::Seek { .. } | Call::Move { .. })) => ask_overlay(host, call, out),
            Input::Call(call) => ask_strong(host, call, out),
            Input::Disconnected(peer) => {
                if let Some(overlay) = host.overlay_mut() {
                    overlay.disconnected(peer, out);
                }
                if let Some(strong) = host.strong_mut() {
                    strong.disconnected(peer, out);
                }
            }
            Input::Snapshot(due) => {
                if let Some(strong) = host.strong_mut() {
                    strong.snapshot_ready(due.encode(), out);
                }
            }
            Input::Tick => host.on_tick(out),
            Input::Restart => host.restart(out),
        }
        Ok(None)
    }

    fn who(&self, at: usize) -> Who {
        let node = &self.nodes[at];
        Who { node: node.id, life: node.life, generation: node.host.as_ref().map_or(0, Host::generation) }
    }

    /// What the driver does with a batch: what precedes the first record that must be synced leaves; then the disk
    /// writes; then the rest leaves. A crash may come at any point.
    fn flush(&mut self, at: usize) -> Verdict {
        let node = &mut self.nodes[at];
        node.flushing = false;
        let pending = std::mem::take(&mut node.pending);
        let (id, life) = (node.id, node.life);
        let saves = pending.iter().any(|(_, pending)| matches!(pending, Pending::Effect(Effect::Save(_))));
        if saves && let Some(mut fortune) = self.strikes(Fault::Full, Some(at)) {
            self.tally.count(Fault::Full);
            if fortune.is_one_of(2) {
                return self.lose_room(at, pending, fortune);
            }
            self.set_short(at, true);
            self.queue.push(self.now + fortune.within(1..=600), Event::Room { at, life });
        }
        let node = &mut self.nodes[at];
        for (_, pending) in &pending {
            if let Pending::Effect(Effect::Save(record) | Effect::Note(record)) = pending {
                node.disk.write(record);
            }
        }
        let mut crash = self.strikes(Fault::Crash, Some(at));
        let crash_at = crash.as_mut().map(|fortune| fortune.within(0..=(pending.len() as u64).saturating_sub(1)));
        let mut synced = false;
        for (number, (generation, pending)) in (0_u64..).zip(pending) {
            if let (Some(fortune), true) = (crash, crash_at == Some(number)) {
                return self.crash(at, fortune);
            }
            let who = Who { node: id, life, generation };
            match pending {
                Pending::Effect(Effect::Save(_)) if !synced => {
                    let kept = self.nodes[at].disk.sync();
                    synced = true;
                    self.note(Some(at), Kind::Sync, || About::text(format!("{} records", kept.len())));
                    self.subjects.iter_mut().try_for_each(|subject| subject.saved(id, &kept))?;
                }
                Pending::Effect(Effect::Save(_) | Effect::Note(_)) => {}
                Pending::Effect(Effect::Send { to, message }) => self.send(at, who, to, message)?,
                Pending::Effect(Effect::Notify(event)) => {
                    let disk = self.nodes[at].disk.durable();
                    self.subjects.iter_mut().try_for_each(|subject| subject.told(who, &event, disk))?;
                }
                Pending::Answer(instance, known) => {
                    let disk = self.nodes[at].disk.durable();
                    for subject in &mut self.subjects {
                        subject.answered(who, &instance, known.as_ref(), disk)?;
                    }
                }
            }
        }
        self.rest(at)
    }

    /// Writes down what happens, if a trace is taken.
    fn note(&mut self, at: Option<usize>, kind: Kind, about: impl FnOnce() -> About) {
        if let Some(recorder) = &mut self.recorder {
            recorder.add((self.steps, self.now), at, kind, about());
        }
    }
}

impl Node {
    fn new(id: NodeId) -> Self {
        Self {
            id,
            host: None,
            disk: Disk::default(),
            life: 0,
            pending: Vec::new(),
            flushing: false,
            paused: false,
            inbox: Vec::new(),
            missed_ticks: 0,
            stalled: 0,
            rotten: false,
            void_before: 0,
        }
    }
}

/// A call that is about the replicated log.
fn ask_strong(host: &mut Host, call: Call, out: &mut Out) {
    let Some(strong) = host.strong_mut() else { return };
    match call {
        Call::Command { request, command, keyed, deadline_ticks } => {
            strong.command(request, command, keyed, deadline_ticks, out);
        }
        Call::Read { request, deadline_ticks } => strong.read(request, deadline_ticks, out),
        Call::Elect => strong.elect(out),
        Call::Propose(_)
        | Call::Ask(_)
        | Call::Board(_)
        | Call::Register { .. }
        | Call::Seek { .. }
        | Call::Move { .. } => {}
    }
}

/// A call that is about an overlay.
fn ask_overlay(host: &mut Host, call: Call, out: &mut Out) {
    let Some(overlay) = host.overlay_mut() else { return };
    match call {
        Call::Seek { request, which, call, deadline_ticks } => overlay.call(which, request, call, deadline_ticks, out),
        Call::Move { request, joins: true, deadline_ticks } => overlay.chord_mut().join(request, deadline_ticks, out),
        Call::Move { request, joins: false, deadline_ticks } => overlay.chord_mut().leave(request, deadline_ticks, out),
        _ => {}
    }
}

/// A client does something to an eventual board, whose entries it looks at first.
fn ask_board(host: &mut Host, call: BoardCall, out: &mut Out) {
    let Some(eventual) = host.eventual_mut() else { return };
    let shown: Vec<_> = eventual.board().posts(None).map(|(id, ..)| id).collect();
    // The cast cannot cut: it is below a length.
    let picked = |pick: u64| shown.get((pick % (shown.len() as u64).max(1)) as usize).copied();
    _ = match call {
        BoardCall::Post { text } => eventual.post(&text, out),
        BoardCall::Modify { pick, text } => {
            let Some(id) = picked(pick) else { return };
            eventual.modify(id, &text, out)
        }
        BoardCall::Delete { pick } => {
            let Some(id) = picked(pick) else { return };
            eventual.delete(id, out)
        }
    };
}

/// Where a node stands in the list.
const fn index(id: NodeId) -> usize {
    id.number().wrapping_sub(FIRST_ID) as usize
}
