//! Checks a whole history: each object apart, many at a time.

use std::fmt;
use std::num::NonZeroUsize;
use std::thread;

use rayon::prelude::*;

use super::models::{Board, Call, Decision, Key, Lock, Model, Register, TextFile};
use super::search::{Budget, Found, search};
use super::witness::{self, Witness};
use super::{History, Kind, Object, Operation};

/// How a history is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many steps of the model may be taken for each object, and as many again to make a witness small. A step is
    /// under a microsecond for most models; each may cost some hundred bytes.
    pub budget: u64,
    /// How many objects are checked at a time; all cores if absent.
    pub threads: Option<NonZeroUsize>,
}

impl Options {
    /// The budget unless told otherwise: a second or so.
    pub const BUDGET: u64 = 1_000_000;
}

impl Default for Options {
    fn default() -> Self {
        Self { budget: Self::BUDGET, threads: None }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains all answers.
    Valid,
    /// None does.
    Invalid(Box<Witness>),
    /// The budget ended first.
    Undecided,
}

/// One object's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Which one.
    pub object: Object,
    /// How many operations it had.
    pub operations: usize,
    /// How many steps were taken, without those for a witness.
    pub steps: u64,
    /// What came of it.
    pub verdict: Verdict,
}

/// The checks of all objects, ordered by object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One for each object.
    pub trials: Vec<Trial>,
}

impl Report {
    /// Whether all objects are valid.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.trials.iter().all(|trial| trial.verdict == Verdict::Valid)
    }

    /// The witnesses of the objects that are invalid.
    pub fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.trials.iter().filter_map(|trial| match &trial.verdict {
            Verdict::Invalid(witness) => Some(&**witness),
            _ => None,
        })
    }

    /// The objects whose budget ended first.
    pub fn undecided(&self) -> impl Iterator<Item = &Object> {
        self.trials.iter().filter(|trial| trial.verdict == Verdict::Undecided).map(|trial| &trial.object)
    }
}

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the checking threads: {0}")]
pub struct CheckError(#[from] rayon::ThreadPoolBuildError);

/// Checks every object of a history, in threads of its own.
///
/// # Errors
/// The threads cannot be started.
pub fn check(history: &History, options: Options) -> Result<Report, CheckError> {
    let threads = options.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|at| format!("checker {at}")).build()?;
    let objects: Vec<(&Object, &Vec<Operation>)> = history.objects().iter().collect();
    let trials = pool.install(|| {
        objects.into_par_iter().map(|(object, operations)| try_object(object, operations, options.budget)).collect()
    });
    Ok(Report { trials })
}

/// The same on the calling thread, with this budget for each object.
pub(crate) fn check_alone(history: &History, budget: u64) -> Report {
    let trials = history.objects().iter().map(|(object, operations)| try_object(object, operations, budget));
    Report { trials: trials.collect() }
}

fn try_object(object: &Object, operations: &[Operation], budget: u64) -> Trial {
    match object.kind {
        Kind::Decision => try_model(&Decision, object, operations, budget),
        Kind::Key => try_model(&Key, object, operations, budget),
        Kind::File => try_model(&TextFile, object, operations, budget),
        Kind::Lock => try_model(&Lock, object, operations, budget),
        Kind::Board => try_model(&Board, object, operations, budget),
        Kind::Register => try_model(&Register, object, operations, budget),
    }
}

fn try_model<M: Model>(model: &M, object: &Object, operations: &[Operation], steps: u64) -> Trial {
    let calls: Vec<Call<'_>> = operations.iter().map(Call::of).collect();
    let mut budget = Budget::new(steps);
    let verdict = match search(model, &calls, &mut budget) {
        Found::Order => Verdict::Valid,
        Found::None => Verdict::Invalid(Box::new(witness::of(model, object, operations, Budget::new(steps)))),
        Found::GaveUp => Verdict::Undecided,
    };
    Trial { object: object.clone(), operations: operations.len(), steps: steps - budget.left(), verdict }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid(_) => "invalid",
            Self::Undecided => "undecided",
        })
    }
}
