//! Nodes that are down: with two of five the others decide, with three they say that they cannot; and who comes back
//! learns what was decided.

use std::thread;

use synod::rpc::client::CallError;
use synod::rpc::faults::{UNAVAILABLE, UNKNOWN};
use synod::rpc::text::shown;

use crate::support::nodes::{Nodes, fault};
use crate::support::shell::Shell;

#[test]
fn any_two_nodes_may_be_killed_and_learn_later_what_was_decided() {
    let mut nodes = Nodes::lab(5);
    for first in nodes.all() {
        for second in first + 1..5 {
            let instance = format!("without {first} and {second}");
            nodes.kill(first);
            nodes.kill(second);
            let up: Vec<usize> = nodes.all().filter(|node| ![first, second].contains(node)).collect();
            let proposed = nodes.propose(up[first % 3], &*instance, &instance);
            assert_eq!(shown(&proposed.value), instance);
            // The others of the majority agree while the two are away, and a second proposal changes nothing.
            let again = nodes.propose(up[second % 3], "another", &instance);
            assert_eq!(again.value, proposed.value);
            nodes.start_those_down();
            nodes.all_learn(&instance, &instance);
        }
    }
}

#[test]
fn a_node_that_was_down_for_many_decisions_learns_them_all() {
    let mut nodes = Nodes::lab(5);
    nodes.kill(2);
    let count = 300;
    thread::scope(|scope| {
        for node in [0, 1, 3, 4] {
            let nodes = &nodes;
            scope.spawn(move || {
                for number in (node..count).step_by(5) {
                    nodes.propose(node, number as u32, &format!("i{number}"));
                }
            });
        }
    });
    nodes.start(2);
    for number in (0..count).filter(|number| number % 5 != 2) {
        assert_eq!(nodes.learned(2, &format!("i{number}")), number.to_string());
    }
    nodes.all_files_say("i299", "299");
}

#[test]
fn with_three_of_five_down_it_says_unavailable_and_recovers() {
    let mut nodes = Nodes::lab(5);
    nodes.propose(0, "before", "default");
    for node in [1, 2, 4] {
        nodes.kill(node);
    }
    for node in [0, 3] {
        let fault = fault(nodes.try_propose(node, "lost", "fresh", 500));
        assert_eq!(fault.code, UNAVAILABLE.code, "{fault}");
        for down in [1, 2, 4] {
            assert!(fault.string.contains(&nodes.ports.at(down).to_string()), "{fault}");
        }
        assert!(fault.string.contains("'lost' was not written"), "{fault}");
    }
    // What is decided stays so, and a node that knows it says so alone.
    assert_eq!(shown(&nodes.propose(3, "other", "default").value), "before");
    let ran = Shell::connect(nodes.ports.at(0)).commands([format!("set value other on {}", nodes.ports.at(1))]);
    ran.ended_with(3);
    ran.complains(&[&format!("node {} is down", nodes.ports.at(1))]);
    // With a third one back, all goes on; and nothing came of what was not written.
    nodes.start(4);
    assert_eq!(shown(&nodes.propose(0, "won", "fresh").value), "won");
    nodes.start_those_down();
    nodes.all_learn("fresh", "won");
}

#[test]
fn a_value_that_was_sent_out_to_a_minority_has_an_unknown_outcome() {
    let mut nodes = Nodes::lab(5);
    // Its promises are all there; its Accepts reach nobody but itself.
    nodes.hold(0, "accept", 1..5);
    let fault = fault(nodes.try_propose(0, "perhaps", "default", 4000));
    assert_eq!(fault.code, UNKNOWN.code, "{fault}");
    assert!(fault.string.contains("'perhaps'") && fault.string.contains("decided"), "{fault}");
    // Others that reach a majority without it decide what they like; with it they find the value.
    nodes.kill(0);
    assert_eq!(shown(&nodes.propose(1, "mine", "default").value), "mine");
    nodes.start(0);
    nodes.all_learn("default", "mine");
}

#[test]
fn a_stopped_node_costs_nothing_but_itself() {
    let mut nodes = Nodes::lab(5);
    nodes.process(2).signal("STOP");
    nodes.process(4).signal("STOP");
    for number in 0..20 {
        let node = [0, 1, 3][number % 3];
        assert_eq!(shown(&nodes.propose(node, number as u32, &format!("i{number}")).value), number.to_string());
    }
    nodes.process(2).signal("CONT");
    nodes.process(4).signal("CONT");
    for number in 0..20 {
        nodes.all_learn(&format!("i{number}"), &number.to_string());
    }
}

#[test]
fn a_proposal_on_a_node_that_is_killed_meanwhile_has_no_answer() {
    let mut nodes = Nodes::lab(3);
    nodes.hold(0, "accept", 0..3);
    let call = nodes.start_proposal(0, "gone");
    nodes.wait_held(0, "accept", 0..3);
    nodes.kill(0);
    let answer = call.join().unwrap();
    assert!(matches!(answer, Err(CallError::NoAnswer(_))), "{answer:?}");
    let again: Result<synod::rpc::answers::Version, _> = nodes.client(0).call("synod.version", &());
    assert!(matches!(again, Err(CallError::Unreachable(_))), "{again:?}");
}
