//! What is said about a line that is no command.

use std::fmt;

use super::help::{self, COMMANDS, Help};

/// Where in a script a line stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The script: a file name, `-c` or `stdin`.
    pub(crate) source: String,
    /// Its line, from 1.
    pub(crate) line: usize,
}

/// A line that is no command. Its `Display` has a line for the message and one for the hint, without a line feed at the
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    /// What was wrong.
    pub(crate) message: String,
    /// What to type instead; may be empty.
    pub(crate) hint: String,
    /// Where it stood; `None` at the prompt.
    pub(crate) place: Option<Place>,
}

impl UsageError {
    /// An error with its hint, not yet placed anywhere.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), place: None }
    }

    /// A mistake in the arguments of a command; the hint is how it is used.
    pub(crate) fn about(help: &Help, message: &str) -> Self {
        Self::new(message, format!("usage: {}", help.usage))
    }

    /// A word that is no command; the hint is the nearest one, if any is near.
    pub(crate) fn unknown_command(word: &str) -> Self {
        let hint = nearest(word).map_or_else(
            || "'help' lists the commands".to_owned(),
            |help| format!("did you mean '{}'? usage: {}", help.name, help.usage),
        );
        Self::new(format!("there is no command '{}'", shown(word)), hint)
    }

    /// The same error, with the place where the line stood.
    pub(crate) fn at(mut self, source: &str, line: usize) -> Self {
        self.place = Some(Place { source: source.to_owned(), line });
        self
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { source, line }) = &self.place {
            write!(f, "{source}:{line}: ")?;
        }
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n{}", self.hint) }
    }
}

impl std::error::Error for UsageError {}

/// `text` as a message may repeat it: short, and without characters that steer a terminal.
pub(crate) fn shown(text: &str) -> String {
    const LIMIT: usize = 40;
    let mut chars = text.chars();
    let mut shown = String::new();
    for c in chars.by_ref().take(LIMIT) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The command whose name or alias is nearest to `word`, unless it is too far to be a slip of the fingers.
fn nearest(word: &str) -> Option<&'static Help> {
    const LONGEST: usize = 16; // no name is longer, so nothing longer is a slip; it also bounds the work
    if word.chars().nth(LONGEST).is_some() {
        return None;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let allowed = if word.len() <= 3 { 1 } else { 2 };
    COMMANDS
        .iter()
        .flat_map(|help| help::names(help).map(move |name| (help, name)))
        .map(|(help, name)| (distance(&word, &name.to_lowercase().chars().collect::<Vec<_>>()), help))
        .filter(|(distance, _)| *distance <= allowed && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, help)| help)
}

/// How many single characters must be inserted, deleted, replaced or swapped with their neighbour to turn `a` into `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                replaced.min(swap).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[a.len()][b.len()]
}
