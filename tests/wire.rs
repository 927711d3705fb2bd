//! The methods, called from Rust: values and their types, faults, guests, batches.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde::Serialize;
use serde::de::DeserializeOwned;
use synod::rpc::answers::{FaultRow, Status, Version, Whose};
use synod::rpc::client::CallError;
use synod::rpc::faults::{BAD_OPTION, FAULTS, IGNORED, NOT_A_LAB, TOO_LARGE};
use synod::rpc::methods::METHODS;
use synod::rpc::text::shown;
use synod::xmlrpc::{Fault, Limits, Value, from_response, to_fragment};

use crate::support::nodes::{Nodes, address_of, fault};

type Struct = BTreeMap<String, Value>;

const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const INVALID_REQUEST: i32 = -32600;
const INTERNAL_ERROR: i32 = -32603;

fn value(members: &[(&str, Value)]) -> Value {
    Value::Struct(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

#[test]
fn values_keep_their_types() {
    let nodes = Nodes::lab(3);
    let values = [
        Value::Int(0),
        Value::Int(5),
        Value::Int(-1),
        Value::Int(i64::from(i32::MAX)),
        Value::Int(i64::MAX),
        Value::Int(i64::MIN),
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Double(0.5),
        Value::Double(-1e-300),
        Value::Double(1e300),
        "".into(),
        " ".into(),
        "5".into(),
        "two words".into(),
        "\r\n\r\tends with a line feed\n".into(),
        "<value>&lt;]]>&amp;".into(),
        "😀 Grüße \u{feff}\u{fffd}".into(),
        Value::DateTime("20261120T09:44:00".parse().unwrap()),
        Value::Base64(vec![]),
        Value::Base64((0..=255).collect()),
        Value::Array(vec![]),
        Value::Array(vec![Value::Int(1), "two".into(), Value::Array(vec![Value::Boolean(true)])]),
        value(&[]),
        value(&[("a", Value::Int(1)), ("", "".into()), ("nested", value(&[("b", Value::Double(2.5))]))]),
    ];
    for (at, value) in values.into_iter().enumerate() {
        let instance = format!("type {at}");
        let proposed: Struct = nodes.call(at % 3, "propose", &(&value, &*instance));
        assert_eq!(proposed["value"], value);
        assert_eq!(proposed["instance"], Value::from(&*instance));
        assert_eq!(proposed["outcome"], "yours".into());
        assert_eq!(proposed["attempts"], Value::Int(1));
        assert!(matches!(&proposed["ballot"], Value::String(ballot) if ballot.starts_with("1.")), "{proposed:?}");
        for node in nodes.all() {
            nodes.learned(node, &instance);
            let decided: Struct = nodes.call(node, "decided", &(&*instance,));
            assert_eq!(decided["value"], value, "node {node}");
            assert_eq!(decided["decided"], Value::Boolean(true));
        }
        // A value that is equal in its type and its content is the caller's own.
        assert_eq!(nodes.propose((at + 1) % 3, &value, &instance).outcome, Whose::Yours);
    }
}

#[test]
fn alike_is_not_equal() {
    let nodes = Nodes::lab(3);
    for (at, (one, other)) in [
        (Value::Int(5), Value::from("5")),
        (Value::Int(1), Value::Boolean(true)),
        (Value::Int(0), Value::from("")),
        (Value::Int(1), Value::Double(1.0)),
        (Value::from("YQ=="), Value::Base64(b"a".to_vec())),
    ]
    .into_iter()
    .enumerate()
    {
        let instance = format!("pair {at}");
        assert_eq!(nodes.propose(0, &one, &instance).outcome, Whose::Yours);
        let second: Struct = nodes.call(1, "propose", &(&other, &*instance));
        assert_eq!((&second["outcome"], &second["value"]), (&"another's".into(), &one));
    }
}

#[test]
fn the_sentence_and_the_default_instance_are_as_promised() {
    let nodes = Nodes::lab(3);
    let undecided: Struct = nodes.call(0, "decided", &());
    assert_eq!(undecided.into_iter().collect::<Vec<_>>(), [("decided".to_owned(), Value::Boolean(false))]);
    let proposed: Struct = nodes.call(0, "propose", &(5,));
    assert_eq!(proposed["message"], "Value '5' has been updated and committed.".into());
    assert_eq!(proposed["instance"], "default".into());
    assert_eq!(proposed["ballot"], format!("1.{}", nodes.ports.at(0)).into());
    nodes.all_learn("default", "5");
}

#[test]
fn nil_is_refused_wherever_it_hides() {
    let nodes = Nodes::lab(3);
    let nil = "<value><nil/></value>";
    for hidden in [
        nil.to_owned(),
        format!("<value><array><data>{nil}</data></array></value>"),
        format!("<value><struct><member><name>x</name>{nil}</member></struct></value>"),
    ] {
        let text = "<value><string>1.1</string></value>";
        for (method, params) in [
            ("propose", format!("<param>{hidden}</param>")),
            ("accept", format!("<param>{text}</param><param>{hidden}</param>")),
            ("commit", format!("<param>{text}</param><param>{hidden}</param>")),
        ] {
            let body = format!("<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>");
            let fault = raw::<Value>(&nodes, 0, &body).unwrap_err();
            assert_eq!(fault.code, INVALID_PARAMS, "{method}: {fault}");
            assert!(fault.string.contains("nil"), "{method}: {fault}");
        }
    }
    assert!(!nodes.decided(0, "default").decided);
}

/// Posts a body as it stands, and reads the response.
#[track_caller]
fn raw<T: DeserializeOwned>(nodes: &Nodes, node: usize, body: &str) -> Result<T, Fault> {
    let address = address_of(nodes.ports.at(node));
    let mut stream = TcpStream::connect(&address).unwrap();
    let length = body.len();
    let head = format!(
        "POST /RPC2 HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    from_response(body.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn calls_that_cannot_be_meant_get_the_standard_codes() {
    let nodes = Nodes::lab(3);
    let call = |method: &str, params: &dyn Fn() -> Vec<Value>| fault_of_list(&nodes, method, &params());
    for method in ["nothing", "Propose", "propose.", "lab.gate", "system", "__class__"] {
        assert_eq!(call(method, &Vec::new).code, METHOD_NOT_FOUND, "{method}");
    }
    let five = || Value::Int(5);
    for (method, params) in [
        ("propose", vec![]),
        ("propose", vec![five(), "i".into(), value(&[]), five()]),
        ("propose", vec![five(), five()]),
        ("propose", vec![five(), "".into()]),
        ("propose", vec![five(), "a\nb".into()]),
        ("propose", vec![five(), "x".repeat(81).into()]),
        ("propose", vec![five(), "i".into(), value(&[("deadline", five())])]),
        ("propose", vec![five(), "i".into(), value(&[("deadline_ms", "5".into())])]),
        ("propose", vec![five(), "i".into(), value(&[("deadline_ms", Value::Int(-1))])]),
        ("decided", vec!["i".into(), five()]),
        ("decided", vec![value(&[])]),
        ("prepare", vec![]),
        ("prepare", vec!["1".into()]),
        ("prepare", vec!["1.8000.1".into()]),
        ("prepare", vec![Value::Int(-1)]),
        ("prepare", vec![Value::Double(1.5)]),
        ("accept", vec!["1.0".into()]),
        ("commit", vec!["1.0".into()]),
        ("restart", vec![five()]),
        ("status", vec!["i".into(), five()]),
        ("synod.version", vec![five()]),
        ("lab.gate.hold", vec!["promise".into(), five()]),
        ("lab.gate.wait", vec!["accept".into()]),
        ("system.methodHelp", vec![]),
        ("system.multicall", vec![]),
    ] {
        let fault = fault_of_list(&nodes, method, &params);
        assert_eq!(fault.code, INVALID_PARAMS, "{method} {params:?}: {fault}");
    }
    assert_eq!(nodes.status(0).instances, []);
}

/// Calls with parameters as a list.
#[track_caller]
fn fault_of_list(nodes: &Nodes, method: &str, params: &[Value]) -> Fault {
    fault(match params {
        [] => nodes.client(0).call::<_, Value>(method, &()),
        [a] => nodes.client(0).call(method, &(a,)),
        [a, b] => nodes.client(0).call(method, &(a, b)),
        [a, b, c] => nodes.client(0).call(method, &(a, b, c)),
        [a, b, c, d] => nodes.client(0).call(method, &(a, b, c, d)),
        _ => unreachable!("no test gives more"),
    })
}

#[test]
fn options_and_values_beyond_their_bounds_are_refused_and_nothing_is_done() {
    let nodes = Nodes::lab(3);
    for (member, number) in [("deadline_ms", 60_001), ("impatient", 1001)] {
        let options = value(&[(member, Value::Int(number))]);
        let fault = fault(nodes.client(0).call::<_, Value>("propose", &(5, "i", options)));
        assert_eq!(fault.code, BAD_OPTION.code, "{fault}");
        assert!(fault.string.contains(member), "{fault}");
    }
    let stranger = nodes.ports.first() - 1;
    let fault_of_gate = fault(nodes.client(0).call::<_, Value>("lab.gate.hold", &("accept", stranger)));
    assert_eq!(fault_of_gate.code, BAD_OPTION.code, "{fault_of_gate}");
    let large = "x".repeat((1 << 20) + 1);
    for fault in [
        fault(nodes.client(0).call::<_, Value>("propose", &(&large,))),
        fault(nodes.client(0).call::<_, Value>("accept", &("1.1", &large))),
        fault(nodes.client(0).call::<_, Value>("commit", &("1.1", &large))),
    ] {
        assert_eq!(fault.code, TOO_LARGE.code, "{fault}");
        assert!(fault.string.len() < 1000, "the fault repeats the value");
    }
    assert!(nodes.all().all(|node| nodes.status(node).instances.is_empty()));
    // Just below the bound it is decided, and learned everywhere.
    let large = "x".repeat((1 << 20) - 100);
    assert_eq!(nodes.propose(0, &large, "large").outcome, Whose::Yours);
    nodes.all_learn("large", &large);
}

#[test]
fn guests_run_the_phases_by_hand() {
    let nodes = Nodes::lab(3);
    // A ballot may be a string, a struct, or a number, which is a guest's round.
    let first: Struct = nodes.call(0, "prepare", &(5,));
    assert_eq!(first, BTreeMap::from([("promised".into(), true.into()), ("promised_ballot".into(), "5.0".into())]));
    let lower: Struct = nodes.call(0, "prepare", &("4.7",));
    assert_eq!((&lower["promised"], &lower["promised_ballot"]), (&false.into(), &"5.0".into()));
    let as_struct = value(&[("round", Value::Int(5)), ("node", Value::Int(0))]);
    for node in [0, 1] {
        let accepted: Struct = nodes.call(node, "accept", &(&as_struct, "by hand"));
        assert_eq!((&accepted["accepted"], &accepted["promised_ballot"]), (&true.into(), &"5.0".into()), "node {node}");
    }
    let refused: Struct = nodes.call(0, "accept", &("4.7", "too late"));
    assert_eq!((&refused["accepted"], &refused["promised_ballot"]), (&false.into(), &"5.0".into()));
    // A later Prepare hears of it.
    let second: Struct = nodes.call(0, "prepare", &("6.0",));
    assert_eq!(
        (&second["promised"], &second["accepted_ballot"], &second["accepted_value"]),
        (&true.into(), &"5.0".into(), &"by hand".into())
    );
    // And so does a real proposer, whatever majority it asks: two of three have accepted.
    let proposed = nodes.propose(2, "mine", "default");
    assert_eq!((shown(&proposed.value), proposed.outcome), ("by hand".to_owned(), Whose::Anothers));
    assert!(proposed.ballot > "5.0".parse().unwrap(), "{}", proposed.ballot);
    nodes.all_learn("default", "by hand");
}

#[test]
fn a_guest_commit_is_taken_at_its_word_and_never_changes_a_decision() {
    let nodes = Nodes::lab(3);
    for node in nodes.all() {
        let committed: Struct = nodes.call(node, "commit", &(9, "told", "told"));
        assert_eq!(committed["committed"], true.into(), "node {node}");
        assert_eq!(shown(&nodes.decided(node, "told").value.unwrap()), "told");
    }
    nodes.all_files_say("told", "told");
    // Another value for what is decided is dropped, with the reason, or answered without effect.
    let second = nodes.client(0).call::<_, Struct>("commit", &(10, "changed", "told"));
    if let Err(error) = second {
        assert!(matches!(&error, CallError::Fault(fault) if fault.code == IGNORED.code), "{error}");
    }
    nodes.all_learn("told", "told");
}

#[test]
fn the_highest_ballots_poison_nothing() {
    let nodes = Nodes::lab(5);
    let owner = nodes.ports.at(0);
    let ballots = [
        format!("18446744073709551615.{owner}").into(),
        "18446744073709551615.2147483647".into(),
        "18446744073709551615.0".into(),
        "18446744073709551614.1".into(),
        "9223372036854775808.1".into(),
        Value::Int(i64::MAX),
        Value::Int(2_000_000),
    ];
    for (at, ballot) in ballots.iter().enumerate() {
        let instance = format!("i{at}");
        for node in nodes.all() {
            for (method, answer) in [
                ("prepare", nodes.client(node).call::<_, Struct>("prepare", &(ballot, &*instance))),
                ("accept", nodes.client(node).call::<_, Struct>("accept", &(ballot, "poison", &*instance))),
            ] {
                let fault = fault(answer);
                assert_eq!(fault.code, IGNORED.code, "{method} {ballot:?}: {fault}");
            }
        }
        // The next decision succeeds on every node, in that instance and in others.
        let node = at % 5;
        assert_eq!(nodes.propose(node, "good", &instance).outcome, Whose::Yours);
        assert_eq!(nodes.propose(node, "good", &format!("after {at}")).outcome, Whose::Yours);
        nodes.all_learn(&instance, "good");
    }
    // A high ballot that is believable is honoured, and gone past.
    let promised: Struct = nodes.call(0, "prepare", &(1_000_000, "high"));
    assert_eq!(promised["promised"], true.into());
    for node in [0, 1] {
        assert_eq!(shown(&nodes.propose(node, "still good", "high").value), "still good");
    }
}

#[test]
fn a_guest_commit_with_the_highest_ballot_poisons_nothing() {
    let nodes = Nodes::lab(3);
    _ = nodes.client(0).call::<_, Struct>("commit", &("18446744073709551615.1", "told", "default"));
    // Whatever node 0 made of it, the next decisions succeed.
    nodes.propose(1, "good", "default");
    for node in nodes.all() {
        let instance = format!("after {node}");
        assert_eq!(nodes.propose(node, "good", &instance).outcome, Whose::Yours);
        nodes.all_learn(&instance, "good");
    }
}

#[test]
fn service_mode_refuses_what_only_a_lab_may_do() {
    let nodes = Nodes::service(3);
    let refused = |method: &str, answer: Result<Value, CallError>| {
        let fault = fault(answer);
        assert_eq!(fault.code, NOT_A_LAB.code, "{method}: {fault}");
    };
    let client = nodes.client(0);
    let port = nodes.ports.at(1);
    refused("restart", client.call("restart", &()));
    refused("lab.gate.hold", client.call("lab.gate.hold", &("accept", port)));
    refused("lab.gate.release", client.call("lab.gate.release", &("accept", port)));
    refused("lab.gate.wait", client.call("lab.gate.wait", &("accept", port, 1, 1)));
    refused("lab.gate.list", client.call("lab.gate.list", &()));
    refused("lab.gate.clear", client.call("lab.gate.clear", &()));
    refused("prepare", client.call("prepare", &(5,)));
    refused("accept", client.call("accept", &(5, "x")));
    refused("commit", client.call("commit", &(5, "x")));
    refused("impatient", client.call("propose", &(5, "i", value(&[("impatient", Value::Int(1))]))));
    refused("ballot_ms", client.call("propose", &(5, "i", value(&[("ballot_ms", Value::Int(1))]))));
    for node in nodes.all() {
        let status: Status = nodes.status(node);
        assert_eq!((&*status.mode, status.generation, status.instances.len()), ("service", 1, 0));
    }
    // What it is for works.
    assert_eq!(nodes.propose(0, "served", "default").outcome, Whose::Yours);
    nodes.all_learn("default", "served");
}

#[test]
fn a_multicall_mixes_good_and_bad_calls() {
    #[derive(Serialize)]
    struct One {
        #[serde(rename = "methodName")]
        name: &'static str,
        params: Vec<Value>,
    }
    let nodes = Nodes::lab(3);
    let one = |name, params: &[Value]| One { name, params: params.to_vec() };
    let calls = [
        one("propose", &["a".into(), "m1".into()]),
        one("nothing", &[]),
        one("propose", &[]),
        one("propose", &[Value::Int(0), "m2".into()]),
        one("decided", &["never".into()]),
        one("system.multicall", &[Value::Array(vec![])]),
        one("propose", &["b".into(), "m1".into()]),
        one("prepare", &["18446744073709551615.1".into()]),
        one("synod.version", &[]),
    ];
    let results: Vec<Value> = nodes.call(0, "system.multicall", &(&calls[..],));
    assert_eq!(results.len(), calls.len());
    let code = |at: usize| match &results[at] {
        Value::Struct(fault) => fault["faultCode"].clone(),
        other => panic!("call {at}: {other:?}"),
    };
    let good = |at: usize| match &results[at] {
        Value::Array(one) if one.len() == 1 => match &one[0] {
            Value::Struct(members) => members.clone(),
            other => panic!("call {at}: {other:?}"),
        },
        other => panic!("call {at}: {other:?}"),
    };
    assert_eq!(
        [1, 2, 5, 7].map(code),
        [METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR, IGNORED.code].map(|code| Value::Int(code.into()))
    );
    // The two on one instance run together; they agree.
    assert_eq!(good(0)["value"], good(6)["value"]);
    assert_eq!((&good(3)["value"], &good(3)["outcome"]), (&Value::Int(0), &"yours".into()));
    assert_eq!(good(4), BTreeMap::from([("decided".to_owned(), false.into())]));
    assert!(good(8).contains_key("protocol"));
    let none: Vec<Value> = nodes.call(0, "system.multicall", &(Vec::<Value>::new(),));
    assert_eq!(none, []);
}

#[test]
fn items_of_a_multicall_that_are_no_calls_fail_alone() {
    let nodes = Nodes::lab(3);
    let decided = || ("methodName", Value::from("decided"));
    let items = [
        (Value::Int(5), INVALID_REQUEST),
        (Value::Array(vec![]), INVALID_REQUEST),
        (value(&[]), METHOD_NOT_FOUND),
        (value(&[("params", Value::Array(vec![]))]), METHOD_NOT_FOUND),
        (value(&[("methodName", Value::Int(1))]), INVALID_REQUEST),
        (value(&[decided(), ("params", value(&[]))]), INVALID_REQUEST),
        (value(&[decided(), ("params", Value::Array(vec![Value::Int(1)]))]), INVALID_PARAMS),
        (value(&[("methodName", "system.multicall".into()), ("params", Value::Array(vec![]))]), INTERNAL_ERROR),
        // Nil for what may be left out is as if it were.
        (value(&[decided(), ("params", Value::Array(vec![Value::Nil]))]), 0),
        // Those that are calls: without params, with others beside them, and in another order.
        (value(&[decided()]), 0),
        (value(&[decided(), ("params", Value::Array(vec![])), ("zeal", "x".into())]), 0),
        (value(&[decided(), ("a", "x".into()), ("params", Value::Array(vec!["i".into()]))]), 0),
    ];
    let body: String = items.iter().map(|(item, _)| format!("<value>{}</value>", to_fragment(item).unwrap())).collect();
    let body = format!(
        "<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>{body}</data></array>\
         </value></param></params></methodCall>"
    );
    let results: Vec<Value> = raw(&nodes, 0, &body).unwrap();
    assert_eq!(results.len(), items.len());
    for ((item, code), result) in items.iter().zip(&results) {
        match (code, result) {
            (0, Value::Array(one)) => assert_eq!(one[..], [value(&[("decided", false.into())])], "{item:?}"),
            (code, Value::Struct(fault)) => {
                assert_eq!(fault["faultCode"], Value::Int((*code).into()), "{item:?}");
                assert!(matches!(&fault["faultString"], Value::String(text) if !text.is_empty()), "{item:?}");
            }
            other => panic!("{item:?}: {other:?}"),
        }
    }
}

#[test]
fn a_multicall_is_bounded_in_both_directions() {
    let nodes = Nodes::lab(3);
    let one =
        |method: &str, params: Vec<Value>| value(&[("methodName", method.into()), ("params", Value::Array(params))]);
    let too_many = vec![one("propose", vec![5.into(), "many".into()]); 1001];
    let fault = fault(nodes.client(0).call::<_, Value>("system.multicall", &(&too_many,)));
    assert!(fault.code == INVALID_PARAMS && fault.string.contains("more than 1000"), "{fault}");
    assert_eq!(nodes.row(0, "many"), None, "nothing was done");
    let most: Vec<Value> = nodes.call(0, "system.multicall", &(&too_many[1..],));
    assert_eq!(most.len(), 1000);

    // A small call may ask for a lot: ten times a value of 1,000,000 bytes. Four fit, and what is small fits after them.
    let large = "x".repeat(1_000_000);
    nodes.propose(0, &large, "large");
    let mut calls = vec![one("decided", vec!["large".into()]); 10];
    calls.push(one("decided", vec!["many".into()]));
    let results: Vec<Value> = nodes.call(0, "system.multicall", &(&calls,));
    let results: Vec<Option<&Value>> = results
        .iter()
        .map(|result| match result {
            Value::Array(one) => match &one[0] {
                Value::Struct(decided) => Some(&decided["value"]),
                other => panic!("{other:?}"),
            },
            Value::Struct(fault) => {
                assert_eq!(fault["faultCode"], Value::Int(INTERNAL_ERROR.into()));
                assert!(matches!(&fault["faultString"], Value::String(text) if text.contains("4194304 bytes")));
                None
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let large = Value::from(large);
    assert_eq!(results[..4], [Some(&large); 4]);
    assert_eq!(results[4..10], [None; 6]);
    assert_eq!(results[10], Some(&Value::Int(5)));
}

#[test]
fn a_node_tells_about_itself() {
    let nodes = Nodes::lab(5);
    nodes.propose(3, 5, "default");
    for node in nodes.all() {
        let status = nodes.status(node);
        let members: Vec<u32> = status.members.iter().map(|member| member.node.number()).collect();
        assert_eq!(members, nodes.ports.all().into_iter().map(u32::from).collect::<Vec<_>>());
        assert_eq!(status.node.number(), u32::from(nodes.ports.at(node)));
        assert_eq!(status.address, address_of(nodes.ports.at(node)));
        assert_eq!((&*status.mode, status.generation), ("lab", 1));
    }
    assert_eq!(nodes.status(3).counters["proposals"], 1);
    let version: Version = nodes.call(0, "synod.version", &());
    assert_eq!(version.synod, env!("CARGO_PKG_VERSION"));
    let faults: Vec<FaultRow> = nodes.call(0, "synod.faults", &());
    assert_eq!(faults.iter().map(|row| row.code).collect::<Vec<_>>(), FAULTS.map(|kind| kind.code));
    let names: Vec<String> = nodes.call(0, "system.listMethods", &());
    assert_eq!(names, METHODS.iter().map(|method| method.name).collect::<Vec<_>>());
    for name in names {
        let help: String = nodes.call(0, "system.methodHelp", &(&name,));
        assert!(help.starts_with(&format!("{name}(")), "{help}");
        let signatures: Vec<Vec<String>> = nodes.call(0, "system.methodSignature", &(&name,));
        assert!(!signatures.is_empty());
    }
    let unknown = fault(nodes.client(0).call::<_, Value>("system.methodHelp", &("nothing",)));
    assert_eq!(unknown.code, METHOD_NOT_FOUND);
}

#[test]
fn any_name_of_an_instance_is_its_own_and_stays_in_the_directory() {
    let nodes = Nodes::lab(3);
    let names = ["../../escape", "/etc/passwd", ".hidden", "..", "%2E", "a b", "é", "A", "a", "con"];
    for name in names {
        assert_eq!(nodes.propose(1, name, name).outcome, Whose::Yours, "{name}");
    }
    for name in names {
        nodes.all_learn(name, name);
    }
    nodes.all_files_say("%2E.%2F..%2Fescape", "../../escape");
    nodes.all_files_say("%2E.", "..");
    nodes.all_files_say("%2Fetc%2Fpasswd", "/etc/passwd");
    // Nothing but the nodes' directories and logs was made beside them.
    let entries = std::fs::read_dir(nodes.data()).unwrap().count();
    assert_eq!(entries, 2 * nodes.all().len());
}
