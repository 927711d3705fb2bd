//! The proposer where every order or every bound counts.

use super::*;

/// The accepted ballot and value that a promise reports.
type Reported = Option<(&'static str, &'static str)>;

fn promised(of: &str, accepted: Reported) -> Message {
    let accepted = accepted.map(|(of, text)| (ballot(of), value(text)));
    Message::Promise { instance: Instance::default(), ballot: ballot(of), accepted }
}

fn step(paxos: &mut Paxos, from: u32, message: Message) -> Vec<Effect> {
    effects(paxos, |paxos, out| paxos.on_message(node(from), message, out))
}

/// The value of the Accepts among some effects.
fn offered(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { message: crate::protocol::Message::Paxos(Message::Accept { value, .. }), .. } => {
            Some(value.to_string())
        }
        _ => None,
    })
}

/// Whatever the order in which three promises come, and whatever our own acceptor holds, the highest binds.
#[test]
pub(crate) fn adopts_the_highest_in_every_order() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let tables: &[(&str, [Reported; 3], &str)] = &[
        ("-", [None, None, None], "mine"),
        ("-", [None, Some(("1.8001", "A")), None], "A"),
        ("-", [Some(("1.8001", "A")), Some(("3.8001", "C")), Some(("2.8002", "B"))], "C"),
        ("-", [Some(("2.8001", "A")), Some(("2.8003", "C")), Some(("2.8002", "B"))], "C"),
        ("4.8002", [Some(("1.8001", "A")), Some(("3.8001", "C")), None], "own"),
        ("1.8002", [Some(("1.8001", "A")), Some(("1.8003", "C")), None], "C"),
        ("0.8002", [None, None, None], "own"),
    ];
    for (own, reported, expected) in tables {
        for order in orders {
            let mut durable = Durable::default();
            let record = |ballot| Record::Accept { instance: Instance::default(), ballot, value: value("own") };
            if *own != "-" {
                durable.apply(&record(ballot(own)));
            }
            let base = durable.instances.get(&Instance::default()).and_then(|state| state.promised);
            let round = base.map_or(0, |ballot| ballot.round) + 5;
            // So that all that is reported lies below the ballot.
            durable
                .apply(&Record::Promise { instance: Instance::default(), ballot: Ballot { round, node: node(8004) } });
            let running = format!("{}.8000", round + 1);
            let mut paxos = first_of(7, durable);
            effects(&mut paxos, |paxos, out| paxos.propose(proposal(1, "mine"), out));
            let answers: Vec<Vec<Effect>> =
                order.iter().map(|&at| step(&mut paxos, 8001 + at as u32, promised(&running, reported[at]))).collect();
            let values: Vec<Option<String>> = answers.iter().map(|effects| offered(effects)).collect();
            assert_eq!(
                values,
                [None, None, Some((*expected).to_owned())],
                "own {own}, {reported:?} in order {order:?}"
            );
        }
    }
}

/// The Accepts leave with the promise that makes a majority, not before: also of an even number.
#[test]
pub(crate) fn accepts_leave_with_a_majority_of_promises() {
    for (count, needed) in [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)] {
        let mut paxos = first_of(count, Durable::default());
        effects(&mut paxos, |paxos, out| paxos.propose(proposal(1, "A"), out));
        for others in 1..=needed {
            let done = step(&mut paxos, 8000 + others, promised("1.8000", None));
            assert_eq!(offered(&done).is_some(), others == needed, "{others} other promises of {count} nodes");
        }
        // And the decision with the acceptance that makes one: ours is not counted before it is told.
        for others in 1..=needed {
            let accepted = Message::Accepted { instance: Instance::default(), ballot: ballot("1.8000") };
            assert!(step(&mut paxos, 8000 + others, accepted).is_empty(), "{others} acceptances of {count} nodes");
        }
        let accepted = Message::Accepted { instance: Instance::default(), ballot: ballot("1.8000") };
        assert!(!step(&mut paxos, 8000, accepted).is_empty(), "of {count} nodes");
    }
}

/// A pause takes at least a tick; its bound doubles with each attempt, up to the node's longest.
#[test]
fn pauses_grow_within_their_bounds() {
    let mut longest = [0; 10];
    for seed in 0..200 {
        let rng = rand::SeedableRng::seed_from_u64(seed);
        let mut paxos = Paxos::new(node(8000), members(3), Options::default(), Durable::default(), rng);
        let wish = Proposal { deadline_ticks: 100_000, ..proposal(1, "A") };
        effects(&mut paxos, |paxos, out| paxos.propose(wish, out));
        for longest in &mut longest {
            let running = paxos.running_ballot(&Instance::default()).unwrap();
            let promised = Ballot { round: running.round, node: node(8002) };
            let reject = Message::Reject { instance: Instance::default(), ballot: running, promised };
            step(&mut paxos, 8002, reject);
            assert_eq!(paxos.running_ballot(&Instance::default()), None, "it pauses");
            let mut ticks = 0;
            while paxos.running_ballot(&Instance::default()).is_none() {
                effects(&mut paxos, Paxos::on_tick);
                ticks += 1;
            }
            *longest = ticks.max(*longest);
        }
    }
    for (attempts, longest) in (1..).zip(longest) {
        let bound = (1_u64 << attempts).min(Options::default().max_pause_ticks);
        assert!((bound / 2 + 1..=bound).contains(&longest), "{longest} ticks after {attempts} attempts");
    }
}

/// A new ballot is above all that its proposer knows: its own promise, and every rejection.
#[test]
pub(crate) fn a_new_ballot_is_above_all_that_was_heard_of() {
    let mut paxos = first_of(5, Durable::default());
    let wish = Proposal { impatient: 9, ..proposal(1, "A") };
    effects(&mut paxos, |paxos, out| paxos.propose(wish, out));
    for (promised, next) in [("1.8004", "2.8000"), ("9.8001", "10.8000"), ("10.8001", "11.8000")] {
        let running = paxos.running_ballot(&Instance::default()).unwrap();
        let reject = Message::Reject { instance: Instance::default(), ballot: running, promised: ballot(promised) };
        step(&mut paxos, 8001, reject);
        assert_eq!(paxos.running_ballot(&Instance::default()), Some(ballot(next)));
    }
    step(&mut paxos, 8003, Message::Prepare { instance: Instance::default(), ballot: ballot("20.8003") });
    let reject =
        Message::Reject { instance: Instance::default(), ballot: ballot("11.8000"), promised: ballot("11.8002") };
    step(&mut paxos, 8002, reject);
    assert_eq!(paxos.running_ballot(&Instance::default()), Some(ballot("21.8000")));
}

/// When the rounds are used up nobody can propose any more; nothing panics, and the client is told.
#[test]
fn the_last_round() {
    let mut durable = Durable::default();
    let last = Ballot { round: u64::MAX, node: node(8001) };
    durable.apply(&Record::Promise { instance: Instance::default(), ballot: last });
    let mut paxos = first_of(3, durable);
    let wish = Proposal { deadline_ticks: 20, ..proposal(1, "A") };
    assert!(effects(&mut paxos, |paxos, out| paxos.propose(wish, out)).is_empty());
    let all: Vec<Effect> = (0..20).flat_map(|_| effects(&mut paxos, Paxos::on_tick)).collect();
    let told = shown(&all).into_iter().find(|line| line.contains("answers")).unwrap();
    assert!(told.starts_with("8000 answers #1: pre-empted by 18446744073709551615.8001"), "{told}");
}
