//! Who may call what, on real nodes: credentials, the secret that the nodes share, and TLS.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use synod::rpc::access::{NODE_NAME, Role, Secret, basic};
use synod::rpc::answers::{Proposed, Version, Whose};
use synod::rpc::client::{Authorities, CallError, Calling, Client};
use synod::rpc::faults::{
    BAD_OPTION, COMPARE, EXISTS, FORBIDDEN, MEMBER, NO_KEY, NO_LINK, NO_MEMBER, NOT_FOUND, NOT_HOLDER, NOT_NOW,
    UNAVAILABLE,
};
use synod::rpc::methods::{METHODS, Method};
use synod::rpc::text::shown;
use synod::xmlrpc::Value;
use tempfile::TempDir;

use crate::support::nodes::{Nodes, TIMEOUT, address_of, fault};
use crate::support::ports::Ports;
use crate::support::process::{Process, Ran};
use crate::support::shell::Shell;
use crate::support::{until, until_so};

/// Files as a cluster's owner makes them, with the program itself.
struct Keys {
    dir: TempDir,
    /// The secret of `root`, an administrator.
    root: String,
    /// The secret of `alice`, a client.
    alice: String,
}

impl Keys {
    fn make() -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("credentials.toml");
        let [root, alice] = ["root", "alice"].map(|name| {
            let role = if name == "root" { "admin" } else { "client" };
            let ran = credentials(&["add", name, "--role", role, "--file"], &file);
            ran.good()[0].to_owned()
        });
        assert_eq!(credentials(&["list", "--file"], &file).good(), ["alice  client", "root  admin"]);
        credentials(&["cluster"], &dir.path().join("cluster.secret")).good();
        Self { dir, root, alice }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The arguments of a node.
    fn args(&self) -> Vec<OsString> {
        self.args_with("cluster.secret")
    }

    fn args_with(&self, secret: &str) -> Vec<OsString> {
        let mut args = vec!["--credentials".into(), self.path("credentials.toml").into_os_string()];
        args.extend(["--cluster-secret".into(), self.path(secret).into_os_string()]);
        args
    }

    fn as_root(&self) -> Calling {
        Calling { authorization: Some(basic("root", &self.root)), ..Calling::plain(TIMEOUT) }
    }

    fn cluster(&self, count: u16, lab: bool) -> Nodes {
        Nodes::guarded(count, lab, &self.args(), self.as_root())
    }

    /// The `Authorization` header of a node.
    fn node(&self) -> String {
        Secret::read(&self.path("cluster.secret")).unwrap().header()
    }
}

#[track_caller]
fn credentials(words: &[&str], file: &Path) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    Ran::of(command.env_remove("RUST_LOG").arg("credentials").args(words).arg(file), "")
}

/// Whoever the node answers must not be known to it.
#[track_caller]
fn is_401<T: std::fmt::Debug>(answer: Result<T, CallError>) {
    match answer {
        Err(CallError::Garbled(text)) => assert!(text.contains("HTTP status 401"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
}

fn record(members: &[(&str, Value)]) -> Value {
    Value::Struct(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

/// Arguments that a method takes, so that only the caller's role can be what is wrong.
fn arguments(method: &str, to: u16) -> Vec<Value> {
    let number = |number: i64| Value::Int(number);
    let to = Value::Int(to.into());
    match method {
        "accept" | "commit" => vec!["1.0".into(), "x".into(), "by hand".into()],
        "prepare" => vec!["1.0".into(), "by hand".into()],
        "learn" => {
            let zeros = ["after", "count", "digest"].map(|name| (name, number(0)));
            let ask = record(&[&zeros[..], &[("open", Value::Array(vec![]))]].concat());
            vec![ask, record(&[("from", to.clone()), ("to", to), ("generation", number(1))])]
        }
        "propose" => vec!["x".into()],
        "lab.gate.hold" | "lab.gate.release" => vec!["learn".into(), to],
        "lab.trace" => vec![number(0), number(0)],
        "lab.trace.switch" => vec![true.into()],
        "lab.link.cut" => vec![number(1)],
        "lab.link.delay" | "lab.link.drop" => vec![number(1), number(0)],
        "lab.gate.wait" => vec!["learn".into(), to, number(0), number(0)],
        "system.methodHelp" | "system.methodSignature" => vec!["propose".into()],
        "system.multicall" => vec![Value::Array(vec![])],
        "validator1.arrayOfStructsTest" | "validator1.moderateSizeArrayCheck" => vec![Value::Array(vec![])],
        "validator1.countTheEntities" => vec!["".into()],
        "validator1.easyStructTest" | "validator1.echoStructTest" | "validator1.nestedStructTest" => vec![record(&[])],
        "validator1.manyTypesTest" => {
            let date = Value::DateTime("19980717T14:08:55".parse().unwrap());
            vec![number(1), true.into(), "".into(), Value::Double(0.5), date, Value::Base64(vec![])]
        }
        "validator1.simpleStructReturnTest" => vec![number(1)],
        "board.eventual.post" | "register.read" => vec!["x".into()],
        "board.eventual.modify" => vec!["7.8000".into(), "x".into()],
        "board.eventual.delete" => vec!["7.8000".into()],
        "board.eventual.watch" => vec![number(0), number(0)],
        "register.write" => vec!["x".into(), "y".into()],
        "kv.put" | "files.append" => vec!["x".into(), "y".into()],
        "kv.cas" => vec!["x".into(), number(0), "y".into()],
        "kv.watch" => vec!["x".into(), number(0), number(0)],
        "board.strong.post" => vec!["x".into()],
        "board.strong.modify" => vec![number(7), "x".into()],
        "board.strong.delete" => vec![number(7)],
        "board.strong.watch" => vec![number(0), number(0)],
        "lock.acquire" => vec!["x".into(), "y".into(), number(60_000)],
        "lock.renew" | "lock.release" => vec!["x".into(), "y".into()],
        "cluster.add" => vec![to, "127.0.0.1:7".into()],
        "cluster.remove" => vec![number(7)],
        "synod.outcome" => vec!["x/1".into()],
        "dht.set" | "flood.set" | "index.set" => vec!["x".into(), "y".into()],
        "dht.get" | "flood.get" | "index.get" | "dht.remove" | "flood.remove" | "index.remove" => vec!["x".into()],
        "kv.delete" | "kv.get" | "kv.list" | "files.create" | "files.delete" | "files.read" => vec!["x".into()],
        said if is_said(said) => {
            let envelope = record(&[("from", to.clone()), ("to", to.clone()), ("generation", number(1))]);
            vec![said_by(said, &to), envelope]
        }
        // The rest takes none, or none that must be given.
        _ => vec![],
    }
}

/// Whether a method is a message that nodes send each other.
fn is_said(method: &str) -> bool {
    let own = ["bully.status", "bully.elect", "register.read", "register.write", "register.quorum"];
    let families = ["log.", "bully.", "eventual.", "register."];
    (families.iter().any(|family| method.starts_with(family)) && !own.contains(&method)) || method.ends_with(".message")
}

/// The members of such a message, from a node to itself: old news, so that it changes nothing.
fn said_by(method: &str, node: &Value) -> Value {
    let number = |number: i64| Value::Int(number);
    let rank = record(&[("counter", number(0)), ("id", node.clone())]);
    let no = || Value::from(false);
    let have = || {
        let covered = ["versions", "forgotten"].map(|name| (name, Value::from("")));
        ("have", record(&[&covered[..], &[("clock", number(0)), ("digest", number(0))]].concat()))
    };
    let own = match method {
        "bully.answer" => vec![("answer", record(&[("number", number(0))]))],
        "bully.election" => {
            vec![("election", record(&[("rank", rank), ("number", number(0)), ("forced", no())]))]
        }
        "bully.heartbeat" => {
            let flags = ["hears_coordinator", "eligible", "asks"].map(|flag| (flag, no()));
            let beat = [&flags[..], &[("rank", rank), ("hears", Value::Array(vec![]))]].concat();
            vec![("heartbeat", record(&beat))]
        }
        "eventual.ask" => vec![("ask", record(&[have(), ("repair", number(0)), ("whole", no())]))],
        "eventual.have" => vec![have()],
        "eventual.spread" => {
            let stamp = Value::from(&*format!("1.{}", shown_int(node)));
            let operation = record(&[("id", stamp.clone()), ("stamp", stamp), ("text", "x".into())]);
            vec![("spread", record(&[have(), ("previous", number(0)), ("operation", operation)]))]
        }
        "eventual.tell" => {
            let none = Value::Array(vec![]);
            let flags = [("whole", no()), ("more", no())];
            let numbers = ["repair", "era"].map(|name| (name, number(0)));
            vec![("tell", record(&[&[have(), ("operations", none)], &numbers[..], &flags].concat()))]
        }
        "register.held" => vec![("held", record(&[("call", number(0))]))],
        "register.query" => vec![("query", record(&[("call", number(0)), ("name", "x".into())]))],
        "register.store" => {
            let held = record(&[("timestamp", format!("1.{}", shown_int(node)).as_str().into()), ("value", 5.into())]);
            vec![("store", record(&[("call", number(0)), ("name", "x".into()), ("held", held)]))]
        }
        "register.stored" => {
            let timestamp = format!("1.{}", shown_int(node));
            vec![("stored", record(&[("call", number(0)), ("timestamp", timestamp.as_str().into())]))]
        }
        "log.fetched" => vec![("entries", Value::Base64(vec![]))],
        "log.change" => vec![("node", number(7))],
        "log.unchanged" => vec![("unchanged", "Busy".into())],
        "dht.message" => vec![("dht", record(&[("kind", "copied".into()), ("id", number(0)), ("kept", no())]))],
        "flood.message" => vec![("flood", record(&[("kind", "forgot".into()), ("id", number(0))]))],
        "index.message" => {
            vec![("index", record(&[("kind", "drop".into()), ("key", "x".into()), ("serial", number(0))]))]
        }
        "log.forward" => vec![("bytes", Value::Base64(vec![]))],
        _ => vec![],
    };
    let numbers = ["after", "hash", "length", "committed", "offset", "round", "id"].map(|name| (name, number(0)));
    let ballots = ["epoch", "promised"].map(|name| (name, Value::from(&*format!("1.{}", shown_int(node)))));
    record(&[&own[..], &numbers, &ballots, &[("flag", no())]].concat())
}

fn shown_int(value: &Value) -> String {
    let Value::Int(number) = value else { panic!("not a number: {value:?}") };
    number.to_string()
}

#[test]
fn each_method_is_for_its_role() {
    let keys = Keys::make();
    let nodes = keys.cluster(3, true);
    let port = nodes.ports.at(0);
    let client = |authorization| nodes.client_as(0, authorization);
    // To check a secret against its hash is slow on purpose, so these are tried with one method.
    for (name, secret) in [("alice", &*keys.root), ("nobody", &keys.alice), ("alice", "")] {
        is_401(client(Some(basic(name, secret))).call::<_, Value>("status", &()));
    }
    let strangers = [None, Some(basic(NODE_NAME, &keys.root)), Some(format!("Bearer {}", keys.root))].map(client);
    let known = [
        (client(Some(keys.node())), &[Role::Peer][..]),
        (client(Some(basic("alice", &keys.alice))), &[Role::Client]),
        (client(Some(basic("root", &keys.root))), &[Role::Peer, Role::Client, Role::Admin]),
    ];
    // The services answer once the nodes have met and elected.
    let root = client(Some(basic("root", &keys.root)));
    until_so("a leader", || root.call::<_, Value>("kv.put", &("a leader", 1)).is_ok());
    // Restarting comes last, as it makes the others wait for one generation.
    let is_restart = |method: &&Method| method.name == "restart";
    for method in METHODS.iter().filter(|method| !is_restart(method)).chain(METHODS.iter().filter(is_restart)) {
        let arguments = arguments(method.name, port);
        for stranger in &strangers {
            is_401(stranger.call::<_, Value>(method.name, &arguments));
        }
        for (client, roles) in &known {
            let answer = client.call::<_, Value>(method.name, &arguments);
            // Who may not call a multicall has none of its calls answered; an empty one tells nothing.
            if !roles.contains(&method.role) && !method.is_multicall() {
                let fault = fault(answer);
                let text = format!("forbidden: {} is for the role", method.name);
                assert!(fault.code == FORBIDDEN.code && fault.string.starts_with(&text), "{roles:?}: {fault}");
            } else if let Err(error) = answer {
                // Refused or not for other reasons, but not for who calls; that a test of the suite takes more than a
                // bare struct, that only nodes have an envelope, and that what is asked for is not there, is known.
                let code = if let CallError::Fault(fault) = &error { fault.code } else { 0 };
                let is_known = (method.name == "learn" || is_said(method.name)) && roles.len() > 1
                    || method.name.starts_with("validator1.") && code == BAD_OPTION.code
                    || [NOT_FOUND, EXISTS, NOT_HOLDER, COMPARE, MEMBER, NO_MEMBER, NO_LINK, NO_KEY, NOT_NOW]
                        .iter()
                        .any(|kind| kind.code == code);
                assert!(is_known, "{} as {roles:?}: {error}", method.name);
            }
        }
    }
}

#[test]
fn a_guarded_cluster_decides_and_tells_no_secret() {
    let keys = Keys::make();
    let mut args = keys.args();
    args.push("-vvv".into());
    let nodes = Nodes::guarded(3, false, &args, keys.as_root());
    for node in nodes.all() {
        let alice = nodes.client_as(node, Some(basic("alice", &keys.alice)));
        let instance = format!("from {node}");
        let proposed: Proposed = alice.call("propose", &(node as i64, &*instance)).unwrap();
        assert_eq!(proposed.outcome, Whose::Yours);
        nodes.all_learn(&instance, &node.to_string());
        is_401(nodes.client_as(node, Some(basic("alice", "wrong-secret-of-alice"))).call::<_, Value>("status", &()));
    }
    let secret = fs::read_to_string(keys.path("cluster.secret")).unwrap();
    for node in nodes.all() {
        let log = nodes.logged(node);
        assert!(!log.is_empty());
        for secret in [&*keys.alice, &keys.root, secret.trim(), "wrong-secret-of-alice"] {
            let header = basic("alice", secret);
            assert!(!log.contains(secret) && !log.contains(&header["Basic ".len()..]), "a secret was logged");
        }
    }
    let file = fs::read_to_string(keys.path("credentials.toml")).unwrap();
    assert!(!file.contains(&keys.alice) && file.contains("$argon2id$"), "{file}");
}

#[test]
fn each_call_of_a_multicall_needs_its_role_too() {
    let keys = Keys::make();
    let nodes = keys.cluster(3, true);
    let one = |name: &str, params: Vec<Value>| record(&[("methodName", name.into()), ("params", Value::Array(params))]);
    let calls = Value::Array(vec![
        one("propose", vec![5.into()]),
        one("restart", vec![]),
        one("prepare", vec!["9.0".into()]),
        one("decided", vec!["never".into()]),
    ]);
    let codes = |authorization: String| -> Vec<Option<i64>> {
        let results: Vec<Value> = nodes.client_as(0, Some(authorization)).call("system.multicall", &(&calls,)).unwrap();
        let code = |result: &Value| match result {
            Value::Struct(fault) => match fault["faultCode"] {
                Value::Int(code) => Some(code),
                ref other => panic!("{other:?}"),
            },
            _ => None,
        };
        results.iter().map(code).collect()
    };
    let forbidden = Some(i64::from(FORBIDDEN.code));
    assert_eq!(codes(basic("alice", &keys.alice)), [None, forbidden, forbidden, None]);
    assert_eq!(codes(keys.node()), [forbidden, forbidden, None, forbidden]);
    assert_eq!(nodes.status(0).generation, 1);
}

#[test]
fn only_nodes_speak_as_nodes() {
    let keys = Keys::make();
    let nodes = keys.cluster(3, true);
    let (from, to) = (nodes.ports.at(1), nodes.ports.at(0));
    let envelope =
        record(&[("from", Value::Int(from.into())), ("to", Value::Int(to.into())), ("generation", Value::Int(1))]);
    let ballot = format!("3.{from}");
    let root = nodes.client(0).call::<_, Value>("prepare", &(&ballot, "default", &envelope));
    let refused = fault(root);
    assert!(refused.code == FORBIDDEN.code && refused.string.contains("only nodes"), "{refused}");
    assert_eq!(nodes.row(0, "default"), None);
    let promised: Value =
        nodes.client_as(0, Some(keys.node())).call("prepare", &(&ballot, "default", &envelope)).unwrap();
    assert!(matches!(&promised, Value::Struct(answer) if answer["promised"] == true.into()), "{promised:?}");
}

#[test]
fn a_node_with_another_secret_is_not_of_the_cluster() {
    let keys = Keys::make();
    credentials(&["cluster"], &keys.path("other.secret")).good();
    let mut nodes = keys.cluster(3, false);
    nodes.kill(2);
    nodes.give(2, &keys.args_with("other.secret"));
    nodes.start(2);
    // It is not heard, and hears nobody: the others go on without it, and it alone decides nothing.
    let alone = fault(nodes.try_propose(2, "alone", "alone", 300));
    assert_eq!(alone.code, UNAVAILABLE.code, "{alone}");
    assert_eq!(nodes.propose(0, "together", "default").outcome, Whose::Yours);
    assert_eq!(nodes.learned(1, "default"), "together");
    assert!(!nodes.decided(2, "default").decided);
    assert!(!nodes.decided(0, "alone").decided);
    nodes.kill(2);
    nodes.give(2, &keys.args());
    nodes.start(2);
    assert_eq!(nodes.learned(2, "default"), "together");
}

/// `synod serve` with arguments that it must refuse.
#[track_caller]
fn serve(args: &[&str]) -> Ran {
    let data = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    command.env_remove("RUST_LOG").args(["serve", "--id", "1", "--member", "1=127.0.0.1:1"]).args(args);
    Ran::of(command.arg("--data").arg(data.path()), "")
}

#[test]
fn a_node_is_not_reachable_from_elsewhere_without_credentials() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let ran = serve(&["--listen", address]);
        assert_eq!(ran.ended_with(3), Vec::<&str>::new());
        ran.complains(&["can be reached from other machines", "--credentials", "--cluster-secret", "127.0.0.1"]);
    }
    let keys = Keys::make();
    let ports = Ports::take(1);
    let (address, data) = (address_of(ports.first()), TempDir::new().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    command.args(["serve", "--id", "1", "--listen", &format!("0.0.0.0:{}", ports.first())]);
    command.args(["--member", &format!("1={address}"), "--data"]).arg(data.path()).args(keys.args());
    let _node = Process(command.spawn().unwrap());
    let root = Client::calling(&address, &keys.as_root());
    until_so("a node that listens everywhere", || root.call::<_, Version>("synod.version", &()).is_ok());
    is_401(Client::new(&address, TIMEOUT).call::<_, Version>("synod.version", &()));
}

#[test]
fn files_that_cannot_be_meant_start_nothing() {
    let keys = Keys::make();
    let path = |name: &str| keys.path(name).to_str().unwrap().to_owned();
    let (good, secret) = (path("credentials.toml"), path("cluster.secret"));
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA";
    fs::write(path("peer"), format!("[eve]\nrole = \"peer\"\nsecret = \"{hash}\"\n")).unwrap();
    fs::write(path("plain"), "[eve]\nrole = \"admin\"\nsecret = \"hunter2\"\n").unwrap();
    fs::write(path("role"), format!("[eve]\nrole = \"king\"\nsecret = \"{hash}\"\n")).unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("short"), "too short\n").unwrap();
    for (credentials, secret, complaint) in [
        (&path("peer"), &secret, "only the cluster's own secret gives"),
        (&path("plain"), &secret, "the secret of eve"),
        (&path("role"), &secret, "king"),
        (&path("empty"), &secret, "names nobody"),
        (&path("absent"), &secret, "absent"),
        (&good, &path("short"), "a cluster secret is one word"),
        (&good, &path("absent"), "absent"),
    ] {
        let ran = serve(&["--listen", "127.0.0.1:0", "--credentials", credentials, "--cluster-secret", secret]);
        assert_eq!(ran.code, Some(2), "{complaint}: {}", ran.stderr);
        ran.complains(&[complaint]);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    // Credentials alone would leave the nodes unable to call each other.
    let ran = serve(&["--listen", "127.0.0.1:0", "--credentials", &good]);
    assert_eq!(ran.code, Some(2));
    ran.complains(&["--cluster-secret"]);
    // The same from the other side.
    assert_eq!(credentials(&["add", NODE_NAME, "--file"], &keys.path("credentials.toml")).code, Some(1));
    assert_eq!(credentials(&["add", "a b", "--file"], &keys.path("credentials.toml")).code, Some(1));
    assert_eq!(credentials(&["cluster"], &keys.path("cluster.secret")).code, Some(1), "a secret is not replaced");
    assert_eq!(credentials(&["remove", "bob", "--file"], &keys.path("credentials.toml")).code, Some(1));
    credentials(&["remove", "alice", "--file"], &keys.path("credentials.toml")).good();
    assert_eq!(credentials(&["list", "--file"], &keys.path("credentials.toml")).good(), ["root  admin"]);
}

#[test]
fn the_shell_names_itself() {
    let keys = Keys::make();
    let nodes = keys.cluster(3, true);
    let port = nodes.ports.at(0);
    let set = format!("set value 5 on {port}");
    let shell = |user: &str, secret: &str| Shell::connect(port).with(["--user", user]).env("SYNOD_SECRET", secret);
    for stranger in [Shell::connect(port), shell("alice", "wrong"), shell("bob", &keys.alice)] {
        let ran = stranger.commands([&set]);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        ran.complains(&["HTTP status 401"]);
    }
    let ran = shell("alice", &keys.alice).commands([&*set, "restart"]);
    assert_eq!(
        ran.stdout.lines().next(),
        Some(&*format!("Node {port} responded: Value '5' has been updated and committed."))
    );
    assert_eq!(ran.code, Some(1), "a client may not restart: {}", ran.stderr);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("forbidden"), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(nodes.status(0).generation, 1);
    let ran = shell("root", &keys.root).commands(["restart", &set]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(nodes.status(0).generation > 1);
}

/// Certificates for loopback from an authority of its own: `NAME-ca.pem`, `NAME.pem`, `NAME.key`.
fn certificates(dir: &Path, name: &str) -> Vec<OsString> {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let files = [("--tls-ca", "-ca.pem", authority.pem()), ("--tls-cert", ".pem", certificate.pem())];
    let files = files.into_iter().chain([("--tls-key", ".key", key.serialize_pem())]);
    let write = |(option, ending, text): (&str, &str, String)| {
        let file = dir.join(format!("{name}{ending}"));
        fs::write(&file, text).unwrap();
        [option.into(), file.into_os_string()]
    };
    files.flat_map(write).collect()
}

#[test]
fn a_cluster_decides_over_tls() {
    let keys = Keys::make();
    let [ours, theirs] = ["ours", "theirs"].map(|name| [keys.args(), certificates(keys.dir.path(), name)].concat());
    let trusting = |name: &str| {
        let authorities = Authorities::read(&keys.path(&format!("{name}-ca.pem"))).unwrap();
        Calling { authorities: Some(authorities), ..keys.as_root() }
    };
    let mut nodes = Nodes::guarded(3, true, &ours, trusting("ours"));
    for node in nodes.all() {
        let instance = format!("from {node}");
        assert_eq!(nodes.propose(node, node as i64, &instance).outcome, Whose::Yours);
        nodes.all_learn(&instance, &node.to_string());
    }
    // Neither who speaks in the clear nor who trusts others is served; credentials are still asked for.
    let (port, address) = (nodes.ports.at(0), address_of(nodes.ports.at(0)));
    let quick = |calling: Calling| Calling { timeout: Duration::from_secs(20), ..calling };
    for calling in [keys.as_root(), trusting("theirs")] {
        let answer = Client::calling(&address, &quick(calling)).call::<_, Version>("synod.version", &());
        assert!(matches!(answer, Err(CallError::NoAnswer(_) | CallError::Unreachable(_))), "{answer:?}");
    }
    is_401(nodes.client_as(0, None).call::<_, Version>("synod.version", &()));

    // The shell, which starts no nodes here but drives them.
    let shell = |ca: &str| Shell::connect(port).with([OsString::from("--tls-ca"), keys.path(ca).into_os_string()]);
    let named = |shell: Shell| shell.with(["--user", "root"]).env("SYNOD_SECRET", &keys.root);
    let ran = named(shell("ours-ca.pem")).commands([&*format!("set value 5 on {}", nodes.ports.at(2)), "status"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("Value '5' has been updated and committed.") && ran.stdout.contains("3 of 3 nodes are up")
    );
    for stranger in [named(shell("theirs-ca.pem")), named(Shell::connect(port)), shell("ours-ca.pem")] {
        assert_eq!(stranger.commands(["status"]).code, Some(3));
    }

    // A node with a certificate from elsewhere is none of us, although it knows the secret.
    nodes.kill(2);
    nodes.give(2, &theirs);
    let mut command = nodes.command(2, nodes.ports.at(2), &nodes.data_of(2));
    let impostor = Process(command.stderr(fs::File::create(keys.path("impostor.log")).unwrap()).spawn().unwrap());
    let client = Client::calling(&address_of(nodes.ports.at(2)), &trusting("theirs"));
    until_so("the impostor to answer", || client.call::<_, Version>("synod.version", &()).is_ok());
    let options = synod::rpc::methods::ProposeOptions { deadline_ms: Some(300), ..Default::default() };
    let alone = fault(client.call::<_, Proposed>("propose", &("alone", "alone", options)));
    assert_eq!(alone.code, UNAVAILABLE.code, "{alone}");
    drop(impostor);
    assert_eq!(nodes.propose(0, "two of three", "more").outcome, Whose::Yours);
    nodes.give(2, &ours);
    nodes.start(2);
    let learned = until("the third to learn", || nodes.decided(2, "more").value);
    assert_eq!(shown(&learned), "two of three");
}

#[test]
fn half_of_tls_starts_nothing() {
    let dir = TempDir::new().unwrap();
    let [ca, cert, key] = ["x-ca.pem", "x.pem", "x.key"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    certificates(dir.path(), "x");
    for half in [
        &["--tls-cert", &cert][..],
        &["--tls-ca", &ca],
        &["--tls-cert", &cert, "--tls-key", &key],
        &["--tls-cert", &key, "--tls-key", &key, "--tls-ca", &ca],
        &["--tls-cert", &cert, "--tls-key", &ca, "--tls-ca", &ca],
        &["--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &key],
    ] {
        let ran = serve(&[&["--listen", "127.0.0.1:0"], half].concat());
        assert_eq!(ran.code, Some(2), "{half:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
    }
}
