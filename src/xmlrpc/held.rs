//! Reading typed data from a [`Value`] that was held back, with the rules and the errors of reading it from the wire.

use std::borrow::Cow;
use std::collections::btree_map;
use std::{mem, vec};

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::datetime::DATE_TIME;
use super::de::{Key, visit_date};
use super::error::DecodeError;
use super::params::{Params, Source};
use super::scalar::parse_int;
use super::value::Value;

impl Value {
    fn int(self) -> Result<i64, DecodeError> {
        match self {
            Self::Int(number) => Ok(number),
            other => Err(DecodeError::mismatch("an integer", other.tag())),
        }
    }

    fn long(self) -> Result<i64, DecodeError> {
        match &self {
            Self::String(text) => parse_int(text),
            _ => self.int(),
        }
    }

    fn double(self) -> Result<f64, DecodeError> {
        match self {
            Self::Double(number) => Ok(number),
            Self::Int(number) => Ok(number as f64),
            other => Err(DecodeError::mismatch("a double", other.tag())),
        }
    }

    fn string(mut self) -> Result<String, DecodeError> {
        match &mut self {
            Self::String(text) => Ok(mem::take(text)),
            other => Err(DecodeError::mismatch("a string", other.tag())),
        }
    }

    fn bytes(mut self) -> Result<Vec<u8>, DecodeError> {
        match &mut self {
            Self::Base64(bytes) => Ok(mem::take(bytes)),
            other => Err(DecodeError::mismatch("base64", other.tag())),
        }
    }

    fn array<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let elements = match &mut self {
            Self::Array(elements) => mem::take(elements),
            other => return Err(DecodeError::mismatch("an array", other.tag())),
        };
        let mut elements = Elements(elements.into_iter());
        let value = visitor.visit_seq(&mut elements)?;
        match elements.0.next() {
            None => Ok(value),
            Some(_) => Err(DecodeError::params("an array has too many elements")),
        }
    }

    fn members<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match &mut self {
            Self::Struct(members) => visitor.visit_map(Members { rest: mem::take(members).into_iter(), next: None }),
            other => Err(DecodeError::mismatch("a struct", other.tag())),
        }
    }
}

/// Methods that read with one of the functions above and give to one method of the visitor.
macro_rules! via {
    ($($method:ident: $read:ident => $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.$read()?)
        })*
    };
}

impl<'de> Deserializer<'de> for Value {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self {
            Self::Int(number) => visitor.visit_i64(*number),
            Self::Boolean(flag) => visitor.visit_bool(*flag),
            Self::Double(number) => visitor.visit_f64(*number),
            Self::String(_) => visitor.visit_string(self.string()?),
            Self::DateTime(date) => visit_date(date, visitor),
            Self::Base64(_) => visitor.visit_byte_buf(self.bytes()?),
            Self::Array(_) => self.array(visitor),
            Self::Struct(_) => self.members(visitor),
            Self::Nil => visitor.visit_unit(),
        }
    }

    via! {
        deserialize_i8: int => visit_i64;
        deserialize_i16: int => visit_i64;
        deserialize_i32: int => visit_i64;
        deserialize_u8: int => visit_i64;
        deserialize_u16: int => visit_i64;
        deserialize_u32: int => visit_i64;
        deserialize_i64: long => visit_i64;
        deserialize_u64: long => visit_i64;
        deserialize_f32: double => visit_f64;
        deserialize_f64: double => visit_f64;
        deserialize_char: string => visit_string;
        deserialize_str: string => visit_string;
        deserialize_string: string => visit_string;
        deserialize_identifier: string => visit_string;
        deserialize_bytes: bytes => visit_byte_buf;
        deserialize_byte_buf: bytes => visit_byte_buf;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Boolean(flag) => visitor.visit_bool(flag),
            other => Err(DecodeError::mismatch("a boolean", other.tag())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Nil => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Nil => visitor.visit_unit(),
            other => Err(DecodeError::mismatch("nil", other.tag())),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self {
            Self::DateTime(date) if name == DATE_TIME => visit_date(date, visitor),
            other if name == DATE_TIME => Err(DecodeError::mismatch("a date", other.tag())),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.array(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.array(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.array(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.members(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.members(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(StringDeserializer::new(self.string()?))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }
}

impl IntoDeserializer<'_, DecodeError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Elements(vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Elements {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.0.next().map(|element| seed.deserialize(element)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Members {
    rest: btree_map::IntoIter<String, Value>,
    /// The member whose name was given out last.
    next: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Members {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        let key = Key(Cow::Owned(name.clone()));
        self.next = Some((name, value));
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let Some((name, value)) = self.next.take() else {
            return Err(DecodeError::params("a member's value was read before its name"));
        };
        seed.deserialize(value).map_err(|error| error.within(format_args!("member {name}")))
    }
}

/// Values as a parameter list, with the rules of [`Call::params`](super::Call::params): trailing optional ones may be
/// missing, too many are an error. For calls that arrive within another, as in `system.multicall`.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamList(
    /// The parameters in their order.
    pub Vec<Value>,
);

struct Held {
    rest: vec::IntoIter<Value>,
    next: Option<Value>,
}

impl<'de> Source<'de> for Held {
    fn advance(&mut self) -> Result<bool, DecodeError> {
        self.next = self.rest.next();
        Ok(self.next.is_some())
    }

    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        // Always there after a step that said so; without one, nil is as good as anything.
        seed.deserialize(self.next.take().unwrap_or(Value::Nil))
    }
}

impl ParamList {
    fn held(self) -> Held {
        Held { rest: self.0.into_iter(), next: None }
    }
}

impl<'de> Deserializer<'de> for ParamList {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        Params::new(&mut self.held()).deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        Params::new(&mut self.held()).deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Params::new(&mut self.held()).deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Params::new(&mut self.held()).deserialize_struct(name, fields, visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        Params::new(&mut self.held()).deserialize_unit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        Params::new(&mut self.held()).deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Params::new(&mut self.held()).deserialize_newtype_struct(name, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option seq map enum
        identifier ignored_any
    }
}

impl IntoDeserializer<'_, DecodeError> for ParamList {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
