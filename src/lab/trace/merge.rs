//! Joins what several nodes tell into one trace, in which every event stands behind all that may have caused it.

use std::collections::{BTreeSet, VecDeque};

use super::ring::Row;
use super::{Event, Header, Kind, Trace};
use crate::protocol::clock::VectorClock;
use crate::protocol::types::NodeId;

/// What one node told, or whoever else saw something happen to it.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The node.
    pub node: u32,
    /// What is to be added to its times, so that all nodes count from the same moment.
    pub offset_us: i64,
    /// Its events, in its order.
    pub rows: Vec<Row>,
}

/// One causal order of all: each node's own order stays, a receipt stands behind its send, and what neither of these
/// orders is ordered by time. A node may have several parts, in their order: its lives.
#[must_use]
pub fn merge(nodes: Vec<u32>, parts: Vec<Part>) -> Trace {
    let sends = parts.iter().flat_map(|part| &part.rows).filter(|row| row.kind == Kind::Send);
    let known: BTreeSet<String> = sends.filter_map(|row| row.message.clone()).collect();
    let mut sent: BTreeSet<String> = BTreeSet::new();
    let mut queues: Vec<VecDeque<Event>> = nodes.iter().map(|_| VecDeque::new()).collect();
    for part in parts {
        let Some(at) = nodes.iter().position(|&node| node == part.node) else { continue };
        queues[at].extend(part.rows.into_iter().map(|row| event(&nodes, part.node, part.offset_us, row)));
    }
    let mut events = Vec::with_capacity(queues.iter().map(VecDeque::len).sum());
    loop {
        let waits = |event: &Event| {
            let message = event.message.as_ref().filter(|_| event.kind == Kind::Receive);
            message.is_some_and(|id| known.contains(id) && !sent.contains(id))
        };
        let heads = || queues.iter().enumerate().filter_map(|(at, queue)| Some((at, queue.front()?)));
        let time = |(_, event): &(usize, &Event)| event.us;
        let ready = heads().filter(|(_, event)| !waits(event)).min_by_key(time);
        // All wait only if two messages have one name, as after a node's death: then time decides.
        let Some((at, _)) = ready.or_else(|| heads().min_by_key(time)) else { break };
        let Some(event) = queues[at].pop_front() else { break };
        if let (Kind::Send, Some(id)) = (event.kind, &event.message) {
            sent.insert(id.clone());
        }
        events.push(event);
    }
    // Clocks of machines differ a little: a receipt is not shown before its send.
    let mut latest = 0;
    for event in &mut events {
        latest = event.us.unwrap_or(0).max(latest);
        event.us = Some(latest);
    }
    Trace { header: Header::of(nodes), events }
}

fn event(nodes: &[u32], node: u32, offset_us: i64, row: Row) -> Event {
    let vector: VectorClock = row.clock.parse().unwrap_or_default();
    let count = |&node: &u32| NodeId::new(node).map_or(0, |node| vector.of(node));
    Event {
        step: None,
        tick: None,
        us: Some(row.us.saturating_add_signed(offset_us)),
        node: Some(node),
        clock: if row.clock.is_empty() { Vec::new() } else { nodes.iter().map(count).collect() },
        kind: row.kind,
        message: row.message,
        peer: row.peer,
        name: row.name,
        about: row.about,
        text: row.text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::*;

    fn row(us: u64, clock: &str, kind: Kind, message: Option<&str>) -> Row {
        let (message, clock, text) = (message.map(str::to_owned), clock.to_owned(), format!("{kind:?} at {us}"));
        Row { seq: 0, us, clock, kind, message, peer: None, name: None, about: Facts::default(), text }
    }

    fn texts(trace: &Trace) -> Vec<(u32, &str)> {
        trace.events.iter().map(|event| (event.node.unwrap(), event.text.as_str())).collect()
    }

    #[test]
    fn a_receipt_stands_behind_its_send_whatever_the_clocks_say() {
        let one = Part {
            node: 1,
            offset_us: 0,
            rows: vec![row(500, "1:1", Kind::Send, Some("1:1")), row(600, "1:2", Kind::Save, None)],
        };
        let two = Part {
            node: 2,
            offset_us: 50,
            rows: vec![
                row(100, "2:1", Kind::Save, None),
                row(200, "1:1,2:2", Kind::Receive, Some("1:1")),
                row(300, "1:1,2:3", Kind::Receive, Some("9:9")),
            ],
        };
        let trace = merge(vec![1, 2], vec![two, one]);
        assert_eq!(
            texts(&trace),
            [(2, "Save at 100"), (1, "Send at 500"), (2, "Receive at 200"), (2, "Receive at 300"), (1, "Save at 600"),]
        );
        assert_eq!(trace.events.iter().map(|event| event.us.unwrap()).collect::<Vec<_>>(), [150, 500, 500, 500, 600]);
        assert_eq!(trace.events[2].clock, [1, 2]);
    }

    #[test]
    fn strange_parts_end_too() {
        // Two nodes that each received before the other sent: not possible, but nothing hangs.
        let odd = |node, own: &str, other: &str| Part {
            node,
            offset_us: -5,
            rows: vec![row(3, "", Kind::Receive, Some(other)), row(4, "x", Kind::Send, Some(own))],
        };
        let trace = merge(vec![1, 2], vec![odd(1, "1:1", "2:1"), odd(2, "2:1", "1:1"), odd(7, "7:1", "1:1")]);
        assert_eq!(trace.events.len(), 4);
    }
}
