//! What it costs that nodes keep what happens: the same load with it and without, in short slices by turns, on one cluster.
//!
//! Throughput on a machine that does other things, too, goes up and down by more than what is looked for. So slices are
//! short, and compared only with their neighbours; and what the nodes' processes take of the CPU for each operation is
//! measured beside it, which others on the machine disturb less.

use std::fs;
use std::sync::atomic::AtomicBool;

use synod::rpc::answers::Version;
use synod::xmlrpc::Value;

use super::site::Site;
use super::workload::Plan;
use super::{Failure, load, report, run_name};
use crate::args::LoadArgs;
use crate::shell::Status;

/// Of four neighbours the first and the last are alike, so that what only gets slower with time favours neither.
const TURNS: [bool; 4] = [true, false, false, true];
/// How often four neighbours are measured.
const ROUNDS: usize = 12;
/// How many slices of one kind last `--seconds` together, at the least.
const SLICES: f64 = 10.0;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Operations a second of every slice.
    pub(super) with: Vec<f64>,
    pub(super) without: Vec<f64>,
    /// The ratio of operations a second, with traces to without, of every four neighbours.
    pub(super) ratios: Vec<f64>,
    /// What all nodes together took of the CPU for an operation; `None` if they are not on this machine.
    pub(super) cpu: Option<Cpu>,
}

/// Microseconds of CPU an operation.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    pub(super) with_us: f64,
    pub(super) without_us: f64,
    /// The ratio of every four neighbours.
    pub(super) ratios: Vec<f64>,
}

/// Several slices of one kind.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    per_second: f64,
    /// Operations, those outside the measured time included, and the CPU that they took.
    operations: f64,
    cpu_us: f64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.per_second += other.per_second;
        self.operations += other.operations;
        self.cpu_us += other.cpu_us;
    }

    fn cpu_per_operation(self) -> f64 {
        self.cpu_us / self.operations.max(1.0)
    }
}

/// Measures, and prints.
pub(super) fn run(site: &Site, args: &LoadArgs, interrupted: &AtomicBool) -> Result<Status, Failure> {
    let slice = LoadArgs { seconds: args.seconds / SLICES, warm_up: args.warm_up / SLICES, ..args.clone() };
    let processes = processes(site);
    load::fill(&site.nodes, &Plan { args, run: run_name() }, interrupted)?;
    // Not measured: the first one finds everything cold.
    let cold = LoadArgs { seconds: args.warm_up.max(slice.seconds), ..slice.clone() };
    measure(site, &cold, &processes, interrupted)?;
    let (mut cost, mut all) = (Cost::default(), [Sum::default(); 2]);
    let mut cpu_ratios = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = [Sum::default(); 2];
        for on in TURNS {
            switch(site, on)?;
            let measured = measure(site, &slice, &processes, interrupted)?;
            if measured.per_second <= 0.0 {
                return Ok(Status::Unavailable);
            }
            if on { &mut cost.with } else { &mut cost.without }.push(measured.per_second);
            round[usize::from(on)].add(measured);
        }
        let [without, with] = round;
        cost.ratios.push(with.per_second / without.per_second);
        cpu_ratios.push(with.cpu_per_operation() / without.cpu_per_operation());
        all.iter_mut().zip(round).for_each(|(all, round)| all.add(round));
    }
    switch(site, true)?;
    let [without_us, with_us] = all.map(Sum::cpu_per_operation);
    cost.cpu = (without_us > 0.0).then_some(Cpu { with_us, without_us, ratios: cpu_ratios });
    report::trace(args, &slice, &cost);
    Ok(Status::Done)
}

fn switch(site: &Site, on: bool) -> Result<(), Failure> {
    for node in 0..site.nodes.count() {
        let answer: Result<Value, _> = site.nodes.client(node).call("lab.trace.switch", &(on,));
        answer.map_err(|error| Failure::Refused(format!("{}: {error}", site.nodes.port(node))))?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "so many operations nobody waits for")]
fn measure(site: &Site, args: &LoadArgs, processes: &[u32], interrupted: &AtomicBool) -> Result<Sum, Failure> {
    let before = cpu_us(processes);
    let measured = load::run(&site.nodes, &Plan { args, run: run_name() }, interrupted)?;
    let per_second = measured.operations as f64 / args.seconds;
    Ok(Sum { per_second, operations: measured.acknowledged as f64, cpu_us: cpu_us(processes) - before })
}

/// The nodes' processes, as far as they are on this machine.
fn processes(site: &Site) -> Vec<u32> {
    let process = |node| -> Option<u32> {
        let is_here = site.nodes.address(node).ip().is_loopback();
        let version: Version = site.nodes.client(node).call("synod.version", &()).ok().filter(|_| is_here)?;
        Some(version.process)
    };
    (0..site.nodes.count()).filter_map(process).collect()
}

/// What these processes have taken of the CPU so far, all threads together; 0 where the system does not tell.
fn cpu_us(processes: &[u32]) -> f64 {
    let ticks_a_second = rustix::param::clock_ticks_per_second();
    let of = |process: &u32| ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?);
    #[allow(clippy::cast_precision_loss, reason = "hundreds of years fit")]
    let in_us = |ticks: u64| ticks as f64 * 1e6 / ticks_a_second.max(1) as f64;
    in_us(processes.iter().filter_map(of).sum())
}

/// The time in user mode and in the kernel, which are the 14th and the 15th field. The second one is a name in parentheses,
/// in which anything may stand.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_found_behind_a_name_with_anything_in_it() {
        let stat = "4711 (a b) 1 (c)) S 1 4711 4711 0 -1 4194560 977 0 0 0 123 45 0 0 20 0 1 0 300 1 2";
        assert_eq!(ticks(stat), Some(168));
        assert_eq!(ticks("4711 (x) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn a_process_that_works_is_seen_to() {
        let me = [std::process::id()];
        let before = cpu_us(&me);
        while cpu_us(&me) <= before {
            std::hint::black_box((0..100_000_u64).map(|x| x ^ 7).sum::<u64>());
        }
    }
}
