//! A lock with fencing tokens.

use std::fmt;

use super::{Call, Growing, Model};
use crate::history::{Answer, Op};

/// A lock: one holder at a time, and every grant has a higher token than all before it.
///
/// A grant ends by a release, or by expiry at some time after its time to live, which nobody is told of. So the model
/// takes a grant to be over as soon as an answer implies it and the clock allows it: the grant took effect no earlier
/// than its call began, so it lasts at least until that plus the time to live, and whatever implies its end must have
/// been answered later. One tick of the log's clock is allowed for. Holding on for longer than the time to live is never
/// wrong.
///
/// Who holds the lock and acquires it again may get the same token, or a new one. `busy` means that the caller is not in
/// the queue any more either; a caller that was told to come back is one of unknown outcome.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lock;

/// The log counts time in ticks.
const TICK_NS: u64 = 10_000_000;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holding {
    /// The holder, if there is one that has not certainly lost it.
    grant: Option<Grant>,
    /// The token of the last grant.
    token: Growing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Grant {
    owner: String,
    /// The first moment at which it may have expired.
    lasts_until_ns: u64,
}

impl Model for Lock {
    type State = Holding;

    fn initial(&self) -> Holding {
        Holding { grant: None, token: Growing::Is(0) }
    }

    fn step(&self, state: &Holding, call: &Call<'_>) -> Option<Holding> {
        match (call.op(), call.answer()) {
            (Op::Acquire { .. }, Some(Answer::Busy)) => state.grant.is_some().then(|| state.clone()),
            (Op::Acquire { owner, ttl_ms, .. }, answer) => state.acquire(call, owner, *ttl_ms, answer),
            (Op::Renew { owner, token, .. } | Op::Release { owner, token, .. }, Some(Answer::NotHeld)) => {
                match state.held_by(owner, *token) {
                    Some(_) => state.expired(call),
                    None => Some(state.clone()),
                }
            }
            (Op::Renew { owner, token, ttl_ms, .. }, _) => {
                let held = state.held_by(owner, *token)?;
                Some(Holding { grant: Some(Grant::new(owner, call, *ttl_ms)), ..held })
            }
            (Op::Release { owner, token, .. }, _) => Some(Holding { grant: None, ..state.held_by(owner, *token)? }),
            _ => None,
        }
    }
}

impl Holding {
    fn acquire(&self, call: &Call<'_>, owner: &str, ttl_ms: u64, answer: Option<&Answer>) -> Option<Self> {
        let told = match answer {
            Some(Answer::Granted { token }) => Some(*token),
            _ => None,
        };
        let is_own = self.grant.as_ref().is_some_and(|grant| grant.owner == owner);
        if is_own && let Some(token) = told.and_then(|token| self.token.read(token)) {
            return Some(Self { token, ..self.clone() });
        }
        if self.grant.is_some() && !is_own {
            self.expired(call)?;
        }
        Some(Self { grant: Some(Grant::new(owner, call, ttl_ms)), token: self.token.next(told)? })
    }

    /// The state with the token known, if this owner can hold the lock by it.
    fn held_by(&self, owner: &str, token: u64) -> Option<Self> {
        let is_own = self.grant.as_ref().is_some_and(|grant| grant.owner == owner);
        if !is_own {
            return None;
        }
        Some(Self { token: self.token.read(token)?, ..self.clone() })
    }

    /// The state without the holder, if its time can be over when this call takes effect.
    fn expired(&self, call: &Call<'_>) -> Option<Self> {
        let ends_ns = call.returned().map_or(u64::MAX, |(at, _)| at.time_ns);
        let grant = self.grant.as_ref()?;
        (ends_ns.saturating_add(TICK_NS) >= grant.lasts_until_ns).then_some(Self { grant: None, token: self.token })
    }
}

impl Grant {
    fn new(owner: &str, call: &Call<'_>, ttl_ms: u64) -> Self {
        let lasts_until_ns = call.invoked().time_ns.saturating_add(ttl_ms.saturating_mul(1_000_000));
        Self { owner: owner.to_owned(), lasts_until_ns }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.grant {
            Some(Grant { owner, lasts_until_ns }) => {
                let until = lasts_until_ns / 1_000_000;
                write!(f, "{owner:?} holds it by token {}, until {until} ms at least", self.token)
            }
            None => write!(f, "nobody holds it, and the last token is {}", self.token),
        }
    }
}
