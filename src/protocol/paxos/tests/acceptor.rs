//! The acceptor as a table: what it holds, what it is asked, what it does.

use super::*;
use crate::protocol::durable::Remembered;

/// What 8000 does, holding this, when 8001 asks that. `-` is nothing; values stand behind their ballot.
fn check(promised: &str, accepted: &str, asked: &str, expected: &[&str]) {
    let with_value = |text: &str| text.split_once(' ').map(|(b, v)| (ballot(b), value(v)));
    let remembered = Remembered {
        promised: (promised != "-").then(|| ballot(promised)),
        accepted: with_value(accepted),
        decided: None,
    };
    let mut durable = Durable::default();
    if remembered != Remembered::default() {
        durable.instances.insert(Instance::default(), remembered.clone());
    }
    let mut paxos = first_of(3, durable.clone());
    let instance = Instance::default();
    let (kind, rest) = asked.split_once(' ').unwrap();
    let message = match kind {
        "prepare" => Message::Prepare { instance, ballot: ballot(rest) },
        _ => with_value(rest).map(|(ballot, value)| Message::Accept { instance, ballot, value }).unwrap(),
    };
    let done = effects(&mut paxos, |paxos, out| paxos.on_message(node(8001), message, out));
    assert_eq!(shown(&done), expected, "promised {promised}, accepted {accepted}, asked to {asked}");
    // What it holds now is what it held, and what it saved.
    for effect in &done {
        if let Effect::Save(record) = effect {
            durable.apply(record);
        }
    }
    let held = paxos.remembered(&Instance::default()).cloned().unwrap_or_default();
    assert_eq!(held, durable.instances.remove(&Instance::default()).unwrap_or_default(), "{asked}");
}

const LEAP: &str = "8000 ignores 8001: the ballot leaps too far above what was promised here";
const OTHER: &str = "8000 ignores 8001: another value was accepted in this very ballot";

#[test]
pub(crate) fn prepares() {
    let fresh: &[&str] = &["saves promise 2.8001", "→ 8001 Promise 2.8001"];
    // Anything above the promise, by round and then by owner.
    check("-", "-", "prepare 2.8001", fresh);
    check("1.8001", "-", "prepare 2.8001", fresh);
    check("1.8002", "-", "prepare 2.8001", fresh);
    check("2.8000", "-", "prepare 2.8001", fresh);
    check("2.0", "-", "prepare 2.8001", fresh);
    check("-", "-", "prepare 0.8001", &["saves promise 0.8001", "→ 8001 Promise 0.8001"]);
    // The promise itself stands, and is not written again.
    check("2.8001", "-", "prepare 2.8001", &["→ 8001 Promise 2.8001"]);
    // Anything below is refused, and the refusal names what stands in the way.
    check("2.8002", "-", "prepare 2.8001", &["→ 8001 Reject 2.8001, promised 2.8002"]);
    check("3.8000", "-", "prepare 2.8001", &["→ 8001 Reject 2.8001, promised 3.8000"]);
    check("3.8001", "-", "prepare 2.8001", &["→ 8001 Reject 2.8001, promised 3.8001"]);
    // A ballot is its owner's to run.
    check("-", "-", "prepare 2.8002", &["8000 ignores 8001: the ballot is another node's"]);
    check("-", "-", "accept 2.8002 A", &["8000 ignores 8001: the ballot is another node's"]);
    // What was accepted is told with the promise; and not with a refusal.
    let tells: &[&str] = &["saves promise 2.8001", "→ 8001 Promise 2.8001, accepted 1.8002 'A'"];
    check("1.8002", "1.8002 A", "prepare 2.8001", tells);
    check("2.8000", "1.8002 A", "prepare 2.8001", tells);
    check("2.8001", "1.8002 A", "prepare 2.8001", &tells[1..]);
    check("2.8002", "1.8002 A", "prepare 2.8001", &["→ 8001 Reject 2.8001, promised 2.8002"]);
}

#[test]
pub(crate) fn accepts() {
    let fresh: &[&str] = &["saves acceptance 2.8001 'A'", "→ 8001 Accepted 2.8001"];
    // The promise itself, and anything above, whether or not it was ever asked to promise it.
    check("2.8001", "-", "accept 2.8001 A", fresh);
    check("-", "-", "accept 2.8001 A", fresh);
    check("1.8002", "-", "accept 2.8001 A", fresh);
    check("2.8000", "-", "accept 2.8001 A", fresh);
    // A newer ballot overrides, with whatever value.
    check("2.8001", "1.8002 A", "accept 2.8001 A", fresh);
    check("2.8001", "1.8002 B", "accept 2.8001 A", fresh);
    check("1.8002", "1.8002 B", "accept 2.8001 A", fresh);
    // Anything below the promise is refused, even what was accepted before.
    check("2.8002", "-", "accept 2.8001 A", &["→ 8001 Reject 2.8001, promised 2.8002"]);
    check("3.8000", "-", "accept 2.8001 A", &["→ 8001 Reject 2.8001, promised 3.8000"]);
    check("2.8002", "2.8001 A", "accept 2.8001 A", &["→ 8001 Reject 2.8001, promised 2.8002"]);
    // Accepted already: said again, not written again.
    check("2.8001", "2.8001 A", "accept 2.8001 A", &["→ 8001 Accepted 2.8001"]);
    // A second value in one ballot.
    check("2.8001", "2.8001 B", "accept 2.8001 A", &[OTHER]);
}

#[test]
pub(crate) fn leaps() {
    check("-", "-", "prepare 1048576.8001", &["saves promise 1048576.8001", "→ 8001 Promise 1048576.8001"]);
    check("-", "-", "prepare 1048577.8001", &[LEAP]);
    check("-", "-", "accept 1048577.8001 A", &[LEAP]);
    check("7.8002", "-", "prepare 1048583.8001", &["saves promise 1048583.8001", "→ 8001 Promise 1048583.8001"]);
    check("7.8002", "-", "prepare 1048584.8001", &[LEAP]);
    check("7.8002", "-", "accept 18446744073709551615.8001 A", &[LEAP]);
    // At the end of the rounds nothing overflows, and the order still holds.
    let end = "18446744073709551615.8001";
    check(end, "-", &format!("prepare {end}"), &[&format!("→ 8001 Promise {end}")]);
    let above = "18446744073709551615.8002";
    check(above, "-", &format!("prepare {end}"), &[&format!("→ 8001 Reject {end}, promised {above}")]);
}

#[test]
fn what_is_ignored_leaves_no_instance_behind() {
    let mut paxos = first_of(3, Durable::default());
    for round in [MAX_ROUND_LEAP + 1, u64::MAX] {
        let (instance, ballot) = (Instance::default(), Ballot { round, node: node(8001) });
        let message = Message::Prepare { instance, ballot };
        assert_eq!(effects(&mut paxos, |paxos, out| paxos.on_message(node(8001), message, out)).len(), 1);
    }
    assert!(paxos.instances().is_empty());
}
