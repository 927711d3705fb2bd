//! What the shell's commands print, and how scripts end.

use std::fs;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::files::decided_file;
use crate::support::nodes::Nodes;
use crate::support::process::Ran;
use crate::support::shell::{Place, Shell};

/// Every command, and the words that stand for it.
const COMMANDS: [(&str, &[&str]); 48] = [
    ("set", &["SET"]),
    ("A_wins", &["a_wins"]),
    ("B_wins", &["b_WINS"]),
    ("BB_wins", &["bb_wins"]),
    ("livelock", &["LiveLock"]),
    ("restart", &["Restart"]),
    ("status", &["show", "SHOW"]),
    ("crash", &["CRASH"]),
    ("start", &["START"]),
    ("sleep", &["Sleep"]),
    ("help", &["?"]),
    ("history", &["HISTORY"]),
    ("exit", &["quit"]),
    ("elect", &["ELECT"]),
    ("leader", &[]),
    ("create", &[]),
    ("append", &["Append"]),
    ("read", &[]),
    ("delete", &[]),
    ("ls", &[]),
    ("files", &[]),
    ("board", &[]),
    ("put", &[]),
    ("get", &[]),
    ("cas", &[]),
    ("del", &[]),
    ("list", &[]),
    ("watch", &[]),
    ("unwatch", &[]),
    ("lock", &[]),
    ("unlock", &[]),
    ("locks", &[]),
    ("outcome", &[]),
    ("partition", &[]),
    ("cut", &["CUT"]),
    ("heal", &[]),
    ("delay", &[]),
    ("drop", &[]),
    ("hold", &[]),
    ("release", &[]),
    ("step", &[]),
    ("pause", &[]),
    ("resume", &[]),
    ("faults", &[]),
    ("trace", &["Trace"]),
    ("diagram", &[]),
    ("explain", &["EXPLAIN"]),
    ("happened-before", &[]),
];

#[test]
fn set_prints_the_response_and_says_plainly_when_another_value_had_been_chosen() {
    let place = Place::new();
    let [p0, p1, p2] = [0, 1, 2].map(|node| place.port(node));
    let ran = place.shell().commands([format!("set value 5 on {p0}")]);
    assert_eq!(ran.good(), [format!("Node {p0} responded: Value '5' has been updated and committed.")]);
    // The same value once more is what was asked for.
    let ran = place.shell().commands([format!("set value 5 on {p2}")]);
    assert_eq!(ran.good(), [format!("Node {p2} responded: Value '5' has been updated and committed.")]);
    // The text 5 is not the number 5.
    for (typed, shown) in [("6", "6"), ("\"5\"", "5"), ("\"\"", "")] {
        let ran = place.shell().commands([format!("set value {typed} on {p1}")]);
        let lines = ran.ended_with(1);
        assert_eq!(lines[0], format!("Node {p1} responded: Value '5' has been updated and committed."));
        assert!(lines[1].starts_with(&format!("Your value '{shown}' was not chosen: '5' had been")), "{lines:?}");
        assert!(lines[1].contains("restart"), "{lines:?}");
        assert_eq!(lines.len(), 2);
    }
    place.files_come_to_say("5");
}

#[test]
fn values_are_kept_as_typed() {
    let nodes = Nodes::lab(3);
    let port = nodes.ports.at(1);
    for (typed, shown, fragment) in [
        ("0", "0", "<int>0</int>"),
        ("-3", "-3", "<int>-3</int>"),
        ("\"\"", "", "<string></string>"),
        ("''", "", "<string></string>"),
        ("007", "007", "<string>007</string>"),
        ("\"5\"", "5", "<string>5</string>"),
        ("Hello Big World", "Hello Big World", "<string>Hello Big World</string>"),
        ("turn on the light on", "turn on the light on", "<string>turn on the light on</string>"),
        ("\"a on 5\"", "a on 5", "<string>a on 5</string>"),
        ("'<b>&amp;</b>'", "<b>&amp;</b>", "<string>&lt;b&gt;&amp;amp;&lt;/b&gt;</string>"),
        ("Grüße😀", "Grüße😀", "<string>Grüße😀</string>"),
        ("9223372036854775807", "9223372036854775807", "<i8>9223372036854775807</i8>"),
    ] {
        let ran = Shell::connect(port).commands(["restart".to_owned(), format!("set value {typed} on {port}")]);
        let last = ran.good().pop().unwrap();
        assert_eq!(last, format!("Node {port} responded: Value '{shown}' has been updated and committed."));
        assert_eq!(nodes.decided(1, "default").value.unwrap().as_str(), fragment, "{typed}");
        nodes.all_files_say("default", shown);
    }
}

#[test]
fn restart_says_so_for_each_node_and_wipes_the_files() {
    let place = Place::new();
    let ran = place.shell().commands([format!("set value 5 on {}", place.port(4)), "restart".to_owned()]);
    let mut expected = vec![format!("Node {} responded: Value '5' has been updated and committed.", place.port(4))];
    expected.extend(place.ports.all().iter().map(|port| format!("Node on port {port} has been restarted.")));
    expected.push("All nodes are restarted and their states reset.".to_owned());
    assert_eq!(ran.good(), expected);
    for port in place.ports.all() {
        assert_eq!(decided_file(place.data.path(), port, "default"), None);
    }
    place.shell().commands([format!("set value 6 on {}", place.port(0))]).good();
}

#[test]
fn status_is_a_table_of_what_each_node_knows() {
    let place = Place::new();
    let [p0, p3] = [0, 3].map(|node| place.port(node));
    let mut session = place.shell().session();
    let mut lines = session.tell("status", "5 of 5 nodes are up; 2 more may fail.");
    session.tell(&format!("set value \"two words\" on {p0}"), &format!("Node {p0} responded: "));
    // The files say when all have heard of the decision.
    place.until_files_say("two words");
    session.tell(&format!("crash {p3}"), &format!("Node {p3} was killed."));
    lines.extend(session.tell("show", "4 of 5 nodes are up; 1 more may fail."));
    session.tell(&format!("start {p3}"), &format!("Node {p3} is up again, and remembers."));
    session.leave();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches(['│', ' '])
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let rows: Vec<Vec<String>> = lines.iter().filter(|line| line.starts_with('│')).map(|line| cells(line)).collect();
    assert_eq!(rows.len(), 24, "{lines:?}");
    // Behind each table stands one about the log.
    let (about_logs, rows): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(at, _)| at / 6 % 2 == 1);
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    let header = ["log of", "leader", "epoch", "election", "committed", "applied", "votes"];
    for table in about_logs.chunks(6) {
        assert_eq!(table[0].1, header, "{lines:?}");
        let nodes: Vec<&str> = table[1..].iter().map(|(_, row)| &*row[0]).collect();
        assert_eq!(nodes, place.ports.all().iter().map(u16::to_string).collect::<Vec<_>>());
    }
    let header = ["node", "state", "promised", "accepted", "decided", "generation"];
    assert_eq!((&*rows[0], &*rows[6]), (&header.map(str::to_owned)[..], &header.map(str::to_owned)[..]));
    let ballot = format!("1.{p0}");
    let decided = format!("'two words' in {ballot}");
    for (index, port) in place.ports.all().into_iter().enumerate() {
        let port_text = port.to_string();
        assert_eq!(rows[1 + index], [&port_text, "up", "-", "-", "-", "1"]);
        let row = &rows[7 + index];
        if port == p3 {
            assert_eq!(*row, [&port_text, "down"]);
        } else {
            assert_eq!((&*row[0], &*row[1], &*row[4], &*row[5]), (&*port_text, "up", &*decided, "1"), "{row:?}");
        }
    }
}

#[test]
fn crash_and_start_keep_what_was_decided_and_tell_when_too_few_are_left() {
    let place = Place::new();
    let ports = place.ports.all();
    let mut script = format!("set value 5 on {}\n", ports[0]);
    ports[..3].iter().for_each(|port| script.push_str(&format!("crash {port}\n")));
    script.push_str(&format!("status\ncrash {}\n", ports[0]));
    let ran = place.shell().run(&script);
    ran.ended_with(1);
    ran.complains(&[&format!("node {} is down already", ports[0]), &format!("start {}", ports[0])]);
    assert!(ran.stdout.contains("2 of 5 nodes are up, and a decision takes 3."), "{}", ran.stdout);
    // A new shell starts them all, and they remember.
    let ran = place.shell().commands([format!("start {}", ports[0])]);
    ran.ended_with(1);
    ran.complains(&["up already"]);
    let ran = place.shell().commands([format!("set value 6 on {}", ports[1])]);
    assert!(ran.ended_with(1)[1].contains("'5' had been"), "{}", ran.stdout);
}

#[test]
fn unavailable_ends_with_3() {
    let place = Place::new();
    let ports = place.ports.all();
    // The node that is asked is down: nothing was sent.
    let ran = place.shell().commands([format!("crash {}", ports[0]), format!("set value 5 on {}", ports[0])]);
    ran.ended_with(3);
    ran.complains(&["unavailable", &format!("node {} is down", ports[0]), &format!("start {}", ports[0])]);
    // It is up, and has no majority: after the default deadline.
    let mut commands: Vec<String> = ports[2..].iter().map(|port| format!("crash {port}")).collect();
    commands.push(format!("set value 5 on {}", ports[0]));
    let ran = place.shell().commands(&commands);
    ran.ended_with(3);
    ran.complains(&["unavailable", "'5' was not written", &ports[0].to_string()]);
    // Nobody listens at all.
    let ran = Shell::connect(ports[0]).commands(["status"]);
    ran.ended_with(3);
    ran.complains(&[&format!("127.0.0.1:{}", ports[0])]);
}

#[test]
fn usage_errors_end_with_2_and_say_where_and_how() {
    let place = Place::new();
    let port = place.port(0);
    for (line, texts) in [
        ("sett value 5 on 8000", &["there is no command 'sett'", "did you mean 'set'?"][..]),
        ("set value 5", &["on <port>", "usage: set value <v> on <port>"]),
        ("set value on 8000", &["the value is missing"]),
        ("set value 5 on nowhere", &["must be a number", "nowhere"]),
        ("A_wins 8000 8000 1 2", &["two different nodes"]),
        ("A_wins 8000 8001 1", &["the second value is missing", "usage: A_wins <p1> <p2> <v1> <v2>"]),
        ("A_wins 8000 8001 1 2 3", &["one word too many"]),
        ("livelock 8000 8001 1 2 51", &["from 1 to 50"]),
        ("sleep forever", &["from 0 to 86400"]),
        ("restart now", &["one word too many for 'restart'"]),
        ("help me", &["there is no command 'me'"]),
        ("set value \"open on 8000", &["never closed"]),
    ] {
        let ran = place.shell().run(&format!("# a comment\n\n{line}\n"));
        assert_eq!(ran.ended_with(2), Vec::<&str>::new(), "{line}");
        ran.complains(texts);
        ran.complains(&["stdin:3: "]);
    }
    // A node that does not exist is a mistake too.
    let ran = place.shell().commands([format!("set value 5 on {}", port - 1)]);
    ran.ended_with(2);
    ran.complains(&[&format!("there is no node {}", port - 1), &format!("{port}, ")]);
    // And so are the program's own arguments.
    for args in [&["--nodes", "0"][..], &["--nodes", "10"], &["--base-port", "65534"], &["-c", "status", "-f", "x"]] {
        Shell::bare().with(args).run("").ended_with(2);
    }
    let ran = Shell::bare().with(["leader"]).run("");
    ran.ended_with(2);
    ran.complains(&["synod -c 'leader"]);
    let ran = place.shell().with(["-f", "/no/such/file"]).run("");
    ran.ended_with(2);
    ran.complains(&["/no/such/file"]);
}

#[test]
fn a_script_stops_at_its_first_error_unless_told_to_go_on() {
    let place = Place::new();
    let port = place.port(0);
    let script = format!("set value 5 on {port}\nset value 6 on {port}\nnonsense\nset value 5 on {port}\n");
    let good = format!("Node {port} responded: Value '5' has been updated and committed.");
    let count = |ran: &Ran| ran.stdout.lines().filter(|line| **line == good).count();
    let ran = place.shell().run(&script);
    ran.ended_with(1);
    assert_eq!(count(&ran), 2);
    assert!(!ran.stderr.contains("nonsense"), "{}", ran.stderr);
    let ran = place.shell().with(["--keep-going"]).run(&script);
    ran.ended_with(1);
    assert_eq!(count(&ran), 3);
    ran.complains(&["stdin:3: there is no command 'nonsense'"]);
    // The exit code is that of the first failure.
    let ran = place.shell().with(["--keep-going"]).run(&format!("nonsense\n{script}"));
    ran.ended_with(2);
    assert_eq!(count(&ran), 3);
}

#[test]
fn arguments_a_file_and_a_pipe_say_the_same() {
    let place = Place::new();
    let port = place.port(1);
    let [five, six] = ["5", "6"].map(|value| format!("set value {value} on {port}"));
    let lines = ["restart", &five, &six, "status"];
    let script = format!("{}\n", lines.join("\n"));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("demo.synod");
    fs::write(&file, format!("\u{feff}{}", script.replace('\n', "\r\n"))).unwrap();
    let keep_going = || place.shell().with(["--keep-going"]);
    // How wide the table about the log is, and who votes yet, is a matter of how far an election has come.
    let is_of_table = |line: &str| line.starts_with(['│', '┌', '╞', '└']) || line.contains(" does not vote: ");
    let without_table = |ran: Ran| {
        ran.ended_with(1);
        (ran.stdout.lines().filter(|line| !is_of_table(line)).map(str::to_owned).collect::<Vec<_>>(), ran.stderr)
    };
    let piped = without_table(keep_going().run(&script));
    assert_eq!(piped.0.len(), 10, "{piped:?}");
    assert_eq!(without_table(keep_going().commands(lines)), piped);
    assert_eq!(without_table(keep_going().with(["-f".as_ref(), file.as_os_str()]).run("")), piped);
    assert_eq!(without_table(keep_going().with(["-f", "-"]).run(&script)), piped);
    // A last line without its line feed counts.
    assert_eq!(without_table(keep_going().run(script.trim_end())), piped);
}

#[test]
fn commands_are_case_insensitive_and_values_are_not() {
    let place = Place::new();
    let [p0, p1] = [0, 1].map(|node| place.port(node));
    let script = format!(
        "SET Value MiXed Case oN {p0}\nRESTART\na_WINS {p0} {p1} Red BLUE\nShow\nRestart\n\
         LIVELOCK {p1} {p0} x X 1\nQuit\nnonsense\n"
    );
    let ran = place.shell().run(&script);
    ran.good();
    assert!(ran.stdout.contains("Value 'MiXed Case' has been"), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("Final response from Node {p1}: Value 'Red' has")), "{}", ran.stdout);
}

#[test]
fn state_stays_from_one_shell_to_the_next() {
    let place = Place::new();
    place.shell().commands([format!("set value stays on {}", place.port(2))]).good();
    let ran = place.shell().commands([format!("set value other on {}", place.port(3))]);
    assert!(ran.ended_with(1)[1].contains("'stays' had been"), "{}", ran.stdout);
    place.files_come_to_say("stays");
    // A restart stays too.
    place.shell().commands(["restart"]).good();
    let ran = place.shell().commands([format!("set value other on {}", place.port(3))]);
    ran.good();
}

#[test]
fn json_is_one_object_a_command() {
    let place = Place::new();
    let [p0, p1] = [0, 1].map(|node| place.port(node));
    let commands = [
        format!("set value 5 on {p0}"),
        format!("set value 6 on {p1}"),
        "restart".to_owned(),
        format!("BB_wins {p0} {p1} \"\" \"a\\nb\""),
        "status".to_owned(),
        "nonsense".to_owned(),
        format!("crash {p0}"),
        format!("set value 7 on {p0}"),
        format!("start {p0}"),
    ];
    let ran = place.shell().with(["--output", "json", "--keep-going"]).commands(&commands);
    let objects: Vec<Json> =
        ran.ended_with(1).iter().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let codes: Vec<u64> = objects.iter().map(|object| object["exit_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [0, 1, 0, 0, 0, 2, 0, 3, 0], "{}", ran.stdout);
    for (object, command) in objects.iter().zip(&commands) {
        assert!(object.is_object() && object["status"].is_string(), "{object}");
        if object["exit_code"] != 2 {
            assert_eq!(object["command"].as_str().unwrap(), command);
        }
        assert_eq!(object["error"].is_string(), [2, 3].contains(&object["exit_code"].as_u64().unwrap()), "{object}");
    }
    assert_eq!((&objects[0]["outcome"], &objects[1]["outcome"]), (&"yours".into(), &"another's".into()));
    assert_eq!((&objects[1]["value"], &objects[1]["node"]), (&"5".into(), &p1.into()));
    let race = &objects[3];
    assert_eq!(race["value"], "a\nb");
    assert_eq!(race["responses"].as_array().unwrap().len(), 2);
    assert_eq!((&race["responses"][0]["node"], &race["responses"][1]["node"]), (&p1.into(), &p0.into()));
    let nodes = objects[4]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 5);
    assert!(nodes.iter().all(|node| node["decided"] == true && node["value"] == "a\nb"), "{}", objects[4]);
    assert_eq!(ran.stderr, "");
}

#[test]
fn json_is_one_object_for_the_shells_own_commands_too() {
    let place = Place::new();
    let ran = place.shell().with(["--output", "json"]).commands(["help exit", "history", "sleep 0.001", "status"]);
    let lines = ran.ended_with(0);
    assert!(
        lines.iter().all(|line| serde_json::from_str::<Json>(line).is_ok_and(|json| json.is_object())),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn json_tells_of_a_cluster_that_cannot_be_reached() {
    let place = Place::new();
    let ran = Shell::connect(place.port(0)).with(["--output", "json"]).commands(["status"]);
    let lines = ran.ended_with(3);
    assert_eq!(lines.len(), 1);
    let object: Json = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&object["exit_code"], &object["status"]), (&3.into(), &"unavailable".into()));
    assert!(object["error"].as_str().unwrap().contains(&place.port(0).to_string()), "{object}");
}

#[test]
fn a_pipe_gets_no_escape_bytes() {
    let place = Place::new();
    let [p0, p1] = [0, 1].map(|node| place.port(node));
    let script = format!("A_wins {p0} {p1} 1 2\nstatus\nset value 9 on {p0}\nnonsense\nhelp\nA_wins {p0} {p1} 1 2\n");
    for no_color in [None, Some("1")] {
        let mut shell = place.shell().with(["--keep-going"]);
        if let Some(value) = no_color {
            shell = shell.env("NO_COLOR", value);
        }
        let ran = shell.run(&script);
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{}\n{}", ran.stdout, ran.stderr);
        assert!(!ran.stdout.contains('\r'), "{}", ran.stdout);
    }
}

#[test]
fn every_command_has_a_help_text() {
    let place = Place::new();
    let overview = place.shell().commands(["help"]);
    let overview = overview.good();
    let mut commands: Vec<String> = Vec::new();
    for (name, spellings) in COMMANDS {
        assert!(overview.iter().any(|line| line.trim_start().starts_with(name)), "{name} is not in the overview");
        commands.push(format!("help {name}"));
        commands.extend(spellings.iter().map(|spelling| format!("HELP {spelling}")));
    }
    // One shell for all: as JSON, one line for each.
    let ran = place.shell().with(["--output", "json"]).commands(&commands);
    let texts: Vec<Json> = ran.good().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut texts = texts.iter().map(|object| object["lines"].as_array().unwrap());
    for (name, spellings) in COMMANDS {
        let text = texts.next().unwrap();
        assert!(text[0].as_str().unwrap().starts_with(name), "{text:?}");
        assert!(text.iter().any(|line| line.as_str().unwrap().starts_with("Example")), "{text:?}");
        for spelling in spellings {
            assert_eq!(texts.next().unwrap(), text, "{spelling}");
        }
    }
    assert!(overview.iter().all(|line| line.chars().count() <= 80), "{overview:?}");
}

#[test]
fn history_and_exit_work_in_scripts() {
    let place = Place::new();
    let ran = place.shell().run("help exit\n\n# a comment\nsleep 0.001\nhistory\nexit\nnonsense\n");
    let lines = ran.good();
    let tail: Vec<&str> = lines[lines.len() - 4..].iter().map(|line| line.trim()).collect();
    assert_eq!(tail, ["1  help exit", "2  # a comment", "3  sleep 0.001", "4  history"]);
}

#[test]
fn the_program_explains_itself() {
    for (args, texts) in [
        (&["--help"][..], &["Exit codes: 0 done, 1 refused", "--base-port", "--connect"][..]),
        (&["serve", "--help"], &["--member", "--cluster", "--lab"]),
        (&["up", "--help"], &["--base-port", "--data"]),
        (&["--version"], &["synod "]),
    ] {
        let ran = Shell::bare().with(args).run("");
        ran.good();
        texts.iter().for_each(|text| assert!(ran.stdout.contains(text), "{args:?}: {}", ran.stdout));
    }
}
