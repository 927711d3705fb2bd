//! Reading messages: calls in two phases, responses, fragments.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, DeserializeSeed, IgnoredAny};

use super::Limits;
use super::de::Opened;
use super::encode::is_method_name;
use super::error::{DecodeError, DecodeErrorKind, Fault};
use super::escape::illegal_char;
use super::params::{Elements, Params, Source};
use super::pull::{Pull, Tag};
use super::text::text;
use super::value::Value;

/// A call whose method is known and whose parameters are not yet read.
pub struct Call<'de> {
    pull: Pull<'de>,
    method: Cow<'de, str>,
}

impl<'de> Call<'de> {
    /// Reads up to the method name. `text` comes from [`text()`](super::text()), which also saw to its length.
    ///
    /// # Errors
    ///
    /// `NotWellFormed`, `Character`, or `InvalidRequest` if this is not the beginning of a call.
    pub fn parse(text: &'de str, limits: &Limits) -> Result<Self, DecodeError> {
        let mut pull = Pull::new(text, limits);
        pull.expect(Tag::MethodCall, "<methodCall>")?;
        pull.expect(Tag::MethodName, "<methodName>")?;
        let method = match pull.text()? {
            Cow::Borrowed(name) => Cow::Borrowed(name.trim_ascii()),
            Cow::Owned(name) => Cow::Owned(name.trim_ascii().to_owned()),
        };
        if !is_method_name(&method) {
            return Err(DecodeError::request("a method name has only A-Z a-z 0-9 _ . : /"));
        }
        Ok(Self { pull, method })
    }

    /// The name of the method, without outer white space.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Reads the parameters and the rest of the document.
    ///
    /// A tuple takes as many as it has elements; the last ones may be missing if they are `Option`s. A `Vec` takes what
    /// comes, `()` nothing.
    ///
    /// # Errors
    ///
    /// `InvalidParams` if the parameters are not those of `T` and the document is an XML-RPC call; else what is wrong
    /// with the document.
    pub fn params<T: Deserialize<'de>>(self) -> Result<T, DecodeError> {
        self.params_seed(PhantomData)
    }

    /// Like [`params`](Self::params), for a type that is only known at run time. The seed gets a deserializer over the
    /// whole list, a sequence.
    ///
    /// # Errors
    ///
    /// Those of [`params`](Self::params), and the seed's own.
    pub fn params_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, DecodeError> {
        self.read(seed).map_err(|wrong| {
            let (text, limits) = self.pull.source();
            worse(wrong, || Self::parse(text, limits)?.read(PhantomData::<IgnoredAny>))
        })
    }

    /// Passes over the parameters, and checks that they and the rest of the document are well formed.
    ///
    /// # Errors
    ///
    /// What is wrong with the document.
    pub fn skip(self) -> Result<(), DecodeError> {
        self.params::<IgnoredAny>().map(drop)
    }

    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let pull = &mut self.pull;
        let present = match pull.tag()? {
            Some(Tag::Params) => true,
            Some(_) => return Err(pull.unexpected("<params>")),
            None => false,
        };
        let mut elements = Elements::new(pull, present);
        let value = seed.deserialize(Params::new(&mut elements))?;
        // A seed need not have looked at its deserializer.
        while elements.advance()? {
            elements.read(PhantomData::<IgnoredAny>)?;
        }
        if present {
            pull.close()?;
        }
        pull.end()?;
        Ok(value)
    }
}

/// Reads a response: the one result, or the fault.
///
/// # Errors
///
/// What is wrong with the document, or `InvalidParams` if the result is not a `T`.
pub fn from_response<T: DeserializeOwned>(body: &[u8], limits: &Limits) -> Result<Result<T, Fault>, DecodeError> {
    let text = text(body, limits)?;
    response(&text, limits).map_err(|wrong| worse(wrong, || response::<IgnoredAny>(&text, limits)))
}

/// The error to answer with: what is no XML-RPC at all is not called a wrong type, however far along it breaks. So
/// `again` reads the whole document without regard to types.
fn worse<T>(wrong: DecodeError, again: impl FnOnce() -> Result<T, DecodeError>) -> DecodeError {
    if wrong.kind() != DecodeErrorKind::InvalidParams {
        return wrong;
    }
    match again() {
        Err(error) if error.kind() != DecodeErrorKind::InvalidParams => error,
        _ => wrong,
    }
}

fn response<T: DeserializeOwned>(text: &str, limits: &Limits) -> Result<Result<T, Fault>, DecodeError> {
    let mut pull = Pull::new(text, limits);
    pull.expect(Tag::MethodResponse, "<methodResponse>")?;
    let answer = match pull.tag()? {
        Some(Tag::Params) => {
            pull.expect(Tag::Param, "<param>")?;
            pull.expect(Tag::Value, "<value>")?;
            let value = T::deserialize(Opened::read(&mut pull)?)?;
            pull.close()?;
            Ok(value)
        }
        Some(Tag::Fault) => {
            pull.expect(Tag::Value, "<value>")?;
            Err(Fault::deserialize(Opened::read(&mut pull)?)?)
        }
        _ => return Err(pull.unexpected("<params> or <fault>")),
    };
    pull.close()?;
    pull.close()?;
    pull.end()?;
    Ok(answer)
}

/// Reads what [`to_fragment`](super::to_fragment) wrote, and any other typed value without the surrounding `<value>`.
/// The default [`Limits`] hold.
///
/// # Errors
///
/// Those of a value within a call.
pub fn from_fragment(text: &str) -> Result<Value, DecodeError> {
    if illegal_char(text).is_some() {
        return Err(DecodeError::character("a fragment holds a character that XML has not"));
    }
    value_from_fragment(text, &Limits::default())
}

pub(super) fn value_from_fragment(text: &str, limits: &Limits) -> Result<Value, DecodeError> {
    let mut pull = Pull::new(text, limits);
    // The end of the text stands for the end tag of the `<value>` that is not there; `Pull::tag` treats both alike.
    let value = Value::deserialize(Opened::read(&mut pull)?)?;
    pull.end()?;
    Ok(value)
}
