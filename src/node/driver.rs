//! The driver: it owns a node's protocols and its store.
//!
//! In one turn it takes all inputs that are waiting, steps the protocols, writes all records of the batch in one
//! transaction, and then lets go of what had to wait for it. One thread at a time has it (`super::inbox` says which),
//! and nobody else touches the protocols, so they have no locks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use jiff::Zoned;
use log::{info, warn};

use super::encoder::Encoder;
use super::input::{Action, Answering, Arrival, Input, Query, Reaction, RegisterReply, Watch, Wish};
use super::intake::Intake;
use super::overlay::Clients;
use super::room::Room;
use super::scribe::{Job, Scribe, Task};
use super::status::Counters;
use super::watches::Watches;
use super::witness::{Witness, concerns_leader};
use crate::lab::links::Fate;
use crate::lab::trace::Kind;
use crate::lab::trace::about::About;
use crate::lab::trace::ring::Ring;
use crate::protocol::clock::{Clocks, Stamp};
use crate::protocol::host::{Host, Sender};
use crate::protocol::log::Log;
use crate::protocol::paxos::{Outcome, Proposal};
use crate::protocol::strong::{Failure, Strong};
use crate::protocol::types::{Ballot, NodeId, RequestId};
use crate::protocol::{Effect, Event, Out, Record};
use crate::rpc::peers::{Outgoing, Peers};
use crate::rpc::text;
use crate::service::reply::Reply;
use crate::store::decided_files::Line;
use crate::store::{Store, StoreError};

/// The length of a tick.
pub const TICK: Duration = Duration::from_millis(10);
/// Ticks made up for after a stall; what exceeds them is forgotten: deadlines then last longer, nothing worse.
const MAX_LATE_TICKS: u32 = 5;
/// After so many ticks without an input the store may do its housekeeping.
const IDLE_TICKS: u32 = 50;

/// What comes after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Another turn: there is something left that it could use.
    More,
    /// Nothing, until the next input or tick.
    Wait,
    /// The end.
    Stop,
}

pub(super) struct Driver {
    pub(super) host: Host,
    pub(super) store: Box<dyn Store>,
    intake: Arc<Intake>,
    pub(super) peers: Arc<Peers>,
    pub(super) scribe: Scribe,
    encoder: Encoder,
    /// The clients that wait for an outcome.
    clients: BTreeMap<RequestId, SyncSender<Outcome>>,
    commands: BTreeMap<RequestId, Answering<Result<Reply, Failure>>>,
    queries: BTreeMap<RequestId, Query>,
    /// Whether there is room on the disk.
    pub(super) room: Room,
    registers: BTreeMap<RequestId, RegisterReply>,
    seekers: Clients,
    watches: Watches,
    pub(super) clocks: Clocks,
    pub(super) witness: Witness,
    next_request: u64,
    now_ticks: u64,
    next_tick: Instant,
    idle_ticks: u32,
    pub(super) out: Out,
    pub(super) actions: Vec<Action>,
    /// Records to be written, and files that follow them: notes wait here for an occasion.
    pub(super) records: Vec<Record>,
    pub(super) tasks: Vec<Task>,
    pub(super) counters: Counters,
    /// The last leader that was known.
    leader: Option<(NodeId, Ballot)>,
}

impl Driver {
    pub(super) fn new(
        host: Host,
        store: Box<dyn Store>,
        (intake, peers): (Arc<Intake>, Arc<Peers>),
        (scribe, encoder): (Scribe, Encoder),
        (first_request, ring): (u64, Arc<Ring>),
    ) -> Self {
        Self {
            clocks: Clocks::new(host.id()),
            witness: Witness::new(ring),
            host,
            store,
            intake,
            peers,
            scribe,
            encoder,
            clients: BTreeMap::new(),
            commands: BTreeMap::new(),
            queries: BTreeMap::new(),
            room: Room::default(),
            registers: BTreeMap::new(),
            seekers: Clients::default(),
            watches: Watches::default(),
            // By chance: what a peer answers to a call of an earlier life of this node must not be taken for an answer
            // to one of this life. Half of what an XML-RPC integer holds is left to count up.
            next_request: first_request >> 2,
            now_ticks: 0,
            next_tick: Instant::now(),
            idle_ticks: 0,
            out: Out::default(),
            actions: Vec::new(),
            records: Vec::new(),
            tasks: Vec::new(),
            counters: Counters::default(),
            leader: None,
        }
    }

    /// Notes that it begins.
    pub(super) fn begin(&mut self) {
        let generation = self.host.generation();
        self.witness.record(&mut self.clocks, Kind::Start, || About::text(format!("generation {generation}")));
    }

    /// When the next turn is due at the latest.
    pub(super) const fn next_tick(&self) -> Instant {
        self.next_tick
    }

    /// Takes these inputs, and what waits in the intake, and does what follows from them.
    pub(super) fn turn(&mut self, mut batch: VecDeque<Input>) -> Result<After, StoreError> {
        if !batch.is_empty() {
            self.idle_ticks = 0;
        }
        let mut stopping = false;
        while let Some(input) = batch.pop_front() {
            stopping |= matches!(input, Input::Stop);
            self.step(input);
        }
        let due = self.ticks_due();
        self.take_waiting(due > 0, &mut batch);
        for input in batch.drain(..) {
            self.step(input);
        }
        self.now_ticks += u64::from(due);
        if !self.room.is_out() {
            self.pass(due);
        }
        self.perform(due > 0 || stopping)?;
        self.mind_room()?;
        if let Some(due) = self.host.strong_mut().and_then(Strong::take_due) {
            self.encoder.encode(due);
        }
        self.note_leader();
        self.watches.look(&mut self.host, self.now_ticks, due > 0);
        if due > 0 {
            self.peers.release_due();
            self.idle_ticks = self.idle_ticks.saturating_add(due);
            if self.idle_ticks >= IDLE_TICKS {
                self.idle_ticks = 0;
                self.store.idle()?;
            }
        }
        Ok(match stopping {
            true => After::Stop,
            false if self.listen() => After::Wait,
            false => After::More,
        })
    }

    /// Time passes for the protocols, and the batch ends.
    fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.host.on_tick(&mut self.out);
            self.collect(None, None);
            self.witness.look(&mut self.clocks, self.host.strong());
        }
        // Twice: what our own acceptor says of the first may let more leave.
        for _ in 0..2 {
            self.host.flush(&mut self.out);
            self.collect(None, None);
        }
    }

    /// Takes what clients ask of the log, as far as it is of use now: see [`super::intake`].
    fn take_waiting(&self, ticked: bool, batch: &mut VecDeque<Input>) {
        let log = self.host.strong().map(Strong::log);
        if ticked || !log.is_some_and(Log::is_writing) {
            self.intake.commands.take(batch);
        }
        if ticked || !log.is_some_and(Log::is_confirming) {
            self.intake.reads.take(batch);
        }
    }

    /// Wants to be woken by what it could use. `false` if there is such a thing already.
    fn listen(&self) -> bool {
        let log = self.host.strong().map(Strong::log);
        (log.is_some_and(Log::is_writing) || self.intake.commands.listen())
            && (log.is_some_and(Log::is_confirming) || self.intake.reads.listen())
    }

    fn ticks_due(&mut self) -> u32 {
        let now = Instant::now();
        let mut due = 0;
        while self.next_tick <= now && due < MAX_LATE_TICKS {
            self.next_tick += TICK;
            due += 1;
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
        }
        due
    }

    fn step(&mut self, input: Input) {
        if self.room.is_out() {
            return self.step_without_room(input);
        }
        match input {
            Input::Call { sender, message, clock, reply } => {
                self.receive(Arrival { sender, message, clock }, Some(reply));
            }
            Input::Arrived(messages) => {
                messages.into_iter().for_each(|arrival| self.receive(arrival, None));
            }
            Input::Propose { wish, reply } => {
                self.counters.proposals += 1;
                let request = self.name();
                self.clients.insert(request, reply);
                let Wish { instance, value, deadline_ticks, impatient, ballot_ticks } = wish;
                self.witness.record(&mut self.clocks, Kind::Call, || About::wish(&instance, &value));
                let proposal = Proposal { request, instance, value, deadline_ticks, impatient, ballot_ticks };
                self.host.propose(proposal, &mut self.out);
                self.collect(None, None);
            }
            Input::Restart { reply } => {
                // What the gates held and the links delayed belongs to the past.
                drop(self.peers.gates().open_all());
                self.peers.links().forget();
                self.witness.record(&mut self.clocks, Kind::Restart, || About::text("told to restart"));
                self.host.restart(&mut self.out);
                self.collect(None, Some(reply));
            }
            // Whoever asked may have gone: an answer that nobody takes is dropped, here and below.
            Input::Decided { instance, reply } => {
                let known = self.host.tell(&instance, &mut self.out);
                self.collect(None, None);
                self.actions.push(Action::Tell(reply, instance, known));
            }
            Input::Command { command, keyed, deadline_ticks, reply } => {
                let request = self.name();
                let Some(strong) = self.host.strong_mut() else { return };
                self.commands.insert(request, reply);
                strong.command(request, command, keyed, deadline_ticks, &mut self.out);
                self.collect(None, None);
            }
            Input::Change { change, deadline_ticks, reply } => {
                let request = self.name();
                let Some(strong) = self.host.strong_mut() else { return };
                self.commands.insert(request, reply);
                strong.change(request, change, deadline_ticks, &mut self.out);
                self.collect(None, None);
            }
            Input::Query { query, deadline_ticks: None } => self.actions.push(Action::Look(query)),
            Input::Query { query, deadline_ticks: Some(deadline_ticks) } => {
                let request = self.name();
                let Some(strong) = self.host.strong_mut() else { return };
                self.queries.insert(request, query);
                strong.read(request, deadline_ticks, &mut self.out);
                self.collect(None, None);
            }
            Input::Watch { watch, deadline_ticks } => self.watch(watch, deadline_ticks),
            Input::Act { act, .. } => {
                let then = act(Some((&mut self.host, &mut self.out)));
                self.collect(None, None);
                self.actions.push(Action::Then(then));
            }
            Input::Register { call, reply } => {
                let request = self.name();
                let Some(register) = self.host.register_mut() else { return };
                self.registers.insert(request, reply);
                call(register, request, &mut self.out);
                self.collect(None, None);
            }
            Input::Elect { reply } => {
                let Some(strong) = self.host.strong_mut() else { return };
                strong.elect(&mut self.out);
                self.collect(None, None);
                self.witness.look(&mut self.clocks, self.host.strong());
                _ = reply.send(());
            }
            Input::Overlay(input) => {
                let request = self.name();
                let Some(overlay) = self.host.overlay_mut() else { return };
                self.seekers.step(overlay, request, input, &mut self.out);
                self.collect(None, None);
            }
            Input::Disconnected(peer) => {
                if let Some(overlay) = self.host.overlay_mut() {
                    overlay.disconnected(peer, &mut self.out);
                }
                if let Some(strong) = self.host.strong_mut() {
                    strong.disconnected(peer, &mut self.out);
                }
                self.collect(None, None);
                self.witness.look(&mut self.clocks, self.host.strong());
            }
            Input::Encoded(ready) => {
                if let Some(strong) = self.host.strong_mut() {
                    strong.snapshot_ready(ready, &mut self.out);
                }
                self.collect(None, None);
            }
            Input::Status { from, limit, reply } => _ = reply.send(self.snapshot(from.as_ref(), limit)),
            Input::Waiting | Input::Stop => {}
        }
    }

    pub(super) fn watch(&mut self, watch: Watch, deadline_ticks: u64) {
        self.watches.add(self.now_ticks.saturating_add(deadline_ticks), watch);
    }

    /// A message comes in: the clocks go on from its sender's.
    fn receive(&mut self, arrival: Arrival, reply: Option<Answering<Reaction>>) {
        let Arrival { sender, message, clock } = arrival;
        self.counters.messages_in += 1;
        match &clock {
            Some(clock) => self.clocks.receive(clock),
            None => self.clocks.tick(),
        };
        self.witness.received(&self.clocks, sender, clock.as_ref(), &message);
        let concerns_leader = concerns_leader(&message);
        self.host.on_message(sender, message, &mut self.out);
        self.collect(reply.map(|reply| (sender.from, reply)), None);
        if concerns_leader {
            self.witness.look(&mut self.clocks, self.host.strong());
        }
    }

    const fn name(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Counts a leader that was not known before.
    fn note_leader(&mut self) {
        let leader = self.host.strong().and_then(Strong::leader);
        if leader.is_some() && leader != self.leader {
            self.leader = leader;
            self.counters.leader_changes += 1;
        }
    }

    /// Turns the effects of one step into actions: what is addressed to the caller becomes the answer to its call, what
    /// the node sends to itself becomes an input, at once.
    pub(super) fn collect(
        &mut self,
        mut caller: Option<(NodeId, Answering<Reaction>)>,
        restart: Option<SyncSender<Option<u64>>>,
    ) {
        let me = self.host.id();
        let mut own = VecDeque::new();
        let (generation, clock, fate) = (self.host.generation(), self.clocks.now().clone(), Fate::Passes);
        let mut reaction = Reaction { generation, clock, message: None, ignored: None, fate };
        loop {
            for effect in self.out.drain() {
                match effect {
                    Effect::Save(record) => {
                        self.witness.saves(&mut self.clocks, &record);
                        self.actions.push(Action::Save(record));
                    }
                    Effect::Note(record) => self.actions.push(Action::Note(record)),
                    Effect::Send { to, message } => {
                        // What a node says to itself is one event with what made it say so.
                        let clock = if to == me { Stamp::default() } else { self.clocks.tick() };
                        let outgoing = Outgoing { to, generation: self.host.generation(), clock, message };
                        if to != me {
                            self.witness.sent(me, &outgoing.clock, to, &outgoing.message);
                        }
                        if to == me {
                            own.extend(self.peers.admit(outgoing));
                        } else if reaction.message.is_none() && caller.as_ref().is_some_and(|(from, _)| *from == to) {
                            (reaction.message, reaction.clock) = (Some(outgoing.message), outgoing.clock);
                        } else {
                            self.actions.push(Action::Send(outgoing));
                        }
                    }
                    Effect::Notify(event @ Event::Ignored { reason, .. }) => {
                        self.witness.told(&mut self.clocks, &event);
                        reaction.ignored = Some(reason);
                    }
                    // At once: what this very step sends may be for them.
                    Effect::Notify(event @ Event::Correspondents { .. }) => {
                        self.witness.told(&mut self.clocks, &event);
                        if let Event::Correspondents { addresses } = event {
                            self.peers.meet(addresses);
                        }
                    }
                    Effect::Notify(Event::Replied { request, result, entry }) => {
                        self.counters.commands_failed += u64::from(result.is_err());
                        if let Some(client) = self.commands.remove(&request) {
                            self.actions.push(Action::Reply(client, result, entry));
                        }
                    }
                    Effect::Notify(Event::Readable { request, result }) => {
                        self.counters.reads_failed += u64::from(result.is_err());
                        if let Some(query) = self.queries.remove(&request) {
                            self.actions.push(Action::Read(query, result));
                        }
                    }
                    Effect::Notify(Event::Finished { request, result }) => {
                        if let Some(client) = self.registers.remove(&request) {
                            self.actions.push(Action::Finish(client, result));
                        }
                    }
                    Effect::Notify(Event::Found { request, result }) => {
                        if let Some(client) = self.seekers.take(request) {
                            self.actions.push(Action::Found(client, result));
                        }
                    }
                    Effect::Notify(event) => {
                        self.witness.told(&mut self.clocks, &event);
                        Self::notify(event, &mut self.clients, &mut self.counters, &mut self.actions)
                    }
                }
            }
            let Some(outgoing) = own.pop_front() else { break };
            let sender = Sender { from: me, generation: Some(outgoing.generation) };
            self.host.on_message(sender, outgoing.message, &mut self.out);
        }
        if let Some((from, reply)) = caller.take() {
            self.actions.push(Action::React(from, reply, reaction));
        }
        if let Some(reply) = restart {
            self.actions.push(Action::Restarted(reply, self.host.generation()));
        }
    }

    fn notify(
        event: Event,
        clients: &mut BTreeMap<RequestId, SyncSender<Outcome>>,
        counters: &mut Counters,
        actions: &mut Vec<Action>,
    ) {
        match event {
            Event::Answered { request, outcome } => {
                if let Some(client) = clients.remove(&request) {
                    actions.push(Action::Answer(client, outcome));
                }
            }
            Event::Decided { instance, value, .. } => {
                counters.decisions += 1;
                let line = Line::new(instance, &local_time(), &text::shown(&value));
                actions.push(Action::Write(Task::Write(line)));
            }
            Event::Restarted { generation } => {
                info!("restarted: this is generation {generation} now");
                actions.push(Action::Write(Task::Clear));
            }
            Event::Proposing { .. } => counters.ballots += 1,
            // What the driver has looked at before it came here.
            Event::Ignored { .. }
            | Event::Replied { .. }
            | Event::Readable { .. }
            | Event::Finished { .. }
            | Event::Found { .. }
            | Event::Correspondents { .. } => {}
        }
    }

    /// Does what the batch asks for: what comes before the first save at once, messages first; then all records in one
    /// transaction, then the rest; last the decided files, and the clients that wait for them.
    fn perform(&mut self, ticked: bool) -> Result<(), StoreError> {
        let is_time_for_notes = ticked && !self.records.is_empty();
        if self.actions.is_empty() && !is_time_for_notes {
            return Ok(());
        }
        let (mut saves, mut urgent) = (false, ticked);
        let (mut early, mut later, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for action in self.actions.drain(..) {
            match action {
                Action::Save(record) => {
                    saves = true;
                    self.records.push(record);
                }
                Action::Note(record) => self.records.push(record),
                Action::Write(task) => self.tasks.push(task),
                Action::Answer(client, outcome) => {
                    urgent = true;
                    answers.push((client, outcome));
                }
                Action::Send(outgoing) if !saves => self.peers.send(outgoing),
                // But not a look: it would see what the whole batch led to, saved or not. A confirmed read waits behind the
                // save of what was appended with it.
                action @ (Action::Reply(..) | Action::Read(..)) if !saves => early.push(action),
                action => later.push(action),
            }
        }
        let mut restarts = Vec::new();
        early.into_iter().for_each(|action| self.act(action, &mut restarts));
        // Notes alone wait for the next save, or for the next tick.
        let (records, tasks) = if saves || urgent {
            (std::mem::take(&mut self.records), std::mem::take(&mut self.tasks))
        } else {
            (Vec::new(), Vec::new())
        };
        if !records.is_empty() {
            self.counters.batches += 1;
            self.counters.records += records.len() as u64;
            let began = Instant::now();
            match self.store.write(&records, &local_time(), saves) {
                Ok(()) => {}
                Err(error @ StoreError::NoRoom { .. }) => {
                    later.extend(answers.into_iter().map(|(client, outcome)| Action::Answer(client, outcome)));
                    return self.lose_room(later, &error);
                }
                Err(error) => {
                    // Whoever waits hears that the node stopped: nothing that was not written is ever acknowledged.
                    warn!("the store failed, so this node stops: {error}");
                    return Err(error);
                }
            }
            if saves {
                self.counters.syncs.observe(began.elapsed());
            }
        }
        later.into_iter().for_each(|action| self.act(action, &mut restarts));
        let answer = move || {
            answers.into_iter().for_each(|(client, outcome)| _ = client.send(outcome));
            restarts.into_iter().for_each(|(client, generation)| _ = client.send(Some(generation)));
        };
        if tasks.is_empty() {
            answer();
        } else {
            self.scribe.hand_over(Job { tasks, then: Box::new(answer) });
        }
        Ok(())
    }

    /// Does what need not be collected first; restarts are answered when all is done.
    fn act(&mut self, action: Action, restarts: &mut Vec<(SyncSender<Option<u64>>, u64)>) {
        match action {
            Action::Send(outgoing) => self.peers.send(outgoing),
            Action::React(to, caller, reaction) => {
                let fate = self.peers.links().fate(to);
                if let (Fate::Lost, Some(message)) = (fate, &reaction.message) {
                    self.witness.lost(self.host.id(), &reaction.clock, to, message);
                }
                caller(Reaction { fate, ..reaction });
            }
            Action::Tell(client, _, known) => _ = client.send(known),
            Action::Restarted(client, generation) => restarts.push((client, generation)),
            Action::Reply(client, result, _) => client(result),
            Action::Read(query, result) => self.read(query, result),
            Action::Look(query) => self.read(query, Ok(())),
            Action::Finish(client, result) => _ = client.send(result),
            Action::Found(client, result) => _ = client.send(result),
            Action::Then(then) => then(true),
            Action::Save(_) | Action::Note(_) | Action::Write(_) | Action::Answer(..) => {}
        }
    }

    pub(super) fn read(&self, query: Query, result: Result<(), Failure>) {
        if let Some(strong) = self.host.strong() {
            query(result.map(|()| strong));
        }
    }
}

/// Whoever waits for an answer hears that there will be none.
impl Drop for Driver {
    fn drop(&mut self) {
        self.intake.close();
    }
}

/// The local time, `2026-11-20 09:44:00`.
fn local_time() -> String {
    Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}
