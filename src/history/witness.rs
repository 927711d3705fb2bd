//! Why a history is invalid, in as few operations as can be found.
//!
//! First the shortest prefix that is invalid: with the answer that ends it, the *culprit*, there is no order, and without
//! it there was one. Then every other operation is made unheard of: what only looked is left out, and what may have
//! changed the object is allowed to do so at any time after it began, or never. If there still is no order, it does not
//! matter for the contradiction, whatever it did. What remains is the witness; it is a contradiction by itself, and the
//! rest cannot resolve it.

use std::collections::BTreeSet;
use std::fmt;

use super::models::{Call, Model};
use super::search::{Budget, Found, ends, search};
use super::{Answer, Object, Operation};

/// Operations of one object that no order explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// What they are about.
    pub object: Object,
    /// How many operations the object had.
    pub of: usize,
    /// Those whose times and answers contradict each other, in the order in which they began.
    pub operations: Vec<Operation>,
    /// Those that wrote what an answer of them shows, but whose own end and answer do not matter.
    pub sources: Vec<Operation>,
    /// The operation whose answer was the first too many; it stands in `operations` as well.
    pub culprit: Operation,
    /// Whether nobody had asked for the text that the culprit's answer shows.
    pub is_unwritten: bool,
    /// What the object was like when the culprit took effect: one text for each possibility that the others leave.
    pub instead: BTreeSet<String>,
    /// Whether those are all possibilities.
    pub is_all: bool,
}

/// How many possibilities are told.
const MAX_INSTEAD: usize = 4;

/// Makes the witness of operations that no order explains; so one of them at least has an answer.
pub(super) fn of<M: Model>(model: &M, object: &Object, operations: &[Operation], mut budget: Budget) -> Witness {
    let culprit = first_too_many(model, operations, &mut budget);
    let end = end_of(culprit);
    // What began later is out of it, and what ended later had no answer then.
    let begun = operations.iter().filter(|operation| operation.invoked.position < end);
    let mut lines: Vec<Line<'_>> =
        begun.map(|operation| Line { operation, counts: end_of(operation) <= end }).collect();
    let (instead, is_all) = budget.lend(4, |part| possibilities(model, &lines, culprit, part));
    shrink(model, &mut lines, culprit, &mut budget);
    let (kept, others): (Vec<Line<'_>>, Vec<Line<'_>>) = lines.iter().partition(|line| line.counts);
    let is_shown =
        |text: &str| kept.iter().any(|line| line.operation.answer().is_some_and(|answer| answer.shows(text)));
    let is_source = |line: &&Line<'_>| line.operation.op.text().is_some_and(is_shown);
    let owned = |line: &Line<'_>| line.operation.clone();
    Witness {
        object: object.clone(),
        of: operations.len(),
        operations: kept.iter().map(owned).collect(),
        sources: others.iter().filter(is_source).map(owned).collect(),
        culprit: culprit.clone(),
        is_unwritten: culprit
            .answer()
            .and_then(Answer::value)
            .is_some_and(|value| !lines.iter().any(|line| line.operation.op.text() == Some(value))),
        instead,
        is_all,
    }
}

/// One operation while the witness shrinks.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    operation: &'a Operation,
    /// Whether its end and its answer count. If not, it is unheard of.
    counts: bool,
}

impl<'a> Line<'a> {
    /// As the search takes it; nothing if it would only have looked.
    fn call(&self) -> Option<Call<'a>> {
        if self.counts {
            return Some(Call::of(self.operation));
        }
        (!self.only_looks()).then(|| Call::unheard(self.operation))
    }

    fn only_looks(&self) -> bool {
        self.operation.op.is_look() || self.operation.answer().is_some_and(Answer::is_refusal)
    }
}

fn calls_of<'a>(lines: &[Line<'a>]) -> Vec<Call<'a>> {
    lines.iter().filter_map(Line::call).collect()
}

fn end_of(operation: &Operation) -> usize {
    operation.returned.as_ref().map_or(usize::MAX, |(at, _)| at.position)
}

/// The operation whose answer ends the shortest prefix that is invalid. Where the budget ends, it may be a later one.
fn first_too_many<'a, M: Model>(model: &M, operations: &'a [Operation], budget: &mut Budget) -> &'a Operation {
    let mut answered: Vec<&Operation> = operations.iter().filter(|operation| operation.returned.is_some()).collect();
    answered.sort_unstable_by_key(|operation| end_of(operation));
    // Prefixes of valid histories are valid; so one that is invalid makes all longer ones so.
    let (mut valid, mut invalid) = (0, answered.len() - 1);
    while valid < invalid {
        let middle = usize::midpoint(valid, invalid);
        let end = end_of(answered[middle]);
        let begun = operations.iter().filter(|operation| operation.invoked.position < end);
        let lines: Vec<Line<'_>> =
            begun.map(|operation| Line { operation, counts: end_of(operation) <= end }).collect();
        match is_impossible(model, &lines, budget) {
            true => invalid = middle,
            false => valid = middle + 1,
        }
    }
    answered[invalid]
}

/// Lets as many operations as possible go unheard: halves first, then ever fewer at a time, until none can. Looks go
/// before what changed something, which says more.
fn shrink<M: Model>(model: &M, lines: &mut [Line<'_>], culprit: &Operation, budget: &mut Budget) {
    let mut size = lines.len();
    loop {
        let mut counting: Vec<usize> =
            (0..lines.len()).filter(|&at| lines[at].counts && lines[at].operation != culprit).collect();
        counting.sort_by_key(|&at| !lines[at].only_looks());
        let mut has_shrunk = false;
        for some in counting.chunks(size.max(1)) {
            some.iter().for_each(|&at| lines[at].counts = false);
            if is_impossible(model, lines, budget) {
                has_shrunk = true;
            } else {
                some.iter().for_each(|&at| lines[at].counts = true);
            }
        }
        match size {
            0 | 1 if !has_shrunk => return,
            0 | 1 => {}
            _ => size /= 2,
        }
    }
}

/// Whether there certainly is no order. One search may use a part of what is left, so that a hard one does not end all.
fn is_impossible<M: Model>(model: &M, lines: &[Line<'_>], budget: &mut Budget) -> bool {
    budget.lend(8, |part| search(model, &calls_of(lines), part)) == Found::None
}

/// What the object can have been like when the culprit took effect, if its answer is not looked at; and whether these
/// are all possibilities.
fn possibilities<M: Model>(
    model: &M,
    lines: &[Line<'_>],
    culprit: &Operation,
    budget: &mut Budget,
) -> (BTreeSet<String>, bool) {
    let mut seen = BTreeSet::new();
    let is_all = ends(&Marking { model, culprit }, &calls_of(lines), budget, |state| {
        seen.extend(state.mark.clone());
        seen.len() <= MAX_INSTEAD
    });
    let is_all = is_all && seen.len() <= MAX_INSTEAD;
    (seen.into_iter().take(MAX_INSTEAD).collect(), is_all)
}

/// A model that lets the culprit have any answer, and marks what the object was like before it.
struct Marking<'a, M> {
    model: &'a M,
    culprit: &'a Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Marked<S> {
    state: S,
    mark: Option<String>,
}

impl<M: Model> Model for Marking<'_, M> {
    type State = Marked<M::State>;

    fn initial(&self) -> Self::State {
        Marked { state: self.model.initial(), mark: None }
    }

    fn step(&self, Marked { state, mark }: &Self::State, call: &Call<'_>) -> Option<Self::State> {
        if call.operation() != self.culprit {
            return Some(Marked { state: self.model.step(state, call)?, mark: mark.clone() });
        }
        let after = self.model.step(state, &Call::unheard(self.culprit)).unwrap_or_else(|| state.clone());
        Some(Marked { state: after, mark: Some(state.to_string()) })
    }

    fn leads_to(&self, Marked { state, .. }: &Self::State, look: &Call<'_>) -> bool {
        look.operation() == self.culprit || self.model.leads_to(state, look)
    }
}

impl<S: fmt::Display> fmt::Display for Marked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, of, operations, sources, culprit, .. } = self;
        writeln!(
            f,
            "{object}: no order explains what was answered. Witness, {} of {of} operations:",
            operations.len()
        )?;
        for operation in operations {
            writeln!(f, "  {}", shortened(&operation.to_string()))?;
        }
        if !sources.is_empty() {
            writeln!(f, "These wrote what was seen; when they ended makes no difference:")?;
        }
        for operation in sources {
            writeln!(f, "  {}", shortened(&operation.to_string()))?;
        }
        let answer = culprit.answer().map(ToString::to_string).unwrap_or_default();
        let answer = shortened(&answer);
        write!(f, "Why: process {} cannot have got '{answer}' from {}.", culprit.process, culprit.op)?;
        if self.is_unwritten {
            write!(f, " Nobody had asked to write that before.")?;
        }
        self.tell_possibilities(f)
    }
}

impl Witness {
    fn tell_possibilities(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut states: Vec<&str> = self.instead.iter().map(String::as_str).collect();
        if !self.is_all {
            states.push("or something else");
        }
        match &states[..] {
            [] => write!(f, " Others saw that it took effect, at a time when it cannot have had this answer."),
            ["or something else"] => Ok(()),
            [only] => write!(f, " In whatever order the others took effect, at that time {}.", shortened(only)),
            [first, rest @ ..] => {
                write!(f, " Depending on the order of the others, at that time {}", shortened(first))?;
                rest.iter().try_for_each(|state| write!(f, "; {}", shortened(state)))?;
                write!(f, ".")
            }
        }
    }
}

/// A long file makes a long line; nobody reads to its end.
fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    match text.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{} ...", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}
