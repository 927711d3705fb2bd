//! Who is inside: the connections, how many may be, and how they are asked to leave.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::bell::Bell;

/// How many connections above the cap are kept for a moment, so that they can read their 503. More are dropped.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// All connections of one door.
///
/// Invariant: a connection is in the table exactly as long as its [`Seat`] lives.
pub(super) struct Seats {
    max_served: usize,
    table: Mutex<Table>,
    /// Notified when a seat becomes free.
    freed: Condvar,
    bell: Bell,
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
}

impl Seats {
    pub(super) fn new(max_served: usize) -> io::Result<Self> {
        Ok(Self { max_served, table: Mutex::default(), freed: Condvar::new(), bell: Bell::new()? })
    }

    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream) -> Admission {
        let mut table = self.table.lock();
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
        let stream = Arc::new(stream);
        table.taken.insert(id, Taken { stream: Arc::clone(&stream), served });
        let seat = Seat { seats: Arc::clone(self), id };
        if served { Admission::Served(seat, stream) } else { Admission::TurnedAway(seat, stream) }
    }

    pub(super) fn served(&self) -> usize {
        self.table.lock().served
    }

    /// What tells everybody to leave.
    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Shuts down all that are left, whatever they are doing.
    pub(super) fn shut_all(&self) {
        for taken in self.table.lock().taken.values() {
            // It fails if the client is gone already, which is as good.
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
}

impl Seat {
    /// The number of the connection since the door was opened, for the log.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// What tells the connection to leave.
    pub(super) fn bell(&self) -> &Bell {
        &self.seats.bell
    }

    /// All connections of the door, for whoever may outlive this one.
    pub(super) fn seats(&self) -> Arc<Seats> {
        Arc::clone(&self.seats)
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
