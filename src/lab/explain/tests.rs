//! Golden texts about recorded traces.

use super::questions::{Question, answer};
use super::*;
use crate::lab::diagram::tests::{RECORDED, golden, recorded};

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

#[test]
fn paragraphs_are_wrapped() {
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("  one two threefour", 6), ["  one", "  two", "  threefour"]);
    assert_eq!(wrap("", 5), [""]);
    assert_eq!((list(&[]), list(&[1]), list(&[1, 2, 3])), ("nobody".into(), "1".into(), "1, 2 and 3".into()));
}
