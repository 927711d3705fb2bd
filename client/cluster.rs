//! The nodes that the shell speaks to: its own child processes, or ones that run already.

mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use rustix::process::{Pid, Signal, kill_process};
use synod::rpc::answers::{Status as NodeStatus, Version};
use synod::rpc::client::{CallError, Calling, Client};

use crate::args::LocalArgs;
use crate::command::Port;
use crate::logging::message_of;

/// A call of the shell waits longer than the longest deadline it asks a node for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(65);
/// A call of a service, of which a node can be told to answer after [`crate::strong::caller::ATTEMPT`].
const SERVICE_TIMEOUT: Duration = Duration::from_secs(6);
/// A question that a healthy node answers at once.
const QUICK_TIMEOUT: Duration = Duration::from_secs(3);
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// Why the shell has no cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error(
        "port {port} is used by another program, which is no Synod node; choose other ports with --base-port, or stop \
         that program"
    )]
    PortInUse { port: Port },
    #[error("{address} does not answer as a Synod node: {source}")]
    NoNode { address: String, source: Box<CallError> },
    #[error("node {port} did not start: {why}")]
    NotStarted { port: Port, why: String },
    #[error("{0}")]
    NotOurs(String),
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
}

/// One node, as the shell sees it.
pub(crate) struct Member {
    pub(crate) address: String,
    pub(crate) client: Client,
    /// For what is answered at once, so that a node that hangs does not hold up the shell.
    pub(crate) quick: Client,
    /// For the services, where another node can be asked instead.
    pub(crate) service: Client,
    process: Option<Child>,
    /// Whether its process was told to stand still.
    paused: bool,
}

impl Member {
    fn at(address: &str, calling: &Calling) -> Self {
        let within = |timeout| Client::calling(address, &Calling { timeout, ..calling.clone() });
        let (client, quick, service) = (within(TIMEOUT), within(QUICK_TIMEOUT), within(SERVICE_TIMEOUT));
        Self { address: address.to_owned(), client, quick, service, process: None, paused: false }
    }

    /// Whether it was told to stand still, so that it cannot answer.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }
}

/// All nodes, by port.
pub(crate) struct Cluster {
    /// The members, and founders that are members no more.
    nodes: BTreeMap<Port, Member>,
    /// The members, by the log.
    present: BTreeSet<Port>,
    /// Who founded the cluster, and decides single values.
    founders: BTreeSet<Port>,
    /// Nodes of this shell's that may yet become members.
    joining: BTreeSet<Port>,
    /// As of which generation and entry of the log this is so, and who said so.
    known: (u64, u64),
    told_by: Option<Port>,
    calling: Calling,
    /// Where the nodes keep their state, if they are children of this process.
    data: Option<PathBuf>,
    /// What its own nodes are started for.
    mode: Mode,
}

/// What nodes are started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To be looked at: gates and restarts are allowed.
    Lab,
    /// To be used.
    Service,
}

impl Cluster {
    /// The cluster on these ports: started if nothing listens there, used if nodes answer.
    pub(crate) fn open(local: &LocalArgs) -> Result<Self, ClusterError> {
        let ports: Vec<Port> = (local.base_port..local.base_port + local.nodes).filter_map(Port::new).collect();
        let listening: Vec<Port> = ports.iter().copied().filter(|&port| is_listening(port)).collect();
        let Some(&first) = listening.first() else { return Self::start(&ports, &local.data, Mode::Lab) };
        for &port in &listening {
            let answer: Result<Version, _> = Client::new(&address_of(port), QUICK_TIMEOUT).call("synod.version", &());
            if let Err(error) = answer {
                debug!("{port}: {error}");
                return Err(ClusterError::PortInUse { port });
            }
        }
        Self::connect(&address_of(first), &Calling::plain(TIMEOUT))
    }

    /// A running cluster, of which one node is known.
    pub(crate) fn connect(address: &str, calling: &Calling) -> Result<Self, ClusterError> {
        let quick = Calling { timeout: QUICK_TIMEOUT, ..calling.clone() };
        let status: NodeStatus = Client::calling(address, &quick)
            .call("status", &())
            .map_err(|source| ClusterError::NoNode { address: address.to_owned(), source: Box::new(source) })?;
        let member = |member: synod::rpc::answers::Member| {
            let port = Port::new(member.node.number()).ok_or_else(|| {
                ClusterError::NotOurs(format!("node id {} is above 65535, which this shell cannot name", member.node))
            })?;
            Ok((port, Member::at(&member.address, calling)))
        };
        let nodes = status.members.into_iter().map(member).collect::<Result<_, _>>()?;
        let mut cluster = Self::of(nodes, calling.clone(), Mode::Lab);
        cluster.look_again();
        Ok(cluster)
    }

    fn of(nodes: BTreeMap<Port, Member>, calling: Calling, mode: Mode) -> Self {
        let founders: BTreeSet<Port> = nodes.keys().copied().collect();
        let (present, joining) = (founders.clone(), BTreeSet::new());
        Self { nodes, present, founders, joining, known: (0, 0), told_by: None, calling, data: None, mode }
    }

    /// Starts the nodes as child processes, and waits until all answer.
    pub(crate) fn start(ports: &[Port], data: &Path, mode: Mode) -> Result<Self, ClusterError> {
        let calling = Calling::plain(TIMEOUT);
        let nodes = ports.iter().map(|&port| (port, Member::at(&address_of(port), &calling))).collect();
        let mut cluster = Self::of(nodes, calling, mode);
        cluster.data = Some(data.to_owned());
        for &port in ports {
            cluster.spawn(port)?;
        }
        for &port in ports {
            cluster.wait_until_up(port)?;
        }
        cluster.look_again();
        cluster.start_joined()?;
        Ok(cluster)
    }

    /// Whether the nodes are children of this process, so that they can be crashed and started.
    pub(crate) fn is_own(&self) -> bool {
        self.data.is_some()
    }

    /// The nodes' directory, if they are children of this process.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The members, by the log, as far as is known.
    pub(crate) fn ports(&self) -> Vec<Port> {
        self.present.iter().copied().collect()
    }

    /// Who founded the cluster: they decide single values and keep the registers, members still or not.
    pub(crate) fn founders(&self) -> Vec<Port> {
        self.founders.iter().copied().collect()
    }

    /// The members, and founders that are members no more.
    pub(crate) fn all_ports(&self) -> Vec<Port> {
        self.nodes.keys().copied().collect()
    }

    /// One of these nodes.
    pub(crate) fn member(&self, port: Port) -> Option<&Member> {
        self.nodes.get(&port)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (Port, &Member)> {
        self.present.iter().filter_map(|port| Some((*port, self.nodes.get(port)?)))
    }

    /// Kills a node as a crash would: at once, with whatever it was doing.
    pub(crate) fn crash(&mut self, port: Port) -> Result<(), ClusterError> {
        let member = self.own(port)?;
        let Some(mut process) = member.process.take() else {
            return Err(ClusterError::NotOurs(format!("node {port} is down already; 'start {port}' starts it")));
        };
        member.paused = false;
        let killed = process.kill().and_then(|()| process.wait());
        killed.map(|_| ()).map_err(|source| ClusterError::Io { doing: format!("killing node {port}"), source })
    }

    /// Starts a node that is down, on what it had on disk.
    pub(crate) fn start_again(&mut self, port: Port) -> Result<(), ClusterError> {
        let member = self.own(port)?;
        if let Some(process) = &mut member.process
            && matches!(process.try_wait(), Ok(None))
        {
            return Err(ClusterError::NotOurs(format!("node {port} is up already")));
        }
        member.process = None;
        self.spawn(port)?;
        self.wait_until_up(port)
    }

    /// Sends a signal to a node, to stop it without its noticing and to let it go on.
    pub(crate) fn signal(&mut self, port: Port, signal: Signal) -> Result<(), ClusterError> {
        let member = self.own(port)?;
        let Some(process) = member.process.as_ref().map(Pid::from_child) else {
            return Err(ClusterError::NotOurs(format!("node {port} is down")));
        };
        let io = |source: rustix::io::Errno| ClusterError::Io {
            doing: format!("sending a signal to node {port}"),
            source: source.into(),
        };
        kill_process(process, signal).map_err(io)?;
        member.paused = signal == Signal::STOP;
        Ok(())
    }

    /// Whether a node of ours was told to stand still.
    pub(crate) fn is_paused(&self, port: Port) -> bool {
        self.nodes.get(&port).is_some_and(Member::is_paused)
    }

    /// Nodes of ours that have ended although nobody asked them to.
    pub(crate) fn reap(&mut self) -> Vec<Port> {
        let mut ended = Vec::new();
        for (port, member) in &mut self.nodes {
            if let Some(process) = &mut member.process
                && let Ok(Some(status)) = process.try_wait()
            {
                warn!("node {port} ended: {status}");
                member.process = None;
                ended.push(*port);
            }
        }
        ended
    }

    fn own(&mut self, port: Port) -> Result<&mut Member, ClusterError> {
        if self.data.is_none() {
            let text = "these nodes were not started by this shell, so it does not stop or start them".to_owned();
            return Err(ClusterError::NotOurs(text));
        }
        if self.nodes.contains_key(&port) && !self.runs(port) {
            let text = format!("node {port} was not started by this shell, so it does not stop or start it");
            return Err(ClusterError::NotOurs(text));
        }
        let unknown = || ClusterError::NotOurs(format!("there is no node {port} in this cluster"));
        self.nodes.get_mut(&port).ok_or_else(unknown)
    }

    fn spawn(&mut self, port: Port) -> Result<(), ClusterError> {
        let Some(data) = &self.data else { return Ok(()) };
        let dir = data.join(port.to_string());
        let io = |doing: String| move |source| ClusterError::Io { doing, source };
        fs::create_dir_all(&dir).map_err(io(format!("making {}", dir.display())))?;
        let log_file = dir.join("node.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log_file)
            .map_err(io(format!("opening {}", log_file.display())))?;
        let mut command = Command::new(this_program().map_err(io("finding this program".to_owned()))?);
        command.args(["serve", "--until-stdin-closes", "--id", &port.to_string()]);
        if self.mode == Mode::Lab {
            command.arg("--lab");
        }
        command.args(["--listen", &address_of(port)]).arg("--data").arg(&dir);
        let others = if self.founders.contains(&port) {
            &self.founders
        } else {
            command.arg("--join");
            &self.present
        };
        for (other, member) in others.iter().filter_map(|other| Some((other, self.nodes.get(other)?))) {
            command.arg("--member").arg(format!("{other}={}", member.address));
        }
        // A group of its own: Ctrl-C at the terminal is meant for the shell. The pipe ends with the shell, however that
        // ends, and the node with the pipe.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().map_err(io(format!("starting node {port}")))?;
        info!("node {port} is process {}", process.id());
        if let Some(member) = self.nodes.get_mut(&port) {
            member.process = Some(process);
        }
        Ok(())
    }

    fn wait_until_up(&mut self, port: Port) -> Result<(), ClusterError> {
        let data = self.data.clone();
        let Some(member) = self.nodes.get_mut(&port) else { return Ok(()) };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let answer: Result<Version, _> = member.quick.call("synod.version", &());
            // Another node may have had the port before: then ours is about to end.
            let expected = member.process.as_ref().map(Child::id);
            let why = match answer {
                Ok(version) if expected.is_none_or(|process| process == version.process) => return Ok(()),
                Ok(version) => format!("process {} answers on its port", version.process),
                Err(error) => format!("it does not answer: {error}"),
            };
            if let Some(process) = &mut member.process
                && let Ok(Some(status)) = process.try_wait()
            {
                member.process = None;
                let said =
                    data.map(|data| last_line(&data.join(port.to_string()).join("node.log"))).unwrap_or_default();
                let why = if said.is_empty() { format!("it ended with {status}") } else { said };
                return Err(ClusterError::NotStarted { port, why });
            }
            if Instant::now() > deadline {
                return Err(ClusterError::NotStarted { port, why });
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        members::end(std::mem::take(&mut self.nodes).into_iter().collect());
    }
}

/// This program; on Linux also when its file was replaced meanwhile, as by a build.
pub(crate) fn this_program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let running = Path::new("/proc/self/exe");
    Ok(if !program.exists() && running.exists() { running.to_owned() } else { program })
}

fn address_of(port: Port) -> String {
    format!("127.0.0.1:{port}")
}

fn is_listening(port: Port) -> bool {
    let Ok(port) = u16::try_from(port.number()) else { return false };
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).is_ok()
}

/// What the last line of a node's log says.
fn last_line(log: &Path) -> String {
    const TAIL: u64 = 2000;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    message_of(line)
}
