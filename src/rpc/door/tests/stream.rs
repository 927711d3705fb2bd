//! Replies that come piece by piece.

use super::super::Stream;
use super::*;

/// Counts from 1 to `last`, if there is one, with nothing to say now and then.
struct Count {
    next: u32,
    last: Option<u32>,
    silent: bool,
}

pub(super) fn count_to(last: &str) -> Reply {
    if last == "panic" {
        return Reply::stream("text/plain", Box::new(Panic));
    }
    let stream = Count { next: 1, last: last.parse().ok(), silent: false };
    Reply::stream("text/event-stream", Box::new(stream)).with_header("X-Query", last)
}

impl Stream for Count {
    fn next(&mut self) -> Option<Vec<u8>> {
        self.silent = !self.silent;
        if self.last.is_some_and(|last| self.next > last) {
            return None;
        }
        if !self.silent {
            return Some(Vec::new());
        }
        self.next += 1;
        Some(format!("{}\n", self.next - 1).into_bytes())
    }
}

struct Panic;

impl Stream for Panic {
    fn next(&mut self) -> Option<Vec<u8>> {
        panic!("as asked")
    }
}

impl Client {
    fn ask_for_stream(&mut self, query: &str) {
        self.send(format!("GET /stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }

    fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.ahead).contains(text) {
            assert!(self.more().unwrap(), "ended before {text:?}: {:?}", String::from_utf8_lossy(&self.ahead));
        }
    }
}

#[test]
fn a_stream_has_no_length_and_ends_with_its_connection() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.ask_for_stream("3");
    let answer = client.answer(true);
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("Content-Type: text/event-stream"), "{answer:?}");
    assert!(answer.head.contains("X-Query: 3"), "{answer:?}");
    assert!(answer.head.contains("Connection: close"), "{answer:?}");
    assert!(!answer.head.contains("Content-Length") && !answer.head.contains("chunked"), "{answer:?}");
    client.read_until("1\n2\n3\n");
    client.ahead.clear();
    client.closed();
}

#[test]
fn a_stream_whose_client_leaves_gives_its_place_back() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.ask_for_stream("for-ever");
    client.read_until("3\n");
    drop(client);
    fixture.wait_for_connections(0);
}

#[test]
fn a_stream_ends_when_the_door_closes() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.ask_for_stream("for-ever");
    client.read_until("2\n");
    fixture.door.close(PATIENCE);
    assert_eq!(fixture.door.connections(), 0);
    while client.more().unwrap() {}
}

#[test]
fn the_head_of_a_stream_can_be_asked_for_alone() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send("HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer(false).status, 200);
    client.closed();
}

#[test]
fn a_stream_that_panics_costs_its_connection_only() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.ask_for_stream("panic");
    assert_eq!(client.answer(false).status, 200);
    client.closed();
    fixture.connect_and_call();
}
