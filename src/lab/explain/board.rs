//! Tells of an entry of the eventual board: what was done to it, which of that was done without knowing of the rest, and
//! which stamp beat which.

use super::plural;
use crate::lab::trace::{Event, Kind, Trace, parse_ballot};
use crate::protocol::clock::Relation;

/// Something that was done to the entry, as the node saw it that took it from a client.
#[derive(Debug, Clone, Copy)]
struct Done<'a> {
    /// The stamp's clock, and its server.
    stamp: (u64, u32),
    shown: &'a str,
    /// What was done, with the stamp before it: `7.8000 modifies 3.8001: text`.
    what: &'a str,
    deletes: bool,
    event: &'a Event,
}

impl Done<'_> {
    /// As [`crate::protocol::eventual::memory::Operation::beats`] has it.
    fn beats(&self, other: &Self) -> bool {
        (self.deletes, self.stamp) > (other.deletes, other.stamp)
    }

    fn is_concurrent(&self, other: &Self) -> bool {
        self.event.compare(other.event) == Some(Relation::Concurrent)
    }
}

/// The paragraphs about the last entry to which something was done by clients that could not know of each other; without
/// one, about the last entry to which anything was done. `None` if there is none.
#[must_use]
pub fn tell(trace: &Trace) -> Option<Vec<String>> {
    let done: Vec<(&str, Done<'_>)> = trace.events.iter().filter_map(taken).collect();
    let of_entry = |entry: &str| -> Vec<Done<'_>> {
        done.iter().filter(|(other, _)| *other == entry).map(|(_, done)| *done).collect()
    };
    let is_contested = |entry: &&str| {
        let its = of_entry(entry);
        its.iter().any(|one| its.iter().any(|other| one.is_concurrent(other)))
    };
    let mut entries = done.iter().rev().map(|(entry, _)| *entry);
    let entry = entries.clone().find(is_contested).or_else(|| entries.next())?;
    let its = of_entry(entry);
    let winner = its.iter().copied().reduce(|best, next| if next.beats(&best) { next } else { best })?;
    let mut told =
        vec![format!("{} done to entry {entry} of the eventual board:", plural(its.len(), "thing was", "things were"))];
    told.extend(its.iter().map(|done| format!("  {} by a client at {}.", done.what, done.stamp.1)));
    told.extend(its.iter().filter(|done| done.stamp != winner.stamp).map(|done| verdict(&winner, done)));
    told.push(format!(
        "So {} stands on every node that has heard of it, in whatever order that heard of the rest.",
        winner.shown
    ));
    Some(told)
}

/// What a node took from a client: it is saved there first.
fn taken(event: &Event) -> Option<(&str, Done<'_>)> {
    let (entry, shown) = (event.about.entry.as_deref()?, event.about.stamp.as_deref()?);
    let (stamp, what) = (parse_ballot(shown)?, event.about.note.as_deref()?);
    let is_taken = event.is(Kind::Save, "eventual.stands") && event.node == Some(stamp.1);
    let deletes = what.strip_prefix(shown).is_some_and(|rest| rest.starts_with(" deletes "));
    is_taken.then_some((entry, Done { stamp, shown, what, deletes, event }))
}

/// Why one stands against another.
fn verdict(winner: &Done<'_>, other: &Done<'_>) -> String {
    let (one, two) = (winner.shown, other.shown);
    if !winner.is_concurrent(other) {
        return format!("{one} was made by who knew of {two}: it is later in every node's eyes.");
    }
    let why = if winner.deletes && !other.deletes {
        format!("{one} beats {two} because a delete beats every text, whatever their stamps: what is gone stays away.")
    } else if winner.stamp.0 == other.stamp.0 {
        format!("{one} beats {two}: the clocks are the same, {}, and then the higher node decides.", winner.stamp.0)
    } else {
        format!(
            "{one} beats {two}: of two of a kind the higher clock decides, {} against {}.",
            winner.stamp.0, other.stamp.0
        )
    };
    format!("Neither {one} nor {two} was made by who knew of the other; each node would have to choose alike. {why}")
}
