//! Large histories, the budget, and witnesses among many operations.

use super::*;

/// So many clients write and read in turn, and each write overlaps those of all others.
fn busy(rounds: usize, clients: usize) -> Vec<Operation> {
    let mut operations = Vec::new();
    let mut position = 0;
    for round in 0..rounds {
        for client in 0..clients {
            let value = format!("{round}-{client}");
            let answer = Some((position + clients + client, Answer::Done));
            operations.push(operation(client as u64, put(&value), position + client, answer));
        }
        // They took effect backwards.
        let last = found(&format!("{round}-0"));
        position += 2 * clients;
        operations.push(operation(clients as u64, get(), position, Some((position + 1, last))));
        position += 2;
    }
    operations
}

/// Every write's client gives up, and it takes effect only when the next one has begun.
fn forsaken(count: usize) -> Vec<Operation> {
    let mut operations = Vec::new();
    for number in 0..count {
        let at = number * 6;
        operations.push(operation(number as u64, put(&number.to_string()), at, None));
        let answer = |before: usize| found(&(number - before).to_string());
        if number > 0 {
            operations.push(operation(0, get(), at + 1, Some((at + 2, answer(1)))));
        }
        operations.push(operation(0, get(), at + 3, Some((at + 4, answer(0)))));
    }
    operations
}

/// Clients append at the same time, all the time, and somebody reads at the very end what came of it.
fn appended(rounds: usize, clients: usize) -> Vec<Operation> {
    let name = || "f".to_owned();
    let mut operations = vec![operation(0, Op::Create { name: name() }, 0, Some((1, Answer::Done)))];
    let mut content = String::new();
    let mut position = 2;
    for round in 0..rounds {
        for client in 0..clients {
            let text = format!("{round}-{client}\n");
            // The last one of each round gives up.
            let answer = Some((position + clients + client, Answer::Done)).filter(|_| client + 1 < clients);
            operations.push(operation(client as u64, Op::Append { name: name(), text }, position + client, answer));
        }
        // They took effect backwards, and what was given up only every other time.
        let kept = if round % 2 == 0 { clients } else { clients - 1 };
        (0..kept).rev().for_each(|client| content += &format!("{round}-{client}\n"));
        position += 2 * clients;
    }
    let answer = Answer::Content { text: content };
    operations.push(operation(0, Op::ReadFile { name: name() }, position, Some((position + 1, answer))));
    operations
}

fn only(report: &Report) -> &Trial {
    assert_eq!(report.trials.len(), 1);
    &report.trials[0]
}

#[test]
fn large_histories_take_few_steps() {
    let report = check(&history(busy(300, 8)), Options::default()).unwrap();
    assert!(report.is_valid(), "{report:?}");
    let report = check(&history(forsaken(300)), Options::default()).unwrap();
    assert!(report.is_valid(), "{report:?}");
    let report = check(&history(appended(100, 6)), Options::default()).unwrap();
    assert!(report.is_valid(), "{report:?}");
}

#[test]
fn a_lost_line_is_found_among_many() {
    let mut operations = appended(30, 4);
    let Some((_, Answer::Content { text })) = &mut operations.last_mut().unwrap().returned else { panic!("no read") };
    *text = text.replace("17-1\n", "");
    let report = check(&history(operations), Options::default()).unwrap();
    let Verdict::Invalid(witness) = &only(&report).verdict else { panic!("{report:?}") };
    // The line and the read; all others may be where they like.
    assert_eq!(witness.operations.len(), 2, "{witness}");
    assert_eq!(witness.operations[0].op.text(), Some("17-1\n"), "{witness}");
}

#[test]
fn the_budget_ends_a_search() {
    let options = Options { budget: 100, ..Options::default() };
    let report = check(&history(busy(300, 8)), options).unwrap();
    assert_eq!(only(&report).verdict, Verdict::Undecided);
    assert_eq!(only(&report).steps, 100);
    assert_eq!(report.undecided().count(), 1);
}

#[test]
fn a_witness_is_found_among_many_operations() {
    let mut operations = busy(40, 4);
    let place = operations.iter().position(|operation| operation.answer() == Some(&found("30-0"))).unwrap();
    operations[place].returned.as_mut().unwrap().1 = found("17-2");
    let report = check(&history(operations), Options::default()).unwrap();
    let Verdict::Invalid(witness) = &only(&report).verdict else { panic!("{report:?}") };
    // What was read, and one read or write in between that forbids it.
    assert_eq!(witness.culprit.answer(), Some(&found("17-2")), "{witness}");
    assert!((2..=3).contains(&witness.operations.len()), "{witness}");
    assert_eq!(witness.of, 200);
    assert!(witness.to_string().contains("17-2"), "{witness}");
}

#[test]
fn objects_are_checked_apart() {
    let mut operations = Vec::new();
    for key in 0..50 {
        let (key, at) = (format!("k{key}"), key * 4);
        let value = "1".to_owned();
        operations.push(operation(1, Op::Put { key: key.clone(), value }, at, Some((at + 1, Answer::Done))));
        let answer = if key.ends_with('7') { Answer::Absent } else { found("1") };
        operations.push(operation(1, Op::Get { key }, at + 2, Some((at + 3, answer))));
    }
    let report = check(&history(operations), Options::default()).unwrap();
    assert_eq!(report.trials.len(), 50);
    let bad: Vec<String> = report.witnesses().map(|witness| witness.object.to_string()).collect();
    assert_eq!(bad, ["key \"k17\"", "key \"k27\"", "key \"k37\"", "key \"k47\"", "key \"k7\""]);
}
