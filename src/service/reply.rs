//! What the services answer: to whoever wrote, and to whoever waits.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::FileEvent;

/// A place in the log, and the name of the entry there: ZooKeeper's transaction id.
///
/// The counter alone tells entries apart, since the log is contiguous over all epochs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The round of the ballot in which the entry was chosen.
    pub epoch: u64,
    /// The slot.
    pub counter: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.counter)
    }
}

/// What became of a command. The same on every node, so any of them may tell the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reply {
    /// Time has passed.
    Ticked,
    /// A key has a value.
    Put {
        /// Since this entry.
        at: Position,
        /// The version of the value.
        version: u64,
    },
    /// A key has none.
    Deleted {
        /// Since this entry, or longer.
        at: Position,
        /// The version that the entry deleted; `None` if there was no such key.
        version: Option<u64>,
    },
    /// The board has changed.
    Board {
        /// By this entry.
        at: Position,
        /// Which post was made, modified or deleted.
        id: u64,
    },
    /// A file has changed.
    File {
        /// By this entry.
        at: Position,
        /// How; its `Display` is the message that the client gets.
        change: FileEvent,
    },
    /// What an acquire or a renew came to.
    Lock {
        /// The entry that granted or queued, or that ended the waiting.
        at: Position,
        /// What it came to.
        standing: Standing,
    },
    /// A lock, or a place in its queue, was given up.
    Released {
        /// By this entry.
        at: Position,
    },
    /// The command was not carried out.
    Refused(Refusal),
    /// The cluster has other members. Not the services' answer, but the log's.
    Members {
        /// Since this entry.
        at: Position,
    },
}

/// Where an owner stands with a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// It holds the lock.
    Held {
        /// The fencing token: greater than that of every earlier grant of any lock.
        token: u64,
        /// Until when, in the log's own time, unless renewed.
        expires_ms: u64,
    },
    /// It waits. When that ends, a [`Notice`] says so, and the answer that is kept for the request changes.
    Queued {
        /// Its place: 1 is next.
        position: u64,
    },
    /// Somebody else holds the lock, and it does not wait, or no longer.
    Without,
}

/// Why a command was not carried out. All are definite: nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The entry is not a command. No client can cause it.
    #[error("the entry cannot be read by this version; nothing was done")]
    Malformed,
    /// A compare-and-set lost.
    #[error(
        "key '{key}' {}; nothing was written; get it and compare again",
        .current.map_or_else(
            || format!("does not exist, so it has no version {wanted}"),
            |current| format!("has version {current}, not {wanted}")
        )
    )]
    Compare {
        /// Which key.
        key: Arc<str>,
        /// The version that the caller saw; 0 if it saw none.
        wanted: u64,
        /// The version that it has; `None` if there is no such key.
        current: Option<u64>,
    },
    /// No such post.
    #[error("there is no post {id}; nothing was changed; list the board to see which there are")]
    NoPost {
        /// Which.
        id: u64,
    },
    /// There is such a file already.
    #[error("FILE '{name}' ALREADY EXISTS")]
    FileExists {
        /// Which.
        name: Arc<str>,
    },
    /// There is no such file.
    #[error("FILE '{name}' DOESN'T EXIST")]
    NoFile {
        /// Which.
        name: Arc<str>,
    },
    /// The token's grant is over.
    #[error(
        "token {token} does not hold {}{}; nothing was written; acquire the lock anew",
        .lock.as_ref().map_or_else(|| "a lock any more".into(), |lock| format!("lock '{lock}'")),
        .newest.map_or_else(String::new, |newest| format!(", token {newest} does"))
    )]
    TokenOld {
        /// Which token.
        token: u64,
        /// The lock, if the caller said which.
        lock: Option<Arc<str>>,
        /// The token that holds this lock now.
        newest: Option<u64>,
    },
    /// The caller does not hold the lock.
    #[error(
        "'{owner}' does not hold lock '{name}'{}; nothing was changed",
        .holder.as_ref().map_or_else(
            || ", and nobody does".into(), |(owner, token)| format!(": '{owner}' does, with token {token}")
        )
    )]
    NotHolder {
        /// Which lock.
        name: Arc<str>,
        /// Who is not its holder.
        owner: Arc<str>,
        /// Who is, with which token.
        holder: Option<(Arc<str>, u64)>,
    },
    /// A later call of the same client was applied.
    #[error(
        "request {client}/{sequence} comes after {client}/{last}; it was not applied now, and the answer it may have had \
         is gone"
    )]
    Superseded {
        /// Whose.
        client: Arc<str>,
        /// Which of its calls.
        sequence: u64,
        /// The latest that was applied.
        last: u64,
    },
    /// The request id was given to another call before.
    #[error("request {client}/{sequence} was another call; nothing was done; give each call a number of its own")]
    Reused {
        /// Whose.
        client: Arc<str>,
        /// Which number.
        sequence: u64,
    },
    /// Longer than it may be.
    #[error("{what} of {bytes} bytes is larger than {most}; nothing was written")]
    TooLarge {
        /// What.
        what: Resource,
        /// How long it is.
        bytes: u64,
        /// How long it may be.
        most: u64,
    },
    /// Empty, or with control characters.
    #[error("{what} is empty or has control characters; nothing was done")]
    BadName {
        /// The name of what.
        what: Resource,
    },
    /// No time that a lock can have.
    #[error("{what} of {ms} ms is not between {least} and {most}; nothing was done")]
    BadTime {
        /// Which.
        what: Resource,
        /// What was asked for.
        ms: u64,
        /// The least that can be.
        least: u64,
        /// The most.
        most: u64,
    },
    /// There is no room.
    #[error("there is room for {most} {what}; nothing was written; delete something first")]
    Full {
        /// For what.
        what: Resource,
        /// How much there is.
        most: u64,
    },
    /// What happened since then is not all kept. To a reader, not to a writer.
    #[error("not all that happened since {since} is kept, only since {oldest}; list anew, and go on from there")]
    Forgotten {
        /// Since when was asked.
        since: u64,
        /// The lowest that can be asked for.
        oldest: u64,
    },
    /// The leader's disk is full: the command did not become an entry. Not the services' answer, but the log's.
    #[error("the leader's disk is full; nothing was written")]
    NoRoom,
}

/// What a limit is on, as refusals name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the thing that it says, and `Display` spells it out")]
pub enum Resource {
    Client,
    Key,
    Value,
    Post,
    File,
    Line,
    Lock,
    Owner,
    Ttl,
    Wait,
    Keys,
    KvBytes,
    Posts,
    BoardBytes,
    Files,
    FileBytes,
    FilesBytes,
    Locks,
    Waiters,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "the name of a client",
            Self::Key => "a key",
            Self::Value => "a value",
            Self::Post => "a post",
            Self::File => "the name of a file",
            Self::Line => "a line",
            Self::Lock => "the name of a lock",
            Self::Owner => "the name of an owner",
            Self::Ttl => "a time to live",
            Self::Wait => "a time to wait",
            Self::Keys => "keys",
            Self::KvBytes => "bytes of keys and values",
            Self::Posts => "posts",
            Self::BoardBytes => "bytes of posts",
            Self::Files => "files",
            Self::FileBytes => "bytes in a file, 16 more a line",
            Self::FilesBytes => "bytes in all files, 16 more a line",
            Self::Locks => "locks that are held",
            Self::Waiters => "owners that wait for locks",
        })
    }
}

/// What an entry changed for those who wait for it on this node. Not part of the state: a node that has nobody waiting
/// drops them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A key was put or deleted: who watches a prefix of it may look.
    Kv {
        /// Which.
        key: Arc<str>,
    },
    /// The board changed.
    Board,
    /// An owner that waited for a lock waits no longer. It did not cause the entry, so this is its only answer.
    Lock {
        /// Which lock.
        name: Arc<str>,
        /// Who waited.
        owner: Arc<str>,
        /// What came of it: held, or without.
        standing: Standing,
    },
}

/// What is known of a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied: where, and what came of it. A refusal is an answer too.
    Applied {
        /// The entry.
        at: Position,
        /// Its answer.
        reply: Reply,
    },
    /// A later call of the same client was applied, and only the last answer is kept. It may have been applied before
    /// that; it will not be any more.
    Superseded {
        /// The latest call that was applied.
        last: u64,
    },
    /// Not applied, as far as this node has applied the log; it may be under way.
    NotApplied {
        /// The latest call of this client that was applied; `None` if none is known.
        last: Option<u64>,
    },
}

impl Reply {
    /// As bytes, for the node where the call came in.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Appending to a vector cannot fail; see `Command::encode`.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads what [`Reply::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are no answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        match postcard::take_from_bytes(bytes)? {
            (reply, []) => Ok(reply),
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }

    /// The entry that did it, if it was done.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        match self {
            Self::Ticked | Self::Refused(_) => None,
            Self::Put { at, .. }
            | Self::Deleted { at, .. }
            | Self::Board { at, .. }
            | Self::File { at, .. }
            | Self::Lock { at, .. }
            | Self::Released { at }
            | Self::Members { at } => Some(*at),
        }
    }

    /// What keeping it costs.
    pub(super) fn bytes(&self) -> u64 {
        let texts = match self {
            Self::File { change, .. } => change.bytes(),
            Self::Refused(refusal) => match refusal {
                Refusal::Compare { key, .. } => key.len(),
                Refusal::FileExists { name } | Refusal::NoFile { name } => name.len(),
                Refusal::TokenOld { lock, .. } => lock.as_ref().map_or(0, |lock| lock.len()),
                Refusal::NotHolder { name, owner, holder } => {
                    name.len() + owner.len() + holder.as_ref().map_or(0, |(owner, _)| owner.len())
                }
                Refusal::Superseded { client, .. } | Refusal::Reused { client, .. } => client.len(),
                _ => 0,
            },
            _ => 0,
        };
        texts as u64
    }
}
