//! What events of the eventual board and of the quorum registers are about.

use super::About;
use crate::protocol::eventual::Message as Board;
use crate::protocol::eventual::memory::{Operation, Record as BoardRecord};
use crate::protocol::register::memory::{Held, Record as RegisterRecord};
use crate::protocol::register::{Done, Failure, Message as Register};

/// So much of a post's text is kept.
const MAX_TEXT_CHARS: usize = 60;

/// A message about the eventual board.
pub(super) fn board(name: &'static str, message: &Board) -> About {
    match message {
        Board::Spread(spread) => operation(name, &spread.operation),
        Board::Have(have) => About::named(name, format!("covers {}", have.versions)),
        Board::Ask(ask) => {
            let what = if ask.whole { "everything" } else { "what is not covered" };
            About::named(name, format!("asks for {what}, covers {}", ask.have.versions))
        }
        Board::Tell(tell) => {
            let operations = Some(tell.operations.len() as u64);
            let (whole, more) = (
                if tell.whole { "of everything" } else { "of what lacked" },
                if tell.more { ", with more" } else { "" },
            );
            About { entries: operations, ..About::named(name, format!("tells {whole}{more}")) }
        }
    }
}

/// A message of a register's quorums.
pub(super) fn register(name: &'static str, message: &Register) -> About {
    match message {
        Register::Query(query) => About { call: Some(query.call), ..About::named(name, format!("'{}'", query.name)) },
        Register::Held(answer) => match &answer.held {
            Some(held) => self::held(name, held),
            None => About::named(name, "never written"),
        },
        Register::Store(store) => held(name, &store.held),
        Register::Stored(stored) => About::named(name, format!("holds {}", stored.timestamp)),
    }
}

/// What changed on the eventual board.
pub(super) fn board_record(record: &BoardRecord) -> About {
    match record.put.as_slice() {
        [only] => operation("eventual.stands", only),
        put => About {
            entries: Some(put.len() as u64),
            ..About::named("eventual.stands", format!("{} gone, covers {}", record.gone.len(), record.versions))
        },
    }
}

/// What a register holds now.
pub(super) fn register_record(record: &RegisterRecord) -> About {
    held("register.holds", &record.held)
}

/// How a register's call ended.
pub(super) fn finished(result: &Result<Done, Failure>) -> String {
    match result {
        Ok(Done::Written(timestamp)) => format!("written in {timestamp}"),
        Ok(Done::Read(Some(held))) => format!("read what was written in {}", held.timestamp),
        Ok(Done::Read(None)) => "read that it was never written".to_owned(),
        Err(Failure::Unavailable { .. }) => "unavailable".to_owned(),
        Err(Failure::Unknown { timestamp, .. }) => format!("not known to be written in {timestamp}"),
        Err(Failure::Full) => "full".to_owned(),
        Err(Failure::NoRoom) => "no room on the disk".to_owned(),
        Err(Failure::Restarted) => "restarted".to_owned(),
    }
}

fn operation(name: &'static str, Operation { id, stamp, text }: &Operation) -> About {
    let what = match text {
        None => format!("{stamp} deletes {id}"),
        Some(_) if id == stamp => format!("{id} is posted"),
        Some(_) => format!("{stamp} modifies {id}"),
    };
    let text = text.as_ref().map(|text| format!(": {}", shortened(text))).unwrap_or_default();
    About { entry: Some(*id), stamp: Some(*stamp), ..About::named(name, what + &text) }
}

fn held(name: &'static str, held: &Held) -> About {
    About::named(name, format!("in {}", held.timestamp)).with_value(&held.value)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
