//! The eventual board and the quorum registers: seeds without a violation, under every fault that they bear.

use rayon::prelude::*;

use super::super::*;

/// Enough for CI; `synod sim --protocol eventual --seeds 20000` runs more.
const SEEDS: u64 = 600;

fn tally_of(protocol: Protocol) -> Tally {
    let held = |seed| run(seed, protocol.options()).unwrap_or_else(|violation| panic!("{violation}"));
    let reports: Vec<Report> = (0..SEEDS).into_par_iter().map(held).collect();
    let mut all = Tally::default();
    reports.iter().for_each(|report| all += report.tally);
    for fault in Fault::ALL.into_iter().filter(|fault| !matches!(fault, Fault::Stale | Fault::Wipe)) {
        assert!(all.of(fault) > 0, "{}: none", fault.name());
    }
    all
}

#[test]
fn no_seed_violates_an_invariant_of_the_board() {
    let all = tally_of(Protocol::Eventual);
    assert!(all.proposals > SEEDS * 5 && all.commands > all.proposals, "{all:?}");
}

#[test]
fn no_seed_violates_an_invariant_of_the_registers() {
    let all = tally_of(Protocol::Register);
    assert!(all.linearized > SEEDS * 5 && all.answered_unknown > 0 && all.answered_refused > 0, "{all:?}");
    assert_eq!(all.undecided, 0);
}

/// For the mutants: panics if a seed of the board finds something.
pub(crate) fn seeds_of_the_board() {
    seeds_of(Protocol::Eventual);
}

/// The same of the registers.
pub(crate) fn seeds_of_the_registers() {
    seeds_of(Protocol::Register);
}

fn seeds_of(protocol: Protocol) {
    for seed in 0..400 {
        if let Err(violation) = run(seed, protocol.options()) {
            panic!("{violation}");
        }
    }
}
