//! The strong half of a node: the election chooses, the log decides, the services apply; and calls of clients, which any
//! node takes and the leader's log answers.
//!
//! # Calls
//!
//! A command becomes an entry at the leader; wherever the call came in, the answer is what the services said when the
//! entry was applied. What is known about a call that got no answer in time:
//!
//! - It never reached a leader's log, or the slot it had was given to another entry: it did not happen, and does not any
//!   more ([`Failure::Unavailable`]).
//! - It reached a leader, or may have: unknown ([`Failure::Unknown`]). With a request id it is handed to the next leader
//!   too, since the services apply it once.
//!
//! A read is no entry; see [`super::log`]. Where the call came in, it is answered from the state at the index that the
//! leader named.
//!
//! A change of the members goes the same way, and is never handed to a second leader: repeated, it would be refused for
//! having been done.
//!
//! # The log's own time
//!
//! Locks expire by the time that entries carry. A leader counts on by its ticks from the last entry's time, so no clock
//! that leaps ends all locks at once; between two leaders time stands still.

pub(crate) mod calls;
pub mod room;
pub mod snapshots;

use std::collections::BTreeMap;

use ::log::{error, info};
use rand_pcg::Pcg64Mcg;

use super::bully::{self, Bully};
use super::log::entries::Command;
use super::log::members::Membership;
use super::log::memory::Memory;
use super::log::{self, Log, Notice as LogNotice};
use super::types::{Ballot, NodeId, RequestId};
use super::{Event, Out};
use crate::service::Services;
use crate::service::command::{Action, Command as ServiceCommand};
use crate::service::reply::{Notice, Position, Reply};
use calls::{Call, Origin, Read};
use snapshots::Due;

pub use calls::{Failure, Message};
pub use snapshots::Snapshots;

/// A tick in the log's own time.
const TICK_MS: u64 = 10;

/// What can be set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// What can be set about elections.
    pub bully: bully::Options,
    /// What can be set about the log.
    pub log: log::Options,
    /// When the services' state is kept whole, and the entries before it go.
    pub snapshots: Snapshots,
}

impl Options {
    /// For nodes in service: as few messages and syncs as will do.
    #[must_use]
    pub fn for_service(self) -> Self {
        Self { log: log::Options { thrifty: true, ..self.log }, ..self }
    }
}

/// Election, log and services of one node, and the calls that wait.
#[derive(Debug, Clone)]
pub struct Strong {
    id: NodeId,
    options: Options,
    bully: Bully,
    log: Log,
    services: Services,
    applied: u64,
    /// What was applied cannot be: the snapshot is not one. The node stays out of everything then.
    broken: bool,
    now_ticks: u64,
    time_ms: u64,
    calls: BTreeMap<RequestId, Call>,
    reads: BTreeMap<RequestId, Read>,
    /// Who waits for the answer to an entry, and the epoch in which it was appended.
    slots: BTreeMap<u64, (Ballot, Origin)>,
    /// Who waits for a read, by the log's number for it.
    log_reads: BTreeMap<u64, Origin>,
    next_read: u64,
    /// Who waits for a node to be brought up to date, so that it can be a member.
    joining: Option<Origin>,
    /// The entry by which the leader lets time pass, while it is under way.
    expiring: Option<u64>,
    changes: Vec<Notice>,
    /// The snapshot that is being encoded: its slot, and the hash of the chain up to it.
    encoding: Option<(u64, u64)>,
    /// The same, until somebody takes it.
    due: Option<Due>,
    /// Whether this node's disk is short of room.
    short: bool,
    /// Until when it leaves it to others to lead, or did so last, in ticks.
    yields_until: Option<u64>,
}

impl Strong {
    /// Starts from what the node remembers; see [`Log::new`] for who founded the cluster.
    #[must_use]
    pub fn new(id: NodeId, founding: impl Into<Membership>, options: Options, memory: Memory, rng: Pcg64Mcg) -> Self {
        let log = Log::new(id, founding, options.log, memory);
        let bully = Bully::new(id, log.members().clone(), options.bully, rng);
        let mut strong = Self {
            id,
            options,
            bully,
            log,
            services: Services::default(),
            applied: 0,
            broken: false,
            now_ticks: 0,
            time_ms: 0,
            calls: BTreeMap::new(),
            reads: BTreeMap::new(),
            slots: BTreeMap::new(),
            log_reads: BTreeMap::new(),
            next_read: 0,
            joining: None,
            expiring: None,
            changes: Vec::new(),
            encoding: None,
            due: None,
            short: false,
            yields_until: None,
        };
        strong.apply(&mut Out::default());
        strong
    }

    /// Handles one message of a node. What is not about the log is for members only.
    pub fn on_message(&mut self, from: NodeId, message: super::Message, out: &mut Out) {
        if from != self.id {
            self.bully.heard(from);
        }
        match message {
            super::Message::Bully(message) => self.bully.on_message(from, message, out),
            super::Message::Log(message) => self.log.on_message(from, message, out),
            super::Message::Strong(message) if !message.asks() || self.knows(from) => self.on_call(from, message, out),
            super::Message::Strong(_) => out.ignore(from, "the sender is no member"),
            super::Message::Paxos(_)
            | super::Message::Eventual(_)
            | super::Message::Register(_)
            | super::Message::Overlay(_)
            | super::Message::Elsewhere => {}
        }
        self.settle(out);
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now_ticks += 1;
        self.yield_if_full();
        self.bully.on_tick(out);
        self.log.on_tick(out);
        if self.log.leads().is_some() {
            self.time_ms += TICK_MS;
            self.expire();
        }
        self.settle(out);
        self.tick_calls(out);
    }

    /// The batch of inputs has ended: what came together leaves together.
    pub fn flush(&mut self, out: &mut Out) {
        self.log.flush(out);
        self.settle(out);
    }

    /// The transport saw that a peer's process has ended.
    pub fn disconnected(&mut self, peer: NodeId, out: &mut Out) {
        self.bully.disconnected(peer, out);
        self.log.disconnected(peer);
        self.settle(out);
    }

    /// The lab's `elect`: an election is held here, although a coordinator may live.
    pub fn elect(&mut self, out: &mut Out) {
        self.bully.elect(out);
        self.settle(out);
    }

    /// Whether calls from there are taken. Answers are believed from whoever was asked: it may have left since.
    fn knows(&self, node: NodeId) -> bool {
        self.log.members().contains(node) || self.log.leaving() == Some(node)
    }

    /// Whether this node belongs to the cluster, by its log.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.log.members().contains(self.id)
    }

    /// The election follows the log in who belongs to the cluster.
    fn follow_members(&mut self, out: &mut Out) {
        let leaving = self.log.leaving();
        if self.log.leads().is_some() && !self.is_member() && leaving.is_none() {
            info!("{} was removed, and leads no longer", self.id);
            self.log.farewell(out);
        }
        self.bully.set_members(self.log.members(), leaving, out);
    }

    /// What one part has to tell another, until nothing is left to tell.
    fn settle(&mut self, out: &mut Out) {
        loop {
            self.follow_members(out);
            let (epoch, length) = self.log.memory().rank();
            self.bully.set_rank(epoch, length);
            self.bully.set_may_lead(self.log.memory().proven && !self.broken && !self.yields());
            let notices = self.log.take_notices();
            let victory = self.bully.take_victory();
            let quiet = notices.is_empty() && !victory;
            for notice in notices {
                self.on_log_notice(notice, out);
            }
            if victory && !self.broken {
                self.log.campaign(out);
                if let Some(epoch) = self.log.memory().promised.filter(|_| mutant!(VictoryIsAuthority)) {
                    self.bully.established(epoch, out);
                }
                // A node alone has its epoch at once: the election must hear of that before it is asked who coordinates.
                continue;
            }
            if self.log.leads().is_some_and(|epoch| self.bully.coordinator() != Some((self.id, epoch))) {
                info!("{} leads no longer: it is not the coordinator any more", self.id);
                self.log.resign();
                continue;
            }
            if quiet {
                break;
            }
        }
        self.apply(out);
        self.note_due();
        if let Some(addresses) = self.log.take_correspondents() {
            out.notify(Event::Correspondents { addresses });
        }
    }

    fn on_log_notice(&mut self, notice: LogNotice, out: &mut Out) {
        match notice {
            LogNotice::Established(epoch) => {
                info!("{} leads epoch {epoch}", self.id);
                self.time_ms = self.time_ms.max(self.services.time_ms());
                self.expiring = None;
                self.yield_if_full();
                self.bully.established(epoch, out);
                self.resubmit(out);
            }
            LogNotice::Deposed(higher) => {
                let lost = self.log.memory().length();
                self.drop_slots_above(lost, out);
                let seen = higher.or_else(|| self.log.memory().promised);
                if let Some(epoch) = seen {
                    self.bully.deposed(epoch, out);
                }
            }
            LogNotice::Joined { epoch, slot } => {
                if let Some(origin) = self.joining.take() {
                    self.slots.insert(slot, (epoch, origin));
                }
            }
            LogNotice::NotJoined { why } => {
                if let Some(origin) = self.joining.take() {
                    self.not_changed(origin, why, out);
                }
            }
            LogNotice::Readable { read, slot } => self.on_readable(read, Some(slot), out),
            LogNotice::Unreadable { read } => self.on_readable(read, None, out),
        }
    }

    /// Applies what is committed, in order, each once.
    fn apply(&mut self, out: &mut Out) {
        let memory = self.log.memory();
        let committed = if mutant!(AppliesUncommitted) { memory.length() } else { memory.committed };
        if self.applied >= committed || self.broken {
            return;
        }
        if let Some(snapshot) = self.log.memory().snapshot.as_ref().filter(|snapshot| snapshot.slot > self.applied) {
            match Services::restore(&snapshot.state) {
                Ok(services) => (self.services, self.applied) = (services, snapshot.slot),
                Err(error) => {
                    error!("the snapshot of slot {} cannot be used: {error}; this node takes no part", snapshot.slot);
                    self.broken = true;
                    self.log.resign();
                    return;
                }
            }
            // What was answered by the snapshot's entries is not known here any more.
            self.drop_slots_through(self.applied, out);
        }
        while self.applied < committed {
            let slot = self.applied + 1;
            let Some(entry) = self.log.memory().entries.get(slot) else { break };
            let (epoch, command) = (entry.epoch, entry.command.clone());
            let at = Position { epoch: epoch.round, counter: slot };
            let bytes: &[u8] = match &command {
                Command::Noop | Command::Members(_) => &[],
                Command::Service(bytes) => bytes,
            };
            let mut own = Vec::new();
            let bytes = if mutant!(AppliesByOwnTime) {
                own.extend_from_slice(bytes);
                crate::service::command::stamp(&mut own, self.now_ticks * TICK_MS);
                &own
            } else {
                bytes
            };
            let reply = self.services.apply(at, bytes, &mut self.changes);
            let reply = if matches!(command, Command::Members(_)) { Reply::Members { at } } else { reply };
            self.applied = slot;
            if let Some((appended, origin)) = self.slots.remove(&slot) {
                self.answer(origin, (appended == epoch || mutant!(AnswersByAnyEntry)).then_some(reply), out);
            }
        }
        self.time_ms = self.time_ms.max(self.services.time_ms());
        self.answer_reads(out);
    }

    /// Lets time pass by an entry when a lock's time has come.
    fn expire(&mut self) {
        let pending = self.expiring.is_some_and(|slot| slot > self.applied);
        let due = self.services.next_deadline().is_some_and(|deadline| deadline <= self.time_ms);
        if due && !pending {
            let (author, time_ms) = (self.id.number(), self.time_ms);
            let command = ServiceCommand { request: None, time_ms, author, action: Action::Expire };
            self.expiring = self.log.append(Command::Service(command.encode().into())).map(|(_, slot)| slot);
        }
    }

    /// What changed for those who wait, since the last call.
    pub fn take_changes(&mut self) -> std::vec::Drain<'_, Notice> {
        self.changes.drain(..)
    }

    /// The node that answers strong calls, as far as is known here, and its epoch.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, Ballot)> {
        self.bully.coordinator()
    }

    /// The election, for observers.
    #[must_use]
    pub const fn bully(&self) -> &Bully {
        &self.bully
    }

    /// The log, for observers.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The services' state here: as of [`Strong::applied`].
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// The last slot applied.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// Whether the state cannot be used.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        self.bully.check_invariants();
        self.log.check_invariants();
        assert!(self.applied <= self.log.memory().committed || self.broken, "applied beyond what is committed");
    }
}

/// A call is over.
fn done(request: RequestId, result: Result<Reply, Failure>, out: &mut Out) {
    out.notify(Event::Replied { request, result, entry: None });
}
