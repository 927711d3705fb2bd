//! `system.multicall`: several calls in one, read, started and answered together.
//!
//! The calls are read straight from the text if all of them are as they should be and name their method first, as our
//! own senders and most clients write them. Otherwise they are read again as untyped values, so that each call that is
//! wrong gets a fault of its own, and the rest run.

use std::borrow::Cow;
use std::{fmt, mem};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::answers::Returned;
use super::methods::{Method, Request};
use super::service::known_method;
use crate::xmlrpc::{Call, Fault, Limits, ParamList, Value};

const MAX_CALLS: usize = 1000;

/// Reads the calls of a multicall, whose text `call` is in the middle of.
pub(super) fn read(call: Call<'_>, text: &str, limits: &Limits) -> Result<Vec<Result<OneCall, Fault>>, Fault> {
    let calls = match call.params_seed(Calls) {
        Ok(calls) => calls,
        Err(_) => {
            let (calls,): (Vec<Value>,) = Call::parse(text, limits)?.params()?;
            calls.into_iter().map(one_of_many).collect()
        }
    };
    if calls.len() > MAX_CALLS {
        let string = format!("more than {MAX_CALLS} calls in a multicall; nothing was done");
        return Err(Fault { code: -32602, string });
    }
    Ok(calls)
}

/// One result among many.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Item {
    One([Returned; 1]),
    Fault {
        #[serde(rename = "faultCode")]
        code: i32,
        #[serde(rename = "faultString")]
        string: String,
    },
}

/// One call among many, with its arguments read.
pub(super) struct OneCall {
    pub(super) method: &'static Method,
    pub(super) request: Request,
}

/// Reads a call that was held back as a value, with a fault of its own if it is not as it should be.
fn one_of_many(mut call: Value) -> Result<OneCall, Fault> {
    let invalid = |text: &str| Fault { code: -32600, string: text.to_owned() };
    let Value::Struct(members) = &mut call else {
        return Err(invalid("a call in a multicall is not a struct"));
    };
    let name = match &mut members.remove("methodName") {
        Some(Value::String(name)) => mem::take(name),
        Some(_) => return Err(invalid("the methodName of a call in a multicall is not a string")),
        None => {
            return Err(Fault { code: -32601, string: "a call in a multicall has no methodName".to_owned() });
        }
    };
    let params = match &mut members.remove("params") {
        Some(Value::Array(params)) => mem::take(params),
        None => Vec::new(),
        Some(_) => return Err(invalid("the params of a call in a multicall are not an array")),
    };
    let method = known_method(&name)?;
    if method.is_multicall() {
        return Err(Fault { code: -32603, string: "a multicall cannot hold a multicall".to_owned() });
    }
    let request = method.read(ParamList(params)).map_err(Fault::from)?;
    Ok(OneCall { method, request })
}

/// Reads the one argument of a multicall straight from the text. What is not as it should be is an error here.
struct Calls;

impl<'de> DeserializeSeed<'de> for Calls {
    type Value = Vec<Result<OneCall, Fault>>;

    fn deserialize<D: Deserializer<'de>>(self, params: D) -> Result<Self::Value, D::Error> {
        let (calls,): (Vec<OneCall>,) = Deserialize::deserialize(params)?;
        Ok(calls.into_iter().map(Ok).collect())
    }
}

impl<'de> Deserialize<'de> for OneCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CallVisitor;
        impl<'de> Visitor<'de> for CallVisitor {
            type Value = OneCall;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a struct of methodName and params")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<OneCall, A::Error> {
                let again = || A::Error::custom("to be read untyped");
                if members.next_key::<Cow<'_, str>>()?.as_deref() != Some("methodName") {
                    return Err(again());
                }
                let name: Cow<'_, str> = members.next_value()?;
                let method = Method::named(&name).ok_or_else(again)?;
                if members.next_key::<Cow<'_, str>>()?.as_deref() != Some("params") {
                    return Err(again());
                }
                let request = members.next_value_seed(ArrayArguments(method))?;
                if members.next_key::<Cow<'_, str>>()?.is_some() {
                    return Err(again());
                }
                Ok(OneCall { method, request })
            }
        }
        deserializer.deserialize_map(CallVisitor)
    }
}

/// Reads the arguments of one method out of an array, whose end is the end of the parameters.
struct ArrayArguments(&'static Method);

impl<'de> DeserializeSeed<'de> for ArrayArguments {
    type Value = Request;

    fn deserialize<D: Deserializer<'de>>(self, params: D) -> Result<Request, D::Error> {
        struct ParamsVisitor(&'static Method);
        impl<'de> Visitor<'de> for ParamsVisitor {
            type Value = Request;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of parameters")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Request, A::Error> {
                self.0.read(SeqAccessDeserializer::new(items))
            }
        }
        params.deserialize_seq(ParamsVisitor(self.0))
    }
}
