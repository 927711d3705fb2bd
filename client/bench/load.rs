//! Load: many clients, each on a connection of its own and with one call under way, and what they measured.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::Client;
use super::site::{Caller, Nodes};
use super::template::Template;
use super::workload::{Plan, Verdict, Wanted};
use super::{Failure, Interrupted, POLL};
use crate::args::{At, LoadArgs};

/// Longer than a node lets a call wait.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// What the clients spend is taken from the nodes: of more threads than these, each is several clients.
const MAX_THREADS: usize = 16;
const REDRAW: Duration = Duration::from_millis(100);
/// How often the nodes are asked who leads.
const LEADER_EVERY: Duration = Duration::from_millis(250);
/// A client's thread needs little, except to report a reply that is not as it should be.
const STACK: usize = 512 << 10;
/// Latencies in microseconds, up to a minute, in steps of a thousandth.
const HIGHEST_US: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// What one client, or all, measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// Operations that were answered while it was measured.
    pub(super) operations: u64,
    /// Those that were answered before and after that, too.
    pub(super) acknowledged: u64,
    /// Operations that failed at any time, and calls without an answer.
    pub(super) errors: u64,
    /// What the first of them said.
    pub(super) why: Option<String>,
    /// Of the calls that were answered while it was measured.
    pub(super) latencies_us: Histogram<u32>,
}

/// What the threads of a run share.
struct Run<'a> {
    nodes: &'a Nodes,
    plan: &'a Plan<'a>,
    /// When it is measured; set once all clients are connected.
    window: OnceLock<Window>,
    ready: AtomicUsize,
    done: Vec<Count>,
    interrupted: &'a AtomicBool,
}

#[derive(Clone, Copy)]
pub(super) struct Window {
    begin: Instant,
    end: Instant,
}

/// Operations of one client so far, for the progress bar; on a cache line of its own, so that counting stays cheap.
#[derive(Default)]
#[repr(align(64))]
struct Count(AtomicU64);

impl Measured {
    pub(super) fn new() -> Result<Self, Failure> {
        let latencies_us = Histogram::new_with_bounds(1, HIGHEST_US, DIGITS);
        let latencies_us = latencies_us.map_err(|error| Failure::Refused(format!("histogram: {error}")))?;
        Ok(Self { operations: 0, acknowledged: 0, errors: 0, why: None, latencies_us })
    }

    fn add(&mut self, other: Self) -> Result<(), Failure> {
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.errors += other.errors;
        self.why = self.why.take().or(other.why);
        let added = self.latencies_us.add(other.latencies_us);
        added.map_err(|error| Failure::Refused(format!("histogram: {error}")))
    }

    pub(super) fn count(&mut self, verdict: Verdict, took: Option<Duration>) {
        self.acknowledged += verdict.done;
        self.errors += verdict.failed;
        if self.why.is_none() {
            self.why = verdict.why;
        }
        if let Some(took) = took
            && verdict.done > 0
        {
            self.operations += verdict.done;
            self.latencies_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// A percentile of the latencies in milliseconds; 0 if there are none.
    pub(super) fn percentile_ms(&self, percentile: f64) -> f64 {
        ms(self.latencies_us.value_at_quantile(percentile / 100.0))
    }

    /// The longest latency in milliseconds.
    pub(super) fn max_ms(&self) -> f64 {
        ms(self.latencies_us.max())
    }
}

#[allow(clippy::cast_precision_loss, reason = "a minute in microseconds fits")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// Writes the keys that are going to be read.
pub(super) fn fill(nodes: &Nodes, plan: &Plan<'_>, interrupted: &AtomicBool) -> Result<(), Failure> {
    let Some((request, count)) = plan.fill()? else { return Ok(()) };
    let keys = plan.args.keys as usize;
    let mut requests = [request];
    let mut caller = Caller::new(nodes, At::Leader, 0, TIMEOUT);
    for first in (0..keys).step_by(count) {
        interrupted.check()?;
        (0..count).for_each(|at| requests[0].set(at, ((first + at) % keys) as u64));
        let verdict = call(&mut caller, &mut requests, Wanted::Many(count));
        let verdict = verdict.map_err(|error| Failure::Unavailable(format!("writing the keys: {error}")))?;
        if let Some(why) = verdict.why {
            return Err(Failure::Refused(format!("writing the keys: {why}")));
        }
    }
    Ok(())
}

/// Makes one call outside the measurement.
pub(super) fn call(caller: &mut Caller<'_>, requests: &mut [Template; 1], wanted: Wanted) -> io::Result<Verdict> {
    caller.connect(requests)?;
    // There may have been a connection already, to which this request is new.
    caller.readdress(requests);
    caller.exchange(&requests[0]).map(|body| wanted.judge(body, true))
}

/// Runs the load and gives what all clients measured together.
pub(super) fn run(nodes: &Nodes, plan: &Plan<'_>, interrupted: &AtomicBool) -> Result<Measured, Failure> {
    let clients = plan.args.clients as usize;
    let run = Run {
        nodes,
        plan,
        window: OnceLock::new(),
        ready: AtomicUsize::new(0),
        done: (0..clients).map(|_| Count::default()).collect(),
        interrupted,
    };
    let each = clients.div_ceil(MAX_THREADS).max(1);
    let prepared: Vec<Vec<Client<'_>>> = (0..clients)
        .step_by(each)
        .map(|first| (first..clients.min(first + each)).map(|client| Client::new(nodes, plan, client)).collect())
        .collect::<Result<_, Failure>>()?;
    thread::scope(|scope| {
        let run = &run;
        let start = prepared.into_iter().map(|clients| {
            let thread = thread::Builder::new().name(format!("client {}", clients[0].number)).stack_size(STACK);
            thread.spawn_scoped(scope, move || run.serve(clients))
        });
        let threads = start.collect::<io::Result<Vec<_>>>().map_err(|error| {
            // Those that were started wait for the others.
            interrupted.store(true, Ordering::Relaxed);
            Failure::Unavailable(format!("cannot start the clients' threads: {error}"))
        })?;
        run.watch(&threads);
        let mut all = Measured::new()?;
        for thread in threads {
            let measured = thread.join().map_err(|_| Failure::Refused("a client's thread panicked".to_owned()))?;
            measured?.into_iter().try_for_each(|measured| all.add(measured))?;
        }
        interrupted.check()?;
        Ok(all)
    })
}

impl Window {
    fn from_now(args: &LoadArgs) -> Self {
        let begin = Instant::now() + Duration::from_secs_f64(args.warm_up);
        Self { begin, end: begin + Duration::from_secs_f64(args.seconds) }
    }

    pub(super) fn holds(self, now: Instant) -> bool {
        self.begin <= now && now < self.end
    }
}

impl Run<'_> {
    /// Some clients, from their connections to the end of their last calls: one after the other each takes its reply and
    /// calls again, so that all their calls are under way at once.
    fn serve(&self, mut clients: Vec<Client<'_>>) -> Result<Vec<Measured>, Failure> {
        for client in &mut clients {
            client.connect();
            self.ready.fetch_add(1, Ordering::Relaxed);
        }
        let window = loop {
            match self.window.get() {
                Some(window) => break Some(*window),
                None if self.interrupted.load(Ordering::Relaxed) => break None,
                None => thread::sleep(POLL),
            }
        };
        while let Some(window) = window
            && Instant::now() < window.end
            && !self.interrupted.load(Ordering::Relaxed)
            && !clients.iter().all(Client::is_done)
        {
            for client in &mut clients {
                client.receive(window);
                self.done[client.number].0.store(client.measured.acknowledged, Ordering::Relaxed);
                client.send()?;
            }
        }
        // What is still under way is waited for, so that it is known what was acknowledged.
        if let Some(window) = window {
            clients.iter_mut().for_each(|client| client.receive(window));
        }
        Ok(clients.into_iter().map(|client| client.measured).collect())
    }

    /// Starts the clock when all clients are there; then shows how far it is, and keeps an eye on the leader.
    fn watch(&self, threads: &[ScopedJoinHandle<'_, Result<Vec<Measured>, Failure>>]) {
        while self.ready.load(Ordering::Relaxed) < self.done.len()
            && !self.interrupted.load(Ordering::Relaxed)
            && !threads.iter().any(ScopedJoinHandle::is_finished)
        {
            thread::sleep(POLL);
        }
        let window = *self.window.get_or_init(|| Window::from_now(self.plan.args));
        let bar = progress_bar(window);
        let mut next_look = Instant::now() + LEADER_EVERY;
        let mut turn = 0;
        loop {
            let now = Instant::now();
            if now >= window.end || self.interrupted.load(Ordering::Relaxed) {
                break;
            }
            if self.plan.args.at == At::Leader && now >= next_look {
                self.nodes.ask_for_leader(turn % self.nodes.count());
                (turn, next_look) = (turn + 1, now + LEADER_EVERY);
            }
            if !bar.is_hidden() {
                self.show(&bar, window, now);
            }
            thread::sleep(REDRAW.min(window.end.saturating_duration_since(now)));
        }
        bar.finish_and_clear();
    }

    fn show(&self, bar: &ProgressBar, window: Window, now: Instant) {
        let total: u64 = self.done.iter().map(|count| count.0.load(Ordering::Relaxed)).sum();
        let phase = if now < window.begin { "warming up" } else { "measuring" };
        let left = window.end.saturating_duration_since(now);
        bar.set_position(bar.length().unwrap_or_default().saturating_sub(whole_ms(left)));
        bar.set_message(format!("{phase}, {total} operations"));
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A bar on stderr, if that is a terminal.
fn progress_bar(window: Window) -> ProgressBar {
    let length = window.end.saturating_duration_since(Instant::now());
    let bar = ProgressBar::with_draw_target(Some(whole_ms(length)), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{wide_bar} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
