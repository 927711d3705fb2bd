//! Traces: the same again, whole, and in causal order.

use std::collections::{BTreeMap, BTreeSet};

use super::super::trace::{Event, Kind, Trace};
use super::*;

#[test]
fn a_trace_replays_equal_from_its_own_header() {
    for seed in [3, 44, 555] {
        let options = Options { faults: "all,crash=1..4".parse().unwrap(), ..Options::default() };
        let (report, trace) = traced(seed, options);
        let mut lines = Vec::new();
        trace.write(&mut lines).unwrap();
        let read = Trace::read(&String::from_utf8(lines).unwrap()).unwrap();
        assert_eq!(read, trace);
        let (again, retraced) = traced(read.header.seed.unwrap(), read.header.options().unwrap());
        assert_eq!(retraced, trace);
        assert_eq!(again, report);
        // A trace changes nothing.
        assert_eq!(run(seed, options), report);
    }
}

#[test]
fn clocks_tell_what_may_have_caused_what() {
    let (_, trace) = traced(44, Options::default());
    let mut sent: BTreeMap<String, &Event> = BTreeMap::new();
    let mut last: BTreeMap<u32, &Event> = BTreeMap::new();
    let mut received = 0;
    let precedes = |one: &Event, other: &Event| {
        one.clock != other.clock && one.clock.iter().zip(&other.clock).all(|(one, other)| one <= other)
    };
    for event in &trace.events {
        let Some(node) = event.node else { continue };
        if let Some(before) = last.insert(node, event) {
            assert!(precedes(before, event), "{before:?} {event:?}");
        }
        match (event.kind, event.message.clone()) {
            (Kind::Send, Some(id)) => assert!(sent.insert(id, event).is_none()),
            (Kind::Receive, Some(id)) => {
                received += 1;
                assert!(precedes(sent[&id], event), "{event:?}");
                assert_eq!(sent[&id].name, event.name);
            }
            _ => {}
        }
    }
    assert!(received > 100);
}

#[test]
fn a_storm_shows_everything_that_can_happen() {
    let mut kinds = BTreeSet::new();
    for seed in 0..60 {
        let (_, trace) = traced(seed, Options::default());
        kinds.extend(trace.events.iter().map(|event| format!("{:?}", event.kind)));
    }
    let all = "Call Clock Crash Cut Double Lose Mend Note Pause Phase Quarantine Receive Restart Resume Save Send Start \
               Sync Tell";
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(" "), all);
}

#[test]
fn broken_traces_are_refused() {
    for (text, says) in [
        ("", "empty"),
        ("{}", "line 1"),
        (r#"{"synod_trace":1,"seed":1,"nodes":[],"steps":1,"faults":"all"}"#, "version 1"),
        (r#"{"synod_trace":2,"seed":1,"nodes":[],"steps":1,"faults":"fire"}"#, "'fire' is no fault"),
        ("{\"synod_trace\":2,\"nodes\":[1]}\n{\"step\":1}", "line 2"),
        (
            "{\"synod_trace\":2,\"nodes\":[1]}\n{\"clock\":[1,2],\"kind\":\"save\",\"text\":\"\"}",
            "2 entries for 1 nodes",
        ),
    ] {
        let error = Trace::read(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}
