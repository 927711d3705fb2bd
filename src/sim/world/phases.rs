//! The phases of a run: the storm, the core, the calm.

use rand::RngExt;

use super::{Event, World};
use crate::protocol::Record;
use crate::protocol::host::Host;
use crate::sim::LIVENESS_TICKS;
use crate::sim::check::{Verdict, ensure};
use crate::sim::trace::{About, Kind};

impl World {
    pub(in crate::sim) fn play(&mut self) -> Verdict {
        self.queue.push(1, Event::Tick);
        for at in 0..self.nodes.len() {
            let founding: Vec<Record> = self.subjects.iter().filter_map(|subject| subject.founding()).collect();
            founding.iter().for_each(|record| self.nodes[at].disk.write(record));
            self.start(at)?;
        }
        while self.steps < self.options.steps {
            self.happen()?;
        }
        let sound: Vec<usize> = (0..self.nodes.len()).filter(|&at| !self.nodes[at].rotten).collect();
        let mut core = sound.clone();
        for at in (1..core.len()).rev() {
            core.swap(at, self.plan.random_range(0..=at));
        }
        // Rot leaves a majority sound.
        core.truncate(self.plan.random_range(self.members.majority()..=sound.len()));
        core.sort_unstable();
        let votes = |&&at: &&usize| self.subjects.iter().all(|subject| subject.may_vote(self.ids[at]));
        if core.iter().filter(votes).count() < self.members.majority() {
            core.clone_from(&sound);
        }
        let since = self.now;
        self.heal(core)?;
        self.tally.slowest_core_ticks = self.now - since;
        self.heal(sound)?;
        self.subjects.iter_mut().try_for_each(|subject| subject.ended())
    }

    /// These nodes, and the links among them, are whole from here on. They make progress in time.
    fn heal(&mut self, core: Vec<usize>) -> Verdict {
        self.note(None, Kind::Phase, || About::text(format!("healed: {core:?} of the nodes")));
        for &at in &core {
            self.spared[at] = true;
            self.nodes[at].stalled = 0;
        }
        self.core = core;
        for at in self.core.clone() {
            self.start(at)?;
            self.resume(at)?;
            self.set_short(at, false);
        }
        self.subjects.iter_mut().for_each(|subject| subject.healed());
        let deadline = self.now + LIVENESS_TICKS;
        loop {
            let before = self.now;
            self.happen()?;
            if self.now == before {
                continue;
            }
            let Err(missing) = self.settled() else { return Ok(()) };
            ensure(self.now < deadline, "a healed core makes progress in time", || {
                format!("after {LIVENESS_TICKS} ticks in which {:?} were whole, {missing}", self.core)
            })?;
        }
    }

    fn settled(&self) -> Result<(), String> {
        let hosts: Vec<&Host> = self.core.iter().filter_map(|&at| self.nodes[at].host.as_ref()).collect();
        self.subjects.iter().try_for_each(|subject| subject.settled(&hosts))
    }
}
