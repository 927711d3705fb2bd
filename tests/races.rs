//! The four textbook races, through the shell's stdin, on five processes.

use crate::support::files::decided_file;
use crate::support::nodes::Nodes;
use crate::support::process::Ran;
use crate::support::shell::{Place, Session, Shell};

/// How a race must end.
struct Race {
    command: &'static str,
    /// Whose value is chosen, the first's (0) or the second's (1); `None` if either may be.
    wins: Option<usize>,
    /// Who answers first.
    answers_first: usize,
    /// From this line on, chance may decide what is printed.
    random_from: Option<&'static str>,
}

const A_WINS: Race = Race { command: "A_wins", wins: Some(0), answers_first: 0, random_from: None };
const B_WINS: Race = Race { command: "B_wins", wins: Some(0), answers_first: 1, random_from: None };
const BB_WINS: Race = Race { command: "BB_wins", wins: Some(1), answers_first: 1, random_from: None };
const LIVELOCK: Race =
    Race { command: "livelock", wins: None, answers_first: 0, random_from: Some("After 9 rounds both become patient") };

/// Values as typed, and as they are shown then: numbers and texts, 0 and empty text, spaces, quotes, markup.
const VALUES: [[(&str, &str); 2]; 4] = [
    [("0", "0"), ("\"\"", "")],
    [("\"two words\"", "two words"), ("-7", "-7")],
    [("\"\"", ""), ("'<a> & \"b\"'", "<a> & \"b\"")],
    [("9223372036854775807", "9223372036854775807"), ("Grüße😀", "Grüße😀")],
];

#[test]
fn a_wins_ten_times_in_both_orders() {
    ten_times(&A_WINS);
}

#[test]
fn b_wins_ten_times_in_both_orders() {
    ten_times(&B_WINS);
}

#[test]
fn bb_wins_ten_times_in_both_orders() {
    ten_times(&BB_WINS);
}

#[test]
fn livelock_ten_times_in_both_orders() {
    ten_times(&LIVELOCK);
}

/// Ten times in one order of the ports and ten times in the other, always with the same schedule; then once with each
/// of other ports and values.
fn ten_times(race: &Race) {
    let place = Place::new();
    let mut session = place.shell().session();
    for (ports, values) in [([0, 1], &VALUES[0]), ([1, 0], &VALUES[1])] {
        let mut first = None;
        for round in 0..10 {
            let transcript = run(race, &place, &mut session, ports, values);
            let first = first.get_or_insert_with(|| transcript.clone());
            assert_eq!(*first, transcript, "round {round}");
        }
    }
    for (ports, values) in [([4, 2], &VALUES[2]), ([2, 4], &VALUES[3]), ([3, 0], &VALUES[0])] {
        run(race, &place, &mut session, ports, values);
    }
    session.leave();
}

/// Runs a race once, and checks how it ends. Returns what was printed, as far as chance may have no part in it.
#[track_caller]
fn run(
    race: &Race,
    place: &Place,
    session: &mut Session,
    nodes: [usize; 2],
    values: &[(&str, &str); 2],
) -> Vec<String> {
    let ports = nodes.map(|node| place.port(node));
    session.restart();
    let command = format!("{} {} {} {} {}", race.command, ports[0], ports[1], values[0].0, values[1].0);
    let lines = session.tell(&command, "Checked: ");

    let finals: Vec<&String> = lines.iter().filter(|line| line.starts_with("Final response from ")).collect();
    let said = |who: usize, value: usize| {
        format!("Final response from Node {}: Value '{}' has been updated and committed.", ports[who], values[value].1)
    };
    let order = [race.answers_first, 1 - race.answers_first];
    let won = race.wins.unwrap_or_else(|| usize::from(*finals[0] != said(order[0], 0)));
    assert_eq!(finals, order.map(|who| said(who, won)).iter().collect::<Vec<_>>(), "{command}\n{}", lines.join("\n"));
    assert_eq!(
        lines.last().unwrap(),
        &format!("Checked: all 5 nodes have decided '{}', and so say their files.", values[won].1)
    );
    for port in place.ports.all() {
        let file = decided_file(place.data.path(), port, "default");
        assert_eq!(file.as_deref(), Some(values[won].1), "the file of {port} after {command}");
    }

    // The table has a row for each node, and all have the value in the column of what is decided.
    let status = session.tell("status", "5 of 5 nodes are up");
    let decided = format!("'{}' in ", values[won].1);
    let rows = ports_in(&status, &decided);
    assert_eq!(rows, place.ports.all(), "{}", status.join("\n"));

    match race.random_from {
        None => lines,
        Some(random_from) => {
            let fixed: Vec<String> = lines.iter().take_while(|line| !line.starts_with(random_from)).cloned().collect();
            assert!(fixed.len() < lines.len(), "no '{random_from}':\n{}", lines.join("\n"));
            fixed
        }
    }
}

/// The ports of those rows of the table whose column before the last begins so. (A column to the left of it, what is
/// accepted, may lag behind: a decision needs a majority only.)
fn ports_in(status: &[String], decided: &str) -> Vec<u16> {
    let rows = status.iter().filter_map(|line| line.strip_prefix("│ ")?.strip_suffix(" │"));
    let rows = rows.filter(|row| {
        row.rsplit("   ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .nth(1)
            .is_some_and(|cell| cell.starts_with(decided))
    });
    rows.filter_map(|row| row.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn livelock_shows_as_many_rounds_as_it_is_asked_for_and_their_ballots_climb() {
    let place = Place::new();
    let [p1, p2] = [place.port(3), place.port(1)];
    let script: String = [1, 2, 20].map(|rounds| format!("livelock {p1} {p2} red blue {rounds}\nrestart\n")).concat();
    let ran = place.shell().run(&script);
    let lines = ran.good();
    let mut expected = Vec::new();
    for rounds in [1, 2, 20] {
        for round in 1..=rounds {
            let (refused, by) = if round % 2 == 1 { (p1, p2) } else { (p2, p1) };
            expected.push(format!(
                "Round {round}: {refused} sends Accept({round}.{refused}), refused everywhere: {by} has \
                 Prepare({}.{by}).",
                round + 1
            ));
        }
    }
    let shown: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("Round ")).collect();
    assert_eq!(shown, expected);
}

#[test]
fn no_race_leaves_a_gate_behind() {
    let nodes = Nodes::lab(5);
    let shell = || Shell::connect(nodes.ports.at(2));
    for race in [&A_WINS, &B_WINS, &BB_WINS, &LIVELOCK] {
        for [p1, p2] in [[0, 4], [4, 0]].map(|pair| pair.map(|node| nodes.ports.at(node))) {
            nodes.restart_all();
            let command = format!("{} {p1} {p2} 5 hello", race.command);
            let ran = shell().commands([&command]);
            let lines = ran.good();
            // These files may be on another machine, so the shell does not claim to have read them.
            assert!(lines.last().unwrap().starts_with("Checked: all 5 nodes have decided '"), "{lines:?}");
            assert!(!lines.last().unwrap().contains("files"), "{lines:?}");
            nodes.no_gate_is_left();
            let value = if race.wins == Some(1) { "hello" } else { "5" };
            let value = if race.wins.is_none() { nodes.learned(0, "default") } else { value.to_owned() };
            nodes.all_learn("default", &value);
            nodes.all_files_say("default", &value);
        }
    }
}

#[test]
fn a_race_that_fails_leaves_no_gate_behind() {
    let mut nodes = Nodes::lab(5);
    let [p1, p2, down] = [0, 1, 3].map(|node| nodes.ports.at(node));
    let refused = |ran: &Ran, code: i32, text: &str| {
        ran.ended_with(code);
        ran.complains(&[text]);
    };
    // A node that is down.
    nodes.kill(3);
    let ran = Shell::connect(p1).commands([format!("B_wins {p1} {p2} 1 2")]);
    refused(&ran, 3, &format!("node {down} is down"));
    nodes.start(3);
    nodes.no_gate_is_left();
    // A value that was accepted, and not chosen.
    let _: serde::de::IgnoredAny = nodes.call(4, "accept", &("7.0", "early"));
    let ran = Shell::connect(p1).commands([format!("A_wins {p1} {p2} 1 2")]);
    refused(&ran, 1, "type restart");
    nodes.no_gate_is_left();
}

#[test]
fn an_interrupted_race_leaves_no_gate_behind() {
    let mut nodes = Nodes::lab(5);
    let [p1, p2] = [0, 1].map(|node| nodes.ports.at(node));
    // The first proposer's Prepares do not leave, so the race waits in vain for the Accepts it wants to hold.
    nodes.hold(0, "prepare", 1..5);
    let race = Shell::connect(p1).start(&format!("BB_wins {p1} {p2} 1 2"));
    nodes.wait_held(0, "prepare", 1..5);
    assert!(nodes.gates(0).iter().any(|gate| gate.method == "accept"));
    // A node that is stopped cannot even be told to open its gates until it wakes.
    nodes.process(3).signal("STOP");
    race.process.signal("INT");
    nodes.process(3).signal("CONT");
    let ran = race.finish();
    ran.ended_with(4);
    ran.complains(&["interrupted", "restart"]);
    nodes.no_gate_is_left();
    // And the lab goes on as if nothing had been.
    let ran = Shell::connect(p1).commands(["restart".to_owned(), format!("BB_wins {p1} {p2} 1 2")]);
    ran.good();
    nodes.no_gate_is_left();
}

#[test]
fn a_race_on_a_decided_instance_is_refused_and_offers_restart() {
    let place = Place::new();
    let [p1, p2] = [place.port(0), place.port(1)];
    for race in [&A_WINS, &B_WINS, &BB_WINS, &LIVELOCK] {
        let race = format!("{} {p1} {p2} 1 2", race.command);
        let ran = place.shell().commands([format!("set value old on {p1}"), race]);
        ran.ended_with(1);
        ran.complains(&["'old' is already decided", "restart"]);
        place.shell().commands(["restart"]).good();
    }
}
