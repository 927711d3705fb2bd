//! The *accept* column, row by row: the inside of a `<value>` and what it means.

use super::*;

fn check(rows: &[(&str, Value)]) {
    for (inner, expected) in rows {
        assert_eq!(&value(inner), expected, "{inner}");
    }
}

#[test]
fn ints() {
    check(&[
        ("<int>5</int>", Value::Int(5)),
        ("<i1>-5</i1>", Value::Int(-5)),
        ("<i2>5</i2>", Value::Int(5)),
        ("<i4>2147483647</i4>", Value::Int(i32::MAX.into())),
        ("<i8>-9223372036854775808</i8>", Value::Int(i64::MIN)),
        ("<ex:i1>1</ex:i1>", Value::Int(1)),
        ("<ex:i2>1</ex:i2>", Value::Int(1)),
        ("<ns1:i8>9223372036854775807</ns1:i8>", Value::Int(i64::MAX)),
        ("<biginteger>12345678901</biginteger>", Value::Int(12_345_678_901)),
        ("<ex:biginteger>7</ex:biginteger>", Value::Int(7)),
        ("<ex:i8>-1</ex:i8>", Value::Int(-1)),
        ("<any-prefix:i2>1</any-prefix:i2>", Value::Int(1)),
        ("<int>+007</int>", Value::Int(7)),
        ("<int>-0</int>", Value::Int(0)),
        ("<int>\n 5\t</int>", Value::Int(5)),
        ("  <int>5</int>\r\n  ", Value::Int(5)),
        ("<!-- a --><int>1<!-- b -->2</int><!-- c -->", Value::Int(12)),
        ("<int a='1' b=\"x>y\">5</int>", Value::Int(5)),
        ("<int>&#53;</int>", Value::Int(5)),
    ]);
}

#[test]
fn booleans_and_doubles() {
    check(&[
        ("<boolean>0</boolean>", Value::Boolean(false)),
        ("<boolean>1</boolean>", Value::Boolean(true)),
        ("<double>-1.5</double>", Value::Double(-1.5)),
        ("<double>1e3</double>", Value::Double(1000.0)),
        ("<double>2.5E-1</double>", Value::Double(0.25)),
        ("<double> +3 </double>", Value::Double(3.0)),
        ("<ex:float>1.5</ex:float>", Value::Double(1.5)),
        ("<y:float>-1e-3</y:float>", Value::Double(-0.001)),
    ]);
}

#[test]
fn strings() {
    check(&[
        ("<string>x</string>", string("x")),
        ("<string/>", string("")),
        ("<string></string>", string("")),
        ("<string> a  b </string>", string(" a  b ")),
        ("<string><![CDATA[<b>&amp;]]></string>", string("<b>&amp;")),
        ("<string>a<![CDATA[b]]>c</string>", string("abc")),
        ("<string>&lt;&gt;&amp;&quot;&apos;</string>", string("<>&\"'")),
        ("<string>&#65;&#x42;&#x1F600;</string>", string("AB😀")),
        ("<string>a\r\nb\rc\nd</string>", string("a\nb\nc\nd")),
        ("<string><![CDATA[a\r\nb]]></string>", string("a\nb")),
        ("<string>a&#13;&#10;b</string>", string("a\r\nb")),
        ("<string>a\r&#10;b</string>", string("a\n\nb")),
        ("<string>a<!-- x -->b<?pi?>c</string>", string("abc")),
        ("<string>Grüße, 世界 😀</string>", string("Grüße, 世界 😀")),
    ]);
}

#[test]
fn untyped_values_are_strings() {
    check(&[
        ("x", string("x")),
        ("", string("")),
        ("  ", string("  ")),
        (" \n x ", string(" \n x ")),
        ("5", string("5")),
        ("<![CDATA[<int>]]>", string("<int>")),
        ("a<!-- b -->c", string("ac")),
    ]);
    assert_eq!(decode::<[Value; 1]>(&call_with("<value/>")).unwrap(), [string("")]);
}

#[test]
fn dates() {
    let rows = [
        ("19980717T14:08:55", "19980717T14:08:55"),
        ("1998-07-17T14:08:55", "19980717T14:08:55"),
        ("19980717T14:08:55Z", "19980717T14:08:55Z"),
        ("19980717T14:08:55.120", "19980717T14:08:55.12"),
        ("1998-07-17T14:08:55.000+02:00", "19980717T14:08:55+02:00"),
        ("19980717T14:08:55-0330", "19980717T14:08:55-03:30"),
        ("19980717T14:08:55+01", "19980717T14:08:55+01:00"),
        ("19980717T14:08:55-00:00", "19980717T14:08:55Z"),
        (" 20240229T23:59:60 ", "20240229T23:59:60"),
    ];
    for (written, canonical) in rows {
        let date = value(&format!("<dateTime.iso8601>{written}</dateTime.iso8601>"));
        assert_eq!(date, Value::DateTime(canonical.parse().unwrap()), "{written}");
        assert_eq!(written.parse::<DateTime>().unwrap().as_str(), canonical);
    }
}

#[test]
fn base64() {
    let bytes = |text: &str| Value::Base64(text.into());
    check(&[
        ("<base64>aGVsbG8=</base64>", bytes("hello")),
        ("<base64>\r\n aGVs\n\tbG8=\n</base64>", bytes("hello")),
        ("<base64>aG&#10;VsbG8<!-- -->=</base64>", bytes("hello")),
        ("<base64/>", bytes("")),
        ("<base64></base64>", bytes("")),
    ]);
}

#[test]
fn arrays() {
    let numbers = Value::Array(vec![Value::Int(1), Value::Int(2)]);
    check(&[
        ("<array/>", Value::Array(vec![])),
        ("<array></array>", Value::Array(vec![])),
        ("<array> <data/> </array>", Value::Array(vec![])),
        ("<array><data></data></array>", Value::Array(vec![])),
        ("<array><data><value><int>1</int></value><value><i4>2</i4></value></data></array>", numbers.clone()),
        (
            "\n<array>\n<data>\n<value>\n<int>1</int>\n</value>\n<value><int>2</int></value>\n</data>\n</array>\n",
            numbers,
        ),
    ]);
}

#[test]
fn structs() {
    let one = Value::Struct([("a".to_owned(), Value::Int(1))].into());
    check(&[
        ("<struct/>", Value::Struct([].into())),
        ("<struct> </struct>", Value::Struct([].into())),
        ("<struct><member><name>a</name><value><int>1</int></value></member></struct>", one.clone()),
        ("<struct><member><value><int>1</int></value><name>a</name></member></struct>", one.clone()),
        ("<struct> <member> <name>a</name> <value> <int>1</int> </value> </member> </struct>", one.clone()),
        ("<struct><member><name><![CDATA[a]]></name><value><int>1</int></value></member></struct>", one),
        (
            "<struct><member><name/><value>x</value></member><member><name> </name><value/></member></struct>",
            Value::Struct([(String::new(), string("x")), (" ".to_owned(), string(""))].into()),
        ),
    ]);
}

#[test]
fn nil() {
    check(&[
        ("<nil/>", Value::Nil),
        ("<nil></nil>", Value::Nil),
        ("<ex:nil/>", Value::Nil),
        ("<x:nil> </x:nil>", Value::Nil),
    ]);
}

#[test]
fn names_and_params() {
    for (name, expected) in [("a.b_c:d/9", "a.b_c:d/9"), ("\n m \t", "m"), ("&#109;", "m")] {
        let body = format!("<methodCall><methodName>{name}</methodName></methodCall>");
        let call = Call::parse(&body, &Limits::default()).unwrap();
        assert_eq!(call.method(), expected);
        call.skip().unwrap();
    }
    for params in ["", "<params/>", "<params></params>", "\n<params>\n</params>\n<!-- -->"] {
        let body = format!("<methodCall><methodName>m</methodName>{params}</methodCall>");
        decode::<()>(&body).unwrap();
        assert_eq!(decode::<Vec<Value>>(&body).unwrap(), []);
    }
}

#[test]
fn around_the_root() {
    let call = call_with("<value>x</value>");
    for body in [
        format!("<?xml version=\"1.0\"?>{call}"),
        format!("<?xml version='1.0' encoding='utf-8' standalone='yes'?>\r\n{call}\r\n"),
        format!("\n<!-- a --><?pi b?>{call}<!-- c --> <?pi d?>\n"),
        format!("\u{feff}{call}"),
    ] {
        assert_eq!(decode::<(String,)>(&body).unwrap().0, "x", "{body}");
    }
}

#[test]
fn encodings() {
    let declared = |name: &str, value: &str| {
        format!("<?xml version=\"1.0\" encoding=\"{name}\"?>{}", call_with(&format!("<value>{value}</value>")))
    };
    let utf16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| {
        let mut body = mark.to_vec();
        body.extend(declared("UTF-16", "ü😀").encode_utf16().flat_map(unit));
        body
    };
    let mut latin1 = declared("ISO-8859-1", "|").into_bytes();
    for byte in &mut latin1 {
        if *byte == b'|' {
            *byte = 0xfc;
        }
    }
    for (body, expected) in [
        (declared("UTF-8", "ü😀").into_bytes(), "ü😀"),
        (declared("us-ascii", "u").into_bytes(), "u"),
        (latin1, "ü"),
        ([&b"\xef\xbb\xbf"[..], declared("UTF-8", "ü😀").as_bytes()].concat(), "ü😀"),
        (utf16([0xff, 0xfe], u16::to_le_bytes), "ü😀"),
        (utf16([0xfe, 0xff], u16::to_be_bytes), "ü😀"),
    ] {
        let (value,) = decode_bytes::<(String,)>(&body, &Limits::default()).unwrap();
        assert_eq!(value, expected);
    }
}
