//! Every mutant of the overlays is killed by the overlay's own scripts and tables, or by the seeds of their simulation.

use std::io::Write as _;

use comfy_table::{Table, presets};
use rayon::prelude::*;

use super::super::{Finder, Mutant};
use super::{Row, examine_seeds, finding};
use crate::protocol::overlay::{chord, flood, index, numbers};
use crate::sim::Protocol;

/// What finds them.
pub(super) const FINDERS: [Finder; 2] = [Finder::Overlays, Finder::OverlaySeeds];

/// What finds the defects of one overlay.
struct Suite {
    /// How the names of its mutants begin.
    prefix: &'static str,
    scripts: &'static [&'static str],
    holds: fn(&str) -> bool,
    tables: &'static [(&'static str, fn())],
}

const SUITES: [Suite; 4] = [
    Suite { prefix: "Dht", scripts: chord::tests::NAMES, holds: chord::tests::holds, tables: chord::tests::TABLES },
    Suite { prefix: "Flood", scripts: flood::tests::NAMES, holds: flood::tests::holds, tables: flood::tests::TABLES },
    Suite { prefix: "Numbers", scripts: &[], holds: |_| true, tables: numbers::tests::TABLES },
    Suite { prefix: "Index", scripts: index::tests::NAMES, holds: index::tests::holds, tables: index::tests::TABLES },
];

impl Suite {
    /// The first script or table that fails with this defect.
    fn first_to_fail(&self, mutant: Mutant) -> Option<&'static str> {
        let script_fails = |name: &str| {
            let run = || if (self.holds)(name) { Ok(()) } else { Err(name.to_owned()) };
            finding(Some(mutant), run).is_some()
        };
        let table_fails = |table: fn()| {
            let run = || {
                table();
                Ok(())
            };
            finding(Some(mutant), run).is_some()
        };
        let script = self.scripts.iter().copied().find(|name| script_fails(name));
        script.or_else(|| self.tables.iter().find(|(_, table)| table_fails(*table)).map(|(name, _)| *name))
    }
}

/// The table goes to the terminal itself: `cargo test` would swallow what is printed.
#[test]
fn every_mutant_of_the_overlays_is_killed() {
    let mutants: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|mutant| mutant.finder() == Finder::Overlays).collect();
    let found: Vec<(Mutant, Option<&str>)> = mutants
        .into_par_iter()
        .map(|mutant| {
            let name = format!("{mutant:?}");
            let suite = SUITES.iter().find(|suite| name.starts_with(suite.prefix)).expect("each is of one overlay");
            (mutant, suite.first_to_fail(mutant))
        })
        .collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["the node …", "killed by"]);
    for (mutant, killer) in &found {
        table.add_row([mutant.what(), killer.unwrap_or("NOTHING")]);
    }
    writeln!(std::io::stdout().lock(), "\n{} mutants of the overlays\n{table}", found.len()).unwrap();
    let survivors: Vec<&Mutant> =
        found.iter().filter(|(_, killer)| killer.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(survivors.is_empty(), "survivors: {survivors:?}");
    for suite in SUITES.iter().filter(|suite| !suite.scripts.is_empty()) {
        let of_it = found.iter().filter(|(mutant, _)| format!("{mutant:?}").starts_with(suite.prefix));
        assert!(of_it.count() >= 5, "too few mutants of {}", suite.prefix);
    }
}

/// Those that show only when everything fails, and what the code as it stands must survive.
#[test]
fn seeds_find_the_mutants_of_the_overlays() {
    let mutants: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|mutant| mutant.finder() == Finder::OverlaySeeds).collect();
    let rows: Vec<Row> = mutants.par_iter().map(|&mutant| examine_seeds(mutant)).collect();
    writeln!(std::io::stdout().lock(), "\n{}", super::table(&rows)).unwrap();
    let survivors: Vec<String> = rows.iter().filter_map(Row::survives).collect();
    assert!(survivors.is_empty(), "survivors:\n{}", survivors.join("\n"));
    super::survives_unmutated(&rows, &[(Protocol::Overlay, super::OVERLAY_RANGES)]);
}
