//! Completion and hints, as pure functions over the line.

use crate::command::Port;
use crate::command::faults::FaultVerb;
use crate::command::help::{self, COMMANDS, Help, Verb};
use crate::command::overlay::Overlay;
use crate::command::seeing::SeeVerb;
use crate::command::services::ServiceVerb as V;
use crate::command::words::{Shape, Word, Words};
use synod::lab::explain::questions::Question;

/// What the word before byte `pos` could become: where that word starts, and what to put there. A candidate that wants
/// another word behind it ends in a space.
pub(super) fn complete(line: &str, pos: usize, ports: &[Port]) -> (usize, Vec<String>) {
    let Some(before) = line.get(..pos) else {
        return (pos, Vec::new());
    };
    let mut words = cut(before);
    // Inside quotes everything is text.
    if words.last().is_some_and(|word| word.shape == Shape::Open) {
        return (pos, Vec::new());
    }
    let partial = if ends_a_word(before) { None } else { words.pop() };
    let (start, typed) = partial.map_or((pos, ""), |word| (word.start, word.raw));
    let mut candidates = candidates(&words, typed, ports);
    candidates.retain(|candidate| starts_with(candidate, typed));
    (start, candidates)
}

/// The rest of the usage line, to be shown behind the cursor if it stands at the end of the line.
pub(super) fn hint(line: &str, pos: usize) -> Option<String> {
    if pos != line.len() {
        return None;
    }
    let words = cut(line);
    let first = words.first()?;
    if words.last()?.shape == Shape::Open {
        return None;
    }
    let at_first = words.len() == 1 && !ends_a_word(line);
    let Some(help) = help::find(first.raw) else {
        return if at_first { only_command(first.raw) } else { None };
    };
    let missing = match help.verb {
        Verb::Set => missing_of_set(&words)?.to_owned(),
        Verb::Service(V::Board) if words.len() > 1 => missing_of_board(&words)?,
        Verb::Service(V::Overlay(_)) if words.len() > 1 => missing_of_overlay(&words)?,
        Verb::Service(V::Lock) if words.iter().any(|word| word.is("--")) => return None,
        _ => parameters(help, words.len()),
    };
    let space = if ends_a_word(line) { "" } else { " " };
    (!missing.is_empty()).then(|| format!("{space}{missing}"))
}

/// The words of a line, cut as the parser cuts them.
fn cut(line: &str) -> Vec<Word<'_>> {
    let mut rest = Words::new(line);
    let mut words: Vec<Word<'_>> = rest.by_ref().take(1).collect();
    // So many words come before a text that goes on to the end of the line.
    let before = match words.first().and_then(|word| help::find(word.raw)).map(|help| help.verb) {
        Some(Verb::Set | Verb::Service(V::Append | V::Put | V::Board)) => 2,
        Some(Verb::Service(V::Cas)) => 3,
        _ => usize::MAX,
    };
    words.extend(rest.by_ref().take(before - 1));
    if words.get(1).is_some_and(|word| word.is("modify")) {
        words.extend(rest.next());
    }
    if !rest.at_quote() {
        rest = rest.without_quotes();
    }
    words.extend(rest);
    words
}

fn ends_a_word(line: &str) -> bool {
    line.chars().next_back().is_none_or(char::is_whitespace)
}

/// Everything that could stand behind the whole words `done`.
fn candidates(done: &[Word<'_>], typed: &str, ports: &[Port]) -> Vec<String> {
    let Some(first) = done.first() else {
        return commands(typed, true);
    };
    let Some(help) = help::find(first.raw) else {
        return Vec::new();
    };
    match (help.verb, done.len()) {
        (Verb::Set, 1) => vec!["value ".to_owned(), "diagram ".to_owned()],
        (Verb::Set, 2) if done[1].is("diagram") => vec!["on".to_owned(), "off".to_owned()],
        (Verb::Set, _) => match missing_of_set(done) {
            Some("on <port>") => vec!["on ".to_owned()],
            Some("<port>") => ports.iter().map(Port::to_string).collect(),
            _ => Vec::new(),
        },
        (Verb::Race(_), 1) => ports.iter().map(|port| format!("{port} ")).collect(),
        (Verb::Race(_), 2) => {
            // The two proposers must differ, so the first one is no candidate.
            let first = done[1].raw;
            let others = ports.iter().map(Port::to_string).filter(|port| port != first);
            others.map(|port| format!("{port} ")).collect()
        }
        (Verb::Service(V::Board), 1) => {
            ["post ", "modify ", "delete ", "show", "eventual ", "diff"].map(str::to_owned).to_vec()
        }
        (Verb::Service(V::Board), 2) if done[1].is("eventual") => {
            ["post ", "modify ", "delete ", "show", "status"].map(str::to_owned).to_vec()
        }
        (Verb::Service(V::Register), 1) => ["write ", "read ", "quorum", "stale"].map(str::to_owned).to_vec(),
        (Verb::Service(V::Mutex), 1) => vec!["demo".to_owned()],
        (Verb::Service(V::Overlay(overlay)), 1) => {
            let more: &[&str] = if overlay == Overlay::Dht { &["ring", "fingers", "join ", "leave "] } else { &[] };
            ["set ", "get ", "remove "].iter().chain(more).map(|&word| word.to_owned()).collect()
        }
        (Verb::Service(V::Overlay(_)), 2)
            if ["join", "leave", "ring", "fingers"].iter().any(|word| done[1].is(word)) =>
        {
            ports.iter().map(Port::to_string).collect()
        }
        (Verb::Service(V::Overlay(_)), 3) if ["get", "remove"].iter().any(|word| done[1].is(word)) => {
            ports.iter().map(Port::to_string).collect()
        }
        (Verb::Service(V::Overlay(_)), 4) if done[1].is("set") => ports.iter().map(Port::to_string).collect(),
        (Verb::Service(V::Files), 1) => vec!["history".to_owned()],
        (Verb::Fault(FaultVerb::Hold), 1) => KINDS.map(|kind| format!("{kind} ")).to_vec(),
        (Verb::Fault(FaultVerb::Partition), _) => ports.iter().map(Port::to_string).collect(),
        (Verb::Fault(verb), _) if is_link(verb) => end_of_link(done, verb, ports),
        (
            Verb::Crash | Verb::Start | Verb::Service(V::Elect) | Verb::Fault(FaultVerb::Pause | FaultVerb::Resume),
            1,
        ) => ports.iter().map(Port::to_string).collect(),
        (Verb::See(SeeVerb::Trace), 1) => ["on", "off", "clear", "save ", "show"].map(str::to_owned).to_vec(),
        (Verb::See(SeeVerb::Diagram), 1) => vec!["all".to_owned(), "--from ".to_owned()],
        (Verb::See(SeeVerb::Explain), 1) => Question::ALL.iter().map(|(word, _)| (*word).to_owned()).collect(),
        (Verb::Help, 1) => commands(typed, false),
        _ => Vec::new(),
    }
}

/// What `hold` can hold of single decisions; the other kinds are for who knows them.
const KINDS: [&str; 4] = ["accept", "commit", "learn", "prepare"];

const fn is_link(verb: FaultVerb) -> bool {
    matches!(verb, FaultVerb::Cut | FaultVerb::Delay | FaultVerb::Drop | FaultVerb::Hold)
}

/// What comes next in `<ports> -> <ports>`, which for all but `cut` stands behind one word more.
fn end_of_link(done: &[Word<'_>], verb: FaultVerb, ports: &[Port]) -> Vec<String> {
    let given = done.len() - if verb == FaultVerb::Cut { 1 } else { 2 };
    let first = done.get(done.len().wrapping_sub(2)).map(|word| word.raw);
    let names = ports.iter().map(Port::to_string).chain(["all".to_owned()]);
    match given {
        0 => names.map(|name| format!("{name} ")).collect(),
        1 => vec!["-> ".to_owned(), "<-> ".to_owned()],
        // A link has two ends, so the first one is no candidate.
        2 => names.filter(|name| Some(name.as_str()) != first).collect(),
        _ => Vec::new(),
    }
}

/// The names of the commands, and their aliases once something is typed that only they could mean.
fn commands(typed: &str, with_space: bool) -> Vec<String> {
    COMMANDS
        .iter()
        .flat_map(|help| help::names(help).map(move |name| (help, name)))
        .filter(|(help, name)| *name == help.name || !typed.is_empty())
        .map(|(help, name)| {
            let space = if with_space && !parameters(help, 1).is_empty() { " " } else { "" };
            format!("{name}{space}")
        })
        .collect()
}

/// The rest of the only command that starts with `typed`, with its parameters.
fn only_command(typed: &str) -> Option<String> {
    let mut matching = COMMANDS
        .iter()
        .flat_map(|help| help::names(help).map(move |name| (help, name)))
        .filter(|(_, name)| starts_with(name, typed));
    let (help, name) = matching.next()?;
    if matching.next().is_some() {
        return None;
    }
    // `starts_with` compares as many bytes, and names are ASCII.
    let rest = &name[typed.len()..];
    let parameters = parameters(help, 1);
    Some(if parameters.is_empty() { rest.to_owned() } else { format!("{rest} {parameters}") })
}

/// The words of the usage line behind its first `given`.
fn parameters(help: &Help, given: usize) -> String {
    help.usage.split_whitespace().skip(given).collect::<Vec<_>>().join(" ")
}

/// What `set value <v> on <port>` still wants behind `words`, whose value may be any number of words.
fn missing_of_set(words: &[Word<'_>]) -> Option<&'static str> {
    match words {
        [_] => Some("value <v> on <port>"),
        [_, value, ..] if !value.is("value") => None,
        [_, _] => Some("<v> on <port>"),
        [_, _, _, .., on] if on.is("on") => Some("<port>"),
        [_, _, _, .., on, _] if on.is("on") => Some(""),
        _ => Some("on <port>"),
    }
}

/// What a command about the board still wants behind `words`; the second one says which it is.
fn missing_of_board(words: &[Word<'_>]) -> Option<String> {
    let usage = [
        ("post", "<text>"),
        ("modify", "<id> <text>"),
        ("delete", "<id>"),
        ("show", ""),
        ("diff", ""),
        ("eventual", "post|modify|delete|show|status [...]"),
    ];
    let (_, usage) = usage.into_iter().find(|(name, _)| words[1].is(name))?;
    Some(usage.split_whitespace().skip(words.len() - 2).collect::<Vec<_>>().join(" "))
}

/// What a command about an overlay still wants behind `words`; the second one says which it is.
fn missing_of_overlay(words: &[Word<'_>]) -> Option<String> {
    let usage = [
        ("set", "<key> <v> [port]"),
        ("get", "<key> [port]"),
        ("remove", "<key> [port]"),
        ("ring", "[port]"),
        ("fingers", "[port]"),
        ("join", "<port>"),
        ("leave", "<port>"),
    ];
    let (_, usage) = usage.into_iter().find(|(name, _)| words[1].is(name))?;
    Some(usage.split_whitespace().skip(words.len() - 2).collect::<Vec<_>>().join(" "))
}

/// Whether `name` starts with `typed`, in any case.
fn starts_with(name: &str, typed: &str) -> bool {
    name.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed))
}
