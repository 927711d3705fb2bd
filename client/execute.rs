//! Carries out the shell's commands on a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use rayon::prelude::*;
use serde_json::json;
use synod::protocol::types::{Instance, Value};
use synod::rpc::answers::{InstanceRow, Proposed, Restarted, Status as NodeStatus, Whose};
use synod::rpc::client::CallError;
use synod::rpc::faults::{FaultKind, NOT_REACHED, UNAVAILABLE};
use synod::rpc::text::shown;
use synod::xmlrpc::{self, EncodeError, to_fragment};

use crate::cluster::{Cluster, ClusterError, Member};
use crate::command::{Command, Literal, Port, UsageError};
use crate::console::Console;
use crate::scenario;
use crate::seeing::Seeing;
use crate::shell::{Executor, Printer, Status};
use crate::strong::caller::Caller;
use crate::strong::{Guard, Watches, log_json};

/// Everything that commands work on.
pub(crate) struct Lab {
    /// Ended before the nodes are, so that they do not complain.
    pub(crate) watches: Watches,
    pub(crate) cluster: Cluster,
    pub(crate) console: Console,
    /// What it remembers of what happened.
    pub(crate) seeing: Seeing,
    pub(crate) interrupted: Arc<AtomicBool>,
    /// For calls to all nodes at once: they block, so they have threads of their own.
    pub(crate) pool: rayon::ThreadPool,
    /// For the services.
    pub(crate) caller: Caller,
    /// Whether a script is read from stdin, which is then nobody else's.
    pub(crate) script_on_stdin: bool,
    /// What keeps SIGTERM from ending the shell before a program under a lock.
    pub(crate) guard: Option<Guard>,
}

impl Executor for Lab {
    fn run(&mut self, command: &Command) -> Status {
        for port in self.cluster.reap() {
            self.note_death(port);
            self.console.error(&format!("node {port} has ended by itself; 'start {port}' starts it again"));
        }
        self.follow_members();
        self.note_run(command);
        let status = match command {
            Command::Set { value, on } => self.set(value, *on),
            Command::Race { race, first, second, first_value, second_value, rounds, diagram } => {
                match (value_of(first_value), value_of(second_value)) {
                    (Ok(v1), Ok(v2)) => {
                        let status = scenario::run(self, *race, (*first, *second), (v1, v2), *rounds);
                        self.draw_race(*diagram);
                        status
                    }
                    (Err(error), _) | (_, Err(error)) => self.cannot_send(&error),
                }
            }
            Command::Restart => self.restart(),
            Command::Status => self.status(),
            Command::Crash(port) => self.crash(*port),
            Command::Start(port) => self.start(*port),
            Command::See(see) => self.see(see),
            Command::Fault(fault) => self.fault(fault),
            Command::Service(service) => self.service(service),
            // The shell keeps these for itself.
            Command::Sleep(_) | Command::Help(_) | Command::History | Command::Exit => Status::Done,
        };
        self.console.end(&command.to_string(), status)
    }

    fn ports(&self) -> Vec<Port> {
        self.cluster.ports()
    }

    fn report_usage(&mut self, error: &UsageError) {
        self.console.error(&error.to_string());
        self.console.end("", Status::Usage);
    }

    fn conclude(&mut self, command: &Command, text: &str, status: Status) -> Status {
        text.lines().for_each(|line| self.console.say(line));
        self.console.end(&command.to_string(), status)
    }

    fn set_printer(&mut self, print: Printer) {
        self.watches.set_printer(print);
    }

    fn is_reader_gone(&self) -> bool {
        self.console.is_reader_gone()
    }
}

impl Lab {
    fn set(&mut self, literal: &Literal, on: Port) -> Status {
        let value = match value_of(literal) {
            Ok(value) => value,
            Err(error) => return self.cannot_send(&error),
        };
        let Some(member) = self.cluster.member(on) else { return self.no_such_node(on) };
        let answer: Result<Proposed, _> = member.client.call("propose", &(&value,));
        match answer {
            Ok(proposed) => {
                self.console.put("node", json!(on.number()));
                put_proposed(&mut self.console, &proposed);
                self.console.say_good(format!("Node {on} responded: {}", proposed.message));
                if proposed.outcome == Whose::Yours {
                    return Status::Done;
                }
                self.console.say_bad(format!(
                    "Your value '{}' was not chosen: '{}' had been, and a decision is for good (ballot {}). Type restart \
                     to begin anew.",
                    shown(&value),
                    shown(&proposed.value),
                    proposed.ballot
                ));
                Status::Refused
            }
            Err(error) => self.call_failed(on, &error),
        }
    }

    fn restart(&mut self) -> Status {
        let answers = self.ask_all(|member| member.client.call::<_, Restarted>("restart", &()));
        self.watches.begin_anew();
        let (mut up, mut worst) = (0, Status::Done);
        for (port, answer) in &answers {
            match answer {
                Ok(restarted) => {
                    up += 1;
                    self.console.say(restarted.message.clone());
                }
                Err(CallError::Unreachable(_)) => {
                    self.console.say_bad(format!("Node on port {port} is down; it will be reset when it is started."));
                }
                Err(error) => worst = worst.max(self.call_failed(*port, error)),
            }
        }
        if worst != Status::Done {
            return worst;
        }
        if up == 0 {
            self.console.error("unavailable: no node answers; nothing was reset");
            return Status::Unavailable;
        }
        self.follow_members();
        if !self.wait_for_one_generation() {
            self.console.error("the nodes did not agree on a generation in time; 'status' shows them; try again");
            return Status::Unknown;
        }
        self.console.say_good(if up == answers.len() {
            "All nodes are restarted and their states reset."
        } else {
            "All nodes that are up are restarted and their states reset."
        });
        Status::Done
    }

    /// Nodes hear of a new generation from each other. Whoever was told as the first may be told again by the last.
    fn wait_for_one_generation(&self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(5);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut generations: Vec<u64> =
                self.statuses().into_iter().filter_map(|(_, status)| Some(status.ok()?.generation)).collect();
            generations.dedup();
            if generations.len() <= 1 {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn status(&mut self) -> Status {
        let statuses = self.statuses();
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["node", "state", "promised", "accepted", "decided", "generation"]);
        let (mut up, mut more, mut nodes) = (0, 0, Vec::new());
        for (port, status) in &statuses {
            let Ok(status) = status else {
                table.add_row([
                    port.to_string(),
                    "down".into(),
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]);
                nodes.push(json!({ "node": port.number(), "up": false }));
                continue;
            };
            up += 1;
            more = more.max(status.counters.get("instances").copied().unwrap_or(0));
            let row = status.instances.first().filter(|row| row.instance == Instance::default());
            table.add_row(cells(*port, row, status));
            nodes.push(as_json(*port, row, status));
        }
        self.console.put("nodes", json!(nodes));
        self.show_table(&mut table, &[2, 5]);
        self.show_logs(&statuses);
        let total = statuses.len();
        let majority = total / 2 + 1;
        if more > 1 {
            self.console.tell(format!("This is the instance 'default', one of {more}."));
        }
        if up < majority {
            self.console.say_bad(format!("{up} of {total} nodes are up, and a decision takes {majority}."));
        } else {
            self.console.tell(format!("{up} of {total} nodes are up; {} more may fail.", up - majority));
        }
        Status::Done
    }

    fn crash(&mut self, port: Port) -> Status {
        self.keep_last_words(port);
        match self.cluster.crash(port) {
            Ok(()) => {
                self.note_death(port);
                self.console.say(format!("Node {port} was killed. What it had promised and accepted is on its disk."));
                Status::Done
            }
            Err(error) => self.cluster_failed(&error),
        }
    }

    fn start(&mut self, port: Port) -> Status {
        match self.cluster.start_again(port) {
            Ok(()) => {
                self.console.say(format!("Node {port} is up again, and remembers."));
                Status::Done
            }
            Err(error) => self.cluster_failed(&error),
        }
    }

    /// The status of every node, about the instance `default`.
    pub(crate) fn statuses(&self) -> Vec<(Port, Result<NodeStatus, CallError>)> {
        self.ask_all(|member| member.quick.call("status", &(&Instance::default(),)))
    }

    /// The same of those who decide single values.
    pub(crate) fn statuses_of_founders(&self) -> Vec<(Port, Result<NodeStatus, CallError>)> {
        self.ask_each(&self.cluster.founders(), |member| member.quick.call("status", &(&Instance::default(),)))
    }

    /// Goes by who the members are now.
    pub(crate) fn follow_members(&mut self) {
        for port in self.cluster.look_again() {
            self.console.say(format!("Node {port} is no member any more, and is stopped. What it had is on its disk."));
        }
        self.caller.meet(&self.cluster);
    }

    /// Asks all members at once; the answers come in the order of the ports.
    pub(crate) fn ask_all<T: Send>(&self, ask: impl Fn(&Member) -> T + Sync) -> Vec<(Port, T)> {
        self.ask_each(&self.cluster.ports(), ask)
    }

    /// Asks these nodes at once.
    pub(crate) fn ask_each<T: Send>(&self, ports: &[Port], ask: impl Fn(&Member) -> T + Sync) -> Vec<(Port, T)> {
        let members: Vec<_> = ports.iter().filter_map(|&port| Some((port, self.cluster.member(port)?))).collect();
        self.pool.install(|| members.par_iter().map(|(port, member)| (*port, ask(member))).collect())
    }

    pub(crate) fn no_such_node(&mut self, port: Port) -> Status {
        let ports: Vec<String> = self.cluster.ports().iter().map(ToString::to_string).collect();
        self.console.error(&format!("there is no node {port}; the nodes are {}", ports.join(", ")));
        Status::Usage
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    pub(crate) fn cannot_send(&mut self, error: &EncodeError) -> Status {
        self.console.error(&format!("the value cannot be sent: {error}; nothing was done"));
        Status::Usage
    }

    pub(crate) fn cluster_failed(&mut self, error: &ClusterError) -> Status {
        self.console.error(&error.to_string());
        match error {
            ClusterError::NotOurs(_) => Status::Refused,
            _ => Status::Unavailable,
        }
    }

    /// Says why a call gave no result, and what is known of its effect.
    pub(crate) fn call_failed(&mut self, port: Port, error: &CallError) -> Status {
        self.console.put("node", json!(port.number()));
        if let CallError::Fault(fault) = error {
            self.console.put("fault_code", json!(fault.code));
        }
        let (status, text) = explain(port, error);
        self.console.error(&text);
        status
    }
}

/// What a failed call means: the exit status, and a text that says what is known and what to do.
pub(crate) fn explain(port: Port, error: &CallError) -> (Status, String) {
    match error {
        CallError::Fault(fault) => {
            let status = match FaultKind::of_code(fault.code) {
                Some(UNAVAILABLE | NOT_REACHED) => Status::Unavailable,
                Some(kind) if !kind.definite => Status::Unknown,
                _ => Status::Refused,
            };
            (status, format!("node {port}: {}", fault.string))
        }
        CallError::Unreachable(_) => (
            Status::Unavailable,
            format!(
                "unavailable: node {port} is down, and nothing was sent; start it ('start {port}'), or ask another node"
            ),
        ),
        CallError::NoAnswer(cause) => (
            Status::Unknown,
            format!(
                "outcome unknown: node {port} took the call and did not answer ({cause}); 'status' shows what it knows"
            ),
        ),
        CallError::Garbled(what) => {
            (Status::Unknown, format!("outcome unknown: what listens on {port} answers strangely ({what})"))
        }
        CallError::Arguments(what) => (Status::Usage, format!("{what}; nothing was sent")),
    }
}

fn cells(port: Port, row: Option<&InstanceRow>, status: &NodeStatus) -> [String; 6] {
    let show = |ballot: &Option<_>, value: &Option<Value>| match (ballot, value) {
        (Some(ballot), Some(value)) => format!("'{}' in {ballot}", shown(value)),
        _ => "-".to_owned(),
    };
    [
        port.to_string(),
        "up".to_owned(),
        row.and_then(|row| row.promised_ballot).map_or_else(|| "-".to_owned(), |ballot| ballot.to_string()),
        row.map_or_else(|| "-".to_owned(), |row| show(&row.accepted_ballot, &row.accepted_value)),
        row.map_or_else(|| "-".to_owned(), |row| show(&row.ballot, &row.value)),
        status.generation.to_string(),
    ]
}

fn as_json(port: Port, row: Option<&InstanceRow>, status: &NodeStatus) -> serde_json::Value {
    json!({
        "node": port.number(),
        "up": true,
        "mode": status.mode,
        "generation": status.generation,
        "promised_ballot": row.and_then(|row| row.promised_ballot).map(|ballot| ballot.to_string()),
        "accepted_ballot": row.and_then(|row| row.accepted_ballot).map(|ballot| ballot.to_string()),
        "accepted_value": row.and_then(|row| row.accepted_value.as_ref()).map(shown),
        "decided": row.is_some_and(|row| row.decided),
        "ballot": row.and_then(|row| row.ballot).map(|ballot| ballot.to_string()),
        "value": row.and_then(|row| row.value.as_ref()).map(shown),
        "log": status.log.as_ref().map(log_json),
    })
}

fn put_proposed(console: &mut Console, proposed: &Proposed) {
    console.put("value", json!(shown(&proposed.value)));
    console.put("outcome", json!(if proposed.outcome == Whose::Yours { "yours" } else { "another's" }));
    console.put("ballot", json!(proposed.ballot.to_string()));
    console.put("attempts", json!(proposed.attempts));
    console.put("message", json!(proposed.message));
}

/// A value as typed, in the form in which nodes keep it; a text with characters that XML cannot carry has none.
pub(crate) fn value_of(literal: &Literal) -> Result<Value, EncodeError> {
    let value = match literal {
        Literal::Int(number) => xmlrpc::Value::Int(*number),
        Literal::Text(text) => xmlrpc::Value::String(text.clone()),
    };
    to_fragment(&value).map(|fragment| Value::new(&fragment))
}
