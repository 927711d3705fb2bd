//! What the tests share.

pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod nodes;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod shell;

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: far longer than it takes, also on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(3);

/// Looks until something is there.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(POLL);
    }
}

/// Looks until something is so.
#[track_caller]
pub(crate) fn until_so(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()));
}
