//! Seeds without a violation, and what the world promises of itself.

use rayon::prelude::*;

use super::*;

mod elections;
mod log;
mod overlays;
mod planted;
mod traces;
pub(crate) mod weak;

/// Enough for CI; `synod sim --seeds 100000` runs more.
const SEEDS: u64 = 2500;

/// Single-decree Paxos does not survive them.
const fn is_off(fault: Fault) -> bool {
    matches!(fault, Fault::Stale | Fault::Wipe)
}

fn held(seed: u64, options: Options) -> Report {
    run(seed, options).unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn no_seed_violates_an_invariant_and_every_fault_happens() {
    let reports: Vec<Report> = (0..SEEDS).into_par_iter().map(|seed| held(seed, Options::default())).collect();
    let mut all = Tally::default();
    reports.iter().for_each(|report| all += report.tally);
    for fault in Fault::ALL {
        assert_eq!(all.of(fault) == 0, is_off(fault), "{}: {}", fault.name(), all.of(fault));
    }
    for (name, count) in all.named(Protocol::Paxos) {
        assert!(count > 0, "{name}: none");
    }
    // The runs are worth something: most decide, many crash, lose, and run many ballots.
    let count = |what: fn(&Tally) -> bool| reports.iter().filter(|report| what(&report.tally)).count() as u64;
    assert!(count(|tally| tally.chosen > 2) > SEEDS / 2);
    assert!(count(|tally| tally.of(Fault::Crash) > 3) > SEEDS / 5);
    assert!(count(|tally| tally.of(Fault::Loss) > 20) > SEEDS / 5);
    assert!(count(|tally| tally.of(Fault::Restart) > 0) > SEEDS / 20);
    assert!(count(|tally| tally.quarantined > 0) > SEEDS / 20);
    assert!(count(|tally| tally.ballots > 20) > SEEDS / 5);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 42, 1_000_003] {
        let first = held(seed, Options::default());
        assert_eq!(first, held(seed, Options::default()));
        assert_ne!(first.trace_hash, held(seed + 1, Options::default()).trace_hash);
    }
}

#[test]
fn clusters_of_every_size_hold() {
    for nodes in 1..=MAX_NODES {
        let report = held(u64::from(nodes), Options { nodes: Some(nodes), ..Options::default() });
        assert!(report.tally.chosen > 0, "{nodes} nodes");
    }
    // More than there can be are as many as there can be.
    held(1, Options { nodes: Some(u32::MAX), steps: 100, ..Options::default() });
}

#[test]
fn without_faults_nothing_goes_wrong() {
    for seed in 0..50 {
        let report = held(seed, Options { faults: Filter::NONE, ..Options::default() });
        assert_eq!(report.tally.faults, [0; Fault::COUNT]);
        assert_eq!(report.tally.unreachable, 0);
    }
}

/// Each fault alone: nothing else goes wrong then.
#[test]
fn faults_come_alone_if_asked() {
    for fault in Fault::ALL {
        // What happens at a crash needs one.
        let needs = if matches!(fault, Fault::Tear | Fault::Rot) {
            Filter::NONE.with(Fault::Crash, (0, 9))
        } else {
            Filter::NONE
        };
        if is_off(fault) {
            continue;
        }
        let faults = needs.with(fault, (0, u32::MAX));
        let reports = (0..100).map(|seed| held(seed, Options { faults, ..Options::default() }));
        let mut all = Tally::default();
        reports.for_each(|report| all += report.tally);
        // Messages overtake each other only where some are delayed.
        assert!(all.of(fault) > 0, "{}", fault.name());
        for other in Fault::ALL {
            assert!(other == fault || all.of(other) == 0 || needs.window(other) != (0, 0), "{}", other.name());
        }
    }
}

#[test]
fn filters_and_protocols_are_read() {
    for protocol in Protocol::ALL {
        assert_eq!(protocol.to_string().parse(), Ok(protocol));
    }
    assert!("raft".parse::<Protocol>().unwrap_err().contains("there is paxos, log, bully"));
}
