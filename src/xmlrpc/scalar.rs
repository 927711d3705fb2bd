//! The text of scalar values: how numbers, booleans and base64 are read. All failures are −32602.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::DecodeError;

const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// An integer of 64 bits: a sign, leading zeros and outer white space are fine, anything else is not.
pub(super) fn parse_int(text: &str) -> Result<i64, DecodeError> {
    let trimmed = text.trim_matches(WHITE);
    // Rust's own parser takes exactly an optional sign and digits.
    trimmed.parse().map_err(|_| {
        let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            DecodeError::params("an integer is beyond 64 bits")
        } else {
            DecodeError::mismatch("an integer", clip(text))
        }
    })
}

/// A finite double, with or without exponent.
pub(super) fn parse_double(text: &str) -> Result<f64, DecodeError> {
    let trimmed = text.trim_matches(WHITE);
    // Rust's own parser also takes the words inf, infinity and nan.
    let plain = trimmed.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    match trimmed.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => Ok(number),
        Ok(_) if plain => Err(DecodeError::params("a double is out of range")),
        _ => Err(DecodeError::mismatch("a double", clip(text))),
    }
}

/// `0` or `1`, nothing else.
pub(super) fn parse_boolean(text: &str) -> Result<bool, DecodeError> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(DecodeError::mismatch("a boolean, 0 or 1", clip(text))),
    }
}

/// Padded base64 of the standard alphabet, with white space anywhere. Nodes write it without, and to look for some first
/// took longer than to decode.
pub(super) fn parse_base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    let packed = |_| {
        let mut packed = Vec::with_capacity(text.len());
        text.split(WHITE).for_each(|run| packed.extend_from_slice(run.as_bytes()));
        STANDARD.decode(packed)
    };
    STANDARD.decode(text).or_else(packed).map_err(|error| DecodeError::params(format!("bad base64: {error}")))
}

/// The quoted beginning of a text, for messages.
fn clip(text: &str) -> String {
    const LENGTH: usize = 40;
    let mut clipped: String = text.chars().take(LENGTH).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    format!("{clipped:?}")
}
