//! Locks: one holder each, a queue, a time to live, and a fencing token for every grant.
//!
//! Who asks first gets the lock first. A grant ends when it is released, or when the log's own time has passed its time
//! to live and it was not renewed: on every node with the same entry, whatever their clocks say. An owner is a name;
//! whoever uses the same name for two programs has one lock for both.
//!
//! # Fencing
//!
//! A program that was stopped for a while does not know that its grant is over. So each grant has a token, greater than
//! all before it, of whatever lock; a token names its grant, and the grant its lock. A write that carries a token is
//! applied only while that grant still holds: not when a newer holder exists, and not when the grant is over and nobody
//! came after it either. That is stricter than refusing only what is older than the newest token seen; it needs no
//! memory of locks that nobody holds, and it does not depend on whether the next holder has been quick.
//!
//! # Time
//!
//! Time passes with entries only. When an entry brings a later time, first those leave the queues whose waiting is over,
//! then the grants end whose time is over, oldest first, and the next in each queue is granted the lock, for its whole
//! time to live from now on.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::command::Fence;
use super::limits::{Limits, room};
use super::reply::{Position, Refusal, Reply, Resource, Standing};
use super::sessions::Request;
use super::table::Table;

#[cfg(test)]
mod tests;

/// A lock that is held, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its holder.
    pub owner: Arc<str>,
    /// The token of the grant.
    pub token: u64,
    /// Until when, in the log's own time.
    pub expires_ms: u64,
    /// The entry that granted it.
    pub at: Position,
    /// Who waits for it, in order.
    pub queue: Vec<Arc<str>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Grant {
    owner: Arc<str>,
    token: u64,
    ttl_ms: u64,
    expires_ms: u64,
    at: Position,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiter {
    owner: Arc<str>,
    ttl_ms: u64,
    until_ms: u64,
    /// Whose answer changes when the waiting ends.
    request: Option<Request>,
}

/// An owner's waiting has ended: what became of it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) name: Arc<str>,
    pub(super) owner: Arc<str>,
    pub(super) request: Option<Request>,
    pub(super) standing: Standing,
}

/// The entry being applied, and when it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Position,
    pub(super) time_ms: u64,
}

/// What an acquire asks for.
#[derive(Debug, Clone)]
pub(super) struct Acquire<'a> {
    pub(super) name: &'a str,
    pub(super) owner: &'a str,
    pub(super) ttl_ms: u64,
    pub(super) wait_ms: u64,
    pub(super) request: Option<Request>,
}

/// All locks that are held, and who waits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Locks {
    held: Table<Arc<str>, Grant>,
    /// By lock and ticket; tickets only grow, so this is the order of asking.
    queue: Table<(Arc<str>, u64), Waiter>,
    last_token: u64,
    last_ticket: u64,
    #[serde(skip)]
    index: Index,
}

/// What follows from the tables, for speed.
#[derive(Debug, Clone, Default)]
struct Index {
    /// Which lock a token holds.
    tokens: OrdMap<u64, Arc<str>>,
    /// Grants by the time when they end, then by token.
    ends: OrdMap<(u64, u64), Arc<str>>,
    /// Waiters by the time until which they wait, then by ticket.
    waits: OrdMap<(u64, u64), Arc<str>>,
    /// The ticket of an owner that waits for a lock.
    tickets: OrdMap<(Arc<str>, Arc<str>), u64>,
}

impl Locks {
    pub(super) fn acquire(
        &mut self,
        now: Now,
        asked: Acquire<'_>,
        limits: &Limits,
        settled: &mut Vec<Settled>,
    ) -> Result<Reply, Refusal> {
        let answer = |standing| Ok(Reply::Lock { at: now.at, standing });
        let Some((name, grant)) = self.held.row(asked.name) else {
            room(Resource::Locks, self.held.len() + 1, limits.locks)?;
            return answer(self.grant(now, Arc::from(asked.name), Arc::from(asked.owner), asked.ttl_ms));
        };
        let name = Arc::clone(name);
        if *grant.owner == *asked.owner {
            let grant = grant.clone();
            return Ok(self.extend(now, name, grant, asked.ttl_ms));
        }
        let owner: Arc<str> = Arc::from(asked.owner);
        let until_ms = now.time_ms.saturating_add(asked.wait_ms);
        let waiter = Waiter { owner, ttl_ms: asked.ttl_ms, until_ms, request: asked.request };
        let place = self.index.tickets.get(&(Arc::clone(&name), Arc::clone(&waiter.owner))).copied();
        if asked.wait_ms == 0 {
            let left = place.and_then(|ticket| self.leave(&name, ticket));
            settled.extend(left.map(|waiter| waiter.settled(&name, Standing::Without)));
            return answer(Standing::Without);
        }
        let ticket = if let Some(ticket) = place {
            // Who asks again keeps the place, with the new times; what it comes to is told to the later call.
            _ = self.leave(&name, ticket);
            ticket
        } else {
            room(Resource::Waiters, self.queue.len() + 1, limits.waiters)?;
            self.last_ticket += 1;
            self.last_ticket
        };
        self.index.waits.insert((until_ms, ticket), Arc::clone(&name));
        self.index.tickets.insert((Arc::clone(&name), Arc::clone(&waiter.owner)), ticket);
        self.queue.insert((Arc::clone(&name), ticket), waiter);
        let position = self.queue.range((Arc::clone(&name), 0)..=(name, ticket)).count() as u64;
        answer(Standing::Queued { position })
    }

    pub(super) fn renew(
        &mut self,
        now: Now,
        name: &str,
        owner: &str,
        token: Option<u64>,
        ttl_ms: Option<u64>,
    ) -> Result<Reply, Refusal> {
        let (name, grant) = self.holds(name, owner, token)?;
        let ttl_ms = ttl_ms.unwrap_or(grant.ttl_ms);
        Ok(self.extend(now, name, grant, ttl_ms))
    }

    /// Lets go of a lock or of a place in its queue; says who is settled by that.
    pub(super) fn release(
        &mut self,
        now: Now,
        name: &str,
        owner: &str,
        token: Option<u64>,
        settled: &mut Vec<Settled>,
    ) -> Result<Reply, Refusal> {
        let waiting = (Arc::from(name), Arc::from(owner));
        if let Some(&ticket) = self.index.tickets.get(&waiting)
            && token.is_none()
        {
            settled.extend(self.leave(&waiting.0, ticket).map(|waiter| waiter.settled(&waiting.0, Standing::Without)));
            return Ok(Reply::Released { at: now.at });
        }
        let (name, _) = self.holds(name, owner, token)?;
        self.end(now, &name, settled);
        Ok(Reply::Released { at: now.at })
    }

    /// Ends all waiting and all grants whose time has come.
    pub(super) fn expire(&mut self, now: Now, settled: &mut Vec<Settled>) {
        while let Some(((until_ms, ticket), name)) = self.index.waits.get_min()
            && *until_ms <= now.time_ms
        {
            let (ticket, name) = (*ticket, Arc::clone(name));
            settled.extend(self.leave(&name, ticket).map(|waiter| waiter.settled(&name, Standing::Without)));
        }
        while let Some(((ends_ms, _), name)) = self.index.ends.get_min()
            && *ends_ms <= now.time_ms
        {
            let name = Arc::clone(name);
            self.end(now, &name, settled);
        }
    }

    /// The earliest time at which there will be something to expire.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let ends = self.index.ends.get_min().map(|((time, _), _)| *time);
        let waits = self.index.waits.get_min().map(|((time, _), _)| *time);
        ends.into_iter().chain(waits).min()
    }

    /// Refuses a token whose grant is over, or that is not of the lock which the caller means.
    pub(super) fn check(&self, fence: &Fence<'_>) -> Result<(), Refusal> {
        let holds = self.index.tokens.get(&fence.token);
        if mutant!(TokenUnchecked) || holds.is_some_and(|name| fence.lock.is_none_or(|lock| lock == &**name)) {
            return Ok(());
        }
        let newest = fence.lock.and_then(|lock| self.held.get(lock)).map(|grant| grant.token);
        Err(Refusal::TokenOld { token: fence.token, lock: fence.lock.map(Arc::from), newest })
    }

    pub(super) fn list(&self) -> Vec<LockInfo> {
        let info = |(name, grant): (&Arc<str>, &Grant)| LockInfo {
            name: Arc::clone(name),
            owner: Arc::clone(&grant.owner),
            token: grant.token,
            expires_ms: grant.expires_ms,
            at: grant.at,
            queue: self.waiting(name).map(|(_, waiter)| Arc::clone(&waiter.owner)).collect(),
        };
        self.held.iter().map(info).collect()
    }

    fn waiting(&self, name: &Arc<str>) -> impl Iterator<Item = (u64, &Waiter)> {
        let range = (Arc::clone(name), 0)..=(Arc::clone(name), u64::MAX);
        self.queue.range(range).map(|((_, ticket), waiter)| (*ticket, waiter))
    }

    /// The grant, if it is this owner's, and this token's if one is said.
    fn holds(&self, name: &str, owner: &str, token: Option<u64>) -> Result<(Arc<str>, Grant), Refusal> {
        let row = self.held.row(name);
        match row {
            Some((name, grant)) if *grant.owner == *owner && token.is_none_or(|token| token == grant.token) => {
                Ok((Arc::clone(name), grant.clone()))
            }
            _ => Err(Refusal::NotHolder {
                name: Arc::from(name),
                owner: Arc::from(owner),
                holder: row.map(|(_, grant)| (Arc::clone(&grant.owner), grant.token)),
            }),
        }
    }

    /// Gives a lock that nobody holds.
    fn grant(&mut self, now: Now, name: Arc<str>, owner: Arc<str>, ttl_ms: u64) -> Standing {
        self.last_token += 1;
        let token = self.last_token;
        let expires_ms = now.time_ms.saturating_add(ttl_ms);
        self.index.tokens.insert(token, Arc::clone(&name));
        self.index.ends.insert((expires_ms, token), Arc::clone(&name));
        self.held.insert(name, Grant { owner, token, ttl_ms, expires_ms, at: now.at });
        Standing::Held { token, expires_ms }
    }

    /// The same grant, for longer or shorter.
    fn extend(&mut self, now: Now, name: Arc<str>, grant: Grant, ttl_ms: u64) -> Reply {
        let token = grant.token;
        let expires_ms = now.time_ms.saturating_add(ttl_ms);
        self.index.ends.remove(&(grant.expires_ms, token));
        self.index.ends.insert((expires_ms, token), Arc::clone(&name));
        self.held.insert(name, Grant { ttl_ms, expires_ms, ..grant });
        Reply::Lock { at: now.at, standing: Standing::Held { token, expires_ms } }
    }

    /// Ends the grant of a lock and gives it to the next in the queue.
    fn end(&mut self, now: Now, name: &Arc<str>, settled: &mut Vec<Settled>) {
        if let Some((_, grant)) = self.held.remove(name) {
            self.index.tokens.remove(&grant.token);
            self.index.ends.remove(&(grant.expires_ms, grant.token));
            if mutant!(TokenUsedAgain) {
                self.last_token -= 1;
            }
        }
        let next = self.waiting(name).next().map(|(ticket, _)| ticket);
        if let Some(waiter) = next.and_then(|ticket| self.leave(name, ticket)) {
            let standing = self.grant(now, Arc::clone(name), Arc::clone(&waiter.owner), waiter.ttl_ms);
            settled.push(waiter.settled(name, standing));
        }
    }

    /// Takes a waiter out of the queue.
    fn leave(&mut self, name: &Arc<str>, ticket: u64) -> Option<Waiter> {
        let ((name, _), waiter) = self.queue.remove(&(Arc::clone(name), ticket))?;
        self.index.waits.remove(&(waiter.until_ms, ticket));
        self.index.tickets.remove(&(name, Arc::clone(&waiter.owner)));
        Some(waiter)
    }

    /// Makes anew what is not in a snapshot.
    pub(super) fn rebuild(&mut self) {
        self.index = Index::default();
        for (name, grant) in self.held.iter() {
            self.index.tokens.insert(grant.token, Arc::clone(name));
            self.index.ends.insert((grant.expires_ms, grant.token), Arc::clone(name));
        }
        for ((name, ticket), waiter) in self.queue.iter() {
            self.index.waits.insert((waiter.until_ms, *ticket), Arc::clone(name));
            self.index.tickets.insert((Arc::clone(name), Arc::clone(&waiter.owner)), *ticket);
        }
    }

    pub(super) fn digest(&self, hash: &mut Xxh64) {
        for part in [self.held.sum(), self.queue.sum(), self.last_token, self.last_ticket] {
            hash.update(&part.to_le_bytes());
        }
    }
}

impl Waiter {
    fn settled(self, name: &Arc<str>, standing: Standing) -> Settled {
        Settled { name: Arc::clone(name), owner: self.owner, request: self.request, standing }
    }
}
