//! The door against the least that could stand in its place: a plain echo over `std::net` with a thread per connection,
//! which knows the length of its requests beforehand and looks at none of them. Same payload, same clients, one run,
//! turn by turn. `cargo bench --bench door` prints what `XMLRPC.md` asks for.

#![allow(clippy::print_stdout)] // it is what a benchmark is for

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use synod::rpc::door::{Door, Options, Reply, Request, Service};

/// How long one turn takes; there are as many of each kind.
const TURN: Duration = Duration::from_millis(700);
const TURNS: usize = 5;
/// The size of a request and of a reply, head included, about.
const REQUEST_BYTES: usize = 300;
const REPLY_BYTES: usize = 400;
const IDLE: usize = 1_000;
const NEW_CALLS: usize = 500;

/// Answers every call with the same document.
struct Trivial {
    body: Vec<u8>,
}

impl Service for Trivial {
    fn answer(&self, request: &Request<'_>) -> Reply {
        assert!(!request.body.is_empty(), "an empty call");
        Reply::xml(self.body.clone())
    }
}

fn main() {
    let service = Arc::new(Trivial { body: vec![b'x'; REPLY_BYTES - 160] });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let door = Door::open(listener, Options::default(), service).expect("a door");
    let request = request();
    let reply_bytes = one_reply(door.local_addr(), &request);
    let echo = echo(request.len(), reply_bytes);
    println!("{} bytes in, {reply_bytes} bytes out, {TURNS} turns of {TURN:?} each", request.len());
    println!("connections  server  calls/s     p50     p99   p99.9      max");
    for connections in [1, 16, 64] {
        let (mut plain, mut ours) = (Vec::new(), Vec::new());
        let mut ratios = Vec::new();
        for _ in 0..TURNS {
            let (a, b) = (plain.len(), ours.len());
            plain.extend(turn(echo, connections, &request, reply_bytes));
            ours.extend(turn(door.local_addr(), connections, &request, reply_bytes));
            ratios.push((ours.len() - b) as f64 / (plain.len() - a) as f64);
        }
        show(connections, "echo", &mut plain);
        show(connections, "door", &mut ours);
        ratios.sort_by(f64::total_cmp);
        let (low, median, high) = (ratios[0], ratios[TURNS / 2], ratios[TURNS - 1]);
        println!("{connections:11}  ratio   {median:.2} (turns from {low:.2} to {high:.2}; goal 0.70)");
    }
    new_calls(&door, &request);
    door.close(Duration::from_secs(5));
}

/// What one connection after another waits for, while a thousand others stand idle.
fn new_calls(door: &Door, request: &[u8]) {
    let began = Instant::now();
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| connect(door.local_addr())).collect();
    while door.connections() < IDLE {
        thread::yield_now();
    }
    println!("{IDLE} idle connections, opened and served after {:?}", began.elapsed());
    let mut took: Vec<Duration> = (0..NEW_CALLS)
        .map(|_| {
            let began = Instant::now();
            one_reply(door.local_addr(), request);
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    let (p50, p99, max) = (took[NEW_CALLS / 2], took[NEW_CALLS * 99 / 100], took[NEW_CALLS - 1]);
    println!("a new connection and its call beside them: p50 {p50:.0?}, p99 {p99:.0?}, max {max:.0?} (goal 50 ms)");
    drop(idle);
}

fn request() -> Vec<u8> {
    let head = "POST /RPC2 HTTP/1.1\r\nHost: 127.0.0.1:7001\r\nUser-Agent: bench\r\nContent-Type: text/xml\r\n\
                Content-Length: 180\r\n\r\n";
    let mut request = head.as_bytes().to_vec();
    request.resize(head.len() + 180, b'x');
    assert!(request.len().abs_diff(REQUEST_BYTES) < 20, "{}", request.len());
    request
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("a live socket");
    stream
}

/// The size of one reply, which is the same each time.
fn one_reply(addr: SocketAddr, request: &[u8]) -> usize {
    let mut stream = connect(addr);
    stream.write_all(request).expect("a server that takes calls");
    let mut reply = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let count = stream.read(&mut piece).expect("a reply");
        assert!(count > 0, "no whole reply");
        reply.extend_from_slice(&piece[..count]);
        let Some(head) = reply.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&reply[..head]).expect("a head in ASCII");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let whole = head + 4 + length.parse::<usize>().expect("a number");
        if reply.len() == whole {
            return whole;
        }
    }
}

/// A server that answers `request_bytes` bytes with `reply_bytes` bytes, whatever they are.
fn echo(request_bytes: usize, reply_bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                stream.set_nodelay(true).expect("a live socket");
                let (mut request, reply) = (vec![0; request_bytes], vec![b'x'; reply_bytes]);
                while stream.read_exact(&mut request).is_ok() && stream.write_all(&reply).is_ok() {}
            });
        }
    });
    addr
}

/// What each call took, with so many keep-alive connections that call as fast as they are answered.
fn turn(addr: SocketAddr, connections: usize, request: &[u8], reply_bytes: usize) -> Vec<u32> {
    let over = AtomicBool::new(false);
    let mut streams: Vec<TcpStream> = (0..connections).map(|_| connect(addr)).collect();
    thread::scope(|scope| {
        let callers: Vec<_> = streams
            .iter_mut()
            .map(|stream| {
                scope.spawn(|| {
                    let (mut reply, mut took_ns) = (vec![0; reply_bytes], Vec::with_capacity(1 << 16));
                    while !over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        stream.write_all(request).expect("a server that takes calls");
                        stream.read_exact(&mut reply).expect("a whole reply");
                        took_ns.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
                    }
                    took_ns
                })
            })
            .collect();
        thread::sleep(TURN);
        over.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect()
    })
}

fn show(connections: usize, server: &str, took_ns: &mut [u32]) {
    took_ns.sort_unstable();
    let rate = took_ns.len() as f64 / (TURN * TURNS as u32).as_secs_f64();
    let at = |share: f64| Duration::from_nanos(took_ns[(took_ns.len() as f64 * share) as usize].into());
    let max = Duration::from_nanos(took_ns[took_ns.len() - 1].into());
    println!(
        "{connections:11}  {server}  {rate:8.0}  {:>6.0?}  {:>6.0?}  {:>6.0?}  {max:>7.0?}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}
