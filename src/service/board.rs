//! The board: posts in the leader's order.
//!
//! Ids count posts from 1 and are never used again, so the order of ids is the order in which the posts were made.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::journal::{self, Journal};
use super::kv::{Page, page};
use super::limits::{Limits, room};
use super::reply::{Notice, Position, Refusal, Reply, Resource};
use super::table::Table;

#[cfg(test)]
mod tests;

/// A post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// What it says.
    pub text: Arc<str>,
    /// The node where it was made.
    pub author: u32,
    /// The entry that made it; a modification does not move it.
    pub at: Position,
}

/// What happened to a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardEvent {
    /// Which post.
    pub id: u64,
    /// What was done with it.
    pub change: BoardChange,
    /// The node where that was asked for.
    pub author: u32,
}

/// What can be done with a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BoardChange {
    /// It was made, with this text.
    Posted(Arc<str>),
    /// It has this text now.
    Modified(Arc<str>),
    /// It is gone.
    Deleted,
}

/// The board.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Board {
    posts: Table<u64, Post>,
    /// Of all texts.
    bytes: u64,
    /// The id of the latest post, also if it was deleted.
    last_id: u64,
    journal: Journal<BoardEvent>,
}

impl journal::Event for BoardEvent {
    fn bytes(&self) -> usize {
        match &self.change {
            BoardChange::Posted(text) | BoardChange::Modified(text) => text.len(),
            BoardChange::Deleted => 0,
        }
    }
}

impl Board {
    pub(super) fn post(
        &mut self,
        at: Position,
        author: u32,
        text: &str,
        limits: &Limits,
        notices: &mut Vec<Notice>,
    ) -> Result<Reply, Refusal> {
        let bytes = self.bytes + text.len() as u64;
        room(Resource::BoardBytes, bytes, limits.board_bytes)?;
        room(Resource::Posts, self.posts.len() + 1, limits.posts)?;
        let text: Arc<str> = Arc::from(text);
        let id = self.last_id + 1;
        self.last_id = id;
        self.bytes = bytes;
        self.posts.insert(id, Post { text: Arc::clone(&text), author, at });
        Ok(self.changed(at, BoardEvent { id, change: BoardChange::Posted(text), author }, limits, notices))
    }

    pub(super) fn modify(
        &mut self,
        at: Position,
        author: u32,
        (id, text): (u64, &str),
        limits: &Limits,
        notices: &mut Vec<Notice>,
    ) -> Result<Reply, Refusal> {
        let post = self.posts.get(&id).ok_or(Refusal::NoPost { id })?;
        let bytes = self.bytes - post.text.len() as u64 + text.len() as u64;
        room(Resource::BoardBytes, bytes, limits.board_bytes)?;
        let text: Arc<str> = Arc::from(text);
        let post = Post { text: Arc::clone(&text), ..*post };
        self.bytes = bytes;
        self.posts.insert(id, post);
        Ok(self.changed(at, BoardEvent { id, change: BoardChange::Modified(text), author }, limits, notices))
    }

    pub(super) fn delete(
        &mut self,
        at: Position,
        author: u32,
        id: u64,
        limits: &Limits,
        notices: &mut Vec<Notice>,
    ) -> Result<Reply, Refusal> {
        let (_, post) = self.posts.remove(&id).ok_or(Refusal::NoPost { id })?;
        self.bytes -= post.text.len() as u64;
        Ok(self.changed(at, BoardEvent { id, change: BoardChange::Deleted, author }, limits, notices))
    }

    fn changed(&mut self, at: Position, event: BoardEvent, limits: &Limits, notices: &mut Vec<Notice>) -> Reply {
        let id = event.id;
        self.journal.push(at, event, limits);
        notices.push(Notice::Board);
        Reply::Board { at, id }
    }

    pub(super) fn list(&self, after: u64, limit: usize) -> Page<(u64, Post)> {
        let rows = self.posts.range((Bound::Excluded(&after), Bound::Unbounded));
        page(rows.map(|(id, post)| (*id, post.clone())), |(_, post)| post.text.len(), limit)
    }

    /// The last posts, in order: as many as [`Board::list`] would give of them.
    pub(super) fn newest(&self, limit: usize) -> Vec<(u64, Post)> {
        let rows = self.posts.range::<u64>(..).rev();
        let mut entries = page(rows.map(|(id, post)| (*id, post.clone())), |(_, post)| post.text.len(), limit).entries;
        entries.reverse();
        entries
    }

    pub(super) const fn journal(&self) -> &Journal<BoardEvent> {
        &self.journal
    }

    pub(super) fn digest(&self, hash: &mut Xxh64) {
        for part in [self.posts.sum(), self.bytes, self.last_id] {
            hash.update(&part.to_le_bytes());
        }
        self.journal.digest(hash);
    }
}
