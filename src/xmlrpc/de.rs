//! Reading one value from the tokens, as serde asks for it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{CowStrDeserializer, StringDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::datetime::{DATE_TIME, DateTime};
use super::error::DecodeError;
use super::escape::is_white;
use super::pull::{Pull, Tag, Type};
use super::scalar::{parse_base64, parse_boolean, parse_double, parse_int};
use super::value::Value;

/// A value whose start is read: its `<value>` and, if it has one, the tag of its type.
///
/// Each way of reading it consumes the value to its end tag, that included.
pub(super) struct Opened<'a, 'de> {
    pull: &'a mut Pull<'de>,
    lead: Lead<'de>,
}

enum Lead<'de> {
    Typed(Type),
    /// A value without a tag is a string, and already at its end.
    Untyped(Cow<'de, str>),
}

impl<'a, 'de> Opened<'a, 'de> {
    /// To be called when `<value>` was the last token.
    pub(super) fn read(pull: &'a mut Pull<'de>) -> Result<Self, DecodeError> {
        pull.count_value()?;
        let lead = match pull.text_to_tag()? {
            (text, None) => Lead::Untyped(text),
            (text, Some(Tag::Type(kind))) if is_white(&text) => Lead::Typed(kind),
            (_, Some(Tag::Type(_))) => {
                return Err(DecodeError::request("text beside the tag of a value"));
            }
            (_, Some(_)) => return Err(pull.unexpected("the type of a value")),
        };
        Ok(Self { pull, lead })
    }

    #[cold]
    fn mismatch(&self, expected: &str) -> DecodeError {
        DecodeError::mismatch(
            expected,
            match self.lead {
                Lead::Typed(kind) => kind.tag(),
                Lead::Untyped(_) => Type::String.tag(),
            },
        )
    }

    /// The text of a scalar.
    fn content(self) -> Result<Cow<'de, str>, DecodeError> {
        match self.lead {
            Lead::Untyped(text) => Ok(text),
            Lead::Typed(_) => {
                let text = self.pull.text()?;
                self.pull.close()?;
                Ok(text)
            }
        }
    }

    fn string(self) -> Result<Cow<'de, str>, DecodeError> {
        match self.lead {
            Lead::Untyped(_) | Lead::Typed(Type::String) => self.content(),
            _ => Err(self.mismatch("a string")),
        }
    }

    fn int(self) -> Result<i64, DecodeError> {
        match self.lead {
            Lead::Typed(Type::Int) => parse_int(&self.content()?),
            _ => Err(self.mismatch("an integer")),
        }
    }

    /// An integer for which a decimal string is good too: Python's client cannot send more than 32 bits otherwise.
    fn long(self) -> Result<i64, DecodeError> {
        match self.lead {
            Lead::Untyped(_) | Lead::Typed(Type::Int | Type::String) => parse_int(&self.content()?),
            _ => Err(self.mismatch("an integer")),
        }
    }

    fn double(self) -> Result<f64, DecodeError> {
        match self.lead {
            Lead::Typed(Type::Double) => parse_double(&self.content()?),
            Lead::Typed(Type::Int) => Ok(parse_int(&self.content()?)? as f64),
            _ => Err(self.mismatch("a double")),
        }
    }

    fn boolean(self) -> Result<bool, DecodeError> {
        match self.lead {
            Lead::Typed(Type::Boolean) => parse_boolean(&self.content()?),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    fn bytes(self) -> Result<Vec<u8>, DecodeError> {
        match self.lead {
            Lead::Typed(Type::Base64) => parse_base64(&self.content()?),
            _ => Err(self.mismatch("base64")),
        }
    }

    fn date<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.lead {
            Lead::Typed(Type::DateTime) => visit_date(&self.content()?.parse()?, visitor),
            _ => Err(self.mismatch("a date")),
        }
    }

    fn nil(self) -> Result<(), DecodeError> {
        let Lead::Typed(Type::Nil) = self.lead else { return Err(self.mismatch("nil")) };
        if is_white(&self.content()?) { Ok(()) } else { Err(DecodeError::request("text within nil")) }
    }

    fn array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Lead::Typed(Type::Array) = self.lead else { return Err(self.mismatch("an array")) };
        let pull = self.pull;
        pull.descend();
        let data = match pull.tag()? {
            Some(Tag::Data) => true,
            Some(_) => return Err(pull.unexpected("<data>")),
            None => false,
        };
        let mut elements = Elements { pull, ended: !data };
        let value = visitor.visit_seq(&mut elements)?;
        let Elements { pull, ended } = elements;
        if !ended && pull.tag()?.is_some() {
            return Err(DecodeError::params("an array has too many elements"));
        }
        if data {
            pull.close()?;
        }
        pull.ascend();
        pull.close()?;
        Ok(value)
    }

    fn members<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Lead::Typed(Type::Struct) = self.lead else { return Err(self.mismatch("a struct")) };
        self.pull.descend();
        let first = self.pull.names.len();
        let mut members = Members { pull: self.pull, first, many: HashSet::new(), early: None, ended: false };
        let value = visitor.visit_map(&mut members)?;
        while !members.ended {
            members.next_entry::<IgnoredAny, IgnoredAny>()?;
        }
        let pull = members.pull;
        pull.names.truncate(first);
        pull.ascend();
        pull.close()?;
        Ok(value)
    }
}

/// Small integers: 32 bits and less.
macro_rules! ints {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.visit_i64(self.int()?)
        })*
    };
}

impl<'de> Deserializer<'de> for Opened<'_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.lead {
            Lead::Untyped(text) => visit_text(text, visitor),
            Lead::Typed(kind) => match kind {
                Type::Int => visitor.visit_i64(self.int()?),
                Type::Boolean => visitor.visit_bool(self.boolean()?),
                Type::Double => visitor.visit_f64(self.double()?),
                Type::String => visit_text(self.content()?, visitor),
                Type::DateTime => self.date(visitor),
                Type::Base64 => visitor.visit_byte_buf(self.bytes()?),
                Type::Array => self.array(visitor),
                Type::Struct => self.members(visitor),
                Type::Nil => {
                    self.nil()?;
                    visitor.visit_unit()
                }
            },
        }
    }

    ints! {
        deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_u8 deserialize_u16 deserialize_u32
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i64(self.long()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i64(self.long()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.double()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.double()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visit_text(self.string()?, visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visit_text(self.string()?, visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visit_text(self.string()?, visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visit_text(self.string()?, visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.bytes()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if let Lead::Typed(Type::Nil) = self.lead {
            self.nil()?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.nil()?;
        visitor.visit_unit()
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
        if name == DATE_TIME { self.date(visitor) } else { visitor.visit_newtype_struct(self) }
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
        visitor.visit_enum(CowStrDeserializer::new(self.string()?))
    }

    /// Arrays and structs are walked, for their tags and names; the text of scalars is passed over unread.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.lead {
            Lead::Typed(Type::Array) => self.array(visitor),
            Lead::Typed(Type::Struct) => self.members(visitor),
            Lead::Untyped(_) => visitor.visit_unit(),
            Lead::Typed(Type::Nil) => self.deserialize_unit(visitor),
            Lead::Typed(_) => {
                self.pull.skip_text()?;
                self.pull.close()?;
                visitor.visit_unit()
            }
        }
    }
}

fn visit_text<'de, V: Visitor<'de>>(text: Cow<'de, str>, visitor: V) -> Result<V::Value, DecodeError> {
    match text {
        Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        Cow::Owned(text) => visitor.visit_string(text),
    }
}

/// A date is a newtype around its canonical text: the one form in which serde's own buffers keep it apart from a
/// string.
pub(super) fn visit_date<'de, V: Visitor<'de>>(date: &DateTime, visitor: V) -> Result<V::Value, DecodeError> {
    visitor.visit_newtype_struct(StringDeserializer::new(date.to_string()))
}

/// The elements of an array, `<data>` consumed.
struct Elements<'a, 'de> {
    pull: &'a mut Pull<'de>,
    ended: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.ended {
            return Ok(None);
        }
        match self.pull.tag()? {
            Some(Tag::Value) => seed.deserialize(Opened::read(self.pull)?).map(Some),
            Some(_) => Err(self.pull.unexpected("<value>")),
            None => {
                self.ended = true;
                Ok(None)
            }
        }
    }
}

/// Up to how many names are compared one by one to find a duplicate; more go into a set.
const FEW: usize = 16;

/// The members of a struct, `<struct>` consumed.
struct Members<'a, 'de> {
    pull: &'a mut Pull<'de>,
    /// Where this struct's names begin in [`Pull::names`].
    first: usize,
    /// All names, once they are more than [`FEW`]; empty until then.
    many: HashSet<Cow<'de, str>>,
    /// The value of a member that has it before its name.
    early: Option<Value>,
    ended: bool,
}

impl<'de> Members<'_, 'de> {
    /// The name of a member whose `<member>` is consumed, and its value if that comes first.
    fn name(&mut self) -> Result<Cow<'de, str>, DecodeError> {
        loop {
            match self.pull.tag()? {
                Some(Tag::Name) => return self.pull.text(),
                Some(Tag::Value) if self.early.is_none() => {
                    self.early = Some(Value::deserialize(Opened::read(self.pull)?)?);
                }
                Some(Tag::Value) | None => {
                    return Err(DecodeError::request("a struct member without a name"));
                }
                Some(_) => return Err(self.pull.unexpected("<name>")),
            }
        }
    }

    fn remember(&mut self, name: Cow<'de, str>) -> Result<(), DecodeError> {
        let names = &self.pull.names[self.first..];
        let fresh = if names.len() < FEW {
            !names.contains(&name)
        } else {
            if self.many.is_empty() {
                self.many.extend(names.iter().cloned());
            }
            self.many.insert(name.clone())
        };
        if !fresh {
            return Err(DecodeError::request(format!("two struct members named {name}")));
        }
        self.pull.names.push(name);
        Ok(())
    }
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.ended {
            return Ok(None);
        }
        match self.pull.tag()? {
            Some(Tag::Member) => {}
            Some(_) => return Err(self.pull.unexpected("<member>")),
            None => {
                self.ended = true;
                return Ok(None);
            }
        }
        let name = self.name()?;
        self.remember(name.clone())?;
        seed.deserialize(Key(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        // A struct within this one takes its names away again, unless it fails; so this member's name is to be found
        // by counting, not at the end.
        let count = self.pull.names.len();
        let value = if let Some(value) = self.early.take() {
            seed.deserialize(value)
        } else {
            self.pull.expect(Tag::Value, "<value>")?;
            seed.deserialize(Opened::read(self.pull)?)
        };
        let value = value.map_err(|error| match self.pull.names[..count].last() {
            Some(name) => error.within(Place(name)),
            None => error,
        })?;
        self.pull.close()?;
        Ok(value)
    }
}

struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {}", self.0)
    }
}

/// The name of a member as serde reads it: a string, or something made from one.
pub(super) struct Key<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visit_text(self.0, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(CowStrDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
