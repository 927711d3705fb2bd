//! The index held to a map, and to what its disks must hold.

mod scripts;

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub(crate) use scripts::{NAMES, holds};

use super::{Index, Message};
use crate::protocol::Out;
use crate::protocol::overlay::{Call, Failure, Key, Options};
use crate::protocol::types::Value;
use crate::sim::overlay::net::{Net, Outcome, id};

fn cluster(nodes: u32, seed: u64) -> Net<Index> {
    let mut net = Net::new(Options::default(), seed);
    net.durable = true;
    (0..nodes).for_each(|_| _ = net.add(Vec::new()));
    net
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn set(net: &mut Net<Index>, on: u32, name: &str, text: &str) -> Outcome {
    net.ask(id(on), Call::Set { key: key(name), value: Value::new(text) }, 200)
}

fn get(net: &mut Net<Index>, on: u32, name: &str) -> Option<String> {
    let answer = net.ask(id(on), Call::Get { key: key(name) }, 200).unwrap();
    answer.value.map(|value| value.as_str().to_owned())
}

fn remove(net: &mut Net<Index>, on: u32, name: &str) -> Outcome {
    net.ask(id(on), Call::Remove { key: key(name) }, 200)
}

/// Nodes start again all the time, one at a time, and it is a map all the same.
pub(crate) fn it_is_a_map() {
    for seed in 0..5 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut net = cluster(6, seed);
        let mut twin: BTreeMap<String, String> = BTreeMap::new();
        for step in 0..120 {
            let (on, name) = (rng.random_range(1..=6), format!("{}", rng.random_range(0..5)));
            match rng.random_range(0..6) {
                0 => {
                    assert_eq!(remove(&mut net, on, &name).is_ok(), twin.remove(&name).is_some(), "seed {seed}, {step}")
                }
                1 | 2 => {
                    set(&mut net, on, &name, &format!("{step}")).unwrap();
                    twin.insert(name, format!("{step}"));
                }
                3 => {
                    net.crash(id(on));
                    net.start(id(on));
                }
                _ => assert_eq!(get(&mut net, on, &name), twin.get(&name).cloned(), "seed {seed}, {step}"),
            }
        }
        net.run(10);
        let copies: usize = net.running().map(|(_, node)| node.items().len()).sum();
        let entries = net.node(id(1)).unwrap().directory().len();
        assert_eq!(entries, twin.len(), "an entry for each key");
        // A `Drop` may have been on its way to a node that was just starting.
        assert!(copies >= twin.len() && copies <= twin.len() + 10, "{copies} copies of {} keys", twin.len());
    }
}

/// Two hops, whatever the number of nodes.
pub(crate) fn a_route_is_the_index_and_the_holder() {
    let mut net = cluster(50, 1);
    set(&mut net, 30, "a", "1").unwrap();
    let hops = |net: &mut Net<Index>, on| net.ask(id(on), Call::Get { key: key("a") }, 200).unwrap().hops;
    assert_eq!(hops(&mut net, 40), [id(40), id(1), id(30)]);
    assert_eq!(hops(&mut net, 30), [id(30), id(1)]);
    assert_eq!(hops(&mut net, 1), [id(1), id(30)]);
}

/// Without the index nothing goes; what was not sent out certainly did not happen.
pub(crate) fn without_the_index_nothing_goes() {
    let mut net = cluster(4, 1);
    set(&mut net, 2, "a", "1").unwrap();
    net.crash(id(1));
    assert_eq!(set(&mut net, 3, "a", "2"), Err(Failure::Unavailable("the index does not answer")));
    assert!(matches!(net.ask(id(2), Call::Get { key: key("a") }, 100), Err(Failure::Unavailable(_))));
    net.start(id(1));
    assert_eq!(get(&mut net, 3, "a").unwrap(), "1");
    net.crash(id(2));
    let why = "the node that holds the key does not answer";
    assert_eq!(net.ask(id(3), Call::Get { key: key("a") }, 100), Err(Failure::Unavailable(why)));
    set(&mut net, 3, "a", "3").unwrap();
    assert_eq!(get(&mut net, 4, "a").unwrap(), "3", "another holder can take its place");
    net.start(id(2));
    assert_eq!(get(&mut net, 2, "a").unwrap(), "3", "and the one before is not asked any more");
}

/// An entry that is not confirmed may have been made.
pub(crate) fn an_entry_that_is_not_confirmed_is_not_called_undone() {
    let mut net = cluster(3, 4);
    let request = net.call(id(2), Call::Set { key: key("a"), value: Value::new("1") }, 100);
    while net.node(id(2)).unwrap().items().is_empty() {
        net.tick();
    }
    net.cut(id(1), id(2));
    net.run(150);
    assert_eq!(net.take(request), Some(Err(Failure::Unknown("the index has not confirmed it"))));
}

/// Two calls set a key at one node, and the earlier number comes last: the copy with the later one stays, for it may be
/// about to become the entry.
pub(crate) fn an_earlier_number_does_not_replace_a_later_copy() {
    let mut net = cluster(3, 4);
    let requests = ["1", "2"].map(|text| net.call(id(2), Call::Set { key: key("a"), value: Value::new(text) }, 200));
    let calls: Vec<u64> = net.node(id(2)).unwrap().calls.keys().copied().collect();
    // The index gives numbers to both; its answers come by hand.
    net.cut(id(1), id(2));
    net.run(5);
    net.cut(id(2), id(1));
    let held = |net: &Net<Index>| net.node(id(2)).unwrap().items().version(&key("a")).unwrap().stamp.counter;
    for (call, serial) in [(calls[0], 2), (calls[1], 1)] {
        let holder = Message::Holder { id: call, entry: None, serial: Some(serial) };
        net.step(id(2), |node, out| node.on_message(id(1), holder, out));
        assert_eq!(held(&net), 2);
    }
    net.heal();
    net.run(150);
    for request in requests {
        assert!(net.take(request).is_some_and(|outcome| outcome.is_ok()));
    }
    let entry = net.node(id(1)).unwrap().directory().version(&key("a")).unwrap().stamp;
    assert_eq!((entry.node, entry.counter), (id(2), held(&net)));
}

/// A late word that a copy is to go is about that copy only; and only the index has it.
pub(crate) fn a_late_drop_does_not_take_a_new_copy() {
    let mut net = cluster(3, 4);
    set(&mut net, 2, "a", "1").unwrap();
    let serial = |net: &Net<Index>| net.node(id(2)).unwrap().items().version(&key("a")).map(|held| held.stamp.counter);
    let old = serial(&net).unwrap();
    set(&mut net, 2, "a", "2").unwrap();
    let drop = |serial| Message::Drop { key: key("a"), serial };
    net.step(id(2), |node, out: &mut Out| node.on_message(id(1), drop(old), out));
    assert_eq!(get(&mut net, 3, "a").unwrap(), "2");
    let new = serial(&net).unwrap();
    net.step(id(2), |node, out| node.on_message(id(3), drop(new), out));
    assert_eq!(get(&mut net, 3, "a").unwrap(), "2");
}

/// What was doubled, and comes when the key has had another holder for long, changes nothing.
pub(crate) fn a_serial_number_is_good_for_one_entry() {
    let mut net = cluster(4, 4);
    set(&mut net, 2, "a", "1").unwrap();
    let entry = net.node(id(1)).unwrap().directory().version(&key("a")).unwrap().stamp;
    set(&mut net, 3, "a", "2").unwrap();
    let late = |net: &mut Net<Index>, message: Message| {
        net.step(id(1), |node, out| node.on_message(id(2), message, out));
        net.run(5);
    };
    let enter = || Message::Enter { id: 1, key: key("a"), serial: entry.counter };
    let strike = || Message::Strike { id: 1, key: key("a"), entry };
    late(&mut net, enter());
    late(&mut net, strike());
    assert_eq!(get(&mut net, 4, "a").unwrap(), "2");
    remove(&mut net, 4, "a").unwrap();
    late(&mut net, enter());
    assert_eq!(get(&mut net, 4, "a"), None);
    // Nor does it after the index has started again: it gives other numbers.
    net.crash(id(1));
    net.start(id(1));
    set(&mut net, 2, "a", "3").unwrap();
    let again = net.node(id(1)).unwrap().directory().version(&key("a")).unwrap().stamp;
    assert!(again.counter > entry.counter, "{again:?} after {entry:?}");
}

/// Two calls of one node set a key at the same time, and it has but the second copy. When that is entered, and superseded,
/// the first one's word comes late: there is nothing that it could stand for.
pub(crate) fn a_copy_that_was_replaced_is_not_entered() {
    let mut net = cluster(3, 7);
    let say = |net: &mut Net<Index>, message: Message| {
        net.step(id(1), |node, out| node.on_message(id(2), message, out));
    };
    for asked in [1, 2] {
        say(&mut net, Message::Ask { id: asked, key: key("a"), sets: true });
    }
    let serials: Vec<u64> = net.node(id(1)).unwrap().tickets.keys().copied().collect();
    let [first, second] = serials[..] else { panic!("{serials:?}") };
    say(&mut net, Message::Enter { id: 2, key: key("a"), serial: second });
    set(&mut net, 3, "a", "3").unwrap();
    say(&mut net, Message::Enter { id: 1, key: key("a"), serial: first });
    assert_eq!(get(&mut net, 2, "a").unwrap(), "3");
}

/// The word that a copy is superseded may be lost; its holder asks for it again. What has no entry is left alone: the index
/// may have lost its disk.
pub(crate) fn a_superseded_copy_goes() {
    let mut net = cluster(3, 5);
    set(&mut net, 2, "a", "1").unwrap();
    set(&mut net, 2, "b", "1").unwrap();
    net.cut(id(1), id(2));
    set(&mut net, 3, "a", "2").unwrap();
    remove(&mut net, 3, "b").unwrap();
    net.run(5);
    let copies = |net: &Net<Index>| net.node(id(2)).unwrap().items().len();
    assert_eq!(copies(&net), 2);
    net.heal();
    net.run(250);
    assert_eq!(copies(&net), 1);
    assert_eq!((get(&mut net, 2, "a").unwrap(), get(&mut net, 2, "b")), ("2".to_owned(), None));
}

/// A holder that has lost its copy says so, and the call need not wait for its deadline.
pub(crate) fn a_copy_that_is_lost_is_said_to_be() {
    let mut net = cluster(3, 6);
    set(&mut net, 2, "a", "1").unwrap();
    net.durable = false;
    net.crash(id(2));
    net.start(id(2));
    let before = net.now();
    let why = "the node that holds the key has lost its copy";
    assert_eq!(net.ask(id(3), Call::Get { key: key("a") }, 200), Err(Failure::Unavailable(why)));
    assert!(net.now() - before < 20, "{} ticks", net.now() - before);
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

tables! {
    it_is_a_map
    a_route_is_the_index_and_the_holder
    without_the_index_nothing_goes
    an_entry_that_is_not_confirmed_is_not_called_undone
    an_earlier_number_does_not_replace_a_later_copy
    a_late_drop_does_not_take_a_new_copy
    a_serial_number_is_good_for_one_entry
    a_copy_that_was_replaced_is_not_entered
    a_superseded_copy_goes
    a_copy_that_is_lost_is_said_to_be
}
