//! Flooding held to a map, and to the number of links.

mod scripts;

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub(crate) use scripts::{NAMES, holds};

use super::Flood;
use crate::protocol::overlay::{Call, Failure, Key, Options};
use crate::protocol::types::Value;
use crate::sim::overlay::net::{Net, Outcome, id};
use crate::sim::overlay::script::Scripted;

fn cluster(nodes: u32, seed: u64) -> Net<Flood> {
    let mut net = Net::new(Options::default(), seed);
    net.durable = true;
    for node in 1..=nodes {
        net.add((1..=nodes).filter(|&other| other != node).map(id).collect());
    }
    net.run(200);
    net
}

/// Each knows only the one before and the one behind.
fn chain(nodes: u32) -> Net<Flood> {
    let mut net = Net::new(Options::default(), 1);
    for node in 1..=nodes {
        net.add([node - 1, node + 1].into_iter().filter(|&other| (1..=nodes).contains(&other)).map(id).collect());
    }
    net.run(200);
    net
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn set(net: &mut Net<Flood>, on: u32, name: &str, text: &str) -> Outcome {
    net.ask(id(on), Call::Set { key: key(name), value: Value::new(text) }, 500)
}

fn get(net: &mut Net<Flood>, on: u32, name: &str) -> Option<String> {
    let answer = net.ask(id(on), Call::Get { key: key(name) }, 500).unwrap();
    answer.value.map(|value| value.as_str().to_owned())
}

fn remove(net: &mut Net<Flood>, on: u32, name: &str) -> Outcome {
    net.ask(id(on), Call::Remove { key: key(name) }, 500)
}

/// While nobody fails and all are in reach, it is a map.
pub(crate) fn it_is_a_map_while_nobody_fails() {
    for seed in 0..3 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut net = cluster(9, seed);
        let mut twin: BTreeMap<String, String> = BTreeMap::new();
        for step in 0..60 {
            let (on, name) = (rng.random_range(1..=9), format!("{}", rng.random_range(0..6)));
            match rng.random_range(0..4) {
                0 => {
                    assert_eq!(remove(&mut net, on, &name).is_ok(), twin.remove(&name).is_some(), "seed {seed}, {step}")
                }
                1 => {
                    set(&mut net, on, &name, &format!("{step}")).unwrap();
                    twin.insert(name, format!("{step}"));
                }
                _ => assert_eq!(get(&mut net, on, &name), twin.get(&name).cloned(), "seed {seed}, {step}"),
            }
        }
    }
}

/// Two sides of a cut both set the key; the newer version wins wherever it is asked for.
pub(crate) fn the_newest_version_wins() {
    for seed in 0..6 {
        let mut net = cluster(6, seed);
        for one in 1..=3 {
            for other in 4..=6 {
                net.cut(id(one), id(other));
                net.cut(id(other), id(one));
            }
        }
        net.run(400);
        set(&mut net, 1, "a", "left").unwrap();
        set(&mut net, 4, "a", "right").unwrap();
        set(&mut net, 5, "a", "later").unwrap();
        net.heal();
        net.run(600);
        for on in 1..=6 {
            assert_eq!(get(&mut net, on, "a").unwrap(), "later", "seed {seed}, on {on}");
        }
    }
}

/// A query costs at most a message on each link, in each direction, and the answers.
pub(crate) fn a_query_costs_no_more_than_the_links() {
    let mut net = cluster(40, 3);
    set(&mut net, 1, "a", "1").unwrap();
    let links: usize = net.running().map(|(_, node)| node.neighbours().count()).sum();
    net.watch = Some(|_, _, message| <Flood as Scripted>::shown(message));
    for on in [7, 20, 33] {
        net.shown.clear();
        let answer = net.ask(id(on), Call::Get { key: key("a") }, 500).unwrap();
        let cost = net.shown.len();
        assert!(cost > 30 && cost <= links + 1, "{cost} messages on {links} links");
        let seen: BTreeSet<_> = answer.hops.iter().collect();
        assert!(seen.len() == answer.hops.len() && answer.hops.len() <= 8, "{:?}", answer.hops);
        assert_eq!((answer.hops[0], *answer.hops.last().unwrap()), (id(on), id(1)));
    }
}

/// What is farther away than the time to live is not found.
pub(crate) fn the_time_to_live_is_kept() {
    let mut net = chain(12);
    set(&mut net, 1, "a", "1").unwrap();
    assert_eq!(get(&mut net, 8, "a").unwrap(), "1", "seven hops");
    assert_eq!(get(&mut net, 9, "a"), None, "eight hops");
    assert_eq!(remove(&mut net, 10, "a"), Err(Failure::NotFound));
}

/// What was set is on the disk of the node where it was set.
pub(crate) fn a_holder_starts_again_with_what_it_held() {
    let mut net = cluster(4, 2);
    set(&mut net, 3, "a", "1").unwrap();
    net.crash(id(3));
    assert_eq!(get(&mut net, 1, "a"), None);
    net.start(id(3));
    net.run(200);
    assert_eq!(get(&mut net, 1, "a").unwrap(), "1");
    remove(&mut net, 2, "a").unwrap();
    net.crash(id(3));
    net.start(id(3));
    net.run(200);
    assert_eq!(get(&mut net, 1, "a"), None, "that it was removed is on its disk, too");
}

/// A set replaces what others hold, also if theirs has a higher counter.
pub(crate) fn a_later_set_replaces_an_earlier_one() {
    let mut net = cluster(5, 5);
    for text in ["1", "2", "3"] {
        set(&mut net, 5, "a", text).unwrap();
    }
    set(&mut net, 1, "a", "new").unwrap();
    net.run(10);
    for on in 1..=5 {
        assert_eq!(get(&mut net, on, "a").unwrap(), "new");
    }
    assert_eq!(net.running().filter(|(_, node)| !node.items().is_empty()).count(), 1, "older copies are forgotten");
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
    it_is_a_map_while_nobody_fails
    the_newest_version_wins
    a_query_costs_no_more_than_the_links
    the_time_to_live_is_kept
    a_holder_starts_again_with_what_it_held
    a_later_set_replaces_an_earlier_one
}
