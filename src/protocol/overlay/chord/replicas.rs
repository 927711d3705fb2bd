//! Copies: who should have which, who has them, and how the two become one.

use super::calls::Operation;
use super::{COMPARE_ROUNDS, Chord, Digest, Message, PERIOD_TICKS, Phase};
use crate::protocol::Out;
use crate::protocol::overlay::ring::Position;
use crate::protocol::overlay::{Item, Key, Record, Shelf, Stamp, Version};
use crate::protocol::types::NodeId;

/// For so long a node counts as the holder of copies after it was last told so.
pub(super) const LEASE_TICKS: u64 = 3 * COMPARE_ROUNDS * PERIOD_TICKS;
/// One answer names so many keys at most; the rest has its turn when these are equal.
const MAX_HAVE: usize = 512;
/// One message holds so many copies at most ...
const MAX_ITEMS: usize = 64;
/// ... and so many bytes of values, or one that is larger.
const MAX_BATCH_BYTES: usize = 256 << 10;
/// So many times in a round a comparison that could not tell all goes on at once.
pub(super) const FOLLOW_UPS: usize = 64;
/// So many arcs are kept in mind for which others say that this node holds copies.
const MAX_LEASES: usize = 4096;
/// So many keys are handed over at the same time.
const HAND_OVERS: usize = 32;

/// Up to an arc's end this node holds copies, says the arc's owner.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    behind: Position,
    until: u64,
}

impl Chord {
    /// Compares what belongs to a virtual node with those that hold the copies.
    pub(super) fn compare(&mut self, index: usize, out: &mut Out) {
        let table = &self.virtuals[index];
        let Some((before, _)) = table.predecessor else { return };
        let (from, to) = (before.at, table.at);
        let digest = self.items.digest(from, to);
        let replicas = table.replicas(self.me, self.options.replicas);
        for node in replicas {
            out.send(node, Message::Compare { from, to, digest });
        }
    }

    pub(super) fn on_compare(&mut self, from: NodeId, behind: Position, to: Position, digest: Digest, out: &mut Out) {
        if matches!(self.phase, Phase::Leaving { .. } | Phase::Left) {
            return self.say_outside(from, None, out);
        }
        let until = self.now + LEASE_TICKS;
        if self.leases.len() >= MAX_LEASES {
            self.leases.retain(|_, lease| lease.until > self.now);
        }
        if self.leases.len() < MAX_LEASES {
            self.leases.insert(to, Lease { behind, until });
        }
        if self.items.digest(behind, to) != digest {
            let stamps = self.items.between(behind, to).map(|(at, _, version)| (at, version.stamp));
            let have: Vec<(Position, Stamp)> = stamps.take(MAX_HAVE).collect();
            // What was not named is not compared.
            let to = have.last().filter(|_| have.len() == MAX_HAVE).map_or(to, |(at, _)| *at);
            out.send(from, Message::Holding { from: behind, to, have });
        }
    }

    pub(super) fn on_holding(
        &mut self,
        from: NodeId,
        behind: Position,
        to: Position,
        have: &[(Position, Stamp)],
        out: &mut Out,
    ) {
        if have.len() > MAX_HAVE {
            return out.ignore(from, "it names more than it may");
        }
        // Two keys at one position are compared as one: the later stamp of both.
        let theirs: std::collections::BTreeMap<Position, Stamp> = have.iter().copied().collect();
        let mut push = Vec::new();
        let mut more = have.len() == MAX_HAVE;
        let mut bytes = 0;
        let mut want: Vec<Position> = theirs.keys().copied().collect();
        for (at, key, version) in self.items.between(behind, to) {
            let known = theirs.get(&at);
            if known.is_some_and(|stamp| *stamp <= version.stamp) {
                want.retain(|wanted| *wanted != at);
            }
            if known.is_none_or(|stamp| *stamp < version.stamp) {
                bytes += version.value.as_ref().map_or(0, |value| value.as_str().len());
                if push.is_empty() || (push.len() < MAX_ITEMS && bytes <= MAX_BATCH_BYTES) {
                    push.push(Item { key: key.clone(), version: version.clone() });
                } else {
                    more = true;
                }
            }
        }
        if !push.is_empty() {
            out.send(from, Message::Copies { id: None, items: push });
        }
        if !want.is_empty() {
            more |= want.len() > MAX_ITEMS;
            want.truncate(MAX_ITEMS);
            out.send(from, Message::Want { positions: want });
        }
        // The rest follows. Should the other one take nothing, that has an end all the same.
        if more && self.follow_ups > 0 {
            self.follow_ups -= 1;
            let is_of =
                |table: &super::Virtual| table.predecessor.is_some_and(|(before, _)| to.is_within(before.at, table.at));
            if let Some(index) = self.virtuals.iter().position(is_of) {
                self.compare(index, out);
            }
        }
    }

    pub(super) fn on_want(&self, from: NodeId, positions: &[Position], out: &mut Out) {
        let mut items = Vec::new();
        let mut bytes = 0;
        for &at in positions.iter().take(MAX_ITEMS) {
            for (_, key, version) in self.items.between(Position(at.0.wrapping_sub(1)), at) {
                bytes += version.value.as_ref().map_or(0, |value| value.as_str().len());
                if items.is_empty() || bytes <= MAX_BATCH_BYTES {
                    items.push(Item { key: key.clone(), version: version.clone() });
                }
            }
        }
        if !items.is_empty() {
            out.send(from, Message::Copies { id: None, items });
        }
    }

    pub(super) fn on_copies(&mut self, from: NodeId, id: Option<u64>, items: Vec<Item>, out: &mut Out) {
        if matches!(self.phase, Phase::Leaving { .. } | Phase::Left) {
            return self.say_outside(from, id, out);
        }
        if items.len() > MAX_ITEMS {
            return out.ignore(from, "more copies than a message may have");
        }
        let mut kept = true;
        for item in items {
            kept &= self.keep(item, out);
        }
        if let Some(id) = id {
            out.send(from, Message::Copied { id, kept });
        }
    }

    /// Takes a version if it is newer than what is held; whether it, or a newer one, is held now.
    fn keep(&mut self, item: Item, out: &mut Out) -> bool {
        if item.version.stamp.counter > Stamp::MAX_COUNTER {
            return false;
        }
        if !self.items.is_news(&item) {
            return true;
        }
        if !self.items.has_room(&item) {
            return false;
        }
        out.save(Record::Hold { shelf: Shelf::Dht, item: item.clone() }.into());
        self.items.put(item);
        true
    }

    /// Keys that belong to others are handed over to them; of a node that leaves, all.
    pub(super) fn hand_over(&mut self, out: &mut Out) {
        let leaves = matches!(self.phase, Phase::Leaving { .. });
        if self.items.is_empty() && leaves {
            return self.has_left(out);
        }
        self.leases.retain(|_, lease| lease.until > self.now);
        // Who does not know what is its own cannot tell what is not.
        if !leaves && self.virtuals.iter().any(|table| table.predecessor.is_none()) {
            return;
        }
        let under_way: Vec<&Key> = self.operations.values().filter_map(Operation::handed_over).collect();
        let room = HAND_OVERS.saturating_sub(under_way.len());
        let strangers = self.items.iter().filter(|(key, _)| leaves || !self.holds(key.position()));
        let keys: Vec<(Key, Version)> = strangers
            .filter(|(key, _)| !under_way.contains(key))
            .take(room)
            .map(|(key, version)| (key.clone(), version.clone()))
            .collect();
        for (key, version) in keys {
            self.begin_hand_over(Item { key, version }, out);
        }
    }

    /// Whether somebody, or this node itself, says that a place is this node's to hold.
    fn holds(&self, at: Position) -> bool {
        let own = self
            .virtuals
            .iter()
            .any(|table| table.predecessor.is_some_and(|(before, _)| at.is_within(before.at, table.at)));
        own || self.leases.iter().any(|(&to, lease)| at.is_within(lease.behind, to))
    }

    /// The owners have it: it is forgotten here, unless it changed meanwhile.
    pub(super) fn handed_over(&mut self, item: &Item, out: &mut Out) {
        if self.items.version(&item.key).is_some_and(|held| held.stamp == item.version.stamp) {
            out.save(Record::Release { shelf: Shelf::Dht, key: item.key.clone() }.into());
            self.items.forget(&item.key);
            self.handed_over += 1;
        }
        if matches!(self.phase, Phase::Leaving { .. }) {
            self.hand_over(out);
        }
    }
}
