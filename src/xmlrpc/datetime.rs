//! Dates: the `<dateTime.iso8601>` of XML-RPC, checked and in one spelling.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::error::DecodeError;

/// The serde name by which the codec tells a date from a string.
pub(super) const DATE_TIME: &str = "$synod::xmlrpc::DateTime";

/// A date and a time of day, of the proleptic Gregorian calendar.
///
/// The canonical text is `YYYYMMDDThh:mm:ss`, followed by `.` and a fraction if it is not zero (no trailing zeros) and
/// by the zone if one was given: `Z` for no offset, else `±hh:mm`. Reading also takes `YYYY-MM-DD`, a zero fraction,
/// `±00:00`, `±hhmm`, `±hh` and outer white space. Without a zone the sender's zone is unknown, as the specification
/// of XML-RPC leaves it; nothing is converted. Equality and order are those of the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(String);

impl DateTime {
    /// The canonical text, for example `19980717T14:08:55`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DateTime {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        canonical(text.trim_matches([' ', '\t', '\n', '\r']).as_bytes())
            .map(Self)
            .ok_or_else(|| DecodeError::params("bad date: expected 19980717T14:08:55"))
    }
}

fn canonical(text: &[u8]) -> Option<String> {
    let mut rest = Rest(text);
    let year = rest.digits(4)?;
    let hyphens = rest.take(b'-');
    let month = rest.digits(2)?;
    if rest.take(b'-') != hyphens {
        return None;
    }
    let day = rest.digits(2)?;
    rest.expect(b'T')?;
    let hour = rest.digits(2)?;
    rest.expect(b':')?;
    let minute = rest.digits(2)?;
    rest.expect(b':')?;
    let second = rest.digits(2)?;
    let fraction = if rest.take(b'.') { Some(rest.fraction()?) } else { None };
    let zone = rest.zone()?;
    // Second 60 is a leap second.
    let valid = year >= 1
        && (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    if !valid || !rest.0.is_empty() {
        return None;
    }
    let mut out = format!("{year:04}{month:02}{day:02}T{hour:02}:{minute:02}:{second:02}");
    if let Some(fraction) = fraction.filter(|fraction| !fraction.is_empty()) {
        out.push('.');
        out.push_str(fraction);
    }
    out.push_str(&zone);
    Some(out)
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What is still to be read of a date.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
    }

    /// One to nine digits, without their trailing zeros.
    fn fraction(&mut self) -> Option<&'a str> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let digits = str::from_utf8(digits).ok()?;
        (1..=9).contains(&length).then(|| digits.trim_end_matches('0'))
    }

    fn zone(&mut self) -> Option<String> {
        if self.0.is_empty() {
            return Some(String::new());
        }
        if self.take(b'Z') {
            return Some("Z".to_owned());
        }
        let sign = if self.take(b'-') {
            '-'
        } else {
            self.expect(b'+')?;
            '+'
        };
        let hour = self.digits(2)?;
        let minute = if self.0.is_empty() {
            0
        } else {
            self.take(b':');
            self.digits(2)?
        };
        match (hour, minute) {
            (0, 0) => Some("Z".to_owned()),
            (0..=23, 0..=59) => Some(format!("{sign}{hour:02}:{minute:02}")),
            _ => None,
        }
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(DATE_TIME, &self.0)
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(DATE_TIME, DateVisitor)
    }
}

struct DateVisitor;

impl<'de> de::Visitor<'de> for DateVisitor {
    type Value = DateTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<DateTime, D::Error> {
        inner.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DateTime, E> {
        text.parse().map_err(E::custom)
    }
}
