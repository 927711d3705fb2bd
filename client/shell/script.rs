//! Lines from `-c`, a file or a pipe.

use std::io::{self, BufRead};

use super::{MAX_LINE, Session, Status, Step, too_long};
use crate::command::UsageError;

/// Runs the lines of `reader`, called `name` in messages, as [`super::run`] describes.
pub(super) fn run(mut session: Session<'_>, reader: &mut dyn BufRead, name: &str, keep_going: bool) -> Status {
    let mut first_failure = None;
    for number in 1.. {
        if session.is_interrupted() {
            return first_failure.unwrap_or(Status::Refused);
        }
        let step = match next_line(reader, number) {
            Ok(Some(Ok(line))) => session.line(&line, Some((name, number))),
            Ok(Some(Err(error))) => session.usage(error, Some((name, number))),
            Ok(None) => break,
            Err(error) => {
                let error = UsageError::new(format!("cannot read on: {error}"), "");
                session.usage(error, Some((name, number)));
                return first_failure.unwrap_or(Status::Usage);
            }
        };
        match step {
            Step::Leave => break,
            Step::Ran(None | Some(Status::Done)) => {}
            Step::Ran(Some(failure)) => {
                first_failure.get_or_insert(failure);
                if !keep_going {
                    break;
                }
            }
        }
    }
    first_failure.unwrap_or(Status::Done)
}

/// The next line without its line feed, or what is wrong with it; `None` at the end.
fn next_line(reader: &mut dyn BufRead, number: usize) -> io::Result<Option<Result<String, UsageError>>> {
    let bytes = match read_line(reader)? {
        Raw::End => return Ok(None),
        Raw::TooLong => return Ok(Some(Err(too_long()))),
        Raw::Line(bytes) => bytes,
    };
    let Ok(line) = String::from_utf8(bytes) else {
        return Ok(Some(Err(UsageError::new("the line is not UTF-8 text", ""))));
    };
    // Some editors put a byte order mark in front of a file; it is no part of the first command.
    match line.strip_prefix('\u{feff}') {
        Some(rest) if number == 1 => Ok(Some(Ok(rest.to_owned()))),
        _ => Ok(Some(Ok(line))),
    }
}

enum Raw {
    Line(Vec<u8>),
    TooLong,
    End,
}

/// Reads up to a line feed. A line of any length is read to its end, but never more than [`MAX_LINE`] of it is kept.
fn read_line(reader: &mut dyn BufRead) -> io::Result<Raw> {
    let mut line = Vec::new();
    let mut started = false;
    let mut too_long = false;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let at_end = available.is_empty();
        started |= !at_end;
        let line_feed = available.iter().position(|&byte| byte == b'\n');
        let part = &available[..line_feed.unwrap_or(available.len())];
        if line.len() + part.len() > MAX_LINE {
            too_long = true;
        } else if !too_long {
            line.extend_from_slice(part);
        }
        let used = line_feed.map_or(available.len(), |at| at + 1);
        reader.consume(used);
        if line_feed.is_some() || at_end {
            return Ok(match (started, too_long) {
                (false, _) => Raw::End,
                (true, true) => Raw::TooLong,
                (true, false) => Raw::Line(line),
            });
        }
    }
}
