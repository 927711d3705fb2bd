//! The eight methods of the validator1 suite, by which XML-RPC implementations have long been tested: each takes values
//! of some shape, and returns what only a correct decoder can have found in them.

use std::collections::BTreeMap;

use super::faults::BAD_OPTION;
use crate::xmlrpc::{Fault, Value};

/// One of the eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    ArrayOfStructs,
    CountTheEntities,
    EasyStruct,
    EchoStruct,
    ManyTypes,
    ModerateSizeArray,
    NestedStruct,
    SimpleStructReturn,
}

/// Runs a test on its one argument; that of [`Test::ManyTypes`] is the array of its six.
pub(super) fn run(test: Test, argument: Value) -> Result<Value, Fault> {
    match (test, &argument) {
        (Test::ArrayOfStructs, Value::Array(items)) => {
            items.iter().map(|item| member(item, "curly").and_then(int)).try_fold(0, add).map(Value::Int)
        }
        (Test::CountTheEntities, Value::String(text)) => Ok(count_the_entities(text)),
        (Test::EasyStruct, Value::Struct(_)) => sum_of_stooges(&argument).map(Value::Int),
        (Test::EchoStruct, Value::Struct(_)) | (Test::ManyTypes, _) => Ok(argument),
        (Test::ModerateSizeArray, Value::Array(items)) => match (items.first(), items.last()) {
            (Some(Value::String(first)), Some(Value::String(last))) => Ok(Value::String(format!("{first}{last}"))),
            _ => Err(BAD_OPTION.fault("the array does not begin and end with a string")),
        },
        (Test::NestedStruct, calendar) => {
            let day =
                member(calendar, "2000").and_then(|year| member(year, "04")).and_then(|month| member(month, "01"));
            sum_of_stooges(day?).map(Value::Int)
        }
        (Test::SimpleStructReturn, Value::Int(number)) => {
            let times = |factor: i64| number.checked_mul(factor).map(Value::Int).ok_or_else(too_large);
            let members = [("times10", 10), ("times100", 100), ("times1000", 1000)];
            let members = members.map(|(name, factor)| times(factor).map(|value| (name.to_owned(), value)));
            members.into_iter().collect::<Result<BTreeMap<_, _>, _>>().map(Value::Struct)
        }
        _ => Err(Fault { code: -32602, string: "parameter 1 has not the type that this test takes".to_owned() }),
    }
}

fn count_the_entities(text: &str) -> Value {
    let count = |wanted: char| Value::Int(i64::try_from(text.matches(wanted).count()).unwrap_or(i64::MAX));
    let counts = [
        ("ctLeftAngleBrackets", '<'),
        ("ctRightAngleBrackets", '>'),
        ("ctAmpersands", '&'),
        ("ctApostrophes", '\''),
        ("ctQuotes", '"'),
    ];
    Value::Struct(counts.map(|(name, wanted)| (name.to_owned(), count(wanted))).into())
}

fn sum_of_stooges(stooges: &Value) -> Result<i64, Fault> {
    ["moe", "larry", "curly"].into_iter().map(|name| member(stooges, name).and_then(int)).try_fold(0, add)
}

fn add(sum: i64, next: Result<i64, Fault>) -> Result<i64, Fault> {
    sum.checked_add(next?).ok_or_else(too_large)
}

fn too_large() -> Fault {
    BAD_OPTION.fault("the result is larger than 64 bits hold")
}

fn int(value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(BAD_OPTION.fault("a member that must be an int is not")),
    }
}

fn member<'a>(value: &'a Value, name: &str) -> Result<&'a Value, Fault> {
    match value {
        Value::Struct(members) => members.get(name),
        _ => None,
    }
    .ok_or_else(|| BAD_OPTION.fault(format!("the member {name} is missing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(members: &[(&str, Value)]) -> Value {
        Value::Struct(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    fn stooges(moe: i64, larry: i64, curly: i64) -> Value {
        record(&[("moe", moe.into()), ("larry", larry.into()), ("curly", curly.into())])
    }

    #[test]
    fn as_published() {
        let run = |test, argument| run(test, argument).unwrap();
        let array = Value::Array(vec![stooges(1, 2, 3), stooges(4, 5, -6)]);
        assert_eq!(run(Test::ArrayOfStructs, array), Value::Int(-3));
        assert_eq!(
            run(Test::CountTheEntities, Value::String("<<>&&&'\"\"\"\"".to_owned())),
            record(&[
                ("ctLeftAngleBrackets", 2.into()),
                ("ctRightAngleBrackets", 1.into()),
                ("ctAmpersands", 3.into()),
                ("ctApostrophes", 1.into()),
                ("ctQuotes", 4.into()),
            ])
        );
        assert_eq!(run(Test::EasyStruct, stooges(1, 2, 3)), Value::Int(6));
        assert_eq!(run(Test::EchoStruct, stooges(1, 2, 3)), stooges(1, 2, 3));
        let words = Value::Array(["Wed", "x", "nesday"].map(Value::from).to_vec());
        assert_eq!(run(Test::ModerateSizeArray, words), Value::from("Wednesday"));
        let calendar = record(&[("2000", record(&[("04", record(&[("01", stooges(10, 20, 30))]))]))]);
        assert_eq!(run(Test::NestedStruct, calendar), Value::Int(60));
        let times = record(&[("times10", 70.into()), ("times100", 700.into()), ("times1000", 7000.into())]);
        assert_eq!(run(Test::SimpleStructReturn, Value::Int(7)), times);
    }

    #[test]
    fn what_does_not_fit_is_a_fault() {
        for (test, argument) in [
            (Test::ArrayOfStructs, Value::Array(vec![Value::Int(1)])),
            (Test::EasyStruct, record(&[("moe", 1.into())])),
            (Test::EasyStruct, stooges(i64::MAX, 1, 0)),
            (Test::ModerateSizeArray, Value::Array(Vec::new())),
            (Test::NestedStruct, Value::Int(1)),
            (Test::SimpleStructReturn, Value::Int(i64::MAX)),
            (Test::CountTheEntities, Value::Int(1)),
        ] {
            assert!(run(test, argument).is_err());
        }
    }
}
