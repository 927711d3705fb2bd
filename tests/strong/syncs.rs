//! Killed at a sync, and a sync that fails: strace does both, from outside.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use synod::rpc::client::{CallError, Client};
use synod::rpc::strong::WriteOptions;
use synod::rpc::strong::answers::Wrote;

use super::{get, put};
use crate::support::nodes::{Nodes, address_of};
use crate::support::until;

/// How many operations a run has, unless it is killed before.
const OPERATIONS: u64 = 200;
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn killed_at_a_sync_it_recovers_to_all_that_was_acknowledged() {
    // Counted by thread: the first few meet the one that opens the store, and the others the one that writes.
    kill_at((1..=12).chain((13..OPERATIONS).step_by(14)));
}

#[test]
#[ignore = "takes some minutes; the spread of it above runs always"]
fn killed_at_each_sync_it_recovers_to_all_that_was_acknowledged() {
    kill_at(1..=OPERATIONS + 5);
}

fn kill_at(syncs: impl IntoIterator<Item = u64>) {
    if !has_strace() {
        return;
    }
    let mut killed = 0;
    for sync in syncs {
        let mut nodes = Nodes::service(1);
        nodes.kill(0);
        wipe(&nodes);
        let words = strace(&nodes, &format!("signal=SIGKILL:when={sync}"));
        nodes.run_under(0, words);
        nodes.spawn(0);
        let acknowledged = write_until_it_ends(&mut nodes);
        killed += usize::from(acknowledged < OPERATIONS);
        recovers(&mut nodes, acknowledged, &format!("killed at sync {sync}"));
    }
    assert!(killed > 5, "killed in {killed} runs");
}

#[test]
fn a_sync_that_fails_stops_the_node_and_nothing_is_acknowledged_after_it() {
    if !has_strace() {
        return;
    }
    // Beyond those of the thread that opens the store. Only the one sync fails: whoever tried again would succeed, and acknowledge what is not there.
    for sync in [30, 60, 133] {
        let mut nodes = Nodes::service(1);
        nodes.kill(0);
        wipe(&nodes);
        let words = strace(&nodes, &format!("error=EIO:when={sync}"));
        nodes.run_under(0, words);
        nodes.spawn(0);
        let acknowledged = write_until_it_ends(&mut nodes);
        assert!(acknowledged < OPERATIONS, "sync {sync} did not fail");
        let logged = nodes.logged(0);
        assert!(logged.contains("the store failed, so this node stops"), "{logged}");
        let syncs = fs::read_to_string(trace(&nodes)).unwrap();
        assert!(syncs.lines().last().is_some_and(|last| last.ends_with("(INJECTED)")), "it synced again:\n{syncs}");
        recovers(&mut nodes, acknowledged, &format!("sync {sync} failed"));
    }
}

/// Puts a key again and again, each time under the next number, until the node ends or all is done: how many of the puts
/// were acknowledged. The node is down then.
fn write_until_it_ends(nodes: &mut Nodes) -> u64 {
    let client = Client::new(&address_of(nodes.ports.at(0)), TIMEOUT);
    let mut acknowledged = 0;
    while acknowledged < OPERATIONS {
        let number = acknowledged + 1;
        let done = until("a write to be done, or the node to end", || {
            let options = WriteOptions { request: Some(format!("client/{number}")), ..WriteOptions::default() };
            match client.call::<_, Wrote>("kv.put", &("k", number.to_string(), options)) {
                Ok(_) => Some(true),
                // While it starts, nobody listens there or nobody leads.
                Err(CallError::Fault(_) | CallError::Unreachable(_) | CallError::NoAnswer(_)) => {
                    nodes.process(0).0.try_wait().unwrap().map(|_| false)
                }
                Err(error) => panic!("put {number}: {error}"),
            }
        });
        if !done {
            nodes.ended(0);
            return acknowledged;
        }
        acknowledged = number;
    }
    // SIGKILL would be strace's, and the node would outlive it.
    drop(nodes.process(0).0.stdin.take());
    nodes.ended(0);
    acknowledged
}

/// Started again, without strace, it has all that was acknowledged, and at most the one that was under way.
#[track_caller]
fn recovers(nodes: &mut Nodes, acknowledged: u64, case: &str) {
    nodes.run_under(0, [""; 0]);
    nodes.start(0);
    let found = get(nodes, &[0], "k").map_or(0, |(value, version)| {
        assert_eq!(value, version.to_string(), "{case}");
        version
    });
    assert!(found == acknowledged || found == acknowledged + 1, "{case}: {found} of {acknowledged} acknowledged");
    // The one under way is told whether it was done, and is not done twice.
    let next = acknowledged + 1;
    let wrote = put(nodes, &[0], "k", &next.to_string(), &format!("client/{next}"));
    assert_eq!(wrote.version, Some(next), "{case}");
    assert_eq!(get(nodes, &[0], "k"), Some((next.to_string(), next)), "{case}");
}

fn wipe(nodes: &Nodes) {
    fs::remove_dir_all(nodes.data_of(0)).unwrap();
}

/// strace, which writes down the syncs, and does this to one of them.
fn strace(nodes: &Nodes, inject: &str) -> Vec<String> {
    let (trace, inject) = (trace(nodes).display().to_string(), format!("inject=fdatasync:{inject}"));
    ["strace", "-f", "-qq", "-o", &trace, "-e", "trace=fdatasync,fsync", "-e", &inject].map(str::to_owned).into()
}

fn trace(nodes: &Nodes) -> PathBuf {
    nodes.data().join("trace")
}

/// Whether strace is there and may trace; says so if not, since the test then shows nothing.
fn has_strace() -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        assert!(std::env::var_os("SYNOD_NEEDS_STRACE").is_none(), "strace is missing, or may not trace");
        eprintln!("SKIPPED: strace is not installed, or may not trace; 'apt-get install strace' brings it");
    }
    works
}
