//! How large anything in the replicated state may become.

use super::reply::{Refusal, Resource};

/// The limits of the services. A command that would pass one is refused on every node alike, so **all nodes must have
/// the same**: they are constants of a build, and only tests use others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a name: of a file, a lock, an owner, a client.
    pub name_bytes: usize,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value in its XML-RPC form.
    pub value_bytes: usize,
    /// Bytes of a post, and of what one append adds to a file.
    pub text_bytes: usize,
    /// Keys.
    pub keys: u64,
    /// Bytes of all keys and values.
    pub kv_bytes: u64,
    /// Posts on the board.
    pub posts: u64,
    /// Bytes of all posts.
    pub board_bytes: u64,
    /// Files.
    pub files: u64,
    /// Bytes of one file; [`Limits::LINE`] more are counted for each line.
    pub file_bytes: u64,
    /// Bytes of all files, counted in the same way.
    pub files_bytes: u64,
    /// Locks that are held at the same time.
    pub locks: u64,
    /// Owners that wait for a lock, over all locks.
    pub waiters: u64,
    /// Milliseconds for which a lock may be held without being renewed, and for which one may wait for it.
    pub lock_ms: u64,
    /// Clients whose last answer is kept.
    pub clients: u64,
    /// Bytes of the answers that are kept.
    pub clients_bytes: u64,
    /// Events that are kept for watchers, per service.
    pub events: u64,
    /// Bytes of the events that are kept, per service.
    pub events_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name_bytes: 255,
            key_bytes: 1024,
            value_bytes: 1 << 20,
            text_bytes: 64 << 10,
            keys: 1_000_000,
            kv_bytes: 256 << 20,
            posts: 100_000,
            board_bytes: 32 << 20,
            files: 10_000,
            file_bytes: 1 << 20,
            files_bytes: 64 << 20,
            locks: 10_000,
            waiters: 4096,
            lock_ms: 24 * 60 * 60 * 1000,
            clients: 16_384,
            clients_bytes: 16 << 20,
            events: 4096,
            events_bytes: 8 << 20,
        }
    }
}

impl Limits {
    /// What a line costs besides its bytes, so that a file of empty lines is bounded too.
    pub const LINE: u64 = 16;
    /// Bytes that one answer to a reader holds at most, unless its first element alone is larger: an answer must fit a
    /// message.
    pub const PAGE_BYTES: usize = 2 << 20;

    /// A name that people and terminals can show: not empty, not long, and without control characters.
    pub(super) fn name(&self, what: Resource, name: &str) -> Result<(), Refusal> {
        name_of(what, name, if what == Resource::Key { self.key_bytes } else { self.name_bytes })
    }

    /// Any text that is not too long.
    pub(super) fn text(&self, what: Resource, text: &str) -> Result<(), Refusal> {
        let most = if what == Resource::Value { self.value_bytes } else { self.text_bytes };
        if text.len() > most {
            return Err(Refusal::TooLarge { what, bytes: text.len() as u64, most: most as u64 });
        }
        Ok(())
    }

    /// A time that a lock is held or waited for.
    pub(super) fn lock_time(&self, what: Resource, ms: u64, least: u64) -> Result<(), Refusal> {
        if ms < least || ms > self.lock_ms {
            return Err(Refusal::BadTime { what, ms, least, most: self.lock_ms });
        }
        Ok(())
    }
}

fn name_of(what: Resource, name: &str, most: usize) -> Result<(), Refusal> {
    if name.len() > most {
        return Err(Refusal::TooLarge { what, bytes: name.len() as u64, most: most as u64 });
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Refusal::BadName { what });
    }
    Ok(())
}

/// Refuses what would be more than there is room for.
pub(super) fn room(what: Resource, wanted: u64, most: u64) -> Result<(), Refusal> {
    if wanted > most { Err(Refusal::Full { what, most }) } else { Ok(()) }
}
