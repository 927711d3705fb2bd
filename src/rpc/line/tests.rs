//! A line to a peer that the tests play.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use super::*;
use crate::protocol::clock::Stamp;
use crate::protocol::paxos;
use crate::protocol::strong;
use crate::protocol::types::{Ballot, Instance, Value};
use crate::xmlrpc::to_response;

const PATIENCE: Duration = Duration::from_secs(60);

/// The line, the thread that serves it, and the inbox of a node whose driver has not begun.
struct Setting {
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
    inbox: Arc<Inbox>,
}

impl Setting {
    fn new(address: String) -> Self {
        let inbox = Arc::<Inbox>::default();
        let hub = Hub {
            me: node(8000),
            calling: Calling::plain(PATIENCE),
            links: Arc::new(Links::new(1)),
            ring: Arc::new(Ring::new(false)),
            inbox: inbox.clone(),
        };
        let line = Arc::new(Line::new(hub, node(8001), address));
        let running = line.clone();
        Self { line, thread: Some(thread::spawn(move || running.run())), inbox }
    }

    fn send(&self, message: Message) {
        self.line.push(Outgoing { to: node(8001), generation: 1, clock: Stamp::default(), message });
    }

    /// What the driver would take next.
    fn next(&self) -> Input {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(input) = self.inbox.take_one() {
                return input;
            }
            assert!(Instant::now() < deadline, "nothing came");
            thread::yield_now();
        }
    }

    #[track_caller]
    fn brings(&self, count: usize) {
        let Input::Arrived(messages) = self.next() else { panic!("something else came") };
        assert_eq!(messages.len(), count);
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.line.close();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn prepare(round: u64) -> Message {
    let ballot = Ballot { round, node: node(8000) };
    Message::Paxos(paxos::Message::Prepare { instance: Instance::default(), ballot })
}

fn accept() -> Message {
    let (instance, ballot) = (Instance::default(), Ballot { round: 1, node: node(8000) });
    Message::Paxos(paxos::Message::Accept { instance, ballot, value: Value::new("<int>5</int>") })
}

fn commit() -> Message {
    let (instance, ballot) = (Instance::default(), Ballot { round: 1, node: node(8000) });
    Message::Paxos(paxos::Message::Commit { instance, ballot, value: Value::new("<int>5</int>") })
}

/// The peer's end of a connection.
struct Peer(TcpStream);

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// The methods of the next call, the outermost first; nothing if the connection ends.
    fn hears(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            if self.0.read(&mut byte).unwrap() == 0 {
                return Vec::new();
            }
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let outer = body.split("<methodName>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
        let inner = body.split("<name>methodName</name>").skip(1);
        let inner = inner.map(|rest| rest.split("<string>").nth(1).unwrap().split('<').next().unwrap());
        [outer].into_iter().chain(inner).map(str::to_owned).collect()
    }

    fn answers(&mut self, value: &impl Serialize) {
        let mut body = Vec::new();
        to_response(value, &mut body).unwrap();
        write!(self.0, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        self.0.write_all(&body).unwrap();
    }
}

fn promise() -> Answer {
    let ballot = Ballot { round: 1, node: node(8000) };
    Answer { promised: Some(true), promised_ballot: Some(ballot), generation: Some(1), ..Answer::default() }
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn what_comes_while_a_call_is_under_way_goes_with_the_next_one() {
    let (listener, address) = listen();
    let setting = Setting::new(address);
    setting.send(prepare(1));
    let mut peer = Peer::accept(&listener);
    assert_eq!(peer.hears(), ["prepare"]);
    setting.send(prepare(2));
    setting.send(prepare(3));
    peer.answers(&promise());
    assert_eq!(peer.hears(), ["system.multicall", "prepare", "prepare"]);
    setting.brings(1);
    peer.answers(&[[promise()], [promise()]]);
    setting.brings(2);
    // Nothing is under way: it is written at once, on the same connection.
    setting.send(prepare(4));
    assert_eq!(peer.hears(), ["prepare"]);
}

#[test]
fn a_commit_waits_for_company_or_for_a_tick() {
    let (listener, address) = listen();
    let setting = Setting::new(address);
    setting.send(commit());
    setting.send(prepare(1));
    let mut peer = Peer::accept(&listener);
    assert_eq!(peer.hears(), ["system.multicall", "commit", "prepare"]);
    peer.answers(&[[Answer::default()], [promise()]]);
    setting.brings(1);
    setting.send(commit());
    setting.line.flush();
    assert_eq!(peer.hears(), ["commit"]);
}

#[test]
fn a_call_is_made_again_if_its_connection_ends_without_an_answer_but_only_once() {
    let (listener, address) = listen();
    let setting = Setting::new(address);
    setting.send(prepare(1));
    for _ in 0..2 {
        assert_eq!(Peer::accept(&listener).hears(), ["prepare"]);
    }
    setting.send(accept());
    assert_eq!(Peer::accept(&listener).hears(), ["accept"], "and no third time");
}

#[test]
fn what_must_not_arrive_twice_is_sent_once() {
    let (listener, address) = listen();
    let setting = Setting::new(address);
    setting.send(Message::Strong(strong::Message::Forward { id: 1, command: vec![1] }));
    let method = Peer::accept(&listener).hears();
    assert_eq!(method.len(), 1, "{method:?}");
    setting.send(prepare(1));
    assert_eq!(Peer::accept(&listener).hears(), ["prepare"]);
}

#[test]
fn the_end_of_a_process_is_heard_of_at_once() {
    let (listener, address) = listen();
    let setting = Setting::new(address);
    setting.send(prepare(1));
    let mut peer = Peer::accept(&listener);
    peer.hears();
    peer.answers(&promise());
    setting.brings(1);
    // Nothing is under way, and nothing is sent any more.
    drop((listener, peer));
    assert!(matches!(setting.next(), Input::Disconnected(peer) if peer == node(8001)));
}

#[test]
fn an_answer_that_is_none_costs_the_call_and_no_more() {
    let (listener, address) = listen();
    let setting = Setting::new(address);
    setting.send(prepare(1));
    let mut peer = Peer::accept(&listener);
    peer.hears();
    peer.0.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<no>").unwrap();
    setting.send(prepare(2));
    assert_eq!(peer.hears(), ["prepare"]);
    peer.0.write_all(b"SMTP ready\r\n\r\n").unwrap();
    setting.send(prepare(3));
    let mut peer = Peer::accept(&listener);
    assert_eq!(peer.hears(), ["prepare"]);
    peer.answers(&promise());
    setting.brings(1);
}
