//! How fast the codec is, beside others on the same data: quick-xml alone, which it stands on, the crates dxr and
//! serde_xmlrpc, and Python's `xmlrpc.client`.
//!
//! `cargo bench --bench codec` lets criterion measure each case, and then prints a table of all of them, measured by
//! turns in this very run, so that what slows the machine slows all alike. The instruction counts are callgrind's: this
//! program runs itself with `--case NAME --times N` under valgrind, if there is one.

#![allow(clippy::print_stdout, reason = "a benchmark reports to the terminal")]

use std::hint::black_box;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use criterion::Criterion;
use dxr::{TryFromParams, TryFromValue, TryToParams, TryToValue};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};
use synod::xmlrpc::{Call, Limits, from_response, text, to_call, to_response};

/// Who speaks to whom, as the nodes put it into every call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TryFromValue, TryToValue)]
struct Envelope {
    from: i32,
    to: i32,
    generation: i32,
}

/// One of many in a long answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TryFromValue, TryToValue)]
struct Row {
    instance: String,
    ballot: String,
    generation: i32,
    chosen: bool,
    seconds: f64,
}

/// The parameters of `prepare`.
type Prepare = (String, String, Envelope);

fn prepare() -> Prepare {
    ("3.8000".to_owned(), "orders/2024-07".to_owned(), Envelope { from: 8000, to: 8001, generation: 12 })
}

fn rows() -> Vec<Row> {
    (0..100)
        .map(|i| Row {
            instance: format!("orders/2024-07/{i:04}"),
            ballot: format!("{i}.8000"),
            generation: 1000 + i,
            chosen: i % 3 == 0,
            seconds: f64::from(i) / 8.0,
        })
        .collect()
}

/// One thing to measure: who does what with which message.
struct Case {
    message: &'static str,
    work: &'static str,
    engine: &'static str,
    run: Box<dyn Fn()>,
}

impl Case {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.message, self.work, self.engine)
    }
}

const OURS: &str = "synod";

/// The goals: against whom, in what, and how many times our time theirs must be at least.
const GOALS: [(&str, &str, f64); 6] = [
    ("quick-xml", "decode", 1.0 / 1.4),
    ("dxr", "decode", 2.5),
    ("dxr", "encode", 10.0),
    ("serde_xmlrpc", "decode", 1.0),
    ("python", "decode", 12.0),
    ("python", "encode", 20.0),
];

/// The call and the response as we write them, which is what everyone reads.
fn documents() -> [(&'static str, String); 2] {
    let mut call = Vec::new();
    to_call("prepare", &prepare(), &mut call).expect("a call of plain strings and numbers");
    let mut response = Vec::new();
    to_response(&rows(), &mut response).expect("a response of plain strings and numbers");
    [("call", call), ("response", response)].map(|(name, bytes)| (name, String::from_utf8(bytes).expect("UTF-8")))
}

/// Pulls every event and looks at none: what quick-xml costs by itself.
fn pull_all(document: &str) -> usize {
    let mut reader = Reader::from_str(document);
    let mut events = 0;
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Eof => return events,
            event => events += usize::from(!black_box(&event).is_empty()),
        }
    }
}

fn decode_call(document: &str) -> Prepare {
    let limits = Limits::default();
    let text = text(document.as_bytes(), &limits).expect("text");
    Call::parse(&text, &limits).expect("a call").params().expect("the parameters of prepare")
}

fn decode_response(document: &str) -> Vec<Row> {
    from_response(document.as_bytes(), &Limits::default()).expect("a response").expect("no fault")
}

fn dxr_decode_call(document: &str) -> Prepare {
    let call = dxr::MethodCall::from_xml(document).expect("a call");
    TryFromParams::try_from_params(&call.params).expect("the parameters of prepare")
}

fn dxr_decode_response(document: &str) -> Vec<Row> {
    let response = dxr::MethodResponse::from_xml(document).expect("a response");
    TryFromValue::try_from_value(&response.value).expect("rows")
}

fn dxr_encode_call(params: &Prepare) -> String {
    let params = TryToParams::try_to_params(params).expect("values");
    dxr::MethodCall { name: "prepare".into(), params }.to_xml().expect("a call")
}

fn dxr_encode_response(rows: &Vec<Row>) -> String {
    let value = TryToValue::try_to_value(rows).expect("a value");
    dxr::MethodResponse { value }.to_xml().expect("a response")
}

fn serde_xmlrpc_decode_call(document: &str) -> Prepare {
    let (_, values) = serde_xmlrpc::request_from_str(document).expect("a call");
    serde_xmlrpc::from_values(values).expect("the parameters of prepare")
}

fn serde_xmlrpc_decode_response(document: &str) -> Vec<Row> {
    serde_xmlrpc::response_from_str(document).expect("a response")
}

fn serde_xmlrpc_encode_call((ballot, instance, envelope): &Prepare) -> String {
    let envelope = serde_xmlrpc::to_value(envelope).expect("a value");
    let params = [ballot.as_str().into(), instance.as_str().into(), envelope];
    serde_xmlrpc::request_to_string("prepare", params.into_iter()).expect("a call")
}

fn serde_xmlrpc_encode_response(rows: &Vec<Row>) -> String {
    let value = serde_xmlrpc::to_value(rows).expect("a value");
    serde_xmlrpc::response_to_string(std::iter::once(value)).expect("a response")
}

/// Everything that is measured in this process. Python is not among it.
fn cases() -> Vec<Case> {
    let [(_, call), (_, response)] = documents();
    assert_eq!(dxr_decode_call(&call), prepare());
    assert_eq!(serde_xmlrpc_decode_call(&call), prepare());
    assert_eq!(decode_call(&dxr_encode_call(&prepare())), prepare());
    assert_eq!(decode_call(&serde_xmlrpc_encode_call(&prepare())), prepare());
    assert_eq!(dxr_decode_response(&response), rows());
    assert_eq!(serde_xmlrpc_decode_response(&response), rows());
    assert_eq!(decode_response(&dxr_encode_response(&rows())), rows());
    assert_eq!(decode_response(&serde_xmlrpc_encode_response(&rows())), rows());

    let mut cases = Vec::new();
    let mut add = |message, work, engine, run: Box<dyn Fn()>| cases.push(Case { message, work, engine, run });
    /// `work` on its own copy of the data, its result kept from the optimizer.
    fn on<D: 'static, R>(data: D, work: impl Fn(&D) -> R + 'static) -> Box<dyn Fn()> {
        Box::new(move || drop(black_box(work(black_box(&data)))))
    }
    for (message, document) in documents() {
        add(message, "decode", "quick-xml", on(document, |text| pull_all(text)));
    }
    add("call", "decode", OURS, on(call.clone(), |text| decode_call(text)));
    add("call", "decode", "dxr", on(call.clone(), |text| dxr_decode_call(text)));
    add("call", "decode", "serde_xmlrpc", on(call, |text| serde_xmlrpc_decode_call(text)));
    add("response", "decode", OURS, on(response.clone(), |text| decode_response(text)));
    add("response", "decode", "dxr", on(response.clone(), |text| dxr_decode_response(text)));
    add("response", "decode", "serde_xmlrpc", on(response, |text| serde_xmlrpc_decode_response(text)));
    let encode_call = |params: &Prepare| {
        let mut out = Vec::new();
        to_call("prepare", params, &mut out).expect("a call");
        out
    };
    add("call", "encode", OURS, on(prepare(), encode_call));
    add("call", "encode", "dxr", on(prepare(), dxr_encode_call));
    add("call", "encode", "serde_xmlrpc", on(prepare(), serde_xmlrpc_encode_call));
    let encode_response = |rows: &Vec<Row>| {
        let mut out = Vec::new();
        to_response(rows, &mut out).expect("a response");
        out
    };
    add("response", "encode", OURS, on(rows(), encode_response));
    add("response", "encode", "dxr", on(rows(), dxr_encode_response));
    add("response", "encode", "serde_xmlrpc", on(rows(), serde_xmlrpc_encode_response));
    cases
}

/// One line of the table before the ratios are known.
struct Measured {
    message: &'static str,
    work: &'static str,
    engine: &'static str,
    nanoseconds: f64,
    instructions: Option<f64>,
}

/// The best time of each case in nanoseconds, over rounds in which the cases take turns.
fn best_times(cases: &[Case]) -> Vec<f64> {
    const ROUNDS: usize = 40;
    const TURN: Duration = Duration::from_millis(4);
    let counts: Vec<u32> = cases
        .iter()
        .map(|case| {
            let began = Instant::now();
            let mut count = 0;
            while began.elapsed() < TURN {
                (case.run)();
                count += 1;
            }
            count
        })
        .collect();
    let mut best = vec![f64::INFINITY; cases.len()];
    for _ in 0..ROUNDS {
        for ((case, &count), best) in cases.iter().zip(&counts).zip(&mut best) {
            let began = Instant::now();
            for _ in 0..count {
                (case.run)();
            }
            *best = best.min(began.elapsed().as_secs_f64() * 1e9 / f64::from(count));
        }
    }
    best
}

/// Instructions of one run of a case: the difference between few and many runs, so that starting up does not count.
fn instructions(name: &str) -> Option<f64> {
    const MORE: u32 = 20;
    let collected = |times: u32| -> Option<f64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args(["--case", name, "--times", &times.to_string()])
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let report = String::from_utf8_lossy(&output.stderr);
        report.split_once("Collected :")?.1.split_whitespace().next()?.parse().ok()
    };
    // The first runs also pay for what the allocator and the thread set up once.
    Some((collected(2 + MORE)? - collected(2)?) / f64::from(MORE))
}

/// Nanoseconds of `loads` and `dumps` on a document.
fn python(document: &str) -> Option<[f64; 2]> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/codec_python.py");
    let mut child = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take()?.write_all(document.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let printed = String::from_utf8(output.stdout).ok()?;
    let mut numbers = printed.split_whitespace().map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}

/// Measures everything by turns and prints it against us.
fn table(cases: &[Case]) {
    let counted = instructions(&cases[0].name()).is_some();
    let times = best_times(cases);
    let mut measured: Vec<Measured> = cases
        .iter()
        .zip(times)
        .map(|(case, nanoseconds)| Measured {
            message: case.message,
            work: case.work,
            engine: case.engine,
            nanoseconds,
            instructions: if counted { instructions(&case.name()) } else { None },
        })
        .collect();
    let mut has_python = true;
    for (message, document) in documents() {
        match python(&document) {
            Some(times) => {
                for (work, nanoseconds) in ["decode", "encode"].into_iter().zip(times) {
                    measured.push(Measured { message, work, engine: "python", nanoseconds, instructions: None });
                }
            }
            None => has_python = false,
        }
    }
    measured.sort_by_key(|line| (line.message, line.work, line.engine != OURS));

    let [(_, call), (_, response)] = documents();
    println!("\nThe call has {} bytes, the response {}. Times are the best of many turns.", call.len(), response.len());
    println!("theirs/ours: how many times as long the others take; goal: at least.\n");
    println!(
        "| {:8} | {:6} | {:12} | {:>10} | {:>12} | {:>11} | {:>13} | {:>13} |",
        "message", "work", "engine", "ns", "instructions", "theirs/ours", "ditto, instr.", "goal"
    );
    println!("|{:-<10}|{:-<8}|{:-<14}|{:->12}|{:->14}|{:->13}|{:->15}|{:->15}|", "", "", "", ":", ":", ":", ":", ":");
    for line in &measured {
        let Some(ours) =
            measured.iter().find(|other| (other.message, other.work, other.engine) == (line.message, line.work, OURS))
        else {
            continue;
        };
        let ratio = line.nanoseconds / ours.nanoseconds;
        let counts = line.instructions.zip(ours.instructions).map(|(theirs, ours)| theirs / ours);
        let goal = GOALS.iter().find(|(engine, work, _)| (*engine, *work) == (line.engine, line.work));
        println!(
            "| {:8} | {:6} | {:12} | {:>10.0} | {:>12} | {:>11.2} | {:>13} | {:>13} |",
            line.message,
            line.work,
            line.engine,
            line.nanoseconds,
            line.instructions.map_or_else(String::new, |count| format!("{count:.0}")),
            ratio,
            counts.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            goal.map_or_else(String::new, |(_, _, least)| {
                format!("{least:.2} {}", if ratio >= *least { "met" } else { "MISSED" })
            }),
        );
    }
    if !counted {
        println!("\nNo valgrind, so no instruction counts.");
    }
    if !has_python {
        println!("\nNo python3 with xmlrpc.client, so no such rows.");
    }
}

/// Runs one case so many times, for callgrind.
fn one_case(arguments: &[String]) -> ExitCode {
    let value = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
    let (Some(name), Some(times)) = (value("--case"), value("--times").and_then(|times| times.parse::<u32>().ok()))
    else {
        eprintln!("usage: codec --case MESSAGE/WORK/ENGINE --times N");
        return ExitCode::FAILURE;
    };
    let cases = cases();
    let Some(case) = cases.iter().find(|case| case.name() == *name) else {
        eprintln!("no such case: {name}");
        return ExitCode::FAILURE;
    };
    for _ in 0..times {
        (case.run)();
    }
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--case") {
        return one_case(&arguments);
    }
    let cases = cases();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for case in &cases {
        criterion.bench_function(&case.name(), |bencher| bencher.iter(&case.run));
    }
    criterion.final_summary();
    // Not when cargo only lists or tests the benchmarks.
    if arguments.iter().any(|argument| argument == "--bench") {
        table(&cases);
    }
    ExitCode::SUCCESS
}
