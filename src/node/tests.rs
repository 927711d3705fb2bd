//! The driver of a node that is alone, with a store that fails when it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::NodeError;
use super::driver::Driver;
use super::encoder::Encoder;
use super::inbox::Inbox;
use super::input::{Input, Wish};
use super::intake::Intake;
use super::scribe::Scribe;
use crate::lab::trace::ring::Ring;
use crate::protocol::Record;
use crate::protocol::durable::Durable;
use crate::protocol::host::{self, Host};
use crate::protocol::log::memory::Record as LogRecord;
use crate::protocol::quorum::Members;
use crate::protocol::strong::{self, Failure, Strong};
use crate::protocol::types::{Instance, NodeId, Value};
use crate::rpc::client::Calling;
use crate::rpc::peers::Peers;
use crate::service::command::{Action, Command};
use crate::service::reply::Reply;
use crate::store::decided_files::DecidedFiles;
use crate::store::memory::Memory;
use crate::store::{Decision, Store, StoreError};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Works,
    HasNoRoom,
    Fails,
}

struct Fickle {
    memory: Memory,
    mode: Arc<Mutex<Mode>>,
    /// Whether a write was refused for want of room, and there has been none since.
    is_short: bool,
}

impl Store for Fickle {
    fn load(&mut self) -> Result<Durable, StoreError> {
        self.memory.load()
    }

    fn write(&mut self, records: &[Record], at: &str, sync: bool) -> Result<(), StoreError> {
        match *self.mode.lock() {
            Mode::Works => self.memory.write(records, at, sync),
            Mode::HasNoRoom => {
                self.is_short = true;
                Err(StoreError::NoRoom { file: "node.db".into(), why: "no space left".to_owned() })
            }
            Mode::Fails => {
                let (path, source) = ("node.db".into(), std::io::Error::other("the sync failed"));
                Err(StoreError::Io { path, source })
            }
        }
    }

    fn decisions(&mut self) -> Result<Vec<Decision>, StoreError> {
        self.memory.decisions()
    }

    fn is_short(&self) -> bool {
        self.is_short
    }

    fn find_room(&mut self) -> Result<bool, StoreError> {
        self.is_short = *self.mode.lock() == Mode::HasNoRoom;
        Ok(!self.is_short)
    }
}

/// A node alone, which leads.
struct Alone {
    mode: Arc<Mutex<Mode>>,
    inbox: Arc<Inbox>,
    intake: Arc<Intake>,
    thread: JoinHandle<Result<(), NodeError>>,
    _dir: TempDir,
}

impl Alone {
    fn start() -> Self {
        let (id, dir) = (NodeId::new(8000).unwrap(), TempDir::new().unwrap());
        let mode = Arc::new(Mutex::new(Mode::Works));
        let mut store = Fickle { memory: Memory::default(), mode: mode.clone(), is_short: false };
        store.write(&[Record::Log(LogRecord::Prove)], "", true).unwrap();
        let options = host::Options { strong: Some(strong::Options::default()), ..host::Options::default() };
        let host = Host::new(id, Members::new([id]).unwrap(), options, store.load().unwrap(), 1);
        let inbox = Arc::new(Inbox::default());
        let ring = Arc::new(Ring::new(false));
        let peers = Peers::start(id, &BTreeMap::new(), &Calling::plain(PATIENCE), inbox.clone(), (1, ring.clone()));
        let scribe = Scribe::start(DecidedFiles::open(dir.path()).unwrap(), "scribe".to_owned()).unwrap();
        let intake = Arc::new(Intake::default());
        let helpers = (scribe, Encoder::new(id, inbox.clone()));
        let ways = (intake.clone(), Arc::new(peers.unwrap()));
        let driver = Driver::new(host, Box::new(store), ways, helpers, (1, ring));
        let drives = inbox.clone();
        let alone = Self { mode, inbox, intake, thread: thread::spawn(move || drives.run(driver)), _dir: dir };
        until("it to lead", || alone.look(|strong| strong.log().leads().is_some()).recv().unwrap());
        alone
    }

    /// Looks at the state that is here.
    fn look<T: Send + 'static>(&self, look: impl FnOnce(&Strong) -> T + Send + 'static) -> Receiver<T> {
        let (reply, answer) = sync_channel(1);
        let query = Box::new(move |strong: Result<&Strong, Failure>| _ = reply.send(look(strong.unwrap())));
        self.inbox.send(Input::Query { query, deadline_ticks: None }).unwrap();
        answer
    }

    /// Holds the driver until something is sent, so that what comes meanwhile is in one batch.
    fn hold(&self) -> Sender<()> {
        let ((open, gate), (entered, entrance)) = (channel::<()>(), channel());
        let query = Box::new(move |_: Result<&Strong, Failure>| {
            _ = entered.send(());
            _ = gate.recv();
        });
        let inbox = self.inbox.clone();
        thread::spawn(move || inbox.send(Input::Query { query, deadline_ticks: None }));
        entrance.recv().unwrap();
        open
    }

    fn wake(&self, wanted: bool) {
        if wanted {
            self.inbox.send(Input::Waiting).unwrap();
        }
    }

    fn has_key(&self) -> Receiver<bool> {
        self.look(|strong| strong.services().kv_get("k").is_some())
    }

    fn put(&self) -> Receiver<Result<Reply, Failure>> {
        let (reply, answer) = sync_channel(1);
        let action = Action::KvPut { key: "k", value: "<int>1</int>", fence: None };
        let command = Command { request: None, time_ms: 0, author: 1, action }.encode();
        let reply = Box::new(move |result| _ = reply.send(result));
        self.wake(self.intake.commands.push(Input::Command { command, keyed: false, deadline_ticks: 500, reply }));
        answer
    }

    fn read(&self) -> Result<(), Failure> {
        let (reply, answer) = sync_channel(1);
        let query = Box::new(move |strong: Result<&Strong, Failure>| _ = reply.send(strong.map(|_| ())));
        self.wake(self.intake.reads.push(Input::Query { query, deadline_ticks: Some(500) }));
        answer.recv().unwrap()
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
    }
}

#[test]
fn a_look_sees_nothing_that_is_not_saved() {
    let alone = Alone::start();
    let open = alone.hold();
    let (read, put) = (alone.has_key(), alone.put());
    *alone.mode.lock() = Mode::Fails;
    open.send(()).unwrap();
    assert!(alone.thread.join().unwrap().is_err());
    assert_eq!(put.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "nothing was saved");
    assert_ne!(read.recv_timeout(PATIENCE), Ok(true), "it was seen, and is not there");
}

#[test]
fn whoever_brings_an_input_drives() {
    let alone = Alone::start();
    let me = thread::current().id();
    // Unless its own thread drives at this moment, because time passes.
    until("a turn in this thread", || alone.look(|_| thread::current().id()).recv().unwrap() == me);
    alone.inbox.send(Input::Stop).unwrap();
    alone.thread.join().unwrap().unwrap();
    assert!(alone.inbox.send(Input::Waiting).is_err());
}

#[test]
fn what_is_brought_together_is_done_in_one_turn() {
    let alone = Alone::start();
    let batches = || {
        let (reply, status) = sync_channel(1);
        alone.inbox.send(Input::Status { from: None, limit: 0, reply }).unwrap();
        status.recv_timeout(PATIENCE).unwrap().counters.batches
    };
    // A tick may come in between, and take what is there already.
    until("twenty puts in one batch", || {
        let before = batches();
        let answers = alone.inbox.together(|| [(); 20].map(|()| alone.put()));
        answers.into_iter().for_each(|answer| drop(answer.recv_timeout(PATIENCE).unwrap().unwrap()));
        batches() == before + 1
    });
    alone.inbox.send(Input::Stop).unwrap();
    alone.thread.join().unwrap().unwrap();
}

#[test]
fn what_comes_while_somebody_drives_is_done_all_the_same() {
    let alone = Alone::start();
    let open = alone.hold();
    let answers: Vec<_> = (0..3000).map(|number| alone.look(move |_| number)).collect();
    open.send(()).unwrap();
    // More than one turn takes, and nobody brings anything after it.
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.recv_timeout(PATIENCE), Ok(number));
    }
    alone.inbox.send(Input::Stop).unwrap();
    alone.thread.join().unwrap().unwrap();
}

#[test]
fn a_driver_that_panics_ends_wherever_it_does() {
    let alone = Alone::start();
    let open = alone.hold();
    let put = alone.put();
    drop(alone.look(|_| panic!("on purpose")));
    open.send(()).unwrap();
    assert!(matches!(alone.thread.join().unwrap(), Err(NodeError::Panicked)));
    assert_eq!(put.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    assert!(alone.inbox.send(Input::Waiting).is_err());
}

#[test]
fn a_file_is_counted_as_soon_as_its_decision_is_seen() {
    let alone = Alone::start();
    let open = alone.hold();
    let (reply, _outcome) = sync_channel(1);
    let (instance, value) = (Instance::default(), Value::new("<int>5</int>"));
    let wish = Wish { instance, value, deadline_ticks: 500, impatient: 0, ballot_ticks: None };
    alone.inbox.send(Input::Propose { wish, reply }).unwrap();
    let (reply, status) = sync_channel(1);
    alone.inbox.send(Input::Status { from: None, limit: 9, reply }).unwrap();
    open.send(()).unwrap();
    let seen = status.recv_timeout(PATIENCE).unwrap();
    assert_eq!((seen.decided_total, seen.files_pending), (1, 1), "decided in this batch, and not written yet");
    alone.inbox.send(Input::Stop).unwrap();
    alone.thread.join().unwrap().unwrap();
}

#[test]
fn what_cannot_be_saved_is_refused_for_certain_until_there_is_room() {
    let alone = Alone::start();
    let node = NodeId::new(8000).unwrap();
    *alone.mode.lock() = Mode::HasNoRoom;
    for _ in 0..3 {
        assert_eq!(alone.put().recv().unwrap(), Err(Failure::NoRoom { node }));
        assert!(!alone.has_key().recv().unwrap());
    }
    *alone.mode.lock() = Mode::Works;
    until("room to be found", || alone.put().recv().unwrap().is_ok());
    assert!(alone.has_key().recv().unwrap());
    // When the save fails before anybody has looked for room, and with more in the batch.
    let open = alone.hold();
    let puts = [alone.put(), alone.put()];
    let seen = alone.look(|strong| strong.services().kv_get("k").map(|entry| entry.version));
    *alone.mode.lock() = Mode::HasNoRoom;
    open.send(()).unwrap();
    for put in puts {
        assert_eq!(put.recv().unwrap(), Err(Failure::NoRoom { node }));
    }
    let before = alone.look(|strong| strong.services().kv_get("k").map(|entry| entry.version)).recv().unwrap();
    assert_eq!(seen.recv().unwrap(), before, "the state that is on disk");
    assert_eq!(alone.read(), Err(Failure::NoRoom { node }));
    *alone.mode.lock() = Mode::Works;
    until("room to be found", || alone.put().recv().unwrap().is_ok());
    alone.inbox.send(Input::Stop).unwrap();
    alone.thread.join().unwrap().unwrap();
}
