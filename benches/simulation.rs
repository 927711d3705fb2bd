//! How many protocol steps a second the simulation takes, and whether any of many seeds violates an invariant.
//!
//! `cargo bench --bench simulation -- --seeds 100000`. A tenth of the seeds runs on one core first, then all of them
//! run on all cores; the tenth must come to the same there. Leaves with 1 and the seed if an invariant did not hold.
#![allow(clippy::print_stdout, reason = "a benchmark prints what it found")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use rayon::iter::Either;
use rayon::prelude::*;
use synod::sim::{Fault, Options, Protocol, Report, Tally, Violation, run};

/// Steps a second on one core that the simulation must reach.
const GOAL: f64 = 500_000.0;

/// Runs the simulation over many seeds.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Given by `cargo bench`, and not by `cargo test`, which only wants to know that this builds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.bench {
        println!("a benchmark: `cargo bench --bench simulation` runs it");
        return ExitCode::SUCCESS;
    }
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            println!("VIOLATION: {what}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), String> {
    let last = args.first.saturating_add(args.seeds);
    let alone = args.first..args.first.saturating_add(args.seeds.div_ceil(10));
    println!("{:<10} {:>9} {:>13} {:>9} {:>14}", "", "seeds", "steps", "seconds", "steps/s/core");

    let since = Instant::now();
    let on_one: Result<Vec<Report>, Violation> = alone.map(|seed| run(seed, Options::default())).collect();
    let on_one = on_one.map_err(|violation| violation.to_string())?;
    let rate = print("one core", &on_one, since.elapsed().as_secs_f64(), 1);
    let verdict = if rate >= GOAL { "reached" } else { "MISSED" };
    println!("{:<10} goal: at least {GOAL} steps/s on one core: {verdict}", "");

    let since = Instant::now();
    let (all, violations): (Vec<Report>, Vec<Violation>) =
        (args.first..last).into_par_iter().partition_map(|seed| match run(seed, Options::default()) {
            Ok(report) => Either::Left(report),
            Err(violation) => Either::Right(violation),
        });
    let seconds = since.elapsed().as_secs_f64();
    print("all cores", &all, seconds, rayon::current_num_threads());
    if let Some(lowest) = violations.first() {
        let more: Vec<String> = violations.iter().skip(1).take(20).map(|other| other.seed.to_string()).collect();
        return Err(format!(
            "{lowest}\n{} of {} seeds violate; the next: {}",
            violations.len(),
            args.seeds,
            more.join(", ")
        ));
    }
    if let Some((one, _)) = on_one.iter().zip(&all).find(|(one, many)| one != many) {
        return Err(format!("seed {} did not run the same twice", one.seed));
    }

    let mut tally = Tally::default();
    all.iter().for_each(|report| tally += report.tally);
    let faults = Fault::ALL.into_iter().map(|fault| (fault.name(), tally.of(fault)));
    let counts: Vec<String> =
        faults.chain(tally.named(Protocol::Paxos)).map(|(name, count)| format!("{name} {count}")).collect();
    println!("violations 0; {}", counts.join("; "));
    Ok(())
}

/// Prints a row, and returns the steps a second on each core.
fn print(what: &str, reports: &[Report], seconds: f64, cores: usize) -> f64 {
    let steps: u64 = reports.iter().map(|report| report.steps).sum();
    let rate = steps as f64 / seconds / cores as f64;
    println!("{what:<10} {:>9} {steps:>13} {seconds:>9.2} {rate:>14.0}", reports.len());
    rate
}
