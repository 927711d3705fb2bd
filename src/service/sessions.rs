//! Exactly once: the last answer of each client.
//!
//! A client numbers its calls and has one under way at a time. A call that comes again under the number of the last one
//! gets the answer of the last one, whatever the state is by now; a call with a lower number is refused. A refusal is an
//! answer and is kept too.
//!
//! # Caveats
//!
//! The table is bounded. The client whose last call is the longest ago in the log goes first; if it then repeats that
//! call, the call is applied again. A lock that expires, or a compare-and-set, is not harmed by that.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::command::RequestKey;
use super::limits::Limits;
use super::reply::{Outcome, Position, Refusal, Reply};
use super::table::Table;

#[cfg(test)]
mod tests;

/// What an entry costs besides its texts.
const ENTRY_BYTES: u64 = 128;

/// A request as the state remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) client: Arc<str>,
    pub(super) sequence: u64,
}

/// The last call of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    sequence: u64,
    /// Of the call's action, to notice another call under the same number.
    fingerprint: u64,
    at: Position,
    reply: Reply,
}

/// What the table says to a call that comes in.
#[derive(Debug)]
pub(super) enum Seen {
    /// Apply it, and keep the answer.
    New,
    /// Do not; this is the answer.
    Before(Reply),
}

/// The table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sessions {
    clients: Table<Arc<str>, Session>,
    bytes: u64,
    /// The clients by the entry of their last call: who goes first. Follows from the table.
    #[serde(skip)]
    by_age: OrdMap<u64, Arc<str>>,
}

impl Session {
    fn bytes(&self, client: &str) -> u64 {
        client.len() as u64 + self.reply.bytes() + ENTRY_BYTES
    }
}

impl Sessions {
    pub(super) fn seen(&self, request: &RequestKey<'_>, fingerprint: u64) -> Seen {
        let Some((client, session)) = self.clients.row(request.client) else { return Seen::New };
        let (client, sequence, last) = (Arc::clone(client), request.sequence, session.sequence);
        if sequence > last {
            Seen::New
        } else if sequence < last {
            Seen::Before(Reply::Refused(Refusal::Superseded { client, sequence, last }))
        } else if fingerprint != session.fingerprint {
            Seen::Before(Reply::Refused(Refusal::Reused { client, sequence }))
        } else {
            Seen::Before(session.reply.clone())
        }
    }

    /// Keeps an answer, and lets go of the oldest if there is no room.
    pub(super) fn keep(
        &mut self,
        at: Position,
        request: &RequestKey<'_>,
        fingerprint: u64,
        reply: Reply,
        limits: &Limits,
    ) {
        let client = match self.clients.row(request.client) {
            Some((client, session)) => {
                self.bytes -= session.bytes(client);
                self.by_age.remove(&session.at.counter);
                Arc::clone(client)
            }
            None => Arc::from(request.client),
        };
        let session = Session { sequence: request.sequence, fingerprint, at, reply };
        self.bytes += session.bytes(&client);
        self.by_age.insert(at.counter, Arc::clone(&client));
        self.clients.insert(client, session);
        self.shrink(limits);
    }

    /// Replaces the answer of a request that is still the client's last: what it waited for has been decided.
    pub(super) fn amend(&mut self, request: &Request, reply: Reply) {
        let Some((client, session)) = self.clients.row(&request.client) else { return };
        if session.sequence != request.sequence {
            return;
        }
        let client = Arc::clone(client);
        let amended = Session { reply, ..session.clone() };
        self.bytes = self.bytes - session.bytes(&client) + amended.bytes(&client);
        self.clients.insert(client, amended);
    }

    /// The answer just kept stays, whatever it costs: it is bounded by what an entry may carry.
    fn shrink(&mut self, limits: &Limits) {
        while (self.clients.len() > if mutant!(RequestsForgottenAtOnce) { 1 } else { limits.clients }
            || self.bytes > limits.clients_bytes)
            && self.clients.len() > 1
        {
            let Some((&counter, oldest)) = self.by_age.get_min().map(|(counter, client)| (counter, client.clone()))
            else {
                break;
            };
            self.by_age.remove(&counter);
            if let Some((client, session)) = self.clients.remove(&oldest) {
                self.bytes -= session.bytes(&client);
            }
        }
    }

    pub(super) fn outcome(&self, request: &RequestKey<'_>) -> Outcome {
        match self.clients.get(request.client) {
            None => Outcome::NotApplied { last: None },
            Some(session) if session.sequence < request.sequence => {
                Outcome::NotApplied { last: Some(session.sequence) }
            }
            Some(session) if session.sequence > request.sequence => Outcome::Superseded { last: session.sequence },
            Some(session) => Outcome::Applied { at: session.at, reply: session.reply.clone() },
        }
    }

    /// Makes anew what is not in a snapshot.
    pub(super) fn rebuild(&mut self) {
        self.by_age = self.clients.iter().map(|(client, session)| (session.at.counter, Arc::clone(client))).collect();
    }

    pub(super) fn digest(&self, hash: &mut Xxh64) {
        for part in [self.clients.sum(), self.bytes] {
            hash.update(&part.to_le_bytes());
        }
    }
}
