//! Golden texts about recorded traces.

use super::questions::{Question, answer};
use super::*;
use crate::lab::diagram::tests::{RECORDED, golden, recorded};
use crate::lab::trace::Event;

#[test]
fn recorded_runs_are_told_of_as_recorded() {
    for name in RECORDED {
        let trace = recorded(name);
        let mut text = tell(&trace).expect(name).join("\n");
        text.push('\n');
        let story = Story::of(&trace);
        for (word, question) in Question::ALL.into_iter().filter(|_| story.is_some()) {
            text.push_str(&format!("\n{word}?\n"));
            for line in answer(question, story.as_ref()).iter().flat_map(|paragraph| wrap(paragraph, WIDTH)) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        golden(&format!("{name}.explained"), &text);
    }
}

#[test]
fn without_a_run_questions_have_their_general_answer() {
    for (_, question) in Question::ALL {
        let told = answer(question, None);
        assert_eq!(told.len(), 2);
        assert!(told[1].contains("B_wins"), "{told:?}");
    }
    let empty = Trace { header: crate::lab::trace::Header::of(vec![1, 2, 3]), events: Vec::new() };
    assert_eq!(tell(&empty), None);
}

/// What a client did to the eventual board of a node, as its trace has it.
fn done(node: u32, clock: [u64; 2], (entry, stamp, what): (&str, &str, &str)) -> Event {
    let line = format!(
        r#"{{"node":{node},"clock":{clock:?},"kind":"save","name":"eventual.stands","entry":"{entry}","stamp":"{stamp}",
            "note":"{stamp} {what}","text":""}}"#
    );
    serde_json::from_str(&line).unwrap()
}

#[test]
fn of_the_eventual_board_is_told_which_stamp_beat_which() {
    let told = |events| {
        let trace = Trace { header: crate::lab::trace::Header::of(vec![1, 2]), events };
        tell(&trace).unwrap().join(" ")
    };
    let post = done(1, [1, 0], ("1.1", "1.1", "is posted: a"));
    let modified = done(1, [5, 0], ("1.1", "5.1", "modifies 1.1: he deletes 1.1"));
    let same_clock = done(2, [1, 4], ("1.1", "5.2", "modifies 1.1: b"));
    let deleted = done(2, [1, 3], ("1.1", "4.2", "deletes 1.1"));
    let text = told(vec![post.clone(), modified.clone(), same_clock]);
    assert!(text.contains("5.2 beats 5.1: the clocks are the same, 5, and then the higher node decides"), "{text}");
    assert!(text.contains("5.2 was made by who knew of 1.1"), "{text}");
    let text = told(vec![post.clone(), deleted, modified.clone()]);
    assert!(
        text.contains("4.2 beats 5.1 because a delete beats every text") && text.contains("So 4.2 stands"),
        "{text}"
    );
    let later = done(2, [1, 6], ("1.1", "6.2", "modifies 1.1: c"));
    let other = done(2, [6, 9], ("9.2", "9.2", "is posted: another"));
    let text = told(vec![post, modified, later, other]);
    assert!(text.contains("6.2 beats 5.1: of two of a kind the higher clock decides, 6 against 5"), "{text}");
}

#[test]
fn paragraphs_are_wrapped() {
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("  one two threefour", 6), ["  one", "  two", "  threefour"]);
    assert_eq!(wrap("", 5), [""]);
    assert_eq!((list(&[]), list(&[1]), list(&[1, 2, 3])), ("nobody".into(), "1".into(), "1, 2 and 3".into()));
}
