//! Writing text and numbers into the output, and the characters that XML has.

use std::io::Write;

use super::error::EncodeError;

/// The `Char` range of XML 1.0, section 2.2.
pub(super) fn is_xml_char(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        c => c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}',
    }
}

/// White space of XML, section 2.3; Rust knows more kinds.
pub(super) fn is_white(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

/// The first character of `text` that XML cannot carry, if any.
pub(super) fn illegal_char(text: &str) -> Option<char> {
    // Only control characters, and those that begin as U+FFFE and U+FFFF do in UTF-8, are worth a closer look.
    let suspect = |byte: u8| ((byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r')) | (byte == 0xef);
    let mut rest = text;
    while let Some(at) = position(rest.as_bytes(), suspect) {
        // Every suspect byte begins a character, so `at` is a boundary and a character follows.
        let c = rest[at..].chars().next()?;
        if !is_xml_char(c) {
            return Some(c);
        }
        rest = &rest[at + c.len_utf8()..];
    }
    None
}

/// Appends `text` as character data. A character that XML cannot carry is replaced by `replacement`, or refused.
///
/// `>` is escaped for the sake of `]]>`, and `\r` because a reader would take it for a line end.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str, replacement: Option<&str>) -> Result<(), EncodeError> {
    let special = |byte: u8| (byte < b' ') | (byte == b'&') | (byte == b'<') | (byte == b'>') | (byte == 0xef);
    let mut rest = text;
    while let Some(at) = position(rest.as_bytes(), special) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        // Every special byte begins a character, so `at` is a boundary and a character follows.
        let Some(c) = rest[at..].chars().next() else { break };
        let end = at + c.len_utf8();
        match c {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '\r' => out.extend_from_slice(b"&#13;"),
            c if is_xml_char(c) => out.extend_from_slice(&rest.as_bytes()[at..end]),
            c => {
                let replacement = replacement.ok_or(EncodeError::Character(c))?;
                out.extend_from_slice(replacement.as_bytes());
            }
        }
        rest = &rest[end..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// The first byte for which `wanted` holds. Looks at 32 at a time and without branches, so that the compiler turns the
/// loop into vector instructions.
fn position(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut chunks = bytes.chunks_exact(32);
    let mut start = 0;
    for chunk in &mut chunks {
        if chunk.iter().fold(false, |found, &byte| found | wanted(byte)) {
            break;
        }
        start += 32;
    }
    bytes[start..].iter().position(|&byte| wanted(byte)).map(|at| start + at)
}

/// Appends a decimal number.
pub(super) fn push_int(out: &mut Vec<u8>, number: i64) {
    // 19 digits and a sign.
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        // A remainder by ten fits a byte.
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        start -= 1;
        digits[start] = b'-';
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends a double as the shortest digits that read back equal, without exponent and with a point: `1.0`.
pub(super) fn push_double(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = write!(out, "{number}");
    if !out[start..].contains(&b'.') {
        out.extend_from_slice(b".0");
    }
}
