//! `system.multicall`: several calls in one, read, started and answered together.
//!
//! The calls are read straight from the text if all of them are as they should be and name their method first, as our
//! own senders and most clients write them. Otherwise they are read again as untyped values, so that each call that is
//! wrong gets a fault of its own, and the rest run.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::{fmt, mem};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};

use super::methods::{Method, Request};
use super::service::{cannot_encode, known_method};
use crate::xmlrpc::{self, ArrayResponse, Call, Fault, ParamList, Value};

/// How much one multicall may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Calls. Above it nothing is done. Default 1,000.
    pub(super) calls: usize,
    /// Bytes of the results together; faults, which are short, do not count. A result that goes above it is left out.
    /// Default 4 MiB.
    pub(super) output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { calls: 1_000, output_bytes: 4 << 20 }
    }
}

/// Reads the calls of a multicall, whose text `call` is in the middle of.
pub(super) fn read(
    call: Call<'_>,
    text: &str,
    limits: &xmlrpc::Limits,
    max_calls: usize,
) -> Result<Vec<Result<OneCall, Fault>>, Fault> {
    let calls = match call.params_seed(Calls) {
        Ok(calls) => calls,
        Err(_) => {
            let (calls,): (Vec<Value>,) = Call::parse(text, limits)?.params()?;
            calls.into_iter().map(one_of_many).collect()
        }
    };
    if calls.len() > max_calls {
        let string = format!("more than {max_calls} calls in a multicall; nothing was done");
        return Err(Fault { code: -32602, string });
    }
    Ok(calls)
}

/// Writes the results in their order. A result is asked for when its turn comes, and not kept: so what a response takes
/// is bounded, whatever was asked for.
pub(super) fn write<T: Serialize>(
    results: impl Iterator<Item = Result<T, Fault>>,
    output_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut response = ArrayResponse::begin(out);
    let mut room = output_bytes;
    for result in results {
        let fault = match result {
            Ok(result) => match response.push_within(room, &[result]) {
                Ok(Some(taken)) => {
                    room -= taken;
                    continue;
                }
                Ok(None) => too_much(output_bytes),
                Err(error) => cannot_encode(error),
            },
            Err(fault) => fault,
        };
        response.push(&Failed { code: fault.code, string: text_of(&fault) }).map_err(cannot_encode)?;
    }
    response.end();
    Ok(())
}

/// Not one of the faults that say that nothing was done: it was, only its result is missing.
fn too_much(output_bytes: usize) -> Fault {
    let string = format!(
        "the call was made, but its result is left out: the results of a multicall may have {output_bytes} bytes together; \
         ask for fewer at once"
    );
    Fault { code: -32603, string }
}

/// What XML cannot carry is replaced, so that a fault can always be sent.
fn text_of(fault: &Fault) -> Cow<'_, str> {
    let is_odd = |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    if fault.string.contains(is_odd) {
        Cow::Owned(fault.string.replace(is_odd, "\u{fffd}"))
    } else {
        Cow::Borrowed(&fault.string)
    }
}

/// A fault in the place of a result.
#[derive(Debug, Serialize)]
struct Failed<'a> {
    #[serde(rename = "faultCode")]
    code: i32,
    #[serde(rename = "faultString")]
    string: Cow<'a, str>,
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
                self.0.read(Arguments(items))
            }
        }
        params.deserialize_seq(ParamsVisitor(self.0))
    }
}

/// The arguments of one method, out of an array: as in a call of its own, the last ones may be left out if they are
/// optional.
struct Arguments<A>(A);

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for Arguments<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(self.0)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(Filled { items: self.0, left: len })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

/// As many arguments as are wanted: those that came, and then nothing.
struct Filled<A> {
    items: A,
    left: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Filled<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let mut seed = Some(seed);
        let came = self.items.next_element_seed(Lent(&mut seed))?;
        match (came, seed) {
            (None, Some(seed)) => seed.deserialize(Missing(PhantomData)).map(Some),
            (came, _) => Ok(came),
        }
    }
}

/// Reads what there is with a seed that is needed again if there is nothing.
struct Lent<'a, S>(&'a mut Option<S>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Lent<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, item: D) -> Result<S::Value, D::Error> {
        self.0.take().ok_or_else(|| D::Error::custom("an argument is read once"))?.deserialize(item)
    }
}

/// An argument that did not come: nothing to an option, an error to anything else.
struct Missing<E>(PhantomData<E>);

impl<'de, E: serde::de::Error> Deserializer<'de> for Missing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(E::custom("to be read untyped"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::strong::WriteOptions;
    use crate::xmlrpc::from_response;

    fn written(results: Vec<Result<Value, Fault>>, output_bytes: usize) -> Vec<Value> {
        let mut out = Vec::new();
        write(results.into_iter(), output_bytes, &mut out).unwrap();
        from_response::<Vec<Value>>(&out, &xmlrpc::Limits::default()).unwrap().unwrap()
    }

    fn code(item: &Value) -> &Value {
        match item {
            Value::Struct(fault) if fault.len() == 2 => &fault["faultCode"],
            other => panic!("not a fault: {other:?}"),
        }
    }

    fn good(value: Value) -> Value {
        Value::Array(vec![value])
    }

    #[test]
    fn what_goes_above_the_limit_is_left_out_and_the_rest_stays() {
        let long = || Value::from("x".repeat(100));
        let results = || vec![Ok(1.into()), Ok(long()), Ok(2.into()), Ok(long()), Ok(3.into())];
        assert_eq!(written(results(), usize::MAX).len(), 5);
        // Some 70 bytes for a number, and 170 for the long one.
        let found = written(results(), 450);
        let rest = [&found[0], &found[1], &found[2], &found[4]];
        assert_eq!(rest, [&good(1.into()), &good(long()), &good(2.into()), &good(3.into())]);
        assert_eq!(code(&found[3]), &Value::Int(-32603));
        let found = written(results(), 230);
        assert_eq!([&found[0], &found[2], &found[4]], [&good(1.into()), &good(2.into()), &good(3.into())]);
        assert_eq!([code(&found[1]), code(&found[3])], [&Value::Int(-32603); 2]);
        assert_eq!(written(results(), 0).iter().map(code).collect::<Vec<_>>(), [&Value::Int(-32603); 5]);
    }

    /// Two puts with these arguments.
    fn text(first: impl Serialize, second: impl Serialize) -> String {
        #[derive(Serialize)]
        struct Put<P> {
            #[serde(rename = "methodName")]
            method: &'static str,
            params: P,
        }
        let (first, second) = (Put { method: "kv.put", params: first }, Put { method: "kv.put", params: second });
        let mut out = Vec::new();
        xmlrpc::to_call("system.multicall", &((first, second),), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn calls_are_read_straight_from_the_text_whether_or_not_they_have_options() {
        let options = || WriteOptions { deadline_ms: Some(7), ..WriteOptions::default() };
        let straight = |text: &str| Call::parse(text, &xmlrpc::Limits::default()).unwrap().params_seed(Calls);
        let read = straight(&text(("a", 1), ("b", "two", options()))).unwrap();
        let read: Vec<String> = read.into_iter().map(|call| format!("{:?}", call.unwrap().request)).collect();
        assert!(read[0].contains("\"a\"") && read[0].contains("deadline_ms: None"), "{}", read[0]);
        assert!(read[1].contains("\"b\"") && read[1].contains("deadline_ms: Some(7)"), "{}", read[1]);
        // One too few, one too many: each has a fault of its own, when they are read again.
        for odd in [text(("a",), ("b", 2)), text(("a", 1, options(), 4), ("b", 2))] {
            assert!(straight(&odd).is_err(), "{odd}");
            let limits = xmlrpc::Limits::default();
            let again = read_again(&odd, &limits);
            assert_eq!(again.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
        }
    }

    fn read_again(text: &str, limits: &xmlrpc::Limits) -> Vec<Result<OneCall, Fault>> {
        read(Call::parse(text, limits).unwrap(), text, limits, 10).unwrap()
    }

    #[test]
    fn an_item_that_cannot_be_sent_fails_alone() {
        let odd = Fault { code: 7, string: "a\u{1}b\u{ffff}".to_owned() };
        let deep = (0..63).fold(Value::Int(1), |inner, _| Value::Array(vec![inner]));
        let found = written(vec![Ok(Value::Nil), Ok(Value::Double(f64::NAN)), Ok(deep), Err(odd), Ok(1.into())], 1000);
        assert_eq!(
            found[..4].iter().map(code).collect::<Vec<_>>(),
            [-32603, -32603, -32603, 7].map(Value::Int).each_ref()
        );
        assert!(matches!(&found[3], Value::Struct(fault) if fault["faultString"] == "a\u{fffd}b\u{fffd}".into()));
        assert_eq!(found[4], good(1.into()));
    }
}
