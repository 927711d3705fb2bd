//! The lab's methods: links that fail on demand, what the gates hold, and what happened.

use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::access::Role;
use super::faults::{BAD_OPTION, NO_LINK};
use super::methods::{Id as AnyId, Method};
use crate::lab::links::{MAX_DELAY, Standing};
use crate::lab::trace::ring::Row;
use crate::node::core::Core;
use crate::protocol::types::NodeId;
use crate::xmlrpc::Fault;

/// How long a fault of a link lasts at most, and how long if the caller does not say.
pub const MAX_TTL: Duration = Duration::from_secs(3600);
const DEFAULT_TTL_MS: u32 = 300_000;
/// Events in one answer of `lab.trace`.
pub const MAX_EVENTS: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    GateNext,
    LinkCut,
    LinkDelay,
    LinkDrop,
    LinkHeal,
    LinkList,
    Trace,
    TraceClear,
    TraceSwitch,
}

const fn method(
    name: &'static str,
    id: Id,
    signatures: &'static [&'static [&'static str]],
    usage: &'static str,
    help: &'static str,
) -> Method {
    Method { name, id: AnyId::Lab(id), signatures, usage, help, lab: true, role: Role::Admin }
}

const I: &str = "int";
const M: &str = "struct";

/// Also for nodes in service: it tells how the protocols work, and is for administrators.
const fn everywhere(method: Method) -> Method {
    Method { lab: false, ..method }
}

/// All of them; the table of [`super::methods`] sorts them in.
pub(super) static METHODS: &[Method] = &[
    method(
        "lab.gate.next",
        Id::GateNext,
        &[&[M]],
        "",
        "The message that this node's gates have held the longest: held (boolean) and, if there is one, method, to and \
         waiting_ms (int). lab.gate.release(method, to, 1) sends it.",
    ),
    method(
        "lab.link.cut",
        Id::LinkCut,
        &[&[M, I], &[M, I, I]],
        "to [, ttl_ms]",
        "Nothing that this node says reaches another, be it a call or the answer to one, until healed or until ttl_ms \
         (default 300000) have passed. What the other says still arrives. Returns what lab.link.list returns.",
    ),
    method(
        "lab.link.delay",
        Id::LinkDelay,
        &[&[M, I, I], &[M, I, I, I]],
        "to, delay_ms [, ttl_ms]",
        "All that this node says reaches another so much later, until healed or until ttl_ms (default 300000) have \
         passed. Returns what lab.link.list returns.",
    ),
    method(
        "lab.link.drop",
        Id::LinkDrop,
        &[&[M, I, I], &[M, I, I, I]],
        "to, percent [, ttl_ms]",
        "So many of a hundred messages of this node to another are lost, by chance, until healed or until ttl_ms \
         (default 300000) have passed. Returns what lab.link.list returns.",
    ),
    method(
        "lab.link.heal",
        Id::LinkHeal,
        &[&[M], &[M, I]],
        "[to]",
        "Ends what is wrong with the link to one node, or with all links of this node. Returns healed (int).",
    ),
    method(
        "lab.link.list",
        Id::LinkList,
        &[&["array"]],
        "",
        "The links of this node with which something is wrong: an array of structs of to, cut (boolean), delay_ms (int), \
         drop_percent (int), those two only if they are set, and ttl_ms (int).",
    ),
    everywhere(method(
        "lab.trace",
        Id::Trace,
        &[&[M, I, I]],
        "since, limit",
        "What happened at this node, from the event of the number since on, at most limit (0 to 1000) events. Returns \
         node, on (boolean), next (int, the since to go on with), last (int, the number of the next event to come), \
         lost (int, how many are no longer kept: of the last 65536 each is), now_us (int, the node's time) and events: an \
         array of structs of seq, us, clock ('8000:12,8001:4'), kind, text and, where they apply, message, peer, name, \
         instance, ballot, value, accepted, promised, counter, entries, committed and note.",
    )),
    everywhere(method(
        "lab.trace.clear",
        Id::TraceClear,
        &[&[M]],
        "",
        "Forgets what happened at this node. Returns next (int).",
    )),
    everywhere(method(
        "lab.trace.switch",
        Id::TraceSwitch,
        &[&[M, "boolean"]],
        "on",
        "Whether this node keeps what happens from now on; what it has stays. Returns on (boolean).",
    )),
];

/// A call whose arguments have been read.
#[derive(Debug)]
pub(super) enum Request {
    GateNext,
    Cut { to: NodeId, ttl_ms: u32 },
    Delay { to: NodeId, delay_ms: u32, ttl_ms: u32 },
    Drop { to: NodeId, percent: u32, ttl_ms: u32 },
    Heal { to: Option<NodeId> },
    Links,
    Trace { since: u64, limit: u32 },
    TraceClear,
    TraceSwitch { on: bool },
}

/// What these methods return.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Next(NextRow),
    Links(Vec<LinkRow>),
    Healed { healed: u64 },
    Trace(TracePage),
    Cleared { next: u64 },
    Switched { on: bool },
}

/// The result of `lab.gate.next`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRow {
    /// Whether any gate holds a message.
    pub held: bool,
    /// The kind of the message that is held the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Its receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeId>,
    /// For how long it is held, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_ms: Option<u64>,
}

/// The result of `lab.trace`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePage {
    /// The node.
    pub node: NodeId,
    /// Whether it keeps what happens.
    pub on: bool,
    /// What to ask for next.
    pub next: u64,
    /// The number of the next event to come.
    pub last: u64,
    /// How many of those asked for are no longer kept.
    pub lost: u64,
    /// Microseconds since the node started, now.
    pub now_us: u64,
    /// The events.
    pub events: Vec<Row>,
}

/// A row of `lab.link.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRow {
    /// The receiver.
    pub to: NodeId,
    /// Whether nothing arrives there.
    pub cut: bool,
    /// How much later messages arrive, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// How many of a hundred messages are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_percent: Option<u32>,
    /// How long until the last of these faults ends by itself, in milliseconds.
    pub ttl_ms: u64,
}

impl From<Standing> for LinkRow {
    fn from(link: Standing) -> Self {
        Self {
            to: link.to,
            cut: link.cut,
            delay_ms: link.delay.map(millis),
            drop_percent: link.loss_percent.map(u32::from),
            ttl_ms: millis(link.ends_in),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads the arguments.
pub(super) fn read<'de, D: Deserializer<'de>>(id: Id, params: D) -> Result<Request, D::Error> {
    // An empty tuple for the methods without parameters: any parameter is then one too many.
    type None = [u8; 0];
    let ttl = |ttl_ms: Option<u32>| ttl_ms.unwrap_or(DEFAULT_TTL_MS);
    Ok(match id {
        Id::GateNext => <None>::deserialize(params).map(|_| Request::GateNext)?,
        Id::LinkCut => {
            let (to, ttl_ms): (_, Option<_>) = Deserialize::deserialize(params)?;
            Request::Cut { to, ttl_ms: ttl(ttl_ms) }
        }
        Id::LinkDelay => {
            let (to, delay_ms, ttl_ms): (_, _, Option<_>) = Deserialize::deserialize(params)?;
            Request::Delay { to, delay_ms, ttl_ms: ttl(ttl_ms) }
        }
        Id::LinkDrop => {
            let (to, percent, ttl_ms): (_, _, Option<_>) = Deserialize::deserialize(params)?;
            Request::Drop { to, percent, ttl_ms: ttl(ttl_ms) }
        }
        Id::LinkHeal => {
            let (to,) = Deserialize::deserialize(params)?;
            Request::Heal { to }
        }
        Id::Trace => {
            let (since, limit) = Deserialize::deserialize(params)?;
            Request::Trace { since, limit }
        }
        Id::TraceClear => <None>::deserialize(params).map(|_| Request::TraceClear)?,
        Id::TraceSwitch => {
            let (on,) = Deserialize::deserialize(params)?;
            Request::TraceSwitch { on }
        }
        Id::LinkList => <None>::deserialize(params).map(|_| Request::Links).map_err(D::Error::custom)?,
    })
}

/// Does what is asked; none of it waits for the driver.
pub(super) fn run(core: &Core, request: Request) -> Result<Answer, Fault> {
    let links = core.peers.links();
    let list = || Ok(Answer::Links(links.standing().into_iter().map(LinkRow::from).collect()));
    match request {
        Request::GateNext => {
            let next = core.peers.gates().next();
            Ok(Answer::Next(next.map_or_else(NextRow::default, |next| NextRow {
                held: true,
                method: Some(next.kind.name().to_owned()),
                to: Some(next.to),
                waiting_ms: Some(millis(next.waiting)),
            })))
        }
        Request::Cut { to, ttl_ms } => {
            let ttl = checked(core, to, ttl_ms)?;
            links.cut(to, ttl);
            list()
        }
        Request::Delay { to, delay_ms, ttl_ms } => {
            let (ttl, delay) = (checked(core, to, ttl_ms)?, Duration::from_millis(delay_ms.into()));
            if delay > MAX_DELAY {
                let text = format!("delay_ms is above {}; nothing was done", MAX_DELAY.as_millis());
                return Err(BAD_OPTION.fault(text));
            }
            links.delay(to, delay, ttl);
            list()
        }
        Request::Drop { to, percent, ttl_ms } => {
            let ttl = checked(core, to, ttl_ms)?;
            let percent = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
            let percent = percent.ok_or_else(|| BAD_OPTION.fault("percent is above 100; nothing was done"))?;
            links.lose(to, percent, ttl);
            list()
        }
        Request::Heal { to } => {
            if let Some(to) = to {
                is_other(core, to)?;
            }
            Ok(Answer::Healed { healed: links.heal(to) as u64 })
        }
        Request::Links => list(),
        Request::Trace { since, limit } => trace(core, since, limit),
        Request::TraceClear => {
            core.ring.clear();
            Ok(Answer::Cleared { next: core.ring.next() })
        }
        Request::TraceSwitch { on } => {
            core.ring.switch(on);
            Ok(Answer::Switched { on })
        }
    }
}

fn trace(core: &Core, since: u64, limit: u32) -> Result<Answer, Fault> {
    if limit > MAX_EVENTS {
        return Err(BAD_OPTION.fault(format!("limit is above {MAX_EVENTS}; ask for the rest with next")));
    }
    let page = core.ring.since(since, limit as usize);
    Ok(Answer::Trace(TracePage {
        node: core.id,
        on: core.ring.is_on(),
        next: page.next,
        last: core.ring.next(),
        lost: page.lost,
        now_us: page.now_us,
        events: page.rows,
    }))
}

fn checked(core: &Core, to: NodeId, ttl_ms: u32) -> Result<Duration, Fault> {
    is_other(core, to)?;
    let ttl = Duration::from_millis(ttl_ms.into());
    if ttl > MAX_TTL {
        return Err(BAD_OPTION.fault(format!("ttl_ms is above {}; nothing was done", MAX_TTL.as_millis())));
    }
    Ok(ttl)
}

fn is_other(core: &Core, to: NodeId) -> Result<(), Fault> {
    if to == core.id {
        return Err(NO_LINK.fault(format!("{to} is this node, which always hears itself; nothing was done")));
    }
    if !core.peers.knows(to) {
        return Err(NO_LINK.fault(format!("{to} is no member of this cluster; nothing was done")));
    }
    Ok(())
}
