//! Tells of one decision: each ballot, why it took its value, which majority chose, and what else could have come.

use std::collections::BTreeMap;

use super::story::{Ballot, Chosen, Number, Story, shown};
use super::{list, plural, sorted};

/// With more ballots than this, those in the middle are told of together.
const MANY: usize = 6;

/// The paragraphs of a story.
#[must_use]
pub fn tell(story: &Story) -> Vec<String> {
    let mut told = Vec::new();
    let count = story.ballots.len();
    for (at, ballot) in story.ballots.iter().enumerate() {
        if count > MANY && at == 2 {
            let middle = &story.ballots[2..count - 2];
            told.push(format!(
                "Ballots {} to {}: {} more that got their promises and were refused when they asked to accept, or were \
                 given up, each because of the next.",
                shown(middle[0].number),
                shown(middle[middle.len() - 1].number),
                middle.len()
            ));
        }
        if count <= MANY || at < 2 || at >= count - 2 {
            told.push(tell_ballot(story, ballot));
        }
    }
    told.push(tell_end(story));
    told.extend(otherwise(story));
    told
}

/// One ballot.
#[must_use]
pub fn tell_ballot(story: &Story, ballot: &Ballot) -> String {
    let (number, proposer) = (shown(ballot.number), ballot.proposer());
    let wish = ballot.wish.as_ref().map(|wish| format!(", for '{wish}'")).unwrap_or_default();
    let mut text = format!("Ballot {number}: {proposer} asks all for a promise{wish}.");
    let nodes: Vec<u32> = ballot.promises.iter().map(|promise| promise.node).collect();
    if !ballot.unpromised.is_empty() {
        let refusals: Vec<u32> = ballot.unpromised.iter().map(|(node, _)| *node).collect();
        let why = &ballot.unpromised[0].1;
        text.push_str(&format!(" {} refused: {why} had been promised.", sorted(&refusals)));
    }
    if nodes.len() < story.majority() && ballot.value.is_none() {
        text.push_str(&format!(" Promised by {} only, which is no majority: it ends there.", sorted(&nodes)));
        return text;
    }
    if !nodes.is_empty() {
        text.push_str(&format!(" {} promised", sorted(&nodes)));
        text.push_str(&tell_promises(ballot));
    }
    if let Some(value) = &ballot.value {
        text.push_str(&tell_acceptances(story, ballot, value));
    }
    text
}

/// What the promises said, and what follows for the value.
fn tell_promises(ballot: &Ballot) -> String {
    let proposer = ballot.proposer();
    let Some((highest, adopted)) = ballot.adopts() else {
        let own = ballot.value.as_ref().map(|value| format!(", so {proposer} is free to take '{value}'"));
        return format!(", and none of them had accepted anything{}.", own.unwrap_or_default());
    };
    let mut said: BTreeMap<&(Number, String), Vec<u32>> = BTreeMap::new();
    for promise in &ballot.promises {
        if let Some(accepted) = &promise.accepted {
            said.entry(accepted).or_default().push(promise.node);
        }
    }
    let several = if said.len() > 1 { ", the highest of these ballots," } else { "" };
    let said = said
        .iter()
        .map(|((number, value), nodes)| format!("{} had accepted '{value}' in {}", sorted(nodes), shown(*number)));
    let own = match &ballot.wish {
        Some(wish) if wish != adopted => format!(" instead of its own '{wish}'"),
        _ => String::new(),
    };
    format!(
        "; {}. For all {proposer} can know, '{adopted}' of {}{several} is chosen already: so it must adopt that{own}.",
        said.collect::<Vec<_>>().join(", "),
        shown(highest)
    )
}

fn tell_acceptances(story: &Story, ballot: &Ballot, value: &str) -> String {
    let accepted = &ballot.accepted;
    if let Some(chosen) = story.chosen.as_ref().filter(|chosen| chosen.ballot == ballot.number) {
        let (by, all) = (chosen.by.len(), story.nodes.len());
        return format!(" {} accepted '{value}': {by} of {all} are a majority, and it is chosen.", sorted(&chosen.by));
    }
    let mut text = match (&story.chosen, accepted.len()) {
        (Some(chosen), count) if count >= story.majority() => {
            format!(
                " {} accepted '{value}', which was chosen in {} before that.",
                sorted(accepted),
                shown(chosen.ballot)
            )
        }
        (_, 0) => format!(" Nobody accepted '{value}'."),
        _ => format!(" Only {} accepted '{value}': no majority.", sorted(accepted)),
    };
    if accepted.len() < story.majority() && !ballot.refused.is_empty() {
        let refusals: Vec<u32> = ballot.refused.iter().map(|(node, _)| *node).collect();
        text.push_str(&format!(" {} refused: {} had been promised meanwhile.", sorted(&refusals), ballot.refused[0].1));
    }
    text
}

fn tell_end(story: &Story) -> String {
    let Some(chosen) = &story.chosen else {
        return "No majority accepted any of these as far as was recorded, so nothing is known to be chosen."
            .to_owned();
    };
    let mut text = format!(
        "So '{}' is the value of '{}', chosen in {} by {}, and no later ballot can change it: every majority shares a \
         node with that one.",
        chosen.value,
        story.instance,
        shown(chosen.ballot),
        sorted(&chosen.by)
    );
    let others: Vec<u32> =
        story.answers.iter().filter(|(_, _, word)| word == "another's").map(|(node, ..)| *node).collect();
    if !others.is_empty() {
        text.push_str(&format!(" {} answered with it although another value was asked for.", list(&others)));
    }
    text
}

/// What it would have taken for the other value, if two were wanted.
#[must_use]
pub fn otherwise(story: &Story) -> Option<String> {
    let chosen = story.chosen.as_ref()?;
    let loses = |ballot: &&Ballot| ballot.wish.as_ref().is_some_and(|wish| *wish != chosen.value);
    // The ballot in which the other value had its chance: one that asked for it and was refused, or the first one.
    let asked = story.ballots.iter().filter(loses).find(|ballot| ballot.value.is_some() && ballot.value == ballot.wish);
    let ballot = asked.or_else(|| story.ballots.iter().find(loses))?;
    let wish = ballot.wish.as_deref()?;
    Some(format!("For '{wish}' to win: {}", chance(story, ballot, chosen, wish)))
}

fn chance(story: &Story, ballot: &Ballot, chosen: &Chosen, wish: &str) -> String {
    let (number, majority) = (shown(ballot.number), story.majority());
    if ballot.value.as_deref() == Some(wish) {
        let missing = majority.saturating_sub(ballot.accepted.len());
        let by = ballot.refused.first().map_or_else(|| "a higher ballot".to_owned(), |(_, promised)| promised.clone());
        return format!(
            "its Accepts of {number} had to reach {} more before {} promised {by}. They came too late.",
            plural(missing, "node", "nodes"),
            if missing == 1 { "it" } else { "they" }
        );
    }
    if chosen.at < ballot.begun {
        return format!(
            "{number} had to begin before '{}' was chosen. Once {} had accepted that, nothing could change it: whatever \
             majority promised {number}, one of them was in it.",
            chosen.value,
            sorted(&chosen.by)
        );
    }
    let told: Vec<u32> =
        ballot.promises.iter().filter(|promise| promise.accepted.is_some()).map(|promise| promise.node).collect();
    let others: Vec<u32> = story.nodes.iter().copied().filter(|node| !told.contains(node)).collect();
    if told.is_empty() || others.len() < majority {
        return format!("{number} had to hear of no accepted value.");
    }
    format!(
        "{number} had to be promised by a majority without {}, as {} would have been. None of these had accepted \
         anything, and nothing was chosen yet: {} was free to take '{wish}' then.",
        sorted(&told),
        list(&others[..majority]),
        ballot.proposer()
    )
}
