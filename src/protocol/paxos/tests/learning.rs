//! The learner: pages, whole answers, and what may be counted.

use super::*;
use crate::protocol::Message as HostMessage;
use crate::protocol::paxos::learner::{Answer, Ask, Known};

fn named(number: usize) -> Instance {
    format!("i{number}").parse().unwrap()
}

fn known(instance: Instance, of: &str, text: &str) -> Known {
    Known { instance, ballot: ballot(of), value: value(text) }
}

/// A node that knows so many decisions, each of so many bytes.
fn knowing(count: usize, bytes: usize) -> Paxos {
    let mut durable = Durable::default();
    for number in 0..count {
        let value = Value::new(&"x".repeat(bytes));
        durable.apply(&Record::Decide { instance: named(number), ballot: ballot("1.8000"), value });
    }
    first_of(3, durable)
}

fn step(paxos: &mut Paxos, from: u32, message: Message) -> Vec<Effect> {
    effects(paxos, |paxos, out| paxos.on_message(node(from), message, out))
}

/// All that is said to 8001 among some effects.
fn said(effects: Vec<Effect>) -> Vec<Message> {
    let to_peer = |effect| match effect {
        Effect::Send { to, message: HostMessage::Paxos(message) } if to == node(8001) => Some(message),
        _ => None,
    };
    effects.into_iter().filter_map(to_peer).collect()
}

/// Lets an empty node read all that 8001 knows; tells the sizes of the pages.
fn pages(teacher: &mut Paxos, pupil: &mut Paxos) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut asked = said(effects(pupil, Paxos::on_tick));
    while let Some(ask) = asked.pop() {
        let mut out = Out::default();
        teacher.on_message(node(8000), ask, &mut out);
        let effects: Vec<Effect> = out.drain().collect();
        let [Effect::Send { message: HostMessage::Paxos(answer @ Message::Learned(page)), .. }] = &effects[..] else {
            panic!("{effects:?}")
        };
        sizes.push(page.decided.len());
        asked = said(step(pupil, 8001, answer.clone()));
    }
    sizes
}

#[test]
fn a_long_list_comes_in_pages() {
    for (count, bytes, expected) in [
        (0, 1, vec![0]),
        (1, 1, vec![1]),
        (256, 1, vec![256]),
        (257, 1, vec![256, 1]),
        (700, 1, vec![256, 256, 188]),
        // Pages end after a megabyte, with whole values; a single huge one is a page.
        (5, 400_000, vec![3, 2]),
        (3, 3_000_000, vec![1, 1, 1]),
    ] {
        let (mut teacher, mut pupil) = (knowing(count, bytes), first_of(3, Durable::default()));
        assert_eq!(pages(&mut teacher, &mut pupil), expected, "{count} decisions of {bytes} bytes");
        assert_eq!(pupil.decided_count(), count);
    }
}

#[test]
fn a_number_counts_in_one_life_of_the_peer_only() {
    let mut teacher = knowing(3, 1);
    let ask = |life, after| Message::Learn(Ask { life, after, count: 0, digest: 0, open: Vec::new() });
    let page = |effects: Vec<Effect>| match said(effects).pop() {
        Some(Message::Learned(answer)) => answer,
        other => panic!("{other:?}"),
    };
    let first = page(step(&mut teacher, 8001, ask(None, 0)));
    assert_eq!((first.decided.len(), first.upto, first.more), (3, 3, false));
    // As far as it was read in this life; from the start in another; and never beyond the end.
    for (life, after, expected) in [
        (Some(first.life), 2, 1),
        (Some(first.life), 3, 0),
        (Some(first.life), 4, 0),
        (Some(first.life), u64::MAX, 0),
        (Some(first.life ^ 1), 2, 3),
        (None, 2, 3),
    ] {
        let answer = page(step(&mut teacher, 8001, ask(life, after)));
        assert_eq!((answer.decided.len(), answer.upto), (expected, 3), "life {life:?}, after {after}");
    }
    let mut again = {
        let rng = rand::SeedableRng::seed_from_u64(2);
        Paxos::new(node(8000), members(3), Options::default(), Durable::default(), rng)
    };
    assert_ne!(page(step(&mut again, 8001, ask(None, 0))).life, first.life, "each start is another life");
}

/// 8000 of five has accepted 'A' in 2.8001 and hears what others accepted: so many reports decide, or none does.
fn counting(reports: &[(u32, &str)]) -> bool {
    let mut durable = Durable::default();
    let record = Record::Accept { instance: Instance::default(), ballot: ballot("2.8001"), value: value("A") };
    durable.apply(&record);
    let mut paxos = first_of(5, durable);
    for (from, of) in reports {
        let accepted = vec![known(Instance::default(), of, "A")];
        step(&mut paxos, *from, Message::Learned(Answer { accepted, ..Answer::default() }));
    }
    paxos.remembered(&Instance::default()).unwrap().decided.is_some()
}

#[test]
pub(crate) fn acceptances_count_once_per_node_and_within_one_ballot() {
    // Ours and two others are three of five.
    assert!(counting(&[(8001, "2.8001"), (8002, "2.8001")]));
    assert!(!counting(&[(8001, "2.8001")]));
    // The same node twice.
    assert!(!counting(&[(8001, "2.8001"), (8001, "2.8001")]));
    // Different ballots, in whatever order.
    assert!(!counting(&[(8001, "1.8001"), (8002, "2.8001")]));
    assert!(!counting(&[(8001, "3.8001"), (8002, "2.8001")]));
    assert!(!counting(&[(8001, "3.8001"), (8002, "3.8001")]));
    // A majority without us.
    assert!(counting(&[(8001, "3.8001"), (8002, "3.8001"), (8003, "3.8001")]));
    // Whoever said one thing and then another counts for the latter.
    assert!(!counting(&[(8001, "2.8001"), (8001, "3.8001"), (8002, "2.8001")]));
    assert!(counting(&[(8001, "3.8001"), (8001, "2.8001"), (8002, "2.8001")]));
}

#[test]
pub(crate) fn lessons_of_a_stranger_are_ignored() {
    let mut paxos = first_of(3, Durable::default());
    let decided = vec![known(Instance::default(), "1.8001", "X")];
    for from in [NodeId::GUEST, node(9000)] {
        let message = Message::Learned(Answer { decided: decided.clone(), ..Answer::default() });
        let done = effects(&mut paxos, |paxos, out| paxos.on_message(from, message, out));
        assert!(matches!(done[..], [Effect::Notify(Event::Ignored { .. })]), "{done:?}");
    }
    assert!(paxos.instances().is_empty());
}

#[test]
fn a_full_node_learns_only_about_what_it_holds() {
    let mut durable = Durable::default();
    durable.apply(&Record::Promise { instance: named(1), ballot: ballot("1.8001") });
    let options = Options { max_instances: 1, ..Options::default() };
    let mut paxos = Paxos::new(node(8000), members(3), options, durable, rand::SeedableRng::seed_from_u64(1));
    let decided = vec![known(named(0), "1.8001", "X"), known(named(1), "1.8001", "Y")];
    step(&mut paxos, 8001, Message::Learned(Answer { decided, ..Answer::default() }));
    assert_eq!(paxos.instances().keys().collect::<Vec<_>>(), [&named(1)]);
    assert_eq!(paxos.decided_count(), 1);
}

/// An instance is named as open a while after it was accepted, not at once; and no longer when it is decided.
#[test]
fn open_instances_are_named_after_a_while() {
    let open_after = |ticks: u64| {
        let options = Options { learn_ticks: 1, ..Options::default() };
        let rng = rand::SeedableRng::seed_from_u64(1);
        let mut paxos = Paxos::new(node(8000), members(2), options, Durable::default(), rng);
        for _ in 0..5 {
            effects(&mut paxos, Paxos::on_tick);
        }
        let accept = Message::Accept { instance: Instance::default(), ballot: ballot("1.8001"), value: value("A") };
        step(&mut paxos, 8001, accept);
        let mut last = Vec::new();
        for _ in 0..ticks {
            last = said(effects(&mut paxos, Paxos::on_tick));
        }
        let Some(Message::Learn(ask)) = last.pop() else { panic!("no question") };
        ask.open
    };
    assert!(open_after(19).is_empty());
    assert_eq!(open_after(20), [Instance::default()]);
}

/// An answer about open instances tells the decision if there is one, else the acceptance, else nothing.
#[test]
fn open_instances_are_answered() {
    let mut durable = Durable::default();
    let accept = |number| Record::Accept { instance: named(number), ballot: ballot("1.8001"), value: value("A") };
    durable.apply(&Record::Promise { instance: named(0), ballot: ballot("1.8001") });
    durable.apply(&accept(1));
    durable.apply(&accept(2));
    durable.apply(&Record::Decide { instance: named(2), ballot: ballot("2.8001"), value: value("A") });
    let mut paxos = first_of(3, durable);
    let read = Ask { count: 0, digest: 1, life: None, after: 0, open: (0..4).map(named).collect() };
    let Some(Message::Learned(answer)) = said(step(&mut paxos, 8001, Message::Learn(read))).pop() else {
        panic!("no answer")
    };
    assert_eq!(answer.accepted, [known(named(1), "1.8001", "A")]);
    assert!(answer.decided.iter().all(|decided| *decided == known(named(2), "2.8001", "A")));
    assert!(!answer.decided.is_empty());
}

/// Two nodes that know equally many decisions may know different ones.
#[test]
fn as_many_decisions_are_not_the_same_decisions() {
    let mut teacher = knowing(2, 1);
    let mut durable = Durable::default();
    for number in [1, 2] {
        durable.apply(&Record::Decide { instance: named(number), ballot: ballot("1.8000"), value: value("x") });
    }
    let mut pupil = first_of(3, durable);
    assert_eq!(pages(&mut teacher, &mut pupil), [2]);
    assert_eq!(pupil.decided_count(), 3);
    // With the same ones, in whatever order they were learned, the page is empty.
    let mut durable = Durable::default();
    for number in [1, 0] {
        durable.apply(&Record::Decide { instance: named(number), ballot: ballot("1.8000"), value: value("x") });
    }
    assert_eq!(pages(&mut teacher, &mut first_of(3, durable)), [0]);
}
