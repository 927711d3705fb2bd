//! Links that fail on demand, on real nodes and through the shell.

use synod::protocol::types::Instance;
use synod::rpc::answers::{Decided, Proposed, Whose};
use synod::rpc::client::CallError;
use synod::rpc::faults::{BAD_OPTION, NO_LINK, UNAVAILABLE};
use synod::rpc::lab::LinkRow;
use synod::rpc::methods::ProposeOptions;
use synod::xmlrpc::Value;

use crate::support::nodes::{Nodes, fault};
use crate::support::shell::{Place, Shell};
use crate::support::until_so;

const SHORT: ProposeOptions = ProposeOptions { deadline_ms: Some(700), impatient: None, ballot_ms: None };

/// A node that hears all but is heard by nobody: its calls are cut in one case, its answers in the other.
#[test]
fn a_cut_takes_calls_and_answers_of_one_direction() {
    let nodes = Nodes::lab(3);
    let port = |node| i32::from(nodes.ports.at(node));
    for other in [1, 2] {
        let rows: Vec<LinkRow> = nodes.client(0).call("lab.link.cut", &(port(other),)).unwrap();
        assert!(rows.iter().all(|row| row.cut && row.ttl_ms <= 300_000));
    }
    let mute: Result<Proposed, CallError> = nodes.client(0).call("propose", &(5, "mute", SHORT));
    assert_eq!(fault(mute).code, UNAVAILABLE.code, "its Prepare reaches nobody");
    // The answers of nodes 0 and 1 to node 2 are lost: node 2 hears itself only.
    let _: Vec<LinkRow> = nodes.client(1).call("lab.link.cut", &(port(2),)).unwrap();
    let deaf: Result<Proposed, CallError> = nodes.client(2).call("propose", &(6, "deaf", SHORT));
    assert_eq!(fault(deaf).code, UNAVAILABLE.code, "its Prepare is promised by all, and nobody is heard");
    let healed: Value = nodes.client(1).call("lab.link.heal", &()).unwrap();
    assert_eq!(healed, Value::Struct([("healed".to_owned(), Value::Int(1))].into()));
    let proposed: Proposed = nodes.client(2).call("propose", &(7, "healed")).unwrap();
    assert_eq!(proposed.outcome, Whose::Yours);
    // What others say still reaches the mute node.
    until_so("the mute node to hear the decision", || {
        nodes.client(0).call::<_, Decided>("decided", &("healed",)).unwrap().decided
    });
}

#[test]
fn late_messages_arrive_and_lost_ones_do_not() {
    let nodes = Nodes::lab(3);
    let port = |node| i32::from(nodes.ports.at(node));
    for (from, to) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
        let _: Vec<LinkRow> = nodes.client(from).call("lab.link.delay", &(port(to), 60)).unwrap();
    }
    let options = ProposeOptions { ballot_ms: Some(5000), ..ProposeOptions::default() };
    let began = std::time::Instant::now();
    let proposed: Proposed = nodes.client(0).call("propose", &(5, Instance::default(), options)).unwrap();
    assert_eq!((proposed.outcome, proposed.attempts), (Whose::Yours, 1));
    // Two rounds, each there and back.
    assert!(began.elapsed().as_millis() >= 4 * 60, "{:?}", began.elapsed());
    for to in [1, 2] {
        let _: Value = nodes.client(0).call("lab.link.heal", &(port(to),)).unwrap();
        let rows: Vec<LinkRow> = nodes.client(0).call("lab.link.drop", &(port(to), 100)).unwrap();
        assert!(rows.iter().any(|row| row.drop_percent == Some(100) && !row.cut && row.delay_ms.is_none()));
    }
    let lost: Result<Proposed, CallError> = nodes.client(0).call("propose", &(5, "lost", SHORT));
    assert_eq!(fault(lost).code, UNAVAILABLE.code);
    // A restart is a new beginning, also for the links.
    for node in 0..3 {
        let _: Value = nodes.client(node).call("restart", &()).unwrap();
    }
    for node in 0..3 {
        assert_eq!(nodes.client(node).call::<_, Vec<LinkRow>>("lab.link.list", &()).unwrap(), []);
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let nodes = Nodes::lab(1);
    let me = i32::from(nodes.ports.at(0));
    let refused = |method: &str, params: &[i32]| fault(nodes.client(0).call::<_, Value>(method, &params.to_vec())).code;
    for method in ["lab.link.cut", "lab.link.heal"] {
        assert_eq!((refused(method, &[me]), refused(method, &[1])), (NO_LINK.code, NO_LINK.code));
    }
    assert_eq!(refused("lab.link.delay", &[1, 5]), NO_LINK.code);
    let nodes = Nodes::lab(2);
    let other = i32::from(nodes.ports.at(1));
    let refused = |method: &str, params: &[i32]| fault(nodes.client(0).call::<_, Value>(method, &params.to_vec())).code;
    assert_eq!(refused("lab.link.cut", &[other, 3_600_001]), BAD_OPTION.code);
    assert_eq!(refused("lab.link.delay", &[other, 60_001]), BAD_OPTION.code);
    assert_eq!(refused("lab.link.drop", &[other, 101]), BAD_OPTION.code);
    assert_eq!(refused("lab.link.cut", &[other, -1]), -32602);
    assert_eq!(nodes.client(0).call::<_, Vec<LinkRow>>("lab.link.list", &()).unwrap(), []);
    // One whose time is over is gone.
    let _: Value = nodes.client(0).call("lab.link.cut", &(other, 1)).unwrap();
    until_so("the cut to end", || nodes.client(0).call::<_, Vec<LinkRow>>("lab.link.list", &()).unwrap().is_empty());
}

/// The log and the election are cut as well: the majority's side elects a leader and writes, the other one cannot.
#[test]
fn a_partition_from_the_shell_and_back() {
    let place = Place::new();
    let [p0, p1, p2, p3, p4] = [0, 1, 2, 3, 4].map(|node| place.port(node));
    let mut session = place.shell().session();
    session.tell("put color red", "Key 'color'");
    let majority = format!("{p2}, {p3}, {p4} hear only each other: a majority.");
    let lines = session.tell(&format!("partition {p0},{p1} | {p2},{p3},{p4}"), &majority);
    assert_eq!(lines, [format!("{p0}, {p1} hear only each other."), majority]);
    let lines = session.tell("faults", &format!("{p4} → {p1}: cut"));
    assert_eq!(lines.len(), 12, "{lines:?}");
    session.tell("put color blue", "Key 'color'");
    assert_eq!(session.tell("heal", "12 links"), ["12 links are mended."]);
    let all_well = "Nothing is broken: all links work, nothing is held, and all nodes are up.";
    session.tell("faults", all_well);
    session.tell("get color", "blue");
    session.tell(&format!("hold accept {p1} -> all"), &format!("{p1} → {p0}, {p1} → {p2}"));
    session.tell("release", "Nothing is held any more");
    session.tell(&format!("pause {p2}"), &format!("Node {p2} stands still"));
    session.tell("faults", &format!("{p2} stands still"));
    session.tell(&format!("resume {p2}"), &format!("Node {p2} goes on"));
    session.tell("faults", all_well);
    session.leave();
}

/// One message at a time, in the order in which they were held.
#[test]
fn held_messages_are_delivered_step_by_step() {
    let nodes = Nodes::lab(3);
    let [p0, p1, p2] = [0, 1, 2].map(|node| nodes.ports.at(node));
    let shell = |command: &str| Shell::connect(p0).commands([command]);
    shell(&format!("hold accept {p0} -> {p1},{p2}")).good();
    let proposal = Shell::connect(p0).start(&format!("set value 5 on {p0}"));
    until_so("both Accepts to be held", || {
        let rows: Vec<synod::rpc::answers::GateRow> = nodes.client(0).call("lab.gate.list", &()).unwrap();
        rows.iter().filter(|row| row.held >= 1).count() == 2
    });
    let first = shell("step");
    let line = first.good()[0].to_owned();
    let at = if line.ends_with(&format!("{p1}.")) { 1 } else { 2 };
    assert_eq!(line, format!("Delivered: accept {p0} → {}.", nodes.ports.at(at)));
    assert_eq!(proposal.finish().good(), [format!("Node {p0} responded: Value '5' has been updated and committed.")]);
    shell("release").good();
    let nothing = shell("step");
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    shell(&format!("cut {p0} -> {p1}")).good();
    let race = shell(&format!("A_wins {p1} {p2} 1 2"));
    assert!(race.stderr.contains("type heal first"), "{race:?}");
    assert_eq!(shell(&format!("cut {p0} -> 1")).code, Some(2));
}
