//! HTTP out: a sender thread per peer.
//!
//! The driver never waits for a peer: it puts a message into the peer's queue. The peer's thread takes what is queued,
//! sends one message as itself and several as one `system.multicall`, and hands the answers to the driver as messages.
//! A peer that is slow or gone costs its own queue, and there the oldest messages.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::Sender as Inbox;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use parking_lot::{Condvar, Mutex, RwLock};
use serde::Serialize;

use super::client::{CallError, Calling, Client, Traffic};
use super::wire::{self, Answer, Envelope, Item};
use super::wire_strong;
use crate::lab::gates::Gates;
use crate::lab::links::{Fate, Late, Links};
use crate::lab::trace::Kind as Happening;
use crate::lab::trace::ring::{MessageId, Ring};
use crate::node::input::{Arrival, Input};
use crate::protocol::clock::Stamp;
use crate::protocol::host::Sender;
use crate::protocol::types::NodeId;
use crate::protocol::{Message, paxos};
use crate::xmlrpc::{Fault, to_call};

/// How long a peer may take to answer. It answers as soon as its disk has written.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a Commit waits for a message that it can travel with.
const COMMIT_PATIENCE: Duration = Duration::from_millis(2);
const MAX_QUEUED: usize = 4096;
/// Messages in one multicall, and the bytes of values in it.
const MAX_TOGETHER: usize = 256;
const MAX_TOGETHER_BYTES: usize = 1 << 20;

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The receiver.
    pub to: NodeId,
    /// The sender's generation when it was said.
    pub generation: u64,
    /// The sender's clocks when it was said.
    pub clock: Stamp,
    /// The message.
    pub message: Message,
}

/// The kinds of messages that are calls, and that a gate can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the papers' words")]
pub enum Kind {
    Prepare,
    Accept,
    Commit,
    Learn,
    /// A message of election, log or forwarded calls.
    Strong(&'static str),
    /// Any of these: a gate for them holds all that no gate of its own kind holds.
    All,
    /// An answer. It travels back with the call, and no gate holds it.
    Answer,
}

impl Kind {
    /// The kinds that a gate can hold, which are the methods' names.
    pub const CALLS: [(&'static str, Self); 5] = [
        ("prepare", Self::Prepare),
        ("accept", Self::Accept),
        ("commit", Self::Commit),
        ("learn", Self::Learn),
        ("all", Self::All),
    ];

    /// The method's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Strong(name) => name,
            kind => Self::CALLS.iter().find(|(_, known)| *known == kind).map_or("answer", |(name, _)| name),
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let strong = || wire_strong::NAMES.iter().find(|known| **known == name).map(|name| Self::Strong(name));
        Self::CALLS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).or_else(strong).ok_or(())
    }
}

impl Outgoing {
    /// What kind of message it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.message {
            Message::Paxos(paxos::Message::Prepare { .. }) => Kind::Prepare,
            Message::Paxos(paxos::Message::Accept { .. }) => Kind::Accept,
            Message::Paxos(paxos::Message::Commit { .. }) => Kind::Commit,
            Message::Paxos(paxos::Message::Learn(_)) => Kind::Learn,
            _ => match wire_strong::name(&self.message) {
                Some(name) => Kind::Strong(name),
                None => Kind::Answer,
            },
        }
    }

    fn value_bytes(&self) -> usize {
        match &self.message {
            Message::Paxos(paxos::Message::Accept { value, .. } | paxos::Message::Commit { value, .. }) => {
                value.as_str().len()
            }
            message => wire_strong::weight(message),
        }
    }
}

/// All peers of a node, the gates before them, and the links to them.
#[derive(Debug)]
pub(crate) struct Peers {
    me: NodeId,
    gates: Gates,
    links: Arc<Links>,
    ring: Arc<Ring>,
    calling: Calling,
    /// Those who founded the cluster, and where they listen: single values are decided with them, whoever the members are.
    founding: BTreeMap<NodeId, String>,
    lines: RwLock<BTreeMap<NodeId, End>>,
    inbox: Inbox<Input>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// This end of a line: what the sender at the other one takes from.
#[derive(Debug)]
struct End {
    address: String,
    queue: Arc<Queue>,
    traffic: Arc<Traffic>,
}

impl Peers {
    /// Starts a sender for every other member; the seed decides what lossy links lose.
    pub(crate) fn start(
        me: NodeId,
        addresses: &BTreeMap<NodeId, String>,
        calling: &Calling,
        inbox: Inbox<Input>,
        (seed, ring): (u64, Arc<Ring>),
    ) -> io::Result<Self> {
        let founding: BTreeMap<NodeId, String> =
            addresses.iter().filter(|(peer, _)| **peer != me).map(|(peer, address)| (*peer, address.clone())).collect();
        let peers = Self {
            me,
            gates: Gates::default(),
            links: Arc::new(Links::new(seed)),
            ring,
            calling: calling.clone(),
            founding: founding.clone(),
            lines: RwLock::default(),
            inbox,
            threads: Mutex::default(),
        };
        for (peer, address) in founding {
            let end = peers.open(peer, address)?;
            peers.lines.write().insert(peer, end);
        }
        Ok(peers)
    }

    fn open(&self, peer: NodeId, address: String) -> io::Result<End> {
        let (me, queue) = (self.me, Arc::new(Queue::default()));
        let client = Client::calling(&address, &self.calling);
        let traffic = client.traffic();
        let (links, ring, inbox) = (self.links.clone(), self.ring.clone(), self.inbox.clone());
        let line = Line { me, peer, client, queue: queue.clone(), links, ring, inbox, is_up: true };
        let thread = thread::Builder::new().name(format!("{me} to {peer}")).spawn(move || line.run())?;
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(End { address, queue, traffic })
    }

    /// From now on there are lines to these, and to those who founded the cluster: others are closed, and what waits for
    /// them is dropped. Where both have an address, this one holds.
    pub(crate) fn meet(&self, addresses: BTreeMap<NodeId, Arc<str>>) {
        let mut wanted = self.founding.clone();
        wanted.extend(addresses.into_iter().map(|(peer, address)| (peer, address.to_string())));
        wanted.remove(&self.me);
        let mut lines = self.lines.write();
        lines.retain(|peer, end| {
            let stays = wanted.get(peer) == Some(&end.address);
            if !stays {
                end.queue.close();
            }
            stays
        });
        for (peer, address) in wanted {
            if lines.contains_key(&peer) {
                continue;
            }
            match self.open(peer, address) {
                Ok(end) => _ = lines.insert(peer, end),
                // Like a peer that cannot be reached. The next change of the members tries again, and so does a restart.
                Err(error) => warn!("no thread could be started that sends to {peer}: {error}"),
            }
        }
    }

    /// Whether there is a line to a node, or it is this one.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        node == self.me || self.lines.read().contains_key(&node)
    }

    /// Sends a message, unless a gate keeps it. Never waits.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        if let Some(outgoing) = self.admit(outgoing) {
            self.transmit(outgoing);
        }
    }

    /// Passes a message through the gates: the driver's way for what a node sends to itself.
    pub(crate) fn admit(&self, outgoing: Outgoing) -> Option<Outgoing> {
        self.gates.admit(outgoing, |held| self.befalls(Happening::Hold, held))
    }

    /// The nodes that this one speaks to, and where they listen.
    pub(crate) fn addresses(&self) -> BTreeMap<NodeId, String> {
        self.lines.read().iter().map(|(&peer, end)| (peer, end.address.clone())).collect()
    }

    /// What was sent to each peer, and received from it in answer.
    pub(crate) fn traffic(&self) -> BTreeMap<NodeId, Arc<Traffic>> {
        self.lines.read().iter().map(|(&peer, end)| (peer, end.traffic.clone())).collect()
    }

    /// The gates, for the lab. What they let go is to be handed to [`Peers::release`].
    pub(crate) const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The links, for the lab.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// Sends what a gate has let go; what the node sent to itself goes to the driver.
    pub(crate) fn release(&self, released: Vec<Outgoing>) {
        let (own, others): (Vec<_>, Vec<_>) = released.into_iter().partition(|outgoing| outgoing.to == self.me);
        for outgoing in others {
            self.befalls(Happening::Release, &outgoing);
            self.transmit(outgoing);
        }
        let said = |Outgoing { generation, clock, message, .. }: Outgoing| {
            let sender = Sender { from: self.me, generation: Some(generation) };
            Arrival { sender, message, clock: Some(clock) }
        };
        self.arrive(own.into_iter().map(said).collect());
    }

    /// Sends what gates no longer hold because their time is up, and what was late and is due.
    pub(crate) fn release_due(&self) {
        let released = self.gates.open_expired();
        if !released.is_empty() {
            self.release(released);
        }
        let mut arrived = Vec::new();
        for late in self.links.due() {
            match late {
                Late::Leaves(outgoing) => self.enqueue(outgoing),
                Late::Arrives(arrival) => arrived.push(arrival),
            }
        }
        self.arrive(arrived);
    }

    fn arrive(&self, messages: Vec<Arrival>) {
        if !messages.is_empty() {
            // If the driver has ended, the node is stopping, and the messages are lost like any other.
            _ = self.inbox.send(Input::Arrived(messages));
        }
    }

    /// Sends a message over its link, with whatever is wrong with that.
    fn transmit(&self, outgoing: Outgoing) {
        match self.links.fate(outgoing.to) {
            Fate::Passes => self.enqueue(outgoing),
            Fate::Lost => self.befalls(Happening::Lose, &outgoing),
            Fate::Late(delay) => {
                let to = outgoing.to;
                if !self.links.postpone(Late::Leaves(outgoing), delay) {
                    debug!("too much is late: the link to {to} lost a message");
                }
            }
        }
    }

    /// Ends the senders. One that waits for an answer ends when it has it, or when the time is up.
    pub(crate) fn stop(&self) {
        self.lines.read().values().for_each(|end| end.queue.close());
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                info!("a sender thread panicked");
            }
        }
    }

    /// Tells of a message that does not just arrive. What the node says to itself has no stamp, and is not told of.
    fn befalls(&self, what: Happening, outgoing: &Outgoing) {
        if outgoing.to != self.me {
            let Outgoing { to, clock, message, .. } = outgoing;
            self.ring.message(what, clock, Some(MessageId::of(self.me, clock)), *to, message);
        }
    }

    fn enqueue(&self, outgoing: Outgoing) {
        if outgoing.kind() == Kind::Answer {
            // Answers travel back with the call that asked. Nobody asked for this one, and nobody misses it.
            debug!("dropped an answer to {} that nobody waits for", outgoing.to);
            return;
        }
        match self.lines.read().get(&outgoing.to) {
            Some(end) => end.queue.push(outgoing),
            None => debug!("dropped a message to {}, which is no peer", outgoing.to),
        }
    }
}

/// The messages that wait for one peer.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    messages: VecDeque<Outgoing>,
    closed: bool,
}

impl Queue {
    fn push(&self, outgoing: Outgoing) {
        let mut state = self.state.lock();
        if state.messages.len() >= MAX_QUEUED {
            state.messages.pop_front();
        }
        state.messages.push_back(outgoing);
        self.filled.notify_one();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits for messages, and takes as many as go into one call; `None` once closed.
    fn take(&self) -> Option<Vec<Outgoing>> {
        let mut state = self.state.lock();
        while state.messages.is_empty() && !state.closed {
            self.filled.wait(&mut state);
        }
        // What was chosen is told with the next message, if there is one soon: nobody waits for a Commit.
        let until = Instant::now() + COMMIT_PATIENCE;
        while !state.closed && state.messages.iter().all(|outgoing| outgoing.kind() == Kind::Commit) {
            if self.filled.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        if state.closed {
            return None;
        }
        let mut bytes = 0;
        let mut count = 0;
        for outgoing in state.messages.iter().take(MAX_TOGETHER) {
            bytes += outgoing.value_bytes();
            if count > 0 && bytes > MAX_TOGETHER_BYTES {
                break;
            }
            count += 1;
        }
        Some(state.messages.drain(..count).collect())
    }
}

/// The line to one peer: what its sender thread owns.
struct Line {
    me: NodeId,
    peer: NodeId,
    client: Client,
    queue: Arc<Queue>,
    links: Arc<Links>,
    ring: Arc<Ring>,
    inbox: Inbox<Input>,
    /// Whether the last call reached the peer: the log says when that changes.
    is_up: bool,
}

/// One call of a `system.multicall`.
#[derive(Serialize)]
struct MultiItem<'a> {
    #[serde(rename = "methodName")]
    method: &'static str,
    params: wire::Params<'a>,
}

impl Line {
    fn run(mut self) {
        while let Some(messages) = self.queue.take() {
            let arrived = match self.exchange(&messages) {
                Ok(answers) => {
                    if !std::mem::replace(&mut self.is_up, true) {
                        info!("{} answers again", self.peer);
                    }
                    answers
                }
                Err(error) => {
                    if std::mem::replace(&mut self.is_up, false) {
                        info!("{} does not answer: {error}", self.peer);
                    }
                    if error.is_refused() {
                        messages.iter().for_each(|outgoing| self.loses(outgoing));
                    }
                    // Nobody listens there any more: its process has ended, and no timeout says so sooner.
                    if error.is_refused() && self.inbox.send(Input::Disconnected(self.peer)).is_err() {
                        return;
                    }
                    continue;
                }
            };
            // If the driver has ended, the node is stopping.
            if !arrived.is_empty() && self.inbox.send(Input::Arrived(arrived)).is_err() {
                return;
            }
        }
    }

    /// Nobody is there to take it. Where a call had no answer, nobody knows.
    fn loses(&self, outgoing: &Outgoing) {
        let Outgoing { clock, message, .. } = outgoing;
        self.ring.message(Happening::Lose, clock, Some(MessageId::of(self.me, clock)), self.peer, message);
    }

    fn exchange(&self, messages: &[Outgoing]) -> Result<Vec<Arrival>, CallError> {
        let mut calls: Vec<_> = messages.iter().filter_map(|outgoing| self.call(outgoing)).collect();
        let mut body = Vec::with_capacity(512 * messages.len());
        let is_sent_once = |message: &Message| matches!(message, Message::Strong(call) if call.is_sent_once());
        let once = messages.iter().any(|outgoing| is_sent_once(&outgoing.message));
        let answers: Vec<Result<Answer, Fault>> = if calls.len() == 1
            && let Some((method, params)) = calls.pop()
        {
            to_call(method, &params, &mut body)?;
            vec![if once { self.client.post_once(&body)? } else { self.client.post(&body)? }]
        } else {
            let items: Vec<_> = calls.into_iter().map(|(method, params)| MultiItem { method, params }).collect();
            to_call("system.multicall", &(items,), &mut body)?;
            let items: Vec<Item> = if once { self.client.post_once(&body)?? } else { self.client.post(&body)?? };
            items.into_iter().map(|item| item.0).collect()
        };
        let mut arrived = Vec::with_capacity(answers.len());
        for (asked, answer) in messages.iter().zip(answers) {
            match answer {
                Ok(answer) => arrived.extend(self.understand(asked, answer)),
                Err(fault) => debug!("{} refused a message: {fault}", self.peer),
            }
        }
        Ok(arrived)
    }

    fn call<'a>(&self, outgoing: &'a Outgoing) -> Option<(&'static str, wire::Params<'a>)> {
        let Outgoing { generation, clock, .. } = outgoing;
        let (generation, clock) = (*generation, Some(clock.clone()));
        let envelope = Envelope { from: self.me, to: self.peer, generation, clock };
        wire::call(&outgoing.message, envelope)
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
        if !self.links.postpone(Late::Arrives(arrival), delay) {
            debug!("too much is late: the link of {} lost an answer", self.peer);
        }
        None
    }
}
