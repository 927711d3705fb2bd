//! What a node remembers, on disk.
//!
//! [`Store`] is the seam: [`sqlite::Sqlite`] is the real one, [`memory::Memory`] its twin for tests. Both mean the same
//! by a record as [`Durable::apply`], and a test holds them to it.

pub mod decided_files;
mod folder;
mod log_tables;
pub mod memory;
mod overlay_tables;
mod reserve;
mod seal;
pub mod sqlite;
mod weak_tables;

use std::path::PathBuf;

use crate::protocol::Record;
use crate::protocol::durable::Durable;
use crate::protocol::types::{Instance, Value};

/// Keeps a node's records.
pub trait Store: Send {
    /// What all records so far come to.
    ///
    /// # Errors
    /// The records cannot be read, or are not what was written.
    fn load(&mut self) -> Result<Durable, StoreError>;

    /// Keeps these records, in order, all or none; `at` is the local time that decisions carry. With `sync` they are on
    /// disk when this returns; without, they survive the process but perhaps not the machine.
    ///
    /// # Errors
    /// With [`StoreError::NoRoom`] it is certain that nothing of the records was kept, and all before them is as it was:
    /// later ones may be kept when there is room again. With any other nothing is known of the records. The caller stops the
    /// node and does not try again: after a failed sync the system may have dropped what it could not write, and a second
    /// sync would succeed without it.
    fn write(&mut self, records: &[Record], at: &str, sync: bool) -> Result<(), StoreError>;

    /// All decisions, with the time at which they were learned, in that order.
    ///
    /// # Errors
    /// As for [`Store::load`].
    fn decisions(&mut self) -> Result<Vec<Decision>, StoreError>;

    /// Whether the store has used up what room there was: it lives on a reserve, or cannot write at all.
    fn is_short(&self) -> bool {
        false
    }

    /// Looks whether a store that is short has room again, as much as before.
    ///
    /// # Errors
    /// As for [`Store::write`], but for want of room: that is `false`.
    fn find_room(&mut self) -> Result<bool, StoreError> {
        Ok(!self.is_short())
    }

    /// Housekeeping, called when the node has nothing else to do.
    ///
    /// # Errors
    /// As for [`Store::write`].
    fn idle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// One decision as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The instance.
    pub instance: Instance,
    /// The value.
    pub value: Value,
    /// The local time at which this node learned it, `2026-11-20 09:44:00`.
    pub at: String,
}

/// Why a store cannot be used, or can no longer be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the data directory {dir} is in use by another process; stop that one, or choose another directory with --data"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It belongs to another node.
    #[error("the data directory {dir} belongs to node {owner}, not to node {id}; directories must not be exchanged")]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who opens it.
        id: u32,
    },
    /// A record is not what was written.
    #[error(
        "{file} is damaged: {what}; this node must not vote with it. Move the directory away; a lab can then be started \
         afresh"
    )]
    Damaged {
        /// The database.
        file: PathBuf,
        /// Which record, and how it shows.
        what: String,
    },
    /// It was written by another version of this program.
    #[error("{file} has format {found}, and this program reads format {expected}")]
    Format {
        /// The database.
        file: PathBuf,
        /// The format found.
        found: i64,
        /// The format that this program writes.
        expected: i64,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The disk takes no more.
    #[error("{file}: {why}; free space on its disk")]
    NoRoom {
        /// The database.
        file: PathBuf,
        /// In the words of who refused.
        why: String,
    },
    /// SQLite refused.
    #[error("{file}: {source}")]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

#[cfg(test)]
mod tests;
