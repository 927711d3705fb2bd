//! What a node answers to calls: every call is started, and then waited for, so that the calls of a multicall run
//! together.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use log::error;
use serde::de::{DeserializeSeed, Deserializer};

use super::access::Grant;
use super::answers::{
    ClockRow, Decided, FaultRow, GateRow, InstanceRow, Member, Proposed, Restarted, Returned, Status, Version, Whose,
};
use super::door::{Promise, Reply};
use super::faults::{
    BAD_OPTION, DISK_FULL, FAULTS, FORBIDDEN, FULL, IGNORED, NO_MEMBER, NOT_A_LAB, PREEMPTED, RESTARTED, STOPPED,
    TOO_LARGE, UNAVAILABLE, UNKNOWN,
};
use super::introspect::capabilities;
use super::methods::{METHODS, Method, ProposeOptions, Request};
use super::multicall::{self, OneCall};
use super::peers::Kind;
use super::validator1;
use super::wire::{self, Answer, MAX_VALUE_BYTES, Refusal};
use super::{lab, overlay, promised, strong, text, weak};
use crate::lab::links::Fate;
use crate::node::core::Core;
use crate::node::driver::TICK;
use crate::node::input::{Arrival, Reaction, Wish};
use crate::node::status::{InstanceStatus, Snapshot};
use crate::protocol::Message;
use crate::protocol::durable::Remembered;
use crate::protocol::host::Sender;
use crate::protocol::paxos::{self, Outcome};
use crate::protocol::types::{Instance, NodeId, Value};
use crate::xmlrpc::{self, Call, Fault, Limits};

/// The version of the messages between nodes.
const PROTOCOL_VERSION: i32 = 1;
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
const MAX_DEADLINE: Duration = Duration::from_secs(60);
const MAX_GATE_TTL: Duration = Duration::from_secs(600);
const MAX_IMPATIENT: u32 = 1000;
const STATUS_INSTANCES: usize = 100;

/// The XML-RPC service of a node.
pub(crate) struct Service {
    core: Arc<Core>,
    limits: Limits,
    multicall: multicall::Limits,
    /// How many calls have panicked.
    panics: AtomicU64,
}

/// A call that was started.
enum Started {
    Ready(Result<Returned, Fault>),
    Message { refusal: Refusal, is_peer: bool, reaction: Receiver<Reaction> },
    Proposal { instance: Instance, value: Value, outcome: Receiver<Outcome> },
    Decided(Receiver<Option<Remembered>>),
    Restart(Receiver<Option<u64>>),
    Status(Receiver<Snapshot>),
    Strong(strong::Started),
    Weak(weak::Started),
    Overlay(overlay::Started),
    GateWait { kind: Kind, to: NodeId, count: usize, timeout: Duration },
}

/// A message that may be handed to the driver.
struct Heard {
    said: Arrival,
    refusal: Refusal,
    is_peer: bool,
}

impl Service {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, limits: Limits::default(), multicall: Default::default(), panics: AtomicU64::new(0) }
    }

    /// Answers the body of a POST with the body of the response, which is always XML-RPC.
    pub(crate) fn call(&self, body: &[u8], grant: Grant) -> Vec<u8> {
        self.answer(body, grant, || None).body
    }

    /// The same, for a caller whose connection may be replied to later: then the reply says so, and the driver has the
    /// promise.
    pub(crate) fn answer(
        &self,
        body: &[u8],
        grant: Grant,
        promise: impl FnOnce() -> Option<(Promise, Reply)>,
    ) -> Reply {
        let mut out = Vec::with_capacity(512);
        match guarded(&self.panics, || self.answer_into(body, grant, promise, &mut out)) {
            Ok(Some(promised)) => return promised,
            Ok(None) => {}
            Err(fault) => {
                out.clear();
                xmlrpc::to_fault(&fault, &mut out);
            }
        }
        Reply::xml(out)
    }

    fn answer_into(
        &self,
        body: &[u8],
        grant: Grant,
        promise: impl FnOnce() -> Option<(Promise, Reply)>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Reply>, Fault> {
        let text = xmlrpc::text(body, &self.limits)?;
        let call = Call::parse(&text, &self.limits)?;
        let Some(method) = Method::named(call.method()) else {
            let fault = unknown_method(call.method());
            call.skip()?;
            return Err(fault);
        };
        if method.is_multicall() {
            let calls = multicall::read(call, &text, &self.limits, self.multicall.calls)?;
            return multicall::write(self.many(calls, grant), self.multicall.output_bytes, out).map(|()| None);
        }
        let request = call.params_seed(Arguments(method))?;
        if request.needs_no_thread() {
            self.permit(method, grant)?;
            if let Some((promise, promised)) = promise() {
                self.start_promised(promised::Call::new(&self.core, promise), method, request, grant);
                return Ok(Some(promised));
            }
        }
        let outcome = self.finish(self.start(method, request, grant))?;
        xmlrpc::to_response(&outcome, out).map_err(cannot_encode).map(|()| None)
    }

    /// Starts a call that is answered by whoever has its outcome.
    fn start_promised(&self, call: promised::Call, method: &Method, request: Request, grant: Grant) {
        match request {
            Request::Strong(request) => strong::start_promised(call, request),
            Request::Message { message, envelope } => match self.heard(message, envelope, grant) {
                Ok(Heard { said, refusal, is_peer }) => {
                    let answer = move |reaction| call.answer(|_| reacted(refusal, is_peer, reaction));
                    self.core.message_then(said, Box::new(answer));
                }
                Err(fault) => call.refuse(fault),
            },
            request => {
                let outcome = self.finish(self.start(method, request, grant));
                call.answer(|_| outcome);
            }
        }
    }

    /// Starts all calls before it waits for any: the driver takes them in one batch. The last one is waited for first: when
    /// the driver has answered that, it has answered the others, and this thread need not be woken for each.
    fn many(&self, calls: Vec<Result<OneCall, Fault>>, grant: Grant) -> impl Iterator<Item = Result<Returned, Fault>> {
        let start = |call: Result<OneCall, Fault>| {
            let OneCall { method, request } = call?;
            guarded(&self.panics, || Ok(self.start(method, request, grant)))
        };
        let mut started: Vec<Result<Started, Fault>> = self.core.together(|| calls.into_iter().map(start).collect());
        let finish = |started: Result<Started, Fault>| guarded(&self.panics, || self.finish(started?));
        let last = started.pop().map(finish);
        started.into_iter().map(finish).chain(last)
    }

    /// Whether the caller may, and here.
    fn permit(&self, method: &Method, grant: Grant) -> Result<(), Fault> {
        if !grant.includes(method.role) {
            let role = format!("{:?}", method.role).to_lowercase();
            let text = format!("forbidden: {} is for the role {role}; nothing was done", method.name);
            return Err(FORBIDDEN.fault(text));
        }
        if method.lab && !self.core.lab {
            let text = format!("{} is for lab nodes, and {} was started for service", method.name, self.core.id);
            return Err(NOT_A_LAB.fault(text));
        }
        Ok(())
    }

    fn start(&self, method: &Method, request: Request, grant: Grant) -> Started {
        if let Err(fault) = self.permit(method, grant) {
            return Started::Ready(Err(fault));
        }
        match request {
            Request::Propose { value, instance, options } => self.propose(value, instance, options),
            Request::Decided { instance } => Started::Decided(self.core.decided(instance)),
            Request::Message { message, envelope } => match self.heard(message, envelope, grant) {
                Ok(Heard { said, refusal, is_peer }) => {
                    Started::Message { refusal, is_peer, reaction: self.core.message(said) }
                }
                Err(fault) => Started::Ready(Err(fault)),
            },
            Request::Strong(request) => match strong::start(&self.core, request) {
                Ok(started) => Started::Strong(started),
                Err(fault) => Started::Ready(Err(fault)),
            },
            Request::Weak(request) => match weak::start(&self.core, request) {
                Ok(started) => Started::Weak(started),
                Err(fault) => Started::Ready(Err(fault)),
            },
            Request::Overlay(request) => match overlay::start(&self.core, request) {
                Ok(started) => Started::Overlay(started),
                Err(fault) => Started::Ready(Err(fault)),
            },
            Request::Restart => Started::Restart(self.core.restart()),
            Request::Status { instance } => {
                let limit = if instance.is_some() { 1 } else { STATUS_INSTANCES };
                Started::Status(self.core.status(instance, limit))
            }
            Request::GateWait { kind, to, count, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms.into());
                if timeout > MAX_DEADLINE {
                    return Started::Ready(Err(BAD_OPTION.fault("timeout_ms is above 60000")));
                }
                Started::GateWait { kind, to, count: count as usize, timeout }
            }
            request => Started::Ready(self.at_once(request)),
        }
    }

    /// The calls that need not wait for the driver.
    fn at_once(&self, request: Request) -> Result<Returned, Fault> {
        let peers = &self.core.peers;
        let released = |messages: Vec<_>| {
            let released = messages.len() as u64;
            peers.release(messages);
            Ok(Returned::Released { released })
        };
        match request {
            Request::GateHold { kind, to, ttl_ms } => {
                let ttl = Duration::from_millis(ttl_ms.into());
                if ttl > MAX_GATE_TTL {
                    return Err(BAD_OPTION.fault("ttl_ms is above 600000"));
                }
                if !peers.knows(to) {
                    return Err(BAD_OPTION.fault(format!("{to} is no member of this cluster")));
                }
                peers.gates().hold(kind, to, ttl);
                Ok(Returned::Held { held: 0 })
            }
            Request::GateRelease { kind, to, count: Some(count) } => {
                released(peers.gates().let_through(kind, to, count as usize))
            }
            Request::GateRelease { kind, to, count: None } => released(peers.gates().open(kind, to)),
            Request::GateClear => released(peers.gates().open_all()),
            Request::GateList => {
                let row = |gate: crate::lab::gates::Standing| GateRow {
                    method: gate.kind.name().to_owned(),
                    to: gate.to,
                    held: gate.held as u64,
                };
                Ok(Returned::Gates(peers.gates().standing().into_iter().map(row).collect()))
            }
            Request::Faults => {
                let row = |kind: super::faults::FaultKind| FaultRow {
                    code: kind.code,
                    name: kind.name.to_owned(),
                    definite: kind.definite,
                    meaning: kind.meaning.to_owned(),
                };
                Ok(Returned::Faults(FAULTS.into_iter().map(row).collect()))
            }
            Request::GetCapabilities => Ok(Returned::Capabilities(capabilities())),
            Request::Lab(request) => lab::run(&self.core, request).map(Returned::Lab),
            Request::Validator { test, argument } => validator1::run(test, argument).map(Returned::Value),
            Request::ListMethods => Ok(Returned::Names(METHODS.iter().map(|method| method.name).collect())),
            Request::MethodSignature { name } => Ok(Returned::Signatures(known_method(&name)?.signatures)),
            Request::MethodHelp { name } => Ok(Returned::Text(known_method(&name)?.help_text())),
            // Everything else was started above; this leaves the version.
            _ => {
                let synod = env!("CARGO_PKG_VERSION").to_owned();
                Ok(Returned::Version(Version { synod, protocol: PROTOCOL_VERSION, process: std::process::id() }))
            }
        }
    }

    fn propose(&self, value: Value, instance: Instance, options: ProposeOptions) -> Started {
        if self.core.joined {
            return Started::Ready(Err(NO_MEMBER.fault(format!(
                "{} joined later: single values are decided by the nodes that founded the cluster; propose to one of them; \
                 the value was not written",
                self.core.id
            ))));
        }
        let deadline = options.deadline_ms.map_or(DEFAULT_DEADLINE, |ms| Duration::from_millis(ms.into()));
        let impatient = options.impatient.unwrap_or(0);
        let for_a_lab = impatient > 0 || options.ballot_ms.is_some();
        let refusal = if value.as_str().len() > MAX_VALUE_BYTES {
            Some(TOO_LARGE.fault(format!("the value is larger than {MAX_VALUE_BYTES} bytes; it was not written")))
        } else if deadline > MAX_DEADLINE {
            Some(BAD_OPTION.fault("deadline_ms is above 60000; the value was not written"))
        } else if impatient > MAX_IMPATIENT {
            Some(BAD_OPTION.fault(format!("impatient is above {MAX_IMPATIENT}; the value was not written")))
        } else if for_a_lab && !self.core.lab {
            Some(NOT_A_LAB.fault("impatient and ballot_ms are for lab nodes; the value was not written"))
        } else {
            None
        };
        if let Some(fault) = refusal {
            return Started::Ready(Err(fault));
        }
        let outcome = self.core.propose(Wish {
            instance: instance.clone(),
            value: value.clone(),
            deadline_ticks: ticks(deadline),
            impatient,
            ballot_ticks: options.ballot_ms.map(|ms| ticks(Duration::from_millis(ms.into()))),
        });
        Started::Proposal { instance, value, outcome }
    }

    /// Whether this node hears such a message, from whoever sent it.
    fn heard(&self, message: Message, envelope: Option<wire::Envelope>, grant: Grant) -> Result<Heard, Fault> {
        if envelope.is_some() && !grant.is_node() {
            return Err(FORBIDDEN.fault("forbidden: only nodes of the cluster speak as such; nothing was done"));
        }
        let value = match &message {
            Message::Paxos(paxos::Message::Accept { value, .. } | paxos::Message::Commit { value, .. }) => Some(value),
            _ => None,
        };
        if value.is_some_and(|value| value.as_str().len() > MAX_VALUE_BYTES) {
            let text = format!("the value is larger than {MAX_VALUE_BYTES} bytes; nothing was done");
            return Err(TOO_LARGE.fault(text));
        }
        let is_peer = envelope.is_some();
        let sender = match &envelope {
            Some(envelope) if envelope.to != self.core.id => {
                let text = format!("the message is for {}, and this is {}", envelope.to, self.core.id);
                return Err(IGNORED.fault(text));
            }
            Some(envelope) => envelope.sender(),
            None if self.core.lab => Sender::GUEST,
            None => {
                let text = format!("guests may speak to lab nodes only, and {} was started for service", self.core.id);
                return Err(NOT_A_LAB.fault(text));
            }
        };
        let (clock, refusal) = (envelope.and_then(|envelope| envelope.clock), wire::refusal(&message));
        Ok(Heard { said: Arrival { sender, message, clock }, refusal, is_peer })
    }

    fn finish(&self, started: Started) -> Result<Returned, Fault> {
        match started {
            Started::Ready(result) => result,
            Started::Message { refusal, is_peer, reaction } => {
                reacted(refusal, is_peer, wait(reaction)?).map(Returned::Acceptor)
            }
            Started::Proposal { instance, value, outcome } => self.proposed(instance, &value, wait(outcome)?),
            Started::Decided(remembered) => {
                let (ballot, value) = wait(remembered)?.and_then(|state| state.decided).unzip();
                Ok(Returned::Decided(Decided { decided: value.is_some(), value, ballot }))
            }
            Started::Restart(generation) => {
                let generation =
                    wait(generation)?.ok_or_else(|| disk_full(self.core.id, "the node was not restarted"))?;
                let message = format!("Node on port {} has been restarted.", self.core.id);
                Ok(Returned::Restarted(Restarted { generation, message }))
            }
            Started::Strong(started) => {
                strong::finish(&self.core, started).map(|answer| Returned::Strong(Box::new(answer)))
            }
            Started::Weak(started) => weak::finish(&self.core, started).map(|answer| Returned::Weak(Box::new(answer))),
            Started::Overlay(started) => Ok(Returned::Overlay(Box::new(overlay::finish(&self.core, started)?))),
            Started::Status(snapshot) => Ok(Returned::Status(Box::new(self.status(wait(snapshot)?)))),
            Started::GateWait { kind, to, count, timeout } => {
                let held = self.core.peers.gates().wait_for(kind, to, count, timeout) as u64;
                Ok(Returned::Held { held })
            }
        }
    }

    fn proposed(&self, instance: Instance, wanted: &Value, outcome: Outcome) -> Result<Returned, Fault> {
        let me = self.core.id;
        let shown = text::shown(wanted);
        let silent = |nodes: &[NodeId]| {
            let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            if names.is_empty() {
                "too few nodes answered".to_owned()
            } else {
                format!("no answer from {}", names.join(", "))
            }
        };
        match outcome {
            Outcome::Chosen { ballot, value, yours, attempts } => {
                let outcome = if yours { Whose::Yours } else { Whose::Anothers };
                let message = format!("Value '{}' has been updated and committed.", text::shown(&value));
                Ok(Returned::Proposed(Proposed { instance, value, outcome, ballot, attempts, message }))
            }
            Outcome::Preempted { ballot, attempts } => Err(PREEMPTED.fault(format!(
                "not chosen: in {attempts} attempts {me} met higher ballots, the last {ballot}; your value '{shown}' was \
                 not written; try again"
            ))),
            Outcome::Unavailable { silent: nodes, attempts } => Err(UNAVAILABLE.fault(format!(
                "unavailable: {me} heard no majority in {attempts} attempts, {}; your value '{shown}' was not written; \
                 start the nodes that are down, or try again",
                silent(&nodes)
            ))),
            Outcome::Unknown { ballot, silent: nodes, attempts } => Err(UNKNOWN.fault(format!(
                "outcome unknown: {me} sent your value '{shown}' in ballot {ballot}, but heard no majority in {attempts} \
                 attempts, {}; it may yet be chosen; ask decided('{instance}'), or propose again",
                silent(&nodes)
            ))),
            Outcome::Restarted => Err(RESTARTED.fault(format!(
                "{me} was restarted while it proposed '{shown}', and has forgotten it; propose again"
            ))),
            Outcome::NoRoom => Err(disk_full(me, &format!("your value '{shown}' was not written"))),
            Outcome::Full => Err(FULL.fault(format!(
                "{me} holds as many instances as it may; your value '{shown}' was not written; use an instance that \
                 exists, or restart the lab"
            ))),
        }
    }

    fn status(&self, snapshot: Snapshot) -> Status {
        let core = &self.core;
        let member = |(node, address): (NodeId, Arc<str>)| Member { node, address: address.to_string() };
        let members = snapshot.members.into_iter().map(member).collect();
        let counters = snapshot.counters;
        Status {
            node: core.id,
            address: core.address.to_string(),
            members,
            founders: snapshot.founders,
            mode: if core.lab { "lab" } else { "service" }.to_owned(),
            generation: snapshot.generation,
            uptime_ms: Instant::now().saturating_duration_since(core.since).as_millis() as u64,
            disk: snapshot.disk.map(str::to_owned),
            instances: snapshot.instances.into_iter().map(instance_row).collect(),
            log: snapshot.strong,
            clock: ClockRow::from(&snapshot.clock),
            counters: [
                ("ballots", counters.ballots),
                ("ballots_running", snapshot.ballots_running as u64),
                ("batches", counters.batches),
                ("decided", snapshot.decided_total as u64),
                ("decisions", counters.decisions),
                ("files_pending", snapshot.files_pending as u64),
                ("instances", snapshot.instances_total as u64),
                ("messages_in", counters.messages_in),
                ("proposals", counters.proposals),
                ("records", counters.records),
            ]
            .map(|(name, count)| (name.to_owned(), count))
            .into(),
        }
    }
}

/// Rounded up, so that nobody is answered early.
pub(super) fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX)
}

fn instance_row(status: InstanceStatus) -> InstanceRow {
    let Remembered { promised, accepted, decided } = status.state;
    let (accepted_ballot, accepted_value) = accepted.unzip();
    let (ballot, value) = decided.unzip();
    let decided = value.is_some();
    InstanceRow {
        instance: status.instance,
        decided,
        proposing_ballot: status.proposing,
        promised_ballot: promised,
        accepted_ballot,
        accepted_value,
        ballot,
        value,
    }
}

/// What a message led to. A guest hears a fault when it was ignored; a peer hears the generation, and goes on.
fn reacted(refusal: Refusal, is_peer: bool, reaction: Reaction) -> Result<Answer, Fault> {
    if let (None, Some(reason), false) = (&reaction.message, reaction.ignored, is_peer) {
        return Err(IGNORED.fault(format!("ignored: {reason}; nothing was changed")));
    }
    let mut answer = reaction.message.as_ref().map(wire::answer).unwrap_or_default();
    if reaction.ignored.is_none() {
        refusal(&mut answer);
    }
    if is_peer {
        answer.generation = Some(reaction.generation);
        answer.clock = Some(reaction.clock);
        answer.ignored = reaction.ignored.map(str::to_owned);
        match reaction.fate {
            Fate::Passes => {}
            Fate::Late(delay) => answer.late_ms = Some(u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)),
            // Without a generation there is no answer in it.
            Fate::Lost => answer = Answer::default(),
        }
    }
    Ok(answer)
}

pub(super) fn wait<T>(answer: Receiver<T>) -> Result<T, Fault> {
    // The driver answers everything it took, by the deadline at the latest; it drops what it holds when it ends.
    answer.recv().map_err(|_| stopped())
}

pub(super) fn stopped() -> Fault {
    STOPPED.fault("the node stopped before it could answer; ask another node what became of it")
}

/// There is no room on the disk of a node, so this did not happen.
pub(super) fn disk_full(node: NodeId, nothing: &str) -> Fault {
    DISK_FULL.fault(format!(
        "disk full: the disk of {node} takes no more; {nothing}; free space there, and it goes on by itself"
    ))
}

fn unknown_method(name: &str) -> Fault {
    Fault {
        code: -32601,
        string: format!("there is no method '{}'; system.listMethods() names all", name.escape_debug()),
    }
}

/// Turns a panic into a fault, so that a bug costs one call. What it said goes to the log only; the number in the fault
/// finds it there. Unwind safe: what the calls of a node share is behind the driver's channel and its own locks, and is
/// not left half changed by a caller that ends.
fn guarded<T>(panics: &AtomicU64, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|cause: Box<dyn Any + Send>| {
        let id = panics.fetch_add(1, Ordering::Relaxed) + 1;
        let said = cause.downcast_ref::<&str>().copied();
        let said = said.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
        error!("a call panicked [panic-{id}]: {}; this is a bug", said.unwrap_or("without words"));
        let string =
            format!("internal error; the call may or may not have had its effect; the log has it as panic-{id}");
        Err(Fault { code: -32603, string })
    })
}

pub(super) fn known_method(name: &str) -> Result<&'static Method, Fault> {
    Method::named(name).ok_or_else(|| unknown_method(name))
}

pub(super) fn cannot_encode(error: xmlrpc::EncodeError) -> Fault {
    Fault { code: -32603, string: format!("the result cannot be sent: {error}") }
}

/// Reads the arguments of one method.
struct Arguments(&'static Method);

impl<'de> DeserializeSeed<'de> for Arguments {
    type Value = Request;

    fn deserialize<D: Deserializer<'de>>(self, params: D) -> Result<Request, D::Error> {
        self.0.read(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_fault_that_tells_nothing_but_where_to_look() {
        let panics = AtomicU64::new(0);
        for id in 1..3 {
            let fault = guarded(&panics, || -> Result<(), Fault> { panic!("a secret") }).unwrap_err();
            assert_eq!(fault.code, -32603);
            assert!(fault.string.contains(&format!("panic-{id}")) && !fault.string.contains("secret"), "{fault}");
        }
        assert_eq!(guarded(&panics, || Ok(5)), Ok(5));
        assert_eq!(guarded::<()>(&panics, || Err(BAD_OPTION.fault("x"))), Err(BAD_OPTION.fault("x")));
    }
}
