//! Single decree.

use std::fmt;

use super::{Call, Model};
use crate::history::{Answer, Op};

/// An instance of single decree: the first proposal that takes effect is chosen, for good, and all hear of it.
///
/// `decided` is answered from what one node has learned, so *undecided* is always a right answer. A value that it
/// answers with must have been chosen before. Restarts of a lab, which forget decisions, have no place in a history.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decision;

/// What is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chosen(Option<String>);

impl Model for Decision {
    type State = Chosen;

    fn initial(&self) -> Chosen {
        Chosen(None)
    }

    fn step(&self, state: &Chosen, call: &Call<'_>) -> Option<Chosen> {
        let after = match call.op() {
            Op::Propose { value, .. } => Chosen(Some(state.0.as_ref().unwrap_or(value).clone())),
            _ => state.clone(),
        };
        let fits = match call.answer() {
            Some(Answer::Chosen { value }) => after.0.as_ref() == Some(value),
            _ => true,
        };
        fits.then_some(after)
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, "{value:?} is chosen"),
            None => write!(f, "nothing is chosen"),
        }
    }
}
