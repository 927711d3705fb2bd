//! The search for an order that explains the operations of one object.
//!
//! Wing and Gong's search goes from configuration to configuration: which operations are in the order already, and what
//! the object is like after them. The next one may be any that had begun before the earliest end among those that are
//! left. An order is found when all that have an answer are in; those of unknown outcome may be left over. Lowe's
//! addition is to remember configurations. Five rules more keep the search small, and none of them loses an order:
//!
//! - *Who only looks goes first.* If the answer of a next operation is right, and that operation changes nothing here or
//!   at any later time, putting it here never hurts: in any order that continues otherwise it can be moved to the front.
//! - *Fewer is better.* Of two configurations with the same state and the same answered operations, the one that has used
//!   up fewer of those of unknown outcome can do all that the other can. So it is enough to remember, for each, the least
//!   sets that were used.
//! - *One instead of two.* Directly after a call of unknown outcome, another one that would write over what the first did
//!   ([`Op::makes_two_one`]) is not tried: the order without the first is.
//! - *No way back.* As long as nothing can be taken away, what a file or a board holds must be the beginning of what the
//!   next look finds ([`Model::leads_to`]).
//! - *Furthest first.* The queue is ordered by how many answered operations are in, and then by how few of the others:
//!   that finds the order of a valid history soon, and the least sets before the greater ones.
//!
//! The queue replaces recursion, so depth costs no stack.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::Op;
use super::models::{Call, Model};

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// An order.
    Order,
    /// That there is none.
    None,
    /// Nothing, within its budget.
    GaveUp,
}

/// A budget of steps of a model, shared by searches that follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget(u64);

impl Budget {
    pub(super) const fn new(steps: u64) -> Self {
        Self(steps)
    }

    pub(super) const fn left(self) -> u64 {
        self.0
    }

    /// Lends a part of it: one in so many of the steps that are left.
    pub(super) fn lend<T>(&mut self, parts: u64, use_it: impl FnOnce(&mut Self) -> T) -> T {
        let lent = self.0.div_ceil(parts);
        let mut part = Self(lent);
        let result = use_it(&mut part);
        self.0 -= lent - part.0;
        result
    }

    /// Takes a step, if there is one left.
    fn take(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

/// Looks for an order of these calls, given in the order in which they began.
pub(super) fn search<M: Model>(model: &M, calls: &[Call<'_>], budget: &mut Budget) -> Found {
    let mut found = Found::None;
    let finished = ends(model, calls, budget, |_| {
        found = Found::Order;
        false
    });
    if finished || found == Found::Order { found } else { Found::GaveUp }
}

/// Shows the states in which orders of these calls can end, each at least once, for as long as `more` wants more. False
/// if it was stopped, by that or by the budget.
pub(super) fn ends<M: Model>(
    model: &M,
    calls: &[Call<'_>],
    budget: &mut Budget,
    mut more: impl FnMut(&M::State) -> bool,
) -> bool {
    let calls = Calls::of(model, calls);
    let mut queue = Queue::default();
    queue.push(Configuration::initial(model.initial()));
    let mut known = Known::default();
    while let Some(now) = queue.pop() {
        if !known.is_new(&now) {
            continue;
        }
        if now.first == calls.answered.len() && !more(&now.state) {
            return false;
        }
        match calls.after(&now, budget) {
            // The last one is looked at first: the one that had to end the earliest.
            Some(after) => after.into_iter().rev().for_each(|configuration| queue.push(configuration)),
            None => return false,
        }
    }
    true
}

/// What is to be ordered.
struct Calls<'m, 'a, M> {
    model: &'m M,
    answered: Vec<Call<'a>>,
    open: Vec<Call<'a>>,
    /// Which of the answered calls only look.
    looks: Vec<usize>,
    /// Which of the answered calls may take something away, and which of the others.
    takers: Vec<usize>,
    open_takers: Vec<usize>,
}

impl<'m, 'a, M: Model> Calls<'m, 'a, M> {
    fn of(model: &'m M, calls: &[Call<'a>]) -> Self {
        let (answered, open): (Vec<Call<'a>>, Vec<Call<'a>>) =
            calls.iter().copied().partition(|call| call.answer().is_some());
        let places = |calls: &[Call<'a>], is_wanted: fn(&Op) -> bool| {
            (0..calls.len()).filter(|&at| is_wanted(calls[at].op())).collect()
        };
        let (looks, takers) = (places(&answered, Op::is_look), places(&answered, Op::takes_away));
        let open_takers = places(&open, Op::takes_away);
        Self { model, answered, open, looks, takers, open_takers }
    }

    /// The configurations that one more call leads to; nothing if the budget ends.
    fn after(&self, now: &Configuration<M::State>, budget: &mut Budget) -> Option<Vec<Configuration<M::State>>> {
        let (next, deadline) = now.next(&self.answered);
        let mut after = Vec::with_capacity(next.len());
        for (at, call) in next {
            budget.take()?;
            match self.model.step(&now.state, call) {
                Some(state) if state == now.state && call.never_changes_more() => {
                    return Some(vec![now.with(at, state)]);
                }
                Some(state) => after.push(now.with(at, state)),
                None => {}
            }
        }
        let begun = self.open.iter().enumerate().take_while(|(_, call)| call.invoked().position < deadline);
        for (at, call) in begun {
            let is_moot = now.is_open_last && call.op().makes_two_one();
            if is_moot || now.has_used(at) {
                continue;
            }
            budget.take()?;
            if let Some(state) = self.model.step(&now.state, call).filter(|state| *state != now.state) {
                after.push(now.with_open(at, state));
            }
        }
        after.retain(|configuration| self.is_hopeful(configuration));
        Some(after)
    }

    /// Whether the next look can still get its answer, as far as the model can tell.
    fn is_hopeful(&self, configuration: &Configuration<M::State>) -> bool {
        let is_left = |at: &usize| !configuration.has(*at);
        let begin = self.looks.partition_point(|&at| at < configuration.first);
        let Some(look) = self.looks[begin..].iter().copied().find(is_left).map(|at| &self.answered[at]) else {
            return true;
        };
        let can_precede = |call: &Call<'_>| call.invoked().position < end_of(look);
        let begin = self.takers.partition_point(|&at| at < configuration.first);
        let mut left = self.takers[begin..].iter().copied().filter(is_left).map(|at| &self.answered[at]);
        let mut open = self.open_takers.iter().filter(|at| !configuration.has_used(**at)).map(|&at| &self.open[at]);
        left.any(can_precede) || open.any(can_precede) || self.model.leads_to(&configuration.state, look)
    }
}

/// Which calls are in the order, and what comes of them.
#[derive(Debug, Clone)]
struct Configuration<S> {
    /// All answered calls before this one are in.
    first: usize,
    /// And these behind it, ascending: never more than there were clients.
    ahead: Vec<usize>,
    /// The calls of unknown outcome that are in, ascending.
    used: Vec<usize>,
    /// Whether one of those was put in last.
    is_open_last: bool,
    state: S,
}

impl<S: Clone> Configuration<S> {
    const fn initial(state: S) -> Self {
        Self { first: 0, ahead: Vec::new(), used: Vec::new(), is_open_last: false, state }
    }

    /// Whether an answered call is in.
    fn has(&self, at: usize) -> bool {
        at < self.first || self.ahead.binary_search(&at).is_ok()
    }

    /// Whether one of unknown outcome is in.
    fn has_used(&self, at: usize) -> bool {
        self.used.binary_search(&at).is_ok()
    }

    /// The answered calls that may come next, those first that ended first; and before which position whatever comes
    /// next must have begun.
    fn next<'c, 'a>(&self, answered: &'c [Call<'a>]) -> (Vec<(usize, &'c Call<'a>)>, usize) {
        let mut deadline = usize::MAX;
        let mut next = Vec::new();
        for (at, call) in answered.iter().enumerate().skip(self.first) {
            if call.invoked().position > deadline {
                break;
            }
            if !self.has(at) {
                let end = end_of(call);
                deadline = deadline.min(end);
                next.push((end, at, call));
            }
        }
        next.sort_unstable_by_key(|(end, ..)| *end);
        (next.into_iter().map(|(_, at, call)| (at, call)).collect(), deadline)
    }

    fn with(&self, at: usize, state: S) -> Self {
        let (mut first, mut ahead) = (self.first, self.ahead.clone());
        if at == first {
            // Those ahead that now follow without a gap join it.
            first += 1;
            let joining = ahead.iter().zip(first..).take_while(|(ahead, next)| *ahead == next).count();
            ahead.drain(..joining);
            first += joining;
        } else {
            insert(&mut ahead, at);
        }
        Self { first, ahead, used: self.used.clone(), is_open_last: false, state }
    }

    fn with_open(&self, at: usize, state: S) -> Self {
        let mut used = self.used.clone();
        insert(&mut used, at);
        Self { first: self.first, ahead: self.ahead.clone(), used, is_open_last: true, state }
    }
}

fn end_of(call: &Call<'_>) -> usize {
    call.returned().map_or(usize::MAX, |(at, _)| at.position)
}

fn insert(sorted: &mut Vec<usize>, number: usize) {
    let place = sorted.partition_point(|&other| other < number);
    sorted.insert(place, number);
}

/// What is still to be looked at.
#[derive(Debug)]
struct Queue<S>(BTreeMap<(Reverse<usize>, usize), Vec<Configuration<S>>>);

impl<S> Default for Queue<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S> Queue<S> {
    fn push(&mut self, configuration: Configuration<S>) {
        let answered = configuration.first + configuration.ahead.len();
        self.0.entry((Reverse(answered), configuration.used.len())).or_default().push(configuration);
    }

    fn pop(&mut self) -> Option<Configuration<S>> {
        let mut entry = self.0.first_entry()?;
        let configuration = entry.get_mut().pop();
        if entry.get().is_empty() {
            entry.remove();
        }
        configuration
    }
}

/// What has been looked at: for each state and set of answered calls, the least sets of others that led there.
#[derive(Debug)]
struct Known<S>(HashMap<(usize, Vec<usize>, S), Vec<Vec<usize>>>);

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<S: Clone + Eq + std::hash::Hash> Known<S> {
    /// Whether nothing that can do at least as much has been looked at; remembers it then.
    fn is_new(&mut self, configuration: &Configuration<S>) -> bool {
        let Configuration { first, ahead, used, state, .. } = configuration;
        let least = self.0.entry((*first, ahead.clone(), state.clone())).or_default();
        if least.iter().any(|less| is_subset(less, used)) {
            return false;
        }
        least.retain(|more| !is_subset(used, more));
        least.push(used.clone());
        true
    }
}

/// Whether all numbers of an ascending list stand in another.
fn is_subset(less: &[usize], more: &[usize]) -> bool {
    let mut more = more.iter();
    less.len() <= more.len() && less.iter().all(|number| more.any(|other| other == number))
}
