//! What a run did, and what many runs did together.

use std::ops::AddAssign;

use super::Protocol;
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
    /// Starts of a node that found its log damaged.
    pub distrusted: u64,
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
    /// Commands that clients called for.
    pub commands: u64,
    /// Reads that clients called for.
    pub reads: u64,
    /// Reads that were answered.
    pub answered_reads: u64,
    /// Commands that were called again under their request id.
    pub repeats: u64,
    /// Messages of a candidate that reached a node.
    pub elections: u64,
    /// Epochs that began.
    pub epochs: u64,
    /// Entries that were chosen.
    pub entries: u64,
    /// Snapshots that were taken.
    pub snapshots: u64,
    /// Snapshots that took the place of a log.
    pub installs: u64,
    /// Grants of locks.
    pub grants: u64,
    /// Writes that were refused for their fencing token.
    pub fenced: u64,
    /// Operations in histories that were found linearizable.
    pub linearized: u64,
    /// Objects whose histories could not be decided with the budget.
    pub undecided: u64,
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

    /// The counts that a protocol's runs have, but for those of the faults, with their names.
    #[must_use]
    pub fn named(&self, protocol: Protocol) -> Vec<(&'static str, u64)> {
        let mut named = match protocol {
            Protocol::Paxos => vec![
                ("proposals", self.proposals),
                ("ballots", self.ballots),
                ("instances chosen", self.chosen),
                ("answered: chosen", self.answered_chosen),
            ],
            Protocol::Overlay => vec![
                ("calls", self.commands),
                ("answered: done", self.answered_chosen),
                ("answered: found", self.answered_reads),
            ],
            Protocol::Bully => vec![("elections heard of", self.elections), ("epochs", self.epochs)],
            Protocol::Eventual => vec![("operations", self.proposals), ("operations saved", self.commands)],
            Protocol::Register => vec![
                ("writes", self.proposals),
                ("reads", self.reads),
                ("operations linearized", self.linearized),
                ("histories undecided", self.undecided),
                ("answered: done", self.answered_chosen),
            ],
            Protocol::Log => vec![
                ("commands", self.commands),
                ("commands repeated", self.repeats),
                ("reads", self.reads),
                ("epochs", self.epochs),
                ("entries chosen", self.entries),
                ("snapshots taken", self.snapshots),
                ("snapshots installed", self.installs),
                ("locks granted", self.grants),
                ("refused by token", self.fenced),
                ("operations linearized", self.linearized),
                ("histories undecided", self.undecided),
                ("answered: applied", self.answered_chosen),
                ("answered: read", self.answered_reads),
                ("logs distrusted", self.distrusted),
            ],
        };
        named.extend([
            ("answered: refused", self.answered_refused),
            ("answered: unknown", self.answered_unknown),
            ("messages delivered", self.delivered),
            ("messages to nowhere", self.unreachable),
            ("recoveries", self.recoveries),
            ("torn records cut", self.cut_tails),
            ("nodes quarantined", self.quarantined),
            ("slowest core, ticks", self.slowest_core_ticks),
        ]);
        named
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
        self.distrusted += other.distrusted;
        self.delivered += other.delivered;
        self.unreachable += other.unreachable;
        self.proposals += other.proposals;
        self.ballots += other.ballots;
        self.chosen += other.chosen;
        self.answered_chosen += other.answered_chosen;
        self.answered_refused += other.answered_refused;
        self.answered_unknown += other.answered_unknown;
        self.commands += other.commands;
        self.reads += other.reads;
        self.answered_reads += other.answered_reads;
        self.repeats += other.repeats;
        self.elections += other.elections;
        self.epochs += other.epochs;
        self.entries += other.entries;
        self.snapshots += other.snapshots;
        self.installs += other.installs;
        self.grants += other.grants;
        self.fenced += other.fenced;
        self.linearized += other.linearized;
        self.undecided += other.undecided;
        self.slowest_core_ticks = self.slowest_core_ticks.max(other.slowest_core_ticks);
    }
}
