//! The plain TCP transport under ureq, with fewer system calls than its own.
//!
//! ureq asks the system before every call whether a pooled connection is still open, with three calls, sets the socket's
//! timeouts anew at each phase, because the time that is left has changed by microseconds, and writes head and body
//! apart. On one machine that was most of the cost of a call. Here one call looks whether a connection
//! is open, timeouts are set in coarse steps, and a request leaves in one write, when its answer is first waited for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// Timeouts are rounded up to multiples of this.
const STEP: Duration = Duration::from_millis(250);
/// What is not yet sent is sent at the latest when it is so long.
const MAX_PENDING: usize = 256 << 10;

/// Opens [`Plain`] connections.
#[derive(Debug)]
pub(super) struct PlainConnector;

impl Connector for PlainConnector {
    type Out = Plain;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Plain>, Error> {
        let timeout = rounded(details.timeout).unwrap_or(Duration::from_secs(1));
        let mut last = Error::HostNotFound;
        for address in &details.addrs {
            match open(address, timeout) {
                Ok(stream) => return Ok(Some(Plain::new(stream, details))),
                Err(error) if error.kind() == ErrorKind::TimedOut => last = Error::Timeout(details.timeout.reason),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// Connects, for small messages that are to leave at once.
pub(super) fn open(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, timeout)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection.
#[derive(Debug)]
pub(super) struct Plain {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// What ureq has handed over and is not sent yet.
    pending: Vec<u8>,
    /// Whether any byte of the present answer has come.
    answering: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Plain {
    fn new(stream: TcpStream, details: &ConnectionDetails<'_>) -> Self {
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Self { stream, buffers, pending: Vec::new(), answering: false, read_timeout: None, write_timeout: None }
    }

    fn send(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        let wanted = rounded(timeout);
        if wanted != self.write_timeout {
            self.stream.set_write_timeout(wanted)?;
            self.write_timeout = wanted;
        }
        let sent = self.stream.write_all(&self.pending);
        self.pending.clear();
        sent.map_err(|error| late_or(error, timeout))
    }
}

impl Transport for Plain {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let Self { pending, buffers, .. } = self;
        pending.extend_from_slice(&buffers.output()[..amount]);
        self.answering = false;
        if self.pending.len() > MAX_PENDING { self.send(timeout) } else { Ok(()) }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !self.pending.is_empty() {
            self.send(timeout)?;
        }
        let wanted = rounded(timeout);
        if wanted != self.read_timeout {
            self.stream.set_read_timeout(wanted)?;
            self.read_timeout = wanted;
        }
        let count = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(late_or(error, timeout)),
                Ok(count) => break count,
            }
        };
        if count == 0 && !self.answering {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed before any answer").into());
        }
        self.answering |= count > 0;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// One look, without waiting: an open connection has nothing to say between two calls.
    fn is_open(&mut self) -> bool {
        let peeked = recv(&self.stream, &mut [0_u8][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(Errno::AGAIN))
    }
}

/// The time that is left, rounded up; `None` for ever.
fn rounded(timeout: NextTimeout) -> Option<Duration> {
    let left: Duration = *timeout.not_zero()?;
    let steps = u32::try_from(left.as_millis().div_ceil(STEP.as_millis())).ok()?;
    Some(STEP * steps.max(1))
}

fn late_or(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}
