//! The parameter list, which differs from an array: trailing parameters may be left out if they are optional, and
//! every complaint says which parameter it is about.

use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::de::Opened;
use super::error::DecodeError;
use super::pull::{Pull, Tag};

/// Where parameters come from.
pub(super) trait Source<'de> {
    /// Steps to the next parameter, which must be read before the next step. False if there is none.
    fn advance(&mut self) -> Result<bool, DecodeError>;

    /// Reads the parameter.
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError>;
}

/// The `<param>` elements of a call.
pub(super) struct Elements<'a, 'de> {
    pull: &'a mut Pull<'de>,
    ended: bool,
}

impl<'a, 'de> Elements<'a, 'de> {
    /// `present` if `<params>` is the last token; else there is no such element, and so no parameter.
    pub(super) fn new(pull: &'a mut Pull<'de>, present: bool) -> Self {
        Self { pull, ended: !present }
    }
}

impl<'de> Source<'de> for Elements<'_, 'de> {
    fn advance(&mut self) -> Result<bool, DecodeError> {
        if self.ended {
            return Ok(false);
        }
        match self.pull.tag()? {
            Some(Tag::Param) => {
                self.pull.expect(Tag::Value, "<value>")?;
                Ok(true)
            }
            Some(_) => Err(self.pull.unexpected("<param>")),
            None => {
                self.ended = true;
                Ok(false)
            }
        }
    }

    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let value = seed.deserialize(Opened::read(self.pull)?)?;
        self.pull.close()?;
        Ok(value)
    }
}

/// The whole list as serde reads it. Whatever way it is read, it is consumed to its end, and parameters too many are
/// an error.
pub(super) struct Params<'s, P> {
    source: &'s mut P,
    /// Parameters stepped to so far.
    came: usize,
    /// How many were asked for; `None` takes what comes.
    wanted: Option<usize>,
    /// Parameters handed out so far, missing ones included.
    given: usize,
    ended: bool,
}

impl<'s, P> Params<'s, P> {
    pub(super) fn new(source: &'s mut P) -> Self {
        Self { source, came: 0, wanted: None, given: 0, ended: false }
    }
}

impl<'de, P: Source<'de>> Params<'_, P> {
    fn visit<V: Visitor<'de>>(mut self, wanted: Option<usize>, visitor: V) -> Result<V::Value, DecodeError> {
        self.wanted = wanted;
        let value = visitor.visit_seq(&mut self)?;
        self.finish()?;
        Ok(value)
    }

    fn step(&mut self) -> Result<bool, DecodeError> {
        let more = !self.ended && self.source.advance()?;
        self.ended = !more;
        self.came += usize::from(more);
        Ok(more)
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        let taken = self.came;
        while self.step()? {
            self.source.read(PhantomData::<IgnoredAny>)?;
        }
        if self.came > taken {
            return Err(DecodeError::params(format!(
                "too many parameters: at most {taken} expected, {} came",
                self.came
            )));
        }
        Ok(())
    }
}

impl<'de, P: Source<'de>> SeqAccess<'de> for Params<'_, P> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.wanted.is_some_and(|wanted| self.given >= wanted) {
            return Ok(None);
        }
        self.given += 1;
        if self.step()? {
            let number = self.came;
            let value = self.source.read(seed);
            return value.map(Some).map_err(|error| error.within(format_args!("parameter {number}")));
        }
        if self.wanted.is_none() {
            return Ok(None);
        }
        seed.deserialize(Missing { number: self.given, came: self.came }).map(Some)
    }
}

impl<'de, P: Source<'de>> Deserializer<'de> for Params<'_, P> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit(None, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit(Some(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.visit(Some(len), visitor)
    }

    /// A struct's fields are the parameters, by position.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.visit(Some(fields.len()), visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        self.finish()?;
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
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option seq map enum
        identifier ignored_any
    }
}

/// A parameter that did not come: nothing to an option, an error to anything else.
struct Missing {
    /// Its place, from 1.
    number: usize,
    came: usize,
}

impl<'de> Deserializer<'de> for Missing {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let expected: &dyn serde::de::Expected = &visitor;
        Err(DecodeError::params(format!("parameter {} ({expected}) is missing: {} came", self.number, self.came)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
