//! What happens: events in virtual time; [`steps`] is what nodes do about them.

mod life;
mod phases;
mod room;
mod steps;
mod wires;

use std::hash::{DefaultHasher, Hasher};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::check::{Broken, Call, Subject, Verdict, bully, eventual, log, overlay, paxos, register};
use super::disk::Disk;
use super::faults::{Chances, Fault, Fortune};
use super::network::{Cut, Network};
use super::queue::Queue;
use super::report::{Report, Tally};
use super::trace::{About, Header, Kind, Recorder, Trace, VERSION};
use super::{MAX_NODES, Options, Protocol, Violation};
use crate::protocol::durable::Remembered;
use crate::protocol::host::Host;
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

/// Where a node stands in the list.
const fn index(id: NodeId) -> usize {
    id.number().wrapping_sub(FIRST_ID) as usize
}
