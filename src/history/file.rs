//! Histories as JSON lines, read back.

use std::io::{self, BufRead, Read as _};

use serde::Deserialize;

use super::{Builder, Event, EventError, History};

/// The version that stands in the first line.
pub const VERSION: u64 = 1;

/// The first line of a file.
pub(super) fn first_line() -> String {
    format!("{{\"type\":\"history\",\"version\":{VERSION}}}")
}

/// Longer than any event with its text, short enough to keep in memory.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// Why a file holds no history. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("line {line}: cannot be read: {error}")]
    Io {
        /// The line that was being read.
        line: usize,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The first line is not that of a history.
    #[error("line 1: not a history: the first line must be {}", first_line())]
    NotAHistory,
    /// The file is of another version.
    #[error("line 1: this is a history of version {0}, and only version {VERSION} can be read")]
    Version(u64),
    /// A line is not an event.
    #[error("line {line}: not an event: {error}")]
    Malformed {
        /// Which.
        line: usize,
        /// Why.
        #[source]
        error: serde_json::Error,
    },
    /// A line is longer than any event.
    #[error("line {line}: longer than {} MiB", MAX_LINE_BYTES >> 20)]
    TooLong {
        /// Which.
        line: usize,
    },
    /// An event does not fit those before it.
    #[error("line {line}: {error}")]
    Event {
        /// Which.
        line: usize,
        /// Why.
        #[source]
        error: EventError,
    },
}

#[derive(Deserialize)]
struct FirstLine {
    #[serde(rename = "type")]
    kind: String,
    version: u64,
}

impl History {
    /// Reads a file of JSON lines; see the [module](super) for the format. Empty lines are ignored.
    ///
    /// # Errors
    /// The first line that is wrong, and how.
    pub fn read(mut lines: impl BufRead) -> Result<Self, ReadError> {
        let mut builder = Builder::default();
        let mut bytes = Vec::new();
        let mut line = 0;
        loop {
            line += 1;
            bytes.clear();
            let length = lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
            let length = length.map_err(|error| ReadError::Io { line, error })?;
            if length as u64 == MAX_LINE_BYTES {
                return Err(ReadError::TooLong { line });
            }
            if line == 1 {
                let first: FirstLine = serde_json::from_slice(&bytes).map_err(|_| ReadError::NotAHistory)?;
                match first.version {
                    _ if first.kind != "history" => return Err(ReadError::NotAHistory),
                    VERSION => {}
                    other => return Err(ReadError::Version(other)),
                }
            } else if length == 0 {
                return Ok(builder.finish());
            } else if !bytes.trim_ascii().is_empty() {
                let event: Event =
                    serde_json::from_slice(&bytes).map_err(|error| ReadError::Malformed { line, error })?;
                builder.take(event).map_err(|error| ReadError::Event { line, error })?;
            }
        }
    }
}
