//! Restarts: a message from before one never acts after it.

use serde::{Deserialize, Serialize};
use synod::rpc::faults::RESTARTED;

use crate::support::nodes::{Nodes, fault};
use crate::support::until_so;

/// The envelope that a message between nodes carries.
#[derive(Serialize)]
struct Envelope {
    from: u16,
    to: u16,
    generation: u64,
}

/// As much of an acceptor's answer to a peer as is asked for here.
#[derive(Deserialize)]
struct Answer {
    promised: Option<bool>,
    accepted: Option<bool>,
    generation: u64,
    ignored: Option<String>,
}

#[test]
fn restarts_are_counted_and_all_nodes_agree_on_the_count() {
    let mut nodes = Nodes::lab(5);
    assert!(nodes.all().all(|node| nodes.status(node).generation == 1));
    let mut last = 1;
    for _ in 0..3 {
        nodes.propose(1, 5, "default");
        let generation = nodes.restart_all();
        assert!(generation > last, "{generation} after {last}");
        last = generation;
        for node in nodes.all() {
            assert!(!nodes.decided(node, "default").decided);
            assert_eq!(nodes.status(node).instances, []);
        }
    }
    // The count is durable.
    nodes.kill_all();
    nodes.start_those_down();
    assert!(nodes.all().all(|node| nodes.status(node).generation == last));
}

#[test]
fn accepts_that_were_held_over_a_restart_of_all_change_nothing() {
    let nodes = Nodes::lab(5);
    nodes.hold(0, "accept", 0..5);
    let call = nodes.start_proposal(0, "old");
    nodes.wait_held(0, "accept", 0..5);
    nodes.restart_all();
    let fault = fault(call.join().unwrap());
    assert_eq!(fault.code, RESTARTED.code, "{fault}");
    nodes.release(0, "accept", 0..5);
    nothing_came_of_the_past(&nodes);
}

#[test]
fn accepts_of_a_node_that_missed_the_restart_change_nothing() {
    let nodes = Nodes::lab(5);
    nodes.hold(0, "accept", 0..5);
    let call = nodes.start_proposal(0, "old");
    nodes.wait_held(0, "accept", 0..5);
    // Nobody tells node 0, which still is in its ballot, with a majority's promises.
    for node in 1..5 {
        nodes.restart(node);
    }
    // Whether or not it has heard of the restart meanwhile: what it held is of the old generation, and leaves now.
    assert!(nodes.release(0, "accept", 0..5) >= 5);
    let fault = fault(call.join().unwrap());
    assert_eq!(fault.code, RESTARTED.code, "{fault}");
    // They hear of each other's restarts, too, so the highest is not known beforehand.
    until_so("all to follow", || {
        let now = nodes.status(1).generation;
        nodes.all().all(|node| nodes.status(node).generation == now)
    });
    nothing_came_of_the_past(&nodes);
}

#[test]
fn a_message_that_names_an_old_generation_is_ignored() {
    let nodes = Nodes::lab(3);
    let now = nodes.restart_all();
    let [from, to] = [0, 1].map(|node| nodes.ports.at(node));
    for generation in 0..now {
        let envelope = || Envelope { from, to, generation };
        let ballot = format!("9.{from}");
        let answer: Answer = nodes.call(1, "accept", &(&ballot, "old", "default", envelope()));
        assert_eq!((answer.accepted, answer.generation), (None, now));
        assert!(answer.ignored.is_some());
        let answer: Answer = nodes.call(1, "prepare", &(&ballot, "default", envelope()));
        assert_eq!((answer.promised, answer.generation), (None, now));
        assert!(answer.ignored.is_some());
        let answer: Answer = nodes.call(1, "commit", &(&ballot, "old", "default", envelope()));
        assert_eq!(answer.generation, now);
        assert!(answer.ignored.is_some());
        assert_eq!(nodes.status(1).instances, []);
    }
    nothing_came_of_the_past(&nodes);
}

/// No node knows anything of the instance `default`, also not after later messages on the same ways have arrived.
#[track_caller]
fn nothing_came_of_the_past(nodes: &Nodes) {
    // A sender keeps the order: what node 0 sends now arrives behind what was released before.
    for node in nodes.all() {
        let instance = format!("fence {node}");
        nodes.propose(node, "new", &instance);
        nodes.all_learn(&instance, "new");
    }
    for node in nodes.all() {
        assert_eq!(nodes.row(node, "default"), None, "node {node}");
        assert!(!nodes.decided(node, "default").decided, "node {node}");
    }
    // So a new value is free to win.
    nodes.propose(2, "fresh", "default");
    nodes.all_learn("default", "fresh");
}
