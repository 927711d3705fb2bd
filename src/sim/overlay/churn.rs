//! Nodes that come and go, one by one or many at once, and the lookups that go on meanwhile.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::measure::{KEYS, Run, has_value, name};
use super::net::{Outcome, id};
use crate::protocol::overlay::Call;
use crate::protocol::overlay::chord::{Chord, PERIOD_TICKS, Phase};
use crate::protocol::types::{NodeId, RequestId};

/// So many nodes in a hundred are replaced ...
pub const PERCENT: u32 = 20;
/// ... one after the other, over so many rounds of stabilisation ...
pub const ROUNDS: u64 = 30;
/// ... in each of which so many keys are looked up, one after the other.
const LOOKUPS: u64 = 100;
/// A call may take so long: what a node allows when its client says nothing.
const DEADLINE_TICKS: u64 = 500;
/// A client whose call is not answered, or that is told that the key is out of reach, asks so many nodes in all.
pub const TRIES: u32 = 3;
/// After many nodes went at once, the ring is whole again in so many rounds.
pub const MEND_ROUNDS: u64 = 10;

/// What became of lookups while nodes came and went, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Churn {
    /// Nodes that crashed or left; as many came.
    pub gone: u32,
    /// Lookups.
    pub lookups: usize,
    /// How many nodes were asked once more, because another one did not answer or found nobody in reach.
    pub again: usize,
    /// Of the lookups, how many did not find a key that was set.
    pub lost: usize,
    /// Keys of which no copy was left anywhere in the end.
    pub without_copy: usize,
}

/// What became of the keys when many nodes went in one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blow {
    /// Nodes that crashed.
    pub gone: u32,
    /// Keys that had been set.
    pub keys: usize,
    /// Keys of which all copies were on those.
    pub without_copy: usize,
    /// How many keys each found that was asked at once.
    pub found_at_once: usize,
    /// And when the ring was whole again.
    pub found_later: usize,
}

/// A client that looks a key up.
struct Client {
    key: u32,
    on: NodeId,
    request: RequestId,
    tries: u32,
}

/// For how many ticks nodes come and go, or what they left behind is mended.
pub(super) const fn ticks() -> u64 {
    (ROUNDS + 2 * MEND_ROUNDS) * PERIOD_TICKS
}

impl Run<'_, Chord> {
    /// A node of the ring, drawn by chance.
    pub(super) fn anyone(&mut self) -> NodeId {
        loop {
            let node = id(self.rng.random_range(1..=self.net.places()));
            if self.is_joined(node) {
                return node;
            }
        }
    }

    fn is_joined(&self, node: NodeId) -> bool {
        self.net.node(node).is_some_and(|node| *node.phase() == Phase::Joined)
    }

    /// A fifth of the nodes go, every other one without a word, and as many come; meanwhile keys are looked up.
    pub(super) fn churn(&mut self, nodes: u32) -> Churn {
        let mut churn = Churn::default();
        let (all, ticks) = (u64::from(nodes * PERCENT).div_ceil(100), ROUNDS * PERIOD_TICKS);
        let mut clients: Vec<Client> = Vec::new();
        let mut leaving: Vec<NodeId> = Vec::new();
        for tick in 1..=ticks {
            while u64::from(churn.gone) < all * tick / ticks {
                self.replace_one(churn.gone, &mut leaving);
                churn.gone += 1;
            }
            if churn.lookups as u64 * ticks < LOOKUPS * ROUNDS * tick {
                let key = self.rng.random_range(0..KEYS);
                clients.push(self.client(key));
                churn.lookups += 1;
            }
            self.ticks(1);
            self.hear(&mut clients, &mut churn);
            // Who has left goes home.
            let net = &mut self.net;
            leaving.retain(|&node| {
                let stays = net.node(node).is_some_and(|node| *node.phase() != Phase::Left);
                if !stays {
                    net.crash(node);
                }
                stays
            });
        }
        clients.extend((0..KEYS).map(|key| self.client(key)));
        churn.lookups += KEYS as usize;
        while !clients.is_empty() {
            self.ticks(1);
            self.hear(&mut clients, &mut churn);
        }
        churn.without_copy = self.without_copy();
        churn
    }

    /// One goes, without a word or after handing over its keys, and another one comes.
    fn replace_one(&mut self, number: u32, leaving: &mut Vec<NodeId>) {
        let node = self.anyone();
        if number.is_multiple_of(2) {
            self.net.crash(node);
        } else {
            let request = self.net.name();
            self.net.step(node, |node, out| node.leave(request, DEADLINE_TICKS, out));
            leaving.push(node);
        }
        self.join();
    }

    fn client(&mut self, key: u32) -> Client {
        let on = self.anyone();
        let request = self.net.call(on, Call::Get { key: name(key) }, DEADLINE_TICKS);
        Client { key, on, request, tries: 1 }
    }

    /// What clients have been told. Whose node is gone, or finds nobody in reach, asks another one.
    fn hear(&mut self, clients: &mut Vec<Client>, churn: &mut Churn) {
        let mut waiting = Vec::with_capacity(clients.len());
        for client in clients.drain(..) {
            let outcome = self.net.take(client.request);
            let fails = match &outcome {
                Some(outcome) => outcome.is_err(),
                None => self.net.node(client.on).is_none(),
            };
            if fails && client.tries < TRIES {
                churn.again += 1;
                waiting.push(Client { tries: client.tries + 1, ..self.client(client.key) });
            } else if let Some(outcome) = outcome {
                churn.lost += usize::from(!has_value(&outcome));
            } else if fails {
                churn.lost += 1;
            } else {
                waiting.push(client);
            }
        }
        *clients = waiting;
    }

    /// A fifth of the nodes are gone in one moment.
    pub(super) fn lose_at_once(&mut self, nodes: u32) -> Blow {
        let mut up = self.up();
        up.shuffle(&mut self.rng);
        let gone = (nodes * PERCENT).div_ceil(100);
        up.iter().take(gone as usize).for_each(|&node| self.net.crash(node));
        let without_copy = self.without_copy();
        let found = |outcomes: Vec<Outcome>| outcomes.iter().filter(|outcome| has_value(outcome)).count();
        let since = self.net.now();
        let found_at_once = found(self.look_up_in_ring());
        self.ticks((since + MEND_ROUNDS * PERIOD_TICKS).saturating_sub(self.net.now()));
        let found_later = found(self.look_up_in_ring());
        Blow { gone, keys: KEYS as usize, without_copy, found_at_once, found_later }
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
