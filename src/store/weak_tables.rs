//! The eventual board and the registers in SQLite: a row for each entry, three for how far the board is, and a row for
//! each register. Stamps stand there as `7.8000`, what is covered as `8000:12,8001:4`.

use rusqlite::{Connection, params};

use super::sqlite::checksum;
use crate::protocol::eventual::memory::{Entry, Memory, Operation, Record};
use crate::protocol::register::memory::{Held, Memory as Registers, Record as RegisterRecord};
use crate::protocol::types::Value;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS eventual (
        id TEXT PRIMARY KEY, stamp TEXT NOT NULL, deleted TEXT NOT NULL, text TEXT NOT NULL, crc INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS eventual_reach (
        name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS register (
        name TEXT PRIMARY KEY, timestamp TEXT NOT NULL, value TEXT NOT NULL, crc INTEGER NOT NULL
    ) WITHOUT ROWID;";

/// Forgets everything.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM eventual; DELETE FROM eventual_reach; DELETE FROM register")
}

/// Writes what a step has changed on the board, inside the transaction of its batch.
pub(super) fn write_board(connection: &Connection, record: &Record) -> rusqlite::Result<usize> {
    for Operation { id, stamp, text } in &record.put {
        let (id, stamp) = (id.to_string(), stamp.to_string());
        let (deleted, text) = if let Some(text) = text { ("no", &**text) } else { ("yes", "") };
        let crc = checksum(&["eventual", &id, &stamp, deleted, text]);
        connection
            .prepare_cached("INSERT OR REPLACE INTO eventual VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![id, stamp, deleted, text, crc])?;
    }
    for id in &record.gone {
        connection.prepare_cached("DELETE FROM eventual WHERE id = ?1")?.execute([id.to_string()])?;
    }
    let reach = [
        ("changes", record.changes.to_string()),
        ("forgotten", record.forgotten.to_string()),
        ("versions", record.versions.to_string()),
    ];
    for (name, value) in reach {
        let crc = checksum(&["eventual_reach", name, &value]);
        connection
            .prepare_cached("INSERT OR REPLACE INTO eventual_reach VALUES (?1, ?2, ?3)")?
            .execute(params![name, value, crc])?;
    }
    Ok(1)
}

/// Writes what a register holds.
pub(super) fn write_register(connection: &Connection, record: &RegisterRecord) -> rusqlite::Result<usize> {
    let RegisterRecord { name, held } = record;
    let (timestamp, value) = (held.timestamp.to_string(), held.value.as_str());
    let crc = checksum(&["register", name, &timestamp, value]);
    connection
        .prepare_cached("INSERT OR REPLACE INTO register VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![&**name, timestamp, value, crc])
}

/// Takes a row of an entry; `None` if it cannot be read.
pub(super) fn read_entry([id, stamp, deleted, text]: [String; 4], memory: &mut Memory) -> Option<()> {
    let text = (deleted == "no").then(|| text.into());
    memory.entries.insert(id.parse().ok()?, Entry { stamp: stamp.parse().ok()?, text });
    Some(())
}

/// Takes a row of how far the board is.
pub(super) fn read_reach([name, value]: [String; 2], memory: &mut Memory) -> Option<()> {
    match name.as_str() {
        "changes" => memory.changes = value.parse().ok()?,
        "forgotten" => memory.forgotten = value.parse().ok()?,
        "versions" => memory.versions = value.parse().ok()?,
        _ => return None,
    }
    Some(())
}

/// Takes a row of a register.
pub(super) fn read_register([name, timestamp, value]: [String; 3], registers: &mut Registers) -> Option<()> {
    let held = Held { timestamp: timestamp.parse().ok()?, value: Value::new(&value) };
    registers.registers.insert(name.into(), held);
    Some(())
}
