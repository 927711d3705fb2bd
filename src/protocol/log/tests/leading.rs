//! What a leader sends, to whom, and when.

use std::sync::Arc;

use super::super::leader::{LATE_ENTRIES, LATE_TICKS};
use super::*;

/// A leader of five, by hand: what it sends is looked at, and the others' answers are made up.
struct Leader {
    log: Log,
    epoch: Ballot,
}

/// A message that left, as far as these tests look at it.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Accept { after: u64, entries: usize },
    Confirm(u64),
    Other,
}

impl Leader {
    /// It leads, and all follow it in step.
    fn new(options: Options) -> Self {
        let members = Members::new((1..=5).map(node)).unwrap();
        let memory = Memory { proven: true, ..Memory::default() };
        let mut leader =
            Self { log: Log::new(node(5), members, options, memory), epoch: Ballot { round: 1, node: node(5) } };
        leader.step(Log::campaign);
        let epoch = leader.epoch;
        let holds = Holding { accepted: None, length: 0, committed: 0 };
        for id in 1..=4 {
            leader.hear(id, Message::Promise { epoch, holds, votes: true, members: None });
        }
        leader.tick();
        for id in 1..=4 {
            leader.accept(id, 1);
        }
        leader.tick();
        assert_eq!(leader.log.memory().committed, 1);
        for id in 1..=4 {
            leader.accept(id, 1);
        }
        leader
    }

    fn step(&mut self, input: impl FnOnce(&mut Log, &mut Out)) -> Vec<(u32, Sent)> {
        let mut out = Out::default();
        input(&mut self.log, &mut out);
        self.log.flush(&mut out);
        let mut sent = Vec::new();
        while !out.is_empty() {
            for effect in out.drain().collect::<Vec<_>>() {
                let Effect::Send { to, message: AnyMessage::Log(message) } = effect else { continue };
                if to == node(5) {
                    self.log.on_message(to, message, &mut out);
                    continue;
                }
                let message = match message {
                    Message::Accept { after, entries, .. } => Sent::Accept { after, entries: entries.len() },
                    Message::Confirm { round, .. } => Sent::Confirm(round),
                    _ => Sent::Other,
                };
                sent.push((to.number(), message));
            }
            self.log.flush(&mut out);
        }
        sent
    }

    fn hear(&mut self, from: u32, message: Message) -> Vec<(u32, Sent)> {
        self.step(|log, out| log.on_message(node(from), message, out))
    }

    fn accept(&mut self, from: u32, length: u64) -> Vec<(u32, Sent)> {
        let epoch = self.epoch;
        self.hear(from, Message::Accepted { epoch, length: Some(length) })
    }

    fn append(&mut self, count: usize) -> Vec<(u32, Sent)> {
        self.step(|log, _| {
            for _ in 0..count {
                log.append(Command::Service(Arc::from(&b"x"[..]))).unwrap();
            }
        })
    }

    fn tick(&mut self) -> Vec<(u32, Sent)> {
        self.step(Log::on_tick)
    }
}

fn accepts(to: &[u32], after: u64, entries: usize) -> Vec<(u32, Sent)> {
    to.iter().map(|&to| (to, Sent::Accept { after, entries })).collect()
}

fn thrifty() -> Options {
    Options { thrifty: true, ..Options::default() }
}

#[test]
fn a_batch_grows_while_the_one_before_is_under_way() {
    let mut leader = Leader::new(Options::default());
    assert_eq!(leader.append(1), accepts(&[1, 2, 3, 4], 1, 1));
    assert!(leader.log.is_writing());
    assert_eq!(leader.append(2), []);
    assert_eq!(leader.append(3), []);
    assert_eq!(leader.accept(1, 2), []);
    // With its own, a majority has the first: the other five leave together, to the slower ones too.
    assert_eq!(leader.accept(2, 2), accepts(&[1, 2, 3, 4], 2, 5));
    leader.accept(1, 7);
    leader.accept(2, 7);
    assert_eq!(leader.log.memory().committed, 7);
    assert!(!leader.log.is_writing());
}

/// A wrong number in a message must not be believed, nor be counted with.
#[test]
fn what_has_not_left_cannot_have_been_accepted() {
    let mut leader = Leader::new(thrifty());
    leader.append(1);
    leader.append(2);
    for id in 1..=4 {
        assert_eq!(leader.accept(id, 4), []);
    }
    assert_eq!(leader.log.memory().committed, 1);
    leader.tick();
}

#[test]
fn what_has_not_left_is_forgotten_with_the_epoch() {
    let mut leader = Leader::new(Options::default());
    leader.append(1);
    leader.append(2);
    assert_eq!(leader.log.memory().length(), 4);
    leader.step(|log, _| log.resign());
    assert_eq!(leader.log.memory().length(), 2);
}

#[test]
fn what_has_not_left_is_not_fetched_either() {
    let mut leader = Leader::new(Options::default());
    leader.append(1);
    leader.append(2);
    let mut out = Out::default();
    let epoch = leader.epoch;
    leader.log.on_message(node(1), Message::Fetch { epoch, after: 1, offset: 0 }, &mut out);
    let pieces: Vec<Effect> = out.drain().collect();
    // It could be forgotten here while a majority had it from there.
    let [Effect::Send { message: AnyMessage::Log(Message::Fetched { piece, .. }), .. }] = &pieces[..] else { panic!() };
    assert!(matches!(piece, Piece::Entries { after: 1, entries } if entries.len() == 1), "{piece:?}");
}

#[test]
fn a_thrifty_leader_sends_at_once_to_a_majority_and_now_and_then_to_the_rest() {
    let mut leader = Leader::new(thrifty());
    assert_eq!(leader.append(1), accepts(&[1, 2], 1, 1));
    leader.accept(1, 2);
    assert_eq!(leader.accept(2, 2), []);
    assert_eq!(leader.log.memory().committed, 2);
    assert_eq!(leader.append(1), accepts(&[1, 2], 2, 1));
    leader.accept(1, 3);
    leader.accept(2, 3);
    let mut to_the_rest = Vec::new();
    for length in 4..4 + 3 * LATE_TICKS {
        assert_eq!(leader.append(1), accepts(&[1, 2], length - 1, 1));
        leader.accept(1, length);
        leader.accept(2, length);
        // Beside the rest, those two are told what was committed.
        for (to, message) in leader.tick() {
            leader.accept(to, length);
            to_the_rest.extend((to > 2).then_some(message));
        }
    }
    let entries = |message: &Sent| if let Sent::Accept { entries, .. } = message { *entries } else { 0 };
    let entries: Vec<usize> = to_the_rest.iter().map(entries).collect();
    assert!(matches!(entries[..], [_, _, 5, 5, 5, 5]), "{to_the_rest:?}");
}

#[test]
fn the_rest_does_not_lag_far_behind() {
    let mut leader = Leader::new(thrifty());
    let mut length = 1;
    let far = loop {
        let sent = leader.append(100);
        if sent.len() > 2 {
            break sent;
        }
        length += 100;
        leader.accept(1, length);
        leader.accept(2, length);
        assert!(length < 1 + LATE_ENTRIES);
    };
    let lag = usize::try_from(length + 99).unwrap();
    assert_eq!(far[2..], accepts(&[3, 4], 1, lag));
}

#[test]
fn one_that_is_late_is_replaced_and_stays_replaced() {
    let mut leader = Leader::new(thrifty());
    assert_eq!(leader.append(1), accepts(&[1, 2], 1, 1));
    leader.accept(1, 2);
    // The rest of the tick, and another one.
    assert_eq!(leader.tick(), []);
    assert_eq!(leader.tick(), accepts(&[3], 1, 1));
    leader.accept(3, 2);
    assert_eq!(leader.log.memory().committed, 2);
    assert_eq!(leader.append(1), accepts(&[1, 3], 2, 1));
    // It comes back, and waits for its turn.
    leader.accept(2, 2);
    leader.accept(1, 3);
    leader.accept(3, 3);
    assert_eq!(leader.append(1), accepts(&[1, 3], 3, 1));
}

#[test]
fn one_whose_process_has_ended_is_replaced_at_once() {
    let mut leader = Leader::new(thrifty());
    leader.append(1);
    leader.accept(1, 2);
    // Its successor is sent what it has not had, before any tick.
    let sent = leader.step(|log, _| log.disconnected(node(2)));
    assert_eq!(sent, accepts(&[3], 1, 1));
    leader.accept(3, 2);
    assert_eq!(leader.log.memory().committed, 2);
}

#[test]
fn a_follower_that_is_read_from_is_told_at_once() {
    let mut leader = Leader::new(thrifty());
    leader.append(1);
    leader.accept(1, 2);
    leader.accept(2, 2);
    assert_eq!(leader.step(|log, _| log.tell_committed(node(4))), accepts(&[4], 1, 1));
    leader.accept(4, 2);
    // It knows all: nothing is said again.
    assert_eq!(leader.step(|log, _| log.tell_committed(node(4))), []);
}

#[test]
fn a_thrifty_leader_asks_a_majority_whether_it_leads_and_then_all() {
    let mut leader = Leader::new(thrifty());
    let sent = leader.step(|log, _| assert!(log.read(7)));
    assert_eq!(sent, [(1, Sent::Confirm(1)), (2, Sent::Confirm(1))]);
    assert!(leader.log.is_confirming());
    let epoch = leader.epoch;
    leader.hear(1, Message::Confirmed { epoch, round: 1 });
    let mut sent = leader.tick();
    sent.retain(|(_, message)| matches!(message, Sent::Confirm(_)));
    assert_eq!(sent, [(2, Sent::Confirm(1)), (3, Sent::Confirm(1)), (4, Sent::Confirm(1))]);
    leader.hear(4, Message::Confirmed { epoch, round: 1 });
    assert!(leader.log.take_notices().contains(&Notice::Readable { read: 7, slot: 1 }));
    assert!(!leader.log.is_confirming());
}
