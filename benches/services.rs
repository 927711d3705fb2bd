//! How many entries a second the services apply on one core, beside what a plain map of texts to bytes costs on the same
//! data.
//!
//! `cargo bench --bench services`. Each case runs in turns with the plain map's insert, so that what slows the machine
//! slows both. What the log, the disk and the wire cost is not in here.
#![allow(clippy::print_stdout, reason = "a benchmark reports to the terminal")]

use std::collections::BTreeMap;
use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use synod::service::Services;
use synod::service::command::{Action, Command, RequestKey};
use synod::service::reply::Position;

/// Applies a second on one core that puts must reach.
const GOAL: f64 = 500_000.0;
const VALUE_BYTES: usize = 256;
const KEYS: u64 = 10_000;
const ENTRIES: u64 = 200_000;
/// Odd, so that the median is one of them.
const ROUNDS: usize = 7;

/// A kind of load: what its entry with this number is.
struct Case {
    name: &'static str,
    entry: fn(u64, &str) -> Vec<u8>,
    /// How often a clone is taken, as for a snapshot, so that what follows has to copy what it changes.
    clone_every: Option<u64>,
}

const CASES: [Case; 6] = [
    Case { name: "kv put", entry: put, clone_every: None },
    Case { name: "kv put, exactly once", entry: put_once, clone_every: None },
    Case { name: "kv put, a clone every 1000", entry: put, clone_every: Some(1000) },
    Case { name: "kv cas, lost", entry: cas_lost, clone_every: None },
    Case { name: "files append, 64 bytes", entry: append, clone_every: None },
    Case { name: "lock acquire, release", entry: lock, clone_every: None },
];

fn main() -> ExitCode {
    if !env::args().any(|arg| arg == "--bench") {
        println!("a benchmark: `cargo bench --bench services` runs it");
        return ExitCode::SUCCESS;
    }
    let value = format!("<string>{}</string>", "v".repeat(VALUE_BYTES - "<string></string>".len()));
    println!("{:<28} {:>12} {:>12} {:>14}", "", "applies/s", "ns", "plain inserts");
    let mut reached = true;
    for case in &CASES {
        let entries: Vec<Vec<u8>> = (0..ENTRIES).map(|number| (case.entry)(number, &value)).collect();
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(applies(case, &entries));
            plain.push(inserts(&value));
        }
        let (ours, plain) = (median(ours), median(plain));
        let rate = 1e9 / ours;
        println!("{:<28} {rate:>12.0} {ours:>12.0} {:>13.1}x", case.name, ours / plain);
        reached &= !case.name.starts_with("kv put") || rate >= GOAL;
    }
    println!("goal: at least {GOAL} puts/s on one core: {}", if reached { "reached" } else { "MISSED" });
    clone_and_snapshot(&value);
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nanoseconds that an entry takes.
fn applies(case: &Case, entries: &[Vec<u8>]) -> f64 {
    let mut services = Services::default();
    let mut notices = Vec::new();
    let mut kept = None;
    let since = Instant::now();
    for (number, bytes) in (1..).zip(entries) {
        notices.clear();
        black_box(services.apply(Position { epoch: 1, counter: number }, bytes, &mut notices));
        if case.clone_every.is_some_and(|every| number % every == 0) {
            kept = Some(services.clone());
        }
    }
    let nanoseconds = since.elapsed().as_nanos() as f64 / entries.len() as f64;
    black_box(kept);
    nanoseconds
}

/// Nanoseconds that an insert into a plain map takes, with the same keys and values.
fn inserts(value: &str) -> f64 {
    let keys: Vec<String> = (0..ENTRIES).map(key).collect();
    let mut map: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let since = Instant::now();
    for key in keys {
        black_box(map.insert(key, value.as_bytes().to_vec()));
    }
    since.elapsed().as_nanos() as f64 / ENTRIES as f64
}

/// What a snapshot costs: where the entries are applied, and wherever it is made.
fn clone_and_snapshot(value: &str) {
    let mut services = Services::default();
    for number in 0..KEYS {
        services.apply(Position { epoch: 1, counter: number + 1 }, &put(number, value), &mut Vec::new());
    }
    let since = Instant::now();
    let clone = services.clone();
    let cloned = since.elapsed();
    let since = Instant::now();
    let bytes = clone.snapshot();
    let written = since.elapsed();
    let since = Instant::now();
    let restored = Services::restore(&bytes).map(|restored| restored.state_hash());
    println!(
        "{KEYS} keys: clone {:.1} µs, snapshot of {} KiB {:.1} ms, restored in {:.1} ms: {}",
        cloned.as_nanos() as f64 / 1e3,
        bytes.len() >> 10,
        written.as_secs_f64() * 1e3,
        since.elapsed().as_secs_f64() * 1e3,
        if restored == Ok(services.state_hash()) { "equal" } else { "NOT EQUAL" },
    );
}

/// Spread over all keys in no order.
fn key(number: u64) -> String {
    format!("config/service/{:05}", number.wrapping_mul(7919) % KEYS)
}

fn entry(number: u64, action: Action<'_>) -> Vec<u8> {
    Command { request: None, time_ms: number, author: 8000, action }.encode()
}

fn put(number: u64, value: &str) -> Vec<u8> {
    entry(number, Action::KvPut { key: &key(number), value, fence: None })
}

fn put_once(number: u64, value: &str) -> Vec<u8> {
    let client = format!("client-{}", number % 256);
    let request = Some(RequestKey { client: &client, sequence: number });
    let action = Action::KvPut { key: &key(number), value, fence: None };
    Command { request, time_ms: number, author: 8000, action }.encode()
}

fn cas_lost(number: u64, value: &str) -> Vec<u8> {
    entry(number, Action::KvCas { key: &key(number), version: 7, value, fence: None })
}

fn append(number: u64, value: &str) -> Vec<u8> {
    // 50 appends to a file, then it is deleted, so that it stays as small as such files are.
    let name = format!("file-{}.txt", number / 52 % 100);
    let action = match number % 52 {
        0 => Action::FileCreate { name: &name, fence: None },
        51 => Action::FileDelete { name: &name, fence: None },
        _ => Action::FileAppend { name: &name, text: &value[..64], fence: None },
    };
    entry(number, action)
}

fn lock(number: u64, _value: &str) -> Vec<u8> {
    let name = format!("lock-{}", number / 2 % 1000);
    let action = if number.is_multiple_of(2) {
        Action::LockAcquire { name: &name, owner: "worker", ttl_ms: 10_000, wait_ms: 0 }
    } else {
        Action::LockRelease { name: &name, owner: "worker", token: None }
    };
    entry(number, action)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
