//! What clients of a real cluster saw, recorded while nodes are killed, and checked; and `synod check` on files.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use synod::history::{Answer, Op, Options, Pending, Recorder, check};
use synod::rpc::answers::{Decided, Proposed};
use synod::rpc::client::{CallError, Client};
use synod::rpc::faults::FaultKind;
use synod::rpc::text::shown;

use crate::support::nodes::Nodes;
use crate::support::process::Ran;
use crate::support::shell::Shell;
use crate::support::until_so;

const CLIENTS: usize = 4;
/// How many calls in a row are about the same instance: those of all clients meet there.
const CALLS_EACH: usize = 6;

#[test]
fn what_clients_saw_while_nodes_were_killed_is_linearizable() {
    let mut nodes = Nodes::lab(5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let recorder = Recorder::to_file(&path).unwrap();
    record(&mut nodes, &recorder);
    let history = recorder.history().unwrap();
    recorder.finish().unwrap();
    let report = check(&history, Options::default()).unwrap();
    assert!(report.is_valid(), "{:#?}", report.witnesses().map(ToString::to_string).collect::<Vec<_>>());
    // It is worth something: clients met on many instances, and called nodes that were down.
    assert!(report.trials.iter().filter(|trial| trial.operations > CLIENTS).count() >= 5, "{report:?}");
    assert!(history.failed() + history.open() > 0, "no call met a node that was down");
    // The program says the same of the file, and no longer once somebody has seen what cannot be.
    let ran = checked(&path, &[]);
    assert!(ran.good().last().unwrap().starts_with("valid: "), "{}", ran.stdout);
    let later = u64::MAX - 1;
    let mut file = File::options().append(true).open(&path).unwrap();
    writeln!(file, r#"{{"type":"invoke","process":99,"time_ns":{later},"op":"decided","instance":"i0"}}"#).unwrap();
    writeln!(file, r#"{{"type":"return","process":99,"time_ns":{later},"answer":"chosen","value":"a lie"}}"#).unwrap();
    let ran = checked(&path, &[]);
    let lines = ran.ended_with(1);
    assert!(lines[0].starts_with("instance \"i0\": no order explains"), "{lines:#?}");
    assert!(ran.stdout.contains("process 99 cannot have got 'chosen \"a lie\"' from decided"), "{lines:#?}");
    assert!(ran.stdout.contains("Nobody had asked to write that before."), "{lines:#?}");
}

/// Clients propose and ask, each going from node to node, until two nodes have been killed and started again.
fn record(nodes: &mut Nodes, recorder: &Recorder) {
    let clients: Vec<Client> = nodes.all().map(|node| nodes.client(node).clone()).collect();
    let (count, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (clients, count, over, mut process) = (&clients, &count, &over, recorder.process());
            scope.spawn(move || {
                for step in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
                    let instance = format!("i{}", step / CALLS_EACH);
                    let client = &clients[(number + step) % clients.len()];
                    if (number + step) % 2 == 0 {
                        let value = format!("{number}-{step}");
                        let pending = process.invoke(Op::Propose { instance: instance.clone(), value: value.clone() });
                        propose(client, &value, &instance, pending);
                    } else {
                        ask(client, &instance, process.invoke(Op::Decided { instance: instance.clone() }));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for node in [0, 3] {
            // Enough that every client has been at every node.
            let more = |what| {
                let enough = count.load(Ordering::Relaxed) + 2 * CLIENTS * clients.len();
                until_so(what, || count.load(Ordering::Relaxed) >= enough);
            };
            more("calls before a kill");
            nodes.kill(node);
            more("calls while a node is down");
            nodes.start(node);
        }
        over.store(true, Ordering::Relaxed);
    });
}

fn propose(client: &Client, value: &str, instance: &str, pending: Pending<'_, '_>) {
    match client.call::<_, Proposed>("propose", &(value, instance)) {
        Ok(proposed) => pending.returned(Answer::Chosen { value: shown(&proposed.value) }),
        Err(error) => did_not_return(&error, pending),
    }
}

fn ask(client: &Client, instance: &str, pending: Pending<'_, '_>) {
    match client.call::<_, Decided>("decided", &(instance,)) {
        Ok(Decided { value: Some(value), .. }) => pending.returned(Answer::Chosen { value: shown(&value) }),
        Ok(Decided { value: None, .. }) => pending.returned(Answer::Undecided),
        Err(error) => did_not_return(&error, pending),
    }
}

fn did_not_return(error: &CallError, pending: Pending<'_, '_>) {
    let is_definite = match error {
        CallError::Fault(fault) => FaultKind::of_code(fault.code).is_some_and(|kind| kind.definite),
        CallError::Unreachable(_) | CallError::Arguments(_) => true,
        CallError::NoAnswer(_) | CallError::Garbled(_) => false,
    };
    if is_definite {
        pending.failed(error.to_string());
    } else {
        pending.unknown(error.to_string());
    }
}

fn checked(path: &Path, args: &[&str]) -> Ran {
    Shell::bare().with(["check"]).with(args).with([path]).run("")
}

fn known(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories").join(name).with_extension("jsonl")
}

#[test]
fn check_tells_valid_invalid_and_undecided_apart() {
    let ran = checked(&known("valid/key_one_cas_wins"), &[]);
    assert_eq!(
        ran.good(),
        [
            "valid: some order explains each object (1 objects, 5 operations, 0 of them with an unknown outcome; 0 others failed)"
        ]
    );
    let ran = checked(&known("invalid/key_stale_read"), &[]);
    let lines = ran.ended_with(1);
    assert!(lines[0].starts_with("key \"a\": no order explains"), "{lines:#?}");
    assert!(lines.last().unwrap().starts_with("invalid: 1 of 2 objects ("), "{lines:#?}");
    assert_eq!(ran.stderr, "");
    let ran = checked(&known("valid/key_one_cas_wins"), &["--budget", "1"]);
    let lines = ran.ended_with(2);
    assert!(lines[0].contains("undecided after 1 steps; a larger --budget may help"), "{lines:#?}");
    assert!(lines[1].starts_with("undecided: 1 of 1 objects ("), "{lines:#?}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn check_says_why_it_did_not_check() {
    let ran = checked(&known("valid/no_such_history"), &[]);
    assert!(ran.ended_with(2).is_empty());
    ran.complains(&["error: not checked: ", "no_such_history.jsonl", "cannot be read"]);
    let text = fs::read_to_string(known("invalid/key_stale_read")).unwrap();
    let ran = Shell::bare().with(["check", "-"]).run(&text.replace("written", "eaten"));
    assert!(ran.ended_with(2).is_empty());
    ran.complains(&["error: not checked: -: line 3: not an event: unknown variant `eaten`"]);
    let ran = Shell::bare().with(["check", "-"]).run(&text);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
}
