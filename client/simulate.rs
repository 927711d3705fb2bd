//! `synod sim`: runs simulated clusters on all cores, and says what they did; or what went wrong, as small as it gets.

mod overlay;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use log::error;
use rayon::prelude::*;
use synod::sim::shrink::{Shrunk, shrink};
use synod::sim::{Fault, MAX_NODES, Options, Protocol, Report, Tally, Violation, run as run_seed, traced};

use crate::args::SimArgs;
use crate::shell::Status;

const DEFAULT_SEEDS: u64 = 1000;
/// Seeds that are run before anyone looks whether one failed: so the first that fails is the same every time.
const CHUNK: u64 = 2048;

pub(crate) fn run(args: &SimArgs) -> Status {
    // A protocol that panics is reported as a violation, so it need not also be printed, perhaps a thousand times.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let done = try_run(args, &mut io::stdout().lock());
    panic::set_hook(hook);
    match done {
        Ok(status) => status,
        // Nothing is said of the invariants then.
        Err(error) => {
            error!("{error}");
            Status::Unavailable
        }
    }
}

fn try_run(args: &SimArgs, out: &mut impl Write) -> io::Result<Status> {
    if let Some(nodes) = args.nodes.filter(|&nodes| nodes > MAX_NODES) {
        return overlay::run(nodes, args.seed.unwrap_or(0), out);
    }
    let steps = args.steps.unwrap_or_else(|| args.protocol.steps());
    let options = Options { protocol: args.protocol, nodes: args.nodes, steps, faults: args.faults };
    let first = args.seed.unwrap_or(0);
    let seeds = args.seeds.unwrap_or_else(|| if args.seed.is_some() { 1 } else { DEFAULT_SEEDS });
    let pool = rayon::ThreadPoolBuilder::new().thread_name(|at| format!("simulation {at}")).build();
    let pool = pool.map_err(io::Error::other)?;
    let since = Instant::now();
    match pool.install(|| run_seeds(first, seeds, options)) {
        Ok(sum) => {
            let seconds = since.elapsed().as_secs_f64();
            write!(out, "{}", table(&sum, options.protocol, seconds, pool.current_num_threads()))?;
            if let Some(hash) = sum.only_hash {
                writeln!(out, "trace hash: {hash:016x}")?;
            }
            if let (Some(file), Some(_)) = (&args.trace, sum.only_hash) {
                write_trace(first, options, file)?;
                writeln!(out, "What happened is in {}.", file.display())?;
            }
            writeln!(out, "All invariants held in {seeds} {}.", if seeds == 1 { "seed" } else { "seeds" })?;
            Ok(Status::Done)
        }
        Err(violation) => tell(out, options, violation, args.trace.clone()).map(|()| Status::Refused),
    }
}

/// What all runs did together.
#[derive(Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    ticks: u64,
    tally: Tally,
    /// The hash of the trace, if there was but one run.
    only_hash: Option<u64>,
}

impl Sum {
    fn of(report: &Report) -> Self {
        let &Report { steps, ticks, trace_hash, tally, .. } = report;
        Self { seeds: 1, steps, ticks, tally, only_hash: Some(trace_hash) }
    }

    fn and(mut self, other: &Self) -> Self {
        self.only_hash = if self.seeds == 0 { other.only_hash } else { None };
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.ticks += other.ticks;
        self.tally += other.tally;
        self
    }
}

/// Runs the seeds, on all threads of this pool, until one fails; returns the lowest that does.
fn run_seeds(first: u64, seeds: u64, options: Options) -> Result<Sum, Violation> {
    let bar = ProgressBar::new(seeds);
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} seeds, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let end = first.saturating_add(seeds);
    let mut sum = Sum::default();
    let mut at = first;
    while at < end {
        let chunk = at..end.min(at.saturating_add(CHUNK));
        at = chunk.end;
        let runs = chunk.into_par_iter().map(|seed| {
            let result = run_seed(seed, options).map(|report| Sum::of(&report));
            bar.inc(1);
            result
        });
        let both = |one: Result<Sum, Violation>, other: Result<Sum, Violation>| match (one, other) {
            (Ok(one), Ok(other)) => Ok(one.and(&other)),
            (Err(one), Err(other)) => Err(if one.seed < other.seed { one } else { other }),
            (Err(violation), _) | (_, Err(violation)) => Err(violation),
        };
        match runs.reduce(|| Ok(Sum::default()), both) {
            Ok(more) => sum = sum.and(&more),
            Err(violation) => {
                bar.abandon();
                return Err(violation);
            }
        }
    }
    bar.finish_and_clear();
    Ok(sum)
}

fn table(sum: &Sum, protocol: Protocol, seconds: f64, cores: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["what went wrong", "times", "what was done", "times"]);
    for column in [1, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let rate = sum.steps as f64 / seconds.max(1e-9) / cores.min(usize::try_from(sum.seeds).unwrap_or(cores)) as f64;
    let totals = [("seeds", sum.seeds), ("protocol steps", sum.steps), ("ticks", sum.ticks)];
    let mut right = totals.into_iter().chain(sum.tally.named(protocol)).map(|(name, count)| (name, count.to_string()));
    let left: Vec<_> = Fault::ALL.into_iter().map(|fault| (fault.name(), sum.tally.of(fault).to_string())).collect();
    let mut left = left.into_iter();
    loop {
        let row = (left.next(), right.next());
        if row == (None, None) {
            break;
        }
        let ((one, one_count), (two, two_count)) = (row.0.unwrap_or_default(), row.1.unwrap_or_default());
        table.add_row([one, &one_count, two, &two_count]);
    }
    format!("{table}\n{rate:.0} protocol steps a second on each core, {seconds:.1} s\n")
}

/// Says what failed, finds a smaller run that fails the same way, and writes down what happens in it.
fn tell(out: &mut impl Write, options: Options, violation: Violation, file: Option<PathBuf>) -> io::Result<()> {
    let seed = violation.seed;
    writeln!(out, "VIOLATION in seed {seed}, after {} steps:", violation.step)?;
    writeln!(out, "  must hold: {}\n  does not: {}", violation.rule, violation.what)?;
    out.flush()?;
    let Shrunk { options, violation, runs } = shrink(options, violation);
    let file = file.unwrap_or_else(|| PathBuf::from(format!("sim-{seed}.jsonl")));
    let nodes = write_trace(seed, options, &file)?;
    writeln!(
        out,
        "The smallest run found, of {runs} tried, breaks the same after {} steps:\n  does not: {}",
        violation.step, violation.what
    )?;
    writeln!(out, "What happened in it is in {}. It runs again with", file.display())?;
    writeln!(
        out,
        "  synod sim --protocol {} --seed {seed} --nodes {nodes} --steps {} --faults {}",
        options.protocol, options.steps, options.faults
    )
}

/// Returns the number of nodes.
fn write_trace(seed: u64, options: Options, file: &Path) -> io::Result<usize> {
    let (_, trace) = traced(seed, options);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    File::create(file).and_then(|file| trace.write(BufWriter::new(file))).map_err(named)?;
    Ok(trace.header.nodes.len())
}
