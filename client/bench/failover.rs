//! `synod bench failover`: leaders are lost under load, one after the other.
//!
//! Every client writes to a key of its own, numbers its writes, and repeats a write under the same request id until it is
//! acknowledged, at one node after the other. So, once a client has had its n-th acknowledgement, its key must have
//! version n: a lower one is a lost write, a higher one a doubled one. And its value must be that of the n-th write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use log::warn;
use rustix::process::Signal;
use synod::protocol::types::Ballot;
use synod::rpc::faults::{RESTARTED, STOPPED, UNAVAILABLE, UNKNOWN};
use synod::rpc::strong::WriteOptions;
use synod::rpc::strong::answers::{Got, Wrote};
use synod::xmlrpc::{Fault, Limits, from_response};

use super::site::{Caller, Nodes, Site};
use super::template::{BLANK, Template};
use super::workload::letters;
use super::{Failure, Interrupted, POLL, report};
use crate::args::{FailoverArgs, How};
use crate::command::Port;
use crate::shell::Status;

/// How long the load runs before the leader is lost, and after there is a new one.
const SETTLED: Duration = Duration::from_secs(1);
/// How long a write may be repeated, and a node may take to catch up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before a client that got no answer calls the next node.
const PAUSE: Duration = Duration::from_millis(5);

/// What one loss of the leader led to.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) leader: Port,
    pub(super) successor: Port,
    /// The longest time without an acknowledged write.
    pub(super) gap_ms: f64,
    /// From the start of the node to when it had caught up.
    pub(super) back_ms: f64,
    /// The longest time without an acknowledged write meanwhile.
    pub(super) back_gap_ms: f64,
}

/// What all rounds led to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) rounds: Vec<Round>,
    pub(super) acknowledged: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Keys whose last value is not the last that was written.
    pub(super) wrong: u64,
    /// Calls that had no answer, or a fault, and were repeated.
    pub(super) errors: u64,
    pub(super) states_equal: bool,
}

impl Outcome {
    const fn has_kept_writes(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.wrong == 0
    }
}

/// Loses the leader as often as it was asked to.
pub(super) fn run(args: &FailoverArgs, interrupted: &AtomicBool) -> Result<Status, Failure> {
    if args.own.nodes < 3 {
        return Err(Failure::Usage("with less than 3 nodes, none may fail; choose --nodes 3 or more".to_owned()));
    }
    let mut site = Site::start(&args.own)?;
    site.nodes.wait_for_leader(None, None, interrupted)?;
    let mut writers: Vec<Writer> =
        (0..args.clients).map(|client| Writer::new(args, client)).collect::<Result<_, _>>()?;
    let mut outcome = Outcome::default();
    for number in 1..=args.rounds {
        let round = one_round(args, &mut site, &mut writers, interrupted)?;
        report::round(args, number as usize, &round);
        outcome.rounds.push(round);
        check(&site.nodes, &writers, &mut outcome, interrupted)?;
        if !outcome.has_kept_writes() {
            // What is kept is the proof: nothing is to be gained by going on.
            break;
        }
    }
    outcome.states_equal = states_become_equal(&site.nodes, interrupted)?;
    report::failover(args, &outcome);
    Ok(if outcome.has_kept_writes() && outcome.states_equal { Status::Done } else { Status::Refused })
}

/// Loses the leader once, under load, and has it come back, still under load.
fn one_round(
    args: &FailoverArgs,
    site: &mut Site,
    writers: &mut [Writer],
    interrupted: &AtomicBool,
) -> Result<Round, Failure> {
    let (meter, over) = (Meter::new(), AtomicBool::new(false));
    // The clients look at addresses only; what kills and starts nodes is the main thread's.
    let nodes = Arc::clone(&site.nodes);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for writer in writers {
            let (nodes, meter, over) = (&*nodes, &meter, &over);
            threads.push(scope.spawn(move || writer.write(nodes, args, meter, over)));
        }
        let ended = lose_leader(args, site, &meter, interrupted);
        over.store(true, Ordering::Relaxed);
        let joined: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
        // What a client met says more than that no write was acknowledged.
        for writer in joined {
            writer.map_err(|_| Failure::Refused("a client's thread panicked".to_owned()))??;
        }
        ended
    })
}

fn lose_leader(
    args: &FailoverArgs,
    site: &mut Site,
    meter: &Meter,
    interrupted: &AtomicBool,
) -> Result<Round, Failure> {
    meter.run_for(SETTLED, interrupted)?;
    let leader = site.nodes.wait_for_leader(None, None, interrupted)?;
    let epoch = site.nodes.epoch();
    meter.restart();
    match args.how {
        How::Kill => site.kill(leader)?,
        How::Stop => site.signal(leader, Signal::STOP)?,
    }
    let gone = gap_after_loss(site, leader, epoch, meter, interrupted);
    // In any case, or it could not be told to end.
    if args.how == How::Stop {
        site.signal(leader, Signal::CONT)?;
    }
    let (successor, gap) = gone?;
    meter.restart();
    let started = Instant::now();
    if args.how == How::Kill {
        site.start_again(leader)?;
    }
    wait_until_caught_up(&site.nodes, leader, interrupted)?;
    let back = started.elapsed();
    Ok(Round {
        leader: site.nodes.port(leader),
        successor: site.nodes.port(successor),
        gap_ms: ms(gap),
        back_ms: ms(back),
        back_gap_ms: ms(meter.longest()),
    })
}

/// Waits until there is another leader and the load has run for a while again.
fn gap_after_loss(
    site: &Site,
    lost: usize,
    epoch: Option<Ballot>,
    meter: &Meter,
    interrupted: &AtomicBool,
) -> Result<(usize, Duration), Failure> {
    let successor = site.nodes.wait_for_leader(epoch, Some(lost), interrupted)?;
    meter.run_for(SETTLED, interrupted)?;
    Ok((successor, meter.longest()))
}

/// Waits until a node has applied what the others had committed when this began, and may vote.
fn wait_until_caught_up(nodes: &Nodes, late: usize, interrupted: &AtomicBool) -> Result<(), Failure> {
    let others = (0..nodes.count()).filter(|&node| node != late);
    let goal = others.filter_map(|node| nodes.status(node)).map(|status| status.committed).max().unwrap_or(0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match nodes.status(late) {
            Some(status) if status.votes && status.applied >= goal => return Ok(()),
            Some(status) if Instant::now() > deadline => {
                let (port, applied) = (nodes.port(late), status.applied);
                return Err(Failure::Unavailable(format!(
                    "node {port} does not catch up: it has applied {applied} entries of {goal}"
                )));
            }
            None if Instant::now() > deadline => {
                return Err(Failure::Unavailable(format!("node {} does not come back", nodes.port(late))));
            }
            _ => {}
        }
        interrupted.check()?;
        thread::sleep(POLL);
    }
}

/// Compares every client's key with what was acknowledged to it.
fn check(nodes: &Nodes, writers: &[Writer], outcome: &mut Outcome, interrupted: &AtomicBool) -> Result<(), Failure> {
    (outcome.acknowledged, outcome.errors) = (0, 0);
    (outcome.lost, outcome.doubled, outcome.wrong) = (0, 0, 0);
    for (at, writer) in writers.iter().enumerate() {
        let got = read_key(nodes, at, &writer.key, interrupted)?;
        let version = got.version.unwrap_or(0);
        outcome.acknowledged += writer.acknowledged;
        outcome.errors += writer.errors;
        outcome.lost += writer.acknowledged.saturating_sub(version);
        outcome.doubled += version.saturating_sub(writer.acknowledged);
        let text = got.value.as_ref().map(|value| value.as_str().to_owned()).unwrap_or_default();
        outcome.wrong += u64::from(writer.acknowledged > 0 && !text.contains(&writer.value()));
    }
    Ok(())
}

/// Reads a key, at one node after the other until one answers.
fn read_key(nodes: &Nodes, first: usize, key: &str, interrupted: &AtomicBool) -> Result<Got, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut turn = first;
    loop {
        match nodes.client(turn % nodes.count()).call("kv.get", &(key,)) {
            Ok(got) => return Ok(got),
            Err(error) if Instant::now() > deadline => {
                return Err(Failure::Unavailable(format!("reading '{key}': {error}")));
            }
            Err(_) => turn += 1,
        }
        interrupted.check()?;
        thread::sleep(POLL);
    }
}

/// Waits until all nodes have applied as much, and compares their states.
fn states_become_equal(nodes: &Nodes, interrupted: &AtomicBool) -> Result<bool, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let states: Option<Vec<_>> = (0..nodes.count()).map(|node| nodes.status(node)).collect();
        if let Some(states) = states
            && states.windows(2).all(|pair| pair[0].applied == pair[1].applied)
        {
            return Ok(states.windows(2).all(|pair| pair[0].state_hash == pair[1].state_hash));
        }
        if Instant::now() > deadline {
            warn!("the nodes do not come to have applied as much as each other");
            return Ok(false);
        }
        interrupted.check()?;
        thread::sleep(POLL);
    }
}

/// One client: its key, and how far it is.
struct Writer {
    client: usize,
    key: String,
    filler: String,
    request: [Template; 1],
    acknowledged: u64,
    errors: u64,
}

impl Writer {
    fn new(args: &FailoverArgs, client: u32) -> Result<Self, Failure> {
        let (name, key) = (format!("bench-{client}/{BLANK}"), format!("bench/failover/{client}"));
        let filler = letters((args.value_bytes as usize).saturating_sub(BLANK.len()));
        let options = WriteOptions { request: Some(name), ..WriteOptions::default() };
        let request = [Template::new("kv.put", &(&key, format!("{BLANK}{filler}"), options))?];
        Ok(Self { client: client as usize, key, filler, request, acknowledged: 0, errors: 0 })
    }

    /// What the key must have now.
    fn value(&self) -> String {
        format!("{:08}{}", self.acknowledged, self.filler)
    }

    /// Writes until it is over; the last write, too, is repeated until it is acknowledged.
    fn write(&mut self, nodes: &Nodes, args: &FailoverArgs, meter: &Meter, over: &AtomicBool) -> Result<(), Failure> {
        let timeout = Duration::from_millis(args.timeout_ms.into());
        let mut caller = Caller::new(nodes, args.at, self.client, timeout);
        while !over.load(Ordering::Relaxed) {
            let number = self.acknowledged + 1;
            let begun = Instant::now();
            while let Err(why) = self.attempt(&mut caller, number)? {
                self.errors += 1;
                caller.turn_away();
                if begun.elapsed() > PATIENCE {
                    return Err(Failure::Unavailable(format!("write {number} of '{}': {why}", self.key)));
                }
                thread::sleep(PAUSE);
            }
            meter.acknowledged();
            self.acknowledged = number;
        }
        Ok(())
    }

    /// Sends a write once. Inside, why it has to be sent again; outside, that this is of no use.
    fn attempt(&mut self, caller: &mut Caller<'_>, number: u64) -> Result<Result<(), String>, Failure> {
        if let Err(error) = caller.connect(&mut self.request) {
            return Ok(Err(error.to_string()));
        }
        self.request[0].set_all(number);
        let body = match caller.exchange(&self.request[0]) {
            Ok(body) => body,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match from_response(body, &Limits::default()) {
            Ok(Ok(Wrote { .. })) => Ok(Ok(())),
            Ok(Err(fault)) if may_go_well_later(&fault) => Ok(Err(fault.to_string())),
            Ok(Err(fault)) => Err(Failure::Refused(format!("write {number} of '{}': {fault}", self.key))),
            Err(error) => Err(Failure::Refused(format!("write {number} of '{}': {error}", self.key))),
        }
    }
}

/// Whether a write that had this fault is repeated: it did not happen, or nobody knows.
fn may_go_well_later(fault: &Fault) -> bool {
    [UNAVAILABLE, UNKNOWN, RESTARTED, STOPPED].iter().any(|kind| kind.code == fault.code)
}

/// The longest time without an acknowledged write of any client.
struct Meter {
    base: Instant,
    /// When the last write was acknowledged, in nanoseconds after the base.
    last: AtomicU64,
    longest: AtomicU64,
    count: AtomicU64,
}

impl Meter {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { base: Instant::now(), last: zero(), longest: zero(), count: zero() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn acknowledged(&self) {
        let now = self.now();
        // Two clients may come in the wrong order, nanoseconds apart: then there is no gap.
        let last = self.last.swap(now, Ordering::Relaxed);
        self.longest.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets the longest gap; what is under way since the last acknowledged write counts from there.
    fn restart(&self) {
        self.longest.store(0, Ordering::Relaxed);
    }

    /// The longest gap, be it the one that is under way.
    fn longest(&self) -> Duration {
        let under_way = self.now().saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_nanos(self.longest.load(Ordering::Relaxed).max(under_way))
    }

    /// Waits until writes are acknowledged, and then for so long.
    fn run_for(&self, time: Duration, interrupted: &AtomicBool) -> Result<(), Failure> {
        let before = self.count.load(Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        let mut began = None;
        while began.is_none_or(|began: Instant| began.elapsed() < time) {
            if began.is_none() && self.count.load(Ordering::Relaxed) > before {
                began = Some(Instant::now());
            }
            if began.is_none() && Instant::now() > deadline {
                return Err(Failure::Unavailable(format!("no write was acknowledged within {PATIENCE:?}")));
            }
            interrupted.check()?;
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_is_under_way_counts() {
        let meter = Meter::new();
        meter.acknowledged();
        meter.restart();
        let first = meter.longest();
        let deadline = Instant::now() + Duration::from_secs(60);
        while meter.longest() <= first {
            assert!(Instant::now() < deadline, "the gap does not grow");
        }
        let grown = meter.longest();
        meter.acknowledged();
        assert!(meter.longest() >= grown);
    }

    #[test]
    fn only_what_may_have_been_lost_is_repeated() {
        let fault = |code| Fault { code, string: String::new() };
        for code in [100, 102, 103, 104] {
            assert!(may_go_well_later(&fault(code)), "{code}");
        }
        for code in [112, 116, 121, 122, -32600] {
            assert!(!may_go_well_later(&fault(code)), "{code}");
        }
    }
}
