//! What shows what happened, line by line.

use synod::lab::explain::questions::Question;

use super::super::seeing::See;
use super::*;

fn explain(question: Option<Question>, from: Option<&str>) -> Command {
    Command::See(See::Explain { question, from: from.map(str::to_owned) })
}

fn diagram(all: bool, to: Option<&str>, from: Option<&str>) -> Command {
    Command::See(See::Diagram { all, to: to.map(str::to_owned), from: from.map(str::to_owned) })
}

#[test]
fn what_can_be_seen() {
    let before = |from: Option<&str>| {
        let (first, second) = ("8000:17".to_owned(), "8003:9".to_owned());
        Command::See(See::HappenedBefore { first, second, from: from.map(str::to_owned) })
    };
    check(&[
        ("trace on", Command::See(See::Trace(true))),
        ("TRACE Off", Command::See(See::Trace(false))),
        ("trace clear", Command::See(See::TraceClear)),
        ("trace save 'my run.jsonl'", Command::See(See::TraceSave("my run.jsonl".to_owned()))),
        ("trace show", Command::See(See::TraceShow(None))),
        ("trace show 50", Command::See(See::TraceShow(Some(50)))),
        ("diagram", diagram(false, None, None)),
        ("diagram all", diagram(true, None, None)),
        ("diagram a.svg", diagram(false, Some("a.svg"), None)),
        ("diagram 'all'", diagram(false, Some("all"), None)),
        ("diagram --from x.jsonl a.svg", diagram(false, Some("a.svg"), Some("x.jsonl"))),
        ("diagram all a.svg --from x.jsonl", diagram(true, Some("a.svg"), Some("x.jsonl"))),
        ("set diagram on", Command::See(See::DrawRaces(true))),
        ("set diagram OFF", Command::See(See::DrawRaces(false))),
        ("explain", explain(None, None)),
        ("explain Adopt", explain(Some(Question::Adopt), None)),
        ("explain --from x.jsonl", explain(None, Some("x.jsonl"))),
        ("explain majority --from x.jsonl", explain(Some(Question::Majority), Some("x.jsonl"))),
        ("happened-before 8000:17 8003:9", before(None)),
        ("happened-before 8000:17 8003:9 --from x", before(Some("x"))),
    ]);
    let Ok(Some(Command::Race { diagram: true, rounds: Some(7), .. })) = parse("livelock 1 2 a b 7 --diagram") else {
        panic!("a race that is to be drawn")
    };
    let lines =
        ["trace show 3", "diagram all \"a b.svg\" --from x", "explain roles --from x", "A_wins 1 2 a b --diagram"];
    for line in lines.into_iter().chain(["set diagram on", "livelock 1 2 a b --diagram"]) {
        assert_eq!(parse(line).unwrap().unwrap().to_string(), line);
    }
}

#[test]
fn mistakes() {
    check_errors(&[
        ("trace", "after 'trace' comes 'on' or"),
        ("trace save", "file is missing"),
        ("trace show 0", "such as 20, not '0'"),
        ("diagram a.svg b.svg", "one word too many"),
        ("diagram --from", "file behind --from is missing"),
        ("explain why", "roles, adopt, ballots, majority, livelock, not 'why'"),
        ("happened-before 8000:1", "second event is missing"),
        ("happened-before 8000 8001:2", "written 8000:17"),
        ("happened-before a:1 8001:2", "written 8000:17"),
        ("set diagram", "'on' or 'off'"),
        ("set diagram on 8000", "one word too many"),
        ("A_wins 1 2 a b --picture", "one word too many"),
    ]);
}
