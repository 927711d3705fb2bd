//! From a run that violates an invariant to a shorter and simpler one that violates the same.
//!
//! Every candidate is run, and taken if it breaks the same rule and is no longer than the best so far: so the result is
//! never longer, and each of its faults is there because without it the violation did not show. Since each fault draws
//! from a stream of its own (see [`super::faults`]), a run without some strikes is the same run up to the first of them.
//!
//! In turn: the storm ends with the violation; a whole kind of fault goes; of those that are left, the last strikes go,
//! and then the first; nodes go; and all of it again, until nothing more goes or so many runs were made.

use super::faults::{Fault, Filter};
use super::{Options, Violation, run};

/// How many runs the search takes at most.
const MOST_RUNS: u32 = 1000;
/// How many shorter storms are tried at a time.
const SHORTER: u64 = 16;
/// Strikes beyond this number are kept or dropped together.
const MOST_STRIKES: u32 = 1 << 12;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The options that show the violation, with its seed.
    pub options: Options,
    /// The violation.
    pub violation: Violation,
    /// How many runs the search took.
    pub runs: u32,
}

/// Shrinks a run that ended in this violation.
#[must_use]
pub fn shrink(options: Options, violation: Violation) -> Shrunk {
    let seed = violation.seed;
    shrink_with(options, violation, &mut |options| run(seed, options).err())
}

/// The same, for any way to run a candidate.
pub(super) fn shrink_with(
    options: Options,
    violation: Violation,
    fails: &mut dyn FnMut(Options) -> Option<Violation>,
) -> Shrunk {
    let mut search = Search { best: Shrunk { options, violation, runs: 0 }, fails };
    loop {
        let before = search.best.options;
        search.end_sooner();
        search.drop_faults();
        for fault in Fault::ALL {
            search.drop_strikes(fault);
        }
        search.drop_nodes();
        if search.best.options == before || search.best.runs >= MOST_RUNS {
            return search.best;
        }
    }
}

struct Search<'a> {
    best: Shrunk,
    fails: &'a mut dyn FnMut(Options) -> Option<Violation>,
}

impl Search<'_> {
    /// Runs a candidate, and takes it if it shows the same no later.
    fn try_out(&mut self, options: Options) -> bool {
        if self.best.runs >= MOST_RUNS || options == self.best.options {
            return false;
        }
        self.best.runs += 1;
        let found = (self.fails)(options)
            .filter(|found| found.rule == self.best.violation.rule && found.step <= self.best.violation.step);
        let Some(violation) = found else { return false };
        self.best = Shrunk { options, violation, runs: self.best.runs };
        true
    }

    /// A storm that ends with the violation shows the same; one that ends before may show it while the core heals.
    fn end_sooner(&mut self) {
        let steps = self.best.options.steps.min(self.best.violation.step);
        self.try_out(Options { steps, ..self.best.options });
        // Which of the shorter ones does is a matter of luck, so several are tried, from the shortest.
        while let Some(options) = self.sooner().into_iter().find(|&options| self.try_out(options)) {
            debug_assert_eq!(options, self.best.options);
        }
    }

    fn sooner(&self) -> Vec<Options> {
        let options = self.best.options;
        let parts = (0..SHORTER).map(|part| Options { steps: options.steps * part / SHORTER, ..options });
        parts.filter(|shorter| shorter.steps < options.steps).collect()
    }

    fn filter(&mut self, fault: Fault, window: (u32, u32)) -> bool {
        let options = self.best.options;
        self.try_out(Options { faults: options.faults.with(fault, window), ..options })
    }

    fn drop_faults(&mut self) {
        // Often none is needed.
        self.try_out(Options { faults: Filter::NONE, ..self.best.options });
        for fault in Fault::ALL {
            let (from, to) = self.best.options.faults.window(fault);
            if from < to {
                self.filter(fault, (0, 0));
            }
        }
    }

    /// The least last strike, and then the greatest first one, by halving.
    fn drop_strikes(&mut self, fault: Fault) {
        let (from, to) = self.best.options.faults.window(fault);
        if from >= to || (to > MOST_STRIKES && !self.filter(fault, (from, MOST_STRIKES))) {
            return;
        }
        let (mut low, mut high) = (from, to.min(MOST_STRIKES));
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.filter(fault, (from, middle)) { high = middle } else { low = middle }
        }
        let mut first = from;
        let mut last = high;
        while first + 1 < last {
            let middle = first.midpoint(last);
            if self.filter(fault, (middle, high)) { first = middle } else { last = middle }
        }
    }

    fn drop_nodes(&mut self) {
        for nodes in 1..self.best.options.nodes.unwrap_or(7) {
            if self.try_out(Options { nodes: Some(nodes), ..self.best.options }) {
                return;
            }
        }
    }
}
