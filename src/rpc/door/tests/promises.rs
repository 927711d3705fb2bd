//! Replies that another thread gives.

use super::*;

impl Fixture {
    /// The promise for a call with the body `later`, which the client has sent.
    fn promise(&self) -> Promise {
        self.promised.recv_timeout(PATIENCE).expect("a promise")
    }
}

#[test]
fn a_promise_is_kept_by_whoever_has_it() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    for round in 0..3 {
        client.send(post("later"));
        fixture.promise().keep(Reply::xml(format!("kept {round}")));
        let answer = client.answer(true);
        assert_eq!((answer.status, answer.body), (200, format!("kept {round}")));
        assert_eq!(client.call("between"), (200, "between".to_owned()));
    }
}

#[test]
fn what_comes_meanwhile_waits_for_the_promised_reply() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("later"));
    let promise = fixture.promise();
    client.send(post("second"));
    client.send("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    promise.keep(Reply::xml("first"));
    assert_eq!(client.answer(true).body, "first");
    assert_eq!(client.answer(true).body, "second");
    assert_eq!(client.answer(true).status, 405);
    client.closed();
}

#[test]
fn what_is_pipelined_already_is_not_promised() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("later") + &post("second"));
    assert_eq!(client.answer(true).body, "now");
    assert_eq!(client.answer(true).body, "second");
}

#[test]
fn a_time_that_a_promise_takes_is_not_idle() {
    let fixture = open(Options { idle_timeout: SHORT, ..patient() });
    let mut client = fixture.connect();
    client.send(post("later"));
    let promise = fixture.promise();
    // Longer than a client may be idle.
    thread::sleep(2 * SHORT);
    promise.keep(Reply::xml("late"));
    assert_eq!(client.answer(true).body, "late");
    assert_eq!(client.call("again"), (200, "again".to_owned()));
    client.closed();
}

#[test]
fn a_promise_that_is_dropped_is_an_internal_error() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("later"));
    drop(fixture.promise());
    assert_eq!(client.answer(true).status, 500);
    assert_eq!(client.call("again"), (200, "again".to_owned()));
}

#[test]
fn a_service_that_panics_with_a_promise_has_replied() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("later panic"));
    assert_eq!(client.answer(true).status, 500);
    client.closed();
}

#[test]
fn a_client_that_reads_slowly_holds_up_nobody() {
    let fixture = open(patient());
    let (mut slow, mut quick) = (fixture.connect(), fixture.connect());
    slow.send(post("later"));
    // Far more than the sockets hold, so that keeping the promise would wait if it could.
    fixture.promise().keep(Reply::xml(vec![b'x'; 64 << 20]));
    quick.send(post("later"));
    fixture.promise().keep(Reply::xml("quick"));
    assert_eq!(quick.answer(true).body, "quick");
    assert_eq!(slow.answer(true).body.len(), 64 << 20);
    assert_eq!(slow.call("again"), (200, "again".to_owned()));
}

#[test]
fn a_large_promised_reply_is_gzipped_for_who_takes_that() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    let body = "later";
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n";
    client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    fixture.promise().keep(Reply::xml("x".repeat(100_000)));
    let (head, coded) = client.raw_answer(true);
    assert!(head.contains("Content-Encoding: gzip") && coded.len() < 10_000, "{head}");
}

#[test]
fn closing_waits_for_promises() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("later"));
    let promise = fixture.promise();
    let addr = fixture.door.local_addr();
    thread::scope(|scope| {
        let closing = scope.spawn(|| fixture.door.close(PATIENCE));
        wait_until("the port to be closed", || TcpStream::connect(addr).is_err());
        promise.keep(Reply::xml("the last"));
        let answer = client.answer(true);
        assert_eq!(answer.body, "the last");
        assert!(answer.head.contains("Connection: close"), "{answer:?}");
        client.closed();
        closing.join().unwrap();
    });
    assert_eq!(fixture.door.connections(), 0);
}

#[test]
fn a_client_that_left_keeps_its_place_until_its_promise_is_kept() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("later"));
    let promise = fixture.promise();
    drop(client);
    // What is in the service is bounded by the places.
    thread::sleep(SHORT);
    assert_eq!(fixture.door.connections(), 1);
    promise.keep(Reply::xml("to nobody"));
    fixture.wait_for_connections(0);
}
