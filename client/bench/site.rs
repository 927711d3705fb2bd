//! The cluster that is measured: where its nodes are, and which of them leads.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;
use parking_lot::Mutex;
use rustix::process::Signal;
use synod::node::status::StrongStatus;
use synod::protocol::types::Ballot;
use synod::rpc::client::{Calling, Client};
use tempfile::TempDir;

use super::connection::Connection;
use super::template::Template;
use super::{Failure, Interrupted, POLL};
use crate::args::{At, OwnArgs};
use crate::cluster::{Cluster, Mode};
use crate::command::Port;

/// How long a node may take to say who leads; one that hangs must not hold up the others' word for long.
const STATUS_TIMEOUT: Duration = Duration::from_millis(300);
/// How long the cluster may take to have a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
const NOBODY: usize = usize::MAX;

/// The cluster, and what is to be removed after it.
pub(super) struct Site {
    pub(super) nodes: Arc<Nodes>,
    // Before the directory, so that the nodes have stopped when that is removed.
    cluster: Cluster,
    _data: Option<TempDir>,
}

/// What the client threads share: addresses, by index, and the index of the leader.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    authorization: Option<String>,
    leader: AtomicUsize,
    /// The newest epoch heard of: what an old leader still thinks does not count.
    epoch: Mutex<Option<Ballot>>,
}

struct Node {
    port: Port,
    address: SocketAddr,
    client: Client,
}

impl Site {
    /// Starts a cluster in service mode, in a directory that will be removed.
    pub(super) fn start(own: &OwnArgs) -> Result<Self, Failure> {
        let mut directory = tempfile::Builder::new();
        directory.prefix("synod-bench-");
        let made = own.data.as_ref().map_or_else(|| directory.tempdir(), |data| directory.tempdir_in(data));
        let data = made.map_err(|error| Failure::Unavailable(format!("making a directory for the nodes: {error}")))?;
        let ports: Vec<Port> = (own.base_port..own.base_port + own.nodes).filter_map(Port::new).collect();
        let cluster = Cluster::start(&ports, data.path(), Mode::Service)?;
        let nodes = Arc::new(Nodes::of(&cluster, &Calling::plain(STATUS_TIMEOUT))?);
        Ok(Self { nodes, cluster, _data: Some(data) })
    }

    /// Finds the nodes of a cluster that runs already.
    pub(super) fn connect(address: &str, authorization: Option<String>) -> Result<Self, Failure> {
        let calling = Calling { authorization, ..Calling::plain(STATUS_TIMEOUT) };
        let cluster = Cluster::connect(address, &calling)?;
        let nodes = Arc::new(Nodes::of(&cluster, &calling)?);
        Ok(Self { nodes, cluster, _data: None })
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, node: usize) -> Result<(), Failure> {
        Ok(self.cluster.crash(self.nodes.port(node))?)
    }

    /// Starts a node that was killed.
    pub(super) fn start_again(&mut self, node: usize) -> Result<(), Failure> {
        Ok(self.cluster.start_again(self.nodes.port(node))?)
    }

    /// SIGSTOP or SIGCONT.
    pub(super) fn signal(&mut self, node: usize, signal: Signal) -> Result<(), Failure> {
        Ok(self.cluster.signal(self.nodes.port(node), signal)?)
    }
}

impl Nodes {
    fn of(cluster: &Cluster, calling: &Calling) -> Result<Self, Failure> {
        let node = |(port, member): (Port, &crate::cluster::Member)| {
            let mut found = member.address.to_socket_addrs().map_err(|error| (member.address.clone(), error))?;
            let none = || (member.address.clone(), io::Error::other("it has no address"));
            Ok(Node {
                port,
                address: found.next().ok_or_else(none)?,
                client: Client::calling(&member.address, calling),
            })
        };
        let nodes: Result<_, (String, io::Error)> = cluster.members().map(node).collect();
        let nodes = nodes.map_err(|(name, error)| Failure::Unavailable(format!("{name}: {error}")))?;
        let authorization = calling.authorization.clone();
        Ok(Self { nodes, authorization, leader: AtomicUsize::new(NOBODY), epoch: Mutex::new(None) })
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn port(&self, node: usize) -> Port {
        self.nodes[node].port
    }

    pub(super) fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].address
    }

    /// Who led when a node was last asked.
    pub(super) fn leader(&self) -> Option<usize> {
        let leader = self.leader.load(Ordering::Relaxed);
        (leader != NOBODY).then_some(leader)
    }

    pub(super) fn epoch(&self) -> Option<Ballot> {
        *self.epoch.lock()
    }

    /// A client of a node for questions outside the measurement.
    pub(super) fn client(&self, node: usize) -> &Client {
        &self.nodes[node].client
    }

    /// How a node sees election and log, if it answers.
    pub(super) fn status(&self, node: usize) -> Option<StrongStatus> {
        let answer = self.nodes[node].client.call("bully.status", &());
        answer.inspect_err(|error| debug!("{}: {error}", self.port(node))).ok()
    }

    /// Asks a node who leads, and believes it unless it speaks of an older epoch than another did.
    pub(super) fn ask_for_leader(&self, node: usize) {
        let Some(status) = self.status(node) else { return };
        let (Some(leader), Some(epoch)) = (status.leader, status.epoch) else { return };
        let Some(index) = self.nodes.iter().position(|node| node.port.number() == leader.number()) else { return };
        let mut newest = self.epoch.lock();
        if newest.is_none_or(|newest| newest <= epoch) {
            *newest = Some(epoch);
            self.leader.store(index, Ordering::Relaxed);
        }
    }

    /// Waits until a node, other than `without`, knows a leader of an epoch after this one; gives its index.
    pub(super) fn wait_for_leader(
        &self,
        after: Option<Ballot>,
        without: Option<usize>,
        interrupted: &AtomicBool,
    ) -> Result<usize, Failure> {
        let deadline = Instant::now() + LEADER_TIMEOUT;
        loop {
            for node in (0..self.count()).filter(|&node| Some(node) != without) {
                self.ask_for_leader(node);
                if let Some(leader) = self.leader()
                    && self.epoch() > after
                {
                    return Ok(leader);
                }
            }
            interrupted.check()?;
            if Instant::now() > deadline {
                return Err(Failure::Unavailable("the nodes do not elect a leader; are most of them up?".to_owned()));
            }
            thread::sleep(POLL);
        }
    }
}

/// One client's way to the nodes: a connection, and where to turn when it breaks.
pub(super) struct Caller<'a> {
    nodes: &'a Nodes,
    timeout: Duration,
    node: usize,
    /// The leader that it went to, if it is to follow the leader.
    follows: Option<Option<usize>>,
    connection: Option<Connection>,
}

impl<'a> Caller<'a> {
    /// The way of the client of this number.
    pub(super) fn new(nodes: &'a Nodes, at: At, client: usize, timeout: Duration) -> Self {
        let (node, follows) = match at {
            At::Leader => (nodes.leader().unwrap_or(0), Some(nodes.leader())),
            At::Any => (client % nodes.count(), None),
        };
        Self { nodes, timeout, node, follows, connection: None }
    }

    /// Sees to it that there is a connection, and that the requests are addressed to whoever is at its other end.
    pub(super) fn connect(&mut self, requests: &mut [Template]) -> io::Result<()> {
        if let Some(before) = self.follows
            && let leader @ Some(node) = self.nodes.leader()
            && leader != before
        {
            self.follows = Some(leader);
            self.connection = self.connection.take().filter(|_| node == self.node);
            self.node = node;
        }
        if self.connection.as_ref().is_some_and(|connection| !connection.is_closing()) {
            return Ok(());
        }
        self.connection = None;
        self.connection = Some(Connection::open(self.nodes.nodes[self.node].address, self.timeout)?);
        self.readdress(requests);
        Ok(())
    }

    /// Addresses requests to the node that it is connected to; without a connection, [`Self::connect`] will.
    pub(super) fn readdress(&self, requests: &mut [Template]) {
        let address = self.nodes.nodes[self.node].address;
        requests.iter_mut().for_each(|request| request.address(address, self.nodes.authorization.as_deref()));
    }

    /// The node that it calls.
    pub(super) const fn node(&self) -> usize {
        self.node
    }

    /// Sends a request, and gives the body of the reply. After an error, call [`Self::turn_away`].
    pub(super) fn exchange(&mut self, request: &Template) -> io::Result<&[u8]> {
        self.send(request)?;
        self.receive()
    }

    /// Sends a request, whose reply is to be received before the next is sent.
    pub(super) fn send(&mut self, request: &Template) -> io::Result<()> {
        self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?.send(request.bytes())
    }

    /// The body of the reply to the request that was sent.
    pub(super) fn receive(&mut self) -> io::Result<&[u8]> {
        self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?.receive()
    }

    /// Gives this node up for now: the next call goes to the next one.
    pub(super) fn turn_away(&mut self) {
        self.connection = None;
        self.node = (self.node + 1) % self.nodes.count();
    }
}
