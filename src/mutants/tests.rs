//! Every mutant is killed, and the unmutated code survives what kills them.

mod overlays;

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use comfy_table::{Table, presets};
use rayon::prelude::*;

use super::{Finder, Mutant, quiet, with};
use crate::protocol::bully::tests::{properties as elections, scripts as bully};
use crate::protocol::eventual::tests::scripts as weak;
use crate::protocol::host::tests as host;
use crate::protocol::log::tests as log;
use crate::protocol::paxos::tests::{acceptor, learning, proposing, scripts};
use crate::protocol::strong::calls::tests as calls;
use crate::protocol::strong::room::tests as room;
use crate::sim::{self, Protocol};

/// Independent ranges of seeds, each of which must kill a mutant ...
const RANGES: usize = 5;
/// ... within so many seeds.
const SEEDS: u64 = 3000;

/// The same of the log's mutants: its runs take longer, and show more.
const LOG_RANGES: usize = 3;
const LOG_SEEDS: u64 = 1500;

/// And of the overlays'.
const OVERLAY_RANGES: usize = 3;
const OVERLAY_SEEDS: u64 = 500;

/// What a step that is heard of too early breaks.
const NOT_BEFORE_SAVED: &str = "nothing is heard of a promise or an acceptance before it is saved";
/// The same in the log.
const LOG_NOT_BEFORE_SAVED: &str = "nothing is heard of a promise or an acceptance of the log before it is saved";

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
    ("a_node_in_service_stays", host::a_node_in_service_stays_in_its_generation),
    ("log_adopts", log::the_log_of_the_highest_epoch_is_adopted),
    ("log_counts", log::what_belongs_to_another_epoch_is_not_counted),
    ("log_reads", log::reads_wait_for_a_round_of_their_own),
    (
        "an_earlier_leader",
        calls::what_an_earlier_leader_may_have_is_not_refused_for_certain_because_a_later_one_has_not,
    ),
    ("another_snapshot", log::a_snapshot_is_of_this_very_log_and_newer_than_the_last),
    ("no_room", room::what_was_not_saved_and_has_not_left_did_not_happen),
    ("another_chain", log::a_log_that_continues_another_chain_is_not_acknowledged),
];

/// The same for elections.
const ELECTIONS: &[(&str, fn())] = &[
    ("all_up", elections::all_up),
    ("one_is_down_from_the_start", elections::one_is_down_from_the_start),
    ("the_coordinator_dies", elections::the_coordinator_dies_and_another_takes_over),
    ("an_election_is_short_and_cheap", elections::an_election_is_short_and_cheap),
    ("elections_by_hand_do_not_set_each_other_off", elections::elections_by_hand_do_not_set_each_other_off),
    ("quorum_loss_and_back", elections::quorum_loss_and_back),
];

/// The same for the eventual board and the quorum registers.
const WEAK: &[(&str, fn())] = &[
    ("seeds_of_the_board", sim::tests::weak::seeds_of_the_board),
    ("seeds_of_the_registers", sim::tests::weak::seeds_of_the_registers),
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

fn simulate(mutant: Option<Mutant>, protocol: Protocol, range: usize, at: u64) -> Option<String> {
    let seed = seed(range, at);
    finding(mutant, || sim::run(seed, protocol.options()).map(|_| ()).map_err(|violation| violation.rule))
}

/// Whose runs find a mutant, in how many ranges of how many seeds.
const fn hunt(finder: Finder) -> Option<(Protocol, usize, u64)> {
    match finder {
        Finder::Seeds | Finder::SeedsByDisk => Some((Protocol::Paxos, RANGES, SEEDS)),
        Finder::LogSeeds | Finder::LogSeedsByDisk => Some((Protocol::Log, LOG_RANGES, LOG_SEEDS)),
        Finder::ElectionSeeds => Some((Protocol::Bully, RANGES, SEEDS)),
        Finder::OverlaySeeds => Some((Protocol::Overlay, OVERLAY_RANGES, OVERLAY_SEEDS)),
        Finder::Scripts | Finder::Elections | Finder::Weak | Finder::Overlays => None,
    }
}

fn failing_scripts(mutant: Option<Mutant>) -> Vec<&'static str> {
    let fails = |holds: fn(&str) -> bool, name: &str| {
        finding(mutant, || if holds(name) { Ok(()) } else { Err(name.to_owned()) }).is_some()
    };
    let table_fails = |table: fn()| {
        let run = || {
            table();
            Ok(())
        };
        finding(mutant, run).is_some()
    };
    let is_about_elections = |mutant: Mutant| matches!(mutant.finder(), Finder::Elections | Finder::ElectionSeeds);
    let elections = if mutant.is_none_or(is_about_elections) { ELECTIONS } else { &[] };
    let seeds = if mutant.is_none_or(|mutant| mutant.finder() == Finder::Weak) { WEAK } else { &[] };
    let paxos = scripts::NAMES.iter().copied().filter(|name| fails(scripts::holds, name));
    let bully = bully::NAMES.iter().copied().filter(|name| fails(bully::holds, name));
    let weak = weak::NAMES.iter().copied().filter(|name| fails(weak::holds, name));
    let tables =
        TABLES.iter().chain(elections).chain(seeds).filter(|(_, table)| table_fails(*table)).map(|(name, _)| *name);
    paxos.chain(bully).chain(weak).chain(tables).collect()
}

fn examine(mutant: Mutant) -> Row {
    Row { scripts: failing_scripts(Some(mutant)), ..examine_seeds(mutant) }
}

fn examine_seeds(mutant: Mutant) -> Row {
    let seeds = hunt(mutant.finder()).map_or_else(Vec::new, |(protocol, ranges, seeds)| {
        let found =
            |range| (0..seeds).find_map(|at| simulate(Some(mutant), protocol, range, at).map(|rule| (at + 1, rule)));
        (0..ranges).into_par_iter().map(found).collect()
    });
    Row { mutant, seeds, scripts: Vec::new() }
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
            Finder::Scripts | Finder::Elections | Finder::Weak if self.scripts.is_empty() => {
                "no script or table fails".to_owned()
            }
            _ if self.seeds.contains(&None) => {
                let seeds = hunt(self.mutant.finder()).map_or(0, |(_, _, seeds)| seeds);
                format!("not found in {seeds} seeds of every range")
            }
            Finder::SeedsByDisk if self.invariants() != [NOT_BEFORE_SAVED] => {
                format!("found by {:?}, not only because something was heard before it was saved", self.invariants())
            }
            Finder::LogSeedsByDisk if !self.invariants().contains(&LOG_NOT_BEFORE_SAVED) => {
                format!("found by {:?}, never because something was heard before it was saved", self.invariants())
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
    let ours = Mutant::ALL.par_iter().filter(|mutant| !overlays::FINDERS.contains(&mutant.finder()));
    let rows: Vec<Row> = ours.map(|&mutant| examine(mutant)).collect();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{} mutants, {RANGES} ranges of seeds\n{}", rows.len(), table(&rows)).unwrap();
    let survivors: Vec<String> = rows.iter().filter_map(Row::survives).collect();
    assert!(survivors.is_empty(), "survivors:\n{}", survivors.join("\n"));

    let ranges = [(Protocol::Paxos, RANGES), (Protocol::Log, LOG_RANGES), (Protocol::Bully, RANGES)];
    survives_unmutated(&rows, &ranges);
    assert_eq!(failing_scripts(None), [""; 0], "without a mutant");
}

/// The code as it stands survives whatever killed one of them.
fn survives_unmutated(rows: &[Row], ranges: &[(Protocol, usize)]) {
    let most = |protocol: Protocol, range: usize| {
        let its = rows.iter().filter(|row| hunt(row.mutant.finder()).is_some_and(|(whose, _, _)| whose == protocol));
        its.filter_map(|row| row.seeds.get(range)?.as_ref()).map(|(seeds, _)| *seeds).max().unwrap_or(0)
    };
    let ranges = ranges.iter().flat_map(|&(protocol, ranges)| (0..ranges).map(move |range| (protocol, range)));
    let runs: Vec<(Protocol, usize, u64)> =
        ranges.flat_map(|(protocol, range)| (0..most(protocol, range)).map(move |at| (protocol, range, at))).collect();
    let found: Vec<String> = runs
        .par_iter()
        .filter_map(|&(protocol, range, at)| {
            simulate(None, protocol, range, at).map(|rule| format!("{protocol} seed {}: {rule}", seed(range, at)))
        })
        .collect();
    assert!(found.is_empty(), "without a mutant: {found:?}");
}

/// The quick half of it: those that scripts and tables must find.
#[test]
fn mutants_of_the_scripts_are_killed() {
    let is_meant = |mutant: &Mutant| matches!(mutant.finder(), Finder::Scripts | Finder::Weak);
    let meant: Vec<Mutant> = Mutant::ALL.iter().copied().filter(is_meant).collect();
    let rows: Vec<Row> = meant.into_par_iter().map(examine).collect();
    let survivors: Vec<String> = rows.iter().filter_map(Row::survives).collect();
    assert!(survivors.is_empty(), "survivors:\n{}", survivors.join("\n"));
}
