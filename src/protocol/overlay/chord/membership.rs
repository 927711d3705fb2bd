//! Joining the ring, and leaving it.

use ::log::info;

use super::lookup::Purpose;
use super::{Chord, Message, Phase, Virtual};
use crate::protocol::Out;
use crate::protocol::overlay::{Answer, Failure, Record, done};
use crate::protocol::types::RequestId;

impl Chord {
    /// The node shall be part of the ring. The request is answered when it is; it goes on looking for its place also
    /// after the deadline.
    pub fn join(&mut self, request: RequestId, deadline_ticks: u64, out: &mut Out) {
        match &self.phase {
            Phase::Joined => self.gone(request, out),
            Phase::Joining { .. } => {}
            Phase::Leaving { .. } | Phase::Left => {
                if let Phase::Leaving { waiting, .. } = &mut self.phase {
                    let why = "it was told to join again before it had handed over all of its keys";
                    std::mem::take(waiting)
                        .into_iter()
                        .for_each(|request| done(request, Err(Failure::Unknown(why)), out));
                }
                out.save(Record::Membership { joined: true }.into());
                self.look_for_places();
            }
        }
        if self.phase != Phase::Joined {
            self.arrivals.push((request, self.now.saturating_add(deadline_ticks)));
        }
    }

    pub(super) fn look_for_places(&mut self) {
        self.phase = Phase::Joining { pause: 0, defers: false };
        self.next_turn = self.now + 1;
        self.due_at(self.next_turn);
        for table in &mut self.virtuals {
            *table = Virtual::new(table.at);
        }
    }

    /// The node has its places.
    pub(super) fn enter(&mut self, out: &mut Out) {
        info!("{} is part of the ring", self.me);
        self.phase = Phase::Joined;
        self.handed_over = 0;
        for (request, _) in std::mem::take(&mut self.arrivals) {
            self.gone(request, out);
        }
        self.joined_at = self.now;
        self.leases.clear();
        for index in 0..self.virtuals.len() {
            self.refill(index);
            self.stabilise(index, out);
        }
    }

    /// The node hands over its keys, and is then not part of the ring any more. The request is answered when that is so.
    pub fn leave(&mut self, request: RequestId, deadline_ticks: u64, out: &mut Out) {
        match &mut self.phase {
            Phase::Left => return self.gone(request, out),
            Phase::Leaving { waiting, .. } => return waiting.push(request),
            Phase::Joining { .. } | Phase::Joined => {}
        }
        if self.known().is_empty() && self.items.live() > 0 {
            let why = "it is the only node of its ring, so nobody could take over its keys";
            return done(request, Err(Failure::Refused(why)), out);
        }
        for (request, _) in std::mem::take(&mut self.arrivals) {
            let why = "it was told to leave the ring before it was part of it";
            done(request, Err(Failure::Unknown(why)), out);
        }
        out.save(Record::Membership { joined: false }.into());
        let known = self.known();
        self.handed_over = 0;
        self.lookups.retain(|_, lookup| matches!(lookup.purpose, Purpose::Operation(_)));
        let deadline = self.now.saturating_add(deadline_ticks);
        self.phase = Phase::Leaving { waiting: vec![request], deadline };
        if !mutant!(DhtLeavesUnsaid) {
            known.iter().for_each(|&node| out.send(node, Message::Leaving {}));
        }
        info!("{} leaves the ring, with {} keys to hand over", self.me, self.items.len());
        self.hand_over(out);
    }

    /// Says that it has joined, or left.
    pub(super) fn gone(&self, request: RequestId, out: &mut Out) {
        let hops = vec![self.me];
        let answer = Answer { value: None, hops, copies: self.handed_over, messages: 0 };
        done(request, Ok(answer), out);
    }

    pub(super) fn has_left(&mut self, out: &mut Out) {
        let phase = std::mem::replace(&mut self.phase, Phase::Left);
        for table in &mut self.virtuals {
            *table = Virtual::new(table.at);
        }
        if let Phase::Leaving { waiting, .. } = phase {
            waiting.into_iter().for_each(|request| self.gone(request, out));
        }
    }
}
