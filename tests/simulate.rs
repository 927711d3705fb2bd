//! `synod sim`: what it prints, how it ends, and what it leaves behind.

use std::fs;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::process::Ran;
use crate::support::shell::Shell;

#[track_caller]
fn sim(line: &str) -> Ran {
    Shell::bare().with(["sim"]).with(line.split_whitespace()).run("")
}

fn hash_of(ran: &Ran) -> String {
    let line = ran.good().into_iter().find(|line| line.starts_with("trace hash: ")).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no trace hash in\n{}", ran.stdout))
}

#[test]
fn seeds_that_hold_are_summed_up() {
    let ran = sim("--seeds 20 --protocol paxos --steps 300");
    let lines = ran.good();
    assert_eq!(lines.last(), Some(&"All invariants held in 20 seeds."));
    for words in ["loss", "crash", "ballots", "instances chosen", "protocol steps a second on each core"] {
        assert!(ran.stdout.contains(words), "no '{words}' in\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("trace hash"), "{}", ran.stdout);
}

#[test]
fn a_seed_gives_the_same_hash_every_time_and_another_seed_another() {
    let [one, same, other] = ["--seed 7", "--seed 7", "--seed 8"].map(|line| hash_of(&sim(line)));
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_eq!(one.len(), "trace hash: ".len() + 16);
}

#[test]
fn a_violation_is_told_shrunk_and_written_down() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("run.jsonl");
    // Disks that are put back from old copies: what Paxos cannot survive.
    let ran = sim(&format!("--faults all,stale --nodes 3 --trace {}", file.display()));
    let lines = ran.ended_with(1);
    assert!(lines[0].starts_with("VIOLATION in seed "), "{}", ran.stdout);
    let again = lines.last().unwrap().trim();
    let again = again.strip_prefix("synod sim ").unwrap_or_else(|| panic!("{again}"));
    assert!(again.contains("stale="), "{again}");

    let text = fs::read_to_string(&file).unwrap();
    let events: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["synod_trace"], 2);
    assert_eq!(events.last().unwrap()["kind"], "violation");
    // What it says to type shows the same.
    let second = dir.path().join("again.jsonl");
    sim(&format!("{again} --trace {}", second.display())).ended_with(1);
    assert_eq!(fs::read_to_string(&second).unwrap(), text);
}

#[test]
fn a_trace_of_a_run_that_holds_can_be_had_too() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("run.jsonl");
    let ran = sim(&format!("--seed 42 --steps 200 --trace {}", file.display()));
    assert_eq!(ran.good().last(), Some(&"All invariants held in 1 seed."));
    assert!(fs::read_to_string(&file).unwrap().lines().count() > 100);
    sim("--seed 1 --trace /nowhere/run.jsonl").ended_with(3);
}

#[test]
fn overlays_fail_in_small_and_are_measured_in_large() {
    let ran = sim("--protocol overlay --seeds 2");
    assert_eq!(ran.good().last(), Some(&"All invariants held in 2 seeds."));
    let [one, same] = ["--protocol overlay --nodes 20 --seed 3"; 2].map(sim);
    for words in ["½ log2 n", "a join moves", "gone in one moment", "no lookup was lost while 20 %"] {
        assert!(one.stdout.contains(words), "no '{words}' in\n{}", one.stdout);
    }
    // All but the last line of figures, which has the time.
    let figures = |ran: &Ran| ran.good()[..20].iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    assert_eq!(figures(&one), figures(&same));
}

#[test]
fn mistakes_exit_with_2() {
    for (line, says) in [
        ("--faults fire", "no fault"),
        ("--protocol raft", "no protocol"),
        ("--seeds x", "invalid"),
        ("--nodes 16", "at most 15 nodes"),
        ("--protocol overlay --nodes 16 --seeds 2", "with one --seed"),
    ] {
        let ran = sim(line);
        ran.ended_with(2);
        ran.complains(&[says]);
    }
}
