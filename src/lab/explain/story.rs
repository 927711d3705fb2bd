//! One single decision as a trace shows it: its ballots, who promised and accepted them, and which majority chose.

use std::collections::BTreeMap;

use crate::lab::trace::{Event, Kind, Trace, parse_ballot};

/// A ballot, to be compared: round and node.
pub type Number = (u64, u32);

/// What became of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// All nodes.
    pub nodes: Vec<u32>,
    /// The instance.
    pub instance: String,
    /// Its ballots, in the order in which they began.
    pub ballots: Vec<Ballot>,
    /// The first ballot that a majority accepted.
    pub chosen: Option<Chosen>,
    /// Who was answered what: the proposer, the value, and the words of the outcome.
    pub answers: Vec<(u32, Option<String>, String)>,
    /// The nodes that came to know the decision, in that order.
    pub knows: Vec<u32>,
}

/// One ballot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ballot {
    /// Its number.
    pub number: Number,
    /// What its proposer's client wanted, if the trace says.
    pub wish: Option<String>,
    /// Where in the trace it began.
    pub begun: usize,
    /// The promises that the proposer had when it took a value, its own first, as it heard them.
    pub promises: Vec<Promise>,
    /// Who refused to promise, and what had been promised instead.
    pub unpromised: Vec<(u32, String)>,
    /// The value that it asked to accept.
    pub value: Option<String>,
    /// Who accepted it, in that order.
    pub accepted: Vec<u32>,
    /// Who refused to accept, and what had been promised instead.
    pub refused: Vec<(u32, String)>,
}

/// A promise, and what came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Whose.
    pub node: u32,
    /// What it had accepted: in which ballot, and the value.
    pub accepted: Option<(Number, String)>,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The ballot.
    pub ballot: Number,
    /// The value.
    pub value: String,
    /// The majority that chose it: the first so many to accept.
    pub by: Vec<u32>,
    /// Where in the trace the last of them accepted.
    pub at: usize,
}

/// `3.8000`.
#[must_use]
pub fn shown(number: Number) -> String {
    format!("{}.{}", number.0, number.1)
}

impl Ballot {
    /// The proposer that owns it.
    #[must_use]
    pub const fn proposer(&self) -> u32 {
        self.number.1
    }

    /// The accepted value of the highest ballot among its promises: the one it must adopt.
    #[must_use]
    pub fn adopts(&self) -> Option<(Number, &str)> {
        let accepted = self.promises.iter().filter_map(|promise| promise.accepted.as_ref());
        accepted.max_by_key(|(number, _)| *number).map(|(number, value)| (*number, value.as_str()))
    }
}

impl Story {
    /// The last decision that a trace tells of, whether it came to an end or not; `None` if it tells of none.
    #[must_use]
    pub fn of(trace: &Trace) -> Option<Self> {
        let began = |event: &&Event| event.is(Kind::Tell, "Proposing") || event.is(Kind::Send, "Prepare");
        let event = trace.events.iter().rev().find(began)?;
        let instance = event.about.instance.clone()?;
        let mut teller = Teller {
            story: Self { nodes: trace.header.nodes.clone(), instance, ..Self::default() },
            wishes: BTreeMap::new(),
            acceptors: BTreeMap::new(),
        };
        for (at, event) in trace.events.iter().enumerate() {
            if event.is(Kind::Tell, "Restarted") {
                teller.forget();
            }
            if event.about.instance.as_ref() == Some(&teller.story.instance) {
                teller.event(at, event);
            } else if event.is(Kind::Tell, "Answered") {
                teller.answered(event);
            }
        }
        Some(teller.story)
    }

    /// How many nodes are a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// The ballot of a number.
    #[must_use]
    pub fn ballot(&self, number: Number) -> Option<&Ballot> {
        self.ballots.iter().find(|ballot| ballot.number == number)
    }
}

struct Teller {
    story: Story,
    wishes: BTreeMap<u32, String>,
    /// What each acceptor accepted last.
    acceptors: BTreeMap<u32, (Number, String)>,
}

impl Teller {
    fn event(&mut self, at: usize, event: &Event) {
        let (Some(node), name) = (event.node, event.name.as_deref().unwrap_or_default()) else { return };
        let value = event.about.value.clone();
        if (event.kind, name) == (Kind::Call, "propose") {
            self.wishes.extend(value.map(|value| (node, value)));
            return;
        }
        let Some(number) = event.ballot() else { return };
        let is_proposer = number.1 == node;
        match (event.kind, name) {
            (Kind::Tell, "Proposing") => _ = self.ballot(at, number),
            (Kind::Save, "Promise") if is_proposer => {
                let accepted = self.acceptors.get(&node).cloned();
                self.ballot(at, number).promises.insert(0, Promise { node, accepted });
            }
            (Kind::Receive, "Promise") if is_proposer => {
                let accepted = event.about.accepted.as_deref().and_then(parse_ballot).zip(value);
                let ballot = self.ballot(at, number);
                let peer = event.peer.unwrap_or_default();
                if ballot.value.is_none() && ballot.promises.iter().all(|promise| promise.node != peer) {
                    ballot.promises.push(Promise { node: peer, accepted });
                }
            }
            (Kind::Receive, "Reject") if is_proposer => {
                let refusal = (event.peer.unwrap_or_default(), event.about.promised.clone().unwrap_or_default());
                let ballot = self.ballot(at, number);
                let list = if ballot.value.is_some() { &mut ballot.refused } else { &mut ballot.unpromised };
                list.push(refusal);
            }
            (Kind::Send, "Accept") if is_proposer => self.ballot(at, number).value = value,
            (Kind::Save, "Accept") => self.accepted(at, node, number, value.unwrap_or_default()),
            (Kind::Tell, "Decided") if !self.story.knows.contains(&node) => self.story.knows.push(node),
            _ => {}
        }
    }

    fn accepted(&mut self, at: usize, node: u32, number: Number, value: String) {
        self.acceptors.insert(node, (number, value.clone()));
        let majority = self.story.majority();
        let ballot = self.ballot(at, number);
        ballot.value.get_or_insert_with(|| value.clone());
        if !ballot.accepted.contains(&node) {
            ballot.accepted.push(node);
        }
        if ballot.accepted.len() == majority && self.story.chosen.is_none() {
            let by = self.ballot(at, number).accepted.clone();
            self.story.chosen = Some(Chosen { ballot: number, value, by, at });
        }
    }

    /// The lab was restarted: nothing said before acts after.
    fn forget(&mut self) {
        let (nodes, instance) = (std::mem::take(&mut self.story.nodes), std::mem::take(&mut self.story.instance));
        self.story = Story { nodes, instance, ..Story::default() };
        self.acceptors.clear();
    }

    fn answered(&mut self, event: &Event) {
        let note = event.about.note.as_deref().unwrap_or_default();
        let word = note.split_once(": ").map_or(note, |(_, word)| word);
        if let Some(node) = event.node {
            self.story.answers.push((node, event.about.value.clone(), word.to_owned()));
        }
    }

    fn ballot(&mut self, at: usize, number: Number) -> &mut Ballot {
        let place = self.story.ballots.iter().position(|ballot| ballot.number == number).unwrap_or_else(|| {
            let wish = self.wishes.get(&number.1).cloned();
            self.story.ballots.push(Ballot { number, wish, begun: at, ..Ballot::default() });
            self.story.ballots.len() - 1
        });
        &mut self.story.ballots[place]
    }
}
