//! Clients that write and read while nodes fail, and what must be so of what they were told.
//!
//! Each client writes to a key and to files of its own under request ids, and repeats a write, at one node after the
//! other, until it is acknowledged: so the key's version must be the number of those writes, and the files hold just
//! their lines. To keys that all share it writes once, and leaves the outcome open if it hears none. All of it is
//! recorded, and some order must explain it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use synod::history::{Answer, Op, Options, Process, Recorder, check};
use synod::rpc::client::{CallError, Client};
use synod::rpc::faults::{RESTARTED, STOPPED, UNAVAILABLE, UNKNOWN};
use synod::rpc::strong::WriteOptions;
use synod::rpc::strong::answers::{FileAnswer, Got, Wrote};
use synod::rpc::text::shown;

use super::{get, hurried, is_definite};
use crate::support::nodes::Nodes;
use crate::support::{PATIENCE, until, until_so};

/// How many appends go to one file, and how many calls of a client in a row to one shared key.
const LINES: usize = 40;
const CALLS_EACH: usize = 12;
/// Between two calls of a client: this is about faults, not about speed.
const PACE: Duration = Duration::from_millis(3);

/// A run of the load, and all that was recorded of it.
#[derive(Default)]
pub(super) struct Load {
    recorder: Recorder,
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

/// What one client was acknowledged.
struct Kept {
    key: String,
    puts: u64,
    files: Vec<(String, Vec<String>)>,
}

impl Load {
    /// Has so many clients at work while `act` does its harm, then compares what they were told with what is there.
    #[track_caller]
    pub(super) fn during(mut self, nodes: &mut Nodes, clients: usize, act: impl FnOnce(&mut Nodes, &Self)) {
        let all: Vec<Vec<Client>> =
            (0..clients).map(|_| nodes.all().map(|node| hurried(nodes, node)).collect()).collect();
        let load = &self;
        let kept: Vec<Kept> = thread::scope(|scope| {
            let run = |(number, clients)| scope.spawn(move || Writer::new(load, number, clients).run());
            let threads: Vec<_> = all.into_iter().enumerate().map(run).collect();
            {
                // Also if `act` panics, or nobody would hear of it.
                let _over = Over(&load.over);
                act(nodes, load);
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        self.judge(nodes, &kept);
    }

    /// Waits until so many more writes have been acknowledged.
    #[track_caller]
    pub(super) fn goes_on(&self, more: usize) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + more;
        until_so("more acknowledged writes", || self.acknowledged.load(Ordering::Relaxed) >= enough);
    }

    #[track_caller]
    fn judge(&mut self, nodes: &Nodes, kept: &[Kept]) {
        let all: Vec<usize> = nodes.all().collect();
        for Kept { key, puts, files } in kept {
            let expected = (*puts > 0).then(|| (puts.to_string(), *puts));
            assert_eq!(get(nodes, &all, key), expected, "the value of {key}, and how often it was put");
            for (name, lines) in files {
                let read: FileAnswer =
                    until("a file to be read", || hurried(nodes, 0).call("files.read", &(name,)).ok());
                assert_eq!(read.text, lines.join("\n"), "{name}");
            }
        }
        let history = self.recorder.history().unwrap();
        let report = check(&history, Options::default()).unwrap();
        assert!(report.is_valid(), "{:#?}", report.witnesses().map(ToString::to_string).collect::<Vec<_>>());
        assert!(kept.iter().all(|kept| kept.puts > 0), "each client was acknowledged something");
    }
}

/// Ends the load when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Writer<'a> {
    load: &'a Load,
    number: usize,
    clients: Vec<Client>,
    turn: usize,
    sequence: u64,
    process: Process<'a>,
    kept: Kept,
}

impl<'a> Writer<'a> {
    fn new(load: &'a Load, number: usize, clients: Vec<Client>) -> Self {
        let kept = Kept { key: format!("own-{number}"), puts: 0, files: Vec::new() };
        Self { load, number, clients, turn: number, sequence: 0, process: load.recorder.process(), kept }
    }

    fn run(mut self) -> Kept {
        for step in (0..).take_while(|_| !self.load.over.load(Ordering::Relaxed)) {
            let shared = format!("shared-{}", step / CALLS_EACH);
            match step % 4 {
                0 => self.put_own(),
                1 => self.put_once(&shared, step),
                2 => self.get(&shared),
                _ => self.append(),
            }
            thread::sleep(PACE);
        }
        let own = self.kept.key.clone();
        self.get(&own);
        self.kept
    }

    fn request(&mut self) -> WriteOptions {
        self.sequence += 1;
        let request = Some(format!("load-{}/{}", self.number, self.sequence));
        WriteOptions { request, deadline_ms: Some(1500), ..WriteOptions::default() }
    }

    fn put_own(&mut self) {
        let (key, value) = (self.kept.key.clone(), (self.kept.puts + 1).to_string());
        let options = self.request();
        let pending = self.process.invoke(Op::Put { key: key.clone(), value: value.clone() });
        let wrote: Wrote = persist(&self.clients, &mut self.turn, "kv.put", &(key, value, options));
        pending.returned(Answer::Written { version: wrote.version.expect("a put answers the version") });
        self.kept.puts += 1;
        self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn put_once(&mut self, key: &str, step: usize) {
        let value = format!("{}-{step}", self.number);
        let options = self.request();
        let pending = self.process.invoke(Op::Put { key: key.to_owned(), value: value.clone() });
        self.turn += 1;
        match self.clients[self.turn % self.clients.len()].call::<_, Wrote>("kv.put", &(key, value, options)) {
            Ok(wrote) => {
                pending.returned(Answer::Written { version: wrote.version.expect("a put answers the version") });
            }
            Err(error) if is_definite(&error) => pending.failed(error.to_string()),
            Err(error) => pending.unknown(error.to_string()),
        }
    }

    fn get(&mut self, key: &str) {
        let pending = self.process.invoke(Op::Get { key: key.to_owned() });
        self.turn += 1;
        match self.clients[self.turn % self.clients.len()].call::<_, Got>("kv.get", &(key,)) {
            Ok(Got { value: Some(value), version, .. }) => {
                pending.returned(Answer::Found { value: shown(&value), version });
            }
            Ok(_) => pending.returned(Answer::Absent),
            Err(error) => pending.failed(error.to_string()),
        }
    }

    fn append(&mut self) {
        let full = self.kept.files.last().is_none_or(|(_, lines)| lines.len() == LINES);
        if full {
            let name = format!("file-{}-{}", self.number, self.kept.files.len());
            let options = self.request();
            let pending = self.process.invoke(Op::Create { name: name.clone() });
            let _: Wrote = persist(&self.clients, &mut self.turn, "files.create", &(&name, options));
            pending.returned(Answer::Done);
            self.kept.files.push((name, Vec::new()));
        }
        let options = self.request();
        let (name, lines) = self.kept.files.last_mut().expect("there is a file now");
        let line = format!("line {} of {}", lines.len(), self.number);
        let pending = self.process.invoke(Op::Append { name: name.clone(), text: format!("{line}\n") });
        let _: Wrote = persist(&self.clients, &mut self.turn, "files.append", &(&*name, &line, options));
        pending.returned(Answer::Done);
        lines.push(line);
        self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Repeats a call, at one node after the other, until it is acknowledged.
fn persist<T: DeserializeOwned>(
    clients: &[Client],
    turn: &mut usize,
    method: &str,
    params: &(impl Serialize + ?Sized),
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match clients[*turn % clients.len()].call(method, params) {
            Ok(answer) => return answer,
            Err(CallError::Fault(fault))
                if ![UNAVAILABLE, UNKNOWN, RESTARTED, STOPPED].map(|kind| kind.code).contains(&fault.code) =>
            {
                panic!("{method}: {fault}");
            }
            Err(error) => assert!(Instant::now() < deadline, "{method}: {error}"),
        }
        *turn += 1;
        thread::sleep(PACE);
    }
}
