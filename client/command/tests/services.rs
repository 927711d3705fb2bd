//! The commands about the services.

use std::time::Duration;

use proptest::prelude::*;

use super::{check_errors, literals, port, ports, text};
use crate::command::overlay::{Act, Overlay, OverlayCommand};
use crate::command::services::weak::Weak;
use crate::command::services::{MIN_TTL, Service};
use crate::command::{Command, Literal, MAX_SLEEP, Port, parse};

fn check(lines: &[(&str, Service)]) {
    for (line, service) in lines {
        assert_eq!(parse(line).as_ref(), Ok(&Some(Command::Service(service.clone()))), "{line:?}");
    }
}

fn append(name: &str, line: &str) -> Service {
    Service::Append { name: name.to_owned(), line: line.to_owned() }
}

fn put(key: &str, value: Literal) -> Service {
    Service::Put { key: key.to_owned(), value }
}

fn lock(name: &str, owner: Option<&str>, ttl: Option<u64>, program: &[&str]) -> Service {
    Service::Lock {
        name: name.to_owned(),
        owner: owner.map(str::to_owned),
        ttl: ttl.map(Duration::from_millis),
        program: program.iter().map(|&word| word.to_owned()).collect(),
    }
}

#[test]
fn files() {
    check(&[
        ("create file.txt", Service::Create("file.txt".to_owned())),
        ("CREATE File.TXT", Service::Create("File.TXT".to_owned())),
        ("create 'two words'", Service::Create("two words".to_owned())),
        ("create 007", Service::Create("007".to_owned())),
        ("create 7", Service::Create("7".to_owned())),
        ("append file.txt Lorem ipsum dolor", append("file.txt", "Lorem ipsum dolor")),
        ("append file.txt   Lorem  ipsum ", append("file.txt", "Lorem  ipsum")),
        ("append f it's \"quoted\" inside", append("f", "it's \"quoted\" inside")),
        ("append f \"  spaces \\n\"", append("f", "  spaces \n")),
        ("append f 42", append("f", "42")),
        ("append f \"\"", append("f", "")),
        ("append 'a b' c -- d", append("a b", "c -- d")),
        ("read file.txt", Service::Read("file.txt".to_owned())),
        ("delete file.txt", Service::Delete("file.txt".to_owned())),
        ("ls", Service::Ls),
        ("files history", Service::FilesHistory(None)),
        ("FILES History 17", Service::FilesHistory(Some(17))),
    ]);
}

#[test]
fn what_has_no_leader() {
    let post = |text: &str, on| Weak::Post { text: text.to_owned(), on };
    let read = |name: &str, on| Weak::Read { name: name.to_owned(), on };
    let at = Some(port(8001));
    let lines = [
        ("board eventual post hello", post("hello", None)),
        ("board eventual post hello, all of you  on 8001", post("hello, all of you", at)),
        ("board eventual post \"meet on 8001\"", post("meet on 8001", None)),
        ("board eventual post 'x' on 8001", post("x", at)),
        ("board eventual post turn it on 0", post("turn it on 0", None)),
        (
            "BOARD Eventual Modify 7.8000 two words ON 8001",
            Weak::Modify { id: "7.8000".to_owned(), text: "two words".to_owned(), on: at },
        ),
        ("board eventual delete 7.8000", Weak::Delete { id: "7.8000".to_owned(), on: None }),
        ("board eventual show on 8001", Weak::Show { on: at }),
        ("board eventual status", Weak::Status),
        ("board diff", Weak::Diff),
        ("register write x 5", Weak::Write { name: "x".to_owned(), value: Literal::Int(5), on: None }),
        ("register write '' a b on 8001", Weak::Write { name: String::new(), value: text("a b"), on: at }),
        ("register read x", read("x", None)),
        ("register read 'two words' on 8001", read("two words", at)),
        ("register quorum", Weak::Quorum { sizes: None }),
        ("register quorum 2 3", Weak::Quorum { sizes: Some((2, 3)) }),
        ("register stale", Weak::Stale),
        ("clock", Weak::Clock),
        ("mutex demo", Weak::Mutex { clients: None }),
        ("mutex demo 3", Weak::Mutex { clients: Some(3) }),
    ];
    for (line, weak) in lines {
        let command = Command::Service(Service::Weak(weak));
        assert_eq!(parse(line).as_ref(), Ok(&Some(command.clone())), "{line:?}");
        assert_eq!(parse(&command.to_string()), Ok(Some(command)), "the canonical spelling of {line:?}");
    }
    for line in [
        "board eventual",
        "board eventual post",
        "board eventual show 8001",
        "register",
        "register quorum 2",
        "mutex",
        "mutex demo 1",
        "mutex demo 17",
        "clock now",
    ] {
        assert!(parse(line).is_err(), "{line:?}");
    }
}

#[test]
fn board_and_keys() {
    check(&[
        ("board post Hello, all of you", Service::Post("Hello, all of you".to_owned())),
        ("board POST 'a  b'", Service::Post("a  b".to_owned())),
        ("board modify 3 another text", Service::Modify { id: 3, text: "another text".to_owned() }),
        ("board delete 18446744073709551615", Service::Unpost(u64::MAX)),
        ("board show", Service::Board),
        ("put color blue", put("color", text("blue"))),
        ("put n -5", put("n", Literal::Int(-5))),
        ("put n \"5\"", put("n", text("5"))),
        ("put 5 six seven", put("5", text("six seven"))),
        ("get color", Service::Get("color".to_owned())),
        ("cas color 0 blue", Service::Cas { key: "color".to_owned(), version: 0, value: text("blue") }),
        ("cas color 12 7 8", Service::Cas { key: "color".to_owned(), version: 12, value: text("7 8") }),
        ("del color", Service::Del("color".to_owned())),
        ("list", Service::List(String::new())),
        ("list a/", Service::List("a/".to_owned())),
        ("watch a", Service::Watch { prefix: "a".to_owned(), time: None }),
        ("watch \"\" 1.5", Service::Watch { prefix: String::new(), time: Some(Duration::from_millis(1500)) }),
        ("unwatch", Service::Unwatch(None)),
        ("unwatch ''", Service::Unwatch(Some(String::new()))),
        ("outcome shell-1/2", Service::Outcome("shell-1/2".to_owned())),
    ]);
}

#[test]
fn locks_and_leaders() {
    check(&[
        ("elect 8001", Service::Elect(port(8001))),
        ("Leader", Service::Leader),
        ("members", Service::Members),
        ("members add 8005", Service::AddMember { node: port(8005), address: None }),
        ("members add 8005 h:1", Service::AddMember { node: port(8005), address: Some("h:1".to_owned()) }),
        ("members REMOVE 8005", Service::RemoveMember(port(8005))),
        ("lock a", lock("a", None, None, &[])),
        ("lock a me", lock("a", Some("me"), None, &[])),
        ("lock a me 5", lock("a", Some("me"), Some(5000), &[])),
        ("lock a 0.5", lock("a", None, Some(500), &[])),
        ("lock a \"5\"", lock("a", Some("5"), None, &[])),
        ("lock 7 '8' 9", lock("7", Some("8"), Some(9000), &[])),
        ("lock a -- echo hi", lock("a", None, None, &["echo", "hi"])),
        (
            "lock a me 5 -- sh -c 'echo \"$X\" -- 1'",
            lock("a", Some("me"), Some(5000), &["sh", "-c", "echo \"$X\" -- 1"]),
        ),
        ("lock a -- sleep 0.50 -- ''", lock("a", None, None, &["sleep", "0.50", "--", ""])),
        ("lock \"--\" '--' -- true", lock("--", Some("--"), None, &["true"])),
        ("unlock a", Service::Unlock { name: "a".to_owned(), owner: None }),
        ("unlock a me", Service::Unlock { name: "a".to_owned(), owner: Some("me".to_owned()) }),
        ("locks", Service::Locks),
    ]);
}

#[test]
fn mistakes() {
    check_errors(&[
        ("create", "the file's name is missing"),
        ("members drop 8001", "after 'members' comes 'add' or 'remove'"),
        ("members add", "the node is missing"),
        ("members remove x", "the node must be a number"),
        ("create two words", "'words' is one word too many for 'create'"),
        ("append", "the file's name is missing"),
        ("append f", "the line is missing; the empty text is typed \"\""),
        ("append f \"a\" b", "something follows the closing quote"),
        ("append f \"a", "never closed"),
        ("append f \"\\q\"", "no escape '\\q'"),
        ("read", "the file's name is missing"),
        ("ls all", "'all' is one word too many for 'ls'"),
        ("files", "after 'files' comes 'history'"),
        ("files history soon", "the counter must be a number such as 3, not 'soon'"),
        ("board", "after 'board' comes 'post' or 'modify' or 'delete' or 'show'"),
        ("board paint x", "after 'board' comes"),
        ("board \"post\" x", "after 'board' comes"),
        ("board post", "the text is missing"),
        ("board modify x y", "the post's id must be a number"),
        ("board modify 1", "the text is missing"),
        ("board delete -1", "the post's id must be a number"),
        ("board delete 18446744073709551616", "the post's id must be a number"),
        ("board show all", "'all' is one word too many"),
        ("put", "the key is missing"),
        ("put k", "the value is missing"),
        ("cas k blue", "the version must be a number such as 3, not 'blue'"),
        ("cas k 1", "the value is missing"),
        ("get a b", "'b' is one word too many"),
        ("watch", "the prefix is missing"),
        ("watch a b", "such as 2 or 0.5"),
        ("watch a 1 2", "'2' is one word too many"),
        ("elect", "the port is missing"),
        ("elect me", "must be a number"),
        ("lock", "the lock's name is missing"),
        ("lock a b c", "'c' is one word too many; a program goes behind '--'"),
        ("lock a 5 b", "'b' is one word too many; a program goes behind '--'"),
        ("lock a 0", "0.1 to 86400 seconds"),
        ("lock a 86401", "from 0 to 86400"),
        ("lock a --", "the program behind '--' is missing"),
        ("lock a -- 'x", "never closed"),
        ("unlock", "the lock's name is missing"),
        ("outcome", "the request is missing"),
    ]);
}

#[test]
fn overlays() {
    let command = |overlay, act, on: Option<u32>| {
        Service::Overlay(OverlayCommand { overlay, act, on: on.map(|port| Port::new(port).unwrap()) })
    };
    let set = |key: &str, value| Act::Set { key: key.to_owned(), value };
    let (dht, key) = (Overlay::Dht, "color".to_owned());
    check(&[
        ("dht set color blue", command(dht, set("color", Literal::Text("blue".to_owned())), None)),
        ("dht set color 5 8003", command(dht, set("color", Literal::Int(5)), Some(8003))),
        ("flood set 'a b' \"5\"", command(Overlay::Flood, set("a b", Literal::Text("5".to_owned())), None)),
        ("DHT Get color 8001", command(dht, Act::Get(key.clone()), Some(8001))),
        ("index remove color", command(Overlay::Index, Act::Remove(key), None)),
        ("dht ring", command(dht, Act::Ring, None)),
        ("dht fingers 8002", command(dht, Act::Fingers, Some(8002))),
        ("dht leave 8002", command(dht, Act::Leave, Some(8002))),
        ("dht join 8002", command(dht, Act::Join, Some(8002))),
    ]);
    check_errors(&[
        ("dht", "after 'dht' comes 'set' or 'get' or 'remove' or 'ring' or 'fingers' or 'join' or 'leave'"),
        ("flood ring", "after 'flood' comes 'set' or 'get' or 'remove'"),
        ("dht set color", "the value is missing"),
        ("dht set color dark blue", "the port must be a number such as 8000, not 'blue'"),
        ("dht get", "the key is missing"),
        ("dht leave", "the port is missing"),
        ("dht ring 8000 8001", "'8001' is one word too many"),
    ]);
}

/// A text as a word of the language; any text can be one.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z0-9.-]{0,4}", "[ \t\n\"'\\\\#-]{0,4}", Just("--".to_owned())]
}

fn times() -> impl Strategy<Value = Duration> {
    (MIN_TTL.as_nanos() as u64..=MAX_SLEEP.as_nanos() as u64).prop_map(Duration::from_nanos)
}

fn locks() -> impl Strategy<Value = Service> {
    (words(), prop::option::of(words()), prop::option::of(times()), prop::collection::vec(words(), 0..4))
        .prop_map(|(name, owner, ttl, program)| Service::Lock { name, owner, ttl, program })
}

fn overlay_commands() -> impl Strategy<Value = Service> {
    let act = prop_oneof![
        (words(), literals()).prop_map(|(key, value)| Act::Set { key, value }),
        words().prop_map(Act::Get),
        words().prop_map(Act::Remove),
    ];
    let overlay = prop::sample::select(vec![Overlay::Dht, Overlay::Flood, Overlay::Index]);
    let of_ring = prop::sample::select(vec![Act::Ring, Act::Fingers, Act::Join, Act::Leave]);
    prop_oneof![
        (overlay, act, prop::option::of(ports())).prop_map(|(overlay, act, on)| OverlayCommand { overlay, act, on }),
        (of_ring, ports()).prop_map(|(act, port)| OverlayCommand { overlay: Overlay::Dht, act, on: Some(port) }),
    ]
    .prop_map(Service::Overlay)
}

pub(super) fn services() -> impl Strategy<Value = Service> {
    prop_oneof![
        ports().prop_map(Service::Elect),
        prop::sample::select(vec![Service::Leader, Service::Ls, Service::Board, Service::Locks]),
        words().prop_map(Service::Create),
        (words(), words()).prop_map(|(name, line)| Service::Append { name, line }),
        words().prop_map(Service::Read),
        words().prop_map(Service::Delete),
        prop::option::of(any::<u64>()).prop_map(Service::FilesHistory),
        words().prop_map(Service::Post),
        (any::<u64>(), words()).prop_map(|(id, text)| Service::Modify { id, text }),
        any::<u64>().prop_map(Service::Unpost),
        (words(), literals()).prop_map(|(key, value)| Service::Put { key, value }),
        words().prop_map(Service::Get),
        (words(), any::<u64>(), literals()).prop_map(|(key, version, value)| Service::Cas { key, version, value }),
        words().prop_map(Service::Del),
        words().prop_map(Service::List),
        (words(), prop::option::of(times())).prop_map(|(prefix, time)| Service::Watch { prefix, time }),
        prop::option::of(words()).prop_map(Service::Unwatch),
        locks(),
        locks(),
        (words(), prop::option::of(words())).prop_map(|(name, owner)| Service::Unlock { name, owner }),
        words().prop_map(Service::Outcome),
        overlay_commands(),
    ]
}
