//! Whose nodes are they? Shells that share nodes, ports that are taken, signals, and directories in use.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::support::nodes::{Nodes, is_listening};
use crate::support::ports::Ports;
use crate::support::process::{Process, Ran};
use crate::support::shell::{Place, Shell};
use crate::support::{until, until_so};

/// `synod up`, once it is ready. What else it prints is thrown away.
fn up(place: &Place) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    command.args(["up", "--nodes", "5", "--base-port", &place.port(0).to_string(), "--data"]).arg(place.data.path());
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map(Process).unwrap();
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    for port in place.ports.all() {
        assert_eq!(lines.next().unwrap().unwrap(), format!("node {port} listens on http://127.0.0.1:{port}"));
    }
    assert!(lines.next().unwrap().unwrap().starts_with("ready"));
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    process
}

#[test]
fn a_shell_uses_the_nodes_that_run_and_leaves_them_running() {
    let place = Place::new();
    let [p0, p1] = [0, 1].map(|node| place.port(node));
    let mut up = up(&place);
    place.shell().commands([format!("set value 5 on {p0}")]).good();
    // The second one finds what the first one did, on the same nodes.
    for shell in [place.shell(), Shell::connect(place.port(3))] {
        let ran = shell.commands([format!("set value 6 on {p1}")]);
        assert!(ran.ended_with(1)[1].contains("'5' had been"), "{}", ran.stdout);
    }
    for command in [format!("crash {p0}"), format!("start {p0}")] {
        let ran = place.shell().commands([command]);
        ran.ended_with(1);
        ran.complains(&["not started by this shell"]);
    }
    let status = place.shell().commands(["status"]);
    assert!(status.good().contains(&"5 of 5 nodes are up; 2 more may fail."), "{}", status.stdout);
    // A race needs nothing of its own either.
    place.shell().commands(["restart".to_owned(), format!("B_wins {p0} {p1} 1 2")]).good();
    up.signal("TERM");
    assert_eq!(up.ended().code(), Some(0));
}

#[test]
fn two_shells_share_the_nodes_of_the_first() {
    let place = Place::new();
    let [p0, p1] = [0, 1].map(|node| place.port(node));
    let mut first = place.shell().session();
    first.tell(&format!("set value 5 on {p0}"), &format!("Node {p0} responded: "));
    let ran = place.shell().commands([format!("set value 5 on {p1}"), format!("crash {p1}")]);
    assert_eq!(ran.ended_with(1), [format!("Node {p1} responded: Value '5' has been updated and committed.")]);
    ran.complains(&["not started by this shell"]);
    first.tell("status", "5 of 5 nodes are up");
    first.leave();
    until_so("the nodes to end with their shell", || !place.ports.all().into_iter().any(is_listening));
}

#[test]
fn sigterm_and_ctrl_c_end_a_node_and_a_cluster_with_0() {
    for signal in ["TERM", "INT"] {
        let mut nodes = Nodes::lab(3);
        nodes.propose(0, 5, "default");
        nodes.process(1).signal(signal);
        assert_eq!(nodes.process(1).ended().code(), Some(0), "{signal}");
        assert!(!is_listening(nodes.ports.at(1)));
        nodes.propose(2, 5, "default");

        let place = Place::new();
        let mut up = up(&place);
        up.signal(signal);
        assert_eq!(up.ended().code(), Some(0), "{signal}");
        assert!(!place.ports.all().into_iter().any(is_listening), "{signal}");
    }
}

#[test]
fn the_nodes_of_a_cluster_that_is_killed_go_away_by_themselves() {
    let place = Place::new();
    let mut cluster = up(&place);
    place.shell().commands([format!("set value 5 on {}", place.port(0))]).good();
    cluster.kill();
    until_so("the nodes to go away", || !place.ports.all().into_iter().any(is_listening));
    // And what they had is there again, once they have let go of it: a node closes its port before its directory.
    let set = format!("set value 6 on {}", place.port(1));
    let ran = until("the directories to be free", || {
        Some(place.shell().commands([&set])).filter(|ran| !ran.stderr.contains("is in use by another process"))
    });
    assert!(ran.ended_with(1)[1].contains("'5' had been"), "{}", ran.stdout);
}

#[test]
fn a_port_that_another_program_uses_is_named() {
    thread::scope(|scope| {
        // One never answers at all, one speaks another protocol, one answers with something else, one hangs up.
        let html = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi!";
        for answer in [None, Some("SSH-2.0-rubbish\r\n"), Some(html), Some("")] {
            scope.spawn(move || {
                let place = Place::new();
                let taken = place.port(2);
                let _listener = other_program(taken, answer);
                complains(place.shell().commands(["status"]), taken);
                // The other ports were left alone.
                assert!(place.ports.all().into_iter().all(|port| port == taken || !is_listening(port)));
            });
        }
    });

    #[track_caller]
    fn complains(ran: Ran, taken: u16) {
        assert_eq!(ran.ended_with(3), Vec::<&str>::new());
        ran.complains(&[&taken.to_string(), "--base-port"]);
    }
}

/// Another program on a port: it hangs up after this answer, or never answers.
fn other_program(port: u16, answer: Option<&'static str>) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    if let Some(answer) = answer {
        let listener = listener.try_clone().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // Whoever asks may have hung up.
                _ = stream.read(&mut [0; 2000]).and_then(|_| stream.write_all(answer.as_bytes()));
            }
        });
    }
    listener
}

#[test]
fn up_and_serve_name_a_port_that_is_taken() {
    let place = Place::new();
    let taken = place.port(1);
    let _listener = other_program(taken, Some(""));
    let first = place.port(0).to_string();
    let up = Shell::bare().with(["up", "--base-port", &first, "--data"]).with([place.data.path()]).run("");
    up.ended_with(3);
    up.complains(&[&format!("127.0.0.1:{taken} is in use"), "--base-port"]);
    let others: Vec<u16> = place.ports.all().into_iter().filter(|&port| port != taken).collect();
    until_so("the other nodes to be gone", || !others.iter().copied().any(is_listening));

    let address = format!("127.0.0.1:{taken}");
    let member = format!("1={address}");
    let serve = ["serve", "--id", "1", "--listen", &address, "--member", &member, "--data"];
    let ran = Shell::bare().with(serve).with([place.data.path()]).run("");
    ran.ended_with(3);
    ran.complains(&[&format!("{address} is in use"), "--listen"]);
}

#[test]
fn up_refuses_the_ports_of_a_cluster_that_runs() {
    let place = Place::new();
    let _first = up(&place);
    let data = TempDir::new().unwrap();
    let port = place.port(0).to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    command.args(["up", "--base-port", &port, "--data"]).arg(data.path());
    let second = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut second = Process(second);
    let mut said = String::new();
    BufReader::new(second.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "");
    assert_eq!(second.ended().code(), Some(3));
}

#[test]
fn a_second_process_refuses_a_directory_in_use() {
    let nodes = Nodes::lab(3);
    let spare = Ports::take(1);
    let data = nodes.data_of(1);
    let ran = Ran::of(&mut nodes.command(1, spare.first(), &data), "");
    ran.ended_with(3);
    ran.complains(&[&data.display().to_string()]);
    assert!(!is_listening(spare.first()));
    // The first one is none the worse for it.
    nodes.propose(1, 5, "default");
    nodes.all_learn("default", "5");
}

#[test]
fn a_node_refuses_the_directory_of_another() {
    let mut nodes = Nodes::lab(3);
    nodes.propose(0, 5, "default");
    nodes.kill(1);
    nodes.kill(2);
    let data = nodes.data_of(2);
    let ran = Ran::of(&mut nodes.command(1, nodes.ports.at(1), &data), "");
    ran.ended_with(3);
    ran.complains(&[&nodes.ports.at(2).to_string()]);
}

#[test]
fn a_cluster_file_says_who_is_where() {
    let ports = Ports::take(3);
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("cluster.toml");
    let members: String = ports.all().iter().map(|port| format!("{port} = \"127.0.0.1:{port}\"\n")).collect();
    fs::write(&file, format!("[members]\n{members}")).unwrap();
    let start = |port: u16| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.args(["serve", "--lab", "--until-stdin-closes", "--id", &port.to_string(), "--cluster"]).arg(&file);
        command.arg("--data").arg(dir.path().join(port.to_string())).stdin(Stdio::piped()).spawn().map(Process).unwrap()
    };
    let nodes: Vec<Process> = ports.all().into_iter().map(start).collect();
    until_so("the nodes to listen", || ports.all().into_iter().all(is_listening));
    let ran = Shell::connect(ports.at(1)).commands([format!("set value 5 on {}", ports.at(2)), "status".to_owned()]);
    assert!(ran.good().contains(&"3 of 3 nodes are up; 1 more may fail."), "{}", ran.stdout);
    drop(nodes);
}

#[test]
fn ctrl_c_ends_a_script_and_its_nodes() {
    let place = Place::new();
    let running = place.shell().start("sleep 3600");
    until_so("the nodes to listen", || place.ports.all().into_iter().all(is_listening));
    // It sleeps, or is about to.
    running.process.signal("INT");
    let ran = running.finish();
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_ne!(ran.code, None, "{ran:?}");
    until_so("the nodes to end with their shell", || !place.ports.all().into_iter().any(is_listening));
}

#[test]
fn a_node_is_started_again_also_when_the_program_was_rebuilt_meanwhile() {
    let place = Place::new();
    let port = place.port(1);
    let program = place.data.path().join("synod");
    fs::copy(env!("CARGO_BIN_EXE_synod"), &program).unwrap();
    let mut session = place.shell_of(&program).session();
    session.tell(&format!("crash {port}"), &format!("Node {port} was killed."));
    fs::copy(&program, place.data.path().join("new")).unwrap();
    fs::rename(place.data.path().join("new"), &program).unwrap();
    session.tell(&format!("start {port}"), &format!("Node {port} is up again"));
    session.leave();
}
