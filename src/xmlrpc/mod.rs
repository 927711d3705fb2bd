//! The wire format: XML-RPC as a serde data format over quick-xml.
//!
//! | Rust | XML-RPC |
//! |---|---|
//! | `i8`…`i64`, `u8`…`u64` | `<int>` within 32 bits, `<i8>` outside; beyond `i64` refused |
//! | `bool` | `<boolean>` 0 or 1 |
//! | `f32`, `f64` | `<double>`, never with an exponent; reading also takes `<int>` |
//! | `str`, `char`, unit enum variants | `<string>` |
//! | [`Bytes`] (serde bytes) | `<base64>` |
//! | [`DateTime`] | `<dateTime.iso8601>` |
//! | sequences, tuples | `<array>` |
//! | structs, maps with string keys | `<struct>`; a member that is `None` is left out |
//! | `()`, `None` elsewhere | `<nil/>`, where nil is allowed |
//!
//! A call is read in two phases, because its method decides the types of its parameters: [`text()`] settles the encoding
//! and the legal characters, [`Call::parse`] reads up to the method name, and [`Call::params`] reads the rest straight
//! from the reader's events, with no tree in between. What has no fixed type is a [`Value`].
//!
//! # Invariants
//!
//! - Nothing here panics on input, recurses deeper than [`Limits::depth`], or copies text that it can borrow.
//! - Plain tags and plain text are cut into tokens in `pull.rs`, all other markup and references by quick-xml. That end
//!   tags match, that a document has one root and nothing beside it, which references exist, and which tags may stand
//!   where is checked here, in `pull.rs` and `decode.rs`.
//! - Reading a type gives what reading a [`Value`], and the type from that, would give; also the same kind of error.
//! - Dropping a [`Value`] takes no more stack the deeper it nests, and nothing is written that nests too deep to be read.
//! - What [`to_call`] and [`to_response`] write, this module reads back equal; what cannot be written so is refused.
//!
//! # Caveats
//!
//! Attributes are skipped without being looked at, so an ill-formed attribute (twice the same name, an unknown entity
//! in its value) goes unnoticed, and so do bad characters in a tag's name, which is then just unknown. A literal `]]>` in text, which XML forbids, is read as text. The `charset` of a
//! `Content-Type` header is not known here.
//!
//! A scalar that nobody asked for (an unknown member's, say) is passed over: its text is not checked, as a [`Value`]'s
//! would be. A [`Fragment`] counts as one value, however deep it nests.
//!
//! In a `#[serde(untagged)]` enum, serde buffers the value and bends the rules: put [`Bytes`] before strings (a string
//! takes bytes that are UTF-8) and [`DateTime`] after them (a date takes a string that looks like one).

mod datetime;
mod de;
mod decode;
mod encode;
mod error;
mod escape;
mod held;
mod params;
mod pull;
mod scalar;
mod ser;
mod text;
mod value;

#[cfg(test)]
mod tests;

pub use datetime::DateTime;
pub use decode::{Call, from_fragment, from_response};
pub use encode::{ArrayResponse, to_call, to_fault, to_fragment, to_response, to_response_with_nil, to_value};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, Fault};
pub use held::ParamList;
pub use text::text;
pub use value::{Bytes, Fragment, Value};

/// How deep values nest at most, unless [`Limits::depth`] says otherwise to a reader.
const DEPTH: usize = 64;

/// How much one message may hold. Each limit has its own fault text, with code −32600.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body, before any decoding. Default 4 MiB.
    pub body_bytes: usize,
    /// Values within values; a parameter has depth 1. Default 64, which is also the most that is ever written. This
    /// bounds the stack: a few kilobytes a level in a build without optimization.
    pub depth: usize,
    /// Values in total, those of arrays and structs included. Default 100,000.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 4 << 20, depth: DEPTH, values: 100_000 }
    }
}
