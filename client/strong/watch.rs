//! Watching keys: in a script for a time, at the prompt in a thread that prints above it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use synod::rpc::faults::FORGOTTEN;
use synod::rpc::strong::answers::{EventRow, Listed, Watched};
use synod::rpc::strong::{Consistency, ReadOptions};
use synod::rpc::text::shown;

use super::caller::{Answered, Caller, Failed};
use super::{Ended, one_line, value_line};
use crate::execute::Lab;
use crate::shell::{Printer, Status};

/// How long a script watches if it does not say.
const DEFAULT_TIME: Duration = Duration::from_secs(10);
/// How long one call waits: whoever watches notices within it that nobody wants to any more.
const WAIT: Duration = Duration::from_millis(500);

/// The watches of a prompt.
#[derive(Default)]
pub(crate) struct Watches {
    /// Prints above the prompt; absent in scripts.
    printer: Option<Arc<Mutex<Printer>>>,
    running: BTreeMap<String, Arc<Running>>,
}

/// What a watch's thread looks at.
#[derive(Default)]
struct Running {
    over: AtomicBool,
    /// The nodes have forgotten everything: what was seen is from another life.
    anew: AtomicBool,
}

impl Watches {
    pub(crate) fn set_printer(&mut self, printer: Printer) {
        self.printer = Some(Arc::new(Mutex::new(printer)));
    }

    /// After a restart of the nodes, whose counters begin anew.
    pub(crate) fn begin_anew(&self) {
        self.running.values().for_each(|running| running.anew.store(true, Ordering::Relaxed));
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.running.values().for_each(|running| running.over.store(true, Ordering::Relaxed));
    }
}

/// Where a watch has come to.
struct Follow {
    caller: Caller,
    prefix: String,
    since: u64,
}

/// What one look at the changes brought.
enum Seen {
    Events(Vec<EventRow>),
    /// Some changes were missed, and the watch goes on from now.
    Gap,
}

impl Follow {
    fn begin(caller: Caller, prefix: &str) -> Result<Self, Failed> {
        let mut follow = Self { caller, prefix: prefix.to_owned(), since: 0 };
        follow.since = follow.now()?;
        Ok(follow)
    }

    /// The counter of what has been applied. The first call brings the node up to date, so that nothing which was
    /// answered before counts as new; the second asks how far it is.
    fn now(&mut self) -> Result<u64, Failed> {
        let prefix = self.prefix.as_str();
        let one = |options| ReadOptions { limit: Some(1), ..options };
        let _: Answered<Listed> = self.caller.read("kv.list", |options| (prefix, one(options)))?;
        let local = |options| ReadOptions { read: Some(Consistency::Local), ..one(options) };
        let listed: Answered<Listed> = self.caller.read("kv.list", |options| (prefix, local(options)))?;
        Ok(listed.answer.freshness.applied.unwrap_or(0))
    }

    /// Waits for changes, for so long at most.
    fn next(&mut self, wait: Duration) -> Result<Seen, Failed> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        match self.caller.ask::<_, Watched>("kv.watch", &(&self.prefix, self.since, wait_ms)) {
            Ok(Answered { answer, .. }) => {
                self.since = answer.next;
                Ok(Seen::Events(answer.events))
            }
            Err(failed) if failed.is(FORGOTTEN) => {
                self.since = self.now()?;
                Ok(Seen::Gap)
            }
            Err(failed) => Err(failed),
        }
    }

    fn gap(&self) -> String {
        format!("watch '{}': not all changes are kept, and some were missed; going on from now", one_line(&self.prefix))
    }
}

impl Lab {
    pub(super) fn watch(&mut self, prefix: &str, time: Option<Duration>) -> Ended {
        let caller = self.caller.fork();
        let follow = Follow::begin(caller, prefix)?;
        match self.watches.printer.clone() {
            Some(printer) => Ok(self.watch_above(follow, time, printer)),
            None => self.watch_here(follow, time.unwrap_or(DEFAULT_TIME)),
        }
    }

    fn watch_here(&mut self, mut follow: Follow, time: Duration) -> Ended {
        let deadline = Instant::now() + time;
        let mut events = Vec::new();
        let status = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Status::Done;
            }
            if self.is_interrupted() {
                break Status::Refused;
            }
            match follow.next(left.min(WAIT))? {
                Seen::Gap => self.console.say_bad(follow.gap()),
                Seen::Events(new) => {
                    new.iter().for_each(|event| self.console.say(line_of(event)));
                    events.extend(new.iter().map(json_of));
                }
            }
            if self.console.is_reader_gone() {
                break Status::Done;
            }
        };
        if events.is_empty() {
            self.console.tell(format!("Nothing has changed under '{}'.", one_line(&follow.prefix)));
        }
        self.console.put("events", json!(events));
        Ok(status)
    }

    fn watch_above(&mut self, follow: Follow, time: Option<Duration>, printer: Arc<Mutex<Printer>>) -> Status {
        let prefix = follow.prefix.clone();
        let running = Arc::new(Running::default());
        let (seen, deadline, json) = (running.clone(), time.map(|time| Instant::now() + time), self.console.is_json());
        let thread = thread::Builder::new().name("watch".to_owned());
        if let Err(error) = thread.spawn(move || print_above(follow, deadline, &seen, &printer, json)) {
            self.console.error(&format!("cannot start a thread: {error}; nothing is watched"));
            return Status::Unavailable;
        }
        let until = time.map_or_else(
            || "until 'unwatch'".to_owned(),
            |time| format!("for {} s, or until 'unwatch'", time.as_secs_f64()),
        );
        self.console.tell(format!("Watching '{}': changes appear above the prompt, {until}.", one_line(&prefix)));
        // A watch of the same prefix is replaced: once is enough.
        if let Some(before) = self.watches.running.insert(prefix, running) {
            before.over.store(true, Ordering::Relaxed);
        }
        Status::Done
    }

    pub(super) fn unwatch(&mut self, prefix: Option<&str>) -> Status {
        let stopped: Vec<String> = match prefix {
            None => std::mem::take(&mut self.watches.running).into_iter().map(stop).collect(),
            Some(prefix) => self.watches.running.remove_entry(prefix).into_iter().map(stop).collect(),
        };
        match stopped.as_slice() {
            [] => self.console.tell("Nothing was watched."),
            stopped => self.console.tell(format!("No longer watched: {}.", stopped.join(", "))),
        }
        Status::Done
    }
}

fn stop((prefix, running): (String, Arc<Running>)) -> String {
    running.over.store(true, Ordering::Relaxed);
    format!("'{}'", one_line(&prefix))
}

/// Prints changes until nobody wants them any more. Nodes that are down are waited for: changes are not lost by that.
fn print_above(mut follow: Follow, deadline: Option<Instant>, running: &Running, printer: &Mutex<Printer>, json: bool) {
    let mut troubled = false;
    loop {
        let left = deadline.map_or(WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
        if running.over.load(Ordering::Relaxed) || left.is_zero() {
            return;
        }
        if running.anew.swap(false, Ordering::Relaxed) {
            follow.since = 0;
        }
        let seen = follow.next(left.min(WAIT));
        if running.over.load(Ordering::Relaxed) {
            return;
        }
        match seen {
            Ok(Seen::Events(events)) => {
                troubled = false;
                for event in &events {
                    let line = if json { json!({ "event": json_of(event) }).to_string() } else { line_of(event) };
                    (printer.lock())(&line);
                }
            }
            Ok(Seen::Gap) => (printer.lock())(&follow.gap()),
            Err(failed) => {
                if !std::mem::replace(&mut troubled, true) {
                    (printer.lock())(&format!("watch '{}': {}; still trying", one_line(&follow.prefix), failed.text));
                }
                thread::sleep(WAIT);
            }
        }
    }
}

/// A change, for people.
fn line_of(event: &EventRow) -> String {
    let key = one_line(event.key.as_deref().unwrap_or_default());
    let (version, place) = (event.version.unwrap_or(0), format!("epoch {}, counter {}", event.epoch, event.counter));
    match &event.value {
        Some(value) => format!("Key '{key}' is now '{}' (version {version}; {place}).", value_line(value)),
        None => format!("Key '{key}' was deleted, in its version {version} ({place})."),
    }
}

fn json_of(event: &EventRow) -> serde_json::Value {
    let mut row = json!({
        "what": event.what, "key": event.key, "version": event.version, "epoch": event.epoch, "counter": event.counter,
    });
    if let Some(value) = &event.value {
        row["value"] = json!(shown(value));
    }
    row
}
