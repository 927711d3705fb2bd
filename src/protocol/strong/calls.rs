//! Calls of clients, from whichever node they came in to the leader's log, and back.

use std::sync::Arc;

use super::{Command, Strong, done};
use crate::protocol::log::Begun;
use crate::protocol::log::members::{Change, Unchanged};
use crate::protocol::types::{Ballot, NodeId, RequestId};
use crate::protocol::{Event, Out};
use crate::service::command::stamp;
use crate::service::reply::{Refusal, Reply};

/// What nodes say to each other about calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// "Append this for me." ZooKeeper's transaction request.
    Forward {
        /// The sender's name for the call.
        id: u64,
        /// The command.
        command: Vec<u8>,
    },
    /// "Change the members for me."
    Change {
        /// The sender's name for the call.
        id: u64,
        /// The change.
        change: Change,
    },
    /// The members were not changed, and will not be by this call.
    Unchanged {
        /// The receiver's name for the call.
        id: u64,
        /// Why not.
        why: Unchanged,
    },
    /// What the entry was answered; absent if it did not become one, and will not.
    Answer {
        /// The receiver's name for the call.
        id: u64,
        /// A [`Reply`], encoded.
        reply: Option<Vec<u8>>,
    },
    /// "From which index on may I answer a read?"
    AskRead {
        /// The sender's name for the read.
        id: u64,
    },
    /// From this slot on; absent if the sender does not lead.
    ReadAt {
        /// The receiver's name for the read.
        id: u64,
        /// The slot.
        slot: Option<u64>,
    },
}

impl Message {
    /// Whether it must not arrive twice, so that a transport which does not know whether it arrived gives it up: a command
    /// without a request id would become two entries; and so it would if it were handed over again because of a refusal
    /// that was heard twice.
    #[must_use]
    pub const fn is_sent_once(&self) -> bool {
        matches!(
            self,
            Self::Forward { .. } | Self::Change { .. } | Self::Unchanged { .. } | Self::Answer { reply: None, .. }
        )
    }

    /// Whether it wants something, and is not the answer to a message of ours.
    pub(super) const fn asks(&self) -> bool {
        matches!(self, Self::Forward { .. } | Self::Change { .. } | Self::AskRead { .. })
    }
}

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Definite: no leader took it in time.
    Unavailable {
        /// The coordinator that this node knew last.
        leader: Option<NodeId>,
    },
    /// Indefinite: a leader had it, or may have, and no answer came.
    Unknown,
    /// The node was restarted while the call was running.
    Restarted,
    /// Definite: the members were not changed.
    Unchanged(Unchanged),
    /// Definite: this node is no member of the cluster, so it has no leader to give it to.
    NoMember,
    /// Definite: the disk of this node is full; see [`super::room`].
    NoRoom {
        /// The node where the call came in, or the leader.
        node: NodeId,
    },
}

/// What a client wants of the log.
#[derive(Debug, Clone)]
enum Order {
    /// A command of the services.
    Command(Arc<[u8]>),
    /// Other members.
    Change(Change),
}

/// A client's command, at the node where it came in.
#[derive(Debug, Clone)]
pub(super) struct Call {
    order: Order,
    deadline_ticks: u64,
    /// Whether it carries a request id, so that it is applied once however often it is appended.
    keyed: bool,
    /// Whether some leader may have it in its log.
    pub(super) exposed: bool,
    /// Whether one before the leader that has it now may have it in its log.
    exposed_before: bool,
    place: Place,
}

impl Call {
    /// Whether it is other members that the client wants.
    pub(super) const fn is_change(&self) -> bool {
        matches!(self.order, Order::Change(_))
    }

    fn hand_to(&mut self, epoch: Ballot) {
        self.exposed_before |= self.exposed && !mutant!(ExposureForgotten);
        (self.exposed, self.place) = (true, Place::With(epoch));
    }

    /// The leader that had it last has no entry of it, and will have none. That says nothing about those before.
    pub(super) const fn take_back(&mut self) {
        (self.exposed, self.place) = (self.exposed_before, Place::Waiting);
    }
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Here, until there is a leader.
    Waiting,
    /// With the leader of this epoch, which may be this node.
    With(Ballot),
}

/// A client's read, at the node where it came in.
#[derive(Debug, Clone)]
pub(super) struct Read {
    deadline_ticks: u64,
    asked: Option<(Ballot, u64)>,
    slot: Option<u64>,
}

/// Who waits for an entry or a read of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Local(RequestId),
    Peer(NodeId, u64),
}

/// A read is asked for again when no answer came for so long, in ticks.
const ASK_AGAIN_TICKS: u64 = 40;

impl Strong {
    /// A client's command; `keyed` if it carries a request id. The answer is an [`Event::Replied`].
    pub fn command(&mut self, request: RequestId, command: Vec<u8>, keyed: bool, deadline_ticks: u64, out: &mut Out) {
        self.order(request, Order::Command(command.into()), keyed, deadline_ticks, out);
    }

    /// An administrator changes the members. The answer is an [`Event::Replied`].
    pub fn change(&mut self, request: RequestId, change: Change, deadline_ticks: u64, out: &mut Out) {
        self.order(request, Order::Change(change), false, deadline_ticks, out);
        // There may be something to tell that no message waits for.
        self.settle(out);
    }

    fn order(&mut self, request: RequestId, order: Order, keyed: bool, deadline_ticks: u64, out: &mut Out) {
        let deadline_ticks = self.now_ticks.saturating_add(deadline_ticks);
        let (exposed, exposed_before) = (false, false);
        let call = Call { order, deadline_ticks, keyed, exposed, exposed_before, place: Place::Waiting };
        self.calls.insert(request, call);
        self.submit(request, out);
    }

    /// A client's read. The answer is an [`Event::Readable`]: from then on the state here will do.
    pub fn read(&mut self, request: RequestId, deadline_ticks: u64, out: &mut Out) {
        let deadline_ticks = self.now_ticks.saturating_add(deadline_ticks);
        self.reads.insert(request, Read { deadline_ticks, asked: None, slot: None });
        self.ask(request, out);
    }

    /// A client no longer waits.
    pub fn forget(&mut self, request: RequestId) {
        self.calls.remove(&request);
        self.reads.remove(&request);
    }

    /// How many calls wait here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.calls.len() + self.reads.len()
    }

    /// All calls end: the node is restarted.
    pub(in crate::protocol) fn abandon(&mut self, out: &mut Out) {
        for (request, _) in std::mem::take(&mut self.calls) {
            done(request, Err(Failure::Restarted), out);
        }
        for (request, _) in std::mem::take(&mut self.reads) {
            out.notify(Event::Readable { request, result: Err(Failure::Restarted) });
        }
    }

    fn submit(&mut self, request: RequestId, out: &mut Out) {
        let leader = self.leader();
        if self.refuses(request, out) {
            return;
        }
        let Some(call) = self.calls.get_mut(&request) else { return };
        if let Some(epoch) = self.log.leads() {
            call.hand_to(epoch);
            match &mut call.order {
                Order::Command(command) => {
                    // Shared with the log: a stamp is put over the last one.
                    stamp(Arc::make_mut(command), self.time_ms);
                    if let Some((epoch, slot)) = self.log.append(Command::Service(command.clone())) {
                        self.slots.insert(slot, (epoch, Origin::Local(request)));
                    }
                }
                Order::Change(change) => {
                    let change = change.clone();
                    self.begin_change(Origin::Local(request), &change, out);
                }
            }
        } else if let Some((to, epoch)) = leader.filter(|(node, _)| *node != self.id) {
            let id = request.0;
            match &call.order {
                Order::Command(command) => out.send(to, Message::Forward { id, command: command.to_vec() }),
                Order::Change(change) => out.send(to, Message::Change { id, change: change.clone() }),
            }
            call.hand_to(epoch);
        }
    }

    fn begin_change(&mut self, origin: Origin, change: &Change, out: &mut Out) {
        match self.log.change(change, out) {
            Some(Ok(Begun::Entered { epoch, slot })) => _ = self.slots.insert(slot, (epoch, origin)),
            Some(Ok(Begun::Preparing)) => self.joining = Some(origin),
            Some(Err(why)) => self.not_changed(origin, Some(why), out),
            None => self.not_changed(origin, None, out),
        }
    }

    /// The members were not changed for this call: for a reason, or because this node does not lead.
    pub(super) fn not_changed(&mut self, origin: Origin, why: Option<Unchanged>, out: &mut Out) {
        match (origin, why) {
            (origin, None) => self.answer(origin, None, out),
            (Origin::Peer(node, id), Some(why)) => out.send(node, Message::Unchanged { id, why }),
            (Origin::Local(request), Some(why)) => {
                if self.calls.remove(&request).is_some() {
                    done(request, Err(Failure::Unchanged(why)), out);
                }
            }
        }
    }

    fn ask(&mut self, request: RequestId, out: &mut Out) {
        let leader = self.leader();
        let Some(read) = self.reads.get_mut(&request) else { return };
        self.next_read += 1;
        if let Some(epoch) = self.log.leads() {
            read.asked = Some((epoch, self.now_ticks));
            self.log_reads.insert(self.next_read, Origin::Local(request));
            self.log.read(self.next_read);
        } else if let Some((to, epoch)) = leader.filter(|(node, _)| *node != self.id) {
            read.asked = Some((epoch, self.now_ticks));
            out.send(to, Message::AskRead { id: request.0 });
        }
    }

    pub(super) fn on_call(&mut self, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Forward { id, .. } if self.is_full() => self.turn_away(from, id, out),
            Message::Forward { id, command } => match self.log.append(stamped(command, self.time_ms)) {
                Some((epoch, slot)) => _ = self.slots.insert(slot, (epoch, Origin::Peer(from, id))),
                None => out.send(from, Message::Answer { id, reply: None }),
            },
            Message::Change { id, change } => self.begin_change(Origin::Peer(from, id), &change, out),
            Message::Unchanged { id, why } => {
                let request = RequestId(id);
                let is_its = |call: &Call| matches!(call.place, Place::With(epoch) if epoch.node == from);
                if self.calls.get(&request).is_some_and(is_its) {
                    self.calls.remove(&request);
                    done(request, Err(Failure::Unchanged(why)), out);
                }
            }
            Message::Answer { id, reply } => self.on_answer(from, RequestId(id), reply, out),
            Message::AskRead { id } => {
                self.next_read += 1;
                if self.log.read(self.next_read) {
                    self.log_reads.insert(self.next_read, Origin::Peer(from, id));
                } else {
                    out.send(from, Message::ReadAt { id, slot: None });
                }
            }
            Message::ReadAt { id, slot } => self.on_read_at(from, RequestId(id), slot, out),
        }
    }

    fn on_answer(&mut self, from: NodeId, request: RequestId, reply: Option<Vec<u8>>, out: &mut Out) {
        let Some(call) = self.calls.get_mut(&request) else { return };
        if !matches!(call.place, Place::With(epoch) if epoch.node == from) {
            return;
        }
        match reply.map(|bytes| Reply::decode(&bytes)) {
            Some(Ok(Reply::Refused(Refusal::NoRoom))) => self.on_turned_away(from, request, out),
            Some(Ok(reply)) => {
                self.calls.remove(&request);
                done(request, Ok(reply), out);
            }
            Some(Err(_)) => out.ignore(from, "an answer that cannot be read"),
            None => call.take_back(),
        }
    }

    fn on_read_at(&mut self, from: NodeId, request: RequestId, slot: Option<u64>, out: &mut Out) {
        let Some(read) = self.reads.get_mut(&request) else { return };
        if read.asked.is_none_or(|(epoch, _)| epoch.node != from) {
            return;
        }
        match slot {
            Some(slot) => {
                read.slot = Some(slot);
                self.answer_reads(out);
            }
            None => read.asked = None,
        }
    }

    /// The log says that a read may be answered from a slot on, or not here.
    pub(super) fn on_readable(&mut self, read: u64, slot: Option<u64>, out: &mut Out) {
        match self.log_reads.remove(&read) {
            Some(Origin::Local(request)) => {
                if let Some(read) = self.reads.get_mut(&request) {
                    read.slot = slot;
                    if slot.is_none() {
                        read.asked = None;
                    }
                }
                self.answer_reads(out);
            }
            Some(Origin::Peer(node, id)) => {
                out.send(node, Message::ReadAt { id, slot });
                // It waits until it knows what we know.
                self.log.tell_committed(node);
            }
            None => {}
        }
    }

    pub(super) fn answer_reads(&mut self, out: &mut Out) {
        let applied = self.applied;
        self.reads.retain(|&request, read| {
            let waits = read.slot.is_none_or(|slot| slot > applied);
            if !waits {
                out.notify(Event::Readable { request, result: Ok(()) });
            }
            waits
        });
    }

    /// An entry was applied, or another took its slot: whoever waits hears of it.
    pub(super) fn answer(&mut self, origin: Origin, reply: Option<Reply>, out: &mut Out) {
        match (origin, reply) {
            (Origin::Local(request), Some(reply)) => {
                if let Some(call) = self.calls.remove(&request) {
                    let entry = (!call.exposed_before).then_some(self.applied);
                    out.notify(Event::Replied { request, result: Ok(reply), entry });
                }
            }
            (Origin::Local(request), None) => {
                if let Some(call) = self.calls.get_mut(&request) {
                    call.take_back();
                }
            }
            (Origin::Peer(node, id), reply) => {
                out.send(node, Message::Answer { id, reply: reply.map(|reply| reply.encode()) });
            }
        }
    }

    /// These slots are not in the log any more, and never left this node.
    pub(super) fn drop_slots_above(&mut self, length: u64, out: &mut Out) {
        for (_, (_, origin)) in self.slots.split_off(&(length + 1)) {
            self.answer(origin, None, out);
        }
    }

    /// These slots were applied in a snapshot, which does not tell what was answered.
    pub(super) fn drop_slots_through(&mut self, applied: u64, out: &mut Out) {
        let later = self.slots.split_off(&(applied + 1));
        for (_, (_, origin)) in std::mem::replace(&mut self.slots, later) {
            if let Origin::Local(request) = origin
                && self.calls.remove(&request).is_some()
            {
                done(request, Err(Failure::Unknown), out);
            }
        }
    }

    /// There is a leader, perhaps a new one: what waits is handed to it.
    pub(super) fn resubmit(&mut self, out: &mut Out) {
        let leader = self.log.leads().or_else(|| self.leader().map(|(_, epoch)| epoch));
        let Some(leader) = leader else { return };
        let mut unknown = Vec::new();
        let mut again = Vec::new();
        for (&request, call) in &self.calls {
            match call.place {
                Place::Waiting => again.push(request),
                Place::With(epoch) if epoch == leader || epoch.node == self.id => {}
                Place::With(_) if call.keyed || mutant!(ForwardsTwice) => again.push(request),
                Place::With(_) => unknown.push(request),
            }
        }
        for request in unknown {
            self.calls.remove(&request);
            done(request, Err(Failure::Unknown), out);
        }
        again.into_iter().for_each(|request| self.submit(request, out));
        let now = self.now_ticks;
        let stale = |read: &Read| {
            let asked = read.asked.filter(|(epoch, at)| *epoch == leader && at + ASK_AGAIN_TICKS > now);
            read.slot.is_none() && asked.is_none()
        };
        let reads: Vec<RequestId> =
            self.reads.iter().filter(|(_, read)| stale(read)).map(|(request, _)| *request).collect();
        reads.into_iter().for_each(|request| self.ask(request, out));
    }

    pub(super) fn tick_calls(&mut self, out: &mut Out) {
        if self.calls.is_empty() && self.reads.is_empty() {
            return;
        }
        let (now, leader) = (self.now_ticks, self.leader().map(|(node, _)| node));
        let refusal = if self.is_member() { Failure::Unavailable { leader } } else { Failure::NoMember };
        self.calls.retain(|&request, call| {
            let waits = call.deadline_ticks > now;
            if !waits {
                let failure = if call.exposed { Failure::Unknown } else { refusal.clone() };
                done(request, Err(failure), out);
            }
            waits
        });
        self.reads.retain(|&request, read| {
            let waits = read.deadline_ticks > now;
            if !waits {
                out.notify(Event::Readable { request, result: Err(refusal.clone()) });
            }
            waits
        });
        self.resubmit(out);
    }
}

/// The command as it goes into the log: with the leader's proposal of the time.
fn stamped(mut command: Vec<u8>, time_ms: u64) -> Command {
    stamp(&mut command, time_ms);
    Command::Service(command.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    impl Strong {
        /// A call under a request id, which these leaders have had one after the other; the last has it still.
        pub(in crate::protocol::strong) fn wait_with(&mut self, request: RequestId, leaders: &[NodeId]) {
            let (order, place) = (Order::Command(Vec::new().into()), Place::Waiting);
            let deadline_ticks = self.now_ticks + 100;
            let (exposed, exposed_before) = (false, false);
            let mut call = Call { order, deadline_ticks, keyed: true, exposed, exposed_before, place };
            (1..).zip(leaders).for_each(|(round, &node)| call.hand_to(Ballot { round, node }));
            self.calls.insert(request, call);
        }
    }

    fn epoch(round: u64, node: u32) -> Ballot {
        Ballot { round, node: NodeId::new(node).unwrap() }
    }

    #[test]
    pub(crate) fn what_an_earlier_leader_may_have_is_not_refused_for_certain_because_a_later_one_has_not() {
        let mut call = Call {
            order: Order::Command(Vec::new().into()),
            deadline_ticks: 10,
            keyed: true,
            exposed: false,
            exposed_before: false,
            place: Place::Waiting,
        };
        // Back from the only leader that ever had it: nobody has it.
        call.hand_to(epoch(1, 1));
        call.take_back();
        assert!(!call.exposed);
        // The first never says; the second says that it does not lead.
        call.hand_to(epoch(2, 1));
        call.hand_to(epoch(3, 2));
        call.take_back();
        assert!(call.exposed);
        call.hand_to(epoch(4, 3));
        call.take_back();
        assert!(call.exposed);
    }
}
