//! What happened in plain words: pure functions from a trace to text.
//!
//! [`story`] finds out who promised and accepted what, [`single`] tells of one decision, [`leader`] of a change of
//! leader, [`entry`] of a write to the log, [`board`] of what was done to an entry of the eventual board, and [`questions`]
//! answers what every learner asks, by the reader's own last run.

pub mod board;
pub mod entry;
pub mod leader;
pub mod questions;
pub mod single;
pub mod story;
#[cfg(test)]
mod tests;

use super::trace::Trace;
use story::Story;

/// The width that texts are wrapped to.
pub const WIDTH: usize = 80;

/// Tells what a trace shows: the last decision in it, or else what was done to the eventual board, or else the last change
/// of leader and the last write to the log after it. `None` if it shows none of these.
#[must_use]
pub fn tell(trace: &Trace) -> Option<Vec<String>> {
    let paragraphs = match Story::of(trace) {
        Some(story) => single::tell(&story),
        None => match (board::tell(trace), leader::tell(trace)) {
            (Some(told), _) => told,
            (None, Some(told)) => told.into_iter().chain(entry::tell_of_a_call(trace).unwrap_or_default()).collect(),
            (None, None) => entry::tell(trace)?,
        },
    };
    Some(paragraphs.iter().flat_map(|paragraph| wrap(paragraph, WIDTH)).collect())
}

/// Breaks a paragraph into lines; what is longer than a line stays whole. One that begins with spaces goes on with as
/// many.
#[must_use]
pub fn wrap(paragraph: &str, width: usize) -> Vec<String> {
    let indent = paragraph.chars().take_while(|c| *c == ' ').count();
    let mut lines = Vec::new();
    let mut line = " ".repeat(indent);
    let mut is_empty = true;
    for word in paragraph.split_whitespace() {
        let fits = line.chars().count() + usize::from(!is_empty) + word.chars().count() <= width;
        if !is_empty && !fits {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// `8000`, `8000 and 8001`, `8000, 8001 and 8002`; `nobody`.
pub(super) fn list(nodes: &[u32]) -> String {
    match nodes {
        [] => "nobody".to_owned(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(u32::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A list in the order of the nodes: in which order they answered is chance.
pub(super) fn sorted(nodes: &[u32]) -> String {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    list(&nodes)
}
