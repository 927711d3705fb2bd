//! What is kept without a leader, on processes: the eventual board on both sides of a cut, registers by quorums, logical
//! clocks, and the shell's commands about them.

use std::time::Instant;

use serde::de::IgnoredAny;
use synod::rpc::answers::Status;
use synod::rpc::faults::{APART, HALF_WRITTEN, NOT_FOUND, UNAVAILABLE};
use synod::rpc::strong::WriteOptions;
use synod::rpc::text::shown;
use synod::rpc::weak::RegisterOptions;
use synod::rpc::weak::answers::{BoardStatus, EntryRow, Quorum, ReadAnswer, Watched, Written};

use crate::support::nodes::{Nodes, fault};
use crate::support::shell::{Place, Shell};
use crate::support::{until, until_so};

fn post(nodes: &Nodes, node: usize, text: &str) -> EntryRow {
    nodes.call(node, "board.eventual.post", &(text,))
}

fn modify(nodes: &Nodes, node: usize, entry: &EntryRow, text: &str) -> EntryRow {
    nodes.call(node, "board.eventual.modify", &(entry.id, text))
}

fn texts(nodes: &Nodes, node: usize) -> Vec<String> {
    let rows: Vec<EntryRow> = nodes.call(node, "board.eventual.list", &());
    rows.into_iter().filter_map(|row| row.text).collect()
}

fn status(nodes: &Nodes, node: usize) -> BoardStatus {
    nodes.call(node, "board.eventual.status", &())
}

fn digests_are_equal(nodes: &Nodes) -> bool {
    let first = status(nodes, 0).digest;
    nodes.all().all(|node| status(nodes, node).digest == first)
}

/// Cuts every link between the two sides, in both directions: what is said meanwhile is lost.
fn cut(nodes: &Nodes, one: &[usize], other: &[usize]) {
    for (from, to) in one.iter().flat_map(|one| other.iter().map(move |other| (*one, *other))) {
        let _: IgnoredAny = nodes.call(from, "lab.link.cut", &(nodes.ports.at(to),));
        let _: IgnoredAny = nodes.call(to, "lab.link.cut", &(nodes.ports.at(from),));
    }
}

fn heal(nodes: &Nodes) {
    nodes.all().for_each(|node| _ = nodes.call::<IgnoredAny>(node, "lab.link.heal", &()));
}

#[test]
fn both_halves_serve_and_converge_when_they_meet() {
    let nodes = Nodes::lab(5);
    let (kept, doomed) = (post(&nodes, 0, "kept"), post(&nodes, 1, "doomed"));
    until_so("both posts everywhere", || nodes.all().all(|node| texts(&nodes, node).len() == 2));
    cut(&nodes, &[0, 1], &[2, 3, 4]);
    // Both sides post, modify the same entry, and one deletes what the other modifies.
    post(&nodes, 0, "left");
    post(&nodes, 4, "right");
    let left = modify(&nodes, 1, &kept, "kept, left");
    let once = modify(&nodes, 2, &kept, "kept, right");
    let right = modify(&nodes, 3, &kept, "kept, right again");
    assert!((right.clock, right.server) > (left.clock, left.server).max((once.clock, once.server)));
    let gone: EntryRow = nodes.call(4, "board.eventual.delete", &(doomed.id,));
    let late = modify(&nodes, 0, &doomed, "not doomed here");
    assert!(late.clock >= gone.clock, "the modification has the higher stamp, and loses all the same");
    until_so("the left side to agree", || status(&nodes, 0).digest == status(&nodes, 1).digest);
    until_so("the right side to agree", || {
        status(&nodes, 2).digest == status(&nodes, 3).digest && status(&nodes, 3).digest == status(&nodes, 4).digest
    });
    assert_eq!(texts(&nodes, 0), ["kept, left", "not doomed here", "left"]);
    assert_eq!(texts(&nodes, 4), ["kept, right again", "right"]);
    assert!(status(&nodes, 0).pending > 0 && status(&nodes, 4).pending > 0);
    // Meanwhile what asks a majority is not served by the minority.
    let options = WriteOptions { deadline_ms: Some(300), ..WriteOptions::default() };
    let strong = fault(nodes.client(0).call::<_, IgnoredAny>("kv.put", &("x", 1, options)));
    assert!([UNAVAILABLE.code, 102].contains(&strong.code), "{strong}");
    let options = RegisterOptions { deadline_ms: Some(300) };
    let register = fault(nodes.client(0).call::<_, Written>("register.write", &("x", 1, options)));
    assert_eq!(register.code, UNAVAILABLE.code, "{register}");

    let healed = Instant::now();
    heal(&nodes);
    until_so("equal digests", || digests_are_equal(&nodes));
    println!("equal digests on all five nodes {} ms after the links were back", healed.elapsed().as_millis());
    for node in nodes.all() {
        let mut texts = texts(&nodes, node);
        texts.sort_unstable();
        assert_eq!(texts, ["kept, right again", "left", "right"], "node {node}");
    }
    until_so("all of it everywhere", || nodes.all().all(|node| status(&nodes, node).pending == 0));
    until_so("the tombstones to go", || nodes.all().all(|node| status(&nodes, node).tombstones == 0));
    let fault = fault(nodes.client(0).call::<_, EntryRow>("board.eventual.modify", &(doomed.id, "x")));
    assert_eq!(fault.code, NOT_FOUND.code, "{fault}");
}

#[test]
fn what_was_answered_survives_sigkill() {
    let mut nodes = Nodes::lab(3);
    cut(&nodes, &[0], &[1, 2]);
    // Nobody but node 0 has heard of these when it dies.
    let first = post(&nodes, 0, "first");
    let second = post(&nodes, 0, "second");
    let _: EntryRow = nodes.call(0, "board.eventual.delete", &(first.id,));
    nodes.kill(0);
    nodes.start(0);
    assert_eq!(texts(&nodes, 0), ["second"]);
    until_so("the others to be told", || nodes.all().all(|node| texts(&nodes, node) == ["second"]));
    // Stamps are not used again.
    assert!(post(&nodes, 0, "third").clock > second.clock + 1);
    let written: Written = nodes.call(1, "register.write", &("x", 5));
    nodes.kill_all();
    nodes.start_those_down();
    let read: ReadAnswer = nodes.call(2, "register.read", &("x",));
    assert_eq!((read.timestamp, read.value.as_ref().map(shown)), (Some(written.timestamp), Some("5".to_owned())));
    until_so("the same board as before", || nodes.all().all(|node| texts(&nodes, node) == ["second", "third"]));
}

#[test]
fn a_watch_tells_what_other_nodes_did() {
    let nodes = Nodes::lab(3);
    let since = status(&nodes, 2).changes;
    let client = nodes.client(2).clone();
    let waits = std::thread::spawn(move || client.call::<_, Watched>("board.eventual.watch", &(since, 60_000)));
    let posted = post(&nodes, 0, "news");
    let watched = waits.join().unwrap().unwrap();
    assert_eq!(watched.events[0].entry, posted);
    assert_eq!((watched.events[0].what.as_str(), watched.next), ("posted", since + 1));
}

#[test]
fn a_write_that_too_few_hold_is_not_known_to_be_written() {
    let nodes = Nodes::lab(3);
    let _: Written = nodes.call(0, "register.write", &("x", "old"));
    nodes.hold(0, "register.store", 1..3);
    let options = RegisterOptions { deadline_ms: Some(300) };
    let unknown = fault(nodes.client(0).call::<_, Written>("register.write", &("x", "new", options)));
    assert_eq!(unknown.code, HALF_WRITTEN.code, "{unknown}");
    assert!(unknown.string.contains("outcome unknown") && unknown.string.contains("needed"), "{unknown}");
    let _: IgnoredAny = nodes.call(0, "lab.gate.clear", &());
    // A read that meets it writes it back; from then on all reads find it.
    let read: ReadAnswer = nodes.call(0, "register.read", &("x",));
    assert_eq!(read.value.as_ref().map(shown).as_deref(), Some("new"));
    for node in nodes.all() {
        let read: ReadAnswer = nodes.call(node, "register.read", &("x",));
        assert_eq!(read.value.as_ref().map(shown).as_deref(), Some("new"), "node {node}");
    }
}

#[test]
fn in_service_no_quorum_is_below_a_majority() {
    let nodes = Nodes::service(3);
    let quorum: Quorum = nodes.call(0, "register.quorum", &());
    assert_eq!((quorum.read, quorum.write, quorum.nodes, quorum.intersect), (2, 2, 3, true));
    for sizes in [(1, 1), (1, 3), (3, 1)] {
        let fault = fault(nodes.client(0).call::<_, Quorum>("register.quorum", &sizes));
        assert_eq!(fault.code, APART.code, "{fault}");
    }
    let quorum: Quorum = nodes.call(0, "register.quorum", &(3, 2));
    assert_eq!((quorum.read, quorum.write, quorum.intersect), (3, 2, true));
    let _: Written = nodes.call(0, "register.write", &("x", 1));
}

#[test]
fn clocks_go_on_from_what_is_heard() {
    let nodes = Nodes::lab(3);
    let clock = |node: usize| nodes.call::<Status>(node, "status", &()).clock;
    let id = |node: usize| nodes.ports.at(node).to_string();
    let own = |node: usize| clock(node).vector.get(&id(node)).copied().unwrap_or(0);
    // Heartbeats alone make every node hear of every other's events.
    until_so("all to hear of all", || nodes.all().all(|node| clock(node).vector.len() == 3));
    let before = own(0);
    post(&nodes, 0, "an event");
    let heard = until("node 1 to hear of it", || {
        let clock = clock(1);
        (clock.vector[&id(0)] > before).then_some(clock)
    });
    // What could have caused something has a lower Lamport clock; no node knows more of another than that one itself.
    assert!(heard.lamport > before && heard.vector[&id(0)] <= own(0));
    let (first, second) = (own(2), own(2));
    assert!(first <= second);
}

#[test]
fn the_shell_shows_both_boards_while_links_are_cut() {
    let nodes = Nodes::lab(3);
    let ports: Vec<u16> = nodes.ports.all();
    until_so("a leader", || nodes.client(0).call::<_, IgnoredAny>("board.strong.post", &("strong",)).is_ok());
    let shell = |commands: &[String]| Shell::connect(ports[0]).commands(commands.iter().map(String::as_str));
    let ran = shell(&[format!("board eventual post hello on {}", ports[1])]);
    let line = ran.good()[0];
    let id = line.strip_prefix("Entry ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert!(line.ends_with(&format!("was posted at {} (stamp {id}).", ports[1])), "{line}");
    until_so("the entry everywhere", || nodes.all().all(|node| texts(&nodes, node) == ["hello"]));
    let ran = shell(&["board diff".to_owned()]);
    assert_eq!(
        ran.good(),
        ["The strong board: all nodes show the same 1 posts.", "The eventual board: all nodes show the same 1 posts.",]
    );
    cut(&nodes, &[0], &[1, 2]);
    let ran = shell(&[
        format!("board eventual modify {id} cut off on {}", ports[0]),
        format!("board eventual modify {id} \"on the other side\" on {}", ports[2]),
        format!("board eventual show on {}", ports[0]),
    ]);
    let shows = ran.good().join("\n");
    assert!(shows.contains("cut off") && !shows.contains("on the other side"), "{shows}");
    until_so("the other side to agree", || texts(&nodes, 1) == ["on the other side"]);
    let lines = shell(&["board diff".to_owned()]).good().join("\n");
    assert!(lines.contains("The eventual board: 0 posts are the same on all nodes, 1 are not"), "{lines}");
    assert!(lines.contains("cut off") && lines.contains("on the other side"), "{lines}");
    heal(&nodes);
    until_so("equal digests", || digests_are_equal(&nodes));
    let ran = shell(&[format!("board eventual delete {id}"), "board eventual status".to_owned()]);
    let lines = ran.good().join("\n");
    assert!(lines.contains("was deleted") && lines.contains("not yet everywhere"), "{lines}");
    let ran = shell(&[format!("board eventual delete {id}")]);
    assert_eq!(ran.code, Some(1));
    ran.complains(&["there is no entry"]);
}

#[test]
fn the_shell_shows_a_stale_read_and_lost_updates() {
    let place = Place::new();
    let script =
        "register write x 5\nregister read x\nregister quorum\nregister stale\nregister quorum\nclock\nmutex demo 3\n";
    let ran = place.shell().run(script);
    let lines = ran.good();
    let text = lines.join("\n");
    assert!(lines[0].starts_with("Register 'x' is '5' (timestamp 1."), "{text}");
    assert_eq!(lines[1], "5");
    assert!(text.contains("That is a stale read"), "{text}");
    assert!(text.contains("and returns 'old'") && text.contains("nothing answered was missed"), "{text}");
    // Nothing is left behind: the sizes are what they were.
    let sizes = lines.iter().filter(|line| line.contains("a read asks 3 of 5, a write 3.")).count();
    assert_eq!(sizes, 10, "{text}");
    assert!(text.contains("Lamport"), "{text}");
    assert!(text.contains("With the lock 'mutex-demo': 15 of 15."), "{text}");
    assert!(text.contains("Without the lock: "), "{text}");
}
