//! A cluster on a table: real hosts with a board and registers, and nothing else; disks that keep what was saved; links
//! that can be cut, and kinds of messages that can be held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use crate::protocol::durable::Durable;
use crate::protocol::eventual::memory::Operation;
use crate::protocol::eventual::{self, Eventual, Message as Eve};
use crate::protocol::host::{Host, Options, Sender};
use crate::protocol::quorum::Members;
use crate::protocol::register::memory::Held;
use crate::protocol::register::{Done, Failure, Message as Reg, Register};
use crate::protocol::types::{NodeId, RequestId};
use crate::protocol::{Effect, Event, Message, Out};

/// More deliveries in one go than anything needs: beyond, the protocol talks without end.
const RESTLESS: usize = 100_000;

#[derive(Debug)]
struct Flying {
    from: NodeId,
    to: NodeId,
    message: Message,
}

/// The table.
#[derive(Debug)]
pub(crate) struct World {
    /// Who founded the cluster.
    founding: Members,
    /// Everybody who is, was, or may become a member.
    ids: BTreeSet<NodeId>,
    /// Whom the log of each node, if there were one, would have for members.
    logs: BTreeMap<NodeId, Members>,
    options: Options,
    hosts: BTreeMap<NodeId, Host>,
    disks: BTreeMap<NodeId, Durable>,
    flying: VecDeque<Flying>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    holds: BTreeSet<(NodeId, NodeId, &'static str)>,
    held: Vec<Flying>,
    lives: u64,
    requests: u64,
    /// What happened, one line each.
    pub(crate) text: String,
    /// Whether also what only says how far a node is shows.
    pub(crate) shows_all: bool,
}

impl World {
    pub(crate) fn new(count: u32, board: eventual::Options) -> Self {
        let founding = Members::new((8000..8000 + count).filter_map(NodeId::new)).unwrap();
        let options =
            Options { eventual: Some(board), register: Some(Default::default()), lab: true, ..Options::default() };
        let mut world = Self {
            options,
            hosts: BTreeMap::new(),
            disks: founding.iter().map(|id| (id, Durable::default())).collect(),
            ids: founding.iter().collect(),
            logs: founding.iter().map(|id| (id, founding.clone())).collect(),
            founding,
            flying: VecDeque::new(),
            cuts: BTreeSet::new(),
            holds: BTreeSet::new(),
            held: Vec::new(),
            lives: 0,
            requests: 0,
            text: String::new(),
            shows_all: false,
        };
        world.ids().into_iter().for_each(|id| world.start(id));
        world
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.ids.iter().copied().collect()
    }

    /// Whom a node's log has for members.
    pub(crate) fn members_of(&self, id: NodeId) -> &Members {
        &self.logs[&id]
    }

    pub(crate) fn board(&self, id: NodeId) -> &Eventual {
        self.hosts[&id].eventual().unwrap()
    }

    pub(crate) fn is_up(&self, id: NodeId) -> bool {
        self.hosts.contains_key(&id)
    }

    // What a script or a test does.

    pub(crate) fn start(&mut self, id: NodeId) {
        self.lives += 1;
        let durable = self.disks[&id].clone();
        let host = Host::new(id, self.founding.clone(), self.options, durable, self.lives);
        self.hosts.insert(id, host);
        self.meet(id);
    }

    /// A node that is to join, and that nobody knows yet.
    pub(crate) fn newcomer(&mut self, id: NodeId) {
        self.ids.insert(id);
        self.disks.insert(id, Durable::default());
        self.logs.insert(id, self.founding.clone());
        self.start(id);
    }

    /// A node's log has these for members from now on.
    pub(crate) fn members(&mut self, at: NodeId, members: &Members) {
        self.logs.insert(at, members.clone());
        if self.is_up(at) {
            self.meet(at);
        }
    }

    fn meet(&mut self, at: NodeId) {
        let members = self.logs[&at].clone();
        self.act(at, |board, out| board.meet(&members, out));
    }

    pub(crate) fn crash(&mut self, id: NodeId) {
        self.hosts.remove(&id);
    }

    pub(crate) fn wipe(&mut self, id: NodeId) {
        self.crash(id);
        self.disks.insert(id, Durable::default());
    }

    pub(crate) fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cuts.extend([(one, other), (other, one)]);
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(crate) fn hold(&mut self, from: NodeId, to: NodeId, kind: &'static str) {
        self.holds.insert((from, to, kind));
    }

    pub(crate) fn release(&mut self) {
        self.holds.clear();
        self.flying.extend(std::mem::take(&mut self.held));
        self.deliver();
    }

    /// The same for messages of one kind from one node to another.
    pub(crate) fn release_some(&mut self, from: NodeId, to: NodeId, kind: &'static str) {
        self.holds.remove(&(from, to, kind));
        let is_meant = |flying: &mut Flying| (flying.from, flying.to, show(&flying.message).0) == (from, to, kind);
        let released: Vec<Flying> = self.held.extract_if(.., is_meant).collect();
        self.flying.extend(released);
        self.deliver();
    }

    /// What is held is lost, and nothing is held any more.
    pub(crate) fn drop_held(&mut self) {
        self.holds.clear();
        self.held.clear();
    }

    /// A client does something to a board.
    pub(crate) fn act<T>(&mut self, at: NodeId, act: impl FnOnce(&mut Eventual, &mut Out) -> T) -> T {
        let done = self.step(at, |host, out| act(host.eventual_mut().unwrap(), out));
        self.deliver();
        done
    }

    /// A client calls a register; how it ends is in the text.
    pub(crate) fn call(&mut self, at: NodeId, call: impl FnOnce(&mut Register, RequestId, &mut Out)) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.step(at, |host, out| call(host.register_mut().unwrap(), request, out));
        self.deliver();
    }

    /// Someone says something in a node's name.
    pub(crate) fn say(&mut self, from: NodeId, to: NodeId, message: impl Into<Message>) {
        self.send(from, to, message.into());
        self.deliver();
    }

    pub(crate) fn tick(&mut self) {
        for id in self.ids() {
            if self.is_up(id) {
                self.step(id, Host::on_tick);
                self.deliver();
            }
        }
    }

    // What follows.

    fn step<T>(&mut self, at: NodeId, run: impl FnOnce(&mut Host, &mut Out) -> T) -> T {
        let mut out = Out::default();
        let host = self.hosts.get_mut(&at).unwrap();
        let result = run(host, &mut out);
        host.flush(&mut out);
        for effect in out.drain() {
            match effect {
                Effect::Save(record) | Effect::Note(record) => self.disks.get_mut(&at).unwrap().apply(&record),
                Effect::Send { to, message } => self.send(at, to, message),
                Effect::Notify(Event::Finished { result, .. }) => self.tell(&format!("{at}: {}", finished(&result))),
                Effect::Notify(Event::Ignored { from, reason }) => self.tell(&format!("{at} ignores {from}: {reason}")),
                Effect::Notify(_) => {}
            }
        }
        result
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let (kind, shown, matters) = show(&message);
        let is_held = self.holds.contains(&(from, to, kind));
        let is_lost = self.cuts.contains(&(from, to)) || !self.is_up(to);
        if matters || self.shows_all {
            let fate = if is_lost {
                ", lost"
            } else if is_held {
                ", held"
            } else {
                ""
            };
            self.tell(&format!("{from} → {to} {shown}{fate}"));
        }
        if is_held {
            self.held.push(Flying { from, to, message });
        } else if !is_lost {
            self.flying.push_back(Flying { from, to, message });
        }
    }

    fn deliver(&mut self) {
        for _ in 0..RESTLESS {
            let Some(Flying { from, to, message }) = self.flying.pop_front() else { return };
            if self.is_up(to) {
                let sender = Sender { from, generation: Some(1) };
                self.step(to, |host, out| host.on_message(sender, message, out));
            }
        }
        panic!("messages without end");
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.text, "{line}").unwrap();
    }
}

fn operation(Operation { id, stamp, text }: &Operation) -> String {
    match text {
        Some(text) if id == stamp => format!("{id} {text:?}"),
        Some(text) => format!("{id} {text:?} by {stamp}"),
        None => format!("{id} deleted by {stamp}"),
    }
}

fn held(held: Option<&Held>) -> String {
    held.map_or_else(|| "nothing".to_owned(), |held| format!("{} of {}", held.value, held.timestamp))
}

/// The kind of a message, the message in words, and whether it matters to most scripts.
fn show(message: &Message) -> (&'static str, String, bool) {
    match message {
        Message::Eventual(Eve::Spread(spread)) => ("Spread", format!("Spread {}", operation(&spread.operation)), true),
        Message::Eventual(Eve::Have(have)) => ("Have", format!("Have {}", have.versions), false),
        Message::Eventual(Eve::Ask(ask)) => {
            let whole = if ask.whole { ", everything" } else { "" };
            let after = ask.after.map(|id| format!(", after {id}")).unwrap_or_default();
            ("Ask", format!("Ask beyond {}{whole}{after}", ask.have.versions), ask.whole || ask.after.is_some())
        }
        Message::Eventual(Eve::Tell(tell)) => {
            let operations: Vec<String> = tell.operations.iter().map(operation).collect();
            let (whole, more) =
                (if tell.whole { "everything: " } else { "" }, if tell.more { ", and more" } else { "" });
            let text = format!("Tell {whole}{}{more}", operations.join(", "));
            ("Tell", text, tell.whole || !operations.is_empty())
        }
        Message::Register(Reg::Query(query)) => ("Query", format!("Query {}", query.name), true),
        Message::Register(Reg::Held(answer)) => ("Held", format!("Held {}", held(answer.held.as_ref())), true),
        Message::Register(Reg::Store(store)) => {
            ("Store", format!("Store {} = {}", store.name, held(Some(&store.held))), true)
        }
        Message::Register(Reg::Stored(stored)) => ("Stored", format!("Stored {}", stored.timestamp), true),
        message => ("other", format!("{message:?}"), false),
    }
}

fn finished(result: &Result<Done, Failure>) -> String {
    match result {
        Ok(Done::Written(timestamp)) => format!("written, {timestamp}"),
        Ok(Done::Read(found)) => format!("read {}", held(found.as_ref())),
        Err(Failure::Unavailable { heard, needed }) => format!("unavailable, {} of {needed}", heard.len()),
        Err(Failure::Unknown { timestamp, stored, needed }) => {
            format!("unknown, {timestamp} is held by {} of {needed}", stored.len())
        }
        Err(failure) => format!("{failure:?}"),
    }
}
