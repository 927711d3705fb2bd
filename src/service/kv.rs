//! Keys and values, with versions.
//!
//! A new key has version 1, and each put adds one. A version is never used twice for a key, also not when the key is
//! deleted and put again: what a compare-and-set saw is then gone for good. So that no deleted key need be remembered
//! for that, a new key's versions start above those of all keys that were ever deleted.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::journal::{self, Journal};
use super::limits::{Limits, room};
use super::reply::{Notice, Position, Refusal, Reply, Resource};
use super::table::Table;
use crate::protocol::types::Value;

#[cfg(test)]
mod tests;

/// What a key has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// The value, in its XML-RPC form.
    #[serde(with = "fragment")]
    pub value: Value,
    /// Its version.
    pub version: u64,
    /// The entry that wrote it.
    pub at: Position,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEvent {
    /// Which key.
    pub key: Arc<str>,
    /// What was done with it.
    pub change: KvChange,
    /// The version of the value, or the one that was deleted.
    pub version: u64,
}

/// What can be done with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvChange {
    /// It has this value now.
    Put(#[serde(with = "fragment")] Value),
    /// It is gone.
    Deleted,
}

/// A part of what there is, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The part.
    pub entries: Vec<T>,
    /// Whether there is more after it.
    pub more: bool,
}

/// The store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Kv {
    entries: Table<Arc<str>, KvEntry>,
    /// Of all keys and values.
    bytes: u64,
    /// The highest version that any deleted key had.
    floor: u64,
    journal: Journal<KvEvent>,
}

impl journal::Event for KvEvent {
    fn bytes(&self) -> usize {
        self.key.len() + if let KvChange::Put(value) = &self.change { value.as_str().len() } else { 0 }
    }
}

impl Kv {
    /// Writes a value; with `wanted`, only over that version, where 0 is no key.
    pub(super) fn put(
        &mut self,
        at: Position,
        key: &str,
        value: &str,
        wanted: Option<u64>,
        limits: &Limits,
        notices: &mut Vec<Notice>,
    ) -> Result<Reply, Refusal> {
        let (had, keys, floor) = (self.bytes, self.entries.len(), self.floor);
        // What the key has then, and the bytes of all.
        let next = |row: Option<(&Arc<str>, &KvEntry)>| {
            let current = row.map(|(_, entry)| entry.version);
            if let Some(wanted) = wanted
                && wanted != current.unwrap_or(0)
            {
                return Err(Refusal::Compare { key: Arc::from(key), wanted, current });
            }
            let freed = row.map_or(0, |(key, entry)| key.len() + entry.value.as_str().len());
            let bytes = had - freed as u64 + (key.len() + value.len()) as u64;
            room(Resource::KvBytes, bytes, limits.kv_bytes)?;
            room(Resource::Keys, keys + u64::from(row.is_none()), limits.keys)?;
            Ok((KvEntry { value: Value::new(value), version: current.unwrap_or(floor) + 1, at }, bytes))
        };
        let changed = self.entries.change(key, |key, entry| {
            let (entry, bytes) = next(Some((key, entry)))?;
            Ok((entry.clone(), (Arc::clone(key), entry, bytes)))
        });
        let (key, KvEntry { value, version, .. }, bytes) = match changed {
            Some(changed) => changed?,
            None => {
                let (key, (entry, bytes)) = (Arc::from(key), next(None)?);
                self.entries.insert(Arc::clone(&key), entry.clone());
                (key, entry, bytes)
            }
        };
        self.bytes = bytes;
        self.journal.push(at, KvEvent { key: Arc::clone(&key), change: KvChange::Put(value), version }, limits);
        notices.push(Notice::Kv { key });
        Ok(Reply::Put { at, version })
    }

    pub(super) fn delete(&mut self, at: Position, key: &str, limits: &Limits, notices: &mut Vec<Notice>) -> Reply {
        let Some((key, entry)) = self.entries.remove(key) else { return Reply::Deleted { at, version: None } };
        self.bytes -= (key.len() + entry.value.as_str().len()) as u64;
        self.floor = self.floor.max(entry.version);
        let event = KvEvent { key: Arc::clone(&key), change: KvChange::Deleted, version: entry.version };
        self.journal.push(at, event, limits);
        notices.push(Notice::Kv { key });
        Reply::Deleted { at, version: Some(entry.version) }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&KvEntry> {
        self.entries.get(key)
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page<(Arc<str>, KvEntry)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let rows = self.entries.range::<str>((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        page(
            rows.map(|(key, entry)| (Arc::clone(key), entry.clone())),
            |(key, entry)| key.len() + entry.value.as_str().len(),
            limit,
        )
    }

    pub(super) const fn journal(&self) -> &Journal<KvEvent> {
        &self.journal
    }

    pub(super) fn digest(&self, hash: &mut Xxh64) {
        for part in [self.entries.sum(), self.bytes, self.floor] {
            hash.update(&part.to_le_bytes());
        }
        self.journal.digest(hash);
    }
}

/// As many as one answer may hold, and at least one.
pub(super) fn page<T>(rows: impl Iterator<Item = T>, bytes_of: impl Fn(&T) -> usize, limit: usize) -> Page<T> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for row in rows {
        bytes += bytes_of(&row);
        if entries.len() == limit.max(1) || !entries.is_empty() && bytes > Limits::PAGE_BYTES {
            return Page { entries, more: true };
        }
        entries.push(row);
    }
    Page { entries, more: false }
}

/// A value as the text that it is. Its own serde form is that of the wire, which is XML-RPC's and nobody else's.
mod fragment {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::protocol::types::Value;

    pub(super) fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        <&str>::deserialize(deserializer).map(Value::new)
    }
}
