//! Anti-entropy: asking another node for what it has and this one lacks, and telling it.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::memory::{Operation, Stamp};
use super::message::{Ask, Message, Place, Tell};
use super::{Eventual, Out};
use crate::protocol::clock::VectorClock;
use crate::protocol::types::NodeId;

/// What this node is being told by another one.
#[derive(Debug)]
pub(super) struct Repair {
    /// Its number.
    number: u64,
    /// Whether everything was asked for.
    whole: bool,
    /// What the other one covered at the first page, and had forgotten by the last; absent until the first has come.
    target: Option<(VectorClock, VectorClock)>,
    /// The last operation told.
    after: Option<Place>,
    /// The entries that were told, if everything is.
    told: BTreeSet<Stamp>,
}

impl Eventual {
    /// Asks another node, or, if it has not answered yet, asks again: the question or the answer may be lost.
    pub(super) fn repair(&mut self, peer: NodeId, out: &mut Out) {
        if !self.repairs.contains_key(&peer) {
            self.next_repair += 1;
            let (number, whole) = (self.next_repair, self.is_astray_for(peer));
            let repair = Repair { number, whole, target: None, after: None, told: BTreeSet::new() };
            self.repairs.insert(peer, repair);
        }
        let have = self.have();
        if let Some(repair) = self.repairs.get(&peer) {
            let ask = Ask { have, repair: repair.number, whole: repair.whole, after: repair.after };
            out.send(peer, Message::Ask(ask));
        }
    }

    pub(super) fn on_ask(&mut self, from: NodeId, ask: Ask, out: &mut Out) {
        let is_theirs_older = !ask.have.versions.covers_all(&self.board.memory().forgotten);
        if self.is_astray_for(from) && !is_theirs_older && !ask.whole {
            // Two that are each astray for the other tell each other everything: neither drops what it should keep.
            out.ignore(from, "this node was away for too long, and must be told everything first");
        } else {
            let whole = (ask.whole || is_theirs_older) && !mutant!(NeverAstray);
            let tell = self.page(&ask, whole);
            out.send(from, Message::Tell(tell));
        }
        if !self.board.memory().versions.covers_all(&ask.have.versions) && !self.repairs.contains_key(&from) {
            self.repair(from, out);
        }
    }

    /// A page of what stands here and is not covered there, or of all that stands.
    fn page(&self, ask: &Ask, whole: bool) -> Tell {
        let (mine, theirs) = (&self.board.memory().versions, &ask.have.versions);
        // Nothing that is not covered there has a lower clock than this.
        let lags = mine.iter().filter(|&(node, clock)| theirs.of(node) < clock).map(|(node, _)| theirs.of(node) + 1);
        let first = if whole { Some(0) } else { lags.min() };
        let from = match (ask.after, first) {
            (Some(place), _) => Some(Bound::Excluded(place)),
            (None, Some(clock)) => {
                let lowest = Stamp { clock, server: NodeId::GUEST };
                Some(Bound::Included(Place { stamp: lowest, id: Stamp { clock: 0, server: NodeId::GUEST } }))
            }
            (None, None) => None,
        };
        let lacks = |place: &Place| whole || !theirs.covers(place.stamp);
        let mut places = from.into_iter().flat_map(|from| self.board.places(from)).filter(lacks).peekable();
        let (mut operations, mut bytes) = (Vec::new(), 0);
        while operations.len() < self.options.page && bytes < self.options.page_bytes {
            let Some(operation) = places.next().and_then(|place| self.board.operation(place)) else { break };
            bytes += operation.text.as_ref().map_or(0, |text| text.len());
            operations.push(operation);
        }
        let (repair, after) = (ask.repair, ask.after);
        Tell { have: self.have(), repair, after, whole, more: places.peek().is_some(), operations }
    }

    pub(super) fn on_tell(&mut self, from: NodeId, tell: Tell, out: &mut Out) {
        let clock = self.clock;
        let Some(repair) = self.repairs.get_mut(&from).filter(|repair| repair.number == tell.repair) else {
            return out.ignore(from, "nobody asked for this, or not any more");
        };
        let place = |operation: &Operation| Place { stamp: operation.stamp, id: operation.id };
        let places: Vec<Place> = tell.operations.iter().map(place).collect();
        let follows = places.first().is_none_or(|first| repair.after < Some(*first)) && places.is_sorted();
        if tell.after != repair.after || !follows {
            return out.ignore(from, "this part was told before");
        }
        if repair.target.is_none() {
            let Tell { have, .. } = &tell;
            repair.target = Some((have.versions.capped(clock), have.forgotten.capped(clock)));
            repair.whole = tell.whole;
        }
        if let Some((_, forgotten)) = &mut repair.target {
            // A tombstone that went since the first page is not told any more: that it went must be known here, too.
            forgotten.join(&tell.have.forgotten.capped(clock));
        }
        let end = places.last().copied().or(repair.after);
        let is_odd = repair.whole != tell.whole || (tell.more && places.is_empty());
        repair.after = end;
        let is_whole = repair.whole;
        if is_whole {
            repair.told.extend(tell.operations.iter().map(|operation| operation.id));
        }
        for operation in &tell.operations {
            if let Err(reason) = self.is_credible(operation) {
                self.repairs.remove(&from);
                self.save(out);
                return out.ignore(from, reason);
            }
            self.board.put(operation, is_whole);
        }
        if is_odd {
            // The other one has forgotten something meanwhile, or was started anew: from the beginning.
            self.repairs.remove(&from);
            self.save(out);
        } else if tell.more && !mutant!(CoversBeforeTheEnd) {
            self.save(out);
            self.repair(from, out);
        } else {
            self.finish(from);
            self.save(out);
        }
    }

    /// The last page has come: what the other one covered is covered here.
    fn finish(&mut self, from: NodeId) {
        let Some(Repair { whole, target: Some((versions, forgotten)), told, .. }) = self.repairs.remove(&from) else {
            return;
        };
        if whole {
            let memory = self.board.memory();
            // What the other one covers and does not have was deleted there.
            let gone = memory.entries.keys().filter(|id| versions.covers(**id) && !told.contains(id));
            let gone: Vec<Stamp> = gone.copied().collect();
            gone.into_iter().for_each(|id| self.board.drop_entry(id));
            self.has_lost = false;
        }
        self.board.reach(&versions, &forgotten);
    }
}
