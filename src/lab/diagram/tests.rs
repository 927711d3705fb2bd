//! Golden pictures of recorded traces: `UPDATE_GOLDENFILES=1 cargo test` draws them anew, to be looked at as a diff.

use std::path::PathBuf;

use super::*;
use crate::lab::trace::{Facts, Header};

/// The recorded runs: the races of the lecture, and one in which the leader dies.
pub(in crate::lab) const RECORDED: [&str; 5] = ["A_wins", "B_wins", "BB_wins", "livelock", "leader_dies"];

pub(in crate::lab) fn recorded(name: &str) -> Trace {
    Trace::read(&std::fs::read_to_string(path(&format!("{name}.jsonl"))).unwrap()).unwrap()
}

/// Compares with what was recorded, or records it.
#[track_caller]
pub(in crate::lab) fn golden(file: &str, text: &str) {
    let path = path(file);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        return std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (at, (line, expected)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(line, expected, "{file}, line {}", at + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count(), "{file}");
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join("traces").join(file)
}

#[test]
fn recorded_runs_are_drawn_as_recorded() {
    for name in RECORDED {
        let trace = recorded(name);
        let picture = Picture::of(&trace, Scope::Fitting, 500);
        golden(&format!("{name}.txt"), &terminal::draw(&picture, terminal::WIDTH));
        golden(&format!("{name}.mmd"), &mermaid::draw(&picture));
    }
    let trace = recorded("B_wins");
    let picture = Picture::of(&trace, Scope::Fitting, 500);
    golden("B_wins.svg", &svg::draw(&picture));
    golden("B_wins.html", &html::draw(&picture, "B_wins"));
    golden("B_wins.log", &shiviz::draw(&trace));
}

#[test]
fn terminals_have_eighty_columns() {
    for name in RECORDED {
        for scope in [Scope::Fitting, Scope::All] {
            let text = terminal::draw(&Picture::of(&recorded(name), scope, 500), terminal::WIDTH);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(terminal::WIDTH), "{name}: {widest:?}");
        }
    }
}

/// A trace of three nodes from few words: `1>2 Prepare` is sent and arrives, `1x2` is lost, `1|2` is held, `1-2` is only
/// sent; `+1>3` was sent together with what its sender sent last.
fn trace(words: &[&str]) -> Trace {
    let mut events: Vec<Event> = Vec::new();
    let event = |kind, node: u32, peer: Option<u32>, message: Option<String>, name: &str| Event {
        step: None,
        tick: None,
        us: Some(0),
        node: Some(node),
        clock: vec![1, 1, 1],
        kind,
        message,
        peer,
        name: Some(name.to_owned()),
        about: Facts { ballot: Some("1.1".to_owned()), instance: Some("default".to_owned()), ..Facts::default() },
        text: name.to_owned(),
    };
    for (at, words) in words.iter().enumerate() {
        let early = words.starts_with('+');
        let (way, name) = words.trim_start_matches('+').split_once(' ').unwrap();
        let numbers: Vec<u32> = way.chars().filter_map(|c| c.to_digit(10)).collect();
        let id = Some(at.to_string());
        let (from, to) = (numbers[0], numbers.get(1).copied());
        match way.chars().nth(1) {
            Some('>') => {
                let last = events.iter().rposition(|event| event.kind == Kind::Send && event.node == Some(from));
                let at = last.filter(|_| early).map_or(events.len(), |at| at + 1);
                events.insert(at, event(Kind::Send, from, to, id.clone(), name));
                events.push(event(Kind::Receive, to.unwrap(), Some(from), id, name));
            }
            Some(c @ ('x' | '|')) => {
                events.push(event(Kind::Send, from, to, id.clone(), name));
                events.push(event(if c == 'x' { Kind::Lose } else { Kind::Hold }, from, to, id, name));
            }
            Some('-') => events.push(event(Kind::Send, from, to, id, name)),
            _ => {
                let kind = if name == "crash" { Kind::Crash } else { Kind::Start };
                events.push(event(kind, from, None, None, name));
            }
        }
    }
    Trace { header: Header::of(vec![1, 2, 3]), events }
}

fn drawn(words: &[&str]) -> Vec<String> {
    let text = terminal::draw(&Picture::of(&trace(words), Scope::Fitting, 100), 60);
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn what_belongs_together_is_one_row_and_order_is_kept() {
    assert_eq!(
        drawn(&["1>2 Prepare", "2>1 Promise", "+1>3 Prepare", "3>1 Promise"]),
        ["    ●──────▶┼──────▶│    Prepare 1.1", "    │◀──────●───────●    Promise 1.1 ✓ 2 of 3",]
    );
    // 3 heard of 1 before it spoke: its arrow may not stand above.
    assert_eq!(
        drawn(&["3>2 Commit", "1>3 Prepare", "3>1 Commit"]),
        [
            "    │       │◀──────●    Commit 1.1",
            "    ●───────┼──────▶│    Prepare 1.1",
            "    │◀──────┼───────●    Commit 1.1",
        ]
    );
}

#[test]
fn losses_gates_and_deaths_are_seen() {
    assert_eq!(
        drawn(&["1x2 Accept", "1|3 Accept", "2 crash", "3>1 Accepted", "1-2 Accept", "2 start"]),
        [
            "    ●──────✗│       │    Accept 1.1  ✗ lost",
            "    ●┄┄┄┄┄┄┄┼┄┄┄┄┄┄▯│    Accept 1.1  held",
            "    │       ╳       │    crashes",
            "    │◀──────────────●    Accepted 1.1",
            "    ●┄┄┄┄┄┄▶        │    Accept 1.1  …",
            "    │       ┬       │    starts",
        ]
    );
}

#[test]
fn hostile_text_stays_text() {
    let mut trace = trace(&["1>2 Accept"]);
    for event in &mut trace.events {
        event.about.value = Some("</title><script>\"'&\u{0}\n".to_owned());
        event.text = "</title><script>".to_owned();
    }
    let picture = Picture::of(&trace, Scope::Fitting, 10);
    for text in [svg::draw(&picture), html::draw(&picture, "</title><script>alert(1)</script>")] {
        assert!(!text.contains("</title><script>") && !text.contains('\0'), "{text}");
        assert!(text.contains("&lt;script&gt;"));
    }
    let log = shiviz::draw(&trace);
    assert!(log.lines().count() == 2 + 2 * 2 && log.starts_with(shiviz::EXPRESSION), "{log}");
}

#[test]
fn long_runs_show_their_end() {
    let words: Vec<String> = (0..50).flat_map(|_| ["1>2 Prepare".to_owned(), "2>1 Reject".to_owned()]).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let picture = Picture::of(&trace(&words), Scope::Fitting, 10);
    assert!(picture.cut && picture.rows.len() == 10);
    assert!(terminal::draw(&picture, 80).contains("what came before is left out"));
    assert!(Picture::of(&Trace { header: Header::of(vec![]), events: vec![] }, Scope::All, 5).rows.is_empty());
}
