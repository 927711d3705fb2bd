//! The codec against whatever comes: fuzz targets for reading calls and responses.
//!
//! The seeds in `tests/corpus` are replayed as they are. Then the seeds are bent, by edits that mostly keep to the joints
//! of the markup, because bytes at random hardly ever get past the first tag. `cargo test` tries some thousands of such
//! bends, and names the seed of the one that fails; `cargo bolero test fuzz::bent_calls` searches for as long as one likes.

use std::fs;
use std::path::Path;

use synod::xmlrpc::{
    Call, DecodeError, Fault, Limits, Value, from_fragment, from_response, text, to_call, to_fragment,
    to_response_with_nil,
};

/// Bends tried by one `cargo test`.
const TRIES: usize = 2_000;

/// The seeds of one kind, in the order of their names.
fn seeds(kind: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(kind);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {}", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One change to a document. The first three mostly leave it readable.
#[derive(Clone, Debug, bolero::TypeGenerator)]
enum Edit {
    /// Puts a value of another seed in the place of one of this.
    Value { nth: u8, seed: u8, of: u8 },
    /// Puts a value of another seed before one of this.
    Before { nth: u8, seed: u8, of: u8 },
    /// Puts white space or a comment between two tags, or within a text.
    Gap { tag: u8, gap: u8 },
    /// Puts a piece of [`PIECES`] somewhere.
    Insert { at: Place, piece: u8 },
    /// Puts a byte in the place of another.
    Byte { at: u16, byte: u8 },
    /// Takes out what is between two places.
    Cut { from: Place, to: Place },
    /// Copies what is between two places of another seed.
    Graft { at: Place, seed: u8, from: Place, to: Place },
    /// Repeats what is between two places.
    Repeat { from: Place, to: Place, times: u8 },
}

/// Somewhere in a document.
#[derive(Clone, Copy, Debug, bolero::TypeGenerator)]
enum Place {
    /// Before a tag.
    Tag(u8),
    /// After a tag.
    Inside(u8),
    /// Between two bytes.
    Byte(u16),
}

impl Place {
    fn within(self, document: &[u8]) -> usize {
        let nth = |byte: u8, n: u8| {
            let all: Vec<usize> = (0..document.len()).filter(|&at| document[at] == byte).collect();
            if all.is_empty() { 0 } else { all[usize::from(n) % all.len()] }
        };
        match self {
            Self::Tag(n) => nth(b'<', n),
            Self::Inside(n) => (nth(b'>', n) + 1).min(document.len()),
            Self::Byte(at) => usize::from(at) % (document.len() + 1),
        }
    }

    fn range(self, other: Self, document: &[u8]) -> std::ops::Range<usize> {
        let (from, to) = (self.within(document), other.within(document));
        from.min(to)..from.max(to)
    }
}

/// What has a meaning somewhere.
const PIECES: [&str; 48] = [
    "<value>",
    "</value>",
    "<value/>",
    "<int>",
    "</int>",
    "<i8>",
    "</i8>",
    "<ex:i8>",
    "<string>",
    "</string>",
    "<string/>",
    "<boolean>1</boolean>",
    "<double>1e5</double>",
    "<base64>",
    "</base64>",
    "<array><data>",
    "</data></array>",
    "<array/>",
    "<struct>",
    "</struct>",
    "<struct/>",
    "<member>",
    "</member>",
    "<name>",
    "</name>",
    "<name>a</name>",
    "<nil/>",
    "<x:nil/>",
    "<param>",
    "</param>",
    "<params>",
    "</params>",
    "<![CDATA[",
    "]]>",
    "<!-- ",
    " -->",
    "<?pi ?>",
    "<!DOCTYPE a>",
    "&amp;",
    "&#13;",
    "&#x1F600;",
    "&#0;",
    "&x;",
    "\r\n",
    " ",
    "😀",
    "\u{feff}",
    "-9223372036854775808",
];

/// What means nothing between tags.
const GAPS: [&str; 5] = [" ", "\r\n\t", "<!-- a -->", "<?pi a?>", "&#10;"];

/// Where a value of a document is, its tags included; somewhere at its end if there is none.
fn value_of(document: &[u8], nth: u8) -> std::ops::Range<usize> {
    let (open, close) = (&b"<value>"[..], &b"</value>"[..]);
    let starts: Vec<usize> = (0..document.len()).filter(|&at| document[at..].starts_with(open)).collect();
    if starts.is_empty() {
        return document.len()..document.len();
    }
    let start = starts[usize::from(nth) % starts.len()];
    let mut depth = 0;
    for at in start..document.len() {
        depth += i32::from(document[at..].starts_with(open));
        if document[at..].starts_with(close) {
            depth -= 1;
            if depth == 0 {
                return start..at + close.len();
            }
        }
    }
    start..document.len()
}

/// A good document with parts of any.
fn bend(good: &[Vec<u8>], bad: &[Vec<u8>], first: u8, edits: &[Edit]) -> Vec<u8> {
    const MOST: usize = 1 << 13;
    // One part in eight is bad.
    let seed = |n: u8| {
        let (of, n) = if n < 32 { (bad, n) } else { (good, n - 32) };
        &of[usize::from(n) % of.len()]
    };
    let mut document = good[usize::from(first) % good.len()].clone();
    // After more edits than a few, hardly a document can be read any more.
    for edit in edits.iter().take(1 + usize::from(first) / 100) {
        match *edit {
            Edit::Value { nth, seed: other, of } => {
                let (range, other) = (value_of(&document, nth), seed(other));
                document.splice(range, other[value_of(other, of)].iter().copied());
            }
            Edit::Before { nth, seed: other, of } => {
                let (at, other) = (value_of(&document, nth).start, seed(other));
                document.splice(at..at, other[value_of(other, of)].iter().copied());
            }
            Edit::Gap { tag, gap } => {
                let at = Place::Tag(tag).within(&document);
                document.splice(at..at, GAPS[usize::from(gap) % GAPS.len()].bytes());
            }
            Edit::Insert { at, piece } => {
                let at = at.within(&document);
                let piece = PIECES[usize::from(piece) % PIECES.len()];
                document.splice(at..at, piece.bytes());
            }
            Edit::Byte { at, byte } => {
                let length = document.len();
                if let Some(old) = document.get_mut(usize::from(at) % length.max(1)) {
                    // Mostly ASCII, lest most of these edits end at the encoding.
                    *old = if at < 1 << 13 { byte } else { byte & 0x7f };
                }
            }
            Edit::Cut { from, to } => drop(document.drain(from.range(to, &document))),
            Edit::Graft { at, seed: other, from, to } => {
                let at = at.within(&document);
                let other = seed(other);
                document.splice(at..at, other[from.range(to, other)].iter().copied());
            }
            Edit::Repeat { from, to, times } => {
                let range = from.range(to, &document);
                let part = document[range.clone()].repeat(usize::from(times % 100));
                document.splice(range.end..range.end, part);
            }
        }
        document.truncate(MOST);
    }
    document
}

fn read_call(body: &[u8]) -> Result<(String, Vec<Value>), DecodeError> {
    let limits = Limits::default();
    let text = text(body, &limits)?;
    let call = Call::parse(&text, &limits)?;
    Ok((call.method().to_owned(), call.params()?))
}

/// A document that is refused gets one of the five faults, in a text not longer than what it is about.
fn refused(body: &[u8], error: DecodeError) {
    let fault = Fault::from(error);
    assert!([-32700, -32701, -32702, -32600, -32602].contains(&fault.code), "{fault}");
    assert!(fault.string.len() <= body.len() + 500, "{fault}");
}

/// The memory of a value, as far as it can be seen from outside.
fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::DateTime(date) => date.as_str().len(),
        Value::Base64(bytes) => bytes.len(),
        Value::Array(elements) => elements.iter().map(weight).sum(),
        Value::Struct(members) => {
            members.iter().map(|(name, value)| size_of::<String>() + name.len() + weight(value)).sum()
        }
        Value::Int(_) | Value::Boolean(_) | Value::Double(_) | Value::Nil => 0,
    };
    size_of::<Value>() + inner
}

/// What was read can be written, and reads back the same.
fn accepted(body: &[u8], value: &Value) {
    assert!(weight(value) <= 16 * body.len(), "{} bytes from {}", weight(value), body.len());
    let fragment = to_fragment(value).unwrap();
    assert_eq!(from_fragment(&fragment).unwrap(), *value);
    let mut out = Vec::new();
    to_response_with_nil(value, &mut out).unwrap();
    assert_eq!(from_response::<Value>(&out, &Limits::default()).unwrap().unwrap(), *value);
}

fn check_call(body: &[u8]) {
    match read_call(body) {
        Err(error) => refused(body, error),
        Ok((method, params)) => {
            params.iter().for_each(|param| accepted(body, param));
            let mut out = Vec::new();
            // Nil is accepted, but not sent.
            if to_call(&method, &params, &mut out).is_ok() {
                assert_eq!(read_call(&out).unwrap(), (method, params));
            }
            let limits = Limits::default();
            let text = text(body, &limits).unwrap();
            Call::parse(&text, &limits).unwrap().skip().unwrap();
        }
    }
}

fn check_response(body: &[u8]) {
    match from_response::<Value>(body, &Limits::default()) {
        Err(error) => refused(body, error),
        Ok(Ok(value)) => accepted(body, &value),
        Ok(Err(fault)) => {
            let mut out = Vec::new();
            synod::xmlrpc::to_fault(&fault, &mut out);
            assert_eq!(from_response::<Value>(&out, &Limits::default()).unwrap().unwrap_err(), fault);
        }
    }
}

#[test]
fn seeds_as_they_are() {
    for body in seeds("call").iter().chain(&seeds("response")).chain(&seeds("bad")) {
        check_call(body);
        check_response(body);
    }
    for body in seeds("call") {
        read_call(&body).unwrap();
    }
    for body in seeds("response") {
        let _ = from_response::<Value>(&body, &Limits::default()).unwrap();
    }
    for body in seeds("bad") {
        read_call(&body).unwrap_err();
        from_response::<Value>(&body, &Limits::default()).unwrap_err();
    }
}

#[test]
fn bent_calls() {
    let (good, bad) = (seeds("call"), seeds("bad"));
    bolero::check!()
        .with_iterations(TRIES)
        .with_type::<(u8, Vec<Edit>)>()
        .for_each(|(first, edits)| check_call(&bend(&good, &bad, *first, edits)));
}

#[test]
fn bent_responses() {
    let (good, bad) = (seeds("response"), seeds("bad"));
    bolero::check!()
        .with_iterations(TRIES)
        .with_type::<(u8, Vec<Edit>)>()
        .for_each(|(first, edits)| check_response(&bend(&good, &bad, *first, edits)));
}

#[test]
fn any_bytes() {
    bolero::check!().with_iterations(TRIES).for_each(|body| {
        check_call(body);
        check_response(body);
    });
}
