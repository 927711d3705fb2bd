//! What a node holds of the overlays in SQLite: a row for each key on each shelf, and whether the node left the ring.
//!
//! `sqlite3 data/8000/node.db 'select * from overlay'` shows it. A row that is not what was written is left out, with a
//! warning: the hash table's other copies come back from their nodes, and a wrong value is never served.

use ::log::warn;
use rusqlite::{Connection, OptionalExtension, params};

use super::sqlite::checksum;
use crate::protocol::overlay::{Item, Key, Memory, Record, Shelf, Stamp, Version};
use crate::protocol::types::{NodeId, Value};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS overlay (
        shelf TEXT NOT NULL, key TEXT NOT NULL, counter INTEGER NOT NULL, node INTEGER NOT NULL, value TEXT,
        crc INTEGER NOT NULL, PRIMARY KEY (shelf, key)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS overlay_left (only INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS overlay_reserved (shelf TEXT PRIMARY KEY, upto INTEGER NOT NULL, crc INTEGER NOT NULL);";

/// Forgets everything.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM overlay; DELETE FROM overlay_left; DELETE FROM overlay_reserved")
}

/// Writes one record, inside the transaction of its batch.
pub(super) fn write(connection: &Connection, record: &Record) -> rusqlite::Result<usize> {
    match record {
        Record::Hold { shelf, item: Item { key, version } } => {
            let Version { stamp: Stamp { counter, node }, value } = version;
            let value = value.as_ref().map(Value::as_str);
            // Counters are bounded far below what SQLite's signed integers hold.
            let counter = i64::try_from(*counter).unwrap_or(i64::MAX);
            connection.prepare_cached("INSERT OR REPLACE INTO overlay VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(
                params![
                    shelf.name(),
                    key.as_str(),
                    counter,
                    node.number(),
                    value,
                    row_checksum(shelf.name(), key.as_str(), counter, node.number(), value)
                ],
            )
        }
        Record::Release { shelf, key } => connection
            .prepare_cached("DELETE FROM overlay WHERE shelf = ?1 AND key = ?2")?
            .execute(params![shelf.name(), key.as_str()]),
        Record::Reserve { shelf, upto } => {
            let upto = i64::try_from(*upto).unwrap_or(i64::MAX);
            connection.prepare_cached("INSERT OR REPLACE INTO overlay_reserved VALUES (?1, ?2, ?3)")?.execute(params![
                shelf.name(),
                upto,
                reserved_checksum(shelf.name(), upto)
            ])
        }
        Record::Membership { joined: true } => connection.execute("DELETE FROM overlay_left", []),
        Record::Membership { joined: false } => {
            connection.execute("INSERT OR REPLACE INTO overlay_left VALUES (1)", [])
        }
    }
}

/// What all records so far come to, but for damaged copies, which are deleted. Damage that cannot be made good is put into
/// words: which numbers were given nobody else knows.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Result<Memory, String>> {
    let mut memory = Memory::default();
    let mut statement = connection.prepare("SELECT shelf, upto, crc FROM overlay_reserved")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, upto, crc): (String, i64, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let shelf = Shelf::ALL.iter().find(|(_, known)| *known == name).map(|(shelf, _)| *shelf);
        match (shelf, u64::try_from(upto)) {
            (Some(shelf), Ok(upto_here)) if crc == reserved_checksum(&name, upto) => {
                memory.apply(&Record::Reserve { shelf, upto: upto_here });
            }
            _ => return Ok(Err(format!("the numbers reserved for the overlay {} are damaged", name.escape_debug()))),
        }
    }
    let mut damaged: Vec<(String, String)> = Vec::new();
    let mut statement = connection.prepare("SELECT shelf, key, counter, node, value, crc FROM overlay")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (shelf, key, counter, node): (String, String, i64, u32) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let (value, crc): (Option<String>, u32) = (row.get(4)?, row.get(5)?);
        let whole = crc == row_checksum(&shelf, &key, counter, node, value.as_deref());
        let known = Shelf::ALL.iter().find(|(_, name)| *name == shelf).map(|(shelf, _)| *shelf);
        let parsed = (known, Key::new(&key), NodeId::new(node), u64::try_from(counter));
        match parsed {
            (Some(shelf), Some(key), Some(node), Ok(counter)) if whole => {
                let version = Version { stamp: Stamp { counter, node }, value: value.as_deref().map(Value::new) };
                memory.apply(&Record::Hold { shelf, item: Item { key, version } });
            }
            _ => damaged.push((shelf, key)),
        }
    }
    for (shelf, key) in damaged {
        warn!("the copy of '{}' of the overlay {shelf} is damaged, and is dropped", key.escape_debug());
        connection.execute("DELETE FROM overlay WHERE shelf = ?1 AND key = ?2", params![shelf, key])?;
    }
    memory.left = connection.query_row("SELECT only FROM overlay_left", [], |_| Ok(())).optional()?.is_some();
    Ok(Ok(memory))
}

fn reserved_checksum(shelf: &str, upto: i64) -> u32 {
    checksum(&["overlay_reserved", shelf, &upto.to_string()])
}

fn row_checksum(shelf: &str, key: &str, counter: i64, node: u32, value: Option<&str>) -> u32 {
    // That there is no value is not the same as an empty one.
    let shown = value.map_or("removed", |_| "value");
    checksum(&["overlay", shelf, key, &counter.to_string(), &node.to_string(), shown, value.unwrap_or_default()])
}
