//! A text file.

use std::fmt;
use std::sync::Arc;

use super::{Call, Model};
use crate::history::{Answer, Op};

/// A file that is created, only ever gets longer, is read as a whole, and is deleted.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextFile;

/// What is in it, if it exists. Shared, because a search keeps many states of one length or another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Text(Option<Arc<str>>);

impl Model for TextFile {
    type State = Text;

    fn initial(&self) -> Text {
        Text(None)
    }

    fn step(&self, state: &Text, call: &Call<'_>) -> Option<Text> {
        match (call.op(), call.answer(), &state.0) {
            (Op::Create { .. }, Some(Answer::Exists), Some(_)) => Some(state.clone()),
            (Op::Create { .. }, Some(Answer::Done) | None, None) => Some(Text(Some(Arc::from("")))),
            (Op::Append { text, .. }, Some(Answer::Done) | None, Some(before)) => {
                Some(Text(Some([before, text.as_str()].concat().into())))
            }
            (Op::DeleteFile { .. }, Some(Answer::Done) | None, Some(_)) => Some(Text(None)),
            (Op::ReadFile { .. }, Some(Answer::Content { text }), Some(content)) => {
                (**content == **text).then(|| state.clone())
            }
            (Op::ReadFile { .. }, None, _) | (_, Some(Answer::Absent), None) => Some(state.clone()),
            _ => None,
        }
    }

    fn leads_to(&self, state: &Text, look: &Call<'_>) -> bool {
        match (&state.0, look.answer()) {
            (Some(_), Some(Answer::Absent)) => false,
            (Some(before), Some(Answer::Content { text })) => text.starts_with(&**before),
            _ => true,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(f, "it holds {text:?}"),
            None => write!(f, "it does not exist"),
        }
    }
}
