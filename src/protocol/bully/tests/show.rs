//! How the scripts show what happens.

use super::super::{Announcement, Answer, Bully, Election, Heartbeat, Message, Phase, Rank, State};
use super::world::{LogMessage, Said};
use crate::protocol::types::NodeId;

pub(super) const KINDS: [&str; 9] =
    ["election", "answer", "coordinator", "heartbeat", "resign", "prepare", "promise", "reject", "entry"];

pub(super) fn kind(said: &Said) -> &'static str {
    match said {
        Said::Bully(Message::Election(_)) => "election",
        Said::Bully(Message::Answer(_)) => "answer",
        Said::Bully(Message::Coordinator(_)) => "coordinator",
        Said::Bully(Message::Heartbeat(_)) => "heartbeat",
        Said::Bully(Message::Resign(_)) => "resign",
        Said::Log(LogMessage::Prepare(_)) => "prepare",
        Said::Log(LogMessage::Promise(_)) => "promise",
        Said::Log(LogMessage::Reject { .. }) => "reject",
        Said::Log(LogMessage::Entry(_)) => "entry",
    }
}

/// A message of the elections; the log's are told by what comes of them.
pub(super) fn said(said: &Said) -> Option<String> {
    let Said::Bully(message) = said else { return None };
    Some(match message {
        Message::Election(Election { rank, forced, .. }) => {
            format!("Election {}{}", shown_rank(rank), if *forced { ", forced" } else { "" })
        }
        Message::Answer(Answer { coordinator: Some(epoch), .. }) => format!("Answer: {epoch} coordinates"),
        Message::Answer(Answer { ok: Some(node), .. }) => format!("Answer: ok, {node} takes over"),
        Message::Answer(_) => "Answer: I stand back".to_owned(),
        Message::Coordinator(Announcement { epoch }) => format!("Coordinator {epoch}"),
        Message::Resign(Announcement { epoch }) => format!("Resign {epoch}"),
        Message::Heartbeat(beat) => heartbeat(beat),
    })
}

fn heartbeat(beat: &Heartbeat) -> String {
    let mut text = format!("Heartbeat, hears {}", ids(beat.hears.iter().copied()));
    if let Some(epoch) = beat.coordinator {
        text += &format!(", {} {epoch}", if beat.hears_coordinator { "hears" } else { "knows of" });
    }
    for (flag, word) in [(beat.eligible, ", eligible"), (beat.asks, ", asks")] {
        text += if flag { word } else { "" };
    }
    text
}

fn shown_rank(rank: &Rank) -> String {
    match rank.epoch {
        Some(epoch) => format!("({epoch}, {})", rank.counter),
        None => format!("(empty, {})", rank.counter),
    }
}

pub(super) fn ids(ids: impl Iterator<Item = NodeId>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    if ids.is_empty() { "nobody".to_owned() } else { ids.join(" ") }
}

/// What a node has begun to do.
pub(super) fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Looking { .. } => "looks for a coordinator".to_owned(),
        Phase::Electing { .. } => "stands for election".to_owned(),
        Phase::Yielding { to, .. } => format!("waits for {to} or a better one"),
        Phase::Won { .. } => "wins".to_owned(),
        Phase::Following { epoch } => format!("follows {epoch}"),
        Phase::Coordinating { epoch, .. } => format!("coordinates in {epoch}"),
    }
}

/// A line of `status`.
pub(super) fn status(id: NodeId, bully: Option<&Bully>) -> String {
    let Some(bully) = bully else { return format!("{id}: down") };
    let status = bully.status();
    let what = match (status.state, status.leader, status.epoch) {
        (State::Coordinating, _, Some(epoch)) => format!("coordinates in {epoch}"),
        (_, Some(leader), Some(epoch)) => format!("follows {leader} in {epoch}"),
        (state, ..) => format!("{state:?}").to_lowercase(),
    };
    let eligible = if status.eligible { "eligible" } else { "not eligible" };
    format!("{id}: {what}, {eligible}, hears {}", ids(status.hears.into_iter()))
}
