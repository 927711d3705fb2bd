//! Tells of the last entry of the replicated log: who took it, who leads, and which majority has it.

use super::list;
use crate::lab::trace::{Event, Kind, Trace};

/// The same, if the entry is not the empty one by which its epoch began.
pub(super) fn tell_of_a_call(trace: &Trace) -> Option<Vec<String>> {
    let accepts = || trace.events.iter().filter(|event| event.is(Kind::Send, "log.accept"));
    let carries = |event: &&Event| event.about.entries.is_some_and(|count| count > 0);
    let last = accepts().rev().find(carries)?;
    let of_epoch = accepts().filter(carries).filter(|event| event.about.ballot == last.about.ballot);
    let began = of_epoch.filter_map(|event| event.about.counter).min()?;
    if last.about.counter? > began { tell(trace) } else { None }
}

/// The paragraphs about the last entry that a trace shows on its way; `None` if it shows none.
#[must_use]
pub fn tell(trace: &Trace) -> Option<Vec<String>> {
    let events = &trace.events;
    let carries =
        |event: &&Event| event.is(Kind::Send, "log.accept") && event.about.entries.is_some_and(|count| count > 0);
    let last = events.iter().rev().find(carries)?;
    let (leader, epoch, counter) = (last.node?, last.about.ballot.clone()?, last.about.counter?);
    let of_epoch = |event: &&Event| event.about.ballot.as_ref() == Some(&epoch);
    let covers = |event: &&Event| event.about.counter.is_some_and(|last| last >= counter);
    let sent = events.iter().filter(carries).filter(of_epoch).filter(covers);
    let mut sent: Vec<u32> = sent.filter_map(|event| event.peer).collect();
    let accepted = events.iter().filter(|event| event.is(Kind::Receive, "log.accepted") && event.node == Some(leader));
    let mut accepted: Vec<u32> = accepted.filter(of_epoch).filter(covers).filter_map(|event| event.peer).collect();
    for nodes in [&mut sent, &mut accepted] {
        nodes.sort_unstable();
        nodes.dedup();
    }
    let mut told = Vec::new();
    let forwarded = events.iter().find(|event| event.is(Kind::Send, "log.forward") && event.peer == Some(leader));
    if let Some(node) = forwarded.and_then(|event| event.node) {
        told.push(format!("{node} took the call, and forwarded it to {leader}, which leads."));
    }
    let voters: Vec<u32> = std::iter::once(leader).chain(accepted.iter().copied()).collect();
    let majority = trace.header.nodes.len() / 2 + 1;
    let end = if voters.len() >= majority {
        format!(
            "With its own copy that is {} of {}, a majority: the entry is chosen for good, and the call was answered.",
            voters.len(),
            trace.header.nodes.len()
        )
    } else {
        format!("With its own copy that is {} of {}: no majority yet.", voters.len(), trace.header.nodes.len())
    };
    told.push(format!(
        "In epoch {epoch} it became entry {counter}: {leader} sent it to {} while it wrote it to its own disk, and {} \
         accepted it. {end}",
        list(&sent),
        list(&accepted)
    ));
    told.push(
        "No ballot was asked for: the epoch was promised when the leader was elected, and is good for every entry until \
         there is a higher one."
            .to_owned(),
    );
    Some(told)
}
