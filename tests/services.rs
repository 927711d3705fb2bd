//! The shell's commands about the replicated log's services, on real nodes: files, board, keys, locks, and who leads.

use std::fs;

use serde_json::Value as Json;

use crate::support::process::Ran;
use crate::support::shell::{Place, Session, Shell};
use crate::support::{until, until_so};

/// What `--output json` says to each command.
#[track_caller]
fn json_of(ran: &Ran) -> Vec<Json> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The port of the leader, once a majority knows it.
#[track_caller]
fn leader(session: &mut Session) -> u16 {
    let lines = session.tell("leader", "");
    let (port, rest) = lines[0].split_once(" leads, in epoch ").unwrap_or_else(|| panic!("{lines:?}"));
    assert!(rest.contains(": so say "), "{lines:?}");
    port.parse().unwrap()
}

#[test]
fn the_usual_script_of_a_file_store_runs_unchanged() {
    let place = Place::new();
    let script = "create file.txt\nsleep 0.3\nappend file.txt Lorem ipsum dolor sit amet, consectetur\n\
                  append file.txt  sed do  eiusmod\nread file.txt\ndelete file.txt\nexit\n";
    let ran = place.shell().run(script);
    let expected = [
        "CREATED FILE 'file.txt'",
        "WROTE 'Lorem ipsum dolor sit amet, consectetur' TO FILE 'file.txt'",
        "WROTE 'sed do  eiusmod' TO FILE 'file.txt'",
        "Lorem ipsum dolor sit amet, consectetur",
        "sed do  eiusmod",
        "DELETED FILE 'file.txt'",
    ];
    assert_eq!(ran.good(), expected);
    // What is there, and what is not, is refused, by name; and it all stays for the next shell.
    let ran =
        place.shell().with(["--keep-going"]).run("create f\ncreate f\nread g\nappend g x\ndelete g\nfiles history\n");
    let lines = ran.ended_with(1);
    assert_eq!(lines[0], "CREATED FILE 'f'");
    ran.complains(&["FILE 'f' ALREADY EXISTS", "FILE 'g' DOESN'T EXIST"]);
    let commands: Vec<String> = lines[1..].iter().map(|line| line.rsplitn(3, ' ').last().unwrap().to_owned()).collect();
    let append = "append file.txt Lorem ipsum dolor sit amet, consectetur";
    let history = ["create file.txt", append, "append file.txt sed do  eiusmod", "delete file.txt", "create f"];
    assert_eq!(commands, history);
}

#[test]
fn the_leader_is_killed_between_two_commands_and_nothing_is_lost() {
    let place = Place::new();
    let mut session = place.shell().session();
    session.tell("create log", "CREATED FILE 'log'");
    for round in 1..=3 {
        session.tell(&format!("put k{round} {round}"), &format!("Key 'k{round}' is '{round}' (version 1; "));
        session.tell("board post one more", &format!("Post {round} was posted ("));
        let leader = leader(&mut session);
        session.tell(&format!("crash {leader}"), &format!("Node {leader} was killed."));
        // The next command finds its way to whoever leads by then, and is done once.
        session.tell(&format!("append log line {round}"), &format!("WROTE 'line {round}' TO FILE 'log'"));
        session.tell("get k1", "1");
        session.tell(&format!("start {leader}"), &format!("Node {leader} is up again"));
    }
    let lines = session.tell("board show", "└");
    assert_eq!(lines.iter().filter(|line| line.contains("one more")).count(), 3, "{lines:?}");
    assert_eq!(session.tell("read log", "line 3"), ["line 1", "line 2", "line 3"]);
    for round in 1..=3 {
        assert_eq!(session.tell(&format!("get k{round}"), &round.to_string()), [round.to_string()]);
    }
    session.leave();
}

#[test]
fn keys_are_set_compared_listed_and_deleted() {
    let place = Place::new();
    let script = "put color blue\nput n 5\nput t \"5\"\ncas color 1 green\ncas color 1 red\ncas new 0 x\nget color\n\
                  get nope\nlist c\ndel n\ndel n\nlist\nlist zzz\n";
    let ran = place.shell().with(["--keep-going", "--output", "json"]).run(script);
    ran.ended_with(1);
    let objects = json_of(&ran);
    let codes: Vec<u64> = objects.iter().map(|object| object["exit_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0], "{}", ran.stdout);
    assert_eq!((&objects[3]["version"], &objects[6]["value"]), (&2.into(), &"green".into()));
    assert_eq!(objects[4]["fault_code"], 116);
    assert!(objects[4]["error"].as_str().unwrap().contains("has version 2, not 1"), "{}", objects[4]);
    assert!(objects[7]["error"].as_str().unwrap().contains("no key 'nope'"), "{}", objects[7]);
    assert_eq!(objects[8]["entries"], serde_json::json!([{ "key": "color", "value": "green", "version": 2 }]));
    assert_eq!((&objects[9]["found"], &objects[10]["found"]), (&true.into(), &false.into()));
    let keys: Vec<&str> =
        objects[11]["entries"].as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["color", "new", "t"]);
    assert_eq!(objects[12]["entries"], serde_json::json!([]));
}

#[test]
fn a_script_watches_for_a_time() {
    let place = Place::new();
    let mut session = place.shell().session();
    session.tell("put color red", "Key 'color'");
    let watch = Shell::connect(place.port(1)).with(["--output", "json"]).start("watch col 3");
    // The shell that watches says nothing before it ends, so this one goes on changing what it watches.
    let mut watch = Some(watch);
    let ran = until("the watch to end", || {
        session.tell("put color blue", "Key 'color' is 'blue'");
        session.tell("del other", "There was no key");
        let ended = watch.as_mut()?.process.0.try_wait().unwrap().is_some();
        if ended { watch.take().map(|watch| watch.finish()) } else { None }
    });
    ran.good();
    let events = json_of(&ran)[0]["events"].clone();
    let events = events.as_array().unwrap();
    assert!(!events.is_empty(), "{}", ran.stdout);
    let counters: Vec<u64> = events.iter().map(|event| event["counter"].as_u64().unwrap()).collect();
    assert!(counters.is_sorted_by(|a, b| a < b), "{counters:?}");
    assert!(events.iter().all(|event| event["value"] == "blue" && event["key"] == "color"), "{events:?}");
    let versions: Vec<u64> = events.iter().map(|event| event["version"].as_u64().unwrap()).collect();
    assert!(versions.windows(2).all(|pair| pair[1] == pair[0] + 1), "none was missed: {versions:?}");
    session.leave();
}

#[test]
fn a_lock_is_for_one_owner_until_it_is_released() {
    let place = Place::new();
    let mut session = place.shell().session();
    session.tell("lock p", "Lock 'p' is held by 'shell-");
    let other = || Shell::connect(place.port(2));
    let ran = other().commands(["lock p"]);
    ran.ended_with(1);
    ran.complains(&["lock 'p' was not granted: 'shell-", "holds it"]);
    let ran = other().commands(["unlock p"]);
    ran.ended_with(1);
    ran.complains(&["does not hold lock 'p'", "name its owner"]);
    session.tell("unlock p", "Lock 'p' was released by 'shell-");
    other().commands(["lock p alice 5", "unlock p alice", "lock p '7' 5"]).good();
    let locks = other().commands(["locks"]);
    assert!(locks.good().iter().any(|line| line.contains("│ p      7 ")), "{}", locks.stdout);
    session.leave();
}

#[test]
fn a_program_runs_only_while_the_lock_is_held() {
    let place = Place::new();
    let mut session = place.shell().session();
    session.tell("leader", "");
    let connect = || Shell::connect(place.port(0));
    let file = place.data.path().join("seen");
    let path = file.display();
    // Its code and its output are the shell's, and it knows its token. The lock outlasts its time to live.
    let command = format!("lock job 0.3 -- sh -c 'sleep 1; echo $SYNOD_LOCK $SYNOD_LOCK_TOKEN > {path}; exit 7'");
    let ran = connect().commands([command]);
    ran.ended_with(7);
    assert_eq!(ran.stderr, "");
    assert_eq!(fs::read_to_string(&file).unwrap(), "job 1\n");
    let locks = connect().commands(["locks"]);
    assert_eq!(locks.good(), ["No lock is held."]);
    // A script goes on behind a program that ends with 0; a program that is not there ends with 127.
    let ran = connect().run("lock job -- cat\nlock job -- no-such-program\n");
    ran.ended_with(127);
    ran.complains(&["cannot run 'no-such-program'"]);
    assert_eq!(connect().commands(["locks"]).good(), ["No lock is held."]);
    // Two wait for each other, in the order in which they came.
    session.tell("lock job me 60", "Lock 'job' is held");
    let waiting = connect().start("lock job -- echo mine");
    until_so("a second one to wait", || {
        let locks = connect().with(["--output", "json"]).commands(["locks"]);
        json_of(&locks)[0]["locks"][0]["queue"].as_array().is_some_and(|queue| queue.len() == 1)
    });
    session.tell("unlock job me", "Lock 'job' was released");
    let ran = waiting.finish();
    // It says that it waits only if it does so for some time.
    assert_eq!(ran.good().last(), Some(&"mine"));
    session.leave();
}

#[test]
fn a_program_whose_lock_is_lost_gets_sigterm_and_its_writes_are_refused() {
    let place = Place::new();
    let mut session = place.shell().session();
    session.tell("leader", "");
    let connect = || Shell::connect(place.port(0));
    let file = place.data.path().join("token");
    // It ends with its file, and so with this test, however that ends.
    let program = "echo $SYNOD_LOCK_TOKEN > $0; while [ -e $0 ]; do sleep 0.05; done";
    let command = format!("lock job me 5 -- sh -c '{program}' {}", file.display());
    let running = connect().start(&command);
    let token = until("the program to run", || fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')));
    let token = token.trim();
    // While the lock is held, writes with its token are done.
    connect().env("SYNOD_LOCK_TOKEN", token).commands(["put guarded 1"]).good();
    session.tell("unlock job me", "Lock 'job' was released");
    let ran = running.finish();
    ran.ended_with(128 + 15);
    ran.complains(&["lock 'job' is lost", "SIGTERM"]);
    let ran = connect().env("SYNOD_LOCK_TOKEN", token).commands(["put guarded 2"]);
    ran.ended_with(1);
    ran.complains(&["does not hold a lock any more", "nothing was written"]);
    session.tell("get guarded", "1");
    session.leave();
}

#[test]
fn without_a_majority_a_write_is_unavailable_or_unknown_and_never_done_twice() {
    let place = Place::new();
    let ports = place.ports.all();
    let mut commands = vec!["leader".to_owned(), "create f".to_owned()];
    commands.extend(ports[2..].iter().map(|port| format!("crash {port}")));
    commands.push("append f once".to_owned());
    commands.push("read f".to_owned());
    let ran = place.shell().with(["--keep-going", "--output", "json"]).commands(&commands);
    let objects = json_of(&ran);
    let (append, read) = (&objects[5], &objects[6]);
    assert!([3, 4].contains(&append["exit_code"].as_u64().unwrap()), "{append}");
    assert_eq!(read["exit_code"], 3, "{read}");
    let said = append["error"].as_str().unwrap();
    assert!(said.contains("unavailable") || said.contains("'outcome shell-"), "{said}");
    // A new shell starts all nodes: it is there once or not at all, and if the outcome was certain, as it was said.
    let ran = place.shell().with(["--output", "json"]).commands(["read f"]);
    let lines = json_of(&ran)[0]["line_count"].as_u64().unwrap();
    assert!(lines <= u64::from(append["exit_code"] == 4), "{lines}: {append}");
}

#[test]
fn leader_and_elect_say_who_leads() {
    let place = Place::new();
    let mut session = place.shell().session();
    let first = leader(&mut session);
    session.tell(&format!("crash {first}"), &format!("Node {first} was killed."));
    let second = leader(&mut session);
    assert_ne!(first, second);
    session.tell("put k v", "Key 'k'");
    let lowest = place.ports.all().into_iter().find(|port| ![first, second].contains(port)).unwrap();
    let lines = session.tell(&format!("elect {lowest}"), &format!("{second} leads on in epoch "));
    assert!(lines.contains(&format!("Node {lowest} holds an election.")), "{lines:?}");
    session.leave();
    let ran = place.shell().commands(["elect 1"]);
    ran.ended_with(2);
    ran.complains(&["there is no node 1"]);
}
