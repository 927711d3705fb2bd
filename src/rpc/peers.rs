//! HTTP out: a line (`super::line`) to every peer, and what stands before it, the gates and links of the lab.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{debug, info, warn};
use parking_lot::{Mutex, RwLock};

use super::client::{Calling, Traffic};
use super::line::{Hub, Line};
use super::wire_strong;
use crate::lab::gates::Gates;
use crate::lab::links::{Fate, Late, Links};
use crate::lab::trace::Kind as Happening;
use crate::lab::trace::ring::{MessageId, Ring};
use crate::node::inbox::Inbox;
use crate::node::input::{Arrival, Input};
use crate::protocol::clock::Stamp;
use crate::protocol::host::Sender;
use crate::protocol::types::NodeId;
use crate::protocol::{Message, paxos};

/// How long a peer may take to answer. It answers as soon as its disk has written.
pub const TIMEOUT: Duration = Duration::from_secs(5);

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

    /// The bytes of its values.
    pub(super) fn value_bytes(&self) -> usize {
        match &self.message {
            Message::Paxos(paxos::Message::Accept { value, .. } | paxos::Message::Commit { value, .. }) => {
                value.as_str().len()
            }
            message => wire_strong::weight(message),
        }
    }
}

/// All peers of a node, the gates before them, and the links to them.
pub(crate) struct Peers {
    hub: Hub,
    gates: Gates,
    /// Those who founded the cluster, and where they listen: single values are decided with them, whoever the members are.
    founding: BTreeMap<NodeId, String>,
    lines: RwLock<BTreeMap<NodeId, Arc<Line>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Peers {
    /// Opens a line to every other member; the seed decides what lossy links lose.
    pub(crate) fn start(
        me: NodeId,
        addresses: &BTreeMap<NodeId, String>,
        calling: &Calling,
        inbox: Arc<Inbox>,
        (seed, ring): (u64, Arc<Ring>),
    ) -> io::Result<Self> {
        let founding: BTreeMap<NodeId, String> =
            addresses.iter().filter(|(peer, _)| **peer != me).map(|(peer, address)| (*peer, address.clone())).collect();
        let (links, calling) = (Arc::new(Links::new(seed)), calling.clone());
        let peers = Self {
            hub: Hub { me, calling, links, ring, inbox },
            gates: Gates::default(),
            founding: founding.clone(),
            lines: RwLock::default(),
            threads: Mutex::default(),
        };
        for (peer, address) in founding {
            let line = peers.open(peer, address)?;
            peers.lines.write().insert(peer, line);
        }
        Ok(peers)
    }

    fn open(&self, peer: NodeId, address: String) -> io::Result<Arc<Line>> {
        let line = Arc::new(Line::new(self.hub.clone(), peer, address));
        let running = line.clone();
        let name = format!("{} to {peer}", self.hub.me);
        let thread = thread::Builder::new().name(name).spawn(move || running.run())?;
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(line)
    }

    /// From now on there are lines to these, and to those who founded the cluster: others are closed, and what waits for
    /// them is dropped. Where both have an address, this one holds.
    pub(crate) fn meet(&self, addresses: BTreeMap<NodeId, Arc<str>>) {
        let mut wanted = self.founding.clone();
        wanted.extend(addresses.into_iter().map(|(peer, address)| (peer, address.to_string())));
        wanted.remove(&self.hub.me);
        let mut lines = self.lines.write();
        lines.retain(|peer, line| {
            let stays = wanted.get(peer).is_some_and(|address| address == line.address());
            if !stays {
                line.close();
            }
            stays
        });
        for (peer, address) in wanted {
            if lines.contains_key(&peer) {
                continue;
            }
            match self.open(peer, address) {
                Ok(line) => _ = lines.insert(peer, line),
                // Like a peer that cannot be reached. The next change of the members tries again, and so does a restart.
                Err(error) => warn!("no thread could be started that sends to {peer}: {error}"),
            }
        }
    }

    /// Whether there is a line to a node, or it is this one.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        node == self.hub.me || self.lines.read().contains_key(&node)
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
        self.lines.read().iter().map(|(&peer, line)| (peer, line.address().to_owned())).collect()
    }

    /// What was sent to each peer, and received from it in answer.
    pub(crate) fn traffic(&self) -> BTreeMap<NodeId, Arc<Traffic>> {
        self.lines.read().iter().map(|(&peer, line)| (peer, line.traffic())).collect()
    }

    /// The gates, for the lab. What they let go is to be handed to [`Peers::release`].
    pub(crate) const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The links, for the lab.
    pub(crate) fn links(&self) -> &Links {
        &self.hub.links
    }

    /// Sends what a gate has let go; what the node sent to itself goes to the driver.
    pub(crate) fn release(&self, released: Vec<Outgoing>) {
        let (own, others): (Vec<_>, Vec<_>) = released.into_iter().partition(|outgoing| outgoing.to == self.hub.me);
        for outgoing in others {
            self.befalls(Happening::Release, &outgoing);
            self.transmit(outgoing);
        }
        let said = |Outgoing { generation, clock, message, .. }: Outgoing| {
            let sender = Sender { from: self.hub.me, generation: Some(generation) };
            Arrival { sender, message, clock: Some(clock) }
        };
        self.arrive(own.into_iter().map(said).collect());
    }

    /// Sends what gates no longer hold because their time is up, what was late and is due, and what waited for company.
    pub(crate) fn release_due(&self) {
        let released = self.gates.open_expired();
        if !released.is_empty() {
            self.release(released);
        }
        let mut arrived = Vec::new();
        for late in self.links().due() {
            match late {
                Late::Leaves(outgoing) => self.enqueue(outgoing),
                Late::Arrives(arrival) => arrived.push(arrival),
            }
        }
        self.arrive(arrived);
        self.lines.read().values().for_each(|line| line.flush());
    }

    fn arrive(&self, messages: Vec<Arrival>) {
        if !messages.is_empty() {
            // If the driver has ended, the node is stopping, and the messages are lost like any other.
            _ = self.hub.inbox.send(Input::Arrived(messages));
        }
    }

    /// Sends a message over its link, with whatever is wrong with that.
    fn transmit(&self, outgoing: Outgoing) {
        match self.links().fate(outgoing.to) {
            Fate::Passes => self.enqueue(outgoing),
            Fate::Lost => self.befalls(Happening::Lose, &outgoing),
            Fate::Late(delay) => {
                let to = outgoing.to;
                if !self.links().postpone(Late::Leaves(outgoing), delay) {
                    debug!("too much is late: the link to {to} lost a message");
                }
            }
        }
    }

    /// Closes the lines, and waits for their threads.
    pub(crate) fn stop(&self) {
        self.lines.read().values().for_each(|line| line.close());
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                info!("the thread of a line panicked");
            }
        }
    }

    /// Tells of a message that does not just arrive. What the node says to itself has no stamp, and is not told of.
    fn befalls(&self, what: Happening, outgoing: &Outgoing) {
        if outgoing.to != self.hub.me {
            let Outgoing { to, clock, message, .. } = outgoing;
            self.hub.ring.message(what, clock, Some(MessageId::of(self.hub.me, clock)), *to, message);
        }
    }

    fn enqueue(&self, outgoing: Outgoing) {
        if outgoing.kind() == Kind::Answer {
            // Answers travel back with the call that asked. Nobody asked for this one, and nobody misses it.
            debug!("dropped an answer to {} that nobody waits for", outgoing.to);
            return;
        }
        match self.lines.read().get(&outgoing.to) {
            Some(line) => line.push(outgoing),
            None => debug!("dropped a message to {}, which is no peer", outgoing.to),
        }
    }
}
