//! Over many seeds: a core that can reach a majority gets one coordinator within a bound, and keeps it; and an election
//! costs a bounded number of messages.

use std::collections::BTreeSet;

use super::super::Options;
use super::node;
use super::world::World;
use crate::protocol::types::{Ballot, NodeId};

/// Within so many ticks a core has its coordinator; for ten times as long it then keeps it.
const BOUND: u64 = 150;
const SEEDS: u64 = 3;
/// Messages of an election, by n².
const C: u64 = 8;

fn ids(numbers: &[u32]) -> Vec<NodeId> {
    numbers.iter().map(|&number| node(8000 + number)).collect()
}

fn pairs(numbers: &[(u32, u32)]) -> Vec<(NodeId, NodeId)> {
    numbers.iter().map(|&(a, b)| (node(8000 + a), node(8000 + b))).collect()
}

/// The epoch that the whole core follows.
fn agreed(world: &World, core: &[NodeId]) -> Option<Ballot> {
    let epochs: BTreeSet<_> = core.iter().map(|&id| world.coordinator(id)).collect();
    if epochs.len() == 1 { epochs.into_iter().next().flatten() } else { None }
}

/// `trouble` happens before every tick, and goes on. If it makes who is outside the core leave, such a coordinator does not
/// count.
fn one_coordinator_for_good(world: &mut World, core: &[NodeId], trouble: impl FnMut(&mut World)) -> Ballot {
    settles(world, core, false, trouble)
}

fn settles(world: &mut World, core: &[NodeId], may_leave: bool, mut trouble: impl FnMut(&mut World)) -> Ballot {
    let start = world.now;
    let leaves = |epoch: Ballot| !core.contains(&epoch.node) && may_leave;
    while agreed(world, core).is_none_or(leaves) || world.now < start + 60 {
        assert!(world.now < start + BOUND, "no coordinator for {core:?} after {BOUND} ticks:\n{}", world.text);
        trouble(world);
        world.tick();
    }
    let (epoch, epochs) = (agreed(world, core).unwrap(), world.epochs.len());
    for _ in 0..10 * BOUND {
        trouble(world);
        world.tick();
        assert_eq!(agreed(world, core), Some(epoch), "the coordinator changes:\n{}", world.text);
    }
    assert_eq!(world.epochs.len(), epochs, "somebody else coordinates:\n{}", world.text);
    epoch
}

/// A started cluster of so many nodes, with delays and logs drawn by the seed.
fn cluster(count: u32, seed: u64) -> World {
    let mut world = World::new(count, Options::default(), seed);
    world.delay = seed % 3;
    if seed % 2 == 1 {
        for id in world.ids() {
            world.know(id, None, (seed ^ u64::from(id.number())).wrapping_mul(0x9e37_79b9) % 5);
        }
    }
    world.start_all();
    world
}

/// A network of this shape, from the start, and again after it was whole.
fn shape(count: u32, links: &[(u32, u32)], core: &[u32]) {
    for seed in 0..SEEDS {
        for whole_first in [false, true] {
            let mut world = cluster(count, seed);
            if whole_first {
                one_coordinator_for_good(&mut world, &ids(&(0..count).collect::<Vec<_>>()), |_| {});
            }
            world.only(&pairs(links));
            one_coordinator_for_good(&mut world, &ids(core), |_| {});
        }
    }
}

#[test]
pub(crate) fn all_up() {
    for seed in 0..SEEDS {
        for count in [1, 2, 3, 4, 5, 7] {
            let mut world = cluster(count, seed);
            let all = world.ids();
            let epoch = one_coordinator_for_good(&mut world, &all, |_| {});
            assert_eq!(world.epochs, [epoch], "{}", world.text);
            if seed.is_multiple_of(2) {
                assert_eq!(Some(&epoch.node), all.last(), "equal logs, so the highest id wins:\n{}", world.text);
            }
        }
    }
}

#[test]
pub(crate) fn the_coordinator_dies_and_another_takes_over() {
    for seed in 0..SEEDS {
        for silently in [false, true] {
            for count in [3, 5, 7] {
                let mut world = cluster(count, seed);
                let first = one_coordinator_for_good(&mut world, &ids(&[0, 1]), |_| {});
                world.crash(first.node, silently);
                let core: Vec<NodeId> = world.ids().into_iter().filter(|&id| id != first.node).collect();
                let second = one_coordinator_for_good(&mut world, &core, |_| {});
                assert_eq!(world.epochs, [first, second], "{}", world.text);
                // It comes back, and follows.
                world.start(first.node);
                let all = world.ids();
                assert_eq!(one_coordinator_for_good(&mut world, &all, |_| {}), second);
            }
        }
    }
}

#[test]
pub(crate) fn one_is_down_from_the_start() {
    for seed in 0..SEEDS {
        let mut world = cluster(5, seed);
        world.crash(node(8004), true);
        one_coordinator_for_good(&mut world, &ids(&[0, 1, 2, 3]), |_| {});
    }
}

/// One node hears nobody, or is heard by nobody; before there is a coordinator or after, be it itself or not.
#[test]
pub(crate) fn deaf_and_mute_nodes() {
    for seed in 0..SEEDS {
        for deaf in [true, false] {
            for victim in 0..5 {
                for settled in [true, false] {
                    let mut world = cluster(5, seed);
                    let others: Vec<u32> = (0..5).filter(|&other| other != victim).collect();
                    let before = settled
                        .then(|| one_coordinator_for_good(&mut world, &ids(&others), |_| {}))
                        .filter(|epoch| epoch.node != node(8000 + victim));
                    for &other in &others {
                        let (from, to) = if deaf { (other, victim) } else { (victim, other) };
                        world.cut(node(8000 + from), node(8000 + to));
                    }
                    let epoch = one_coordinator_for_good(&mut world, &ids(&others), |_| {});
                    assert!(before.is_none_or(|before| before == epoch), "a second election:\n{}", world.text);
                }
            }
        }
    }
}

#[test]
pub(crate) fn the_highest_id_comes_and_goes() {
    for seed in 0..SEEDS {
        for silently in [true, false] {
            let mut world = cluster(5, seed);
            let highest = node(8004);
            let mut up = true;
            let mut trouble = |world: &mut World| {
                if world.now % (20 + seed) == 7 {
                    if up {
                        world.crash(highest, silently);
                    } else {
                        world.start(highest);
                    }
                    up = !up;
                }
            };
            settles(&mut world, &ids(&[0, 1, 2, 3]), true, &mut trouble);
        }
    }
}

#[test]
pub(crate) fn ring() {
    shape(5, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)], &[0, 1, 2, 3, 4]);
    shape(5, &[(0, 3), (3, 1), (1, 4), (4, 2), (2, 0)], &[0, 1, 2, 3, 4]);
}

#[test]
pub(crate) fn bridge() {
    shape(5, &[(0, 1), (3, 4), (2, 0), (2, 1), (2, 3), (2, 4)], &[0, 1, 2, 3, 4]);
    shape(5, &[(1, 2), (3, 4), (0, 1), (0, 2), (0, 3), (0, 4)], &[0, 1, 2, 3, 4]);
}

#[test]
pub(crate) fn chain() {
    shape(3, &[(0, 1), (1, 2)], &[0, 1, 2]);
    shape(3, &[(1, 2), (2, 0)], &[0, 1, 2]);
    // The ends of the longer one hear no majority; they follow whom their neighbour follows if that one hears it.
    shape(5, &[(0, 1), (1, 2), (2, 3), (3, 4)], &[1, 2, 3]);
}

#[test]
pub(crate) fn star() {
    for centre in 0..5 {
        let links: Vec<(u32, u32)> = (0..5).filter(|&leaf| leaf != centre).map(|leaf| (centre, leaf)).collect();
        shape(5, &links, &[0, 1, 2, 3, 4]);
    }
}

#[test]
pub(crate) fn a_minority_is_cut_off() {
    shape(5, &[(0, 1), (1, 2), (0, 2), (3, 4)], &[0, 1, 2]);
    shape(5, &[(4, 1), (1, 2), (4, 2), (3, 0)], &[1, 2, 4]);
}

/// Nobody has a majority: then there is no coordinator at all. It comes back.
#[test]
pub(crate) fn quorum_loss_and_back() {
    for seed in 0..SEEDS {
        let mut world = cluster(5, seed);
        let all = world.ids();
        one_coordinator_for_good(&mut world, &all, |_| {});
        world.only(&pairs(&[(0, 1), (2, 3)]));
        for _ in 0..BOUND {
            world.tick();
        }
        assert!(all.iter().all(|&id| world.coordinator(id).is_none()), "{}", world.text);
        let epochs = world.epochs.len();
        for _ in 0..10 * BOUND {
            world.tick();
        }
        assert_eq!(world.epochs.len(), epochs, "{}", world.text);
        // 8004 stays alone; the others find together.
        world.only(&pairs(&[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]));
        one_coordinator_for_good(&mut world, &ids(&[0, 1, 2, 3]), |_| {});
        assert_eq!(world.epochs.len(), epochs + 1, "{}", world.text);
    }
}

/// An election, from the death of the coordinator until all follow the next, costs at most c·n² messages, and less than
/// 100 ms when messages take no time.
#[test]
pub(crate) fn an_election_is_short_and_cheap() {
    for seed in 0..SEEDS {
        for count in [3, 5, 7, 9] {
            let mut world = cluster(count, seed);
            let all = world.ids();
            let first = one_coordinator_for_good(&mut world, &all, |_| {});
            world.sent.clear();
            let start = world.now;
            world.crash(first.node, false);
            world.deliver();
            let core: Vec<NodeId> = all.into_iter().filter(|&id| id != first.node).collect();
            while agreed(&world, &core).is_none() {
                world.tick();
                assert!(world.now - start < 10 + 10 * world.delay, "{}", world.text);
            }
            let sent: u64 = world.sent.values().sum();
            assert!(sent <= C * u64::from(count * count), "{count} nodes sent {:?}:\n{}", world.sent, world.text);
        }
    }
}

/// All hold an election by hand at once: each stands for that, and at most twice more because of the others.
#[test]
pub(crate) fn elections_by_hand_do_not_set_each_other_off() {
    for seed in 0..10 * SEEDS {
        for count in [3, 5, 7] {
            let mut world = cluster(count, seed);
            let all = world.ids();
            one_coordinator_for_good(&mut world, &all, |_| {});
            world.delay = seed % 4;
            world.sent.clear();
            all.iter().for_each(|&id| world.elect(id));
            one_coordinator_for_good(&mut world, &all, |_| {});
            let asked = world.sent["election"];
            let most = 3 * u64::from(count * (count - 1));
            assert!(asked <= most, "{count} nodes sent {:?}:\n{}", world.sent, world.text);
        }
    }
}

/// The network changes its shape again and again. Whenever it is whole, everybody soon follows one coordinator.
#[test]
pub(crate) fn any_sequence_of_cuts_and_crashes_heals() {
    for seed in 0..10 * SEEDS {
        let mut world = cluster(5, seed);
        let all = world.ids();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move |most: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % most
        };
        for _ in 0..30 {
            let (a, b) = (all[draw(5) as usize], all[draw(5) as usize]);
            match draw(7) {
                0 | 1 if a != b => world.cut(a, b),
                2 if a != b => world.heal(a, b),
                3 if world.bully(a).is_some() => world.crash(a, draw(2) == 0),
                4 if world.bully(a).is_none() => world.start(a),
                5 if a != b => world.disconnect(a, b),
                6 => world.elect(a),
                _ => {}
            }
            for _ in 0..draw(50) {
                world.tick();
            }
        }
        let links: Vec<_> = all.iter().flat_map(|&a| all.iter().map(move |&b| (a, b))).collect();
        world.only(&links);
        for &id in &all {
            if world.bully(id).is_none() {
                world.start(id);
            }
        }
        one_coordinator_for_good(&mut world, &all, |_| {});
    }
}
