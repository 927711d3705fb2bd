//! Who counts while the members change, step by step at one node.

use super::super::memory::Memory;
use super::*;
use crate::protocol::log::entries::Entry;

/// A node, and what it has said since somebody last looked.
struct One {
    log: Log,
    said: Vec<(NodeId, Message)>,
}

fn epoch(round: u64, id: u32) -> Ballot {
    Ballot { round, node: node(id) }
}

fn members(ids: &[u32]) -> Arc<Membership> {
    Arc::new(Members::new(ids.iter().copied().map(node)).unwrap().into())
}

fn add(id: u32) -> Change {
    Change::Add { node: node(id), address: Arc::from("") }
}

fn remove(id: u32) -> Change {
    Change::Remove { node: node(id) }
}

const fn nothing() -> Holding {
    Holding { accepted: None, length: 0, committed: 0 }
}

impl One {
    /// Node 1 of 1 to `count`, which has never forgotten anything.
    fn of(count: u32) -> Self {
        let founding = Members::new((1..=count).map(node)).unwrap();
        let memory = Memory { proven: true, ..Memory::default() };
        Self { log: Log::new(node(1), founding, Options::default(), memory), said: Vec::new() }
    }

    fn step(&mut self, input: impl FnOnce(&mut Log, &mut Out)) {
        let mut out = Out::default();
        input(&mut self.log, &mut out);
        loop {
            let mut own = Vec::new();
            for effect in out.drain() {
                match effect {
                    Effect::Send { to, message: AnyMessage::Log(message) } if to == node(1) => own.push(message),
                    Effect::Send { to, message: AnyMessage::Log(message) } => self.said.push((to, message)),
                    _ => {}
                }
            }
            if own.is_empty() {
                break;
            }
            own.into_iter().for_each(|message| self.log.on_message(node(1), message, &mut out));
        }
        self.log.check_invariants();
    }

    fn hear(&mut self, from: u32, message: Message) {
        self.step(|log, out| log.on_message(node(from), message, out));
    }

    fn promise(&mut self, from: u32, holds: Holding, members: Option<Arc<Membership>>) {
        let epoch = self.log.memory().promised.unwrap();
        self.hear(from, Message::Promise { epoch, holds, votes: true, members });
    }

    /// It leads, with the promises of these; nothing is committed in its epoch yet.
    fn elected(count: u32, with: &[u32]) -> Self {
        let mut one = Self::of(count);
        one.step(Log::campaign);
        with.iter().for_each(|&from| one.promise(from, nothing(), None));
        assert!(one.log.leads().is_some());
        // What is sent to a follower that is not yet synchronised waits for a tick.
        one.step(Log::on_tick);
        one.step(Log::flush);
        one.said.clear();
        one
    }

    /// This node has all that has left.
    fn accepted(&mut self, from: u32) {
        self.step(Log::flush);
        let (epoch, length) = (self.log.leads().unwrap(), Some(self.log.handed_out()));
        self.hear(from, Message::Accepted { epoch, length });
    }

    fn change(&mut self, change: &Change) -> Result<Begun, Unchanged> {
        let mut begun = None;
        self.step(|log, out| begun = log.change(change, out));
        begun.expect("it leads")
    }

    fn committed(&self) -> u64 {
        self.log.memory().committed
    }

    /// To whom it has sent such messages since the last look.
    fn told(&mut self, is_such: fn(&Message) -> bool) -> BTreeSet<u32> {
        self.said.drain(..).filter(|(_, message)| is_such(message)).map(|(to, _)| to.number()).collect()
    }
}

#[test]
fn a_change_waits_for_an_entry_of_the_leaders_own_epoch_and_for_the_change_before() {
    let mut one = One::elected(3, &[2]);
    assert_eq!(one.change(&remove(3)), Err(Unchanged::Busy), "its own epoch has committed nothing");
    one.accepted(2);
    assert_eq!(one.committed(), 1);
    assert_eq!(one.change(&add(2)), Err(Unchanged::Member));
    assert_eq!(one.change(&remove(4)), Err(Unchanged::NoMember));
    assert!(matches!(one.change(&remove(3)), Ok(Begun::Entered { slot: 2, .. })));
    assert_eq!(one.change(&add(4)), Err(Unchanged::Busy), "the change before is not committed");
    one.accepted(2);
    assert_eq!(one.committed(), 2);
    assert_eq!(one.change(&add(4)), Ok(Begun::Preparing));
    assert_eq!(one.change(&add(5)), Err(Unchanged::Busy), "a node is being brought up to date");
}

#[test]
fn a_newcomer_counts_only_once_its_entry_is_there() {
    let mut one = One::elected(3, &[2]);
    one.accepted(2);
    assert_eq!(one.change(&add(4)), Ok(Begun::Preparing));
    assert_eq!(one.told(|message| matches!(message, Message::Prepare { .. })), [4].into());
    let epoch = one.log.leads().unwrap();
    one.hear(4, Message::Promise { epoch, holds: nothing(), votes: false, members: None });
    one.step(|log, _| _ = log.append(Command::Noop));
    one.step(Log::flush);
    // It has what there was when it was announced, but not yet what came since: a member, by an entry of slot 3.
    one.hear(4, Message::Accepted { epoch, length: Some(1) });
    assert!(one.log.members().contains(node(4)) && one.log.memory().is_changing());
    one.accepted(4);
    assert_eq!(one.committed(), 1, "it and the leader are two of four");
    one.accepted(2);
    assert_eq!(one.committed(), 2, "the entry that makes it a member leaves after that");
    one.accepted(4);
    assert_eq!(one.committed(), 2, "and needs three of four as well");
    one.accepted(2);
    assert_eq!(one.committed(), 3);
    assert!(!one.log.memory().is_changing());
}

#[test]
fn a_newcomer_that_says_nothing_changes_nothing() {
    let mut one = One::elected(3, &[2]);
    one.accepted(2);
    assert_eq!(one.change(&add(4)), Ok(Begun::Preparing));
    one.log.take_notices();
    for _ in 0..Options::default().newcomer_ticks {
        one.step(Log::on_tick);
    }
    assert!(one.log.take_notices().contains(&Notice::NotJoined { why: Some(Unchanged::Silent) }));
    assert_eq!((one.log.members().len(), one.log.memory().length()), (3, 1));
    assert!(!one.log.correspondents().contains_key(&node(4)));
}

#[test]
fn a_leader_that_removes_itself_leads_on_without_counting_itself() {
    let mut one = One::elected(3, &[2, 3]);
    one.accepted(2);
    assert!(one.change(&remove(1)).is_ok());
    assert_eq!(one.log.leaving(), Some(node(1)));
    one.accepted(2);
    assert_eq!(one.committed(), 1, "one of two");
    assert!(one.log.leads().is_some());
    one.accepted(3);
    assert_eq!((one.committed(), one.log.leaving()), (2, None));
    // As no member it does not seek to lead again.
    one.step(|log, _| log.resign());
    one.step(Log::campaign);
    assert!(one.told(|message| matches!(message, Message::Prepare { .. })).is_empty());
}

#[test]
fn a_removed_node_is_told_until_it_knows() {
    let mut one = One::elected(3, &[2, 3]);
    [2, 3].into_iter().for_each(|from| one.accepted(from));
    assert!(one.change(&remove(3)).is_ok());
    one.accepted(2);
    assert_eq!(one.committed(), 2);
    one.step(Log::on_tick);
    assert!(one.log.correspondents().contains_key(&node(3)), "it does not know yet");
    let accepts = |message: &Message| matches!(message, Message::Accept { .. });
    assert!(one.told(accepts).contains(&3));
    one.accepted(3);
    one.step(Log::on_tick);
    assert!(one.told(accepts).contains(&3), "that it is committed");
    one.accepted(3);
    one.step(Log::on_tick);
    assert!(!one.log.correspondents().contains_key(&node(3)));
    // What it says afterwards counts for nothing.
    one.step(|log, _| _ = log.append(Command::Noop));
    one.accepted(3);
    assert_eq!(one.committed(), 2);
}

#[test]
fn promises_are_counted_by_the_members_of_the_log_that_is_adopted() {
    let mut one = One::of(3);
    one.log.highest_round = 1;
    one.step(Log::campaign);
    one.said.clear();
    // It knew three members, and two of them have promised; but this one knows of a fourth.
    let holds = Holding { accepted: Some(epoch(1, 2)), length: 5, committed: 3 };
    one.promise(2, holds, Some(members(&[1, 2, 3, 4])));
    assert_eq!(one.said.len(), 1);
    assert_eq!(one.told(|message| matches!(message, Message::Prepare { .. })), [4].into());
    one.promise(4, nothing(), None);
    assert_eq!(one.told(|message| matches!(message, Message::Fetch { .. })), [2].into());
    // And one whose best log does not know it as a member does not lead.
    let mut one = One::of(3);
    one.log.highest_round = 1;
    one.step(Log::campaign);
    one.promise(2, holds, Some(members(&[2, 3])));
    one.promise(3, holds, Some(members(&[2, 3])));
    assert!(one.log.leads().is_none() && one.log.take_notices().contains(&Notice::Deposed(None)));
}

#[test]
fn a_membership_that_is_cut_off_is_in_force_no_more() {
    let mut one = One::of(3);
    let first = Entry::after(0, epoch(1, 2), Command::Noop);
    let second = Entry::after(first.hash, epoch(1, 2), Command::Members(members(&[1, 2, 3, 4])));
    let began = Some(Beginning { accepted: None, length: 0, start: 1 });
    let entries = vec![first.clone(), second];
    one.hear(2, Message::Accept { epoch: epoch(1, 2), began, after: 0, hash: 0, entries, committed: 1 });
    assert_eq!(one.log.members().len(), 4);
    // The next leader never had it, and is a member that this node takes for none: it is heard all the same.
    let other = Entry::after(first.hash, epoch(2, 7), Command::Noop);
    let began = Some(Beginning { accepted: Some(epoch(1, 2)), length: 1, start: 2 });
    let (after, hash, entries) = (1, first.hash, vec![other]);
    one.hear(7, Message::Accept { epoch: epoch(2, 7), began, after, hash, entries, committed: 1 });
    assert_eq!((one.log.members().len(), one.log.memory().length()), (3, 2));
}

#[test]
fn who_joins_neither_votes_nor_leads_before_the_log_says_so() {
    let founding = Members::new((1..=3).map(node)).unwrap();
    let mut one = One { log: Log::new(node(4), founding, Options::default(), Memory::default()), said: Vec::new() };
    let mut out = Out::default();
    for from in 1..=3 {
        one.log.on_message(node(from), Message::Known { blank: true }, &mut out);
    }
    one.log.on_tick(&mut out);
    one.log.campaign(&mut out);
    assert!(!one.log.memory().proven && one.log.memory().promised.is_none(), "it has nobody to ask for a vote");
    one.log.on_message(node(1), Message::Prepare { epoch: epoch(1, 1) }, &mut out);
    let votes = |effect: Effect| match effect {
        Effect::Send { message: AnyMessage::Log(Message::Promise { votes, .. }), .. } => Some(votes),
        _ => None,
    };
    assert_eq!(out.drain().filter_map(votes).collect::<Vec<_>>(), [false]);
}

/// Found by the random world: a node that was synchronised already, and was told once more how the epoch began, fetched
/// what the leader then streamed, and cut off what had come since.
#[test]
fn what_is_fetched_does_not_cut_off_what_was_streamed_meanwhile() {
    let mut one = One::of(3);
    let mut entries = vec![Entry::after(0, epoch(1, 2), Command::Noop)];
    for _ in 0..4 {
        entries.push(Entry::after(entries.last().unwrap().hash, epoch(1, 2), Command::Noop));
    }
    let (hash_at, epoch) = (|slot: usize| entries[slot - 1].hash, epoch(1, 2));
    let began = Some(Beginning { accepted: None, length: 0, start: 1 });
    let first = entries[..1].to_vec();
    one.hear(2, Message::Accept { epoch, began, after: 0, hash: 0, entries: first, committed: 0 });
    let none = Vec::new();
    one.hear(2, Message::Accept { epoch, began, after: 3, hash: hash_at(3), entries: none, committed: 0 });
    assert!(one.told(|message| matches!(message, Message::Fetch { .. })).contains(&2));
    let rest = entries[1..].to_vec();
    one.hear(2, Message::Accept { epoch, began: None, after: 1, hash: hash_at(1), entries: rest, committed: 5 });
    assert_eq!((one.log.memory().length(), one.committed()), (5, 5));
    let piece = Piece::Entries { after: 1, entries: entries[1..3].to_vec() };
    one.hear(2, Message::Fetched { epoch, piece });
    assert_eq!((one.log.memory().length(), one.committed()), (5, 5));
}

/// Found by the random world: a follower that fetched was given entries which the leader, stepping down, then took back,
/// and told their clients that nothing had happened.
#[test]
fn what_a_leader_may_take_back_is_not_to_be_fetched() {
    let mut one = One::elected(3, &[2, 3]);
    one.accepted(2);
    one.step(|log, _| _ = log.append(Command::Noop));
    let epoch = one.log.leads().unwrap();
    let fetched = |one: &mut One| {
        one.said.clear();
        one.hear(2, Message::Fetch { epoch, after: 0, offset: 0 });
        match one.said.pop() {
            Some((_, Message::Fetched { piece: Piece::Entries { entries, .. }, .. })) => entries.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fetched(&mut one), 1, "the second entry has not left yet");
    one.step(Log::flush);
    assert_eq!(fetched(&mut one), 2);
}

/// Found by the random world: a late word of less set the leader back to what a snapshot stood for by then, and it went on
/// sending nothing from there, for ever.
#[test]
fn a_late_word_of_less_does_not_set_the_leader_back_for_good() {
    let mut one = One::elected(3, &[2]);
    one.log.options = Options { tail: 0, batch_entries: 1, ..Options::default() };
    one.accepted(2);
    (0..3).for_each(|_| one.step(|log, _| _ = log.append(Command::Noop)));
    (0..3).for_each(|_| one.accepted(2));
    assert_eq!(one.committed(), 4);
    let epoch = one.log.leads().unwrap();
    one.hear(2, Message::Accepted { epoch, length: Some(1) });
    one.step(Log::flush);
    one.step(|log, out| {
        let hash = log.memory().entries.hash_at(4).unwrap();
        log.compact((4, hash), Arc::from(&b"a state"[..]), out);
    });
    one.accepted(2);
    one.said.clear();
    one.step(|log, _| _ = log.append(Command::Noop));
    one.step(Log::flush);
    let has_it = |(_, message): &(NodeId, Message)| matches!(message, Message::Accept { after: 4, entries, .. } if entries.len() == 1);
    assert!(one.said.iter().any(has_it), "{:?}", one.said);
}
