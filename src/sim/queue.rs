//! What is going to happen, by time and then in the order in which it was arranged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of events. The heap holds small keys only, and the events stay where they are.
#[derive(Debug)]
pub(super) struct Queue<T> {
    keys: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<T>>,
    free: Vec<usize>,
    arranged: u64,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { keys: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), arranged: 0 }
    }

    pub(super) fn push(&mut self, time: u64, event: T) {
        self.arranged += 1;
        let slot = if let Some(slot) = self.free.pop() {
            self.events[slot] = Some(event);
            slot
        } else {
            self.events.push(Some(event));
            self.events.len() - 1
        };
        self.keys.push(Reverse((time, self.arranged, slot)));
    }

    /// The next event, and its time.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((time, _, slot)) = self.keys.pop()?;
        self.free.push(slot);
        self.events[slot].take().map(|event| (time, event))
    }
}
