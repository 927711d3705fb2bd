//! Bully: who coordinates. Source: Garcia-Molina, "Elections in a Distributed Computing System" (1982), section 3; the
//! textbook's Election, Answer and Coordinator.
//!
//! # What it guarantees
//!
//! An election is an optimisation: whoever believes itself coordinator, the log stays safe. Winning therefore gives no
//! authority. The winner asks the log for a new epoch ([`Bully::take_victory`]), which a majority must promise; only then
//! it is coordinator ([`Bully::established`]). So there is at most one coordinator per epoch, an epoch being a ballot
//! that one node owns, and epochs are as durable as the log makes them. Nothing here is.
//!
//! A set of nodes of which each hears a majority gets one coordinator, and keeps it as long as the coordinator hears a
//! majority: whatever the others hear, and whoever comes back.
//!
//! # The story
//!
//! 1. Every node tells every other, now and then and whenever something changes, that it is there, whom it hears, and
//!    which coordinator it hears (Heartbeat).
//! 2. A node is *eligible* while it hears a majority in both directions, itself included. Only an eligible node stands
//!    for election, says "ok", or wins. A coordinator that is not for a while says so (Resign) and steps down: so a deaf
//!    and a mute one step down alike.
//! 3. A node follows the coordinator of the highest epoch that it hears, or that a peer hears and *vouches* for. Any two
//!    majorities share a node, so every eligible node hears the coordinator or someone who vouches: a ring, a bridge or a
//!    chain of nodes has no reason for a second election.
//! 4. A node with no such coordinator looks for one: it asks all for a heartbeat. With *evidence* that there was one and
//!    is no more (its process was seen to die, it resigned, or 300 ms of silence) it stands as soon as all whom it hears
//!    have answered without vouching. Without (it has just started, or had no majority) it stands when it hears all
//!    members, and else after 300 ms: a node that comes back finds the living coordinator first.
//! 5. A candidate sends Election, with its rank, to all whom it hears. Rank is (epoch, counter, id): who knows more
//!    wins, the id breaks ties. A receiver of higher rank answers "ok" and stands itself; one of lower rank stands
//!    back, and says that too, so that nobody waits for it; one that hears the coordinator says so instead.
//! 6. A candidate to whom all have stood back has won; those who stay silent are waited for a moment, and a majority
//!    must have answered. One who was told "ok" waits for a Coordinator, and looks again if none comes.
//! 7. With its epoch promised by a majority, the winner tells all (Coordinator).
//!
//! # Messages
//!
//! | message | who sends it | when | who handles it |
//! |---|---|---|---|
//! | Election | candidate, to all whom it hears | it has no coordinator, or is forced | everybody |
//! | Answer | whoever got an Election | at once | the candidate, in that election only |
//! | Coordinator | coordinator, to all | its epoch was promised | everybody |
//! | Heartbeat | everybody, to all | every 50 ms, on a change, and when asked | everybody |
//! | Resign | coordinator, to all | it has lost its majority; and if someone still takes it for coordinator | followers |
//!
//! # Invariants
//!
//! Who coordinates owns the epoch, and was told by the log that it is promised. Nobody follows itself, an epoch that was
//! resigned, or one lower than it follows. A victory is asked for once. The tests assert that a core gets one coordinator
//! within a bound, that none changes afterwards, and that the messages of an election stay below c·n².
//!
//! # Caveats
//!
//! - Among nodes that do not all hear each other, two candidates may not know of one another and both ask for an epoch.
//!   One that misses a member therefore waits a moment longer, so that a shared neighbour can call it back; if that
//!   fails, the log's ballots decide.
//! - Nothing is leased: a coordinator that was stopped for long believes in itself until it hears of a higher epoch. The
//!   log must have a majority confirm whatever it serves.
//! - With `preempt` a node stands against a coordinator of lower rank. While entries flow, the coordinator mostly knows
//!   more, and so keeps its place until they pause.

mod election;
mod message;
mod peer;
mod phase;

use std::collections::BTreeMap;

use log::debug;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::Out;
use super::quorum::Members;
use super::types::{Ballot, NodeId};
use message::{implausible, leaps};
use peer::Peer;
use phase::Phase;

pub use message::{Announcement, Answer, Election, Heartbeat, Message, Rank};
pub use phase::{State, Status};

/// No election starts on less silence than this, in ticks: saturated machines stall for 140 to 220 ms.
pub const MIN_SILENCE_TICKS: u64 = 30;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The textbook's rule: a node that outranks the coordinator stands against it.
    pub preempt: bool,
    /// How often a node says that it is there, in ticks.
    pub heartbeat_ticks: u64,
    /// After how many ticks without a word a node counts as silent; at least [`MIN_SILENCE_TICKS`].
    pub silence_ticks: u64,
    /// How long a candidate waits for an answer, in ticks.
    pub answer_ticks: u64,
    /// How long a node that was told "ok" waits for a Coordinator, in ticks.
    pub coordinator_ticks: u64,
    /// How long a winner waits for its epoch, in ticks.
    pub epoch_ticks: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            preempt: false,
            heartbeat_ticks: 5,
            silence_ticks: MIN_SILENCE_TICKS,
            answer_ticks: 6,
            coordinator_ticks: 30,
            epoch_ticks: 100,
        }
    }
}

/// One node's part in the elections.
#[derive(Debug, Clone)]
pub struct Bully {
    id: NodeId,
    members: Members,
    /// A former member whose removal is not settled: it has no voice, but may still coordinate.
    leaving: Option<NodeId>,
    options: Options,
    rng: Pcg64Mcg,
    /// Ticks since the start. Only differences count.
    now: u64,
    /// What this node's log knows.
    rank: Rank,
    /// Whether the log would let this node lead. If not it does not stand: it would win again and again, for nothing.
    may_lead: bool,
    peers: BTreeMap<NodeId, Peer>,
    phase: Phase,
    /// The epoch that is or was followed or coordinated; nothing lower is believed until we look for a coordinator anew. It
    /// does not outlive that: a lie about an epoch must not make all that follow unbelievable.
    known: Option<Ballot>,
    /// The number of our last election. Starts anywhere, so that an answer of an earlier life does not count.
    number: u64,
    /// A victory that nobody has taken yet.
    victory: bool,
    /// When all were last asked for a heartbeat.
    asked: Option<u64>,
    /// When the next heartbeat is due.
    next_beat: u64,
    /// When the last one went to all, and what it said.
    last_beat: Option<(u64, Heartbeat)>,
    /// It does not stand by force before, unless by hand: to pre-empt, or because another one does.
    next_forced: u64,
}

impl Bully {
    /// Starts with nothing but the cluster.
    #[must_use]
    pub fn new(id: NodeId, members: Members, options: Options, mut rng: Pcg64Mcg) -> Self {
        let least = options.silence_ticks.max(MIN_SILENCE_TICKS);
        let silence_ticks = if mutant!(SilenceTooShort) { 2 * options.heartbeat_ticks } else { least };
        let options = Options { silence_ticks, ..options };
        let peers = members.others(id).map(|peer| (peer, Peer::default())).collect();
        let number = rng.random_range(0..1 << 30);
        Self {
            id,
            members,
            leaving: None,
            options,
            rng,
            now: 0,
            rank: Rank { epoch: None, counter: 0, id },
            may_lead: true,
            peers,
            phase: Phase::Looking { since: 0, evidence: false, not_before: 0 },
            known: None,
            number,
            victory: false,
            asked: None,
            next_beat: 0,
            last_beat: None,
            next_forced: 0,
        }
    }

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return out.ignore(from, "the sender has no part in elections here");
        };
        let wrong = implausible(from, &message).filter(|_| !mutant!(AnyonesWord));
        if let Some(reason) = wrong.or_else(|| leaps(&message, self.known.max(self.rank.epoch))) {
            return out.ignore(from, reason);
        }
        if !peer.arrived(self.now) {
            return out.ignore(from, "the sender's process has just been seen to die");
        }
        match message {
            Message::Election(election) => self.on_election(from, election, out),
            Message::Answer(answer) => self.on_answer(from, answer),
            Message::Coordinator(Announcement { epoch }) => self.on_coordinator(from, epoch, out),
            Message::Heartbeat(beat) => self.on_heartbeat(from, &beat, out),
            Message::Resign(Announcement { epoch }) => self.on_resign(from, epoch, out),
        }
        self.review(out);
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now += 1;
        match self.phase {
            Phase::Coordinating { epoch, .. } => self.watch_majority(epoch, out),
            Phase::Following { epoch } if self.options.preempt || mutant!(PreemptsUnasked) => self.preempt(epoch, out),
            _ => {}
        }
        self.review(out);
        let silent = mutant!(CoordinatorFallsSilent) && self.coordinated().is_some();
        if self.now >= self.next_beat && !silent {
            self.beat(false, out);
        }
    }

    /// What the node's log knows now. The host says so after every step of the log.
    pub fn set_rank(&mut self, epoch: Option<Ballot>, counter: u64) {
        (self.rank.epoch, self.rank.counter) = (epoch, counter);
    }

    /// Whether the log would let this node lead. The host says so after every step of the log.
    pub const fn set_may_lead(&mut self, may_lead: bool) {
        self.may_lead = may_lead;
    }

    /// Whether this node has won since this was last asked, and so should have a new epoch promised.
    #[must_use]
    pub fn take_victory(&mut self) -> bool {
        std::mem::take(&mut self.victory)
    }

    /// The log says that a majority has promised this node's epoch: it is coordinator, if it has not lost its majority
    /// meanwhile.
    pub fn established(&mut self, epoch: Ballot, out: &mut Out) {
        let higher = self.living().filter(|&living| living > epoch);
        if epoch.node != self.id || higher.is_some() || !self.is_eligible() {
            debug!("epoch {epoch} was established here, and is superseded already, or came too late");
            return self.deposed(higher.unwrap_or(epoch), out);
        }
        if self.coordinated() == Some(epoch) {
            return;
        }
        self.enter(Phase::Coordinating { epoch, alone_since: None });
        self.known = Some(epoch);
        self.tell_all(&Message::Coordinator(Announcement { epoch }), out);
        self.review(out);
    }

    /// The log says that a higher epoch than this node's was promised, or that its epoch cannot be won: it steps down,
    /// and looks again. It does not resign: who promised a higher epoch will hear of its coordinator in a moment.
    pub fn deposed(&mut self, epoch: Ballot, out: &mut Out) {
        if self.coordinated().is_some_and(|own| own > epoch) || matches!(self.phase, Phase::Following { .. }) {
            return;
        }
        let pause = self.rng.random_range(self.options.answer_ticks..=self.options.silence_ticks);
        self.look(true, pause, out);
        self.review(out);
    }

    /// The transport saw the process of a peer die: its connections were closed. A coordinator is suspected at once; but
    /// all who are left are asked first, and one who vouches is believed.
    pub fn disconnected(&mut self, peer: NodeId, out: &mut Out) {
        let Some(dead) = self.peers.get_mut(&peer) else { return };
        dead.died(self.now);
        match &mut self.phase {
            Phase::Following { epoch } if epoch.node == peer => {
                // They have not seen it yet, perhaps. What they say from now on counts.
                if !mutant!(OldVouchesCount) {
                    self.peers.values_mut().for_each(Peer::forget_vouch);
                }
                self.look(true, 0, out);
            }
            Phase::Yielding { to, .. } if *to == peer => self.look(true, 0, out),
            Phase::Electing { answered, waiting, .. } if !mutant!(WaitsForTheDead) => {
                answered.remove(&peer);
                waiting.remove(&peer);
            }
            _ => {}
        }
        self.review(out);
    }

    /// Something else than a message of this protocol has arrived from a peer: that is a sign of life as well.
    pub fn heard(&mut self, from: NodeId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.arrived(self.now);
        }
    }

    /// The lab's way to an election, whether a coordinator lives or not. An ineligible node cannot stand.
    pub fn elect(&mut self, out: &mut Out) {
        if self.is_eligible() {
            self.stand(true, out);
            self.review(out);
        }
    }

    /// The cluster has other members now, and perhaps one that is on its way out: that one has no voice any more, but
    /// coordinates on, if it does, until this is called without it.
    pub fn set_members(&mut self, members: &Members, leaving: Option<NodeId>, out: &mut Out) {
        if self.members == *members && self.leaving == leaving {
            return;
        }
        self.members = members.clone();
        self.leaving = leaving.filter(|&node| !members.contains(node));
        let stays = self.members.iter().chain(self.leaving).filter(|&peer| peer != self.id);
        let mut before = std::mem::take(&mut self.peers);
        self.peers = stays.map(|peer| (peer, before.remove(&peer).unwrap_or_default())).collect();
        let may_coordinate = self.may_coordinate();
        match &mut self.phase {
            Phase::Electing { answered, waiting, .. } => {
                answered.retain(|peer| self.peers.contains_key(peer));
                waiting.retain(|peer| self.peers.contains_key(peer));
            }
            Phase::Following { epoch } if !self.peers.contains_key(&epoch.node) => self.look(true, 0, out),
            Phase::Yielding { to, .. } if !self.peers.contains_key(to) => self.look(true, 0, out),
            Phase::Coordinating { epoch, .. } if !may_coordinate => {
                let epoch = *epoch;
                self.resign(epoch, out);
            }
            _ => {}
        }
        self.review(out);
    }

    /// Who coordinates, as far as this node knows, and in which epoch.
    #[must_use]
    pub const fn coordinator(&self) -> Option<(NodeId, Ballot)> {
        match self.phase {
            Phase::Following { epoch } | Phase::Coordinating { epoch, .. } => Some((epoch.node, epoch)),
            _ => None,
        }
    }

    /// How this node sees the cluster.
    #[must_use]
    pub fn status(&self) -> Status {
        let (leader, epoch) = self.coordinator().unzip();
        let state = match self.phase {
            Phase::Looking { .. } => State::Looking,
            Phase::Electing { .. } => State::Electing,
            Phase::Yielding { .. } => State::Yielding,
            Phase::Won { .. } => State::Won,
            Phase::Following { .. } => State::Following,
            Phase::Coordinating { .. } => State::Coordinating,
        };
        Status { leader, epoch, eligible: self.is_eligible(), hears: self.linked().collect(), state }
    }

    // Who is there.

    /// The peers that we hear and that hear us.
    fn linked(&self) -> impl Iterator<Item = NodeId> + '_ {
        let silence = self.options.silence_ticks;
        self.peers.iter().filter(move |(_, peer)| peer.is_linked(self.now, silence)).map(|(&id, _)| id)
    }

    /// Whether these others and this node are a majority of the members.
    fn are_majority(&self, others: impl Iterator<Item = NodeId>) -> bool {
        let own = usize::from(self.members.contains(self.id)) + usize::from(mutant!(CountsItselfTwice));
        let others = others.filter(|&other| self.members.contains(other)).count();
        self.may_coordinate() && others + own >= self.members.majority()
    }

    /// Whether this node is a member, or coordinates until its removal is settled.
    fn may_coordinate(&self) -> bool {
        self.members.contains(self.id) || self.leaving == Some(self.id) && self.coordinated().is_some()
    }

    fn is_eligible(&self) -> bool {
        self.may_lead && self.are_majority(self.linked())
    }

    /// Whether the coordinator of this epoch says so itself, freshly, and to us.
    fn hears(&self, epoch: Ballot) -> bool {
        let claimed = |peer: &Peer| peer.claimed(self.now, self.options.silence_ticks);
        self.peers.get(&epoch.node).and_then(claimed) == Some(epoch)
    }

    /// The highest epoch with a living coordinator other than this node.
    fn living(&self) -> Option<Ballot> {
        let silence = self.options.silence_ticks;
        let vouched = |peer: &Peer| peer.vouched(self.now, silence).filter(|_| !mutant!(VouchesIgnored));
        let said = |peer: &Peer| [peer.claimed(self.now, silence), vouched(peer)];
        let old = |epoch: &Ballot| Some(*epoch) < self.known && !mutant!(OldEpochBelieved);
        let believable = |epoch: &Ballot| !old(epoch) && !self.is_resigned(*epoch);
        self.peers.values().flat_map(said).flatten().filter(believable).max()
    }

    /// Whether its owner has resigned, or is nobody who could coordinate.
    fn is_resigned(&self, epoch: Ballot) -> bool {
        let resigned = |peer: &Peer| peer.resigned == Some(epoch) && !mutant!(ResignedBelieved);
        self.peers.get(&epoch.node).is_none_or(resigned)
    }

    fn coordinated(&self) -> Option<Ballot> {
        match self.phase {
            Phase::Coordinating { epoch, .. } => Some(epoch),
            _ => None,
        }
    }

    // What they say.

    fn on_heartbeat(&mut self, from: NodeId, beat: &Heartbeat, out: &mut Out) {
        let (me, now) = (self.id, self.now);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.beat(me, from, beat, now);
        }
        if beat.asks {
            out.send(from, Message::Heartbeat(self.heartbeat(false)));
        }
        // It takes us for a coordinator that we, having died meanwhile, no longer are. The others elect one now, and we do
        // not stand: a node that dies again and again would otherwise be elected again and again.
        if let Some(epoch) = beat.coordinator
            && epoch.node == me
            && let Phase::Looking { not_before, .. } = &mut self.phase
            && *not_before <= now
            && !mutant!(RestartGoesUnsaid)
        {
            *not_before = now + self.options.coordinator_ticks;
            self.tell_all(&Message::Resign(Announcement { epoch }), out);
        }
    }

    fn on_coordinator(&mut self, from: NodeId, epoch: Ballot, out: &mut Out) {
        if Some(epoch) < self.coordinated() {
            // It does not know of us yet.
            out.send(from, Message::Heartbeat(self.heartbeat(false)));
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.claims(epoch, self.now);
        }
    }

    fn on_resign(&mut self, from: NodeId, epoch: Ballot, out: &mut Out) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.resigned = Some(epoch);
        }
        if self.phase == (Phase::Following { epoch }) {
            self.look(true, 0, out);
        }
    }

    // What we say.

    fn heartbeat(&self, asks: bool) -> Heartbeat {
        let (now, silence) = (self.now, self.options.silence_ticks);
        let coordinator = self.coordinator().map(|(_, epoch)| epoch);
        Heartbeat {
            rank: self.rank,
            coordinator,
            hears_coordinator: coordinator.is_some_and(|epoch| epoch.node == self.id || self.hears(epoch)),
            eligible: self.is_eligible(),
            hears: self.peers.iter().filter(|(_, peer)| peer.is_heard(now, silence)).map(|(&id, _)| id).collect(),
            asks,
        }
    }

    fn beat(&mut self, asks: bool, out: &mut Out) {
        if !self.members.contains(self.id) && self.leaving != Some(self.id) {
            // Nobody expects to hear of who is no member.
            self.next_beat = self.now + self.options.heartbeat_ticks;
            return;
        }
        let beat = self.heartbeat(asks);
        self.tell_all(&Message::Heartbeat(beat.clone()), out);
        self.last_beat = Some((self.now, beat));
        self.next_beat = self.now + self.options.heartbeat_ticks;
    }

    /// Tells all what has changed since the last heartbeat, at most once per tick.
    fn beat_if_changed(&mut self, out: &mut Out) {
        let Some((at, said)) = &self.last_beat else { return };
        let beat = Heartbeat { rank: said.rank, asks: said.asks, ..self.heartbeat(false) };
        if beat == *said {
            return;
        }
        if *at < self.now {
            self.beat(false, out);
        } else {
            self.next_beat = self.now + 1;
        }
    }

    /// Asks all for a heartbeat, at most once per answer time.
    fn ask(&mut self, out: &mut Out) {
        if self.asked.is_some_and(|asked| self.now - asked < self.options.answer_ticks) {
            return;
        }
        self.asked = Some(self.now);
        self.peers.values_mut().for_each(|peer| peer.fresh = false);
        self.beat(true, out);
    }

    fn tell_all(&self, message: &Message, out: &mut Out) {
        self.peers.keys().for_each(|&peer| out.send(peer, message.clone()));
    }

    // What follows from it.

    /// Leaves a phase for another. A victory that was not taken is void.
    fn enter(&mut self, phase: Phase) {
        self.victory = matches!(phase, Phase::Won { .. });
        self.phase = phase;
    }

    fn look(&mut self, evidence: bool, pause: u64, out: &mut Out) {
        self.known = None;
        self.enter(Phase::Looking { since: self.now, evidence, not_before: self.now + pause });
        self.ask(out);
    }

    /// After every input: does what the changed view asks for.
    fn review(&mut self, out: &mut Out) {
        self.follow_the_living(out);
        self.run_election(out);
        self.beat_if_changed(out);
    }

    /// Follows the highest living coordinator, or notices that there is none.
    fn follow_the_living(&mut self, out: &mut Out) {
        let Some(living) = self.living() else {
            if matches!(self.phase, Phase::Following { .. }) {
                // Its word has lapsed.
                self.look(true, 0, out);
            }
            return;
        };
        let follows = match self.phase {
            // An election by hand goes on, unless there is somebody new; and who has won may have its epoch already.
            Phase::Electing { forced: true, .. } | Phase::Won { .. } => Some(living) > self.known,
            Phase::Coordinating { epoch, .. } => living > epoch || mutant!(OldEpochBelieved),
            Phase::Following { epoch } => living != epoch,
            _ => true,
        };
        if follows {
            self.known = Some(living);
            self.enter(Phase::Following { epoch: living });
        }
    }

    /// Steps down after a while without a majority: a connection that broke and stands again is no reason.
    fn watch_majority(&mut self, epoch: Ballot, out: &mut Out) {
        let alone_since = match self.phase {
            Phase::Coordinating { alone_since, .. } if !self.is_eligible() && !mutant!(KeepsLostMajority) => {
                alone_since.or(Some(self.now))
            }
            _ => None,
        };
        self.phase = Phase::Coordinating { epoch, alone_since };
        if alone_since.is_some_and(|since| self.now - since >= 2 * self.options.heartbeat_ticks) {
            self.resign(epoch, out);
        }
    }

    fn resign(&mut self, epoch: Ballot, out: &mut Out) {
        self.tell_all(&Message::Resign(Announcement { epoch }), out);
        self.look(false, 0, out);
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        let voices = self.peers.keys().copied().filter(|&peer| Some(peer) != self.leaving);
        assert!(voices.eq(self.members.others(self.id)), "the peers are not the members");
        assert!(!self.victory || matches!(self.phase, Phase::Won { .. }), "a victory without having won");
        match &self.phase {
            Phase::Coordinating { epoch, .. } => assert_eq!(epoch.node, self.id, "coordinates in another's epoch"),
            Phase::Following { epoch } => {
                assert_ne!(epoch.node, self.id, "follows itself");
                assert!(!self.is_resigned(*epoch), "follows an epoch that was resigned");
            }
            Phase::Electing { answered, waiting, .. } => {
                assert!(answered.is_disjoint(waiting), "waits for one that has answered");
                assert!(answered.union(waiting).all(|peer| self.peers.contains_key(peer)), "waits for a stranger");
            }
            Phase::Yielding { to, .. } => assert_ne!(*to, self.id, "yields to itself"),
            Phase::Looking { .. } | Phase::Won { .. } => {}
        }
        if let Some((_, epoch)) = self.coordinator() {
            assert_eq!(Some(epoch), self.known, "the highest known epoch is another one");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
