//! `synod sim --protocol overlay --nodes 10000`: what overlays cost and bear, from ten nodes on.

use std::fs;
use std::io::{self, Write};
use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use synod::sim::overlay::measure::{Figures, measure, work};
use synod::sim::overlay::{churn, sizes};

use crate::shell::Status;

/// Measures overlays of ten times more nodes each, up to as many as were asked for, and says whether the goals are met.
pub(super) fn run(nodes: u32, seed: u64, out: &mut impl Write) -> io::Result<Status> {
    let sizes = sizes(nodes);
    let bar = ProgressBar::new(sizes.iter().map(|&size| work(size)).sum());
    let style = ProgressStyle::with_template("{bar:40} {percent} %, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let since = Instant::now();
    let progress = |nodes_and_ticks| bar.inc(nodes_and_ticks);
    // The largest first: it takes longer than all others.
    let mut figures: Vec<Figures> = sizes.into_par_iter().rev().map(|size| measure(size, seed, &progress)).collect();
    figures.reverse();
    bar.finish_and_clear();
    let seconds = since.elapsed().as_secs_f64();
    writeln!(
        out,
        "The nodes joined by the protocol, in waves that double the ring, and stabilised; then every neighbour and finger \
         was checked.\n{}\n",
        routes(&figures)
    )?;
    writeln!(out, "{}\n", costs(&figures))?;
    writeln!(
        out,
        "{} % of the nodes replaced one by one over {} rounds of stabilisation, every other one without a word; a client \
         asks at most {} nodes:\n{}\n",
        churn::PERCENT,
        churn::ROUNDS,
        churn::TRIES,
        coming_and_going(&figures)
    )?;
    writeln!(
        out,
        "{} % of the nodes gone in one moment, and {} rounds later (nothing is promised here: of three copies all are \
         gone of 1 key in 125):\n{}",
        churn::PERCENT,
        churn::MEND_ROUNDS,
        at_once(&figures)
    )?;
    let delivered: u64 = figures.iter().map(|figures| figures.delivered).sum();
    let memory = peak_mebibytes().map_or_else(String::new, |mebibytes| format!(", {mebibytes} MiB at most"));
    writeln!(out, "{delivered} messages, {seconds:.1} s{memory}")?;
    let missed: Vec<String> = figures.iter().flat_map(missed).collect();
    for line in &missed {
        writeln!(out, "MISSED: {line}")?;
    }
    if missed.is_empty() {
        writeln!(
            out,
            "The median route is at most half of log2 n, and one hop; no lookup was lost while {} % of the nodes were \
             replaced.",
            churn::PERCENT
        )?;
    }
    Ok(if missed.is_empty() { Status::Done } else { Status::Refused })
}

fn half_of_log(nodes: u32) -> f64 {
    0.5 * f64::from(nodes).log2()
}

fn missed(figures: &Figures) -> Vec<String> {
    let Figures { nodes, misplaced, chord, churn, .. } = figures;
    let mut missed = Vec::new();
    if *misplaced > 0 {
        missed.push(format!("{nodes} nodes: {misplaced} neighbours and fingers are wrong in the ring that was built"));
    }
    if chord.hops.median as f64 > half_of_log(*nodes) + 1.0 {
        missed.push(format!("{nodes} nodes: the median route has {} hops", chord.hops.median));
    }
    if chord.found < chord.count {
        missed.push(format!("{nodes} nodes: {} of {} keys were found", chord.found, chord.count));
    }
    if churn.lost > 0 {
        missed.push(format!("{nodes} nodes: {} lookups were lost while nodes came and went", churn.lost));
    }
    if churn.without_copy > 0 {
        missed.push(format!("{nodes} nodes: no copy is left of {} keys", churn.without_copy));
    }
    missed
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    rows.for_each(|row| _ = table.add_row(row));
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn routes(figures: &[Figures]) -> Table {
    let header = ["nodes", "½ log2 n", "Chord: median", "p99", "max", "flood: median", "max", "index: max"];
    table(
        &header,
        figures.iter().map(|figures| {
            let Figures { nodes, chord, flood, index, .. } = figures;
            let mut row = vec![nodes.to_string(), format!("{:.1}", half_of_log(*nodes))];
            row.extend([chord.hops.median, chord.hops.p99, chord.hops.max].map(|hops| hops.to_string()));
            row.extend([flood.hops.median, flood.hops.max, index.hops.max].map(|hops| hops.to_string()));
            row
        }),
    )
}

fn costs(figures: &[Figures]) -> Table {
    let header = [
        "nodes",
        "messages a lookup: Chord",
        "flood",
        "index",
        "flood finds",
        "a join moves",
        "1 in n",
        "largest part, 1 point",
        "4 points",
        "32 points",
    ];
    table(
        &header,
        figures.iter().map(|figures| {
            let Figures { nodes, chord, flood, index, moved, balance, .. } = figures;
            let mut row = vec![nodes.to_string()];
            row.extend([chord.messages, flood.messages, index.messages].map(|messages| format!("{messages:.1}")));
            row.push(format!("{}/{}", flood.found, flood.count));
            row.push(format!("{:.4} %", 100.0 * moved));
            row.push(format!("{:.4} %", 100.0 / f64::from(*nodes)));
            row.extend(balance.map(|balance| format!("{:.1} ± {:.2}", balance.largest, balance.deviation)));
            row
        }),
    )
}

fn coming_and_going(figures: &[Figures]) -> Table {
    let header = ["nodes", "replaced", "lookups", "asked again", "lost", "keys without a copy"];
    table(
        &header,
        figures.iter().map(|figures| {
            let Figures { nodes, churn, .. } = figures;
            let mut cells = vec![nodes.to_string(), churn.gone.to_string()];
            cells.extend([churn.lookups, churn.again, churn.lost, churn.without_copy].map(|count| count.to_string()));
            cells
        }),
    )
}

fn at_once(figures: &[Figures]) -> Table {
    let header = ["nodes", "gone", "keys", "with a copy left", "found at once", "found later"];
    table(
        &header,
        figures.iter().map(|figures| {
            let Figures { nodes, blow, .. } = figures;
            let mut cells = vec![nodes.to_string(), blow.gone.to_string()];
            let counts = [blow.keys, blow.keys - blow.without_copy, blow.found_at_once, blow.found_later];
            cells.extend(counts.map(|count| count.to_string()));
            cells
        }),
    )
}

/// The most memory that this process had, where the system tells.
fn peak_mebibytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes / 1024)
}
