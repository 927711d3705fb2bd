//! Disks that take no more: what is written is refused for certain, reads go on, and all goes on when there is room.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use synod::rpc::answers::{Proposed, Status, Version};
use synod::rpc::client::CallError;
use synod::rpc::faults::DISK_FULL;
use synod::rpc::strong::answers::{Got, Wrote};
use synod::rpc::strong::{Consistency, ReadOptions, WriteOptions};
use synod::xmlrpc::Fault;

use super::{all_but, get, hurried, leader, put, states_become_equal, wait_until_caught_up};
use crate::support::nodes::Nodes;
use crate::support::{until, until_so};

/// Room on a disk of its own, and how much of that is taken when the test begins.
const DISK_MIB: u32 = 56;
const FILLER_MIB: u32 = 40;

/// A limit on the size of its files: no reserve helps, a save fails, and the node is out until the limit is gone.
#[test]
fn a_node_that_can_save_nothing_is_out_and_comes_back_by_itself() {
    if !runs("prlimit", &["--version"]) {
        return;
    }
    let mut nodes = Nodes::service(3);
    let (full, _) = leader(&nodes);
    let others = all_but(&nodes, full);
    nodes.kill(full);
    // Files of 4 MiB at most, in blocks of 512 bytes; the signal that would come before the error is ignored.
    nodes.run_under(full, ["sh", "-c", "trap '' XFSZ; ulimit -S -f 8192; exec \"$@\"", "sh"]);
    nodes.start(full);
    let value = "x".repeat(1 << 16);
    let mut number = 0;
    let all: Vec<usize> = nodes.all().collect();
    until_so("the disk to be full", || {
        number += 1;
        put(&nodes, &all, "k", &format!("{number} {value}"), &format!("client/{number}"));
        disk(&nodes, full).as_deref() == Some("full")
    });

    // It is certain that nothing came of a write there; the others go on.
    let refusals = [
        write(&nodes, full, "k", "refused").unwrap_err(),
        refusal(nodes.client(full).call::<_, Proposed>("propose", &("refused",))),
        refusal(nodes.client(full).call::<_, Got>("kv.get", &("k",))),
    ];
    for fault in refusals {
        assert_eq!(fault.code, DISK_FULL.code, "{fault}");
        assert!(fault.string.contains(&nodes.ports.at(full).to_string()), "{fault}");
    }
    number += 1;
    let last = format!("{number} {value}");
    put(&nodes, &others, "k", &last, &format!("client/{number}"));
    assert_eq!(get(&nodes, &others, "k"), Some((last.clone(), number)));
    // What is there can be read there.
    let local = ReadOptions { read: Some(Consistency::Local), ..ReadOptions::default() };
    let got: Got = nodes.client(full).call("kv.get", &("k", local)).unwrap();
    assert!(got.version.is_some_and(|version| version < number), "{got:?}");

    let process = nodes.process(full).0.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &process, "--fsize=unlimited:unlimited"]).status().unwrap();
    assert!(lifted.success());
    until_so("the node to find room", || disk(&nodes, full).is_none());
    wait_until_caught_up(&nodes, full, &others);
    assert_eq!(get(&nodes, &[full], "k"), Some((last, number)));
    states_become_equal(&nodes);
    assert!(nodes.logged(full).contains("there is room again"), "{}", nodes.logged(full));
}

/// A single node: it leads on, on its reserve, so that also reads of the newest state go on.
#[test]
fn a_node_on_a_full_disk_refuses_writes_for_certain_and_reads_go_on() {
    if !may_mount() {
        return;
    }
    let mut nodes = on_small_disks(1, "exec \"$@\"");
    let acknowledged = write_until_full(&nodes, &[0]);
    assert_eq!(disk(&nodes, 0).as_deref(), Some("reserve"));
    for _ in 0..20 {
        let fault = write(&nodes, 0, "k", "refused").unwrap_err();
        assert_eq!(fault.code, DISK_FULL.code, "{fault}");
        let got: Got = nodes.client(0).call("kv.get", &("k",)).unwrap();
        assert_eq!(got.version, Some(acknowledged));
    }
    let logged = nodes.logged(0);
    assert!(logged.contains("lives on what room there is"), "{logged}");
    make_room(&mut nodes, 0);
    until_so("a write to be taken again", || write(&nodes, 0, "k", "there is room").is_ok());
    assert_eq!(get(&nodes, &[0], "k"), Some(("there is room".to_owned(), acknowledged + 1)));
    assert_eq!(disk(&nodes, 0), None);
}

/// All disks are full: somebody leads all the same. One has room: it leads, and writes go on.
#[test]
fn who_has_room_leads_and_if_nobody_has_reads_go_on() {
    if !may_mount() {
        return;
    }
    let mut nodes = on_small_disks(3, "exec \"$@\"");
    let all: Vec<usize> = nodes.all().collect();
    let acknowledged = write_until_full(&nodes, &all);
    assert_eq!(get(&nodes, &all, "k").map(|(_, version)| version), Some(acknowledged));
    let (first, _) = leader(&nodes);
    let roomy = all_but(&nodes, first);
    roomy.iter().for_each(|&node| make_room(&mut nodes, node));
    until_so("two nodes to find room", || roomy.iter().all(|&node| disk(&nodes, node).is_none()));
    // The leader's own disk is full still: it refuses, until it leaves it to another to lead.
    until_so("a write to be taken again", || write(&nodes, roomy[0], "k", "there is room").is_ok());
    make_room(&mut nodes, first);
    until_so("the last to find room", || disk(&nodes, first).is_none());
    assert_eq!(get(&nodes, &all, "k").map(|(value, _)| value).as_deref(), Some("there is room"));
    states_become_equal(&nodes);
}

#[test]
fn a_node_starts_on_a_full_disk() {
    if !may_mount() {
        return;
    }
    // The shell outlives the first node, and its disk with it.
    let mut nodes = on_small_disks(1, "\"$@\"; exec \"$@\"");
    assert_eq!(write(&nodes, 0, "k", "before").unwrap().version, Some(1));
    let process = |nodes: &Nodes| hurried(nodes, 0).call::<_, Version>("synod.version", &()).ok().map(|it| it.process);
    let first = process(&nodes).unwrap();
    let full = within(&mut nodes, 0, "more");
    let mut file = File::create(&full).unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[1; 1 << 12]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    drop(file);
    assert!(Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap().success());
    until_so("the next node to answer", || process(&nodes).is_some_and(|next| next != first));
    assert_eq!(disk(&nodes, 0).as_deref(), Some("reserve"));
    assert_eq!(get(&nodes, &[0], "k"), Some(("before".to_owned(), 1)));
    assert_eq!(write(&nodes, 0, "k", "refused").unwrap_err().code, DISK_FULL.code);
    std::fs::remove_file(full).unwrap();
    until_so("a write to be taken again", || write(&nodes, 0, "k", "after").is_ok());
    assert_eq!(get(&nodes, &[0], "k"), Some(("after".to_owned(), 2)));
}

/// Nodes with nothing on their disks, which are small, of their own, and more than half full; run by a shell like this.
fn on_small_disks(count: u16, run: &str) -> Nodes {
    let mut nodes = Nodes::service(count);
    nodes.kill_all();
    for node in nodes.all() {
        let data = nodes.data_of(node);
        std::fs::remove_dir_all(&data).unwrap();
        std::fs::create_dir(&data).unwrap();
        let words = format!(
            "mount -t tmpfs -o size={DISK_MIB}m tmpfs \"$0\" && \
             head -c $(({FILLER_MIB} << 20)) /dev/zero > \"$0/filler\" && {run}"
        );
        nodes.run_under(node, ["unshare", "-rm", "sh", "-c", &words, data.to_str().unwrap()]);
    }
    nodes.start_those_down();
    leader(&nodes);
    nodes
}

/// Puts a key until that is refused for want of room: how often it was put. A node alone refuses it for certain, and never
/// for anything else; where leaders change, nobody may know of a call that was under way.
#[track_caller]
fn write_until_full(nodes: &Nodes, at: &[usize]) -> u64 {
    let value = "x".repeat(1 << 16);
    let mut acknowledged = 0;
    until("a disk to be full", || {
        let node = at[acknowledged as usize % at.len()];
        let request = Some(format!("client/{}", acknowledged + 1));
        let options = WriteOptions { request, ..WriteOptions::default() };
        match nodes.client(node).call::<_, Wrote>("kv.put", &("k", format!("{} {value}", acknowledged + 1), options)) {
            Ok(wrote) => {
                acknowledged += 1;
                assert_eq!(wrote.version, Some(acknowledged));
                None
            }
            Err(CallError::Fault(fault)) if fault.code == DISK_FULL.code => Some(acknowledged),
            Err(error) => {
                assert!(at.len() > 1, "{error}");
                None
            }
        }
    })
}

fn write(nodes: &Nodes, node: usize, key: &str, value: &str) -> Result<Wrote, Fault> {
    match nodes.client(node).call("kv.put", &(key, value, WriteOptions::default())) {
        Err(CallError::Fault(fault)) => Err(fault),
        answer => Ok(answer.unwrap()),
    }
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> Fault {
    match answer {
        Err(CallError::Fault(fault)) => fault,
        answer => panic!("no fault: {answer:?}"),
    }
}

/// What a node says of the room on its disk.
fn disk(nodes: &Nodes, node: usize) -> Option<String> {
    until("a node to say how it is", || hurried(nodes, node).call::<_, Status>("status", &()).ok()).disk
}

/// Removes what was put on a node's disk beside its state.
fn make_room(nodes: &mut Nodes, node: usize) {
    std::fs::remove_file(within(nodes, node, "filler")).unwrap();
}

/// A file on a node's disk, which is to be seen from its process only.
fn within(nodes: &mut Nodes, node: usize, name: &str) -> PathBuf {
    let data = nodes.data_of(node);
    let process = nodes.process(node).0.id();
    PathBuf::from(format!("/proc/{process}/root")).join(data.strip_prefix("/").unwrap()).join(name)
}

/// Whether a process may have a disk of its own here; says so if not, since the test then shows nothing.
fn may_mount() -> bool {
    runs("unshare", &["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
}

fn runs(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let runs = command.status().is_ok_and(|status| status.success());
    if !runs {
        eprintln!("SKIPPED: '{program} {}' does not work here; util-linux brings it", args.join(" "));
    }
    runs
}
