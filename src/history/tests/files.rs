//! The file format: what is written is read, and what is wrong is named by its line.

use std::io::Cursor;

use super::*;

const FIRST: &str = "{\"type\":\"history\",\"version\":1}\n";

/// Every operation once, with every answer.
fn events() -> Vec<Event> {
    let text = String::from;
    let put = Op::Put { key: text("a"), value: text("1") };
    let cas = Op::Cas { key: text("a"), version: u64::MAX, value: text("\u{0}\"\n😀") };
    let acquire = Op::Acquire { name: text("l"), owner: text("me"), ttl_ms: 5 };
    let release = Op::Release { name: text("l"), owner: text("me"), token: 7 };
    let post = Post { id: text("1.1"), text: text("hello") };
    let pairs = [
        (Op::Propose { instance: text("default"), value: text("5") }, Answer::Chosen { value: text("6") }),
        (Op::Decided { instance: text("default") }, Answer::Undecided),
        (put, Answer::Written { version: 1 }),
        (Op::Get { key: text("a") }, Answer::Found { value: text("1"), version: Some(1) }),
        (Op::Get { key: text("a") }, Answer::Found { value: text("1"), version: None }),
        (cas, Answer::Conflict { version: 0 }),
        (Op::Remove { key: text("a") }, Answer::Absent),
        (Op::Create { name: text("f") }, Answer::Exists),
        (Op::Append { name: text("f"), text: text("x\r\n") }, Answer::Done),
        (Op::ReadFile { name: text("f") }, Answer::Content { text: text("") }),
        (Op::DeleteFile { name: text("f") }, Answer::Done),
        (acquire.clone(), Answer::Granted { token: 7 }),
        (acquire, Answer::Busy),
        (Op::Renew { name: text("l"), owner: text("me"), token: 7, ttl_ms: 5 }, Answer::Done),
        (release, Answer::NotHeld),
        (Op::Post { text: text("hello") }, Answer::Posted { id: text("1.1") }),
        (Op::Modify { id: text("1.1"), text: text("bye") }, Answer::Done),
        (Op::DeletePost { id: text("1.1") }, Answer::Absent),
        (Op::List, Answer::Listed { posts: vec![post] }),
        (Op::ReadRegister { key: text("r") }, Answer::Absent),
        (Op::WriteRegister { key: text("r"), value: text("1") }, Answer::Done),
    ];
    let mut events = Vec::new();
    for (process, (op, answer)) in pairs.into_iter().enumerate() {
        let (process, time_ns) = (process as u64, process as u64 * 10);
        events.push(Event::Invoke { process, time_ns, op: op.clone() });
        events.push(Event::Return { process, time_ns: time_ns + 1, answer });
        events.push(Event::Invoke { process, time_ns: time_ns + 2, op: op.clone() });
        events.push(Event::Fail { process, time_ns: time_ns + 3, reason: text("refused") });
        events.push(Event::Invoke { process, time_ns: time_ns + 4, op: op.clone() });
        events.push(Event::Unknown { process, time_ns: time_ns + 5, reason: String::new() });
        events.push(Event::Invoke { process, time_ns: time_ns + 6, op });
    }
    events
}

#[test]
fn what_is_written_is_read() {
    let events = events();
    let lines: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    let history = History::read(Cursor::new(format!("{FIRST}{}\n", lines.join("\n")))).unwrap();
    assert_eq!(history, History::from_events(events).unwrap());
    assert_eq!((history.count(), history.failed(), history.open()), (63, 21, 42));
    assert_eq!(history.objects().len(), 6);
}

#[test]
fn lines_read_as_documented() {
    let line = serde_json::to_string(&Event::Invoke { process: 3, time_ns: 1200, op: put("1") }).unwrap();
    assert_eq!(line, r#"{"type":"invoke","process":3,"time_ns":1200,"op":"kv.put","key":"a","value":"1"}"#);
    let answer = Answer::Written { version: 1 };
    let line = serde_json::to_string(&Event::Return { process: 3, time_ns: 2500, answer }).unwrap();
    assert_eq!(line, r#"{"type":"return","process":3,"time_ns":2500,"answer":"written","version":1}"#);
    // What others add is ignored, and so are empty lines and a missing line end.
    let text = format!(
        "{FIRST}\n{}\r\n \n{}",
        r#"{"node":8000,"key":"a","op":"kv.get","time_ns":1,"process":1,"type":"invoke"}"#,
        r#"{"type":"return","process":1,"time_ns":2,"answer":"found","value":"x","epoch":4}"#
    );
    assert_eq!(History::read(Cursor::new(text)).unwrap().count(), 1);
    assert_eq!(History::read(Cursor::new(FIRST)).unwrap(), History::default());
}

#[test]
fn what_is_wrong_is_named_by_its_line() {
    let get = r#"{"type":"invoke","process":1,"time_ns":5,"op":"kv.get","key":"a"}"#;
    for (text, says) in [
        (String::new(), "line 1: not a history"),
        ("nonsense".to_owned(), "line 1: not a history"),
        (format!("{get}\n"), "line 1: not a history"),
        (r#"{"type":"history","version":2}"#.to_owned(), "line 1: this is a history of version 2"),
        (format!("{FIRST}{get}\n{{"), "line 3: not an event: EOF"),
        (format!("{FIRST}{get}\n[1]"), "line 3: not an event"),
        (format!("{FIRST}\u{0}"), "line 2: not an event"),
        (format!("{FIRST}{}", get.replace("kv.get", "kv.burn")), "unknown variant `kv.burn`"),
        (format!("{FIRST}{}", get.replace("\"key\"", "\"name\"")), "missing field `key`"),
        (format!("{FIRST}{}", get.replace("5", "-5")), "line 2: not an event"),
        (format!("{FIRST}{get}\n{get}"), "line 3: process 1 begins an operation while another one"),
        (
            format!("{FIRST}{}", r#"{"type":"fail","process":2,"time_ns":0}"#),
            "line 2: process 2 ends an operation, but",
        ),
        (
            format!("{FIRST}{get}\n{}", r#"{"type":"return","process":1,"time_ns":4,"answer":"absent"}"#),
            "line 3: the time falls from 5 to 4 ns",
        ),
        (
            format!("{FIRST}{get}\n{}", r#"{"type":"return","process":1,"time_ns":6,"answer":"granted","token":1}"#),
            "line 3: kv.get \"a\" cannot be answered with 'granted with token 1'",
        ),
    ] {
        let error = History::read(Cursor::new(&text)).expect_err(&text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let mut long = FIRST.as_bytes().to_vec();
    long.resize(17 << 20, b' ');
    assert!(matches!(History::read(Cursor::new(long)), Err(ReadError::TooLong { line: 2 })));
    // Bytes that are no text are no event either.
    assert!(matches!(
        History::read(&b"{\"type\":\"history\",\"version\":1}\n\xff"[..]),
        Err(ReadError::Malformed { .. })
    ));
}
