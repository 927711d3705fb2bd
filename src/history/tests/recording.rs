//! The recorder, used by many threads.

use std::fs;
use std::io::BufReader;
use std::thread;

use parking_lot::Mutex;

use super::*;

/// Clients of one cell behind a lock, which is linearizable; some give up after their write, or before it.
fn record(recorder: &Recorder) {
    let cell = Mutex::new(None);
    thread::scope(|scope| {
        for client in 0..4 {
            let (cell, mut process) = (&cell, recorder.process());
            scope.spawn(move || {
                for step in 0..25 {
                    let value = format!("{client}-{step}");
                    let pending = process.invoke(put(&value));
                    match step % 5 {
                        0 => pending.failed("not sent"),
                        1 => drop(pending),
                        2 => {
                            *cell.lock() = Some(value);
                            pending.unknown("no answer");
                        }
                        _ => {
                            *cell.lock() = Some(value);
                            pending.returned(Answer::Done);
                        }
                    }
                    let pending = process.invoke(get());
                    let read = cell.lock().clone();
                    pending.returned(read.map_or(Answer::Absent, |value| found(&value)));
                }
            });
        }
    });
}

#[test]
fn what_threads_did_is_recorded_and_valid() {
    let recorder = Recorder::new();
    record(&recorder);
    let history = recorder.history().unwrap();
    assert_eq!((history.count(), history.failed(), history.open()), (180, 20, 40));
    let report = check(&history, Options::default()).unwrap();
    assert!(report.is_valid(), "{report:?}");
}

#[test]
fn the_file_holds_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let recorder = Recorder::to_file(&path).unwrap();
    record(&recorder);
    // Somebody is still waiting for an answer.
    let mut process = recorder.process();
    assert_eq!(process.number(), 4);
    std::mem::forget(process.invoke(get()));
    let history = recorder.history().unwrap();
    let mut written = Vec::new();
    recorder.write_to(&mut written).unwrap();
    recorder.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), written);
    assert_eq!(History::read(BufReader::new(fs::File::open(&path).unwrap())).unwrap(), history);
    Recorder::to_file(&path).expect_err("a recording is not written over");
}

#[test]
fn an_answer_that_cannot_be_is_named() {
    let recorder = Recorder::new();
    recorder.process().invoke(get()).returned(Answer::Busy);
    let (position, error) = recorder.history().unwrap_err();
    assert_eq!((position, error.to_string().as_str()), (1, "kv.get \"a\" cannot be answered with 'busy'"));
}
