//! Depth: limits instead of stack, on the wire and in values built by hand.

use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::*;

const LEVELS: usize = 100_000;

/// Runs on a stack in which 100,000 levels of anything have no place; without optimization, 64 levels take most of it.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let kilobytes = if cfg!(debug_assertions) { 256 } else { 64 };
    thread::Builder::new().stack_size(kilobytes << 10).spawn(run).unwrap().join().unwrap();
}

fn arrays(levels: usize) -> Value {
    (0..levels).fold(Value::Int(1), |inner, _| Value::Array(vec![Value::Int(0), inner, string("x")]))
}

fn structs(levels: usize) -> Value {
    (0..levels).fold(Value::Int(1), |inner, _| Value::Struct([("a".into(), Value::Int(0)), ("b".into(), inner)].into()))
}

/// Ways to nest: what opens a level, what closes it.
const NESTS: [(&str, &str); 3] = [
    ("<value><array><data>", "</data></array></value>"),
    ("<value><struct><member><name>a</name>", "</member></struct></value>"),
    ("<value><struct><member>", "<name>a</name></member></struct></value>"),
];

#[test]
fn deep_documents_are_refused_at_once() {
    on_a_small_stack(|| {
        let limits = Limits { body_bytes: usize::MAX, ..Limits::default() };
        for (open, close) in NESTS {
            let whole = format!("{}<value/>{}", open.repeat(LEVELS), close.repeat(LEVELS));
            for body in [call_with(&whole), call_with(&open.repeat(LEVELS))] {
                let began = Instant::now();
                let call = || Call::parse(&body, &limits).unwrap();
                for error in [
                    call().params::<Vec<Value>>().unwrap_err(),
                    call().params::<(IgnoredAny,)>().unwrap_err(),
                    call().skip().unwrap_err(),
                ] {
                    assert_eq!(Fault::from(error).string, "values nest deeper than 64, the limit");
                }
                // Milliseconds when optimized; the bound is for a test build on a loaded machine.
                assert!(began.elapsed() < Duration::from_secs(10));
            }
            let response = call_with(&whole).replace("<methodCall><methodName>m</methodName>", "<methodResponse>");
            let error = from_response::<Value>(response.as_bytes(), &limits).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::InvalidRequest);
        }
    });
}

#[test]
fn what_is_read_at_the_limit_is_written_again() {
    on_a_small_stack(|| {
        for (open, close) in [NESTS[0], ("<value><struct><member><name>a</name>", "</member></struct></value>")] {
            let nested = |levels: usize, inner: &str| {
                call_with(&format!("{}{inner}{}", open.repeat(levels), close.repeat(levels)))
            };
            let (deepest,) = decode::<(Value,)>(&nested(63, "<value><nil/></value>")).unwrap();
            assert_eq!(from_fragment(&to_fragment(&deepest).unwrap()).unwrap(), deepest);
            assert_eq!(to_value(&deepest).unwrap(), deepest);
            decode::<(Value,)>(&nested(64, "<value/>")).unwrap_err();
        }
        assert!(to_fragment(&arrays(63)).is_ok());
        assert_eq!(to_fragment(&arrays(64)), Err(EncodeError::Depth(64)));
        assert_eq!(to_fragment(&structs(64)), Err(EncodeError::Depth(64)));
    });
}

#[test]
fn deep_values_drop_and_are_not_written() {
    on_a_small_stack(|| {
        for value in [arrays(LEVELS), structs(LEVELS)] {
            let mut out = Vec::new();
            assert_eq!(to_response(&value, &mut out), Err(EncodeError::Depth(64)));
            assert_eq!(to_response_with_nil(&value, &mut out), Err(EncodeError::Depth(64)));
            assert_eq!(to_call("m", &(&value,), &mut out), Err(EncodeError::Depth(64)));
            assert_eq!(to_value(&value), Err(EncodeError::Depth(64)));
            let error = to_fragment(&value).unwrap_err();
            assert_eq!(error.to_string(), "values nest deeper than 64, the limit");
            assert_eq!(out, b"");
            // Passed over, and partly read.
            IgnoredAny::deserialize(value).unwrap();
        }
        assert!(Vec::<i32>::deserialize(arrays(LEVELS)).is_err());
        drop((0..LEVELS).fold(Value::Nil, |inner, i| if i % 2 == 0 { arrays(1) } else { Value::Array(vec![inner]) }));
    });
}

#[test]
fn wide_values_drop_in_no_time() {
    let wide = Value::Array((0..1000).map(|_| Value::Array(vec![arrays(3), structs(3)])).collect());
    drop(Value::Array(vec![wide.clone(), wide]));
}
