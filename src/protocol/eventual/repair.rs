//! Anti-entropy: asking another node for what it has and this one lacks, and telling it.

use std::collections::BTreeSet;

use super::memory::{Entry, Operation, Stamp};
use super::message::{Ask, Message, Tell};
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
    /// Absent until the first page has come.
    target: Option<Target>,
    /// The last entry told.
    after: Option<Stamp>,
    /// The entries that were told, if everything is.
    told: BTreeSet<Stamp>,
}

/// What this node will reach with the last page.
#[derive(Debug)]
struct Target {
    /// What the other one covered at the first page.
    versions: VectorClock,
    /// The deletes that it had forgotten by the last.
    forgotten: VectorClock,
    /// See [`Tell::era`].
    era: u64,
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

    /// A page of what stands here and is not covered there, or of all that stands. If the boards show different things, that
    /// includes what is not covered here either: if its server dies for good while it tells it, nobody ever covers it.
    fn page(&self, ask: &Ask, whole: bool) -> Tell {
        let (have, Ask { have: theirs, repair, after, .. }) = (self.have(), ask);
        let differs = have.digest != theirs.digest && !mutant!(UncoveredUntold);
        let lacks = |entry: &Entry| {
            whole || (!theirs.versions.covers(entry.stamp) && (differs || have.versions.covers(entry.stamp)))
        };
        let mut rows = self.board.entries(*after).filter(|(_, entry)| lacks(entry)).peekable();
        let (mut operations, mut bytes) = (Vec::new(), 0);
        while operations.len() < self.options.page && bytes < self.options.page_bytes {
            let Some((id, entry)) = rows.next() else { break };
            bytes += entry.text.as_ref().map_or(0, |text| text.len());
            operations.push(Operation { id, stamp: entry.stamp, text: entry.text.clone() });
        }
        let (repair, after, more) = (*repair, *after, rows.peek().is_some());
        Tell { have, repair, after, era: self.era, whole, more, operations }
    }

    pub(super) fn on_tell(&mut self, from: NodeId, tell: Tell, out: &mut Out) {
        let clock = self.clock;
        let Some(repair) = self.repairs.get_mut(&from).filter(|repair| repair.number == tell.repair) else {
            return out.ignore(from, "nobody asked for this, or not any more");
        };
        let ids: Vec<Stamp> = tell.operations.iter().map(|operation| operation.id).collect();
        let follows = ids.first().is_none_or(|first| repair.after < Some(*first)) && ids.is_sorted();
        if tell.after != repair.after || !follows {
            return out.ignore(from, "this part was told before");
        }
        let is_continued = repair.takes(&tell, clock);
        if let Some(reason) = tell.operations.iter().find_map(|operation| self.is_credible(operation).err()) {
            self.repairs.remove(&from);
            return out.ignore(from, reason);
        }
        tell.operations.iter().for_each(|operation| self.board.put(operation, tell.whole));
        if !is_continued || (tell.more && ids.is_empty()) {
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
        let Some(Repair { whole, target: Some(target), told, .. }) = self.repairs.remove(&from) else { return };
        let Target { versions, forgotten, .. } = target;
        self.is_newcomer = false;
        if whole {
            let memory = self.board.memory();
            // What the other one covers and does not have was deleted there.
            let gone = memory.entries.keys().filter(|id| versions.covers(**id) && !told.contains(id));
            let gone: Vec<Stamp> = gone.copied().collect();
            self.era += u64::from(!gone.is_empty());
            gone.into_iter().for_each(|id| self.board.drop_entry(id));
            self.lost = self.lost.filter(|own| versions.of(self.id) < *own && !mutant!(LossForgiven));
        }
        self.board.reach(&versions, &forgotten);
    }
}

impl Repair {
    /// Takes a page. False if it is not of the same whole as those before: what was there to be told is not, any more.
    fn takes(&mut self, tell: &Tell, clock: u64) -> bool {
        let Tell { have, era, whole, .. } = tell;
        let target = self.target.get_or_insert_with(|| {
            self.whole = *whole;
            Target { versions: have.versions.capped(clock), forgotten: VectorClock::default(), era: *era }
        });
        // A tombstone that everyone has seen, and that went since the first page, is not told any more: that it went must be
        // known here, too.
        target.forgotten.join(&have.forgotten.capped(clock));
        self.after = tell.operations.last().map(|operation| operation.id).or(self.after);
        if *whole {
            self.told.extend(tell.operations.iter().map(|operation| operation.id));
        }
        self.whole == *whole && (target.era == *era || mutant!(ErasIgnored))
    }
}
