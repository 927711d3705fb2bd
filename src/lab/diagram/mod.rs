//! Pictures of a trace: pure functions from events to text.
//!
//! A space-time diagram has a lane for each node, time runs down, and a message is an arrow from its sender's lane to its
//! receiver's. A picture with a row for every message would be long, and hide what belongs together: so what one node
//! says to several, and what several answer to one, is one row, if no event in between forbids it. What may have caused
//! what keeps its order.
//!
//! [`Picture`] is that arrangement, and [`terminal`], [`svg`] and [`html`] draw it; [`mermaid`] and [`shiviz`] write what
//! the programs of these names read.

pub mod html;
mod label;
pub mod mermaid;
pub mod shiviz;
pub mod svg;
pub mod terminal;
#[cfg(test)]
pub(in crate::lab) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::trace::{Event, Kind, Trace};
use label::{Told, label};

/// How far back a row is looked for that an arrow may join.
const REACH: usize = 12;

/// What of a trace is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Single decisions if there are any, else election and log.
    #[default]
    Fitting,
    /// Everything.
    All,
}

/// An arrangement of what happened, for all pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The nodes, a lane each.
    pub nodes: Vec<u32>,
    /// From the top down.
    pub rows: Vec<Row>,
    /// Whether rows were left out because there were too many.
    pub cut: bool,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is drawn.
    pub shape: Shape,
    /// What stands beside it: short.
    pub label: String,
    /// What colour and dashes it has.
    pub tone: Tone,
    /// A majority that this row completes.
    pub quorum: Option<Quorum>,
    /// The lanes of nodes that are down.
    pub down: BTreeSet<usize>,
    /// When its first event happened, in microseconds.
    pub us: u64,
}

/// What a row draws. Lanes are places in [`Picture::nodes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Messages of one sender, or to one receiver.
    Arrows(Vec<Arrow>),
    /// The same happened at each of these lanes; at none, if it concerns all.
    Marks(Mark, Vec<usize>),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// The sender's lane.
    pub from: usize,
    /// The receiver's.
    pub to: usize,
    /// How it ends.
    pub fate: Fate,
    /// All of it in words.
    pub title: String,
    /// Where in the trace it leaves and arrives.
    ends: (usize, usize),
}

/// How a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It is lost.
    Lost,
    /// A gate holds it.
    Held,
    /// The trace does not tell.
    Open,
}

/// What happened at a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A ballot, or an election, begins.
    Begins,
    /// A decision is known, or a leader established.
    Knows,
    /// A client is answered.
    Answers,
    /// The node dies.
    Crashes,
    /// The node starts.
    Starts,
    /// Something else.
    Other,
}

/// What kind of thing a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// The first phase, asking.
    Prepare,
    /// The first phase, answering.
    Promise,
    /// The second phase, asking.
    Accept,
    /// The second phase, answering.
    Accepted,
    /// Refusals.
    Reject,
    /// What is known.
    Commit,
    /// Elections.
    Election,
    /// Everything else.
    Plain,
}

/// A majority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Whose votes are in it.
    pub lanes: Vec<usize>,
    /// What it did: `promised`, `accepted`.
    pub what: &'static str,
}

impl Picture {
    /// Arranges a trace; of very long ones the last `max_rows` rows.
    #[must_use]
    pub fn of(trace: &Trace, scope: Scope, max_rows: usize) -> Self {
        let nodes = trace.header.nodes.clone();
        let single = scope == Scope::Fitting && trace.events.iter().any(|event| event.about.instance.is_some());
        let mut layout = Layout::new(trace, single, scope == Scope::All);
        for at in 0..trace.events.len() {
            layout.event(at);
        }
        let mut rows = layout.rows;
        let cut = rows.len() > max_rows;
        rows.drain(..rows.len().saturating_sub(max_rows));
        let mut down = BTreeSet::new();
        for row in &mut rows {
            match &row.shape {
                Shape::Marks(Mark::Starts, lanes) => lanes.iter().for_each(|lane| _ = down.remove(lane)),
                Shape::Marks(Mark::Crashes, lanes) => down.extend(lanes),
                _ => {}
            }
            row.down.clone_from(&down);
        }
        Self { nodes, rows, cut }
    }

    /// How many votes are a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }
}

struct Layout<'a> {
    events: &'a [Event],
    lanes: BTreeMap<u32, usize>,
    /// Whether only single decisions are drawn.
    single: bool,
    /// Whether everything is drawn.
    all: bool,
    rows: Vec<Draft>,
    /// Where each message was sent.
    sends: BTreeMap<&'a str, usize>,
    /// What arrives at all, or is otherwise accounted for.
    settled: BTreeSet<&'a str>,
    votes: Votes,
}

/// Rows while they are made: what an arrow may join is decided by what they say.
type Draft = Row;

/// Who has promised and accepted which ballot.
#[derive(Default)]
struct Votes {
    cast: BTreeMap<(&'static str, String, String), BTreeSet<usize>>,
    majority: usize,
}

impl Votes {
    /// Counts a vote; the majority, if this completes it.
    fn count(&mut self, told: &Told<'_>, lane: usize) -> Option<Quorum> {
        let (what, instance, ballot) = told.vote?;
        let voters = self.cast.entry((what, instance.to_owned(), ballot.to_owned())).or_default();
        let is_new = voters.insert(lane);
        (is_new && voters.len() == self.majority).then(|| Quorum { lanes: voters.iter().copied().collect(), what })
    }
}

impl<'a> Layout<'a> {
    fn new(trace: &'a Trace, single: bool, all: bool) -> Self {
        let lanes: BTreeMap<u32, usize> = trace.header.nodes.iter().enumerate().map(|(at, &node)| (node, at)).collect();
        let ends = |event: &&Event| matches!(event.kind, Kind::Receive | Kind::Lose | Kind::Hold);
        let settled = trace.events.iter().filter(ends).filter_map(|event| event.message.as_deref()).collect();
        let votes = Votes { majority: lanes.len() / 2 + 1, ..Votes::default() };
        Self { events: &trace.events, lanes, single, all, rows: Vec::new(), sends: BTreeMap::new(), settled, votes }
    }

    fn lane(&self, node: Option<u32>) -> Option<usize> {
        self.lanes.get(&node?).copied()
    }

    fn event(&mut self, at: usize) {
        let events = self.events;
        let event = &events[at];
        let told = label(event);
        if (self.single && !told.single) || (told.noise && !self.all) {
            return;
        }
        match event.kind {
            Kind::Send => {
                let Some(id) = event.message.as_deref() else { return };
                self.sends.insert(id, at);
                if !self.settled.contains(id) {
                    self.arrow(at, event.node, event.peer, Fate::Open, (at, at), &told);
                }
            }
            Kind::Receive => {
                let sent = event.message.as_deref().and_then(|id| self.sends.get(id)).copied();
                self.arrow(at, event.peer, event.node, Fate::Arrives, (sent.unwrap_or(at), at), &told);
            }
            Kind::Lose | Kind::Hold => {
                let fate = if event.kind == Kind::Lose { Fate::Lost } else { Fate::Held };
                let sent = event.message.as_deref().and_then(|id| self.sends.get(id)).copied();
                // The simulation tells of what the network loses without saying at which node.
                let from = event.node.or_else(|| events[sent?].node);
                self.arrow(at, from, event.peer, fate, (sent.unwrap_or(at), at), &told);
            }
            Kind::Save | Kind::Note => {
                // What a proposer promises and accepts itself needs no message, but counts.
                let owner = event.ballot().map(|(_, node)| node);
                if let (Some(lane), true) = (self.lane(event.node), owner == event.node) {
                    let quorum = self.votes.count(&told, lane);
                    if let (Some(quorum), Some(row)) =
                        (quorum, self.rows.last_mut().filter(|row| row.tone == told.tone))
                    {
                        row.quorum = Some(quorum);
                    }
                }
            }
            _ => self.mark(at, &told),
        }
    }

    fn mark(&mut self, at: usize, told: &Told<'_>) {
        let Some(mark) = told.mark else { return };
        let event = &self.events[at];
        let lane = self.lane(event.node);
        for row in self.rows.iter_mut().rev().take(REACH) {
            let Some(lane) = lane else { break };
            let same = row.label == told.label;
            match &mut row.shape {
                Shape::Marks(kind, lanes) if same && *kind == mark && !lanes.contains(&lane) => {
                    return lanes.push(lane);
                }
                Shape::Marks(_, lanes) if lanes.is_empty() || lanes.contains(&lane) => break,
                Shape::Arrows(arrows) if arrows.iter().any(|arrow| arrow.from == lane || arrow.to == lane) => break,
                _ => {}
            }
        }
        let shape = Shape::Marks(mark, lane.into_iter().collect());
        self.rows.push(self.row(shape, told, event));
    }

    fn row(&self, shape: Shape, told: &Told<'_>, event: &Event) -> Row {
        let label = told.label.clone();
        Row { shape, label, tone: told.tone, quorum: None, down: BTreeSet::new(), us: event.time_us() }
    }

    fn arrow(
        &mut self,
        at: usize,
        from: Option<u32>,
        to: Option<u32>,
        fate: Fate,
        ends: (usize, usize),
        told: &Told<'_>,
    ) {
        let (Some(from), Some(to)) = (self.lane(from), self.lane(to)) else { return };
        if from == to {
            return;
        }
        let event = &self.events[at];
        let arrow = Arrow { from, to, fate, title: event.text.clone(), ends };
        let row = match self.joinable(&arrow, told) {
            Some(row) => {
                if let Shape::Arrows(arrows) = &mut self.rows[row].shape {
                    arrows.push(arrow);
                }
                row
            }
            None => {
                let row = self.row(Shape::Arrows(vec![arrow]), told, event);
                self.rows.push(row);
                self.rows.len() - 1
            }
        };
        if fate == Fate::Arrives
            && let Some(quorum) = self.votes.count(told, from)
        {
            self.rows[row].quorum = Some(quorum);
        }
    }

    /// A row that an arrow may stand in: it says the same, from the same sender or to the same receiver, and nothing that
    /// stands below it must stand above the arrow.
    fn joinable(&self, arrow: &Arrow, told: &Told<'_>) -> Option<usize> {
        for at in (0..self.rows.len()).rev().take(REACH) {
            let row = &self.rows[at];
            if let Shape::Arrows(arrows) = &row.shape
                && row.label == told.label
                && arrows.iter().all(|other| other.fate == arrow.fate)
            {
                let fan_out = arrows.iter().all(|other| other.from == arrow.from && other.to != arrow.to);
                let fan_in = arrows.iter().all(|other| other.to == arrow.to && other.from != arrow.from);
                if fan_out || fan_in {
                    return Some(at);
                }
            }
            if stands_in_the_way(row, arrow) {
                return None;
            }
        }
        None
    }
}

/// Whether an arrow drawn above a row would contradict it: the row touches the arrow's receiver, or something in it
/// happened at the arrow's sender before the send.
fn stands_in_the_way(row: &Row, arrow: &Arrow) -> bool {
    match &row.shape {
        Shape::Marks(_, lanes) => lanes.is_empty() || lanes.contains(&arrow.to) || lanes.contains(&arrow.from),
        Shape::Arrows(arrows) => arrows.iter().any(|other| {
            let touches = |lane| other.from == lane || other.to == lane;
            let before = (other.from == arrow.from && other.ends.0 < arrow.ends.0)
                || (other.to == arrow.from && other.ends.1 < arrow.ends.0);
            touches(arrow.to) || before
        }),
    }
}
