//! What there is to be seen, as the methods told it.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::{Caller, Nodes};
use crate::node::status::StrongStatus;
use crate::protocol::types::{Instance, NodeId};
use crate::rpc::answers::{InstanceRow, Status};
use crate::rpc::lab::LinkRow;
use crate::rpc::strong::answers::{FileRow, KeyRow, Listed, LockRow, PostRow};
use crate::rpc::strong::{Consistency, ReadOptions};
use crate::xmlrpc::Fault;

/// Rows of a table, and posts on a board, that the page shows.
pub(super) const ROWS: u32 = 100;

/// The cluster as this node sees it.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) here: Status,
    /// The other nodes; `None` for one that does not answer.
    pub(super) others: BTreeMap<NodeId, Option<Status>>,
    pub(super) services: Services,
    /// The links that fail, of each node that told; of none unless this is a lab.
    pub(super) links: BTreeMap<NodeId, Vec<LinkRow>>,
    /// The instance whose acceptors are shown.
    pub(super) current: Instance,
}

/// What the services on the replicated log have on this node: no more than [`ROWS`] of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Services {
    pub(super) posts: Vec<PostRow>,
    pub(super) files: Vec<FileRow>,
    pub(super) locks: Vec<LockRow>,
    pub(super) keys: Vec<KeyRow>,
    pub(super) more_keys: bool,
}

impl Services {
    /// As this node has them, be it behind: where a node is cut off, that is what there is to be seen.
    pub(super) fn read(nodes: &Nodes, caller: &Caller) -> Result<Self, Fault> {
        let local = || ReadOptions { read: Some(Consistency::Local), ..ReadOptions::default() };
        let limited = || ReadOptions { limit: Some(ROWS), ..local() };
        let newest = ReadOptions { newest: Some(true), ..limited() };
        let keys: Listed = nodes.here(caller, "kv.list", &("", limited()))?;
        Ok(Self {
            posts: nodes.here(caller, "board.strong.list", &(newest,))?,
            files: nodes.here(caller, "files.list", &(local(),))?,
            locks: nodes.here(caller, "lock.list", &(local(),))?,
            keys: keys.entries,
            more_keys: keys.more,
        })
    }
}

/// How far a post has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// On some others: of the strong board, on a majority.
    Sent,
    /// On all nodes.
    Everywhere,
}

impl View {
    /// All nodes in order, with what each said of itself, if it did.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, Option<&Status>)> {
        let here = |member: NodeId| (member == self.here.node).then_some(&self.here);
        self.here.members.iter().map(move |member| {
            let there = || self.others.get(&member.node).and_then(Option::as_ref);
            (member.node, here(member.node).or_else(there))
        })
    }

    /// The nodes that answer.
    pub(super) fn up(&self) -> BTreeSet<NodeId> {
        self.nodes().filter(|(_, status)| status.is_some()).map(|(node, _)| node).collect()
    }

    pub(super) fn majority(&self) -> usize {
        self.here.members.len() / 2 + 1
    }

    /// The last entry that any node knows to be chosen.
    pub(super) fn committed(&self) -> u64 {
        self.logs().map(|log| log.committed).max().unwrap_or(0)
    }

    /// How far a post on the strong board has come: it is shown only once a majority has it.
    pub(super) fn reach(&self, post: &PostRow) -> Reach {
        let applied =
            |status: Option<&Status>| status.and_then(|status| status.log.as_ref()).map_or(0, |log| log.applied);
        let everywhere = self.nodes().all(|(_, status)| applied(status) >= post.counter);
        if everywhere { Reach::Everywhere } else { Reach::Sent }
    }

    /// What a node knows of an instance.
    pub(super) fn row<'a>(&self, status: &'a Status) -> Option<&'a InstanceRow> {
        status.instances.iter().find(|row| row.instance == self.current)
    }

    /// The names of all instances that any node knows.
    pub(super) fn instances(&self) -> BTreeSet<&Instance> {
        self.nodes()
            .filter_map(|(_, status)| status)
            .flat_map(|status| &status.instances)
            .map(|row| &row.instance)
            .collect()
    }

    fn logs(&self) -> impl Iterator<Item = &StrongStatus> {
        self.nodes().filter_map(|(_, status)| status?.log.as_ref())
    }
}
