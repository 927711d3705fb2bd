//! How a node learns what was decided without it.
//!
//! Once at its start, and then every second, a node asks a peer. Each node numbers its decisions in the order in which
//! it learned them; the asker says up to which number of *this* peer it has read, and gets what follows, in pages. A
//! node that knows as many decisions, with the same digest, gets an empty page and is up to date.
//!
//! The asker also names its *open* instances: those where it has accepted and heard no decision for a while. From the
//! answers it counts who accepted which ballot, and so learns a choice whose proposer has died, without starting a
//! ballot of its own: asking never changes what is chosen.
//!
//! *Caveat*: a value can be chosen in one ballot and then be accepted in later ones, by different acceptors, none of
//! which gathered a majority. If no record of the choice is left, asking cannot find it; a ballot does, which a node in
//! service runs by itself ([`super::Options::finish_ticks`]).

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::{Message, Paxos};
use crate::protocol::Out;
use crate::protocol::durable::Durable;
use crate::protocol::quorum::Members;
use crate::protocol::types::{Ballot, Instance, NodeId, Value};

/// A page ends after so many decisions ...
const PAGE_DECISIONS: usize = 256;
/// ... or so many bytes of values, to stay far below the limit of a message.
const PAGE_BYTES: usize = 1 << 20;
/// So many ballots at most are begun at once to find out what became of open instances.
const FINISH_AT_ONCE: usize = 16;
/// An ask names at most so many open instances.
const ASK_OPEN: usize = 256;
/// An instance counts as open when it has been for so many ticks: most are decided within one.
const OPEN_TICKS: u64 = 20;

/// "What do you know that I do not?"
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// Which life of the peer `after` counts in; absent at first.
    pub life: Option<u64>,
    /// Up to which of the peer's decisions the asker has read.
    pub after: u64,
    /// How many decisions the asker knows.
    pub count: u64,
    /// The digest of their names.
    pub digest: u64,
    /// Where the asker accepted and heard no decision.
    pub open: Vec<Instance>,
}

/// What the asked one knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// Drawn at the node's start: its numbering of decisions holds for this life only.
    pub life: u64,
    /// Up to which of its decisions this page goes.
    pub upto: u64,
    /// Whether there are more.
    pub more: bool,
    /// Decisions: of the page, and of the asker's open instances.
    pub decided: Vec<Known>,
    /// What it accepted in the asker's open instances.
    pub accepted: Vec<Known>,
}

/// A value in an instance, with its ballot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Known {
    /// The instance.
    pub instance: Instance,
    /// The ballot.
    pub ballot: Ballot,
    /// The value.
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) struct Learner {
    life: u64,
    /// Decided instances in the order in which they were learned.
    order: Vec<Instance>,
    /// The digest of their names.
    digest: u64,
    /// Accepted here and not known to be decided, since which tick.
    open: BTreeMap<Instance, u64>,
    /// Who said to have accepted which ballot, for open instances.
    accepted_by: BTreeMap<Instance, BTreeMap<NodeId, Ballot>>,
    /// Up to where each peer was read: its life, and its number.
    read: BTreeMap<NodeId, (u64, u64)>,
    /// The peer asked last, and when to ask the next, in ticks. Nobody was asked at first: then all are.
    last_asked: Option<NodeId>,
    ask_at_ticks: u64,
}

impl Learner {
    pub(super) fn new(durable: &Durable, rng: &mut Pcg64Mcg) -> Self {
        let open = durable
            .instances
            .iter()
            .filter(|(_, state)| state.accepted.is_some() && state.decided.is_none())
            .map(|(instance, _)| (instance.clone(), 0))
            .collect();
        let mut learner = Self {
            life: rng.random::<u64>() >> 1,
            order: Vec::new(),
            digest: 0,
            open,
            accepted_by: BTreeMap::new(),
            read: BTreeMap::new(),
            last_asked: None,
            ask_at_ticks: 0,
        };
        for instance in &durable.decided {
            learner.decided(instance);
        }
        learner
    }

    pub(super) fn opened(&mut self, instance: &Instance, now_ticks: u64) {
        self.open.insert(instance.clone(), now_ticks);
    }

    pub(super) fn decided(&mut self, instance: &Instance) {
        self.open.remove(instance);
        self.accepted_by.remove(instance);
        self.digest ^= digest_of(instance);
        self.order.push(instance.clone());
    }

    pub(super) fn decided_count(&self) -> usize {
        self.order.len()
    }

    fn ask(&self, peer: NodeId, now_ticks: u64) -> Ask {
        let read = self.read.get(&peer);
        let open =
            self.open.iter().filter(|(_, since)| now_ticks.saturating_sub(**since) >= OPEN_TICKS || now_ticks == 1);
        Ask {
            life: read.map(|(life, _)| *life),
            after: read.map_or(0, |(_, after)| *after),
            count: self.order.len() as u64,
            digest: self.digest,
            open: open.map(|(instance, _)| instance.clone()).take(ASK_OPEN).collect(),
        }
    }
}

impl Paxos {
    /// What stays open although the others were asked is looked into by a ballot; by chance, so that not all do at once.
    fn finish_what_is_open(&mut self, out: &mut Out) {
        let Some(patience) = self.options.finish_ticks else { return };
        let (now, learner) = (self.now_ticks, &self.learner);
        let late = learner.open.iter().filter(|(_, since)| now.saturating_sub(**since) >= patience);
        let late: Vec<Instance> = late.map(|(instance, _)| instance.clone()).take(FINISH_AT_ONCE).collect();
        for instance in late {
            if self.rng.random_bool(0.5) {
                self.finish(&instance, out);
            }
        }
    }

    pub(super) fn tick_learner(&mut self, out: &mut Out) {
        if self.now_ticks < self.learner.ask_at_ticks {
            return;
        }
        self.finish_what_is_open(out);
        self.learner.ask_at_ticks = self.now_ticks + self.options.learn_ticks.max(1);
        let peers: BTreeSet<NodeId> = self.members.others(self.id).collect();
        let Some(last) = self.learner.last_asked else {
            self.learner.last_asked = peers.first().copied();
            for &peer in &peers {
                self.ask(peer, out);
            }
            return;
        };
        // The next in the ring.
        let next = peers.range(last..).find(|&&peer| peer > last).or_else(|| peers.first()).copied();
        self.learner.last_asked = next;
        if let Some(peer) = next {
            self.ask(peer, out);
        }
    }

    fn ask(&self, peer: NodeId, out: &mut Out) {
        out.send(peer, Message::Learn(self.learner.ask(peer, self.now_ticks)));
    }

    pub(super) fn on_learn(&mut self, from: NodeId, ask: &Ask, out: &mut Out) {
        let learner = &self.learner;
        let total = learner.order.len() as u64;
        let mut answer = Answer { life: learner.life, upto: total, ..Answer::default() };
        let mut room = PAGE_BYTES;
        if (ask.count, ask.digest) != (total, learner.digest) {
            let after = if ask.life == Some(learner.life) { ask.after.min(total) } else { 0 };
            // The cast cannot cut: `after` is at most the length of a list in memory.
            for known in
                learner.order[after as usize..].iter().take(PAGE_DECISIONS).map_while(|i| self.known_decision(i))
            {
                if room == 0 {
                    break;
                }
                room = room.saturating_sub(known.value.as_str().len());
                answer.decided.push(known);
            }
            answer.upto = after + answer.decided.len() as u64;
            answer.more = answer.upto < total;
        }
        for instance in ask.open.iter().take(ASK_OPEN) {
            let decided = self.known_decision(instance);
            let accepted = self.remembered(instance).and_then(|state| state.accepted.clone());
            let accepted = accepted.map(|(ballot, value)| Known { instance: instance.clone(), ballot, value });
            let known = decided.as_ref().or(accepted.as_ref());
            match known.map(|known| known.value.as_str().len()) {
                Some(_) if room == 0 => break,
                Some(bytes) => room = room.saturating_sub(bytes),
                None => continue,
            }
            if let Some(known) = decided {
                answer.decided.push(known);
            } else {
                answer.accepted.extend(accepted);
            }
        }
        out.send(from, Message::Learned(answer));
    }

    fn known_decision(&self, instance: &Instance) -> Option<Known> {
        let (ballot, value) = self.remembered(instance)?.decided.clone()?;
        Some(Known { instance: instance.clone(), ballot, value })
    }

    pub(super) fn on_learned(&mut self, from: NodeId, answer: Answer, out: &mut Out) {
        if !self.members.contains(from) && !mutant!(LearnsFromStrangers) {
            return out.ignore(from, "lessons of a node that is no member");
        }
        let before = self.learner.order.len();
        self.learner.read.insert(from, (answer.life, answer.upto));
        for Known { instance, ballot, value } in answer.decided {
            if self.instances.contains_key(&instance) || self.instances.len() < self.options.max_instances {
                self.decide(&instance, ballot, &value, out);
            }
        }
        for Known { instance, ballot, value } in answer.accepted {
            self.count_acceptance(from, &instance, ballot, &value, out);
        }
        let learned_some = self.learner.order.len() > before;
        if answer.more || (learned_some && !self.learner.open.is_empty()) {
            self.ask(from, out);
        }
    }

    /// Chosen is what a majority accepted in one ballot, whenever each of them did.
    fn count_acceptance(&mut self, from: NodeId, instance: &Instance, ballot: Ballot, value: &Value, out: &mut Out) {
        if !self.learner.open.contains_key(instance) {
            return;
        }
        let mine = self.remembered(instance).and_then(|state| state.accepted.as_ref()).map(|(ballot, _)| *ballot);
        let by = self.learner.accepted_by.entry(instance.clone()).or_default();
        by.insert(from, ballot);
        if let Some(mine) = mine {
            by.insert(self.id, mine);
        }
        if accepted_by_majority(by, ballot, &self.members) {
            self.decide(instance, ballot, value, out);
        }
    }
}

fn accepted_by_majority(by: &BTreeMap<NodeId, Ballot>, ballot: Ballot, members: &Members) -> bool {
    by.values().filter(|&&accepted| accepted == ballot || mutant!(LearnerAddsUpBallots)).count()
        + usize::from(mutant!(LearnerMinusOne))
        >= members.majority()
}

/// FNV-1a, 63 bits so that it fits an XML-RPC integer. Only compared between nodes that mean each other well.
fn digest_of(instance: &Instance) -> u64 {
    let hash = instance
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash >> 1
}
