//! The messages and records of the replicated log and its election, in words.

use crate::protocol::bully::{Answer, Heartbeat, Message as Bully};
use crate::protocol::log::entries::{Command, Entry};
use crate::protocol::log::memory::Record;
use crate::protocol::log::{Message as Log, Piece};
use crate::protocol::overlay;
use crate::protocol::strong::Message as Call;
use crate::protocol::types::Ballot;
use crate::service::command::Command as ServiceCommand;

pub(super) fn bully(message: &Bully) -> String {
    match message {
        Bully::Election(election) => {
            let forced = if election.forced { ", by hand" } else { "" };
            format!("Election({}{forced})", election.number)
        }
        Bully::Answer(Answer { number, ok, coordinator }) => {
            let what = match (ok, coordinator) {
                (Some(node), _) => format!("ok, {node} stands"),
                (None, Some(epoch)) => format!("{epoch} coordinates"),
                (None, None) => "stands back".to_owned(),
            };
            format!("Answer({number}, {what})")
        }
        Bully::Coordinator(said) => format!("Coordinator({})", said.epoch),
        Bully::Heartbeat(Heartbeat { rank, coordinator, hears, asks, .. }) => {
            let hears: Vec<String> = hears.iter().map(ToString::to_string).collect();
            let asks = if *asks { ", asks" } else { "" };
            let (counter, known) = (rank.counter, shown(*coordinator));
            format!("Heartbeat(length {counter}, coordinator {known}, hears {}{asks})", hears.join(" "))
        }
        Bully::Resign(said) => format!("Resign({})", said.epoch),
    }
}

pub(super) fn log(message: &Log) -> String {
    let (name, epoch, what) = match message {
        Log::Prepare { epoch } => ("LogPrepare", Some(*epoch), String::new()),
        Log::Promise { epoch, holds, votes, .. } => {
            let (accepted, length, committed) = (shown(holds.accepted), holds.length, holds.committed);
            let vote = if *votes { "" } else { ", no vote" };
            let what = format!(", holds {length} of {accepted}, {committed} committed{vote}");
            ("LogPromise", Some(*epoch), what)
        }
        Log::Reject { epoch, promised } => ("LogReject", Some(*epoch), format!(", promised {promised}")),
        Log::Accept { epoch, began, after, entries, committed, .. } => {
            let began = began.map_or_else(String::new, |began| {
                format!(", began with {} of {} up to {}", began.length, shown(began.accepted), began.start)
            });
            let what = format!(", after {after}: {}, {committed} committed{began}", listed(entries));
            ("LogAccept", Some(*epoch), what)
        }
        Log::Accepted { epoch, length: Some(length) } => ("LogAccepted", Some(*epoch), format!(", up to {length}")),
        Log::Accepted { epoch, length: None } => ("LogAccepted", Some(*epoch), ", not synchronised".to_owned()),
        Log::Fetch { epoch, after, offset } => ("Fetch", Some(*epoch), format!(", after {after} from byte {offset}")),
        Log::Fetched { epoch, piece: Piece::Entries { after, entries } } => {
            ("Fetched", Some(*epoch), format!(", after {after}: {}", listed(entries)))
        }
        Log::Fetched { epoch, piece: Piece::Snapshot { slot, offset, total, bytes, .. } } => {
            let what = format!(", snapshot of {slot}: {} bytes from {offset} of {total}", bytes.len());
            ("Fetched", Some(*epoch), what)
        }
        Log::Confirm { epoch, round } => ("Confirm", Some(*epoch), format!(", round {round}")),
        Log::Confirmed { epoch, round } => ("Confirmed", Some(*epoch), format!(", round {round}")),
        Log::Blank => ("Blank", None, String::new()),
        Log::Known { blank } => ("Known", None, if *blank { "blank" } else { "not blank" }.to_owned()),
    };
    let about = epoch.map_or_else(String::new, |epoch| epoch.to_string());
    format!("{name}({about}{what})")
}

pub(super) fn call(message: &Call) -> String {
    match message {
        Call::Forward { id, command } => format!("Forward({id}, {})", asked(command)),
        Call::Answer { id, reply: Some(_) } => format!("Answer({id}, applied)"),
        Call::Answer { id, reply: None } => format!("Answer({id}, not taken)"),
        Call::Change { id, change } => format!("Change({id}, {change:?})"),
        Call::Unchanged { id, why } => format!("Unchanged({id}, {why:?})"),
        Call::AskRead { id } => format!("AskRead({id})"),
        Call::ReadAt { id, slot: Some(slot) } => format!("ReadAt({id}, from {slot} on)"),
        Call::ReadAt { id, slot: None } => format!("ReadAt({id}, not here)"),
    }
}

/// With all that is in it: who reads of a ring wants to see the points.
pub(super) fn overlay(message: &overlay::Message) -> String {
    match message {
        overlay::Message::Dht(message) => format!("Dht {message:?}"),
        overlay::Message::Flood(message) => format!("Flood {message:?}"),
        overlay::Message::Index(message) => format!("Index {message:?}"),
    }
}

pub(super) fn log_record(record: &Record) -> String {
    match record {
        Record::Promise { epoch } => format!("promised epoch {epoch}"),
        Record::Append { after, entries } => {
            format!("appended after {after}: {}", listed(entries))
        }
        Record::Sync { epoch, after, entries } => {
            format!("synchronised with epoch {epoch}, after {after}: {}", listed(entries))
        }
        Record::Install { epoch, snapshot, entries } => {
            let (slot, entries) = (snapshot.slot, listed(entries));
            format!("synchronised with epoch {epoch} by the snapshot of {slot}, and {entries}")
        }
        Record::Compact { snapshot, through } => {
            format!("snapshot of {}; gone are all up to {through}", snapshot.slot)
        }
        Record::Commit { slot } => format!("committed up to {slot}"),
        Record::Prove => "may vote".to_owned(),
    }
}

fn listed(entries: &[Entry]) -> String {
    let one = |entry: &Entry| match &entry.command {
        Command::Noop => format!("[{} empty]", entry.epoch),
        Command::Members(members) => format!("[{} members {members:?}]", entry.epoch),
        Command::Service(bytes) => format!("[{} {}]", entry.epoch, asked(bytes)),
    };
    if entries.is_empty() { "nothing".to_owned() } else { entries.iter().map(one).collect::<Vec<_>>().join(" ") }
}

fn asked(command: &[u8]) -> String {
    ServiceCommand::decode(command).map_or_else(|error| error.to_string(), |command| format!("{:?}", command.action))
}

fn shown(epoch: Option<Ballot>) -> String {
    epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string())
}
