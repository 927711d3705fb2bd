//! The services that the replicated log feeds: keys and values, a board, files, locks, and exactly once over all of
//! them.
//!
//! [`Services`] is a deterministic state machine. It is handed the entries of the log, in order, each once, and nothing
//! else; the same entries give the same answers and the same state on every node. Reads look at the state as it is and
//! need no entry.
//!
//! # An entry
//!
//! An entry is a [`Command`] as bytes: who asks, the log's own time as the leader proposed it, and one write. It is
//! applied in these steps:
//!
//! 1. The time passes: it becomes the greater of the one before and the entry's. Waiting and grants of locks whose time
//!    has come end now, before anything else can rest on them.
//! 2. A call under a request id that was applied gets the answer it had; nothing below happens ([`sessions`]).
//! 3. A name or a text that nobody may use is refused.
//! 4. A token must still hold its lock ([`locks`]).
//! 5. The write is done, whole, or refused, without a trace.
//! 6. The answer is kept under the request id, refusals too.
//!
//! | file | what it is |
//! |---|---|
//! | [`command`] | what an entry carries, and its bytes |
//! | [`reply`] | answers, refusals, and notices to those who wait |
//! | [`kv`] | `kv.*`: keys and values with versions |
//! | [`board`] | `board.strong.*`: posts in the leader's order |
//! | [`files`] | `files.*`: text files to which one appends |
//! | [`locks`] | `lock.*`: queues, times to live, fencing tokens |
//! | [`sessions`] | the last answer of each client |
//! | [`journal`] | the latest events, for watchers |
//! | `table` | the ordered map that all state is in |
//! | [`limits`] | how large anything may become |
//!
//! # Invariants
//!
//! - Two nodes that applied the same entries have equal [`Services::state_hash`]; so has what was restored from a
//!   snapshot.
//! - Nothing that was refused has changed anything but time, locks whose time had come, and the kept answer.
//! - Versions of a key, ids of posts and fencing tokens only grow, also over deletion, snapshot and restart.
//! - A lock has one holder, and a token names one grant for ever.
//! - No name leaves the state: it is a key in a map, and nothing here opens anything.
//! - Nothing grows beyond [`Limits`], and no bytes make it panic.
//!
//! # Caveats
//!
//! The log's own time is what leaders say. A leader should count on from the last entry's time by its own ticks, not
//! take the wall clock's: then no clock that leaps can end all locks at once.

pub mod board;
pub mod command;
pub mod files;
pub mod journal;
pub mod kv;
pub mod limits;
pub mod locks;
pub mod reply;
pub mod sessions;
mod table;

#[cfg(test)]
mod tests;

use std::iter;
use std::sync::Arc;

use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use board::{Board, BoardEvent, Post};
use command::{Action, Command, RequestKey, fingerprint};
use files::{FileEvent, FileInfo, FileText, Files};
use journal::Watched;
use kv::{Kv, KvEntry, KvEvent, Page};
use limits::Limits;
use locks::{Acquire, LockInfo, Locks, Now, Settled};
use reply::{Notice, Outcome, Position, Refusal, Reply};
use sessions::{Request, Seen, Sessions};

/// Before a snapshot's state: what it is, and in which version.
const MAGIC: [u8; 4] = *b"SYS\x01";

/// All services of a node. A clone shares its structure with the original and costs next to nothing: take one to make a
/// snapshot elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Services {
    state: State,
    limits: Limits,
}

/// What is replicated.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    applied: Position,
    time_ms: u64,
    kv: Kv,
    board: Board,
    files: Files,
    locks: Locks,
    sessions: Sessions,
}

/// A snapshot that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not a snapshot of this version.
    #[error("not a snapshot of the services in a version that this node knows")]
    Version,
    /// A snapshot that ends too early or holds something else.
    #[error("a snapshot that cannot be read: {0}")]
    Content(#[from] postcard::Error),
    /// It can be read, and is not what was written.
    #[error("a damaged snapshot: its state hash is {found:016x}, and it should be {expected:016x}")]
    Damaged {
        /// The hash of what was read.
        found: u64,
        /// The hash that was written.
        expected: u64,
    },
}

impl Services {
    /// Nothing, under other limits than the usual; for tests.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Applies the entry at `at`. What it changed for those who wait is added to `notices`.
    ///
    /// Empty bytes are an entry that does nothing.
    ///
    /// # Panics
    /// The entry does not come after the one before: applying it would be wrong whatever it is.
    pub fn apply(&mut self, at: Position, bytes: &[u8], notices: &mut Vec<Notice>) -> Reply {
        let before = self.state.applied;
        assert!(at.counter > before.counter && at.epoch >= before.epoch, "entry {at} is applied after {before}");
        self.state.applied = at;
        if bytes.is_empty() {
            return Reply::Ticked;
        }
        let (command, action_bytes) = match Command::decode_parts(bytes) {
            Ok(parts) => parts,
            Err(malformed) => {
                log::warn!("entry {at} is refused: {malformed}");
                return Reply::Refused(Refusal::Malformed);
            }
        };
        self.state.time_ms = self.state.time_ms.max(command.time_ms);
        let mut settled = Vec::new();
        self.state.locks.expire(self.now(), &mut settled);
        // Before the answer: this entry may repeat the very call whose waiting has just ended.
        self.settle(&mut settled, notices);
        let reply = self.answer(&command, action_bytes, &mut settled, notices);
        self.settle(&mut settled, notices);
        reply
    }

    /// Once for each request.
    fn answer(
        &mut self,
        command: &Command<'_>,
        action_bytes: &[u8],
        settled: &mut Vec<Settled>,
        notices: &mut Vec<Notice>,
    ) -> Reply {
        let Some(request) = &command.request else { return self.act(command, settled, notices) };
        let fingerprint = fingerprint(action_bytes);
        match self.state.sessions.seen(request, fingerprint) {
            Seen::Before(reply) => reply,
            Seen::New => {
                let reply = self.act(command, settled, notices);
                // A name that nobody may use is not kept: its refusal is the same the next time.
                if self.limits.name(reply::Resource::Client, request.client).is_ok() {
                    let at = self.state.applied;
                    self.state.sessions.keep(at, request, fingerprint, reply.clone(), &self.limits);
                }
                reply
            }
        }
    }

    fn act(&mut self, command: &Command<'_>, settled: &mut Vec<Settled>, notices: &mut Vec<Notice>) -> Reply {
        self.try_act(command, settled, notices).unwrap_or_else(Reply::Refused)
    }

    fn try_act(
        &mut self,
        command: &Command<'_>,
        settled: &mut Vec<Settled>,
        notices: &mut Vec<Notice>,
    ) -> Result<Reply, Refusal> {
        command.check(&self.limits)?;
        let now = self.now();
        let (at, author, limits) = (now.at, command.author, &self.limits);
        let State { kv, board, files, locks, .. } = &mut self.state;
        if let Some(fence) = command.action.fence() {
            locks.check(&fence)?;
        }
        match command.action {
            Action::KvPut { key, value, .. } => kv.put(at, key, value, None, limits, notices),
            Action::KvCas { key, version, value, .. } => kv.put(at, key, value, Some(version), limits, notices),
            Action::KvDelete { key, .. } => Ok(kv.delete(at, key, limits, notices)),
            Action::BoardPost { text } => board.post(at, author, text, limits, notices),
            Action::BoardModify { id, text } => board.modify(at, author, (id, text), limits, notices),
            Action::BoardDelete { id } => board.delete(at, author, id, limits, notices),
            Action::FileCreate { name, .. } => files.create(at, name, limits),
            Action::FileAppend { name, text, .. } => files.append(at, name, text, limits),
            Action::FileDelete { name, .. } => files.delete(at, name, limits),
            Action::LockAcquire { name, owner, ttl_ms, wait_ms } => {
                let request = command
                    .request
                    .map(|RequestKey { client, sequence }| Request { client: Arc::from(client), sequence });
                locks.acquire(now, Acquire { name, owner, ttl_ms, wait_ms, request }, limits, settled)
            }
            Action::LockRenew { name, owner, token, ttl_ms } => locks.renew(now, name, owner, token, ttl_ms),
            Action::LockRelease { name, owner, token } => locks.release(now, name, owner, token, settled),
            Action::Expire => Ok(Reply::Ticked),
        }
    }

    /// Tells those who waited for a lock: the answer that their requests have is the one that they waited for.
    fn settle(&mut self, settled: &mut Vec<Settled>, notices: &mut Vec<Notice>) {
        let at = self.state.applied;
        for Settled { name, owner, request, standing } in settled.drain(..) {
            if let Some(request) = request {
                self.state.sessions.amend(&request, Reply::Lock { at, standing });
            }
            notices.push(Notice::Lock { name, owner, standing });
        }
    }

    fn now(&self) -> Now {
        Now { at: self.state.applied, time_ms: self.state.time_ms }
    }
}

/// Reads. They show the state after the entry [`Services::applied`].
impl Services {
    /// The last entry that was applied.
    #[must_use]
    pub const fn applied(&self) -> Position {
        self.state.applied
    }

    /// The log's own time.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.state.time_ms
    }

    /// The earliest time, in the log's own, at which a lock or a waiting ends: when the leader has an
    /// [`Action::Expire`] to propose, if no other entry comes before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.state.locks.next_deadline()
    }

    /// The limits that hold here.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What a key has.
    #[must_use]
    pub fn kv_get(&self, key: &str) -> Option<&KvEntry> {
        self.state.kv.entry(key)
    }

    /// The keys that begin with `prefix`, in order, after the key `after`: `limit` of them at most, and as many as one
    /// answer may hold.
    #[must_use]
    pub fn kv_list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page<(Arc<str>, KvEntry)> {
        self.state.kv.list(prefix, after, limit)
    }

    /// What happened after the entry with counter `since` to keys that begin with `prefix`.
    ///
    /// # Errors
    /// Not all of that is kept.
    pub fn kv_watch(&self, prefix: &str, since: u64, limit: usize) -> Result<Watched<KvEvent>, Refusal> {
        self.state.kv.journal().since(since, limit, self.state.applied.counter, |event| event.key.starts_with(prefix))
    }

    /// The posts after the post `after`, with their ids, in the leader's order.
    #[must_use]
    pub fn board_list(&self, after: u64, limit: usize) -> Page<(u64, Post)> {
        self.state.board.list(after, limit)
    }

    /// The last posts, with their ids, in the leader's order: `limit` of them at most, and as many as one answer may hold.
    #[must_use]
    pub fn board_newest(&self, limit: usize) -> Vec<(u64, Post)> {
        self.state.board.newest(limit)
    }

    /// What happened on the board after the entry with counter `since`.
    ///
    /// # Errors
    /// Not all of that is kept.
    pub fn board_watch(&self, since: u64, limit: usize) -> Result<Watched<BoardEvent>, Refusal> {
        self.state.board.journal().since(since, limit, self.state.applied.counter, |_| true)
    }

    /// A file, whole.
    ///
    /// # Errors
    /// There is no such file.
    pub fn file_read(&self, name: &str) -> Result<FileText, Refusal> {
        self.state.files.read(name)
    }

    /// All files, by name.
    #[must_use]
    pub fn files_list(&self) -> Vec<(Arc<str>, FileInfo)> {
        self.state.files.list()
    }

    /// What was done with files after the entry with counter `since`; without one, all that is kept.
    ///
    /// # Errors
    /// Not all of that is kept.
    pub fn files_history(&self, since: Option<u64>, limit: usize) -> Result<Watched<FileEvent>, Refusal> {
        let history = self.state.files.history();
        history.since(since.unwrap_or_else(|| history.dropped()), limit, self.state.applied.counter, |_| true)
    }

    /// The locks that are held, by name, and who waits for them.
    #[must_use]
    pub fn locks_list(&self) -> Vec<LockInfo> {
        self.state.locks.list()
    }

    /// What became of a request.
    #[must_use]
    pub fn outcome(&self, request: &RequestKey<'_>) -> Outcome {
        self.state.sessions.outcome(request)
    }
}

/// Snapshots.
impl Services {
    /// A hash of all that is replicated. Kept up to date by every change, so asking for it costs nothing; the same on
    /// every platform and in every build of the same version.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let State { applied, time_ms, kv, board, files, locks, sessions } = &self.state;
        let mut hash = Xxh64::new(0);
        for part in [applied.epoch, applied.counter, *time_ms] {
            hash.update(&part.to_le_bytes());
        }
        kv.digest(&mut hash);
        board.digest(&mut hash);
        files.digest(&mut hash);
        locks.digest(&mut hash);
        sessions.digest(&mut hash);
        hash.digest()
    }

    /// All state as bytes. Takes time in proportion to the state: call it on a clone, on another thread.
    ///
    /// The bytes begin with a version and the state hash, little-endian; the rest is postcard. Equal states give equal
    /// bytes. They are counted first, and then written where they stay: in a vector that grows, and is copied in the end,
    /// they would take three times their room for a while.
    #[must_use]
    pub fn snapshot(&self) -> Arc<[u8]> {
        let hash = self.state_hash().to_le_bytes();
        let head = [&MAGIC[..], &hash].concat();
        let write = || {
            let size = postcard::serialize_with_flavor(&self.state, Size::default())?;
            let mut bytes: Arc<[u8]> = iter::repeat_n(0, head.len() + size).collect();
            let room = Arc::get_mut(&mut bytes).and_then(|room| room.split_at_mut_checked(head.len()));
            if let Some((start, rest)) = room {
                start.copy_from_slice(&head);
                postcard::to_slice(&self.state, rest)?;
            }
            Ok::<_, postcard::Error>(bytes)
        };
        // To write plain types where there is room for them cannot fail. What came out empty would be refused by
        // `restore`.
        write().unwrap_or_default()
    }

    /// What [`Services::snapshot`] wrote.
    ///
    /// # Errors
    /// The bytes are not a snapshot of this version, or were damaged.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        Self::restore_with_limits(bytes, Limits::default())
    }

    /// The same under other limits than the usual; for tests.
    ///
    /// # Errors
    /// The bytes are not a snapshot of this version, or were damaged.
    pub fn restore_with_limits(bytes: &[u8], limits: Limits) -> Result<Self, RestoreError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(RestoreError::Version)?;
        let (expected, rest) = rest.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        let (state, trailing): (State, _) = postcard::take_from_bytes(rest)?;
        if !trailing.is_empty() {
            return Err(postcard::Error::DeserializeBadEncoding.into());
        }
        let mut services = Self { state, limits };
        let (expected, found) = (u64::from_le_bytes(*expected), services.state_hash());
        if expected != found {
            return Err(RestoreError::Damaged { found, expected });
        }
        if mutant!(SnapshotForgetsRequests) {
            services.state.sessions = Sessions::default();
        }
        services.state.locks.rebuild();
        services.state.sessions.rebuild();
        Ok(services)
    }
}
