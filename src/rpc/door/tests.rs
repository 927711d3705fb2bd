//! The door over raw sockets. Deadlines are short, and nothing is measured: a test waits until something is so.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tiny_http::Method;

use super::{Door, Options, Promise, Reply, Request, Service};

/// How it closes.
mod closing;
/// Bodies that come and go gzipped.
mod gzip;
/// Replies that another thread gives.
mod promises;
/// Replies without end.
mod stream;
/// The same with TLS in front.
mod tls;

/// After this a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// A deadline that is meant to be met in a test.
const LONG: Duration = Duration::from_secs(60);
/// A deadline that is meant to pass in a test.
const SHORT: Duration = Duration::from_millis(150);

/// Answers what it was sent; some paths and bodies make it misbehave.
struct Echo {
    /// Calls with the body `wait` report here and block until they are told to go on.
    entered: Sender<()>,
    go_on: Mutex<Receiver<()>>,
    /// Where the promises for calls with the body `later` go.
    promises: Sender<Promise>,
}

impl Service for Echo {
    fn answer(&self, request: &Request<'_>) -> Reply {
        match (&request.method, request.path, request.body) {
            (Method::Get, "/", _) => Reply::text(200_u16, "the page"),
            (Method::Get, "/stream", _) => stream::count_to(request.query),
            (Method::Get, _, _) => Reply::text(404_u16, "no such page"),
            (_, _, b"panic") => panic!("as asked"),
            (_, _, b"large") => Reply::xml(vec![b'x'; 64 << 20]),
            (_, _, b"wait") => {
                self.entered.send(()).unwrap();
                self.go_on.lock().recv().unwrap();
                Reply::xml("waited")
            }
            (_, _, b"later") => match request.promise() {
                Some((promise, promised)) => {
                    self.promises.send(promise).unwrap();
                    promised
                }
                None => Reply::xml("now"),
            },
            (_, _, b"later panic") => {
                let _promise = request.promise();
                panic!("as asked")
            }
            (_, _, body) => Reply::xml(body),
        }
    }
}

/// A door, and both ends of what holds its service back.
struct Fixture {
    door: Door,
    entered: Receiver<()>,
    go_on: Sender<()>,
    promised: Receiver<Promise>,
    service: Weak<Echo>,
}

fn open(options: Options) -> Fixture {
    let ((entered_in, entered), (go_on, go_on_out)) = (channel(), channel());
    let (promises, promised) = channel();
    let service = Arc::new(Echo { entered: entered_in, go_on: Mutex::new(go_on_out), promises });
    let weak = Arc::downgrade(&service);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Fixture { door: Door::open(listener, options, service).unwrap(), entered, go_on, promised, service: weak }
}

fn patient() -> Options {
    Options { head_deadline: LONG, body_deadline: LONG, write_deadline: LONG, idle_timeout: LONG, ..Options::default() }
}

impl Fixture {
    fn connect(&self) -> Client {
        Client::to(self.door.local_addr())
    }

    /// A client whose connection the door has seen.
    fn connect_and_call(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.call("hello"), (200, "hello".to_owned()));
        client
    }

    fn wait_for_connections(&self, count: usize) {
        wait_until(&format!("{count} connections"), || self.door.connections() == count);
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

struct Client {
    stream: TcpStream,
    /// Read, but not asked for yet.
    ahead: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    fn call(&mut self, body: &str) -> (u16, String) {
        self.send(post(body));
        let answer = self.answer(true);
        (answer.status, answer.body)
    }

    /// Reads more; `false` at the end of the connection.
    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        let count = self.stream.read(&mut piece)?;
        self.ahead.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// The next answer.
    fn answer(&mut self, with_body: bool) -> Answer {
        let (head, body) = self.raw_answer(with_body);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// The head and the body of the next answer, read by its `Content-Length`.
    fn raw_answer(&mut self, with_body: bool) -> (String, Vec<u8>) {
        let end = loop {
            match self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => assert!(self.more().unwrap(), "closed in a head: {:?}", String::from_utf8_lossy(&self.ahead)),
            }
        };
        let head = String::from_utf8(self.ahead.drain(..end).collect()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = if with_body { length.map_or(0, |length| length.parse().unwrap()) } else { 0 };
        while self.ahead.len() < length {
            assert!(self.more().unwrap(), "closed in a body");
        }
        (head, self.ahead.drain(..length).collect())
    }

    /// Waits for the end of the connection, which may be a reset; nothing more may come before.
    fn closed(&mut self) {
        match self.more() {
            Ok(more) => assert!(!more, "open, and says {:?}", String::from_utf8_lossy(&self.ahead)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

fn post(body: &str) -> String {
    format!("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Sends each request on a connection of its own, and expects a status and whether the connection stays open.
fn check(rows: &[(&str, u16, bool)]) {
    let fixture = open(patient());
    for (request, status, stays) in rows {
        let mut client = fixture.connect();
        client.send(request.replace('\n', "\r\n"));
        let answer = client.answer(!request.starts_with("HEAD"));
        assert_eq!(answer.status, *status, "{request:?}: {answer:?}");
        assert_eq!(!answer.head.contains("Connection: close"), *stays, "{request:?}: {answer:?}");
        assert_eq!(answer.head.contains("Allow: GET, HEAD, POST, OPTIONS"), matches!(status, 204 | 405), "{request:?}");
        if *stays {
            assert_eq!(client.call("again"), (200, "again".to_owned()), "{request:?}");
        } else {
            client.closed();
        }
    }
}

const OPEN: bool = true;
const CLOSED: bool = false;

#[test]
fn methods_and_paths() {
    check(&[
        ("GET / HTTP/1.1\nHost: localhost\n\n", 200, OPEN),
        ("GET /nowhere HTTP/1.1\nHost: localhost\n\n", 404, OPEN),
        ("HEAD / HTTP/1.1\nHost: localhost\n\n", 200, OPEN),
        ("HEAD / HTTP/1.1\nHost: evil.example\n\n", 403, CLOSED),
        ("OPTIONS * HTTP/1.1\nHost: localhost\n\n", 204, OPEN),
        ("PUT / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n", 405, CLOSED),
        ("DELETE / HTTP/1.1\nHost: localhost\n\n", 405, CLOSED),
        ("BREW / HTTP/1.1\nHost: localhost\n\n", 405, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nhi", 200, OPEN),
        ("POST /RPC2?x HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nhi", 200, OPEN),
        ("POST http://localhost/RPC2 HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nhi", 200, OPEN),
        ("POST /rpc2 HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nhi", 404, CLOSED),
        ("GET / HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nhi", 200, OPEN),
        ("GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n", 200, CLOSED),
        ("GET / HTTP/1.0\n\n", 200, CLOSED),
        ("GET / HTTP/1.0\nConnection: keep-alive\n\n", 200, OPEN),
    ]);
}

#[test]
fn lengths_and_encodings() {
    check(&[
        ("POST / HTTP/1.1\nHost: localhost\n\n", 411, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n", 200, OPEN),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: abc\n\n", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: -1\n\n", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: +5\n\nhello", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 5\nContent-Length: 5\n\nhello", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 5\nTransfer-Encoding: chunked\n\nhello", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 4194305\n\n", 413, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 9223372036854775808\n\n", 413, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 18446744073709551616\n\n", 413, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nTransfer-Encoding: gzip\n\n", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nTransfer-Encoding: gzip, chunked\n\n0\n\n", 400, CLOSED),
        ("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nTransfer-Encoding: Chunked\n\n2\nhi\n0\n\n", 200, OPEN),
        ("POST / HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n2;x=y\nhi\n0\nA: b\n\n", 200, OPEN),
        ("POST / HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\nzz\nhi\n0\n\n", 400, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n40000000\n", 413, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nExpect: 200-ok\nContent-Length: 2\n\nhi", 417, CLOSED),
    ]);
}

#[test]
fn heads_and_browsers() {
    let many = format!("GET / HTTP/1.1\nHost: localhost\n{}\n", "a: b\n".repeat(10_000));
    let endless = format!("GET / HTTP/1.1\nHost: localhost\nX: {}", "a".repeat(100_000));
    check(&[
        ("nonsense\n\n", 400, CLOSED),
        ("\u{16}\u{3}\u{1}", 400, CLOSED),
        ("GET / HTTP/1.1\n\n", 400, CLOSED),
        ("GET / HTTP/1.1\nHost: localhost\n folded\n\n", 400, CLOSED),
        (&many, 431, CLOSED),
        (&endless, 431, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost\nOrigin: http://evil.example\nContent-Length: 2\n\nhi", 403, CLOSED),
        ("POST / HTTP/1.1\nHost: evil.example\nContent-Length: 2\n\nhi", 403, CLOSED),
        ("POST / HTTP/1.1\nHost: localhost:1\nOrigin: http://localhost:1\nContent-Length: 2\n\nhi", 200, OPEN),
        ("POST / HTTP/1.1\nHost: localhost:1\nOrigin: http://localhost:2\nContent-Length: 2\n\nhi", 403, CLOSED),
    ]);
}

#[test]
fn the_reply_to_a_head_request_has_a_length_and_no_body() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = client.answer(false);
    assert!(head.head.contains("Content-Length: 8\r\n"), "{head:?}");
    assert_eq!(client.answer(true).body, "the page");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.stream.set_nodelay(true).unwrap();
    for byte in "POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer(true).body, "hi");
}

#[test]
fn large_bodies_come_and_go_whole() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    let body = "0123456789abcdef".repeat((4 << 20) / 16);
    assert_eq!(client.call(&body), (200, body.clone()));
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.as_bytes().chunks(10_000) {
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer(true).body, body);
    assert_eq!(client.call("small again").0, 200);
}

#[test]
fn a_client_that_sends_too_much_can_still_read_why() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n");
    client.send(vec![b'x'; 5_000_000]);
    assert_eq!(client.answer(true).status, 413);

    let mut client = fixture.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    client.send(vec![b'x'; 5_000_000]);
    assert_eq!(client.answer(true).status, 400);
}

#[test]
fn a_client_that_expects_100_is_told_to_continue() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length:";
    client.send(format!("{head} 2\r\n\r\n"));
    assert_eq!(client.answer(false).head, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi");
    assert_eq!(client.answer(true).body, "hi");
    client.send(format!("{head} 5000000\r\n\r\n"));
    assert_eq!(client.answer(true).status, 413);
}

#[test]
fn a_body_that_ends_too_early_is_400() {
    let fixture = open(patient());
    for framing in ["Content-Length: 5\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n5\r\nhe"] {
        let mut client = fixture.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}"));
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.answer(true).status, 400);
        client.closed();
    }
    fixture.wait_for_connections(0);
}

#[test]
fn silence_in_a_body_is_408_at_the_deadline() {
    let fixture = open(Options { body_deadline: SHORT, ..patient() });
    let mut client = fixture.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
    assert_eq!(client.answer(true).status, 408);
    client.closed();
    drop(client);
    fixture.wait_for_connections(0);
}

#[test]
fn a_trickled_head_is_408_at_the_deadline() {
    let fixture = open(Options { head_deadline: SHORT, ..patient() });
    let mut client = fixture.connect();
    client.stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    client.send("GET / HTTP/1.1\r\nX: ");
    // Each read is a pause; it ends with the first bytes of the answer.
    wait_until("an answer to an endless head", || client.stream.write_all(b"a").is_err() || client.more().is_ok());
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.answer(true).status, 408);
    drop(client);
    fixture.wait_for_connections(0);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let fixture = open(Options { idle_timeout: SHORT, ..patient() });
    fixture.connect().closed();
    fixture.connect_and_call().closed();
    fixture.wait_for_connections(0);
}

#[test]
fn a_client_that_never_reads_is_dropped() {
    let fixture = open(Options { write_deadline: SHORT, ..patient() });
    let mut client = fixture.connect_and_call();
    client.send(post("large"));
    fixture.wait_for_connections(0);
}

#[test]
fn a_client_that_reads_a_little_now_and_then_is_dropped() {
    let fixture = open(Options { write_deadline: SHORT, ..patient() });
    let mut client = fixture.connect_and_call();
    client.send(post("large"));
    wait_until("the write deadline", || {
        let _ = client.more();
        fixture.door.connections() == 0
    });
}

#[test]
fn pipelined_calls_are_answered_in_order() {
    const CALLS: usize = 10_000;
    let fixture = open(patient());
    let mut client = fixture.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let calls: String = (0..CALLS).map(|n| post(&n.to_string())).collect();
        writer.write_all(calls.as_bytes()).unwrap();
    });
    for n in 0..CALLS {
        assert_eq!(client.answer(true).body, n.to_string());
    }
    sender.join().unwrap();
}

#[test]
fn eight_connects_at_once_are_all_answered() {
    let fixture = open(patient());
    for _ in 0..20 {
        let mut clients: Vec<Client> = (0..8).map(|_| fixture.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(post("hello")));
        for client in &mut clients {
            assert_eq!(client.answer(true).body, "hello");
        }
    }
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    let fixture = open(patient());
    let idle: Vec<Client> = (0..1_000).map(|_| fixture.connect()).collect();
    let mut client = fixture.connect_and_call();
    fixture.wait_for_connections(1_001);
    assert_eq!(client.call("more").0, 200);
    drop((idle, client));
    fixture.wait_for_connections(0);
}

#[test]
fn above_the_cap_is_503() {
    let fixture = open(Options { max_connections: 2, ..patient() });
    let (first, mut second) = (fixture.connect_and_call(), fixture.connect_and_call());
    for _ in 0..100 {
        let mut third = fixture.connect();
        let answer = third.answer(true);
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("Retry-After: 1\r\n"), "{answer:?}");
        third.closed();
    }
    assert_eq!((fixture.door.connections(), second.call("still here").0), (2, 200));
    drop(first);
    fixture.wait_for_connections(1);
    fixture.connect_and_call();
}

#[test]
fn a_panic_costs_one_connection() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("panic"));
    let answer = client.answer(true);
    assert_eq!((answer.status, answer.body.as_str()), (500, "internal error; the log has it as 0-1\n"));
    client.closed();
    fixture.connect_and_call();
    fixture.wait_for_connections(0);
}
