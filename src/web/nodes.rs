//! Asking nodes: this one in process, the others over the wire, all by the methods that everybody calls.
//!
//! So nothing is shown or done here that the wire would not show or do, and the roles are the wire's. The others are
//! called with the credentials of whoever looks at the page, never with the node's own.
//!
//! Who the others are is looked up with every call, so that members who come and go do so here too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::node::core::Core;
use crate::protocol::types::NodeId;
use crate::rpc::access::Grant;
use crate::rpc::client::{CallError, Calling, Client};
use crate::rpc::faults::NO_MEMBER;
use crate::rpc::service::Service;
use crate::xmlrpc::{self, Fault, Limits};

/// How long another node may take: somebody waits for the page.
const TIMEOUT: Duration = Duration::from_secs(1);
/// An answer to the page itself may be as large as it must.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Whoever looks at the page.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) grant: Grant,
    /// The `Authorization` header, as it came.
    pub(super) authorization: Option<String>,
}

/// All nodes that this one speaks to: the members, and those who founded the cluster, since they decide single values.
pub(super) struct Nodes {
    pub(super) core: Arc<Core>,
    service: Arc<Service>,
    calling: Calling,
    /// By address: who stays is called on the connections that are there.
    clients: Mutex<BTreeMap<String, Client>>,
}

impl Nodes {
    pub(super) fn new(core: Arc<Core>, service: Arc<Service>, calling: &Calling) -> Self {
        let calling = Calling { timeout: TIMEOUT, authorization: None, ..calling.clone() };
        Self { core, service, calling, clients: Mutex::default() }
    }

    /// How another node is called; `None` for one that this one does not speak to, itself included.
    fn client(&self, node: NodeId) -> Option<Client> {
        let addresses = self.core.peers.addresses();
        let mut clients = self.clients.lock();
        clients.retain(|known, _| addresses.values().any(|address| address == known));
        let address = addresses.get(&node)?;
        let client = clients.entry(address.clone()).or_insert_with(|| Client::calling(address, &self.calling));
        Some(client.clone())
    }

    /// Calls a method of this node.
    ///
    /// # Errors
    /// The fault that the wire would show.
    pub(super) fn here<P: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        caller: &Caller,
        method: &str,
        params: &P,
    ) -> Result<T, Fault> {
        let internal = |error: String| Fault { code: -32603, string: format!("internal error: {method}: {error}") };
        let mut body = Vec::with_capacity(512);
        xmlrpc::to_call(method, params, &mut body).map_err(|error| internal(error.to_string()))?;
        let answer = self.service.call(&body, caller.grant);
        let limits = Limits { body_bytes: MAX_ANSWER_BYTES, values: usize::MAX, ..Limits::default() };
        xmlrpc::from_response(&answer, &limits).map_err(|error| internal(error.to_string()))?
    }

    /// Calls a method of one node, this one or another.
    ///
    /// # Errors
    /// As for any client; also of a node that this one no longer speaks to.
    pub(super) fn at<P: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        node: NodeId,
        caller: &Caller,
        method: &str,
        params: &P,
    ) -> Result<T, CallError> {
        if node == self.core.id {
            return Ok(self.here(caller, method, params)?);
        }
        let client = self.client(node).ok_or_else(|| NO_MEMBER.fault(format!("{node} is no member any more")))?;
        client.naming(caller.authorization.clone()).call(method, params)
    }

    /// Calls a method of all other nodes at once; `None` for those that give no result.
    pub(super) fn others<P: Serialize + Sync, T: DeserializeOwned + Send>(
        &self,
        caller: &Caller,
        method: &str,
        params: &P,
    ) -> BTreeMap<NodeId, Option<T>> {
        self.each(self.core.peers.addresses().into_keys(), |node| self.at(node, caller, method, params).ok())
    }

    /// All nodes, this one included.
    pub(super) fn all(&self) -> BTreeSet<NodeId> {
        self.core.peers.addresses().into_keys().chain([self.core.id]).collect()
    }

    /// Asks nodes at once, each in a thread of its own.
    pub(super) fn each<T: Send>(
        &self,
        nodes: impl Iterator<Item = NodeId>,
        ask: impl Fn(NodeId) -> Option<T> + Sync,
    ) -> BTreeMap<NodeId, Option<T>> {
        let ask = &ask;
        thread::scope(|scope| {
            let start = |node: NodeId| {
                let asking = thread::Builder::new().name("page-ask".to_owned());
                // A thread that cannot be had is a node that does not answer.
                (node, asking.spawn_scoped(scope, move || ask(node)).ok())
            };
            let asking: Vec<_> = nodes.map(start).collect();
            let answer = |(node, asking): (NodeId, Option<thread::ScopedJoinHandle<'_, Option<T>>>)| {
                (node, asking.and_then(|asking| asking.join().ok().flatten()))
            };
            asking.into_iter().map(answer).collect()
        })
    }
}
