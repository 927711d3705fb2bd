//! Sequential specifications: what each kind of object would answer if there were only one client at a time.
//!
//! A model is stepped through the operations of one possible order. A step says what the object is like afterwards, or
//! that the answer is not what the object would have given. An operation of unknown outcome has no answer: its step says
//! what it does if it takes effect; that it may never do so is the search's matter.
//!
//! States hold what is *known*. What an operation of unknown outcome left undetermined (the version it wrote, the token
//! it was granted) stays unknown until an answer tells it, so every step has one outcome, and no state is guessed.

mod board;
mod decision;
mod file;
mod key;
mod lock;
mod register;

use std::fmt;
use std::hash::Hash;

pub use board::Board;
pub use decision::Decision;
pub use file::TextFile;
pub use key::Key;
pub use lock::Lock;
pub use register::Register;

use super::{Answer, Moment, Op, Operation};

/// An operation, as it is put into an order: with its answer, or as if its outcome were unknown.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    operation: &'a Operation,
    open: bool,
}

impl<'a> Call<'a> {
    /// The operation as it was.
    #[must_use]
    pub const fn of(operation: &'a Operation) -> Self {
        Self { operation, open: operation.returned.is_none() }
    }

    /// The operation, had nothing been heard of it after it began.
    #[must_use]
    pub const fn unheard(operation: &'a Operation) -> Self {
        Self { operation, open: true }
    }

    /// The whole operation.
    #[must_use]
    pub const fn operation(&self) -> &'a Operation {
        self.operation
    }

    /// What was asked for.
    #[must_use]
    pub const fn op(&self) -> &'a Op {
        &self.operation.op
    }

    /// When it began.
    #[must_use]
    pub const fn invoked(&self) -> Moment {
        self.operation.invoked
    }

    /// Its end and its answer, if the outcome is known.
    #[must_use]
    pub fn returned(&self) -> Option<&'a (Moment, Answer)> {
        self.operation.returned.as_ref().filter(|_| !self.open)
    }

    /// Whether, if it leaves the state as it is, it would have done so at any later time as well, but for what is learned
    /// from its answer: because it only looks, was refused, or proposes where a value is chosen for good. That a lock is
    /// not held is not of this kind: later, it may be what shows that a grant is over.
    #[must_use]
    pub(super) fn never_changes_more(&self) -> bool {
        let is_refused = |answer: &Answer| answer.is_refusal() && *answer != Answer::NotHeld;
        self.op().is_look() || self.answer().is_some_and(is_refused) || matches!(self.op(), Op::Propose { .. })
    }

    /// The answer, if there is one.
    #[must_use]
    pub fn answer(&self) -> Option<&'a Answer> {
        self.returned().map(|(_, answer)| answer)
    }
}

/// A sequential specification.
pub trait Model: Sync {
    /// What an object is like.
    type State: Clone + Eq + Hash + fmt::Display;

    /// What an object is like before the first operation.
    fn initial(&self) -> Self::State;

    /// What it is like after this operation; none if the operation cannot have this answer, or, without an answer, if it
    /// cannot take effect here.
    fn step(&self, state: &Self::State, call: &Call<'_>) -> Option<Self::State>;

    /// Whether the object can become one that gives this look its answer, if until then nothing is taken away from it.
    /// It may say yes when it does not know.
    fn leads_to(&self, _state: &Self::State, _look: &Call<'_>) -> bool {
        true
    }
}

/// A number that only grows, of which perhaps only a bound is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growing {
    Is(u64),
    /// Some operation of unknown outcome has set it, to more than this.
    Above(u64),
}

impl Growing {
    /// The number, if it can be this one.
    const fn read(self, number: u64) -> Option<Self> {
        let fits = match self {
            Self::Is(is) => is == number,
            Self::Above(bound) => number > bound,
        };
        if fits { Some(Self::Is(number)) } else { None }
    }

    /// The next number, if it was told and can be this one.
    fn next(self, told: Option<u64>) -> Option<Self> {
        let (Self::Is(bound) | Self::Above(bound)) = self;
        match told {
            Some(number) => (number > bound).then_some(Self::Is(number)),
            None => Some(Self::Above(bound)),
        }
    }
}

impl fmt::Display for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(number) => write!(f, "{number}"),
            Self::Above(bound) => write!(f, "above {bound}"),
        }
    }
}
