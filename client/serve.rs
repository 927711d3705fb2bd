//! `synod serve`, one node in the foreground, and `synod up`, a local cluster for other programs.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use log::{debug, error, info};
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use synod::node::{Node, Settings};
use synod::protocol::types::NodeId;
use synod::protocol::{paxos, strong};
use synod::rpc::access::{Access, Secret};
use synod::rpc::client::{Authorities, Calling};
use synod::rpc::door::server_config;
use synod::rpc::peers::TIMEOUT;

use crate::args::{LocalArgs, ServeArgs};
use crate::cluster::{Cluster, Mode, this_program};
use crate::command::Port;
use crate::shell::Status;

/// How often a foreground process looks whether what it runs is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Where glibc's allocator looks how many arenas it may have.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Runs one node until it is told to stop.
pub(crate) fn serve(args: &ServeArgs) -> Status {
    begin_with_few_arenas();
    match try_serve(args) {
        Ok(()) => Status::Done,
        Err((status, text)) => {
            error!("{text}");
            status
        }
    }
}

/// A node has many threads, and what one takes of the memory another gives back. An arena for every few of them, as glibc
/// has it, would keep a third more than is in use. It looks only when a process begins; so this one begins once more.
fn begin_with_few_arenas() {
    if env::var_os(ARENAS).is_some() {
        return;
    }
    let again = |program| Command::new(program).args(env::args_os().skip(1)).env(ARENAS, "2").exec();
    let error = this_program().map_or_else(|error| error, again);
    // It runs as well without.
    debug!("{ARENAS} could not be set: {error}");
}

type Failure = (Status, String);

fn try_serve(args: &ServeArgs) -> Result<(), Failure> {
    let usage = |text: String| (Status::Usage, text);
    let unavailable = |text: String| (Status::Unavailable, text);
    let (listen, members) = who_is_where(args).map_err(usage)?;
    let id = NodeId::new(args.id).ok_or_else(|| usage(format!("{} is not a node id", args.id)))?;
    let listener = bind(&listen).map_err(unavailable)?;
    let stop = stop_requests(args.until_stdin_closes).map_err(|error| unavailable(format!("signals: {error}")))?;
    let data = args.data.clone().unwrap_or_else(|| Path::new("data").join(id.to_string()));
    let cluster_secret = args.cluster_secret.as_deref().map(Secret::read).transpose();
    let cluster_secret = cluster_secret.map_err(|error| usage(error.to_string()))?;
    let authorization = cluster_secret.as_ref().map(Secret::header);
    let access = Access::load(args.credentials.as_deref(), cluster_secret).map_err(|error| usage(error.to_string()))?;
    let authorities = args.tls_ca.as_deref().map(authorities).transpose().map_err(usage)?;
    let calling = Calling { timeout: TIMEOUT, authorization, authorities };
    let tls = args.tls_cert.as_deref().zip(args.tls_key.as_deref());
    let tls = tls.map(|(cert, key)| server_config(cert, key)).transpose().map_err(|error| usage(error.to_string()))?;
    // A lab shows the lecture's messages, to all, and none that nobody asked for; a service saves what it can.
    let (mut paxos, mut strong) = (paxos::Options::default(), strong::Options::default());
    if !args.lab {
        (paxos, strong) = (paxos.for_service(), strong.for_service());
    }
    let (lab, join, trace) = (args.lab, args.join, !args.no_trace);
    let settings = Settings { id, members, join, data, lab, trace, access, tls, calling, paxos, strong };
    let node = Node::start(settings, listener).map_err(|error| unavailable(error.to_string()))?;
    info!("node {id} listens on {}", node.address());
    while !node.has_ended() {
        match stop.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    node.stop().map_err(|error| unavailable(error.to_string()))
}

/// A cluster file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    /// `[members]`, each `id = "HOST:PORT"`.
    members: BTreeMap<String, String>,
}

/// Where this node listens, and where all members do.
fn who_is_where(args: &ServeArgs) -> Result<(String, BTreeMap<NodeId, String>), String> {
    let mut members = BTreeMap::new();
    if let Some(file) = &args.cluster {
        let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let file: ClusterFile = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        for (id, address) in file.members {
            let id: NodeId = id.parse().map_err(|error: synod::protocol::types::Malformed| error.to_string())?;
            members.insert(id, address);
        }
    }
    for member in &args.members {
        let id = NodeId::new(member.id).ok_or_else(|| format!("{} is not a node id", member.id))?;
        members.insert(id, member.address.clone());
    }
    let own = NodeId::new(args.id).and_then(|id| members.get(&id));
    let listen = args.listen.clone().or_else(|| own.cloned());
    let listen =
        listen.ok_or_else(|| format!("node {} is not among the members: give --listen and --member", args.id))?;
    Ok((listen, members))
}

/// The authorities in a file.
pub(crate) fn authorities(path: &Path) -> Result<Authorities, String> {
    Authorities::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn bind(address: &str) -> Result<TcpListener, String> {
    let addresses = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    TcpListener::bind(&*addresses.collect::<Vec<_>>()).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use by another process; choose another port with --listen (or --base-port)")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// Yields when the process is asked to stop: SIGTERM, Ctrl-C, and if wanted the end of stdin.
fn stop_requests(until_stdin_closes: bool) -> io::Result<Receiver<()>> {
    let (stop, requests) = channel();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let tell = |stop: &Sender<()>| {
        // If nobody listens any more, the process is stopping already.
        _ = stop.send(());
    };
    let on_signal = stop.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            tell(&on_signal);
        }
    })?;
    if until_stdin_closes {
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut sink = [0; 64];
            while io::stdin().read(&mut sink).is_ok_and(|count| count > 0) {}
            tell(&stop);
        })?;
    }
    Ok(requests)
}

/// Runs a local cluster until it is told to stop.
pub(crate) fn up(local: &LocalArgs) -> Status {
    match try_up(local) {
        Ok(()) => Status::Done,
        Err(text) => {
            error!("{text}");
            Status::Unavailable
        }
    }
}

fn try_up(local: &LocalArgs) -> Result<(), String> {
    let stop = stop_requests(false).map_err(|error| format!("signals: {error}"))?;
    let ports: Vec<Port> = (local.base_port..local.base_port + local.nodes).filter_map(Port::new).collect();
    let mut cluster = Cluster::start(&ports, &local.data, Mode::Lab).map_err(|error| error.to_string())?;
    let mut ready = String::new();
    for (port, member) in cluster.members() {
        ready.push_str(&format!("node {port} listens on http://{}\n", member.address));
    }
    ready.push_str("ready; Ctrl-C stops all\n");
    // Whoever started this may not read what it says.
    _ = io::stdout().lock().write_all(ready.as_bytes());
    loop {
        match stop.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {
                for port in cluster.reap() {
                    let log: PathBuf = local.data.join(port.to_string()).join("node.log");
                    error!("node {port} has ended; its log is {}", log.display());
                }
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
