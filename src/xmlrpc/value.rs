//! Values without a fixed type, and the two wrappers that serde's own types lack.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess};
use serde::ser::{Serialize, Serializer};

use super::datetime::DateTime;

/// The serde name by which the encoder knows a [`Fragment`].
pub(super) const FRAGMENT: &str = "$synod::xmlrpc::Fragment";

/// Any XML-RPC value.
///
/// However deep it nests, dropping it takes no more stack, and writing it is an error beyond the limit. The other things
/// that one can do with it, such as cloning and comparing, recurse; what was read nests no deeper than
/// [`Limits::depth`](super::Limits::depth).
///
/// Because it has a `Drop`, a value is not taken apart by moving out of it: use a reference, [`mem::take`], or the
/// deserializer that it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `<int>`, `<i8>` and the other integer tags.
    Int(i64),
    /// `<boolean>`.
    Boolean(bool),
    /// `<double>`; must be finite to be sent.
    Double(f64),
    /// `<string>`, or no tag.
    String(String),
    /// `<dateTime.iso8601>`.
    DateTime(DateTime),
    /// `<base64>`, decoded.
    Base64(Vec<u8>),
    /// `<array>`.
    Array(Vec<Self>),
    /// `<struct>`; the members in the order of their names.
    Struct(BTreeMap<String, Self>),
    /// `<nil/>`.
    #[default]
    Nil,
}

impl Value {
    /// The tag, for messages: `<int>`, `<string>`, …
    pub(super) fn tag(&self) -> &'static str {
        match self {
            Self::Int(_) => "<int>",
            Self::Boolean(_) => "<boolean>",
            Self::Double(_) => "<double>",
            Self::String(_) => "<string>",
            Self::DateTime(_) => "<dateTime.iso8601>",
            Self::Base64(_) => "<base64>",
            Self::Array(_) => "<array>",
            Self::Struct(_) => "<struct>",
            Self::Nil => "<nil/>",
        }
    }

    /// Whether there is anything within it to drop.
    fn has_children(&self) -> bool {
        match self {
            Self::Array(elements) => !elements.is_empty(),
            Self::Struct(members) => !members.is_empty(),
            _ => false,
        }
    }

    /// Moves those of its children that have children themselves to `parents`, which then are all that is deep.
    fn take_parents(&mut self, parents: &mut Vec<Self>) {
        match self {
            Self::Array(elements) => {
                parents.extend(elements.iter_mut().filter(|value| value.has_children()).map(mem::take));
            }
            Self::Struct(members) => {
                parents.extend(members.values_mut().filter(|value| value.has_children()).map(mem::take));
            }
            _ => {}
        }
    }
}

/// Takes the value apart level by level, because the compiler's own way is to recurse.
impl Drop for Value {
    fn drop(&mut self) {
        let mut parents = Vec::new();
        self.take_parents(&mut parents);
        while let Some(mut parent) = parents.pop() {
            // When `parent` is dropped here, it has no grandchildren any more.
            parent.take_parents(&mut parents);
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<DateTime> for Value {
    fn from(date: DateTime) -> Self {
        Self::DateTime(date)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Base64(bytes.0)
    }
}

impl From<Vec<Self>> for Value {
    fn from(elements: Vec<Self>) -> Self {
        Self::Array(elements)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Boolean(flag) => serializer.serialize_bool(*flag),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::DateTime(date) => date.serialize(serializer),
            Self::Base64(bytes) => serializer.serialize_bytes(bytes),
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::Struct(members) => serializer.collect_map(members),
            Self::Nil => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> de::Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        let signed = i64::try_from(number)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &"an integer of 64 bits"))?;
        Ok(Value::Int(signed))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Boolean(flag))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Double(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Base64(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Base64(bytes))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    /// Only a date arrives as a newtype when the reader is asked for anything.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        let text = String::deserialize(inner)?;
        text.parse().map(Value::DateTime).map_err(de::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = members.next_entry()? {
            map.insert(name, value);
        }
        Ok(Value::Struct(map))
    }
}

/// Bytes that travel as `<base64>`. A plain `Vec<u8>` is, to serde, an array of integers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl de::Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }
}

/// A value that is already written: what [`to_fragment`](super::to_fragment) gave, such as `<int>5</int>`.
///
/// It is inserted as it stands, without being read. So it must come from `to_fragment`; anything else corrupts the
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a>(
    /// The canonical text, without the surrounding `<value>`.
    pub &'a str,
);

impl Serialize for Fragment<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(FRAGMENT, self.0)
    }
}
