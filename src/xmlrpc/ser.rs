//! The serializers: [`Inner`] writes a value's inside, [`CallParams`] a parameter list, [`Text`] a text that stands for
//! something else than a string.

use serde::Serialize;
use serde::ser::{self, Impossible, Serializer};

use super::DEPTH;
use super::datetime::DATE_TIME;
use super::error::EncodeError;
use super::escape::{push_f32, push_f64, push_int, push_text};
use super::value::FRAGMENT;

type Written = Result<(), EncodeError>;

/// The output and what is allowed in it.
pub(super) struct Encoder<'o> {
    pub(super) out: &'o mut Vec<u8>,
    nil: bool,
    /// Arrays and structs that are being written.
    depth: usize,
    /// Set by a member that turned out to be `None`; whoever opened the member takes it back.
    absent: bool,
}

impl<'o> Encoder<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, nil: bool) -> Self {
        Self { out, nil, depth: 0, absent: false }
    }

    /// For the elements of an array that is written by other means.
    pub(super) fn in_array(out: &'o mut Vec<u8>) -> Self {
        Self { out, nil: false, depth: 1, absent: false }
    }

    #[inline]
    fn tagged(&mut self, open: &str, write: impl FnOnce(&mut Vec<u8>), close: &str) -> Written {
        self.out.extend_from_slice(open.as_bytes());
        write(self.out);
        self.out.extend_from_slice(close.as_bytes());
        Ok(())
    }

    fn nil(&mut self) -> Written {
        if !self.nil {
            return Err(EncodeError::Nil);
        }
        self.tagged("<nil/>", |_| {}, "")
    }

    /// To be called before each value, so that no reader refuses it, and the stack is bounded.
    fn check_depth(&self) -> Written {
        if self.depth < DEPTH { Ok(()) } else { Err(EncodeError::Depth(DEPTH)) }
    }

    /// A value within `before` and `after`, which contain its `<value>` tags.
    #[inline]
    pub(super) fn element<T: Serialize + ?Sized>(&mut self, before: &str, value: &T, after: &str) -> Written {
        self.out.extend_from_slice(before.as_bytes());
        self.check_depth()?;
        value.serialize(Inner { encoder: self, member: false })?;
        self.out.extend_from_slice(after.as_bytes());
        Ok(())
    }

    /// The rest of a member that began at `start` with its name, or nothing of it if its value is `None`.
    fn member_value<T: Serialize + ?Sized>(&mut self, start: usize, value: &T) -> Written {
        self.out.extend_from_slice(b"</name><value>");
        self.check_depth()?;
        value.serialize(Inner { encoder: self, member: true })?;
        if std::mem::take(&mut self.absent) {
            self.out.truncate(start);
        } else {
            self.out.extend_from_slice(b"</value></member>");
        }
        Ok(())
    }
}

/// Writes what stands between `<value>` and `</value>`.
pub(super) struct Inner<'e, 'o> {
    encoder: &'e mut Encoder<'o>,
    /// Whether this is a member's value, which is left out if it is `None`.
    member: bool,
}

impl<'e, 'o> Inner<'e, 'o> {
    pub(super) fn new(encoder: &'e mut Encoder<'o>) -> Self {
        Self { encoder, member: false }
    }

    fn array(self) -> Result<Elements<'e, 'o>, EncodeError> {
        self.encoder.depth += 1;
        self.encoder.out.extend_from_slice(b"<array><data>");
        Ok(Elements { encoder: self.encoder, params: false })
    }

    fn members(self) -> Result<Members<'e, 'o>, EncodeError> {
        self.encoder.depth += 1;
        self.encoder.out.extend_from_slice(b"<struct>");
        Ok(Members { encoder: self.encoder, start: 0 })
    }
}

/// Methods that take one value and write it as another.
macro_rules! widen {
    ($($method:ident: $from:ty => $to:ident;)*) => {
        $(fn $method(self, value: $from) -> Written { self.$to(value.into()) })*
    };
}

impl<'e, 'o> Serializer for Inner<'e, 'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'e, 'o>;
    type SerializeTuple = Elements<'e, 'o>;
    type SerializeTupleStruct = Elements<'e, 'o>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Members<'e, 'o>;
    type SerializeStruct = Members<'e, 'o>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    widen! {
        serialize_i8: i8 => serialize_i64;
        serialize_i16: i16 => serialize_i64;
        serialize_i32: i32 => serialize_i64;
        serialize_u8: u8 => serialize_i64;
        serialize_u16: u16 => serialize_i64;
        serialize_u32: u32 => serialize_i64;
    }

    fn serialize_i64(self, number: i64) -> Written {
        if i32::try_from(number).is_ok() {
            self.encoder.tagged("<int>", |out| push_int(out, number), "</int>")
        } else {
            self.encoder.tagged("<i8>", |out| push_int(out, number), "</i8>")
        }
    }

    fn serialize_u64(self, number: u64) -> Written {
        self.serialize_i64(i64::try_from(number).map_err(|_| EncodeError::Range(number))?)
    }

    fn serialize_bool(self, flag: bool) -> Written {
        self.encoder.tagged("<boolean>", |out| out.push(b'0' + u8::from(flag)), "</boolean>")
    }

    fn serialize_f32(self, number: f32) -> Written {
        if !number.is_finite() {
            return Err(EncodeError::NotFinite);
        }
        self.encoder.tagged("<double>", |out| push_f32(out, number), "</double>")
    }

    fn serialize_f64(self, number: f64) -> Written {
        if !number.is_finite() {
            return Err(EncodeError::NotFinite);
        }
        self.encoder.tagged("<double>", |out| push_f64(out, number), "</double>")
    }

    fn serialize_char(self, c: char) -> Written {
        self.serialize_str(c.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Written {
        self.encoder.out.extend_from_slice(b"<string>");
        push_text(self.encoder.out, text, None)?;
        self.encoder.out.extend_from_slice(b"</string>");
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Written {
        self.encoder.tagged("<base64>", |out| push_base64(out, bytes), "</base64>")
    }

    fn serialize_none(self) -> Written {
        if self.member {
            self.encoder.absent = true;
            Ok(())
        } else {
            self.encoder.nil()
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.encoder.nil()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Written {
        self.encoder.nil()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Written {
        match name {
            DATE_TIME => {
                self.encoder.out.extend_from_slice(b"<dateTime.iso8601>");
                value.serialize(Text { out: self.encoder.out, escaped: false })?;
                self.encoder.out.extend_from_slice(b"</dateTime.iso8601>");
                Ok(())
            }
            FRAGMENT => value.serialize(Text { out: self.encoder.out, escaped: false }),
            _ => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Written {
        Err(EncodeError::Variant(variant))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Elements<'e, 'o>, EncodeError> {
        self.array()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Elements<'e, 'o>, EncodeError> {
        self.array()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements<'e, 'o>, EncodeError> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        Err(EncodeError::Variant(variant))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Members<'e, 'o>, EncodeError> {
        self.members()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'e, 'o>, EncodeError> {
        self.members()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        Err(EncodeError::Variant(variant))
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    let start = out.len();
    // Four characters for three bytes, padded.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written.ok(), Some(out.len() - start));
}

/// The elements of an array or of a parameter list.
pub(super) struct Elements<'e, 'o> {
    encoder: &'e mut Encoder<'o>,
    params: bool,
}

impl Elements<'_, '_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        if self.params {
            self.encoder.element("<param><value>", value, "</value></param>")
        } else {
            self.encoder.element("<value>", value, "</value>")
        }
    }

    fn finish(self) -> Written {
        if !self.params {
            self.encoder.depth -= 1;
            self.encoder.out.extend_from_slice(b"</data></array>");
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.push(value)
    }

    fn end(self) -> Written {
        self.finish()
    }
}

impl ser::SerializeTuple for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.push(value)
    }

    fn end(self) -> Written {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.push(value)
    }

    fn end(self) -> Written {
        self.finish()
    }
}

/// The members of a struct.
pub(super) struct Members<'e, 'o> {
    encoder: &'e mut Encoder<'o>,
    /// Where the member begins whose name was written last.
    start: usize,
}

impl Members<'_, '_> {
    /// What precedes a member's name.
    fn begin(&mut self) {
        self.start = self.encoder.out.len();
        self.encoder.out.extend_from_slice(b"<member><name>");
    }

    fn finish(self) -> Written {
        self.encoder.depth -= 1;
        self.encoder.out.extend_from_slice(b"</struct>");
        Ok(())
    }
}

impl ser::SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        self.begin();
        key.serialize(Text { out: self.encoder.out, escaped: true })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.encoder.member_value(self.start, value)
    }

    fn end(self) -> Written {
        self.finish()
    }
}

impl ser::SerializeStruct for Members<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Written {
        self.begin();
        push_text(self.encoder.out, key, None)?;
        self.encoder.member_value(self.start, value)
    }

    fn end(self) -> Written {
        self.finish()
    }
}

/// Refuses what a serializer has no use for.
macro_rules! refuse {
    ($error:expr; $($method:ident($($argument:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, EncodeError> { Err($error) })*
    };
    (generic $error:expr; $($method:ident($($argument:ty),*);)*) => {
        $(fn $method<T: Serialize + ?Sized>(self, $(_: $argument,)* _: &T) -> Written {
            Err($error)
        })*
    };
    (scalars $error:expr) => {
        refuse! { $error;
            serialize_bool(bool) -> ();
            serialize_i8(i8) -> ();
            serialize_i16(i16) -> ();
            serialize_i32(i32) -> ();
            serialize_i64(i64) -> ();
            serialize_u8(u8) -> ();
            serialize_u16(u16) -> ();
            serialize_u32(u32) -> ();
            serialize_u64(u64) -> ();
            serialize_f32(f32) -> ();
            serialize_f64(f64) -> ();
            serialize_bytes(&[u8]) -> ();
            serialize_none() -> ();
            serialize_tuple_variant(&'static str, u32, &'static str, usize)
                -> Self::SerializeTupleVariant;
            serialize_map(Option<usize>) -> Self::SerializeMap;
            serialize_struct(&'static str, usize) -> Self::SerializeStruct;
            serialize_struct_variant(&'static str, u32, &'static str, usize)
                -> Self::SerializeStructVariant;
        }
        refuse! { generic $error;
            serialize_some();
            serialize_newtype_variant(&'static str, u32, &'static str);
        }
    };
}

/// Writes a text without a tag of its own: a member's name, a date, a fragment. Takes nothing but strings.
struct Text<'a> {
    out: &'a mut Vec<u8>,
    /// Whether the text is to be escaped, or is markup already.
    escaped: bool,
}

impl Serializer for Text<'_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Impossible<(), EncodeError>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Impossible<(), EncodeError>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    fn serialize_str(self, text: &str) -> Written {
        if self.escaped {
            push_text(self.out, text, None)
        } else {
            self.out.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }

    fn serialize_char(self, c: char) -> Written {
        self.serialize_str(c.encode_utf8(&mut [0; 4]))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Written {
        v.serialize(self)
    }

    refuse! { scalars EncodeError::Key }
    refuse! { EncodeError::Key;
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
    }
}

/// Writes the `<param>` elements of a call. Takes nothing but sequences, tuples and unit.
pub(super) struct CallParams<'e, 'o>(pub(super) &'e mut Encoder<'o>);

impl<'e, 'o> Serializer for CallParams<'e, 'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'e, 'o>;
    type SerializeTuple = Elements<'e, 'o>;
    type SerializeTupleStruct = Elements<'e, 'o>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Impossible<(), EncodeError>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    fn serialize_seq(self, _len: Option<usize>) -> Result<Elements<'e, 'o>, EncodeError> {
        Ok(Elements { encoder: self.0, params: true })
    }

    fn serialize_tuple(self, _len: usize) -> Result<Elements<'e, 'o>, EncodeError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements<'e, 'o>, EncodeError> {
        self.serialize_seq(None)
    }

    fn serialize_unit(self) -> Written {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Written {
        v.serialize(self)
    }

    refuse! { scalars EncodeError::NotAList }
    refuse! { EncodeError::NotAList;
        serialize_str(&str) -> ();
        serialize_char(char) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
    }
}
