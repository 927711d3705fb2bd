//! Events, operations and answers: the vocabulary of a history.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A process begins an operation.
    Invoke {
        /// The client; it does one operation at a time.
        process: u64,
        /// When, in nanoseconds since the recording began.
        time_ns: u64,
        /// What it asks for.
        #[serde(flatten)]
        op: Op,
    },
    /// Its operation took effect, and this is the answer.
    Return {
        /// The client.
        process: u64,
        /// When the answer was there.
        time_ns: u64,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
    },
    /// Definite: its operation had no effect, and never will.
    Fail {
        /// The client.
        process: u64,
        /// When that was known.
        time_ns: u64,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Indefinite: its operation may have had its effect, or may have it later, or never.
    Unknown {
        /// The client.
        process: u64,
        /// When the client gave up.
        time_ns: u64,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
}

impl Event {
    /// Whose event it is.
    #[must_use]
    pub const fn process(&self) -> u64 {
        match self {
            Self::Invoke { process, .. }
            | Self::Return { process, .. }
            | Self::Fail { process, .. }
            | Self::Unknown { process, .. } => *process,
        }
    }

    /// When it happened.
    #[must_use]
    pub const fn time_ns(&self) -> u64 {
        match self {
            Self::Invoke { time_ns, .. }
            | Self::Return { time_ns, .. }
            | Self::Fail { time_ns, .. }
            | Self::Unknown { time_ns, .. } => *time_ns,
        }
    }
}

/// What a client asks for. Those of the cluster bear the names of its methods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op")]
pub enum Op {
    /// Gets a value chosen: `chosen`.
    #[serde(rename = "propose")]
    Propose {
        /// Where.
        instance: String,
        /// The value, in any form that tells values apart.
        value: String,
    },
    /// Asks a node what it knows to be chosen: `chosen`, or `undecided` if it does not know.
    #[serde(rename = "decided")]
    Decided {
        /// Where.
        instance: String,
    },
    /// Writes a key: `written` or `done`.
    #[serde(rename = "kv.put")]
    Put {
        /// Which.
        key: String,
        /// What it holds then.
        value: String,
    },
    /// Reads a key: `found` or `absent`.
    #[serde(rename = "kv.get")]
    Get {
        /// Which.
        key: String,
    },
    /// Removes a key: `written` or `done`, or `absent` if there was nothing.
    #[serde(rename = "kv.delete")]
    Remove {
        /// Which.
        key: String,
    },
    /// Writes a key if it is at a version; 0 means that it must not exist: `written` or `done`, else `conflict` or
    /// `absent`.
    #[serde(rename = "kv.cas")]
    Cas {
        /// Which.
        key: String,
        /// The version it must be at.
        version: u64,
        /// What it holds then.
        value: String,
    },
    /// Makes an empty file: `done`, or `exists`.
    #[serde(rename = "files.create")]
    Create {
        /// Which.
        name: String,
    },
    /// Adds text at the end of a file: `done`, or `absent`.
    #[serde(rename = "files.append")]
    Append {
        /// Which.
        name: String,
        /// What is added, with its line feed if one is.
        text: String,
    },
    /// Reads a whole file: `content`, or `absent`.
    #[serde(rename = "files.read")]
    ReadFile {
        /// Which.
        name: String,
    },
    /// Removes a file: `done`, or `absent`.
    #[serde(rename = "files.delete")]
    DeleteFile {
        /// Which.
        name: String,
    },
    /// Takes a lock: `granted`; or `busy`, if it does not wait in the queue any more either.
    #[serde(rename = "lock.acquire")]
    Acquire {
        /// Which.
        name: String,
        /// For whom.
        owner: String,
        /// How long it is held at least, unless released.
        ttl_ms: u64,
    },
    /// Holds a lock for longer: `done`, or `not_held`.
    #[serde(rename = "lock.renew")]
    Renew {
        /// Which.
        name: String,
        /// Who holds it.
        owner: String,
        /// By which grant.
        token: u64,
        /// How long it is held at least from now.
        ttl_ms: u64,
    },
    /// Gives a lock back: `done`, or `not_held`.
    #[serde(rename = "lock.release")]
    Release {
        /// Which.
        name: String,
        /// Who holds it.
        owner: String,
        /// By which grant.
        token: u64,
    },
    /// Puts a post at the end of the board: `posted`.
    #[serde(rename = "board.strong.post")]
    Post {
        /// What it says.
        text: String,
    },
    /// Changes a post: `done`, or `absent`.
    #[serde(rename = "board.strong.modify")]
    Modify {
        /// Which.
        id: String,
        /// What it says then.
        text: String,
    },
    /// Removes a post: `done`, or `absent`.
    #[serde(rename = "board.strong.delete")]
    DeletePost {
        /// Which.
        id: String,
    },
    /// Reads the whole board: `listed`.
    #[serde(rename = "board.strong.list")]
    List,
    /// Reads a quorum register: `found` or `absent`.
    #[serde(rename = "register.read")]
    ReadRegister {
        /// Which.
        key: String,
    },
    /// Writes a quorum register: `done`.
    #[serde(rename = "register.write")]
    WriteRegister {
        /// Which.
        key: String,
        /// What it holds then.
        value: String,
    },
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// This value is chosen.
    Chosen {
        /// The value.
        value: String,
    },
    /// The node knows of no decision.
    Undecided,
    /// It took effect.
    Done,
    /// It took effect, and this is the key's version now.
    Written {
        /// The version.
        version: u64,
    },
    /// This is there.
    Found {
        /// The value.
        value: String,
        /// Its version, where there are versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// There is no such thing; nothing changed.
    Absent,
    /// The key is at another version, 0 if it does not exist; nothing changed.
    Conflict {
        /// The version it is at.
        version: u64,
    },
    /// The file exists already; nothing changed.
    Exists,
    /// All that the file holds.
    Content {
        /// The text.
        text: String,
    },
    /// The lock is the caller's.
    Granted {
        /// The fencing token.
        token: u64,
    },
    /// Somebody else holds the lock; nothing changed.
    Busy,
    /// The caller does not hold the lock; nothing changed.
    NotHeld,
    /// The post is there.
    Posted {
        /// Its id.
        id: String,
    },
    /// All posts, in the board's order.
    Listed {
        /// The posts.
        posts: Vec<Post>,
    },
}

/// A post on a board.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Post {
    /// Its id.
    pub id: String,
    /// What it says.
    pub text: String,
}

/// What kind of thing operations are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An instance of single decree.
    Decision,
    /// A key of the key-value store.
    Key,
    /// A text file.
    File,
    /// A lock.
    Lock,
    /// The strong board; there is one.
    Board,
    /// A quorum register.
    Register,
}

/// What an operation is about. Objects are checked apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its name; empty for the board.
    pub name: String,
}

impl Op {
    /// What it is about.
    #[must_use]
    pub fn object(&self) -> Object {
        let (kind, name) = match self {
            Self::Propose { instance, .. } | Self::Decided { instance } => (Kind::Decision, instance.as_str()),
            Self::Put { key, .. } | Self::Get { key } | Self::Remove { key } | Self::Cas { key, .. } => {
                (Kind::Key, key.as_str())
            }
            Self::Create { name } | Self::Append { name, .. } | Self::ReadFile { name } | Self::DeleteFile { name } => {
                (Kind::File, name.as_str())
            }
            Self::Acquire { name, .. } | Self::Renew { name, .. } | Self::Release { name, .. } => {
                (Kind::Lock, name.as_str())
            }
            Self::Post { .. } | Self::Modify { .. } | Self::DeletePost { .. } | Self::List => (Kind::Board, ""),
            Self::ReadRegister { key } | Self::WriteRegister { key, .. } => (Kind::Register, key.as_str()),
        };
        Object { kind, name: name.to_owned() }
    }

    /// Whether the answer is one of those that this operation can have.
    #[must_use]
    pub const fn admits(&self, answer: &Answer) -> bool {
        use Answer::{
            Absent, Busy, Chosen, Conflict, Content, Done, Exists, Found, Granted, Listed, NotHeld, Posted, Undecided,
            Written,
        };
        match self {
            Self::Propose { .. } => matches!(answer, Chosen { .. }),
            Self::Decided { .. } => matches!(answer, Chosen { .. } | Undecided),
            Self::Put { .. } => matches!(answer, Written { .. } | Done),
            Self::Get { .. } | Self::ReadRegister { .. } => matches!(answer, Found { .. } | Absent),
            Self::Remove { .. } => matches!(answer, Written { .. } | Done | Absent),
            Self::Cas { .. } => matches!(answer, Written { .. } | Done | Conflict { .. } | Absent),
            Self::Create { .. } => matches!(answer, Done | Exists),
            Self::ReadFile { .. } => matches!(answer, Content { .. } | Absent),
            Self::Append { .. } | Self::DeleteFile { .. } | Self::Modify { .. } | Self::DeletePost { .. } => {
                matches!(answer, Done | Absent)
            }
            Self::Acquire { .. } => matches!(answer, Granted { .. } | Busy),
            Self::Renew { .. } | Self::Release { .. } => matches!(answer, Done | NotHeld),
            Self::Post { .. } => matches!(answer, Posted { .. }),
            Self::List => matches!(answer, Listed { .. }),
            Self::WriteRegister { .. } => matches!(answer, Done),
        }
    }

    /// Whether it never changes anything.
    #[must_use]
    pub(super) const fn is_look(&self) -> bool {
        matches!(
            self,
            Self::Decided { .. } | Self::Get { .. } | Self::ReadFile { .. } | Self::List | Self::ReadRegister { .. }
        )
    }

    /// Whether it can make a file or a board less than it was, or other.
    #[must_use]
    pub(super) const fn takes_away(&self) -> bool {
        matches!(self, Self::DeleteFile { .. } | Self::DeletePost { .. } | Self::Modify { .. })
    }

    /// Whether nothing is lost if, of two operations of unknown outcome that follow each other directly, the second being
    /// this one, only one takes effect: this one, because it writes over what the first did; or the first, because a
    /// proposal does nothing once a value is chosen.
    #[must_use]
    pub(super) const fn makes_two_one(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Remove { .. } | Self::WriteRegister { .. } | Self::Propose { .. })
    }

    /// The text that it writes, if it writes one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Propose { value, .. }
            | Self::Put { value, .. }
            | Self::Cas { value, .. }
            | Self::WriteRegister { value, .. } => Some(value),
            Self::Append { text, .. } | Self::Post { text } | Self::Modify { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Answer {
    /// Whether it says that the operation only looked: whatever the object was like, nothing changed. Operations that
    /// only look by nature are not meant.
    #[must_use]
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Absent | Self::Conflict { .. } | Self::Exists | Self::Busy | Self::NotHeld)
    }

    /// The one value that it shows, if it shows one.
    #[must_use]
    pub(super) fn value(&self) -> Option<&str> {
        match self {
            Self::Chosen { value } | Self::Found { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Whether a text stands in it.
    #[must_use]
    pub(super) fn shows(&self, text: &str) -> bool {
        match self {
            Self::Chosen { value } | Self::Found { value, .. } => value == text,
            Self::Content { text: content } => content.contains(text),
            Self::Listed { posts } => posts.iter().any(|post| post.text == text),
            _ => false,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Propose { instance, value } => write!(f, "propose {value:?} in {instance:?}"),
            Self::Decided { instance } => write!(f, "decided {instance:?}"),
            Self::Put { key, value } => write!(f, "kv.put {key:?} {value:?}"),
            Self::Get { key } => write!(f, "kv.get {key:?}"),
            Self::Remove { key } => write!(f, "kv.delete {key:?}"),
            Self::Cas { key, version, value } => write!(f, "kv.cas {key:?} {version} {value:?}"),
            Self::Create { name } => write!(f, "files.create {name:?}"),
            Self::Append { name, text } => write!(f, "files.append {name:?} {text:?}"),
            Self::ReadFile { name } => write!(f, "files.read {name:?}"),
            Self::DeleteFile { name } => write!(f, "files.delete {name:?}"),
            Self::Acquire { name, owner, ttl_ms } => write!(f, "lock.acquire {name:?} for {owner:?}, {ttl_ms} ms"),
            Self::Renew { name, owner, token, ttl_ms } => {
                write!(f, "lock.renew {name:?} for {owner:?} by token {token}, {ttl_ms} ms")
            }
            Self::Release { name, owner, token } => write!(f, "lock.release {name:?} for {owner:?} by token {token}"),
            Self::Post { text } => write!(f, "board.strong.post {text:?}"),
            Self::Modify { id, text } => write!(f, "board.strong.modify {id:?} {text:?}"),
            Self::DeletePost { id } => write!(f, "board.strong.delete {id:?}"),
            Self::List => write!(f, "board.strong.list"),
            Self::ReadRegister { key } => write!(f, "register.read {key:?}"),
            Self::WriteRegister { key, value } => write!(f, "register.write {key:?} {value:?}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen { value } => write!(f, "chosen {value:?}"),
            Self::Undecided => write!(f, "undecided"),
            Self::Done => write!(f, "done"),
            Self::Written { version } => write!(f, "written at version {version}"),
            Self::Found { value, version: Some(version) } => write!(f, "found {value:?} at version {version}"),
            Self::Found { value, version: None } => write!(f, "found {value:?}"),
            Self::Absent => write!(f, "absent"),
            Self::Conflict { version: 0 } => write!(f, "conflict: it does not exist"),
            Self::Conflict { version } => write!(f, "conflict: it is at version {version}"),
            Self::Exists => write!(f, "exists already"),
            Self::Content { text } => write!(f, "content {text:?}"),
            Self::Granted { token } => write!(f, "granted with token {token}"),
            Self::Busy => write!(f, "busy"),
            Self::NotHeld => write!(f, "not held"),
            Self::Posted { id } => write!(f, "posted as {id:?}"),
            Self::Listed { posts } => {
                write!(f, "listed [")?;
                for (at, Post { id, text }) in posts.iter().enumerate() {
                    write!(f, "{}{id:?}: {text:?}", if at > 0 { ", " } else { "" })?;
                }
                write!(f, "]")
            }
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Decision => write!(f, "instance {:?}", self.name),
            Kind::Key => write!(f, "key {:?}", self.name),
            Kind::File => write!(f, "file {:?}", self.name),
            Kind::Lock => write!(f, "lock {:?}", self.name),
            Kind::Board => write!(f, "the board"),
            Kind::Register => write!(f, "register {:?}", self.name),
        }
    }
}
