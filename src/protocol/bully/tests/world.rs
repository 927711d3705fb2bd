//! A cluster on a table: real [`Bully`]s, beside each a small stand-in for the log, and between them links that can be
//! cut in each direction.
//!
//! The stand-in promises epochs like an acceptor: durably, and never a lower one. So a winner becomes coordinator as it
//! does with the real log. After every step the invariants of [`Bully`] are checked, and that an epoch was promised by a
//! majority before somebody coordinates in it, and that epochs grow.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::super::{Bully, Message, Options, Phase};
use super::show;
use crate::protocol::quorum::Members;
use crate::protocol::types::{Ballot, NodeId};
use crate::protocol::{Effect, Event, Message as AnyMessage, Out};

/// More deliveries in one tick than any election needs: beyond, the protocol talks without end.
const RESTLESS: usize = 20_000;
/// How long the stand-in tries to have an epoch promised, in ticks.
const PREPARE_TICKS: u64 = 40;

/// What the stand-ins of the log say to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogMessage {
    Prepare(Ballot),
    Promise(Ballot),
    Reject {
        asked: Ballot,
        promised: Ballot,
    },
    /// The coordinator's first entry: with it the receiver's log is in that epoch.
    Entry(Ballot),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Bully(Message),
    Log(LogMessage),
}

#[derive(Debug, Clone)]
struct Flying {
    from: NodeId,
    to: NodeId,
    due: u64,
    said: Said,
}

/// What a node's log stand-in keeps on its disk.
#[derive(Debug, Clone, Copy, Default)]
struct Disk {
    promised: Option<Ballot>,
    epoch: Option<Ballot>,
    counter: u64,
}

#[derive(Debug, Default)]
struct Node {
    /// Absent while it is down.
    bully: Option<Bully>,
    /// Its process stands still; what arrives waits.
    stopped: bool,
    disk: Disk,
    /// The epoch that it asks for, since when, and who has promised it.
    preparing: Option<(Ballot, u64, BTreeSet<NodeId>)>,
    lives: u64,
}

/// The table.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    rng: Pcg64Mcg,
    seed: u64,
    members: Members,
    options: Options,
    /// The longest delay of a message, in ticks.
    pub(super) delay: u64,
    nodes: BTreeMap<NodeId, Node>,
    flying: Vec<Flying>,
    /// Links that carry nothing, from and to.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// Kinds of messages that are lost, from and to.
    lossy: BTreeSet<(NodeId, NodeId, &'static str)>,
    promised: BTreeMap<Ballot, BTreeSet<NodeId>>,
    /// Every epoch in which somebody coordinated, in the order in which they began.
    pub(super) epochs: Vec<Ballot>,
    /// Messages sent so far, by kind; heartbeats that nothing but the clock asked for not included.
    pub(super) sent: BTreeMap<&'static str, u64>,
    /// The last number of an election that a node sent, and the one before.
    pub(super) numbers: BTreeMap<NodeId, (u64, u64)>,
    /// What happened, one line each.
    pub(super) text: String,
    pub(super) shows_heartbeats: bool,
}

impl World {
    /// Nodes 8000, 8001 and so on, all down.
    pub(super) fn new(count: u32, options: Options, seed: u64) -> Self {
        let members = Members::new((8000..8000 + count).filter_map(NodeId::new)).unwrap();
        Self {
            now: 0,
            rng: Pcg64Mcg::seed_from_u64(seed),
            seed,
            nodes: members.iter().map(|id| (id, Node::default())).collect(),
            members,
            options,
            delay: 0,
            flying: Vec::new(),
            cuts: BTreeSet::new(),
            lossy: BTreeSet::new(),
            promised: BTreeMap::new(),
            epochs: Vec::new(),
            sent: BTreeMap::new(),
            numbers: BTreeMap::new(),
            text: String::new(),
            shows_heartbeats: false,
        }
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn bully(&self, id: NodeId) -> Option<&Bully> {
        self.nodes[&id].bully.as_ref()
    }

    pub(super) fn coordinator(&self, id: NodeId) -> Option<Ballot> {
        self.bully(id).and_then(Bully::coordinator).map(|(_, epoch)| epoch)
    }

    // What a script or a test does.

    pub(super) fn start(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.lives += 1;
        let rng = Pcg64Mcg::seed_from_u64(self.seed ^ u64::from(id.number()) << 8 ^ node.lives);
        let mut bully = Bully::new(id, self.members.clone(), self.options, rng);
        bully.set_rank(node.disk.epoch, node.disk.counter);
        node.bully = Some(bully);
    }

    pub(super) fn start_all(&mut self) {
        self.ids().into_iter().for_each(|id| self.start(id));
    }

    /// The process dies. Whoever has a link in both directions sees its connections closed, unless the machine died too.
    pub(super) fn crash(&mut self, id: NodeId, silently: bool) {
        let node = self.nodes.get_mut(&id).unwrap();
        (node.bully, node.stopped, node.preparing) = (None, false, None);
        self.say(id, "crashes");
        if silently {
            return;
        }
        for other in self.ids() {
            if other != id && !self.cuts.contains(&(id, other)) && !self.cuts.contains(&(other, id)) {
                self.disconnect(other, id);
            }
        }
    }

    /// `at` sees the connections of a peer closed.
    pub(super) fn disconnect(&mut self, at: NodeId, peer: NodeId) {
        self.step(at, |bully, out| bully.disconnected(peer, out));
    }

    pub(super) fn stop(&mut self, id: NodeId, stopped: bool) {
        self.nodes.get_mut(&id).unwrap().stopped = stopped;
    }

    pub(super) fn know(&mut self, id: NodeId, epoch: Option<Ballot>, counter: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        (node.disk.epoch, node.disk.counter) = (epoch.or(node.disk.epoch), counter);
        if let Some(bully) = &mut node.bully {
            bully.set_rank(node.disk.epoch, counter);
        }
    }

    /// Promised to somebody whom nobody has heard of since.
    pub(super) fn promise(&mut self, id: NodeId, epoch: Ballot) {
        self.nodes.get_mut(&id).unwrap().disk.promised = Some(epoch);
    }

    pub(super) fn elect(&mut self, id: NodeId) {
        self.step(id, Bully::elect);
    }

    pub(super) fn set_members(&mut self, members: &Members) {
        self.members = members.clone();
        for id in members.iter() {
            if let Entry::Vacant(entry) = self.nodes.entry(id) {
                entry.insert(Node::default());
                self.start(id);
            }
        }
        for id in self.ids() {
            self.step(id, |bully, out| bully.set_members(members, None, out));
        }
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
        self.flying.retain(|flying| (flying.from, flying.to) != (from, to));
    }

    pub(super) fn heal(&mut self, from: NodeId, to: NodeId) {
        self.cuts.remove(&(from, to));
    }

    /// Only these pairs hear each other.
    pub(super) fn only(&mut self, pairs: &[(NodeId, NodeId)]) {
        for from in self.ids() {
            for to in self.ids() {
                if from != to {
                    if pairs.contains(&(from, to)) || pairs.contains(&(to, from)) {
                        self.heal(from, to);
                    } else {
                        self.cut(from, to);
                    }
                }
            }
        }
    }

    pub(super) fn lose(&mut self, from: NodeId, to: NodeId, kind: &'static str) {
        self.lossy.insert((from, to, kind));
    }

    pub(super) fn lose_nothing(&mut self) {
        self.lossy.clear();
    }

    /// Time passes.
    pub(super) fn tick(&mut self) {
        self.now += 1;
        self.deliver();
        for id in self.ids() {
            if !self.nodes[&id].stopped {
                self.step(id, Bully::on_tick);
                self.give_up_preparing(id);
            }
        }
        self.deliver();
    }

    /// Delivers what is due, and what follows from it without delay.
    pub(super) fn deliver(&mut self) {
        for _ in 0..RESTLESS {
            let due = |flying: &Flying| flying.due <= self.now && !self.nodes[&flying.to].stopped;
            let next = self.flying.iter().enumerate().filter(|(_, flying)| due(flying)).min_by_key(|(_, f)| f.due);
            let Some((at, _)) = next else { return };
            let Flying { from, to, said, .. } = self.flying.remove(at);
            self.hand_over(from, to, said);
        }
        panic!("the cluster does not come to rest within a tick");
    }

    /// A message that somebody may never have sent.
    pub(super) fn hand_over(&mut self, from: NodeId, to: NodeId, said: Said) {
        match said {
            Said::Bully(message) => self.step(to, |bully, out| bully.on_message(from, message, out)),
            Said::Log(message) if self.bully(to).is_some() => self.on_log_message(from, to, message),
            Said::Log(_) => {}
        }
    }

    // How it goes on.

    fn step(&mut self, id: NodeId, input: impl FnOnce(&mut Bully, &mut Out)) {
        let Some(bully) = self.nodes.get_mut(&id).and_then(|node| node.bully.as_mut()) else { return };
        let mut out = Out::default();
        let (before, asked) = (bully.phase.clone(), bully.asked);
        input(bully, &mut out);
        bully.check_invariants();
        let won = bully.take_victory();
        assert!(!bully.take_victory(), "{id}: a victory is taken once");
        let phase = bully.phase.clone();
        let periodic = bully.asked == asked && bully.now == self.now && before == phase;
        if std::mem::discriminant(&before) != std::mem::discriminant(&phase) || followed(&before) != followed(&phase) {
            self.say(id, &show::phase(&phase));
        }
        for effect in out.drain() {
            match effect {
                Effect::Send { to, message: AnyMessage::Bully(message) } => {
                    self.send(id, to, Said::Bully(message), periodic)
                }
                Effect::Notify(Event::Ignored { from, reason }) => self.say(id, &format!("ignores {from}: {reason}")),
                other => panic!("{id}: an election has no such effect: {other:?}"),
            }
        }
        if let Phase::Coordinating { epoch, .. } = phase
            && !self.epochs.contains(&epoch)
        {
            let promised = &self.promised[&epoch];
            assert!(promised.len() >= self.members.majority(), "{epoch} was promised by {promised:?} only");
            assert!(self.epochs.last() < Some(&epoch), "{epoch} begins after {:?}", self.epochs);
            self.epochs.push(epoch);
        }
        if won {
            self.prepare(id);
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, said: Said, periodic: bool) {
        let kind = show::kind(&said);
        if kind != "heartbeat" || !periodic {
            *self.sent.entry(kind).or_default() += 1;
        }
        if let Said::Bully(Message::Election(election)) = &said {
            let numbers = self.numbers.entry(from).or_default();
            if numbers.0 != election.number {
                *numbers = (election.number, numbers.0);
            }
        }
        let lost = if self.cuts.contains(&(from, to)) || self.lossy.contains(&(from, to, kind)) {
            " is lost"
        } else if self.bully(to).is_none() {
            " is lost: it is down"
        } else {
            ""
        };
        if (kind != "heartbeat" || self.shows_heartbeats)
            && let Some(shown) = show::said(&said)
        {
            self.say(from, &format!("→ {to} {shown}{lost}"));
        }
        if lost.is_empty() {
            let delay = if self.delay == 0 { 0 } else { self.rng.random_range(0..=self.delay) };
            self.flying.push(Flying { from, to, due: self.now + delay, said });
        }
    }

    fn say(&mut self, id: NodeId, what: &str) {
        writeln!(self.text, "{:>3} {id} {what}", self.now).unwrap();
    }

    // The stand-in for the log.

    fn prepare(&mut self, id: NodeId) {
        let disk = &mut self.nodes.get_mut(&id).unwrap().disk;
        let epoch = Ballot { round: disk.promised.map_or(0, |promised| promised.round) + 1, node: id };
        disk.promised = Some(epoch);
        self.say(id, &format!("asks for epoch {epoch}"));
        self.promised.insert(epoch, BTreeSet::from([id]));
        self.nodes.get_mut(&id).unwrap().preparing = Some((epoch, self.now, BTreeSet::from([id])));
        for other in self.members.clone().others(id) {
            self.send(id, other, Said::Log(LogMessage::Prepare(epoch)), false);
        }
        self.established_if_promised(id);
    }

    fn give_up_preparing(&mut self, id: NodeId) {
        if let Some((epoch, since, _)) = self.nodes[&id].preparing
            && self.now - since >= PREPARE_TICKS
        {
            self.nodes.get_mut(&id).unwrap().preparing = None;
            self.say(id, &format!("gives up epoch {epoch}"));
            self.step(id, |bully, out| bully.deposed(epoch, out));
        }
    }

    fn on_log_message(&mut self, from: NodeId, to: NodeId, message: LogMessage) {
        let node = self.nodes.get_mut(&to).unwrap();
        match message {
            LogMessage::Prepare(epoch) => match node.disk.promised {
                Some(promised) if promised > epoch => {
                    self.say(to, &format!("refuses epoch {epoch}, has promised {promised}"));
                    self.send(to, from, Said::Log(LogMessage::Reject { asked: epoch, promised }), false);
                }
                _ => {
                    node.disk.promised = Some(epoch);
                    node.preparing = None;
                    self.promised.entry(epoch).or_default().insert(to);
                    self.send(to, from, Said::Log(LogMessage::Promise(epoch)), false);
                    self.step(to, |bully, out| {
                        if bully.coordinated().is_some_and(|own| own < epoch) {
                            bully.deposed(epoch, out);
                        }
                    });
                }
            },
            LogMessage::Promise(epoch) => {
                if let Some((asked, _, promised)) = &mut node.preparing
                    && *asked == epoch
                {
                    promised.insert(from);
                    self.established_if_promised(to);
                }
            }
            LogMessage::Reject { asked, promised } => {
                if node.preparing.as_ref().is_some_and(|(epoch, ..)| *epoch == asked) {
                    node.preparing = None;
                    node.disk.promised = node.disk.promised.max(Some(promised));
                    self.step(to, |bully, out| bully.deposed(promised, out));
                }
            }
            LogMessage::Entry(epoch) if node.disk.promised <= Some(epoch) => {
                node.disk.promised = Some(epoch);
                self.know(to, Some(epoch), 1);
            }
            LogMessage::Entry(_) => {}
        }
    }

    fn established_if_promised(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let majority = self.members.majority();
        let Some((epoch, ..)) = node.preparing.take_if(|(_, _, promised)| promised.len() >= majority) else { return };
        self.know(id, Some(epoch), 1);
        self.step(id, |bully, out| bully.established(epoch, out));
        for other in self.members.clone().others(id) {
            self.send(id, other, Said::Log(LogMessage::Entry(epoch)), false);
        }
    }
}

/// The epoch of a phase that has one.
const fn followed(phase: &Phase) -> Option<Ballot> {
    match phase {
        Phase::Following { epoch } | Phase::Coordinating { epoch, .. } => Some(*epoch),
        _ => None,
    }
}
