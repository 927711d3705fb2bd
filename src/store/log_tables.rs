//! The replicated log in SQLite: a row for each batch of entries, a row for what was promised, and the newest snapshot.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::sqlite::checksum;
use crate::protocol::log::entries::{Entries, Entry, decode, encode};
use crate::protocol::log::members::Membership;
use crate::protocol::log::memory::{Memory, Record, Snapshot};
use crate::protocol::types::Ballot;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS log (
        first INTEGER PRIMARY KEY, last INTEGER NOT NULL, before INTEGER NOT NULL, hash INTEGER NOT NULL,
        entries BLOB NOT NULL, batch INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS log_epoch (
        only INTEGER PRIMARY KEY, promised TEXT NOT NULL, accepted TEXT NOT NULL, proven INTEGER NOT NULL,
        crc INTEGER NOT NULL, batch INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS log_committed (only INTEGER PRIMARY KEY, slot INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS snapshot (
        slot INTEGER PRIMARY KEY, hash INTEGER NOT NULL, state BLOB NOT NULL, crc INTEGER NOT NULL,
        members BLOB NOT NULL DEFAULT x''
    );
    CREATE TABLE IF NOT EXISTS batches (only INTEGER PRIMARY KEY, single INTEGER NOT NULL);
    INSERT INTO log_committed VALUES (1, 0);
    INSERT INTO batches VALUES (1, 0);";

/// What format 2 lacks: the members as of a snapshot (none was taken yet when they were other than the founding ones), and
/// the counts of batches.
pub(super) const FROM_FORMAT_2: &str = "
    ALTER TABLE snapshot ADD COLUMN members BLOB NOT NULL DEFAULT x'';
    ALTER TABLE log ADD COLUMN batch INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE log_epoch ADD COLUMN batch INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE batches (only INTEGER PRIMARY KEY, single INTEGER NOT NULL);
    INSERT INTO batches VALUES (1, 0);";

/// Forgets everything but whether the node may vote, and how many batches there were.
pub(super) fn clear(connection: &Connection, batch: u64) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM log; DELETE FROM snapshot; UPDATE log_committed SET slot = 0")?;
    let proven = epoch_row(connection)?.is_some_and(|row| row.2);
    write_epoch(connection, (None, None, proven), batch)
}

/// Forgets everything, and that the node may vote: what was here was not what was written. To be known also at the next
/// start, when no damage is to be seen any more; how many batches there were is known from the seal.
pub(super) fn distrust(connection: &Connection, batch: u64) -> rusqlite::Result<()> {
    clear(connection, batch)?;
    write_epoch(connection, (None, None, false), batch)
}

/// Writes one record, inside the transaction of the batch with this number; how many rows it touched does not matter to
/// anyone.
pub(super) fn write(connection: &Connection, record: &Record, batch: u64) -> rusqlite::Result<usize> {
    match record {
        Record::Promise { epoch } => {
            let (_, accepted, proven) = epoch_row(connection)?.unwrap_or_default();
            write_epoch(connection, (Some(*epoch), accepted, proven), batch)?;
        }
        Record::Append { after, entries } => append(connection, *after, entries, batch)?,
        Record::Sync { epoch, after, entries } => {
            truncate(connection, *after)?;
            append(connection, *after, entries, batch)?;
            write_epoch(connection, (Some(*epoch), Some(*epoch), true), batch)?;
        }
        Record::Install { epoch, snapshot, entries } => {
            connection.execute_batch("DELETE FROM log; DELETE FROM snapshot")?;
            insert_snapshot(connection, snapshot)?;
            append(connection, snapshot.slot, entries, batch)?;
            write_epoch(connection, (Some(*epoch), Some(*epoch), true), batch)?;
        }
        Record::Compact { snapshot, through } => {
            connection.execute_batch("DELETE FROM snapshot")?;
            insert_snapshot(connection, snapshot)?;
            connection
                .prepare_cached("DELETE FROM log WHERE first <= ?1 AND last <= ?1")?
                .execute([signed(*through)])?;
        }
        Record::Commit { slot } => {
            connection.prepare_cached("UPDATE log_committed SET slot = ?1")?.execute([signed(*slot)])?;
        }
        Record::Prove => {
            let (promised, accepted, _) = epoch_row(connection)?.unwrap_or_default();
            write_epoch(connection, (promised, accepted, true), batch)?;
        }
    }
    Ok(1)
}

/// What all records so far come to; or what shows that it is not what was written.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Result<Memory, String>> {
    let Some((promised, accepted, proven)) = epoch_row(connection)? else {
        let nothing: i64 = connection.query_row("SELECT count(*) FROM log", [], |row| row.get(0))?;
        let whole = if nothing == 0 { Ok(Memory::default()) } else { Err("what was promised is gone".to_owned()) };
        return Ok(whole);
    };
    let snapshot = match read_snapshot(connection)? {
        Ok(snapshot) => snapshot,
        Err(what) => return Ok(Err(what)),
    };
    let covered = snapshot.as_ref().map_or((0, 0), |snapshot| (snapshot.slot, snapshot.hash));
    let mut entries: Option<Entries> = None;
    let mut statement = connection.prepare("SELECT first, last, before, entries FROM log ORDER BY first")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (first, last, before): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let blob: Vec<u8> = row.get(3)?;
        let entries =
            entries.get_or_insert_with(|| Entries::after(unsigned(first).saturating_sub(1), unsigned(before)));
        let follows = entries.length() + 1 == unsigned(first);
        let whole = follows && decode(&blob).is_some_and(|all| all.into_iter().all(|entry| entries.extend(entry)));
        if !whole || entries.length() != unsigned(last) {
            return Ok(Err(format!("the entries {first} to {last} of the log are damaged")));
        }
    }
    let entries = entries.unwrap_or_else(|| Entries::after(covered.0, covered.1));
    if entries.base() > covered.0 || entries.length() < covered.0 {
        return Ok(Err(format!(
            "the log is of {} to {}, the snapshot of {}",
            entries.base(),
            entries.length(),
            covered.0
        )));
    }
    if covered.0 > 0 && entries.hash_at(covered.0) != Some(covered.1) {
        return Ok(Err("the snapshot is of another log".to_owned()));
    }
    let committed: i64 = connection.query_row("SELECT slot FROM log_committed", [], |row| row.get(0))?;
    // It is only noted, so it may be behind; it cannot be ahead.
    let committed = unsigned(committed).max(covered.0);
    if committed > entries.length() || accepted > promised {
        return Ok(Err(format!("{committed} entries are committed, and {} are there", entries.length())));
    }
    Ok(Ok(Memory { promised, accepted, entries, committed, snapshot, proven }))
}

type Epochs = (Option<Ballot>, Option<Ballot>, bool);

fn epoch_row(connection: &Connection) -> rusqlite::Result<Option<Epochs>> {
    let row: Option<(String, String, bool, u32)> = connection
        .prepare_cached("SELECT promised, accepted, proven, crc FROM log_epoch")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    Ok(row.and_then(|(promised, accepted, proven, crc)| {
        let whole = crc == checksum(&["log_epoch", &promised, &accepted, &proven.to_string()]);
        whole.then(|| (promised.parse().ok(), accepted.parse().ok(), proven))
    }))
}

fn write_epoch(connection: &Connection, (promised, accepted, proven): Epochs, batch: u64) -> rusqlite::Result<()> {
    let shown = |epoch: Option<Ballot>| epoch.map_or_else(String::new, |epoch| epoch.to_string());
    let (promised, accepted) = (shown(promised), shown(accepted));
    let crc = checksum(&["log_epoch", &promised, &accepted, &proven.to_string()]);
    connection.prepare_cached("INSERT OR REPLACE INTO log_epoch VALUES (1, ?1, ?2, ?3, ?4, ?5)")?.execute(params![
        promised,
        accepted,
        proven,
        crc,
        signed(batch)
    ])?;
    Ok(())
}

fn append(connection: &Connection, after: u64, entries: &[Entry], batch: u64) -> rusqlite::Result<()> {
    let (Some(first), Some(end)) = (entries.first(), entries.last()) else { return Ok(()) };
    // The hash before the first is kept for the row that will be the first one day. It follows from nothing else then.
    let before = previous_hash(connection, after)?.unwrap_or(0);
    debug_assert!(first.follows(before), "entries are appended to where they belong");
    let last = after + entries.len() as u64;
    connection.prepare_cached("INSERT OR REPLACE INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        signed(after + 1),
        signed(last),
        signed(before),
        signed(end.hash),
        encode(entries),
        signed(batch),
    ])?;
    Ok(())
}

/// The hash of the chain up to the log's last slot, if it is this one.
fn previous_hash(connection: &Connection, slot: u64) -> rusqlite::Result<Option<u64>> {
    let end: Option<(i64, i64)> = connection
        .prepare_cached("SELECT last, hash FROM log ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((last, hash)) = end {
        return Ok((unsigned(last) == slot).then(|| unsigned(hash)));
    }
    let hash: Option<i64> = connection
        .prepare_cached("SELECT hash FROM snapshot WHERE slot = ?1")?
        .query_row([signed(slot)], |row| row.get(0))
        .optional()?;
    Ok(hash.map(unsigned))
}

/// Forgets all entries after a slot.
fn truncate(connection: &Connection, last: u64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM log WHERE first > ?1")?.execute([signed(last)])?;
    let straddling: Option<(i64, i64, Vec<u8>)> = connection
        .prepare_cached("SELECT first, last, entries FROM log ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((first, _, blob)) = straddling.filter(|(_, end, _)| unsigned(*end) > last) {
        let stay = usize::try_from(last + 1 - unsigned(first)).unwrap_or(usize::MAX);
        let kept: Vec<Entry> = decode(&blob).unwrap_or_default().into_iter().take(stay).collect();
        connection
            .prepare_cached("UPDATE log SET last = ?2, hash = ?3, entries = ?4 WHERE first = ?1")?
            .execute(params![first, signed(last), signed(kept.last().map_or(0, |end| end.hash)), encode(&kept)])?;
    }
    Ok(())
}

fn insert_snapshot(connection: &Connection, snapshot: &Snapshot) -> rusqlite::Result<()> {
    let Snapshot { slot, hash, state, members } = snapshot;
    let members = members.as_ref().map_or_else(Vec::new, |members| members.encode());
    connection.prepare_cached("INSERT INTO snapshot VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        signed(*slot),
        signed(*hash),
        &state[..],
        snapshot_checksum(state, &members),
        members
    ])?;
    Ok(())
}

fn read_snapshot(connection: &Connection) -> rusqlite::Result<Result<Option<Snapshot>, String>> {
    type Row = (i64, i64, Vec<u8>, u32, Vec<u8>);
    let row: Option<Row> = connection
        .query_row("SELECT slot, hash, state, crc, members FROM snapshot", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((slot, hash, state, crc, members)) = row else { return Ok(Ok(None)) };
    let damaged = || Err(format!("the snapshot of slot {slot} is damaged"));
    if snapshot_checksum(&state, &members) != crc {
        return Ok(damaged());
    }
    let members = match (members.is_empty(), Membership::decode(&members)) {
        (true, _) => None,
        (false, Some(members)) => Some(Arc::new(members)),
        (false, None) => return Ok(damaged()),
    };
    let snapshot = Snapshot { slot: unsigned(slot), hash: unsigned(hash), state: state.into(), members };
    Ok(Ok(Some(snapshot)))
}

fn snapshot_checksum(state: &[u8], members: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(state);
    hasher.update(members);
    hasher.finalize()
}

/// SQLite's integers are signed: the same 64 bits.
const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

const fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
