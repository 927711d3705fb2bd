//! What a benchmark says at its end, on stdout: a few lines for people, or one line of JSON.

use std::fmt::Display;
use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::json;

use super::failover::{Outcome, Round};
use super::load::Measured;
use super::trace::Cost;
use crate::args::{At, FailoverArgs, How, LoadArgs, Workload};

/// What a load measured.
pub(super) fn load(args: &LoadArgs, run: &str, nodes: usize, measured: &Measured) {
    #[allow(clippy::cast_precision_loss, reason = "so many operations nobody waits for")]
    let per_second = measured.operations as f64 / args.seconds;
    let [p50, p90, p99, p999] = [50.0, 90.0, 99.0, 99.9].map(|percentile| measured.percentile_ms(percentile));
    let max = measured.max_ms();
    if args.json {
        let object = json!({
            "ops_per_second": per_second,
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "p999_ms": p999,
            "max_ms": max,
            "errors": measured.errors,
            "operations": measured.operations,
            "acknowledged": measured.acknowledged,
            "workload": name_of(args.workload),
            "clients": args.clients,
            "nodes": nodes,
            "seconds": args.seconds,
            "value_bytes": args.value_bytes,
            "batch": if args.workload == Workload::Multicall { args.batch } else { 1 },
            "keys": args.keys,
            "at": name_of(args.at),
            "run": run,
        });
        return line(object);
    }
    line(format_args!(
        "{} from {} clients, {} bytes each, {nodes} nodes, {}, {} s",
        described(args),
        args.clients,
        args.value_bytes,
        if args.at == At::Leader { "at the leader" } else { "at all nodes" },
        args.seconds
    ));
    line(format_args!(
        "{per_second:.0} operations a second ({} in all), {} errors",
        measured.operations, measured.errors
    ));
    line(format_args!("latency in ms: p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.1}"));
}

fn described(args: &LoadArgs) -> String {
    match args.workload {
        Workload::Multicall => format!("multicalls of {} puts", args.batch),
        workload => format!("'{}'", name_of(workload)),
    }
}

/// What the nodes' traces cost.
pub(super) fn trace(args: &LoadArgs, slice: &LoadArgs, cost: &Cost) {
    let (with, without) = (median(&cost.with), median(&cost.without));
    let (ratio, spread) = (median(&cost.ratios), middle_half(&cost.ratios));
    if args.json {
        return line(json!({
            "ops_per_second_with": with,
            "ops_per_second_without": without,
            "ratio": ratio,
            "ratio_quartiles": spread,
            "ratios": cost.ratios,
            "cpu": cost.cpu.as_ref().map(|cpu| json!({
                "us_per_op_with": cpu.with_us,
                "us_per_op_without": cpu.without_us,
                "ratio": cpu.with_us / cpu.without_us,
                "ratio_quartiles": middle_half(&cpu.ratios),
                "ratios": cpu.ratios,
            })),
            "with": cost.with,
            "without": cost.without,
            "workload": name_of(args.workload),
            "clients": args.clients,
            "slice_seconds": slice.seconds,
        }));
    }
    line(format_args!(
        "{} from {} clients, {} slices of {} s with traces and {} without, by turns",
        described(args),
        args.clients,
        cost.with.len(),
        slice.seconds,
        cost.without.len()
    ));
    line(format_args!(
        "operations a second: {with:.0} with traces, {without:.0} without (medians); ratio {}",
        spread_out(ratio, spread)
    ));
    match &cost.cpu {
        Some(cpu) => line(format_args!(
            "the nodes' CPU an operation: {:.1} µs with traces, {:.1} without; ratio {}",
            cpu.with_us,
            cpu.without_us,
            spread_out(cpu.with_us / cpu.without_us, middle_half(&cpu.ratios))
        )),
        None => line("the nodes' CPU an operation: unknown, for they are not on this machine"),
    }
}

/// A ratio, and between what half of those are that it is the middle of.
fn spread_out(ratio: f64, [low, high]: [f64; 2]) -> String {
    format!("{ratio:.3} (half of them {low:.3} to {high:.3})")
}

/// How a round of losing the leader went.
pub(super) fn round(args: &FailoverArgs, number: usize, round: &Round) {
    if args.json {
        return;
    }
    let how = if args.how == How::Kill { "killed" } else { "stopped" };
    line(format_args!(
        "round {number}: {} was {how}, {} leads; longest gap {:.0} ms; it is back and has caught up {:.0} ms after its \
         start (longest gap {:.0} ms)",
        round.leader, round.successor, round.gap_ms, round.back_ms, round.back_gap_ms
    ));
}

/// How all rounds went.
pub(super) fn failover(args: &FailoverArgs, outcome: &Outcome) {
    let gaps: Vec<f64> = outcome.rounds.iter().map(|round| round.gap_ms).collect();
    let (median, worst) = (median(&gaps), gaps.iter().copied().fold(0.0, f64::max));
    if args.json {
        let of = |part: fn(&Round) -> f64| outcome.rounds.iter().map(part).collect::<Vec<_>>();
        return line(json!({
            "median_gap_ms": median,
            "worst_gap_ms": worst,
            "gaps_ms": gaps,
            "back_ms": of(|round| round.back_ms),
            "back_gaps_ms": of(|round| round.back_gap_ms),
            "acknowledged": outcome.acknowledged,
            "lost": outcome.lost,
            "doubled": outcome.doubled,
            "wrong": outcome.wrong,
            "states_equal": outcome.states_equal,
            "errors": outcome.errors,
            "rounds": outcome.rounds.len(),
            "how": name_of(args.how),
            "clients": args.clients,
            "nodes": args.own.nodes,
            "value_bytes": args.value_bytes,
            "at": name_of(args.at),
        }));
    }
    line(format_args!(
        "longest gap without an acknowledged write: median {median:.0} ms, worst {worst:.0} ms, {} rounds",
        gaps.len()
    ));
    line(format_args!(
        "{} writes acknowledged: {} lost, {} doubled, {} with a wrong value; the nodes' states are {}",
        outcome.acknowledged,
        outcome.lost,
        outcome.doubled,
        outcome.wrong,
        if outcome.states_equal { "equal" } else { "NOT EQUAL" }
    ));
}

/// Between which two of them the middle half is; 0 if there are none.
fn middle_half(values: &[f64]) -> [f64; 2] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = sorted.len() / 4;
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    [at(quarter), at((sorted.len() - quarter).saturating_sub(1))]
}

/// The middle one, or between the two in the middle; 0 if there are none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The name by which a choice is given on the command line.
fn name_of(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn line(text: impl Display) {
    // Whoever started this may not read what it says.
    _ = writeln!(io::stdout().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, expected) in [(&[][..], 0.0), (&[3.0], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert!((median(values) - expected).abs() < 1e-9, "{values:?}");
        }
    }
    #[test]
    fn the_middle_half_is_around_it() {
        let cases: [(&[f64], [f64; 2]); 4] = [
            (&[], [0.0; 2]),
            (&[3.0], [3.0; 2]),
            (&[4.0, 1.0, 3.0, 2.0], [2.0, 3.0]),
            (&[5.0, 1.0, 2.0, 3.0, 4.0], [2.0, 4.0]),
        ];
        for (values, [low, high]) in cases {
            let found = middle_half(values);
            assert!((found[0] - low).abs() < 1e-9 && (found[1] - high).abs() < 1e-9, "{values:?}: {found:?}");
        }
    }
}
