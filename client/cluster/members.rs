//! Who belongs to the cluster: the shell follows the members of the log, and runs those that it has started.
//!
//! Those who founded the cluster stay known when they are members no more, for they decide single values.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use log::{debug, warn};
use rustix::process::{Pid, Signal, kill_process};
use synod::protocol::types::{Instance, NodeId};
use synod::rpc::answers::Status as NodeStatus;

use super::{Cluster, ClusterError, Member, POLL, STOP_TIMEOUT, address_of, is_listening};
use crate::command::Port;

impl Cluster {
    /// Asks a node who the members are, first the one that could tell the last time, and goes by that. Gives the nodes of
    /// this shell's that it has stopped since, as nothing rests on them any more.
    pub(crate) fn look_again(&mut self) -> Vec<Port> {
        let mut ports: Vec<Port> = self.present.iter().copied().collect();
        let first = ports.iter().position(|port| Some(*port) == self.told_by).unwrap_or(0);
        ports.rotate_left(first);
        for port in ports {
            let Some(member) = self.nodes.get(&port).filter(|member| !member.paused) else { continue };
            match member.quick.call::<_, NodeStatus>("status", &(Instance::default(),)) {
                Ok(status) if self.is_news(&status) => {
                    self.told_by = Some(port);
                    return self.follow(&status);
                }
                Ok(_) => debug!("{port} does not know of the last change of the members yet"),
                Err(error) => debug!("{port} does not tell who the members are: {error}"),
            }
        }
        Vec::new()
    }

    /// From now on nobody is believed who does not know this entry of the log: it changed the members.
    pub(crate) fn expect(&mut self, counter: u64) {
        self.known.1 = self.known.1.max(counter);
    }

    fn is_news(&self, status: &NodeStatus) -> bool {
        (status.generation, status.log.as_ref().map_or(0, |log| log.committed)) >= self.known
    }

    fn follow(&mut self, status: &NodeStatus) -> Vec<Port> {
        self.known = (status.generation, status.log.as_ref().map_or(0, |log| log.committed));
        // Without a log nobody comes or goes.
        if status.log.is_none() {
            return Vec::new();
        }
        let founders: BTreeSet<Port> = ports(status.founders.iter().copied()).collect();
        if !founders.is_empty() {
            self.founders = founders;
        }
        for member in &status.members {
            let Some(port) = Port::new(member.node.number()) else { continue };
            if self.nodes.get(&port).is_none_or(|known| known.address != member.address) {
                self.nodes.insert(port, Member::at(&member.address, &self.calling));
            }
        }
        self.present = ports(status.members.iter().map(|member| member.node)).collect();
        self.joining.retain(|port| !self.present.contains(port));
        let stays = |port: &Port| [&self.present, &self.founders, &self.joining].iter().any(|set| set.contains(port));
        let gone: Vec<Port> = self.nodes.keys().copied().filter(|port| !stays(port)).collect();
        let gone: Vec<(Port, Member)> =
            gone.into_iter().filter_map(|port| Some((port, self.nodes.remove(&port)?))).collect();
        let ran = gone.iter().filter(|(_, member)| member.process.is_some()).map(|(port, _)| *port).collect();
        end(gone);
        ran
    }

    /// Starts a node of this shell's that is to join; `false` if it is up already, or not for this shell to start.
    pub(crate) fn enlist(&mut self, port: Port, address: &str) -> Result<bool, ClusterError> {
        if !self.is_own() || address != address_of(port) || self.nodes.contains_key(&port) || is_listening(port) {
            return Ok(false);
        }
        self.nodes.insert(port, Member::at(address, &self.calling));
        self.joining.insert(port);
        let up = self.spawn(port).and_then(|()| self.wait_until_up(port));
        if up.is_err() {
            self.dismiss(port);
        }
        up.map(|()| true)
    }

    /// Stops a node that was to join, and did not.
    pub(crate) fn dismiss(&mut self, port: Port) {
        self.joining.remove(&port);
        end(self.nodes.remove(&port).into_iter().map(|member| (port, member)).collect());
    }

    /// Starts the members of this shell's that joined when it ran before.
    pub(super) fn start_joined(&mut self) -> Result<(), ClusterError> {
        let is_down = |port: &Port| !is_listening(*port);
        for port in self.ports().into_iter().filter(is_down).collect::<Vec<_>>() {
            if self.runs(port) {
                self.start_again(port)?;
            }
        }
        Ok(())
    }

    /// Whether a node is a process of this shell's, or would be if it were up.
    pub(super) fn runs(&self, port: Port) -> bool {
        self.is_own() && self.nodes.get(&port).is_some_and(|member| member.address == address_of(port))
    }
}

fn ports(nodes: impl Iterator<Item = NodeId>) -> impl Iterator<Item = Port> {
    nodes.filter_map(|node| Port::new(node.number()))
}

/// Asks all at once to stop, if they are processes of this shell's, then waits for each.
pub(super) fn end(members: Vec<(Port, Member)>) {
    let mut processes = Vec::new();
    for (port, member) in members {
        let Some(mut process) = member.process else { continue };
        // One that stands still would not notice.
        if member.paused
            && let Err(error) = kill_process(Pid::from_child(&process), Signal::CONT)
        {
            debug!("a node that stands still cannot be woken: {error}");
        }
        drop(process.stdin.take());
        processes.push((port, process));
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    for (port, mut process) in processes {
        while matches!(process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        if matches!(process.try_wait(), Ok(None)) {
            warn!("node {port} does not stop by itself, and is killed");
            _ = process.kill();
            _ = process.wait();
        }
    }
}
