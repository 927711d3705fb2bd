//! The contract as tables: what is accepted, what is answered with which fault, what is written.

mod accept;
mod deep;
mod emit;
mod faults;
mod params;
mod roundtrip;
mod spellings;
mod tokens;
mod typed;

use serde::de::DeserializeOwned;

use super::*;

/// A call of `m` with these `<param>`s.
fn call(params: &str) -> String {
    format!("<methodCall><methodName>m</methodName><params>{params}</params></methodCall>")
}

/// A call with one parameter, `<value>` tags included.
fn call_with(value: &str) -> String {
    call(&format!("<param>{value}</param>"))
}

fn decode_bytes<T: DeserializeOwned>(body: &[u8], limits: &Limits) -> Result<T, DecodeError> {
    Call::parse(&text(body, limits)?, limits)?.params()
}

fn decode<T: DeserializeOwned>(body: &str) -> Result<T, DecodeError> {
    decode_bytes(body.as_bytes(), &Limits::default())
}

fn value(inner: &str) -> Value {
    let [value] = decode::<[Value; 1]>(&call_with(&format!("<value>{inner}</value>")))
        .unwrap_or_else(|error| panic!("{inner}: {error}"));
    value
}

fn string(text: &str) -> Value {
    Value::from(text)
}
