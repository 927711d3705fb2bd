//! A disk without room.
//!
//! Two cases, and whoever runs the node knows which it is.
//!
//! - *Short of room* (`Strong::set_short`): what the protocols must save can still be saved, from a reserve. So the node
//!   promises, accepts and confirms as before, and if it leads, reads go on. But clients' commands would use the reserve up:
//!   they are refused before they become entries, so that it is certain that nothing came of them. And a leader leaves it
//!   to the others to lead for a moment, now and then: if one of them has room, it takes over, and writes go on too. If none
//!   does (the nodes may share a disk), somebody leads again after that, for the reads.
//! - *A save has failed* (`Strong::lose_room`): memory is ahead of the disk, and nothing may come of that. The node is
//!   built anew from its disk, as if it had crashed in the middle of the batch; what was emitted before the save has left,
//!   and what was emitted behind it never will. Before that, whoever waits here is told what is known.
//!
//! When a save has failed it is certain that a command did not happen if it never became an entry; or if its entry is
//! neither on our disk nor with anybody else. What another leader had before us is another matter.

use super::calls::{Failure, Message, Origin};
use super::{Event, NodeId, Out, RequestId, Strong, done};
use crate::service::reply::{Refusal, Reply};

/// How long a leader that is short of room leaves it to the others to lead, in ticks: long enough for some elections, since
/// who is elected may be short as well, and shorter than a client waits.
const YIELD_TICKS: u64 = 200;
/// And how long it leads before it does so again.
const YIELD_AGAIN_TICKS: u64 = 2000;

impl Strong {
    /// Whether the disk is short of room, from now on.
    pub(in crate::protocol) fn set_short(&mut self, short: bool) {
        if short == self.short {
            return;
        }
        (self.short, self.yields_until) = (short, None);
        self.yield_if_full();
    }

    /// A leader without room leaves it to the others, unless it has just done so; but what it has sent it brings to its end.
    pub(super) fn yield_if_full(&mut self) {
        if self.is_to_yield() && !self.log.is_writing() {
            self.yields_until = Some(self.now_ticks + YIELD_TICKS);
        }
    }

    fn is_to_yield(&self) -> bool {
        let rests = self.yields_until.is_some_and(|until| self.now_ticks < until + YIELD_AGAIN_TICKS);
        self.is_full() && !rests && self.log.members().len() > 1
    }

    /// Whether others are to lead. A node alone has nobody to leave it to.
    pub(super) fn yields(&self) -> bool {
        self.yields_until.is_some_and(|until| self.now_ticks < until) && self.log.members().len() > 1
    }

    /// Whether another may lead in a moment, and take what this leader does not.
    fn may_others(&self) -> bool {
        self.is_to_yield() || self.yields()
    }

    /// Whether this node leads, and has no room for clients' commands.
    pub(super) fn is_full(&self) -> bool {
        self.short && self.log.leads().is_some()
    }

    /// Whether a call that came in here does not become an entry, because this node leads and has no room. It waits for
    /// another leader, or is refused.
    pub(super) fn refuses(&mut self, request: RequestId, out: &mut Out) -> bool {
        let Some(call) = self.calls.get(&request).filter(|_| self.is_full()) else { return false };
        // Other members are what may help; and they take little room.
        if call.is_change() {
            return false;
        }
        if !self.may_others() && !call.exposed {
            self.calls.remove(&request);
            done(request, Err(Failure::NoRoom { node: self.id }), out);
        }
        true
    }

    /// The same for a call that another node handed over.
    pub(super) fn turn_away(&self, from: NodeId, id: u64, out: &mut Out) {
        let refusal = Reply::Refused(Refusal::NoRoom).encode();
        out.send(from, Message::Answer { id, reply: (!self.may_others()).then_some(refusal) });
    }

    /// The leader has no room for a call of ours. It is not handed over again: if the refusal were heard twice, it could
    /// become two entries.
    pub(super) fn on_turned_away(&mut self, from: NodeId, request: RequestId, out: &mut Out) {
        let Some(mut call) = self.calls.remove(&request) else { return };
        call.take_back();
        let failure = if call.exposed { Failure::Unknown } else { Failure::NoRoom { node: from } };
        done(request, Err(failure), out);
    }

    /// A save has failed for want of room, and this node will be built anew from its disk, which holds the log up to
    /// `kept`. Whoever waits is told what is known: nothing in `out` needs a save. Gives the slot up to which an entry may
    /// be on our disk, or with somebody else.
    pub(in crate::protocol) fn lose_room(&mut self, kept: u64, out: &mut Out) -> u64 {
        let handed = if mutant!(SentIsRefused) { 0 } else { self.log.handed_to_others() };
        let reached = kept.max(handed);
        if let Some(never) = reached.checked_add(1) {
            for (_, (_, origin)) in self.slots.split_off(&never) {
                match origin {
                    Origin::Local(request) => {
                        self.calls.get_mut(&request).into_iter().for_each(|call| call.take_back())
                    }
                    Origin::Peer(node, id) => out.send(node, Message::Answer { id, reply: None }),
                }
            }
        }
        let node = self.id;
        for (request, call) in std::mem::take(&mut self.calls) {
            let failure = if call.exposed { Failure::Unknown } else { Failure::NoRoom { node } };
            done(request, Err(failure), out);
        }
        for (request, _) in std::mem::take(&mut self.reads) {
            out.notify(Event::Readable { request, result: Err(Failure::NoRoom { node }) });
        }
        reached
    }
}

/// What a client is told whose answer waited for a save that has failed, at this node; entries up to `reached` may be on a
/// disk somewhere.
///
/// # Errors
/// Always: that it did not happen, or that nobody knows.
pub fn withheld(
    node: NodeId,
    result: Result<Reply, Failure>,
    entry: Option<u64>,
    reached: u64,
) -> Result<Reply, Failure> {
    match (result, entry) {
        (Err(failure), _) => Err(failure),
        (Ok(_), Some(slot)) if slot > reached || mutant!(WithheldIsRefused) => Err(Failure::NoRoom { node }),
        (Ok(_), _) => Err(Failure::Unknown),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::strong::snapshots::tests::Alone;

    /// How the last command was answered.
    fn answered(alone: &mut Alone) -> (Result<Reply, Failure>, Option<u64>) {
        match alone.told.pop() {
            Some(Event::Replied { result, entry, .. }) => (result, entry),
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn a_leader_short_of_room_takes_no_commands_and_reads_go_on() {
        let mut alone = Alone::new();
        alone.put(1);
        assert!(answered(&mut alone).0.is_ok());
        let length = alone.strong.log().memory().length();
        alone.strong.set_short(true);
        let refused = Err(Failure::NoRoom { node: alone.strong.id });
        for _ in 0..3 {
            alone.put(1);
            assert_eq!(answered(&mut alone), (refused.clone(), None));
            alone.step(|strong, out| strong.read(RequestId(99), 100, out));
            assert_eq!(alone.told.pop(), Some(Event::Readable { request: RequestId(99), result: Ok(()) }));
            (0..2 * YIELD_TICKS).for_each(|_| alone.step(Strong::on_tick));
        }
        assert_eq!(alone.strong.log().memory().length(), length, "nothing became an entry");
        assert!(alone.strong.log().leads().is_some());
        alone.strong.set_short(false);
        alone.put(1);
        assert!(answered(&mut alone).0.is_ok());
    }

    #[test]
    pub(crate) fn what_was_not_saved_and_has_not_left_did_not_happen() {
        let mut alone = Alone::new();
        alone.put(1);
        let kept = alone.strong.log().memory().length();
        assert!(answered(&mut alone).0.is_ok());
        alone.put(1);
        let (result, entry) = answered(&mut alone);
        assert!(result.is_ok() && entry == Some(kept + 1));
        let reached = alone.strong.lose_room(kept, &mut Out::default());
        let node = alone.strong.id;
        assert_eq!(withheld(node, result.clone(), entry, reached), Err(Failure::NoRoom { node }));
        // On our disk or somebody else's, or appended by another: who knows.
        assert_eq!(withheld(node, result.clone(), entry, kept + 1), Err(Failure::Unknown));
        assert_eq!(withheld(node, result, None, reached), Err(Failure::Unknown));
        assert_eq!(withheld(node, Err(Failure::NoMember), None, reached), Err(Failure::NoMember));
    }

    #[test]
    fn a_refusal_of_the_leader_is_definite_unless_another_had_the_call() {
        let (leader, before) = (NodeId::new(2).unwrap(), NodeId::new(3).unwrap());
        for (had_before, told) in [(false, Failure::NoRoom { node: leader }), (true, Failure::Unknown)] {
            let mut alone = Alone::new();
            alone.strong.log.resign();
            let mut out = Out::default();
            alone.strong.wait_with(RequestId(7), &[before, leader][usize::from(!had_before)..]);
            let reply = Some(Reply::Refused(Refusal::NoRoom).encode());
            alone.strong.on_call(leader, Message::Answer { id: 7, reply }, &mut out);
            let effects: Vec<_> = out.drain().collect();
            let event = Event::Replied { request: RequestId(7), result: Err(told), entry: None };
            assert_eq!(effects, [crate::protocol::Effect::Notify(event)]);
        }
    }
}
