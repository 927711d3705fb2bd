//! The scenarios: one script each in `tests/scripts/service`, which tells what it shows.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --lib service::tests::scripts` writes the outputs anew, to be read as a diff.
//!
//! Two nodes apply every entry, and one of them goes on from a snapshot after each: both must come to the same, whatever
//! the script is about.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use goldenscript::{ArgumentConsumer, Command as Line, Context};

use super::Node;
use crate::service::board::BoardChange;
use crate::service::command::{Action, Command, Fence, RequestKey};
use crate::service::kv::KvChange;
use crate::service::limits::Limits;
use crate::service::reply::{Notice, Outcome, Refusal, Reply, Standing};

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/service");

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            goldenscript::run(&mut World::default(), Path::new(FOLDER).join(stringify!($name))).unwrap();
        })*

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    board_keeps_the_leaders_order
    clients_are_bounded
    compare_and_set
    exactly_once
    fencing
    files
    kv
    lock_queue
    locks_expire_with_entries
    watches
}

#[test]
fn every_script_is_run() {
    let files: BTreeSet<String> =
        Path::new(FOLDER).read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let names: BTreeSet<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(files, names);
}

#[derive(Default)]
struct World {
    node: Node,
    twin: Node,
    time_ms: u64,
    author: u32,
    /// What the running command prints.
    text: String,
}

impl goldenscript::Runner for World {
    type Command = Line;

    fn run(&mut self, line: &Line, _: &Context) -> Fallible<String> {
        let mut args = line.consume_args();
        if !self.world(&line.name, &mut args)? && !self.read(&line.name, &mut args)? {
            self.write(&line.name, &mut args)?;
        }
        args.reject_next()?;
        Ok(std::mem::take(&mut self.text))
    }
}

impl World {
    /// What is not the services': whether it was that.
    fn world(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible<bool> {
        match name {
            // limits [clients=N] [events=N]: begins anew with these
            "limits" => {
                let usual = Limits::default();
                let limits = Limits {
                    clients: key(args, "clients")?.unwrap_or(usual.clients),
                    events: key(args, "events")?.unwrap_or(usual.events),
                    ..usual
                };
                *self = Self { node: Node::new(limits), twin: Node::new(limits), ..Self::default() };
            }
            // time MS: what the leader proposes as the time of the entries from now on
            "time" => self.time_ms = pos(args)?,
            // at NODE: where the calls come in from now on
            "at" => self.author = pos(args)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Needs no entry: whether it was that.
    fn read(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible<bool> {
        match name {
            // get KEY
            "get" => match self.node.services.kv_get(text(args)?) {
                Some(entry) => writeln!(self.text, "{} version {} of {}", entry.value, entry.version, entry.at)?,
                None => writeln!(self.text, "not found")?,
            },
            // list [PREFIX] [after=KEY] [limit=N]
            "list" => {
                let prefix = args.next_pos().unwrap_or_default();
                let (after, limit) = (args.take_key("after"), limit(args)?);
                let page = self.node.services.kv_list(prefix, after, limit);
                for (key, entry) in page.entries {
                    writeln!(self.text, "{key} = {} version {}", entry.value, entry.version)?;
                }
                self.more(page.more)?;
            }
            // watch PREFIX SINCE [limit=N]
            "watch" => {
                let watched = self.node.services.kv_watch(text(args)?, pos(args)?, limit(args)?);
                self.watched(watched, |event| match &event.change {
                    KvChange::Put(value) => format!("{} = {value} version {}", event.key, event.version),
                    KvChange::Deleted => format!("{} deleted, version {}", event.key, event.version),
                })?;
            }
            // board [after=ID] [limit=N]
            "board" => {
                let page = self.node.services.board_list(key(args, "after")?.unwrap_or(0), limit(args)?);
                for (id, post) in page.entries {
                    writeln!(self.text, "{id}: '{}' by {} at {}", post.text, post.author, post.at)?;
                }
                self.more(page.more)?;
            }
            // board-watch SINCE [limit=N]
            "board-watch" => {
                let watched = self.node.services.board_watch(pos(args)?, limit(args)?);
                self.watched(watched, |event| match &event.change {
                    BoardChange::Posted(text) => format!("{} posted '{text}' by {}", event.id, event.author),
                    BoardChange::Modified(text) => format!("{} modified '{text}' by {}", event.id, event.author),
                    BoardChange::Deleted => format!("{} deleted by {}", event.id, event.author),
                })?;
            }
            // read FILE
            "read" => match self.node.services.file_read(text(args)?) {
                Ok(file) => writeln!(self.text, "{:?}", file.text())?,
                Err(refusal) => writeln!(self.text, "refused: {refusal}")?,
            },
            "files" => {
                for (name, info) in self.node.services.files_list() {
                    let (lines, bytes) = (info.lines, info.bytes);
                    writeln!(self.text, "{name}: {lines} lines, {bytes} bytes, {}, {}", info.created, info.changed)?;
                }
            }
            // history [SINCE] [limit=N]
            "history" => {
                let since = args.next_pos().map(str::parse).transpose()?;
                match self.node.services.files_history(since, limit(args)?) {
                    Ok(history) => {
                        for (at, event) in history.events {
                            writeln!(self.text, "{} {at}", escaped(&event.command()))?;
                        }
                    }
                    Err(refusal) => writeln!(self.text, "refused: {refusal}")?,
                }
            }
            "locks" => {
                for info in self.node.services.locks_list() {
                    let queue =
                        if info.queue.is_empty() { String::new() } else { format!(", then {}", info.queue.join(", ")) };
                    let (name, owner, token, until) = (info.name, info.owner, info.token, info.expires_ms);
                    writeln!(self.text, "{name}: {owner} with token {token} until {until}{queue}")?;
                }
            }
            "deadline" => match self.node.services.next_deadline() {
                Some(time_ms) => writeln!(self.text, "{time_ms}")?,
                None => writeln!(self.text, "none")?,
            },
            // outcome CLIENT/SEQUENCE
            "outcome" => {
                let (client, sequence) = request(text(args)?)?;
                let told = match self.node.services.outcome(&RequestKey { client, sequence }) {
                    Outcome::Applied { at, reply } => format!("applied at {at}: {}", shown(&reply)),
                    Outcome::Superseded { last } => format!("superseded by {last}"),
                    Outcome::NotApplied { last: Some(last) } => format!("not applied; {last} was"),
                    Outcome::NotApplied { last: None } => "not applied".to_owned(),
                };
                writeln!(self.text, "{told}")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// An entry: COMMAND [request=CLIENT/SEQUENCE] [token=N [lock=NAME]]
    fn write(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible {
        let request = args.take_key("request").map(request).transpose()?;
        let request = request.map(|(client, sequence)| RequestKey { client, sequence });
        let action = action(name, args)?;
        let bytes = Command { request, time_ms: self.time_ms, author: self.author, action }.encode();
        let reply = self.node.apply(&bytes);
        writeln!(self.text, "{}", shown(&reply))?;
        for notice in &self.node.notices {
            match notice {
                Notice::Kv { key } => writeln!(self.text, "→ kv {key}")?,
                Notice::Board => writeln!(self.text, "→ board")?,
                Notice::Lock { name, owner, standing } => {
                    writeln!(self.text, "→ lock {name}, {owner}: {}", standing_shown(*standing))?;
                }
            }
        }
        if self.twin.apply(&bytes) != reply {
            return Err("the twin answers something else".into());
        }
        self.twin.reincarnate();
        if self.twin.services.state_hash() != self.node.services.state_hash() {
            return Err("the twin came to another state".into());
        }
        Ok(())
    }

    fn more(&mut self, more: bool) -> Fallible {
        if more {
            writeln!(self.text, "…")?;
        }
        Ok(())
    }

    fn watched<E>(
        &mut self,
        watched: Result<crate::service::journal::Watched<E>, Refusal>,
        told: impl Fn(&E) -> String,
    ) -> Fallible {
        match watched {
            Ok(watched) => {
                for (at, event) in &watched.events {
                    writeln!(self.text, "{at}: {}", told(event))?;
                }
                writeln!(self.text, "next {}", watched.next)?;
            }
            Err(refusal) => writeln!(self.text, "refused: {refusal}")?,
        }
        Ok(())
    }
}

fn action<'a>(name: &str, args: &mut ArgumentConsumer<'a>) -> Fallible<Action<'a>> {
    let lock = args.take_key("lock");
    let token = key(args, "token")?;
    let fence = token.map(|token| Fence { token, lock });
    Ok(match name {
        // put KEY VALUE
        "put" => Action::KvPut { key: text(args)?, value: text(args)?, fence },
        // cas KEY VERSION VALUE
        "cas" => Action::KvCas { key: text(args)?, version: pos(args)?, value: text(args)?, fence },
        // del KEY
        "del" => Action::KvDelete { key: text(args)?, fence },
        // post TEXT
        "post" => Action::BoardPost { text: text(args)? },
        // modify ID TEXT
        "modify" => Action::BoardModify { id: pos(args)?, text: text(args)? },
        // unpost ID
        "unpost" => Action::BoardDelete { id: pos(args)? },
        // create | delete FILE
        "create" => Action::FileCreate { name: text(args)?, fence },
        "delete" => Action::FileDelete { name: text(args)?, fence },
        // append FILE TEXT
        "append" => Action::FileAppend { name: text(args)?, text: text(args)?, fence },
        // acquire LOCK OWNER TTL WAIT
        "acquire" => {
            let (name, owner) = (text(args)?, text(args)?);
            Action::LockAcquire { name, owner, ttl_ms: pos(args)?, wait_ms: pos(args)? }
        }
        // renew LOCK OWNER [token=N] [ttl=MS]
        "renew" => Action::LockRenew { name: text(args)?, owner: text(args)?, token, ttl_ms: key(args, "ttl")? },
        // release LOCK OWNER [token=N]
        "release" => Action::LockRelease { name: text(args)?, owner: text(args)?, token },
        "expire" => Action::Expire,
        _ => return Err(format!("there is no command '{name}'").into()),
    })
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Ticked => "time passes".to_owned(),
        Reply::Put { at, version } => format!("version {version} at {at}"),
        Reply::Deleted { at, version: Some(version) } => format!("version {version} deleted at {at}"),
        Reply::Deleted { at, version: None } => format!("nothing to delete at {at}"),
        Reply::Board { at, id } => format!("post {id} at {at}"),
        Reply::File { at, change } => format!("{} at {at}", escaped(&change.to_string())),
        Reply::Lock { at, standing } => format!("{} at {at}", standing_shown(*standing)),
        Reply::Released { at } => format!("released at {at}"),
        Reply::Members { at } => format!("members at {at}"),
        Reply::Refused(refusal) => format!("refused: {refusal}"),
    }
}

/// On one line, whatever the text is.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { char.escape_debug().to_string() } else { char.to_string() })
        .collect()
}

fn standing_shown(standing: Standing) -> String {
    match standing {
        Standing::Held { token, expires_ms } => format!("held with token {token} until {expires_ms}"),
        Standing::Queued { position } => format!("queued in place {position}"),
        Standing::Without => "without".to_owned(),
    }
}

fn request(text: &str) -> Fallible<(&str, u64)> {
    let (client, sequence) = text.rsplit_once('/').ok_or("a request is CLIENT/SEQUENCE")?;
    Ok((client, sequence.parse()?))
}

fn limit(args: &mut ArgumentConsumer<'_>) -> Fallible<usize> {
    Ok(key(args, "limit")?.unwrap_or(usize::MAX))
}

fn text<'a>(args: &mut ArgumentConsumer<'a>) -> Fallible<&'a str> {
    Ok(args.next_pos().ok_or("something is missing")?)
}

fn pos<T: FromStr<Err: Error + 'static>>(args: &mut ArgumentConsumer<'_>) -> Fallible<T> {
    Ok(text(args)?.parse()?)
}

fn key<T: FromStr<Err: Error + 'static>>(args: &mut ArgumentConsumer<'_>, name: &str) -> Fallible<Option<T>> {
    Ok(args.take_key(name).map(str::parse).transpose()?)
}
