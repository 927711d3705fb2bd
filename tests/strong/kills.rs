//! SIGKILL of the leader and of all, under load.

use super::load::Load;
use super::{all_but, leader, leader_among, states_become_equal, wait_until_caught_up};
use crate::support::nodes::Nodes;

const CLIENTS: usize = 3;

#[test]
fn the_leader_is_killed_twenty_times_under_load_and_nothing_is_lost_or_doubled() {
    let mut nodes = Nodes::service(3);
    Load::default().during(&mut nodes, CLIENTS, |nodes, load| {
        for round in 0..20 {
            let (lost, epoch) = leader(nodes);
            // At once, and after a while.
            load.goes_on(1 + round % 4 * 7);
            nodes.kill(lost);
            let others = all_but(nodes, lost);
            let (_, next) = leader_among(nodes, &others);
            assert!(next > epoch, "{next} after {epoch}");
            load.goes_on(2 * CLIENTS);
            nodes.start(lost);
            wait_until_caught_up(nodes, lost, &others);
        }
    });
    states_become_equal(&nodes);
}

#[test]
fn all_nodes_are_killed_at_once_under_load_and_nothing_is_lost_or_doubled() {
    let mut nodes = Nodes::service(3);
    Load::default().during(&mut nodes, CLIENTS, |nodes, load| {
        for enough in [1, 30, 7, 60, 2] {
            load.goes_on(enough);
            nodes.kill_all();
            nodes.start_those_down();
        }
        load.goes_on(2 * CLIENTS);
    });
    states_become_equal(&nodes);
}
