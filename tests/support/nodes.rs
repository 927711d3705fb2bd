//! Nodes as processes: `synod serve`, one a node.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use synod::protocol::types::{Ballot, Instance};
use synod::rpc::answers::{Decided, GateRow, InstanceRow, Proposed, Restarted, Status, Version};
use synod::rpc::client::{CallError, Calling, Client};
use synod::rpc::methods::ProposeOptions;
use synod::rpc::text::shown;
use synod::xmlrpc::Fault;
use tempfile::TempDir;

use super::ports::Ports;
use super::process::Process;
use super::{files, until};

/// Longer than any deadline that a test asks a node for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(80);

/// A cluster of processes, by index from 0. Their ids are their ports.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) ports: Ports,
    lab: bool,
    calling: Calling,
    data: TempDir,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    client: Client,
    /// Further arguments of `serve`.
    args: Vec<OsString>,
    /// The program that runs the node, with its arguments; none if it runs by itself.
    under: Vec<OsString>,
    process: Option<Process>,
}

impl Nodes {
    /// A lab of so many nodes.
    pub(crate) fn lab(count: u16) -> Self {
        Self::guarded(count, true, &[], Calling::plain(TIMEOUT))
    }

    /// A cluster for service: without `--lab`.
    pub(crate) fn service(count: u16) -> Self {
        Self::guarded(count, false, &[], Calling::plain(TIMEOUT))
    }

    /// A cluster whose nodes get further arguments, and are called like this.
    pub(crate) fn guarded(count: u16, lab: bool, args: &[OsString], calling: Calling) -> Self {
        // Another program may have come between the check of a port and the start of its node.
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            let ports = Ports::take(count);
            let node = |port| {
                let client = Client::calling(&address_of(port), &calling);
                Node { client, args: args.to_vec(), under: Vec::new(), process: None }
            };
            let nodes = ports.all().into_iter().map(node).collect();
            let calling = calling.clone();
            let mut cluster = Self { ports, lab, calling, data: TempDir::new().unwrap(), nodes };
            cluster.all().for_each(|node| cluster.spawn(node));
            match cluster.all().try_for_each(|node| cluster.wait_until_up(node)) {
                Ok(()) => return cluster,
                Err(log) if log.contains("in use") => {}
                Err(log) => panic!("a node did not start: {log}"),
            }
        }
        panic!("found no free ports in {TRIES} tries");
    }

    /// Starts a node on what it has on disk, and waits until it answers.
    #[track_caller]
    pub(crate) fn start(&mut self, node: usize) {
        self.spawn(node);
        if let Err(log) = self.wait_until_up(node) {
            panic!("node {node} did not start: {log}");
        }
    }

    /// Starts all nodes that are down at once, and waits until all answer.
    #[track_caller]
    pub(crate) fn start_those_down(&mut self) {
        let down: Vec<usize> = self.all().filter(|&node| self.nodes[node].process.is_none()).collect();
        down.iter().for_each(|&node| self.spawn(node));
        for node in down {
            if let Err(log) = self.wait_until_up(node) {
                panic!("node {node} did not start: {log}");
            }
        }
    }

    /// Starts a node on what it has on disk, and does not wait.
    pub(crate) fn spawn(&mut self, node: usize) {
        let port = self.ports.at(node);
        let log = File::options().create(true).append(true).open(self.log(node)).unwrap();
        let command = self.command(node, port, &self.data_of(node));
        let mut command = run_by(&self.nodes[node].under, command);
        // The pipe ends with the test, however that ends, and the node with the pipe.
        command.arg("--until-stdin-closes").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        self.nodes[node].process = Some(Process(command.spawn().unwrap()));
    }

    /// The command that runs a node, were it on another port or another directory.
    pub(crate) fn command(&self, node: usize, listen: u16, data: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.env_remove("RUST_LOG").arg("serve");
        if self.lab {
            command.arg("--lab");
        }
        command.args(["--id", &self.ports.at(node).to_string(), "--listen", &address_of(listen)]);
        command.arg("--data").arg(data);
        for port in self.ports.all() {
            command.arg("--member").arg(format!("{port}={}", address_of(port)));
        }
        command.args(&self.nodes[node].args);
        command
    }

    /// Waits until a node answers, or gives its log if it has ended.
    #[track_caller]
    fn wait_until_up(&mut self, node: usize) -> Result<(), String> {
        let log = self.log(node);
        let Node { client, process, .. } = &mut self.nodes[node];
        until("a node to answer", || match client.call::<_, Version>("synod.version", &()) {
            Ok(_) => Some(Ok(())),
            Err(_) if process.as_mut()?.0.try_wait().unwrap().is_some() => {
                Some(Err(fs::read_to_string(&log).unwrap_or_default()))
            }
            Err(_) => None,
        })
    }

    /// Gives a node other arguments, for its next start.
    pub(crate) fn give(&mut self, node: usize, args: &[OsString]) {
        self.nodes[node].args = args.to_vec();
    }

    /// Has a node run by a program with these arguments, such as `strace`, from its next start on.
    pub(crate) fn run_under<S: AsRef<OsStr>>(&mut self, node: usize, words: impl IntoIterator<Item = S>) {
        self.nodes[node].under = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    }

    /// Waits until a node has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self, node: usize) {
        self.process(node).ended();
        self.nodes[node].process = None;
    }

    /// A client that calls a node in the way of the others, but for its credentials.
    pub(crate) fn client_as(&self, node: usize, authorization: Option<String>) -> Client {
        let calling = Calling { authorization, ..self.calling.clone() };
        Client::calling(&address_of(self.ports.at(node)), &calling)
    }

    /// What a node has logged.
    pub(crate) fn logged(&self, node: usize) -> String {
        fs::read_to_string(self.log(node)).unwrap()
    }

    /// SIGKILL.
    #[track_caller]
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].process.take().expect("the node is up").kill();
    }

    /// SIGKILL of all, before any of them is waited for.
    pub(crate) fn kill_all(&mut self) {
        let mut processes: Vec<Process> = self.nodes.iter_mut().filter_map(|node| node.process.take()).collect();
        processes.iter_mut().for_each(|process| process.0.kill().unwrap());
    }

    pub(crate) fn process(&mut self, node: usize) -> &mut Process {
        self.nodes[node].process.as_mut().expect("the node is up")
    }

    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn data_of(&self, node: usize) -> PathBuf {
        self.data().join(self.ports.at(node).to_string())
    }

    fn log(&self, node: usize) -> PathBuf {
        self.data().join(format!("{}.log", self.ports.at(node)))
    }

    pub(crate) fn client(&self, node: usize) -> &Client {
        &self.nodes[node].client
    }

    /// Calls a method that must succeed.
    #[track_caller]
    pub(crate) fn call<T: serde::de::DeserializeOwned>(
        &self,
        node: usize,
        method: &str,
        params: &(impl Serialize + ?Sized),
    ) -> T {
        self.client(node).call(method, params).unwrap_or_else(|error| panic!("{method} on node {node}: {error}"))
    }

    /// Proposes with the default deadline.
    #[track_caller]
    pub(crate) fn propose(&self, node: usize, value: impl Serialize, instance: &str) -> Proposed {
        self.call(node, "propose", &(value, instance))
    }

    pub(crate) fn try_propose(
        &self,
        node: usize,
        value: impl Serialize,
        instance: &str,
        deadline_ms: u32,
    ) -> Result<Proposed, CallError> {
        let options = ProposeOptions { deadline_ms: Some(deadline_ms), ..ProposeOptions::default() };
        self.client(node).call("propose", &(value, instance, options))
    }

    /// Proposes in a thread, for as long as a node tries at most: for what a gate holds up. In the instance `default`.
    pub(crate) fn start_proposal(&self, node: usize, value: &str) -> JoinHandle<Result<Proposed, CallError>> {
        let (client, value) = (self.client(node).clone(), value.to_owned());
        let options = ProposeOptions { deadline_ms: Some(60_000), ..ProposeOptions::default() };
        thread::spawn(move || client.call("propose", &(value, Instance::default(), options)))
    }

    #[track_caller]
    pub(crate) fn decided(&self, node: usize, instance: &str) -> Decided {
        self.call(node, "decided", &(instance,))
    }

    /// What a node knows to be decided, as people write it, once it knows.
    #[track_caller]
    pub(crate) fn learned(&self, node: usize, instance: &str) -> String {
        until("a node to learn a decision", || self.decided(node, instance).value.map(|value| shown(&value)))
    }

    /// Waits until all nodes that are up know that this was decided.
    #[track_caller]
    pub(crate) fn all_learn(&self, instance: &str, value: &str) {
        for node in self.all().filter(|&node| self.nodes[node].process.is_some()) {
            assert_eq!(self.learned(node, instance), value, "node {node}, instance {instance}");
        }
    }

    /// Waits until the decided files of all nodes say so.
    #[track_caller]
    pub(crate) fn all_files_say(&self, instance: &str, value: &str) {
        for port in self.ports.all() {
            let found = until("a decided file", || files::decided_file(self.data(), port, instance));
            assert_eq!(found, value, "node {port}, instance {instance}");
        }
    }

    #[track_caller]
    pub(crate) fn status(&self, node: usize) -> Status {
        self.call(node, "status", &())
    }

    /// What a node knows of an instance.
    #[track_caller]
    pub(crate) fn row(&self, node: usize, instance: &str) -> Option<InstanceRow> {
        let wanted: Instance = instance.parse().unwrap();
        let status: Status = self.call(node, "status", &(instance,));
        status.instances.into_iter().find(|row| row.instance == wanted)
    }

    /// The ballot that a node's proposer runs, once it runs one.
    #[track_caller]
    pub(crate) fn running_ballot(&self, node: usize, instance: &str) -> Ballot {
        until("a node to run a ballot", || self.row(node, instance)?.proposing_ballot)
    }

    #[track_caller]
    pub(crate) fn restart(&self, node: usize) -> Restarted {
        self.call(node, "restart", &())
    }

    /// Restarts all nodes, and waits until all are of one generation.
    #[track_caller]
    pub(crate) fn restart_all(&self) -> u64 {
        self.all().for_each(|node| _ = self.restart(node));
        until("one generation", || {
            let generation = self.status(0).generation;
            self.all().all(|node| self.status(node).generation == generation).then_some(generation)
        })
    }

    /// Closes gates of a node, for longer than any test takes.
    #[track_caller]
    pub(crate) fn hold(&self, from: usize, method: &str, to: impl IntoIterator<Item = usize>) {
        for to in to {
            let _: serde::de::IgnoredAny =
                self.call(from, "lab.gate.hold", &(method, self.ports.at(to), TIMEOUT.as_millis() as u32));
        }
    }

    /// Waits until the gates of a node each hold a message.
    #[track_caller]
    pub(crate) fn wait_held(&self, from: usize, method: &str, to: impl IntoIterator<Item = usize>) {
        for to in to {
            let port = u32::from(self.ports.at(to));
            until("a held message", || {
                let gates: Vec<GateRow> = self.gates(from);
                gates
                    .iter()
                    .any(|gate| gate.method == method && gate.to.number() == port && gate.held > 0)
                    .then_some(())
            });
        }
    }

    /// Opens gates of a node, and says how many messages they let go.
    #[track_caller]
    pub(crate) fn release(&self, from: usize, method: &str, to: impl IntoIterator<Item = usize>) -> u64 {
        #[derive(serde::Deserialize)]
        struct Released {
            released: u64,
        }
        let release = |to| self.call::<Released>(from, "lab.gate.release", &(method, self.ports.at(to))).released;
        to.into_iter().map(release).sum()
    }

    /// The gates that stand on a node.
    #[track_caller]
    pub(crate) fn gates(&self, node: usize) -> Vec<GateRow> {
        self.call(node, "lab.gate.list", &())
    }

    /// No node may have a gate.
    #[track_caller]
    pub(crate) fn no_gate_is_left(&self) {
        for node in self.all() {
            assert_eq!(self.gates(node), [], "node {node}");
        }
    }
}

/// The command, run by another program.
fn run_by(under: &[OsString], command: Command) -> Command {
    let Some((program, words)) = under.split_first() else { return command };
    let mut outer = Command::new(program);
    outer.args(words).arg(command.get_program()).args(command.get_args()).env_remove("RUST_LOG");
    outer
}

/// The fault that a call must end with.
#[track_caller]
pub(crate) fn fault<T: std::fmt::Debug>(answer: Result<T, CallError>) -> Fault {
    match answer {
        Err(CallError::Fault(fault)) => fault,
        other => panic!("not a fault: {other:?}"),
    }
}

pub(crate) fn address_of(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Whether anybody takes connections there.
pub(crate) fn is_listening(port: u16) -> bool {
    TcpStream::connect(address_of(port)).is_ok()
}
