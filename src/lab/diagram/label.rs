//! What an event says in a picture: few words, a tone, and whether it is a vote.

use super::{Mark, Tone};
use crate::lab::trace::{Event, Kind};

/// What there is to say about one event.
pub(super) struct Told<'a> {
    /// Few words.
    pub(super) label: String,
    pub(super) tone: Tone,
    /// Whether it belongs to single decisions, or to the nodes' lives.
    pub(super) single: bool,
    /// Whether it says nothing that matters to the rest.
    pub(super) noise: bool,
    /// What is drawn, if it is no message.
    pub(super) mark: Option<Mark>,
    /// What the event's node votes for: what it does, the instance, and the ballot.
    pub(super) vote: Option<(&'static str, &'a str, &'a str)>,
}

pub(super) fn label(event: &Event) -> Told<'_> {
    let name = event.name.as_deref().unwrap_or_default();
    let facts = &event.about;
    let ballot = facts.ballot.as_deref().unwrap_or_default();
    let value = facts.value.as_deref().map(short).unwrap_or_default();
    let told = |label: String, tone| plain(label, tone, facts.instance.is_some());
    let vote = |what| facts.instance.as_deref().map(|instance| (what, instance, ballot));
    let marked = |label: String, tone, mark| Told { mark: Some(mark), ..told(label, tone) };
    let alive = |label: String, mark| Told { single: true, ..marked(label, Tone::Plain, mark) };
    match (event.kind, name) {
        (Kind::Save | Kind::Note, "Promise") => Told { vote: vote("promised"), ..told(String::new(), Tone::Promise) },
        (Kind::Save, "log.promise") => {
            Told { vote: Some(("promised", "the log", ballot)), ..told(String::new(), Tone::Promise) }
        }
        (Kind::Save | Kind::Note, "Accept") => Told { vote: vote("accepted"), ..told(String::new(), Tone::Accepted) },
        (Kind::Tell, "Proposing") => marked(format!("begins ballot {ballot}"), Tone::Prepare, Mark::Begins),
        (Kind::Tell, "Decided") => marked(format!("knows: {value} is chosen"), Tone::Commit, Mark::Knows),
        (Kind::Tell, "Answered") => {
            let outcome = facts.note.as_deref().and_then(|note| note.split_once(": ")).map_or("", |(_, word)| word);
            let what = if value.is_empty() { outcome.to_owned() } else { value };
            Told { single: true, ..marked(format!("answers its client: {what}"), Tone::Plain, Mark::Answers) }
        }
        (Kind::Tell, "Coordinates") => marked(format!("leads, epoch {ballot}"), Tone::Election, Mark::Knows),
        (Kind::Tell, "Follows") => marked(format!("follows {ballot}"), Tone::Election, Mark::Other),
        (Kind::Tell, "Looks") => marked("has no leader".to_owned(), Tone::Election, Mark::Other),
        (Kind::Tell, "Stands") => marked("stands for election".to_owned(), Tone::Election, Mark::Begins),
        (Kind::Call, "propose") => marked(format!("is asked for {value}"), Tone::Plain, Mark::Other),
        (Kind::Start, _) => alive("starts".to_owned(), Mark::Starts),
        (Kind::Crash, _) => alive("crashes".to_owned(), Mark::Crashes),
        (Kind::Quarantine, _) => alive("finds its disk damaged".to_owned(), Mark::Crashes),
        (Kind::Pause, _) => alive("stands still".to_owned(), Mark::Other),
        (Kind::Resume, _) => alive("goes on".to_owned(), Mark::Other),
        (Kind::Restart, _) => alive("is told to forget everything".to_owned(), Mark::Other),
        (Kind::Cut | Kind::Mend | Kind::Phase | Kind::Violation, _) => alive(short(&event.text), Mark::Other),
        (Kind::Send | Kind::Receive | Kind::Lose | Kind::Hold, _) => message(event, name, ballot, &value),
        _ => told(String::new(), Tone::Plain),
    }
}

fn message<'a>(event: &'a Event, name: &'a str, ballot: &'a str, value: &str) -> Told<'a> {
    let facts = &event.about;
    let told = |label: String, tone| plain(label, tone, facts.instance.is_some());
    let vote = |what| facts.instance.as_deref().map(|instance| (what, instance, ballot));
    let bare = |tone| told(format!("{name} {ballot}").trim_end().to_owned(), tone);
    match name {
        "Prepare" => bare(Tone::Prepare),
        "Promise" => {
            let label = match &facts.accepted {
                Some(accepted) => format!("Promise {ballot}: {value} in {accepted}"),
                None => format!("Promise {ballot}"),
            };
            Told { vote: vote("promised"), ..told(label, Tone::Promise) }
        }
        "Accept" => told(format!("Accept {ballot} {value}").trim_end().to_owned(), Tone::Accept),
        "Accepted" => Told { vote: vote("accepted"), ..bare(Tone::Accepted) },
        "Reject" => {
            let promised = facts.promised.as_deref().unwrap_or("a higher one");
            told(format!("Reject {ballot}: promised {promised}"), Tone::Reject)
        }
        "Commit" => told(format!("Commit {ballot} {value}").trim_end().to_owned(), Tone::Commit),
        // Nobody waits for these answers, and nothing depends on them.
        "Committed" | "Learn" | "Learned" => Told { noise: true, ..bare(Tone::Plain) },
        _ => other(event, name),
    }
}

/// Messages of election and log, and what may come.
fn other<'a>(event: &'a Event, name: &'a str) -> Told<'a> {
    let facts = &event.about;
    let epoch = facts.ballot.as_deref().unwrap_or_default();
    let value = facts.value.as_deref().map(short).unwrap_or_default();
    let last = facts.counter.unwrap_or_default();
    let (label, tone) = match name {
        "bully.election" => (format!("Election, knows {last}"), Tone::Election),
        "bully.answer" => (facts.note.clone().unwrap_or_default(), Tone::Election),
        "bully.coordinator" => (format!("Coordinator {epoch}"), Tone::Election),
        "bully.resign" => (format!("Resign {epoch}"), Tone::Election),
        "log.prepare" => (format!("Prepare epoch {epoch}"), Tone::Prepare),
        "log.promise" => (format!("Promise epoch {epoch}, has {last}"), Tone::Promise),
        "log.reject" => (format!("Reject epoch {epoch}"), Tone::Reject),
        "log.accept" => match facts.entries {
            Some(0) | None => (format!("nothing new after {last}"), Tone::Plain),
            Some(1) => (format!("Accept entry {last}"), Tone::Accept),
            Some(entries) => (format!("Accept entries {}–{last}", last.saturating_sub(entries - 1)), Tone::Accept),
        },
        "log.accepted" => (format!("Accepted to {last}"), Tone::Accepted),
        "eventual.spread" => (short(facts.note.as_deref().unwrap_or_default()), Tone::Accept),
        "eventual.ask" => ("asks for all it lacks".to_owned(), Tone::Prepare),
        "eventual.tell" => (format!("tells {} operations", facts.entries.unwrap_or_default()), Tone::Promise),
        "register.query" => (format!("asks for {}", short(facts.note.as_deref().unwrap_or_default())), Tone::Prepare),
        "register.held" => (format!("holds {value} {}", facts.note.as_deref().unwrap_or_default()), Tone::Promise),
        "register.store" => (format!("store {value} {}", facts.note.as_deref().unwrap_or_default()), Tone::Accept),
        "register.stored" => (facts.note.clone().unwrap_or_default(), Tone::Accepted),
        _ => (format!("{name} {epoch}").trim_end().to_owned(), Tone::Plain),
    };
    let promises = name == "log.promise" && facts.note.is_none();
    let vote = promises.then_some(("promised", "the log", epoch));
    Told { vote, ..plain(label, tone, facts.instance.is_some()) }
}

/// Words without a mark or a vote.
const fn plain<'a>(label: String, tone: Tone, single: bool) -> Told<'a> {
    Told { label, tone, single, noise: false, mark: None, vote: None }
}

/// A value as it stands in a label.
fn short(text: &str) -> String {
    const LONGEST: usize = 24;
    let clean: String = text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    if clean.chars().count() <= LONGEST {
        return clean;
    }
    clean.chars().take(LONGEST - 1).chain(['…']).collect()
}
