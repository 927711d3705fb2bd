//! `synod sim --protocol overlay --nodes 10000`: what overlays cost and bear, from ten nodes on.

use std::fs;
use std::io::{self, Write};
use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use synod::sim::overlay::measure::{CHURN_PERCENT, Figures, measure, work};
use synod::sim::overlay::sizes;

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
    writeln!(out, "{}\n", routes(&figures))?;
    writeln!(out, "{}\n", costs(&figures))?;
    writeln!(out, "{}", coming_and_going(&figures))?;
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
            "The median route is at most half of log2 n, and one hop; no lookup was lost while {CHURN_PERCENT} of 100 \
             nodes were replaced."
        )?;
    }
    Ok(if missed.is_empty() { Status::Done } else { Status::Refused })
}

fn half_of_log(nodes: u32) -> f64 {
    0.5 * f64::from(nodes).log2()
}

fn missed(figures: &Figures) -> Vec<String> {
    let Figures { nodes, chord, churn, at_once, .. } = figures;
    let mut missed = Vec::new();
    if chord.hops.median as f64 > half_of_log(*nodes) + 1.0 {
        missed.push(format!("{nodes} nodes: the median route has {} hops", chord.hops.median));
    }
    if chord.found < chord.count {
        missed.push(format!("{nodes} nodes: {} of {} keys were found", chord.found, chord.count));
    }
    if churn.lost > 0 {
        missed.push(format!("{nodes} nodes: {} lookups were lost while nodes came and went", churn.lost));
    }
    if at_once.lost > at_once.without_copy {
        missed.push(format!(
            "{nodes} nodes: {} keys were there, and were not found",
            at_once.lost - at_once.without_copy
        ));
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
    let header = ["nodes", "replaced", "lookups", "lost", "gone at once", "keys", "without a copy", "not found"];
    table(
        &header,
        figures.iter().map(|figures| {
            let Figures { nodes, churn, at_once, .. } = figures;
            let row = [churn.lookups, churn.lost].map(|count| count.to_string());
            let mut cells = vec![nodes.to_string(), churn.gone.to_string()];
            cells.extend(row);
            cells.push(at_once.gone.to_string());
            cells.extend([at_once.lookups, at_once.without_copy, at_once.lost].map(|count| count.to_string()));
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
