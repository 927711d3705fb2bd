//! Parameter lists: missing ones, too many, wrong types, and where the messages say they are.

use serde::{Deserialize, de::DeserializeSeed};

use super::*;

/// Both ways of reading a list must agree: from the wire, and from values held back.
fn check<T: DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[&str], expected: Result<T, &str>) {
    let params: String = values.iter().map(|v| format!("<param><value>{v}</value></param>")).collect();
    let held = ParamList(values.iter().map(|inner| value(inner)).collect());
    for result in [decode::<T>(&call(&params)), T::deserialize(held)] {
        match (&expected, result) {
            (Ok(expected), result) => assert_eq!(&result.unwrap(), expected),
            (Err(message), result) => {
                let error = result.unwrap_err();
                assert_eq!((error.kind(), error.message()), (DecodeErrorKind::InvalidParams, *message));
            }
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Named {
    id: i32,
    note: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Wrapped(Option<i32>);

const ONE: &str = "<int>1</int>";

#[test]
fn missing_and_extra() {
    check::<(i32, String)>(&[ONE, "x"], Ok((1, "x".into())));
    check::<(i32, Option<String>)>(&[ONE], Ok((1, None)));
    check::<(i32, Option<String>)>(&[ONE, "x"], Ok((1, Some("x".into()))));
    check::<(i32, Option<String>)>(&[ONE, "<nil/>"], Ok((1, None)));
    check::<(Option<i32>, Option<i32>)>(&[], Ok((None, None)));
    check::<(i32, Wrapped)>(&[ONE], Ok((1, Wrapped(None))));
    check::<(i32, String)>(&[ONE], Err("parameter 2 (a string) is missing: 1 came"));
    check::<(i32, Option<i32>, i32)>(&[ONE], Err("parameter 3 (i32) is missing: 1 came"));
    check::<(i32,)>(&[], Err("parameter 1 (i32) is missing: 0 came"));
    check::<(i32,)>(&[ONE, ONE, ONE], Err("too many parameters: at most 1 expected, 3 came"));
    check::<()>(&[], Ok(()));
    check::<()>(&[ONE], Err("too many parameters: at most 0 expected, 1 came"));
    check::<Vec<i32>>(&[], Ok(vec![]));
    check::<Vec<Value>>(&[ONE, "x"], Ok(vec![Value::Int(1), string("x")]));
    check::<Named>(&[ONE], Ok(Named { id: 1, note: None }));
    check::<Named>(&[ONE, "x"], Ok(Named { id: 1, note: Some("x".into()) }));
}

#[test]
fn an_array_is_not_so_forgiving() {
    let short = "<array><data><value><int>1</int></value></data></array>";
    check::<((i32, Option<i32>),)>(&[short], Err("parameter 1: invalid length 1, expected a tuple of size 2"));
    check::<((),)>(&[short], Err("parameter 1: expected nil, found <array>"));
    let long = "<array><data><value><int>1</int></value><value><int>1</int></value></data></array>";
    check::<((i32,),)>(&[long], Err("parameter 1: an array has too many elements"));
}

#[test]
fn types_and_places() {
    check::<(i32, String)>(&[ONE, ONE], Err("parameter 2: expected a string, found <int>"));
    check::<(i32,)>(&["1"], Err("parameter 1: expected an integer, found <string>"));
    check::<(i32,)>(&["<double>1.0</double>"], Err("parameter 1: expected an integer, found <double>"));
    check::<(i32,)>(&["<int>2147483648</int>"], Err("parameter 1: expected i32, found integer `2147483648`"));
    check::<(u8,)>(&["<int>-1</int>"], Err("parameter 1: expected u8, found integer `-1`"));
    check::<(i32,)>(&["<nil/>"], Err("parameter 1: expected an integer, found <nil/>"));
    check::<(bool,)>(&[ONE], Err("parameter 1: expected a boolean, found <int>"));
    check::<(Bytes,)>(&["x"], Err("parameter 1: expected base64, found <string>"));
    check::<(DateTime,)>(&["x"], Err("parameter 1: expected a date, found <string>"));
    check::<(Vec<i32>,)>(&["x"], Err("parameter 1: expected an array, found <string>"));
    let named = "<struct><member><name>id</name><value>x</value></member></struct>";
    check::<(Named,)>(&[named], Err("parameter 1: member id: expected an integer, found <string>"));
    check::<(Named,)>(&["<struct/>"], Err("parameter 1: member id is missing"));
}

#[test]
fn numbers_that_clients_cannot_send_otherwise() {
    check::<(i64, u64)>(&["12345678901", "<string> +12 </string>"], Ok((12_345_678_901, 12)));
    check::<(i64,)>(&["x"], Err("parameter 1: expected an integer, found \"x\""));
    check::<(u64,)>(&["-1"], Err("parameter 1: expected u64, found integer `-1`"));
    check::<(f64, f32)>(&["<int>2</int>", "<double>0.5</double>"], Ok((2.0, 0.5)));
    check::<(i64,)>(&["<int>2147483648</int>"], Ok((2_147_483_648,)));
}

#[test]
fn a_seed_that_reads_nothing_leaves_a_checked_document() {
    struct Nothing;
    impl<'de> DeserializeSeed<'de> for Nothing {
        type Value = ();
        fn deserialize<D: serde::Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
            Ok(())
        }
    }
    let body = call("<param><value>x</value></param>");
    Call::parse(&body, &Limits::default()).unwrap().params_seed(Nothing).unwrap();
    let broken = call("<param><value><foo/></value></param>");
    assert!(Call::parse(&broken, &Limits::default()).unwrap().params_seed(Nothing).is_err());
}

#[test]
fn plain_text_is_borrowed() {
    let body = call_with("<value><string>plain</string></value>");
    let (text,): (&str,) = Call::parse(&body, &Limits::default()).unwrap().params().unwrap();
    assert_eq!(text, "plain");
    let body = call_with("<value><string>a&amp;b</string></value>");
    assert!(Call::parse(&body, &Limits::default()).unwrap().params::<(&str,)>().is_err());
}
