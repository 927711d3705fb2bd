//! Elections: seeds without a violation.

use super::*;

/// Enough for CI; `synod sim --protocol bully --seeds 2000` runs more.
const SEEDS: u64 = 300;

#[test]
fn no_seed_violates_an_invariant_of_elections() {
    let options = Protocol::Bully.options();
    let reports: Vec<Report> = (0..SEEDS).into_par_iter().map(|seed| held(seed, options)).collect();
    let mut all = Tally::default();
    reports.iter().for_each(|report| all += report.tally);
    assert!(reports.iter().all(|report| report.tally.epochs > 0));
    assert!(reports.iter().filter(|report| report.tally.epochs > 5).count() as u64 > SEEDS / 5);
    assert!(all.elections > SEEDS * 10, "{}", all.elections);
    for fault in [Fault::Loss, Fault::Delay, Fault::Cut, Fault::Pause, Fault::Crash, Fault::Clock, Fault::Restart] {
        assert!(all.of(fault) > 0, "{}", fault.name());
    }
}

#[test]
fn elections_end_in_clusters_of_every_size() {
    for nodes in [1, 2, 3, 4, 7, 9] {
        let report = held(u64::from(nodes), Options { nodes: Some(nodes), ..Protocol::Bully.options() });
        assert!(report.tally.epochs > 0, "{nodes} nodes");
    }
}
