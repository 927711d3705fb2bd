//! Seeds without a violation, and the same run from the same seed.

use rayon::prelude::*;

use super::*;

/// Enough for CI; `cargo bench --bench simulation` runs more, and counts the steps a second.
const SEEDS: u64 = 2500;

#[test]
fn no_seed_violates_an_invariant() {
    let reports: Vec<Report> = (0..SEEDS)
        .into_par_iter()
        .map(|seed| run(seed, Options::default()).unwrap_or_else(|violation| panic!("{violation}")))
        .collect();
    // The runs are worth something: most decide, many crash, lose, restart and run many ballots.
    let count = |what: fn(&Report) -> bool| reports.iter().filter(|report| what(report)).count() as u64;
    assert!(count(|report| report.chosen > 1) > SEEDS / 2);
    assert!(count(|report| report.crashes > 3) > SEEDS / 5);
    assert!(count(|report| report.lost > 20) > SEEDS / 5);
    assert!(count(|report| report.restarts > 0) > SEEDS / 20);
    assert!(count(|report| report.ballots > 20) > SEEDS / 5);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 42, 1_000_003] {
        let first = run(seed, Options::default()).unwrap();
        assert_eq!(first, run(seed, Options::default()).unwrap());
        assert_ne!(first.trace_hash, run(seed + 1, Options::default()).unwrap().trace_hash);
    }
}

/// Seeds that once showed a bug.
#[test]
fn seeds_that_found_something() {
    // A client was told a decision that was only noted; a crash took the note, and nobody knew any more.
    const TOLD_WHAT_WAS_NOTED: u64 = 7063;
    run(TOLD_WHAT_WAS_NOTED, Options::default()).unwrap_or_else(|violation| panic!("{violation}"));
}
