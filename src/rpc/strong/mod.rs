//! The methods of the services on the replicated log: what is asked, how it is answered.
//!
//! A write becomes a command for the log, in the thread of its connection; a read is a look at the state, in the driver's
//! thread, when it may; who waits for a change looks again at every change.

pub mod answers;
pub(super) mod methods;
mod serve;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::protocol::log::members::Change;
use crate::protocol::types::Value;
use crate::service::command::{Action, Command, Fence, RequestKey};
use methods::Id;

pub(super) use serve::{Started, finish, start, start_promised};

/// A call of a service whose arguments have been read.
#[derive(Debug)]
pub(super) enum Request {
    Write(Box<Write>, WriteOptions),
    Read(Read, ReadOptions),
    Watch { of: Watched, since: u64, timeout_ms: u32 },
    Elect,
    Leader,
    Change(Change, ChangeOptions),
}

impl Request {
    /// Whether the driver's answer is all that the caller waits for.
    pub(super) fn needs_no_thread(&self) -> bool {
        match self {
            Self::Read(..) => true,
            Self::Write(write, _) => !matches!(**write, Write::Acquire { wait_ms, .. } if wait_ms > 0),
            Self::Watch { .. } | Self::Elect | Self::Leader | Self::Change(..) => false,
        }
    }
}

/// The last argument of a change of the members.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeOptions {
    /// How long to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
}

/// What is written.
#[derive(Debug)]
pub(super) enum Write {
    Put { key: String, value: Value },
    Delete { key: String },
    Cas { key: String, version: u64, value: Value },
    Post { text: String },
    Modify { id: u64, text: String },
    Unpost { id: u64 },
    Create { name: String },
    Append { name: String, line: String },
    Remove { name: String },
    Acquire { name: String, owner: String, ttl_ms: u64, wait_ms: u64 },
    Renew { name: String, owner: String, token: Option<u64>, ttl_ms: Option<u64> },
    Release { name: String, owner: String, token: Option<u64> },
}

/// What is read.
#[derive(Debug)]
pub(super) enum Read {
    Get { key: String },
    List { prefix: String },
    Board,
    File { name: String },
    Files,
    History { since: Option<u64> },
    Locks,
    Outcome { request: String },
    Members,
}

/// What is waited for.
#[derive(Debug)]
pub(super) enum Watched {
    Keys { prefix: String },
    Board,
}

/// The last argument of a write.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteOptions {
    /// `client/sequence`: a call that is repeated with it is applied once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// A lock's token: the write is refused if its grant is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The lock that the token must be of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// How long to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
}

/// The last argument of a read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// `linearizable`, or `local`: the state as it is on this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Consistency>,
    /// How long to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// Of a list: only what comes after this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Of a list: no more than so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Of the board's list: the last posts instead of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<bool>,
}

/// How new the state must be that a read sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// All that was answered before the read began.
    #[default]
    Linearizable,
    /// What this node has applied.
    Local,
}

impl Write {
    /// The entry for the log. The log's own time is the leader's to fill in.
    fn command<'a>(&'a self, request: Option<RequestKey<'a>>, fence: Option<Fence<'a>>, author: u32) -> Command<'a> {
        Command { request, time_ms: 0, author, action: self.action(fence) }
    }

    /// Whether a lock's token can guard it.
    const fn takes_a_fence(&self) -> bool {
        matches!(
            self,
            Self::Put { .. }
                | Self::Delete { .. }
                | Self::Cas { .. }
                | Self::Create { .. }
                | Self::Append { .. }
                | Self::Remove { .. }
        )
    }

    fn action<'a>(&'a self, fence: Option<Fence<'a>>) -> Action<'a> {
        match self {
            Self::Put { key, value } => Action::KvPut { key, value: value.as_str(), fence },
            Self::Delete { key } => Action::KvDelete { key, fence },
            Self::Cas { key, version, value } => Action::KvCas { key, version: *version, value: value.as_str(), fence },
            Self::Post { text } => Action::BoardPost { text },
            Self::Modify { id, text } => Action::BoardModify { id: *id, text },
            Self::Unpost { id } => Action::BoardDelete { id: *id },
            Self::Create { name } => Action::FileCreate { name, fence },
            Self::Append { name, line } => Action::FileAppend { name, text: line, fence },
            Self::Remove { name } => Action::FileDelete { name, fence },
            Self::Acquire { name, owner, ttl_ms, wait_ms } => {
                Action::LockAcquire { name, owner, ttl_ms: *ttl_ms, wait_ms: *wait_ms }
            }
            Self::Renew { name, owner, token, ttl_ms } => {
                Action::LockRenew { name, owner, token: *token, ttl_ms: *ttl_ms }
            }
            Self::Release { name, owner, token } => Action::LockRelease { name, owner, token: *token },
        }
    }
}

/// Reads the arguments of one of these methods.
pub(super) fn read<'de, D: Deserializer<'de>>(id: Id, params: D) -> Result<Request, D::Error> {
    match id {
        Id::Elect | Id::Leader => {
            <[u8; 0]>::deserialize(params)?;
            return Ok(if id == Id::Elect { Request::Elect } else { Request::Leader });
        }
        Id::MemberAdd => {
            let (node, address, options): (_, String, Option<_>) = Deserialize::deserialize(params)?;
            let address = address.into();
            return Ok(Request::Change(Change::Add { node, address }, options.unwrap_or_default()));
        }
        Id::MemberRemove => {
            let (node, options): (_, Option<_>) = Deserialize::deserialize(params)?;
            return Ok(Request::Change(Change::Remove { node }, options.unwrap_or_default()));
        }
        Id::KvWatch => {
            let (prefix, since, timeout_ms) = Deserialize::deserialize(params)?;
            return Ok(Request::Watch { of: Watched::Keys { prefix }, since, timeout_ms });
        }
        Id::BoardWatch => {
            let (since, timeout_ms) = Deserialize::deserialize(params)?;
            return Ok(Request::Watch { of: Watched::Board, since, timeout_ms });
        }
        _ => {}
    }
    if READS.contains(&id) {
        let (read, options) = read_of(id, params)?;
        return Ok(Request::Read(read, options.unwrap_or_default()));
    }
    let (write, options) = write_of(id, params)?;
    Ok(Request::Write(Box::new(write), options.unwrap_or_default()))
}

const READS: [Id; 9] = [
    Id::KvGet,
    Id::KvList,
    Id::BoardList,
    Id::FileRead,
    Id::FileList,
    Id::FileHistory,
    Id::LockList,
    Id::Outcome,
    Id::Members,
];

fn read_of<'de, D: Deserializer<'de>>(id: Id, params: D) -> Result<(Read, Option<ReadOptions>), D::Error> {
    Ok(match id {
        Id::KvGet => {
            let (key, options) = Deserialize::deserialize(params)?;
            (Read::Get { key }, options)
        }
        Id::KvList => {
            let (prefix, options) = Deserialize::deserialize(params)?;
            (Read::List { prefix }, options)
        }
        Id::FileRead => {
            let (name, options) = Deserialize::deserialize(params)?;
            (Read::File { name }, options)
        }
        Id::FileHistory => {
            let (since, options) = Deserialize::deserialize(params)?;
            (Read::History { since }, options)
        }
        Id::Outcome => {
            let (request, options) = Deserialize::deserialize(params)?;
            (Read::Outcome { request }, options)
        }
        _ => {
            let (options,) = Deserialize::deserialize(params)?;
            let read = match id {
                Id::BoardList => Read::Board,
                Id::FileList => Read::Files,
                Id::Members => Read::Members,
                _ => Read::Locks,
            };
            (read, options)
        }
    })
}

fn write_of<'de, D: Deserializer<'de>>(id: Id, params: D) -> Result<(Write, Option<WriteOptions>), D::Error> {
    Ok(match id {
        Id::KvPut => {
            let (key, value, options) = Deserialize::deserialize(params)?;
            (Write::Put { key, value }, options)
        }
        Id::KvDelete => {
            let (key, options) = Deserialize::deserialize(params)?;
            (Write::Delete { key }, options)
        }
        Id::KvCas => {
            let (key, version, value, options) = Deserialize::deserialize(params)?;
            (Write::Cas { key, version, value }, options)
        }
        Id::BoardPost => {
            let (text, options) = Deserialize::deserialize(params)?;
            (Write::Post { text }, options)
        }
        Id::BoardModify => {
            let (id, text, options) = Deserialize::deserialize(params)?;
            (Write::Modify { id, text }, options)
        }
        Id::BoardDelete => {
            let (id, options) = Deserialize::deserialize(params)?;
            (Write::Unpost { id }, options)
        }
        Id::FileCreate => {
            let (name, options) = Deserialize::deserialize(params)?;
            (Write::Create { name }, options)
        }
        Id::FileAppend => {
            let (name, line, options) = Deserialize::deserialize(params)?;
            (Write::Append { name, line }, options)
        }
        Id::FileDelete => {
            let (name, options) = Deserialize::deserialize(params)?;
            (Write::Remove { name }, options)
        }
        Id::LockAcquire => {
            let (name, owner, ttl_ms, wait_ms, options): (_, _, _, Option<u64>, _) = Deserialize::deserialize(params)?;
            (Write::Acquire { name, owner, ttl_ms, wait_ms: wait_ms.unwrap_or(0) }, options)
        }
        Id::LockRenew => {
            let (name, owner, token, ttl_ms, options) = Deserialize::deserialize(params)?;
            (Write::Renew { name, owner, token, ttl_ms }, options)
        }
        Id::LockRelease => {
            let (name, owner, token, options) = Deserialize::deserialize(params)?;
            (Write::Release { name, owner, token }, options)
        }
        _ => return Err(D::Error::custom("not a method of a service")),
    })
}
