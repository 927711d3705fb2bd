//! From bytes to text: the one place that knows encodings and rejects characters that XML does not have.

use std::borrow::Cow;

use quick_xml::events::{BytesDecl, BytesStart};

use super::Limits;
use super::error::{DecodeError, DecodeErrorKind};
use super::escape::illegal_char;

/// The text of a body, borrowed where its bytes already are UTF-8.
///
/// The encoding is that of a byte order mark (UTF-8, UTF-16), else the one that the XML declaration names (UTF-8,
/// US-ASCII, ISO-8859-1), else UTF-8. The mark is not part of the text.
///
/// # Errors
///
/// `InvalidRequest` for a body over [`Limits::body_bytes`], `Encoding` for an encoding that is not supported,
/// `Character` for bytes that are invalid in their encoding or no characters of XML.
pub fn text<'a>(body: &'a [u8], limits: &Limits) -> Result<Cow<'a, str>, DecodeError> {
    if body.len() > limits.body_bytes {
        return Err(DecodeError::request(format!(
            "the body has {} bytes; the limit is {}",
            body.len(),
            limits.body_bytes
        )));
    }
    let text = match body {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest)?,
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        [0, b'<', ..] | [b'<', 0, ..] => {
            return Err(encoding("UTF-16 needs a byte order mark"));
        }
        _ => declared(body)?,
    };
    match illegal_char(&text) {
        None => Ok(text),
        Some(c) => {
            Err(DecodeError::character(format!("the body holds U+{:04X}, which is no character of XML", u32::from(c))))
        }
    }
}

fn encoding(message: impl Into<String>) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Encoding, message)
}

fn declared(body: &[u8]) -> Result<Cow<'_, str>, DecodeError> {
    let Some(name) = declared_name(body) else { return utf8(body) };
    match name.to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" => utf8(body),
        "us-ascii" | "ascii" => match body.iter().find(|byte| !byte.is_ascii()) {
            None => utf8(body),
            Some(byte) => Err(DecodeError::character(format!("byte 0x{byte:02X} is not US-ASCII"))),
        },
        "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "latin1" => Ok(latin1(body)),
        // Had it been UTF-16, its declaration could not have been read byte by byte.
        "utf-16" | "utf-16le" | "utf-16be" => Err(encoding("UTF-16 needs a byte order mark")),
        _ => Err(encoding("unsupported encoding; use UTF-8")),
    }
}

/// What the XML declaration says, if there is one and it says something. A malformed one says nothing here; the
/// reader finds it again.
fn declared_name(body: &[u8]) -> Option<String> {
    let inner = body.strip_prefix(b"<?")?;
    // A declaration is short; do not search a body without one to its end.
    let inner = &inner[..inner.len().min(1024)];
    let end = inner.windows(2).position(|pair| pair == b"?>")?;
    let inner = str::from_utf8(&inner[..end]).ok()?;
    inner.strip_prefix("xml")?.starts_with([' ', '\t', '\n', '\r']).then_some(())?;
    let declaration = BytesDecl::from_start(BytesStart::from_content(inner, 3));
    Some(declaration.encoding()?.ok()?.into_owned())
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, DecodeError> {
    str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .map_err(|error| DecodeError::character(format!("invalid UTF-8 at byte {}", error.valid_up_to())))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, DecodeError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(DecodeError::character("UTF-16 with an odd number of bytes"));
    }
    char::decode_utf16(pairs.iter().map(|&pair| unit(pair)))
        .collect::<Result<_, _>>()
        .map_err(|_| DecodeError::character("UTF-16 with an unpaired surrogate"))
}

fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}
