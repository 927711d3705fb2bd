//! What clients saw, and whether any order of their operations explains it.
//!
//! A [`Recorder`] notes, on the clients' side, when each operation began, when it ended, and with which answer. The
//! checker, [`check()`], asks for each object (a key, a file, a lock ...) whether the history is *linearizable*: whether
//! its operations can be put into one order in which each takes effect at a moment between its beginning and its end,
//! and in which every answer is what the object's sequential specification ([`models`]) gives. If none can, the report
//! names the fewest operations found that cannot be ordered, and says what the last answer should have been.
//!
//! Herlihy and Wing's "Linearizability" has the definition and the proof that objects may be checked apart (locality);
//! Wing and Gong's "Testing and Verifying Concurrent Objects" the search; Lowe's "Testing for linearizability" the
//! memory of configurations that were met before.
//!
//! # Outcomes
//!
//! | event | what is known | what the checker makes of it |
//! |---|---|---|
//! | `return` | it took effect between its two events, and this is its answer | it must be ordered, with this answer |
//! | `fail` | definite: it had no effect | it is dropped |
//! | `unknown` | indefinite: no answer came, or an indefinite fault | it may take effect at any time after it began, or never |
//! | none | the recording ended meanwhile | the same as `unknown` |
//!
//! A refusal that tells something of the object, such as a lost compare, is a `return` with an answer of its own.
//!
//! # The file
//!
//! JSON lines. The first is the version, each further one is an event; they are in the order in which they happened, so
//! `time_ns`, nanoseconds since the recording began, never falls. Members that are not known are ignored.
//!
//! ```text
//! {"type":"history","version":1}
//! {"type":"invoke","process":3,"time_ns":1200,"op":"kv.put","key":"a","value":"1"}
//! {"type":"invoke","process":4,"time_ns":1900,"op":"kv.get","key":"a"}
//! {"type":"return","process":3,"time_ns":2500,"answer":"written","version":1}
//! {"type":"unknown","process":4,"time_ns":9000,"reason":"no answer"}
//! ```
//!
//! A process does one operation at a time: its next event after an `invoke` is that operation's end. After an `unknown`
//! it may go on with another operation, while the first one stays open. [`Op`] lists the operations with their members,
//! [`Answer`] the answers.
//!
//! # Caveats
//!
//! - Objects begin empty: a history recorded on a cluster that already held something looks invalid.
//! - The search takes exponential time in the worst case, so it has a budget; beyond it a history is *undecided*. What
//!   costs is many writes at the same time on the same object, and many of unknown outcome whose effects all differ.
//! - A call that is sent again, because a connection broke, is two calls to the cluster. Unless the service makes them
//!   one, the history must not show them as one.
//! - Operations on many keys at once (`kv.list`, `kv.watch`) have no model: they do not fall apart by key.

mod check;
mod event;
mod file;
pub mod models;
mod recorder;
mod search;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::BTreeMap;
use std::fmt;

pub(crate) use check::check_alone;
pub use check::{Options, Report, Trial, Verdict, check};
pub use event::{Answer, Event, Kind, Object, Op, Post};
pub use file::{ReadError, VERSION};
pub use recorder::{Pending, Process, Recorder};
pub use witness::Witness;

/// A moment of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Which event it is, counted from 0. Events of the same nanosecond are ordered by it.
    pub position: usize,
    /// Nanoseconds since the recording began.
    pub time_ns: u64,
}

/// One operation of a client, from its beginning to its end, if it had one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The client.
    pub process: u64,
    /// What it asked for.
    pub op: Op,
    /// When it began.
    pub invoked: Moment,
    /// When it ended, and the answer; none if the outcome is unknown.
    pub returned: Option<(Moment, Answer)>,
}

/// The operations of a recording that took effect, or may have, by object, in the order in which they began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    objects: BTreeMap<Object, Vec<Operation>>,
    failed: usize,
}

/// Why events make no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A process began an operation before its last one had ended.
    #[error("process {0} begins an operation while another one of it is running")]
    Busy(u64),
    /// A process ended what it had not begun.
    #[error("process {0} ends an operation, but none of it is running")]
    Idle(u64),
    /// The clock went backwards.
    #[error("the time falls from {before} to {after} ns")]
    Backwards {
        /// The time of the event before.
        before: u64,
        /// The time of this one.
        after: u64,
    },
    /// The answer is one of another kind of operation.
    #[error("{op} cannot be answered with '{answer}'")]
    Misfit {
        /// The operation.
        op: String,
        /// Its answer.
        answer: String,
    },
}

impl History {
    /// Makes a history of events that happened in this order.
    ///
    /// # Errors
    /// The position of the first event, from 0, that does not fit those before it, and why.
    pub fn from_events(events: impl IntoIterator<Item = Event>) -> Result<Self, (usize, EventError)> {
        let mut builder = Builder::default();
        for (position, event) in events.into_iter().enumerate() {
            builder.take(event).map_err(|error| (position, error))?;
        }
        Ok(builder.finish())
    }

    /// The operations of each object.
    #[must_use]
    pub const fn objects(&self) -> &BTreeMap<Object, Vec<Operation>> {
        &self.objects
    }

    /// How many operations certainly had no effect.
    #[must_use]
    pub const fn failed(&self) -> usize {
        self.failed
    }

    /// How many operations took effect, or may have.
    #[must_use]
    pub fn count(&self) -> usize {
        self.objects.values().map(Vec::len).sum()
    }

    /// How many operations have an unknown outcome.
    #[must_use]
    pub fn open(&self) -> usize {
        self.objects.values().flatten().filter(|operation| operation.returned.is_none()).count()
    }
}

/// Puts beginnings and ends together.
#[derive(Debug, Default)]
struct Builder {
    running: BTreeMap<u64, Operation>,
    ended: Vec<Operation>,
    failed: usize,
    events: usize,
    time_ns: u64,
}

impl Builder {
    fn take(&mut self, event: Event) -> Result<(), EventError> {
        let time_ns = event.time_ns();
        if time_ns < self.time_ns {
            return Err(EventError::Backwards { before: self.time_ns, after: time_ns });
        }
        let moment = Moment { position: self.events, time_ns };
        let process = event.process();
        match event {
            Event::Invoke { op, .. } => {
                if self.running.contains_key(&process) {
                    return Err(EventError::Busy(process));
                }
                self.running.insert(process, Operation { process, op, invoked: moment, returned: None });
            }
            Event::Return { answer, .. } => {
                let mut operation = self.running.remove(&process).ok_or(EventError::Idle(process))?;
                if !operation.op.admits(&answer) {
                    return Err(EventError::Misfit { op: operation.op.to_string(), answer: answer.to_string() });
                }
                operation.returned = Some((moment, answer));
                self.ended.push(operation);
            }
            Event::Fail { .. } => {
                self.running.remove(&process).ok_or(EventError::Idle(process))?;
                self.failed += 1;
            }
            Event::Unknown { .. } => {
                let operation = self.running.remove(&process).ok_or(EventError::Idle(process))?;
                self.ended.push(operation);
            }
        }
        self.time_ns = time_ns;
        self.events += 1;
        Ok(())
    }

    /// What is still running may take effect at any time.
    fn finish(self) -> History {
        let mut all: Vec<Operation> = self.ended.into_iter().chain(self.running.into_values()).collect();
        all.sort_by_key(|operation| operation.invoked);
        let mut objects: BTreeMap<Object, Vec<Operation>> = BTreeMap::new();
        for operation in all {
            objects.entry(operation.op.object()).or_default().push(operation);
        }
        History { objects, failed: self.failed }
    }
}

impl Operation {
    /// The answer, if the outcome is known.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        self.returned.as_ref().map(|(_, answer)| answer)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {}, {}", self.process, self.op, millis(self.invoked.time_ns))?;
        match &self.returned {
            Some((at, answer)) => write!(f, " to {} ms: {answer}", millis(at.time_ns)),
            None => write!(f, " ms, outcome unknown"),
        }
    }
}

/// Milliseconds with three digits behind the point.
fn millis(time_ns: u64) -> String {
    format!("{}.{:03}", time_ns / 1_000_000, time_ns / 1000 % 1000)
}
