//! The shell over scripts with an executor that records, and the pure parts of the prompt.

use std::io::Cursor;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::assist::{complete, hint};
use super::*;

/// Writes down what it is asked to do, and answers `crash` with `Unavailable` and `start` with `Refused`.
#[derive(Default)]
struct Recorder {
    log: Vec<String>,
    reader_gone: bool,
}

impl Executor for Recorder {
    fn run(&mut self, command: &Command) -> Status {
        self.log.push(command.to_string());
        match command {
            Command::Crash(_) => Status::Unavailable,
            Command::Start(_) => Status::Refused,
            _ => Status::Done,
        }
    }

    fn ports(&self) -> Vec<Port> {
        ports()
    }

    fn report_usage(&mut self, error: &UsageError) {
        self.log.push(error.to_string().lines().next().unwrap_or_default().to_owned());
    }

    fn conclude(&mut self, _: &Command, text: &str, status: Status) -> Status {
        if !text.is_empty() {
            self.log.push(format!("shown: {}", text.trim_end()));
        }
        status
    }

    fn is_reader_gone(&self) -> bool {
        self.reader_gone
    }
}

fn ports() -> Vec<Port> {
    (8000..8003).filter_map(Port::new).collect()
}

fn run_script(script: impl Into<Vec<u8>>, keep_going: bool) -> (Status, Vec<String>) {
    let mut recorder = Recorder::default();
    let source = Source::Lines(Box::new(Cursor::new(script.into())), "script".to_owned());
    let status = run(source, &mut recorder, keep_going, None, &AtomicBool::new(false));
    (status, recorder.log)
}

fn check(script: impl Into<Vec<u8>>, status: Status, log: &[&str]) {
    let (got, recorded) = run_script(script, false);
    assert_eq!(recorded, log);
    assert_eq!(got, status);
}

fn check_keep_going(script: impl Into<Vec<u8>>, status: Status, log: &[&str]) {
    let (got, recorded) = run_script(script, true);
    assert_eq!(recorded, log);
    assert_eq!(got, status);
}

#[test]
fn a_script_runs_to_its_end() {
    let script = "# a comment\n\nset value 5 on 8000\r\n  sTATus\n   # another\nsleep 0\nrestart";
    check(script, Status::Done, &["set value 5 on 8000", "status", "restart"]);
    check("", Status::Done, &[]);
    check("\n\n", Status::Done, &[]);
    check("\u{feff}status", Status::Done, &["status"]);
}

#[test]
fn a_script_stops_at_the_first_failure() {
    check("status\ncrash 1\nstatus\n", Status::Unavailable, &["status", "crash 1"]);
    check("start 1\nstatus\n", Status::Refused, &["start 1"]);
    check("status\nstatsu\nstatus", Status::Usage, &["status", "script:2: there is no command 'statsu'"]);
}

#[test]
fn keep_going_runs_all_and_returns_the_first_failure() {
    check_keep_going(
        "crash 1\nnonsense\nstart 1\nstatus",
        Status::Unavailable,
        &["crash 1", "script:2: there is no command 'nonsense'", "start 1", "status"],
    );
    check_keep_going("status", Status::Done, &["status"]);
    check_keep_going("start 1\nexit\nstatus", Status::Refused, &["start 1"]);
}

#[test]
fn exit_ends_a_script() {
    check("status\nexit\nstatus", Status::Done, &["status"]);
    check("quit", Status::Done, &[]);
}

#[test]
fn broken_lines_are_usage_errors() {
    check(b"status\n\xff\xfe\n".as_slice(), Status::Usage, &["status", "script:2: the line is not UTF-8 text"]);
    let mut long = vec![b'x'; MAX_LINE + 1];
    long.extend_from_slice(b"\nstatus");
    check_keep_going(long, Status::Usage, &["script:1: the line is longer than 1 MiB", "status"]);
    let mut longest = b"crash 1".to_vec();
    longest.resize(MAX_LINE, b' ');
    check(longest, Status::Unavailable, &["crash 1"]);
    check("\0", Status::Usage, &["script:1: there is no command '\\u{0}'"]);
}

#[test]
fn a_source_that_fails_is_reported() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let mut recorder = Recorder::default();
    let source = Source::Lines(Box::new(BufReader::new(Broken)), "script".to_owned());
    let status = run(source, &mut recorder, true, None, &AtomicBool::new(false));
    assert_eq!(status, Status::Usage);
    assert_eq!(recorder.log, ["script:1: cannot read on: the disk is gone"]);
}

#[test]
fn help_and_history_are_shown_here() {
    let (status, log) = run_script("help exit\nhelp\n# note\nhistory", false);
    assert_eq!(status, Status::Done);
    assert!(log[0].starts_with("shown: exit\n"), "{log:?}");
    assert!(log[1].contains("set value <v> on <port>"), "{log:?}");
    assert_eq!(log[2], "shown:     1  help exit\n    2  help\n    3  # note\n    4  history");
}

#[test]
fn history_has_a_limit() {
    let script = format!("{}history", "status\n".repeat(MAX_HISTORY + 5));
    let (_, log) = run_script(script, false);
    assert_eq!(log.last().unwrap().lines().count(), MAX_HISTORY);
}

#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    for script in ["help\nhelp", "status\nstatus", "nonsense\nstatus"] {
        let mut recorder = Recorder { reader_gone: true, ..Recorder::default() };
        let source = Source::Lines(Box::new(Cursor::new(script)), "script".to_owned());
        let status = run(source, &mut recorder, false, None, &AtomicBool::new(false));
        assert_eq!(status, Status::Done, "{script}");
        assert!(recorder.log.len() <= 1, "{:?}", recorder.log);
    }
}

#[test]
fn ctrl_c_ends_a_sleep_and_the_script() {
    let interrupted = AtomicBool::new(false);
    let started = Instant::now();
    let (status, log) = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            interrupted.store(true, Ordering::Relaxed);
        });
        let mut recorder = Recorder::default();
        let source = Source::Lines(Box::new(Cursor::new("sleep 60\nstatus")), "s".to_owned());
        let status = run(source, &mut recorder, true, None, &interrupted);
        (status, recorder.log)
    });
    assert_eq!((status, log), (Status::Refused, vec![]));
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_arguments_choose_the_source() {
    let commands = ["status".to_owned(), "restart".to_owned()];
    let source = Source::choose(&commands, None).unwrap();
    let mut recorder = Recorder::default();
    assert_eq!(run(source, &mut recorder, false, None, &AtomicBool::new(false)), Status::Done);
    assert_eq!(recorder.log, ["status", "restart"]);

    let Err(error) = Source::choose(&[], Some(Path::new("/no/such/file"))) else {
        panic!("there is such a file");
    };
    assert!(error.message.starts_with("cannot open the script '/no/such/file': "), "{error}");
}

#[test]
fn colours_are_for_terminals_and_obey_no_color() {
    let os = |text: &'static str| Some(OsStr::new(text));
    assert!(may_colour(true, None, None));
    assert!(may_colour(true, os(""), os("xterm")));
    assert!(!may_colour(true, os("0"), os("xterm")));
    assert!(!may_colour(true, None, os("dumb")));
    assert!(!may_colour(false, None, os("xterm")));
}

/// `line` has the cursor at its `|`.
fn check_completion(line: &str, start: usize, candidates: &[&str]) {
    let pos = line.find('|').unwrap();
    let got = complete(&line.replace('|', ""), pos, &ports());
    if candidates.is_empty() {
        assert_eq!(got.1, candidates, "{line}");
    } else {
        assert_eq!(got, (start, candidates.iter().map(|&c| c.to_owned()).collect()), "{line}");
    }
}

#[test]
fn completion() {
    check_completion("a|", 0, &["A_wins ", "append "]);
    check_completion("  B|", 2, &["B_wins ", "BB_wins ", "board "]);
    check_completion("s|", 0, &["set ", "status", "show", "start ", "step", "sleep "]);
    check_completion("Q|", 0, &["quit"]);
    check_completion("zzz|", 0, &[]);
    check_completion("se| value", 0, &["set "]);
    check_completion("set |", 4, &["value ", "diagram "]);
    check_completion("set diagram o|", 12, &["on", "off"]);
    check_completion("explain |", 8, &["roles", "adopt", "ballots", "majority", "livelock"]);
    check_completion("trace s|", 6, &["save ", "show"]);
    check_completion("set V|", 4, &["value "]);
    check_completion("set value |", 10, &[]);
    check_completion("set value 5 |", 12, &["on "]);
    check_completion("set value 5 o|", 12, &["on "]);
    check_completion("set value it's big |", 19, &["on "]);
    check_completion("set value 5 on |", 15, &["8000", "8001", "8002"]);
    check_completion("set value 'a b' on 8|", 19, &["8000", "8001", "8002"]);
    check_completion("set value say \"on on |", 21, &["8000", "8001", "8002"]);
    check_completion("set value 'a on |", 16, &[]);
    check_completion("set value 5 on 8000 |", 20, &[]);
    check_completion("crash |", 6, &["8000", "8001", "8002"]);
    check_completion("crash 8001 |", 11, &[]);
    check_completion("start 8002|", 6, &["8002"]);
    check_completion("B_wins |", 7, &["8000 ", "8001 ", "8002 "]);
    check_completion("B_wins 8001 |", 12, &["8000 ", "8002 "]);
    check_completion("B_wins 8001 8002 |", 17, &[]);
    check_completion("help l|", 5, &["livelock", "leader", "ls", "list", "lock", "locks"]);
    check_completion("elect 800|", 6, &["8000", "8001", "8002"]);
    check_completion("board |", 6, &["post ", "modify ", "delete ", "show", "eventual ", "diff"]);
    check_completion("board eventual |", 15, &["post ", "modify ", "delete ", "show", "status"]);
    check_completion("register s|", 9, &["stale"]);
    check_completion("BOARD m|", 6, &["modify "]);
    check_completion("board post |", 11, &[]);
    check_completion("files |", 6, &["history"]);
    check_completion("cut |", 4, &["8000 ", "8001 ", "8002 ", "all "]);
    check_completion("drop 5% 8000 |", 13, &["-> ", "<-> "]);
    check_completion("cut 8000 -> |", 12, &["8001", "8002", "all"]);
    check_completion("hold |", 5, &["accept ", "commit ", "learn ", "prepare "]);
    check_completion("unw|", 0, &["unwatch "]);
    check_completion("loc|", 0, &["lock ", "locks"]);
    check_completion("help s|", 5, &["set", "status", "show", "start", "step", "sleep"]);
    check_completion("restart |", 8, &[]);
    check_completion("nonsense |", 9, &[]);
    assert_eq!(complete("", 0, &[]).1.len(), help::COMMANDS.len());
}

#[test]
fn hints() {
    for (line, expected) in [
        ("", None),
        ("s", None),
        ("zzz", None),
        ("zzz ", None),
        ("liv", Some("elock <p1> <p2> <v1> <v2> [rounds]")),
        ("REST", Some("art")),
        ("restart", None),
        ("restart now", None),
        ("set", Some(" value <v> on <port>")),
        ("set ", Some("value <v> on <port>")),
        ("set valu", None),
        ("set value", Some(" <v> on <port>")),
        ("set value 5", Some(" on <port>")),
        ("set value 5 6 ", Some("on <port>")),
        ("set value 5 on", Some(" <port>")),
        ("set value 5 on ", Some("<port>")),
        ("set value 5 on 8000", None),
        ("set value on ", Some("on <port>")),
        ("set value 'a", None),
        ("set value 'a' ", Some("on <port>")),
        ("A_wins", Some(" <p1> <p2> <v1> <v2>")),
        ("a_wins 8000 ", Some("<p2> <v1> <v2>")),
        ("A_wins 8000 8001 'a b'", Some(" <v2>")),
        ("A_wins 8000 8001 1 2", None),
        ("livelock 8000 8001 1 2", Some(" [rounds]")),
        ("show", None),
        ("crash ", Some("<port>")),
        ("lea", Some("der")),
        ("append", Some(" <file> <text>")),
        ("append f ", Some("<text>")),
        ("append f it's \"so", None),
        ("append f \"open", None),
        ("board", Some(" post|modify|delete|show [...]")),
        ("board eventual", Some(" post|modify|delete|show|status [...]")),
        ("board modify", Some(" <id> <text>")),
        ("board modify 3 ", Some("<text>")),
        ("board show", None),
        ("board paint", None),
        ("cas k ", Some("<version> <v>")),
        ("lock a ", Some("[owner] [s] [-- <cmd>]")),
        ("lock a -- ls", None),
        ("watch a", Some(" [seconds]")),
        ("hold accept ", Some("<ports> -> <ports>")),
    ] {
        assert_eq!(hint(line, line.len()).as_deref(), expected, "{line:?}");
    }
    assert_eq!(hint("set ", 1), None, "only at the end of the line");
}

proptest! {
    #[test]
    fn completion_and_hints_take_any_line(
        words in prop::collection::vec("set|value|on|8000|A_wins|'|\"|é|[ \\t]|\\PC{0,3}", 0..8),
        pos in 0..60usize,
    ) {
        let line = words.join(" ");
        let (start, candidates) = complete(&line, pos, &ports());
        prop_assert!(candidates.is_empty() || (start <= pos && line.is_char_boundary(start)));
        let _ = hint(&line, line.len());
    }

    #[test]
    fn any_bytes_are_a_script(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let lines = bytes.split(|&byte| byte == b'\n').count();
        // Its own sleeps would be the only slow thing in it.
        prop_assume!(!bytes.to_ascii_lowercase().windows(5).any(|window| window == b"sleep"));
        let (_, log) = run_script(bytes, true);
        prop_assert!(log.len() <= lines);
    }
}
