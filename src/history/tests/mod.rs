//! Known histories, random ones against an exhaustive checker, the file format, and the recorder.

mod files;
mod random;
mod recording;
mod scripts;
mod size;

use super::*;

/// An operation whose events stand at these positions; the times are the positions in milliseconds.
fn operation(process: u64, op: Op, began: usize, returned: Option<(usize, Answer)>) -> Operation {
    let moment = |position| Moment { position, time_ns: position as u64 * 1_000_000 };
    Operation { process, op, invoked: moment(began), returned: returned.map(|(at, answer)| (moment(at), answer)) }
}

fn history(operations: Vec<Operation>) -> History {
    let mut objects: BTreeMap<Object, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        objects.entry(operation.op.object()).or_default().push(operation);
    }
    History { objects, failed: 0 }
}

fn put(value: &str) -> Op {
    Op::Put { key: "a".to_owned(), value: value.to_owned() }
}

fn get() -> Op {
    Op::Get { key: "a".to_owned() }
}

fn found(value: &str) -> Answer {
    Answer::Found { value: value.to_owned(), version: None }
}
