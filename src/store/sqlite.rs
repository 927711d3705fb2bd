//! The durable store: SQLite, one transaction per batch, synced.
//!
//! `sqlite3 data/8000/node.db 'select * from accepted'` shows what the acceptor accepted: ballots stand there as
//! `3.8000`, values in their XML-RPC form. Each row ends in a CRC-32 of its own, since SQLite's pages have none.
//!
//! Write-ahead log with `synchronous=FULL`: a commit appends to the log and syncs it, once. A batch that need not be
//! synced is committed with `synchronous=NORMAL` for that moment: it reaches the system, so it survives the process.
//! When the disk takes no more, a batch is taken back whole: the log of writes ends before it. Then there is a reserve (see
//! `store::reserve`). Only writes are tried again so, never a sync.
//! The log is folded back into the database (a checkpoint) when the node is idle, or when the log has grown long, then
//! mostly by another thread (`store::folder`). That a synced batch vanishes unnoticed, with the end of that log or with a
//! newer database, is what the seal (`store::seal`) is for.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ::log::warn;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi, params};

use super::folder::Folder;
use super::reserve::{Reserve, is_want_of_room};
use super::seal::{Batches, Seal};
use super::{Decision, Store, StoreError, log_tables, overlay_tables, weak_tables};
use crate::protocol::Record;
use crate::protocol::durable::Durable;
use crate::protocol::log::{self, memory::Memory};
use crate::protocol::overlay;
use crate::protocol::types::{Ballot, Instance, NodeId, Value};

/// 4 has the eventual board and the registers, 3 counts the batches of the log, 2 did neither.
const FORMAT: i64 = 4;
/// Records written until a checkpoint is begun even if the node is busy; so many more, and it is waited for. The log, some
/// 8 MiB then and 16 at most, is written over from its beginning: a sync of blocks that exist already costs half of one
/// that makes the file grow.
const CHECKPOINT_RECORDS: usize = 1024;

/// How much of the database is kept in memory at most: more than a batch's worth of pages. A running node reads little
/// else than what it has just written; and what a snapshot has more than this, it writes into the log before its commit,
/// without which that counts for nothing.
const CACHE_KIB: i64 = 4 << 10;

/// A node that is just stopping closes its port before its store: whoever follows it waits so long for the directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_POLL: Duration = Duration::from_millis(20);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS node (
        id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, followed INTEGER NOT NULL, crc INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS promised (
        instance TEXT PRIMARY KEY, ballot TEXT NOT NULL, crc INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS accepted (
        instance TEXT PRIMARY KEY, ballot TEXT NOT NULL, value TEXT NOT NULL, crc INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS decided (
        seq INTEGER PRIMARY KEY, instance TEXT NOT NULL, ballot TEXT NOT NULL, value TEXT NOT NULL, at TEXT NOT NULL,
        crc INTEGER NOT NULL
    );";

/// A node's database, locked for this process.
#[derive(Debug)]
pub struct Sqlite {
    /// The first to be dropped: the last connection to be closed folds.
    folder: Folder,
    connection: Connection,
    file: PathBuf,
    id: NodeId,
    /// Records in the write-ahead log since the last checkpoint, or since one was begun.
    since_checkpoint: usize,
    seal: Seal,
    /// The synced batches so far.
    batches: Batches,
    /// What the database counted when it was opened.
    counted: Batches,
    reserve: Reserve,
    /// Whether the reserve was needed, and there has been no room since.
    is_short: bool,
    /// Held for as long as the store is open; the system lets go of it when the process dies.
    _lock: File,
}

impl Sqlite {
    /// Opens `dir/node.db`, making it if need be.
    ///
    /// # Errors
    /// The directory is in use, belongs to another node, or cannot be read or written.
    pub fn open(dir: &Path, id: NodeId) -> Result<Self, StoreError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        fs::create_dir_all(dir).map_err(io(dir))?;
        let lock_path = dir.join("lock");
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(io(&lock_path))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::WouldBlock if Instant::now() < deadline => thread::sleep(LOCK_POLL),
                TryLockError::WouldBlock => return Err(StoreError::InUse { dir: dir.to_owned() }),
                TryLockError::Error(source) => return Err(StoreError::Io { path: lock_path, source }),
            }
        }
        // First: SQLite needs room for files of its own.
        let reserve = Reserve::open(dir);
        let file = dir.join("node.db");
        let connection = Connection::open(&file).map_err(|source| StoreError::Sqlite { file: file.clone(), source })?;
        let folder = Folder::open(&file).map_err(|source| StoreError::Sqlite { file: file.clone(), source })?;
        let (seal, sealed) = Seal::open(dir)?;
        let batches = Batches::default();
        let (since_checkpoint, counted, is_short) = (0, batches, !reserve.is_held());
        let mut store = Self {
            folder,
            connection,
            file,
            id,
            since_checkpoint,
            seal,
            batches,
            counted,
            reserve,
            is_short,
            _lock: lock,
        };
        if store.is_short {
            warn!("{}: there is too little room for a reserve: {SHORT}", store.reserve.path().display());
        }
        store.prepare(dir)?;
        store.counted = Batches::read(&store.connection).map_err(|source| store.failed(source))?;
        store.batches = store.counted.max(sealed);
        // What an earlier process wrote without a sync is durable from here on: it will be relied on.
        store.checkpoint()?;
        Ok(store)
    }

    fn prepare(&mut self, dir: &Path) -> Result<(), StoreError> {
        let setup = |connection: &Connection| -> rusqlite::Result<i64> {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_query_value(None, "user_version", |row| row.get(0))
        };
        let found = setup(&self.connection).map_err(|source| self.failed(source))?;
        if matches!(found, 2 | 3) {
            let migrate = |connection: &mut Connection| -> rusqlite::Result<()> {
                let transaction = connection.transaction()?;
                if found == 2 {
                    transaction.execute_batch(log_tables::FROM_FORMAT_2)?;
                }
                transaction.execute_batch(weak_tables::SCHEMA)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()
            };
            migrate(&mut self.connection).map_err(|source| self.failed(source))?;
        } else if found != 0 && found != FORMAT {
            return Err(StoreError::Format { file: self.file.clone(), found, expected: FORMAT });
        }
        if found == 0 {
            let create = |connection: &mut Connection, id: NodeId| -> rusqlite::Result<()> {
                let transaction = connection.transaction()?;
                transaction.execute_batch(SCHEMA)?;
                transaction.execute_batch(log_tables::SCHEMA)?;
                transaction.execute_batch(weak_tables::SCHEMA)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                let crc = checksum(&["node", &id.to_string(), "1", "false"]);
                transaction.execute("INSERT INTO node VALUES (?1, 1, 0, ?2)", params![id.number(), crc])?;
                transaction.commit()
            };
            create(&mut self.connection, self.id).map_err(|source| self.failed(source))?;
            sync_directory(dir)?;
        }
        // Younger than the format: a database made before has these tables from now on.
        self.connection.execute_batch(overlay_tables::SCHEMA).map_err(|source| self.failed(source))?;
        let owner: Option<u32> = self
            .connection
            .query_row("SELECT id FROM node", [], |row| row.get(0))
            .optional()
            .map_err(|source| self.failed(source))?;
        match owner {
            Some(owner) if owner == self.id.number() => Ok(()),
            Some(owner) => Err(StoreError::Foreign { dir: dir.to_owned(), owner, id: self.id.number() }),
            None => Err(self.damaged("the row that says whose it is has gone".to_owned())),
        }
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { file: self.file.clone(), source }
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { file: self.file.clone(), what }
    }

    /// Reads all rows of a table as texts, checks each row's checksum, and hands them to `take`.
    fn rows<const N: usize>(
        &self,
        table: &str,
        columns: &str,
        mut take: impl FnMut([String; N]) -> Option<()>,
    ) -> Result<(), StoreError> {
        let mut read = || -> rusqlite::Result<Option<String>> {
            let mut statement = self.connection.prepare(&format!("SELECT {columns}, crc FROM {table}"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let mut fields = [const { String::new() }; N];
                for (at, field) in fields.iter_mut().enumerate() {
                    *field = row.get(at)?;
                }
                let crc: u32 = row.get(N)?;
                let mut checked = vec![table];
                checked.extend(fields.iter().map(String::as_str));
                let key = fields[0].clone();
                if crc != checksum(&checked) {
                    return Ok(Some(format!("the checksum of row '{key}' of table {table} does not fit")));
                }
                if take(fields).is_none() {
                    return Ok(Some(format!("row '{key}' of table {table} cannot be read")));
                }
            }
            Ok(None)
        };
        match read() {
            Ok(None) => Ok(()),
            Ok(Some(what)) => Err(self.damaged(what)),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Writes the records in one transaction. Its beginning and end are prepared once: reading these words anew each time
    /// took as long as writing a small batch.
    fn commit(&mut self, records: &[Record], at: &str, batches: Batches) -> rusqlite::Result<()> {
        let perform = |words: &str| self.connection.prepare_cached(words)?.execute([]).map(|_| ());
        perform("BEGIN")?;
        let written = self.insert(records, at, batches).and_then(|()| perform("COMMIT"));
        if written.is_err() && !self.connection.is_autocommit() {
            perform("ROLLBACK")?;
        }
        written
    }

    fn insert(&self, records: &[Record], at: &str, batches: Batches) -> rusqlite::Result<()> {
        let (id, transaction) = (self.id, &self.connection);
        for record in records {
            match record {
                Record::Log(record) => log_tables::write(transaction, record, batches.log)?,
                Record::Eventual(record) => weak_tables::write_board(transaction, record)?,
                Record::Register(record) => weak_tables::write_register(transaction, record)?,
                Record::Overlay(record) => overlay_tables::write(transaction, record)?,
                Record::Promise { instance, ballot } => {
                    let ballot = ballot.to_string();
                    transaction.prepare_cached("INSERT OR REPLACE INTO promised VALUES (?1, ?2, ?3)")?.execute(
                        params![instance.as_str(), ballot, checksum(&["promised", instance.as_str(), &ballot]),],
                    )?
                }
                Record::Accept { instance, ballot, value } => {
                    let ballot = ballot.to_string();
                    transaction.prepare_cached("INSERT OR REPLACE INTO accepted VALUES (?1, ?2, ?3, ?4)")?.execute(
                        params![
                            instance.as_str(),
                            ballot,
                            value.as_str(),
                            checksum(&["accepted", instance.as_str(), &ballot, value.as_str()]),
                        ],
                    )?
                }
                Record::Decide { instance, ballot, value } => {
                    let ballot = ballot.to_string();
                    transaction.prepare_cached("INSERT INTO decided VALUES (NULL, ?1, ?2, ?3, ?4, ?5)")?.execute(
                        params![
                            instance.as_str(),
                            ballot,
                            value.as_str(),
                            at,
                            checksum(&["decided", instance.as_str(), &ballot, value.as_str(), at]),
                        ],
                    )?
                }
                Record::Generation { generation, followed } => {
                    transaction.execute_batch("DELETE FROM promised; DELETE FROM accepted; DELETE FROM decided")?;
                    log_tables::clear(transaction, batches.log)?;
                    weak_tables::clear(transaction)?;
                    overlay_tables::clear(transaction)?;
                    // SQLite's integers are signed; one restart a nanosecond would take 292 years to get there.
                    let signed = i64::try_from(*generation).unwrap_or(i64::MAX);
                    let crc = checksum(&["node", &id.to_string(), &signed.to_string(), &followed.to_string()]);
                    transaction
                        .prepare_cached("UPDATE node SET generation = ?1, followed = ?2, crc = ?3")?
                        .execute(params![signed, followed, crc])?
                }
            };
        }
        batches.write(self.batches, transaction)
    }

    /// The log's memory, or what shows that it is not what was written.
    fn read_log(&self) -> rusqlite::Result<Result<Memory, String>> {
        if self.counted.log < self.batches.log {
            return Ok(Err(missing(self.counted.log, self.batches.log)));
        }
        match log_tables::read(&self.connection) {
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DatabaseCorrupt => {
                Ok(Err("the pages of the log are damaged".to_owned()))
            }
            memory => memory,
        }
    }

    /// Folds the log of writes into the database. What was written before without a sync is durable then; the log itself
    /// stays, if there is no room for what it holds.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.since_checkpoint = 0;
        match self.with_reserve(|store| store.fold()) {
            Err(StoreError::NoRoom { .. }) => Ok(()),
            folded => folded,
        }
    }

    fn fold(&mut self) -> rusqlite::Result<()> {
        self.folder.finish()?;
        self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
    }

    /// Does what may need room: once more, if there is none, with what the reserve held.
    fn with_reserve(&mut self, mut run: impl FnMut(&mut Self) -> rusqlite::Result<()>) -> Result<(), StoreError> {
        loop {
            let Err(source) = run(self) else { return Ok(()) };
            let Some(why) = self.want_of_room(&source) else { return Err(self.failed(source)) };
            self.is_short = true;
            if !self.reserve.spend() {
                return Err(StoreError::NoRoom { file: self.file.clone(), why });
            }
            warn!("{}: {why}: {SHORT}", self.file.display());
        }
    }

    /// Why there is no room, if that is what is wrong. SQLite does not tell other reasons apart from a broken disk: the
    /// same is tried beside it.
    fn want_of_room(&self, source: &rusqlite::Error) -> Option<String> {
        let rusqlite::Error::SqliteFailure(error, _) = source else { return None };
        if error.code == ErrorCode::DiskFull {
            return Some(source.to_string());
        }
        let length = |file: &Path| fs::metadata(file).map_or(0, |file| file.len());
        let longest = length(&self.file).max(length(&self.file.with_extension("db-wal")));
        let is_write = error.extended_code == ffi::SQLITE_IOERR_WRITE;
        is_write.then(|| self.reserve.refusal(longest)).flatten().map(|refusal| refusal.to_string())
    }

    /// Whether the log of writes is being folded beside the writes.
    #[cfg(test)]
    pub(super) const fn is_folding(&self) -> bool {
        self.folder.is_busy()
    }

    /// As if there were room for so many pages.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: Option<u32>) {
        let pages = pages.unwrap_or(u32::MAX - 1);
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }

    /// Has a long log of writes folded.
    fn mind_log(&mut self) -> Result<(), StoreError> {
        let is_long = self.since_checkpoint >= CHECKPOINT_RECORDS;
        if is_long && !self.is_short && self.folder.begin() {
            self.since_checkpoint = 0;
        } else if is_long || self.folder.has_ended() {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Folds, and writes something that changes nothing.
    fn try_to_write(&mut self) -> rusqlite::Result<()> {
        self.fold()?;
        self.connection.prepare_cached("UPDATE batches SET single = single")?.execute([]).map(|_| ())
    }
}

impl Store for Sqlite {
    fn load(&mut self) -> Result<Durable, StoreError> {
        if self.counted.single < self.batches.single {
            return Err(self.damaged(missing(self.counted.single, self.batches.single)));
        }
        let mut durable = Durable::default();
        let (generation, followed, crc): (i64, bool, u32) = self
            .connection
            .query_row("SELECT generation, followed, crc FROM node", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(|source| self.failed(source))?;
        if crc != checksum(&["node", &self.id.to_string(), &generation.to_string(), &followed.to_string()]) {
            return Err(self.damaged("the checksum of the node's own row does not fit".to_owned()));
        }
        durable.generation = u64::try_from(generation).unwrap_or(0);
        durable.followed = followed;
        self.rows("promised", "instance, ballot", |[instance, ballot]| {
            let (instance, ballot) = (instance.parse().ok()?, ballot.parse().ok()?);
            durable.apply(&Record::Promise { instance, ballot });
            Some(())
        })?;
        // An acceptance raised the promise when it was made; it must not lower one that was made since.
        self.rows("accepted", "instance, ballot, value", |[instance, ballot, value]| {
            let (instance, ballot): (Instance, Ballot) = (instance.parse().ok()?, ballot.parse().ok()?);
            let promised = durable.instances.get(&instance).and_then(|state| state.promised);
            durable.apply(&Record::Accept { instance: instance.clone(), ballot, value: Value::new(&value) });
            if let Some(ballot) = promised.filter(|&promised| promised > ballot) {
                durable.apply(&Record::Promise { instance, ballot });
            }
            Some(())
        })?;
        self.rows("decided", "instance, ballot, value, at", |[instance, ballot, value, _at]| {
            let (instance, ballot): (Instance, Ballot) = (instance.parse().ok()?, ballot.parse().ok()?);
            durable.apply(&Record::Decide { instance, ballot, value: Value::new(&value) });
            Some(())
        })?;
        self.rows("eventual", "id, stamp, deleted, text", |row| weak_tables::read_entry(row, &mut durable.eventual))?;
        self.rows("eventual_reach", "name, value", |row| weak_tables::read_reach(row, &mut durable.eventual))?;
        self.rows("register", "name, timestamp, value", |row| weak_tables::read_register(row, &mut durable.register))?;
        durable.log = match self.read_log().map_err(|source| self.failed(source))? {
            Ok(memory) => memory,
            Err(what) => {
                // What is left cannot be trusted; what the other nodes have can.
                warn!(
                    "{}: {what}; this node takes no part in quorums until the others have repaired it",
                    self.file.display()
                );
                durable.log_damaged = true;
                let transaction = self.connection.unchecked_transaction().map_err(|source| self.failed(source))?;
                log_tables::distrust(&transaction, self.batches.log).map_err(|source| self.failed(source))?;
                transaction.commit().map_err(|source| self.failed(source))?;
                self.counted = self.batches;
                Memory::default()
            }
        };
        durable.overlay = overlay_tables::read(&self.connection)
            .map_err(|source| self.failed(source))?
            .map_err(|what| self.damaged(what))?;
        Ok(durable)
    }

    fn write(&mut self, records: &[Record], at: &str, sync: bool) -> Result<(), StoreError> {
        let mode = |connection: &Connection, mode: &str| -> rusqlite::Result<()> {
            connection.prepare_cached(&format!("PRAGMA synchronous={mode}"))?.execute([]).map(|_| ())
        };
        if !sync {
            mode(&self.connection, "NORMAL").map_err(|source| self.failed(source))?;
        }
        let batches = if sync { self.batches.and(records) } else { self.batches };
        let was_short = self.is_short;
        let written = self.with_reserve(|store| store.commit(records, at, batches));
        if !matches!(written, Ok(()) | Err(StoreError::NoRoom { .. })) {
            // SQLite would fold and sync once more when it closes; but after a sync that failed, another one that succeeds
            // says nothing. The next start folds what is really there.
            _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            return written;
        }
        if !sync {
            mode(&self.connection, "FULL").map_err(|source| self.failed(source))?;
        }
        written?;
        if sync {
            (self.batches, self.counted) = (batches, batches);
            match self.seal.write(batches) {
                // A seal that is behind accuses nobody.
                Err(StoreError::Io { source, .. }) if is_want_of_room(&source) => {}
                sealed => sealed?,
            }
        }
        if self.is_short && !was_short {
            // Folded, the log of writes is written over, and needs no more room for long.
            self.since_checkpoint = CHECKPOINT_RECORDS;
        }
        self.since_checkpoint += records.iter().map(weight).sum::<usize>();
        self.mind_log()
    }

    fn decisions(&mut self) -> Result<Vec<Decision>, StoreError> {
        let mut decisions = Vec::new();
        self.rows("decided", "instance, ballot, value, at", |[instance, _ballot, value, at]| {
            decisions.push(Decision { instance: instance.parse().ok()?, value: Value::new(&value), at });
            Some(())
        })?;
        Ok(decisions)
    }

    fn is_short(&self) -> bool {
        self.is_short
    }

    fn find_room(&mut self) -> Result<bool, StoreError> {
        if !self.reserve.make() {
            return Ok(false);
        }
        match self.try_to_write() {
            Ok(()) => {
                (self.is_short, self.since_checkpoint) = (false, 0);
                Ok(true)
            }
            Err(source) if self.want_of_room(&source).is_some() => Ok(false),
            Err(source) => {
                _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                Err(self.failed(source))
            }
        }
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        if self.since_checkpoint > 0 || self.folder.is_busy() {
            self.checkpoint()?;
            self.seal.sync()?;
        }
        Ok(())
    }
}

/// What it means for the node.
const SHORT: &str = "this node lives on what room there is, and takes no writes of clients until there is more";

/// What it means that the database counts fewer batches than the seal.
fn missing(counted: u64, sealed: u64) -> String {
    format!(
        "{} synced batches are gone: the database was set back, or the end of its log of writes was damaged",
        sealed - counted
    )
}

/// How much of the log of writes a record takes, in records of the usual size.
fn weight(record: &Record) -> usize {
    match record {
        Record::Log(log::memory::Record::Append { entries, .. } | log::memory::Record::Sync { entries, .. }) => {
            1 + entries.iter().map(|entry| entry.command.weight()).sum::<usize>() / 4096
        }
        Record::Log(log::memory::Record::Install { snapshot, .. } | log::memory::Record::Compact { snapshot, .. }) => {
            1 + snapshot.state.len() / 4096
        }
        Record::Eventual(record) => {
            let bytes = record.put.iter().map(|operation| operation.text.as_ref().map_or(0, |text| text.len()));
            2 + record.put.len() / 32 + bytes.sum::<usize>() / 4096
        }
        Record::Register(record) => 1 + record.held.value.as_str().len() / 4096,
        Record::Overlay(overlay::Record::Hold { item, .. }) => {
            1 + item.version.value.as_ref().map_or(0, |value| value.as_str().len()) / 4096
        }
        _ => 1,
    }
}

/// CRC-32 of a row: its table and its fields, each ended by a byte that no field holds.
pub(super) fn checksum(fields: &[&str]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for field in fields {
        hasher.update(field.as_bytes());
        hasher.update(&[0xff]);
    }
    hasher.finalize()
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_directory(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| StoreError::Io { path: dir.to_owned(), source })
}
