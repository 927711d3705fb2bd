//! The commands about what is kept without a leader: the eventual board, quorum registers and logical clocks.

mod diff;
mod mutex;
mod stale;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use synod::rpc::client::CallError;
use synod::rpc::text::shown;
use synod::rpc::weak::answers::{BoardStatus, EntryRow, Quorum, ReadAnswer, Written};
use synod::rpc::weak::{ListOptions, RegisterOptions};

use crate::cluster::Member;
use crate::command::services::weak::{MUTEX_CLIENTS, Weak};
use crate::command::{Literal, Port};
use crate::execute::{Lab, explain, value_of};
use crate::shell::Status;
use crate::strong::caller::{ATTEMPT, Answered, Failed};
use crate::strong::{Ended, one_line};

impl Lab {
    /// Carries out one of these commands.
    pub(crate) fn weak(&mut self, command: &Weak) -> Ended {
        match command {
            Weak::Post { text, on } => self.change_entry(*on, "board.eventual.post", "posted", &(text,)),
            Weak::Modify { id, text, on } => self.change_entry(*on, "board.eventual.modify", "modified", &(id, text)),
            Weak::Delete { id, on } => self.change_entry(*on, "board.eventual.delete", "deleted", &(id,)),
            Weak::Show { on } => self.show_entries(*on),
            Weak::Status => Ok(self.boards_status()),
            Weak::Diff => Ok(self.diff_boards()),
            Weak::Write { name, value, on } => self.write_register(name, value, *on),
            Weak::Read { name, on } => self.read_register(name, *on),
            Weak::Quorum { sizes } => self.quorums(*sizes),
            Weak::Stale => self.stale(),
            Weak::Clock => Ok(self.clocks()),
            Weak::Mutex { clients } => self.mutex_demo(clients.unwrap_or(MUTEX_CLIENTS)),
        }
    }

    /// Asks one node: this one, or else the first that can be reached. What it took is never sent to another.
    pub(super) fn ask_one<P: Serialize, T: DeserializeOwned>(
        &self,
        on: Option<Port>,
        method: &str,
        params: &P,
    ) -> Result<Answered<T>, Failed> {
        let failed = |port: Port, error: &CallError| {
            let (status, text) = explain(port, error);
            let code = if let CallError::Fault(fault) = error { Some(fault.code) } else { None };
            Failed { status, node: Some(port), code, text }
        };
        let mut last = None;
        for (port, member) in self.cluster.members().filter(|(port, _)| on.is_none_or(|on| on == *port)) {
            match member.service.call(method, params) {
                Ok(answer) => return Ok(Answered { node: port, answer }),
                Err(error @ CallError::Unreachable(_)) => last = Some(failed(port, &error)),
                Err(error) => return Err(failed(port, &error)),
            }
        }
        let ports: Vec<String> = self.cluster.ports().iter().map(ToString::to_string).collect();
        let missing = on.map_or_else(String::new, |on| format!("there is no node {on}; "));
        Err(last.unwrap_or_else(|| Failed::refused(format!("{missing}the nodes are {}", ports.join(", ")))))
    }

    fn change_entry<P: Serialize>(&mut self, on: Option<Port>, method: &str, what: &str, params: &P) -> Ended {
        let Answered { node, answer: entry } = self.ask_one::<_, EntryRow>(on, method, params)?;
        self.console.put("node", json!(node.number()));
        self.console.put("entry", json!(entry));
        let stamp = format!("{}.{}", entry.clock, entry.server);
        self.console.say_good(format!("Entry {} was {what} at {node} (stamp {stamp}).", entry.id));
        Ok(Status::Done)
    }

    fn show_entries(&mut self, on: Option<Port>) -> Ended {
        let node = match on {
            Some(on) => on,
            None => self.ask_one::<_, BoardStatus>(None, "board.eventual.status", &())?.node,
        };
        let Some(member) = self.cluster.member(node) else { return Ok(self.no_such_node(node)) };
        let entries = match entries(member) {
            Ok(entries) => entries,
            Err(error) => return Ok(self.call_failed(node, &error)),
        };
        self.console.put("node", json!(node.number()));
        self.console.put("entries", json!(entries));
        let rows = entries.iter().map(|entry| {
            let changed = format!("{}.{}", entry.clock, entry.server);
            [entry.id.to_string(), changed, entry.author.to_string(), one_line(entry.text.as_deref().unwrap_or(""))]
        });
        self.table(["entry", "changed", "by", "text"], &[], rows, &format!("The eventual board of {node} is empty."));
        Ok(Status::Done)
    }

    fn boards_status(&mut self) -> Status {
        let statuses = self.ask_all(|member| member.quick.call::<_, BoardStatus>("board.eventual.status", &()));
        let mut nodes = Vec::new();
        let rows: Vec<[String; 6]> = statuses
            .iter()
            .map(|(port, status)| match status {
                Err(_) => {
                    nodes.push(json!({ "node": port.number(), "up": false }));
                    let [clock, covers, digest, pending] = [const { String::new() }; 4];
                    [port.to_string(), "down".to_owned(), clock, covers, digest, pending]
                }
                Ok(status) => {
                    nodes.push(json!({ "node": port.number(), "up": true, "board": status }));
                    let covers: Vec<String> =
                        status.versions.iter().map(|(node, clock)| format!("{node}:{clock}")).collect();
                    let pending = if status.astray { "astray".to_owned() } else { status.pending.to_string() };
                    let (posts, clock) = (status.posts.to_string(), status.clock.to_string());
                    [port.to_string(), posts, clock, covers.join(" "), status.digest.clone(), pending]
                }
            })
            .collect();
        self.console.put("nodes", json!(nodes));
        let header = ["node", "entries", "clock", "covers", "digest", "not yet everywhere"];
        self.table(header, &[1, 2, 5], rows.into_iter(), "");
        Status::Done
    }

    fn write_register(&mut self, name: &str, literal: &Literal, on: Option<Port>) -> Ended {
        let value = match value_of(literal) {
            Ok(value) => value,
            Err(error) => return Ok(self.cannot_send(&error)),
        };
        let Answered { node, answer: written } =
            self.ask_one::<_, Written>(on, "register.write", &(name, &value, options()))?;
        self.console.put("node", json!(node.number()));
        self.console.put("timestamp", json!(written.timestamp));
        let (name, value) = (one_line(name), one_line(&shown(&value)));
        self.console.say_good(format!("Register '{name}' is '{value}' (timestamp {}).", written.timestamp));
        Ok(Status::Done)
    }

    fn read_register(&mut self, name: &str, on: Option<Port>) -> Ended {
        let Answered { node, answer: read } = self.ask_one::<_, ReadAnswer>(on, "register.read", &(name, options()))?;
        self.console.put("node", json!(node.number()));
        self.console.put("found", json!(read.found));
        let (Some(value), Some(timestamp)) = (read.value, read.timestamp) else {
            return Err(Failed::refused(format!("register '{}' was never written", one_line(name))));
        };
        self.console.put("value", json!(shown(&value)));
        self.console.put("timestamp", json!(timestamp));
        self.console.say(shown(&value));
        Ok(Status::Done)
    }

    fn quorums(&mut self, sizes: Option<(u64, u64)>) -> Ended {
        let answers = self.ask_each(&self.cluster.founders(), |member| match sizes {
            Some(sizes) => member.quick.call::<_, Quorum>("register.quorum", &sizes),
            None => member.quick.call::<_, Quorum>("register.quorum", &()),
        });
        let (mut worst, mut nodes, mut apart) = (Status::Done, Vec::new(), false);
        for (port, answer) in answers {
            match answer {
                Ok(quorum) => {
                    nodes.push(json!({ "node": port.number(), "quorum": quorum }));
                    apart |= !quorum.intersect;
                    let Quorum { read, write, nodes, .. } = quorum;
                    self.console.say(format!("Node {port}: a read asks {read} of {nodes}, a write {write}."));
                }
                Err(CallError::Unreachable(_)) => self.console.say_bad(format!("Node {port} is down.")),
                Err(error) => worst = worst.max(self.call_failed(port, &error)),
            }
        }
        self.console.put("nodes", json!(nodes));
        if apart {
            self.console.say_bad("These quorums do not intersect: reads can be stale ('register stale' shows how).");
        }
        Ok(worst)
    }

    fn clocks(&mut self) -> Status {
        let statuses = self.statuses();
        let mut nodes = Vec::new();
        let rows: Vec<[String; 3]> = statuses
            .iter()
            .map(|(port, status)| match status {
                Err(_) => {
                    nodes.push(json!({ "node": port.number(), "up": false }));
                    [port.to_string(), "down".to_owned(), String::new()]
                }
                Ok(status) => {
                    nodes.push(json!({ "node": port.number(), "up": true, "clock": status.clock }));
                    let vector: Vec<String> =
                        status.clock.vector.iter().map(|(node, count)| format!("{node}:{count}")).collect();
                    [port.to_string(), status.clock.lamport.to_string(), vector.join(" ")]
                }
            })
            .collect();
        self.console.put("nodes", json!(nodes));
        self.table(["node", "Lamport", "vector"], &[1], rows.into_iter(), "");
        Status::Done
    }
}

/// For calls that the shell waits for.
pub(super) fn options() -> RegisterOptions {
    RegisterOptions { deadline_ms: u32::try_from(ATTEMPT.as_millis()).ok() }
}

/// All entries of a node's eventual board.
pub(super) fn entries(member: &Member) -> Result<Vec<EntryRow>, CallError> {
    let mut entries: Vec<EntryRow> = Vec::new();
    loop {
        let after = entries.last().map(|entry| entry.id.to_string());
        let page: Vec<EntryRow> =
            member.quick.call("board.eventual.list", &(ListOptions { after, ..ListOptions::default() },))?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}
