//! Members come and go while clients write: is anything lost that was answered, and who belongs to the cluster then?

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use synod::node::status::StrongStatus;
use synod::rpc::answers::{Decided, Status, Version};
use synod::rpc::client::{CallError, Client};
use synod::rpc::faults::{BAD_OPTION, CHANGING, MEMBER, MEMBER_COUNT, NEWCOMER_SILENT, NO_MEMBER, UNAVAILABLE};
use synod::rpc::strong::answers::{Got, MembersAnswer, Wrote};
use synod::rpc::strong::{ReadOptions, WriteOptions};
use tempfile::TempDir;

use crate::support::http::{get, post};
use crate::support::nodes::{address_of, fault};
use crate::support::ports::Ports;
use crate::support::process::Process;
use crate::support::shell::Shell;
use crate::support::{until, until_so};

/// Nodes of which the first few found a cluster, and the others join it. Their ids are their ports.
struct Cluster {
    ports: Ports,
    founders: usize,
    lab: bool,
    dir: TempDir,
    nodes: Vec<Option<Process>>,
}

impl Cluster {
    fn found(founders: usize, all: u16) -> Self {
        Self::of(founders, all, false)
    }

    /// The same for a lab.
    fn lab(founders: usize, all: u16) -> Self {
        Self::of(founders, all, true)
    }

    fn of(founders: usize, all: u16, lab: bool) -> Self {
        let nodes = (0..all).map(|_| None).collect();
        let mut cluster = Self { ports: Ports::take(all), founders, lab, dir: TempDir::new().unwrap(), nodes };
        (0..founders).for_each(|at| cluster.spawn(at));
        (0..founders).for_each(|at| cluster.wait_until_up(at));
        until_so("a leader", || cluster.call::<_, Wrote>(0, "kv.put", &("first", 0)).is_ok());
        cluster
    }

    /// Founders are told who founds the cluster; the others are told to join it.
    fn spawn(&mut self, at: usize) {
        let (port, dir) = (self.ports.at(at), self.dir.path());
        let log = File::options().create(true).append(true).open(dir.join(format!("{port}.log"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.env_remove("RUST_LOG").args(["serve", "--until-stdin-closes", "--id", &port.to_string()]);
        command.args(["--listen", &address_of(port), "--data"]).arg(self.data(at));
        for founder in (0..self.founders).map(|founder| self.ports.at(founder)) {
            command.arg("--member").arg(format!("{founder}={}", address_of(founder)));
        }
        if at >= self.founders {
            command.arg("--join");
        }
        if self.lab {
            command.arg("--lab");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        self.nodes[at] = Some(Process(command.spawn().unwrap()));
    }

    fn start(&mut self, at: usize) {
        self.spawn(at);
        self.wait_until_up(at);
    }

    fn wait_until_up(&self, at: usize) {
        until_so("a node to answer", || self.call::<_, Version>(at, "synod.version", &()).is_ok());
    }

    fn kill(&mut self, at: usize) {
        self.nodes[at].take().expect("the node is up").kill();
    }

    fn data(&self, at: usize) -> PathBuf {
        self.dir.path().join(self.ports.at(at).to_string())
    }

    fn client(&self, at: usize) -> Client {
        Client::new(&address_of(self.ports.at(at)), Duration::from_secs(70))
    }

    fn call<P: Serialize, T: DeserializeOwned>(&self, at: usize, method: &str, params: &P) -> Result<T, CallError> {
        self.client(at).call(method, params)
    }

    fn status(&self, at: usize) -> StrongStatus {
        self.call(at, "bully.status", &()).unwrap()
    }

    /// A change, asked of a node again until it is made: a leader may have to be elected first.
    #[track_caller]
    fn change(&self, at: usize, method: &str, params: &impl Serialize) {
        until(method, || match self.call::<_, Wrote>(at, method, params) {
            Ok(wrote) => {
                assert!(wrote.counter > 0);
                Some(())
            }
            Err(CallError::Fault(fault)) if [CHANGING.code, UNAVAILABLE.code].contains(&fault.code) => None,
            Err(error) => panic!("{method}: {error}"),
        });
    }

    #[track_caller]
    fn add(&self, asked: usize, node: usize) {
        let port = self.ports.at(node);
        self.change(asked, "cluster.add", &(u32::from(port), address_of(port)));
    }

    #[track_caller]
    fn remove(&self, asked: usize, node: usize) {
        self.change(asked, "cluster.remove", &(u32::from(self.ports.at(node)),));
    }

    /// Waits until each of these says that they are the members, and no others.
    #[track_caller]
    fn all_say(&self, members: &[usize]) {
        let ports: Vec<u32> = members.iter().map(|&at| self.ports.at(at).into()).collect();
        for &at in members {
            until_so("a node to know the members", || {
                let found: Result<MembersAnswer, _> = self.call(at, "cluster.members", &());
                found.is_ok_and(|found| {
                    let nodes: Vec<u32> = found.members.iter().map(|member| member.node.number()).collect();
                    let there =
                        found.members.iter().all(|member| member.address.ends_with(&format!(":{}", member.node)));
                    !found.changing && nodes == ports && there
                })
            });
        }
    }

    /// Which of these leads, once they know.
    fn leader(&self, members: &[usize]) -> usize {
        until("a leader", || {
            let leader = self.status(members[0]).leader?.number();
            members.iter().copied().find(|&at| u32::from(self.ports.at(at)) == leader)
        })
    }
}

/// Clients that write, each one key after another, wherever somebody answers.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<u64>>,
}

impl Load {
    fn start(cluster: &Cluster, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let nodes: Vec<Client> = (0..cluster.ports.count()).map(|at| cluster.client(at)).collect();
        let start = |name: usize| {
            let (stop, nodes) = (stop.clone(), nodes.clone());
            thread::spawn(move || write_until(&stop, &nodes, name))
        };
        Self { clients: (0..clients).map(start).collect(), stop }
    }

    /// How many writes of each client were answered.
    fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().unwrap()).collect()
    }
}

fn write_until(stop: &AtomicBool, nodes: &[Client], name: usize) -> u64 {
    let (mut at, mut written) = (name, 0);
    while !stop.load(Ordering::Relaxed) {
        let next = written + 1;
        let request = Some(format!("client{name}/{next}"));
        let options = WriteOptions { request, deadline_ms: Some(1000), ..WriteOptions::default() };
        match nodes[at % nodes.len()].call::<_, Wrote>("kv.put", &(format!("k{name}/{next}"), next, options)) {
            Ok(_) => written = next,
            Err(_) => at += 1,
        }
    }
    written
}

/// What was answered is there.
#[track_caller]
fn check_written(cluster: &Cluster, at: usize, written: &[u64]) {
    for (name, &count) in written.iter().enumerate() {
        assert!(count > 0, "client {name} wrote nothing");
        for number in 1..=count {
            let options = ReadOptions { deadline_ms: Some(60_000), ..ReadOptions::default() };
            let got: Got = cluster.call(at, "kv.get", &(format!("k{name}/{number}"), options)).unwrap();
            assert!(got.found && got.version == Some(1), "k{name}/{number} of {count}: {got:?}");
        }
    }
}

#[test]
fn a_cluster_grows_under_load_and_its_founders_go_one_by_one() {
    let mut cluster = Cluster::found(3, 5);
    let load = Load::start(&cluster, 3);
    cluster.start(3);
    // Nobody has added it: it is no member, and says so.
    let answer =
        cluster.call::<_, Wrote>(3, "kv.put", &("x", 1, WriteOptions { deadline_ms: Some(50), ..Default::default() }));
    assert_eq!(fault(answer).code, NO_MEMBER.code);
    cluster.add(0, 3);
    cluster.start(4);
    cluster.add(3, 4);
    cluster.all_say(&[0, 1, 2, 3, 4]);
    until_so("the new members to vote", || [3, 4].iter().all(|&at| cluster.status(at).votes));
    let mut founders = vec![0, 1, 2];
    while !founders.is_empty() {
        let members: Vec<usize> = founders.iter().copied().chain([3, 4]).collect();
        // The leader first, if it is one of them.
        let leader = cluster.leader(&members);
        let epoch = cluster.status(4).epoch;
        let goes = if founders.contains(&leader) { leader } else { founders[0] };
        founders.retain(|&founder| founder != goes);
        cluster.remove(4, goes);
        let rest: Vec<usize> = members.into_iter().filter(|&member| member != goes).collect();
        cluster.all_say(&rest);
        assert_ne!(cluster.leader(&rest), goes);
        // It is told, by the leader that removed it, and takes nothing any more.
        if goes == leader || cluster.status(4).epoch == epoch {
            until_so("the removed node to know", || !cluster.status(goes).member);
        }
        cluster.kill(goes);
    }
    let written = load.end();
    check_written(&cluster, 3, &written);
    // The log keeps who the members are, whatever the arguments say.
    for at in [3, 4] {
        cluster.kill(at);
    }
    for at in [3, 4] {
        cluster.spawn(at);
    }
    for at in [3, 4] {
        cluster.wait_until_up(at);
    }
    cluster.all_say(&[3, 4]);
    check_written(&cluster, 4, &written);
    until_so("a write after all", || cluster.call::<_, Wrote>(3, "kv.put", &("last", 1)).is_ok());
}

#[test]
fn a_fresh_node_replaces_one_that_was_wiped() {
    let mut cluster = Cluster::found(3, 4);
    let load = Load::start(&cluster, 2);
    cluster.kill(1);
    fs::remove_dir_all(cluster.data(1)).unwrap();
    cluster.remove(0, 1);
    cluster.start(3);
    cluster.add(2, 3);
    cluster.all_say(&[0, 2, 3]);
    let written = load.end();
    // With one of the old ones down the new one is needed for every write.
    cluster.kill(2);
    let put = |key: &str| cluster.call::<_, Wrote>(0, "kv.put", &(key, 1)).is_ok();
    until_so("a write with the new member's voice", || put("after"));
    check_written(&cluster, 3, &written);
    // And the wiped one comes back under its old name.
    let founders = std::mem::replace(&mut cluster.founders, 1);
    cluster.start(2);
    cluster.start(1);
    cluster.add(0, 1);
    cluster.all_say(&[0, 1, 2, 3]);
    cluster.founders = founders;
    check_written(&cluster, 1, &written);
}

#[test]
fn what_cannot_be_changed_is_refused_and_named() {
    let mut cluster = Cluster::found(2, 3);
    let [first, second, third] = [0, 1, 2].map(|at| u32::from(cluster.ports.at(at)));
    let refused = |at, method: &str, params: (u32, Option<&str>)| {
        let answer = match params {
            (node, Some(address)) => cluster.call::<_, Wrote>(at, method, &(node, address)),
            (node, None) => cluster.call(at, method, &(node,)),
        };
        fault(answer)
    };
    for at in [0, 1] {
        let taken = refused(at, "cluster.add", (second, Some("127.0.0.1:7")));
        assert!(taken.code == MEMBER.code && taken.string.contains("is a member already"), "{taken}");
        let address = refused(at, "cluster.add", (third, Some(&address_of(cluster.ports.at(1)))));
        assert!(address.code == MEMBER.code && address.string.contains("another member's"), "{address}");
        let nobody = refused(at, "cluster.add", (third, Some(&address_of(cluster.ports.at(2)))));
        assert!(nobody.code == NEWCOMER_SILENT.code && nobody.string.contains("--join"), "{nobody}");
        let none = refused(at, "cluster.remove", (third, None));
        assert_eq!(none.code, NO_MEMBER.code, "{none}");
        for bad in ["", "here", ":1", "127.0.0.1:0", "127.0.0.1:65536", "::1:7", "a b:7"] {
            let bad = refused(at, "cluster.add", (third, Some(bad)));
            assert_eq!(bad.code, BAD_OPTION.code, "{bad}");
        }
    }
    // A second change while the first waits for its node.
    let client = cluster.client(0);
    let silent = address_of(cluster.ports.at(2));
    let waiting = thread::spawn(move || {
        until("its turn", || {
            let answer = fault(client.call::<_, Wrote>("cluster.add", &(third, &silent)));
            (answer.code != CHANGING.code).then_some(answer)
        })
    });
    until_so("a change under way", || {
        let answer = cluster.call::<_, Wrote>(1, "cluster.add", &(third, "127.0.0.1:7"));
        fault(answer).code == CHANGING.code
    });
    assert_eq!(waiting.join().unwrap().code, NEWCOMER_SILENT.code);
    cluster.all_say(&[0, 1]);
    cluster.remove(1, 0);
    cluster.all_say(&[1]);
    let last = fault(cluster.call::<_, Wrote>(1, "cluster.remove", &(second,)));
    assert_eq!(last.code, MEMBER_COUNT.code, "{last}");
    until_so("the removed node to know", || !cluster.status(0).member);
    assert_ne!(first, second);

    // From one to two again, with the shell.
    cluster.start(2);
    let ran = Shell::connect(cluster.ports.at(1)).commands([format!("members add {third}"), "members".to_owned()]);
    let lines = ran.good();
    assert_eq!(lines[0], format!("{third} at 127.0.0.1:{third} is a member now."));
    for node in [second, third] {
        assert!(lines[1..].iter().any(|line| line.contains(&format!("127.0.0.1:{node}"))), "{lines:?}");
    }
    cluster.all_say(&[1, 2]);
}

/// The page of a node, as a browser gets it.
fn page(port: u16) -> String {
    get(port, "/", &["Accept: text/html"]).body
}

/// Waits until the page of a node has all of these, and gives it.
#[track_caller]
fn until_page(port: u16, parts: &[&str]) -> String {
    until("a page with all that", || {
        let page = page(port);
        parts.iter().all(|part| page.contains(part)).then_some(page)
    })
}

#[test]
fn the_page_shows_who_belongs_to_the_cluster_now() {
    let mut cluster = Cluster::lab(5, 6);
    let (first, sixth) = (cluster.ports.at(0), cluster.ports.at(5));
    let (row, side) = (format!("data-key=\"{sixth}\""), format!("name=\"side-{sixth}\""));
    let five = until_page(first, &["5 of 5 up, can lose 2 more"]);
    assert!(!five.contains(&row) && !five.contains(&side), "{five}");
    cluster.start(5);
    // It is no member yet: it keeps no board, and says what to do.
    let early = fault(cluster.call::<_, Written>(5, "board.eventual.post", &("early",)));
    assert!(early.code == NO_MEMBER.code && early.string.contains("cluster.add"), "{early}");
    assert_eq!(fault(cluster.call::<_, Vec<Entry>>(5, "board.eventual.list", &())).code, NO_MEMBER.code);
    assert_eq!(post(first, "/eventual", "entry=before", &[]).status, 201);
    cluster.add(0, 5);
    // Its row, its fault button, and why it is no acceptor: on the page of another node, and on its own.
    for at in [0, 5] {
        let page = until_page(cluster.ports.at(at), &["6 of 6 up, can lose 2 more", &row, &side]);
        assert!(page.contains("no acceptor: it joined later"), "{page}");
        assert_eq!(page.contains("Propose here"), at == 0, "{page}");
    }
    // The forms reach it.
    let cut = format!("do=cut&from={sixth}&to={first}");
    assert_eq!(post(first, "/lab", &cut, &[]).status, 200);
    until_page(first, &["1 links fail"]);
    assert_eq!(post(first, "/lab", "do=heal", &[]).status, 200);
    until_page(first, &["All links are whole"]);

    // The eventual board is kept by all six.
    let written =
        until("the newcomer to be told", || cluster.call::<_, Written>(5, "board.eventual.post", &("now",)).ok());
    assert!(written.id.ends_with(&format!(".{sixth}")), "{written:?}");
    let texts = |at| -> Vec<String> {
        let entries: Vec<Entry> = cluster.call(at, "board.eventual.list", &()).unwrap();
        entries.into_iter().map(|entry| entry.text).collect()
    };
    for at in 0..6 {
        until_so("the boards to be the same", || texts(at) == ["before", "now"]);
    }
    let everywhere = |port: u16, posts: usize| {
        until_so("everywhere", || page(port).matches("</span> everywhere</span>").count() == posts);
    };
    everywhere(first, 2);
    everywhere(sixth, 2);
    let register = fault(cluster.call::<_, Entry>(5, "register.read", &("x",)));
    assert!(register.code == NO_MEMBER.code && register.string.contains("founded"), "{register}");

    // Down, it is missed; removed, it is not.
    cluster.kill(5);
    until_page(first, &["5 of 6 up, can lose 1 more"]);
    assert_eq!(post(first, "/eventual", "entry=after", &[]).status, 201);
    let status = || -> BoardStatus { cluster.call(0, "board.eventual.status", &()).unwrap() };
    until_so("an entry that waits", || status().pending > 0);
    cluster.remove(0, 5);
    let five = until_page(first, &["5 of 5 up, can lose 2 more"]);
    assert!(!five.contains(&row) && !five.contains(&side) && !five.contains("no acceptor"), "{five}");
    until_so("nothing that waits", || status().pending == 0);
    everywhere(first, 3);
}

/// What matters of the answers about the eventual board.
#[derive(Debug, Deserialize)]
struct Written {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Entry {
    text: String,
}

#[derive(Debug, Deserialize)]
struct BoardStatus {
    pending: u64,
}

#[test]
fn the_shell_follows_the_members_and_runs_those_who_join() {
    let (ports, data) = (Ports::take(6), TempDir::new().unwrap());
    let shell = || {
        let base = ports.first().to_string();
        Shell::bare().with(["--nodes", "5", "--base-port", &base, "--data"]).with([data.path()]).session()
    };
    let [first, second, fifth, sixth] = [0, 1, 4, 5].map(|at| ports.at(at));
    let is_in = |lines: &[String], port: u16| lines.iter().any(|line| line.contains(&format!("│ {port} ")));
    let mut session = shell();
    session.tell("put a 1", "Key 'a'");
    let lines =
        session.tell(&format!("members add {sixth}"), &format!("{sixth} at 127.0.0.1:{sixth} is a member now."));
    assert_eq!(lines[0], format!("Node {sixth} was started, to join."));
    assert!(is_in(&session.tell("members", "└"), sixth));
    let lines = session.tell("status", "6 of 6 nodes are up; 2 more may fail.");
    assert_eq!(lines.iter().filter(|line| line.contains(&format!("│ {sixth} "))).count(), 2, "{lines:?}");
    let lines = session.tell("leader", "");
    assert!(lines[0].contains("of 6 nodes."), "{lines:?}");
    session.tell(&format!("crash {sixth}"), &format!("Node {sixth} was killed"));
    session.tell("status", "5 of 6 nodes are up; 1 more may fail.");
    session.leave();

    // Another day: it is started with the others. What single values are about is the founders', still.
    let mut session = shell();
    session.tell("status", "6 of 6 nodes are up; 2 more may fail.");
    session.tell(&format!("A_wins {first} {second} red blue"), "Checked: all 5 nodes have decided 'red', and so say");
    session.tell("put a 2", "Key 'a'");
    let gone = format!("Node {sixth} is no member any more, and is stopped. What it had is on its disk.");
    session.tell(&format!("members remove {sixth}"), &gone);
    assert!(Client::new(&address_of(sixth), Duration::from_secs(1)).call::<_, Version>("synod.version", &()).is_err());
    let lines = session.tell("status", "5 of 5 nodes are up; 2 more may fail.");
    assert!(!is_in(&lines, sixth), "{lines:?}");
    assert!(!is_in(&session.tell("members", "└"), sixth));

    // A founder that is removed decides on.
    session.tell("put a 3", "Key 'a'");
    session.tell(&format!("members remove {fifth}"), "It runs on");
    let lines = session.tell("status", "4 of 4 nodes are up; 1 more may fail.");
    assert!(!is_in(&lines, fifth), "{lines:?}");
    let decided: Decided = Client::new(&address_of(fifth), Duration::from_secs(5)).call("decided", &()).unwrap();
    assert!(decided.decided);
    session.leave();
}

#[test]
fn the_shell_follows_members_that_others_change() {
    let (ports, data) = (Ports::take(3), TempDir::new().unwrap());
    let base = ports.first().to_string();
    let mut session =
        Shell::bare().with(["--nodes", "3", "--base-port", &base, "--data"]).with([data.path()]).session();
    session.tell("put a 1", "Key 'a'");
    let third = ports.at(2);
    let client = Client::new(&address_of(ports.at(0)), Duration::from_secs(60));
    let _: Wrote = client.call("cluster.remove", &(u32::from(third),)).unwrap();
    until_so("the node that the shell asks to know", || {
        client.call::<_, MembersAnswer>("cluster.members", &()).is_ok_and(|found| found.members.len() == 2)
            && client.call::<_, Status>("status", &()).is_ok_and(|status| status.members.len() == 2)
    });
    session.tell("status", "2 of 2 nodes are up; 0 more may fail.");
    session.leave();
}
