//! What a node knows of another: when it was last heard, whether it hears us, and what it said.

use std::collections::BTreeSet;

use super::message::{Heartbeat, Rank};
use crate::protocol::types::{Ballot, NodeId};

/// For so many ticks after a peer's process was seen to die, what it sent before may still arrive, and is dropped.
const LAST_WORDS_TICKS: u64 = 2;

/// One other member, as seen from here.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Peer {
    /// When anything of it last arrived.
    heard: Option<u64>,
    /// When its last heartbeat arrived.
    beat: Option<u64>,
    /// Whom it said that it hears.
    hears: BTreeSet<NodeId>,
    /// Whether we are among them.
    hears_us: bool,
    /// Whether it said that it hears a majority both ways.
    pub(super) eligible: bool,
    /// The rank in its last heartbeat.
    pub(super) rank: Option<Rank>,
    /// The epoch in which it said that it coordinates, and when it last did.
    claim: Option<(Ballot, u64)>,
    /// The epoch of another coordinator, which it says it hears.
    vouches: Option<Ballot>,
    /// The epoch that it resigned last: late claims and vouches for that one count for nothing.
    pub(super) resigned: Option<Ballot>,
    /// Whether it has sent a heartbeat since we last asked all.
    pub(super) fresh: bool,
    /// Its process was seen to die, and nothing was heard since: nobody waits for it.
    pub(super) dead: bool,
    /// We stood back for it, and no coordinator came of it: until then we do not do so again.
    pub(super) vain_until: u64,
    /// Until when its last words are dropped.
    dropped_until: u64,
}

impl Peer {
    /// Something of it has arrived. False if these are its last words, which count for nothing.
    pub(super) fn arrived(&mut self, now: u64) -> bool {
        if now < self.dropped_until && !mutant!(LastWordsCount) {
            return false;
        }
        self.heard = Some(now);
        self.dead = false;
        true
    }

    /// Its heartbeat has arrived at node `me`.
    pub(super) fn beat(&mut self, me: NodeId, from: NodeId, beat: &Heartbeat, now: u64) {
        self.beat = Some(now);
        self.hears_us = beat.hears.contains(&me);
        self.hears.clone_from(&beat.hears);
        self.eligible = beat.eligible;
        self.rank = Some(beat.rank);
        self.fresh = true;
        self.vouches = None;
        match beat.coordinator {
            Some(epoch) if epoch.node == from => self.claim = Some((epoch, now)),
            Some(epoch) if epoch.node != me && beat.hears_coordinator => self.vouches = Some(epoch),
            // It follows by hearsay, or nobody. What it claimed itself lapses or is resigned: a late heartbeat of before
            // its victory must not unseat it.
            _ => {}
        }
    }

    /// It says that it coordinates.
    pub(super) fn claims(&mut self, epoch: Ballot, now: u64) {
        self.claim = Some((epoch, now));
    }

    /// It says, beside its heartbeats, that it hears this coordinator.
    pub(super) fn vouches_for(&mut self, epoch: Ballot, now: u64) {
        self.vouches = Some(epoch);
        self.beat = Some(now);
    }

    /// Its process was seen to die.
    pub(super) fn died(&mut self, now: u64) {
        *self = Self { dead: true, dropped_until: now + LAST_WORDS_TICKS, resigned: self.resigned, ..Self::default() };
    }

    /// Whoever it vouched for was seen to die; what it says from now on counts again.
    pub(super) fn forget_vouch(&mut self) {
        self.vouches = None;
    }

    /// Whether we hear it.
    pub(super) fn is_heard(&self, now: u64, silence: u64) -> bool {
        self.heard.is_some_and(|heard| now - heard < silence)
    }

    /// Whether it said that it hears this one.
    pub(super) fn says_it_hears(&self, other: NodeId) -> bool {
        self.hears.contains(&other)
    }

    /// Whether we hear each other.
    pub(super) fn is_linked(&self, now: u64, silence: u64) -> bool {
        (self.hears_us || mutant!(HearsOneWay)) && self.is_heard(now, silence)
    }

    /// The epoch in which it coordinates, by its own fresh word.
    pub(super) fn claimed(&self, now: u64, silence: u64) -> Option<Ballot> {
        self.claim.filter(|&(_, at)| now - at < silence).map(|(epoch, _)| epoch)
    }

    /// The epoch of the coordinator that it hears, by its fresh word.
    pub(super) fn vouched(&self, now: u64, silence: u64) -> Option<Ballot> {
        self.vouches.filter(|_| self.beat.is_some_and(|beat| now - beat < silence))
    }
}
