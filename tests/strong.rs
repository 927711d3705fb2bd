//! Election, log and services on real processes, under the faults that a machine and a network have.
//!
//! - [`kills`]: SIGKILL of the leader, again and again, and of all nodes at once, under load.
//! - [`stops`]: the leader only sleeps (SIGSTOP), for longer than an election and than a lock's time to live.
//! - [`cuts`]: the leader is cut off from the majority.
//! - [`disks`]: a node's memory is wiped, damaged, exchanged, or set back.
//! - [`syncs`]: killed at a sync, and a sync that fails.
//! - [`full`]: disks that take no more.
//!
//! [`load`] is what clients do meanwhile, and how it is judged.

mod cuts;
mod disks;
mod full;
mod kills;
mod load;
mod stops;
mod syncs;

use std::time::Duration;

use synod::node::status::StrongStatus;
use synod::protocol::types::Ballot;
use synod::rpc::client::{CallError, Client};
use synod::rpc::faults::FaultKind;
use synod::rpc::strong::WriteOptions;
use synod::rpc::strong::answers::{Got, Wrote};
use synod::rpc::text::shown;

use crate::support::nodes::{Nodes, address_of};
use crate::support::{until, until_so};

/// How long a client waits for an answer of a node that may be stopped.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The leader of these nodes, once all of them agree on one.
#[track_caller]
fn leader_among(nodes: &Nodes, among: &[usize]) -> (usize, Ballot) {
    until("these nodes to agree on a leader", || {
        let statuses: Option<Vec<StrongStatus>> = among.iter().map(|&node| try_status(nodes, node)).collect();
        let statuses = statuses?;
        let (leader, epoch) = (statuses[0].leader?, statuses[0].epoch?);
        let agreed = statuses.iter().all(|status| status.leader == Some(leader) && status.epoch == Some(epoch));
        let position = among.iter().position(|&node| u32::from(nodes.ports.at(node)) == leader.number())?;
        (agreed && statuses[position].state == "coordinating").then(|| (among[position], epoch))
    })
}

/// The leader of all nodes.
#[track_caller]
fn leader(nodes: &Nodes) -> (usize, Ballot) {
    leader_among(nodes, &nodes.all().collect::<Vec<_>>())
}

/// All nodes but one.
fn all_but(nodes: &Nodes, one: usize) -> Vec<usize> {
    nodes.all().filter(|&node| node != one).collect()
}

fn try_status(nodes: &Nodes, node: usize) -> Option<StrongStatus> {
    hurried(nodes, node).call("bully.status", &()).ok()
}

/// A client that does not wait long.
fn hurried(nodes: &Nodes, node: usize) -> Client {
    Client::new(&address_of(nodes.ports.at(node)), CALL_TIMEOUT)
}

/// Waits until a node may vote and has applied all that any of these has committed by now.
#[track_caller]
fn wait_until_caught_up(nodes: &Nodes, node: usize, others: &[usize]) {
    let committed = others.iter().filter_map(|&other| try_status(nodes, other)).map(|status| status.committed).max();
    until_so("a node to catch up", || {
        try_status(nodes, node).is_some_and(|status| status.votes && Some(status.applied) >= committed)
    });
}

/// Waits until all nodes have applied as much as each other: then their states are equal.
#[track_caller]
fn states_become_equal(nodes: &Nodes) {
    let states = until("all nodes to have applied as much", || {
        let states: Option<Vec<StrongStatus>> = nodes.all().map(|node| try_status(nodes, node)).collect();
        states.filter(|states| states.windows(2).all(|pair| pair[0].applied == pair[1].applied))
    });
    assert!(states.windows(2).all(|pair| pair[0].state_hash == pair[1].state_hash), "{states:#?}");
}

/// Whether it is certain that the call had no effect.
fn is_definite(error: &CallError) -> bool {
    match error {
        CallError::Fault(fault) => FaultKind::of_code(fault.code).is_some_and(|kind| kind.definite),
        CallError::Unreachable(_) | CallError::Arguments(_) => true,
        CallError::NoAnswer(_) | CallError::Garbled(_) => false,
    }
}

/// Puts a key under a request id, at these nodes in turn, until it is acknowledged.
#[track_caller]
fn put(nodes: &Nodes, at: &[usize], key: &str, value: &str, request: &str) -> Wrote {
    let clients: Vec<Client> = at.iter().map(|&node| hurried(nodes, node)).collect();
    let mut turn = 0;
    until("a write to be acknowledged", || {
        turn += 1;
        let options = WriteOptions { request: Some(request.to_owned()), ..WriteOptions::default() };
        clients[turn % clients.len()].call("kv.put", &(key, value, options)).ok()
    })
}

/// What a key holds, and its version, read at these nodes in turn until one answers.
#[track_caller]
fn get(nodes: &Nodes, at: &[usize], key: &str) -> Option<(String, u64)> {
    let clients: Vec<Client> = at.iter().map(|&node| hurried(nodes, node)).collect();
    let mut turn = 0;
    let got: Got = until("a read to be answered", || {
        turn += 1;
        clients[turn % clients.len()].call("kv.get", &(key,)).ok()
    });
    got.value.map(|value| (shown(&value), got.version.unwrap_or(0)))
}
