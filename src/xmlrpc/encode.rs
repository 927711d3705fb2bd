//! Writing messages. Values themselves are written by `ser.rs`.

use serde::Serialize;

use super::Limits;
use super::decode::value_from_fragment;
use super::error::{EncodeError, Fault};
use super::escape::{push_int, push_text};
use super::ser::{CallParams, Encoder, Inner};
use super::value::Value;

const DECLARATION: &[u8] = b"<?xml version=\"1.0\"?>";

/// Appends a call to `out`. `params` is a tuple, sequence or unit; each element becomes one `<param>`.
///
/// # Errors
///
/// What cannot be written is an [`EncodeError`]; `out` is as before then.
pub fn to_call<P: Serialize + ?Sized>(method: &str, params: &P, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if !is_method_name(method) {
        return Err(EncodeError::Method(method.to_owned()));
    }
    whole(out, false, |encoder| {
        encoder.out.extend_from_slice(DECLARATION);
        encoder.out.extend_from_slice(b"<methodCall><methodName>");
        encoder.out.extend_from_slice(method.as_bytes());
        encoder.out.extend_from_slice(b"</methodName><params>");
        params.serialize(CallParams(encoder))?;
        encoder.out.extend_from_slice(b"</params></methodCall>");
        Ok(())
    })
}

/// Appends a response with one result to `out`.
///
/// # Errors
///
/// What cannot be written, nil included, is an [`EncodeError`]; `out` is as before then.
pub fn to_response<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    response(value, false, out)
}

/// Like [`to_response`], for methods whose help says that they return nil.
///
/// Members that are `None` are left out all the same.
///
/// # Errors
///
/// Those of [`to_response`], except for nil.
pub fn to_response_with_nil<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    response(value, true, out)
}

fn response<T: Serialize + ?Sized>(value: &T, nil: bool, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    whole(out, nil, |encoder| {
        encoder.out.extend_from_slice(DECLARATION);
        encoder.out.extend_from_slice(b"<methodResponse><params><param><value>");
        value.serialize(Inner::new(encoder))?;
        encoder.out.extend_from_slice(b"</value></param></params></methodResponse>");
        Ok(())
    })
}

/// A response whose one result is an array that is written element by element: one that cannot be written, or is too
/// long, leaves nothing behind, and another can take its place.
#[derive(Debug)]
pub struct ArrayResponse<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> ArrayResponse<'o> {
    /// Appends the beginning to `out`.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.reserve(1024);
        out.extend_from_slice(DECLARATION);
        out.extend_from_slice(b"<methodResponse><params><param><value><array><data>");
        Self { out }
    }

    /// Appends an element.
    ///
    /// # Errors
    ///
    /// What cannot be written, nil included, is an [`EncodeError`]; nothing is appended then.
    pub fn push<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), EncodeError> {
        let start = self.out.len();
        let result = Encoder::in_array(self.out).element("<value>", element, "</value>");
        if result.is_err() {
            self.out.truncate(start);
        }
        result
    }

    /// Appends an element if it takes at most so many bytes, and says how many; `None` if it would take more.
    ///
    /// # Errors
    ///
    /// Those of [`Self::push`].
    pub fn push_within<T: Serialize + ?Sized>(
        &mut self,
        bytes: usize,
        element: &T,
    ) -> Result<Option<usize>, EncodeError> {
        let start = self.out.len();
        self.push(element)?;
        let taken = self.out.len() - start;
        if taken > bytes {
            self.out.truncate(start);
        }
        Ok((taken <= bytes).then_some(taken))
    }

    /// Appends the end.
    pub fn end(self) {
        self.out.extend_from_slice(b"</data></array></value></param></params></methodResponse>");
    }
}

/// Appends a fault response to `out`. A character that XML cannot carry becomes U+FFFD, so this cannot fail.
pub fn to_fault(fault: &Fault, out: &mut Vec<u8>) {
    out.extend_from_slice(DECLARATION);
    out.extend_from_slice(b"<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>");
    push_int(out, fault.code.into());
    out.extend_from_slice(b"</int></value></member><member><name>faultString</name><value><string>");
    // With a replacement nothing is refused.
    let _ = push_text(out, &fault.string, Some("\u{fffd}"));
    out.extend_from_slice(b"</string></value></member></struct></value></fault></methodResponse>");
}

/// The canonical text of a value without the surrounding `<value>`, such as `<int>5</int>`. Equal values have equal
/// texts (members stand in the order of their names). Nil is allowed.
///
/// # Errors
///
/// Doubles and strings that cannot be sent, and values that nest too deep.
pub fn to_fragment(value: &Value) -> Result<String, EncodeError> {
    fragment(value)
}

/// The value that a reader would see if `value` were sent. Nil is allowed.
///
/// # Errors
///
/// What cannot be sent is an [`EncodeError`].
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, EncodeError> {
    // By way of the text: slower than a second serializer, but with the very same rules.
    let text = fragment(value)?;
    let limits = Limits { body_bytes: usize::MAX, values: usize::MAX, ..Limits::default() };
    // What was just written reads back, unless it contains a bad `Fragment` or a map with the same key twice.
    value_from_fragment(&text, &limits).map_err(|error| EncodeError::Fragment(error.message().to_owned()))
}

fn fragment<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    let mut out = Vec::new();
    value.serialize(Inner::new(&mut Encoder::new(&mut out, true)))?;
    // Only whole strings and ASCII were appended; still, no reason to panic.
    String::from_utf8(out).map_err(|error| EncodeError::Fragment(error.to_string()))
}

/// Runs `write` and takes back what it wrote if it fails.
fn whole(
    out: &mut Vec<u8>,
    nil: bool,
    write: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    // Enough for most messages, so that they do not grow by doubling from nothing.
    out.reserve(1024);
    let start = out.len();
    let result = write(&mut Encoder::new(out, nil));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// `A-Za-z0-9_.:/`, at least one.
pub(super) fn is_method_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'/'))
}
