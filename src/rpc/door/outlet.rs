//! Replies that come after the service has returned.
//!
//! A service that has handed a call on need not keep the connection's thread waiting for what comes back: it takes a
//! [`Promise`], returns what goes with it, and whoever has the answer keeps the promise, which sends it. The connection's
//! thread waits for the client's next call meanwhile, and so is woken once a call instead of twice: with hundreds of
//! clients that was a tenth of all that a call cost.
//!
//! One reply is owed at most: a connection reads the next call only when the reply to the last is out. Whoever keeps a
//! promise never waits for the client: what the socket does not take at once, and what is to be compressed, is sent by a
//! thread of its own.

use std::io;
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tiny_http::HTTPVersion;

use super::reply::Reply;
use super::seats::{Seat, Seats};
use super::{gzip, wire};

/// Where a connection's replies go that are promised.
pub(super) struct Outlet {
    stream: Arc<TcpStream>,
    seats: Arc<Seats>,
    write_deadline: Duration,
    debt: Mutex<Debt>,
    /// Notified when a reply is owed no more.
    paid: Condvar,
}

/// What becomes of the reply that a connection owes.
pub(super) enum Debt {
    /// None is owed.
    Nothing,
    /// One is, and somebody has the promise. If it comes late, is it to be compressed?
    Owed { gzip: bool },
    /// It is here, and left to the connection's thread: the door is closing, and this may be its last word.
    Here(Reply),
    /// It was sent.
    Sent,
    /// It was not taken: the connection is over.
    Broken,
}

/// The duty to reply to one call. Dropped, it is kept with an internal error.
#[must_use]
pub struct Promise {
    /// `None` once it is kept.
    outlet: Option<Arc<Outlet>>,
}

impl Outlet {
    pub(super) fn new(stream: Arc<TcpStream>, seat: &Seat, write_deadline: Duration) -> Self {
        let (debt, paid) = (Mutex::new(Debt::Nothing), Condvar::new());
        Self { stream, seats: seat.seats(), write_deadline, debt, paid }
    }

    /// Owes a reply from now on.
    pub(super) fn promise(self: &Arc<Self>, gzip: bool) -> Promise {
        *self.debt.lock() = Debt::Owed { gzip };
        Promise { outlet: Some(Arc::clone(self)) }
    }

    /// Waits until no reply is owed, and says what became of it. Asked again, it says that nothing was owed.
    pub(super) fn settle(&self) -> Debt {
        let mut debt = self.debt.lock();
        self.paid.wait_while(&mut debt, |debt| matches!(debt, Debt::Owed { .. }));
        mem::replace(&mut debt, Debt::Nothing)
    }

    fn pay(&self, debt: Debt) {
        if matches!(debt, Debt::Broken) {
            // Whoever reads there is to hear of it.
            _ = self.stream.shutdown(Shutdown::Both);
        }
        *self.debt.lock() = debt;
        self.paid.notify_one();
    }

    fn reply(self: Arc<Self>, mut reply: Reply) {
        if self.seats.bell().rung() {
            return self.pay(Debt::Here(reply));
        }
        let gzip = matches!(*self.debt.lock(), Debt::Owed { gzip } if gzip);
        if gzip && reply.body.len() > gzip::WORTHWHILE_BYTES {
            return self.in_a_thread(move || {
                reply.suit(|| true);
                printed(reply)
            });
        }
        reply.suit(|| false);
        let mut bytes = printed(reply);
        match send_now(&self.stream, &bytes) {
            Ok(sent) if sent == bytes.len() => self.pay(Debt::Sent),
            Ok(sent) => {
                bytes.drain(..sent);
                self.in_a_thread(move || bytes);
            }
            Err(error) => {
                log::debug!("door: a client did not take its reply: {error}");
                self.pay(Debt::Broken);
            }
        }
    }

    /// Sends, in a thread of its own, what may take a while to make or to be taken.
    fn in_a_thread(self: Arc<Self>, bytes: impl FnOnce() -> Vec<u8> + Send + 'static) {
        let outlet = Arc::clone(&self);
        let run = move || {
            let sent = wire::send_all(&outlet.stream, &bytes(), outlet.write_deadline);
            outlet.pay(if sent.is_ok() { Debt::Sent } else { Debt::Broken });
        };
        if let Err(error) = thread::Builder::new().name("door-rest".to_owned()).spawn(run) {
            log::warn!("door: a reply is lost, because no thread can be started: {error}");
            self.pay(Debt::Broken);
        }
    }
}

impl Promise {
    /// Replies. It does not wait for the client.
    pub fn keep(mut self, reply: Reply) {
        if let Some(outlet) = self.outlet.take() {
            outlet.reply(reply);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(outlet) = self.outlet.take() {
            log::error!("door: a call was left without a reply; this is a bug");
            outlet.reply(Reply::text(500_u16, "internal error: the call was left without a reply\n"));
        }
    }
}

fn printed(reply: Reply) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    reply.print(HTTPVersion(1, 1), None, true, &mut bytes);
    bytes
}

/// How much of it the socket takes at once.
pub(in crate::rpc) fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            sent => return Ok(sent?),
        }
    }
}
