//! Disks that take no more.

use super::{Event, Pending, World};
use crate::protocol::host::Host;
use crate::protocol::paxos::Outcome;
use crate::protocol::strong::Failure;
use crate::protocol::strong::room::withheld;
use crate::protocol::{Effect, Event as News, Out};
use crate::sim::check::{Verdict, Who};
use crate::sim::faults::Fortune;
use crate::sim::trace::{About, Kind};

impl World {
    /// There is only a reserve on a node's disk, or enough again.
    pub(super) fn set_short(&mut self, at: usize, short: bool) {
        self.nodes[at].host.iter_mut().for_each(|host| host.set_short(short));
    }

    /// What the driver does when a batch cannot be saved for want of room: nothing of it is on disk, what precedes the first
    /// save has left, clients are told what is known, and the node is as good as down until there is room.
    pub(super) fn lose_room(&mut self, at: usize, pending: Vec<(u64, Pending)>, mut fortune: Fortune) -> Verdict {
        let (id, life) = (self.nodes[at].id, self.nodes[at].life);
        let (mut news, mut saves) = (Vec::new(), false);
        for (generation, pending) in pending {
            let who = Who { node: id, life, generation };
            match pending {
                // What it says to itself is lost with its inbox, and nobody ever hears it.
                Pending::Effect(Effect::Send { to, message }) if !saves && to != id => {
                    self.send(at, who, to, message)?
                }
                Pending::Effect(Effect::Save(_)) => saves = true,
                Pending::Effect(Effect::Notify(event)) => news.push((who, event)),
                Pending::Effect(Effect::Send { .. } | Effect::Note(_)) => {}
                // It is told what is on disk, of which there is nothing to check.
                Pending::Answer(..) => {}
            }
        }
        self.note(Some(at), Kind::Crash, || About::text("its disk is full: it goes back to what is on it"));
        let kept = self.nodes[at].disk.sync();
        self.subjects.iter_mut().try_for_each(|subject| subject.saved(id, &kept))?;
        let durable = self.nodes[at].disk.durable().clone();
        let mut out = Out::default();
        let Some(host) = self.nodes[at].host.as_mut() else { return Ok(()) };
        let alone = host.members().len() == 1;
        let reached = host.lose_room(durable.clone(), &mut out);
        for (who, event) in news {
            if let Some(event) = instead(event, alone, who, reached) {
                self.subjects.iter_mut().try_for_each(|subject| subject.told(who, &event, &durable))?;
            }
        }
        let who = self.who(at);
        for effect in out.drain().collect::<Vec<_>>() {
            match effect {
                Effect::Send { to, message } => self.send(at, who, to, message)?,
                Effect::Notify(event) => {
                    self.subjects.iter_mut().try_for_each(|subject| subject.told(who, &event, &durable))?;
                }
                Effect::Save(_) | Effect::Note(_) => {
                    unreachable!("what is said when nothing can be saved asks for a save")
                }
            }
        }
        let node = &mut self.nodes[at];
        let host: Option<Host> = node.host.take();
        debug_assert!(host.is_some(), "it was up");
        node.inbox.clear();
        (node.flushing, node.paused, node.missed_ticks, node.stalled) = (false, false, 0, 0);
        self.subjects.iter_mut().for_each(|subject| subject.crashed(id));
        self.queue.push(self.now + fortune.within(1..=300), Event::Recover { at });
        Ok(())
    }
}

/// What a client is told instead of what waited for the save; nothing is said of what is no client's.
fn instead(event: News, alone: bool, who: Who, reached: u64) -> Option<News> {
    match event {
        News::Replied { request, result, entry } => {
            let result = withheld(who.node, result, entry, reached);
            Some(News::Replied { request, result, entry })
        }
        News::Readable { request, result } => {
            let result = result.and(Err(Failure::NoRoom { node: who.node }));
            Some(News::Readable { request, result })
        }
        News::Answered { request, outcome: Outcome::Chosen { ballot, attempts, .. } } => {
            let unknown = Outcome::Unknown { ballot, silent: Vec::new(), attempts };
            Some(News::Answered { request, outcome: if alone { Outcome::NoRoom } else { unknown } })
        }
        event @ News::Answered { .. } => Some(event),
        _ => None,
    }
}
