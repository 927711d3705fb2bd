//! An election, from both sides.

use std::collections::BTreeSet;

use rand::RngExt;

use super::message::{Answer, Election, Message, Rank};
use super::{Bully, Phase};
use crate::protocol::Out;
use crate::protocol::types::{Ballot, NodeId};

/// What a receiver makes of an Election.
enum Verdict {
    /// No election is needed: this coordinator lives.
    Follow(Ballot),
    /// This node, of higher rank or a winner already, takes over.
    TakesOver(NodeId),
    /// The candidate need not wait for us.
    StandBack,
}

impl Bully {
    // The candidate.

    /// After every input: stands for election when it is time, and goes on with the election that runs.
    pub(super) fn run_election(&mut self, out: &mut Out) {
        match self.phase {
            Phase::Looking { .. } => self.stand_if_due(out),
            Phase::Electing { .. } => self.count(out),
            Phase::Yielding { since, to, .. } if self.now - since >= self.options.coordinator_ticks => {
                if let Some(peer) = self.peers.get_mut(&to) {
                    peer.vain_until = self.now + 2 * self.options.coordinator_ticks;
                }
                if !mutant!(WaitsForEver) {
                    self.look(true, 0, out);
                }
            }
            Phase::Won { since } if self.is_out() || self.now - since >= self.options.epoch_ticks => {
                self.look(false, 0, out);
            }
            _ => {}
        }
    }

    fn stand_if_due(&mut self, out: &mut Out) {
        self.ask_first(out);
        let eligible = self.is_eligible();
        let now = self.now;
        let Phase::Looking { since, evidence, not_before } = &mut self.phase else { return };
        if !eligible && !mutant!(StandsIneligible) {
            // Whatever it knew of a coordinator was known to a majority that it has left.
            (*since, *evidence) = (now, false);
            return;
        }
        let (waited, evidence, not_before) = (now - *since, *evidence, *not_before);
        let due = if evidence { self.nobody_vouches() } else { self.all_are_here() };
        if now >= not_before && (due || waited >= self.options.silence_ticks) {
            self.stand(false, out);
        }
    }

    /// A node that has just started asks who is there.
    fn ask_first(&mut self, out: &mut Out) {
        if self.asked.is_none() {
            self.ask(out);
        }
    }

    /// Whether this node may not win any more.
    fn is_out(&self) -> bool {
        !self.is_eligible() && !mutant!(WinsIneligible)
    }

    /// Whether all whom we hear, or at least a majority when some are slow, have spoken since we asked them: had one of
    /// them vouched for the coordinator, we would be following it.
    fn nobody_vouches(&self) -> bool {
        let linked: Vec<NodeId> = self.linked().collect();
        let fresh = || linked.iter().copied().filter(|peer| self.peers[peer].fresh);
        let late = self.asked.is_some_and(|asked| self.now - asked >= self.options.answer_ticks);
        (self.are_majority(fresh()) && (late || fresh().count() == linked.len())) || mutant!(StandsUnasked)
    }

    /// Whether all members hear us and say that they can take part.
    fn all_are_here(&self) -> bool {
        let silence = self.options.silence_ticks;
        self.peers.values().all(|peer| peer.fresh && peer.eligible && peer.is_linked(self.now, silence))
    }

    pub(super) fn stand(&mut self, forced: bool, out: &mut Out) {
        self.number += 1;
        if forced {
            self.next_forced = self.next_forced.max(self.now + self.options.silence_ticks);
        }
        let waiting: BTreeSet<NodeId> = self.linked().collect();
        let election = Election { rank: self.rank, number: self.number, forced };
        waiting.iter().for_each(|&peer| out.send(peer, Message::Election(election)));
        self.enter(Phase::Electing { since: self.now, forced, answered: BTreeSet::new(), waiting });
        self.count(out);
    }

    /// Whether the election is won, or lost.
    fn count(&mut self, out: &mut Out) {
        let Phase::Electing { since, answered, waiting, .. } = &self.phase else { return };
        let late = self.now - since >= self.options.answer_ticks;
        let complete = waiting.is_empty() && (answered.len() == self.waited_for() || late);
        let majority = self.are_majority(answered.iter().copied()) || mutant!(WinsUnanswered);
        let complete = complete || mutant!(WinsUnanswered);
        let complete = complete || mutant!(WinsByMajority);
        if self.is_out() || (late && !majority) {
            self.look(true, self.options.answer_ticks, out);
        } else if majority && (complete || late) {
            self.enter(Phase::Won { since: self.now });
        }
    }

    /// How many must stand back for a victory at once: all who were not seen to die. If one cannot be reached it may know
    /// a better candidate, who needs a moment to call us back through somebody whom we both hear.
    fn waited_for(&self) -> usize {
        self.peers.values().filter(|peer| !peer.dead).count()
    }

    pub(super) fn on_answer(&mut self, from: NodeId, answer: Answer) {
        let believed = answer.coordinator.is_some_and(|epoch| !self.is_resigned(epoch));
        let in_vain = answer.ok.is_some_and(|node| self.is_in_vain(node));
        let Phase::Electing { forced, answered, waiting, .. } = &mut self.phase else { return };
        if answer.number != self.number && !mutant!(LateAnswerCounts) {
            return;
        }
        let forced = *forced;
        match (answer.coordinator, answer.ok) {
            (Some(epoch), _) if believed && (!forced || epoch.node == from) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    if epoch.node == from {
                        peer.claims(epoch, self.now);
                    } else if epoch.node != self.id {
                        peer.vouches_for(epoch, self.now);
                    }
                }
                if forced {
                    self.yield_to(from, None);
                } else {
                    answered.insert(from);
                    waiting.remove(&from);
                }
            }
            (_, Some(node)) if node != self.id && !in_vain => self.yield_to(node, None),
            _ => {
                answered.insert(from);
                waiting.remove(&from);
            }
        }
    }

    // The receiver.

    pub(super) fn on_election(&mut self, from: NodeId, election: Election, out: &mut Out) {
        let Election { rank, number, forced } = election;
        let aside = matches!(self.phase, Phase::Looking { not_before, .. } if self.now < not_before);
        let may_take_over = self.is_eligible() || mutant!(AnswersIneligible);
        let outranked = self.outranks(rank) && may_take_over && !aside;
        let settled = self.settled(rank).filter(|_| forced);
        let verdict = match self.current(from, forced, outranked) {
            Some(epoch) => Verdict::Follow(epoch),
            None if outranked => Verdict::TakesOver(settled.unwrap_or(self.id)),
            None => self.stand_back(from, rank, number, out),
        };
        let (ok, coordinator) = match verdict {
            Verdict::Follow(epoch) => (None, Some(epoch)),
            Verdict::TakesOver(node) => (Some(node), None),
            Verdict::StandBack => (None, None),
        };
        out.send(from, Message::Answer(Answer { number, ok, coordinator }));
        let stands = matches!(self.phase, Phase::Looking { .. }) || (forced && self.coordinated().is_none());
        if outranked && stands && !self.is_candidate() && coordinator.is_none() && settled.is_none() {
            self.stand(forced, out);
        }
    }

    /// The coordinator, if it outranks a candidate and this node has stood by force not long ago, and not won: whoever
    /// stood again for each candidate by force, as all do at once, would make the election cost more than c·n² messages.
    fn settled(&self, candidate: Rank) -> Option<NodeId> {
        let Phase::Following { epoch } = self.phase else { return None };
        let outranks = self.rank_of(epoch.node, None).is_some_and(|rank| rank > candidate);
        (self.now < self.next_forced && outranks && self.hears(epoch) && !mutant!(StandsForEach)).then_some(epoch.node)
    }

    /// Whether this node is of higher rank.
    fn outranks(&self, rank: Rank) -> bool {
        if mutant!(IdBeforeKnowledge) {
            return rank.id < self.id;
        }
        if mutant!(LowerRankWins) { rank >= self.rank } else { rank < self.rank }
    }

    fn is_candidate(&self) -> bool {
        matches!(self.phase, Phase::Electing { .. } | Phase::Won { .. } | Phase::Yielding { .. })
    }

    /// The coordinator because of which this candidate need not stand: ourselves, or one that we hear. Against one that
    /// stands by force only a coordinator of higher rank holds.
    fn current(&self, from: NodeId, forced: bool, outranked: bool) -> Option<Ballot> {
        match self.phase {
            Phase::Coordinating { epoch, .. } if self.is_eligible() && (!forced || outranked) => Some(epoch),
            Phase::Following { epoch } if !forced && epoch.node != from && self.hears(epoch) => Some(epoch),
            _ => None,
        }
    }

    /// The candidate is of higher rank, or we cannot stand ourselves.
    fn stand_back(&mut self, from: NodeId, rank: Rank, number: u64, out: &mut Out) -> Verdict {
        match self.phase {
            // Already won: its Prepare is on the way, and a second one would only be in its way.
            Phase::Won { .. } if !mutant!(WinnerStandsBack) => Verdict::TakesOver(self.id),
            Phase::Yielding { to, since, candidate } if to != from => {
                let better = self.rank_of(to, candidate).is_none_or(|before| rank > before);
                if !better || !self.hear_each_other(from, to) {
                    // Two who do not hear each other. The better one goes ahead, if it is in time to call the other back.
                    let in_time = self.now - since <= self.options.answer_ticks / 2;
                    let Some((_, running)) = candidate.filter(|_| better && in_time) else {
                        return Verdict::TakesOver(to);
                    };
                    out.send(to, Message::Answer(Answer { number: running, ok: Some(from), coordinator: None }));
                }
                self.yield_to(from, Some((rank, number)));
                Verdict::StandBack
            }
            Phase::Looking { .. } | Phase::Electing { .. } | Phase::Yielding { .. } => {
                // It may still win; but whoever stands again and again, and never does, must not keep all others from it.
                if !self.is_in_vain(from) {
                    self.yield_to(from, Some((rank, number)));
                }
                Verdict::StandBack
            }
            Phase::Won { .. } | Phase::Following { .. } | Phase::Coordinating { .. } => Verdict::StandBack,
        }
    }

    /// The rank of one for whom we stand back: what it said when it stood here, or else in its last heartbeat.
    fn rank_of(&self, id: NodeId, candidate: Option<(Rank, u64)>) -> Option<Rank> {
        candidate.map(|(rank, _)| rank).or_else(|| self.peers.get(&id)?.rank)
    }

    /// Whether two peers hear each other, by their own word: then they settle it between themselves.
    fn hear_each_other(&self, one: NodeId, other: NodeId) -> bool {
        let hears = |this: NodeId, that| self.peers.get(&this).is_some_and(|peer| peer.says_it_hears(that));
        hears(one, other) && hears(other, one)
    }

    /// Whether we have stood back for a node not long ago, and no coordinator came of it.
    fn is_in_vain(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.vain_until > self.now)
    }

    fn yield_to(&mut self, to: NodeId, candidate: Option<(Rank, u64)>) {
        let since = match self.phase {
            Phase::Yielding { since, to: before, .. } if before == to => since,
            _ => self.now,
        };
        self.enter(Phase::Yielding { since, to, candidate });
    }

    /// The textbook's rule: who outranks the coordinator stands against it, once it hears it.
    pub(super) fn preempt(&mut self, epoch: Ballot, out: &mut Out) {
        let Some(coordinator) = self.peers.get(&epoch.node) else { return };
        let linked = coordinator.is_linked(self.now, self.options.silence_ticks);
        // A heartbeat of before its epoch says nothing about its rank in it.
        let outranks = coordinator.rank.is_some_and(|rank| rank.epoch == self.rank.epoch && rank < self.rank);
        if self.now >= self.next_forced && linked && outranks && self.is_eligible() {
            let silence = self.options.silence_ticks;
            self.next_forced = self.now + silence + self.rng.random_range(0..=silence);
            self.stand(true, out);
        }
    }
}
