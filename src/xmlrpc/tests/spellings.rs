//! One value, many spellings: whatever way of the *accept* column a document is written in, it means the same, and
//! reading it as a type means the same as reading it as a [`Value`] first.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;

use super::roundtrip::any_value;
use super::*;

/// Writes values in spellings that a row of choices picks.
struct Speller<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl<'a> Speller<'a> {
    fn new(choices: &'a [u8]) -> Self {
        Self { choices: choices.iter().cycle() }
    }

    fn pick<'t>(&mut self, among: &[&'t str]) -> &'t str {
        among[self.number(among.len())]
    }

    fn number(&mut self, below: usize) -> usize {
        usize::from(*self.choices.next().unwrap()) % below
    }

    /// What may stand between tags.
    fn gap(&mut self) -> &'static str {
        self.pick(&["", "", " ", "\n\t", "\r\n", "<!-- <int> -->", "<?pi > ?>", "&#32;"])
    }

    /// What may stand within the text of a number.
    fn crack(&mut self) -> &'static str {
        self.pick(&["", "", "<!-- 7 -->", "<?pi 7?>"])
    }

    /// An element in one of the forms of a tag.
    fn element(&mut self, names: &[&str], content: &str) -> String {
        let name = self.pick(names);
        let open = self.pick(&["", "", " ", "\n", " a='>' b=\"/>\""]);
        let close = self.pick(&["", "", " ", "\n"]);
        match content {
            "" if self.number(2) == 0 => format!("<{name}{open}/>"),
            _ => format!("<{name}{open}>{content}</{name}{close}>"),
        }
    }

    fn int(&mut self, number: i64) -> String {
        let sign = if number < 0 { "-" } else { self.pick(&["", "+"]) };
        let zeros = self.pick(&["", "0", "000"]);
        let digits = number.unsigned_abs().to_string();
        let (head, tail) = digits.split_at(digits.len() / 2);
        let text =
            [self.pick(&["", " ", "\r\n"]), sign, zeros, head, self.crack(), tail, self.pick(&["", "\t"])].concat();
        let names = ["int", "i1", "i2", "i4", "i8", "biginteger", "ex:i1", "ex:i2", "ex:i8", "x:biginteger"];
        self.element(&names, &text)
    }

    fn double(&mut self, number: f64) -> String {
        let text = if self.number(2) == 0 { format!("{number:e}") } else { format!(" {number:?}\n") };
        self.element(&["double", "ex:float", "y:float"], &text)
    }

    /// A text in pieces of every kind that there is.
    fn text(&mut self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match (self.number(6), c) {
                (0, _) | (_, '\r') => out += &format!("&#{};", u32::from(c)),
                (1, _) => out += &format!("&#x{:x};", u32::from(c)),
                (2, _) => out += &format!("<![CDATA[{c}]]>"),
                (3, '\n') => out += "\r\n",
                (_, '&') => out += "&amp;",
                (_, '<') => out += "&lt;",
                (_, '"') => out += self.pick(&["\"", "&quot;"]),
                (_, '\'') => out += self.pick(&["'", "&apos;"]),
                (_, '>') => out += "&gt;",
                _ => out.push(c),
            }
            out += self.crack();
        }
        out
    }

    fn string(&mut self, text: &str) -> String {
        let written = self.text(text);
        if self.number(3) == 0 { written } else { self.element(&["string"], &written) }
    }

    fn date(&mut self, date: &DateTime) -> String {
        let text = date.as_str();
        let (day, time) = text.split_once('T').unwrap();
        let dash = self.pick(&["", "-"]);
        let text = format!(" {}{dash}{}{dash}{}T{time}{}\n", &day[..4], &day[4..6], &day[6..], self.pick(&["", ".00"]));
        self.element(&["dateTime.iso8601"], &text)
    }

    fn base64(&mut self, bytes: &[u8]) -> String {
        use base64::Engine;
        let packed = base64::engine::general_purpose::STANDARD.encode(bytes);
        let text: String =
            packed.chars().flat_map(|c| [c.to_string(), self.pick(&["", "", "\r\n", " "]).into()]).collect();
        self.element(&["base64"], &text)
    }

    fn array(&mut self, elements: &[Value]) -> String {
        let mut data: String = elements.iter().map(|element| self.gap().to_owned() + &self.value(element)).collect();
        data += self.gap();
        if elements.is_empty() && self.number(2) == 0 {
            return self.element(&["array"], &data);
        }
        let data = [self.gap(), &self.element(&["data"], &data), self.gap()].concat();
        self.element(&["array"], &data)
    }

    fn members(&mut self, members: &BTreeMap<String, Value>) -> String {
        let mut all = String::new();
        for (name, value) in members {
            let name = self.text(name);
            let mut parts = [self.element(&["name"], &name), self.value(value)];
            if self.number(2) == 0 {
                parts.reverse();
            }
            let inner = [self.gap(), &parts[0], self.gap(), &parts[1], self.gap()].concat();
            all += &self.element(&["member"], &inner);
            all += self.gap();
        }
        self.element(&["struct"], &all)
    }

    /// With its `<value>` tags.
    fn value(&mut self, value: &Value) -> String {
        let inner = match value {
            Value::Int(number) => self.int(*number),
            Value::Boolean(flag) => {
                let text = self.text(if *flag { "1" } else { "0" });
                self.element(&["boolean"], &text)
            }
            Value::Double(number) => self.double(*number),
            Value::String(text) => {
                let text = self.string(text);
                return self.element(&["value"], &text);
            }
            Value::DateTime(date) => self.date(date),
            Value::Base64(bytes) => self.base64(bytes),
            Value::Array(elements) => self.array(elements),
            Value::Struct(members) => self.members(members),
            Value::Nil => {
                let gap = self.gap();
                self.element(&["nil", "ex:nil", "x:nil"], gap)
            }
        };
        let inner = [self.gap(), &inner, self.gap()].concat();
        self.element(&["value"], &inner)
    }

    fn call(&mut self, params: &[Value]) -> String {
        let mut list = String::new();
        for param in params {
            let inner = [self.gap(), &self.value(param), self.gap()].concat();
            list += &self.element(&["param"], &inner);
            list += self.gap();
        }
        let name = self.element(&["methodName"], "\n m ");
        let inner = [self.gap(), &name, self.gap(), &self.element(&["params"], &list), self.gap()].concat();
        let root = self.element(&["methodCall"], &inner);
        let head = self.pick(&["", "<?xml version='1.0'?>\n", "<!-- a -->", "\n"]);
        [head, &root, self.pick(&["", "\n", "<!-- b -->", "<?pi?>"])].concat()
    }

    fn response(&mut self, value: &Value) -> String {
        let inner = [self.gap(), &self.value(value), self.gap()].concat();
        let inner = [self.gap(), &self.element(&["param"], &inner), self.gap()].concat();
        let inner = [self.gap(), &self.element(&["params"], &inner), self.gap()].concat();
        self.element(&["methodResponse"], &inner)
    }
}

/// The document in an encoding that can carry it.
fn encoded(document: &str, choice: u8) -> Vec<u8> {
    let utf16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| {
        mark.into_iter().chain(document.encode_utf16().flat_map(unit)).collect()
    };
    match choice % 4 {
        0 => utf16([0xff, 0xfe], u16::to_le_bytes),
        1 => utf16([0xfe, 0xff], u16::to_be_bytes),
        2 => [b"\xef\xbb\xbf", document.as_bytes()].concat(),
        _ => document.as_bytes().to_vec(),
    }
}

/// Reading `document` as a `T` means the same as reading it as a value, and the value as a `T`. `None` if it fails.
fn agree<T: DeserializeOwned + PartialEq + Debug>(document: &str) -> Option<T> {
    let at_once = decode::<(T,)>(document);
    let in_two = decode::<(Value,)>(document).and_then(|(value,)| T::deserialize(value));
    match (at_once, in_two) {
        (Ok((at_once,)), Ok(in_two)) => {
            assert_eq!(at_once, in_two, "{document}");
            Some(at_once)
        }
        (Err(at_once), Err(in_two)) => {
            assert_eq!(at_once.kind(), in_two.kind(), "{document}: {at_once}; {in_two}");
            None
        }
        (at_once, in_two) => panic!("{document}: {at_once:?}, but by way of a value {in_two:?}"),
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Point {
    x: i64,
    y: Option<String>,
    #[serde(default)]
    z: u8,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    x: Value,
}

#[derive(Debug, PartialEq, Deserialize)]
enum Word {
    A,
    B(()),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(i32),
    Data(Bytes),
    Text(String),
    Date(DateTime),
    Pair(i64, Option<bool>),
    Point(Point),
    Any(Value),
}

/// Reads a document as one type after the other.
fn agree_on_all_types(document: &str) {
    agree::<Value>(document);
    agree::<i8>(document);
    agree::<u8>(document);
    agree::<i32>(document);
    agree::<u32>(document);
    agree::<i64>(document);
    agree::<u64>(document);
    agree::<f32>(document);
    agree::<f64>(document);
    agree::<bool>(document);
    agree::<char>(document);
    agree::<String>(document);
    agree::<Bytes>(document);
    agree::<DateTime>(document);
    agree::<()>(document);
    agree::<Option<i64>>(document);
    agree::<Option<Option<String>>>(document);
    agree::<Vec<Value>>(document);
    agree::<Vec<Option<i64>>>(document);
    agree::<Vec<Either>>(document);
    agree::<(i64, Option<String>)>(document);
    agree::<(Value,)>(document);
    agree::<BTreeMap<String, Value>>(document);
    agree::<BTreeMap<String, i64>>(document);
    agree::<BTreeMap<Option<String>, f64>>(document);
    agree::<Point>(document);
    agree::<Strict>(document);
    agree::<Word>(document);
    agree::<Either>(document);
    agree::<Box<Either>>(document);
}

/// Values that the types above are made for, more often than chance would have them.
fn likely_value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec!["", "A", "B", "7", "-7", "300", "+5", "x", "ü"]).prop_map(Value::from);
    let number = prop::sample::select(vec![0, 1, -1, 127, 128, 255, 256, i64::from(i32::MAX), i64::MAX, i64::MIN]);
    let scalar = prop_oneof![
        word,
        number.prop_map(Value::Int),
        any::<bool>().prop_map(Value::Boolean),
        Just(Value::Double(1.5)),
        Just(Value::Nil),
        Just(Value::DateTime("19980717T14:08:55".parse().unwrap())),
        vec(any::<u8>(), 0..3).prop_map(Value::Base64),
    ];
    let list = vec(scalar.clone(), 0..4).prop_map(Value::Array);
    let name = prop::sample::select(vec!["x", "y", "z", "a"]).prop_map(String::from);
    let members = prop::collection::btree_map(name, scalar.clone(), 0..4).prop_map(Value::Struct);
    prop_oneof![3 => scalar, 2 => list, 2 => members, 1 => any_value()]
}

/// Insides of a value of which some are wrong.
const DOUBTFUL: [&str; 16] = [
    "<int>x</int>",
    "<int/>",
    "<int>9223372036854775808</int>",
    "<i8> 5</i8>",
    "<boolean>2</boolean>",
    "<double>nan</double>",
    "<double>1e999</double>",
    "<base64>a</base64>",
    "<dateTime.iso8601>x</dateTime.iso8601>",
    "<foo/>",
    "<string><b/></string>",
    "x<int>5</int>",
    "<array><data>x</data></array>",
    "<struct><member><name>x</name><value/></member><member><name>x</name><value/></member></struct>",
    "<nil>x</nil>",
    "&foo;",
];

proptest! {
    #[test]
    fn every_spelling_means_the_same(
        params in vec(any_value(), 0..4), choices in vec(any::<u8>(), 1..60), encoding in any::<u8>(),
    ) {
        let limits = Limits::default();
        let call = Speller::new(&choices).call(&params);
        prop_assert_eq!(&decode_bytes::<Vec<Value>>(&encoded(&call, encoding), &limits).unwrap(), &params, "{}", call);
        Call::parse(&call, &limits).unwrap().skip().unwrap();
        for value in &params {
            let mut speller = Speller::new(&choices);
            let response = speller.response(value);
            let read = from_response::<Value>(&encoded(&response, encoding), &limits).unwrap().unwrap();
            prop_assert_eq!(&read, value, "{}", response);
        }
    }

    #[test]
    fn every_value_passes_through_a_call(params in vec(any_value(), 0..4)) {
        let mut out = Vec::new();
        match to_call("m", &params, &mut out) {
            Ok(()) => prop_assert_eq!(decode_bytes::<Vec<Value>>(&out, &Limits::default()).unwrap(), params),
            Err(error) => {
                prop_assert_eq!(error, EncodeError::Nil);
                let shown = format!("{params:?}");
                prop_assert!(shown.contains("Nil"));
            }
        }
    }

    #[test]
    fn types_agree_with_values(value in likely_value(), choices in vec(any::<u8>(), 1..60)) {
        agree_on_all_types(&call_with(&Speller::new(&choices).value(&value)));
    }
}

#[test]
fn types_agree_with_values_also_on_what_is_wrong() {
    for inner in DOUBTFUL {
        agree_on_all_types(&call_with(&format!("<value>{inner}</value>")));
        let value = format!("<value>{inner}</value>");
        agree_on_all_types(&call_with(&format!("<value><array><data>{value}</data></array></value>")));
        let member = format!("<struct><member><name>x</name>{value}</member></struct>");
        agree_on_all_types(&call_with(&format!("<value>{member}</value>")));
    }
}

#[test]
fn the_types_do_agree_on_something() {
    let point = "<struct><member><value>5</value><name>x</name></member></struct>";
    let body = call_with(&format!("<value>{point}</value>"));
    assert_eq!(agree::<Point>(&body), Some(Point { x: 5, y: None, z: 0 }));
    assert_eq!(agree::<Word>(&call_with("<value>A</value>")), Some(Word::A));
    assert_eq!(agree::<Either>(&call_with("<value><nil/></value>")), Some(Either::Any(Value::Nil)));
}
