//! What happened at all nodes, for the space-time diagram.
//!
//! While a diagram is open, every node is asked for its latest events, four times a second. They get one numbering, so
//! that a page that comes back is sent what it has not seen. Times are brought to this node's clock by what each node says
//! its own is: over loopback that is right to a millisecond.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::nodes::{Caller, Nodes};
use crate::lab::trace::ring::Row;
use crate::protocol::types::NodeId;

/// How old the events may be.
const AGE: Duration = Duration::from_millis(250);
/// Events of one answer of a node.
const PAGE: u64 = 500;
/// Events that are there when a diagram is opened, of each node.
const FIRST: u64 = 60;
/// Events that a diagram shows.
const SHOWN: u64 = 600;
/// Events that are kept for pages that come back.
const KEPT: usize = 4096;

/// The events of all nodes.
pub(super) struct Tracer {
    nodes: Arc<Nodes>,
    started: Instant,
    known: Mutex<Known>,
    /// Held by whoever asks.
    asking: Mutex<()>,
}

#[derive(Default)]
struct Known {
    at: Option<Instant>,
    /// What to ask each node for next.
    next: BTreeMap<NodeId, u64>,
    /// What is to be added to each node's time: the least that was seen, which waited the least for its answer.
    offsets: BTreeMap<NodeId, i64>,
    /// The number of the last event.
    last: u64,
    events: VecDeque<Arc<Traced>>,
}

/// What matters here of an answer of `lab.trace`.
#[derive(Deserialize)]
struct TracePage {
    next: u64,
    last: u64,
    now_us: u64,
    events: Vec<Row>,
}

/// An event of a node.
#[derive(Serialize)]
pub(super) struct Traced {
    /// Its number among those of all nodes, in the order in which they were heard of.
    pub(super) number: u64,
    node: NodeId,
    /// When, in microseconds since this node's page began.
    at_us: i64,
    #[serde(flatten)]
    row: Row,
}

impl Tracer {
    pub(super) fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, started: Instant::now(), known: Mutex::default(), asking: Mutex::default() }
    }

    /// The events after a number, in their order, and the number to go on with. Asks the nodes, but does not wait.
    pub(super) fn since(self: &Arc<Self>, caller: &Caller, after: u64) -> (u64, Vec<Arc<Traced>>) {
        self.ask_aside(caller);
        let known = self.known.lock();
        // Whoever comes for the first time sees what there is room for.
        let after = if after == 0 { known.last.saturating_sub(SHOWN) } else { after };
        let is_new = |event: &&Arc<Traced>| event.number > after;
        (known.last.max(after), known.events.iter().filter(is_new).cloned().collect())
    }

    fn ask_aside(self: &Arc<Self>, caller: &Caller) {
        let is_young = self.known.lock().at.is_some_and(|at| at.elapsed() < AGE);
        if is_young || self.asking.is_locked() {
            return;
        }
        let (tracer, caller) = (Arc::clone(self), caller.clone());
        let ask = move || tracer.ask(&caller);
        if let Err(error) = thread::Builder::new().name("page-trace".to_owned()).spawn(ask) {
            log::warn!("the page cannot ask what happened: {error}");
        }
    }

    fn ask(&self, caller: &Caller) {
        let Some(_one) = self.asking.try_lock() else { return };
        let next = self.known.lock().next.clone();
        // A node that was not asked before first says how far it is.
        let since = |node: NodeId| next.get(&node).map_or((0, 0), |&next| (next, PAGE));
        let pages = self.nodes.each(self.nodes.all().into_iter(), |node| {
            let page: TracePage = self.nodes.at(node, caller, "lab.trace", &since(node)).ok()?;
            let now = i64::try_from(self.started.elapsed().as_micros()).ok()?;
            let offset = now.saturating_sub_unsigned(page.now_us);
            Some((page, offset))
        });
        let mut known = self.known.lock();
        known.at = Some(Instant::now());
        for (node, answer) in pages {
            let Some((page, offset)) = answer else { continue };
            let asked = next.contains_key(&node);
            let known_offset = known.offsets.get(&node).copied();
            // A node that was started again counts from then: its time is far behind what it was.
            let is_new_life = known_offset.is_none_or(|known| offset.saturating_sub(known) > 5_000_000);
            let offset = if is_new_life { offset } else { offset.min(known_offset.unwrap_or(offset)) };
            known.offsets.insert(node, offset);
            known.next.insert(node, if asked { page.next } else { page.last.saturating_sub(FIRST) });
            for row in page.events {
                known.last += 1;
                let at_us = offset.saturating_add_unsigned(row.us);
                let event = Traced { number: known.last, node, at_us, row };
                known.events.push_back(Arc::new(event));
            }
        }
        while known.events.len() > KEPT {
            known.events.pop_front();
        }
    }
}
