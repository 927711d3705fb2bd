//! The fault table, row by row.

use super::*;

fn code(body: &[u8]) -> i32 {
    match decode_bytes::<Vec<Value>>(body, &Limits::default()) {
        Ok(value) => panic!("{:?} was read as {value:?}", String::from_utf8_lossy(body)),
        Err(error) => Fault::from(error).code,
    }
}

fn check(expected: i32, bodies: &[&str]) {
    for body in bodies {
        assert_eq!(code(body.as_bytes()), expected, "{body}");
    }
}

fn check_values(expected: i32, inners: &[&str]) {
    for inner in inners {
        let body = call_with(&format!("<value>{inner}</value>"));
        assert_eq!(code(body.as_bytes()), expected, "{inner}");
    }
}

const M: &str = "<methodCall><methodName>m</methodName></methodCall>";

#[test]
fn not_well_formed() {
    check(
        -32700,
        &[
            "",
            "   ",
            "hello",
            "{\"jsonrpc\":1}",
            "<",
            "<methodCall",
            "<methodCall>",
            "<methodCall><methodName>m",
            "<methodCall><methodName>m</methodName>",
            "<methodCall><methodName>m</methodCall></methodName>",
            "<methodCall><methodName>m</methodname></methodCall>",
            &format!("{M}{M}"),
            &format!("{M}x"),
            &format!("x{M}"),
            &format!("{M}&amp;"),
            &format!("{M}<![CDATA[ ]]>"),
            &format!("{M}</methodCall>"),
            &format!("{M}<?xml version='1.0'?>"),
            &format!(" <?xml version='1.0'?>{M}"),
            &format!("<!DOCTYPE methodCall>{M}"),
            &format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{M}"),
            &format!("{M}<!-- a -- b -->"),
        ],
    );
    check_values(
        -32700,
        &[
            "&nbsp;",
            "&x;",
            "a & b",
            "&#;",
            "&#x;",
            "&#12a;",
            "&#X41;",
            "&amp",
            "<int>1</string>",
            "<!-- ",
            "<![CDATA[ ",
        ],
    );
}

#[test]
fn what_is_no_xml_rpc_is_told_before_a_wrong_type() {
    let body = call_with("<value><int>x</int></value>");
    check(-32602, &[&body]);
    check(-32700, &[&body[..body.len() - 3], &format!("{body}x")]);
    let wrong = "<param><value><int>x</int></value></param>";
    check(-32600, &[&call(&format!("{wrong}<foo/>")), &call(&format!("{wrong}<param><value><foo/></value></param>"))]);
    let response = |inner: &str| {
        let body = body.replace("<methodCall><methodName>m</methodName>", "<methodResponse>");
        body.replace("</params></methodCall>", inner)
    };
    for (end, code) in [("</params></methodResponse>", -32602), ("<foo/>", -32600), ("</params>", -32700)] {
        let error = from_response::<i32>(response(end).as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error.kind().code(), code, "{end}");
    }
}

#[test]
fn encodings_and_characters() {
    let declared = |name: &str| format!("<?xml version=\"1.0\" encoding=\"{name}\"?>{M}");
    check(-32701, &[&declared("windows-1252"), &declared("EBCDIC"), &declared("UTF-16"), &declared("")]);
    let utf16: Vec<u8> = M.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(code(&utf16), -32701);
    let unpaired = [0xff, 0xfe, b'<', 0, 0x00, 0xd8, b'>', 0];
    for body in [&b"<a>\xff</a>"[..], b"<a>\xc3</a>", &unpaired, b"\xff\xfe<", b"<a>\0</a>"] {
        assert_eq!(code(body), -32702, "{body:?}");
    }
    let ascii = format!("<?xml version='1.0' encoding='us-ascii'?>{}", call_with("<value>ü</value>"));
    check(-32702, &[&ascii]);
    check_values(
        -32702,
        &[
            "\u{1}",
            "\u{b}",
            "\u{1f}",
            "\u{fffe}",
            "\u{ffff}",
            "<!-- \u{1} -->",
            "&#0;",
            "&#1;",
            "&#xD800;",
            "&#xFFFE;",
            "&#x110000;",
            "&#99999999999999999999;",
        ],
    );
}

#[test]
fn not_xml_rpc() {
    check(
        -32600,
        &[
            "<a/>",
            "<methodResponse/>",
            "<methodcall/>",
            "<x:methodCall/>",
            "<methodCall/>",
            "<methodCall><params/></methodCall>",
            "<methodCall><params/><methodName>m</methodName></methodCall>",
            "<methodCall><methodName>m</methodName><methodName>m</methodName></methodCall>",
            "<methodCall><methodName>m</methodName><params/><params/></methodCall>",
            "<methodCall><methodName>m</methodName><params/>x</methodCall>",
            "<methodCall><methodName/></methodCall>",
            "<methodCall><methodName>a b</methodName></methodCall>",
            "<methodCall><methodName>ä</methodName></methodCall>",
            "<methodCall><methodName><b>m</b></methodName></methodCall>",
            &call("<value/>"),
            &call("x"),
            &call("<param/>"),
            &call("<param>x</param>"),
            &call("<param><value/><value/></param>"),
            &call("<param><int>5</int></param>"),
        ],
    );
    check_values(
        -32600,
        &[
            "foo<int>5</int>",
            "<int>5</int>foo",
            "<int>5</int><int>5</int>",
            "<int><b>5</b></int>",
            "<integer>5</integer>",
            "<float>5</float>",
            "<ex:int>5</ex:int>",
            "<ex:string>5</ex:string>",
            "<value/>",
            "<nil>x</nil>",
            "<array><value/></array>",
            "<array><data/><data/></array>",
            "<array><data>x</data></array>",
            "<array><data><int>1</int></data></array>",
            "<struct><name>a</name></struct>",
            "<struct><member/></struct>",
            "<struct>x</struct>",
            "<struct><member><value/></member></struct>",
            "<struct><member><name>a</name></member></struct>",
            "<struct><member><name>a</name><name>b</name><value/></member></struct>",
            "<struct><member><value/><value/><name>a</name></member></struct>",
            "<struct><member><name>a</name><value/><value/></member></struct>",
        ],
    );
}

#[test]
fn duplicate_members() {
    let member = |name: &str| format!("<member><name>{name}</name><value/></member>");
    for count in [1, 2, 15, 16, 17, 40] {
        let names: String = (0..count).map(|i| member(&format!("n{i}"))).collect();
        assert!(matches!(&value(&format!("<struct>{names}</struct>")), Value::Struct(m) if m.len() == count));
        for again in ["n0", &format!("n{}", count - 1), "&#110;0"] {
            check_values(-32600, &[&format!("<struct>{names}{}</struct>", member(again))]);
        }
    }
    // Also among members that nobody asks for, and after a struct within the struct.
    let inner = format!("<struct>{}</struct>", member("a"));
    let outer =
        format!("<struct><member><name>b</name><value>{inner}</value></member>{}{}</struct>", member("a"), member("b"));
    check_values(-32600, &[&outer]);
    let body = call_with(&format!("<value>{outer}</value>"));
    let skipped = Call::parse(&body, &Limits::default()).unwrap().skip();
    assert_eq!(skipped.unwrap_err().kind().code(), -32600);
}

#[test]
fn wrong_values() {
    check_values(
        -32602,
        &[
            "<int></int>",
            "<int/>",
            "<int>1_000</int>",
            "<int>1.0</int>",
            "<int>0x10</int>",
            "<int>- 5</int>",
            "<int>--5</int>",
            "<int>9223372036854775808</int>",
            "<i4>１</i4>",
            "<i8/>",
            "<biginteger>99999999999999999999</biginteger>",
            "<ex:i8>-9223372036854775809</ex:i8>",
            "<boolean>true</boolean>",
            "<boolean>2</boolean>",
            "<boolean> 1</boolean>",
            "<boolean/>",
            "<double>nan</double>",
            "<double>inf</double>",
            "<double>-Infinity</double>",
            "<double>1e999</double>",
            "<double>1,5</double>",
            "<ex:float>NaN</ex:float>",
            "<double/>",
            "<base64>a</base64>",
            "<base64>aGVsbG8</base64>",
            "<base64>a*Vs</base64>",
            "<dateTime.iso8601/>",
            "<dateTime.iso8601>yesterday</dateTime.iso8601>",
            "<dateTime.iso8601>19980717</dateTime.iso8601>",
            "<dateTime.iso8601>19981317T14:08:55</dateTime.iso8601>",
            "<dateTime.iso8601>19980230T14:08:55</dateTime.iso8601>",
            "<dateTime.iso8601>1998-0717T14:08:55</dateTime.iso8601>",
            "<dateTime.iso8601>19980717T24:00:00</dateTime.iso8601>",
            "<dateTime.iso8601>19980717T14:08:55+1</dateTime.iso8601>",
            "<dateTime.iso8601>19980717T14:08:55+02:00x</dateTime.iso8601>",
        ],
    );
}

#[test]
fn limits_have_their_own_texts() {
    let limits = Limits { body_bytes: 2000, depth: 3, values: 5 };
    let fault = |body: &str| {
        let fault = Fault::from(decode_bytes::<Vec<Value>>(body.as_bytes(), &limits).unwrap_err());
        assert_eq!(fault.code, -32600);
        fault.string
    };
    let nested = |depth: usize| {
        call_with(&format!("{}{}", "<value><array><data>".repeat(depth), "</data></array></value>".repeat(depth)))
    };
    assert!(decode_bytes::<Vec<Value>>(nested(3).as_bytes(), &limits).is_ok());
    assert_eq!(fault(&nested(4)), "values nest deeper than 3, the limit");
    let five = "<param><value/></param>".repeat(5);
    assert!(decode_bytes::<Vec<Value>>(call(&five).as_bytes(), &limits).is_ok());
    assert_eq!(fault(&call(&format!("{five}<param><value/></param>"))), "more than 5 values, the limit");
    assert_eq!(fault(&" ".repeat(2001)), "the body has 2001 bytes; the limit is 2000");
}

#[test]
fn skipping_checks_the_document() {
    for (value, expected) in [
        ("<value><int>not checked</int></value>", None),
        ("<value><foo/></value>", Some(-32600)),
        ("<value>&foo;</value>", Some(-32700)),
        ("<value><array><data><value>", Some(-32700)),
        ("<value><nil/></value></param></params></methodCall>x", Some(-32700)),
    ] {
        let body = call_with(value);
        let result = Call::parse(&body, &Limits::default()).unwrap().skip();
        assert_eq!(result.err().map(|error| error.kind().code()), expected, "{value}");
    }
}
