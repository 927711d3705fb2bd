//! What the services make of the chosen entries, in a copy that never crashes, never takes a snapshot, and never restores
//! one; and the rules that hold from entry to entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rule;
use crate::protocol::log::entries::{Command as LogCommand, Entry};
use crate::protocol::log::memory::Snapshot;
use crate::protocol::types::NodeId;
use crate::service::Services;
use crate::service::command::{Action, Command, Fence, RequestKey};
use crate::service::locks::LockInfo;
use crate::service::reply::{Position, Refusal, Reply};
use crate::sim::check::{Verdict, ensure};

/// The replay of one generation's log.
#[derive(Debug, Default)]
pub(super) struct Replay {
    services: Services,
    /// After each slot, from slot 1 on.
    hashes: Vec<u64>,
    /// The last request of each client, and the answer that it got first.
    requests: BTreeMap<String, (u64, Reply)>,
    /// The answers to commands without a request id.
    replies: BTreeMap<u64, Reply>,
    /// The locks that are held, by name.
    held: BTreeMap<Arc<str>, LockInfo>,
    highest_token: u64,
    /// The commands that were chosen since somebody last asked.
    news: Vec<Arc<[u8]>>,
    pub(super) grants: u64,
    pub(super) fenced: u64,
}

impl Replay {
    /// The state's hash after a slot.
    pub(super) fn hash_at(&self, slot: u64) -> Option<u64> {
        match usize::try_from(slot).ok()?.checked_sub(1) {
            None => Some(Services::default().state_hash()),
            Some(at) => self.hashes.get(at).copied(),
        }
    }

    /// The last request of a client that was applied.
    pub(super) fn last_request(&self, client: &str) -> Option<&(u64, Reply)> {
        self.requests.get(client)
    }

    /// What the entry in a slot was answered, if it had no request id.
    pub(super) fn reply_at(&self, slot: u64) -> Option<&Reply> {
        self.replies.get(&slot)
    }

    pub(super) fn take_news(&mut self) -> Vec<Arc<[u8]>> {
        std::mem::take(&mut self.news)
    }

    /// The next entry.
    pub(super) fn apply(&mut self, slot: u64, entry: &Entry) -> Verdict {
        let at = Position { epoch: entry.epoch.round, counter: slot };
        let bytes: &[u8] = match &entry.command {
            LogCommand::Noop => &[],
            LogCommand::Service(bytes) => bytes,
        };
        let reply = self.services.apply(at, bytes, &mut Vec::new());
        self.hashes.push(self.services.state_hash());
        let Ok(command) = Command::decode(bytes) else { return Ok(()) };
        if let LogCommand::Service(bytes) = &entry.command {
            self.news.push(Arc::clone(bytes));
        }
        self.locks(&command, slot)?;
        let applied = |request: RequestKey<'_>| {
            self.requests.get(request.client).is_some_and(|(last, _)| *last >= request.sequence)
        };
        if !command.request.is_some_and(applied) {
            self.fence(&command.action, &reply)?;
        }
        match command.request {
            Some(request) => self.once(request, reply),
            None => {
                self.replies.insert(slot, reply);
                Ok(())
            }
        }
    }

    /// A repeated request changes nothing, and is answered as before.
    fn once(&mut self, RequestKey { client, sequence }: RequestKey<'_>, reply: Reply) -> Verdict {
        match self.requests.get(client) {
            // Who waits for a lock is told of it under the same request, once the waiting has ended.
            Some((last, first)) if *last == sequence => {
                let waited = matches!((first, &reply), (Reply::Lock { .. }, Reply::Lock { .. }));
                ensure(waited || *first == reply, rule::ONCE, || {
                    format!("{client}/{sequence} was answered {first:?}, and then {reply:?}")
                })
            }
            Some((last, _)) if *last > sequence => {
                let refused = matches!(reply, Reply::Refused(Refusal::Superseded { .. }));
                ensure(refused, rule::ONCE, || format!("{client}/{sequence} comes after {last}, and gets {reply:?}"))
            }
            _ => {
                self.requests.insert(client.to_owned(), (sequence, reply));
                Ok(())
            }
        }
    }

    /// Grants begin with a higher token than all before, and end by a release or because their time is over.
    fn locks(&mut self, command: &Command<'_>, slot: u64) -> Verdict {
        let list = self.services.locks_list();
        let count = list.len();
        let now: BTreeMap<Arc<str>, LockInfo> = list.into_iter().map(|info| (Arc::clone(&info.name), info)).collect();
        ensure(now.len() == count, rule::HOLDER, || format!("slot {slot}: {count} grants of {} locks", now.len()))?;
        let time_ms = self.services.time_ms();
        for (name, old) in &self.held {
            let stays = now.get(name).is_some_and(|info| info.token == old.token && info.owner == old.owner);
            let released = matches!(command.action, Action::LockRelease { name: given, owner, .. }
                if *given == **name && *owner == *old.owner);
            ensure(stays || released || old.expires_ms <= time_ms, rule::EXPIRY, || {
                format!("slot {slot} ends {old:?} at {time_ms} ms")
            })?;
        }
        let mut begun: Vec<&LockInfo> =
            now.values().filter(|info| self.held.get(&info.name).is_none_or(|old| old.token != info.token)).collect();
        begun.sort_by_key(|info| info.token);
        for info in begun {
            ensure(info.token > self.highest_token, rule::TOKENS, || {
                format!("slot {slot} grants {info:?} after token {}", self.highest_token)
            })?;
            self.highest_token = info.token;
            self.grants += 1;
        }
        self.held = now;
        Ok(())
    }

    /// A write that carries a token is refused for it exactly if that grant does not hold.
    fn fence(&mut self, action: &Action<'_>, reply: &Reply) -> Verdict {
        let (Action::KvPut { fence: Some(fence), .. }
        | Action::KvDelete { fence: Some(fence), .. }
        | Action::KvCas { fence: Some(fence), .. }) = action
        else {
            return Ok(());
        };
        let Fence { token, lock } = *fence;
        let holds = self.held.values().any(|info| info.token == token && lock.is_none_or(|lock| *lock == *info.name));
        let refused = matches!(reply, Reply::Refused(Refusal::TokenOld { .. }));
        self.fenced += u64::from(refused);
        ensure(holds != refused, rule::FENCED, || {
            format!("token {token} of {lock:?} gets {reply:?}, with {:?}", self.held)
        })
    }

    pub(super) fn check_snapshot(&self, node: NodeId, snapshot: &Snapshot) -> Verdict {
        let restored = Services::restore(&snapshot.state).map(|services| services.state_hash());
        let expected = self.hash_at(snapshot.slot);
        ensure(restored.as_ref().ok() == expected.as_ref(), rule::SNAPSHOT, || {
            format!("{node} has a snapshot of slot {} that gives {restored:x?}, not {expected:x?}", snapshot.slot)
        })
    }
}
