//! Chord held to its dumb twins: the whole ring as a sorted map, and the keys as a map.

mod rings;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub(crate) use scripts::{NAMES, holds};

use super::{Chord, Message, PERIOD_TICKS, Phase, replicas::LEASE_TICKS};
use crate::protocol::overlay::ring::{Position, Ring};
use crate::protocol::overlay::{Call, Failure, Key, MAX_HOPS, Message as Any, Options};
use crate::protocol::types::{NodeId, Value};
use crate::protocol::{Effect, Message as AnyMessage, Out};
use crate::sim::overlay::net::{Net, Outcome, id};

const COPIES: usize = 3;

/// So many nodes that all know each other and start at once.
fn cluster(nodes: u32, seed: u64) -> Net<Chord> {
    let mut net = Net::new(Options::default(), seed);
    net.durable = true;
    for node in 1..=nodes {
        net.add((1..=nodes).filter(|&other| other != node).map(id).collect());
    }
    net
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn value(text: &str) -> Value {
    Value::new(text)
}

fn set(net: &mut Net<Chord>, on: u32, name: &str, text: &str) -> Outcome {
    net.ask(id(on), Call::Set { key: key(name), value: value(text) }, 1000)
}

fn get(net: &mut Net<Chord>, on: u32, name: &str) -> Option<String> {
    let answer = net.ask(id(on), Call::Get { key: key(name) }, 1000).unwrap();
    answer.value.map(|value| value.as_str().to_owned())
}

fn leave(net: &mut Net<Chord>, on: u32) -> Outcome {
    let request = net.name();
    net.step(id(on), |node, out| node.leave(request, 6000, out));
    (0..6000)
        .find_map(|_| {
            net.tick();
            net.take(request)
        })
        .expect("it does not leave")
}

fn join(net: &mut Net<Chord>, on: u32) -> Outcome {
    let request = net.name();
    net.step(id(on), |node, out| node.join(request, 3000, out));
    (0..3000)
        .find_map(|_| {
            net.tick();
            net.take(request)
        })
        .expect("it does not join")
}

/// The ring of those that are part of it.
fn ring_of(net: &Net<Chord>) -> Ring {
    let mut ring = Ring::default();
    for (id, node) in net.running() {
        if *node.phase() == Phase::Joined {
            ring.add(id, Options::default().chord.virtual_nodes);
        }
    }
    ring
}

/// What does not fit the ring as a sorted map has it.
fn misfits(net: &Net<Chord>) -> Vec<String> {
    let ring = ring_of(net);
    let before: BTreeMap<Position, Position> =
        ring.points().map(|point| (ring.after(point.at).unwrap().at, point.at)).collect();
    let looking = net.running().filter(|(_, node)| matches!(node.phase(), Phase::Joining { .. }));
    let mut misfits: Vec<String> = looking.map(|(id, _)| format!("{id} has no place yet")).collect();
    for (id, node) in net.running().filter(|(_, node)| *node.phase() == Phase::Joined) {
        for table in node.virtuals() {
            if table.successors.first().copied() != ring.after(table.at) {
                misfits.push(format!("{id} at {}: successor {:?}", table.at, table.successors.first()));
            }
            if table.predecessor.map(|(point, _)| point.at) != before.get(&table.at).copied() {
                misfits.push(format!("{id} at {}: predecessor {:?}", table.at, table.predecessor));
            }
        }
    }
    misfits
}

/// Until the ring is as it should be.
fn settle(net: &mut Net<Chord>) {
    for _ in 0..80 {
        net.run(50);
        if misfits(net).is_empty() {
            return;
        }
    }
    panic!("the ring does not come to rest: {:#?}", misfits(net));
}

/// Who has a version of a key.
fn holders(net: &Net<Chord>, name: &str) -> BTreeSet<NodeId> {
    net.running().filter(|(_, node)| node.items().version(&key(name)).is_some()).map(|(id, _)| id).collect()
}

pub(crate) fn every_node_finds_the_same_owners() {
    let mut net = cluster(12, 1);
    settle(&mut net);
    net.run(2000);
    let ring = ring_of(&net);
    for number in 0..40 {
        let name = format!("key {number}");
        set(&mut net, number % 12 + 1, &name, "5").unwrap();
        let owners = ring.owners(Position::of_key(&name), COPIES);
        assert_eq!(holders(&net, &name), owners.iter().copied().collect());
        for on in 1..=12 {
            let answer = net.ask(id(on), Call::Get { key: key(&name) }, 1000).unwrap();
            assert_eq!((answer.hops[0], *answer.hops.last().unwrap()), (id(on), owners[0]), "{:?}", answer.hops);
            assert_eq!(answer.copies, COPIES);
            assert!(answer.hops.len() <= 4, "a long way round: {:?}", answer.hops);
        }
    }
}

pub(crate) fn keys_are_set_and_removed() {
    let mut net = cluster(5, 7);
    settle(&mut net);
    assert_eq!(get(&mut net, 1, "color"), None);
    assert_eq!(net.ask(id(2), Call::Remove { key: key("color") }, 100), Err(Failure::NotFound));
    set(&mut net, 1, "color", "red").unwrap();
    set(&mut net, 2, "color", "green").unwrap();
    assert_eq!(get(&mut net, 3, "color").unwrap(), "green");
    assert_eq!(holders(&net, "color").len(), COPIES);
    net.ask(id(4), Call::Remove { key: key("color") }, 100).unwrap();
    assert_eq!(get(&mut net, 5, "color"), None);
    assert_eq!(net.ask(id(2), Call::Remove { key: key("color") }, 100), Err(Failure::NotFound));
    set(&mut net, 5, "color", "blue").unwrap();
    assert_eq!(get(&mut net, 1, "color").unwrap(), "blue");
    set(&mut net, 1, "", "empty").unwrap();
    assert_eq!(get(&mut net, 4, "").unwrap(), "empty");
}

/// An acknowledged set is on three nodes: two of them may go at once.
pub(crate) fn two_of_three_may_go() {
    for seed in 0..4 {
        let mut net = cluster(7, seed);
        settle(&mut net);
        for number in 0..10 {
            set(&mut net, 1, &format!("{number}"), "5").unwrap();
        }
        let gone: Vec<NodeId> = ring_of(&net).owners(Position::of_key("3"), 2);
        gone.iter().for_each(|&node| net.crash(node));
        let on = (1..=7).find(|&on| !gone.contains(&id(on))).unwrap();
        for number in 0..10 {
            assert_eq!(get(&mut net, on, &format!("{number}")).unwrap(), "5", "{number}");
        }
        // And then two more, once the copies are three again.
        settle(&mut net);
        net.run(600);
        let owners = ring_of(&net).owners(Position::of_key("3"), COPIES);
        assert!(holders(&net, "3").is_superset(&owners.iter().copied().collect()), "{owners:?}");
        net.run(2 * LEASE_TICKS); // so long one that holds it as well may keep it
        assert_eq!(holders(&net, "3").len(), COPIES);
        owners[..2].iter().for_each(|&node| net.crash(node));
        let on = (1..=7).find(|&on| net.node(id(on)).is_some()).unwrap();
        assert_eq!(get(&mut net, on, "3").unwrap(), "5");
    }
}

/// A set that was acknowledged is on disk: all nodes may go at once.
pub(crate) fn all_may_start_again() {
    let mut net = cluster(5, 3);
    settle(&mut net);
    set(&mut net, 1, "a", "1").unwrap();
    set(&mut net, 2, "b", "2").unwrap();
    net.ask(id(2), Call::Remove { key: key("b") }, 100).unwrap();
    (1..=5).for_each(|node| net.crash(id(node)));
    (1..=5).for_each(|node| net.start(id(node)));
    settle(&mut net);
    assert_eq!(get(&mut net, 4, "a").unwrap(), "1");
    assert_eq!(get(&mut net, 4, "b"), None);
}

pub(crate) fn who_leaves_hands_over() {
    let mut net = cluster(5, 9);
    settle(&mut net);
    for number in 0..60 {
        set(&mut net, 1, &format!("{number}"), &format!("{number}")).unwrap();
    }
    // All that it held, and nobody is missed: so soon that no timeout has anything to do with it.
    let held = net.node(id(3)).unwrap().items().len();
    let before = net.now();
    assert_eq!(leave(&mut net, 3).unwrap().copies, held);
    assert!(net.now() - before < 150, "{} ticks", net.now() - before);
    assert!(net.node(id(3)).unwrap().items().is_empty());
    net.run(1);
    let asks_for_nobody = net.now();
    for number in 0..60 {
        // Also through the one that left.
        assert_eq!(get(&mut net, number % 5 + 1, &format!("{number}")).unwrap(), format!("{number}"));
        let name = format!("{number}");
        let owners = ring_of(&net).owners(Position::of_key(&name), COPIES);
        assert!(holders(&net, &name).is_superset(&owners.into_iter().collect()), "{name}");
    }
    assert!(net.now() - asks_for_nobody < 60 * 30, "nobody waits for the one that left");
    // It stays away, also when it starts again.
    net.crash(id(3));
    net.start(id(3));
    net.run(300);
    assert_eq!(*net.node(id(3)).unwrap().phase(), Phase::Left);
    join(&mut net, 3).unwrap();
    settle(&mut net);
    for number in 0..60 {
        assert_eq!(get(&mut net, 3, &format!("{number}")).unwrap(), format!("{number}"));
    }
    net.run(3000);
    let ring = ring_of(&net);
    for number in 0..60 {
        let name = format!("{number}");
        assert_eq!(holders(&net, &name), ring.owners(Position::of_key(&name), COPIES).into_iter().collect());
    }
}

/// Who dies while it hands over goes on with that when it starts again; and who is told to join instead does that.
pub(crate) fn leaving_survives_a_crash() {
    let mut net = cluster(4, 3);
    settle(&mut net);
    for number in 0..40 {
        set(&mut net, 1, &format!("{number}"), "5").unwrap();
    }
    let request = net.name();
    net.step(id(2), |node, out| node.leave(request, 1000, out));
    net.run(2);
    assert!(!net.node(id(2)).unwrap().items().is_empty());
    net.crash(id(2));
    net.start(id(2));
    net.run(800);
    assert_eq!(*net.node(id(2)).unwrap().phase(), Phase::Left);
    assert!(net.node(id(2)).unwrap().items().is_empty());
    // All leave, and nobody is left to take over.
    for node in [1, 3, 4] {
        net.step(id(node), |node, out| node.leave(request, 1000, out));
    }
    net.run(300);
    join(&mut net, 1).unwrap();
    net.run(800);
    assert_eq!(get(&mut net, 1, "7").unwrap(), "5");
    assert_eq!(*net.node(id(3)).unwrap().phase(), Phase::Left);
}

/// A node that is told to leave while it looks for its place answers who waits for that.
#[test]
fn who_waits_for_a_join_hears_of_a_leave() {
    let mut net = cluster(2, 3);
    settle(&mut net);
    leave(&mut net, 2).unwrap();
    let (joins, leaves) = (net.name(), net.name());
    net.step(id(2), |node, out| node.join(joins, 1000, out));
    net.step(id(2), |node, out| node.leave(leaves, 1000, out));
    net.run(300);
    assert!(matches!(net.take(joins), Some(Err(Failure::Unknown(_)))));
    assert!(matches!(net.take(leaves), Some(Ok(_))));
}

#[test]
fn the_last_one_stays() {
    let mut net = cluster(1, 1);
    settle(&mut net);
    set(&mut net, 1, "a", "1").unwrap();
    assert!(matches!(leave(&mut net, 1), Err(Failure::Refused(_))));
    assert_eq!(get(&mut net, 1, "a").unwrap(), "1");
}

/// A version that one owner lacks is given to it by whoever reads; and nobody is told the older one.
pub(crate) fn readers_repair() {
    let mut stale = 0;
    for seed in 0..8 {
        let mut net = cluster(6, seed);
        settle(&mut net);
        set(&mut net, 1, "a", "old").unwrap();
        let owners = ring_of(&net).owners(Position::of_key("a"), COPIES);
        let others: Vec<u32> = (1..=6).filter(|&node| !owners.contains(&id(node))).collect();
        // Who sets the key does not get through to its first owner, and goes to the next one in its place.
        net.cut(id(others[0]), owners[0]);
        set(&mut net, others[0], "a", "new").unwrap();
        net.heal();
        let version = |net: &Net<Chord>| {
            let held = net.node(owners[0]).unwrap().items().version(&key("a")).cloned();
            held.unwrap().value.unwrap().as_str().to_owned()
        };
        if version(&net) == "old" {
            stale += 1;
        }
        // Asked by the owner itself, or by somebody else.
        let on = if seed % 2 == 0 { owners[0].number() } else { others[1] };
        assert_eq!(get(&mut net, on, "a").unwrap(), "new", "seed {seed}");
        net.run(5);
        assert_eq!(version(&net), "new", "seed {seed}");
    }
    assert!(stale >= 4, "the comparison of copies was faster {} times", 8 - stale);
}

/// Against a map: nodes come, go and start again, one at a time, and every acknowledged set is read back everywhere.
pub(crate) fn nothing_is_lost_while_nodes_come_and_go() {
    for seed in 0..6 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut net = cluster(8, seed);
        settle(&mut net);
        let mut twin: BTreeMap<String, String> = BTreeMap::new();
        for round in 0..12 {
            for _ in 0..6 {
                let name = format!("{}", rng.random_range(0..30));
                let up: Vec<NodeId> = net.running().map(|(id, _)| id).collect();
                let on = up[rng.random_range(0..up.len())].number();
                if rng.random_bool(0.25) {
                    let outcome = net.ask(id(on), Call::Remove { key: key(&name) }, 1000);
                    let there = twin.remove(&name).is_some();
                    assert_eq!(outcome.is_ok(), there, "seed {seed}, round {round}, {name}: {outcome:?}");
                } else {
                    let text = format!("{round}/{}", rng.random::<u32>());
                    set(&mut net, on, &name, &text).unwrap();
                    twin.insert(name, text);
                }
            }
            match rng.random_range(0..4) {
                0 => {
                    let up: Vec<NodeId> = net.running().map(|(id, _)| id).collect();
                    if up.len() > 4 {
                        net.crash(up[rng.random_range(0..up.len())]);
                    }
                }
                1 => {
                    let joined: Vec<NodeId> =
                        net.running().filter(|(_, node)| *node.phase() == Phase::Joined).map(|(id, _)| id).collect();
                    if joined.len() > 4 {
                        leave(&mut net, joined[rng.random_range(0..joined.len())].number()).unwrap();
                    }
                }
                _ => {
                    let down: Vec<NodeId> = (1..=8).map(id).filter(|&node| net.node(node).is_none()).collect();
                    if let Some(&node) = down.first() {
                        net.start(node);
                    } else if let Some(node) = (1..=8).find(|&n| *net.node(id(n)).unwrap().phase() == Phase::Left) {
                        join(&mut net, node).unwrap();
                    }
                }
            }
            // Whoever is gone is noticed, and there are three copies again.
            settle(&mut net);
            net.run(700);
            let up: Vec<NodeId> = net.running().map(|(id, _)| id).collect();
            for number in 0..30 {
                let name = format!("{number}");
                let on = up[number % up.len()].number();
                assert_eq!(get(&mut net, on, &name), twin.get(&name).cloned(), "seed {seed}, round {round}, {name}");
            }
        }
    }
}

#[test]
fn without_the_others_it_is_said() {
    let mut net = cluster(3, 5);
    settle(&mut net);
    leave(&mut net, 1).unwrap();
    net.crash(id(2));
    net.crash(id(3));
    let outcome = net.ask(id(1), Call::Set { key: key("a"), value: value("1") }, 200);
    assert!(matches!(outcome, Err(Failure::Unavailable(_))), "{outcome:?}");
}

/// What confirms the write of an earlier attempt says nothing of the one that runs.
pub(crate) fn a_late_confirmation_does_not_count() {
    let mut net = cluster(3, 5);
    settle(&mut net);
    net.watch = Some(|_, _, message| {
        matches!(message, Any::Dht(Message::Copies { id: Some(_), .. })).then(|| "writes".to_owned())
    });
    let request = net.call(id(1), Call::Set { key: key("a"), value: value("1") }, 500);
    while net.shown.is_empty() {
        net.tick();
    }
    // The confirmations are under way, and are late; somebody seems to be silent, so it begins anew.
    for other in [2, 3] {
        net.cut(id(1), id(other));
        net.cut(id(other), id(1));
    }
    let attempt = |net: &Net<Chord>| *net.node(id(1)).unwrap().operations.keys().next().unwrap();
    let first = attempt(&net);
    net.step(id(1), |node, _| node.operation_misses(id(2), None));
    net.run(3);
    let second = attempt(&net);
    for other in [2, 3] {
        let held = Message::Held { id: second, version: None, room: true };
        net.step(id(1), |node, out| node.on_message(id(other), held, out));
    }
    for other in [2, 3] {
        let late = Message::Copied { id: first, kept: true };
        net.step(id(1), |node, out| node.on_message(id(other), late, out));
    }
    assert_eq!(net.take(request), None);
    for other in [2, 3] {
        let confirmed = Message::Copied { id: second, kept: true };
        net.step(id(1), |node, out| node.on_message(id(other), confirmed, out));
    }
    assert!(net.take(request).is_some_and(|outcome| outcome.is_ok()));
}

/// A set whose owners fall silent in the middle may have happened.
#[test]
fn what_was_sent_out_is_not_called_undone() {
    let mut net = cluster(3, 5);
    settle(&mut net);
    let request = net.call(id(1), Call::Set { key: key("a"), value: value("1") }, 40);
    while net.node(id(1)).unwrap().items().version(&key("a")).is_none() {
        net.tick();
    }
    // Written here; the others have it, or have not.
    for other in 2..=3 {
        net.cut(id(other), id(1));
    }
    net.run(100);
    assert_eq!(net.take(request), Some(Err(Failure::Unknown("not all owners have confirmed it"))));
}

/// A step of a lookup names only such as have answered its asker, and the owners behind them: what nobody but the asker
/// has noticed yet is in nobody's way.
pub(crate) fn who_is_silent_is_gone_round() {
    let mut net = cluster(30, 12);
    settle(&mut net);
    net.run(1500);
    let ring = ring_of(&net);
    for number in 0..40 {
        let target = key(&format!("{number}")).position();
        let owners = ring.owners(target, COPIES + 1);
        let last = ring.points().filter(|point| point.at < target).last().or_else(|| ring.points().last()).unwrap();
        let others = (1..=30).map(id).filter(|asked| !owners.contains(asked) && *asked != last.node);
        for asked in others.filter(|_| !owners.contains(&last.node)) {
            let mut out = Out::default();
            let silent = vec![last.node, owners[0]];
            let find = Message::Find { id: 7, target, upkeep: false, silent: silent.clone() };
            net.step(asked, |node, _| node.on_message(id(31), find, &mut out));
            for effect in out.drain() {
                let Effect::Send { message: AnyMessage::Overlay(Any::Dht(answer)), .. } = effect else { continue };
                let named = match answer {
                    Message::Next { nearer, .. } => nearer,
                    Message::Found { owners: found, .. } => {
                        assert_eq!(found[0].node, owners[1], "behind the one that is silent");
                        found
                    }
                    answer => panic!("{answer:?}"),
                };
                assert!(!named.is_empty() && named.iter().all(|point| !silent.contains(&point.node)), "{named:?}");
            }
        }
    }
}

/// Fingers that do not point to the first point behind their start.
fn wrong_fingers(net: &Net<Chord>) -> Vec<String> {
    let ring = ring_of(net);
    let tables = net.running().flat_map(|(id, node)| node.virtuals().iter().map(move |table| (id, table)));
    let fingers = tables.flat_map(|(id, table)| table.fingers.iter().map(move |finger| (id, table, finger)));
    let first = |start: Position| ring.after(start.plus(u64::MAX));
    fingers
        .filter(|(_, table, (exponent, point))| first(table.start(*exponent)) != Some(*point))
        .map(|(id, table, finger)| format!("{id} at {}: {finger:?}", table.at))
        .collect()
}

/// Whoever comes or goes is found in the finger tables, or is not any more, after a pass over them.
pub(crate) fn fingers_follow_the_ring() {
    let mut net = cluster(20, 8);
    settle(&mut net);
    net.run(1500);
    assert_eq!(wrong_fingers(&net), Vec::<String>::new());
    (1..=10).for_each(|node| _ = net.add(vec![id(node)]));
    [13, 16, 19].into_iter().for_each(|node| net.crash(id(node)));
    settle(&mut net);
    assert!(!wrong_fingers(&net).is_empty(), "nothing had to be looked up again");
    net.run(1500);
    assert_eq!(wrong_fingers(&net), Vec::<String>::new());
}

/// A finger that still is right is confirmed by the one it points to: a question each round, however large the ring.
#[test]
fn right_fingers_cost_one_question_a_round() {
    let mut net = cluster(40, 8);
    settle(&mut net);
    net.run(2000);
    net.watch = Some(|_, _, message| matches!(message, Any::Dht(Message::Find { .. })).then(|| "Find".to_owned()));
    net.run(10 * PERIOD_TICKS);
    // In ten rounds each node looks at the ring from outside three times at most, by some three steps; one finger in forty
    // points to the node itself, and is looked up.
    let virtual_nodes = 40 * Options::default().chord.virtual_nodes as usize;
    assert!(net.shown.len() <= 10 * virtual_nodes + 40 * 3 * 4 + 100, "{} questions", net.shown.len());
}

/// Routes neither loop nor grow with the ring: on three hundred nodes.
pub(crate) fn routes_are_short() {
    let mut net: Net<Chord> = Net::new(Options::default(), 11);
    net.add(Vec::new());
    for node in 2..=300_u32 {
        net.add(vec![id(node / 2), id(1)]);
        if node.is_power_of_two() {
            net.run(400);
        }
    }
    settle(&mut net);
    net.run(4000);
    let mut hops: Vec<usize> = (0..300)
        .map(|number| {
            let call = Call::Get { key: key(&format!("{number}")) };
            let answer = net.ask(id(number % 300 + 1), call, 1000).unwrap();
            assert!(
                answer.hops.iter().collect::<BTreeSet<_>>().len() == answer.hops.len() && answer.hops.len() <= MAX_HOPS
            );
            answer.hops.len() - 1
        })
        .collect();
    hops.sort_unstable();
    // Half of log2 300 is 4.1.
    assert!(hops[150] <= 5 && hops[297] <= 9, "median {}, p99 {}", hops[150], hops[297]);
}

macro_rules! tables {
    ($($name:ident)*) => {
        mod run {
            $(#[test] fn $name() { super::$name(); })*
        }
        /// What must also find the mutants.
        pub(crate) const TABLES: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

use crate::protocol::overlay::items::tests::what_is_held_is_counted;
use rings::{
    a_ring_that_does_not_know_a_place_is_told_who_stands_there, nobody_enters_before_it_has_its_places,
    two_rings_become_one,
};

tables! {
    what_is_held_is_counted
    every_node_finds_the_same_owners
    keys_are_set_and_removed
    two_of_three_may_go
    leaving_survives_a_crash
    all_may_start_again
    who_leaves_hands_over
    two_rings_become_one
    nobody_enters_before_it_has_its_places
    a_ring_that_does_not_know_a_place_is_told_who_stands_there
    readers_repair
    a_late_confirmation_does_not_count
    who_is_silent_is_gone_round
    fingers_follow_the_ring
    nothing_is_lost_while_nodes_come_and_go
    routes_are_short
}
