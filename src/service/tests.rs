//! What the services are as a whole: equal on every node, whole after a snapshot, unharmed by any bytes.
//!
//! That each does what it should is tested beside it, against a model; what they look like, in [`scripts`].

mod scripts;

use proptest::prelude::*;

use super::command::{Action, Command, Fence, RequestKey, stamp};
use super::limits::Limits;
use super::reply::{Notice, Position, Refusal, Reply};
use super::{RestoreError, Services};

/// Services with a log of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) services: Services,
    counter: u64,
    pub(super) notices: Vec<Notice>,
}

impl Node {
    pub(super) fn new(limits: Limits) -> Self {
        Self { services: Services::with_limits(limits), ..Self::default() }
    }

    /// Where the last entry was.
    pub(super) const fn at(&self) -> Position {
        Position { epoch: 1 + self.counter / 10, counter: self.counter }
    }

    pub(super) fn apply(&mut self, bytes: &[u8]) -> Reply {
        self.counter += 1;
        self.notices.clear();
        self.services.apply(self.at(), bytes, &mut self.notices)
    }

    /// One entry, without a request id and at no later time.
    pub(super) fn run(&mut self, action: Action<'_>) -> Reply {
        self.command(None, 0, action)
    }

    pub(super) fn command(&mut self, request: Option<(&str, u64)>, time_ms: u64, action: Action<'_>) -> Reply {
        let request = request.map(|(client, sequence)| RequestKey { client, sequence });
        self.apply(&Command { request, time_ms, author: 8000, action }.encode())
    }

    /// Goes on from a snapshot of itself, which must be all that it is.
    pub(super) fn reincarnate(&mut self) {
        let snapshot = self.services.snapshot();
        let restored = Services::restore_with_limits(&snapshot, *self.services.limits()).unwrap();
        assert_eq!(restored.state_hash(), self.services.state_hash());
        assert_eq!(restored.snapshot(), snapshot);
        assert_eq!(restored.next_deadline(), self.services.next_deadline());
        self.services = restored;
    }
}

/// Limits that a test reaches.
pub(super) fn small() -> Limits {
    Limits {
        name_bytes: 12,
        key_bytes: 12,
        value_bytes: 8,
        text_bytes: 8,
        keys: 3,
        kv_bytes: 24,
        posts: 3,
        board_bytes: 16,
        files: 2,
        file_bytes: 56,
        files_bytes: 70,
        locks: 2,
        waiters: 3,
        lock_ms: 100,
        clients: 3,
        clients_bytes: 500,
        events: 5,
        events_bytes: 20,
    }
}

/// Holds a journal against the plain list of all that happened: the kept ones are told in order, whole, and once,
/// whatever one has seen and however few one asks for at a time.
pub(super) fn check_journal<E: Clone + PartialEq + std::fmt::Debug>(
    all: &[(Position, E)],
    bytes_of: impl Fn(&E) -> usize,
    node: &Node,
    watch: impl Fn(u64, usize) -> Result<super::journal::Watched<E>, Refusal>,
) {
    let limits = node.services.limits();
    let kept = kept(all, bytes_of, limits);
    let dropped = (all.len() - kept.len()).checked_sub(1).map_or(0, |last| all[last].0.counter);
    for since in 0..=node.counter + 1 {
        let expected: Vec<_> = kept.iter().filter(|(at, _)| at.counter > since).cloned().collect();
        if since < dropped {
            assert_eq!(watch(since, usize::MAX), Err(Refusal::Forgotten { since, oldest: dropped }));
            continue;
        }
        let whole = watch(since, usize::MAX).unwrap();
        assert_eq!(whole.events, expected);
        assert_eq!(whole.next, since.max(node.counter));
        let (mut told, mut next) = (Vec::new(), since);
        while next < node.counter {
            let part = watch(next, 1).unwrap();
            assert!(part.next > next && part.events.len() <= 1);
            told.extend(part.events);
            next = part.next;
        }
        assert_eq!(told, expected);
    }
}

/// What a journal keeps of all that happened: as each event came, the oldest went until the rest fitted.
fn kept<E: Clone>(all: &[(Position, E)], bytes_of: impl Fn(&E) -> usize, limits: &Limits) -> Vec<(Position, E)> {
    let mut kept: Vec<(Position, E)> = Vec::new();
    for event in all {
        kept.push(event.clone());
        while kept.len() as u64 > limits.events
            || kept.iter().map(|(_, event)| bytes_of(event) as u64).sum::<u64>() > limits.events_bytes
        {
            kept.remove(0);
        }
    }
    kept
}

/// Any entry, in a small world where entries meet each other.
fn any_entry() -> impl Strategy<Value = Vec<u8>> {
    let request = proptest::option::of((0..5_u8, 0..6_u64));
    let fence = proptest::option::of((0..6_u64, proptest::option::of(0..3_u8)));
    (0..16_u8, 0..4_u8, 0..3_u8, "[a-z\n]{0,9}", request, fence, 0..400_u64).prop_map(
        |(kind, name, owner, text, request, fence, time_ms)| {
            let (name, owner) = (format!("name{name}"), format!("owner{owner}"));
            let (name, owner, text) = (name.as_str(), owner.as_str(), text.as_str());
            let client = request.map(|(client, sequence)| (format!("client{client}"), sequence));
            let lock = fence.and_then(|(_, lock)| lock).map(|lock| format!("name{lock}"));
            let fence = fence.map(|(token, _)| Fence { token, lock: lock.as_deref() });
            let (id, ttl_ms, wait_ms, token) = (time_ms % 6, time_ms % 110, time_ms % 70, Some(time_ms % 4));
            let action = match kind {
                0 => Action::KvPut { key: name, value: text, fence },
                1 => Action::KvDelete { key: name, fence },
                2 => Action::KvCas { key: name, version: id, value: text, fence },
                3 => Action::BoardPost { text },
                4 => Action::BoardModify { id, text },
                5 => Action::BoardDelete { id },
                6 => Action::FileCreate { name, fence },
                7 => Action::FileAppend { name, text, fence },
                8 => Action::FileDelete { name, fence },
                9 | 10 => Action::LockAcquire { name, owner, ttl_ms, wait_ms },
                11 => Action::LockRenew { name, owner, token: token.filter(|token| *token > 1), ttl_ms: Some(ttl_ms) },
                12 => Action::LockRelease { name, owner, token: token.filter(|token| *token > 1) },
                13 => Action::LockAcquire { name, owner: text, ttl_ms, wait_ms },
                14 => Action::KvPut { key: text, value: name, fence },
                _ => Action::Expire,
            };
            let request = client.as_ref().map(|(client, sequence)| RequestKey { client, sequence: *sequence });
            Command { request, time_ms, author: 8000, action }.encode()
        },
    )
}

/// As a leader stamps them: most entries only a little later than the one before.
fn any_log() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec((any_entry(), 0..20_u64), 0..60).prop_map(|entries| {
        let mut time_ms = 0;
        entries
            .into_iter()
            .map(|(mut bytes, later)| {
                time_ms += later;
                stamp(&mut bytes, time_ms);
                bytes
            })
            .collect()
    })
}

proptest! {
    /// A replica that lives on from snapshots, one that does not, and a clone that was left behind.
    #[test]
    fn replicas_are_equal(log in any_log(), snapshots in any::<u64>(), cloned_at in 0..60_usize) {
        let (mut one, mut other) = (Node::new(small()), Node::new(small()));
        let mut clone = None;
        for (number, bytes) in log.iter().enumerate() {
            if number == cloned_at {
                clone = Some((one.services.clone(), one.services.snapshot(), one.services.state_hash()));
            }
            prop_assert_eq!(one.apply(bytes), other.apply(bytes));
            prop_assert_eq!(&one.notices, &other.notices);
            if snapshots >> (number % 64) & 1 == 1 {
                other.reincarnate();
            }
            prop_assert_eq!(one.services.state_hash(), other.services.state_hash());
        }
        prop_assert_eq!(one.services.snapshot(), other.services.snapshot());
        if let Some((clone, snapshot, hash)) = clone {
            prop_assert_eq!(clone.snapshot(), snapshot);
            prop_assert_eq!(clone.state_hash(), hash);
        }
    }

    /// What was changed is seen in the hash: no two of these states are equal, and neither are their hashes.
    #[test]
    fn hash_tells_states_apart(log in any_log()) {
        let mut node = Node::new(small());
        let mut hashes = vec![node.services.state_hash()];
        for bytes in &log {
            node.apply(bytes);
            hashes.push(node.services.state_hash());
        }
        hashes.sort_unstable();
        hashes.dedup();
        prop_assert_eq!(hashes.len(), log.len() + 1);
    }

    #[test]
    fn commands_are_read_as_written(bytes in any_entry(), time_ms: u64) {
        let command = Command::decode(&bytes).unwrap();
        prop_assert_eq!(command.encode(), bytes.clone());
        let mut stamped = bytes.clone();
        stamp(&mut stamped, time_ms);
        prop_assert_eq!(Command::decode(&stamped).unwrap(), Command { time_ms, ..command });
        for end in 0..bytes.len() {
            prop_assert!(Command::decode(&bytes[..end]).is_err());
        }
        prop_assert!(Command::decode(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn replies_are_read_as_written(log in any_log()) {
        let mut node = Node::new(small());
        for bytes in &log {
            let reply = node.apply(bytes);
            let encoded = reply.encode();
            prop_assert_eq!(Reply::decode(&encoded).unwrap(), reply);
            prop_assert!(Reply::decode(&[encoded, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn no_bytes_harm(log in any_log(), entries in proptest::collection::vec(any::<Vec<u8>>(), 1..20), bend in any::<(usize, u8)>()) {
        let (mut node, mut other) = (Node::new(small()), Node::new(small()));
        for mut bytes in entries.into_iter().chain(log) {
            if !bytes.is_empty() {
                let place = bend.0 % bytes.len();
                bytes[place] ^= bend.1;
            }
            prop_assert_eq!(node.apply(&bytes), other.apply(&bytes));
            prop_assert_eq!(node.services.state_hash(), other.services.state_hash());
            _ = Reply::decode(&bytes);
            prop_assert!(Services::restore(&bytes).is_err());
        }
    }

    /// Whatever happens to a snapshot on its way: it is refused, or it says the same.
    #[test]
    fn damaged_snapshots_are_noticed(log in any_log(), place: usize, bend in 1..=255_u8, cut: usize) {
        let mut node = Node::new(small());
        for bytes in &log {
            node.apply(bytes);
        }
        let whole = node.services.snapshot();
        let mut bent = whole.to_vec();
        let place = place % bent.len();
        bent[place] ^= bend;
        if let Ok(restored) = Services::restore_with_limits(&bent, small()) {
            prop_assert_eq!(restored.snapshot(), whole.clone());
        }
        prop_assert!(Services::restore(&whole[..cut % whole.len()]).is_err());
        prop_assert!(Services::restore(&[&whole[..], &[0]].concat()).is_err());
    }

    /// Under small limits, nothing outgrows them, however long the log is.
    #[test]
    fn state_is_bounded(log in proptest::collection::vec(any_entry(), 200..201)) {
        let mut node = Node::new(small());
        for bytes in &log {
            node.apply(bytes);
        }
        prop_assert!(node.services.snapshot().len() < 3000, "{}", node.services.snapshot().len());
    }
}

#[test]
fn other_versions_are_refused() {
    let mut node = Node::default();
    let mut bytes = Command { request: None, time_ms: 5, author: 1, action: Action::BoardPost { text: "x" } }.encode();
    bytes[0] += 1;
    assert_eq!(node.apply(&bytes), Reply::Refused(Refusal::Malformed));
    assert_eq!(node.services.time_ms(), 0);
    let mut snapshot = node.services.snapshot().to_vec();
    snapshot[3] += 1;
    assert_eq!(Services::restore(&snapshot).unwrap_err(), RestoreError::Version);
}

/// An entry of an epoch's beginning: it has a place, and that is all.
#[test]
fn nothing_is_an_entry_too() {
    let mut node = Node::default();
    assert_eq!(node.apply(&[]), Reply::Ticked);
    assert_eq!(node.services.applied(), node.at());
    assert_eq!(node.services.kv_watch("", 0, 10).unwrap().next, 1);
}

/// The hash is part of the snapshot's format: the same in every run and every build. Should this have to change, so must
/// the snapshot's version.
#[test]
fn hash_is_stable() {
    let mut node = Node::default();
    node.run(Action::KvPut { key: "k", value: "<int>5</int>", fence: None });
    node.run(Action::LockAcquire { name: "l", owner: "o", ttl_ms: 10, wait_ms: 0 });
    node.command(Some(("c", 1)), 3, Action::FileCreate { name: "f", fence: None });
    assert_eq!(format!("{:016x}", node.services.state_hash()), "3497121c206fe599");
}
