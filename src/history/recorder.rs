//! The recorder: notes what clients do, from their side.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::file::first_line;
use super::{Answer, Event, EventError, History, Op};

/// Notes the operations of many clients, each in a thread of its own, against one monotonic clock.
///
/// Events stay in memory; with a file they are written to it as well, so that a recording outlives a client that is
/// killed, but for what was buffered.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    processes: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Event>,
    file: Option<BufWriter<File>>,
    /// The first error of the file; nothing is written to it any more.
    failed: Option<io::Error>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// A recorder in memory.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), processes: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// A recorder that also writes a file, which must not exist.
    ///
    /// # Errors
    /// The file exists, or cannot be made.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create_new(path)?);
        writeln!(file, "{}", first_line())?;
        let recorder = Self::new();
        recorder.kept.lock().file = Some(file);
        Ok(recorder)
    }

    /// A new client.
    pub fn process(&self) -> Process<'_> {
        Process { recorder: self, number: self.processes.fetch_add(1, Ordering::Relaxed) }
    }

    /// What has been recorded so far; what is running is open.
    ///
    /// # Errors
    /// An operation was given an answer that it cannot have; and which event that was, from 0.
    pub fn history(&self) -> Result<History, (usize, EventError)> {
        let events = self.kept.lock().events.clone();
        History::from_events(events)
    }

    /// Writes the whole recording.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        writeln!(out, "{}", first_line())?;
        for event in &self.kept.lock().events {
            write_line(&mut out, event)?;
        }
        out.flush()
    }

    /// Ends the recording and makes sure that its file is whole.
    ///
    /// # Errors
    /// The first thing that went wrong with the file.
    pub fn finish(self) -> io::Result<()> {
        let Kept { file, failed, .. } = self.kept.into_inner();
        match (failed, file) {
            (Some(error), _) => Err(error),
            (None, Some(mut file)) => file.flush(),
            (None, None) => Ok(()),
        }
    }

    /// The time is taken under the lock, so that the events are in its order. For a client that comes before its call
    /// begins and after it has ended, so waiting for the lock only makes its operation look longer than it was: what is
    /// found invalid is invalid.
    fn note(&self, event: impl FnOnce(u64) -> Event) {
        let mut kept = self.kept.lock();
        let Kept { events, file, failed } = &mut *kept;
        let time_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let event = event(time_ns);
        if let (Some(out), None) = (file, &failed) {
            *failed = write_line(out, &event).err();
        }
        events.push(event);
    }
}

fn write_line(out: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

/// A client, which does one operation at a time.
#[derive(Debug)]
pub struct Process<'a> {
    recorder: &'a Recorder,
    number: u64,
}

impl<'a> Process<'a> {
    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Notes that an operation begins now; to be called before the call leaves.
    pub fn invoke(&mut self, op: Op) -> Pending<'_, 'a> {
        let process = self.number;
        self.recorder.note(|time_ns| Event::Invoke { process, time_ns, op });
        Pending { process: self, ended: false }
    }
}

/// An operation that is running. Dropped without an end, its outcome is unknown.
#[derive(Debug)]
#[must_use = "an operation that is dropped has an unknown outcome"]
pub struct Pending<'p, 'a> {
    process: &'p Process<'a>,
    ended: bool,
}

impl Pending<'_, '_> {
    /// It took effect, with this answer.
    pub fn returned(self, answer: Answer) {
        self.end(|process, time_ns| Event::Return { process, time_ns, answer });
    }

    /// Definite: it had no effect. When in doubt, it is [`unknown`](Pending::unknown).
    pub fn failed(self, reason: impl Into<String>) {
        self.end(|process, time_ns| Event::Fail { process, time_ns, reason: reason.into() });
    }

    /// Indefinite: it may have had its effect, or may yet.
    pub fn unknown(self, reason: impl Into<String>) {
        self.end(|process, time_ns| Event::Unknown { process, time_ns, reason: reason.into() });
    }

    fn end(mut self, event: impl FnOnce(u64, u64) -> Event) {
        self.ended = true;
        self.process.recorder.note(|time_ns| event(self.process.number, time_ns));
    }
}

impl Drop for Pending<'_, '_> {
    fn drop(&mut self) {
        if !self.ended {
            let process = self.process.number;
            let reason = "the client never said".to_owned();
            self.process.recorder.note(|time_ns| Event::Unknown { process, time_ns, reason });
        }
    }
}
