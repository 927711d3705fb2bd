//! SIGKILL, of one or of all, at any moment: nothing that was answered is lost, no promise falls, no ballot is used
//! twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use synod::protocol::types::{Ballot, Instance};
use synod::rpc::answers::{Decided, Proposed, Status};
use synod::rpc::text::shown;
use synod::xmlrpc::Value;

use crate::support::nodes::Nodes;
use crate::support::{until, until_so};

const CLIENTS: usize = 5;

#[test]
fn sigkill_of_all_under_load_loses_nothing_that_was_answered() {
    let mut nodes = Nodes::lab(5);
    let mut answered = BTreeMap::new();
    // How many answers there are when the axe falls: at once, soon, and later.
    for (round, enough) in [1, 23, 90, 7, 61].into_iter().enumerate() {
        let new = load_until_killed(&mut nodes, round, enough);
        assert!(new.len() >= enough / 2, "{} answers", new.len());
        answered.extend(new);
        nodes.start_those_down();
    }
    for (instance, value) in &answered {
        nodes.all_learn(instance, value);
    }
    let (last, value) = answered.last_key_value().unwrap();
    nodes.all_files_say(last, value);
}

/// Clients propose until all nodes are killed under them. Returns what was answered; two clients that were answered
/// about the same instance must have heard the same.
fn load_until_killed(nodes: &mut Nodes, round: usize, enough: usize) -> BTreeMap<String, String> {
    let count = AtomicUsize::new(0);
    let clients: Vec<_> = nodes.all().map(|node| nodes.client(node).clone()).collect();
    thread::scope(|scope| {
        let run = |number: usize| {
            let (count, clients) = (&count, &clients);
            move || {
                let mut answered = Vec::new();
                for step in 0.. {
                    // Every third instance is fought for by all; the others are a client's own.
                    let whose = if step % 3 == 0 { "all".to_owned() } else { number.to_string() };
                    let instance = format!("r{round}-{whose}-{step}");
                    let value = format!("{instance} by {number}");
                    // Each client goes from node to node.
                    let client = &clients[(number + step) % clients.len()];
                    match client.call::<_, Proposed>("propose", &(&*value, &*instance)) {
                        Ok(proposed) => answered.push((instance, shown(&proposed.value))),
                        Err(_) => return answered,
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                answered
            }
        };
        let threads: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(run(number))).collect();
        until_so("enough answers", || count.load(Ordering::Relaxed) >= enough);
        nodes.kill_all();
        let mut answered = BTreeMap::new();
        for (instance, value) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            let before = answered.insert(instance.clone(), value.clone());
            assert!(before.is_none_or(|before| before == value), "two answers for {instance}");
        }
        answered
    })
}

#[test]
fn promises_and_decisions_never_fall_across_a_kill_of_all() {
    let mut nodes = Nodes::lab(5);
    for round in 0..4 {
        // A node's status names a hundred instances; so each round begins with none.
        nodes.restart_all();
        // What the nodes say of themselves while they work, up to the kill.
        let seen = watch_until_killed(&mut nodes, round);
        nodes.start_those_down();
        for ((node, instance), before) in seen {
            let row = nodes.row(node, instance.as_str());
            let row = row.unwrap_or_else(|| panic!("node {node} has forgotten {instance}"));
            assert!(row.promised_ballot >= before.promised, "node {node}, {instance}: {row:?} after {before:?}");
            assert!(row.accepted_ballot >= before.accepted, "node {node}, {instance}: {row:?} after {before:?}");
            assert!(row.decided || !before.decided, "node {node}, {instance}: {row:?} after {before:?}");
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    promised: Option<Ballot>,
    accepted: Option<Ballot>,
    decided: bool,
}

fn watch_until_killed(nodes: &mut Nodes, round: usize) -> BTreeMap<(usize, Instance), Seen> {
    let clients: Vec<_> = nodes.all().map(|node| nodes.client(node).clone()).collect();
    let looks = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..2 {
            let (clients, over) = (&clients, &over);
            scope.spawn(move || {
                for step in (0..90).cycle() {
                    let instance = format!("r{round}-{step}");
                    // Two at a time on one instance, so that ballots climb; what is answered is another test's matter.
                    let client = &clients[(number * 2 + step) % clients.len()];
                    if client.call::<_, Proposed>("propose", &(step as u32, instance)).is_err()
                        || over.load(Ordering::Relaxed)
                    {
                        return;
                    }
                }
            });
        }
        let watch = |node: usize| {
            let (client, looks) = (&clients[node], &looks);
            move || {
                let mut last = None;
                while let Ok(status) = client.call::<_, Status>("status", &()) {
                    looks.fetch_add(usize::from(!status.instances.is_empty()), Ordering::Relaxed);
                    last = Some(status);
                }
                last
            }
        };
        let watchers: Vec<_> = nodes.all().map(|node| scope.spawn(watch(node))).collect();
        until_so("looks at all nodes", || looks.load(Ordering::Relaxed) >= 20 + round * 40);
        over.store(true, Ordering::Relaxed);
        nodes.kill_all();
        let mut seen = BTreeMap::new();
        for (node, watcher) in watchers.into_iter().enumerate() {
            for row in watcher.join().unwrap().into_iter().flat_map(|status| status.instances) {
                let state = Seen { promised: row.promised_ballot, accepted: row.accepted_ballot, decided: row.decided };
                seen.insert((node, row.instance), state);
            }
        }
        seen
    })
}

#[test]
fn a_proposer_that_was_killed_never_uses_its_ballot_again() {
    let mut nodes = Nodes::lab(5);
    let mut before = Vec::new();
    for round in 0..3 {
        // The ballot is running, and has been heard of by everybody.
        nodes.hold(0, "accept", 0..5);
        let call = nodes.start_proposal(0, &format!("lost {round}"));
        nodes.wait_held(0, "accept", 0..5);
        let running = nodes.running_ballot(0, "default");
        assert!(before.iter().all(|&old| old < running), "{running} after {before:?}");
        before.push(running);
        nodes.kill(0);
        call.join().unwrap().unwrap_err();
        nodes.start(0);
        let promised = nodes.row(0, "default").unwrap().promised_ballot;
        assert!(promised >= Some(running), "{promised:?} after {running}");
    }
    let proposed = nodes.propose(0, "found", "default");
    assert!(before.iter().all(|&old| old < proposed.ballot), "{} after {before:?}", proposed.ballot);
    assert_eq!(shown(&proposed.value), "found");
    nodes.all_learn("default", "found");
}

#[test]
fn what_a_killed_proposer_got_accepted_is_found_by_the_next() {
    let mut nodes = Nodes::lab(5);
    // Only node 3 accepts it.
    nodes.hold(0, "accept", [0, 1, 2, 4]);
    let call = nodes.start_proposal(0, "seen by one");
    until("node 3 to accept", || nodes.row(3, "default")?.accepted_ballot);
    nodes.kill_all();
    call.join().unwrap().unwrap_err();
    nodes.start_those_down();
    // A majority that has node 3 in it, and not the old proposer.
    nodes.kill(0);
    nodes.kill(1);
    assert_eq!(shown(&nodes.propose(4, "new", "default").value), "seen by one");
    nodes.start_those_down();
    nodes.all_learn("default", "seen by one");
}

#[test]
fn the_files_follow_what_is_decided_also_when_they_were_tampered_with() {
    let mut nodes = Nodes::lab(3);
    nodes.propose(0, 5, "default");
    nodes.propose(1, "x", "a/b");
    nodes.all_files_say("default", "5");
    nodes.kill_all();
    let decided = nodes.data_of(1).join("decided");
    std::fs::remove_file(decided.join("default.txt")).unwrap();
    std::fs::write(decided.join("a%2Fb.txt"), "nonsense\n").unwrap();
    std::fs::write(decided.join("never.txt"), "2026-01-01 00:00:00 - Set value to: never\n").unwrap();
    nodes.start_those_down();
    nodes.all_files_say("default", "5");
    nodes.all_files_say("a%2Fb", "x");
    assert!(!decided.join("never.txt").exists());
    // The value itself never came from the files.
    let known: Decided = nodes.decided(1, "default");
    assert_eq!(known.value.map(|value| shown(&value)).as_deref(), Some("5"));
}

#[test]
fn values_of_every_type_survive_a_kill_of_all() {
    let mut nodes = Nodes::lab(3);
    let values =
        [Value::Int(0), "".into(), "two\r\nlines 😀".into(), true.into(), Value::Base64(vec![0, 255]), 1.5.into()];
    for (at, value) in values.iter().enumerate() {
        nodes.propose(at % 3, value, &format!("i{at}"));
    }
    let before: Vec<Decided> = (0..values.len()).map(|at| nodes.decided(at % 3, &format!("i{at}"))).collect();
    nodes.kill_all();
    nodes.start_those_down();
    for (at, before) in before.iter().enumerate() {
        for node in nodes.all() {
            let after =
                until("the decision", || Some(nodes.decided(node, &format!("i{at}"))).filter(|now| now.decided));
            assert_eq!(after.value, before.value, "node {node}, i{at}");
        }
    }
}
