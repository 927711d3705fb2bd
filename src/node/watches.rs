//! Calls that wait for something to change.

use std::mem;

use super::input::Watch;
use crate::protocol::host::Host;

/// Those who wait.
#[derive(Default)]
pub(super) struct Watches {
    /// With the tick at which each is asked for the last time.
    waiting: Vec<(u64, Watch)>,
    has_new: bool,
    /// The number of the last change of the eventual board that they were told of.
    board_changes: u64,
}

impl Watches {
    pub(super) fn add(&mut self, last_tick: u64, watch: Watch) {
        self.waiting.push((last_tick, watch));
        self.has_new = true;
    }

    /// Lets them look, when there was a change or, at a tick, their time is up.
    pub(super) fn look(&mut self, host: &mut Host, now_ticks: u64, ticked: bool) {
        let board_changes = host.eventual().map_or(0, |eventual| eventual.board().memory().changes);
        let merged = mem::replace(&mut self.board_changes, board_changes) != board_changes;
        let applied = host.strong_mut().is_some_and(|strong| strong.take_changes().count() > 0);
        let news = applied || merged || mem::take(&mut self.has_new);
        if self.waiting.is_empty() || !(news || ticked) {
            return;
        }
        self.waiting.retain_mut(|(last_tick, watch)| {
            let last = *last_tick <= now_ticks;
            !((news || last) && watch(host, last))
        });
    }
}
