//! Writing text and numbers into the output, and the characters that XML has.

use std::fmt::Display;
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

/// Whether character data cannot simply contain `byte`, or a character that begins with it.
const fn is_special(byte: u8) -> bool {
    // Not `||`: without branches, these comparisons become vector instructions.
    (byte < b' ') | (byte == b'&') | (byte == b'<') | (byte == b'>') | (byte == 0xef)
}

/// [`is_special`] of every byte; cheaper for the odd bytes that fill no vector.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        // Below 256.
        table[byte] = is_special(byte as u8);
        byte += 1;
    }
    table
};

/// The first special byte.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    let start = pass::<16>(bytes, is_special);
    let start = start + pass::<8>(&bytes[start..], is_special);
    bytes[start..].iter().position(|&byte| SPECIAL[usize::from(byte)]).map(|at| start + at)
}

/// Appends `text` as character data. A character that XML cannot carry is replaced by `replacement`, or refused.
///
/// `>` is escaped for the sake of `]]>`, and `\r` because a reader would take it for a line end.
#[inline]
pub(super) fn push_text(out: &mut Vec<u8>, text: &str, replacement: Option<&str>) -> Result<(), EncodeError> {
    if special(text.as_bytes()).is_some() {
        return push_escaped(out, text, replacement);
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

#[cold]
fn push_escaped(out: &mut Vec<u8>, text: &str, replacement: Option<&str>) -> Result<(), EncodeError> {
    let mut rest = text;
    while let Some(at) = special(rest.as_bytes()) {
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

/// The first byte for which `wanted` holds.
#[inline]
pub(super) fn position(bytes: &[u8], wanted: impl Fn(u8) -> bool + Copy) -> Option<usize> {
    let start = pass::<16>(bytes, wanted);
    bytes[start..].iter().position(|&byte| wanted(byte)).map(|at| start + at)
}

/// The length of the whole chunks at the beginning that hold nothing wanted. Looks at a chunk without branches, so that
/// the compiler makes vector instructions of it.
#[inline]
fn pass<const N: usize>(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    let (chunks, _) = bytes.as_chunks::<N>();
    let clean = |chunk: &&[u8; N]| !chunk.iter().fold(false, |found, &byte| found | wanted(byte));
    N * chunks.iter().take_while(clean).count()
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
pub(super) fn push_f64(out: &mut Vec<u8>, number: f64) {
    if !push_few_digits(out, number) {
        push_double(out, number);
    }
}

/// Like [`push_f64`]; not by way of it, because that would turn 0.1 into 0.10000000149011612.
pub(super) fn push_f32(out: &mut Vec<u8>, number: f32) {
    push_double(out, number);
}

fn push_double(out: &mut Vec<u8>, number: impl Display) {
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = write!(out, "{number}");
    if !out[start..].contains(&b'.') {
        out.extend_from_slice(b".0");
    }
}

/// The same for a number of up to three decimals, in a fifth of the time; false if `number` is none.
///
/// No two decimals of up to 15 digits read as the same double. So if a thousandth of the integer `thousandths` is
/// `number` (the division rounds just as reading the digits does), then these are its shortest digits.
fn push_few_digits(out: &mut Vec<u8>, number: f64) -> bool {
    let thousandths = number * 1000.0;
    let exact = thousandths.abs() < 1e15 && thousandths.fract() == 0.0 && thousandths / 1000.0 == number;
    if !exact || (number == 0.0 && number.is_sign_negative()) {
        return false;
    }
    if number < 0.0 {
        out.push(b'-');
    }
    // A whole number below 1e15.
    let thousandths = thousandths.abs() as i64;
    push_int(out, thousandths / 1000);
    // Each a digit.
    let decimals = [100, 10, 1].map(|unit| b'0' + (thousandths / unit % 10) as u8);
    let length = decimals.iter().rposition(|&digit| digit != b'0').unwrap_or(0) + 1;
    out.push(b'.');
    out.extend_from_slice(&decimals[..length]);
    true
}
