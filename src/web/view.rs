//! What there is to be seen, as the methods told it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
    /// The other nodes, and founders that are members no more; `None` for one that does not answer.
    pub(super) others: BTreeMap<NodeId, Option<Status>>,
    pub(super) services: Arc<Services>,
    /// Absent in a node that has none.
    pub(super) eventual: Option<Eventual>,
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

/// The eventual board as this node has it, and how far each node is that tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Eventual {
    pub(super) entries: Vec<EntryRow>,
    pub(super) nodes: BTreeMap<NodeId, BoardStatus>,
}

/// What matters here of a row of `board.eventual.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntryRow {
    /// `clock.server`.
    pub(super) id: String,
    pub(super) text: String,
    pub(super) author: u32,
    /// Of the last change.
    pub(super) clock: u64,
    pub(super) server: u32,
}

/// What matters here of an answer of `board.eventual.status`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct BoardStatus {
    /// Of each server, the clock up to which all its operations are known.
    pub(super) versions: BTreeMap<String, u64>,
    /// Equal on nodes that show the same.
    pub(super) digest: String,
}

impl Eventual {
    /// As this node has it, with what the other nodes said.
    pub(super) fn read(
        nodes: &Nodes,
        caller: &Caller,
        others: &BTreeMap<NodeId, BoardStatus>,
        known: Option<&Self>,
    ) -> Result<Self, Fault> {
        let me = nodes.core.id;
        let here: BoardStatus = nodes.here(caller, "board.eventual.status", &())?;
        let entries = match known {
            Some(known) if known.nodes.get(&me).is_some_and(|known| known.digest == here.digest) => {
                known.entries.clone()
            }
            _ => {
                let newest = ReadOptions { limit: Some(ROWS), newest: Some(true), ..ReadOptions::default() };
                nodes.here(caller, "board.eventual.list", &(newest,))?
            }
        };
        let nodes = others.iter().map(|(node, status)| (*node, status.clone())).chain([(me, here)]).collect();
        Ok(Self { entries, nodes })
    }
}

impl BoardStatus {
    /// Whether an entry is known there as it is here, or newer.
    fn covers(&self, entry: &EntryRow) -> bool {
        self.versions.get(&entry.server.to_string()).is_some_and(|clock| *clock >= entry.clock)
    }
}

/// How far a post has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// On this node, and nowhere else as far as is known here.
    Local,
    /// On some others: of the strong board, on a majority.
    Sent,
    /// On all nodes.
    Everywhere,
}

impl View {
    /// The members in order, with what each said of itself, if it did.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, Option<&Status>)> {
        self.here.members.iter().map(|member| (member.node, self.status(member.node)))
    }

    /// The acceptors of single values in the same way: who founded the cluster, and not who joined it.
    pub(super) fn acceptors(&self) -> impl Iterator<Item = (NodeId, Option<&Status>)> {
        self.founders().iter().map(|&node| (node, self.status(node)))
    }

    /// The members that are no acceptors.
    pub(super) fn joined(&self) -> impl Iterator<Item = NodeId> {
        self.here.members.iter().map(|member| member.node).filter(|node| !self.founders().contains(node))
    }

    /// Who founded the cluster. A node that joined does not know it, and goes by what others say.
    pub(super) fn founders(&self) -> &[NodeId] {
        let all = [&self.here].into_iter().chain(self.others.values().flatten());
        all.map(|status| &*status.founders).find(|founders| !founders.is_empty()).unwrap_or_default()
    }

    fn status(&self, node: NodeId) -> Option<&Status> {
        if node == self.here.node { Some(&self.here) } else { self.others.get(&node)?.as_ref() }
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

    /// How far an entry of the eventual board has come.
    pub(super) fn spread(&self, entry: &EntryRow) -> Reach {
        let others = self.here.members.iter().filter(|member| member.node != self.here.node);
        let known = self.eventual.as_ref().map(|eventual| &eventual.nodes);
        let covers = |node: &NodeId| known.and_then(|known| known.get(node)).is_some_and(|status| status.covers(entry));
        let (there, all) =
            others.fold((0, 0), |(there, all), member| (there + usize::from(covers(&member.node)), all + 1));
        match there {
            _ if there == all => Reach::Everywhere,
            0 => Reach::Local,
            _ => Reach::Sent,
        }
    }

    /// What a node knows of an instance.
    pub(super) fn row<'a>(&self, status: &'a Status) -> Option<&'a InstanceRow> {
        status.instances.iter().find(|row| row.instance == self.current)
    }

    /// The names of all instances that any node knows.
    pub(super) fn instances(&self) -> BTreeSet<&Instance> {
        self.acceptors()
            .filter_map(|(_, status)| status)
            .flat_map(|status| &status.instances)
            .map(|row| &row.instance)
            .collect()
    }

    fn logs(&self) -> impl Iterator<Item = &StrongStatus> {
        self.nodes().filter_map(|(_, status)| status?.log.as_ref())
    }
}
