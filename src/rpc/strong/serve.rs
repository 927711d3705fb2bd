//! Starting these calls, and waiting for them.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::answers::{
    Answer, EventRow, FileAnswer, FileRow, Freshness, Got, History, KeyRow, Listed, LockAnswer, LockRow, MembersAnswer,
    OutcomeAnswer, PostRow, Watched as WatchedAnswer, Wrote,
};
use super::{Consistency, Read, ReadOptions, Request, Watched, Write, WriteOptions};
use crate::node::core::Core;
use crate::node::driver::TICK;
use crate::node::status::StrongStatus;
use crate::protocol::log::members::{Change, MAX_ADDRESS, MAX_MEMBERS, Unchanged};
use crate::protocol::strong::{Failure, Strong};
use crate::protocol::types::NodeId;
use crate::rpc::answers::Member;
use crate::rpc::faults::{
    BAD_OPTION, CHANGING, COMPARE, DISK_FULL, EXISTS, FENCED, FORGOTTEN, FULL, MEMBER, MEMBER_COUNT, NEWCOMER_SILENT,
    NO_MEMBER, NOT_FOUND, NOT_HOLDER, RESTARTED, REUSED, SUPERSEDED, TOO_LARGE, UNAVAILABLE, UNKNOWN,
};
use crate::rpc::promised::Call;
use crate::service::Services;
use crate::service::board::BoardChange;
use crate::service::command::{Fence, RequestKey};
use crate::service::kv::KvChange;
use crate::service::limits::Limits;
use crate::service::reply::{Outcome, Position, Refusal, Reply, Standing};
use crate::xmlrpc::Fault;

#[cfg(test)]
mod tests;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
const MAX_DEADLINE: Duration = Duration::from_secs(60);
/// A new member has the whole log to fetch.
const CHANGE_DEADLINE_MS: u32 = 30_000;
const PAGE: usize = 1000;

/// A call that was started.
pub(in crate::rpc) enum Started {
    Write { reply: Receiver<Result<Reply, Failure>>, waits_for: Option<(String, String, u64)> },
    Read(Receiver<Result<Result<Answer, Fault>, Failure>>),
    Watch(Receiver<Result<Answer, Fault>>),
    Elect(Receiver<()>),
    Change { reply: Receiver<Result<Reply, Failure>>, change: Change },
}

/// Hands a call to the driver.
pub(in crate::rpc) fn start(core: &Core, request: Request) -> Result<Started, Fault> {
    match request {
        Request::Write(write, options) => {
            let Prepared { command, keyed, ticks, waits_for } = prepared(core, &write, &options)?;
            Ok(Started::Write { reply: core.command(command, keyed, ticks), waits_for })
        }
        Request::Read(read, options) => {
            let (deadline, local) = patience(&options)?;
            Ok(Started::Read(core.query(deadline, move |strong| look(strong, &read, &options, local))))
        }
        Request::Watch { of, since, timeout_ms } => {
            if Duration::from_millis(timeout_ms.into()) > MAX_DEADLINE {
                return Err(BAD_OPTION.fault("timeout_ms is above 60000"));
            }
            let ticks = ticks(Duration::from_millis(timeout_ms.into()));
            Ok(Started::Watch(core.watch(ticks, move |strong, last| watched(strong, &of, since, last))))
        }
        Request::Elect => Ok(Started::Elect(core.elect())),
        Request::Change(change, options) => {
            if let Change::Add { address, .. } = &change {
                check_address(address)?;
            }
            let ticks = deadline(Some(options.deadline_ms.unwrap_or(CHANGE_DEADLINE_MS)))?;
            Ok(Started::Change { reply: core.change(change.clone(), ticks), change })
        }
        Request::Leader => {
            Ok(Started::Read(core.query(None, |strong| Ok(Answer::Leader(Box::new(StrongStatus::of(strong)))))))
        }
    }
}

/// Hands a call to the driver for which no thread will wait: see [`Request::needs_no_thread`].
pub(in crate::rpc) fn start_promised(call: Call, request: Request) {
    let core = Arc::clone(call.core());
    match request {
        Request::Write(write, options) => match prepared(&core, &write, &options) {
            Ok(Prepared { command, keyed, ticks, .. }) => {
                core.command_then(
                    command,
                    keyed,
                    ticks,
                    Box::new(move |result| call.answer(|core| wrote(core, result))),
                );
            }
            Err(fault) => call.refuse(fault),
        },
        Request::Read(read, options) => match patience(&options) {
            Ok((deadline, local)) => {
                let look = move |strong: &Strong| look(strong, &read, &options, local);
                core.query_then(deadline, Box::new(move |strong| call.answer(|core| was_read(core, strong.map(look)))));
            }
            Err(fault) => call.refuse(fault),
        },
        request => {
            call.refuse(Fault { code: -32603, string: format!("a thread must wait for {request:?}") });
        }
    }
}

/// What came of a write.
fn wrote(core: &Core, result: Result<Reply, Failure>) -> Result<Answer, Fault> {
    answer(result.map_err(|failure| failed(core, &failure, "nothing was written"))?)
}

/// What came of a read.
fn was_read(core: &Core, result: Result<Result<Answer, Fault>, Failure>) -> Result<Answer, Fault> {
    result.map_err(|failure| failed(core, &failure, "nothing was read"))?
}

/// Within how many ticks a read must see the newest state, or that this node's own will do.
fn patience(options: &ReadOptions) -> Result<(Option<u64>, bool), Fault> {
    let deadline = deadline(options.deadline_ms)?;
    let local = options.read == Some(Consistency::Local);
    Ok(((!local).then_some(deadline), local))
}

/// A write that can be handed to the driver.
struct Prepared {
    command: Vec<u8>,
    keyed: bool,
    ticks: u64,
    waits_for: Option<(String, String, u64)>,
}

fn prepared(core: &Core, write: &Write, options: &WriteOptions) -> Result<Prepared, Fault> {
    let mut ticks = deadline(options.deadline_ms)?;
    let request = options.request.as_deref().map(request_key).transpose()?;
    let fence = options.token.map(|token| Fence { token, lock: options.lock.as_deref() });
    if fence.is_some() && !write.takes_a_fence() {
        // Ignored, it would let through what its caller believes to be fenced.
        return Err(BAD_OPTION.fault("the option token is for writes of kv and files; nothing was done"));
    }
    if fence.is_none() && options.lock.is_some() {
        return Err(BAD_OPTION.fault("lock without a token: give the token of its grant, too; nothing was done"));
    }
    let command = write.command(request, fence, core.id.number());
    command.check(&Limits::default()).map_err(|refusal| refused(&refusal))?;
    let waits_for = match write {
        Write::Acquire { name, owner, wait_ms, .. } if *wait_ms > 0 => {
            // What waits longer than a call may is asked for again: the place in the queue is kept. A client that sets
            // a deadline is answered by then, with its place if it still waits.
            let most = options.deadline_ms.map_or(MAX_DEADLINE, |ms| Duration::from_millis(ms.into()));
            let wait = Duration::from_millis(*wait_ms).min(most);
            ticks = ticks.max(self::ticks(wait));
            Some((name.clone(), owner.clone(), self::ticks(wait)))
        }
        _ => None,
    };
    Ok(Prepared { command: command.encode(), keyed: request.is_some(), ticks, waits_for })
}

/// Waits for a call.
pub(in crate::rpc) fn finish(core: &Core, started: Started) -> Result<Answer, Fault> {
    match started {
        Started::Write { reply, waits_for } => {
            match (wait(reply)?, waits_for) {
                (Ok(Reply::Lock { at, standing: Standing::Queued { position } }), Some((name, owner, ticks))) => {
                    // A little longer than the queue lets it wait, so that the queue has the last word.
                    let queued = Queued { at, position, name, owner };
                    let look = move |strong: &Strong, last: bool| standing(strong.services(), &queued, last);
                    Ok(Answer::Lock(wait(core.watch(ticks + 50, look))?))
                }
                (result, _) => wrote(core, result),
            }
        }
        Started::Read(answer) => was_read(core, wait(answer)?),
        Started::Watch(answer) => wait(answer)?,
        Started::Change { reply, change } => match wait(reply)? {
            Ok(Reply::Members { at }) => {
                let message = Some(match change {
                    Change::Add { node, address } => format!("{node} at {address} is a member now."),
                    Change::Remove { node } => format!("{node} is no member any more."),
                });
                Ok(Answer::Wrote(Wrote { epoch: at.epoch, counter: at.counter, message, ..Wrote::default() }))
            }
            Ok(reply) => answer(reply),
            Err(Failure::Unchanged(why)) => Err(unchanged(why, &change)),
            Err(Failure::Unknown) => Err(UNKNOWN.fault(format!(
                "outcome unknown: {} gave the change to a leader that did not answer; the members may have been changed: \
                 cluster.members() tells, in a moment",
                core.id
            ))),
            Err(failure) => Err(failed(core, &failure, "the members were not changed")),
        },
        Started::Elect(done) => {
            wait(done)?;
            finish(core, start(core, Request::Leader)?)
        }
    }
}

use crate::rpc::service::{disk_full, wait};

/// `client/sequence`.
fn request_key(text: &str) -> Result<RequestKey<'_>, Fault> {
    text.rsplit_once('/')
        .filter(|(client, _)| !client.is_empty())
        .and_then(|(client, sequence)| Some(RequestKey { client, sequence: sequence.parse().ok()? }))
        .ok_or_else(|| {
            BAD_OPTION.fault(
                "a request id is client/sequence, such as 'printer-3/17', with a number that grows; nothing was done",
            )
        })
}

fn deadline(ms: Option<u32>) -> Result<u64, Fault> {
    let deadline = ms.map_or(DEFAULT_DEADLINE, |ms| Duration::from_millis(ms.into()));
    if deadline > MAX_DEADLINE {
        return Err(BAD_OPTION.fault("deadline_ms is above 60000; nothing was done"));
    }
    Ok(ticks(deadline))
}

/// Rounded up, so that nobody is answered early.
fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX)
}

/// `HOST:PORT`, where somebody can be called.
fn check_address(address: &str) -> Result<(), Fault> {
    let parts = address.rsplit_once(':').filter(|(host, port)| {
        let bare = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
        let text =
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/' || c == '@');
        // One way to write it, and no sign.
        let port_is = port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == *port);
        bare && text && port_is
    });
    if parts.is_none() || address.len() > MAX_ADDRESS {
        return Err(BAD_OPTION.fault(
            "the address is not HOST:PORT, as in 127.0.0.1:8005 (an IPv6 host needs brackets); the members were not \
             changed",
        ));
    }
    Ok(())
}

fn unchanged(why: Unchanged, change: &Change) -> Fault {
    let (Change::Add { node, .. } | Change::Remove { node }) = change;
    let address = if let Change::Add { address, .. } = change { address } else { "" };
    match why {
        Unchanged::Member => MEMBER.fault(format!("{node} is a member already; the members were not changed")),
        Unchanged::AddressTaken => MEMBER.fault(format!(
            "the address {address} is another member's; the members were not changed; cluster.members() lists them"
        )),
        Unchanged::NoMember => NO_MEMBER.fault(format!(
            "{node} is no member of the cluster; the members were not changed; cluster.members() lists them"
        )),
        Unchanged::Last => MEMBER_COUNT
            .fault(format!("{node} is the only member, and a cluster has at least one; the members were not changed")),
        Unchanged::Full => MEMBER_COUNT
            .fault(format!("a cluster has at most {MAX_MEMBERS} members; {node} was not added; remove another first")),
        Unchanged::Busy => CHANGING.fault(
            "another change of the members is under way, or the leader has only just been elected; this one was not \
             begun; try again in a moment",
        ),
        Unchanged::Silent => NEWCOMER_SILENT.fault(format!(
            "{node} does not answer the leader at {address}; the members were not changed; start it there with --join, \
             and try again"
        )),
    }
}

fn failed(core: &Core, failure: &Failure, nothing: &str) -> Fault {
    match failure {
        Failure::Unavailable { leader } => {
            let leader = leader.map_or_else(|| "knows no leader".to_owned(), |leader| format!("got no answer from {leader}"));
            UNAVAILABLE.fault(format!(
                "unavailable: {} {leader}; {nothing}; start the nodes that are down, or try again",
                core.id
            ))
        }
        Failure::NoMember => NO_MEMBER.fault(format!(
            "{} is no member of the cluster, so it has no leader to ask; {nothing}; ask a member, or have one add it: \
             cluster.add({}, '{}')",
            core.id, core.id, core.address
        )),
        Failure::NoRoom { node } => disk_full(*node, nothing),
        // Only a change of the members is answered so, and that has words of its own.
        Failure::Unchanged(_) => CHANGING.fault("the members were not changed"),
        Failure::Unknown => UNKNOWN.fault(format!(
            "outcome unknown: {} gave it to a leader that did not answer; it may have been written; look, or repeat it with \
             the same request id, which applies it once",
            core.id
        )),
        Failure::Restarted => RESTARTED.fault(format!("{} was restarted during the call, and has forgotten it", core.id)),
    }
}

/// What the services answered, for the client.
fn answer(reply: Reply) -> Result<Answer, Fault> {
    let wrote = |at: Position| Wrote { epoch: at.epoch, counter: at.counter, ..Wrote::default() };
    Ok(match reply {
        Reply::Put { at, version } => Answer::Wrote(Wrote { version: Some(version), ..wrote(at) }),
        Reply::Deleted { at, version } => Answer::Wrote(Wrote { version, ..wrote(at) }),
        Reply::Board { at, id } => Answer::Wrote(Wrote { id: Some(id), ..wrote(at) }),
        Reply::File { at, change } => Answer::Wrote(Wrote { message: Some(change.to_string()), ..wrote(at) }),
        Reply::Members { at } => Answer::Wrote(wrote(at)),
        Reply::Released { at } => Answer::Wrote(Wrote { released: Some(true), ..wrote(at) }),
        Reply::Lock { standing, .. } => Answer::Lock(match standing {
            Standing::Held { token, .. } => LockAnswer { granted: true, token: Some(token), position: None },
            Standing::Queued { position } => LockAnswer { granted: false, token: None, position: Some(position) },
            Standing::Without => LockAnswer { granted: false, token: None, position: None },
        }),
        Reply::Ticked => Answer::Wrote(Wrote::default()),
        Reply::Refused(refusal) => return Err(refused(&refusal)),
    })
}

fn refused(refusal: &Refusal) -> Fault {
    let kind = match refusal {
        Refusal::Compare { .. } => COMPARE,
        Refusal::NoPost { .. } | Refusal::NoFile { .. } => NOT_FOUND,
        Refusal::FileExists { .. } => EXISTS,
        Refusal::TokenOld { .. } => FENCED,
        Refusal::NotHolder { .. } => NOT_HOLDER,
        Refusal::Superseded { .. } => SUPERSEDED,
        Refusal::Reused { .. } => REUSED,
        Refusal::TooLarge { .. } => TOO_LARGE,
        Refusal::BadName { .. } | Refusal::BadTime { .. } | Refusal::Malformed => BAD_OPTION,
        Refusal::Full { .. } => FULL,
        Refusal::NoRoom => DISK_FULL,
        Refusal::Forgotten { .. } => FORGOTTEN,
    };
    kind.fault(refusal.to_string())
}

/// An owner that waits for a lock.
struct Queued {
    /// The entry that put it into the queue.
    at: Position,
    /// Its place there, at that time.
    position: u64,
    name: String,
    owner: String,
}

/// How an owner that waited stands with a lock; `None` while it waits.
fn standing(services: &Services, queued: &Queued, last: bool) -> Option<LockAnswer> {
    let waits = |position| LockAnswer { granted: false, token: None, position: Some(position) };
    if services.applied() < queued.at {
        // This node has not applied yet what the leader answered: a grant that it shows may be an old one.
        return last.then(|| waits(queued.position));
    }
    let lock = services.locks_list().into_iter().find(|lock| *lock.name == *queued.name);
    let token = lock.as_ref().filter(|lock| *lock.owner == *queued.owner).map(|lock| lock.token);
    if token.is_some() {
        return Some(LockAnswer { granted: true, token, position: None });
    }
    match lock.and_then(|lock| lock.queue.iter().position(|waiter| **waiter == *queued.owner)) {
        Some(place) => last.then(|| waits(place as u64 + 1)),
        None => Some(LockAnswer { granted: false, token: None, position: None }),
    }
}

fn look(strong: &Strong, read: &Read, options: &ReadOptions, local: bool) -> Result<Answer, Fault> {
    let services = strong.services();
    let freshness = if local {
        let (length, applied) = (strong.log().memory().length(), strong.applied());
        Freshness { applied: Some(applied), behind: Some(length.saturating_sub(applied)) }
    } else {
        Freshness::default()
    };
    let limit = options.limit.map_or(PAGE, |limit| limit as usize).min(PAGE);
    Ok(match read {
        Read::Get { key } => {
            let entry = services.kv_get(key);
            Answer::Got(Got {
                found: entry.is_some(),
                value: entry.map(|entry| entry.value.clone()),
                version: entry.map(|entry| entry.version),
                epoch: entry.map(|entry| entry.at.epoch),
                counter: entry.map(|entry| entry.at.counter),
                freshness,
            })
        }
        Read::List { prefix } => {
            let page = services.kv_list(prefix, options.after.as_deref(), limit);
            let row = |(key, entry): (Arc<str>, crate::service::kv::KvEntry)| KeyRow {
                key: key.to_string(),
                value: entry.value,
                version: entry.version,
            };
            Answer::Listed(Listed { entries: page.entries.into_iter().map(row).collect(), more: page.more, freshness })
        }
        Read::Board => {
            let row = |(id, post): (u64, crate::service::board::Post)| PostRow {
                id,
                text: post.text.to_string(),
                author: post.author,
                epoch: post.at.epoch,
                counter: post.at.counter,
            };
            let after = match options.after.as_deref().map(str::parse) {
                None => 0,
                Some(Ok(id)) => id,
                Some(Err(_)) => return Err(BAD_OPTION.fault("the option after is the id of a post here, such as '17'")),
            };
            let limit = options.limit.map_or(usize::MAX, |limit| limit as usize);
            let posts = match options.newest {
                Some(true) if after > 0 => {
                    return Err(BAD_OPTION.fault("the options after and newest exclude each other"));
                }
                Some(true) => services.board_newest(limit),
                _ => services.board_list(after, limit).entries,
            };
            Answer::Posts(posts.into_iter().map(row).collect())
        }
        Read::File { name } => {
            let file = services.file_read(name).map_err(|refusal| refused(&refusal))?;
            let (epoch, counter) = (file.info.changed.epoch, file.info.changed.counter);
            Answer::File(FileAnswer {
                name: name.clone(),
                text: file.text(),
                lines: file.info.lines,
                epoch,
                counter,
                freshness,
            })
        }
        Read::Files => {
            let row = |(name, info): (Arc<str>, crate::service::files::FileInfo)| FileRow {
                name: name.to_string(),
                lines: info.lines,
                bytes: info.bytes,
                epoch: info.changed.epoch,
                counter: info.changed.counter,
            };
            Answer::Files(services.files_list().into_iter().map(row).collect())
        }
        Read::History { since } => {
            let watched = services.files_history(*since, PAGE).map_err(|refusal| refused(&refusal))?;
            let line = |(at, event): (Position, crate::service::files::FileEvent)| format!("{} {at}", event.command());
            Answer::History(History { lines: watched.events.into_iter().map(line).collect(), next: watched.next })
        }
        Read::Locks => {
            let now = services.time_ms();
            let row = |lock: crate::service::locks::LockInfo| LockRow {
                name: lock.name.to_string(),
                owner: lock.owner.to_string(),
                token: lock.token,
                expires_in_ms: lock.expires_ms.saturating_sub(now),
                queue: lock.queue.iter().map(ToString::to_string).collect(),
            };
            Answer::Locks(services.locks_list().into_iter().map(row).collect())
        }
        Read::Members => {
            let log = strong.log();
            let member = |(node, address): (&NodeId, &Arc<str>)| Member { node: *node, address: address.to_string() };
            let members = log.membership().addresses().iter().map(member).collect();
            Answer::Members(MembersAnswer { members, changing: log.memory().is_changing(), freshness })
        }
        Read::Outcome { request } => outcome(services.outcome(&request_key(request)?)),
    })
}

fn outcome(outcome: Outcome) -> Answer {
    let none = OutcomeAnswer { applied: false, answer: None, fault_code: None, fault_string: None, last: None };
    Answer::Outcome(Box::new(match outcome {
        Outcome::Applied { reply, .. } => match answer(reply) {
            Ok(answer) => OutcomeAnswer { applied: true, answer: Some(answer), ..none },
            Err(fault) => {
                OutcomeAnswer { applied: true, fault_code: Some(fault.code), fault_string: Some(fault.string), ..none }
            }
        },
        Outcome::Superseded { last } => OutcomeAnswer { last: Some(last), ..none },
        Outcome::NotApplied { last } => OutcomeAnswer { last, ..none },
    }))
}

fn watched(strong: &Strong, of: &Watched, since: u64, last: bool) -> Option<Result<Answer, Fault>> {
    let services = strong.services();
    let found = match of {
        Watched::Keys { prefix } => services.kv_watch(prefix, since, PAGE).map(|watched| {
            let row = |(at, event): (Position, crate::service::kv::KvEvent)| {
                let (what, value) = match event.change {
                    KvChange::Put(value) => ("put", Some(value)),
                    KvChange::Deleted => ("deleted", None),
                };
                let key = Some(event.key.to_string());
                let version = Some(event.version);
                EventRow { key, value, version, ..EventRow::of(what, at) }
            };
            (watched.events.into_iter().map(row).collect::<Vec<_>>(), watched.next)
        }),
        Watched::Board => services.board_watch(since, PAGE).map(|watched| {
            let row = |(at, event): (Position, crate::service::board::BoardEvent)| {
                let (what, text) = match event.change {
                    BoardChange::Posted(text) => ("posted", Some(text.to_string())),
                    BoardChange::Modified(text) => ("modified", Some(text.to_string())),
                    BoardChange::Deleted => ("deleted", None),
                };
                EventRow { id: Some(event.id), author: Some(event.author), text, ..EventRow::of(what, at) }
            };
            (watched.events.into_iter().map(row).collect(), watched.next)
        }),
    };
    match found {
        Ok((events, _)) if events.is_empty() && !last => None,
        Ok((events, next)) => Some(Ok(Answer::Watched(WatchedAnswer { events, next }))),
        Err(refusal) => Some(Err(refused(&refusal))),
    }
}

impl EventRow {
    fn of(what: &str, at: Position) -> Self {
        Self {
            what: what.to_owned(),
            epoch: at.epoch,
            counter: at.counter,
            key: None,
            value: None,
            version: None,
            id: None,
            author: None,
            text: None,
        }
    }
}
