//! The five questions that every learner asks, answered on the reader's own last run.

use std::collections::BTreeSet;

use super::single::{otherwise, tell_ballot};
use super::story::{Story, shown};
use super::{list, plural, sorted};

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Who plays which part?
    Roles,
    /// Why take another's value?
    Adopt,
    /// What are these numbers?
    Ballots,
    /// Why more than half?
    Majority,
    /// Why does it not end?
    Livelock,
}

impl Question {
    /// All, with the words that ask them.
    pub const ALL: [(&'static str, Self); 5] = [
        ("roles", Self::Roles),
        ("adopt", Self::Adopt),
        ("ballots", Self::Ballots),
        ("majority", Self::Majority),
        ("livelock", Self::Livelock),
    ];

    /// The word that asks it.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, question)| *question == self).map_or("", |(word, _)| word)
    }
}

/// The answer: what it means, and what it was in the last run, if there was one.
#[must_use]
pub fn answer(question: Question, story: Option<&Story>) -> Vec<String> {
    let own = match story {
        Some(story) => match question {
            Question::Roles => roles(story),
            Question::Adopt => adopt(story),
            Question::Ballots => ballots(story),
            Question::Majority => majority(story),
            Question::Livelock => livelock(story),
        },
        None => vec!["Nothing was decided or tried since this shell began; try 'B_wins', and ask again.".to_owned()],
    };
    std::iter::once(meaning(question).to_owned()).chain(own).collect()
}

const fn meaning(question: Question) -> &'static str {
    match question {
        Question::Roles => {
            "A proposer takes a client's value through ballots. An acceptor promises and accepts, and keeps both on disk. \
             A learner finds out what was chosen. Every node is all three; which part it plays depends on the message."
        }
        Question::Adopt => {
            "A proposer whose promises tell of an accepted value must propose that one, and of several the one with the \
             highest ballot. It cannot know whether the value is chosen: if it is, every majority has a node that says \
             so, and this may be the one. To propose another could choose two."
        }
        Question::Ballots => {
            "A ballot is a proposer's attempt, numbered by round and node so that no two are equal: 3.8000 is round 3 of \
             8000. Higher ones go first: an acceptor that promised one refuses all that are lower. They say who may \
             speak, not whose value is better."
        }
        Question::Majority => {
            "Any two majorities share a node. So of two ballots, both promised and accepted by majorities, the later one \
             asks at least one node that accepted in the earlier one, and hears of it. With half or less that would not \
             be sure, and two values could be chosen."
        }
        Question::Livelock => {
            "Two proposers can keep each other from ending: each one's Prepare comes before the other's Accepts, which \
             are then refused. No wrong value is ever chosen by that, only none. Random pauses end it sooner or later, \
             and no deterministic rule can for sure (Fischer, Lynch and Paterson, 1985); so real systems elect a leader."
        }
    }
}

fn roles(story: &Story) -> Vec<String> {
    let proposers: BTreeSet<u32> = story.ballots.iter().map(|ballot| ballot.proposer()).collect();
    let acceptors: BTreeSet<u32> = story
        .ballots
        .iter()
        .flat_map(|ballot| ballot.promises.iter().map(|promise| promise.node).chain(ballot.accepted.iter().copied()))
        .collect();
    let vec = |set: BTreeSet<u32>| set.into_iter().collect::<Vec<_>>();
    vec![format!(
        "In your last run the proposers were {}. As acceptors, {} promised or accepted something. {} learned what was \
         chosen.",
        list(&vec(proposers)),
        list(&vec(acceptors)),
        sorted(&story.knows)
    )]
}

fn adopt(story: &Story) -> Vec<String> {
    let adopted = |ballot: &&super::story::Ballot| {
        ballot.adopts().is_some_and(|(_, value)| ballot.wish.as_deref() != Some(value))
    };
    match story.ballots.iter().find(adopted) {
        Some(ballot) => std::iter::once(format!("In your last run: {}", tell_ballot(story, ballot)))
            .chain(otherwise(story))
            .collect(),
        None => vec![
            "In your last run no proposer had to give up its own value: none heard of another. 'B_wins' shows one that \
             does."
                .to_owned(),
        ],
    }
}

fn ballots(story: &Story) -> Vec<String> {
    let line = |ballot: &super::story::Ballot| {
        let value = ballot.value.as_ref().map_or_else(|| "took no value".to_owned(), |value| format!("'{value}'"));
        let end = match &story.chosen {
            Some(chosen) if chosen.ballot == ballot.number => ", chosen in it",
            _ if ballot.accepted.is_empty() => ", accepted by nobody",
            _ => "",
        };
        format!("  {}: {}, {value}{end}", shown(ballot.number), plural(ballot.promises.len(), "promise", "promises"))
    };
    let mut told =
        vec![format!("Your last run had {}, in this order:", plural(story.ballots.len(), "ballot", "ballots"))];
    told.extend(story.ballots.iter().map(line));
    told
}

fn majority(story: &Story) -> Vec<String> {
    let needed = story.majority();
    let mut told = vec![format!(
        "Of your {} nodes {needed} are a majority, and {} may be down.",
        story.nodes.len(),
        story.nodes.len() - needed
    )];
    let Some(chosen) = &story.chosen else {
        told.push("In your last run none accepted the same ballot as far as was recorded.".to_owned());
        return told;
    };
    told.push(format!("In your last run {} chose '{}' in {}.", sorted(&chosen.by), chosen.value, shown(chosen.ballot)));
    let later = story.ballots.iter().find(|ballot| ballot.number > chosen.ballot && ballot.promises.len() >= needed);
    if let Some(ballot) = later {
        let promised: Vec<u32> = ballot.promises.iter().map(|promise| promise.node).collect();
        let shared: Vec<u32> = promised.iter().copied().filter(|node| chosen.by.contains(node)).collect();
        told.push(format!(
            "Later {} was promised by {}: {} stood in both majorities, and told of '{}'.",
            shown(ballot.number),
            sorted(&promised),
            sorted(&shared),
            chosen.value
        ));
    }
    told
}

fn livelock(story: &Story) -> Vec<String> {
    let lost = |ballot: &&super::story::Ballot| ballot.value.is_some() && ballot.accepted.len() < story.majority();
    let lost: Vec<&super::story::Ballot> = story.ballots.iter().filter(lost).collect();
    let owners: BTreeSet<u32> = lost.iter().map(|ballot| ballot.proposer()).collect();
    if lost.len() < 2 || owners.len() < 2 {
        return vec!["Your last run was no livelock: 'livelock 8000 8001 red blue' makes one.".to_owned()];
    }
    let numbers: Vec<String> = lost.iter().map(|ballot| shown(ballot.number)).collect();
    let mut told = vec![format!(
        "In your last run {} ballots got their promises and no majority for their Accepts: {}.",
        lost.len(),
        numbers.join(", ")
    )];
    if let Some(chosen) = &story.chosen {
        told.push(format!("It ended when {} was left alone for long enough.", shown(chosen.ballot)));
    }
    told
}
