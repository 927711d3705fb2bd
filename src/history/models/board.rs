//! The strong board.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{Call, Model};
use crate::history::{Answer, Op, Post};

/// A board: posts stand in the order in which they took effect, and no id is ever used again.
///
/// Ids are the service's own, so clients learn them from answers: one that nobody was told of is no post's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Board;

/// What stands on a board.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Posts {
    posts: Vec<Standing>,
    /// The ids that are known to have been used.
    used: Arc<BTreeSet<String>>,
}

/// A post; its id is unknown if its call had no answer and no list has shown it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Standing {
    id: Option<Arc<str>>,
    text: Arc<str>,
}

impl Model for Board {
    type State = Posts;

    fn initial(&self) -> Posts {
        Posts { posts: Vec::new(), used: Arc::default() }
    }

    fn step(&self, state: &Posts, call: &Call<'_>) -> Option<Posts> {
        match (call.op(), call.answer()) {
            (Op::Post { text }, answer) => {
                let id = match answer {
                    Some(Answer::Posted { id }) => Some(id.as_str()),
                    _ => None,
                };
                let mut after = state.clone();
                after.posts.push(Standing { id: id.map(Arc::from), text: text.as_str().into() });
                if let Some(id) = id {
                    after.uses(id)?;
                }
                Some(after)
            }
            (Op::List, Some(Answer::Listed { posts })) => state.listed(posts),
            (Op::List, _) => Some(state.clone()),
            (Op::Modify { id, .. } | Op::DeletePost { id }, Some(Answer::Absent)) => {
                state.place(id).is_none().then(|| state.clone())
            }
            (Op::Modify { id, text }, _) => {
                let at = state.place(id)?;
                let mut after = state.clone();
                after.posts.get_mut(at)?.text = text.as_str().into();
                Some(after)
            }
            (Op::DeletePost { id }, _) => {
                let at = state.place(id)?;
                let mut after = state.clone();
                after.posts.remove(at);
                Some(after)
            }
            _ => None,
        }
    }

    fn leads_to(&self, state: &Posts, look: &Call<'_>) -> bool {
        let Some(Answer::Listed { posts }) = look.answer() else { return true };
        let is_like = |(standing, shown): (&Standing, &Post)| standing.is_like(shown);
        posts.len() >= state.posts.len() && state.posts.iter().zip(posts).all(is_like)
    }
}

impl Standing {
    /// Whether it can be the post that a list shows.
    fn is_like(&self, shown: &Post) -> bool {
        *self.text == *shown.text && self.id.as_ref().is_none_or(|id| **id == *shown.id)
    }
}

impl Posts {
    /// Where the post with this id stands.
    fn place(&self, id: &str) -> Option<usize> {
        self.posts.iter().position(|post| post.id.as_deref() == Some(id))
    }

    /// Marks an id as used, unless it is.
    fn uses(&mut self, id: &str) -> Option<()> {
        (!self.used.contains(id)).then(|| _ = Arc::make_mut(&mut self.used).insert(id.to_owned()))
    }

    /// The state, if the board can look like this; ids that were unknown are known now.
    fn listed(&self, shown: &[Post]) -> Option<Self> {
        if shown.len() != self.posts.len() {
            return None;
        }
        let mut after = self.clone();
        for (at, shown) in shown.iter().enumerate() {
            let standing = after.posts.get_mut(at).filter(|standing| standing.is_like(shown))?;
            if standing.id.is_none() {
                standing.id = Some(shown.id.as_str().into());
                after.uses(&shown.id)?;
            }
        }
        Some(after)
    }
}

impl fmt::Display for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it shows [")?;
        for (at, Standing { id, text }) in self.posts.iter().enumerate() {
            let id = id.as_deref().unwrap_or("?");
            write!(f, "{}{id:?}: {text:?}", if at > 0 { ", " } else { "" })?;
        }
        write!(f, "]")?;
        let gone: Vec<&String> = self.used.iter().filter(|id| self.place(id).is_none()).collect();
        if gone.is_empty() { Ok(()) } else { write!(f, ", and gone are {gone:?}") }
    }
}
