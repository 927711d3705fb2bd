//! Defects planted on purpose: the world finds them, and the shrinker makes them small.

use super::super::check::{Broken, Call, Subject, Verdict, Who};
use super::super::shrink::{Shrunk, shrink_with};
use super::*;
use crate::protocol::durable::Durable;
use crate::protocol::host::Host;
use crate::protocol::types::NodeId;
use crate::protocol::{Event, Message, paxos};
use rand_pcg::Pcg64Mcg;

/// Fails when a node that has crashed twice sends a Promise, in a world that has decided something.
#[derive(Debug, Default)]
struct Planted {
    crashes: std::collections::BTreeMap<NodeId, u32>,
    decided: bool,
    panics: bool,
}

impl Subject for Planted {
    fn wish(&mut self, _members: &[NodeId], _rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        None
    }

    fn healed(&mut self) {}

    fn urge(&mut self, _core: &[NodeId], _rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        None
    }

    fn settled(&self, _core: &[&Host]) -> Result<(), String> {
        Ok(())
    }

    fn told(&mut self, _who: Who, event: &Event, _disk: &Durable) -> Verdict {
        self.decided |= matches!(event, Event::Decided { .. });
        Ok(())
    }

    fn sent(&mut self, who: Who, message: &Message, _disk: &Durable) -> Verdict {
        let promises = matches!(message, Message::Paxos(paxos::Message::Promise { .. }));
        if !promises || !self.decided || self.crashes.get(&who.node).is_none_or(|&crashes| crashes < 2) {
            return Ok(());
        }
        assert!(!self.panics, "planted");
        Err(Broken { rule: "planted".to_owned(), what: who.node.to_string() })
    }

    fn crashed(&mut self, node: NodeId) {
        *self.crashes.entry(node).or_default() += 1;
    }
}

fn plant(seed: u64, options: Options, panics: bool) -> Option<Violation> {
    let mut world = World::new(seed, options);
    world.watch(Box::new(Planted { panics, ..Planted::default() }));
    finish(&mut world).err()
}

#[test]
fn the_shrinker_finds_a_shorter_and_simpler_run() {
    let found = (0..200).filter_map(|seed| plant(seed, Options::default(), false)).take(10);
    let (mut looked_at, mut much_shorter) = (0, 0);
    for violation in found {
        looked_at += 1;
        let (seed, before) = (violation.seed, violation.step);
        let Shrunk { options, violation, .. } =
            shrink_with(Options::default(), violation, &mut |options| plant(seed, options, false));
        assert_eq!(violation.rule, "planted");
        assert!(violation.step <= before, "seed {seed}: {} of {before} steps", violation.step);
        much_shorter += u32::from(violation.step <= before / 2);
        // It needs crashes, or disks that are full, which end a life as well, and no other kind of fault.
        let ends = [Fault::Crash, Fault::Full].map(|fault| options.faults.window(fault));
        assert!(ends.iter().any(|&(from, to)| to > from && to < 100), "seed {seed}: {}", options.faults);
        // The options say all: they show it again.
        assert_eq!(plant(seed, options, false), Some(violation));
    }
    assert_eq!(looked_at, 10);
    assert!(much_shorter >= 4, "only {much_shorter} became much shorter");
}

#[test]
fn a_panic_is_a_violation() {
    let violation = (0..200).find_map(|seed| plant(seed, Options::default(), true)).unwrap();
    assert_eq!((violation.rule.as_str(), violation.what.as_str()), ("no protocol panics", "planted"));
}

/// Why records carry checksums: nodes that start from a damaged disk break something.
#[test]
fn damage_that_goes_unnoticed_is_caught() {
    let faults = Filter::NONE.with(Fault::Crash, (0, u32::MAX)).with(Fault::Rot, (0, u32::MAX));
    let broken = (0..400).filter(|&seed| {
        let mut world = World::new(seed, Options { faults, ..Options::default() });
        world.blind = true;
        finish(&mut world).is_err()
    });
    let broken = broken.count();
    assert!(broken > 5, "{broken}");
}

/// Why stale disks are off: the store cannot notice them, and promises are forgotten.
#[test]
fn stale_disks_break_paxos() {
    let faults: Filter = "all,stale".parse().unwrap();
    let broken = (0..300).filter(|&seed| run(seed, Options { faults, ..Options::default() }).is_err());
    assert!(broken.count() > 10);
}
