//! The leader only sleeps, and wakes without knowing for how long it did.

use std::thread;

use synod::rpc::client::CallError;
use synod::rpc::faults::{FENCED, UNAVAILABLE, UNKNOWN};
use synod::rpc::strong::WriteOptions;
use synod::rpc::strong::answers::{Got, LockAnswer, Wrote};
use synod::rpc::text::shown;

use super::load::Load;
use super::{all_but, get, hurried, leader, leader_among, put, states_become_equal};
use crate::support::nodes::{Nodes, address_of};
use crate::support::{until, until_so};

#[test]
fn a_leader_that_slept_steps_down_and_nothing_stale_is_read_from_it() {
    let mut nodes = Nodes::service(3);
    Load::default().during(&mut nodes, 2, |nodes, load| {
        for round in 1..=3 {
            let (asleep, epoch) = leader(nodes);
            let others = all_but(nodes, asleep);
            put(nodes, &others, "watched", "old", &format!("before/{round}"));
            nodes.process(asleep).signal("STOP");
            let (_, next) = leader_among(nodes, &others);
            assert!(next > epoch, "{next} after {epoch}");
            let new = format!("new {round}");
            put(nodes, &others, "watched", &new, &format!("after/{round}"));
            load.goes_on(4);
            // Some ask while it sleeps, and some as soon as it is awake. Each waits for its answer, or for none.
            let early = ask(nodes, asleep, 8);
            nodes.process(asleep).signal("CONT");
            let late = ask(nodes, asleep, 8);
            for answer in early.into_iter().chain(late) {
                if let Some(value) = answer.join().unwrap() {
                    assert_eq!(value, new, "read from a leader that slept");
                }
            }
            until_so("the leader that slept to follow", || {
                super::try_status(nodes, asleep).is_some_and(|status| status.epoch >= Some(next))
            });
        }
    });
    states_become_equal(&nodes);
}

/// Asks a node for the key, many at a time: what each was answered, if anything.
fn ask(nodes: &Nodes, node: usize, times: usize) -> Vec<thread::JoinHandle<Option<String>>> {
    let ask = |_| {
        let client = nodes.client(node).clone();
        thread::spawn(move || {
            let got: Got = client.call("kv.get", &("watched",)).ok()?;
            Some(shown(&got.value.expect("it was written before")))
        })
    };
    (0..times).map(ask).collect()
}

#[test]
fn a_lock_expires_while_the_leader_sleeps_and_the_old_holders_write_is_refused() {
    let mut nodes = Nodes::service(3);
    let (asleep, _) = leader(&nodes);
    let others = all_but(&nodes, asleep);
    let lock: LockAnswer = nodes.call(asleep, "lock.acquire", &("l", "one", 3000));
    let old = lock.token.expect("the lock was free");
    let guarded = |token, request: &str| WriteOptions {
        request: Some(request.to_owned()),
        token: Some(token),
        ..WriteOptions::default()
    };
    let _: Wrote = nodes.call(asleep, "kv.put", &("guarded", "one", guarded(old, "one/1")));
    nodes.process(asleep).signal("STOP");

    // The next in the queue gets it through the others, when its time is over.
    let lock: LockAnswer = until("the lock to expire", || {
        others.iter().find_map(|&node| {
            let options = WriteOptions { deadline_ms: Some(1000), ..WriteOptions::default() };
            let lock: LockAnswer =
                hurried(&nodes, node).call("lock.acquire", &("l", "two", 600_000, 60_000, options)).ok()?;
            lock.granted.then_some(lock)
        })
    });
    let new = lock.token.expect("a grant has a token");
    assert!(new > old, "{new} after {old}");
    let _: Wrote = until("the new holder to write", || {
        others
            .iter()
            .find_map(|&node| hurried(&nodes, node).call("kv.put", &("guarded", "two", guarded(new, "two/1"))).ok())
    });

    // The old holder writes at the node that slept: before it wakes, and after, for as long as it takes to be answered.
    let client = nodes.client(asleep).clone();
    let early = thread::spawn({
        let options = guarded(old, "one/2");
        move || client.call::<_, Wrote>("kv.put", &("guarded", "stale", options))
    });
    nodes.process(asleep).signal("CONT");
    let refused = |answer: Result<Wrote, CallError>| match answer {
        Err(CallError::Fault(fault)) if fault.code == FENCED.code => true,
        Err(CallError::Fault(fault)) if [UNAVAILABLE, UNKNOWN].map(|kind| kind.code).contains(&fault.code) => false,
        other => panic!("the old holder's write on {}: {other:?}", address_of(nodes.ports.at(asleep))),
    };
    refused(early.join().unwrap());
    until_so("the old holder to be refused", || {
        refused(nodes.client(asleep).call("kv.put", &("guarded", "stale", guarded(old, "one/3"))))
    });
    for node in nodes.all() {
        assert_eq!(get(&nodes, &[node], "guarded"), Some(("two".to_owned(), 2)), "read from node {node}");
    }
    states_become_equal(&nodes);
}
