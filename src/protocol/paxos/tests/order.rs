//! The order of effects, which is the safety argument; and that the same inputs give the same effects.

use super::*;

fn at(paxos: &mut Paxos, from: u32, message: Message) -> Vec<String> {
    shown(&effects(paxos, |paxos, out| paxos.on_message(node(from), message, out)))
}

fn propose(paxos: &mut Paxos, request: u64, text: &str) -> Vec<String> {
    shown(&effects(paxos, |paxos, out| paxos.propose(proposal(request, text), out)))
}

fn promise(of: &str) -> Message {
    Message::Promise { instance: Instance::default(), ballot: ballot(of), accepted: None }
}

fn accept(of: &str, text: &str) -> Message {
    Message::Accept { instance: Instance::default(), ballot: ballot(of), value: value(text) }
}

fn accepted(of: &str) -> Message {
    Message::Accepted { instance: Instance::default(), ballot: ballot(of) }
}

#[test]
fn a_whole_ballot() {
    let mut paxos = first_of(3, Durable::default());
    // Our own promise is on disk before anyone hears of the ballot: it is never used again.
    assert_eq!(
        propose(&mut paxos, 1, "A"),
        ["saves promise 1.8000", "8000 runs 1.8000", "→ 8001 Prepare 1.8000", "→ 8002 Prepare 1.8000"]
    );
    // To the others first: they write while our own acceptor does. Nothing is saved before these leave.
    assert_eq!(
        at(&mut paxos, 8001, promise("1.8000")),
        ["→ 8001 Accept 1.8000 'A'", "→ 8002 Accept 1.8000 'A'", "→ 8000 Accept 1.8000 'A'"]
    );
    // Our own acceptor says so only after its write, like any other.
    assert_eq!(at(&mut paxos, 8000, accept("1.8000", "A")), ["saves acceptance 1.8000 'A'", "→ 8000 Accepted 1.8000"]);
    assert!(at(&mut paxos, 8000, accepted("1.8000")).is_empty());
    // The Commits rest on what the acceptors saved, so they need not wait; the client's answer must.
    assert_eq!(
        at(&mut paxos, 8002, accepted("1.8000")),
        [
            "→ 8001 Commit 1.8000 'A'",
            "→ 8002 Commit 1.8000 'A'",
            "saves decision 'A' in 1.8000",
            "8000 learns 'A' in 1.8000",
            "8000 answers #1: chosen 'A' in 1.8000 (yours, 1 attempt)"
        ]
    );
    // Late answers change nothing.
    assert!(at(&mut paxos, 8001, accepted("1.8000")).is_empty());
    assert!(at(&mut paxos, 8002, promise("1.8000")).is_empty());
}

#[test]
fn a_decision_is_saved_where_a_client_waits_and_noted_elsewhere() {
    let commit = Message::Commit { instance: Instance::default(), ballot: ballot("1.8001"), value: value("B") };
    let mut paxos = first_of(3, Durable::default());
    assert_eq!(
        at(&mut paxos, 8001, commit.clone()),
        ["notes decision 'B' in 1.8001", "8000 learns 'B' in 1.8001", "→ 8001 Committed 1.8001"]
    );
    let mut paxos = first_of(3, Durable::default());
    propose(&mut paxos, 1, "A");
    assert_eq!(
        at(&mut paxos, 8001, commit),
        [
            "saves decision 'B' in 1.8001",
            "8000 learns 'B' in 1.8001",
            "8000 answers #1: chosen 'B' in 1.8001 (another's, 1 attempt)",
            "→ 8001 Committed 1.8001"
        ]
    );
}

#[test]
fn a_cluster_of_one_agrees_with_itself() {
    let mut paxos = first_of(1, Durable::default());
    assert_eq!(propose(&mut paxos, 1, "A"), ["saves promise 1.8000", "8000 runs 1.8000", "→ 8000 Accept 1.8000 'A'"]);
    at(&mut paxos, 8000, accept("1.8000", "A"));
    assert_eq!(
        at(&mut paxos, 8000, accepted("1.8000")),
        [
            "saves decision 'A' in 1.8000",
            "8000 learns 'A' in 1.8000",
            "8000 answers #1: chosen 'A' in 1.8000 (yours, 1 attempt)"
        ]
    );
}

/// Many ballots that nobody answers, until the client's time is up.
fn lonely_run(seed: u64) -> Vec<Effect> {
    let rng = rand::SeedableRng::seed_from_u64(seed);
    let mut paxos = Paxos::new(node(8000), members(5), Options::default(), Durable::default(), rng);
    let mut all = effects(&mut paxos, |paxos, out| paxos.propose(proposal(1, "A"), out));
    for tick in 0..500_u64 {
        all.extend(effects(&mut paxos, Paxos::on_tick));
        // A marker, so that when something happens counts as well.
        all.push(Effect::Notify(Event::Restarted { generation: tick }));
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    assert_eq!(lonely_run(7), lonely_run(7));
    assert_ne!(lonely_run(7), lonely_run(8), "the pauses are random");
}
