//! What a run did, and what many runs did together.

use std::ops::AddAssign;

use super::faults::Fault;

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Protocol steps: messages, ticks and calls handed to a node.
    pub steps: u64,
    /// Virtual time, in ticks.
    pub ticks: u64,
    /// A hash of all that happened, in order.
    pub trace_hash: u64,
    /// What happened, counted.
    pub tally: Tally,
}

/// What happened, counted. Tallies of several runs add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often each fault made a difference, by [`Fault`]'s order.
    pub faults: [u64; Fault::COUNT],
    /// Starts of a node after a crash.
    pub recoveries: u64,
    /// Torn records that recovery cut off.
    pub cut_tails: u64,
    /// Nodes that stayed down because their disk is damaged.
    pub quarantined: u64,
    /// Messages that reached a node.
    pub delivered: u64,
    /// Messages lost to cut links and to nodes that were down.
    pub unreachable: u64,
    /// Values that clients proposed.
    pub proposals: u64,
    /// Ballots that were started.
    pub ballots: u64,
    /// Instances in which a value was chosen.
    pub chosen: u64,
    /// Clients that were told what is chosen.
    pub answered_chosen: u64,
    /// Clients that were told that their value is definitely not chosen by their call.
    pub answered_refused: u64,
    /// Clients that were told that nobody knows.
    pub answered_unknown: u64,
    /// The longest that a healed core took to settle, in ticks. Of several runs, the longest.
    pub slowest_core_ticks: u64,
}

impl Tally {
    /// How often a fault made a difference.
    #[must_use]
    pub const fn of(&self, fault: Fault) -> u64 {
        self.faults[fault.index()]
    }

    pub(super) const fn count(&mut self, fault: Fault) {
        self.faults[fault.index()] += 1;
    }

    /// All counts but those of the faults, with their names.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("proposals", self.proposals),
            ("ballots", self.ballots),
            ("instances chosen", self.chosen),
            ("answered: chosen", self.answered_chosen),
            ("answered: refused", self.answered_refused),
            ("answered: unknown", self.answered_unknown),
            ("messages delivered", self.delivered),
            ("messages to nowhere", self.unreachable),
            ("recoveries", self.recoveries),
            ("torn records cut", self.cut_tails),
            ("nodes quarantined", self.quarantined),
            ("slowest core, ticks", self.slowest_core_ticks),
        ]
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for (mine, others) in self.faults.iter_mut().zip(other.faults) {
            *mine += others;
        }
        self.recoveries += other.recoveries;
        self.cut_tails += other.cut_tails;
        self.quarantined += other.quarantined;
        self.delivered += other.delivered;
        self.unreachable += other.unreachable;
        self.proposals += other.proposals;
        self.ballots += other.ballots;
        self.chosen += other.chosen;
        self.answered_chosen += other.answered_chosen;
        self.answered_refused += other.answered_refused;
        self.answered_unknown += other.answered_unknown;
        self.slowest_core_ticks = self.slowest_core_ticks.max(other.slowest_core_ticks);
    }
}
