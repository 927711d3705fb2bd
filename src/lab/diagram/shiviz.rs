//! A log for ShiViz: its regular expression in the first line, an empty line, then two lines an event.
//!
//! ShiViz wants every event of a node counted, one by one. A trace leaves events out, so the vector clocks are counted
//! anew, over the events that are written, by the same rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::lab::trace::{Event, Kind, Trace};

/// What the log's lines look like.
pub const EXPRESSION: &str = r"(?<host>\S+) (?<clock>\{.*\})\n(?<event>.*)";

/// Writes a trace as ShiViz reads it.
#[must_use]
pub fn draw(trace: &Trace) -> String {
    let mut out = format!("{EXPRESSION}\n\n");
    let mut clocks: BTreeMap<u32, BTreeMap<u32, u64>> = BTreeMap::new();
    let mut sent: BTreeMap<&str, BTreeMap<u32, u64>> = BTreeMap::new();
    for event in trace.events.iter().filter(|event| is_of_a_node(event)) {
        let Some(node) = event.node else { continue };
        let carried = event.message.as_deref().filter(|_| event.kind == Kind::Receive).and_then(|id| sent.get(id));
        let clock = clocks.entry(node).or_default();
        for (&other, &count) in carried.into_iter().flatten() {
            let mine = clock.entry(other).or_default();
            *mine = (*mine).max(count);
        }
        *clock.entry(node).or_default() += 1;
        if let (Kind::Send, Some(id)) = (event.kind, event.message.as_deref()) {
            sent.insert(id, clock.clone());
        }
        let entries: Vec<String> = clock.iter().map(|(node, count)| format!("\"{node}\":{count}")).collect();
        let text: String = words(event).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Writing to a String cannot fail.
        _ = write!(out, "{node} {{{}}}\n{text}\n", entries.join(","));
    }
    out
}

/// What befalls a message on its way has no clock of its own.
const fn is_of_a_node(event: &Event) -> bool {
    !matches!(event.kind, Kind::Lose | Kind::Double | Kind::Hold | Kind::Release)
}

fn words(event: &Event) -> String {
    match (event.kind, event.peer) {
        (Kind::Send, Some(peer)) => format!("to {peer}: {}", event.text),
        (Kind::Receive, Some(peer)) => format!("from {peer}: {}", event.text),
        (kind, _) => format!("{}: {}", format!("{kind:?}").to_lowercase(), event.text),
    }
}
