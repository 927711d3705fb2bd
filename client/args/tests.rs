//! The command line, given as words.

use super::*;

/// Parses `synod` with the words of `line`.
fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::read(std::iter::once("synod").chain(line.split_whitespace()))
}

#[test]
fn clap_finds_no_contradiction() {
    Args::command().debug_assert();
}

#[test]
fn the_shell_has_defaults() {
    let args = parse("").unwrap();
    assert!(args.action.is_none());
    let local = LocalArgs { nodes: 5, base_port: 8000, data: "data".into() };
    assert_eq!(args.shell.local, local);
    assert_eq!(args.shell.output, Output::Text);
    assert_eq!(args.verbose, 0);
}

#[test]
fn good_lines_are_taken() {
    for line in [
        "--nodes 9 --base-port 65527 --data /tmp/x",
        "--connect localhost:8000 -c status -c show",
        "--connect [::1]:8000",
        "-f script --keep-going --output json -vv",
        "-f -",
        "up",
        "up --nodes 1 --base-port 9000 --data d -v",
        "-v up",
        "check history.jsonl",
        "check - --budget 1 -v",
        "serve --id 8000 --cluster c.toml",
        "serve --id 8000 --cluster c.toml --lab --until-stdin-closes -vvv",
        "serve --id 1 --listen 0.0.0.0:0 --member 1=a:1 --member 2=b:2 --data x",
        "sim",
        "sim --protocol paxos --seeds 5 --seed 7 --nodes 15 --steps 10 --faults loss,crash=2..3 --trace t.jsonl -v",
        "bench",
        "bench --workload put --clients 256 --seconds 5 --value-bytes 256 --nodes 5 --base-port 18800 --json",
        "bench --connect localhost:8000 --user alice --workload multicall --batch 1000 --at any --warm-up 0",
        "bench failover --nodes 3 --base-port 18800 -v",
        "bench failover --rounds 2 --how stop --data /tmp --timeout-ms 100",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn mistakes_exit_with_2_and_say_what_is_wrong() {
    for (line, says) in [
        ("--nodes 0", "0 is not in 1..=9"),
        ("--nodes 10", "10 is not in 1..=9"),
        ("--base-port 0", "0 is not in 1..=65535"),
        ("--base-port 65532", "the port 65536, but ports end at 65535"),
        ("up --base-port 65535", "the port 65539, but ports end at 65535"),
        ("--connect localhost:8000 --nodes 3", "cannot be used with"),
        ("--connect localhost:8000 --data d", "cannot be used with"),
        ("--connect localhost", "looks like HOST:PORT"),
        ("--connect :8000", "the host is missing"),
        ("--connect ::1:8000", "needs brackets"),
        ("--connect h:0", "port 0 is only good for listening"),
        ("--connect h:65536", "up to 65535"),
        ("--connect h:+80", "up to 65535"),
        ("-c status -f script", "cannot be used with"),
        ("--output xml", "possible values: text, json"),
        ("restart", "'restart' is a command of the shell"),
        ("SET value 5 on 8000", "synod -c 'SET ...'"),
        ("nonsense", "unrecognized subcommand"),
        ("--nodes 3 up", "--nodes is for the shell"),
        ("-c status serve --id 1 --cluster c", "--command is for the shell"),
        ("sim --nodes 16", "at most 15 nodes, not 16"),
        ("sim --seeds 0", "0 is not in 1.."),
        ("sim --seed -1", "'-1'"),
        ("sim --protocol raft", "'raft' is no protocol"),
        ("sim --faults fire", "'fire' is no fault"),
        ("--nodes 3 sim", "--nodes is for the shell"),
        ("check", "HISTORY.jsonl"),
        ("check h --budget 0", "0 is not in 1.."),
        ("--nodes 3 check h", "--nodes is for the shell"),
        ("bench --workload sing", "possible values: put, get, mixed, propose, append, multicall"),
        ("bench --clients 0", "0 is not in 1..=1000"),
        ("bench --seconds 0", "0.01 is the least"),
        ("bench --seconds NaN", "a number of seconds is wanted"),
        ("bench --warm-up -1", "unexpected argument '-1'"),
        ("bench --base-port 65534", "the port 65536, but ports end at 65535"),
        ("bench --connect h:1 --nodes 3", "cannot be used with"),
        ("bench --user alice", "--connect"),
        ("bench --json failover", "cannot be used with"),
        ("bench failover --connect h:1", "unexpected argument '--connect'"),
        ("bench failover --base-port 65534", "the port 65536, but ports end at 65535"),
        ("serve --id 1", "--listen"),
        ("serve --id 1 --listen h:1", "--member"),
        ("serve --id 0 --cluster c", "0 is not in 1.."),
        ("serve --cluster c", "--id"),
        ("serve --id 1 --listen h:1 --member h:1", "looks like ID=HOST:PORT"),
        ("serve --id 1 --listen h:1 --member x=h:1", "the id must be a number"),
        ("serve --id 1 --listen h:1 --member 0=h:1", "the id must be a number"),
        ("serve --id 1 --listen h:1 --member 1=h", "looks like HOST:PORT"),
        ("serve --id 1 --listen h:1 --member 1=h:1 --member 1=h:2", "the member 1 is given twice"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(says), "{line}: {error}");
    }
}

#[test]
fn members_are_split() {
    let args = parse("serve --id 1 --listen h:1 --member 1=h:1 --member 2=[::1]:9").unwrap();
    let Some(Action::Serve(serve)) = args.action else { panic!("not serve") };
    let members = [MemberArg { id: 1, address: "h:1".to_owned() }, MemberArg { id: 2, address: "[::1]:9".to_owned() }];
    assert_eq!(serve.members, members);
    assert_eq!(serve.listen.as_deref(), Some("h:1"));
}

#[test]
fn the_hidden_flag_is_hidden() {
    let mut command = Args::command();
    let serve = command.find_subcommand_mut("serve").unwrap();
    assert!(!serve.render_long_help().to_string().contains("until-stdin-closes"));
}
