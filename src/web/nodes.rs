//! Asking nodes: this one in process, the others over the wire, all by the methods that everybody calls.
//!
//! So nothing is shown or done here that the wire would not show or do, and the roles are the wire's. The others are
//! called with the credentials of whoever looks at the page, never with the node's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::node::core::Core;
use crate::protocol::types::NodeId;
use crate::rpc::access::Grant;
use crate::rpc::client::{CallError, Calling, Client};
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

/// All nodes of the cluster, as they were when this one started.
pub(super) struct Nodes {
    pub(super) core: Arc<Core>,
    service: Arc<Service>,
    others: BTreeMap<NodeId, Client>,
}

impl Nodes {
    pub(super) fn new(core: Arc<Core>, service: Arc<Service>, calling: &Calling) -> Self {
        let calling = Calling { timeout: TIMEOUT, authorization: None, ..calling.clone() };
        let others = core.peers.addresses().into_iter();
        let others = others.map(|(node, address)| (node, Client::calling(&address, &calling))).collect();
        Self { core, service, others }
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
    /// As for any client.
    pub(super) fn at<P: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        node: NodeId,
        caller: &Caller,
        method: &str,
        params: &P,
    ) -> Result<T, CallError> {
        match self.others.get(&node) {
            Some(client) => client.naming(caller.authorization.clone()).call(method, params),
            None => Ok(self.here(caller, method, params)?),
        }
    }

    /// Calls a method of all other nodes at once; `None` for those that give no result.
    pub(super) fn others<P: Serialize + Sync, T: DeserializeOwned + Send>(
        &self,
        caller: &Caller,
        method: &str,
        params: &P,
    ) -> BTreeMap<NodeId, Option<T>> {
        self.each(self.others.keys().copied(), |node| self.at(node, caller, method, params).ok())
    }

    /// All nodes, this one included.
    pub(super) fn members(&self) -> impl Iterator<Item = NodeId> + use<> {
        let all: BTreeSet<NodeId> = self.others.keys().copied().chain([self.core.id]).collect();
        all.into_iter()
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
