//! Shows what happened: fetches the nodes' events, joins them, and has them drawn, explained and saved.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use synod::lab::diagram::{Picture, Scope, html, mermaid, shiviz, svg, terminal};
use synod::lab::explain::questions::{Question, answer};
use synod::lab::explain::story::Story;
use synod::lab::explain::{self, wrap};
use synod::lab::trace::merge::{Part, merge};
use synod::lab::trace::ring::Row;
use synod::lab::trace::{Event, Kind, Trace};
use synod::protocol::clock::Relation;
use synod::rpc::client::{CallError, Client};
use synod::rpc::lab::{MAX_EVENTS, TracePage};
use synod::xmlrpc::Value as Wire;

use crate::command::faults::Fault;
use crate::command::seeing::See;
use crate::command::services::Service;
use crate::command::{Command, Port};
use crate::execute::Lab;
use crate::shell::Status;

/// Events that are fetched of one node, at most.
const MAX_FETCHED: usize = 20_000;
/// Rows of a picture in the terminal, and in a file.
const TERMINAL_ROWS: usize = 400;
const FILE_ROWS: usize = 4000;
/// Lives of nodes that have ended, of which the shell keeps what happened.
const MAX_KEPT: usize = 64;
const DEFAULT_SHOWN: u32 = 20;

/// What the shell remembers of what happened.
pub(crate) struct Seeing {
    started: Instant,
    /// From which event on each node's belong to the last run.
    marks: BTreeMap<Port, u64>,
    /// What happened in lives that have ended, and that they did: the nodes themselves can no longer tell.
    ended: Vec<Part>,
    /// Where in them the last run began.
    ended_mark: usize,
    /// Whether every race is drawn.
    draws_races: bool,
}

impl Default for Seeing {
    fn default() -> Self {
        Self { started: Instant::now(), marks: BTreeMap::new(), ended: Vec::new(), ended_mark: 0, draws_races: false }
    }
}

/// Whether a command is a run of its own, which `diagram` and `explain` are about from then on.
const fn begins_a_run(command: &Command) -> bool {
    match command {
        Command::Set { .. } | Command::Race { .. } | Command::Crash(_) | Command::Restart => true,
        Command::Fault(fault) => matches!(fault, Fault::Partition(_) | Fault::Cut(_) | Fault::Pause(_)),
        Command::Service(service) => !matches!(
            service,
            Service::Leader
                | Service::Read(_)
                | Service::Ls
                | Service::FilesHistory(_)
                | Service::Board
                | Service::Get(_)
                | Service::List(_)
                | Service::Watch { .. }
                | Service::Unwatch(_)
                | Service::Locks
                | Service::Outcome(_)
                | Service::Weak(_)
        ),
        _ => false,
    }
}

impl Lab {
    /// Notes where the last run begins, if this command is one.
    pub(crate) fn note_run(&mut self, command: &Command) {
        if !begins_a_run(command) {
            return;
        }
        let pages = self.ask_all(|member| {
            let page = || member.quick.call::<_, TracePage>("lab.trace", &(0, 0)).ok();
            if member.is_paused() { None } else { page() }
        });
        // A node that does not tell has no events, or keeps none.
        let mark = |(port, page): (Port, Option<TracePage>)| Some((port, page?.last));
        self.seeing.marks.extend(pages.into_iter().filter_map(mark));
        self.seeing.ended_mark = self.seeing.ended.len();
    }

    /// Keeps what happened at a node that is about to die.
    pub(crate) fn keep_last_words(&mut self, port: Port) {
        let part = self.fetch(port, self.mark(port));
        self.seeing.ended.extend(part);
    }

    /// Tells that a node has died: it cannot.
    pub(crate) fn note_death(&mut self, port: Port) {
        let us = micros(self.seeing.started);
        let row = Row {
            seq: 0,
            us,
            clock: String::new(),
            kind: Kind::Crash,
            message: None,
            peer: None,
            name: None,
            about: Default::default(),
            text: "killed".to_owned(),
        };
        self.seeing.ended.push(Part { node: port.number(), offset_us: 0, rows: vec![row] });
        self.seeing.marks.insert(port, 0);
        let too_many = self.seeing.ended.len().saturating_sub(MAX_KEPT);
        self.seeing.ended.drain(..too_many);
        self.seeing.ended_mark = self.seeing.ended_mark.saturating_sub(too_many);
    }

    /// Carries out one of these commands.
    pub(crate) fn see(&mut self, see: &See) -> Status {
        let done = match see {
            See::Trace(on) => self.switch_trace(*on),
            See::TraceClear => self.clear_trace(),
            See::TraceSave(file) => self.whole_trace().and_then(|trace| self.save(&trace, file)),
            See::TraceShow(count) => self.last_trace().map(|trace| self.list(&trace, count.unwrap_or(DEFAULT_SHOWN))),
            See::Diagram { all, to, from } => self.trace_of(from.as_deref()).and_then(|trace| {
                let scope = if *all { Scope::All } else { Scope::Fitting };
                self.draw(&trace, scope, to.as_deref())
            }),
            See::DrawRaces(on) => {
                self.seeing.draws_races = *on;
                let line = if *on { "Every race is drawn when it has ended." } else { "Races are not drawn." };
                self.console.say(line);
                Ok(())
            }
            See::Explain { question, from } => self.explain(*question, from.as_deref()),
            See::HappenedBefore { first, second, from } => self.happened_before(first, second, from.as_deref()),
        };
        done.err().unwrap_or(Status::Done)
    }

    /// Draws a race that has ended, if that was asked for.
    pub(crate) fn draw_race(&mut self, asked: bool) {
        if (asked || self.seeing.draws_races)
            && let Ok(trace) = self.last_trace()
        {
            // That it cannot be drawn is said, and does not undo the race.
            _ = self.draw(&trace, Scope::Fitting, None);
        }
    }

    fn mark(&self, port: Port) -> u64 {
        self.seeing.marks.get(&port).copied().unwrap_or(0)
    }

    /// A file's trace, or the last run's.
    fn trace_of(&mut self, file: Option<&str>) -> Result<Trace, Status> {
        let Some(file) = file else { return self.last_trace() };
        let read = fs::read_to_string(file).map_err(|error| error.to_string()).and_then(|text| Trace::read(&text));
        read.map_err(|error| {
            self.console.error(&format!("{file}: {error}"));
            Status::Usage
        })
    }

    fn last_trace(&mut self) -> Result<Trace, Status> {
        let ended = self.seeing.ended[self.seeing.ended_mark..].to_vec();
        self.fetch_all(ended, |lab, port| lab.mark(port))
    }

    fn whole_trace(&mut self) -> Result<Trace, Status> {
        self.fetch_all(self.seeing.ended.clone(), |_, _| 0)
    }

    fn fetch_all(&mut self, mut parts: Vec<Part>, since: impl Fn(&Self, Port) -> u64) -> Result<Trace, Status> {
        let ports = self.cluster.all_ports();
        for &port in &ports {
            parts.extend(self.fetch(port, since(self, port)));
        }
        if parts.iter().all(|part| part.rows.is_empty()) {
            self.console
                .error("no node tells what happened: 'trace on' has them keep it, and nodes that are down cannot tell");
            return Err(Status::Unavailable);
        }
        Ok(merge(ports.iter().map(|port| port.number()).collect(), parts))
    }

    /// The events of one node from this one on; `None` if it does not tell.
    fn fetch(&self, port: Port, since: u64) -> Option<Part> {
        let client: &Client = &self.cluster.member(port).filter(|member| !member.is_paused())?.quick;
        let (mut rows, mut next, mut offset_us) = (Vec::new(), since, 0);
        while rows.len() < MAX_FETCHED {
            let page: Result<TracePage, CallError> = client.call("lab.trace", &(next, MAX_EVENTS));
            let page = page.ok()?;
            // Both clocks run at one speed; where they differ is found out anew with each answer.
            offset_us = signed(micros(self.seeing.started)) - signed(page.now_us);
            next = page.next;
            if page.events.is_empty() {
                break;
            }
            rows.extend(page.events);
        }
        Some(Part { node: port.number(), offset_us, rows })
    }

    fn switch_trace(&mut self, on: bool) -> Result<(), Status> {
        self.on_all_nodes("lab.trace.switch", &(on,))?;
        self.console.say(if on { "The nodes keep what happens." } else { "The nodes keep no more of what happens." });
        Ok(())
    }

    fn clear_trace(&mut self) -> Result<(), Status> {
        self.on_all_nodes("lab.trace.clear", &())?;
        self.seeing.ended.clear();
        self.seeing.ended_mark = 0;
        self.console.say("What happened is forgotten.");
        Ok(())
    }

    fn on_all_nodes(&mut self, method: &str, params: &(impl serde::Serialize + Sync)) -> Result<(), Status> {
        let answers = self.ask_all(|member| member.quick.call::<_, Wire>(method, params));
        for (port, answer) in answers {
            match answer {
                Ok(_) | Err(CallError::Unreachable(_)) => {}
                Err(error) => return Err(self.call_failed(port, &error)),
            }
        }
        Ok(())
    }

    fn save(&mut self, trace: &Trace, file: &str) -> Result<(), Status> {
        let written = File::create(file).and_then(|to| trace.write(BufWriter::new(to)));
        self.written(file, written)?;
        self.console.put("events", json!(trace.events.len()));
        self.console.say(format!("{} events are in {file}; 'diagram --from {file}' draws them.", trace.events.len()));
        Ok(())
    }

    fn written(&mut self, file: &str, result: std::io::Result<()>) -> Result<(), Status> {
        result.map_err(|error| {
            self.console.error(&format!("{file} was not written: {error}"));
            Status::Unavailable
        })
    }

    fn list(&mut self, trace: &Trace, count: u32) {
        let events = &trace.events;
        let first = events.len().saturating_sub(count as usize);
        for event in &events[first..] {
            let line = line(trace, event);
            self.console.say(line);
        }
        self.console.put("events", json!(events[first..].iter().map(|event| json!(event)).collect::<Vec<_>>()));
    }

    fn draw(&mut self, trace: &Trace, scope: Scope, file: Option<&str>) -> Result<(), Status> {
        let Some(file) = file else {
            let picture = Picture::of(trace, scope, TERMINAL_ROWS);
            let text = terminal::draw(&picture, terminal::WIDTH);
            self.console.put("diagram", json!(text));
            text.lines().for_each(|line| self.console.say(line));
            return Ok(());
        };
        let picture = || Picture::of(trace, scope, FILE_ROWS);
        let ending = Path::new(file).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let text = match ending.to_lowercase().as_str() {
            "svg" => svg::draw(&picture()),
            "html" | "htm" => html::draw(&picture(), &title(trace)),
            "mmd" => mermaid::draw(&picture()),
            "log" => shiviz::draw(trace),
            _ => {
                let text = "a picture's file ends in .svg, .html, .mmd (Mermaid) or .log (ShiViz); nothing was written";
                self.console.error(text);
                return Err(Status::Usage);
            }
        };
        self.written(file, fs::write(file, text))?;
        self.console.put("file", json!(file));
        self.console.say(format!("{file} is written."));
        Ok(())
    }

    fn explain(&mut self, question: Option<Question>, file: Option<&str>) -> Result<(), Status> {
        let lines = match question {
            Some(question) => {
                // Without nodes that tell, the question has its general answer.
                let trace = if file.is_some() { Some(self.trace_of(file)?) } else { self.last_story() };
                let story = trace.as_ref().and_then(Story::of);
                answer(question, story.as_ref()).iter().flat_map(|text| wrap(text, explain::WIDTH)).collect()
            }
            None => {
                let trace = self.trace_of(file)?;
                match explain::tell(&trace) {
                    Some(lines) => lines,
                    None if file.is_none() => {
                        let whole = self.whole_trace()?;
                        explain::tell(&whole).unwrap_or_else(nothing)
                    }
                    None => nothing(),
                }
            }
        };
        self.console.put("explanation", json!(lines));
        lines.into_iter().for_each(|line| self.console.say(line));
        Ok(())
    }

    /// What a question is answered by: the last run, or if that decided nothing, all that is kept.
    fn last_story(&mut self) -> Option<Trace> {
        let ended = self.seeing.ended[self.seeing.ended_mark..].to_vec();
        let ports = self.cluster.all_ports();
        let all = |lab: &Self, mut parts: Vec<Part>, since: &dyn Fn(Port) -> u64| {
            parts.extend(ports.iter().filter_map(|&port| lab.fetch(port, since(port))));
            merge(ports.iter().map(|port| port.number()).collect(), parts)
        };
        let last = all(self, ended, &|port| self.mark(port));
        if Story::of(&last).is_some() {
            return Some(last);
        }
        Some(all(self, self.seeing.ended.clone(), &|_| 0))
    }

    fn happened_before(&mut self, first: &str, second: &str, file: Option<&str>) -> Result<(), Status> {
        let trace = if file.is_some() { self.trace_of(file)? } else { self.whole_trace()? };
        let mut find = |name: &str| {
            let found = trace.events.iter().find(|event| trace.name_of(event).as_deref() == Some(name)).cloned();
            found.ok_or_else(|| {
                let text = format!("no event {name} is kept; 'trace show' lists the last ones with their names");
                self.console.error(&text);
                Status::Refused
            })
        };
        let (one, other) = (find(first)?, find(second)?);
        let relation = one.compare(&other);
        let verdict = match relation {
            Some(Relation::Before) => format!("{first} happened before {second}: it may have caused it."),
            Some(Relation::After) => format!("{second} happened before {first}: it may have caused it."),
            Some(Relation::Equal) => format!("{first} and {second} are one event."),
            Some(Relation::Concurrent) => {
                format!("{first} and {second} are concurrent: neither can have caused the other.")
            }
            None => "one of them has no vector clock, so nothing is known".to_owned(),
        };
        self.console.put("relation", json!(relation.map(|relation| relation.to_string())));
        for event in [&one, &other] {
            let line = line(&trace, event);
            self.console.tell(line);
        }
        self.console.say(verdict);
        Ok(())
    }
}

fn nothing() -> Vec<String> {
    vec!["No ballot and no change of leader is in what the nodes keep: there is nothing to explain.".to_owned()]
}

/// An event in a line: its name, what happened, and its clock.
fn line(trace: &Trace, event: &Event) -> String {
    let name = trace.name_of(event).unwrap_or_else(|| event.node.map_or_else(String::new, |node| node.to_string()));
    let what = match (event.kind, event.peer) {
        (Kind::Send, Some(peer)) => format!("→ {peer}  {}", event.text),
        (Kind::Receive, Some(peer)) => format!("← {peer}  {}", event.text),
        (kind, Some(peer)) => format!("{} → {peer}  {}", format!("{kind:?}").to_lowercase(), event.text),
        (kind, None) => format!("{}  {}", format!("{kind:?}").to_lowercase(), event.text),
    };
    format!("{name:<12} {what}")
}

fn title(trace: &Trace) -> String {
    match trace.header.seed {
        Some(seed) => format!("Simulated run, seed {seed}"),
        None => format!("What happened at {} nodes", trace.header.nodes.len()),
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}
