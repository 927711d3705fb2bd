//! Generations: who follows whom, what is dropped, and where a lab ends that is restarted node by node.

use super::*;
use crate::protocol::Effect;
use crate::protocol::paxos;
use crate::protocol::types::{Ballot, Instance, RequestId, Value};

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn host(id: u32, durable: Durable) -> Host {
    Host::new(
        node(id),
        Members::new((1..=3).map(node)).unwrap(),
        Options { lab: true, ..Options::default() },
        durable,
        7,
    )
}

/// In this generation, told or followed, with or without a promise in memory.
fn remembering(generation: u64, followed: bool, knows: bool) -> Durable {
    let mut durable = Durable { generation, followed, ..Durable::default() };
    if knows {
        durable.apply(&Record::Promise { instance: Instance::default(), ballot: ballot(4, 1) });
    }
    durable
}

fn ballot(round: u64, owner: u32) -> Ballot {
    Ballot { round, node: node(owner) }
}

fn prepare(round: u64, owner: u32) -> Message {
    paxos::Message::Prepare { instance: Instance::default(), ballot: ballot(round, owner) }.into()
}

fn effects(host: &mut Host, input: impl FnOnce(&mut Host, &mut Out)) -> Vec<Effect> {
    let mut out = Out::default();
    input(host, &mut out);
    out.drain().collect()
}

fn of(from: u32, generation: u64) -> Sender {
    Sender { from: node(from), generation: Some(generation) }
}

/// Where a node is after a message, whether it forgot, and what it answered.
#[test]
pub(crate) fn messages_across_generations() {
    let elsewhere = Some(Message::Elsewhere);
    let promise = |accepted| {
        let (instance, ballot) = (Instance::default(), ballot(5, 2));
        Some(Message::from(paxos::Message::Promise { instance, ballot, accepted }))
    };
    // (own generation, the message's, the message) -> (generation afterwards, forgot, answer)
    let table = [
        (3, 3, prepare(5, 2), (3, false, promise(None))),
        (3, 2, prepare(5, 2), (3, false, elsewhere.clone())),
        (3, 0, prepare(5, 2), (3, false, elsewhere.clone())),
        (3, 4, prepare(5, 2), (4, true, promise(None))),
        (3, 9, prepare(5, 2), (9, true, promise(None))),
        // Elsewhere is never answered, or two nodes would go on for ever.
        (3, 2, Message::Elsewhere, (3, false, None)),
        (3, 3, Message::Elsewhere, (3, false, None)),
        (3, 4, Message::Elsewhere, (4, true, None)),
    ];
    for (own, other, message, (expected, forgets, answer)) in table {
        let mut host = host(1, remembering(own, false, true));
        let done = effects(&mut host, |host, out| host.on_message(of(2, other), message.clone(), out));
        let case = format!("in {own}, hearing {message:?} out of {other}");
        assert_eq!(host.generation(), expected, "{case}");
        let sent: Vec<Message> = done
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send { to, message } => Some((*to, message.clone())),
                _ => None,
            })
            .map(|(to, message)| {
                assert_eq!(to, node(2), "{case}");
                message
            })
            .collect();
        assert_eq!(sent, Vec::from_iter(answer), "{case}");
        let move_saved = Effect::Save(Record::Generation { generation: expected, followed: true });
        assert_eq!(done.contains(&move_saved), forgets, "{case}");
        if forgets {
            // The move is on disk before anything is said or saved in the new generation.
            assert_eq!(done.first(), Some(&move_saved), "{case}");
            let promised = host.paxos().remembered(&Instance::default()).and_then(|state| state.promised);
            assert!(promised.is_none_or(|promised| promised == ballot(5, 2)), "{case}");
        }
    }
}

/// What is said before a restart never acts after it, also what does not ask for an answer.
#[test]
fn an_earlier_generation_changes_nothing() {
    let (instance, value) = (Instance::default(), Value::new("X"));
    let messages = [
        paxos::Message::Accept { instance: instance.clone(), ballot: ballot(9, 2), value: value.clone() },
        paxos::Message::Commit { instance: instance.clone(), ballot: ballot(9, 2), value: value.clone() },
        paxos::Message::Prepare { instance: instance.clone(), ballot: ballot(9, 2) },
        paxos::Message::Learned(paxos::learner::Answer {
            decided: vec![paxos::learner::Known { instance, ballot: ballot(9, 2), value }],
            ..Default::default()
        }),
    ];
    for message in messages {
        let mut host = host(1, remembering(3, false, true));
        let before = host.paxos().instances().clone();
        let done = effects(&mut host, |host, out| host.on_message(of(2, 2), message.clone().into(), out));
        assert_eq!(*host.paxos().instances(), before, "{message:?}");
        let kept = |effect: &Effect| matches!(effect, Effect::Save(_) | Effect::Note(_));
        assert!(!done.iter().any(kept), "{message:?}: {done:?}");
    }
}

#[test]
pub(crate) fn a_stranger_is_not_followed_and_a_guest_has_no_generation() {
    let mut host = host(1, remembering(3, false, true));
    let done = effects(&mut host, |host, out| host.on_message(of(9, 8), prepare(5, 2), out));
    assert!(matches!(done[..], [Effect::Notify(Event::Ignored { .. })]), "{done:?}");
    assert_eq!(host.generation(), 3);
    let done = effects(&mut host, |host, out| host.on_message(Sender::GUEST, prepare(5, 2), out));
    assert!(matches!(done[..], [Effect::Save(_), Effect::Send { to: NodeId::GUEST, .. }]), "{done:?}");
}

/// (generation, followed, knows something) -> the generation after a restart.
#[test]
pub(crate) fn restarts() {
    for (generation, followed, knows, expected) in [
        (1, false, false, 2),
        (1, false, true, 2),
        (4, true, true, 5),
        // Followed and empty is as good as restarted: it stays, once.
        (4, true, false, 4),
        (4, false, false, 5),
    ] {
        let mut host = host(1, remembering(generation, followed, knows));
        let done = effects(&mut host, Host::restart);
        let case = format!("generation {generation}, followed {followed}, knows {knows}");
        assert_eq!(host.generation(), expected, "{case}");
        assert!(host.paxos().instances().is_empty(), "{case}");
        // The lab's `restart` says it is done; so it is on disk by then.
        assert_eq!(
            done,
            [
                Effect::Save(Record::Generation { generation: expected, followed: false }),
                Effect::Notify(Event::Restarted { generation: expected })
            ],
            "{case}"
        );
        effects(&mut host, Host::restart);
        assert_eq!(host.generation(), expected + 1, "{case}, told again");
    }
}

/// A node that followed, and then promised an epoch of the log, is not as good as restarted.
#[test]
fn a_restart_forgets_no_promise_of_an_epoch_within_a_generation() {
    let options = Options { lab: true, strong: Some(strong::Options::default()), ..Options::default() };
    let mut host =
        Host::new(node(1), Members::new((1..=3).map(node)).unwrap(), options, remembering(4, true, false), 7);
    let prepare = Message::Log(crate::protocol::log::Message::Prepare { epoch: ballot(1, 2) });
    effects(&mut host, |host, out| host.on_message(of(2, 4), prepare, out));
    effects(&mut host, Host::restart);
    assert_eq!(host.generation(), 5);
}

/// Whatever the order in which nodes are told, and whatever they hear meanwhile, all end in one generation.
#[test]
fn telling_all_in_any_order_ends_in_one_generation() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        // After each telling, who of the others hears a message of the node just told.
        for hears in 0..64_u32 {
            let mut hosts: Vec<Host> = (1..=3).map(|id| host(id, remembering(2, false, true))).collect();
            for (turn, told) in order.into_iter().enumerate() {
                effects(&mut hosts[told as usize - 1], Host::restart);
                let sender = of(told, hosts[told as usize - 1].generation());
                for (bit, other) in (1..=3).filter(|&other| other != told).enumerate() {
                    if hears & (1 << (2 * turn + bit)) != 0 {
                        let host = &mut hosts[other as usize - 1];
                        effects(host, |host, out| host.on_message(sender, Message::Elsewhere, out));
                    }
                }
            }
            let generations: Vec<u64> = hosts.iter().map(Host::generation).collect();
            assert_eq!(generations, [3, 3, 3], "told {order:?}, heard {hears:06b}");
        }
    }
}

#[test]
fn clients_that_wait_are_told_of_a_restart_once() {
    let mut host = host(1, Durable::default());
    let request = RequestId(5);
    let proposal = Proposal {
        request,
        instance: Instance::default(),
        value: Value::new("A"),
        deadline_ticks: 5,
        impatient: 0,
        ballot_ticks: None,
    };
    effects(&mut host, |host, out| host.propose(proposal, out));
    let answered = Effect::Notify(Event::Answered { request, outcome: Outcome::Restarted });
    let mut done = effects(&mut host, Host::restart);
    for _ in 0..20 {
        done.extend(effects(&mut host, Host::on_tick));
    }
    done.extend(effects(&mut host, Host::restart));
    assert_eq!(done.iter().filter(|effect| **effect == answered).count(), 1, "{done:?}");
    let answers = done.iter().filter(|effect| matches!(effect, Effect::Notify(Event::Answered { .. }))).count();
    assert_eq!(answers, 1);
}

/// One forged message must not use up the generations: later restarts could not move on, and what was said before them
/// would act after them.
#[test]
fn the_highest_generation_does_not_poison() {
    let mut host = host(1, remembering(3, false, true));
    effects(&mut host, |host, out| host.on_message(of(2, u64::MAX), Message::Elsewhere, out));
    assert_eq!(host.generation(), 3, "a leap is not believed");
    let before = host.generation();
    effects(&mut host, |host, out| host.on_message(of(2, before), prepare(5, 2), out));
    effects(&mut host, Host::restart);
    assert!(host.generation() > before, "a restart moves on");
}

/// A node in service is never restarted, whatever generation a message claims.
#[test]
pub(crate) fn a_node_in_service_stays_in_its_generation() {
    let options = Options { lab: false, ..Options::default() };
    let mut host =
        Host::new(node(1), Members::new((1..=3).map(node)).unwrap(), options, remembering(1, false, true), 7);
    let done = effects(&mut host, |host, out| host.on_message(of(2, 2), prepare(5, 2), out));
    assert!(matches!(done[..], [Effect::Notify(Event::Ignored { .. })]), "{done:?}");
    assert_eq!(host.generation(), 1);
}

/// A promise of the log binds as one of single-decree Paxos does: forgotten within the generation in which others have
/// heard of it, it would be given twice.
#[test]
fn who_followed_and_promised_an_epoch_moves_on() {
    let mut durable = remembering(4, true, false);
    durable.log.promised = Some(ballot(1, 2));
    let options = Options { lab: true, strong: Some(strong::Options::default()), ..Options::default() };
    let mut host = Host::new(node(1), Members::new((1..=3).map(node)).unwrap(), options, durable, 7);
    effects(&mut host, Host::restart);
    assert_eq!(host.generation(), 5);
}
