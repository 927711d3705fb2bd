//! Where clients' calls wait while the driver has no use for them.
//!
//! A command that comes while the leader's last batch is under way can only wait for the next one, and a read that comes
//! while the leader asks whether it still leads only for the next round. A turn of the driver for each would cost more
//! than all the rest of the call. So they lie here, and the driver hears of the first of them only when it listens: it
//! takes all that came at once, when its hands are free, and at every tick in any case.

use parking_lot::Mutex;

use super::input::Input;

/// Calls of one kind that wait.
#[derive(Default)]
pub(crate) struct Lane {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Input>,
    /// Whether the driver is to be woken by the next call.
    listening: bool,
    /// Whether the driver has ended: nothing waits any more.
    closed: bool,
}

impl Lane {
    /// Lets a call wait, and says whether the driver is to hear of it. When the driver has ended, the call is dropped, and
    /// with it the sender for its answer: whoever waits hears that.
    #[must_use]
    pub(super) fn push(&self, input: Input) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.waiting.push(input);
        std::mem::take(&mut state.listening)
    }

    /// Moves all that waits behind what is in `batch`.
    pub(super) fn take(&self, batch: &mut impl Extend<Input>) {
        batch.extend(self.state.lock().waiting.drain(..));
    }

    /// From here on the driver is to hear of the next call. `false` if there is one already.
    pub(super) fn listen(&self) -> bool {
        let mut state = self.state.lock();
        state.listening = state.waiting.is_empty();
        state.listening
    }

    /// The driver has ended.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
    }
}

/// All that waits, by what it waits for.
#[derive(Default)]
pub(crate) struct Intake {
    /// Commands, while a batch of the leader's is under way.
    pub(super) commands: Lane,
    /// Reads, while a round of confirmations is.
    pub(super) reads: Lane,
}

impl Intake {
    pub(super) fn close(&self) {
        self.commands.close();
        self.reads.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, sync_channel};

    use super::*;

    fn call() -> (Input, std::sync::mpsc::Receiver<()>) {
        let (reply, answer) = sync_channel(1);
        (Input::Elect { reply }, answer)
    }

    #[test]
    fn only_the_first_call_wakes_a_driver_that_listens() {
        let lane = Lane::default();
        assert!(!lane.push(call().0), "nobody listens yet");
        assert!(!lane.listen(), "one waits already");
        let mut batch = Vec::new();
        lane.take(&mut batch);
        assert_eq!(batch.len(), 1);
        assert!(lane.listen());
        assert!(lane.push(call().0));
        assert!(!lane.push(call().0));
    }

    #[test]
    fn whoever_waits_hears_that_the_driver_has_ended() {
        let lane = Lane::default();
        let (before, answer_before) = call();
        assert!(!lane.push(before));
        lane.close();
        let (after, answer_after) = call();
        assert!(!lane.push(after));
        assert_eq!(answer_before.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(answer_after.try_recv(), Err(TryRecvError::Disconnected));
    }
}
