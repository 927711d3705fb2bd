//! Gates: per kind of message and receiver, a node's outgoing messages are held until they are let go.
//!
//! A gate stands in the sending node, before the queue of the receiver, and also between a proposer and its own
//! acceptor; answers travel back with the call and pass no gate. A gate opens by itself after a while, so that a shell
//! that was killed leaves no cluster stuck.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::protocol::types::NodeId;
use crate::rpc::peers::{Kind, Outgoing};

/// Held messages per gate: what comes when it is full is dropped, as a network would.
const MAX_HELD: usize = 1024;

/// All gates of a node.
#[derive(Debug, Default)]
pub struct Gates {
    /// Whether any gate stands: a node without gates does not take the lock.
    any: AtomicBool,
    gates: Mutex<BTreeMap<(Kind, NodeId), Gate>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Gate {
    held: VecDeque<(Instant, Outgoing)>,
    opens_at: Instant,
}

/// The message that is held the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Its kind.
    pub kind: Kind,
    /// Addressed to whom.
    pub to: NodeId,
    /// For how long it is held.
    pub waiting: Duration,
}

/// One gate as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which messages it holds.
    pub kind: Kind,
    /// Addressed to whom.
    pub to: NodeId,
    /// How many are held.
    pub held: usize,
}

impl Gates {
    /// Closes a gate for at most `for_at_most`; closing it again prolongs it.
    pub fn hold(&self, kind: Kind, to: NodeId, for_at_most: Duration) {
        let mut gates = self.gates.lock();
        let opens_at = Instant::now() + for_at_most;
        gates.entry((kind, to)).or_insert_with(|| Gate { held: VecDeque::new(), opens_at }).opens_at = opens_at;
        self.any.store(true, Ordering::Release);
    }

    /// Passes a message, or keeps it, which whoever asks is told.
    #[must_use]
    pub fn admit(&self, outgoing: Outgoing, keeps: impl FnOnce(&Outgoing)) -> Option<Outgoing> {
        if !self.any.load(Ordering::Acquire) {
            return Some(outgoing);
        }
        let mut gates = self.gates.lock();
        let (kind, to) = (outgoing.kind(), outgoing.to);
        let standing = [(kind, to), (Kind::All, to)].into_iter().find(|gate| gates.contains_key(gate));
        let Some(gate) = standing.filter(|_| kind != Kind::Answer).and_then(|gate| gates.get_mut(&gate)) else {
            return Some(outgoing);
        };
        if gate.held.len() < MAX_HELD {
            keeps(&outgoing);
            gate.held.push_back((Instant::now(), outgoing));
        }
        self.changed.notify_all();
        None
    }

    /// Takes out the first messages that a gate holds, at most so many; the gate stays closed.
    #[must_use]
    pub fn let_through(&self, kind: Kind, to: NodeId, count: usize) -> Vec<Outgoing> {
        let mut gates = self.gates.lock();
        let Some(gate) = gates.get_mut(&(kind, to)) else { return Vec::new() };
        let count = count.min(gate.held.len());
        gate.held.drain(..count).map(|(_, outgoing)| outgoing).collect()
    }

    /// Opens a gate and takes out what it held.
    #[must_use]
    pub fn open(&self, kind: Kind, to: NodeId) -> Vec<Outgoing> {
        let mut gates = self.gates.lock();
        let gate = gates.remove(&(kind, to));
        self.any.store(!gates.is_empty(), Ordering::Release);
        gate.map(|gate| gate.held.into_iter().map(|(_, outgoing)| outgoing).collect()).unwrap_or_default()
    }

    /// Opens all gates and takes out what they held.
    #[must_use]
    pub fn open_all(&self) -> Vec<Outgoing> {
        self.open_where(|_| true)
    }

    /// Opens the gates whose time is up, and takes out what they held.
    #[must_use]
    pub fn open_expired(&self) -> Vec<Outgoing> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let now = Instant::now();
        self.open_where(|gate| gate.opens_at <= now)
    }

    fn open_where(&self, opens: impl Fn(&Gate) -> bool) -> Vec<Outgoing> {
        let mut gates = self.gates.lock();
        let mut released = Vec::new();
        gates.retain(|_, gate| {
            let opens = opens(gate);
            if opens {
                released.extend(gate.held.drain(..));
            }
            !opens
        });
        self.any.store(!gates.is_empty(), Ordering::Release);
        self.changed.notify_all();
        // In the order in which they were held, whichever gate held them.
        released.sort_by_key(|(since, _)| *since);
        released.into_iter().map(|(_, outgoing)| outgoing).collect()
    }

    /// Waits until a gate holds so many messages, and says how many it holds: fewer if the time was up, or the gate
    /// opened.
    #[must_use]
    pub fn wait_for(&self, kind: Kind, to: NodeId, count: usize, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        let mut gates = self.gates.lock();
        loop {
            let held = gates.get(&(kind, to)).map(|gate| gate.held.len());
            match held {
                Some(held) if held < count => {
                    if self.changed.wait_until(&mut gates, deadline).timed_out() {
                        return gates.get(&(kind, to)).map_or(0, |gate| gate.held.len());
                    }
                }
                held => return held.unwrap_or(0),
            }
        }
    }

    /// The message that is held the longest, whichever gate holds it.
    #[must_use]
    pub fn next(&self) -> Option<Next> {
        let gates = self.gates.lock();
        let first = |(&(kind, to), gate): (&(Kind, NodeId), &Gate)| Some((gate.held.front()?.0, kind, to));
        let (since, kind, to) = gates.iter().filter_map(first).min_by_key(|(since, ..)| *since)?;
        Some(Next { kind, to, waiting: since.elapsed() })
    }

    /// All gates that stand.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let gates = self.gates.lock();
        gates.iter().map(|(&(kind, to), gate)| Standing { kind, to, held: gate.held.len() }).collect()
    }
}
