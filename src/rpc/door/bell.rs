//! The bell that calls everybody out when the door closes.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A flag that a thread can wait for together with a socket.
///
/// It is a pipe that nothing is ever written to: to ring is to close the writing end, which wakes everyone who waits at
/// the reading end, now and later. Shutting down the sockets would wake their readers as well, but a socket whose
/// reading side was shut answers with a reset what still comes in after our last word.
pub(super) struct Bell {
    rung: AtomicBool,
    hearing: PipeReader,
    rope: Mutex<Option<PipeWriter>>,
}

/// How a wait has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// There is something to read, be it the end or an error. It goes before the bell.
    Ready,
    /// The bell rings.
    Rung,
    /// Neither came in time.
    Late,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (hearing, rope) = io::pipe()?;
        Ok(Self { rung: AtomicBool::new(false), hearing, rope: Mutex::new(Some(rope)) })
    }

    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        *self.rope.lock() = None;
    }

    pub(super) fn rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// Waits until `socket` can be read from (or accepted from), the bell rings, or `timeout` has passed.
    pub(super) fn wait(&self, socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<Wait> {
        // Too large for the clock or for the system is as good as for ever.
        let end = Instant::now().checked_add(timeout);
        let mut both = [
            PollFd::from_borrowed_fd(socket, PollFlags::IN),
            PollFd::from_borrowed_fd(self.hearing.as_fd(), PollFlags::IN),
        ];
        loop {
            let left = end.and_then(|end| Timespec::try_from(end.saturating_duration_since(Instant::now())).ok());
            match poll(&mut both, left.as_ref()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if !both[0].revents().is_empty() => return Ok(Wait::Ready),
                Ok(0) => return Ok(Wait::Late),
                Ok(_) => return Ok(Wait::Rung),
            }
        }
    }
}
