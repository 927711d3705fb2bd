//! What must come about when all nodes are in touch again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Call, Failure, KEYS, Key, KeyCall, Ledger, Members, NodeId, Options, RequestId, Which, name};
use crate::protocol::host::Host;
use crate::protocol::overlay::chord::Phase;
use crate::protocol::overlay::ring::{Position, Ring};
use crate::protocol::overlay::{Overlay, Stamp};
use crate::protocol::types::Value;

/// A call of the calm is answered in time.
const DEADLINE_TICKS: u64 = 300;

/// Asks for all there is of one overlay, again and again, until every answer is as it must be.
#[derive(Debug)]
pub(super) struct Sweep {
    which: Which,
    members: Vec<NodeId>,
    /// Counts the steps of all sweeps.
    step: usize,
    waiting: Option<(RequestId, Expected)>,
    /// What was wrong in this sweep.
    wrong: Option<String>,
    /// What was wrong in the last one that was completed; `None` before.
    last: Option<Result<(), String>>,
    /// What each node set in this sweep.
    set: BTreeMap<usize, Value>,
}

/// What an answer must be.
#[derive(Debug, Clone)]
enum Expected {
    Done,
    Newest(Key),
    Value(Option<Value>),
}

impl Sweep {
    pub(super) fn new(which: Which, members: &Members) -> Self {
        let (waiting, wrong, last) = (None, None, None);
        Self { which, members: members.iter().collect(), step: 0, waiting, wrong, last, set: BTreeMap::new() }
    }

    /// The next call, unless one is being waited for: all join, all keys are asked for, each node sets a key and the next
    /// one is asked for it.
    pub(super) fn next(&mut self, request: RequestId, value: Value) -> Option<(NodeId, Call)> {
        if self.waiting.is_some() {
            return None;
        }
        let nodes = self.members.len();
        let (sweep, at) = (self.step / (3 * nodes + KEYS), self.step % (3 * nodes + KEYS));
        self.step += 1;
        let seek = |call| Call::Seek { request, which: self.which, call, deadline_ticks: DEADLINE_TICKS };
        let own = |at: usize| Key::new(&format!("of node {at}")).expect("a short text is a key");
        let (node, call, expected) = if at < nodes {
            let joins = Call::Move { request, joins: true, deadline_ticks: DEADLINE_TICKS };
            (at, joins, Expected::Done)
        } else if at < nodes + KEYS {
            let key = name(at - nodes);
            (at + sweep, seek(KeyCall::Get { key: key.clone() }), Expected::Newest(key))
        } else if at < 2 * nodes + KEYS {
            let node = at - nodes - KEYS;
            self.set.insert(node, value.clone());
            (node, seek(KeyCall::Set { key: own(node), value }), Expected::Done)
        } else {
            let node = at - 2 * nodes - KEYS;
            (node + 1 + sweep, seek(KeyCall::Get { key: own(node) }), Expected::Value(self.set.remove(&node)))
        };
        self.waiting = Some((request, expected));
        Some((self.members[node % nodes], call))
    }

    pub(super) fn answered(
        &mut self,
        generation: u64,
        request: RequestId,
        result: &Result<Answer, Failure>,
        ledger: &Ledger,
    ) {
        let Some((_, expected)) = self.waiting.take_if(|(waiting, _)| *waiting == request) else { return };
        let fits = result.as_ref().is_ok_and(|answer| match &expected {
            Expected::Done => true,
            Expected::Value(value) => answer.value == *value,
            Expected::Newest(key) => is_newest(self.which, generation, key, answer.value.as_ref(), ledger),
        });
        if !fits && self.wrong.is_none() {
            self.wrong = Some(format!("{:?}, asked in the calm, says {result:?}, not {expected:?}", self.which));
        }
        if self.step.is_multiple_of(3 * self.members.len() + KEYS) {
            self.last = Some(self.wrong.take().map_or(Ok(()), Err));
        }
    }

    pub(super) fn settled(&self) -> Result<(), String> {
        self.last.clone().unwrap_or_else(|| {
            let why = self.wrong.clone().unwrap_or_else(|| format!("step {}", self.step));
            Err(format!("not all questions about {:?} have been asked: {why}", self.which))
        })
    }
}

fn is_newest(which: Which, generation: u64, key: &Key, found: Option<&Value>, ledger: &Ledger) -> bool {
    match which {
        Which::Dht => ledger.newest(generation, which, key).and_then(|(_, value)| value) == found,
        // What was removed may come back, of a node that was out of reach.
        Which::Flood => {
            ledger.may_be_removed(generation, which, key)
                || ledger.newest(generation, which, key).and_then(|(_, value)| value) == found
        }
        Which::Index => match (ledger.entry(generation, key), found) {
            (None, found) => found.is_none(),
            (Some(entry), Some(found)) => ledger.entered_values(generation, key, entry).contains(found),
            (Some(_), None) => false,
        },
    }
}

/// Whether everything is where it should be.
pub(super) fn is_in_order(core: &[&Host], options: Options, ledger: &Ledger) -> Result<(), String> {
    let generations: BTreeSet<u64> = core.iter().map(|host| host.generation()).collect();
    let [generation] = *generations.iter().copied().collect::<Vec<_>>() else {
        return Err(format!("the nodes live in the generations {generations:?}"));
    };
    let nodes: BTreeMap<NodeId, &Overlay> = core.iter().filter_map(|host| Some((host.id(), host.overlay()?))).collect();
    let ring = ring(&nodes, options)?;
    copies(&nodes, &ring, options, generation, ledger)?;
    floods(&nodes, generation, ledger)?;
    entries(&nodes, generation, ledger)
}

/// The ring as a sorted map has it, if the nodes have the same one.
fn ring(nodes: &BTreeMap<NodeId, &Overlay>, options: Options) -> Result<Ring, String> {
    let mut ring = Ring::default();
    for (&node, overlay) in nodes {
        if *overlay.chord().phase() != Phase::Joined {
            return Err(format!("{node} is not part of the ring, but {:?}", overlay.chord().phase()));
        }
        ring.add(node, options.chord.virtual_nodes);
    }
    let before: BTreeMap<Position, Position> =
        ring.points().filter_map(|point| Some((ring.after(point.at)?.at, point.at))).collect();
    for (node, overlay) in nodes {
        for table in overlay.chord().virtuals() {
            // The only point of all is its own neighbour, and so has none.
            let next = ring.after(table.at).filter(|next| next.at != table.at);
            let first = table.successors.first().copied();
            if first != next {
                return Err(format!("behind {node} at {} comes {first:?}, not {next:?}", table.at));
            }
            let known = table.predecessor.map(|(point, _)| point.at);
            let last = before.get(&table.at).copied().filter(|last| *last != table.at);
            if known != last {
                return Err(format!("before {node} at {} comes {known:?}, not {last:?}", table.at));
            }
        }
    }
    Ok(ring)
}

/// Each key of the hash table is held by its owners, in its newest version, and by nobody else.
fn copies(
    nodes: &BTreeMap<NodeId, &Overlay>,
    ring: &Ring,
    options: Options,
    generation: u64,
    ledger: &Ledger,
) -> Result<(), String> {
    for key in ledger.keys(generation, Which::Dht) {
        let newest = ledger.newest(generation, Which::Dht, &key).map(|(stamp, _)| stamp);
        let owners: BTreeSet<NodeId> = ring.owners(key.position(), options.chord.replicas).into_iter().collect();
        for (node, overlay) in nodes {
            let held = overlay.chord().items().version(&key).map(|version| version.stamp);
            let should = newest.filter(|_| owners.contains(node));
            if held != should {
                return Err(format!("{node} holds {held:?} of '{key}', and should hold {should:?}"));
            }
        }
    }
    Ok(())
}

/// What nobody removed is still there.
fn floods(nodes: &BTreeMap<NodeId, &Overlay>, generation: u64, ledger: &Ledger) -> Result<(), String> {
    for key in ledger.keys(generation, Which::Flood) {
        let newest = ledger.newest(generation, Which::Flood, &key).map(|(stamp, _)| stamp);
        let held = nodes.values().filter_map(|overlay| overlay.flood().items().version(&key));
        let held: Option<Stamp> = held.map(|version| version.stamp).max();
        if held != newest && !ledger.may_be_removed(generation, Which::Flood, &key) {
            return Err(format!("'{key}' is there as {held:?}, and was as {newest:?}; nobody removed it"));
        }
    }
    Ok(())
}

/// The node that the index names holds the key, and no other one does.
fn entries(nodes: &BTreeMap<NodeId, &Overlay>, generation: u64, ledger: &Ledger) -> Result<(), String> {
    for key in ledger.keys(generation, Which::Index) {
        let Some(entry) = ledger.entry(generation, &key) else { continue };
        for (node, overlay) in nodes {
            let held = overlay.index().items().version(&key).map(|version| version.stamp.counter);
            let fits = if *node == entry.node { held >= Some(entry.counter) } else { held.is_none() };
            if !fits {
                return Err(format!("{node} holds copy {held:?} of '{key}', which {entry:?} stands for"));
            }
        }
    }
    Ok(())
}
