//! What the overlays cost and bear, as they grow: routes, messages, balance, and nodes that come and go.
//!
//! Everything is drawn from one seed: the same seed and size give the same figures. A ring is built as a real one is: its
//! nodes join it, each by three that it knows, in waves that double it; and by the protocol's own rounds of stabilisation
//! they find their neighbours and fingers; [`Figures::misplaced`] counts those that are wrong in the end.

use std::collections::BTreeSet;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::churn::{self, Blow, Churn};
use super::net::{Member, Net, Outcome, id};
use crate::protocol::overlay::chord::{Chord, Phase};
use crate::protocol::overlay::flood::Flood;
use crate::protocol::overlay::index::Index;
use crate::protocol::overlay::ring::{Point, Ring};
use crate::protocol::overlay::{Call, Key, Options};
use crate::protocol::types::{NodeId, RequestId, Value};

/// The ring doubles in waves, each of so many ticks.
const WAVE_TICKS: u64 = 300;
/// After the last wave, so long until all fingers point where they should.
const SETTLE_TICKS: u64 = 2000;
/// Keys in the ring.
pub(super) const KEYS: u32 = 2000;
/// Nodes that join, to see what each moves.
const NEWCOMERS: u32 = 20;
/// After they came, or went, so long until all copies are where they should be.
const NEWCOMERS_TICKS: u64 = 600;
/// A call may take so long.
const DEADLINE_TICKS: u64 = 1000;
/// Nodes that a newcomer is told of.
const CONTACTS: usize = 3;
/// Nodes that a node knows which looks for neighbours.
const ACQUAINTANCES: usize = 20;

/// Median, 99th percentile and maximum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half are not above.
    pub median: usize,
    /// 99 of 100 are not above.
    pub p99: usize,
    /// None is above.
    pub max: usize,
}

impl Spread {
    fn of(mut all: Vec<usize>) -> Self {
        all.sort_unstable();
        let at = |part: usize| all.get((all.len() * part / 100).min(all.len().saturating_sub(1))).copied().unwrap_or(0);
        Self { median: at(50), p99: at(99), max: all.last().copied().unwrap_or(0) }
    }
}

/// Lookups of one overlay.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lookups {
    /// How many there were.
    pub count: usize,
    /// How many found what was set.
    pub found: usize,
    /// Hops of those.
    pub hops: Spread,
    /// Messages per lookup, with the answers.
    pub messages: f64,
}

/// How even the ring's parts are: the largest and the spread, in parts of the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Balance {
    /// Points of each node.
    pub virtual_nodes: u32,
    /// The largest part.
    pub largest: f64,
    /// The standard deviation.
    pub deviation: f64,
}

/// The figures of one size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// How many nodes there are.
    pub nodes: u32,
    /// Neighbours and fingers that were not the right ones when the ring had been built.
    pub misplaced: usize,
    /// The hash table's lookups.
    pub chord: Lookups,
    /// Flooding's.
    pub flood: Lookups,
    /// The index's.
    pub index: Lookups,
    /// The part of all copies that one join moved to the newcomer, on average.
    pub moved: f64,
    /// How even the parts are with one point, with as many as there are, and with many.
    pub balance: [Balance; 3],
    /// A fifth of the nodes replaced, one after the other.
    pub churn: Churn,
    /// A fifth of the nodes gone at once.
    pub blow: Blow,
    /// Protocol messages delivered.
    pub delivered: u64,
}

/// How much work a size is, in nodes times ticks: what `progress` counts.
#[must_use]
pub const fn work(nodes: u32) -> u64 {
    let newcomers = 2 * NEWCOMERS_TICKS * batches(nodes) as u64;
    nodes as u64 * (WAVE_TICKS * 2 + SETTLE_TICKS + newcomers + churn::ticks() + 400)
}

/// In how many batches newcomers come.
const fn batches(nodes: u32) -> u32 {
    match nodes {
        0..40 => NEWCOMERS,
        40..400 => NEWCOMERS / 4,
        _ => 1,
    }
}

/// Measures one size; tells how many nodes times ticks have passed.
pub fn measure(nodes: u32, seed: u64, progress: &(dyn Fn(u64) + Sync)) -> Figures {
    let mut figures = Figures { nodes, balance: [1, 0, 32].map(|points| balance(nodes, points)), ..Figures::default() };
    let mut others = figures.clone();
    rayon::join(
        || ring(&mut figures, seed, progress),
        || {
            flood(&mut others, seed, progress);
            index(&mut others, seed, progress);
        },
    );
    let delivered = figures.delivered + others.delivered;
    Figures { flood: others.flood, index: others.index, delivered, ..figures }
}

fn balance(nodes: u32, virtual_nodes: u32) -> Balance {
    let virtual_nodes = if virtual_nodes == 0 { Options::default().chord.virtual_nodes } else { virtual_nodes };
    let mut ring = Ring::default();
    (1..=nodes).for_each(|node| ring.add(id(node), virtual_nodes));
    let shares: Vec<f64> = ring.shares().into_values().map(|share| share * f64::from(nodes)).collect();
    let variance = shares.iter().map(|share| (share - 1.0).powi(2)).sum::<f64>() / f64::from(nodes);
    Balance { virtual_nodes, largest: shares.into_iter().fold(0.0, f64::max), deviation: variance.sqrt() }
}

pub(super) fn name(number: u32) -> Key {
    // Far below the longest key.
    Key::new(&format!("key {number}")).unwrap_or_else(|| unreachable!("a short text is a key"))
}

fn value() -> Value {
    Value::new("<int>5</int>")
}

/// A network under measurement.
#[derive(Clone)]
pub(super) struct Run<'a, P> {
    pub(super) net: Net<P>,
    pub(super) rng: Pcg64Mcg,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<P: Member> Run<'_, P> {
    pub(super) fn ticks(&mut self, ticks: u64) {
        let before = self.net.work;
        (0..ticks).for_each(|_| self.net.tick());
        (self.progress)(self.net.work - before);
    }

    pub(super) fn up(&self) -> Vec<NodeId> {
        self.net.running().map(|(id, _)| id).collect()
    }

    /// Asks all of these at once, of nodes drawn from those that run; the outcomes in the same order.
    fn all(&mut self, calls: impl IntoIterator<Item = Call>, up: &[NodeId]) -> Vec<Outcome> {
        let mut requests: Vec<RequestId> = Vec::new();
        for call in calls {
            if let Some(&on) = up.choose(&mut self.rng) {
                requests.push(self.net.call(on, call, DEADLINE_TICKS));
            }
        }
        let mut outcomes: Vec<Option<Outcome>> = vec![None; requests.len()];
        while outcomes.iter().any(Option::is_none) {
            for (request, outcome) in requests.iter().zip(&mut outcomes) {
                if outcome.is_none() {
                    *outcome = self.net.take(*request);
                }
            }
            self.ticks(1);
        }
        outcomes.into_iter().flatten().collect()
    }

    /// Gets these keys from anywhere.
    fn look_up(&mut self, keys: impl IntoIterator<Item = u32>) -> Vec<Outcome> {
        let up = self.up();
        let calls: Vec<Call> = keys.into_iter().map(|key| Call::Get { key: name(key) }).collect();
        self.all(calls, &up)
    }
}

fn lookups(outcomes: &[Outcome], messages: f64) -> Lookups {
    let found = || outcomes.iter().flatten().filter(|answer| answer.value.is_some());
    let hops = Spread::of(found().map(|answer| answer.hops.len() - 1).collect());
    Lookups { count: outcomes.len(), found: found().count(), hops, messages }
}

fn ring(figures: &mut Figures, seed: u64, progress: &(dyn Fn(u64) + Sync)) {
    let net: Net<Chord> = Net::new(Options::default(), seed);
    let mut run = Run { net, rng: Pcg64Mcg::seed_from_u64(seed ^ 1), progress };
    run.grow(figures.nodes);
    run.ticks(SETTLE_TICKS);
    figures.misplaced = run.misplaced();
    let up = run.up();
    let sets = (0..KEYS).map(|number| Call::Set { key: name(number), value: value() });
    run.all(sets, &up);
    // A get asks all owners for their versions: that is no part of the lookup.
    let outcomes = run.look_up(0..KEYS);
    let replicas = Options::default().chord.replicas.min(figures.nodes as usize);
    let messages: usize = outcomes.iter().flatten().map(|answer| answer.messages - 2 * replicas).sum();
    figures.chord = lookups(&outcomes, messages as f64 / outcomes.len() as f64);
    figures.moved = run.newcomers(figures.nodes);
    // The same ring twice: one has its nodes replaced, the other one loses them.
    let (mut other, before) = (run.clone(), run.net.delivered);
    (figures.churn, figures.blow) = rayon::join(|| run.churn(figures.nodes), || other.lose_at_once(figures.nodes));
    figures.delivered = run.net.delivered + other.net.delivered - before;
}

impl Run<'_, Chord> {
    /// Those that are part of the ring.
    fn joined(&self) -> Vec<NodeId> {
        self.net.running().filter(|(_, node)| *node.phase() == Phase::Joined).map(|(id, _)| id).collect()
    }

    /// Gets all keys from anywhere in the ring.
    pub(super) fn look_up_in_ring(&mut self) -> Vec<Outcome> {
        let joined = self.joined();
        let calls: Vec<Call> = (0..KEYS).map(|key| Call::Get { key: name(key) }).collect();
        self.all(calls, &joined)
    }

    /// A node joins, which knows some of those that are part of the ring.
    pub(super) fn join(&mut self) -> NodeId {
        let contacts: BTreeSet<NodeId> = (0..CONTACTS).map(|_| self.anyone()).collect();
        self.net.add(contacts.into_iter().collect())
    }

    /// As many nodes join as there are, again and again.
    fn grow(&mut self, nodes: u32) {
        self.net.add(Vec::new());
        self.ticks(60);
        let mut count = 1;
        while count < nodes {
            let wave = count.min(nodes - count);
            let mut joined = self.up();
            for _ in 0..wave {
                let contacts = joined.partial_shuffle(&mut self.rng, CONTACTS).0.to_vec();
                self.net.add(contacts);
            }
            count += wave;
            self.ticks(WAVE_TICKS);
        }
    }

    /// Neighbours and fingers that are not what the ring as a sorted map has.
    fn misplaced(&self) -> usize {
        let mut ring = Ring::default();
        self.joined().into_iter().for_each(|node| ring.add(node, Options::default().chord.virtual_nodes));
        let tables = || self.net.running().flat_map(|(id, node)| node.virtuals().iter().map(move |table| (id, table)));
        let mut misplaced = 0;
        for (id, table) in tables() {
            // The only point of all is its own neighbour, and so has none.
            let next = ring.after(table.at).filter(|next| next.at != table.at);
            misplaced += usize::from(table.successors.first().copied() != next);
            let is_before = |(point, _): (Point, u64)| ring.after(point.at) == Some(Point { at: table.at, node: id });
            misplaced += usize::from(table.predecessor.is_some() != next.is_some());
            misplaced += usize::from(table.predecessor.is_some_and(|before| !is_before(before)));
            let is_right =
                |(exponent, point): &(u32, Point)| ring.after(table.start(*exponent).plus(u64::MAX)) == Some(*point);
            misplaced += table.fingers.iter().filter(|finger| !is_right(finger)).count();
        }
        misplaced
    }

    /// The part of all copies that a newcomer gets. So few come at a time that the ring hardly grows, and then they leave.
    fn newcomers(&mut self, nodes: u32) -> f64 {
        let mut held = 0;
        for _ in 0..batches(nodes) {
            let newcomers: Vec<NodeId> = (0..NEWCOMERS / batches(nodes)).map(|_| self.join()).collect();
            self.ticks(NEWCOMERS_TICKS);
            for &node in &newcomers {
                held += self.net.node(node).map_or(0, |node| node.items().len());
                let request = self.net.name();
                self.net.step(node, |node, out| node.leave(request, NEWCOMERS_TICKS, out));
            }
            self.ticks(NEWCOMERS_TICKS);
            newcomers.into_iter().for_each(|node| self.net.crash(node));
        }
        let all = KEYS as usize * Options::default().chord.replicas;
        held as f64 / all as f64 / f64::from(NEWCOMERS)
    }
}

pub(super) fn has_value(outcome: &Outcome) -> bool {
    outcome.as_ref().is_ok_and(|answer| answer.value.is_some())
}

fn flood(figures: &mut Figures, seed: u64, progress: &(dyn Fn(u64) + Sync)) {
    let nodes = figures.nodes;
    let net: Net<Flood> = Net::new(Options::default(), seed);
    let mut run = Run { net, rng: Pcg64Mcg::seed_from_u64(seed ^ 2), progress };
    for node in 1..=nodes {
        let known: BTreeSet<u32> =
            (0..ACQUAINTANCES).map(|_| run.rng.random_range(1..=nodes)).filter(|&other| other != node).collect();
        run.net.add(known.into_iter().map(id).collect());
    }
    run.ticks(250);
    // A query reaches everyone: a few are enough.
    let keys = (200_000 / nodes).clamp(20, 200);
    let up = run.up();
    run.all((0..keys).map(|number| Call::Set { key: name(number), value: value() }), &up);
    let before = run.net.asked;
    let outcomes = run.look_up(0..keys);
    figures.flood = lookups(&outcomes, (run.net.asked - before) as f64 / f64::from(keys));
    figures.delivered += run.net.delivered;
}

fn index(figures: &mut Figures, seed: u64, progress: &(dyn Fn(u64) + Sync)) {
    let net: Net<Index> = Net::new(Options::default(), seed);
    let mut run = Run { net, rng: Pcg64Mcg::seed_from_u64(seed ^ 3), progress };
    (0..figures.nodes).for_each(|_| _ = run.net.add(Vec::new()));
    let up = run.up();
    run.all((0..200).map(|number| Call::Set { key: name(number), value: value() }), &up);
    let before = run.net.asked;
    let outcomes = run.look_up(0..200);
    figures.index = lookups(&outcomes, (run.net.asked - before) as f64 / 200.0);
    figures.delivered += run.net.delivered;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixty nodes: what the goals say of ten thousand holds of them, too, and the same seed gives the same figures.
    #[test]
    fn the_goals_hold_for_sixty() {
        let figures = measure(60, 1, &|_| {});
        assert_eq!((figures.misplaced, figures.chord.found), (0, figures.chord.count));
        let bound = 0.5 * f64::from(60).log2() + 1.0;
        assert!(figures.chord.hops.median as f64 <= bound, "{:?}", figures.chord);
        assert_eq!((figures.churn.lost, figures.churn.gone), (0, 12), "{:?}", figures.churn);
        assert_eq!(figures.churn.without_copy, 0, "{:?}", figures.churn);
        assert_eq!(figures.blow.found_later + figures.blow.without_copy, KEYS as usize, "{:?}", figures.blow);
        assert!(figures.moved > 0.25 / 60.0 && figures.moved < 2.0 / 60.0, "{}", figures.moved);
        assert_eq!(figures.flood.found, figures.flood.count);
        assert!(figures.flood.messages > 60.0, "{:?}", figures.flood);
        assert_eq!((figures.index.found, figures.index.hops.max), (200, 2));
        assert_eq!(measure(60, 1, &|_| {}), figures);
        assert_ne!(measure(60, 2, &|_| {}), figures);
    }
}
