//! The language, line by line.

mod faults;
mod seeing;
mod services;

use std::time::Duration;

use proptest::prelude::*;

use super::help::{COMMANDS, Verb, details, find, overview};
use super::*;

fn port(number: u32) -> Port {
    Port::new(number).unwrap()
}

fn text(text: &str) -> Literal {
    Literal::Text(text.to_owned())
}

fn set(value: Literal, on: u32) -> Command {
    Command::Set { value, on: port(on) }
}

fn race(race: Race, values: [Literal; 2], rounds: Option<u32>) -> Command {
    let [first_value, second_value] = values;
    Command::Race { race, first: port(8000), second: port(8001), first_value, second_value, rounds, diagram: false }
}

fn check(lines: &[(&str, Command)]) {
    for (line, command) in lines {
        assert_eq!(parse(line).as_ref(), Ok(&Some(command.clone())), "{line:?}");
    }
}

/// Each line is wrong, and the error has this in its message.
fn check_errors(lines: &[(&str, &str)]) {
    for (line, says) in lines {
        let error = parse(line).expect_err(line);
        assert!(error.message.contains(says), "{line:?}: {error}");
    }
}

#[test]
fn lines_that_ask_for_nothing() {
    for line in ["", " ", "\t \r\n", "# set value 5 on 8000", "   #x", "\u{a0}"] {
        assert_eq!(parse(line), Ok(None), "{line:?}");
    }
}

#[test]
fn values_are_kept_as_typed() {
    check(&[
        ("set value 5 on 8000", set(Literal::Int(5), 8000)),
        ("SET Value 5 ON 8000", set(Literal::Int(5), 8000)),
        ("  set\tvalue   5   on   8000  \r", set(Literal::Int(5), 8000)),
        ("set value -3 on 1", set(Literal::Int(-3), 1)),
        ("set value 0 on 65535", set(Literal::Int(0), 65535)),
        ("set value 9223372036854775807 on 8000", set(Literal::Int(i64::MAX), 8000)),
        ("set value -9223372036854775808 on 8000", set(Literal::Int(i64::MIN), 8000)),
        ("set value 9223372036854775808 on 8000", set(text("9223372036854775808"), 8000)),
        ("set value 007 on 8000", set(text("007"), 8000)),
        ("set value +5 on 8000", set(text("+5"), 8000)),
        ("set value 1_000 on 8000", set(text("1_000"), 8000)),
        ("set value -0 on 8000", set(text("-0"), 8000)),
        ("set value ٥ on 8000", set(text("٥"), 8000)),
        ("set value 5.0 on 8000", set(text("5.0"), 8000)),
        ("set value Hello on 8000", set(text("Hello"), 8000)),
        ("set value hello  big\tworld on 8000", set(text("hello  big\tworld"), 8000)),
        ("set value 1 2 on 8000", set(text("1 2"), 8000)),
        ("set value #5 on 8000", set(text("#5"), 8000)),
        ("set value 🦀 on 8000", set(text("🦀"), 8000)),
        ("set value \0 on 8000", set(text("\0"), 8000)),
    ]);
}

#[test]
fn the_last_on_ends_a_bare_value() {
    check(&[
        ("set value on on 8000", set(text("on"), 8000)),
        ("set value on on on 8000", set(text("on on"), 8000)),
        ("set value lights on 8001 on 8000", set(text("lights on 8001"), 8000)),
        ("set value it's \"quoted\" inside on 8000", set(text("it's \"quoted\" inside"), 8000)),
        ("set value back\\slash\\n on 8000", set(text("back\\slash\\n"), 8000)),
    ]);
}

#[test]
fn quotes_make_text() {
    check(&[
        (r#"set value "5" on 8000"#, set(text("5"), 8000)),
        (r#"set value "" on 8000"#, set(text(""), 8000)),
        (r#"set value '' on 8000"#, set(text(""), 8000)),
        (r#"set value " a on 8001 " on 8000"#, set(text(" a on 8001 "), 8000)),
        (r#"set value "\"\\\n\t\r" on 8000"#, set(text("\"\\\n\t\r"), 8000)),
        (r#"set value '\n"' on 8000"#, set(text("\\n\""), 8000)),
        (r#"set value "it's" on 8000"#, set(text("it's"), 8000)),
    ]);
}

#[test]
fn races() {
    use Literal::Int;
    check(&[
        ("A_wins 8000 8001 1 2", race(Race::AWins, [Int(1), Int(2)], None)),
        ("a_WINS 8000 8001 A B", race(Race::AWins, [text("A"), text("B")], None)),
        ("b_wins 8000 8001 '' 0", race(Race::BWins, [text(""), Int(0)], None)),
        ("bb_wins 8000 8001 'a b' \"c\"", race(Race::BbWins, [text("a b"), text("c")], None)),
        ("livelock 8000 8001 x y", race(Race::Livelock, [text("x"), text("y")], None)),
        ("livelock 8000 8001 1 2 50", race(Race::Livelock, [Int(1), Int(2)], Some(50))),
        ("livelock 8000 8001 same same 1", race(Race::Livelock, [text("same"), text("same")], Some(1))),
    ]);
}

#[test]
fn small_commands() {
    let help = |topic: &str| Command::Help(Some(topic.to_owned()));
    check(&[
        ("restart", Command::Restart),
        ("STATUS", Command::Status),
        ("show", Command::Status),
        ("crash 8002", Command::Crash(port(8002))),
        ("start 08002", Command::Start(port(8002))),
        ("sleep 0", Command::Sleep(Duration::ZERO)),
        ("sleep 1.5", Command::Sleep(Duration::from_millis(1500))),
        ("sleep .25", Command::Sleep(Duration::from_millis(250))),
        ("sleep 86400", Command::Sleep(MAX_SLEEP)),
        ("sleep 0.000000001", Command::Sleep(Duration::from_nanos(1))),
        ("help", Command::Help(None)),
        ("?", Command::Help(None)),
        ("help a_WINS", help("A_wins")),
        ("help set", help("set")),
        ("help set value", help("set")),
        ("help show", help("status")),
        ("history", Command::History),
        ("exit", Command::Exit),
        ("Quit", Command::Exit),
    ]);
}

#[test]
fn mistakes_in_set() {
    check_errors(&[
        ("set", "comes the word 'value'"),
        ("set 5 on 8000", "comes the word 'value'"),
        ("set value", "must end with 'on <port>'"),
        ("set value 5", "must end with 'on <port>'"),
        ("set value 5 8000", "must end with 'on <port>'"),
        ("set value 5 on", "port behind 'on' is missing"),
        ("set value on 8000", "the value is missing"),
        ("set value 5 on 8000 now", "must end with 'on <port>'"),
        ("set value 5 on x", "the port must be a number such as 8000, not 'x'"),
        ("set value 5 on -1", "must be a number"),
        ("set value 5 on 0", "from 1 to 65535, not 0"),
        ("set value 5 on 65536", "from 1 to 65535, not 65536"),
        ("set value 5 on 99999999999999999999", "from 1 to 65535"),
        ("set value 'tis on 8000", "never closed"),
        (r#"set value "a\" on 8000"#, "never closed"),
        (r#"set value "a" b on 8000"#, "after the closing quote"),
        (r#"set value "a"b on 8000"#, "follows the closing quote"),
        (r#"set value "a" on"#, "the port is missing"),
        (r#"set value "a" on 8000 x"#, "'x' is one word too many"),
        (r#"set value "\q" on 8000"#, "no escape '\\q'"),
    ]);
}

#[test]
fn mistakes_elsewhere() {
    check_errors(&[
        ("A_wins", "the first port is missing"),
        ("A_wins 8000", "the second port is missing"),
        ("A_wins 8000 8001", "the first value is missing"),
        ("A_wins 8000 8001 1", "the second value is missing"),
        ("A_wins 8000 8001 1 2 3", "'3' is one word too many for 'A_wins'"),
        ("B_wins 8000 8000 1 2", "two different nodes, but both ports are 8000"),
        ("B_wins 8000 08000 1 2", "two different nodes"),
        ("BB_wins eight 8001 1 2", "the first port must be a number"),
        ("BB_wins \"8000\" 8001 1 2", "the first port must be a number"),
        ("livelock 8000 8001 1 2 0", "rounds must be from 1 to 50, not '0'"),
        ("livelock 8000 8001 1 2 51", "rounds must be from 1 to 50, not '51'"),
        ("livelock 8000 8001 a b c", "a value with spaces needs quotes"),
        ("livelock 8000 8001 1 2 3 4", "'4' is one word too many"),
        ("restart now", "'now' is one word too many for 'restart'"),
        ("crash", "the port is missing"),
        ("crash all", "must be a number"),
        ("start 1 2", "'2' is one word too many"),
        ("sleep", "the number of seconds is missing"),
        ("sleep 86400.1", "from 0 to 86400"),
        ("sleep -1", "from 0 to 86400"),
        ("sleep 1e3", "such as 2 or 0.5"),
        ("sleep .", "such as 2 or 0.5"),
        ("sleep 0.0000000001", "such as 2 or 0.5"),
        ("sleep NaN", "such as 2 or 0.5"),
        ("help nonsense", "there is no command 'nonsense'"),
        ("help exit now", "'now' is one word too many"),
        ("\u{1b}[31m", "there is no command '\\u{1b}[31m'"),
        ("\"set\" value 5 on 8000", "there is no command"),
    ]);
}

#[test]
fn unknown_commands_get_the_nearest() {
    for (line, nearest) in [
        ("sett value 5 on 8000", "set value <v> on <port>"),
        ("Awins 1 2 3 4", "A_wins <p1> <p2> <v1> <v2>"),
        ("b_win", "B_wins <p1> <p2> <v1> <v2>"),
        ("bb-wins", "BB_wins <p1> <p2> <v1> <v2>"),
        ("livelokc", "livelock <p1> <p2> <v1> <v2> [rounds]"),
        ("statsu", "status"),
        ("qiut", "exit"),
        ("help hlep", "help [command]"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.hint.starts_with("did you mean '"), "{line:?}: {error}");
        assert!(error.hint.ends_with(&format!("usage: {nearest}")), "{line:?}: {error}");
    }
    for line in ["x", "propose", "🦀", "establishment"] {
        assert_eq!(parse(line).expect_err(line).hint, "'help' lists the commands", "{line:?}");
    }
}

#[test]
fn an_error_reads_well() {
    let error = parse("crash 8O00").unwrap_err();
    let lines = "the port must be a number such as 8000, not '8O00'\nusage: crash <port>";
    assert_eq!(error.to_string(), lines);
    assert_eq!(error.at("demo.synod", 3).to_string(), format!("demo.synod:3: {lines}"));
}

#[test]
fn huge_lines_are_answered_briefly() {
    let long = "x".repeat(1 << 20);
    for line in [
        long.clone(),
        format!("crash {long}"),
        format!("set value \"{long}"),
        format!("livelock 1 2 3 4 {long}"),
        format!("help {}", "\0 ".repeat(1 << 19)),
    ] {
        let error = parse(&line).expect_err("huge and wrong");
        assert!(error.to_string().len() < 400, "{error}");
    }
    let line = format!("set value {} on 8000", "x ".repeat(1 << 19));
    assert!(matches!(parse(&line), Ok(Some(Command::Set { .. }))));
}

#[test]
fn every_command_is_explained_with_an_example_that_parses() {
    for help in COMMANDS {
        assert_eq!(help.usage.split(' ').next(), Some(help.name));
        assert!(overview().contains(help.summary));
        assert!(details(help).ends_with('\n'));
        let (_, examples) = help.text.split_once("Example").expect(help.name);
        let lines: Vec<_> = examples.lines().skip(1).collect();
        assert!(!lines.is_empty(), "{} has no example", help.name);
        for line in lines {
            assert!(matches!(parse(line), Ok(Some(_))), "{line:?}");
            let first = line.split_whitespace().next().unwrap();
            assert_eq!(find(first).map(|found| found.verb), Some(help.verb), "{line:?}");
        }
    }
}

#[test]
fn help_fits_a_terminal() {
    for text in COMMANDS.iter().map(details).chain([overview()]) {
        for line in text.lines() {
            assert!(line.chars().count() < 80, "{line:?}");
        }
    }
}

#[test]
fn the_table_and_the_races_use_the_same_names() {
    for race in Race::ALL {
        assert_eq!(find(race.name()).unwrap().verb, Verb::Race(race));
        assert_eq!(find(race.name()).unwrap().name, race.name());
    }
}

fn ports() -> impl Strategy<Value = Port> {
    (1..=65535u32).prop_map(port)
}

fn literals() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<i64>().prop_map(Literal::Int),
        any::<String>().prop_map(Literal::Text),
        any::<i64>().prop_map(|number| Literal::Text(number.to_string())),
        "[ \t\r\n\"'\\\\on#0-9-]{0,8}".prop_map(Literal::Text),
    ]
}

fn races_with_ports() -> impl Strategy<Value = Command> {
    (0..4usize, ports(), ports(), literals(), literals(), prop::option::of(1..=MAX_ROUNDS))
        .prop_filter("two nodes", |(_, first, second, ..)| first != second)
        .prop_map(|(race, first, second, first_value, second_value, rounds)| {
            let diagram = first.number() % 2 == 0;
            let race = Race::ALL[race];
            let rounds = rounds.filter(|_| race == Race::Livelock);
            Command::Race { race, first, second, first_value, second_value, rounds, diagram }
        })
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => (literals(), ports()).prop_map(|(value, on)| Command::Set { value, on }),
        3 => races_with_ports(),
        1 => ports().prop_map(Command::Crash),
        1 => ports().prop_map(Command::Start),
        1 => (0..86_400u64, 0..1_000_000_000u32)
            .prop_map(|(seconds, nanos)| Command::Sleep(Duration::new(seconds, nanos))),
        1 => prop::option::of(0..COMMANDS.len())
            .prop_map(|row| Command::Help(row.map(|row| COMMANDS[row].name.to_owned()))),
        8 => services::services().prop_map(Command::Service),
        1 => Just(Command::Restart),
        1 => Just(Command::Status),
        1 => Just(Command::History),
        1 => Just(Command::Exit),
    ]
}

/// Lines that are nearly right, which find more than noise does.
fn near_misses() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "set",
        "value",
        "on",
        "8000",
        "A_wins",
        "livelock",
        "help",
        "sleep",
        "crash",
        "lock",
        "--",
        "put",
        "board",
        "post",
        "modify",
        "watch",
        "5",
        "\"",
        "'",
        "\\",
        "\"a b\"",
        "''",
        "\"a\"b",
        "#",
        "\0",
        "🦀",
        "on",
        "0.5",
        "-1",
        "\u{a0}",
        "\n",
        "99999999999",
        "",
        "é\"",
    ]);
    (prop::collection::vec(word, 0..9), prop::sample::select(vec![" ", "", "\t", "  "]))
        .prop_map(|(words, space)| words.join(space))
}

proptest! {
    #[test]
    fn the_canonical_form_parses_back(command in commands()) {
        prop_assert_eq!(parse(&command.to_string()), Ok(Some(command)));
    }

    #[test]
    fn the_canonical_form_of_a_value_is_one_line(value in literals()) {
        prop_assert!(!value.to_string().contains(['\n', '\r']));
    }

    #[test]
    fn anything_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&String::from_utf8_lossy(&bytes)).map_err(|error| error.to_string());
    }

    #[test]
    fn near_misses_are_answered(line in near_misses()) {
        match parse(&line) {
            Ok(Some(command)) => prop_assert_eq!(parse(&command.to_string()), Ok(Some(command))),
            Ok(None) => {}
            Err(error) => prop_assert!(!error.message.is_empty()),
        }
    }
}
