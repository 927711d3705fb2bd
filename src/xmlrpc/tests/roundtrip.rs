//! What is written is read back equal, or refused: for values of any shape and text of any characters.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;

/// Text that XML can carry, with much of what is special in it.
fn legal_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => any::<char>().prop_filter("a character of XML", |&c| escape::is_xml_char(c)).prop_map(String::from),
        2 => "[ -~]{0,40}",
        1 => prop::sample::select(vec!["\r", "\r\n", "\n", "\t", "]]>", "&", "<", "&amp;", "<![CDATA[", "<!--", "😀", "\u{fffd}", "\u{ef00}", " "])
            .prop_map(String::from),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn date() -> impl Strategy<Value = DateTime> {
    (1u32..10_000, 1u32..13, 1u32..29, 0u32..24, 0u32..60).prop_map(|(year, month, day, hour, minute)| {
        format!("{year:04}{month:02}{day:02}T{hour:02}:{minute:02}:{minute:02}").parse().unwrap()
    })
}

pub(super) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<i32>().prop_map(|number| Value::Int(number.into())),
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Double),
        legal_text().prop_map(Value::String),
        date().prop_map(Value::DateTime),
        vec(any::<u8>(), 0..40).prop_map(Value::Base64),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            btree_map(legal_text(), inner, 0..6).prop_map(Value::Struct),
        ]
    })
}

/// quick-xml's own view of a document, without any of our code: the text between the tags.
fn reference_text(document: &str) -> String {
    let mut reader = Reader::from_str(document);
    let mut text = String::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Text(piece) => text.push_str(&piece.xml10_content()),
            Event::GeneralRef(name) => match name.resolve_char_ref().unwrap() {
                Some(c) => text.push(c),
                None => text.push_str(quick_xml::escape::resolve_predefined_entity(&name).unwrap()),
            },
            Event::Eof => return text,
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn values(value in any_value()) {
        let mut out = Vec::new();
        to_response_with_nil(&value, &mut out).unwrap();
        prop_assert!(!out.contains(&b'\r'));
        let read: Value = from_response(&out, &Limits::default()).unwrap().unwrap();
        prop_assert_eq!(&read, &value);
        let fragment = to_fragment(&value).unwrap();
        prop_assert_eq!(&from_fragment(&fragment).unwrap(), &value);
        prop_assert_eq!(&to_value(&value).unwrap(), &value);
        prop_assert_eq!(&Value::deserialize_from(value.clone()), &value);
    }

    #[test]
    fn text_is_byte_exact_or_refused(text in any::<String>()) {
        let legal = text.chars().all(escape::is_xml_char);
        match to_fragment(&Value::String(text.clone())) {
            Ok(fragment) => {
                prop_assert!(legal);
                prop_assert_eq!(from_fragment(&fragment).unwrap(), Value::String(text.clone()));
                prop_assert_eq!(reference_text(&fragment), text);
            }
            Err(error) => {
                prop_assert!(!legal);
                prop_assert!(matches!(error, EncodeError::Character(_)));
            }
        }
    }

    #[test]
    fn doubles_have_no_exponent(number in any::<f64>()) {
        prop_assume!(number.is_finite());
        let fragment = to_fragment(&Value::Double(number)).unwrap();
        let digits = fragment.strip_prefix("<double>").unwrap().strip_suffix("</double>").unwrap();
        prop_assert!(digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-'));
        prop_assert_eq!(digits.parse::<f64>().unwrap().to_bits(), number.to_bits());
    }

    #[test]
    fn doubles_have_the_shortest_digits(thousandths in -2_000_000_000_000_000i64..2_000_000_000_000_000, unit in 0..6) {
        let number = thousandths as f64 / 10f64.powi(unit);
        let shortest = format!("{number:?}");
        prop_assume!(!shortest.contains('e'));
        prop_assert_eq!(to_fragment(&Value::Double(number)).unwrap(), format!("<double>{shortest}</double>"));
    }

    #[test]
    fn noise_never_panics(body in vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let limits = Limits::default();
        let _ = decode_bytes::<Vec<Value>>(&body, &limits);
        // A real call with noise in the middle, and one cut short.
        let mut call = call_with("<value><struct><member><name>a</name><value><int>1</int></value></member></struct></value>").into_bytes();
        prop_assert!(decode_bytes::<Vec<Value>>(&call[..cut.index(call.len())], &limits).is_err());
        let at = at.index(call.len());
        call.splice(at..at, body);
        let _ = decode_bytes::<Vec<Value>>(&call, &limits);
        let _ = from_response::<Value>(&call, &limits);
    }
}

impl Value {
    /// Through its own deserializer, which must not change it.
    fn deserialize_from(self) -> Self {
        serde::Deserialize::deserialize(self).unwrap()
    }
}
