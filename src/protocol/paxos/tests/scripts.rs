//! The scenarios: one script each in `tests/scripts/paxos`, which tells what it shows.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --lib paxos::tests::scripts` writes the outputs anew, to be read as a diff.
//!
//! The scenarios that public courses test Paxos with (MIT's 6.824, the University of Washington's dslabs), and where
//! they are here:
//!
//! | there | here |
//! |---|---|
//! | single proposer | `basic_agreement` |
//! | many proposers, same value; different values | `many_proposers_same_value`, `many_proposers_different_values` |
//! | out-of-order instances; many instances | `out_of_order_instances`, `instances_are_independent` |
//! | deaf proposer | `deaf_proposer` |
//! | minority proposal ignored | `minority_proposal_ignored` |
//! | progress in majority; no progress in minority | `minority_down`, `majority_down_is_unavailable` |
//! | no decision if partitioned, decision in majority partition, all agree after full heal | `minority_side_cannot_decide` |
//! | one peer switches partitions | `one_peer_switches_partitions` |
//! | RPC counts aren't too high; message count | `basic_agreement`, `thrifty_asks_no_more_than_a_majority` |
//! | crashes and restarts | `promise_survives_crash`, `acceptance_survives_crash`, `ballot_not_reused_after_crash` |
//! | unreliable network, constant repartitioning, many requests | the simulation: `crate::sim` |
//! | search of all states | `super::model` |
//! | forgetting, Done and Max | none: an instance is kept for good, and a full node says so (`full_node_refuses`) |
//!
//! What they test of a replicated service on top (clients, exactly once, garbage collection) is the log's.

use std::collections::BTreeSet;
use std::path::Path;

use super::world::World;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/paxos");

/// Whether a script still gives what stands in its file, quietly.
pub(crate) fn holds(name: &str) -> bool {
    let script = std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap();
    goldenscript::generate(&mut World::default(), &script).is_ok_and(|output| output == script)
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            goldenscript::run(&mut World::default(), Path::new(FOLDER).join(stringify!($name))).unwrap();
        })*

        /// All there are.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    a_wins
    acceptance_survives_crash
    accepted_of_older_ballot_is_ignored
    accepting_raises_the_promise
    adopts_highest_accepted
    b_wins
    ballot_not_reused_after_crash
    basic_agreement
    bb_wins
    deaf_proposer
    decided_instance_answers_at_once
    duplicate_promise_counts_once
    full_node_refuses
    guest_ballots
    instances_are_independent
    joined_proposals_on_one_node
    late_promise_is_ignored
    leaping_ballot_is_ignored
    learner_counts_acceptances_when_proposer_died
    learner_does_not_add_up_ballots
    livelock_then_pause
    lost_commit_is_learned
    majority_down_is_unavailable
    many_proposers_different_values
    many_proposers_same_value
    maximum_ballot_does_not_poison
    message_of_an_earlier_generation_is_ignored
    minority_down
    minority_proposal_ignored
    minority_side_cannot_decide
    node_that_was_down_follows_the_restart
    notes_may_be_lost
    one_peer_switches_partitions
    out_of_order_instances
    preempted_is_definite
    promise_survives_crash
    restart_moves_the_generation
    scattered_acceptances_are_finished
    second_value_in_a_ballot_is_refused
    strangers_are_ignored
    thrifty_asks_no_more_than_a_majority
    thrifty_widens_when_those_asked_are_silent
    unknown_after_accept_left
    unknown_although_rejected
}

#[test]
fn every_script_is_run() {
    let files: BTreeSet<String> =
        Path::new(FOLDER).read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let names: BTreeSet<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(files, names);
}
