//! What the clients make of replies, and which calls they make.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use clap::Parser;
use serde::Serialize;
use synod::rpc::strong::answers::{Freshness, Got, Wrote};
use synod::xmlrpc::{Call, Fault, Limits, to_fault, to_response};

use super::template::Template;
use super::workload::{Plan, Verdict, Wanted, Work, letters};
use crate::args::LoadArgs;

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    load: LoadArgs,
}

fn args(line: &str) -> LoadArgs {
    Words::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).unwrap().load
}

fn response<T: Serialize>(value: &T) -> Vec<u8> {
    let mut body = Vec::new();
    to_response(value, &mut body).unwrap();
    body
}

fn fault() -> Fault {
    Fault { code: 100, string: "unavailable: nobody leads".to_owned() }
}

fn fault_reply() -> Vec<u8> {
    let mut body = Vec::new();
    to_fault(&fault(), &mut body);
    body
}

fn done(operations: u64) -> Verdict {
    Verdict { done: operations, ..Verdict::default() }
}

#[test]
fn a_fault_is_noticed_whether_or_not_the_reply_is_read_as_a_whole() {
    for whole in [true, false] {
        for wanted in [Wanted::Wrote, Wanted::Got, Wanted::Proposed, Wanted::Many(3)] {
            let failed = if wanted == Wanted::Many(3) { 3 } else { 1 };
            assert_eq!(wanted.judge(&fault_reply(), whole), Verdict::failed(failed, fault().to_string()), "{wanted:?}");
        }
        let wrote = response(&Wrote { epoch: 1, counter: 7, ..Wrote::default() });
        assert_eq!(Wanted::Wrote.judge(&wrote, whole), done(1));
    }
}

#[test]
fn the_first_reply_must_be_what_was_asked_for() {
    let freshness = Freshness::default();
    let none = Got { found: false, value: None, version: None, epoch: None, counter: None, freshness };
    assert_eq!(Wanted::Got.judge(&response(&none), true).failed, 1);
    assert_eq!(Wanted::Got.judge(&response(&Got { found: true, ..none }), true), done(1));
    assert_eq!(Wanted::Wrote.judge(b"<html>", true).failed, 1);
}

#[test]
fn the_results_of_a_multicall_count_one_by_one() {
    let good = response(&[[1], [2], [3]]);
    #[derive(Serialize)]
    struct Failed {
        #[serde(rename = "faultCode")]
        code: i32,
        #[serde(rename = "faultString")]
        string: String,
    }
    let Fault { code, string } = fault();
    let mixed = response(&([1], Failed { code, string }, [3]));
    for whole in [true, false] {
        assert_eq!(Wanted::Many(3).judge(&good, whole), done(3));
        let verdict = Verdict { done: 2, failed: 1, why: Some(fault().to_string()) };
        assert_eq!(Wanted::Many(3).judge(&mixed, whole), verdict);
    }
    assert_eq!(Wanted::Many(4).judge(&good, true).failed, 1);
}

/// The method and the texts of a request's arguments.
fn said(request: &Template) -> (String, Vec<String>) {
    let text = std::str::from_utf8(request.bytes()).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let call = Call::parse(body, &Limits::default()).unwrap();
    (call.method().to_owned(), call.params().unwrap())
}

fn addressed(work: &mut Work) -> &mut Work {
    work.requests().iter_mut().for_each(|request| request.address(SocketAddr::from(([127, 0, 0, 1], 1)), None));
    work
}

#[test]
fn keys_are_within_their_space_and_all_come_up() {
    let args = args("--keys 5 --value-bytes 10");
    let plan = Plan { args: &args, run: "r".to_owned() };
    let mut work = plan.work(0).unwrap();
    addressed(&mut work);
    let mut keys = BTreeSet::new();
    for _ in 0..200 {
        let (request, wanted) = work.next();
        assert_eq!(wanted, Wanted::Wrote);
        let (method, params) = said(request);
        assert_eq!((method.as_str(), params.len(), params[1].as_str()), ("kv.put", 2, "abcdefghij"));
        keys.insert(params[0].clone());
    }
    assert_eq!(keys, (0..5).map(|key| format!("bench/{key:08}")).collect());
}

#[test]
fn a_mixed_load_is_half_of_each() {
    let args = args("--workload mixed");
    let plan = Plan { args: &args, run: "r".to_owned() };
    let mut work = plan.work(3).unwrap();
    let gets = (0..1000).filter(|_| work.next().1 == Wanted::Got).count();
    assert!((400..600).contains(&gets), "{gets}");
}

#[test]
fn instances_are_never_used_twice() {
    let args = args("--workload propose --value-bytes 1");
    let plan = Plan { args: &args, run: "r".to_owned() };
    let mut instances = BTreeSet::new();
    for client in 0..2 {
        let mut work = plan.work(client).unwrap();
        addressed(&mut work);
        for _ in 0..10 {
            instances.insert(said(work.next().0).1[1].clone());
        }
    }
    assert_eq!(instances.len(), 20, "{instances:?}");
}

#[test]
fn an_appending_client_makes_room_before_it_makes_files() {
    // So many clients and so long lines that a file holds few.
    let args = args("--workload append --value-bytes 1000 --clients 1000");
    let plan = Plan { args: &args, run: "r".to_owned() };
    let mut work = plan.work(7).unwrap();
    let (mut files, mut most, mut lines) = (BTreeSet::new(), 0, 0);
    for _ in 0..500 {
        if let Some(mut chore) = work.chore().unwrap() {
            chore.address(SocketAddr::from(([127, 0, 0, 1], 1)), None);
            let (method, params) = said(&chore);
            match method.as_str() {
                "files.create" => assert!(files.insert(params[0].clone())),
                "files.delete" => assert!(files.remove(&params[0])),
                other => panic!("{other}"),
            }
            most = most.max(files.len());
            work.chore_done().unwrap();
            addressed(&mut work);
            continue;
        }
        lines += 1;
        let (method, params) = said(work.next().0);
        assert_eq!((method.as_str(), params[1].len()), ("files.append", 1000));
        assert!(files.contains(&params[0]));
        assert!(params[1].starts_with(&format!("{lines:08}")), "{}", params[1]);
    }
    assert_eq!(most, 4);
}

#[test]
fn letters_are_as_many_as_wanted() {
    assert_eq!((letters(0).as_str(), letters(28).as_str()), ("", "abcdefghijklmnopqrstuvwxyzab"));
}
