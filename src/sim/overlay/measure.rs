//! What the overlays cost and bear, as they grow: routes, messages, balance, and nodes that come and go.
//!
//! Everything is drawn from one seed: the same seed and size give the same figures.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::net::{Member, Net, Outcome, id};
use crate::protocol::overlay::chord::{Chord, Phase};
use crate::protocol::overlay::flood::Flood;
use crate::protocol::overlay::index::Index;
use crate::protocol::overlay::ring::Ring;
use crate::protocol::overlay::{Call, Key, Options};
use crate::protocol::types::{NodeId, RequestId, Value};

/// The ring doubles in waves, each of so many ticks.
const WAVE_TICKS: u64 = 300;
/// After the last wave, so long until all fingers point where they should.
const SETTLE_TICKS: u64 = 2500;
/// Keys in the ring.
const KEYS: u32 = 2000;
/// Nodes that join, to see what each moves.
const NEWCOMERS: u32 = 20;
/// After they came, so long until all copies are where they should be.
const NEWCOMERS_TICKS: u64 = 600;
/// So many nodes in a hundred are replaced, in at most as many steps ...
pub const CHURN_PERCENT: u32 = 20;
/// ... each of so many ticks.
const CHURN_TICKS: u64 = 250;
/// A call may take so long while nodes come and go.
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

/// What happened while nodes came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Churn {
    /// Nodes that crashed, or left.
    pub gone: u32,
    /// Lookups made meanwhile.
    pub lookups: usize,
    /// Of those, how many did not find a key that was set.
    pub lost: usize,
    /// Keys of which no copy was left anywhere.
    pub without_copy: usize,
}

/// The figures of one size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// How many nodes there are.
    pub nodes: u32,
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
    pub at_once: Churn,
    /// Protocol messages delivered.
    pub delivered: u64,
}

/// How much work a size is, in nodes times ticks: what `progress` counts.
#[must_use]
pub fn work(nodes: u32) -> u64 {
    let churn = u64::from(churn_steps(nodes)) * CHURN_TICKS;
    u64::from(nodes) * (WAVE_TICKS * 2 + SETTLE_TICKS + NEWCOMERS_TICKS + 2 * CHURN_TICKS + churn + 400)
}

fn churn_steps(nodes: u32) -> u32 {
    (nodes * CHURN_PERCENT / 100).clamp(1, CHURN_PERCENT)
}

/// Measures one size; tells how many nodes times ticks have passed.
pub fn measure(nodes: u32, seed: u64, progress: &(dyn Fn(u64) + Sync)) -> Figures {
    let mut figures = Figures { nodes, balance: [1, 0, 32].map(|points| balance(nodes, points)), ..Figures::default() };
    ring(&mut figures, seed, progress);
    flood(&mut figures, seed, progress);
    index(&mut figures, seed, progress);
    figures
}

fn balance(nodes: u32, virtual_nodes: u32) -> Balance {
    let virtual_nodes = if virtual_nodes == 0 { Options::default().chord.virtual_nodes } else { virtual_nodes };
    let mut ring = Ring::default();
    (1..=nodes).for_each(|node| ring.add(id(node), virtual_nodes));
    let shares: Vec<f64> = ring.shares().into_values().map(|share| share * f64::from(nodes)).collect();
    let variance = shares.iter().map(|share| (share - 1.0).powi(2)).sum::<f64>() / f64::from(nodes);
    Balance { virtual_nodes, largest: shares.into_iter().fold(0.0, f64::max), deviation: variance.sqrt() }
}

fn name(number: u32) -> Key {
    // Far below the longest key.
    Key::new(&format!("key {number}")).unwrap_or_else(|| unreachable!("a short text is a key"))
}

fn value() -> Value {
    Value::new("<int>5</int>")
}

/// A network under measurement.
struct Run<'a, P> {
    net: Net<P>,
    rng: Pcg64Mcg,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<P: Member> Run<'_, P> {
    fn ticks(&mut self, ticks: u64) {
        let nodes = self.net.running().count() as u64;
        for _ in 0..ticks {
            self.net.tick();
        }
        (self.progress)(nodes * ticks);
    }

    fn up(&self) -> Vec<NodeId> {
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
    let up = run.up();
    let sets = (0..KEYS).map(|number| Call::Set { key: name(number), value: value() });
    run.all(sets, &up);
    // A get asks all owners for their versions: that is no part of the lookup.
    let outcomes = run.look_up(0..KEYS);
    let replicas = Options::default().chord.replicas.min(figures.nodes as usize);
    let messages: usize = outcomes.iter().flatten().map(|answer| answer.messages - 2 * replicas).sum();
    figures.chord = lookups(&outcomes, messages as f64 / outcomes.len() as f64);
    figures.moved = run.newcomers();
    figures.churn = run.churn(figures.nodes);
    figures.at_once = run.lose_at_once(figures.nodes);
    figures.delivered = run.net.delivered;
}

impl Run<'_, Chord> {
    /// Those that are part of the ring.
    fn joined(&self) -> Vec<NodeId> {
        self.net.running().filter(|(_, node)| *node.phase() == Phase::Joined).map(|(id, _)| id).collect()
    }

    /// Gets these keys from anywhere in the ring.
    fn look_up_in_ring(&mut self, keys: impl IntoIterator<Item = u32>) -> Vec<Outcome> {
        let joined = self.joined();
        let calls: Vec<Call> = keys.into_iter().map(|key| Call::Get { key: name(key) }).collect();
        self.all(calls, &joined)
    }

    /// A node joins, which knows some of those that are part of the ring.
    fn join(&mut self) -> NodeId {
        let mut joined = self.joined();
        let contacts = joined.partial_shuffle(&mut self.rng, CONTACTS).0.to_vec();
        self.net.add(contacts)
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

    /// The part of all copies that a newcomer gets.
    fn newcomers(&mut self) -> f64 {
        let newcomers: Vec<NodeId> = (0..NEWCOMERS).map(|_| self.join()).collect();
        self.ticks(NEWCOMERS_TICKS);
        let held =
            newcomers.iter().filter_map(|&node| self.net.node(node)).map(|node| node.items().len()).sum::<usize>();
        let all = KEYS as usize * Options::default().chord.replicas;
        held as f64 / all as f64 / f64::from(NEWCOMERS)
    }

    /// A fifth of the nodes go, half of them without a word, and as many come; meanwhile keys are looked up.
    fn churn(&mut self, nodes: u32) -> Churn {
        let mut churn = Churn::default();
        let steps = churn_steps(nodes);
        let each = (nodes * CHURN_PERCENT / 100).div_ceil(steps).max(1);
        for step in 0..steps {
            let mut up = self.joined();
            up.shuffle(&mut self.rng);
            for (number, &node) in up.iter().take(each as usize).enumerate() {
                if (number + step as usize).is_multiple_of(2) {
                    self.net.crash(node);
                } else {
                    let request = self.net.name();
                    self.net.step(node, |node, out| node.leave(request, DEADLINE_TICKS, out));
                }
                churn.gone += 1;
            }
            (0..each).for_each(|_| _ = self.join());
            let keys: Vec<u32> = (0..100).map(|_| self.rng.random_range(0..KEYS)).collect();
            let before = self.net.now();
            let outcomes = self.look_up_in_ring(keys);
            churn.lookups += outcomes.len();
            churn.lost += outcomes.iter().filter(|outcome| !has_value(outcome)).count();
            self.ticks(CHURN_TICKS.saturating_sub(self.net.now() - before));
            // Who has left goes home.
            let left = |node: &Chord| *node.phase() == Phase::Left;
            let gone: Vec<NodeId> = self.net.running().filter(|(_, node)| left(node)).map(|(id, _)| id).collect();
            gone.into_iter().for_each(|node| self.net.crash(node));
        }
        let outcomes = self.look_up_in_ring(0..KEYS);
        churn.lookups += outcomes.len();
        churn.lost += outcomes.iter().filter(|outcome| !has_value(outcome)).count();
        churn.without_copy = self.without_copy();
        churn
    }

    /// A fifth of the nodes are gone in one moment.
    fn lose_at_once(&mut self, nodes: u32) -> Churn {
        self.ticks(CHURN_TICKS);
        let mut up = self.up();
        up.shuffle(&mut self.rng);
        let gone = nodes * CHURN_PERCENT / 100;
        up.iter().take(gone as usize).for_each(|&node| self.net.crash(node));
        let without_copy = self.without_copy();
        let outcomes = self.look_up_in_ring(0..KEYS);
        let lost = outcomes.iter().filter(|outcome| !has_value(outcome)).count();
        Churn { gone, lookups: outcomes.len(), lost, without_copy }
    }

    fn without_copy(&self) -> usize {
        let mut there = vec![false; KEYS as usize];
        for (_, node) in self.net.running() {
            for (key, _) in node.items().iter() {
                let number = key.as_str().strip_prefix("key ").and_then(|number| number.parse::<usize>().ok());
                if let Some(there) = number.and_then(|number| there.get_mut(number)) {
                    *there = true;
                }
            }
        }
        there.into_iter().filter(|there| !there).count()
    }
}

fn has_value(outcome: &Outcome) -> bool {
    outcome.as_ref().is_ok_and(|answer| answer.value.is_some())
}

fn flood(figures: &mut Figures, seed: u64, progress: &(dyn Fn(u64) + Sync)) {
    let nodes = figures.nodes;
    let net: Net<Flood> = Net::new(Options::default(), seed);
    let mut run = Run { net, rng: Pcg64Mcg::seed_from_u64(seed ^ 2), progress };
    for node in 1..=nodes {
        let known: std::collections::BTreeSet<u32> =
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
        assert_eq!(figures.chord.found, figures.chord.count);
        let bound = 0.5 * f64::from(60).log2() + 1.0;
        assert!(figures.chord.hops.median as f64 <= bound, "{:?}", figures.chord);
        assert_eq!((figures.churn.lost, figures.churn.gone), (0, 12), "{:?}", figures.churn);
        assert_eq!(figures.at_once.lost, figures.at_once.without_copy, "{:?}", figures.at_once);
        assert!(figures.moved > 0.25 / 60.0 && figures.moved < 2.0 / 60.0, "{}", figures.moved);
        assert_eq!(figures.flood.found, figures.flood.count);
        assert!(figures.flood.messages > 60.0, "{:?}", figures.flood);
        assert_eq!((figures.index.found, figures.index.hops.max), (200, 2));
        assert_eq!(measure(60, 1, &|_| {}), figures);
        assert_ne!(measure(60, 2, &|_| {}), figures);
    }
}
