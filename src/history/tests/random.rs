//! Random histories: those of a real sequential execution are valid, and tiny ones of any kind are judged as an
//! exhaustive checker judges them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::models::{Board, Call, Decision, Key, Lock, Model, Register, TextFile};
use super::super::search::{Budget, Found, search};
use super::*;

/// One operation of a generated execution: what it does, how long before and after its effect it began and ended, and
/// whether its client heard of it.
#[derive(Debug, Clone)]
struct Planned {
    op: Op,
    before: usize,
    after: usize,
    heard: bool,
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["1", "2", "3"].prop_map(|value: String| value)
}

fn key_op() -> impl Strategy<Value = Op> {
    let key = || "a".to_owned();
    prop_oneof![
        3 => value().prop_map(move |value| Op::Put { key: key(), value }),
        3 => Just(Op::Get { key: key() }),
        1 => Just(Op::Remove { key: key() }),
        2 => (0..4_u64, value()).prop_map(move |(version, value)| Op::Cas { key: key(), version, value }),
    ]
}

fn planned(op: impl Strategy<Value = Op>) -> impl Strategy<Value = Planned> {
    let heard = prop::bool::weighted(0.75);
    (op, 0..12_usize, 0..12_usize, heard).prop_map(|(op, before, after, heard)| Planned { op, before, after, heard })
}

/// A key as plainly as can be: the twin of the model.
#[derive(Debug, Default)]
struct Plain {
    value: Option<String>,
    version: u64,
}

impl Plain {
    fn run(&mut self, op: &Op) -> Answer {
        let current = if self.value.is_some() { self.version } else { 0 };
        match op {
            Op::Get { .. } => match &self.value {
                Some(value) => Answer::Found { value: value.clone(), version: Some(self.version) },
                None => Answer::Absent,
            },
            Op::Remove { .. } => match self.value.take() {
                Some(_) => Answer::Done,
                None => Answer::Absent,
            },
            Op::Cas { version, .. } if *version != current => Answer::Conflict { version: current },
            Op::Put { value, .. } | Op::Cas { value, .. } => {
                self.version += 1;
                self.value = Some(value.clone());
                Answer::Written { version: self.version }
            }
            other => panic!("not for a key: {other}"),
        }
    }
}

/// Runs the plan in order, each operation at its own moment, and makes the history of it. Operations overlap, but each
/// takes effect between its events, so it is valid by construction.
fn executed(plan: &[Planned]) -> Vec<Operation> {
    let mut plain = Plain::default();
    let mut events = Vec::new();
    let mut answers = Vec::new();
    for (at, planned) in plan.iter().enumerate() {
        let effect = 20 + 4 * at;
        events.push((effect - planned.before, at, false));
        answers.push(plain.run(&planned.op));
        if planned.heard {
            events.push((effect + planned.after, at, true));
        }
    }
    // At the same time, what begins comes first: that only makes more overlap.
    events.sort_by_key(|&(time, at, is_end)| (time, is_end, at));
    let position = |wanted: (usize, bool)| events.iter().position(|&(_, at, is_end)| (at, is_end) == wanted);
    let mut operations: Vec<Operation> = plan
        .iter()
        .zip(answers)
        .enumerate()
        .map(|(at, (planned, answer))| {
            let end = position((at, true)).map(|end| (end, answer));
            operation(at as u64, planned.op.clone(), position((at, false)).unwrap(), end)
        })
        .collect();
    operations.sort_by_key(|operation| operation.invoked);
    operations
}

/// Tries every order of every choice of operations.
fn exhaustive<M: Model>(model: &M, operations: &[Operation]) -> bool {
    fn extend<M: Model>(model: &M, left: &[&Operation], state: &M::State) -> bool {
        if left.iter().all(|operation| operation.returned.is_none()) {
            return true;
        }
        left.iter().enumerate().any(|(at, next)| {
            let must_precede = |other: &&Operation| {
                other.returned.as_ref().is_some_and(|(end, _)| end.position < next.invoked.position)
            };
            if left.iter().any(must_precede) {
                return false;
            }
            let mut rest = left.to_vec();
            rest.remove(at);
            model.step(state, &Call::of(next)).is_some_and(|state| extend(model, &rest, &state))
        })
    }
    extend(model, &operations.iter().collect::<Vec<_>>(), &model.initial())
}

fn searched<M: Model>(model: &M, operations: &[Operation]) -> bool {
    let calls: Vec<Call<'_>> = operations.iter().map(Call::of).collect();
    match search(model, &calls, &mut Budget::new(1_000_000)) {
        Found::Order => true,
        Found::None => false,
        Found::GaveUp => panic!("the budget is far too large for that"),
    }
}

/// Both must agree; and what is invalid has a witness that is invalid by itself.
fn judge<M: Model>(model: &M, operations: &[Operation]) -> bool {
    let is_valid = searched(model, operations);
    assert_eq!(is_valid, exhaustive(model, operations));
    let report = check(&history(operations.to_vec()), Options::default()).unwrap();
    assert_eq!(report.is_valid(), is_valid);
    for witness in report.witnesses() {
        assert!(!exhaustive(model, &witness.operations), "{witness}");
        assert!(witness.operations.contains(&witness.culprit), "{witness}");
    }
    is_valid
}

/// Tiny histories whose answers are drawn at random, most of them invalid.
fn tiny(op: impl Strategy<Value = (Op, Answer)>) -> impl Strategy<Value = Vec<Operation>> {
    let event = (op, 0..10_usize, 1..8_usize, prop::bool::weighted(0.7));
    vec(event, 1..7).prop_map(|drawn| {
        let mut operations: Vec<Operation> = drawn
            .into_iter()
            .enumerate()
            .map(|(at, ((op, answer), began, length, heard))| {
                // Each has positions of its own, in an order that does not depend on which it is.
                let place = |time: usize| time * 8 + (at * 5 + time) % 7;
                operation(at as u64, op, place(began), heard.then(|| (place(began + length), answer)))
            })
            .collect();
        operations.sort_by_key(|operation| operation.invoked);
        operations
    })
}

fn key_pair() -> impl Strategy<Value = (Op, Answer)> {
    (key_op(), value(), prop::option::of(1..4_u64), 0..4_u8).prop_map(|(op, value, version, which)| {
        let number = version.unwrap_or(0);
        let answer = match (&op, which) {
            (Op::Get { .. } | Op::Remove { .. } | Op::Cas { .. }, 0) => Answer::Absent,
            (Op::Get { .. }, _) => Answer::Found { value, version },
            (Op::Cas { .. }, 1) => Answer::Conflict { version: number },
            (_, 2) => Answer::Written { version: number },
            _ => Answer::Done,
        };
        (op, answer)
    })
}

fn register_pair() -> impl Strategy<Value = (Op, Answer)> {
    let key = || "r".to_owned();
    prop_oneof![
        value().prop_map(move |value| (Op::WriteRegister { key: key(), value }, Answer::Done)),
        value().prop_map(move |value| (Op::ReadRegister { key: key() }, found(&value))),
        Just((Op::ReadRegister { key: key() }, Answer::Absent)),
    ]
}

fn decision_pair() -> impl Strategy<Value = (Op, Answer)> {
    let instance = || "default".to_owned();
    prop_oneof![
        (value(), value()).prop_map(move |(value, chosen)| {
            (Op::Propose { instance: instance(), value }, Answer::Chosen { value: chosen })
        }),
        value().prop_map(move |value| (Op::Decided { instance: instance() }, Answer::Chosen { value })),
        Just((Op::Decided { instance: instance() }, Answer::Undecided)),
    ]
}

fn file_pair() -> impl Strategy<Value = (Op, Answer)> {
    let name = || "f".to_owned();
    let changing = prop_oneof![
        2 => Just(Op::Create { name: name() }),
        3 => "[xy]".prop_map(move |text| Op::Append { name: name(), text }),
        1 => Just(Op::DeleteFile { name: name() }),
    ];
    prop_oneof![
        3 => changing.prop_map(|op| (op, Answer::Done)),
        2 => "[xy]{0,2}".prop_map(move |text| (Op::ReadFile { name: name() }, Answer::Content { text })),
        1 => Just((Op::Create { name: name() }, Answer::Exists)),
        1 => Just((Op::Append { name: name(), text: "x".to_owned() }, Answer::Absent)),
    ]
}

fn board_pair() -> impl Strategy<Value = (Op, Answer)> {
    let post = || ("[xy]", "[12]").prop_map(|(text, id): (String, String)| Post { id, text });
    prop_oneof![
        4 => post().prop_map(|Post { id, text }| (Op::Post { text }, Answer::Posted { id })),
        1 => post().prop_map(|Post { id, text }| (Op::Modify { id, text }, Answer::Done)),
        1 => "[12]".prop_map(|id: String| (Op::DeletePost { id }, Answer::Done)),
        1 => "[12]".prop_map(|id: String| (Op::DeletePost { id }, Answer::Absent)),
        3 => vec(post(), 0..3).prop_map(|posts| (Op::List, Answer::Listed { posts })),
    ]
}

fn lock_pair() -> impl Strategy<Value = (Op, Answer)> {
    let name = || "l".to_owned();
    // Positions are milliseconds, and a tick is ten: a time to live of 30 is over within such a history.
    (prop_oneof!["a", "b"], 1..4_u64, prop_oneof![Just(30_u64), Just(900)], 0..7_u8).prop_map(
        move |(owner, token, ttl_ms, which): (String, _, _, _)| match which {
            0 => (Op::Acquire { name: name(), owner, ttl_ms }, Answer::Busy),
            1..4 => (Op::Acquire { name: name(), owner, ttl_ms }, Answer::Granted { token }),
            4 => (Op::Renew { name: name(), owner, token, ttl_ms }, Answer::Done),
            5 => (Op::Release { name: name(), owner, token }, Answer::NotHeld),
            _ => (Op::Release { name: name(), owner, token }, Answer::Done),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_happened_is_valid(plan in vec(planned(key_op()), 1..60)) {
        let operations = executed(&plan);
        prop_assert!(searched(&Key, &operations), "{operations:#?}");
    }

    #[test]
    fn a_false_answer_is_found_as_an_exhaustive_checker_finds_it(
        plan in vec(planned(key_op()), 2..7),
        place in any::<prop::sample::Index>(),
        (lie, version) in (value(), prop::option::of(1..4_u64)),
    ) {
        let mut operations = executed(&plan);
        let reads: Vec<usize> =
            (0..operations.len()).filter(|&at| operations[at].op == get() && operations[at].returned.is_some()).collect();
        if !reads.is_empty() {
            let returned = operations[reads[place.index(reads.len())]].returned.as_mut();
            returned.unwrap().1 = Answer::Found { value: lie, version };
        }
        judge(&Key, &operations);
    }

    #[test]
    fn tiny_keys(operations in tiny(key_pair())) {
        judge(&Key, &operations);
    }

    #[test]
    fn tiny_registers(operations in tiny(register_pair())) {
        judge(&Register, &operations);
    }

    #[test]
    fn tiny_decisions(operations in tiny(decision_pair())) {
        judge(&Decision, &operations);
    }

    #[test]
    fn tiny_files(operations in tiny(file_pair())) {
        judge(&TextFile, &operations);
    }

    #[test]
    fn tiny_boards(operations in tiny(board_pair())) {
        judge(&Board, &operations);
    }

    #[test]
    fn tiny_locks(operations in tiny(lock_pair())) {
        judge(&Lock, &operations);
    }
}

/// The random tests are worth something: valid and invalid histories are both common.
#[test]
fn tiny_histories_are_of_both_kinds() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = tiny(register_pair());
    let valid = (0..200).filter(|_| searched(&Register, &strategy.new_tree(&mut runner).unwrap().current())).count();
    assert!((20..180).contains(&valid), "{valid} of 200 are valid");
}
