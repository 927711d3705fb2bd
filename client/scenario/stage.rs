//! What the races are played with: gates, proposals in threads of their own, and waiting for what must be seen.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value as Json, json};
use synod::protocol::types::{Ballot, Instance, Value};
use synod::rpc::answers::{Held, InstanceRow, Proposed, Status as NodeStatus, Whose};
use synod::rpc::client::CallError;
use synod::rpc::methods::ProposeOptions;
use synod::rpc::peers::Kind;
use synod::rpc::text::shown;
use synod::xmlrpc::Value as Wire;

use crate::command::Port;
use crate::execute::{Lab, explain};
use crate::shell::Status;

/// A race that waits so long for a step has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a proposal may take, and a ballot in it, so that a message held at a gate ends neither.
const DEADLINE_MS: u32 = 20_000;
const BALLOT_MS: u32 = 30_000;
/// Gates open by themselves after this, should the shell be killed in the middle.
const GATE_MS: u32 = 30_000;
const POLL: Duration = Duration::from_millis(1);
/// How long a wait takes before it looks for Ctrl-C.
const SLICE_MS: u32 = 100;

/// Why a race ended early.
pub(super) struct Stop {
    pub(super) status: Status,
    pub(super) text: String,
}

/// A race in progress.
pub(super) struct Stage<'a> {
    lab: &'a mut Lab,
    pub(super) p1: Port,
    pub(super) p2: Port,
    pub(super) v1: Value,
    pub(super) v2: Value,
    /// Whether any gate was closed.
    gated: bool,
}

/// A proposal under way.
pub(super) struct Attempt {
    port: Port,
    answer: Receiver<Result<Proposed, CallError>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(lab: &'a mut Lab, p1: Port, p2: Port, v1: Value, v2: Value) -> Self {
        Self { lab, p1, p2, v1, v2, gated: false }
    }

    /// A race needs all nodes, all of them in their initial state.
    pub(super) fn check(&mut self, must_be_odd: bool) -> Result<(), Stop> {
        let refused = |text: String| Err(Stop { status: Status::Refused, text });
        let ports = self.all();
        if ports.len() < 3 {
            return refused(format!("a race takes at least 3 nodes, and there are {}", ports.len()));
        }
        if must_be_odd && ports.len().is_multiple_of(2) {
            let text = "B_wins takes an odd number of nodes, so that two majorities can share a single one";
            return refused(text.to_owned());
        }
        if let Some(link) = self.lab.broken_link() {
            return refused(format!("a race takes links that work, and {link}; type heal first"));
        }
        for (port, status) in self.lab.statuses_of_founders() {
            let status = match status {
                Ok(status) => status,
                Err(error) => {
                    let (status, text) = explain(port, &error);
                    return Err(Stop { status, text: format!("a race takes all nodes: {text}") });
                }
            };
            if status.mode != "lab" {
                return refused(format!("node {port} was started for service, and races are for lab nodes"));
            }
            let Some(row) = row(&status) else { continue };
            if let (true, Some(value)) = (row.decided, &row.value) {
                let value = shown(value);
                return refused(format!(
                    "'{value}' is already decided, so there is nothing to race for; type restart first"
                ));
            }
            if row.accepted_ballot.is_some() {
                let text = "a value was already accepted, which would decide the race; type restart first";
                return refused(format!("node {port}: {text}"));
            }
        }
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<Port> {
        self.lab.cluster.founders()
    }

    /// The other nodes, so that p1 with the first ones and the shared one is a majority, and p2 with the last ones and
    /// the shared one is another.
    pub(super) fn sides(&self) -> (Vec<Port>, Port, Vec<Port>) {
        let others: Vec<Port> = self.all().into_iter().filter(|port| ![self.p1, self.p2].contains(port)).collect();
        let middle = others.len() / 2;
        (others[..middle].to_vec(), others[middle], others[middle + 1..].to_vec())
    }

    pub(super) fn tell(&mut self, line: String) {
        self.lab.console.tell(line);
    }

    pub(super) fn put(&mut self, name: &str, value: Json) {
        self.lab.console.put(name, value);
    }

    /// Closes gates of a node.
    pub(super) fn hold(&mut self, from: Port, to: &[Port], kinds: &[Kind]) -> Result<(), Stop> {
        self.gated = true;
        for (kind, port) in pairs(kinds, to) {
            let _: Held = self.call(from, "lab.gate.hold", &(kind.name(), port.number(), GATE_MS))?;
        }
        Ok(())
    }

    /// Opens gates of a node, and lets go what they held.
    pub(super) fn open(&mut self, from: Port, to: &[Port], kinds: &[Kind]) -> Result<(), Stop> {
        for (kind, port) in pairs(kinds, to) {
            let _: Wire = self.call(from, "lab.gate.release", &(kind.name(), port.number()))?;
        }
        Ok(())
    }

    /// Lets go the first message that each of these gates of a node holds; they stay closed.
    pub(super) fn let_through(&mut self, from: Port, to: &[Port], kind: Kind) -> Result<(), Stop> {
        for (kind, port) in pairs(&[kind], to) {
            let _: Wire = self.call(from, "lab.gate.release", &(kind.name(), port.number(), 1))?;
        }
        Ok(())
    }

    /// Waits until each of these gates of a node holds a message.
    pub(super) fn wait_held(&mut self, from: Port, to: &[Port], kind: Kind) -> Result<(), Stop> {
        let deadline = Instant::now() + PATIENCE;
        for &port in to {
            loop {
                let held: Held = self.call(from, "lab.gate.wait", &(kind.name(), port.number(), 1, SLICE_MS))?;
                if held.held >= 1 {
                    break;
                }
                self.go_on(deadline, || format!("node {from} to send its {} to {port}", kind.name()))?;
            }
        }
        Ok(())
    }

    /// Waits until a node has accepted something, and says in which ballot.
    pub(super) fn wait_accepted(&mut self, port: Port) -> Result<Ballot, Stop> {
        self.wait_for(port, |row| row.accepted_ballot, || format!("node {port} to accept"))
    }

    /// Waits until a node's proposer runs a ballot, above this one if there is one, and says which.
    pub(super) fn wait_ballot(&mut self, port: Port, above: Option<Ballot>) -> Result<Ballot, Stop> {
        let running = |row: &InstanceRow| row.proposing_ballot.filter(|&ballot| Some(ballot) > above);
        self.wait_for(port, running, || format!("node {port} to start a ballot"))
    }

    /// Waits until all nodes have promised this ballot, or more: a Prepare that comes late would be refused, and the
    /// refusal would make its proposer start over.
    pub(super) fn wait_all_promised(&mut self, ballot: Ballot) -> Result<(), Stop> {
        self.wait_all(|row| row.promised_ballot >= Some(ballot), || format!("all nodes to promise {ballot}"))
    }

    /// Waits until all nodes have accepted in this ballot.
    pub(super) fn wait_all_accepted(&mut self, ballot: Ballot) -> Result<(), Stop> {
        self.wait_all(|row| row.accepted_ballot == Some(ballot), || format!("all nodes to accept in {ballot}"))
    }

    fn wait_all(&mut self, seen: impl Fn(&InstanceRow) -> bool, what: impl Fn() -> String) -> Result<(), Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut all = true;
            for (port, status) in self.lab.statuses_of_founders() {
                all &= row(&status.map_err(|error| failed(port, &error))?).is_some_and(&seen);
            }
            if all {
                return Ok(());
            }
            self.go_on(deadline, &what)?;
            thread::sleep(POLL);
        }
    }

    /// Waits until a node has promised more than this.
    pub(super) fn wait_promised_above(&mut self, port: Port, ballot: Ballot) -> Result<Ballot, Stop> {
        let above = |row: &InstanceRow| row.promised_ballot.filter(|&promised| promised > ballot);
        self.wait_for(port, above, || format!("node {port} to promise more than {ballot}"))
    }

    fn wait_for<T>(
        &mut self,
        port: Port,
        seen: impl Fn(&InstanceRow) -> Option<T>,
        what: impl Fn() -> String,
    ) -> Result<T, Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status: NodeStatus = self.call(port, "status", &(Instance::default(),))?;
            if let Some(found) = row(&status).and_then(&seen) {
                return Ok(found);
            }
            self.go_on(deadline, &what)?;
            thread::sleep(POLL);
        }
    }

    /// Starts the proposal of p1 or p2 in a thread of its own; so many first rejections do not make it pause.
    pub(super) fn propose(&mut self, port: Port, impatient: u32) -> Result<Attempt, Stop> {
        let value = if port == self.p1 { self.v1.clone() } else { self.v2.clone() };
        let Some(member) = self.lab.cluster.member(port) else {
            return Err(Stop { status: Status::Usage, text: format!("there is no node {port}") });
        };
        let client = member.client.clone();
        let options =
            ProposeOptions { deadline_ms: Some(DEADLINE_MS), impatient: Some(impatient), ballot_ms: Some(BALLOT_MS) };
        let (tell, answer) = channel();
        self.lab.pool.spawn(move || {
            // If nobody waits any more, the race was given up.
            _ = tell.send(client.call("propose", &(value, Instance::default(), options)));
        });
        Ok(Attempt { port, answer })
    }

    /// Concludes: says both final answers, and checks that they, all nodes and all their files agree.
    pub(super) fn conclude(&mut self, expected: Option<&Value>, answers: &[(Port, Proposed)]) -> Result<(), Stop> {
        self.clear_gates();
        let mut responses = Vec::new();
        for (port, proposed) in answers {
            self.lab.console.say_good(format!("Final response from Node {port}: {}", proposed.message));
            responses.push(json!({
                "node": port.number(),
                "value": shown(&proposed.value),
                "outcome": if proposed.outcome == Whose::Yours { "yours" } else { "another's" },
                "ballot": proposed.ballot.to_string(),
                "message": proposed.message,
            }));
        }
        self.put("responses", json!(responses));
        let value = expected.unwrap_or(&answers[0].1.value).clone();
        self.put("value", json!(shown(&value)));
        if let Some((port, proposed)) = answers.iter().find(|(_, proposed)| proposed.value != value) {
            let text = format!(
                "node {port} answered '{}', and the race must end with '{}'",
                shown(&proposed.value),
                shown(&value)
            );
            return Err(Stop { status: Status::Refused, text });
        }
        self.wait_until_all_know(&value)?;
        self.check_files(&value)?;
        let files = if self.lab.cluster.is_own() { ", and so say their files" } else { "" };
        let line = format!("Checked: all {} nodes have decided '{}'{files}.", self.all().len(), shown(&value));
        self.lab.console.tell(line);
        Ok(())
    }

    fn wait_until_all_know(&mut self, value: &Value) -> Result<(), Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut missing = None;
            for (port, status) in self.lab.statuses_of_founders() {
                let status = status.map_err(|error| failed(port, &error))?;
                match row(&status).and_then(|row| row.value.as_ref()) {
                    Some(decided) if decided != value => {
                        let text = format!("node {port} has decided '{}', and not '{}'", shown(decided), shown(value));
                        return Err(Stop { status: Status::Refused, text });
                    }
                    Some(_) if status.counters.get("files_pending") == Some(&0) => {}
                    _ => missing = Some(port),
                }
            }
            let Some(port) = missing else { return Ok(()) };
            self.go_on(deadline, || format!("node {port} to learn the decision and write its file"))?;
            thread::sleep(POLL);
        }
    }

    /// Reads the decided files of the nodes, if they are on this machine under a directory that we know.
    fn check_files(&self, value: &Value) -> Result<(), Stop> {
        let Some(data) = self.lab.cluster.data() else { return Ok(()) };
        for port in self.all() {
            let path = data.join(port.to_string()).join("decided").join("default.txt");
            let wanted = synod::store::decided_files::Line::new(Instance::default(), "", &shown(value)).text;
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if !text.trim_end_matches('\n').ends_with(&wanted) {
                let text = format!("{} reads {text:?}, and must end with {wanted:?}", path.display());
                return Err(Stop { status: Status::Refused, text });
            }
        }
        Ok(())
    }

    fn call<T: serde::de::DeserializeOwned>(
        &self,
        port: Port,
        method: &str,
        params: &impl Serialize,
    ) -> Result<T, Stop> {
        let Some(member) = self.lab.cluster.member(port) else {
            return Err(Stop { status: Status::Usage, text: format!("there is no node {port}") });
        };
        member.quick.call(method, params).map_err(|error| failed(port, &error))
    }

    /// Goes on waiting, unless the time is up or the user has had enough.
    fn go_on(&self, deadline: Instant, what: impl Fn() -> String) -> Result<(), Stop> {
        if self.lab.interrupted.load(Ordering::Relaxed) {
            let text = "interrupted; the gates are open again. What had begun may still be decided; type restart";
            return Err(Stop { status: Status::Unknown, text: text.to_owned() });
        }
        if Instant::now() > deadline {
            let text = format!("waited in vain for {}; the gates are open again; type restart and try again", what());
            return Err(Stop { status: Status::Unknown, text });
        }
        Ok(())
    }

    fn clear_gates(&mut self) {
        if std::mem::take(&mut self.gated) {
            // A node that does not answer has no gates, or will open them by itself.
            let _: Vec<(Port, Result<Wire, _>)> =
                self.lab.ask_each(&self.all(), |member| member.quick.call("lab.gate.clear", &()));
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.clear_gates();
    }
}

impl Attempt {
    /// Waits for the answer.
    pub(super) fn answer(self, stage: &Stage<'_>) -> Result<Proposed, Stop> {
        let deadline = Instant::now() + Duration::from_millis(DEADLINE_MS.into()) + PATIENCE;
        loop {
            match self.answer.recv_timeout(Duration::from_millis(SLICE_MS.into())) {
                Ok(answer) => return answer.map_err(|error| failed(self.port, &error)),
                Err(RecvTimeoutError::Timeout) => {
                    stage.go_on(deadline, || format!("the answer of node {}", self.port))?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let text = format!("the call to node {} was given up", self.port);
                    return Err(Stop { status: Status::Unknown, text });
                }
            }
        }
    }
}

fn failed(port: Port, error: &CallError) -> Stop {
    let (status, text) = explain(port, error);
    Stop { status, text }
}

fn row(status: &NodeStatus) -> Option<&InstanceRow> {
    status.instances.first().filter(|row| row.instance == Instance::default())
}

fn pairs<'a>(kinds: &'a [Kind], to: &'a [Port]) -> impl Iterator<Item = (Kind, Port)> + 'a {
    kinds.iter().flat_map(move |&kind| to.iter().map(move |&port| (kind, port)))
}
