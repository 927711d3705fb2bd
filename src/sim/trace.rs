//! A run as it can be read and drawn: the format is that of [`crate::lab::trace`], for real nodes and simulated ones.

mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use crate::lab::trace::{Event, Header, Kind, Trace, VERSION};

use crate::lab::trace::about::About as Subject;
use crate::protocol::{Effect, Event as Notice, Message, Record};

/// Takes a trace while a world runs. Clocks are only computed while it does.
#[derive(Debug)]
pub(super) struct Recorder {
    events: Vec<Event>,
    clocks: Vec<Vec<u64>>,
    /// The clocks of the messages that were sent.
    sent: BTreeMap<u64, Vec<u64>>,
    first_id: u32,
}

/// What an event is about, beside where and when.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) message: Option<u64>,
    pub(super) peer: Option<u32>,
    subject: Subject,
    /// All of it, where that is more than the subject tells.
    text: Option<String>,
}

impl Recorder {
    pub(super) fn new(nodes: usize, first_id: u32) -> Self {
        Self { events: Vec::new(), clocks: vec![vec![0; nodes]; nodes], sent: BTreeMap::new(), first_id }
    }

    /// Something happens at a node, or in the world.
    pub(super) fn add(&mut self, (step, tick): (u64, u64), at: Option<usize>, kind: Kind, about: About) {
        let clock = at.map(|at| {
            let carried = about.message.filter(|_| kind == Kind::Receive).and_then(|id| self.sent.get(&id));
            let clock = &mut self.clocks[at];
            for (mine, theirs) in clock.iter_mut().zip(carried.into_iter().flatten()) {
                *mine = (*mine).max(*theirs);
            }
            clock[at] += 1;
            clock.clone()
        });
        if let (Kind::Send, Some(id), Some(clock)) = (kind, about.message, &clock) {
            self.sent.insert(id, clock.clone());
        }
        let facts = about.subject.facts();
        let name = about.subject.name;
        self.events.push(Event {
            step: Some(step),
            tick: Some(tick),
            us: None,
            // A node's place in the list is small.
            node: at.and_then(|at| u32::try_from(at).ok()).map(|at| self.first_id + at),
            clock: clock.unwrap_or_default(),
            kind,
            message: about.message.map(|id| id.to_string()),
            peer: about.peer,
            text: about.text.unwrap_or_else(|| facts.words(name.as_deref())),
            name: name.map(Cow::into_owned),
            about: facts,
        });
    }

    pub(super) fn into_events(self) -> Vec<Event> {
        self.events
    }
}

impl About {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    fn of(subject: Subject) -> Self {
        Self { subject, ..Self::default() }
    }

    pub(super) fn message(id: u64, peer: u32, message: &Message) -> Self {
        // A failing seed is read line by line: the whole message helps.
        let text = match message {
            Message::Paxos(_) | Message::Elsewhere => None,
            Message::Bully(message) => Some(words::bully(message)),
            Message::Log(message) => Some(words::log(message)),
            Message::Strong(message) => Some(words::call(message)),
            Message::Eventual(message) => Some(format!("{message:?}")),
            Message::Register(message) => Some(format!("{message:?}")),
            Message::Overlay(message) => Some(words::overlay(message)),
        };
        Self { message: Some(id), peer: Some(peer), subject: Subject::message(message), text }
    }

    /// What a step has led to, but for messages: those are told of when they leave.
    pub(super) fn effect(effect: &Effect) -> Option<(Kind, Self)> {
        match effect {
            Effect::Save(record) => Some((Kind::Save, Self::record(record))),
            Effect::Note(record) => Some((Kind::Note, Self::record(record))),
            Effect::Notify(notice) => Some((Kind::Tell, Self::notice(notice))),
            Effect::Send { .. } => None,
        }
    }

    fn record(record: &Record) -> Self {
        let text = match record {
            Record::Log(record) => Some(words::log_record(record)),
            Record::Eventual(record) => Some(format!("{record:?}")),
            Record::Register(record) => Some(format!("{record:?}")),
            _ => None,
        };
        Self { text, ..Self::of(Subject::record(record)) }
    }

    fn notice(notice: &Notice) -> Self {
        let text = match notice {
            Notice::Replied { request, result, .. } => Some(format!("client {} is answered: {result:?}", request.0)),
            Notice::Finished { request, result } => Some(format!("client {} is answered: {result:?}", request.0)),
            Notice::Found { request, result } => Some(format!("client {} is answered: {result:?}", request.0)),
            _ => None,
        };
        Self { text, ..Self::of(Subject::news(notice)) }
    }
}
