//! `synod bench` on real processes: are the operations that it counts really there, and is nothing left of its nodes?

use std::process::{Command, Stdio};

use serde_json::Value as Json;
use synod::rpc::answers::Decided;
use synod::rpc::client::Client;
use synod::rpc::strong::answers::{FileRow, Listed};
use tempfile::TempDir;

use crate::support::nodes::Nodes;
use crate::support::ports::Ports;
use crate::support::process::{Process, Ran, Running};
use crate::support::{PATIENCE, until_so};

fn synod(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    command.env_remove("RUST_LOG").arg("bench").args(words);
    command
}

/// Runs half a second of load on a running cluster: what it printed.
#[track_caller]
fn load(nodes: &Nodes, words: &str) -> Json {
    let address = format!("127.0.0.1:{}", nodes.ports.first());
    let mut all = vec!["--connect", &address, "--seconds", "0.5", "--warm-up", "0.1", "--clients", "4", "--json"];
    all.extend(words.split_whitespace());
    let ran = Ran::of(&mut synod(&all), "");
    let printed: Json = serde_json::from_str(ran.good()[0]).unwrap();
    assert_eq!((&printed["errors"], &printed["nodes"], &printed["clients"]), (&0.into(), &3.into(), &4.into()));
    let [operations, acknowledged] = ["operations", "acknowledged"].map(|name| printed[name].as_u64().unwrap());
    assert!(0 < operations && operations <= acknowledged, "{printed}");
    assert!(printed["ops_per_second"].as_f64().unwrap() > 0.0, "{printed}");
    let [p50, p99, max] = ["p50_ms", "p99_ms", "max_ms"].map(|name| printed[name].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{printed}");
    printed
}

fn acknowledged(printed: &Json) -> u64 {
    printed["acknowledged"].as_u64().unwrap()
}

fn client(nodes: &Nodes) -> Client {
    Client::new(&format!("127.0.0.1:{}", nodes.ports.first()), PATIENCE)
}

/// How often the benchmark's keys have been put: versions count.
fn puts(nodes: &Nodes) -> u64 {
    let listed: Listed = client(nodes).call("kv.list", &("bench/",)).unwrap();
    assert!(!listed.more, "the tests use few keys");
    listed.entries.iter().map(|row| row.version).sum()
}

#[test]
fn every_operation_that_is_counted_has_been_done() {
    let nodes = Nodes::service(3);
    let mut expected = 0;
    for words in ["--workload put", "--workload put --at any", "--workload multicall --batch 7"] {
        let printed = load(&nodes, &format!("{words} --keys 100"));
        expected += acknowledged(&printed);
        assert_eq!(puts(&nodes), expected, "{words}: {printed}");
    }

    let printed = load(&nodes, "--workload get --keys 100");
    // They were all written once more before they were read.
    expected += 100;
    assert_eq!(puts(&nodes), expected, "{printed}");
    let printed = load(&nodes, "--workload mixed --keys 100");
    let put = puts(&nodes) - expected - 100;
    assert!(0 < put && put < acknowledged(&printed), "{put} puts: {printed}");

    let printed = load(&nodes, "--workload append --value-bytes 50");
    let files: Vec<FileRow> = client(&nodes).call("files.list", &()).unwrap();
    assert_eq!(files.iter().map(|file| file.lines).sum::<u64>(), acknowledged(&printed), "{printed}");

    let printed = load(&nodes, "--workload propose");
    let run = printed["run"].as_str().unwrap();
    let decided = |instance: &str| client(&nodes).call::<_, Decided>("decided", &(instance,)).unwrap().decided;
    let count =
        |client: u32| (1_u64..).take_while(|number| decided(&format!("bench-{run}-{client}-{number:08}"))).count();
    assert_eq!((0..4).map(count).sum::<usize>() as u64, acknowledged(&printed), "{printed}");
}

#[test]
fn its_own_nodes_and_their_directory_are_gone_at_the_end() {
    let (ports, data) = (Ports::take(3), TempDir::new().unwrap());
    let (port, dir) = (ports.first().to_string(), data.path().to_str().unwrap());
    let own = ["--base-port", &port, "--nodes", "3", "--data", dir];
    let ran = Ran::of(synod(&own).args(["--seconds", "0.2", "--warm-up", "0", "--clients", "2"]), "");
    let lines = ran.good();
    assert!(lines[0].contains("'put' from 2 clients, 256 bytes each, 3 nodes"), "{lines:?}");
    assert!(lines[1].contains("operations a second") && lines[1].ends_with(" 0 errors"), "{lines:?}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);

    // Also if it is told to end early.
    let mut command = synod(&own);
    command.args(["--seconds", "3600"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::gather(Process(command.spawn().unwrap()));
    let answers = || -> bool {
        let client = Client::new(&format!("127.0.0.1:{port}"), PATIENCE);
        client.call::<_, Listed>("kv.list", &("bench/",)).is_ok_and(|listed| !listed.entries.is_empty())
    };
    until_so("the load to begin", answers);
    running.process.signal("INT");
    let ran = running.finish();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""));
    ran.complains(&["interrupted"]);
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn no_write_is_lost_or_doubled_with_the_leader() {
    for how in ["kill", "stop"] {
        let ports = Ports::take(3);
        let port = ports.first().to_string();
        let words = ["failover", "--rounds", "2", "--clients", "4", "--how", how, "--base-port", &port, "--json"];
        let ran = Ran::of(&mut synod(&words), "");
        let printed: Json = serde_json::from_str(ran.ended_with(0)[0]).unwrap();
        assert_eq!(
            ["lost", "doubled", "wrong"].map(|name| printed[name].as_u64()),
            [Some(0), Some(0), Some(0)],
            "{how}: {printed}"
        );
        assert_eq!((&printed["states_equal"], &printed["rounds"]), (&true.into(), &2.into()), "{how}: {printed}");
        assert!(acknowledged(&printed) > 0, "{how}: {printed}");
        let gaps: Vec<f64> = printed["gaps_ms"].as_array().unwrap().iter().filter_map(Json::as_f64).collect();
        let worst = printed["worst_gap_ms"].as_f64().unwrap();
        assert!(gaps.len() == 2 && gaps.iter().all(|&gap| 0.0 < gap && gap <= worst), "{how}: {printed}");
    }
}

#[test]
fn what_traces_cost_is_measured_in_turns() {
    let nodes = Nodes::service(3);
    let address = format!("127.0.0.1:{}", nodes.ports.first());
    client(&nodes).call::<_, Json>("lab.trace.switch", &(false,)).unwrap();
    // Slices of a tenth of that, in each of which there are calls also where others take the cores.
    let words = ["--connect", &address, "--trace-cost", "--seconds", "4", "--warm-up", "0", "--clients", "4", "--json"];
    let ran = Ran::of(&mut synod(&words), "");
    let printed: Json = serde_json::from_str(ran.good()[0]).unwrap();
    for (values, count) in [("with", 24), ("without", 24), ("ratios", 12)] {
        let values = printed[values].as_array().unwrap();
        assert!(values.len() == count && values.iter().all(|value| value.as_f64().unwrap() > 0.0), "{printed}");
    }
    let [low, high] = [0, 1].map(|at| printed["ratio_quartiles"][at].as_f64().unwrap());
    let ratio = printed["ratio"].as_f64().unwrap();
    assert!(low <= ratio && ratio <= high, "{printed}");
    assert!(printed["cpu"]["us_per_op_with"].as_f64().unwrap() > 0.0, "{printed}");
    assert_eq!(printed["cpu"]["ratios"].as_array().unwrap().len(), 12, "{printed}");
}
