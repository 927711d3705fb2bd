//! What an entry of the log carries: one write to one service.
//!
//! # As bytes
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version of this format, [`VERSION`] |
//! | 8 | the log's own time as its leader proposes it, little-endian; [`stamp`] writes it in place |
//! | … | postcard: the author and the request |
//! | … | postcard: the [`Action`], until the end |
//!
//! Texts are borrowed both ways: encoding copies them once, decoding not at all. The action stands apart because its
//! bytes are what tells a repeated call from another call under the same request id.
//!
//! No bytes at all are an entry that does nothing, such as the first one of an epoch.
//!
//! # Caveats
//!
//! A node that is older than the entry's format refuses what the others apply, and its state hash shows it. New actions
//! go to the end of [`Action`], and a cluster is brought to a new version before anyone uses them.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

use super::limits::Limits;
use super::reply::{Refusal, Resource};

/// The version that [`Command::encode`] writes, and the only one that is read.
pub const VERSION: u8 = 1;

/// Before the postcard part: the version and the time.
const HEADER: usize = 1 + size_of::<u64>();

/// A client's name for one call of its own. A client gives its calls growing sequence numbers, one call at a time; a
/// call that is repeated under the same number is applied once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestKey<'a> {
    /// Who calls; chosen by the client, unique among clients.
    pub client: &'a str,
    /// Which of its calls.
    pub sequence: u64,
}

/// A fencing token that comes with a write: the write is refused unless the grant with this token still holds its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence<'a> {
    /// The token of the grant.
    pub token: u64,
    /// The lock, if the caller says which: then the token must be of this lock.
    pub lock: Option<&'a str>,
}

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// The client's id of this call, if it wants it applied exactly once.
    pub request: Option<RequestKey<'a>>,
    /// The log's own time, in milliseconds since it began, as the leader proposes it. What applies is the greater of
    /// this and the time of the entry before.
    pub time_ms: u64,
    /// The node where the call came in; 0 if that is nobody in particular.
    pub author: u32,
    /// What to do.
    pub action: Action<'a>,
}

/// One write. The order is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action<'a> {
    /// Sets a key.
    KvPut {
        /// Which.
        key: &'a str,
        /// The value in its XML-RPC form, as [`to_fragment`](crate::xmlrpc::to_fragment) writes it.
        value: &'a str,
        /// The token that must hold.
        #[serde(borrow)]
        fence: Option<Fence<'a>>,
    },
    /// Deletes a key, which need not exist.
    KvDelete {
        /// Which.
        key: &'a str,
        /// The token that must hold.
        fence: Option<Fence<'a>>,
    },
    /// Sets a key if it has still the version that the caller saw.
    KvCas {
        /// Which.
        key: &'a str,
        /// The version that it must have; 0 if it must not exist.
        version: u64,
        /// The value, as in a put.
        value: &'a str,
        /// The token that must hold.
        fence: Option<Fence<'a>>,
    },
    /// Posts to the board.
    BoardPost {
        /// What.
        text: &'a str,
    },
    /// Gives a post another text.
    BoardModify {
        /// Which.
        id: u64,
        /// What it says from now on.
        text: &'a str,
    },
    /// Takes a post from the board.
    BoardDelete {
        /// Which.
        id: u64,
    },
    /// Makes an empty file.
    FileCreate {
        /// Its name; not a path.
        name: &'a str,
        /// The token that must hold.
        fence: Option<Fence<'a>>,
    },
    /// Adds a text to the end of a file.
    FileAppend {
        /// Which file.
        name: &'a str,
        /// What, byte for byte.
        text: &'a str,
        /// The token that must hold.
        fence: Option<Fence<'a>>,
    },
    /// Deletes a file.
    FileDelete {
        /// Which.
        name: &'a str,
        /// The token that must hold.
        fence: Option<Fence<'a>>,
    },
    /// Takes a lock, or a place in its queue. From its holder: renews. From one who waits: keeps the place.
    LockAcquire {
        /// Which lock.
        name: &'a str,
        /// For whom.
        owner: &'a str,
        /// For how long, from the grant on, unless it is renewed.
        ttl_ms: u64,
        /// For how long to wait in the queue; 0 is not at all.
        wait_ms: u64,
    },
    /// Holds a lock for longer.
    LockRenew {
        /// Which lock.
        name: &'a str,
        /// Whose.
        owner: &'a str,
        /// The token of the grant, if the caller says it: then it must be this one.
        token: Option<u64>,
        /// For how long from now; as in the grant if absent.
        ttl_ms: Option<u64>,
    },
    /// Lets go of a lock, or leaves its queue.
    LockRelease {
        /// Which lock.
        name: &'a str,
        /// Whose.
        owner: &'a str,
        /// The token of the grant, if the caller says it: then it must be this one.
        token: Option<u64>,
    },
    /// Does nothing but let time pass. The leader proposes it when the time of a lock or of a waiter has come.
    Expire,
}

/// Bytes that are not a command of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another version, or nothing like a command.
    #[error("an entry of version {found}, where this node knows only {VERSION}")]
    Version {
        /// What stands there; `None` if there is not even that much.
        found: String,
    },
    /// Not what the version says.
    #[error("an entry that cannot be read: {0}")]
    Content(#[from] postcard::Error),
    /// More than a command.
    #[error("an entry with {0} bytes too many")]
    Trailing(usize),
}

impl<'a> Command<'a> {
    /// As bytes, for the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 32 + self.action.text_bytes());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.time_ms.to_le_bytes());
        // Appending to a vector cannot fail, and these types have nothing that postcard cannot write. Should that ever
        // change, the entry is one that does nothing, on every node alike.
        postcard::to_extend(&(self.author, self.request), bytes)
            .and_then(|bytes| postcard::to_extend(&self.action, bytes))
            .unwrap_or_default()
    }

    /// Reads a command; its texts are borrowed from the bytes.
    ///
    /// # Errors
    /// The bytes are not a command of this version, whole and nothing else.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::decode_parts(bytes).map(|(command, _)| command)
    }

    /// The same, with the bytes of the action.
    pub(super) fn decode_parts(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let Some((&version, rest)) = bytes.split_first().filter(|(version, _)| **version == VERSION) else {
            return Err(Malformed::Version { found: bytes.first().map_or_else(|| "none".into(), u8::to_string) });
        };
        debug_assert_eq!(version, VERSION);
        let (time, rest) = rest.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        let ((author, request), action_bytes) = postcard::take_from_bytes(rest)?;
        let (action, trailing) = postcard::take_from_bytes(action_bytes)?;
        if !trailing.is_empty() {
            return Err(Malformed::Trailing(trailing.len()));
        }
        Ok((Self { request, time_ms: u64::from_le_bytes(*time), author, action }, action_bytes))
    }

    /// What the services would refuse whatever their state is: names and texts that nobody may use. The door asks before
    /// it spends an entry; the services ask again.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        if let Some(request) = &self.request {
            limits.name(Resource::Client, request.client)?;
        }
        self.action.check(limits)
    }
}

/// Writes the leader's proposal of the log's time into an encoded command. Does nothing to an entry without one.
pub fn stamp(bytes: &mut [u8], time_ms: u64) {
    if let Some(place) = bytes.get_mut(1..HEADER) {
        place.copy_from_slice(&time_ms.to_le_bytes());
    }
}

/// Tells a repeated call from another call under the same request id.
pub(super) fn fingerprint(action_bytes: &[u8]) -> u64 {
    xxh64(action_bytes, 0)
}

impl Action<'_> {
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        match *self {
            Self::KvPut { key, value, .. } | Self::KvCas { key, value, .. } => {
                limits.name(Resource::Key, key)?;
                limits.text(Resource::Value, value)
            }
            Self::KvDelete { key, .. } => limits.name(Resource::Key, key),
            Self::BoardPost { text } | Self::BoardModify { text, .. } => limits.text(Resource::Post, text),
            Self::BoardDelete { .. } | Self::Expire => Ok(()),
            Self::FileCreate { name, .. } | Self::FileDelete { name, .. } => limits.name(Resource::File, name),
            Self::FileAppend { name, text, .. } => {
                limits.name(Resource::File, name)?;
                limits.text(Resource::Line, text)
            }
            Self::LockAcquire { name, owner, ttl_ms, wait_ms } => {
                limits.name(Resource::Lock, name)?;
                limits.name(Resource::Owner, owner)?;
                limits.lock_time(Resource::Ttl, ttl_ms, 1)?;
                limits.lock_time(Resource::Wait, wait_ms, 0)
            }
            Self::LockRenew { name, owner, ttl_ms, .. } => {
                limits.name(Resource::Lock, name)?;
                limits.name(Resource::Owner, owner)?;
                ttl_ms.map_or(Ok(()), |ttl_ms| limits.lock_time(Resource::Ttl, ttl_ms, 1))
            }
            Self::LockRelease { name, owner, .. } => {
                limits.name(Resource::Lock, name)?;
                limits.name(Resource::Owner, owner)
            }
        }
    }

    /// The token that must hold for this action.
    pub(super) const fn fence(&self) -> Option<Fence<'_>> {
        match *self {
            Self::KvPut { fence, .. }
            | Self::KvDelete { fence, .. }
            | Self::KvCas { fence, .. }
            | Self::FileCreate { fence, .. }
            | Self::FileAppend { fence, .. }
            | Self::FileDelete { fence, .. } => fence,
            _ => None,
        }
    }

    /// About how long it is, so that encoding allocates once.
    const fn text_bytes(&self) -> usize {
        match *self {
            Self::KvPut { key, value, .. } | Self::KvCas { key, value, .. } => key.len() + value.len(),
            Self::BoardPost { text } | Self::BoardModify { text, .. } => text.len(),
            Self::FileAppend { name, text, .. } => name.len() + text.len(),
            Self::LockAcquire { name, owner, .. } => name.len() + owner.len(),
            _ => 0,
        }
    }
}
