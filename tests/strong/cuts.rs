//! The leader is cut off, together with less than half of the others: gates hold all that would cross, in both directions,
//! and let it go late.

use serde::de::IgnoredAny;
use synod::rpc::client::CallError;
use synod::rpc::faults::UNAVAILABLE;
use synod::rpc::strong::WriteOptions;
use synod::rpc::strong::answers::{Got, Wrote};

use super::{all_but, get, leader, leader_among, put, states_become_equal, try_status};
use crate::support::nodes::Nodes;
use crate::support::until_so;

#[test]
fn a_leader_that_is_cut_off_steps_down_and_the_majority_serves() {
    let nodes = Nodes::lab(5);
    let all: Vec<usize> = nodes.all().collect();
    let (cut, epoch) = leader(&nodes);
    put(&nodes, &all, "k", "before", "client/1");
    let rest = all_but(&nodes, cut);
    let (minority, majority) = ([cut, rest[0]], &rest[1..]);
    hold_between(&nodes, &minority, majority);

    let (_, next) = leader_among(&nodes, majority);
    assert!(next > epoch, "{next} after {epoch}");
    put(&nodes, majority, "k", "while it was cut off", "client/2");
    until_so("the leader that is cut off to step down", || {
        minority.iter().all(|&node| try_status(&nodes, node).is_some_and(|status| status.leader.is_none()))
    });
    for node in minority {
        let options = WriteOptions { deadline_ms: Some(500), ..WriteOptions::default() };
        let write = nodes.client(node).call::<_, Wrote>("kv.put", &("k", "nowhere", options));
        assert!(is_unavailable(&write), "{write:?}");
        let read = nodes.client(node).call::<_, Got>("kv.get", &("k", Hurry { deadline_ms: 500 }));
        assert!(is_unavailable(&read), "{read:?}");
    }
    assert_eq!(get(&nodes, majority, "k"), Some(("while it was cut off".to_owned(), 2)));

    // What was held arrives now, late.
    for node in nodes.all() {
        let _: IgnoredAny = nodes.call(node, "lab.gate.clear", &());
    }
    let (_, last) = leader(&nodes);
    assert!(last >= next, "{last} after {next}");
    for node in nodes.all() {
        assert_eq!(get(&nodes, &[node], "k"), Some(("while it was cut off".to_owned(), 2)), "read from node {node}");
    }
    states_become_equal(&nodes);
}

#[derive(serde::Serialize)]
struct Hurry {
    deadline_ms: u32,
}

fn is_unavailable<T>(answer: &Result<T, CallError>) -> bool {
    matches!(answer, Err(CallError::Fault(fault)) if fault.code == UNAVAILABLE.code)
}

/// Closes all gates for messages of election and log between these nodes.
fn hold_between(nodes: &Nodes, one: &[usize], other: &[usize]) {
    let methods: Vec<String> = nodes.call(0, "system.listMethods", &());
    let is_message = |method: &&String| {
        (method.starts_with("bully.") || method.starts_with("log."))
            && !["bully.status", "bully.elect"].contains(&method.as_str())
    };
    for method in methods.iter().filter(is_message) {
        for &from in one {
            nodes.hold(from, method, other.iter().copied());
        }
        for &from in other {
            nodes.hold(from, method, one.iter().copied());
        }
    }
}
