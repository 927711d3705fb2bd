//! The overlays on real nodes: a hash table that nodes leave and join and die in, flooding, and an index.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use synod::protocol::types::{NodeId, Value};
use synod::rpc::client::CallError;
use synod::rpc::faults::{KEY_TOO_LONG, NO_KEY, NOT_REACHED, TOO_LARGE};
use synod::rpc::overlay::{FingerRow, KeyAnswer, OverlayOptions, RingAnswer};
use synod::rpc::text::shown;
use synod::xmlrpc::Fault;

use crate::support::nodes::Nodes;
use crate::support::shell::Place;
use crate::support::until_so;

type Called = Result<KeyAnswer, CallError>;

fn set(nodes: &Nodes, on: usize, overlay: &str, key: &str, value: &str) -> Called {
    nodes.client(on).call(&format!("{overlay}.set"), &(key, value))
}

fn get(nodes: &Nodes, on: usize, overlay: &str, key: &str) -> Called {
    nodes.client(on).call(&format!("{overlay}.get"), &(key,))
}

#[track_caller]
fn fault(called: Called) -> Fault {
    match called {
        Err(CallError::Fault(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

fn id(nodes: &Nodes, node: usize) -> NodeId {
    NodeId::new(nodes.ports.at(node).into()).unwrap()
}

fn ring(nodes: &Nodes, on: usize) -> RingAnswer {
    nodes.client(on).call("dht.ring", &()).unwrap()
}

/// Until all these nodes, and no others, are in the ring that each of them knows.
#[track_caller]
fn until_one_ring(nodes: &Nodes, members: &[usize]) {
    let all: BTreeSet<NodeId> = members.iter().map(|&node| id(nodes, node)).collect();
    until_so("one ring", || {
        members.iter().all(|&node| {
            let ring = ring(nodes, node);
            let seen: BTreeSet<NodeId> = ring.points.iter().map(|point| point.node).collect();
            let next = |own: &synod::rpc::overlay::OwnRow| own.successors.iter().copied().collect::<BTreeSet<_>>();
            let others = all.len() > 1;
            ring.state == "joined"
                && seen == all
                && ring.own.iter().all(|own| !others || next(own).len() + 1 >= all.len())
        })
    });
}

/// The key's value, from every one of these nodes; the routes begin there, and end at the same node.
#[track_caller]
fn everyone_finds(nodes: &Nodes, from: &[usize], overlay: &str, key: &str, value: &str) {
    for &node in from {
        let mut got = None;
        // An owner that has just died is noticed in time.
        until_so(&format!("{key} from {node}"), || {
            let answer = get(nodes, node, overlay, key);
            got = answer.ok().filter(|answer| answer.found == Some(true));
            got.is_some()
        });
        let got = got.unwrap();
        assert_eq!(shown(got.value.as_ref().unwrap()), value, "{key} from {node}");
        assert_eq!(got.hops[0], id(nodes, node));
        let distinct: BTreeSet<&NodeId> = got.hops.iter().collect();
        assert_eq!(distinct.len(), got.hops.len(), "a route with a loop: {:?}", got.hops);
    }
}

#[test]
fn a_hash_table_survives_who_leaves_dies_and_comes_back() {
    let mut nodes = Nodes::service(5);
    let all: Vec<usize> = nodes.all().collect();
    until_one_ring(&nodes, &all);
    for number in 0..20 {
        let key = format!("key {number}");
        let answer = set(&nodes, number % 5, "dht", &key, &format!("value {number}")).unwrap();
        assert_eq!((answer.copies, answer.hops[0]), (3, id(&nodes, number % 5)));
        everyone_finds(&nodes, &all, "dht", &key, &format!("value {number}"));
    }
    let owner = |on: usize| get(&nodes, on, "dht", "key 7").unwrap().hops.last().copied();
    until_so("every route to end at the key's owner", || all.iter().all(|&on| owner(on) == owner(0)));
    // Twenty keys on three nodes each; what was given to others by mistake is handed over in time.
    until_so("three copies of each key", || all.iter().map(|&node| ring(&nodes, node).keys).sum::<u64>() == 60);

    // One leaves in order, and is asked all the same.
    let left: KeyAnswer = nodes.client(2).call("dht.leave", &()).unwrap();
    assert!(left.copies <= 20);
    assert_eq!((ring(&nodes, 2).state.as_str(), ring(&nodes, 2).keys), ("left", 0));
    until_one_ring(&nodes, &[0, 1, 3, 4]);
    for number in 0..20 {
        everyone_finds(&nodes, &all, "dht", &format!("key {number}"), &format!("value {number}"));
    }

    // Two of the four are killed: one copy of each key is left at least.
    nodes.kill(3);
    nodes.kill(4);
    for number in 0..20 {
        everyone_finds(&nodes, &[0, 1, 2], "dht", &format!("key {number}"), &format!("value {number}"));
    }
    set(&nodes, 0, "dht", "key 3", "set with two of them dead").unwrap();
    nodes.client(1).call::<_, KeyAnswer>("dht.remove", &("key 4",)).unwrap();

    // They start again on their disks, and the one that left joins; nothing old comes back.
    nodes.start_those_down();
    let joined: KeyAnswer = nodes.client(2).call("dht.join", &()).unwrap();
    assert_eq!(joined.hops, [id(&nodes, 2)]);
    until_one_ring(&nodes, &all);
    everyone_finds(&nodes, &all, "dht", "key 3", "set with two of them dead");
    for &node in &all {
        assert_eq!(get(&nodes, node, "dht", "key 4").unwrap().found, Some(false));
        everyone_finds(&nodes, &[node], "dht", "key 5", "value 5");
    }

    // All at once: what was acknowledged is on disks.
    all.iter().for_each(|&node| nodes.kill(node));
    nodes.start_those_down();
    until_one_ring(&nodes, &all);
    for number in (0..20).filter(|number| ![3, 4].contains(number)) {
        everyone_finds(&nodes, &all, "dht", &format!("key {number}"), &format!("value {number}"));
    }
    assert_eq!(get(&nodes, 1, "dht", "key 4").unwrap().found, Some(false));
    let fingers: Vec<FingerRow> = nodes.client(0).call("dht.fingers", &()).unwrap();
    assert!(fingers.iter().all(|finger| finger.position.plus(1 << finger.exponent) == finger.start));
}

#[test]
fn flooding_finds_what_is_up_and_the_index_what_it_knows() {
    let mut nodes = Nodes::service(5);
    let all: Vec<usize> = nodes.all().collect();
    for overlay in ["flood", "index"] {
        set(&nodes, 2, overlay, "song", "tune").unwrap();
        everyone_finds(&nodes, &all, overlay, "song", "tune");
        let route = get(&nodes, 4, overlay, "song").unwrap().hops;
        assert_eq!(*route.last().unwrap(), id(&nodes, 2), "{overlay}: the holder ends the route");
    }
    assert_eq!(get(&nodes, 4, "index", "song").unwrap().hops, [4, 0, 2].map(|node| id(&nodes, node)));

    // The holder is down: flooding does not find it, the index knows who has it and that does not help.
    nodes.kill(2);
    assert_eq!(get(&nodes, 1, "flood", "song").unwrap().found, Some(false));
    let soon = OverlayOptions { deadline_ms: Some(1200) };
    let called = nodes.client(1).call("index.get", &("song", soon));
    assert_eq!(fault(called).code, NOT_REACHED.code);
    nodes.start(2);
    for overlay in ["flood", "index"] {
        everyone_finds(&nodes, &all, overlay, "song", "tune");
    }

    // The index is down: the value is there, and is not found.
    nodes.kill(0);
    let called = nodes.client(2).call("index.get", &("song", soon));
    assert_eq!(fault(called).code, NOT_REACHED.code);
    everyone_finds(&nodes, &[1, 2, 3, 4], "flood", "song", "tune");
    nodes.start(0);
    everyone_finds(&nodes, &all, "index", "song", "tune");
    for overlay in ["flood", "index"] {
        until_so("the removal", || {
            let called = nodes.client(3).call::<_, KeyAnswer>(&format!("{overlay}.remove"), &("song",));
            called.is_ok() || fault(called).code == NO_KEY.code
        });
        until_so("it to be gone", || get(&nodes, 4, overlay, "song").is_ok_and(|got| got.found == Some(false)));
    }
}

#[test]
fn bad_calls_change_nothing_and_say_so() {
    let nodes = Nodes::service(1);
    let client = nodes.client(0);
    for overlay in ["dht", "flood", "index"] {
        let call = |verb: &str, params: &(&str, &str)| -> Called { client.call(&format!("{overlay}.{verb}"), params) };
        let one = |verb: &str, key: &str| -> Called { client.call(&format!("{overlay}.{verb}"), &(key,)) };
        assert_eq!(fault(one("remove", "never")).code, NO_KEY.code, "{overlay}");
        assert_eq!(one("get", "never").unwrap().found, Some(false));
        let long = "x".repeat(513);
        for called in [one("get", &long), one("remove", &long), call("set", &(&long, "5"))] {
            assert_eq!(fault(called).code, KEY_TOO_LONG.code, "{overlay}");
        }
        assert_eq!(fault(call("set", &("k", &"x".repeat(1 << 20)))).code, TOO_LARGE.code);
        assert_eq!(one("get", "k").unwrap().found, Some(false));
        // What is just not too long is kept, whatever it is.
        for key in ["", "\n\u{1f600}\"'<&>", &"é".repeat(256)] {
            call("set", &(key, "5")).unwrap();
            assert_eq!(one("get", key).unwrap().value, Some(Value::new("<string>5</string>")), "{overlay} {key:?}");
        }
    }
    // The only node cannot give its keys to anyone.
    let called: Called = client.call("dht.leave", &());
    assert!(fault(called).string.contains("only node"));
}

#[test]
fn the_shell_shows_routes_and_the_ring() {
    let place = Place::new();
    let port = |index| place.port(index);
    let mut session = place.shell().session();
    session.tell(&format!("dht set color blue {}", port(1)), "Key 'color' is 'blue', in ");
    let lines = session.tell(&format!("dht get color {}", port(3)), "Route: ");
    assert_eq!(lines[0], "blue");
    assert!(lines[1].starts_with(&format!("Route: {}", port(3))), "{lines:?}");
    session.tell(&format!("dht leave {}", port(2)), &format!("Node {} has handed over ", port(2)));
    session.tell(&format!("dht get color {}", port(2)), "Route: ");
    session.tell(&format!("dht join {}", port(2)), &format!("Node {} is part of the ring.", port(2)));
    let lines = session.tell("dht ring", "└");
    assert!(lines[0].contains(": joined, with "), "{lines:?}");
    // They are looked up one after the other.
    until_so("fingers", || place.shell().commands(["dht fingers"]).stdout.contains('└'));
    session.tell(&format!("flood set song tune {}", port(4)), "Key 'song' is 'tune', in 1 copy.");
    assert_eq!(session.tell("flood get song", "Route: ")[0], "tune");
    session.tell(&format!("index set song 'two words' {}", port(4)), "Key 'song' is 'two words', in 1 copy.");
    let lines = session.tell(&format!("index get song {}", port(1)), "Route: ");
    assert_eq!(lines, ["two words".to_owned(), format!("Route: {} → {} → {}.", port(1), port(0), port(4))]);
    session.tell("index remove song", "Key 'song' was removed, 1 copy of it.");
    session.leave();
    // For programs; and what is not there is refused.
    let json = |line: &str| place.shell().with(["--output", "json"]).commands([line]);
    let ran = json(&format!("dht get color {}", port(0)));
    let found: Json = serde_json::from_str(ran.good()[0]).unwrap();
    assert_eq!((&found["value"], found["hops"][0].as_u64()), (&Json::from("blue"), Some(port(0).into())));
    let ran = place.shell().commands(["dht remove nothing"]);
    ran.ended_with(1);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
}
