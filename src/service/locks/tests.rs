//! The locks against two plain lists: who holds, and who waits, in the order of asking.

use proptest::prelude::*;

use super::*;
use crate::service::command::{Action, RequestKey};
use crate::service::reply::{Notice, Outcome};
use crate::service::tests::{Node, small};

const NAMES: [&str; 3] = ["l0", "l1", "l2"];
const OWNERS: [&str; 5] = ["o0", "o1", "o2", "o3", "o4"];

#[derive(Debug, Clone, Copy)]
struct Asked {
    name: &'static str,
    owner: &'static str,
    ttl_ms: u64,
    wait_ms: u64,
}

impl Asked {
    fn action(self) -> Action<'static> {
        let Self { name, owner, ttl_ms, wait_ms } = self;
        Action::LockAcquire { name, owner, ttl_ms, wait_ms }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Acquire(Asked),
    /// The last acquire of this owner comes again.
    Repeat(&'static str),
    Renew {
        name: &'static str,
        owner: &'static str,
        token: Option<u64>,
        ttl_ms: Option<u64>,
    },
    Release {
        name: &'static str,
        owner: &'static str,
        token: Option<u64>,
    },
    Write {
        token: u64,
        lock: Option<&'static str>,
    },
    Expire,
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let name = || proptest::sample::select(&NAMES[..]);
    let owner = || proptest::sample::select(&OWNERS[..]);
    let token = || proptest::option::weighted(0.3, 0..8_u64);
    let ttl = || 0..=101_u64;
    prop_oneof![
        6 => (name(), owner(), ttl(), 0..=60_u64)
            .prop_map(|(name, owner, ttl_ms, wait_ms)| Op::Acquire(Asked { name, owner, ttl_ms, wait_ms })),
        2 => owner().prop_map(Op::Repeat),
        2 => (name(), owner(), token(), proptest::option::of(ttl()))
            .prop_map(|(name, owner, token, ttl_ms)| Op::Renew { name, owner, token, ttl_ms }),
        3 => (name(), owner(), token()).prop_map(|(name, owner, token)| Op::Release { name, owner, token }),
        3 => (0..8_u64, proptest::option::of(name())).prop_map(|(token, lock)| Op::Write { token, lock }),
        1 => Just(Op::Expire),
        1 => Just(Op::Snapshot),
    ]
}

#[derive(Debug, Clone)]
struct Holder {
    name: &'static str,
    owner: &'static str,
    token: u64,
    ttl_ms: u64,
    expires_ms: u64,
}

#[derive(Debug, Clone)]
struct Asker {
    name: &'static str,
    owner: &'static str,
    ttl_ms: u64,
    until_ms: u64,
    /// The entry that asked, which is also its request's number.
    sequence: u64,
}

#[derive(Debug, Default)]
struct Model {
    time_ms: u64,
    holders: Vec<Holder>,
    askers: Vec<Asker>,
    tokens: u64,
    /// By owner: its last acquire and the number of that, and the answer that it has by now.
    answers: Vec<(Asked, u64, Reply)>,
    notices: Vec<Notice>,
}

impl Model {
    fn holder(&self, name: &str) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.name == name)
    }

    fn grant(&mut self, name: &'static str, owner: &'static str, ttl_ms: u64) -> Standing {
        self.tokens += 1;
        let (token, expires_ms) = (self.tokens, self.time_ms + ttl_ms);
        self.holders.push(Holder { name, owner, token, ttl_ms, expires_ms });
        Standing::Held { token, expires_ms }
    }

    fn settle(&mut self, at: Position, asker: &Asker, standing: Standing) {
        let told = self
            .answers
            .iter_mut()
            .find(|(asked, sequence, _)| (asked.owner, *sequence) == (asker.owner, asker.sequence));
        if let Some((_, _, reply)) = told {
            *reply = Reply::Lock { at, standing };
        }
        let (name, owner) = (asker.name.into(), asker.owner.into());
        self.notices.push(Notice::Lock { name, owner, standing });
    }

    fn end(&mut self, at: Position, name: &str) {
        self.holders.retain(|holder| holder.name != name);
        if let Some(next) = self.askers.iter().position(|asker| asker.name == name) {
            let asker = self.askers.remove(next);
            let standing = self.grant(asker.name, asker.owner, asker.ttl_ms);
            self.settle(at, &asker, standing);
        }
    }

    fn pass(&mut self, at: Position, later_ms: u64) {
        self.time_ms += later_ms;
        for time_ms in 0..=self.time_ms {
            while let Some(place) = self.askers.iter().position(|asker| asker.until_ms == time_ms) {
                let asker = self.askers.remove(place);
                self.settle(at, &asker, Standing::Without);
            }
        }
        for time_ms in 0..=self.time_ms {
            let mut over: Vec<Holder> =
                self.holders.iter().filter(|holder| holder.expires_ms == time_ms).cloned().collect();
            over.sort_by_key(|holder| holder.token);
            for holder in over {
                self.end(at, holder.name);
            }
        }
    }

    fn acquire(&mut self, at: Position, asked: Asked, sequence: u64) -> Result<Standing, Refusal> {
        let Asked { name, owner, ttl_ms, wait_ms } = asked;
        let limits = small();
        if ttl_ms == 0 || ttl_ms > limits.lock_ms {
            return Err(Refusal::BadTime { what: Resource::Ttl, ms: ttl_ms, least: 1, most: limits.lock_ms });
        }
        let until_ms = self.time_ms + wait_ms;
        let held = self.holders.len() as u64;
        match self.holders.iter_mut().find(|holder| holder.name == name) {
            None if held == limits.locks => {
                return Err(Refusal::Full { what: Resource::Locks, most: limits.locks });
            }
            None => return Ok(self.grant(name, owner, ttl_ms)),
            Some(holder) if holder.owner == owner => {
                (holder.ttl_ms, holder.expires_ms) = (ttl_ms, self.time_ms + ttl_ms);
                return Ok(Standing::Held { token: holder.token, expires_ms: holder.expires_ms });
            }
            Some(_) => {}
        }
        let place = self.askers.iter().position(|asker| asker.name == name && asker.owner == owner);
        match (place, wait_ms) {
            (Some(place), 0) => {
                let asker = self.askers.remove(place);
                self.settle(at, &asker, Standing::Without);
                return Ok(Standing::Without);
            }
            (None, 0) => return Ok(Standing::Without),
            (Some(place), _) => self.askers[place] = Asker { name, owner, ttl_ms, until_ms, sequence },
            (None, _) if self.askers.len() as u64 == limits.waiters => {
                return Err(Refusal::Full { what: Resource::Waiters, most: limits.waiters });
            }
            (None, _) => self.askers.push(Asker { name, owner, ttl_ms, until_ms, sequence }),
        }
        let queue: Vec<&Asker> = self.askers.iter().filter(|asker| asker.name == name).collect();
        let position = queue.iter().position(|asker| asker.owner == owner).unwrap() as u64 + 1;
        Ok(Standing::Queued { position })
    }

    /// Why this owner, with this token, is not the holder; `None` if it is.
    fn not_holder(&self, name: &str, owner: &str, token: Option<u64>) -> Option<Refusal> {
        let holder = self.holder(name);
        let holds =
            holder.is_some_and(|holder| holder.owner == owner && token.is_none_or(|token| token == holder.token));
        let holder = holder.map(|holder| (holder.owner.into(), holder.token));
        (!holds).then(|| Refusal::NotHolder { name: name.into(), owner: owner.into(), holder })
    }

    fn renew(&mut self, name: &str, owner: &str, token: Option<u64>, ttl_ms: Option<u64>) -> Result<Standing, Refusal> {
        let limits = small();
        if let Some(ms) = ttl_ms.filter(|ttl_ms| *ttl_ms == 0 || *ttl_ms > limits.lock_ms) {
            return Err(Refusal::BadTime { what: Resource::Ttl, ms, least: 1, most: limits.lock_ms });
        }
        if let Some(refusal) = self.not_holder(name, owner, token) {
            return Err(refusal);
        }
        let time_ms = self.time_ms;
        let holder = self.holders.iter_mut().find(|holder| holder.name == name).unwrap();
        holder.ttl_ms = ttl_ms.unwrap_or(holder.ttl_ms);
        holder.expires_ms = time_ms + holder.ttl_ms;
        Ok(Standing::Held { token: holder.token, expires_ms: holder.expires_ms })
    }

    fn release(&mut self, at: Position, name: &str, owner: &str, token: Option<u64>) -> Reply {
        let place = self.askers.iter().position(|asker| asker.name == name && asker.owner == owner);
        match (place, self.not_holder(name, owner, token)) {
            (Some(place), Some(_)) if token.is_none() => {
                let asker = self.askers.remove(place);
                self.settle(at, &asker, Standing::Without);
                Reply::Released { at }
            }
            (_, Some(refusal)) => Reply::Refused(refusal),
            (_, None) => {
                self.end(at, name);
                Reply::Released { at }
            }
        }
    }

    fn write(&self, at: Position, token: u64, lock: Option<&str>, writes: &mut u64) -> Reply {
        let holder = self.holders.iter().find(|holder| holder.token == token);
        if holder.is_some_and(|holder| lock.is_none_or(|lock| lock == holder.name)) {
            *writes += 1;
            return Reply::Put { at, version: *writes };
        }
        let newest = lock.and_then(|lock| self.holder(lock)).map(|holder| holder.token);
        Reply::Refused(Refusal::TokenOld { token, lock: lock.map(Arc::from), newest })
    }
}

fn answer(at: Position, standing: Result<Standing, Refusal>) -> Reply {
    standing.map_or_else(Reply::Refused, |standing| Reply::Lock { at, standing })
}

/// The state of both, as one can see it.
fn check_equal(node: &Node, model: &Model) {
    let mut holders = model.holders.clone();
    holders.sort_by_key(|holder| holder.name);
    let expected: Vec<_> = holders
        .iter()
        .map(|holder| {
            let queue: Vec<&str> =
                model.askers.iter().filter(|asker| asker.name == holder.name).map(|asker| asker.owner).collect();
            (holder.name, holder.owner, holder.token, holder.expires_ms, queue)
        })
        .collect();
    let list = node.services.locks_list();
    let got: Vec<_> = list
        .iter()
        .map(|info| {
            let queue: Vec<&str> = info.queue.iter().map(|owner| &**owner).collect();
            (&*info.name, &*info.owner, info.token, info.expires_ms, queue)
        })
        .collect();
    assert_eq!(got, expected);
    let deadlines = model.holders.iter().map(|holder| holder.expires_ms);
    let deadline = deadlines.chain(model.askers.iter().map(|asker| asker.until_ms)).min();
    assert_eq!(node.services.next_deadline(), deadline);
    assert!(deadline.is_none_or(|deadline| deadline > node.services.time_ms()));
    for (Asked { owner, .. }, sequence, reply) in &model.answers {
        match node.services.outcome(&RequestKey { client: owner, sequence: *sequence }) {
            Outcome::Applied { reply: kept, .. } => assert_eq!(&kept, reply),
            other => panic!("{owner}/{sequence}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn locks_do_what_the_model_does(ops in proptest::collection::vec((op(), 0..30_u64), 0..60)) {
        let limits = Limits { clients: 10, clients_bytes: 10_000, ..small() };
        let (mut node, mut model, mut writes) = (Node::new(limits), Model::default(), 0);
        let mut last_token = 0;
        for (op, later_ms) in ops {
            model.notices.clear();
            let time_ms = model.time_ms + later_ms;
            let sequence = node.at().counter + 1;
            let (got, expected) = match op {
                Op::Acquire(asked) => {
                    let got = node.command(Some((asked.owner, sequence)), time_ms, asked.action());
                    model.pass(node.at(), later_ms);
                    let expected = answer(node.at(), model.acquire(node.at(), asked, sequence));
                    model.answers.retain(|(other, _, _)| other.owner != asked.owner);
                    model.answers.push((asked, sequence, expected.clone()));
                    (got, expected)
                }
                Op::Repeat(owner) => {
                    let last = model.answers.iter().find(|(asked, _, _)| asked.owner == owner);
                    let Some(&(asked, sequence, _)) = last else { continue };
                    let got = node.command(Some((owner, sequence)), time_ms, asked.action());
                    model.pass(node.at(), later_ms);
                    let now = model.answers.iter().find(|(asked, _, _)| asked.owner == owner);
                    (got, now.unwrap().2.clone())
                }
                Op::Renew { name, owner, token, ttl_ms } => {
                    let got = node.command(None, time_ms, Action::LockRenew { name, owner, token, ttl_ms });
                    model.pass(node.at(), later_ms);
                    (got, answer(node.at(), model.renew(name, owner, token, ttl_ms)))
                }
                Op::Release { name, owner, token } => {
                    let got = node.command(None, time_ms, Action::LockRelease { name, owner, token });
                    model.pass(node.at(), later_ms);
                    (got, model.release(node.at(), name, owner, token))
                }
                Op::Write { token, lock } => {
                    let fence = Some(Fence { token, lock });
                    let got = node.command(None, time_ms, Action::KvPut { key: "k", value: "v", fence });
                    model.pass(node.at(), later_ms);
                    (got, model.write(node.at(), token, lock, &mut writes))
                }
                Op::Expire => {
                    let got = node.command(None, time_ms, Action::Expire);
                    model.pass(node.at(), later_ms);
                    (got, Reply::Ticked)
                }
                Op::Snapshot => {
                    node.reincarnate();
                    continue;
                }
            };
            prop_assert_eq!(&got, &expected);
            node.notices.retain(|notice| matches!(notice, Notice::Lock { .. }));
            prop_assert_eq!(&node.notices, &model.notices);
            check_equal(&node, &model);
            prop_assert!(model.tokens >= last_token);
            last_token = model.tokens;
        }
    }
}

/// The leader's clock may be anywhere, also at the end of time.
#[test]
fn end_of_time_is_survived() {
    let mut node = Node::default();
    node.command(None, u64::MAX - 1, Action::LockAcquire { name: "l", owner: "a", ttl_ms: 10, wait_ms: 0 });
    for owner in ["b", "c"] {
        node.command(None, 0, Action::LockAcquire { name: "l", owner, ttl_ms: 10, wait_ms: 10 });
    }
    node.command(None, u64::MAX, Action::Expire);
    assert_eq!(node.services.locks_list(), []);
    assert_eq!(node.services.next_deadline(), None);
}
