//! Rust types: typed and untyped reading agree, and what is written is read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    id: u64,
    small: i8,
    ratio: f64,
    flag: bool,
    name: String,
    letter: char,
    data: Bytes,
    date: DateTime,
    color: Color,
    list: Vec<(i32, String)>,
    map: BTreeMap<Name, i64>,
    note: Option<String>,
    nested: Option<Box<Self>>,
    either: Vec<Either>,
    shape: Shape,
    any: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Name(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Green,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(i32),
    // Before the string, because serde's strings take buffered bytes that are UTF-8.
    Data(Bytes),
    // After it, because a date is also read from a buffered string.
    Text(String),
    Date(DateTime),
    Pair(i32, bool),
    Named { x: f64, y: Option<i32> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Shape {
    Circle { radius: f64 },
}

fn sample() -> Sample {
    let date: DateTime = "20240229T12:00:00.5Z".parse().unwrap();
    let leaf = Sample {
        id: 1 << 40,
        small: -3,
        ratio: 2.0,
        flag: true,
        name: "a <b> & \r\n".into(),
        letter: 'ß',
        data: Bytes(vec![0, 255]),
        date: date.clone(),
        color: Color::Green,
        list: vec![(1, "x".into()), (2, String::new())],
        map: [(Name("k".into()), -1)].into(),
        note: None,
        nested: None,
        either: vec![
            Either::Number(1),
            Either::Text("t".into()),
            Either::Date(date),
            Either::Data(Bytes(vec![1])),
            Either::Pair(1, true),
            Either::Named { x: 1.5, y: None },
        ],
        shape: Shape::Circle { radius: 0.5 },
        any: Value::Array(vec![Value::Int(1), string("x")]),
    };
    Sample { note: Some("n".into()), nested: Some(Box::new(leaf.clone())), color: Color::Red, ..leaf }
}

#[test]
fn typed_and_untyped_agree() {
    let sample = sample();
    let mut out = Vec::new();
    to_response(&sample, &mut out).unwrap();
    let limits = Limits::default();
    let typed: Sample = from_response(&out, &limits).unwrap().unwrap();
    assert_eq!(typed, sample);
    let untyped: Value = from_response(&out, &limits).unwrap().unwrap();
    assert_eq!(to_value(&sample).unwrap(), untyped);
    assert_eq!(Sample::deserialize(untyped.clone()).unwrap(), sample);
    let mut again = Vec::new();
    to_call("m", &(&untyped,), &mut again).unwrap();
    assert_eq!(decode_bytes::<(Sample,)>(&again, &limits).unwrap().0, sample);
}

#[test]
fn unknown_members_are_passed_over() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Small {
        b: i32,
        #[serde(default)]
        c: i32,
    }
    let inner = "<struct>\
        <member><name>a</name><value><struct><member><name>b</name><value><int>7</int></value></member></struct></value></member>\
        <member><name>b</name><value><int>1</int></value></member>\
        <member><value><array><data><value/><value><nil/></value></data></array></value><name>d</name></member>\
        </struct>";
    assert_eq!(decode::<(Small,)>(&call_with(&format!("<value>{inner}</value>"))).unwrap().0, Small { b: 1, c: 0 });
}

#[test]
fn value_before_name_reads_typed() {
    let inner = "<struct><member><value><int>5</int></value><name>k</name></member></struct>";
    let body = call_with(&format!("<value>{inner}</value>"));
    assert_eq!(decode::<(BTreeMap<String, i32>,)>(&body).unwrap().0, [("k".to_owned(), 5)].into());
    let error = decode::<(BTreeMap<String, bool>,)>(&body).unwrap_err();
    assert_eq!(error.message(), "parameter 1: member k: expected a boolean, found <int>");
}

#[test]
fn enums() {
    assert_eq!(decode::<(Color,)>(&call_with("<value>red</value>")).unwrap().0, Color::Red);
    let error = decode::<(Color,)>(&call_with("<value>blue</value>")).unwrap_err();
    assert_eq!(error.message(), "parameter 1: unknown variant `blue`, expected `red` or `green`");
}

#[test]
fn responses() {
    let limits = Limits::default();
    let read = |body: &str| from_response::<i32>(body.as_bytes(), &limits);
    let result = "<methodResponse><params><param><value><int>5</int></value></param></params></methodResponse>";
    assert_eq!(read(result).unwrap(), Ok(5));
    let member = |name: &str, value: &str| format!("<member><name>{name}</name><value>{value}</value></member>");
    let fault = |members: &str| {
        format!("<methodResponse><fault><value><struct>{members}</struct></value></fault></methodResponse>")
    };
    let text = member("faultString", "no");
    for code in ["<int>4</int>", "<i4>4</i4>", "<i8>4</i8>"] {
        let code = member("faultCode", code);
        for members in [format!("{code}{text}"), format!("{text}{code}{}", member("x", ""))] {
            assert_eq!(read(&fault(&members)).unwrap(), Err(Fault { code: 4, string: "no".into() }));
        }
    }
    for (body, expected) in [
        (fault(&text), -32602),
        (call(""), -32600),
        ("<methodResponse/>".to_owned(), -32600),
        ("<methodResponse><params/></methodResponse>".to_owned(), -32600),
        (result.replace("</param>", "</param><param><value/></param>"), -32600),
        (result.replace("</params>", "</params><fault/>"), -32600),
        (result.replace("<int>5</int>", "x"), -32602),
        (format!("{result}{result}"), -32700),
        ("<html><body>502</body></html>".to_owned(), -32600),
    ] {
        assert_eq!(read(&body).unwrap_err().kind().code(), expected, "{body}");
    }
}
