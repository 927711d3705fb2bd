//! Decisions a second, of a fresh instance per call, on five Synod processes and on five Python processes.
//!
//! `cargo bench --bench propose -- --seconds 3 --rounds 3`. The baseline is `naive_paxos.py` next to this file: naive
//! Paxos on Python's `SimpleXMLRPCServer`, without a sync anywhere. It can ask its peers in turn or in threads, and
//! over HTTP/1.0 or with connections kept alive; for each load the quickest of the four is measured. Both systems are
//! driven by the same client, in turn, each time on fresh processes and an empty directory on the disk of the build.
//!
//! Every call must return the caller's own value as chosen, and in the end every node must have the file of every
//! decision. Synod writes most of those behind the decisions, so what was still to be written when the load ended is
//! printed too, with the time until it was.
#![allow(clippy::print_stdout, reason = "a benchmark prints what it found")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Deserialize;
use synod::rpc::answers::Status;
use synod::rpc::client::{CallError, Client};
use tempfile::TempDir;

const NODES: u16 = 5;
/// Where to look for free ports: below those that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const TIMEOUT: Duration = Duration::from_secs(20);
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the decided files may take to follow.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(180);
const WARM_UP: Duration = Duration::from_millis(500);
const TRIAL: Duration = Duration::from_millis(700);

/// Measures decisions a second beside naive Paxos in Python.
#[derive(Debug, Parser)]
struct Args {
    /// How long a row is measured in each round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often each row is measured; the medians are printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure Synod alone.
    #[arg(long)]
    no_baseline: bool,
    /// Measure only the load of this name: 1, 16, 16-at-one.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Given by `cargo bench`, and not by `cargo test`, which only wants to know that this builds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is asked of a cluster.
struct Load {
    name: &'static str,
    clients: usize,
    /// Whether the clients are spread over the nodes; otherwise all call the first.
    spread: bool,
    /// How many times the baseline's decisions are wanted.
    goal: f64,
}

const LOADS: [Load; 3] = [
    Load { name: "1", clients: 1, spread: false, goal: 5.0 },
    Load { name: "16", clients: 16, spread: true, goal: 15.0 },
    Load { name: "16-at-one", clients: 16, spread: false, goal: 15.0 },
];

#[derive(Debug, Clone, Copy)]
enum System {
    Synod,
    Naive { threads: bool, keep_alive: bool },
}

const NAIVE: [System; 4] = [
    System::Naive { threads: false, keep_alive: false },
    System::Naive { threads: false, keep_alive: true },
    System::Naive { threads: true, keep_alive: false },
    System::Naive { threads: true, keep_alive: true },
];

impl System {
    const fn name(self) -> &'static str {
        match self {
            Self::Synod => "synod",
            Self::Naive { threads: false, keep_alive: false } => "python: in turn, HTTP/1.0",
            Self::Naive { threads: false, keep_alive: true } => "python: in turn, keep-alive",
            Self::Naive { threads: true, keep_alive: false } => "python: threads, HTTP/1.0",
            Self::Naive { threads: true, keep_alive: true } => "python: threads, keep-alive",
        }
    }
}

/// What one round of a row came to.
struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
    /// What Synod's nodes say of themselves.
    nodes: Option<Totals>,
}

/// What Synod's nodes say, summed over them.
struct Totals {
    /// Files still to be written when the load ended.
    pending: f64,
    /// Seconds until they were.
    drained: f64,
    /// Transactions of a decision.
    transactions: f64,
    /// Messages of a decision.
    messages: f64,
}

/// What both systems say to `propose`, as far as it is looked at.
#[derive(Deserialize)]
struct Proposed {
    value: i32,
    outcome: String,
}

#[derive(Deserialize)]
struct Decided {
    decided: bool,
    value: Option<i32>,
}

fn main() {
    let args = Args::parse();
    if !args.bench {
        println!("a benchmark: `cargo bench --bench propose` runs it");
        return;
    }
    let python = !args.no_baseline && has_python();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let sync = time_of_a_sync().expect("the directory of the build can be written");
    println!("{cores} cores; a synced append of 4 KiB takes {:.2} ms in {}", sync * 1e3, env!("CARGO_TARGET_TMPDIR"));
    println!("{} rounds of {} s a row, medians; a fresh instance per call\n", args.rounds, args.seconds);
    println!("{}", Row::HEAD.join("\n"));
    let loads: Vec<&Load> =
        LOADS.iter().filter(|load| args.only.as_ref().is_none_or(|only| only == load.name)).collect();
    assert!(!loads.is_empty(), "--only takes 1, 16 or 16-at-one");
    for load in loads {
        let duration = Duration::from_secs_f64(args.seconds);
        let baseline = python.then(|| quickest(load, TRIAL.min(duration)));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            ours.push(measure(System::Synod, load, duration));
            theirs.extend(baseline.map(|system| measure(system, load, duration)));
        }
        println!("{}", Row { load, system: System::Synod, rounds: &ours });
        let Some(baseline) = baseline else { continue };
        println!("{}", Row { load, system: baseline, rounds: &theirs });
        let each: Vec<String> =
            ours.iter().zip(&theirs).map(|(ours, theirs)| format!("{:.1}", ours.rate / theirs.rate)).collect();
        let ratio = median(&ours, |row| row.rate) / median(&theirs, |row| row.rate);
        let verdict = if ratio >= load.goal { "reached" } else { "MISSED" };
        println!("{:<10} ratio {ratio:.1} (rounds: {}), goal {}: {verdict}\n", "", each.join(", "), load.goal);
    }
    println!("\nevery call returned its own value as chosen, and every node has the file of every decision");
}

/// Prints as a line of the table.
struct Row<'a> {
    load: &'a Load,
    system: System,
    rounds: &'a [Measured],
}

impl Row<'_> {
    const HEAD: [&'static str; 2] = [
        "                                                                    files pending,      all nodes, a decision",
        "clients    system                       decisions/s    p50 ms    p99 ms  then written in   commits  messages",
    ];
}

impl std::fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |what: fn(&Measured) -> f64| median(self.rounds, what);
        write!(
            f,
            "{:<10} {:<28} {:>11.0} {:>9.2} {:>9.2}",
            self.load.name,
            self.system.name(),
            of(|row| row.rate),
            of(|row| row.p50 * 1e3),
            of(|row| row.p99 * 1e3)
        )?;
        let nodes: Vec<&Totals> = self.rounds.iter().filter_map(|row| row.nodes.as_ref()).collect();
        if nodes.is_empty() {
            return Ok(());
        }
        let of = |what: fn(&Totals) -> f64| median(&nodes, |totals| what(totals));
        let behind = format!("{:.0}, {:.1} s", of(|totals| totals.pending), of(|totals| totals.drained));
        write!(f, " {behind:>16} {:>9.1} {:>9.1}", of(|totals| totals.transactions), of(|totals| totals.messages))
    }
}

fn has_python() -> bool {
    let ran = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = ran.is_ok_and(|status| status.success());
    if !found {
        println!("python3 is missing, so there is no baseline to compare with: only Synod is measured");
    }
    found
}

/// The median time of a synced append to a file, in seconds: what Synod's decisions rest on.
fn time_of_a_sync() -> io::Result<f64> {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let since = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(since.elapsed());
    }
    Ok(median(&times, Duration::as_secs_f64))
}

/// The variant of the baseline that decides most under this load.
fn quickest(load: &Load, duration: Duration) -> System {
    let rates = NAIVE.map(|system| (system, measure(system, load, duration).rate));
    let tried: Vec<String> = rates.iter().map(|(system, rate)| format!("{} {rate:.0}", system.name())).collect();
    println!("{:<10} trials of {:.1} s: {}", load.name, duration.as_secs_f64(), tried.join("; "));
    let best = rates.iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.map_or(NAIVE[0], |(system, _)| *system)
}

/// Starts a cluster, puts the load on it, and checks what it leaves behind.
fn measure(system: System, load: &Load, duration: Duration) -> Measured {
    let cluster = Cluster::start(system).unwrap_or_else(|error| panic!("{}: {error}", system.name()));
    let from = Instant::now() + WARM_UP;
    let until = from + duration;
    let clients: Vec<Caller> = thread::scope(|scope| {
        let threads: Vec<_> = (0..load.clients)
            .map(|number| {
                let address = &cluster.addresses[if load.spread { number % cluster.addresses.len() } else { 0 }];
                scope.spawn(move || Caller::run(address, number, from, until))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client panicked")).collect()
    });
    let calls: u64 = clients.iter().map(|client| client.calls).sum();
    let mut latencies: Vec<f64> = clients.into_iter().flat_map(|client| client.latencies).collect();
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let nodes = matches!(system, System::Synod).then(|| cluster.wait_until_written(calls));
    cluster.check_files(system, calls);
    Measured { rate: latencies.len() as f64 / duration.as_secs_f64(), p50: at(0.5), p99: at(0.99), nodes }
}

/// One client: what it did.
struct Caller {
    /// All calls, those of the warm-up too.
    calls: u64,
    /// In seconds, of the calls that ended while it counted.
    latencies: Vec<f64>,
}

impl Caller {
    fn run(address: &str, number: usize, from: Instant, until: Instant) -> Self {
        let client = Client::new(address, TIMEOUT);
        let mut caller = Self { calls: 0, latencies: Vec::with_capacity(1 << 14) };
        loop {
            let instance = format!("{number}-{}", caller.calls);
            let value = (number * 1_000_000) as i32 + caller.calls as i32;
            let begin = Instant::now();
            let answer: Result<Proposed, CallError> = client.call("propose", &(value, &instance));
            let end = Instant::now();
            let proposed = answer.unwrap_or_else(|error| panic!("instance {instance} at {address}: {error}"));
            assert!(proposed.outcome == "yours" && proposed.value == value, "instance {instance}: not as it should be");
            caller.calls += 1;
            if end >= until {
                return caller;
            }
            if end >= from {
                caller.latencies.push((end - begin).as_secs_f64());
            }
        }
    }
}

/// Five processes. They are killed when it is dropped, and end by themselves with the pipe that is their stdin.
struct Cluster {
    processes: Vec<Child>,
    addresses: Vec<String>,
    nodes: Vec<PathBuf>,
    _data: TempDir,
}

impl Cluster {
    fn start(system: System) -> Result<Self, String> {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
        let ports = free_ports().ok_or("no five free ports in a row")?;
        let mut cluster = Self {
            processes: Vec::new(),
            addresses: ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            nodes: ports.iter().map(|port| data.path().join(port.to_string())).collect(),
            _data: data,
        };
        for (&port, dir) in ports.iter().zip(&cluster.nodes) {
            let process = spawn(system, port, &ports, dir).map_err(|error| format!("cannot start: {error}"))?;
            cluster.processes.push(process);
        }
        let deadline = Instant::now() + START_TIMEOUT;
        for at in 0..cluster.addresses.len() {
            cluster.wait_until_up(at, deadline)?;
        }
        Ok(cluster)
    }

    fn wait_until_up(&mut self, at: usize, deadline: Instant) -> Result<(), String> {
        let client = Client::new(&self.addresses[at], TIMEOUT);
        loop {
            let answer: Result<Decided, CallError> = client.call("decided", &("before all",));
            let Err(error) = answer else { return Ok(()) };
            if self.processes[at].try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > deadline {
                let said = fs::read_to_string(self.nodes[at].join("node.log")).unwrap_or_default();
                return Err(format!("the node at {} does not answer: {error}\n{said}", self.addresses[at]));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until all nodes know all decisions and have written their files.
    fn wait_until_written(&self, decisions: u64) -> Totals {
        let since = Instant::now();
        let mut at_first = None;
        loop {
            let statuses: Vec<Status> = self
                .addresses
                .iter()
                .map(|address| Client::new(address, TIMEOUT).call("status", &("0-0",)).expect("a node has a status"))
                .collect();
            let sum = |what: &str| statuses.iter().map(|status| status.counters[what]).sum::<u64>();
            // A decision that a node does not know of yet is a file that it does not have either.
            let unknown = (decisions * statuses.len() as u64).saturating_sub(sum("decided"));
            let pending = sum("files_pending") + unknown;
            let at_first = *at_first.get_or_insert(pending);
            if pending == 0 {
                let each = |what: &str| sum(what) as f64 / decisions as f64;
                return Totals {
                    pending: at_first as f64,
                    drained: since.elapsed().as_secs_f64(),
                    transactions: each("batches"),
                    messages: each("messages_in"),
                };
            }
            assert!(since.elapsed() < DRAIN_TIMEOUT, "{pending} files are still to be written");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every node has the file of every decision, and says what was decided.
    fn check_files(&self, system: System, decisions: u64) {
        for (address, node) in self.addresses.iter().zip(&self.nodes) {
            let dir = match system {
                System::Synod => node.join("decided"),
                System::Naive { .. } => node.join("decisions"),
            };
            let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).count() as u64;
            assert_eq!(files, decisions, "files in {}, of as many decisions", dir.display());
            let first: Decided = Client::new(address, TIMEOUT).call("decided", &("0-0",)).expect("a node answers");
            assert!(first.decided && first.value == Some(0), "{address} does not know what was decided");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What cannot be killed has ended.
        self.processes.iter_mut().for_each(|process| _ = process.kill());
        self.processes.iter_mut().for_each(|process| _ = process.wait());
    }
}

fn spawn(system: System, port: u16, all: &[u16], dir: &Path) -> io::Result<Child> {
    fs::create_dir_all(dir)?;
    let log = File::create(dir.join("node.log"))?;
    let mut command;
    match system {
        System::Synod => {
            command = Command::new(env!("CARGO_BIN_EXE_synod"));
            command.args(["serve", "--until-stdin-closes", "--id", &port.to_string()]);
            command.args(["--listen", &format!("127.0.0.1:{port}")]).arg("--data").arg(dir);
            for other in all {
                command.arg("--member").arg(format!("{other}=127.0.0.1:{other}"));
            }
        }
        System::Naive { threads, keep_alive } => {
            command = Command::new("python3");
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/naive_paxos.py"));
            command.args(["--port", &port.to_string(), "--data"]).arg(dir.join("decisions"));
            command.args(threads.then_some("--threads")).args(keep_alive.then_some("--keep-alive"));
            for other in all {
                command.arg("--member").arg(other.to_string());
            }
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn()
}

/// Five ports in a row that nobody listens at.
fn free_ports() -> Option<Vec<u16>> {
    let first = PORTS.start + (std::process::id() % 1000) as u16 * NODES;
    let starts = (first..PORTS.end - NODES).chain(PORTS.start..first).step_by(NODES.into());
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    starts.map(|start| (start..start + NODES).collect::<Vec<_>>()).find(|ports| ports.iter().all(|&port| is_free(port)))
}

fn median<T>(rows: &[T], what: impl Fn(&T) -> f64) -> f64 {
    let mut sorted: Vec<f64> = rows.iter().map(what).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
