//! Folds the log of writes back into the database while the store goes on writing.
//!
//! To fold takes tens of milliseconds: a node that did nothing else meanwhile would be late for whoever waits for it. So
//! a thread with a connection of its own folds what there is. What was written meanwhile is little, and the store folds
//! that itself; only then can the log be begun anew.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

type Folded = rusqlite::Result<()>;

/// The thread, and what it does.
#[derive(Debug)]
pub(super) struct Folder {
    /// Empty once the thread is to end.
    orders: Option<SyncSender<()>>,
    folded: Receiver<Folded>,
    thread: Option<JoinHandle<()>>,
    /// Whether an order is under way, or its outcome was not taken yet.
    is_busy: bool,
    outcome: Option<Folded>,
}

impl Folder {
    /// Opens another connection to this database.
    pub(super) fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        // The store closes its connection later, and folds then.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let (orders, ordered) = sync_channel(1);
        let (tell, folded) = sync_channel(1);
        let run = move || {
            while ordered.recv().is_ok() {
                let outcome = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                if tell.send(outcome).is_err() {
                    break;
                }
            }
        };
        // Without a thread the store folds everything itself.
        let thread = thread::Builder::new().name("folder".to_owned()).spawn(run).ok();
        Ok(Self { orders: Some(orders), folded, thread, is_busy: false, outcome: None })
    }

    /// Begins to fold. `false` if it cannot, or has not taken the last outcome yet.
    pub(super) fn begin(&mut self) -> bool {
        let begins = !self.is_busy && self.orders.as_ref().is_some_and(|orders| orders.send(()).is_ok());
        self.is_busy |= begins;
        begins
    }

    /// Whether it has folded, and nobody has taken the outcome.
    pub(super) fn has_ended(&mut self) -> bool {
        if self.is_busy && self.outcome.is_none() {
            self.outcome = self.folded.try_recv().ok();
        }
        self.outcome.is_some()
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Waits until nothing is under way, and takes the outcome.
    pub(super) fn finish(&mut self) -> Folded {
        if !std::mem::take(&mut self.is_busy) {
            return Ok(());
        }
        // A thread that panicked has folded nothing that counts: the store does it again.
        self.outcome.take().or_else(|| self.folded.recv().ok()).unwrap_or(Ok(()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}
