//! A key of the key-value store.

use std::fmt;

use super::{Call, Growing, Model};
use crate::history::{Answer, Op};

/// A key with versions.
///
/// Every write has a higher version than all before it, also across a delete: else a compare-and-set could win against a
/// value that its client never saw. By how much versions grow is left to the service, so one that counts writes of the
/// key and one that uses the log's counter both pass. A key that does not exist is at version 0 for those who compare.
#[derive(Debug, Clone, Copy, Default)]
pub struct Key;

/// What a key is like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    value: Option<String>,
    /// Of the value; without one, the last that was used.
    version: Growing,
}

impl Model for Key {
    type State = Entry;

    fn initial(&self) -> Entry {
        Entry { value: None, version: Growing::Is(0) }
    }

    fn step(&self, state: &Entry, call: &Call<'_>) -> Option<Entry> {
        match call.op() {
            Op::Put { value, .. } => state.write(value, call.answer()),
            Op::Cas { version, value, .. } => state.compare_and_set(*version, value, call.answer()),
            Op::Remove { .. } => state.remove(call.answer()),
            _ => match call.answer() {
                Some(Answer::Found { value, version }) => state.find(value, *version),
                Some(Answer::Absent) => state.absent(),
                _ => Some(state.clone()),
            },
        }
    }
}

impl Entry {
    fn write(&self, value: &str, answer: Option<&Answer>) -> Option<Self> {
        Some(Self { value: Some(value.to_owned()), version: self.version.next(told(answer))? })
    }

    fn compare_and_set(&self, expected: u64, value: &str, answer: Option<&Answer>) -> Option<Self> {
        match answer {
            Some(Answer::Conflict { version }) if *version == expected => None,
            Some(Answer::Conflict { version: 0 }) => self.absent(),
            Some(Answer::Conflict { version }) => self.at(*version),
            Some(Answer::Absent) if expected == 0 => None,
            Some(Answer::Absent) => self.absent(),
            _ if expected == 0 => self.absent()?.write(value, answer),
            _ => self.at(expected)?.write(value, answer),
        }
    }

    fn remove(&self, answer: Option<&Answer>) -> Option<Self> {
        let version = match (answer, told(answer)) {
            (Some(Answer::Absent), _) => return self.absent(),
            (_, None) => self.version,
            (_, told) => self.version.next(told)?,
        };
        Some(Self { value: None, version })
    }

    fn find(&self, value: &str, version: Option<u64>) -> Option<Self> {
        let found = self.value.as_deref() == Some(value);
        if !found {
            return None;
        }
        version.map_or_else(|| Some(self.clone()), |version| self.at(version))
    }

    /// The key, if it exists and can be at this version.
    fn at(&self, version: u64) -> Option<Self> {
        let value = Some(self.value.clone()?);
        Some(Self { value, version: self.version.read(version)? })
    }

    /// The key, if it does not exist.
    fn absent(&self) -> Option<Self> {
        self.value.is_none().then(|| self.clone())
    }
}

const fn told(answer: Option<&Answer>) -> Option<u64> {
    match answer {
        Some(Answer::Written { version }) => Some(*version),
        _ => None,
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "it holds {value:?} at version {}", self.version),
            None if self.version == Growing::Is(0) => write!(f, "it does not exist"),
            None => write!(f, "it does not exist any more"),
        }
    }
}
