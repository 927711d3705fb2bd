//! The door of a real node, from outside the process: what it costs to be attacked, what happens when descriptors run
//! out, and what clients see when it is told to stop. What a raw socket can tell about single answers stands beside the
//! door itself, in `src/rpc/door/tests.rs`.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

/// After this a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;
/// What the whole hostile set may add to the memory of a node, in KiB, and then a thousand connections once more.
const MAX_GROWTH_KIB: u64 = 32 << 10;

/// A `synod serve`, which ends with its test.
struct Server {
    process: Child,
    addr: SocketAddr,
    _data: TempDir,
}

impl Server {
    /// Starts a node, if wanted by way of another program (`prlimit`).
    fn start(launcher: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let words = launcher.iter().copied().chain([env!("CARGO_BIN_EXE_synod"), "serve", "--id", "1"]);
        let words: Vec<&str> = words.collect();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .args(["--listen", "127.0.0.1:0", "--member", "1=127.0.0.1:1", "--data"])
            .arg(data.path())
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let addr = loop {
            let line = lines.next().expect("the node ended before it listened").unwrap();
            if let Some((_, addr)) = line.split_once("listens on ") {
                // A line of JSON, since this is no terminal.
                break addr.split('"').next().unwrap_or(addr).parse().unwrap();
            }
        };
        // Read to its end, or else the node would some day block on its log.
        thread::spawn(move || lines.for_each(drop));
        Self { process, addr, _data: data }
    }

    fn connect(&self) -> Client {
        connect(self.addr).unwrap()
    }

    /// A figure of the process in KiB: `VmRSS` is what it uses now, `VmHWM` the most that it ever did.
    fn memory_kib(&self, figure: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The threads of connections.
    fn connections(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let is_connection = |name: String| name.starts_with("door-") && name.trim_end() != "door-accept";
        tasks
            .filter(|task| fs::read_to_string(task.as_ref().unwrap().path().join("comm")).is_ok_and(is_connection))
            .count()
    }

    fn terminate(&self) {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(told.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, as it was told to.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(addr: SocketAddr) -> io::Result<Client> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(Client { stream, ahead: Vec::new() })
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

struct Client {
    stream: TcpStream,
    /// Read, but not asked for yet.
    ahead: Vec<u8>,
}

impl Client {
    /// The status line and headers of the next answer, whose body is read as well; `None` if the connection ends before
    /// its first byte.
    fn answer(&mut self) -> io::Result<Option<String>> {
        let mut length = None;
        loop {
            if length.is_none()
                && let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
                let body = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                length = Some((end + 4 + body.map_or(0, |body| body.parse::<usize>().unwrap()), head));
            }
            match &length {
                Some((whole, head)) if self.ahead.len() >= *whole => {
                    self.ahead.drain(..whole);
                    return Ok(Some(head.clone()));
                }
                _ => {}
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 if self.ahead.is_empty() => return Ok(None),
                0 => return Err(io::Error::other("the answer is cut off")),
                count => self.ahead.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn call(&mut self) -> io::Result<Option<String>> {
        self.stream.write_all(&call())?;
        self.answer()
    }

    /// Calls, and is answered.
    fn is_served(&mut self) {
        let head = self.call().unwrap().expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
}

/// A call that every node answers, if with a fault.
fn call() -> Vec<u8> {
    post("", b"<?xml version=\"1.0\"?><methodCall><methodName>no.such.method</methodName></methodCall>")
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; MIB];
    (0..64).for_each(|_| encoder.write_all(&zeros).unwrap());
    post("Content-Encoding: gzip\r\n", &encoder.finish().unwrap())
}

/// One thing that a hostile client may send.
struct Attack {
    what: &'static str,
    begin: Vec<u8>,
    /// What it goes on with, and how often.
    more: Vec<u8>,
    times: usize,
    /// How it is answered.
    status: &'static str,
}

fn attack(what: &'static str, begin: impl Into<Vec<u8>>, more: (Vec<u8>, usize), status: &'static str) -> Attack {
    Attack { what, begin: begin.into(), more: more.0, times: more.1, status }
}

impl Attack {
    fn run(&self, addr: SocketAddr) {
        let mut client = connect(addr).unwrap();
        client.stream.write_all(&self.begin).unwrap();
        for _ in 0..self.times {
            // It may be refused before it has said all.
            if client.stream.write_all(&self.more).is_err() {
                break;
            }
        }
        match client.answer() {
            Ok(head) => {
                let head = head.unwrap_or_else(|| panic!("{}: no answer", self.what));
                assert_eq!(head.split(' ').nth(1), Some(self.status), "{}: {head}", self.what);
            }
            // Who goes on for longer than it is listened to may miss what it was told.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{}: {error}", self.what),
        }
    }
}

#[test]
fn hostile_clients_do_not_grow_a_node() {
    let server = Server::start(&[]);
    let addr = server.addr;
    server.connect().is_served();
    let before = server.memory_kib("VmRSS");

    let head = "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; MIB], b"\r\n"].concat();
    let set = [
        attack("a line of 64 MB", "GET /", (vec![b'a'; MIB], 64), "431"),
        attack("a header of 64 MB", format!("{head}X: "), (vec![b'a'; MIB], 64), "431"),
        attack("10,000 headers", head, (b"a: b\r\n".repeat(10_000), 1), "431"),
        attack(
            "10 TB announced",
            format!("{head}Content-Length: 10000000000000\r\n\r\n"),
            (vec![b'x'; MIB], 16),
            "413",
        ),
        attack("2^64 announced", format!("{head}Content-Length: 18446744073709551616\r\n\r\n"), (vec![], 0), "413"),
        attack("a chunk line without end", chunked.clone(), (vec![b'1'; MIB], 64), "400"),
        attack("a chunk of 1 GB", format!("{chunked}40000000\r\n"), (vec![b'x'; MIB], 16), "413"),
        attack("chunks without end", chunked.clone(), (chunk, 64), "413"),
        attack("trailers without end", format!("{chunked}0\r\n"), (b"a: b\r\n".repeat(100_000), 16), "400"),
        attack("a bomb", bomb(), (vec![], 0), "413"),
        attack("noise", (0..=255).collect::<Vec<u8>>(), (vec![0x16; MIB], 4), "400"),
    ];
    thread::scope(|scope| {
        for attack in &set {
            scope.spawn(move || (0..4).for_each(|_| attack.run(addr)));
        }
    });

    // Calls in a row, of which the answers are read only at the end, if at all.
    let many = call().repeat(10_000);
    let mut deaf = server.connect();
    deaf.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = deaf.stream.write_all(&many);
    let mut patient = server.connect();
    let mut writer = patient.stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&many).unwrap());
        for _ in 0..10_000 {
            assert!(patient.answer().unwrap().unwrap().starts_with("HTTP/1.1 200"));
        }
    });

    let most = server.memory_kib("VmHWM");
    eprintln!("{before} KiB before, {most} KiB at most");
    assert!(most - before < MAX_GROWTH_KIB, "grew by {} KiB", most - before);

    // A thousand that have begun to speak, and then fall silent.
    let half: Vec<Client> = (0..1_000)
        .map(|_| {
            let mut client = server.connect();
            client.stream.write_all(head.as_bytes()).unwrap();
            client
        })
        .collect();
    wait_until("a thousand threads", || server.connections() >= 1_000);
    server.connect().is_served();

    let more = server.memory_kib("VmHWM") - most;
    eprintln!("{more} KiB for a thousand connections");
    assert!(more < MAX_GROWTH_KIB, "{more} KiB for a thousand connections");
    drop((half, deaf, patient));
    wait_until("the threads to end", || server.connections() == 0);
    server.connect().is_served();
}

#[test]
fn running_out_of_descriptors_is_waited_out() {
    let server = Server::start(&["prlimit", "--nofile=64"]);
    let mut early = server.connect();
    early.is_served();
    let crowd: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    wait_until("descriptors to run out", || {
        fs::read_dir(format!("/proc/{}/fd", server.process.id())).unwrap().count() >= 64
    });
    early.is_served();
    // One that has to wait for a descriptor, and then is served like any other.
    let mut late = server.connect();
    late.stream.write_all(&call()).unwrap();
    drop(crowd);
    assert!(late.answer().unwrap().expect("an answer").starts_with("HTTP/1.1 200"));
    server.connect().is_served();
}

#[test]
fn told_to_stop_a_node_resets_nobody() {
    for _ in 0..5 {
        let mut server = Server::start(&[]);
        let (addr, calls) = (server.addr, AtomicUsize::new(0));
        thread::scope(|scope| {
            let clients: Vec<_> = (0..32)
                .map(|_| {
                    let calls = &calls;
                    // Whether the end was announced.
                    scope.spawn(move || -> io::Result<bool> {
                        let mut client = connect(addr)?;
                        loop {
                            let Some(head) = client.call()? else { return Ok(false) };
                            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                            calls.fetch_add(1, Ordering::Relaxed);
                            if head.contains("Connection: close") {
                                assert!(client.answer()?.is_none(), "nothing follows the last answer");
                                return Ok(true);
                            }
                        }
                    })
                })
                .collect();
            wait_until("load", || calls.load(Ordering::Relaxed) > 2_000);
            server.terminate();
            let ends: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
            for end in &ends {
                assert!(end.is_ok(), "{end:?}");
            }
            let announced = ends.iter().filter(|end| matches!(end, Ok(true))).count();
            eprintln!("{} calls, {announced} of {} ends announced", calls.load(Ordering::Relaxed), ends.len());
        });
        assert!(server.process.wait().unwrap().success());
    }
}
