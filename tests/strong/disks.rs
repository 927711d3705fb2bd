//! What a node finds on its disk is not what it wrote.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use synod::rpc::client::CallError;
use synod::rpc::faults::UNAVAILABLE;
use synod::rpc::strong::WriteOptions;
use synod::rpc::strong::answers::Wrote;
use tempfile::TempDir;

use super::{all_but, get, leader, leader_among, put, states_become_equal, try_status, wait_until_caught_up};
use crate::support::nodes::Nodes;
use crate::support::process::Ran;
use crate::support::until_so;

/// What stands in the log of each node before one of them is harmed.
const TEXT: &str = "a value that is easy to find in a file";

#[test]
fn a_wiped_node_does_not_vote_until_it_has_been_repaired() {
    does_not_vote_until_repaired(|_| {}, |data| fs::remove_dir_all(data).unwrap());
}

#[test]
fn a_node_whose_log_has_a_flipped_bit_does_not_vote_until_it_has_been_repaired() {
    let logged = does_not_vote_until_repaired(fold, |data| {
        fold(data);
        flip(&data.join("node.db"), TEXT);
    });
    assert!(logged.contains("takes no part in quorums until the others have repaired it"), "{logged}");
}

#[test]
fn a_node_whose_log_lost_a_synced_row_does_not_vote_until_it_has_been_repaired() {
    does_not_vote_until_repaired(fold, |data| {
        let connection = Connection::open(data.join("node.db")).unwrap();
        let gone = connection
            .execute("DELETE FROM log WHERE first = (SELECT first FROM log ORDER BY first LIMIT 1 OFFSET 1)", []);
        assert_eq!(gone.unwrap(), 1);
    });
}

#[test]
fn a_node_whose_database_was_set_back_does_not_vote_until_it_has_been_repaired() {
    let aside = TempDir::new().unwrap();
    let copy = aside.path().join("node.db");
    let keep = |data: &Path| {
        fold(data);
        fs::copy(data.join("node.db"), &copy).unwrap();
    };
    let logged = does_not_vote_until_repaired(keep, |data| {
        fold(data);
        fs::copy(&copy, data.join("node.db")).unwrap();
    });
    assert!(logged.contains("synced batches are gone"), "{logged}");
}

/// Harms a follower's directory while it is down, and the leader, too: the other one alone must not lead with it. It is
/// down once before that, for `prepare`. Gives what it logged.
fn does_not_vote_until_repaired(prepare: impl FnOnce(&Path), harm: impl FnOnce(&Path)) -> String {
    let mut nodes = Nodes::service(3);
    let all: Vec<usize> = nodes.all().collect();
    let (first, _) = leader(&nodes);
    let [harmed, other] = all_but(&nodes, first)[..] else { unreachable!("there are three") };
    for number in 1..=4 {
        put(&nodes, &all, "k", &format!("{TEXT} {number}"), &format!("client/{number}"));
    }
    wait_until_caught_up(&nodes, harmed, &all);
    nodes.kill(harmed);
    prepare(&nodes.data_of(harmed));
    nodes.start(harmed);
    put(&nodes, &all, "k", &format!("{TEXT} 5"), "client/5");
    wait_until_caught_up(&nodes, harmed, &all);
    nodes.kill(harmed);
    // Only a majority has the last write: with the leader gone, and the memory, one node.
    put(&nodes, &[first, other], "k", "the last", "client/6");
    nodes.kill(first);
    harm(&nodes.data_of(harmed));
    nodes.start(harmed);

    // The two hear each other, and hold elections; but one of them does not vote, and is not eligible.
    until_so("the two to hear each other, and no leader", || {
        let status = |&node| try_status(&nodes, node);
        [harmed, other].iter().all(|node| status(node).is_some_and(|s| !s.hears.is_empty() && s.leader.is_none()))
    });
    let options =
        WriteOptions { request: Some("client/7".to_owned()), deadline_ms: Some(1500), ..WriteOptions::default() };
    match nodes.client(other).call::<_, Wrote>("kv.put", &("k", "too early", options)) {
        Err(CallError::Fault(fault)) if fault.code == UNAVAILABLE.code => {}
        answer => panic!("a majority that has forgotten: {answer:?}"),
    }
    let status = try_status(&nodes, harmed).unwrap();
    assert!(!status.votes && status.leader.is_none(), "{status:?}");

    // With the third they are a majority that knows, and repair it; then it counts.
    nodes.start(first);
    wait_until_caught_up(&nodes, harmed, &[first, other]);
    nodes.kill(first);
    leader_among(&nodes, &[harmed, other]);
    assert_eq!(get(&nodes, &[harmed, other], "k"), Some(("the last".to_owned(), 6)));
    put(&nodes, &[harmed, other], "k", "repaired", "client/8");
    nodes.start(first);
    leader(&nodes);
    states_become_equal(&nodes);
    nodes.logged(harmed)
}

#[test]
fn exchanged_directories_are_refused_and_serve_again_when_put_back() {
    let mut nodes = Nodes::service(3);
    let all: Vec<usize> = nodes.all().collect();
    put(&nodes, &all, "k", TEXT, "client/1");
    nodes.kill_all();
    let (one, other, aside) = (nodes.data_of(0), nodes.data_of(1), nodes.data().join("aside"));
    let exchange = || {
        fs::rename(&one, &aside).unwrap();
        fs::rename(&other, &one).unwrap();
        fs::rename(&aside, &other).unwrap();
    };
    exchange();
    for node in [0, 1] {
        let ran = Ran::of(&mut nodes.command(node, nodes.ports.at(node), &nodes.data_of(node)), "");
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        let owner = format!("belongs to node {}", nodes.ports.at(1 - node));
        ran.complains(&[&owner, "directories must not be exchanged"]);
    }
    exchange();
    nodes.start_those_down();
    assert_eq!(get(&nodes, &all, "k"), Some((TEXT.to_owned(), 1)));
}

#[test]
fn a_database_that_is_cut_short_is_refused_until_it_is_moved_away() {
    let mut nodes = Nodes::service(3);
    let all: Vec<usize> = nodes.all().collect();
    let (first, _) = leader(&nodes);
    let harmed = all_but(&nodes, first)[0];
    put(&nodes, &all, "k", TEXT, "client/1");
    wait_until_caught_up(&nodes, harmed, &all);
    nodes.kill(harmed);
    let data = nodes.data_of(harmed);
    fold(&data);
    let file = fs::File::options().write(true).open(data.join("node.db")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    let ran = Ran::of(&mut nodes.command(harmed, nodes.ports.at(harmed), &data), "");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    ran.complains(&["node.db"]);
    // Without it, it is a node that was wiped.
    fs::rename(&data, nodes.data().join("moved")).unwrap();
    nodes.start(harmed);
    wait_until_caught_up(&nodes, harmed, &[first]);
    assert_eq!(get(&nodes, &[harmed], "k"), Some((TEXT.to_owned(), 1)));
    states_become_equal(&nodes);
}

/// Folds the log of writes into the database, and takes it away, so that it does not hide what is done to that.
fn fold(data: &Path) {
    let connection = Connection::open(data.join("node.db")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    assert!(fs::metadata(data.join("node.db-wal")).map_or(0, |wal| wal.len()) == 0);
}

/// Flips a bit in the middle of every place where this text stands.
fn flip(file: &Path, text: &str) {
    let mut bytes = fs::read(file).unwrap();
    let places: Vec<usize> =
        bytes.windows(text.len()).enumerate().filter(|(_, at)| *at == text.as_bytes()).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the text stands in {}", file.display());
    for at in places {
        bytes[at + text.len() / 2] ^= 1;
    }
    fs::write(file, bytes).unwrap();
}
