//! What happened, from real nodes: kept, joined in causal order, drawn, explained and saved.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use serde_json::Value as Json;
use synod::lab::trace::merge::{Part, merge};
use synod::lab::trace::{Kind, Trace};
use synod::node::status::StrongStatus;
use synod::protocol::clock::Relation;
use synod::rpc::faults::BAD_OPTION;
use synod::rpc::lab::TracePage;
use synod::xmlrpc::Value;
use tempfile::TempDir;

use crate::support::nodes::{Nodes, fault};
use crate::support::process::Process;
use crate::support::shell::{Place, Shell};
use crate::support::until_so;

/// All that a node keeps, a few events at a time.
fn all(nodes: &Nodes, node: usize) -> Part {
    let (mut rows, mut next) = (Vec::new(), 0);
    loop {
        let page: TracePage = nodes.client(node).call("lab.trace", &(next, 50)).unwrap();
        assert!(page.on && page.lost == 0 && page.next >= next && page.last >= page.next);
        if page.events.is_empty() {
            return Part { node: nodes.ports.at(node).into(), offset_us: 0, rows };
        }
        assert!(page.events.iter().zip(next..).all(|(row, seq)| row.seq == seq));
        next = page.next;
        rows.extend(page.events);
    }
}

#[test]
fn nodes_keep_what_happens_and_it_joins_in_causal_order() {
    let nodes = Nodes::lab(3);
    until_so("a leader", || {
        let status = |node| nodes.client(node).call::<_, StrongStatus>("bully.status", &()).unwrap();
        nodes.all().all(|node| status(node).leader.is_some())
    });
    nodes.propose(0, 5, "default");
    nodes.all_learn("default", "5");
    let ids: Vec<u32> = nodes.all().map(|node| nodes.ports.at(node).into()).collect();
    let trace = merge(ids, nodes.all().map(|node| all(&nodes, node)).collect());
    let parsed = |id: &str| {
        let (from, count) = id.split_once(':').unwrap();
        (from.to_owned(), count.parse::<u64>().unwrap())
    };
    let sends = trace.events.iter().filter(|event| event.kind == Kind::Send);
    let last_sent: BTreeMap<String, u64> = sends.map(|event| parsed(event.message.as_ref().unwrap())).collect();
    let mut sent = BTreeMap::new();
    let mut received = 0;
    for event in &trace.events {
        match (event.kind, &event.message) {
            (Kind::Send, Some(id)) => assert!(sent.insert(id.clone(), event).is_none(), "{id} is sent twice"),
            (Kind::Receive, Some(id)) => {
                let Some(send) = sent.get(id) else {
                    // The nodes are read one after the other: its sender was, before it sent this.
                    let (from, count) = parsed(id);
                    assert!(last_sent[&from] < count, "{id} is received before it is sent: {event:?}");
                    continue;
                };
                assert_eq!(send.compare(event), Some(Relation::Before), "{send:?} {event:?}");
                assert_eq!((send.name.as_ref(), send.peer), (event.name.as_ref(), event.node));
                received += 1;
            }
            _ => {}
        }
    }
    assert!(received >= 8, "{received}");
    let names = ["Proposing", "Prepare", "Promise", "Accept", "Accepted", "Decided", "Coordinates", "log.prepare"];
    for name in names {
        assert!(trace.events.iter().any(|event| event.name.as_deref() == Some(name)), "{name}");
    }
    assert!(trace.events.iter().all(|event| event.name.as_deref() != Some("bully.heartbeat")));
    // Switched off it keeps nothing more; cleared it has nothing.
    let _: Value = nodes.client(0).call("lab.trace.switch", &(false,)).unwrap();
    let _: Value = nodes.client(0).call("lab.trace.clear", &()).unwrap();
    nodes.propose(0, 6, "unseen");
    let page: TracePage = nodes.client(0).call("lab.trace", &(0, 1000)).unwrap();
    assert!(!page.on && page.events.is_empty());
    let refused = fault(nodes.client(0).call::<_, Value>("lab.trace", &(0, 1001)));
    assert_eq!(refused.code, BAD_OPTION.code);
}

#[test]
fn a_lossy_link_and_a_gate_are_in_the_trace() {
    let nodes = Nodes::lab(3);
    let port = |node| i32::from(nodes.ports.at(node));
    let _: Value = nodes.client(0).call("lab.link.cut", &(port(1),)).unwrap();
    nodes.hold(0, "accept", [2]);
    let proposal = nodes.start_proposal(0, "x");
    nodes.wait_held(0, "accept", [2]);
    nodes.release(0, "accept", [2]);
    proposal.join().unwrap().unwrap();
    let rows = all(&nodes, 0).rows;
    let has = |kind, name: &str, to| {
        rows.iter().any(|row| row.kind == kind && row.name.as_deref() == Some(name) && row.peer == Some(to))
    };
    assert!(has(Kind::Lose, "Prepare", nodes.ports.at(1).into()));
    assert!(has(Kind::Hold, "Accept", nodes.ports.at(2).into()));
    assert!(has(Kind::Release, "Accept", nodes.ports.at(2).into()));
}

/// Runs a script, and gives the object of each command.
#[track_caller]
fn objects(shell: Shell, script: &str) -> Vec<Json> {
    let ran = shell.with(["--output", "json"]).run(script);
    ran.good().into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(object: &Json, member: &str) -> String {
    let lines = object[member].as_array().unwrap_or_else(|| panic!("{member}: {object}"));
    lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// Every race is drawn if wanted, explained, saved, and drawn from the file.
#[test]
fn races_are_drawn_explained_and_saved() {
    let place = Place::new();
    let files = TempDir::new().unwrap();
    let [p0, p1] = [0, 1].map(|node| place.port(node));
    let file = |name: &str| files.path().join(name).display().to_string();
    let saved = file("run.jsonl");
    let races = ["A_wins", "B_wins", "BB_wins", "livelock"];
    let mut script = String::new();
    for (race, ending) in races.into_iter().zip(["svg", "html", "mmd", "log"]) {
        let diagram = if race == "A_wins" { "set diagram on\nset diagram off\n" } else { "" };
        script.push_str(&format!(
            "{diagram}{race} {p0} {p1} red blue --diagram\nexplain\nexplain adopt\ndiagram {}\ntrace save {saved}\n\
             diagram --from {saved}\nrestart\n",
            file(&format!("{race}.{ending}"))
        ));
    }
    let objects = objects(place.shell(), &script);
    for (race, says) in races.into_iter().zip([
        "had to begin before 'red' was chosen",
        "had to be promised by a majority without",
        "They came too late.",
        "a majority, and it is chosen.",
    ]) {
        let at = objects.iter().position(|object| object["command"].as_str().unwrap().starts_with(race)).unwrap();
        let drawn = objects[at]["diagram"].as_str().unwrap();
        assert!(drawn.contains("✓ 3 of 5") && drawn.contains("◎") && drawn.contains('▶'), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
        let told = lines(&objects[at + 1], "explanation");
        assert!(told.contains(says) && told.contains(&format!("1.{p0}")), "{race}: {told}");
        assert!(lines(&objects[at + 2], "explanation").contains("In your last run"), "{race}");
        let from_file = objects[at + 5]["diagram"].as_str().unwrap();
        assert!(from_file.contains("✓ 3 of 5"), "{from_file}");
    }
    let trace = Trace::read(&fs::read_to_string(&saved).unwrap()).unwrap();
    assert_eq!(trace.header.nodes.len(), 5);
    for (name, begins) in [
        ("A_wins.svg", "<svg "),
        ("B_wins.html", "<!DOCTYPE html>"),
        ("BB_wins.mmd", "sequenceDiagram"),
        ("livelock.log", "(?<host>"),
    ] {
        assert!(fs::read_to_string(file(name)).unwrap().starts_with(begins), "{name}");
    }
    let wrong = Shell::connect(p0).commands(["diagram --from nowhere.jsonl"]);
    assert_eq!(wrong.code, Some(3), "nobody listens any more: {wrong:?}");
}

#[test]
fn events_have_names_that_can_be_compared() {
    let nodes = Nodes::lab(3);
    let shell = || Shell::connect(nodes.ports.at(0));
    let first = nodes.ports.at(0);
    let objects = objects(shell(), &format!("set value 5 on {first}\ntrace show 400\n"));
    let events = objects[1]["events"].as_array().unwrap();
    let find =
        |kind: &str, name: &str| events.iter().find(|event| event["kind"] == kind && event["name"] == name).unwrap();
    let send = find("send", "Prepare");
    let receive =
        events.iter().find(|event| event["kind"] == "receive" && event["message"] == send["message"]).unwrap();
    let lane = nodes.all().find(|&node| receive["node"] == nodes.ports.at(node)).unwrap();
    let (one, other) = (send["message"].as_str().unwrap(), format!("{}:{}", receive["node"], receive["clock"][lane]));
    let compare = |one: &str, other: &str| shell().commands([format!("happened-before {one} {other}")]);
    let says = |text: &str| format!("{one} happened before {other}: {text}");
    assert_eq!(compare(one, &other).good()[2], says("it may have caused it."));
    assert_eq!(compare(&other, one).good()[2], says("it may have caused it."));
    assert_eq!(compare(one, one).good()[2], format!("{one} and {one} are one event."));
    compare(one, "1:1").complains(&["no event 1:1 is kept"]);
    let strange = shell().commands(["diagram picture.png"]);
    assert_eq!(strange.code, Some(2));
    strange.complains(&["ends in .svg, .html, .mmd"]);
}

#[test]
fn a_lost_leader_is_explained_and_so_is_a_write() {
    let place = Place::new();
    let mut session = place.shell().with(["--output", "json"]).session();
    let mut ask = |command: &str| -> Json { serde_json::from_str(&session.tell(command, "{")[0]).unwrap() };
    ask("put color red");
    let told = lines(&ask("explain"), "explanation");
    assert!(told.contains("it became entry") && told.contains("a majority: the entry is chosen for good"), "{told}");
    let leader = ask("leader")["leader"].clone();
    ask(&format!("crash {leader}"));
    until_so("another leader", || {
        let now = &ask("leader")["leader"];
        now.is_u64() && *now != leader
    });
    let told = lines(&ask("explain"), "explanation");
    assert!(told.contains(&format!(" no longer heard {leader}")) && told.contains(" won: "), "{told}");
    assert!(told.contains(&format!("{leader} crashed")) && told.contains("promised it, "), "{told}");
    let drawn = ask("diagram");
    let drawn = drawn["diagram"].as_str().unwrap();
    assert!(drawn.contains("crashes") && drawn.contains("leads, epoch"), "{drawn}");
    let told = lines(&ask("explain roles"), "explanation");
    assert!(told.contains("A proposer takes") && told.contains("try 'B_wins'"), "{told}");
    session.leave();
}

#[test]
fn the_status_can_be_watched() {
    let nodes = Nodes::lab(3);
    let address = format!("127.0.0.1:{}", nodes.ports.first());
    let once = Shell::bare().with(["status", "--connect", &address]).run("");
    assert!(once.good().join("\n").contains("3 of 3 nodes are up"));
    let file = TempDir::new().unwrap();
    let out = file.path().join("out");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_synod"));
    command.args(["status", "--connect", &address, "--watch", "0.1"]).stdin(Stdio::null());
    let process = Process(command.stdout(fs::File::create(&out).unwrap()).spawn().unwrap());
    until_so("three looks", || fs::read_to_string(&out).unwrap().matches("3 of 3 nodes are up").count() >= 3);
    process.signal("INT");
    let mut process = process;
    assert_eq!(process.ended().code(), Some(0));
}
