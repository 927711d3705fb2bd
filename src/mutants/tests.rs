//! Every mutant is killed, and the unmutated code survives what kills them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use comfy_table::{Table, presets};
use rayon::prelude::*;

use super::{Finder, Mutant, quiet, with};
use crate::protocol::eventual::tests::scripts as weak;
use crate::protocol::host::tests as host;
use crate::protocol::paxos::tests::{acceptor, learning, proposing, scripts};
use crate::sim;

/// Independent ranges of seeds, each of which must kill a mutant ...
const RANGES: usize = 5;
/// ... within so many seeds.
const SEEDS: u64 = 3000;

/// What a step that is heard of too early breaks.
const NOT_BEFORE_SAVED: &str = "nothing is heard of a promise or an acceptance before it is saved";

/// Tables that find what no script is about.
const TABLES: &[(&str, fn())] = &[
    ("prepares", acceptor::prepares),
    ("accepts", acceptor::accepts),
    ("leaps", acceptor::leaps),
    ("adopts_the_highest", proposing::adopts_the_highest_in_every_order),
    ("accepts_leave_with_a_majority", proposing::accepts_leave_with_a_majority_of_promises),
    ("a_new_ballot_is_above_all", proposing::a_new_ballot_is_above_all_that_was_heard_of),
    ("acceptances_count_once", learning::acceptances_count_once_per_node_and_within_one_ballot),
    ("lessons_of_a_stranger", learning::lessons_of_a_stranger_are_ignored),
    ("messages_across_generations", host::messages_across_generations),
    ("a_stranger_is_not_followed", host::a_stranger_is_not_followed_and_a_guest_has_no_generation),
    ("restarts", host::restarts),
    ("seeds_of_the_board", sim::tests::weak::seeds_of_the_board),
    ("seeds_of_the_registers", sim::tests::weak::seeds_of_the_registers),
    ("a_node_in_service_stays", host::a_node_in_service_stays_in_its_generation),
];

/// What the suite finds of one mutant.
struct Row {
    mutant: Mutant,
    /// By range: how many seeds it took, and what they found.
    seeds: Vec<Option<(u64, String)>>,
    /// The scripts and tables that fail.
    scripts: Vec<&'static str>,
}

/// Runs something with a defect, or without; what was wrong with it, if it was. A panic is a finding too, and as they
/// are many, one that makes no noise.
fn finding(mutant: Option<Mutant>, run: impl FnOnce() -> Result<(), String>) -> Option<String> {
    quiet();
    match with(mutant, || catch_unwind(AssertUnwindSafe(run))) {
        Ok(result) => result.err(),
        Err(panic) => Some(match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic.downcast::<&str>().map_or_else(|_| "a panic".to_owned(), |text| (*text).to_owned()),
        }),
    }
}

const fn seed(range: usize, at: u64) -> u64 {
    range as u64 * 1_000_000 + at
}

fn simulate(mutant: Option<Mutant>, range: usize, at: u64) -> Option<String> {
    let seed = seed(range, at);
    finding(mutant, || sim::run(seed, sim::Options::default()).map(|_| ()).map_err(|violation| violation.rule))
}

fn failing_scripts(mutant: Option<Mutant>) -> Vec<&'static str> {
    let fails =
        |name: &str| finding(mutant, || if scripts::holds(name) { Ok(()) } else { Err(name.to_owned()) }).is_some();
    let table_fails = |table: fn()| {
        let run = || {
            table();
            Ok(())
        };
        finding(mutant, run).is_some()
    };
    let scripts = scripts::NAMES.iter().copied().filter(|name| fails(name));
    let weak = weak::NAMES
        .iter()
        .copied()
        .filter(|name| finding(mutant, || if weak::holds(name) { Ok(()) } else { Err((*name).to_owned()) }).is_some());
    scripts.chain(weak).chain(TABLES.iter().filter(|(_, table)| table_fails(*table)).map(|(name, _)| *name)).collect()
}

fn examine(mutant: Mutant) -> Row {
    let found = |range| (0..SEEDS).find_map(|at| simulate(Some(mutant), range, at).map(|rule| (at + 1, rule)));
    let seeds = match mutant.finder() {
        Finder::Scripts => Vec::new(),
        Finder::Seeds | Finder::SeedsByDisk => (0..RANGES).into_par_iter().map(found).collect(),
    };
    Row { mutant, seeds, scripts: failing_scripts(Some(mutant)) }
}

impl Row {
    /// The number of seeds that half of the ranges made do with.
    fn median(&self) -> Option<u64> {
        let mut counts: Vec<u64> =
            self.seeds.iter().map(|found| found.as_ref().map_or(u64::MAX, |(n, _)| *n)).collect();
        counts.sort_unstable();
        counts.get(counts.len() / 2).copied()
    }

    fn invariants(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.seeds.iter().flatten().map(|(_, what)| what.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Why the mutant does not count as killed.
    fn survives(&self) -> Option<String> {
        let survivor = match self.mutant.finder() {
            Finder::Scripts if self.scripts.is_empty() => "no script or table fails".to_owned(),
            Finder::Seeds | Finder::SeedsByDisk if self.seeds.contains(&None) => {
                format!("not found in {SEEDS} seeds of every range")
            }
            Finder::SeedsByDisk if self.invariants() != [NOT_BEFORE_SAVED] => {
                format!("found by {:?}, not only because something was heard before it was saved", self.invariants())
            }
            _ => return None,
        };
        Some(format!("{:?} ({}): {survivor}", self.mutant, self.mutant.what()))
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["the node …", "median seeds", "most", "killed by the invariant", "scripts and tables that fail"]);
    for row in rows {
        let most = row.seeds.iter().flatten().map(|(seeds, _)| *seeds).max();
        let number = |seeds: Option<u64>| seeds.map_or_else(String::new, |seeds| seeds.to_string());
        let mut scripts = row.scripts.first().map_or_else(String::new, |name| (*name).to_owned());
        if row.scripts.len() > 1 {
            let _ = write!(scripts, " and {} more", row.scripts.len() - 1);
        }
        table.add_row([
            row.mutant.what().to_owned(),
            number(row.median()),
            number(most),
            row.invariants().join("\n"),
            scripts,
        ]);
    }
    table.to_string()
}

/// The table goes to the terminal itself: `cargo test` would swallow what is printed.
#[test]
fn every_mutant_is_killed() {
    let rows: Vec<Row> = Mutant::ALL.par_iter().map(|&mutant| examine(mutant)).collect();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{} mutants, {RANGES} ranges of seeds\n{}", rows.len(), table(&rows)).unwrap();
    let survivors: Vec<String> = rows.iter().filter_map(Row::survives).collect();
    assert!(survivors.is_empty(), "survivors:\n{}", survivors.join("\n"));

    // The code as it stands survives whatever killed one of them.
    let most = |range: usize| {
        rows.iter().filter_map(|row| row.seeds.get(range)?.as_ref()).map(|(seeds, _)| *seeds).max().unwrap_or(0)
    };
    let runs: Vec<(usize, u64)> = (0..RANGES).flat_map(|range| (0..most(range)).map(move |at| (range, at))).collect();
    let found: Vec<String> = runs
        .par_iter()
        .filter_map(|&(range, at)| simulate(None, range, at).map(|rule| format!("seed {}: {rule}", seed(range, at))))
        .collect();
    assert!(found.is_empty(), "without a mutant: {found:?}");
    assert_eq!(failing_scripts(None), [""; 0], "without a mutant");
}

/// The quick half of it: those that scripts and tables must find.
#[test]
fn mutants_of_the_scripts_are_killed() {
    let meant: Vec<Mutant> = Mutant::ALL.iter().copied().filter(|mutant| mutant.finder() == Finder::Scripts).collect();
    let rows: Vec<Row> = meant.into_par_iter().map(examine).collect();
    let survivors: Vec<String> = rows.iter().filter_map(Row::survives).collect();
    assert!(survivors.is_empty(), "survivors:\n{}", survivors.join("\n"));
}
