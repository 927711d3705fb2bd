//! Merging commutes, associates and repeats without effect; and clusters that are cut, healed and crashed at random come
//! to show the same, without anything that was deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::world::World;
use crate::protocol::clock::VectorClock;
use crate::protocol::eventual::Options;
use crate::protocol::eventual::board::Board;
use crate::protocol::eventual::memory::{Memory, Operation, Stamp};
use crate::protocol::quorum::Members;
use crate::protocol::types::NodeId;

fn node(number: u8) -> NodeId {
    NodeId::new(8000 + u32::from(number)).unwrap()
}

/// A history of operations as servers make them: each on an entry of an earlier one, with a higher clock.
fn history(choices: &[(u8, u8, u8)]) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    for (number, &(server, target, kind)) in choices.iter().enumerate() {
        // Some operations are made without knowing of each other: their clocks are equal.
        let stamp = Stamp { clock: number as u64 / 2 + 1, server: node(server % 3 + 3 * (number % 2) as u8) };
        let earlier: Vec<Stamp> =
            operations.iter().map(|operation| operation.id).filter(|id| id.clock < stamp.clock).collect();
        let id = if kind % 3 == 0 || earlier.is_empty() { stamp } else { earlier[usize::from(target) % earlier.len()] };
        let text = (id == stamp || kind % 3 == 1).then(|| Arc::from(format!("{number}")));
        operations.push(Operation { id, stamp, text });
    }
    operations
}

fn merged<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Memory {
    let mut board = Board::new(Memory::default());
    operations.into_iter().for_each(|operation| board.put(operation, false));
    let record = board.take_record();
    let mut memory = Memory::default();
    record.iter().for_each(|record| memory.apply(record));
    assert_eq!(memory, *board.memory(), "what was saved is what is there");
    assert_eq!(Board::new(memory.clone()).digest(), board.digest(), "the digest does not hang on the order");
    // How often something was seen to change does.
    Memory { changes: 0, ..memory }
}

proptest! {
    #[test]
    fn merging_commutes_associates_and_repeats_without_effect(
        choices in prop::collection::vec(any::<(u8, u8, u8)>(), 1..30),
        order in prop::collection::vec(any::<u8>(), 30),
        split in 0..30_usize,
    ) {
        let operations = history(&choices);
        let all = merged(&operations);
        let mut shuffled: Vec<(u8, &Operation)> = order.iter().copied().zip(&operations).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let shuffled: Vec<&Operation> = shuffled.into_iter().map(|(_, operation)| operation).collect();
        prop_assert_eq!(&merged(shuffled.iter().copied()), &all, "commutes");
        prop_assert_eq!(&merged(shuffled.iter().chain(&shuffled).copied()), &all, "repeats");
        // What two have merged on their own, merged: only what stands is told.
        let (one, other) = shuffled.split_at(split.min(shuffled.len()));
        let told = |part: &[&Operation]| -> Vec<Operation> {
            let entries = merged(part.iter().copied()).entries;
            entries.into_iter().map(|(id, entry)| Operation { id, stamp: entry.stamp, text: entry.text }).collect()
        };
        let (one, other) = (told(one), told(other));
        prop_assert_eq!(&merged(one.iter().chain(&other)), &all, "associates");
        prop_assert_eq!(&merged(other.iter().chain(&one)), &all, "in the other order");
        // A delete stands, whatever was stamped higher.
        for operation in operations.iter().filter(|operation| operation.text.is_none()) {
            prop_assert!(all.entries[&operation.id].text.is_none());
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_stamp(text in "[0-9.a]{0,12}") {
        if let Ok(stamp) = text.parse::<Stamp>() {
            prop_assert!(stamp.clock > 0);
        }
    }
}

/// Does something at random to a cluster: `choices` are what, where, and to what.
fn disturb(world: &mut World, deleted: &mut BTreeSet<Stamp>, (kind, at, what): (u8, u8, u8)) {
    let ids = world.ids();
    let (at, other) = (ids[usize::from(at) % ids.len()], ids[usize::from(what) % ids.len()]);
    let seen: Vec<Stamp> = match world.is_up(at) {
        true => world.board(at).board().posts(None).map(|(id, ..)| id).collect(),
        false => Vec::new(),
    };
    let target = seen.get(usize::from(what) % seen.len().max(1)).copied();
    match (kind, target) {
        (0, _) => world.crash(at),
        (1, _) if !world.is_up(at) => world.start(at),
        (2, _) => world.cut(at, other),
        (3, _) => world.heal(),
        (4, _) => (0..what % 64).for_each(|_| world.tick()),
        (5, Some(id)) => {
            let done = world.act(at, |board, out| board.delete(id, out));
            deleted.extend(done.is_ok().then_some(id));
        }
        (6, Some(id)) => _ = world.act(at, |board, out| board.modify(id, &what.to_string(), out)),
        // A log has other members, by one node; the others may not know yet.
        (9.., _) => {
            let mut members: BTreeSet<NodeId> = world.members_of(at).iter().collect();
            if !members.remove(&other) {
                members.insert(other);
            }
            Members::new(members).iter().for_each(|members| world.members(at, members));
        }
        _ if world.is_up(at) => _ = world.act(at, |board, out| board.post(&what.to_string(), out)),
        _ => {}
    }
}

/// All are up, can talk, and are members again: they come to show the same, without what was deleted.
fn settles(world: &mut World, deleted: &BTreeSet<Stamp>) -> Result<(), TestCaseError> {
    let ids = world.ids();
    world.heal();
    let all = Members::new(ids.iter().copied()).unwrap();
    for &id in &ids {
        world.members(id, &all);
        if !world.is_up(id) {
            world.start(id);
        }
    }
    // Each asks each other one within four gossips; twice, and once more for the tombstones; slowly, at the end.
    (0..1500).for_each(|_| world.tick());
    let first = world.board(ids[0]).status();
    let versions: VectorClock = first.versions.clone();
    for &id in &ids {
        let status = world.board(id).status();
        prop_assert_eq!((status.digest, &status.versions), (first.digest, &versions), "{}", world.text);
        prop_assert_eq!((status.pending, status.tombstones), (0, 0), "{}", world.text);
        prop_assert!(!status.astray, "{}", world.text);
        prop_assert!(world.board(id).board().posts(None).all(|(id, ..)| !deleted.contains(&id)), "{}", world.text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn clusters_converge(
        choices in prop::collection::vec((0..9_u8, any::<u8>(), any::<u8>()), 1..60),
        tombstones in prop_oneof![Just(0_usize), Just(2), Just(1000)],
        page in 1..4_usize,
    ) {
        let mut world = World::new(4, Options { tombstones, page, ..Options::default() });
        let mut deleted = BTreeSet::new();
        choices.into_iter().for_each(|choice| disturb(&mut world, &mut deleted, choice));
        settles(&mut world, &deleted)?;
    }

    #[test]
    fn clusters_whose_members_change_converge(
        choices in prop::collection::vec((0..13_u8, any::<u8>(), any::<u8>()), 1..80),
        tombstones in prop_oneof![Just(0_usize), Just(2), Just(1000)],
        page in 1..4_usize,
    ) {
        let mut world = World::new(3, Options { tombstones, page, ..Options::default() });
        (8003..8005).filter_map(NodeId::new).for_each(|id| world.newcomer(id));
        let mut deleted = BTreeSet::new();
        choices.into_iter().for_each(|choice| disturb(&mut world, &mut deleted, choice));
        settles(&mut world, &deleted)?;
    }
}
