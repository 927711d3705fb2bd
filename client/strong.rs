//! The commands about the services on the replicated log: files, the board, keys, locks, and who leads.

pub(crate) mod caller;
mod leader;
mod lock;
mod members;
mod watch;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value as Json, json};
use synod::protocol::types::Value;
use synod::rpc::strong::answers::{
    FileAnswer, FileRow, Got, History, KeyRow, Listed, LockAnswer, LockRow, OutcomeAnswer, PostRow, Wrote,
};
use synod::rpc::strong::{ReadOptions, WriteOptions};
use synod::rpc::text::shown;

use crate::command::Literal;
use crate::command::services::{DEFAULT_TTL, Service};
use crate::execute::{Lab, value_of};
use crate::shell::Status;
use caller::{Answered, Failed};
pub(crate) use leader::log_json;
pub(crate) use lock::{Guard, fence_of_environment};
pub(crate) use watch::Watches;

/// What a command comes to.
pub(crate) type Ended = Result<Status, Failed>;

impl Lab {
    /// Carries out one of these commands.
    pub(crate) fn service(&mut self, command: &Service) -> Status {
        self.run_service(command).unwrap_or_else(|failed| self.service_failed(&failed))
    }

    fn run_service(&mut self, command: &Service) -> Ended {
        match command {
            Service::Elect(port) => Ok(self.elect(*port)),
            Service::Leader => Ok(self.leader()),
            Service::Members => self.list_members(),
            Service::AddMember { node, address } => Ok(self.add_member(*node, address.as_deref())),
            Service::RemoveMember(node) => Ok(self.remove_member(*node)),
            Service::Create(name) => self.change_file("files.create", |options| (name, options)),
            Service::Append { name, line } => self.change_file("files.append", |options| (name, line, options)),
            Service::Delete(name) => self.change_file("files.delete", |options| (name, options)),
            Service::Read(name) => self.read_file(name),
            Service::Ls => self.list_files(),
            Service::FilesHistory(since) => self.files_history(*since),
            Service::Post(text) => self.change_board("board.strong.post", "posted", |options| (text, options)),
            Service::Modify { id, text } => {
                self.change_board("board.strong.modify", "modified", |options| (id, text, options))
            }
            Service::Unpost(id) => self.change_board("board.strong.delete", "deleted", |options| (id, options)),
            Service::Board => self.show_board(),
            Service::Put { key, value } => self.put_key(key, None, value),
            Service::Cas { key, version, value } => self.put_key(key, Some(*version), value),
            Service::Get(key) => self.get_key(key),
            Service::Del(key) => self.delete_key(key),
            Service::List(prefix) => self.list_keys(prefix),
            Service::Watch { prefix, time } => self.watch(prefix, *time),
            Service::Unwatch(prefix) => Ok(self.unwatch(prefix.as_deref())),
            Service::Lock { name, owner, ttl, program } => {
                let ttl = ttl.unwrap_or(DEFAULT_TTL);
                match program.split_first() {
                    None => self.take_lock(name, owner.as_deref(), ttl),
                    Some((program, arguments)) => self.run_locked(name, owner.as_deref(), ttl, program, arguments),
                }
            }
            Service::Unlock { name, owner } => self.unlock(name, owner.as_deref()),
            Service::Locks => self.list_locks(),
            Service::Outcome(request) => self.outcome(request),
            Service::Weak(command) => self.weak(command),
            Service::Overlay(command) => self.overlay(command),
        }
    }

    /// Says why a command gave no result, and what is known of its effect.
    fn service_failed(&mut self, failed: &Failed) -> Status {
        if let Some(node) = failed.node {
            self.console.put("node", json!(node.number()));
        }
        if let Some(code) = failed.code {
            self.console.put("fault_code", json!(code));
        }
        self.console.error(&failed.text);
        failed.status
    }

    fn change_file<P: Serialize>(&mut self, method: &str, params: impl FnOnce(WriteOptions) -> P) -> Ended {
        let done: Answered<Wrote> = self.caller.guarded(method, params)?;
        let message = done.answer.message.clone().unwrap_or_default();
        self.put_wrote(&done);
        self.console.put("message", json!(message));
        self.console.say_good(one_line(&message));
        Ok(Status::Done)
    }

    fn read_file(&mut self, name: &str) -> Ended {
        let Answered { node, answer: file } =
            self.caller.read::<_, FileAnswer>("files.read", |options| (name, options))?;
        self.console.put("node", json!(node.number()));
        self.console.put("text", json!(file.text));
        self.console.put("line_count", json!(file.lines));
        self.console.put("epoch", json!(file.epoch));
        self.console.put("counter", json!(file.counter));
        if file.lines > 0 {
            self.console.say(file.text);
        }
        Ok(Status::Done)
    }

    fn list_files(&mut self) -> Ended {
        let files = self.caller.read::<_, Vec<FileRow>>("files.list", |options| (options,))?.answer;
        self.console.put("files", json!(files));
        let rows = files.iter().map(|file| {
            let changed = format!("{} {}", file.epoch, file.counter);
            [one_line(&file.name), file.lines.to_string(), file.bytes.to_string(), changed]
        });
        self.table(["file", "lines", "bytes", "changed"], &[1, 2], rows, "There are no files.");
        Ok(Status::Done)
    }

    fn files_history(&mut self, since: Option<u64>) -> Ended {
        let (mut all, mut since) = (Vec::new(), since);
        loop {
            let part: History = match since {
                // Without a counter all that is kept is meant.
                None => self.caller.ask("files.history", &())?.answer,
                Some(since) => self.caller.read("files.history", |options| (since, options))?.answer,
            };
            let last = part.lines.is_empty();
            all.extend(part.lines);
            since = Some(part.next);
            if last {
                break;
            }
        }
        self.console.put("history", json!(all));
        if all.is_empty() {
            self.console.tell("Nothing was done to files.");
        }
        all.into_iter().for_each(|line| self.console.say(line));
        Ok(Status::Done)
    }

    fn change_board<P: Serialize>(
        &mut self,
        method: &str,
        what: &str,
        params: impl FnOnce(WriteOptions) -> P,
    ) -> Ended {
        let done: Answered<Wrote> = self.caller.write(method, params)?;
        let id = done.answer.id.unwrap_or(0);
        self.put_wrote(&done);
        self.console.put("id", json!(id));
        let place = place_of(&done.answer);
        self.console.say_good(format!("Post {id} was {what} ({place})."));
        Ok(Status::Done)
    }

    fn show_board(&mut self) -> Ended {
        let mut posts: Vec<PostRow> = Vec::new();
        loop {
            let after = posts.last().map(|post| post.id.to_string());
            let page: Vec<PostRow> =
                self.caller.read("board.strong.list", |options| (ReadOptions { after, ..options },))?.answer;
            if page.is_empty() {
                break;
            }
            posts.extend(page);
        }
        self.console.put("posts", json!(posts));
        let rows = posts.iter().map(|post| {
            let place = format!("{} {}", post.epoch, post.counter);
            [post.id.to_string(), place, post.author.to_string(), one_line(&post.text)]
        });
        self.table(["post", "posted", "by", "text"], &[0], rows, "The board is empty.");
        Ok(Status::Done)
    }

    /// Sets a key, if it has this version or whatever it has.
    fn put_key(&mut self, key: &str, version: Option<u64>, literal: &Literal) -> Ended {
        let value = match value_of(literal) {
            Ok(value) => value,
            Err(error) => return Ok(self.cannot_send(&error)),
        };
        let done: Answered<Wrote> = match version {
            None => self.caller.guarded("kv.put", |options| (key, &value, options))?,
            Some(version) => self.caller.guarded("kv.cas", |options| (key, version, &value, options))?,
        };
        let version = done.answer.version.unwrap_or(0);
        self.put_wrote(&done);
        self.console.put("version", json!(version));
        let (key, value, place) = (one_line(key), one_line(&shown(&value)), place_of(&done.answer));
        self.console.say_good(format!("Key '{key}' is '{value}' (version {version}; {place})."));
        Ok(Status::Done)
    }

    fn get_key(&mut self, key: &str) -> Ended {
        let Answered { node, answer: got } = self.caller.read::<_, Got>("kv.get", |options| (key, options))?;
        self.console.put("node", json!(node.number()));
        self.console.put("found", json!(got.found));
        let Some(value) = got.value else {
            return Err(Failed::refused(format!("there is no key '{}'; 'list' shows which there are", one_line(key))));
        };
        let value = shown(&value);
        self.console.put("value", json!(value));
        self.console.put("version", json!(got.version));
        self.console.say(value);
        Ok(Status::Done)
    }

    fn delete_key(&mut self, key: &str) -> Ended {
        let done: Answered<Wrote> = self.caller.guarded("kv.delete", |options| (key, options))?;
        self.put_wrote(&done);
        self.console.put("found", json!(done.answer.version.is_some()));
        let (key, place) = (one_line(key), place_of(&done.answer));
        match done.answer.version {
            Some(version) => {
                self.console.put("version", json!(version));
                self.console.say_good(format!("Key '{key}' was deleted, in its version {version} ({place})."));
            }
            None => self.console.say(format!("There was no key '{key}' ({place}).")),
        }
        Ok(Status::Done)
    }

    fn list_keys(&mut self, prefix: &str) -> Ended {
        let mut entries: Vec<KeyRow> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.key.clone());
            let page: Listed =
                self.caller.read("kv.list", |options| (prefix, ReadOptions { after, ..options }))?.answer;
            entries.extend(page.entries);
            if !page.more {
                break;
            }
        }
        let as_json =
            |entry: &KeyRow| json!({ "key": entry.key, "value": shown(&entry.value), "version": entry.version });
        self.console.put("entries", entries.iter().map(as_json).collect());
        let rows = entries
            .iter()
            .map(|entry| [one_line(&entry.key), one_line(&shown(&entry.value)), entry.version.to_string()]);
        let none = match prefix {
            "" => "There are no keys.".to_owned(),
            prefix => format!("There are no keys that begin with '{}'.", one_line(prefix)),
        };
        self.table(["key", "value", "version"], &[2], rows, &none);
        Ok(Status::Done)
    }

    fn list_locks(&mut self) -> Ended {
        let locks = self.caller.read::<_, Vec<LockRow>>("lock.list", |options| (options,))?.answer;
        self.console.put("locks", json!(locks));
        let rows = locks.iter().map(|lock| {
            let ends = format!("in {:.1} s", lock.expires_in_ms as f64 / 1000.0);
            let queue: Vec<String> = lock.queue.iter().map(|owner| one_line(owner)).collect();
            [one_line(&lock.name), one_line(&lock.owner), lock.token.to_string(), ends, queue.join(", ")]
        });
        self.table(["lock", "holder", "token", "ends", "waiting"], &[2], rows, "No lock is held.");
        Ok(Status::Done)
    }

    fn outcome(&mut self, request: &str) -> Ended {
        let outcome: OutcomeAnswer = self.caller.read("synod.outcome", |options| (request, options))?.answer;
        let request = one_line(request);
        self.console.put("applied", json!(outcome.applied));
        match (outcome.applied, outcome.fault_string, outcome.last) {
            (true, Some(fault), _) => self.console.say(format!("{request} was refused: {fault}")),
            (true, None, _) => self.console.say_good(format!("{request} was done.")),
            (false, _, Some(last)) if sequence_of(&request).is_some_and(|sequence| sequence < last) => {
                self.console.say(format!(
                    "{request} cannot be told any more: its client has gone on to {last}; it will not be done now."
                ))
            }
            (false, ..) => self.console.say(format!("{request} was not done so far.")),
        }
        Ok(Status::Done)
    }

    fn put_wrote(&mut self, done: &Answered<Wrote>) {
        self.console.put("node", json!(done.node.number()));
        self.console.put("epoch", json!(done.answer.epoch));
        self.console.put("counter", json!(done.answer.counter));
    }

    /// A table, or a sentence if it would be empty.
    pub(crate) fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        numbers: &[usize],
        rows: impl Iterator<Item = [String; N]>,
        none: &str,
    ) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
        rows.for_each(|row| _ = table.add_row(row));
        if table.row_count() == 0 {
            return self.console.tell(none);
        }
        self.show_table(&mut table, numbers);
    }

    /// Shows a table, with these columns aligned as numbers are.
    pub(crate) fn show_table(&mut self, table: &mut Table, numbers: &[usize]) {
        for &column in numbers {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string().lines().for_each(|line| self.console.say(line.trim_end()));
    }
}

/// Where in the log a write stands, for people.
fn place_of(wrote: &Wrote) -> String {
    format!("epoch {}, counter {}", wrote.epoch, wrote.counter)
}

fn sequence_of(request: &str) -> Option<u64> {
    request.rsplit_once('/')?.1.parse().ok()
}

/// `text` without what would begin a new line or steer a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// How a value in an event is shown.
fn value_line(value: &Value) -> String {
    one_line(&shown(value))
}

/// What a lock's answer says of a holder, for programs.
fn lock_json(answer: &LockAnswer) -> Json {
    json!(answer)
}
