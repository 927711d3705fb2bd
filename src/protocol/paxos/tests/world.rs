//! A cluster on a table: real [`Host`]s, a disk for each, and between them a heap of messages that only a script moves.
//!
//! Effects are carried out in order, and a `Save` is on disk before the next effect is looked at, as the contract in
//! [`crate::protocol`] demands. After every step a node's memory must be what its disk gives back, and no two nodes may
//! hold different values for chosen; so every script checks that too, whatever it is about.
//!
//! The words of the scripts stand in [`World::command`]; what they print, in [`told`] and below.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::str::FromStr;

use goldenscript::{ArgumentConsumer, Command, Context};

use crate::protocol::durable::{Durable, Remembered};
use crate::protocol::host::{self, Host, Sender};
use crate::protocol::paxos::{Message, Options, Outcome, Proposal, learner};
use crate::protocol::quorum::Members;
use crate::protocol::types::{Ballot, Instance, NodeId, RequestId, Value};
use crate::protocol::{Effect, Event, Message as HostMessage, Out, Record};
use crate::sim::disk::Disk;

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

/// More deliveries than any script needs: beyond, the protocol talks without end.
const RESTLESS: usize = 5000;

/// The table.
#[derive(Default)]
pub(super) struct World {
    members: Option<Members>,
    options: Options,
    seed: u64,
    /// Whether Learn is delivered at all: most scripts are about what is before it.
    learning: bool,
    nodes: BTreeMap<NodeId, Node>,
    /// Under way, in the order in which they were sent.
    flying: Vec<Flying>,
    /// Set aside by the script.
    held: Vec<Flying>,
    requests: u64,
    /// What somebody held for chosen first, by generation and instance.
    chosen: BTreeMap<(u64, Instance), Value>,
    /// What the running command prints.
    text: String,
}

#[derive(Default)]
struct Node {
    /// Absent while it is down.
    host: Option<Host>,
    disk: Disk,
    lives: u64,
}

#[derive(Clone)]
struct Flying {
    from: NodeId,
    to: NodeId,
    generation: u64,
    message: HostMessage,
}

/// Which messages a command means: all that match every part given.
struct Filter {
    from: Option<NodeId>,
    to: Option<NodeId>,
    ballot: Option<Ballot>,
    instance: Option<Instance>,
    kinds: Vec<String>,
}

impl goldenscript::Runner for World {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Fallible<String> {
        let mut args = command.consume_args();
        self.command(&command.name, &mut args)?;
        args.reject_next()?;
        Ok(std::mem::take(&mut self.text))
    }
}

impl World {
    /// The words of the scripts.
    fn command(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible {
        match name {
            // cluster nodes=3 [seed=1] [learn=TICKS] [ballot-ticks=40] [max-pause=64] [max-instances=N]
            "cluster" => self.cluster(args),
            // propose 8000 A [instance=default] [deadline=500] [impatient=0] [crash-after=EFFECTS]
            "propose" => self.propose(args),
            // deliver | drop | duplicate | hold [from=ID] [to=ID] [ballot=B] [instance=I] [KIND ...]: what matches now
            "deliver" => {
                let dies_after = key(args, "crash-after")?;
                for flying in self.take(args)? {
                    self.deliver(flying, dies_after, true)?;
                }
                Ok(())
            }
            // The same filter, until nothing matches any more. Messages to oneself come first, then the oldest.
            "deliver-all" => self.deliver_all(&Filter::new(args)?),
            "drop" => {
                for flying in self.take(args)? {
                    writeln!(self.text, "{} is lost", flying.shown())?;
                }
                Ok(())
            }
            "duplicate" => {
                let filter = Filter::new(args)?;
                let copies: Vec<Flying> = self.flying.iter().filter(|f| filter.matches(f)).cloned().collect();
                for copy in copies {
                    writeln!(self.text, "{} is doubled", copy.shown())?;
                    self.flying.push(copy);
                }
                Ok(())
            }
            "hold" => {
                for flying in self.take(args)? {
                    writeln!(self.text, "{} is held", flying.shown())?;
                    self.held.push(flying);
                }
                Ok(())
            }
            // All that was held is under way again, the latest of all.
            "release" => {
                self.flying.append(&mut self.held);
                Ok(())
            }
            "queue" => {
                for flying in &self.flying {
                    writeln!(self.text, "{}", flying.shown())?;
                }
                Ok(())
            }
            // tick [N]: time passes, everywhere
            "tick" => {
                for _ in 0..args.next_pos().map_or(Ok(1), str::parse)? {
                    self.tick()?;
                }
                Ok(())
            }
            // Time passes until something happens.
            "wait" => {
                for ticks in 1..=RESTLESS {
                    self.tick()?;
                    if !self.text.is_empty() {
                        let what = if ticks == 1 { "tick passes" } else { "ticks pass" };
                        self.text.insert_str(0, &format!("{ticks} {what}\n"));
                        return Ok(());
                    }
                }
                Err("nothing happens any more".into())
            }
            // crash ID: its memory is gone, and what it is sent is lost
            "crash" => self.crash(pos(args)?),
            // recover ID [lose-notes]: starts from its disk; the machine had lost power if notes are lost
            "recover" => self.recover(args),
            // restart ID: the lab's restart
            "restart" => {
                let id = pos(args)?;
                self.step(id, None, Host::restart).map(|_| ())
            }
            // guest ID prepare|accept|commit BALLOT [VALUE] [instance=I]: someone who is no member
            "guest" => {
                let to = pos(args)?;
                let message = message(args)?;
                self.step(to, None, |host, out| host.on_message(Sender::GUEST, message, out)).map(|_| ())
            }
            // forge FROM TO KIND BALLOT [VALUE] [promised=B] [accepted=B value=V] [generation=1]: what nobody sent
            "forge" => {
                let (from, to) = (pos(args)?, pos(args)?);
                let generation = key(args, "generation")?.unwrap_or(1);
                self.deliver(Flying { from, to, generation, message: message(args)? }, None, true)
            }
            "status" => self.status(),
            _ => Err(format!("there is no command '{name}'").into()),
        }
    }

    fn cluster(&mut self, args: &mut ArgumentConsumer<'_>) -> Fallible {
        let count: u32 = key(args, "nodes")?.unwrap_or(3);
        let ids = (8000..8000 + count).filter_map(NodeId::new);
        let learn_ticks = key(args, "learn")?;
        let defaults = Options::default();
        *self = Self {
            members: Members::new(ids.clone()),
            options: Options {
                ballot_ticks: key(args, "ballot-ticks")?.unwrap_or(defaults.ballot_ticks),
                max_pause_ticks: key(args, "max-pause")?.unwrap_or(defaults.max_pause_ticks),
                learn_ticks: learn_ticks.unwrap_or(defaults.learn_ticks),
                max_instances: key(args, "max-instances")?.unwrap_or(defaults.max_instances),
                thrifty: key(args, "thrifty")?.unwrap_or(defaults.thrifty),
                finish_ticks: key(args, "finish")?,
            },
            seed: key(args, "seed")?.unwrap_or(1),
            learning: learn_ticks.is_some(),
            ..Self::default()
        };
        ids.for_each(|id| self.start(id));
        Ok(())
    }

    fn start(&mut self, id: NodeId) {
        let node = self.nodes.entry(id).or_default();
        node.lives += 1;
        let seed = self.seed ^ u64::from(id.number()) << 8 ^ node.lives;
        let members = self.members.clone().expect("a script begins with `cluster`");
        node.host = Some(Host::new(
            id,
            members,
            host::Options { lab: true, paxos: self.options, ..Default::default() },
            node.disk.read(),
            seed,
        ));
    }

    fn crash(&mut self, id: NodeId) -> Fallible {
        let node = self.nodes.get_mut(&id).ok_or("no such node")?;
        node.host.take().ok_or("it is down already")?;
        writeln!(self.text, "{id} crashes")?;
        Ok(())
    }

    fn recover(&mut self, args: &mut ArgumentConsumer<'_>) -> Fallible {
        let id: NodeId = pos(args)?;
        let lost = match args.next_pos() {
            Some("lose-notes") => true,
            Some(other) => return Err(format!("'{other}' is not lose-notes").into()),
            None => false,
        };
        let node = self.nodes.get_mut(&id).ok_or("no such node")?;
        if node.host.is_some() {
            return Err("it is not down".into());
        }
        if lost {
            _ = node.disk.crash(0);
        }
        self.start(id);
        self.show(id)
    }

    fn propose(&mut self, args: &mut ArgumentConsumer<'_>) -> Fallible {
        let at = pos(args)?;
        self.requests += 1;
        let proposal = Proposal {
            request: RequestId(self.requests),
            value: Value::new(args.next_pos().ok_or("which value?")?),
            instance: key(args, "instance")?.unwrap_or_default(),
            deadline_ticks: key(args, "deadline")?.unwrap_or(500),
            impatient: key(args, "impatient")?.unwrap_or(0),
            ballot_ticks: None,
        };
        let dies_after = key(args, "crash-after")?;
        self.step(at, dies_after, |host, out| host.propose(proposal, out)).map(|_| ())
    }

    fn tick(&mut self) -> Fallible {
        let up: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| node.host.is_some()).map(|(id, _)| *id).collect();
        up.into_iter().try_for_each(|id| self.step(id, None, Host::on_tick).map(|_| ()))
    }

    /// Takes out what matches. A script that means a message which is not there is wrong.
    fn take(&mut self, args: &mut ArgumentConsumer<'_>) -> Fallible<Vec<Flying>> {
        let filter = Filter::new(args)?;
        let (taken, left): (Vec<_>, Vec<_>) = self.flying.drain(..).partition(|flying| filter.matches(flying));
        self.flying = left;
        if taken.is_empty() { Err("no such message is under way".into()) } else { Ok(taken) }
    }

    fn deliver_all(&mut self, filter: &Filter) -> Fallible {
        for _ in 0..RESTLESS {
            let matching = |flying: &&Flying| filter.matches(flying);
            let own = self.flying.iter().position(|flying| matching(&flying) && flying.from == flying.to);
            let Some(at) = own.or_else(|| self.flying.iter().position(|flying| matching(&flying))) else {
                return Ok(());
            };
            let flying = self.flying.remove(at);
            self.deliver(flying, None, false)?;
        }
        Err("the cluster does not come to rest".into())
    }

    fn deliver(&mut self, flying: Flying, dies_after: Option<usize>, say_if_nothing: bool) -> Fallible {
        let shown = flying.shown();
        let Flying { from, to, generation, message } = flying;
        if self.nodes.get(&to).is_none_or(|node| node.host.is_none()) {
            writeln!(self.text, "{shown} is lost: {to} is down")?;
            return Ok(());
        }
        let sender = Sender { from, generation: Some(generation) };
        let effects = self.step(to, dies_after, |host, out| host.on_message(sender, message, out))?;
        if effects == 0 && say_if_nothing {
            writeln!(self.text, "{shown} has no effect")?;
        }
        Ok(())
    }

    /// One input for one node, and all that follows; the node may die after so many effects. Tells how many there were.
    fn step(
        &mut self,
        id: NodeId,
        dies_after: Option<usize>,
        input: impl FnOnce(&mut Host, &mut Out),
    ) -> Fallible<usize> {
        let node = self.nodes.get_mut(&id).ok_or_else(|| format!("there is no node {id}"))?;
        let host = node.host.as_mut().ok_or_else(|| format!("{id} is down"))?;
        let mut out = Out::default();
        input(host, &mut out);
        let generation = host.generation();
        let effects: Vec<Effect> = out.drain().collect();
        let count = effects.len();
        for (at, effect) in effects.into_iter().enumerate() {
            if dies_after == Some(at) {
                self.crash(id)?;
                return Ok(count);
            }
            self.carry_out(id, generation, effect)?;
        }
        self.check(id);
        Ok(count)
    }

    fn carry_out(&mut self, id: NodeId, generation: u64, effect: Effect) -> Fallible {
        let disk = &mut self.nodes.get_mut(&id).expect("it has just taken a step").disk;
        match effect {
            Effect::Save(record) => {
                writeln!(self.text, "{id} saves {}", shown_record(&record))?;
                disk.write(&record);
                disk.sync();
            }
            Effect::Note(record) => {
                writeln!(self.text, "{id} notes {}", shown_record(&record))?;
                disk.write(&record);
            }
            Effect::Send { message: HostMessage::Paxos(Message::Learn(_)), .. } if !self.learning => {}
            Effect::Send { to, message } => {
                let flying = Flying { from: id, to, generation, message };
                writeln!(self.text, "{}", flying.shown())?;
                if to != NodeId::GUEST {
                    self.flying.push(flying);
                }
            }
            Effect::Notify(event) => {
                self.agree(generation, &event);
                self.text.push_str(&told(id, &event));
            }
        }
        Ok(())
    }

    /// A node's memory is what its records give back.
    fn check(&self, id: NodeId) {
        let node = &self.nodes[&id];
        let Some(host) = &node.host else { return };
        host.paxos().check_invariants();
        let Durable { generation, instances, decided, .. } = node.disk.read();
        let mut held = host.paxos().instances().clone();
        held.retain(|_, remembered| *remembered != Remembered::default());
        assert_eq!(held, instances, "{id}: the memory is not what the disk gives back");
        assert_eq!((host.generation(), host.paxos().decided_count()), (generation, decided.len()), "{id}");
    }

    /// Only one value is ever chosen.
    fn agree(&mut self, generation: u64, event: &Event) {
        if let Event::Decided { instance, value, .. } = event {
            let first = self.chosen.entry((generation, instance.clone())).or_insert_with(|| value.clone());
            assert_eq!(first, value, "two values are held for chosen in '{instance}'");
        }
    }

    fn status(&mut self) -> Fallible {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.show(id))
    }

    fn show(&mut self, id: NodeId) -> Fallible {
        let node = &self.nodes[&id];
        let kept = node.disk.read();
        let generation = node.host.as_ref().map_or(kept.generation, Host::generation);
        let instances = node.host.as_ref().map_or(&kept.instances, |host| host.paxos().instances());
        let down = if node.host.is_none() { " (down)" } else { "" };
        let who =
            if generation == 1 { format!("{id}{down}") } else { format!("{id}{down} in generation {generation}") };
        if instances.is_empty() {
            writeln!(self.text, "{who}: nothing")?;
        }
        for (instance, Remembered { promised, accepted, decided }) in instances {
            let mut parts = Vec::new();
            parts.extend(promised.map(|ballot| format!("promised {ballot}")));
            parts.extend(accepted.as_ref().map(|(ballot, value)| format!("accepted {ballot} '{value}'")));
            parts.extend(decided.as_ref().map(|(ballot, value)| format!("decided '{value}' in {ballot}")));
            let running = node.host.as_ref().and_then(|host| host.paxos().running_ballot(instance));
            parts.extend(running.map(|ballot| format!("runs {ballot}")));
            let parts = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
            writeln!(self.text, "{who}: {}{parts}", label(instance))?;
        }
        Ok(())
    }
}

impl Filter {
    fn new(args: &mut ArgumentConsumer<'_>) -> Fallible<Self> {
        let (from, to) = (key(args, "from")?, key(args, "to")?);
        let (ballot, instance) = (key(args, "ballot")?, key(args, "instance")?);
        let kinds: Vec<String> = std::iter::from_fn(|| args.next_pos()).map(str::to_owned).collect();
        Ok(Self { from, to, ballot, instance, kinds })
    }

    fn matches(&self, flying: &Flying) -> bool {
        let (kind, instance, ballot) = parts(&flying.message);
        self.from.is_none_or(|from| from == flying.from)
            && self.to.is_none_or(|to| to == flying.to)
            && (self.ballot.is_none() || self.ballot == ballot)
            && (self.instance.is_none() || self.instance.as_ref() == instance)
            && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind)))
    }
}

impl Flying {
    fn shown(&self) -> String {
        let to = if self.to == NodeId::GUEST { "guest".to_owned() } else { self.to.to_string() };
        let since = if self.generation == 1 { String::new() } else { format!(", of generation {}", self.generation) };
        format!("{} → {to} {}{since}", self.from, shown_message(&self.message))
    }
}

// What scripts may say.

fn pos<T: FromStr<Err: Error + 'static>>(args: &mut ArgumentConsumer<'_>) -> Fallible<T> {
    Ok(args.next_pos().ok_or("something is missing")?.parse()?)
}

fn key<T: FromStr<Err: Error + 'static>>(args: &mut ArgumentConsumer<'_>, name: &str) -> Fallible<Option<T>> {
    Ok(args.take_key(name).map(str::parse).transpose()?)
}

/// `KIND BALLOT [VALUE] [promised=BALLOT] [accepted=BALLOT value=VALUE] [instance=I]`
fn message(args: &mut ArgumentConsumer<'_>) -> Fallible<HostMessage> {
    let kind = args.next_pos().ok_or("which message?")?;
    if kind == "elsewhere" {
        return Ok(HostMessage::Elsewhere);
    }
    let ballot: Ballot = pos(args)?;
    let instance = key(args, "instance")?.unwrap_or_default();
    let mut value = || args.next_pos().map(Value::new).ok_or("with which value?");
    let message = match kind {
        "prepare" => Message::Prepare { instance, ballot },
        "promise" => {
            let accepted = key(args, "accepted")?.zip(args.take_key("value").map(Value::new));
            Message::Promise { instance, ballot, accepted }
        }
        "accept" => Message::Accept { instance, ballot, value: value()? },
        "accepted" => Message::Accepted { instance, ballot },
        "reject" => Message::Reject { instance, ballot, promised: key(args, "promised")?.ok_or("promised what?")? },
        "commit" => Message::Commit { instance, ballot, value: value()? },
        _ => return Err(format!("there is no message '{kind}'").into()),
    };
    Ok(message.into())
}

fn parts(message: &HostMessage) -> (&'static str, Option<&Instance>, Option<Ballot>) {
    match message {
        HostMessage::Strong(_) => ("Strong", None, None),
        HostMessage::Overlay(_) => ("Overlay", None, None),
        HostMessage::Log(_) => ("Log", None, None),
        HostMessage::Eventual(_) => ("Eventual", None, None),
        HostMessage::Register(_) => ("Register", None, None),
        HostMessage::Elsewhere => ("Elsewhere", None, None),
        HostMessage::Bully(_) => ("Bully", None, None),
        HostMessage::Paxos(message) => match message {
            Message::Prepare { instance, ballot } => ("Prepare", Some(instance), Some(*ballot)),
            Message::Promise { instance, ballot, .. } => ("Promise", Some(instance), Some(*ballot)),
            Message::Accept { instance, ballot, .. } => ("Accept", Some(instance), Some(*ballot)),
            Message::Accepted { instance, ballot } => ("Accepted", Some(instance), Some(*ballot)),
            Message::Reject { instance, ballot, .. } => ("Reject", Some(instance), Some(*ballot)),
            Message::Commit { instance, ballot, .. } => ("Commit", Some(instance), Some(*ballot)),
            Message::Committed { instance, ballot } => ("Committed", Some(instance), Some(*ballot)),
            Message::Learn(_) => ("Learn", None, None),
            Message::Learned(_) => ("Learned", None, None),
        },
    }
}

// What scripts print.

/// The instance in front of what is said of it; the default one goes without saying.
fn label(instance: &Instance) -> String {
    if *instance == Instance::default() { String::new() } else { format!("[{instance}] ") }
}

pub(super) fn shown_message(message: &HostMessage) -> String {
    let (kind, instance, ballot) = parts(message);
    let head = format!("{}{kind}", instance.map(label).unwrap_or_default());
    let head = ballot.map(|ballot| format!("{head} {ballot}")).unwrap_or(head);
    match message {
        HostMessage::Paxos(Message::Promise { accepted: Some((ballot, value)), .. }) => {
            format!("{head}, accepted {ballot} '{value}'")
        }
        HostMessage::Paxos(Message::Accept { value, .. } | Message::Commit { value, .. }) => {
            format!("{head} '{value}'")
        }
        HostMessage::Paxos(Message::Reject { promised, .. }) => format!("{head}, promised {promised}"),
        HostMessage::Paxos(Message::Learn(ask)) => {
            let open: Vec<&str> = ask.open.iter().map(Instance::as_str).collect();
            let open = if open.is_empty() { String::new() } else { format!(", open: {}", open.join(" ")) };
            format!("{head} after {}, knows {}{open}", ask.after, ask.count)
        }
        HostMessage::Paxos(Message::Learned(answer)) => {
            let known = |what: &str, list: &[learner::Known]| {
                let each = |known: &learner::Known| {
                    format!(", {}{what} {} '{}'", label(&known.instance), known.ballot, known.value)
                };
                list.iter().map(each).collect::<String>()
            };
            let more = if answer.more { ", and more" } else { "" };
            let (decided, accepted) = (known("decided", &answer.decided), known("accepted", &answer.accepted));
            format!("{head} up to {}{decided}{accepted}{more}", answer.upto)
        }
        _ => head,
    }
}

pub(super) fn shown_record(record: &Record) -> String {
    match record {
        Record::Log(record) => format!("{record:?}"),
        Record::Eventual(record) => format!("{record:?}"),
        Record::Register(record) => format!("{record:?}"),
        Record::Overlay(record) => format!("{record:?}"),
        Record::Promise { instance, ballot } => format!("{}promise {ballot}", label(instance)),
        Record::Accept { instance, ballot, value } => format!("{}acceptance {ballot} '{value}'", label(instance)),
        Record::Decide { instance, ballot, value } => format!("{}decision '{value}' in {ballot}", label(instance)),
        Record::Generation { generation, followed } => {
            format!("generation {generation}{}", if *followed { ", followed" } else { "" })
        }
    }
}

/// What the outside is told: a line, or nothing where the effects beside it say the same.
pub(super) fn told(id: NodeId, event: &Event) -> String {
    match event {
        Event::Replied { .. }
        | Event::Readable { .. }
        | Event::Finished { .. }
        | Event::Found { .. }
        | Event::Correspondents { .. } => String::new(),
        Event::Answered { request, outcome } => format!("{id} answers #{}: {}\n", request.0, shown_outcome(outcome)),
        Event::Ignored { from, reason } => {
            let from = if *from == NodeId::GUEST { "the guest".to_owned() } else { from.to_string() };
            format!("{id} ignores {from}: {reason}\n")
        }
        Event::Decided { instance, ballot, value } => {
            format!("{id} learns {}'{value}' in {ballot}\n", label(instance))
        }
        Event::Restarted { generation } => format!("{id} is empty, in generation {generation}\n"),
        Event::Proposing { instance, ballot } => format!("{id} runs {}{ballot}\n", label(instance)),
    }
}

fn shown_outcome(outcome: &Outcome) -> String {
    let tries = |attempts: &u32| match attempts {
        1 => "1 attempt".to_owned(),
        many => format!("{many} attempts"),
    };
    let who = |silent: &[NodeId]| {
        let silent: Vec<String> = silent.iter().map(NodeId::to_string).collect();
        if silent.is_empty() { "nobody".to_owned() } else { silent.join(" ") }
    };
    match outcome {
        Outcome::Chosen { ballot, value, yours, attempts } => {
            let whose = if *yours { "yours" } else { "another's" };
            format!("chosen '{value}' in {ballot} ({whose}, {})", tries(attempts))
        }
        Outcome::Preempted { ballot, attempts } => format!("pre-empted by {ballot} ({})", tries(attempts)),
        Outcome::Unavailable { silent, attempts } => {
            format!("unavailable, silent: {} ({})", who(silent), tries(attempts))
        }
        Outcome::Unknown { ballot, silent, attempts } => {
            format!("unknown since {ballot}, silent: {} ({})", who(silent), tries(attempts))
        }
        Outcome::Restarted => "restarted".to_owned(),
        Outcome::Full => "full".to_owned(),
        Outcome::NoRoom => "no room".to_owned(),
    }
}
