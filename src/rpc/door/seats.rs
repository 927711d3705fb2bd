//! Who is inside: the connections, how many may be, and how they are asked to leave.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// How many connections above the cap are kept for a moment, so that they can read their 503. More are dropped.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// All connections of one door.
///
/// Invariant: a connection is in the table exactly as long as its [`Seat`] lives, and after [`Seats::drain`] none is
/// added.
pub(super) struct Seats {
    max_served: usize,
    table: Mutex<Table>,
    /// Notified when a seat becomes free.
    freed: Condvar,
    /// Written under the table's lock; read without it before each call.
    draining: AtomicBool,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    served: usize,
    turned_away: usize,
    taken: HashMap<u64, Taken>,
}

struct Taken {
    /// Shared with the connection's thread rather than cloned: a clone would cost every connection a second descriptor.
    stream: Arc<TcpStream>,
    busy: Arc<AtomicBool>,
    served: bool,
}

/// What becomes of a new connection.
pub(super) enum Admission {
    /// It is served.
    Served(Seat, Arc<TcpStream>),
    /// It is above the cap, and stays until it has read so.
    TurnedAway(Seat, Arc<TcpStream>),
    /// It is above the cap, and so many others are as well that it can be told at most in passing.
    Full(TcpStream),
    /// The door is closing; the connection is gone.
    Closed,
}

impl Seats {
    pub(super) fn new(max_served: usize) -> Self {
        Self { max_served, table: Mutex::default(), freed: Condvar::new(), draining: AtomicBool::new(false) }
    }

    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream) -> Admission {
        let mut table = self.table.lock();
        if self.draining() {
            return Admission::Closed;
        }
        let served = table.served < self.max_served;
        if served {
            table.served += 1;
        } else if table.turned_away < TURNED_AWAY_AT_ONCE {
            table.turned_away += 1;
        } else {
            return Admission::Full(stream);
        }
        let id = table.next_id;
        table.next_id += 1;
        let (stream, busy) = (Arc::new(stream), Arc::new(AtomicBool::new(false)));
        table.taken.insert(id, Taken { stream: Arc::clone(&stream), busy: Arc::clone(&busy), served });
        let seat = Seat { seats: Arc::clone(self), id, busy };
        if served { Admission::Served(seat, stream) } else { Admission::TurnedAway(seat, stream) }
    }

    pub(super) fn served(&self) -> usize {
        self.table.lock().served
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Lets nobody in any more, and shuts down those that are between calls.
    pub(super) fn drain(&self) {
        let table = self.table.lock();
        self.draining.store(true, Ordering::SeqCst);
        for taken in table.taken.values().filter(|taken| !taken.busy.load(Ordering::SeqCst)) {
            // It fails if the client is gone already, which is as good.
            let _ = taken.stream.shutdown(Shutdown::Both);
        }
    }

    /// Shuts down all that are left, busy or not.
    pub(super) fn shut_all(&self) {
        for taken in self.table.lock().taken.values() {
            // As above.
            let _ = taken.stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits until nobody is inside; `false` if somebody still is at `end`.
    pub(super) fn wait_until_empty(&self, end: Instant) -> bool {
        let mut table = self.table.lock();
        while !table.taken.is_empty() {
            if self.freed.wait_until(&mut table, end).timed_out() {
                return table.taken.is_empty();
            }
        }
        true
    }
}

/// The place of one connection; dropping it frees the place.
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: u64,
    busy: Arc<AtomicBool>,
}

impl Seat {
    /// The number of the connection since the door was opened, for the log.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn draining(&self) -> bool {
        self.seats.draining()
    }

    /// Marks a call as in flight; `false` if the door is closing and the call came too late.
    ///
    /// Either we see `draining` here, or [`Seats::drain`] sees `busy` there: each side writes its own flag before it
    /// reads the other's, and both are sequentially consistent.
    pub(super) fn begin(&self) -> bool {
        self.busy.store(true, Ordering::SeqCst);
        !self.draining()
    }

    /// Marks the call as done; `false` if the door is closing.
    pub(super) fn end(&self) -> bool {
        self.busy.store(false, Ordering::SeqCst);
        !self.draining()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.seats.table.lock();
        if let Some(taken) = table.taken.remove(&self.id) {
            if taken.served {
                table.served -= 1;
            } else {
                table.turned_away -= 1;
            }
        }
        self.seats.freed.notify_all();
    }
}
