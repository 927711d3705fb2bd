//! What can go wrong: on reading ([`DecodeError`], the peer's fault), on writing ([`EncodeError`], ours), and the
//! answer that a peer sees ([`Fault`]).

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize, de, ser};

/// A failure as it stands in a response: `<fault>` with `faultCode` and `faultString`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("fault {code}: {string}")]
pub struct Fault {
    /// Negative for the codec and the dispatcher (the `faults_interop` codes), positive for the protocol.
    #[serde(rename = "faultCode")]
    pub code: i32,
    /// For people; clients decide by the code.
    #[serde(rename = "faultString")]
    pub string: String,
}

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// Not well-formed XML, or XML with a DOCTYPE or an unknown entity: −32700.
    NotWellFormed,
    /// An encoding that is not supported: −32701.
    Encoding,
    /// Bytes or references that are no characters of XML: −32702.
    Character,
    /// Well-formed, but not XML-RPC, or over a limit: −32600.
    InvalidRequest,
    /// XML-RPC, but not the number, types or ranges that were asked for: −32602.
    InvalidParams,
}

impl DecodeErrorKind {
    /// The fault code of the `faults_interop` specification.
    pub fn code(self) -> i32 {
        match self {
            Self::NotWellFormed => -32700,
            Self::Encoding => -32701,
            Self::Character => -32702,
            Self::InvalidRequest => -32600,
            Self::InvalidParams => -32602,
        }
    }
}

/// A message that could not be read: what kind of failure, and where.
///
/// One pointer wide, because it is the other half of every result on the hot path.
#[derive(Debug)]
pub struct DecodeError(Box<Reason>);

#[derive(Debug)]
struct Reason {
    kind: DecodeErrorKind,
    message: String,
}

impl DecodeError {
    /// The class of the failure, which decides the fault code.
    pub fn kind(&self) -> DecodeErrorKind {
        self.0.kind
    }

    /// The text of the fault.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    #[cold]
    pub(super) fn new(kind: DecodeErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Reason { kind, message: message.into() }))
    }

    pub(super) fn not_well_formed(message: impl Into<String>) -> Self {
        Self::new(DecodeErrorKind::NotWellFormed, message)
    }

    pub(super) fn character(message: impl Into<String>) -> Self {
        Self::new(DecodeErrorKind::Character, message)
    }

    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(DecodeErrorKind::InvalidRequest, message)
    }

    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(DecodeErrorKind::InvalidParams, message)
    }

    #[cold]
    pub(super) fn mismatch(expected: &str, found: impl Display) -> Self {
        Self::params(format!("expected {expected}, found {found}"))
    }

    /// Says where a wrong value stands. Other kinds are about the whole message and stay as they are.
    #[cold]
    pub(super) fn within(mut self, place: impl Display) -> Self {
        if self.0.kind == DecodeErrorKind::InvalidParams {
            self.0.message = format!("{place}: {}", self.0.message);
        }
        self
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self { code: error.kind().code(), string: error.0.message }
    }
}

/// What serde finds wrong is a matter of types: right XML-RPC, wrong parameters.
impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::params(message.to_string())
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::params(format!("expected {expected}, found {unexpected}"))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::params(format!("expected {expected}, found {unexpected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::params(format!("member {field} is missing"))
    }

    fn unknown_field(field: &str, _expected: &'static [&'static str]) -> Self {
        Self::params(format!("unknown member {field}"))
    }
}

/// Why a Rust value cannot be written as XML-RPC. Nothing is left in the output then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Infinity or not-a-number; `<double>` has neither.
    #[error("a double must be finite")]
    NotFinite,
    /// A character that XML cannot carry; send the text as base64.
    #[error("a string holds the character {0:?}, which XML cannot carry")]
    Character(char),
    /// An integer outside 64 bits with sign.
    #[error("the integer {0} is beyond i64")]
    Range(u64),
    /// `None`, `()` or [`Value::Nil`](super::Value::Nil) where nil is not allowed.
    #[error("nil is not allowed here")]
    Nil,
    /// Arrays and structs within each other beyond what a reader takes by default ([`Limits::depth`](super::Limits)).
    #[error("values nest deeper than {0}, the limit")]
    Depth(usize),
    /// A map key that is not a string.
    #[error("a struct's member names must be strings")]
    Key,
    /// An enum variant with data.
    #[error("the variant {0} carries data, which XML-RPC has no form for")]
    Variant(&'static str),
    /// A method name with other characters than `A-Za-z0-9_.:/`, or none.
    #[error("{0:?} is not a method name")]
    Method(String),
    /// The parameters of a call that are neither sequence, tuple nor unit.
    #[error("parameters must be a tuple or a sequence")]
    NotAList,
    /// A fragment that is not one.
    #[error("not a fragment: {0}")]
    Fragment(String),
    /// What a type's own `Serialize` complains about.
    #[error("{0}")]
    Custom(String),
}

impl ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}
