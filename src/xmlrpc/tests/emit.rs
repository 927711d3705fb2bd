//! The *emit* column, byte for byte.

use std::collections::BTreeMap;

use serde::Serialize;

use super::*;

fn inner<T: Serialize>(value: T) -> Result<String, EncodeError> {
    let mut out = b"before".to_vec();
    let result = to_response(&value, &mut out);
    if let Err(error) = result {
        assert_eq!(out, b"before", "an error leaves nothing behind");
        return Err(error);
    }
    let text = String::from_utf8(out).unwrap();
    let inner = text
        .strip_prefix("before<?xml version=\"1.0\"?><methodResponse><params><param><value>")
        .and_then(|rest| rest.strip_suffix("</value></param></params></methodResponse>"));
    Ok(inner.unwrap().to_owned())
}

fn check<T: Serialize>(value: T, expected: &str) {
    assert_eq!(inner(value).unwrap(), expected);
}

#[test]
fn scalars() {
    check(0, "<int>0</int>");
    check(-1i8, "<int>-1</int>");
    check(u8::MAX, "<int>255</int>");
    check(i32::MAX, "<int>2147483647</int>");
    check(i32::MIN, "<int>-2147483648</int>");
    check(i64::from(i32::MAX) + 1, "<i8>2147483648</i8>");
    check(u32::MAX, "<i8>4294967295</i8>");
    check(i64::MIN, "<i8>-9223372036854775808</i8>");
    check(i64::MAX as u64, "<i8>9223372036854775807</i8>");
    check(true, "<boolean>1</boolean>");
    check(false, "<boolean>0</boolean>");
    check(1.0, "<double>1.0</double>");
    check(-0.5, "<double>-0.5</double>");
    check(0.1f32, "<double>0.1</double>");
    check(1e21, "<double>1000000000000000000000.0</double>");
    check(1e-7, "<double>0.0000001</double>");
    check(-0.0, "<double>-0.0</double>");
    check('x', "<string>x</string>");
    check("", "<string></string>");
    check("a<b>&c\r\n\t\"'", "<string>a&lt;b&gt;&amp;c&#13;\n\t\"'</string>");
    check("]]>", "<string>]]&gt;</string>");
    check("\u{7f}\u{85}\u{ef00}\u{fffd}😀", "<string>\u{7f}\u{85}\u{ef00}\u{fffd}😀</string>");
    check(Bytes(b"hello".to_vec()), "<base64>aGVsbG8=</base64>");
    check(Bytes(vec![]), "<base64></base64>");
    let date: DateTime = "1998-07-17T14:08:55".parse().unwrap();
    check(date, "<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>");
    check(Fragment("<int>5</int>"), "<int>5</int>");
}

#[derive(Serialize)]
struct Sample {
    id: u64,
    note: Option<&'static str>,
    inner: Option<Option<Unit>>,
    kind: Kind,
}

#[derive(Serialize)]
struct Unit {}

#[derive(Serialize)]
enum Kind {
    #[serde(rename = "a<b")]
    Plain,
    Data(i32),
}

#[test]
fn compounds() {
    check([1, 2], "<array><data><value><int>1</int></value><value><int>2</int></value></data></array>");
    check(Vec::<i32>::new(), "<array><data></data></array>");
    check((1, "a"), "<array><data><value><int>1</int></value><value><string>a</string></value></data></array>");
    check(
        Sample { id: 1, note: None, inner: Some(None), kind: Kind::Plain },
        "<struct><member><name>id</name><value><int>1</int></value></member>\
         <member><name>kind</name><value><string>a&lt;b</string></value></member></struct>",
    );
    check(
        Sample { id: 1, note: Some("n"), inner: Some(Some(Unit {})), kind: Kind::Plain },
        "<struct><member><name>id</name><value><int>1</int></value></member>\
         <member><name>note</name><value><string>n</string></value></member>\
         <member><name>inner</name><value><struct></struct></value></member>\
         <member><name>kind</name><value><string>a&lt;b</string></value></member></struct>",
    );
    check(
        BTreeMap::from([("&", Some(1)), ("x", None)]),
        "<struct><member><name>&amp;</name><value><int>1</int></value></member></struct>",
    );
    check(
        BTreeMap::from([('k', ())]).keys().collect::<Vec<_>>(),
        "<array><data><value><string>k</string></value></data></array>",
    );
}

#[test]
fn refused() {
    fn check<T: Serialize>(value: T, expected: EncodeError) {
        assert_eq!(inner(value).unwrap_err(), expected);
    }
    check(f64::NAN, EncodeError::NotFinite);
    check(f32::INFINITY, EncodeError::NotFinite);
    check("a\0", EncodeError::Character('\0'));
    check("a long text with the character \u{ffff} late in it", EncodeError::Character('\u{ffff}'));
    check(u64::MAX, EncodeError::Range(u64::MAX));
    check((), EncodeError::Nil);
    check(None::<i32>, EncodeError::Nil);
    check([None, Some(1)], EncodeError::Nil);
    check(Value::Nil, EncodeError::Nil);
    check(BTreeMap::from([("a", Value::Nil)]), EncodeError::Nil);
    check(BTreeMap::from([(1, 2)]), EncodeError::Key);
    check(BTreeMap::from([("a\u{1}", 2)]), EncodeError::Character('\u{1}'));
    check(Kind::Data(1), EncodeError::Variant("Data"));
}

#[test]
fn nil_where_allowed() {
    let mut out = Vec::new();
    to_response_with_nil(&(Value::Nil, None::<i32>, BTreeMap::from([("a", None::<i32>)])), &mut out).unwrap();
    assert!(
        String::from_utf8(out)
            .unwrap()
            .contains("<value><nil/></value><value><nil/></value><value><struct></struct></value>")
    );
}

#[test]
fn calls() {
    fn check<P: Serialize + ?Sized>(params: &P, expected: &str) {
        let mut out = Vec::new();
        to_call("a.b", params, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "<?xml version=\"1.0\"?><methodCall><methodName>a.b</methodName><params>{expected}</params></methodCall>"
            )
        );
    }
    check(&(), "");
    check(&(1,), "<param><value><int>1</int></value></param>");
    check(&[true][..], "<param><value><boolean>1</boolean></value></param>");
    check(
        &vec![Value::Int(1), "x".into()],
        "<param><value><int>1</int></value></param><param><value><string>x</string></value></param>",
    );
    check(&([1],), "<param><value><array><data><value><int>1</int></value></data></array></value></param>");
    let mut out = Vec::new();
    assert_eq!(to_call("m", &1, &mut out), Err(EncodeError::NotAList));
    assert_eq!(to_call("m", "x", &mut out), Err(EncodeError::NotAList));
    assert_eq!(to_call("a b", &(), &mut out), Err(EncodeError::Method("a b".into())));
    assert_eq!(to_call("m", &(1, None::<i32>), &mut out), Err(EncodeError::Nil));
    assert_eq!(out, b"");
}

#[test]
fn faults() {
    let mut out = Vec::new();
    to_fault(&Fault { code: -32602, string: "a<\u{0}\u{ffff}".into() }, &mut out);
    assert_eq!(
        String::from_utf8(out.clone()).unwrap(),
        "<?xml version=\"1.0\"?><methodResponse><fault><value><struct>\
         <member><name>faultCode</name><value><int>-32602</int></value></member>\
         <member><name>faultString</name><value><string>a&lt;\u{fffd}\u{fffd}</string></value></member>\
         </struct></value></fault></methodResponse>"
    );
    let read = from_response::<i32>(&out, &Limits::default()).unwrap().unwrap_err();
    assert_eq!(read, Fault { code: -32602, string: "a<\u{fffd}\u{fffd}".into() });
}

#[test]
fn fragments() {
    for (value, text) in [
        (Value::Int(5), "<int>5</int>"),
        (Value::Nil, "<nil/>"),
        (string("a&\r"), "<string>a&amp;&#13;</string>"),
        (Value::Array(vec![]), "<array><data></data></array>"),
    ] {
        assert_eq!(to_fragment(&value).unwrap(), text);
        assert_eq!(from_fragment(text).unwrap(), value);
        assert_eq!(to_value(&Fragment(text)).unwrap(), value);
    }
    for text in ["", "x", "<int>5", "<int>5</int>x", "<int>5</int><int>5</int>", "<foo/>", "<string>\u{1}</string>"] {
        assert!(from_fragment(text).is_err(), "{text}");
    }
}
