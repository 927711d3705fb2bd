//! The methods of the eventual board and of the quorum registers: what is asked, how it is answered.

pub mod answers;
pub(super) mod methods;

use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::faults::{
    APART, BAD_OPTION, FORGOTTEN, FULL, HALF_WRITTEN, NO_MEMBER, NOT_FOUND, RESTARTED, TOO_LARGE, UNAVAILABLE,
};
use super::service::{disk_full, ticks, wait};
use crate::node::core::Core;
use crate::protocol::eventual::board::{Board, Change, What};
use crate::protocol::eventual::memory::Stamp;
use crate::protocol::eventual::{Eventual, Refusal};
use crate::protocol::host::Host;
use crate::protocol::register::{BadSizes, Done, Failure, MAX_NAME_BYTES, MAX_VALUE_BYTES, Sizes};
use crate::protocol::types::{NodeId, Value};
use crate::service::limits::Limits;
use crate::xmlrpc::Fault;
use answers::{Answer, BoardStatus, EntryRow, EventRow, Quorum, ReadAnswer, Watched, Written};
use methods::Id;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
const MAX_DEADLINE: Duration = Duration::from_secs(60);
const PAGE: usize = 1000;
/// What a row of a list weighs beside its text.
const ROW_BYTES: usize = 64;

/// A call whose arguments have been read.
#[derive(Debug)]
pub(super) enum Request {
    Post { text: String },
    Modify { id: String, text: String },
    Delete { id: String },
    List(ListOptions),
    Watch { since: u64, timeout_ms: u32 },
    Status,
    Read { name: String, options: RegisterOptions },
    Write { name: String, value: Value, options: RegisterOptions },
    Quorum { sizes: Option<(u32, u32)> },
}

/// The last argument of `board.eventual.list`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListOptions {
    /// Only what comes after this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// No more than so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The last entries instead of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<bool>,
}

/// The last argument of `register.read` and `register.write`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegisterOptions {
    /// How long to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
}

/// Reads the arguments of one of these methods.
pub(super) fn read<'de, D: Deserializer<'de>>(id: Id, params: D) -> Result<Request, D::Error> {
    Ok(match id {
        Id::Post => {
            let (text,) = Deserialize::deserialize(params)?;
            Request::Post { text }
        }
        Id::Modify => {
            let (id, text) = Deserialize::deserialize(params)?;
            Request::Modify { id, text }
        }
        Id::Delete => {
            let (id,) = Deserialize::deserialize(params)?;
            Request::Delete { id }
        }
        Id::List => {
            let (options,): (Option<ListOptions>,) = Deserialize::deserialize(params)?;
            Request::List(options.unwrap_or_default())
        }
        Id::Watch => {
            let (since, timeout_ms) = Deserialize::deserialize(params)?;
            Request::Watch { since, timeout_ms }
        }
        Id::Status => {
            <[u8; 0]>::deserialize(params)?;
            Request::Status
        }
        Id::Read => {
            let (name, options): (_, Option<_>) = Deserialize::deserialize(params)?;
            Request::Read { name, options: options.unwrap_or_default() }
        }
        Id::Write => {
            let (name, value, options): (_, _, Option<_>) = Deserialize::deserialize(params)?;
            Request::Write { name, value, options: options.unwrap_or_default() }
        }
        Id::Quorum => {
            let (read, write): (Option<u32>, Option<u32>) = Deserialize::deserialize(params)?;
            if read.is_some() != write.is_some() {
                return Err(D::Error::custom("give both sizes, of reads and of writes, or none"));
            }
            Request::Quorum { sizes: read.zip(write) }
        }
    })
}

/// A call that was started.
pub(super) enum Started {
    /// The board answers at once, when it has saved; nothing if there is no room for that.
    Board(Receiver<Option<Result<Answer, Fault>>>),
    Watch(Receiver<Result<Answer, Fault>>),
    Register {
        name: String,
        result: Receiver<Result<Done, Failure>>,
    },
}

/// Hands a call to the driver.
pub(super) fn start(core: &Core, request: Request) -> Result<Started, Fault> {
    let me = core.id;
    let is_of_registers = matches!(request, Request::Read { .. } | Request::Write { .. } | Request::Quorum { .. });
    if core.joined && is_of_registers {
        return Err(NO_MEMBER.fault(format!(
            "{me} joined later: the registers are kept by the nodes that founded the cluster; call one of them, or use a \
             key of the replicated log (kv.put), which every member has; nothing was done"
        )));
    }
    Ok(match request {
        Request::Post { text } => Started::Board(core.act(true, move |host, out| {
            let done = board(host)?.post(&text, out);
            done.map(|stamp| did(stamp, stamp, Some(text))).map_err(|refusal| refused(me, &refusal))
        })),
        Request::Modify { id, text } => {
            let id = entry_id(&id)?;
            Started::Board(core.act(true, move |host, out| {
                let done = board(host)?.modify(id, &text, out);
                done.map(|stamp| did(id, stamp, Some(text))).map_err(|refusal| refused(me, &refusal))
            }))
        }
        Request::Delete { id } => {
            let id = entry_id(&id)?;
            Started::Board(core.act(true, move |host, out| {
                let done = board(host)?.delete(id, out);
                done.map(|stamp| did(id, stamp, None)).map_err(|refusal| refused(me, &refusal))
            }))
        }
        Request::List(ListOptions { after, limit, newest }) => {
            let after = after.as_deref().map(entry_id).transpose()?;
            let limit = limit.map_or(usize::MAX, |limit| limit as usize);
            let newest = newest == Some(true);
            if newest && after.is_some() {
                return Err(BAD_OPTION.fault("the options after and newest exclude each other"));
            }
            Started::Board(
                core.act(false, move |host, _| {
                    Ok(Answer::Entries(rows(known(me, host)?.board(), after, limit, newest)))
                }),
            )
        }
        Request::Watch { since, timeout_ms } => {
            let timeout = Duration::from_millis(timeout_ms.into());
            if timeout > MAX_DEADLINE {
                return Err(BAD_OPTION.fault("timeout_ms is above 60000"));
            }
            Started::Watch(core.watch_host(ticks(timeout), move |host, last| match known(me, host) {
                Ok(eventual) => watched(eventual.board(), since, last),
                Err(fault) => Some(Err(fault)),
            }))
        }
        Request::Status => {
            Started::Board(core.act(false, move |host, _| Ok(Answer::Board(Box::new(status(known(me, host)?))))))
        }
        Request::Read { name, options } => {
            let ticks = deadline(&options)?;
            check_name(&name)?;
            let key = name.clone();
            Started::Register {
                name,
                result: core.register(move |register, id, out| register.read(id, &key, ticks, out)),
            }
        }
        Request::Write { name, value, options } => {
            let ticks = deadline(&options)?;
            check_name(&name)?;
            if value.as_str().len() > MAX_VALUE_BYTES {
                let text = format!("the value is larger than {MAX_VALUE_BYTES} bytes; it was not written");
                return Err(TOO_LARGE.fault(text));
            }
            let key = name.clone();
            let write = core.register(move |register, id, out| register.write(id, &key, value, ticks, out));
            Started::Register { name, result: write }
        }
        Request::Quorum { sizes } => {
            let lab = core.lab;
            Started::Board(core.act(true, move |host, _| quorum(host, sizes, lab)))
        }
    })
}

/// Waits for a call.
pub(super) fn finish(core: &Core, started: Started) -> Result<Answer, Fault> {
    match started {
        Started::Watch(answer) => wait(answer)?,
        Started::Board(answer) => wait(answer)?.ok_or_else(|| disk_full(core.id, "nothing was changed"))?,
        Started::Register { name, result } => match wait(result)? {
            Ok(Done::Written(timestamp)) => Ok(Answer::Written(Written { timestamp })),
            Ok(Done::Read(held)) => Ok(Answer::Read(ReadAnswer {
                found: held.is_some(),
                timestamp: held.as_ref().map(|held| held.timestamp),
                value: held.map(|held| held.value),
            })),
            Err(failure) => Err(failed(core.id, &name, &failure)),
        },
    }
}

/// The board, if this node is one of those that keep it.
fn known(me: NodeId, host: &Host) -> Result<&Eventual, Fault> {
    let eventual = host.eventual().ok_or_else(no_board)?;
    if eventual.is_member() { Ok(eventual) } else { Err(refused(me, &Refusal::NoMember)) }
}

/// The same, for operations, which it refuses itself.
fn board(host: &mut Host) -> Result<&mut Eventual, Fault> {
    host.eventual_mut().ok_or_else(no_board)
}

fn no_board() -> Fault {
    NOT_FOUND.fault("this node has no eventual board")
}

fn entry_id(text: &str) -> Result<Stamp, Fault> {
    text.parse().map_err(|error| BAD_OPTION.fault(format!("{error}; nothing was done")))
}

/// What was done, for who did it.
const fn did(id: Stamp, by: Stamp, text: Option<String>) -> Answer {
    Answer::Entry(row(id, by, text))
}

const fn row(id: Stamp, by: Stamp, text: Option<String>) -> EntryRow {
    EntryRow { id, text, author: id.server.number(), clock: by.clock, server: by.server.number() }
}

fn rows(board: &Board, after: Option<Stamp>, limit: usize, newest: bool) -> Vec<EntryRow> {
    let posts: &mut dyn Iterator<Item = _> =
        if newest { &mut board.posts(after).rev() } else { &mut board.posts(after) };
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for (id, by, text) in posts.take(limit) {
        bytes += text.len() + ROW_BYTES;
        if bytes > Limits::PAGE_BYTES && !rows.is_empty() {
            break;
        }
        rows.push(row(id, by, Some(text.to_string())));
    }
    if newest {
        rows.reverse();
    }
    rows
}

fn watched(board: &Board, since: u64, last: bool) -> Option<Result<Answer, Fault>> {
    let Some(changes) = board.changes_since(since) else {
        let text = format!(
            "not all changes after {since} are kept here, or there were none yet; this node is at {}: list, and go on from \
             there",
            board.memory().changes
        );
        return Some(Err(FORGOTTEN.fault(text)));
    };
    let mut bytes = 0;
    let mut events = Vec::new();
    for (counter, Change { id, by, what }) in changes.take(PAGE) {
        let (what, text) = match what {
            What::Posted(text) => ("posted", Some(text.to_string())),
            What::Modified(text) => ("modified", Some(text.to_string())),
            What::Deleted => ("deleted", None),
        };
        bytes += text.as_ref().map_or(0, String::len);
        if !events.is_empty() && bytes > Limits::PAGE_BYTES {
            break;
        }
        events.push(EventRow { what: what.to_owned(), counter, entry: row(*id, *by, text) });
    }
    if events.is_empty() && !last {
        return None;
    }
    let next = events.last().map_or(since, |event| event.counter);
    Some(Ok(Answer::Watched(Watched { events, next })))
}

fn status(eventual: &Eventual) -> BoardStatus {
    let status = eventual.status();
    BoardStatus {
        clock: status.clock,
        versions: status.versions.iter().map(|(node, clock)| (node.to_string(), clock)).collect(),
        digest: format!("{:016x}", status.digest),
        posts: status.posts as u64,
        tombstones: status.tombstones as u64,
        pending: status.pending as u64,
        changes: status.changes,
        astray: status.astray,
    }
}

fn refused(me: NodeId, refusal: &Refusal) -> Fault {
    let kind = match refusal {
        Refusal::Unknown { .. } => NOT_FOUND,
        Refusal::TooLarge { .. } => TOO_LARGE,
        Refusal::Full { .. } | Refusal::Spent => FULL,
        Refusal::Forgetful | Refusal::Newcomer => UNAVAILABLE,
        Refusal::NoMember => {
            return NO_MEMBER.fault(format!(
                "{me}: {refusal}; nothing was changed; call a member, or have one add it: cluster.add({me}, address)"
            ));
        }
    };
    kind.fault(format!("{me}: {refusal}; nothing was changed"))
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.len() > MAX_NAME_BYTES {
        let text = format!("the name has {} bytes, and may have {MAX_NAME_BYTES}; nothing was done", name.len());
        return Err(TOO_LARGE.fault(text));
    }
    Ok(())
}

fn deadline(options: &RegisterOptions) -> Result<u64, Fault> {
    let deadline = options.deadline_ms.map_or(DEFAULT_DEADLINE, |ms| Duration::from_millis(ms.into()));
    if deadline > MAX_DEADLINE {
        return Err(BAD_OPTION.fault("deadline_ms is above 60000; nothing was done"));
    }
    Ok(ticks(deadline))
}

fn quorum(host: &mut Host, sizes: Option<(u32, u32)>, lab: bool) -> Result<Answer, Fault> {
    let nodes = host.members().len();
    let Some(register) = host.register_mut() else { return Err(NOT_FOUND.fault("this node has no registers")) };
    if let Some((read, write)) = sizes {
        let sizes = Sizes { read: read as usize, write: write as usize };
        register.set_sizes(sizes, lab).map_err(|error| {
            let kind = if matches!(error, BadSizes::Apart { .. }) { APART } else { BAD_OPTION };
            kind.fault(format!("{error}; nothing was changed"))
        })?;
    }
    let Sizes { read, write } = register.sizes();
    let intersect = read + write > nodes && 2 * write > nodes;
    Ok(Answer::Quorum(Quorum { read: read as u64, write: write as u64, nodes: nodes as u64, intersect }))
}

fn failed(me: NodeId, name: &str, failure: &Failure) -> Fault {
    let names = |nodes: &[NodeId]| {
        let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    let name = name.escape_debug();
    match failure {
        Failure::Unavailable { heard, needed } => UNAVAILABLE.fault(format!(
            "unavailable: {me} heard {} about register '{name}', and needs {needed} nodes; nothing was written; start the \
             nodes that are down, or try again",
            names(heard)
        )),
        Failure::Unknown { timestamp, stored, needed } => HALF_WRITTEN.fault(format!(
            "outcome unknown: {me} sent the value of register '{name}' with timestamp {timestamp}, and only {} said to hold \
             it, of {needed} that are needed; reads may find it or not; read, or write again",
            names(stored)
        )),
        Failure::Full => FULL.fault(format!(
            "{me} holds as many registers as it may, or '{name}' was written as often as can be; nothing was written"
        )),
        Failure::NoRoom => disk_full(me, "nothing was written"),
        Failure::Restarted => {
            RESTARTED.fault(format!("{me} was restarted while it worked on register '{name}', and has forgotten the call"))
        }
    }
}
