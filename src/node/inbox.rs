//! The way to the driver: whoever brings an input drives.
//!
//! To hand an input to another thread, which then hands the answer to a third, costs more than most of what the driver
//! does with it. So the driver belongs to no thread. Who brings an input and finds the driver free does its turn; who
//! finds it taken leaves the input there, and whoever has the driver looks again after letting go of it. That is flat
//! combining (Hendler, Incze, Shavit, Tzafrir, "Flat combining and the synchronization-parallelism tradeoff", 2010).
//!
//! The driver's own thread does what nobody else does: it lets time pass, and when there is more to do than others should
//! be kept with, it takes over, for as long as there is something to do.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};

use parking_lot::{Condvar, Mutex};

use super::NodeError;
use super::driver::{After, Driver};
use super::input::Input;

/// Inputs taken into one turn at most, so that the first does not wait for ever.
const MAX_BATCH: usize = 1024;
/// How many turns are done by who brings an input: one for the input, and one for what came meanwhile.
const TURNS: usize = 2;

thread_local! {
    /// Whether this thread brings several inputs together.
    static TOGETHER: Cell<bool> = const { Cell::new(false) };
}

/// Inputs, and the driver that they are for.
#[derive(Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// Notified when the driver's own thread is to take over, or to end.
    summons: Condvar,
    /// The driver; `None` before it begins and after it has ended. Only its own thread waits for this lock.
    driver: Mutex<Option<Box<Driver>>>,
}

#[derive(Default)]
struct Queue {
    inputs: VecDeque<Input>,
    summoned: bool,
    /// Whether the driver has ended: no input is taken any more.
    closed: bool,
    /// How it has ended, until its own thread has said so.
    outcome: Option<Result<(), NodeError>>,
}

/// The driver has ended. The input was dropped, and with it the sender for its answer: whoever waits hears of that.
#[derive(Debug)]
pub(crate) struct Ended;

impl Inbox {
    /// Leaves an input for the driver, and drives if nobody does.
    pub(crate) fn send(&self, input: Input) -> Result<(), Ended> {
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Err(Ended);
            }
            queue.inputs.push_back(input);
        }
        if !TOGETHER.get() {
            self.drive();
        }
        Ok(())
    }

    /// Brings several inputs for one turn: this thread drives when all of them are there.
    pub(crate) fn together<T>(&self, bring: impl FnOnce() -> T) -> T {
        struct Apart;
        impl Drop for Apart {
            fn drop(&mut self) {
                TOGETHER.set(false);
            }
        }
        TOGETHER.set(true);
        let apart = Apart;
        let brought = bring();
        drop(apart);
        self.drive();
        brought
    }

    /// Drives, if nobody does.
    fn drive(&self) {
        for _ in 0..TURNS {
            // Whoever has it looks once more after letting go of it, and finds the input.
            let Some(mut driver) = self.driver.try_lock() else { return };
            let after = self.turn(&mut driver);
            drop(driver);
            if after != Some(After::More) && self.queue.lock().inputs.is_empty() {
                return;
            }
        }
        self.queue.lock().summoned = true;
        self.summons.notify_one();
    }

    /// Drives, in the driver's own thread, until [`Input::Stop`], or until the store fails.
    pub(super) fn run(&self, mut driver: Driver) -> Result<(), NodeError> {
        driver.begin();
        *self.driver.lock() = Some(Box::new(driver));
        loop {
            let next_tick = {
                let mut driver = self.driver.lock();
                while self.turn(&mut driver) == Some(After::More) {}
                driver.as_ref().map(|driver| driver.next_tick())
            };
            let mut queue = self.queue.lock();
            let Some(next_tick) = next_tick else { return queue.outcome.take().unwrap_or(Err(NodeError::Panicked)) };
            while queue.inputs.is_empty() && !queue.summoned {
                if self.summons.wait_until(&mut queue, next_tick).timed_out() {
                    break;
                }
            }
            queue.summoned = false;
        }
    }

    /// One turn of the driver that is taken; nothing if there is none.
    fn turn(&self, taken: &mut Option<Box<Driver>>) -> Option<After> {
        let mut driver = taken.take()?;
        let batch = self.batch();
        // Unwind safe: a driver that panicked is dropped.
        let outcome = match panic::catch_unwind(AssertUnwindSafe(|| driver.turn(batch))) {
            Ok(Ok(After::Stop)) => Ok(()),
            Ok(Ok(after)) => {
                *taken = Some(driver);
                return Some(after);
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(NodeError::Panicked),
        };
        let left = {
            let mut queue = self.queue.lock();
            (queue.closed, queue.summoned, queue.outcome) = (true, true, Some(outcome));
            std::mem::take(&mut queue.inputs)
        };
        drop((left, driver));
        self.summons.notify_one();
        None
    }

    /// Takes an input: the driver's part, where there is none.
    #[cfg(test)]
    pub(crate) fn take_one(&self) -> Option<Input> {
        self.queue.lock().inputs.pop_front()
    }

    fn batch(&self) -> VecDeque<Input> {
        let inputs = &mut self.queue.lock().inputs;
        let rest = if inputs.len() > MAX_BATCH { inputs.split_off(MAX_BATCH) } else { VecDeque::new() };
        std::mem::replace(inputs, rest)
    }
}
