//! Tells of a change of leader: who missed the old one, why the new one won, and what its epoch had to repair.

use std::collections::{BTreeMap, BTreeSet};

use super::{list, plural};
use crate::lab::trace::{Event, Kind, Trace, parse_ballot};

/// How much a node knew when it stood: the epoch and the counter of its last entry.
type Rank = (Option<(u64, u32)>, u64, u32);

/// The paragraphs about the last change of leader in a trace; `None` if it shows none.
#[must_use]
pub fn tell(trace: &Trace) -> Option<Vec<String>> {
    let events = &trace.events;
    let end = events.iter().rposition(|event| event.is(Kind::Tell, "Coordinates"))?;
    let (leader, epoch) = (events[end].node?, events[end].about.ballot.clone()?);
    let start = events[..end].iter().rposition(|event| event.is(Kind::Tell, "Coordinates")).map_or(0, |at| at + 1);
    let before = &events[start..end];
    let mut told = Vec::new();
    told.push(missed(before));
    told.push(won(before, leader));
    told.push(promised(before, leader, &epoch, trace.header.nodes.len()));
    told.extend(repaired(&events[start..], leader, &epoch));
    Some(told)
}

fn missed(events: &[Event]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut missed: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for event in events {
        let Some(node) = event.node else { continue };
        let old = event.about.ballot.as_deref().and_then(parse_ballot).map(|(_, node)| node);
        match (event.kind, event.name.as_deref(), old) {
            (Kind::Tell, Some("Looks"), Some(old)) => _ = missed.entry(old).or_default().insert(node),
            (Kind::Tell, Some("StepsDown"), _) => {
                lines.push(format!("{node} stepped down, for it had lost its majority"));
            }
            (Kind::Crash, ..) => lines.push(format!("{node} crashed")),
            _ => {}
        }
    }
    for (old, nodes) in missed {
        lines.push(format!("{} no longer heard {old}", list(&nodes.into_iter().collect::<Vec<_>>())));
    }
    if lines.is_empty() {
        return "Nobody missed a leader: this election was the first, or was held by hand.".to_owned();
    }
    format!("How it began: {}.", lines.join("; "))
}

fn won(events: &[Event], leader: u32) -> String {
    let mut ranks: BTreeMap<u32, Rank> = BTreeMap::new();
    for event in events.iter().filter(|event| event.name.as_deref() == Some("bully.election")) {
        let from = if event.kind == Kind::Send { event.node } else { event.peer };
        if let Some(from) = from {
            let epoch = event.about.accepted.as_deref().and_then(parse_ballot);
            ranks.insert(from, (epoch, event.about.counter.unwrap_or(0), from));
        }
    }
    let stood: Vec<u32> = ranks.keys().copied().collect();
    let Some(best) = ranks.get(&leader) else {
        return format!("{leader} won; how it stood for election was not recorded.");
    };
    let equal: Vec<u32> = ranks
        .values()
        .filter(|rank| (rank.0, rank.1) == (best.0, best.1) && rank.2 != leader)
        .map(|rank| rank.2)
        .collect();
    let less: Vec<u32> = ranks.values().filter(|rank| (rank.0, rank.1) < (best.0, best.1)).map(|rank| rank.2).collect();
    let mut why = Vec::new();
    if !less.is_empty() {
        why.push(format!("its log went on to entry {}, further than {}'s", best.1, list(&less)));
    }
    if !equal.is_empty() {
        why.push(format!("{} knew as much, and the highest id breaks the tie", list(&equal)));
    }
    if why.is_empty() {
        why.push("no node of higher rank that it heard said \"ok\", so it was the bully".to_owned());
    }
    format!("{} stood for election. {leader} won: {}.", list(&stood), why.join("; "))
}

fn promised(events: &[Event], leader: u32, epoch: &str, nodes: usize) -> String {
    let mut promises: Vec<u32> = vec![leader];
    for event in events.iter().filter(|event| event.is(Kind::Receive, "log.promise") && event.node == Some(leader)) {
        if let Some(peer) = event.peer.filter(|_| event.about.ballot.as_deref() == Some(epoch))
            && !promises.contains(&peer)
        {
            promises.push(peer);
        }
    }
    promises.sort_unstable();
    format!(
        "To win is not enough: {leader} asked for epoch {epoch}, and {} promised it, {} of {nodes}. Since then nothing of \
         an earlier epoch is accepted by them, whoever else believes itself leader.",
        list(&promises),
        promises.len()
    )
}

fn repaired(events: &[Event], leader: u32, epoch: &str) -> Option<String> {
    let mut lines = Vec::new();
    let of_epoch = |event: &&Event| event.about.ballot.as_deref() == Some(epoch);
    for event in events.iter().filter(of_epoch) {
        let (Some(node), Some(name)) = (event.node, event.name.as_deref()) else { continue };
        match (event.kind, name) {
            (Kind::Send, "log.fetch") => {
                lines.push(format!("{node} fetched from {} what it lacked", event.peer.unwrap_or_default()));
            }
            (Kind::Save, "log.sync" | "log.install") if node != leader => {
                let entries = usize::try_from(event.about.entries.unwrap_or(0)).unwrap_or(usize::MAX);
                let last = event.about.counter.unwrap_or(0);
                lines.push(format!(
                    "{node} was given {}, and has the leader's log up to {last}",
                    plural(entries, "entry", "entries")
                ));
            }
            _ => {}
        }
    }
    lines.sort_unstable();
    lines.dedup();
    (!lines.is_empty()).then(|| format!("What the new epoch had to repair: {}.", lines.join("; ")))
}
