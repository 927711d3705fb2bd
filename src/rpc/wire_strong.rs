//! How the messages of all protocols but single-decree Paxos look on the wire: each is a method of its own (each overlay
//! has one for all of its messages), with one struct of members and the envelope. An answer that is there at once travels
//! back with the call, as the same struct.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::wire_overlay;
use crate::protocol::bully::{Announcement, Answer, Election, Heartbeat, Message as Bully};
use crate::protocol::eventual::Message as Eventual;
use crate::protocol::eventual::message::{Ask, Have, Spread, Tell};
use crate::protocol::log::members::{Change, Membership, Unchanged};
use crate::protocol::log::{Beginning, Holding, Message as Log, Piece, entries};
use crate::protocol::overlay::{Message as Overlay, chord, flood, index};
use crate::protocol::register::{self, Message as Register};
use crate::protocol::strong::Message as Call;
use crate::protocol::types::{Ballot, NodeId};
use crate::protocol::{Message, strong};
use crate::xmlrpc::Bytes;

/// The messages' methods, sorted.
pub(super) const NAMES: [&str; 33] = [
    "bully.answer",
    "bully.coordinator",
    "bully.election",
    "bully.heartbeat",
    "bully.resign",
    "dht.message",
    "eventual.ask",
    "eventual.have",
    "eventual.spread",
    "eventual.tell",
    "flood.message",
    "index.message",
    "log.accept",
    "log.accepted",
    "log.answer",
    "log.blank",
    "log.change",
    "log.confirm",
    "log.confirmed",
    "log.fetch",
    "log.fetched",
    "log.forward",
    "log.known",
    "log.prepare",
    "log.promise",
    "log.read",
    "log.readable",
    "log.reject",
    "log.unchanged",
    "register.held",
    "register.query",
    "register.store",
    "register.stored",
];

/// The members of all these messages; which are there depends on the method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, expecting = "a struct of the message's members")]
pub(super) struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Ballot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promised: Option<Ballot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<Ballot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    /// XML-RPC's integers are signed: the same 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    election: Option<Election>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<Heartbeat>,
    /// A membership, as [`Membership::encode`] makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged: Option<Unchanged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<Ask>,
    #[serde(skip_serializing_if = "Option::is_none")]
    have: Option<Have>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tell: Option<Tell>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<register::Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<register::Query>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<register::Store>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<register::Stored>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dht: Option<chord::Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flood: Option<flood::Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<index::Message>,
}

/// The method of a message; `None` for those that [`super::wire`] knows.
pub(crate) const fn name(message: &Message) -> Option<&'static str> {
    Some(match message {
        Message::Paxos(_) | Message::Elsewhere => return None,
        Message::Bully(Bully::Answer(_)) => "bully.answer",
        Message::Bully(Bully::Coordinator(_)) => "bully.coordinator",
        Message::Bully(Bully::Election(_)) => "bully.election",
        Message::Bully(Bully::Heartbeat(_)) => "bully.heartbeat",
        Message::Bully(Bully::Resign(_)) => "bully.resign",
        Message::Eventual(Eventual::Ask(_)) => "eventual.ask",
        Message::Eventual(Eventual::Have(_)) => "eventual.have",
        Message::Eventual(Eventual::Spread(_)) => "eventual.spread",
        Message::Eventual(Eventual::Tell(_)) => "eventual.tell",
        Message::Overlay(Overlay::Dht(_)) => "dht.message",
        Message::Overlay(Overlay::Flood(_)) => "flood.message",
        Message::Overlay(Overlay::Index(_)) => "index.message",
        Message::Log(Log::Accept { .. }) => "log.accept",
        Message::Log(Log::Accepted { .. }) => "log.accepted",
        Message::Log(Log::Blank) => "log.blank",
        Message::Log(Log::Confirm { .. }) => "log.confirm",
        Message::Log(Log::Confirmed { .. }) => "log.confirmed",
        Message::Log(Log::Fetch { .. }) => "log.fetch",
        Message::Log(Log::Fetched { .. }) => "log.fetched",
        Message::Log(Log::Known { .. }) => "log.known",
        Message::Log(Log::Prepare { .. }) => "log.prepare",
        Message::Log(Log::Promise { .. }) => "log.promise",
        Message::Log(Log::Reject { .. }) => "log.reject",
        Message::Register(Register::Held(_)) => "register.held",
        Message::Register(Register::Query(_)) => "register.query",
        Message::Register(Register::Store(_)) => "register.store",
        Message::Register(Register::Stored(_)) => "register.stored",
        Message::Strong(Call::Answer { .. }) => "log.answer",
        Message::Strong(Call::AskRead { .. }) => "log.read",
        Message::Strong(Call::Forward { .. }) => "log.forward",
        Message::Strong(Call::ReadAt { .. }) => "log.readable",
        Message::Strong(Call::Change { .. }) => "log.change",
        Message::Strong(Call::Unchanged { .. }) => "log.unchanged",
    })
}

/// How much a message weighs, about, where that can be much.
pub(super) fn weight(message: &Message) -> usize {
    match message {
        Message::Log(Log::Accept { entries, .. } | Log::Fetched { piece: Piece::Entries { entries, .. }, .. }) => {
            entries.iter().map(|entry| entry.command.weight() + 32).sum()
        }
        Message::Log(Log::Fetched { piece: Piece::Snapshot { bytes, .. }, .. }) => bytes.len(),
        Message::Strong(Call::Forward { command, .. }) => command.len(),
        Message::Strong(Call::Answer { reply, .. }) => reply.as_ref().map_or(0, Vec::len),
        Message::Eventual(Eventual::Spread(spread)) => spread.operation.text.as_ref().map_or(0, |text| text.len()),
        Message::Eventual(Eventual::Tell(tell)) => {
            tell.operations.iter().map(|operation| operation.text.as_ref().map_or(0, |text| text.len()) + 128).sum()
        }
        Message::Register(Register::Store(store)) => store.held.value.as_str().len(),
        Message::Register(Register::Held(answer)) => answer.held.as_ref().map_or(0, |held| held.value.as_str().len()),
        Message::Overlay(message) => wire_overlay::weight(message),
        _ => 0,
    }
}

/// The members of a message.
pub(super) fn fields(message: &Message) -> Fields {
    match message {
        Message::Paxos(_) | Message::Elsewhere => Fields::default(),
        Message::Bully(message) => of_bully(message),
        Message::Eventual(message) => of_eventual(message),
        Message::Log(message) => of_log(message),
        Message::Register(message) => of_register(message),
        Message::Strong(message) => of_call(message),
        Message::Overlay(message) => of_overlay(message),
    }
}

fn of_overlay(message: &Overlay) -> Fields {
    let none = Fields::default();
    match message.clone() {
        Overlay::Dht(message) => Fields { dht: Some(message), ..none },
        Overlay::Flood(message) => Fields { flood: Some(message), ..none },
        Overlay::Index(message) => Fields { index: Some(message), ..none },
    }
}

fn of_bully(message: &Bully) -> Fields {
    let none = Fields::default();
    match message {
        Bully::Election(election) => Fields { election: Some(*election), ..none },
        Bully::Answer(answer) => Fields { answer: Some(*answer), ..none },
        Bully::Coordinator(announcement) | Bully::Resign(announcement) => {
            Fields { epoch: Some(announcement.epoch), ..none }
        }
        Bully::Heartbeat(heartbeat) => Fields { heartbeat: Some(heartbeat.clone()), ..none },
    }
}

fn of_eventual(message: &Eventual) -> Fields {
    let none = Fields::default();
    match message.clone() {
        Eventual::Ask(ask) => Fields { ask: Some(ask), ..none },
        Eventual::Have(have) => Fields { have: Some(have), ..none },
        Eventual::Spread(spread) => Fields { spread: Some(spread), ..none },
        Eventual::Tell(tell) => Fields { tell: Some(tell), ..none },
    }
}

fn of_register(message: &Register) -> Fields {
    let none = Fields::default();
    match message.clone() {
        Register::Held(held) => Fields { held: Some(held), ..none },
        Register::Query(query) => Fields { query: Some(query), ..none },
        Register::Store(store) => Fields { store: Some(store), ..none },
        Register::Stored(stored) => Fields { stored: Some(stored), ..none },
    }
}

fn of_log(message: &Log) -> Fields {
    let none = Fields::default();
    match message {
        Log::Prepare { epoch } => Fields { epoch: Some(*epoch), ..none },
        Log::Promise { epoch, holds: Holding { accepted, length, committed }, votes, members } => {
            let (length, committed, members) = (Some(*length), Some(*committed), of_members(members.as_deref()));
            Fields { epoch: Some(*epoch), accepted: *accepted, length, committed, flag: Some(*votes), members, ..none }
        }
        Log::Reject { epoch, promised } => Fields { epoch: Some(*epoch), promised: Some(*promised), ..none },
        Log::Accept { epoch, began, after, hash, entries, committed } => Fields {
            epoch: Some(*epoch),
            accepted: began.and_then(|began| began.accepted),
            length: began.map(|began| began.length),
            start: began.map(|began| began.start),
            after: Some(*after),
            hash: Some(hash.cast_signed()),
            entries: (!entries.is_empty()).then(|| Bytes(entries::encode(entries))),
            committed: Some(*committed),
            ..none
        },
        Log::Accepted { epoch, length } => Fields { epoch: Some(*epoch), length: *length, ..none },
        Log::Fetch { epoch, after, offset } => {
            Fields { epoch: Some(*epoch), after: Some(*after), offset: Some(*offset), ..none }
        }
        Log::Fetched { epoch, piece: Piece::Entries { after, entries } } => {
            let entries = Some(Bytes(entries::encode(entries)));
            Fields { epoch: Some(*epoch), after: Some(*after), entries, ..none }
        }
        Log::Fetched { epoch, piece: Piece::Snapshot { slot, hash, offset, total, bytes, members } } => Fields {
            epoch: Some(*epoch),
            slot: Some(*slot),
            hash: Some(hash.cast_signed()),
            offset: Some(*offset),
            total: Some(*total),
            bytes: Some(Bytes(bytes.clone())),
            members: of_members(members.as_deref()),
            ..none
        },
        Log::Confirm { epoch, round } | Log::Confirmed { epoch, round } => {
            Fields { epoch: Some(*epoch), round: Some(*round), ..none }
        }
        Log::Blank => none,
        Log::Known { blank } => Fields { flag: Some(*blank), ..none },
    }
}

fn of_members(members: Option<&Membership>) -> Option<Bytes> {
    members.map(|members| Bytes(members.encode()))
}

/// The membership in a message, if there is one; `None` for what is none.
fn members_of(bytes: Option<Bytes>) -> Option<Option<Arc<Membership>>> {
    match bytes {
        None => Some(None),
        Some(bytes) => Membership::decode(&bytes.0).map(|members| Some(Arc::new(members))),
    }
}

fn of_call(message: &strong::Message) -> Fields {
    let none = Fields::default();
    match message {
        Call::Forward { id, command } => Fields { id: Some(*id), bytes: Some(Bytes(command.clone())), ..none },
        Call::Answer { id, reply } => Fields { id: Some(*id), bytes: reply.clone().map(Bytes), ..none },
        Call::AskRead { id } => Fields { id: Some(*id), ..none },
        Call::ReadAt { id, slot } => Fields { id: Some(*id), slot: *slot, ..none },
        Call::Change { id, change: Change::Add { node, address } } => {
            Fields { id: Some(*id), node: Some(*node), address: Some(address.to_string()), ..none }
        }
        Call::Change { id, change: Change::Remove { node } } => Fields { id: Some(*id), node: Some(*node), ..none },
        Call::Unchanged { id, why } => Fields { id: Some(*id), unchanged: Some(*why), ..none },
    }
}

/// The message of a method and its members; `None` if a member is missing or is not what it should be.
pub(super) fn message(name: &str, fields: Fields) -> Option<Message> {
    let epoch = fields.epoch;
    Some(match name {
        "bully.answer" => Bully::Answer(fields.answer?).into(),
        "bully.coordinator" => Bully::Coordinator(Announcement { epoch: epoch? }).into(),
        "bully.election" => Bully::Election(fields.election?).into(),
        "bully.heartbeat" => Bully::Heartbeat(fields.heartbeat?).into(),
        "bully.resign" => Bully::Resign(Announcement { epoch: epoch? }).into(),
        "eventual.ask" => Eventual::Ask(fields.ask?).into(),
        "eventual.have" => Eventual::Have(fields.have?).into(),
        "eventual.spread" => Eventual::Spread(fields.spread?).into(),
        "eventual.tell" => Eventual::Tell(fields.tell?).into(),
        "register.held" => Register::Held(fields.held?).into(),
        "register.query" => Register::Query(fields.query?).into(),
        "register.store" => Register::Store(fields.store?).into(),
        "register.stored" => Register::Stored(fields.stored?).into(),
        "dht.message" => overlay(Overlay::Dht(fields.dht?))?,
        "flood.message" => overlay(Overlay::Flood(fields.flood?))?,
        "index.message" => overlay(Overlay::Index(fields.index?))?,
        "log.accept" => {
            let began = match (fields.length, fields.start) {
                (Some(length), Some(start)) => Some(Beginning { accepted: fields.accepted, length, start }),
                _ => None,
            };
            let entries = fields.entries.map_or(Some(Vec::new()), |bytes| entries::decode(&bytes.0))?;
            let (after, hash) = (fields.after?, fields.hash?.cast_unsigned());
            Log::Accept { epoch: epoch?, began, after, hash, entries, committed: fields.committed? }.into()
        }
        "log.accepted" => Log::Accepted { epoch: epoch?, length: fields.length }.into(),
        "log.answer" => Call::Answer { id: fields.id?, reply: fields.bytes.map(|bytes| bytes.0) }.into(),
        "log.blank" => Log::Blank.into(),
        "log.change" => {
            let (id, node) = (fields.id?, fields.node?);
            let change = match fields.address {
                Some(address) => Change::Add { node, address: address.into() },
                None => Change::Remove { node },
            };
            Call::Change { id, change }.into()
        }
        "log.confirm" => Log::Confirm { epoch: epoch?, round: fields.round? }.into(),
        "log.confirmed" => Log::Confirmed { epoch: epoch?, round: fields.round? }.into(),
        "log.fetch" => Log::Fetch { epoch: epoch?, after: fields.after?, offset: fields.offset? }.into(),
        "log.fetched" => {
            let piece = match (fields.entries, fields.bytes) {
                (Some(bytes), None) => Piece::Entries { after: fields.after?, entries: entries::decode(&bytes.0)? },
                (None, Some(bytes)) => Piece::Snapshot {
                    slot: fields.slot?,
                    hash: fields.hash?.cast_unsigned(),
                    offset: fields.offset?,
                    total: fields.total?,
                    bytes: bytes.0,
                    members: members_of(fields.members)?,
                },
                _ => return None,
            };
            Log::Fetched { epoch: epoch?, piece }.into()
        }
        "log.forward" => Call::Forward { id: fields.id?, command: fields.bytes?.0 }.into(),
        "log.known" => Log::Known { blank: fields.flag? }.into(),
        "log.prepare" => Log::Prepare { epoch: epoch? }.into(),
        "log.promise" => {
            let holds = Holding { accepted: fields.accepted, length: fields.length?, committed: fields.committed? };
            Log::Promise { epoch: epoch?, holds, votes: fields.flag?, members: members_of(fields.members)? }.into()
        }
        "log.read" => Call::AskRead { id: fields.id? }.into(),
        "log.readable" => Call::ReadAt { id: fields.id?, slot: fields.slot }.into(),
        "log.unchanged" => Call::Unchanged { id: fields.id?, why: fields.unchanged? }.into(),
        "log.reject" => Log::Reject { epoch: epoch?, promised: fields.promised? }.into(),
        _ => return None,
    })
}

fn overlay(message: Overlay) -> Option<Message> {
    wire_overlay::is_sound(&message).then(|| message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bully::Rank;
    use crate::protocol::log::entries::{Command, Entry};
    use crate::protocol::overlay::ring::{Point, Position};
    use crate::protocol::overlay::{Item, Key, Stamp, Version};
    use crate::protocol::types::{NodeId, Value};
    use crate::xmlrpc::{Limits, from_response, to_response};

    fn all() -> Vec<Message> {
        let node = NodeId::new(8000).unwrap();
        let epoch = Ballot { round: 7, node };
        let members = Membership::new([(node, Arc::from("127.0.0.1:8000"))].into()).map(Arc::new);
        let entries = vec![
            Entry::after(3, epoch, Command::Noop),
            Entry::after(4, epoch, Command::Service(Arc::from(&b"\0\xffabc"[..]))),
            Entry::after(5, epoch, Command::Members(members.clone().unwrap())),
        ];
        let began = Some(Beginning { accepted: None, length: 3, start: 4 });
        let rank = Rank { epoch: Some(epoch), counter: 9, id: node };
        let (hash, offset, total, slot) = (u64::MAX - 5, 7, 900, 12);
        let holds = Holding { accepted: None, length: 2, committed: 1 };
        let mut all = overlays(node);
        all.extend([
            Bully::Answer(Answer { number: 3, ok: Some(node), coordinator: Some(epoch) }).into(),
            Bully::Coordinator(Announcement { epoch }).into(),
            Bully::Election(Election { rank, number: 1, forced: true }).into(),
            Bully::Heartbeat(Heartbeat {
                rank,
                coordinator: None,
                hears_coordinator: true,
                eligible: true,
                hears: [node].into(),
                asks: false,
            })
            .into(),
            Bully::Resign(Announcement { epoch }).into(),
            Log::Accept { epoch, began, after: 4, hash, entries: entries.clone(), committed: 3 }.into(),
            Log::Accept { epoch, began: None, after: 4, hash, entries: Vec::new(), committed: 3 }.into(),
            Log::Accepted { epoch, length: None }.into(),
            Log::Accepted { epoch, length: Some(1 << 40) }.into(),
            Call::Answer { id: 1 << 50, reply: Some(vec![1, 2]) }.into(),
            Call::Answer { id: 4, reply: None }.into(),
            Log::Blank.into(),
            Log::Confirm { epoch, round: 4 }.into(),
            Log::Confirmed { epoch, round: 4 }.into(),
            Log::Fetch { epoch, after: 4, offset }.into(),
            Log::Fetched { epoch, piece: Piece::Entries { after: 4, entries } }.into(),
            Log::Fetched {
                epoch,
                piece: Piece::Snapshot { slot, hash, offset, total, bytes: vec![0, 255], members: members.clone() },
            }
            .into(),
            Call::Forward { id: 4, command: vec![9] }.into(),
            Log::Known { blank: true }.into(),
            Log::Prepare { epoch }.into(),
            Log::Promise { epoch, holds, votes: false, members: None }.into(),
            Log::Promise { epoch, holds, votes: true, members }.into(),
            Call::AskRead { id: 4 }.into(),
            Call::ReadAt { id: 4, slot: None }.into(),
            Log::Reject { epoch, promised: epoch }.into(),
            Call::Change { id: 3, change: Change::Add { node, address: Arc::from("h:1") } }.into(),
            Call::Change { id: 3, change: Change::Remove { node } }.into(),
            Call::Unchanged { id: 3, why: Unchanged::Busy }.into(),
        ]);
        all.extend(weak(node));
        all
    }

    fn weak(node: NodeId) -> Vec<Message> {
        use crate::protocol::eventual::memory::{Operation, Stamp};
        use crate::protocol::register::Timestamp;
        use crate::protocol::register::memory::Held;
        use crate::protocol::types::Value;

        let have = Have {
            clock: 9,
            versions: "8000:9,8001:4".parse().unwrap(),
            forgotten: Default::default(),
            digest: 1 << 61,
        };
        let (id, stamp) = (Stamp { clock: 2, server: node }, Stamp { clock: 9, server: node });
        let text = Some(Arc::from("a < b\r\n"));
        let operation = Operation { id, stamp, text };
        let deleted = Operation { text: None, ..operation.clone() };
        let held = Held { timestamp: Timestamp { counter: 3, node }, value: Value::new("<int>5</int>") };
        let (call, name, timestamp) = (1 << 61, Arc::from(""), held.timestamp);
        let operations = vec![operation.clone(), deleted];
        let after = Some(id);
        vec![
            Eventual::Ask(Ask { have: have.clone(), repair: 7, whole: false, after: None }).into(),
            Eventual::Ask(Ask { have: have.clone(), repair: 7, whole: true, after }).into(),
            Eventual::Have(have.clone()).into(),
            Eventual::Spread(Spread { have: have.clone(), previous: 0, operation }).into(),
            Eventual::Tell(Tell { have, repair: 7, after, era: 1 << 61, whole: true, operations, more: true }).into(),
            Register::Held(register::Answer { call, held: None }).into(),
            Register::Held(register::Answer { call, held: Some(held.clone()) }).into(),
            Register::Query(register::Query { call, name: Arc::clone(&name) }).into(),
            Register::Store(register::Store { call, name, held }).into(),
            Register::Stored(register::Stored { call, timestamp }).into(),
        ]
    }

    fn overlays(node: NodeId) -> Vec<Message> {
        let at = Position(u64::MAX - 3);
        let (point, stamp) = (Point { at, node }, Stamp { counter: Stamp::MAX_COUNTER, node });
        let key = Key::new("k\u{1f600} <&>").unwrap();
        let set = Version { stamp, value: Some(Value::new("<string>&lt;&amp;\u{e9}</string>")) };
        let removed = Version { stamp, value: None };
        let of = |version: &Version| Item { key: key.clone(), version: version.clone() };
        let (id, to, points) = (1 << 60, at, vec![point, point]);
        let dht = vec![
            chord::Message::Find { id, target: at, upkeep: true, silent: Vec::new() },
            chord::Message::Find { id, target: at, upkeep: false, silent: vec![node] },
            chord::Message::Next { id, nearer: Vec::new(), upkeep: false },
            chord::Message::Found { id, owners: points.clone(), upkeep: false },
            chord::Message::Outside { id: None, joining: true },
            chord::Message::Outside { id: Some(id), joining: false },
            chord::Message::Stabilise { of: at, by: point },
            chord::Message::Neighbours { to, of: point, predecessor: Some(point), successors: points },
            chord::Message::Neighbours { to, of: point, predecessor: None, successors: Vec::new() },
            chord::Message::Leaving {},
            chord::Message::Fetch { id, key: key.clone() },
            chord::Message::Held { id, version: Some(set.clone()), room: true },
            chord::Message::Held { id, version: None, room: false },
            chord::Message::Copies { id: None, items: vec![of(&set), of(&removed)] },
            chord::Message::Copied { id, kept: true },
            chord::Message::Compare { from: Position(0), to, digest: at },
            chord::Message::Holding { from: Position(0), to, have: vec![(at, stamp)] },
            chord::Message::Want { positions: vec![at] },
        ];
        let route = vec![node, node];
        let flood = vec![
            flood::Message::Hello {},
            flood::Message::Welcome { taken: false },
            flood::Message::Query { id, key: key.clone(), time_to_live: 7, route: route.clone() },
            flood::Message::Hit { id, version: set.clone(), route },
            flood::Message::Forget { id, key: key.clone(), upto: stamp },
            flood::Message::Forgot { id },
        ];
        let index = vec![
            index::Message::Ask { id, key: key.clone(), sets: true },
            index::Message::Holder { id, entry: Some(stamp), serial: None },
            index::Message::Holder { id, entry: None, serial: Some(1 << 55) },
            index::Message::Enter { id, key: key.clone(), serial: 1 << 55 },
            index::Message::Strike { id, key: key.clone(), entry: stamp },
            index::Message::Entered { id, serial: 1 << 55, done: true },
            index::Message::Fetch { id, key: key.clone() },
            index::Message::Held { id, version: Some(set) },
            index::Message::Claim { copies: vec![(key.clone(), 1 << 55)] },
            index::Message::Drop { key, serial: 3 },
        ];
        let dht = dht.into_iter().map(Message::from);
        dht.chain(flood.into_iter().map(Message::from)).chain(index.into_iter().map(Message::from)).collect()
    }

    /// What a peer sends as a value goes into answers as it stands: what is none is no message.
    #[test]
    fn a_value_that_is_none_is_no_message() {
        let stamp = Stamp { counter: 1, node: NodeId::new(1).unwrap() };
        let large = format!("<string>{}</string>", "x".repeat(1 << 20));
        for text in ["", "5", "<int>5</int", "</value></data>", "<int>5</int><int>6</int>", &large] {
            let version = Version { stamp, value: Some(Value::new(text)) };
            let item = Item { key: Key::new("k").unwrap(), version: version.clone() };
            let messages = [
                Message::from(chord::Message::Copies { id: None, items: vec![item] }),
                chord::Message::Held { id: 1, version: Some(version.clone()), room: true }.into(),
                flood::Message::Hit { id: 1, version: version.clone(), route: Vec::new() }.into(),
                index::Message::Held { id: 1, version: Some(version) }.into(),
            ];
            for sent in messages {
                let shown: String = text.chars().take(40).collect();
                assert_eq!(message(name(&sent).unwrap(), fields(&sent)), None, "{shown}");
            }
        }
    }

    #[test]
    fn every_message_survives_the_wire() {
        let mut seen = std::collections::BTreeSet::new();
        for sent in all() {
            let name = name(&sent).unwrap();
            seen.insert(name);
            let mut xml = Vec::new();
            to_response(&fields(&sent), &mut xml).unwrap();
            let back: Fields = from_response(&xml, &Limits::default()).unwrap().unwrap();
            assert_eq!(message(name, back), Some(sent), "{name}");
        }
        assert!(seen.into_iter().eq(NAMES), "every name, in order");
    }

    #[test]
    fn what_lacks_a_member_is_no_message() {
        for name in NAMES.into_iter().filter(|name| *name != "log.blank") {
            assert_eq!(message(name, Fields::default()), None, "{name}");
        }
    }
}
