//! How messages leave, and when they arrive.

use rand::RngExt;

use super::{Event, Input, World, index};
use crate::protocol::Message;
use crate::protocol::types::NodeId;
use crate::sim::check::{Verdict, Who};
use crate::sim::faults::Fault;
use crate::sim::trace::{About, Kind};

impl World {
    /// Whether an input is a message that was lost with a disk: see [`Fault::Wipe`].
    pub(super) fn is_void(&self, at: usize, input: &Input) -> bool {
        let Input::Message { from, id, .. } = input else { return false };
        *id < self.nodes[at].void_before.max(self.nodes[*from].void_before)
    }

    /// An input finds nobody.
    pub(super) fn turn_away(&mut self, at: usize, input: &Input) {
        match input {
            Input::Message { from, id, message, .. } => {
                self.tally.unreachable += 1;
                let peer = self.ids[*from].number();
                self.note(Some(at), Kind::Lose, || About::message(*id, peer, message));
                if *from != at && self.nodes[at].host.is_none() {
                    self.may_notice(*from, at);
                }
            }
            Input::Call(call) => self.subjects.iter_mut().for_each(|subject| subject.turned_away(call)),
            Input::Disconnected(_) | Input::Snapshot(_) | Input::Tick | Input::Restart => {}
        }
    }

    /// One node has occasion to see that another's process has ended: a connection was closed, or refused.
    pub(super) fn may_notice(&mut self, at: usize, peer: usize) {
        let Some(notices) = self.notices else { return };
        if self.wires.random_range(0..1000) < notices && !self.network.is_cut(peer, at) {
            self.queue.push(self.now, Event::Disconnect { at, peer });
        }
    }

    pub(super) fn send(&mut self, from: usize, who: Who, to: NodeId, message: Message) -> Verdict {
        let disk = self.nodes[from].disk.durable();
        self.subjects.iter_mut().try_for_each(|subject| subject.sent(who, &message, disk))?;
        let to = index(to);
        if to >= self.nodes.len() {
            return Ok(());
        }
        self.messages += 1;
        let (id, generation) = (self.messages, who.generation);
        let peer = self.ids[to].number();
        self.note(Some(from), Kind::Send, || About::message(id, peer, &message));
        if from == to {
            self.queue.push(self.now, Event::Deliver { from, to, generation, message, id });
            return Ok(());
        }
        let spared = self.spared[from] && self.spared[to];
        let mut copies = 1;
        if !spared {
            if self.network.is_cut(from, to) {
                self.tally.unreachable += 1;
                self.note(None, Kind::Lose, || About::message(id, peer, &message));
                return Ok(());
            }
            let loss = self.network.link(from, to).loss;
            if self.chances.strikes_at(Fault::Loss, loss).is_some() {
                self.tally.count(Fault::Loss);
                self.note(None, Kind::Lose, || About::message(id, peer, &message));
                return Ok(());
            }
            let once = matches!(&message, Message::Strong(call) if call.is_sent_once());
            if !once && self.chances.strikes(Fault::Duplication).is_some() {
                self.tally.count(Fault::Duplication);
                self.note(None, Kind::Double, || About::message(id, peer, &message));
                copies = 2;
            }
        }
        for _ in 1..copies {
            let time = self.due(from, to, spared);
            self.queue.push(time, Event::Deliver { from, to, generation, message: message.clone(), id });
        }
        let time = self.due(from, to, spared);
        self.queue.push(time, Event::Deliver { from, to, generation, message, id });
        Ok(())
    }

    /// When a message that leaves now arrives: after those sent before it, unless chance will have it otherwise.
    fn due(&mut self, from: usize, to: usize, spared: bool) -> u64 {
        let time = self.now + self.wires.random_range(0..=1);
        if spared {
            return time;
        }
        let mut late = 0;
        if let Some(mut fortune) = self.chances.strikes(Fault::Delay) {
            self.tally.count(Fault::Delay);
            if fortune.is_one_of(40) {
                // Held somewhere, and long forgotten when it comes; nothing waits for it.
                return time + fortune.within(1..=600);
            }
            late = fortune.within(1..=self.delay);
        }
        let (time, last) = (time + late, self.network.link(from, to).last_due);
        if time < last {
            if self.chances.strikes(Fault::Reorder).is_some() {
                self.tally.count(Fault::Reorder);
                return time;
            }
            return last;
        }
        self.network.link(from, to).last_due = time;
        time
    }
}
