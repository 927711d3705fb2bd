//! The seal: how many synced batches there were, in a file beside the database.
//!
//! SQLite takes a frame of its log of writes that does not check for the log's end, and an older copy of a database for a
//! database; so what was synced, a promise say, could be gone, and nothing would show it. Therefore each synced batch is
//! counted in the database, and the count is written to `seal` after it. A database that counts fewer batches than the
//! seal says has lost some.
//!
//! The seal itself is synced only when the database is folded: it costs one small write a batch, and no sync. What is
//! written without a sync outlives the process, and sooner or later reaches the disk.
//!
//! # Caveats
//!
//! - After a loss of power the seal may be some seconds behind. It then never accuses a database wrongly, but damage in
//!   the batches of those seconds alone is not noticed.
//! - A seal that cannot be read, or is gone, tells nothing; the log says so.
//! - Whoever sets the whole directory back, seal and all, is not noticed here.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use log::warn;
use rusqlite::{Connection, ErrorCode};

use super::{StoreError, sqlite};
use crate::protocol::Record;
use crate::protocol::log::memory::Record::{Append, Commit, Compact};

/// How many synced batches there were: with records of the replicated log, and with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Batches {
    pub(super) log: u64,
    pub(super) single: u64,
}

impl Batches {
    /// One batch more. A snapshot and a commit index can be lost without harm, and do not count.
    pub(super) fn and(self, records: &[Record]) -> Self {
        let counts = |record: &Record| match record {
            Record::Log(Append { entries, .. }) => !entries.is_empty(),
            Record::Log(log) => !matches!(log, Compact { .. } | Commit { .. }),
            _ => false,
        };
        let log = records.iter().any(counts);
        let single = records.iter().any(|record| !matches!(record, Record::Log(_)));
        Self { log: self.log + u64::from(log), single: self.single + u64::from(single) }
    }

    pub(super) fn max(self, other: Self) -> Self {
        Self { log: self.log.max(other.log), single: self.single.max(other.single) }
    }

    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let count = |query: &str| connection.query_row(query, [], |row| row.get(0)).map(i64::cast_unsigned);
        let log = count(
            "SELECT max(coalesce((SELECT batch FROM log ORDER BY first DESC LIMIT 1), 0), \
             coalesce((SELECT batch FROM log_epoch), 0))",
        );
        let log = match log {
            // Whatever is there, it is not what was written.
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DatabaseCorrupt => 0,
            log => log?,
        };
        Ok(Self { log, single: count("SELECT single FROM batches")? })
    }

    /// Writes what is not in the rows of the log, which carry the number of their batch: so that costs no page.
    pub(super) fn write(self, before: Self, connection: &Connection) -> rusqlite::Result<()> {
        if self.single != before.single {
            connection.prepare_cached("UPDATE batches SET single = ?1")?.execute([self.single.cast_signed()])?;
        }
        Ok(())
    }

    /// A line that is always as long, so that it is written over in place.
    fn line(self) -> String {
        let Self { log, single } = self;
        let crc = sqlite::checksum(&["seal", &log.to_string(), &single.to_string()]);
        format!("{log:020} {single:020} {crc:010}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        let batches = Self { log: numbers.next()??, single: numbers.next()?? };
        (batches.line() == line).then_some(batches)
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Seal {
    file: File,
    path: PathBuf,
}

impl Seal {
    /// Opens or makes it, and says what it says: nothing, if it is new or cannot be read.
    pub(super) fn open(dir: &Path) -> Result<(Self, Batches), StoreError> {
        let path = dir.join("seal");
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open().map_err(|source| StoreError::Io { path: path.clone(), source })?;
        sqlite::sync_directory(dir)?;
        let seal = Self { file, path };
        let text = io::read_to_string(&seal.file).unwrap_or_default();
        let batches = Batches::parse(&text);
        if batches.is_none() && !text.is_empty() {
            warn!("{} cannot be read, so nothing shows whether node.db is whole", seal.path.display());
            seal.file.set_len(0).map_err(|source| seal.failed(source))?;
        }
        let batches = batches.unwrap_or_default();
        Ok((seal, batches))
    }

    pub(super) fn write(&self, batches: Batches) -> Result<(), StoreError> {
        self.file.write_all_at(batches.line().as_bytes(), 0).map_err(|source| self.failed(source))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), source }
    }
}
