//! The simulated world: the same protocol structs as on the real nodes, in one thread, with virtual time, and with a
//! network, disks, clocks and machines that fail in every way of [`Fault`].
//!
//! Everything is drawn from one seed: the same seed and [`Options`] give the same run, and the same
//! [`Report::trace_hash`]. The invariants are asserted after every step; a [`Violation`] names the seed that shows it
//! again, [`shrink::shrink`] finds a shorter run that shows it too, and [`traced`] writes down what happened.
//!
//! # A run
//!
//! 1. *Storm*: all faults that this seed has are on. Clients ask.
//! 2. *Core*: a random majority (or more) of the sound nodes heals, and so do the links among them; the rest stays
//!    broken, and goes on failing. The core must make progress within [`LIVENESS_TICKS`]. (Where too few of it may vote,
//!    all sound nodes are the core: see [`Protocol::Log`].)
//! 3. *Calm*: every sound node heals. All must make progress, and know all that any of them knows.
//!
//! # The parts
//!
//! `world` is what happens; [`network`] the links, [`disk`] the disks, [`faults`] what goes wrong and when; `check` the
//! protocols under test, with their clients and their invariants; [`shrink`], [`trace`] and [`report`] say what was found.
//! The world runs whole nodes ([`crate::protocol::host::Host`]), so it knows nothing of any protocol. It hands them what
//! the driver does: messages, calls, ticks, what the transport sees of a peer's death, and the end of a batch.
//!
//! # To add an invariant
//!
//! Open the protocol's subject, say `check/paxos.rs`. Choose the hook that sees what you need: `emitted` (a step had an
//! effect), `sent` (a message leaves, after what it rests on was saved), `saved`, `stepped`, `recovered`, `told`. Say, in
//! the words of the papers, what must hold:
//!
//! ```text
//! pub(super) const NO_ZERO: &str = "rounds begin at 1";                                      // in `mod rule`
//! …
//! Message::Prepare { instance, ballot } => {                                                 // in `sent`
//!     ensure(ballot.round > 0, rule::NO_ZERO, || format!("{} prepares {ballot}", who.node))?;
//! ```
//!
//! Then break the protocol on purpose, and see `synod sim` find it: an invariant that never failed proves nothing.
//!
//! # To add a fault
//!
//! Add it to [`Fault`], with its name, its rate and its index; the compiler leads the way. Then ask, where its occasion
//! is, whether it strikes, and count it where it made a difference:
//!
//! ```text
//! if let Some(mut fortune) = self.strikes(Fault::Garble, Some(to)) {                        // in `World::send`
//!     message = garbled(message, &mut fortune);
//!     self.tally.count(Fault::Garble);
//! }
//! ```
//!
//! All chance about a strike must come from its `fortune`, so that the shrinker can take strikes away. The test
//! `every_fault_happens` fails until the new one does.
//!
//! # To add a protocol
//!
//! Write its subject in `check/`, add it to [`Protocol`], and let `World::new` make it. `Subject::strong` says what is set
//! for the nodes' election, log and services, if the protocol is about those. New messages and records must be put into
//! words in [`trace`].

mod check;
pub mod disk;
#[cfg(test)]
pub(crate) mod explore;
pub mod faults;
pub mod network;
pub mod overlay;
mod queue;
pub mod report;
pub mod shrink;
pub mod trace;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

pub use faults::{Fault, Filter};
pub use report::{Report, Tally};
use serde::{Deserialize, Serialize};
use trace::Trace;
use world::World;

/// A healed core makes progress within so many ticks.
pub const LIVENESS_TICKS: u64 = 3000;
/// How many nodes a simulated cluster may have.
pub const MAX_NODES: u32 = 15;

/// A protocol whose clients and invariants the world knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Single-decree Paxos.
    #[default]
    Paxos,
    /// The replicated log, with the election that gives it leaders and the services that it feeds.
    Log,
    /// Elections, with the log's epochs behind them.
    Bully,
    /// The eventually consistent board.
    Eventual,
    /// The quorum register.
    Register,
    /// Overlays: a hash table, flooding and an index.
    Overlay,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Paxos, Self::Log, Self::Bully, Self::Eventual, Self::Register, Self::Overlay];

    /// Its name, as `--protocol` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paxos => "paxos",
            Self::Log => "log",
            Self::Bully => "bully",
            Self::Eventual => "eventual",
            Self::Register => "register",
            Self::Overlay => "overlay",
        }
    }

    /// How many protocol steps a storm lasts, unless told otherwise: enough for its clients to be answered often.
    #[must_use]
    pub const fn steps(self) -> u64 {
        match self {
            Self::Paxos | Self::Eventual | Self::Register => 1500,
            Self::Log => 6000,
            Self::Bully => 4000,
            Self::Overlay => 12_000,
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is set unless told otherwise.
    #[must_use]
    pub fn options(self) -> Options {
        Options { protocol: self, nodes: None, steps: self.steps(), faults: Filter::default() }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name() == text)
            .ok_or_else(|| format!("'{text}' is no protocol that can be simulated; there is {}", names.join(", ")))
    }
}

/// What a run is given beside its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whose clients ask, and whose invariants are watched. Nodes have what it needs, and nothing else is asked of them.
    pub protocol: Protocol,
    /// How many nodes there are, at most [`MAX_NODES`]; 3, 4, 5 or 7, by the seed, when absent.
    pub nodes: Option<u32>,
    /// How many protocol steps the storm lasts.
    pub steps: u64,
    /// Which faults are let through, of those that the seed has.
    pub faults: Filter,
}

impl Default for Options {
    fn default() -> Self {
        Protocol::Paxos.options()
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}, tick {tick}: not so: {rule}. {what}")]
pub struct Violation {
    /// The seed that shows it again.
    pub seed: u64,
    /// The step after which it did not hold.
    pub step: u64,
    /// The virtual time.
    pub tick: u64,
    /// What should hold, in the same words each time.
    pub rule: String,
    /// Who broke it, and how.
    pub what: String,
}

/// Runs one seed to its end.
///
/// # Errors
/// An invariant did not hold, a protocol panicked, or a healed core made no progress in time.
pub fn run(seed: u64, options: Options) -> Result<Report, Violation> {
    finish(&mut World::new(seed, options))
}

/// The same, and writes down what happened.
pub fn traced(seed: u64, options: Options) -> (Result<Report, Violation>, Trace) {
    let mut world = World::new(seed, options);
    world.record();
    let result = finish(&mut world);
    let trace = world.into_trace(result.as_ref().err());
    (result, trace)
}

fn finish(world: &mut World) -> Result<Report, Violation> {
    // A protocol that panics has broken an invariant of its own; the world is not used after that but to tell of it.
    let played = catch_unwind(AssertUnwindSafe(|| world.play())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(check::Broken { rule: "no protocol panics".to_owned(), what: text.unwrap_or_default() })
    });
    match played {
        Ok(()) => Ok(world.report()),
        Err(broken) => Err(world.violation(broken)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
