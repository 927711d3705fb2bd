//! Three ways to find who holds a key, when nobody knows all: a structured overlay, an unstructured one, and a directory.
//!
//! | overlay | a key is | a lookup costs | what it gives up |
//! |---|---|---|---|
//! | [`chord`] | on the three nodes behind its place on a ring | about ½·log₂ n hops | nodes come and go with work for others |
//! | [`flood`] | on the node where it was set | a message on every link within the time to live | what is far away is not found |
//! | [`index`] | on the node where it was set, and one node knows that | two hops | without that one node nothing is found |
//!
//! All three `set`, `get` and `remove`, and every answer has the *route*: the nodes that the call came by, beginning with
//! the one that was asked. [`ring`] is the hashing that [`chord`] rests on, [`items`] what a node holds.
//!
//! # What is durable
//!
//! A copy is saved before it is acknowledged, in each of the three, and so is the directory's entry; so is whether the
//! node left the ring, and how far the numbers go that it may have given: no two versions of a key have one stamp, whatever
//! is lost in a crash. Tables of neighbours, fingers and queries are not: a node finds its place anew when it starts.
//!
//! # Caveats
//!
//! None of the three is linearizable, and none asks a majority. The newest version (the highest [`Stamp`]) among those
//! asked wins; two sides of a cut network both go on, and when it heals the higher stamp stays. That is what they are
//! for: to be compared with the log.

pub mod chord;
pub mod flood;
pub mod index;
pub mod items;
pub(crate) mod numbers;
pub mod ring;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::quorum::Members;
use super::types::{NodeId, RequestId, Value};
use super::{Event, Out};
use chord::Chord;
use flood::Flood;
use index::Index;
use items::Items;
use ring::Position;

/// A route never has more nodes than this.
pub const MAX_HOPS: usize = 64;

/// A key: any text of up to 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bounded);

/// Above every text stands what is none, so that the end of an arc can be named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Bounded {
    Text(Arc<str>),
    End,
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// The key; `None` if the text is too long.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= Self::MAX_BYTES).then(|| Self(Bounded::Text(Arc::from(text))))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Bounded::Text(text) => text,
            Bounded::End => "",
        }
    }

    /// Where it stands on the ring.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::of_key(self.as_str())
    }

    /// Behind all keys of a position.
    const fn highest(at: Position) -> (Position, Self) {
        (at, Self(Bounded::End))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("the key is too long"))
    }
}

/// Orders the versions of a key: by counter, and two of one counter by the node that made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Above that of the version which was replaced, and above all that its node has given before.
    pub counter: u64,
    /// Who made it.
    pub node: NodeId,
}

impl Stamp {
    /// XML-RPC's integers are signed. A version above this is no version.
    pub const MAX_COUNTER: u64 = 1 << 62;
}

/// What a key was set to, or that it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// When.
    pub stamp: Stamp,
    /// To what; absent when it was removed.
    #[serde(default, with = "as_bytes", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// Between nodes a value travels as the bytes of the text that it is kept as: they need no escapes, so it stays small.
mod as_bytes {
    use super::{Deserializer, Serializer, Value, fmt};

    #[allow(clippy::ref_option, reason = "serde hands over the field")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(value.as_ref().map_or("", Value::as_str).as_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a value's text")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
                std::str::from_utf8(bytes).map(Value::new).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Text).map(Some)
    }
}

/// A key and a version of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// Which key.
    pub key: Key,
    /// Which version.
    pub version: Version,
}

/// All that nodes say to each other about overlays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// The distributed hash table.
    Dht(chord::Message),
    /// Flooding.
    Flood(flood::Message),
    /// The central index.
    Index(index::Message),
}

impl Message {
    /// Its name, as it stands in traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Dht(message) => message.name(),
            Self::Flood(message) => message.name(),
            Self::Index(message) => message.name(),
        }
    }

    /// The key that it is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Dht(message) => message.key(),
            Self::Flood(message) => message.key(),
            Self::Index(message) => message.key(),
        }
    }

    /// Whether it is said all the time, to keep the overlay in shape, and not because somebody has asked for something.
    #[must_use]
    pub const fn is_upkeep(&self) -> bool {
        match self {
            Self::Dht(message) => message.is_upkeep(),
            Self::Flood(message) => matches!(message, flood::Message::Hello {} | flood::Message::Welcome { .. }),
            Self::Index(message) => matches!(message, index::Message::Claim { .. }),
        }
    }
}

impl From<Message> for super::Message {
    fn from(message: Message) -> Self {
        Self::Overlay(message)
    }
}

/// What a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Copies of the distributed hash table.
    Dht,
    /// What was set here, and is found by flooding.
    Flood,
    /// What was set here, and is found by the index.
    Index,
    /// The index itself: no values, and the stamp's node is the holder.
    Directory,
}

impl Shelf {
    /// All of them, with the names that stand in the store.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Dht, "dht"), (Self::Flood, "flood"), (Self::Index, "index"), (Self::Directory, "directory")];

    /// The name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(shelf, _)| *shelf == self).map_or("", |(_, name)| name)
    }
}

/// What a node makes durable about overlays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Record {
    /// A version of a key, which replaces the one that was held.
    Hold {
        /// Where.
        shelf: Shelf,
        /// What.
        item: Item,
    },
    /// A key is held no longer.
    Release {
        /// Where.
        shelf: Shelf,
        /// Which.
        key: Key,
    },
    /// Whether the node wants to be part of the ring.
    Membership {
        /// It does until it is told to leave.
        joined: bool,
    },
    /// Numbers that may be given from now on, and must not be given after a crash.
    Reserve {
        /// To what they belong.
        shelf: Shelf,
        /// The last of them.
        upto: u64,
    },
}

/// A node's memory of its overlays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// What is held of the hash table.
    pub dht: Items,
    /// What was set here for flooding.
    pub flood: Items,
    /// What was set here for the index.
    pub index: Items,
    /// The index's entries.
    pub directory: Items,
    /// Whether the node left the ring.
    pub left: bool,
    /// The last of the numbers that may have been given, by what they belong to.
    pub reserved: BTreeMap<Shelf, u64>,
}

impl Memory {
    /// Takes one record more.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Hold { shelf, item } => self.shelf(*shelf).put(item.clone()),
            Record::Release { shelf, key } => self.shelf(*shelf).forget(key),
            Record::Membership { joined } => self.left = !joined,
            Record::Reserve { shelf, upto } => _ = self.reserved.insert(*shelf, *upto),
        }
    }

    /// The last of the numbers that may have been given.
    #[must_use]
    pub fn reserved(&self, shelf: Shelf) -> u64 {
        self.reserved.get(&shelf).copied().unwrap_or(0)
    }

    const fn shelf(&mut self, shelf: Shelf) -> &mut Items {
        match shelf {
            Shelf::Dht => &mut self.dht,
            Shelf::Flood => &mut self.flood,
            Shelf::Index => &mut self.index,
            Shelf::Directory => &mut self.directory,
        }
    }
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the modules say what they are")]
pub enum Which {
    Dht,
    Flood,
    Index,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Sets a key, where it exists and where it does not.
    Set {
        /// Which key.
        key: Key,
        /// To what.
        value: Value,
    },
    /// Reads a key.
    Get {
        /// Which key.
        key: Key,
    },
    /// Removes a key that exists.
    Remove {
        /// Which key.
        key: Key,
    },
}

impl Call {
    /// The key that it is about.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Set { key, .. } | Self::Get { key } | Self::Remove { key } => key,
        }
    }
}

/// What became of a call that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The value that a get found.
    pub value: Option<Value>,
    /// The nodes that the call came by, the one that was asked first, the one that holds the key last.
    pub hops: Vec<NodeId>,
    /// On how many nodes the key was found, was written or was removed.
    pub copies: usize,
    /// How many messages this node sent and had answered for it, where it knows.
    pub messages: usize,
}

/// Why a call did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There is no such key to remove. Nothing was changed.
    NotFound,
    /// This was in the way until the deadline. Nothing was changed.
    Unavailable(&'static str),
    /// It was sent out, and not all have confirmed it: it may have happened.
    Unknown(&'static str),
    /// Some node holds as much as it may. Nothing was changed.
    Full,
    /// The node is not in a state in which this can be asked. Nothing was changed.
    Refused(&'static str),
    /// The node was restarted, and has forgotten the call.
    Restarted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such key"),
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
            Self::Full => f.write_str("full"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Restarted => f.write_str("restarted"),
        }
    }
}

/// What can be set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// About the hash table.
    pub chord: chord::Options,
    /// About flooding.
    pub flood: flood::Options,
}

/// All overlays of one node.
#[derive(Debug)]
pub struct Overlay {
    chord: Chord,
    flood: Flood,
    index: Index,
}

impl Overlay {
    /// Starts from what the node remembers.
    #[must_use]
    pub fn new(id: NodeId, members: &Members, options: Options, mut memory: Memory, mut rng: Pcg64Mcg) -> Self {
        let others: Vec<NodeId> = members.others(id).collect();
        let mut seeded = || Pcg64Mcg::seed_from_u64(rng.random());
        Self {
            chord: Chord::new(id, others.clone(), options.chord, &mut memory, seeded()),
            flood: Flood::new(id, others, options.flood, &mut memory, seeded()),
            // The one that knows: any would do, as long as all mean the same.
            index: Index::new(id, members.iter().next().unwrap_or(id), &mut memory, seeded()),
        }
    }

    /// Whether there is nothing that the node remembers: no key, and no number that it may have given.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.chord.is_blank() && self.flood.is_blank() && self.index.is_blank()
    }

    /// These belong to the cluster now.
    pub fn meet(&mut self, members: &Members) {
        self.chord.meet(members);
        self.flood.meet(members);
    }

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Dht(message) => self.chord.on_message(from, message, out),
            Message::Flood(message) => self.flood.on_message(from, message, out),
            Message::Index(message) => self.index.on_message(from, message, out),
        }
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.chord.on_tick(out);
        self.flood.on_tick(out);
        self.index.on_tick(out);
    }

    /// A client asks.
    pub fn call(&mut self, which: Which, request: RequestId, call: Call, deadline_ticks: u64, out: &mut Out) {
        match which {
            Which::Dht => self.chord.call(request, call, deadline_ticks, out),
            Which::Flood => self.flood.call(request, call, deadline_ticks, out),
            Which::Index => self.index.call(request, call, deadline_ticks, out),
        }
    }

    /// The transport saw that a peer's process has ended.
    pub fn disconnected(&mut self, peer: NodeId, out: &mut Out) {
        self.chord.disconnected(peer, out);
        self.flood.disconnected(peer);
    }

    /// The node forgets: all who wait are told.
    pub fn abandon(&mut self, out: &mut Out) {
        let waiting: Vec<RequestId> =
            self.chord.waiting().chain(self.flood.waiting()).chain(self.index.waiting()).collect();
        for request in waiting {
            done(request, Err(Failure::Restarted), out);
        }
    }

    /// The hash table, for observers.
    #[must_use]
    pub const fn chord(&self) -> &Chord {
        &self.chord
    }

    /// The same, to join and to leave.
    pub const fn chord_mut(&mut self) -> &mut Chord {
        &mut self.chord
    }

    /// Flooding, for observers.
    #[must_use]
    pub const fn flood(&self) -> &Flood {
        &self.flood
    }

    /// The index, for observers.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        self.chord.check_invariants();
    }
}

/// A call is over.
fn done(request: RequestId, result: Result<Answer, Failure>, out: &mut Out) {
    out.notify(Event::Found { request, result });
}
