//! One socket with its read buffer and its deadlines. Bytes in, bytes out; nothing here knows HTTP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bell::{Bell, Wait};
use super::tls::Session;

/// The size of an idle connection's buffer, in bytes. Most calls fit.
const BUFFER_BYTES: usize = 4 << 10;
/// How long a wait for a call is a plain read, which costs one system call but does not hear the bell. A client that
/// calls again within this time after the bell is still answered.
const WARM: Duration = Duration::from_millis(50);
/// How long a client is listened to after our last word.
const LINGER: Duration = Duration::from_secs(1);
/// The same when the door is closing: as long as a call may take to cross our last word on the way.
const LINGER_AT_CLOSING: Duration = Duration::from_millis(100);
/// How long a client may take to accept the end of a TLS session.
const FAREWELL: Duration = Duration::from_millis(100);
/// The shortest timeout a socket is given: zero would mean none at all.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest wait, for timeouts so large that a clock cannot hold them.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The moment `timeout` from now.
pub(super) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST)
}

/// Why no more bytes come or go.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// The peer has sent all it ever will.
    #[error("the peer has ended the connection")]
    End,
    /// The deadline has passed.
    #[error("the deadline has passed")]
    Late,
    /// The connection is broken.
    #[error("the connection is broken: {0}")]
    Broken(#[source] io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What a socket's timeout is called, depending on the system.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            _ => Self::Broken(error),
        }
    }
}

/// Why a wait for a call has ended without one.
#[derive(Debug)]
pub(super) enum Silence {
    /// The door is closing, and no byte of a call has come.
    Leave,
    /// The client was idle for too long.
    Idle,
    /// The client is gone.
    Gone,
}

/// A blocking socket, in the clear or with TLS, and what has been read from it but not yet used.
pub(super) struct Wire {
    socket: Socket,
    /// Boxed, so that a connection in the clear does not carry its size.
    session: Option<Box<Session>>,
    /// Initialised throughout; the unused bytes are `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    /// Takes over a fresh socket.
    ///
    /// # Errors
    ///
    /// The socket refuses the options, as it may if the peer is already gone.
    pub(super) fn open(stream: Arc<TcpStream>) -> io::Result<Self> {
        // Some systems let a new socket inherit this from its listener.
        stream.set_nonblocking(false)?;
        // Without this, a reply in two segments waits 40 ms for the peer's delayed acknowledgement.
        stream.set_nodelay(true)?;
        let socket = Socket { stream, read_timeout: None, write_timeout: None };
        Ok(Self { socket, session: None, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 })
    }

    /// Shakes hands, so that from now on all bytes go through `session`.
    pub(super) fn secure(&mut self, mut session: Session, timeout: Duration) -> Result<(), Stop> {
        session.shake_hands(&mut Timed::new(&mut self.socket, timeout))?;
        self.session = Some(Box::new(session));
        Ok(())
    }

    /// The socket, for whoever may send on it beside us: `None` if what is sent must pass through a session.
    pub(super) fn open_socket(&self) -> Option<&Arc<TcpStream>> {
        self.session.is_none().then_some(&self.socket.stream)
    }

    /// What has arrived and is not used yet.
    pub(super) fn arrived(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether anything can be read without waiting, if only the end.
    pub(super) fn has_more(&mut self, bell: &Bell) -> bool {
        !self.arrived().is_empty()
            || self.session.as_mut().is_some_and(|session| session.holds_more())
            || matches!(bell.wait(self.socket.stream.as_fd(), Duration::ZERO), Ok(Wait::Ready))
    }

    /// Marks the first `count` bytes of [`Wire::arrived`] as used.
    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives back what a large head made the buffer grow to.
    pub(super) fn shrink(&mut self) {
        if self.buffer.len() > BUFFER_BYTES && self.start == self.end {
            self.buffer = vec![0; BUFFER_BYTES];
        }
    }

    /// Waits for the first byte of a call, for as long as `timeout` or until `bell` rings. What has arrived when it
    /// rings is still taken.
    pub(super) fn wait_for_call(&mut self, timeout: Duration, bell: &Bell) -> Result<(), Silence> {
        let warm = timeout.min(WARM);
        match self.fill_within(warm) {
            Ok(()) => return Ok(()),
            Err(Stop::End | Stop::Broken(_)) => return Err(Silence::Gone),
            Err(Stop::Late) => {}
        }
        let end = deadline(timeout - warm);
        self.wait_for_bytes(end, bell)?;
        // A record of TLS may come in pieces, or hold nothing: then the wait was not over.
        self.fill_until(end).map_err(|stop| match stop {
            Stop::Late => Silence::Idle,
            Stop::End | Stop::Broken(_) => Silence::Gone,
        })
    }

    /// Waits until there is something to read, until `end` or until `bell` rings.
    pub(super) fn wait_for_bytes(&self, end: Instant, bell: &Bell) -> Result<(), Silence> {
        match bell.wait(self.socket.stream.as_fd(), end.saturating_duration_since(Instant::now())) {
            Ok(Wait::Ready) => Ok(()),
            Ok(Wait::Rung) => Err(Silence::Leave),
            Ok(Wait::Late) => Err(Silence::Idle),
            Err(error) => {
                log::warn!("door: cannot wait for a call: {error}");
                Err(Silence::Gone)
            }
        }
    }

    /// Waits for more bytes, at least one, for as long as `timeout`. If the buffer is full of unused bytes it doubles;
    /// whoever does not consume has to bound that.
    pub(super) fn fill_within(&mut self, timeout: Duration) -> Result<(), Stop> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = &mut self.buffer[self.end..];
        let count = match &mut self.session {
            None => self.socket.read(room, timeout)?,
            Some(session) => session.read(&mut Timed::new(&mut self.socket, timeout), room)?,
        };
        if count == 0 {
            return Err(Stop::End);
        }
        self.end += count;
        Ok(())
    }

    /// Waits for more bytes, at least one, until `deadline`.
    pub(super) fn fill_until(&mut self, deadline: Instant) -> Result<(), Stop> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Stop::Late);
        }
        self.fill_within(left)
    }

    /// Sends all of `bytes` within `timeout`, in one write if the socket has room.
    pub(super) fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), Stop> {
        let mut timed = Timed::new(&mut self.socket, timeout);
        match &mut self.session {
            None => Ok(timed.write_all(bytes)?),
            Some(session) => session.send(&mut timed, bytes),
        }
    }

    /// Ends our side and reads into the void until the peer has ended its own, or for a second.
    ///
    /// If we closed at once, bytes still on their way would be answered by a reset, and the reset can make the peer's
    /// system throw away what we have just sent.
    pub(super) fn linger(&mut self, bell: &Bell) {
        self.farewell();
        if self.socket.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        (self.start, self.end) = (0, 0);
        let mut end = deadline(LINGER);
        loop {
            match self.wait_for_bytes(end, bell) {
                Ok(()) => {}
                Err(Silence::Leave) => break,
                Err(Silence::Idle | Silence::Gone) => return,
            }
            if self.fill_until(end).is_err() {
                return;
            }
            self.end = 0;
        }
        end = end.min(deadline(LINGER_AT_CLOSING));
        while self.fill_until(end).is_ok() {
            self.end = 0;
        }
    }

    /// Tells the peer that the TLS session, if there is one, ends here and was not cut off.
    fn farewell(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.end(&mut Timed::new(&mut self.socket, FAREWELL));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.farewell();
    }
}

/// Sends all of `bytes` within `timeout`, for whoever does not own the [`Wire`] of this socket.
pub(super) fn send_all(stream: &Arc<TcpStream>, bytes: &[u8], timeout: Duration) -> Result<(), Stop> {
    let mut socket = Socket { stream: Arc::clone(stream), read_timeout: None, write_timeout: None };
    Timed::new(&mut socket, timeout).write_all(bytes)?;
    // What the owner believes to have set.
    Ok(stream.set_write_timeout(Some(timeout.clamp(SHORTEST, LONGEST)))?)
}

/// A socket, and what it was last told: telling it costs a system call, and the common case needs none.
struct Socket {
    stream: Arc<TcpStream>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Socket {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if self.read_timeout != Some(timeout) {
            self.stream.set_read_timeout(Some(timeout.clamp(SHORTEST, LONGEST)))?;
            self.read_timeout = Some(timeout);
        }
        loop {
            match (&*self.stream).read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        if self.write_timeout != Some(timeout) {
            self.stream.set_write_timeout(Some(timeout.clamp(SHORTEST, LONGEST)))?;
            self.write_timeout = Some(timeout);
        }
        (&*self.stream).write(bytes)
    }
}

/// A socket for one task, which may take many reads and writes, and as long as `timeout` for all of them: a peer that
/// sends or takes a byte now and then must not start the clock anew.
pub(super) struct Timed<'a> {
    socket: &'a mut Socket,
    /// For the first of them, which has all the time there is: a round number, which the socket may know already.
    timeout: Option<Duration>,
    deadline: Instant,
}

impl<'a> Timed<'a> {
    fn new(socket: &'a mut Socket, timeout: Duration) -> Self {
        Self { socket, timeout: Some(timeout), deadline: deadline(timeout) }
    }

    fn left(&mut self) -> io::Result<Duration> {
        let left = self.timeout.take().unwrap_or_else(|| self.deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        self.socket.read(buffer, left)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        self.socket.write(bytes, left)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
