//! A quorum register.

use std::fmt;

use super::{Call, Model};
use crate::history::{Answer, Op};

/// A register: a read finds what was written last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

/// What it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Held(Option<String>);

impl Model for Register {
    type State = Held;

    fn initial(&self) -> Held {
        Held(None)
    }

    fn step(&self, state: &Held, call: &Call<'_>) -> Option<Held> {
        if let Op::WriteRegister { value, .. } = call.op() {
            return Some(Held(Some(value.clone())));
        }
        let fits = match call.answer() {
            Some(Answer::Found { value, .. }) => state.0.as_ref() == Some(value),
            Some(Answer::Absent) => state.0.is_none(),
            _ => true,
        };
        fits.then(|| state.clone())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, "it holds {value:?}"),
            None => write!(f, "it is empty"),
        }
    }
}
