//! How a value is shown to people.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::protocol;
use crate::xmlrpc::{Value, from_fragment};

/// A value as people write it: `5`, `hello`, `[1, "two"]`. A text stands without quotes unless it is inside another
/// value.
#[must_use]
pub fn shown(value: &protocol::types::Value) -> String {
    match from_fragment(value.as_str()) {
        Ok(value) => shown_value(&value),
        // What nodes keep was made by `to_fragment`; should it not be, show it as it stands.
        Err(_) => value.as_str().to_owned(),
    }
}

/// The same for a decoded value.
#[must_use]
pub fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => {
            let mut out = String::new();
            nested(value, &mut out);
            out
        }
    }
}

/// Values are at most as deep as the codec's limit, so the recursion is bounded.
fn nested(value: &Value, out: &mut String) {
    // Writing to a String cannot fail.
    _ = match value {
        Value::Int(int) => write!(out, "{int}"),
        Value::Boolean(boolean) => write!(out, "{boolean}"),
        Value::Double(double) => write!(out, "{double:?}"),
        Value::String(text) => {
            write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        Value::DateTime(time) => write!(out, "{time}"),
        Value::Base64(bytes) => write!(out, "{}", STANDARD.encode(bytes)),
        Value::Nil => write!(out, "nil"),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                nested(item, out);
            }
            write!(out, "]")
        }
        Value::Struct(members) => {
            out.push('{');
            for (at, (name, item)) in members.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                out.push_str(name);
                out.push_str(": ");
                nested(item, out);
            }
            write!(out, "}}")
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write() {
        let show = |fragment: &str| shown(&protocol::types::Value::new(fragment));
        assert_eq!(show("<int>0</int>"), "0");
        assert_eq!(show("<string></string>"), "");
        assert_eq!(show("<string>a &amp; b</string>"), "a & b");
        assert_eq!(show("<boolean>1</boolean>"), "true");
        assert_eq!(
            show("<array><data><value><int>1</int></value><value><string>t\"</string></value></data></array>"),
            "[1, \"t\\\"\"]"
        );
        assert_eq!(
            show("<struct><member><name>a</name><value><double>1.5</double></value></member></struct>"),
            "{a: 1.5}"
        );
    }
}
