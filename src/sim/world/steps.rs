//! What a node does about an input: its protocols step, its disk writes, and what waited for that leaves.

use std::collections::VecDeque;
use std::hash::Hash;

use rand::RngExt;

use super::{Event, Input, Pending, Replicated, World};
use crate::protocol::durable::Remembered;
use crate::protocol::host::{Host, Sender};
use crate::protocol::types::Instance;
use crate::protocol::{Effect, Out};
use crate::sim::check::{BoardCall, Broken, Call, Verdict, Who};
use crate::sim::faults::Fault;
use crate::sim::trace::{About, Kind};

impl World {
    /// One input for one node, if it is up.
    pub(super) fn input(&mut self, at: usize, input: Input) -> Verdict {
        if self.nodes[at].host.is_none() || self.is_void(at, &input) {
            self.turn_away(at, &input);
            return Ok(());
        }
        let node = &mut self.nodes[at];
        if node.paused {
            node.inbox.push(input);
            return Ok(());
        }
        self.step(at, input)?;
        let node = &self.nodes[at];
        if node.flushing {
            return Ok(());
        }
        if node.pending.is_empty() {
            return self.rest(at);
        }
        if let Some(mut fortune) = self.strikes(Fault::Sync, Some(at)) {
            self.tally.count(Fault::Sync);
            let life = self.nodes[at].life;
            self.nodes[at].flushing = true;
            self.queue.push(self.now + fortune.within(1..=4), Event::Flush { at, life });
            return Ok(());
        }
        self.flush(at)
    }

    /// Nothing of what the node did waits for its disk.
    fn rest(&mut self, at: usize) -> Verdict {
        let who = self.who(at);
        let Some(host) = &self.nodes[at].host else { return Ok(()) };
        self.subjects.iter_mut().try_for_each(|subject| subject.rested(who, host))
    }

    /// The node handles the input, and what it sends to itself if it is eager.
    fn step(&mut self, at: usize, input: Input) -> Verdict {
        self.steps += 1;
        let is_tick = matches!(input, Input::Tick);
        let mut out = std::mem::take(&mut self.out);
        let answer = self.hand_over(at, input, &mut out)?;
        let mut effects = self.absorb(at, &mut out)?;
        if self.ends_batch(is_tick) {
            // Twice, as the driver does: what our own acceptor says of the first may let more leave.
            for _ in 0..2 {
                self.nodes[at].host.iter_mut().for_each(|host| host.flush(&mut out));
                effects += self.absorb(at, &mut out)?;
            }
        }
        self.out = out;
        self.begin_encoding(at);
        let who = self.who(at);
        if let Some((instance, known)) = answer {
            self.nodes[at].pending.push((who.generation, Pending::Answer(instance, known)));
        }
        // A tick that has no effect changes nothing that could be wrong.
        if let (Some(host), true) = (&self.nodes[at].host, effects > 0 || !is_tick) {
            self.subjects.iter_mut().try_for_each(|subject| subject.stepped(who, host))?;
        }
        Ok(())
    }

    /// Without a replicated log nothing waits for the end of a batch.
    fn ends_batch(&mut self, is_tick: bool) -> bool {
        self.replicated.is_some_and(|Replicated { batch, .. }| is_tick || self.wires.random_range(0..batch) == 0)
    }

    /// Takes up the effects of a step, and what the node has sent to itself. Tells how many effects there were.
    fn absorb(&mut self, at: usize, out: &mut Out) -> Result<u64, Broken> {
        let mut effects = 0;
        let mut own = VecDeque::new();
        loop {
            let who = self.who(at);
            for effect in out.drain() {
                effects += 1;
                effect.hash(&mut self.hasher);
                self.nodes[at].host.iter().try_for_each(|host| {
                    self.subjects.iter_mut().try_for_each(|subject| subject.emitted(who, host, &effect))
                })?;
                if let Some((kind, about)) = self.recorder.is_some().then(|| About::effect(&effect)).flatten() {
                    self.note(Some(at), kind, || about);
                }
                match effect {
                    Effect::Send { to, message } if self.eager && to == who.node => own.push_back(message),
                    effect => self.nodes[at].pending.push((who.generation, Pending::Effect(effect))),
                }
            }
            let Some(message) = own.pop_front() else { break };
            self.messages += 1;
            let (generation, id, peer) = (who.generation, self.messages, who.node.number());
            self.note(Some(at), Kind::Send, || About::message(id, peer, &message));
            self.hand_over(at, Input::Message { from: at, generation, message, id }, out)?;
        }
        Ok(effects)
    }

    /// Hands an input to the host. A client that asks is given what the host knows.
    fn hand_over(
        &mut self,
        at: usize,
        input: Input,
        out: &mut Out,
    ) -> Result<Option<(Instance, Option<Remembered>)>, Broken> {
        let who = self.who(at);
        let note = |world: &mut Self, kind, about: &dyn Fn() -> About| world.note(Some(at), kind, about);
        match &input {
            Input::Message { from, generation, message, id } => {
                self.tally.delivered += 1;
                let sender = Sender { from: self.ids[*from], generation: Some(*generation) };
                let peer = sender.from.number();
                note(self, Kind::Receive, &|| About::message(*id, peer, message));
                self.subjects.iter_mut().for_each(|subject| subject.heard(who, sender, message));
            }
            Input::Call(call) => {
                note(self, Kind::Call, &|| About::text(call.to_string()));
                self.subjects.iter_mut().for_each(|subject| subject.called(who, call));
            }
            Input::Restart => note(self, Kind::Restart, &|| About::text("told to restart")),
            Input::Disconnected(peer) => {
                note(self, Kind::Disconnect, &|| About::text(format!("sees that the process of {peer} has ended")));
            }
            Input::Snapshot(_) | Input::Tick => {}
        }
        let Some(host) = self.nodes[at].host.as_mut() else { return Ok(None) };
        match input {
            Input::Message { from, generation, message, .. } => {
                let sender = Sender { from: self.ids[from], generation: Some(generation) };
                host.on_message(sender, message, out);
            }
            Input::Call(Call::Propose(proposal)) => host.propose(proposal, out),
            Input::Call(Call::Ask(instance)) => {
                let known = host.tell(&instance, out);
                return Ok(Some((instance, known)));
            }
            Input::Call(Call::Board(call)) => ask_board(host, call, out),
            Input::Call(Call::Register { request, name, value, deadline_ticks }) => {
                match (host.register_mut(), value) {
                    (Some(register), Some(value)) => register.write(request, &name, value, deadline_ticks, out),
                    (Some(register), None) => register.read(request, &name, deadline_ticks, out),
                    (None, _) => {}
                }
            }
            Input::Call(call @ (Call::Seek { .. } | Call::Move { .. })) => ask_overlay(host, call, out),
            Input::Call(call) => ask_strong(host, call, out),
            Input::Disconnected(peer) => {
                if let Some(overlay) = host.overlay_mut() {
                    overlay.disconnected(peer, out);
                }
                if let Some(strong) = host.strong_mut() {
                    strong.disconnected(peer, out);
                }
            }
            Input::Snapshot(due) => {
                if let Some(strong) = host.strong_mut() {
                    strong.snapshot_ready(due.encode(), out);
                }
            }
            Input::Tick => host.on_tick(out),
            Input::Restart => host.restart(out),
        }
        Ok(None)
    }

    pub(super) fn who(&self, at: usize) -> Who {
        let node = &self.nodes[at];
        Who { node: node.id, life: node.life, generation: node.host.as_ref().map_or(0, Host::generation) }
    }

    /// What the driver does with a batch: what precedes the first record that must be synced leaves; then the disk
    /// writes; then the rest leaves. A crash may come at any point.
    pub(super) fn flush(&mut self, at: usize) -> Verdict {
        let node = &mut self.nodes[at];
        node.flushing = false;
        let pending = std::mem::take(&mut node.pending);
        let (id, life) = (node.id, node.life);
        let saves = pending.iter().any(|(_, pending)| matches!(pending, Pending::Effect(Effect::Save(_))));
        if saves && let Some(mut fortune) = self.strikes(Fault::Full, Some(at)) {
            self.tally.count(Fault::Full);
            if fortune.is_one_of(2) {
                return self.lose_room(at, pending, fortune);
            }
            self.set_short(at, true);
            self.queue.push(self.now + fortune.within(1..=600), Event::Room { at, life });
        }
        let node = &mut self.nodes[at];
        for (_, pending) in &pending {
            if let Pending::Effect(Effect::Save(record) | Effect::Note(record)) = pending {
                node.disk.write(record);
            }
        }
        let mut crash = self.strikes(Fault::Crash, Some(at));
        let crash_at = crash.as_mut().map(|fortune| fortune.within(0..=(pending.len() as u64).saturating_sub(1)));
        let mut synced = false;
        for (number, (generation, pending)) in (0_u64..).zip(pending) {
            if let (Some(fortune), true) = (crash, crash_at == Some(number)) {
                return self.crash(at, fortune);
            }
            let who = Who { node: id, life, generation };
            match pending {
                Pending::Effect(Effect::Save(_)) if !synced => {
                    let kept = self.nodes[at].disk.sync();
                    synced = true;
                    self.note(Some(at), Kind::Sync, || About::text(format!("{} records", kept.len())));
                    self.subjects.iter_mut().try_for_each(|subject| subject.saved(id, &kept))?;
                }
                Pending::Effect(Effect::Save(_) | Effect::Note(_)) => {}
                Pending::Effect(Effect::Send { to, message }) => self.send(at, who, to, message)?,
                Pending::Effect(Effect::Notify(event)) => {
                    let disk = self.nodes[at].disk.durable();
                    self.subjects.iter_mut().try_for_each(|subject| subject.told(who, &event, disk))?;
                }
                Pending::Answer(instance, known) => {
                    let disk = self.nodes[at].disk.durable();
                    for subject in &mut self.subjects {
                        subject.answered(who, &instance, known.as_ref(), disk)?;
                    }
                }
            }
        }
        self.rest(at)
    }
}

/// A call that is about the replicated log.
fn ask_strong(host: &mut Host, call: Call, out: &mut Out) {
    let Some(strong) = host.strong_mut() else { return };
    match call {
        Call::Command { request, command, keyed, deadline_ticks } => {
            strong.command(request, command, keyed, deadline_ticks, out);
        }
        Call::Read { request, deadline_ticks } => strong.read(request, deadline_ticks, out),
        Call::Elect => strong.elect(out),
        Call::Propose(_)
        | Call::Ask(_)
        | Call::Board(_)
        | Call::Register { .. }
        | Call::Seek { .. }
        | Call::Move { .. } => {}
    }
}

/// A call that is about an overlay.
fn ask_overlay(host: &mut Host, call: Call, out: &mut Out) {
    let Some(overlay) = host.overlay_mut() else { return };
    match call {
        Call::Seek { request, which, call, deadline_ticks } => overlay.call(which, request, call, deadline_ticks, out),
        Call::Move { request, joins: true, deadline_ticks } => overlay.chord_mut().join(request, deadline_ticks, out),
        Call::Move { request, joins: false, deadline_ticks } => overlay.chord_mut().leave(request, deadline_ticks, out),
        _ => {}
    }
}

/// A client does something to an eventual board, whose entries it looks at first.
fn ask_board(host: &mut Host, call: BoardCall, out: &mut Out) {
    let Some(eventual) = host.eventual_mut() else { return };
    let shown: Vec<_> = eventual.board().posts(None).map(|(id, ..)| id).collect();
    // The cast cannot cut: it is below a length.
    let picked = |pick: u64| shown.get((pick % (shown.len() as u64).max(1)) as usize).copied();
    _ = match call {
        BoardCall::Post { text } => eventual.post(&text, out),
        BoardCall::Modify { pick, text } => {
            let Some(id) = picked(pick) else { return };
            eventual.modify(id, &text, out)
        }
        BoardCall::Delete { pick } => {
            let Some(id) = picked(pick) else { return };
            eventual.delete(id, out)
        }
    };
}
