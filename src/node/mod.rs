//! A node: the driver, its store, the lines to its peers and the door, put together and taken apart again.
//!
//! # Threads
//!
//! | thread | how many | what it does |
//! |---|---|---|
//! | driver | 1 | drives the protocols and the store when nobody else does; see `inbox` and [`driver`] |
//! | scribe | 1 | writes the decided files, and answers the calls that wait for them |
//! | snapshot | 1, now and then | encodes the services' state, which would keep the driver |
//! | line | 1 a peer | brings the peer's answers to the driver, and connects again; see [`crate::rpc::peers`] |
//! | accept | 1 | takes connections |
//! | connection | 1 a connection | reads a call, brings it to the driver; waits and answers, if the driver does not; tells an open page |
//! | page-look, page-ask | 1, and 1 a peer | asks the other nodes how they are, for an open page; ends when they have said |

pub(crate) mod core;
pub mod driver;
mod encoder;
pub(crate) mod inbox;
pub(crate) mod input;
mod intake;
pub mod measure;
pub(crate) mod overlay;
mod room;
mod scribe;
pub mod status;
#[cfg(test)]
mod tests;
mod watches;
mod witness;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{error, info};
use parking_lot::Mutex;

use crate::lab::trace::ring::Ring;
use crate::protocol::host::{self, Host};
use crate::protocol::log::members::{MAX_ADDRESS, MAX_MEMBERS, Membership};
use crate::protocol::paxos;
use crate::protocol::strong;
use crate::protocol::types::NodeId;
use crate::rpc::access::Access;
use crate::rpc::client::Calling;
use crate::rpc::door::{self, Door};
use crate::rpc::peers::Peers;
use crate::rpc::text;
use crate::store::decided_files::{DecidedFiles, Line};
use crate::store::sqlite::Sqlite;
use crate::store::{Store, StoreError};
use crate::web::Web;
use core::Core;
use driver::Driver;
use encoder::Encoder;
use inbox::Inbox;
use input::Input;
use intake::Intake;
use scribe::Scribe;

/// How long a stopping node waits for the calls in flight: longer than the longest deadline of a call would keep a
/// shell waiting, so those that are not answered by then hear that the node stopped.
const GRACE: Duration = Duration::from_secs(2);

/// What a node is told.
#[derive(Debug)]
pub struct Settings {
    /// Its id.
    pub id: NodeId,
    /// Who founds the cluster, itself included, and where they listen, `HOST:PORT`. To a node that joins: members that
    /// it knows.
    pub members: BTreeMap<NodeId, String>,
    /// Whether the node joins a cluster that others have founded: it counts itself no member until the log says so.
    pub join: bool,
    /// Where it keeps its state.
    pub data: PathBuf,
    /// Whether it may be restarted, gated and spoken to by guests.
    pub lab: bool,
    /// Whether it keeps its last events.
    pub trace: bool,
    /// Who may call what.
    pub access: Access,
    /// The certificate that it shows, if it listens with TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// How it calls the other members.
    pub calling: Calling,
    /// What the protocol can be told.
    pub paxos: paxos::Options,
    /// What election, log and snapshots can be told.
    pub strong: strong::Options,
}

/// Why a node did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// What it remembers cannot be read, or could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused a thread, a file or a socket.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A thread panicked: a bug, which the log tells more about.
    #[error("the node's driver panicked; this is a bug, and the log above tells more")]
    Panicked,
}

/// A running node. Dropping it stops it.
pub struct Node {
    core: Arc<Core>,
    door: Door,
    driver: Mutex<Option<JoinHandle<Result<(), NodeError>>>>,
}

impl Node {
    /// Starts a node on a socket that listens already.
    ///
    /// # Errors
    /// The settings are contradictory, the state cannot be read, or the system refuses a thread.
    pub fn start(settings: Settings, listener: TcpListener) -> Result<Self, NodeError> {
        let Settings { id, members, join, data, lab, trace, access, tls, calling, paxos, strong } = settings;
        let known_hosts = members.values().filter_map(|address| host_of(address)).collect();
        let members: BTreeMap<NodeId, String> =
            members.into_iter().filter(|(member, _)| !(join && *member == id)).collect();
        let founding = founding(id, &members, join)?;
        let io = |doing| move |source| NodeError::Io { doing, source };
        let address = listener.local_addr().map_err(io("asking for the address that was bound"))?;

        if access.is_open() && !address.ip().is_loopback() {
            return Err(NodeError::Settings(format!(
                "{address} can be reached from other machines, and anyone there could use this node: give it \
                 --credentials and --cluster-secret ('synod credentials --help' says how to make them), or listen on \
                 127.0.0.1"
            )));
        }

        let mut store = Sqlite::open(&data, id)?;
        let durable = store.load()?;
        info!("node {id}: generation {}, {} instances", durable.generation, durable.instances.len());
        let files = DecidedFiles::open(&data.join("decided")).map_err(io("making the directory of decided files"))?;
        let line = |decision: crate::store::Decision| {
            Line::new(decision.instance, &decision.at, &text::shown(&decision.value))
        };
        files
            .rebuild(store.decisions()?.into_iter().map(line).collect())
            .map_err(io("bringing the decided files up to date"))?;

        let random = || {
            getrandom::u64().map_err(|error| NodeError::Io {
                doing: "asking for a random number",
                source: io::Error::other(error.to_string()),
            })
        };
        let seed = random()?;
        let options = host::Options {
            lab,
            paxos,
            strong: Some(strong),
            eventual: Some(Default::default()),
            register: Some(Default::default()),
            overlay: Some(Default::default()),
        };
        let host = Host::new(id, founding, options, durable, seed);
        let inbox = Arc::new(Inbox::default());
        let ring = Arc::new(Ring::new(trace));
        let peers = Peers::start(id, &members, &calling, inbox.clone(), (random()?, ring.clone()));
        let peers = Arc::new(peers.map_err(io("starting the lines to the peers"))?);
        let scribe = Scribe::start(files, format!("{id} scribe")).map_err(io("starting the scribe"))?;
        let helpers = (scribe, Encoder::new(id, inbox.clone()));
        let intake = Arc::new(Intake::default());
        let ways = (intake.clone(), peers.clone());
        let driver = Driver::new(host, Box::new(store), ways, helpers, (random()?, ring.clone()));
        let since = Instant::now();
        let core = Core { id, address, joined: join, lab, access, since, peers, ring, inbox: inbox.clone(), intake };
        let core = Arc::new(core);
        let web = Arc::new(Web::new(core.clone(), &calling).map_err(io("preparing the page"))?);
        let driver = thread::Builder::new()
            .name(format!("{id} driver"))
            .spawn(move || inbox.run(driver))
            .map_err(io("starting the driver"))?;
        // Nodes that are known by name call each other by name.
        let options = door::Options {
            allowed_hosts: known_hosts,
            // A page of another site whose name is rebound to loopback sends that name, and gets nothing.
            loopback_only: address.ip().is_loopback(),
            tls,
            ..door::Options::default()
        };
        let door = Door::open(listener, options, web).map_err(io("opening the door"))?;
        Ok(Self { core, door, driver: Mutex::new(Some(driver)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.core.address
    }

    /// Whether the driver has ended, which it does by itself only when the store failed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.driver.lock().as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops: no new calls, those in flight are answered, what was decided is written. Stopping twice does nothing.
    ///
    /// # Errors
    /// What made the node end by itself, if it did.
    pub fn stop(&self) -> Result<(), NodeError> {
        let Some(driver) = self.driver.lock().take() else { return Ok(()) };
        // A driver that has ended answers nobody: then there is nothing to wait for.
        self.door.close(if driver.is_finished() { Duration::ZERO } else { GRACE });
        _ = self.core.inbox.send(Input::Stop);
        let ended = driver.join();
        self.core.peers.stop();
        match ended {
            Ok(result) => result,
            Err(_) => Err(NodeError::Panicked),
        }
    }
}

fn host_of(address: &str) -> Option<String> {
    address.rsplit_once(':').map(|(host, _)| host.to_owned())
}

/// Who founded the cluster, as far as the node was told.
fn founding(id: NodeId, members: &BTreeMap<NodeId, String>, join: bool) -> Result<Membership, NodeError> {
    if !join && !members.contains_key(&id) {
        return Err(NodeError::Settings(format!("node {id} is not among the members it was given")));
    }
    if members.is_empty() {
        return Err(NodeError::Settings(format!("node {id} joins, and was given no member of the cluster to join")));
    }
    let addresses = members.iter().map(|(member, address)| (*member, Arc::from(&**address))).collect();
    Membership::new(addresses).ok_or_else(|| {
        NodeError::Settings(format!(
            "a cluster has at most {MAX_MEMBERS} members, and an address at most {MAX_ADDRESS} bytes"
        ))
    })
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            error!("node {}: {error}", self.core.id);
        }
    }
}
