//! How nodes start, die, and go on.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Event, Input, MAX_LATE_TICKS, World};
use crate::protocol::host::{Host, Options as HostOptions};
use crate::protocol::paxos::Options as PaxosOptions;
use crate::protocol::strong::Strong;
use crate::sim::check::{Verdict, Who};
use crate::sim::disk::{Recovered, Rot};
use crate::sim::faults::{Fault, Fortune};
use crate::sim::trace::{About, Kind};

impl World {
    pub(super) fn start(&mut self, at: usize) -> Verdict {
        if self.nodes[at].host.is_some() {
            return Ok(());
        }
        #[cfg(test)]
        if self.blind {
            self.nodes[at].disk.recover_blindly();
        }
        let Recovered { records, cut, distrusted } = match self.nodes[at].disk.recover() {
            Ok(recovered) => recovered,
            Err(damaged) => {
                self.tally.quarantined += 1;
                self.note(Some(at), Kind::Quarantine, || About::text(damaged.to_string()));
                return Ok(());
            }
        };
        self.tally.cut_tails += u64::from(cut);
        if distrusted {
            self.tally.distrusted += 1;
            self.note(Some(at), Kind::Quarantine, || About::text("its log is damaged: it takes no part in quorums"));
        }
        let node = &mut self.nodes[at];
        node.life += 1;
        // Of its own, so that it does not hang on what else happened.
        let mut hasher = DefaultHasher::new();
        (self.seed, at, node.life).hash(&mut hasher);
        let lab = self.chances.rate(Fault::Restart) > 0;
        let paxos = PaxosOptions { max_instances: 100, ..PaxosOptions::default() };
        // As `synod serve` sets them.
        let paxos = if lab { paxos } else { paxos.for_service() };
        let strong = self.replicated.map(|replicated| replicated.options);
        let eventual = self.subjects.iter().find_map(|subject| subject.eventual());
        let register = self.subjects.iter().find_map(|subject| subject.register());
        let options = HostOptions { lab, paxos, strong, eventual, register, overlay: self.overlay };
        let host = Host::new(node.id, self.members.clone(), options, node.disk.durable().clone(), hasher.finish());
        let who = Who { node: node.id, life: node.life, generation: host.generation() };
        let again = node.life > 1;
        self.tally.recoveries += u64::from(again);
        self.note(Some(at), Kind::Start, || {
            About::text(format!("life {}{}", who.life, if cut { ", a torn record was cut off" } else { "" }))
        });
        for subject in &mut self.subjects {
            subject.saved(who.node, &records)?;
            if again {
                subject.recovered(who, &host)?;
            }
        }
        self.nodes[at].host = Some(host);
        Ok(())
    }

    /// A snapshot that is due is encoded beside what the node does meanwhile: at once, or for a while in which much may
    /// happen to it.
    pub(super) fn begin_encoding(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(due) = node.host.as_mut().and_then(Host::strong_mut).and_then(Strong::take_due) else { return };
        // Not drawn, so that the other draws are the same whether there are snapshots or not.
        let mut hasher = DefaultHasher::new();
        (self.seed, at, self.steps).hash(&mut hasher);
        let takes = [0, 0, 1, 5, 50, 200][hasher.finish() as usize % 6];
        self.queue.push(self.now + takes, Event::Encoded { at, life: node.life, due: Box::new(due) });
    }

    /// The node dies: its memory is gone, and of what was not synced some part; its disk may suffer.
    pub(super) fn crash(&mut self, at: usize, mut fortune: Fortune) -> Verdict {
        let node = &mut self.nodes[at];
        if node.host.take().is_none() {
            return Ok(());
        }
        let id = node.id;
        self.tally.count(Fault::Crash);
        // Killed alone, all that was written survives; with its machine, chance decides.
        let unsynced = node.disk.unsynced();
        let alone = fortune.is_one_of(3);
        let survive = if alone { unsynced } else { fortune.within(0..=unsynced as u64) as usize };
        (node.pending, node.inbox) = (Vec::new(), Vec::new());
        (node.flushing, node.paused, node.missed_ticks, node.stalled) = (false, false, 0, 0);
        let torn = survive < unsynced && self.chances.strikes(Fault::Tear).is_some();
        if torn {
            self.tally.count(Fault::Tear);
        }
        self.nodes[at].disk.lose(survive, torn);
        at.hash(&mut self.hasher);
        self.note(Some(at), Kind::Crash, || {
            About::text(format!(
                "{survive} of {unsynced} unsynced records survive{}",
                if torn { ", one torn" } else { "" }
            ))
        });
        self.harm_disk(at);
        if let Some(mut fortune) = self.chances.strikes(Fault::Stale)
            && self.nodes[at].disk.turn_back(&mut fortune)
        {
            self.tally.count(Fault::Stale);
        }
        self.subjects.iter_mut().for_each(|subject| subject.crashed(id));
        if alone {
            // The kernel closes its connections.
            (0..self.nodes.len()).filter(|&other| other != at).for_each(|other| self.may_notice(other, at));
        }
        self.queue.push(self.now + fortune.within(1..=150), Event::Recover { at });
        Ok(())
    }

    /// A disk is damaged or lost: as long as that leaves a majority sound, and nothing is lost that the others lack.
    fn harm_disk(&mut self, at: usize) {
        let hosts: Vec<&Host> = self.nodes.iter().filter_map(|node| node.host.as_ref()).collect();
        let id = self.ids[at];
        let harmless = self.subjects.iter().all(|subject| subject.may_lose(id, &hosts));
        let rotten = self.nodes.iter().filter(|node| node.rotten).count();
        if rotten < self.nodes.len() - self.members.majority()
            && !self.nodes[at].rotten
            && let Some(mut fortune) = self.chances.strikes(Fault::Rot)
            && harmless
            && let Some(rot) = self.nodes[at].disk.rot(&mut fortune)
        {
            self.nodes[at].rotten = rot == Rot::Fatal;
            self.tally.count(Fault::Rot);
            self.lose_disk(at);
        }
        if self.replicated.is_some()
            && !self.nodes[at].rotten
            && self.chances.strikes(Fault::Wipe).is_some()
            && harmless
        {
            self.nodes[at].disk.wipe();
            self.tally.count(Fault::Wipe);
            self.lose_disk(at);
        }
    }

    /// What was under way to the node and from it is gone, too: a disk is not replaced in no time.
    fn lose_disk(&mut self, at: usize) {
        if self.replicated.is_some() {
            self.nodes[at].void_before = self.messages + 1;
            let (id, generation) = (self.ids[at], self.nodes[at].disk.durable().generation);
            self.subjects.iter_mut().for_each(|subject| subject.lost(id, generation));
        }
    }

    /// A stopped node goes on: it makes up for some of the time, and takes what has come meanwhile.
    pub(super) fn resume(&mut self, at: usize) -> Verdict {
        let node = &mut self.nodes[at];
        if !std::mem::take(&mut node.paused) {
            return Ok(());
        }
        let missed = std::mem::take(&mut node.missed_ticks).min(MAX_LATE_TICKS);
        let inbox = std::mem::take(&mut node.inbox);
        let flushing = node.flushing;
        self.note(Some(at), Kind::Resume, || About::text(format!("goes on; {} inputs waited", inbox.len())));
        if flushing {
            self.flush(at)?;
        }
        for input in inbox {
            self.input(at, input)?;
        }
        (0..missed).try_for_each(|_| self.input(at, Input::Tick))
    }
}
