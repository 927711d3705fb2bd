//! One socket with its read buffer and its deadlines. Bytes in, bytes out; nothing here knows HTTP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The size of an idle connection's buffer, in bytes. Most calls fit.
const BUFFER_BYTES: usize = 4 << 10;
/// How long a refused client is listened to after its refusal.
const LINGER: Duration = Duration::from_secs(1);
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

/// A blocking socket and what has been read from it but not yet used.
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    /// Initialised throughout; the unused bytes are `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What the socket was last told, since telling it costs a system call and the common case needs none.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
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
        let buffer = vec![0; BUFFER_BYTES];
        Ok(Self { stream, buffer, start: 0, end: 0, read_timeout: None, write_timeout: None })
    }

    /// What has arrived and is not used yet.
    pub(super) fn arrived(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
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
        if self.read_timeout != Some(timeout) {
            self.stream.set_read_timeout(Some(timeout.max(SHORTEST)))?;
            self.read_timeout = Some(timeout);
        }
        loop {
            match (&*self.stream).read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(Stop::End),
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
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
    pub(super) fn send(&mut self, mut bytes: &[u8], timeout: Duration) -> Result<(), Stop> {
        let deadline = deadline(timeout);
        let mut left = timeout;
        while !bytes.is_empty() {
            if self.write_timeout != Some(left) {
                self.stream.set_write_timeout(Some(left.max(SHORTEST)))?;
                self.write_timeout = Some(left);
            }
            match (&*self.stream).write(bytes) {
                Ok(0) => return Err(Stop::Broken(ErrorKind::WriteZero.into())),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if !bytes.is_empty() {
                // A peer that reads a byte now and then must not start the clock anew.
                left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Stop::Late);
                }
            }
        }
        Ok(())
    }

    /// Ends our side and reads into the void until the peer has ended its own, or for a second.
    ///
    /// If we closed at once, bytes still on their way would be answered by a reset, and the reset can make the peer's
    /// system throw away the refusal we have just sent.
    pub(super) fn linger(&mut self) {
        let deadline = deadline(LINGER);
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        loop {
            self.consume(self.end - self.start);
            if self.fill_until(deadline).is_err() {
                return;
            }
        }
    }
}
