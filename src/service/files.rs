//! Text files to which one appends.
//!
//! A file is a list of texts, one for each append, kept byte for byte. Files live in the replicated state and nowhere
//! else: a name is a key, never a path, so there is nothing outside that it could reach.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::journal::{self, Journal};
use super::limits::{Limits, room};
use super::reply::{Position, Refusal, Reply, Resource};
use super::table::Table;

#[cfg(test)]
mod tests;

/// A change of a file, as a message to the one who made it and as a line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileEvent {
    /// Which file.
    pub name: Arc<str>,
    /// What was done with it.
    pub change: FileChange,
}

/// What can be done with a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileChange {
    /// It was made.
    Created,
    /// This was added at its end.
    Appended(Arc<str>),
    /// It is gone.
    Deleted,
}

impl FileEvent {
    /// The command that did it, as a person types it: `append f Lorem ipsum`.
    #[must_use]
    pub fn command(&self) -> String {
        match &self.change {
            FileChange::Created => format!("create {}", self.name),
            FileChange::Appended(text) => format!("append {} {text}", self.name),
            FileChange::Deleted => format!("delete {}", self.name),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.name.len() + if let FileChange::Appended(text) = &self.change { text.len() } else { 0 }
    }
}

impl fmt::Display for FileEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            FileChange::Created => write!(f, "CREATED FILE '{}'", self.name),
            FileChange::Appended(text) => write!(f, "WROTE '{text}' TO FILE '{}'", self.name),
            FileChange::Deleted => write!(f, "DELETED FILE '{}'", self.name),
        }
    }
}

impl journal::Event for FileEvent {
    fn bytes(&self) -> usize {
        self.bytes()
    }
}

/// What a directory would say of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileInfo {
    /// How many texts were appended to it.
    pub lines: u64,
    /// Their bytes; a line end is not counted.
    pub bytes: u64,
    /// The entry that made it.
    pub created: Position,
    /// The entry that changed it last.
    pub changed: Position,
}

impl FileInfo {
    /// What the limits count.
    const fn counted(&self) -> u64 {
        self.bytes + self.lines * Limits::LINE
    }
}

/// A file, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    /// About it.
    pub info: FileInfo,
    /// What was appended, in order.
    pub lines: Vec<Arc<str>>,
}

impl FileText {
    /// The text of the file: what was appended, each on a line of its own, without a line end after the last.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// The files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Files {
    files: Table<Arc<str>, FileInfo>,
    /// By file and number, so that an append costs the same however long the file is.
    lines: Table<(Arc<str>, u64), Arc<str>>,
    /// Of all files, as the limits count them.
    counted: u64,
    history: Journal<FileEvent>,
}

impl Files {
    pub(super) fn create(&mut self, at: Position, name: &str, limits: &Limits) -> Result<Reply, Refusal> {
        let name: Arc<str> = Arc::from(name);
        if self.files.get(&name).is_some() {
            return Err(Refusal::FileExists { name });
        }
        room(Resource::Files, self.files.len() + 1, limits.files)?;
        self.files.insert(Arc::clone(&name), FileInfo { lines: 0, bytes: 0, created: at, changed: at });
        Ok(self.changed(at, FileEvent { name, change: FileChange::Created }, limits))
    }

    pub(super) fn append(&mut self, at: Position, name: &str, text: &str, limits: &Limits) -> Result<Reply, Refusal> {
        let (name, info) = self.files.row(name).ok_or_else(|| Refusal::NoFile { name: Arc::from(name) })?;
        let (name, info) = (Arc::clone(name), *info);
        let grown = FileInfo { lines: info.lines + 1, bytes: info.bytes + text.len() as u64, changed: at, ..info };
        room(Resource::FileBytes, grown.counted(), limits.file_bytes)?;
        let counted = self.counted - info.counted() + grown.counted();
        room(Resource::FilesBytes, counted, limits.files_bytes)?;
        let text: Arc<str> = Arc::from(text);
        self.counted = counted;
        self.lines.insert((Arc::clone(&name), info.lines), Arc::clone(&text));
        self.files.insert(Arc::clone(&name), grown);
        Ok(self.changed(at, FileEvent { name, change: FileChange::Appended(text) }, limits))
    }

    pub(super) fn delete(&mut self, at: Position, name: &str, limits: &Limits) -> Result<Reply, Refusal> {
        let (name, info) = self.files.remove(name).ok_or_else(|| Refusal::NoFile { name: Arc::from(name) })?;
        for line in 0..info.lines {
            self.lines.remove(&(Arc::clone(&name), line));
        }
        self.counted -= info.counted();
        Ok(self.changed(at, FileEvent { name, change: FileChange::Deleted }, limits))
    }

    fn changed(&mut self, at: Position, change: FileEvent, limits: &Limits) -> Reply {
        self.history.push(at, change.clone(), limits);
        Reply::File { at, change }
    }

    pub(super) fn read(&self, name: &str) -> Result<FileText, Refusal> {
        let (name, info) = self.files.row(name).ok_or_else(|| Refusal::NoFile { name: Arc::from(name) })?;
        let range = (Arc::clone(name), 0)..(Arc::clone(name), info.lines);
        Ok(FileText { info: *info, lines: self.lines.range(range).map(|(_, text)| Arc::clone(text)).collect() })
    }

    pub(super) fn list(&self) -> Vec<(Arc<str>, FileInfo)> {
        self.files.iter().map(|(name, info)| (Arc::clone(name), *info)).collect()
    }

    pub(super) const fn history(&self) -> &Journal<FileEvent> {
        &self.history
    }

    pub(super) fn digest(&self, hash: &mut Xxh64) {
        for part in [self.files.sum(), self.lines.sum(), self.counted] {
            hash.update(&part.to_le_bytes());
        }
        self.history.digest(hash);
    }
}
