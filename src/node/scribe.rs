//! The scribe: a thread that writes the decided files behind the driver, and hands out the answers that wait for them.
//!
//! A call that decides is answered when this node's file is there, so that a person finds it. Two synced files a
//! decision would cost more than the decision, though, so there is an allowance: a burst of [`BURST`] files, then
//! [`PER_SECOND`]. What exceeds it is answered at once, and its file follows when no decision has come for
//! [`QUIET`]. Nothing is lost by that: the files follow the database.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{error, warn};

use crate::store::decided_files::{DecidedFiles, Line};

const BURST: f64 = 64.0;
const PER_SECOND: f64 = 20.0;
const QUIET: Duration = Duration::from_millis(20);
/// Files of the backlog written between two looks at the queue, where answers may wait.
const CHUNK: usize = 4;

/// What the driver hands over after a batch.
pub(super) struct Job {
    /// What to do, in order.
    pub(super) tasks: Vec<Task>,
    /// Then run this: it answers the clients of the batch.
    pub(super) then: Box<dyn FnOnce() + Send>,
}

pub(super) enum Task {
    Write(Line),
    Clear,
}

/// The driver's end. Dropping it ends the thread, once all files are written.
pub(super) struct Scribe {
    jobs: Option<Sender<Job>>,
    pending: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    pub(super) fn start(files: DecidedFiles, name: String) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let pending = Arc::new(AtomicUsize::new(0));
        let desk = Desk {
            files,
            backlog: Vec::new(),
            allowance: BURST,
            since: Instant::now(),
            pending: pending.clone(),
            failing: false,
        };
        let thread = thread::Builder::new().name(name).spawn(move || desk.run(&queue))?;
        Ok(Self { jobs: Some(jobs), pending, thread: Some(thread) })
    }

    pub(super) fn hand_over(&self, job: Job) {
        self.pending.fetch_add(job.tasks.len(), Ordering::Relaxed);
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        if !matches!(sent, Some(Ok(()))) {
            // The answers in the job are dropped with it: their callers hear that the node stopped.
            error!("the thread that writes the decided files has ended");
        }
    }

    /// How many files do not yet stand as they should.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that writes the decided files panicked");
        }
    }
}

struct Desk {
    files: DecidedFiles,
    /// Lines whose files are still to be written.
    backlog: Vec<Line>,
    allowance: f64,
    since: Instant,
    pending: Arc<AtomicUsize>,
    /// Whether the last write failed: the log says so once.
    failing: bool,
}

impl Desk {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let job = if self.backlog.is_empty() {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                queue.recv_timeout(QUIET)
            };
            match job {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => {
                    let mut next = Err(RecvTimeoutError::Timeout);
                    while !self.backlog.is_empty() && next.is_err() && self.write_some(CHUNK) {
                        next = queue.recv_timeout(Duration::ZERO);
                    }
                    if let Ok(job) = next {
                        self.work(job);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        while !self.backlog.is_empty() && self.write_some(CHUNK) {}
    }

    fn work(&mut self, job: Job) {
        let mut lines = 0;
        for task in job.tasks {
            match task {
                Task::Write(line) => {
                    lines += 1;
                    self.backlog.push(line);
                }
                Task::Clear => self.clear(),
            }
        }
        self.allowance = (self.allowance + self.since.elapsed().as_secs_f64() * PER_SECOND).min(BURST);
        self.since = Instant::now();
        if lines > 0 && self.backlog.len() == lines && self.allowance >= lines as f64 {
            self.allowance -= lines as f64;
            self.write_some(lines);
        }
        (job.then)();
    }

    fn clear(&mut self) {
        self.pending.fetch_sub(self.backlog.len() + 1, Ordering::Relaxed);
        self.backlog.clear();
        if let Err(error) = self.files.clear() {
            warn!("cannot remove the decided files: {error}");
        }
    }

    /// Writes the first files of the backlog; false if that failed, and it is to be tried again later.
    fn write_some(&mut self, most: usize) -> bool {
        let count = self.backlog.len().min(most);
        match self.files.write(&self.backlog[..count]) {
            Ok(()) => {
                self.backlog.drain(..count);
                self.pending.fetch_sub(count, Ordering::Relaxed);
                self.failing = false;
                true
            }
            Err(error) => {
                if !self.failing {
                    warn!("cannot write the decided files, and will try again: {error}");
                }
                self.failing = true;
                false
            }
        }
    }
}
