//! What these methods return.

use serde::{Deserialize, Serialize};

use crate::node::status::StrongStatus;
use crate::protocol::types::Value;
use crate::rpc::answers::Member;

/// The result of any of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub enum Answer {
    Wrote(Wrote),
    Got(Got),
    Listed(Listed),
    Posts(Vec<PostRow>),
    File(FileAnswer),
    Files(Vec<FileRow>),
    History(History),
    Lock(LockAnswer),
    Locks(Vec<LockRow>),
    Watched(Watched),
    Outcome(Box<OutcomeAnswer>),
    Leader(Box<LeaderAnswer>),
    Members(MembersAnswer),
}

/// The result of a write: only what applies is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct Wrote {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<bool>,
    pub epoch: u64,
    pub counter: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far behind a local read may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The last counter that this node has applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<u64>,
    /// How many entries of its log it has not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
}

/// The result of `kv.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct Got {
    pub found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter: Option<u64>,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// The result of `kv.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct Listed {
    pub entries: Vec<KeyRow>,
    pub more: bool,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct KeyRow {
    pub key: String,
    pub value: Value,
    pub version: u64,
}

/// A post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct PostRow {
    pub id: u64,
    pub text: String,
    pub author: u32,
    pub epoch: u64,
    pub counter: u64,
}

/// The result of `files.read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct FileAnswer {
    pub name: String,
    pub text: String,
    pub lines: u64,
    pub epoch: u64,
    pub counter: u64,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// A file in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct FileRow {
    pub name: String,
    pub lines: u64,
    pub bytes: u64,
    pub epoch: u64,
    pub counter: u64,
}

/// The result of `files.history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct History {
    pub lines: Vec<String>,
    pub next: u64,
}

/// The result of `lock.acquire` and `lock.renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct LockAnswer {
    pub granted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct LockRow {
    pub name: String,
    pub owner: String,
    pub token: u64,
    pub expires_in_ms: u64,
    pub queue: Vec<String>,
}

/// The result of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct Watched {
    pub events: Vec<EventRow>,
    pub next: u64,
}

/// Something that happened to a key or a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct EventRow {
    pub what: String,
    pub epoch: u64,
    pub counter: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The result of `synod.outcome`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct OutcomeAnswer {
    pub applied: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
}

/// The result of `cluster.members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct MembersAnswer {
    pub members: Vec<Member>,
    pub changing: bool,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// The result of `bully.status` and `bully.elect`.
pub type LeaderAnswer = StrongStatus;
