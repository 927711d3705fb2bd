//! The line to one peer: a queue, a connection and a thread.
//!
//! One call is under way at a time. Who has a message while none is, mostly the driver, writes the call itself and does
//! not wait: to wake a thread for that would cost more than the call. What comes while a call is under way is queued, and
//! goes with the next one, several messages as one `system.multicall`. The line's thread waits for answers, brings them
//! to the driver as messages, and opens the connection again when it breaks. A peer that is slow or gone costs its own
//! queue, and there the oldest messages.
//!
//! Towards peers that want TLS the thread makes the calls, too, with ureq: a session cannot be shared.

mod http;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::Serialize;

use self::http::{Answers, Silence};
use super::client::{CallError, Calling, Client, Traffic, decode};
use super::peers::{Kind, Outgoing, TIMEOUT};
use super::wire::{self, Answer, Envelope, Item};
use crate::lab::links::{Late, Links};
use crate::lab::trace::Kind as Happening;
use crate::lab::trace::ring::{MessageId, Ring};
use crate::node::inbox::{Ended, Inbox};
use crate::node::input::{Arrival, Input};
use crate::protocol::Message;
use crate::protocol::host::Sender;
use crate::protocol::types::NodeId;
use crate::xmlrpc::{EncodeError, Fault, to_call};

const MAX_QUEUED: usize = 4096;
/// Messages in one multicall, and the bytes of values in it.
const MAX_TOGETHER: usize = 256;
const MAX_TOGETHER_BYTES: usize = 1 << 20;

/// What all lines of a node share.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) me: NodeId,
    pub(super) calling: Calling,
    pub(super) links: Arc<Links>,
    pub(super) ring: Arc<Ring>,
    pub(super) inbox: Arc<Inbox>,
}

/// The line to one peer.
pub(super) struct Line {
    hub: Hub,
    peer: NodeId,
    address: String,
    /// What every request begins with.
    head: String,
    traffic: Arc<Traffic>,
    /// Makes the calls to a peer that wants TLS.
    client: Option<Client>,
    state: Mutex<State>,
    /// Notified when the thread has something to do that it does not hear from the connection.
    filled: Condvar,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Outgoing>,
    /// Whether the messages in the queue have waited long enough for company.
    due: bool,
    /// Whether the first call from the queue is one that has been sent before.
    again: bool,
    closed: bool,
    /// The connection, as long as it is open.
    wire: Option<Arc<TcpStream>>,
    /// The call that is under way on it.
    asked: Option<Asked>,
}

/// A call that is under way.
struct Asked {
    messages: Vec<Outgoing>,
    since: Instant,
    again: bool,
}

impl State {
    /// Whether there is something to send: what was chosen is told with the next message, if there is one soon, as nobody
    /// waits for a Commit.
    fn is_ready(&self) -> bool {
        !self.messages.is_empty() && (self.due || self.messages.iter().any(|message| message.kind() != Kind::Commit))
    }

    /// Takes as many messages as go into one call.
    fn take(&mut self) -> Asked {
        let mut bytes = 0;
        let mut count = 0;
        for outgoing in self.messages.iter().take(MAX_TOGETHER) {
            bytes += outgoing.value_bytes();
            if count > 0 && bytes > MAX_TOGETHER_BYTES {
                break;
            }
            count += 1;
        }
        self.due = false;
        let again = std::mem::take(&mut self.again);
        Asked { messages: self.messages.drain(..count).collect(), since: Instant::now(), again }
    }
}

/// One call of a `system.multicall`.
#[derive(Serialize)]
struct MultiItem<'a> {
    #[serde(rename = "methodName")]
    method: &'static str,
    params: wire::Params<'a>,
}

impl Line {
    pub(super) fn new(hub: Hub, peer: NodeId, address: String) -> Self {
        let client = hub.calling.authorities.is_some().then(|| Client::calling(&address, &hub.calling));
        let traffic = client.as_ref().map_or_else(Arc::default, Client::traffic);
        let head = http::request_head(&address, hub.calling.authorization.as_deref());
        Self { hub, peer, address, head, traffic, client, state: Mutex::default(), filled: Condvar::new() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// Sends a message, or queues it. Never waits.
    pub(super) fn push(&self, outgoing: Outgoing) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if state.messages.len() >= MAX_QUEUED {
            state.messages.pop_front();
        }
        state.messages.push_back(outgoing);
        self.proceed(state);
    }

    /// Time has passed: what waited for company waits no longer.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        if !state.messages.is_empty() {
            state.due = true;
            self.proceed(state);
        }
    }

    /// Nothing is sent any more. A call that is under way gets no answer.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        if let Some(wire) = &state.wire {
            _ = wire.shutdown(Shutdown::Both);
        }
        self.filled.notify_one();
    }

    /// Makes the next call, if there is one to make and none under way.
    fn proceed(&self, mut state: MutexGuard<'_, State>) {
        if state.asked.is_some() || !state.is_ready() {
            return;
        }
        let Some(wire) = state.wire.clone() else {
            self.filled.notify_one();
            return;
        };
        let asked = state.take();
        let mut body = Vec::with_capacity(512 * asked.messages.len());
        if let Err(error) = self.encode(&asked.messages, &mut body) {
            warn!("a message to {} cannot be sent: {error}", self.peer);
            return;
        }
        self.traffic.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        state.asked = Some(asked);
        http::send(&wire, http::request(&self.head, &body));
    }

    /// What the line's thread does, until the line is closed or the driver has ended.
    pub(super) fn run(&self) {
        let mut thread = Thread { line: self, is_up: true, doubtful: false };
        while thread.waits() {
            let goes_on = match &self.client {
                Some(client) => thread.call_by(client),
                None => match http::connect(&self.address, TIMEOUT) {
                    Ok(stream) => thread.serve(&Arc::new(stream)),
                    Err(error) => thread.cannot_connect(error),
                },
            };
            if goes_on.is_err() {
                return;
            }
        }
    }

    fn encode(&self, messages: &[Outgoing], body: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut calls: Vec<_> = messages.iter().filter_map(|outgoing| self.call(outgoing)).collect();
        match calls.pop() {
            Some((method, params)) if calls.is_empty() => to_call(method, &params, body),
            last => {
                let items = calls.into_iter().chain(last).map(|(method, params)| MultiItem { method, params });
                to_call("system.multicall", &(items.collect::<Vec<_>>(),), body)
            }
        }
    }

    fn call<'a>(&self, outgoing: &'a Outgoing) -> Option<(&'static str, wire::Params<'a>)> {
        let Outgoing { generation, clock, .. } = outgoing;
        let (generation, clock) = (*generation, Some(clock.clone()));
        wire::call(&outgoing.message, Envelope { from: self.hub.me, to: self.peer, generation, clock })
    }

    /// The messages that the answer to a call brings.
    fn decode(&self, asked: &[Outgoing], body: &[u8]) -> Result<Vec<Arrival>, CallError> {
        let answers: Vec<Result<Answer, Fault>> = match asked {
            [_] => vec![decode(body)?],
            _ => decode::<Vec<Item>>(body)??.into_iter().map(|item| item.0).collect(),
        };
        let mut arrived = Vec::with_capacity(answers.len());
        for (asked, answer) in asked.iter().zip(answers) {
            match answer {
                Ok(answer) => arrived.extend(self.understand(asked, answer)),
                Err(fault) => debug!("{} refused a message: {fault}", self.peer),
            }
        }
        Ok(arrived)
    }

    /// An answer as a message of the peer. One that only says "I live in another generation" is one too. One that the
    /// peer's link to this node makes late is kept until it is due.
    fn understand(&self, asked: &Outgoing, mut answer: Answer) -> Option<Arrival> {
        let (generation, clock) = (answer.generation?, answer.clock.take());
        let late = answer.late_ms.map(|ms| Duration::from_millis(ms.into()));
        if let Some(reason) = &answer.ignored {
            debug!("{} ignored a message: {reason}", self.peer);
        }
        let elsewhere = (generation != asked.generation).then_some(Message::Elsewhere);
        let message = wire::understand(&asked.message, answer).or(elsewhere)?;
        let arrival = Arrival { sender: Sender { from: self.peer, generation: Some(generation) }, message, clock };
        let Some(delay) = late else { return Some(arrival) };
        if !self.hub.links.postpone(Late::Arrives(arrival), delay) {
            debug!("too much is late: the link of {} lost an answer", self.peer);
        }
        None
    }

    /// Whether the answer that is waited for, if any, may still come.
    fn may_wait(&self) -> io::Result<()> {
        match &self.state.lock().asked {
            Some(asked) if asked.since.elapsed() > TIMEOUT => {
                Err(io::Error::new(ErrorKind::TimedOut, "it took too long"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether one of them must not be sent a second time.
fn once(messages: &[Outgoing]) -> bool {
    messages.iter().any(|outgoing| matches!(&outgoing.message, Message::Strong(call) if call.is_sent_once()))
}

/// What the line's thread knows.
struct Thread<'a> {
    line: &'a Line,
    /// Whether the last call reached the peer: the log says when that changes.
    is_up: bool,
    /// Whether a connection has ended that was in use: is anybody there?
    doubtful: bool,
}

impl Thread<'_> {
    /// Waits until there is something to do without a connection; `false` once the line is closed.
    fn waits(&self) -> bool {
        let mut state = self.line.state.lock();
        self.line.filled.wait_while(&mut state, |state| !state.is_ready() && !state.closed && !self.doubtful);
        !state.closed
    }

    /// Reads the answers on a connection until it ends.
    fn serve(&mut self, wire: &Arc<TcpStream>) -> Result<(), Ended> {
        let line = self.line;
        {
            let mut state = line.state.lock();
            if state.closed {
                return Ok(());
            }
            state.wire = Some(wire.clone());
            line.proceed(state);
        }
        let (mut answers, mut is_used) = (Answers::new(), false);
        let silence = loop {
            let answer = match answers.next(&**wire, || line.may_wait()) {
                Ok(answer) => answer,
                Err(silence) => break silence,
            };
            let mut state = line.state.lock();
            let Some(asked) = state.asked.take() else { break Silence::Garbled("nothing was asked".to_owned()) };
            if answer.is_last {
                state.wire = None;
            }
            // The next call first: what this one brings may take a while.
            line.proceed(state);
            is_used = true;
            line.traffic.received.fetch_add(answer.body.len() as u64, Ordering::Relaxed);
            line.traffic.round_trips.lock().observe(asked.since.elapsed());
            match line.decode(&asked.messages, &answer.body) {
                Ok(arrived) => self.deliver(arrived)?,
                Err(error) => self.fails(&asked.messages, &error)?,
            }
            if answer.is_last {
                break Silence::Closed(io::Error::other("the peer has closed the connection"));
            }
        };
        _ = wire.shutdown(Shutdown::Both);
        self.has_ended(silence, is_used)
    }

    fn has_ended(&mut self, silence: Silence, is_used: bool) -> Result<(), Ended> {
        let asked = {
            let mut state = self.line.state.lock();
            state.wire = None;
            match state.asked.take() {
                // The peer's door may have closed it meanwhile. Once more, if that does no harm.
                Some(asked) if matches!(silence, Silence::Closed(_)) && !asked.again && !once(&asked.messages) => {
                    asked.messages.into_iter().rev().for_each(|message| state.messages.push_front(message));
                    (state.again, state.due) = (true, true);
                    return Ok(());
                }
                asked => asked,
            }
        };
        self.doubtful = is_used;
        match (asked, silence) {
            (None, Silence::Closed(_)) => Ok(()),
            (asked, silence) => {
                let error = match silence {
                    Silence::Garbled(why) => CallError::Garbled(why),
                    Silence::Closed(error) | Silence::Broken(error) => CallError::NoAnswer(error.into()),
                };
                self.fails(&asked.map_or_else(Vec::new, |asked| asked.messages), &error)
            }
        }
    }

    fn cannot_connect(&mut self, error: io::Error) -> Result<(), Ended> {
        self.doubtful = false;
        let asked = self.line.state.lock().take();
        self.fails(&asked.messages, &CallError::Unreachable(error.into()))
    }

    /// One call over ureq, and what comes of it.
    fn call_by(&mut self, client: &Client) -> Result<(), Ended> {
        let asked = self.line.state.lock().take();
        let mut body = Vec::with_capacity(512 * asked.messages.len());
        let arrived = self.line.encode(&asked.messages, &mut body).map_err(CallError::from).and_then(|()| {
            let answer = client.post(&body, !once(&asked.messages))?;
            self.line.decode(&asked.messages, &answer)
        });
        match arrived {
            Ok(arrived) => self.deliver(arrived),
            Err(error) => self.fails(&asked.messages, &error),
        }
    }

    fn deliver(&mut self, arrived: Vec<Arrival>) -> Result<(), Ended> {
        let Line { hub, peer, .. } = self.line;
        if !std::mem::replace(&mut self.is_up, true) {
            info!("{peer} answers again");
        }
        if arrived.is_empty() { Ok(()) } else { hub.inbox.send(Input::Arrived(arrived)) }
    }

    fn fails(&mut self, messages: &[Outgoing], error: &CallError) -> Result<(), Ended> {
        let Line { hub, peer, client, traffic, .. } = self.line;
        if client.is_none() {
            // A client counts for itself.
            traffic.failures.fetch_add(1, Ordering::Relaxed);
        }
        if std::mem::replace(&mut self.is_up, false) {
            info!("{peer} does not answer: {error}");
        }
        if !error.is_refused() {
            return Ok(());
        }
        // Nobody is there to take them. Where a call had no answer, nobody knows.
        for Outgoing { clock, message, .. } in messages {
            hub.ring.message(Happening::Lose, clock, Some(MessageId::of(hub.me, clock)), *peer, message);
        }
        // The peer's process has ended, and no timeout says so sooner.
        hub.inbox.send(Input::Disconnected(*peer))
    }
}
