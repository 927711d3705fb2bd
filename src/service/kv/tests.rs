//! The store against a list that is searched from one end to the other.

use proptest::prelude::*;

use super::*;
use crate::service::command::Action;
use crate::service::tests::{Node, check_journal, small};

#[derive(Debug, Clone)]
enum Op {
    Put(String, String),
    Cas(String, u64, String),
    Delete(String),
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || "[ab]{0,2}|abcdefghijklmn";
    let value = || "[a-c]{0,9}";
    prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| Op::Put(key, value)),
        3 => (key(), 0..6_u64, value()).prop_map(|(key, version, value)| Op::Cas(key, version, value)),
        2 => key().prop_map(Op::Delete),
        1 => Just(Op::Snapshot),
    ]
}

/// What the store is, said the plain way.
#[derive(Debug, Default)]
struct Model {
    /// Key, value, version, entry; in no order.
    rows: Vec<(String, String, u64, Position)>,
    /// Versions of keys that were deleted.
    buried: Vec<u64>,
    events: Vec<(Position, KvEvent)>,
}

impl Model {
    fn version(&self, key: &str) -> Option<u64> {
        self.rows.iter().find(|row| row.0 == key).map(|row| row.2)
    }

    fn put(&mut self, at: Position, key: &str, value: &str, wanted: Option<u64>) -> Reply {
        let limits = small();
        if key.len() > limits.key_bytes {
            let (bytes, most) = (key.len() as u64, limits.key_bytes as u64);
            return Reply::Refused(Refusal::TooLarge { what: Resource::Key, bytes, most });
        }
        if key.is_empty() {
            return Reply::Refused(Refusal::BadName { what: Resource::Key });
        }
        if value.len() > limits.value_bytes {
            let (bytes, most) = (value.len() as u64, limits.value_bytes as u64);
            return Reply::Refused(Refusal::TooLarge { what: Resource::Value, bytes, most });
        }
        let current = self.version(key);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != current.unwrap_or(0)) {
            return Reply::Refused(Refusal::Compare { key: key.into(), wanted, current });
        }
        let others: Vec<_> = self.rows.iter().filter(|row| row.0 != key).cloned().collect();
        let bytes: usize = others.iter().map(|row| row.0.len() + row.1.len()).sum();
        if (bytes + key.len() + value.len()) as u64 > limits.kv_bytes {
            return Reply::Refused(Refusal::Full { what: Resource::KvBytes, most: limits.kv_bytes });
        }
        if others.len() as u64 + 1 > limits.keys {
            return Reply::Refused(Refusal::Full { what: Resource::Keys, most: limits.keys });
        }
        let version = 1 + current.unwrap_or_else(|| self.buried.iter().copied().max().unwrap_or(0));
        self.rows = others;
        self.rows.push((key.into(), value.into(), version, at));
        self.events.push((at, KvEvent { key: key.into(), change: KvChange::Put(Value::new(value)), version }));
        Reply::Put { at, version }
    }

    fn delete(&mut self, at: Position, key: &str) -> Reply {
        let limits = small();
        if key.len() > limits.key_bytes {
            let (bytes, most) = (key.len() as u64, limits.key_bytes as u64);
            return Reply::Refused(Refusal::TooLarge { what: Resource::Key, bytes, most });
        }
        if key.is_empty() {
            return Reply::Refused(Refusal::BadName { what: Resource::Key });
        }
        let version = self.version(key);
        if let Some(version) = version {
            self.rows.retain(|row| row.0 != key);
            self.buried.push(version);
            self.events.push((at, KvEvent { key: key.into(), change: KvChange::Deleted, version }));
        }
        Reply::Deleted { at, version }
    }
}

proptest! {
    #[test]
    fn store_does_what_the_model_does(ops in proptest::collection::vec(op(), 0..40)) {
        let (mut node, mut model) = (Node::new(small()), Model::default());
        // Every (key, version) that was ever written.
        let mut written = Vec::new();
        for op in ops {
            let before = model.events.len();
            let (got, expected, key) = match op {
                Op::Put(key, value) => {
                    let got = node.run(Action::KvPut { key: &key, value: &value, fence: None });
                    (got, model.put(node.at(), &key, &value, None), key)
                }
                Op::Cas(key, version, value) => {
                    let got = node.run(Action::KvCas { key: &key, version, value: &value, fence: None });
                    (got, model.put(node.at(), &key, &value, Some(version)), key)
                }
                Op::Delete(key) => {
                    let got = node.run(Action::KvDelete { key: &key, fence: None });
                    (got, model.delete(node.at(), &key), key)
                }
                Op::Snapshot => {
                    node.reincarnate();
                    continue;
                }
            };
            prop_assert_eq!(&got, &expected);
            if let Reply::Put { version, .. } = got {
                prop_assert!(!written.contains(&(key.clone(), version)), "{} {} is used twice", key, version);
                written.push((key.clone(), version));
            }
            let noticed = if model.events.len() > before { vec![Notice::Kv { key: key.as_str().into() }] } else { vec![] };
            prop_assert_eq!(&node.notices, &noticed);
            let entry = node.services.kv_get(&key).map(|entry| (entry.value.as_str(), entry.version, entry.at));
            let row = model.rows.iter().find(|row| row.0 == key).map(|row| (row.1.as_str(), row.2, row.3));
            prop_assert_eq!(entry, row);
        }
        model.rows.sort();
        for prefix in ["", "a", "b", "ab", "c"] {
            let rows: Vec<_> = model.rows.iter().filter(|row| row.0.starts_with(prefix)).map(|row| row.0.clone()).collect();
            for limit in [1, 2, 100] {
                prop_assert_eq!(&paged(&node, prefix, limit), &rows);
            }
            let of_prefix = |events: &[(Position, KvEvent)]| -> Vec<_> {
                events.iter().filter(|(_, event)| event.key.starts_with(prefix)).cloned().collect()
            };
            if let Ok(all) = node.services.kv_watch("", node.at().counter.saturating_sub(3), 100) {
                let some = node.services.kv_watch(prefix, node.at().counter.saturating_sub(3), 100).unwrap();
                prop_assert_eq!(some.events, of_prefix(&all.events));
                prop_assert_eq!(some.next, all.next);
            }
        }
        check_journal(&model.events, journal::Event::bytes, &node, |since, limit| node.services.kv_watch("", since, limit));
    }
}

/// All keys, a page at a time.
fn paged(node: &Node, prefix: &str, limit: usize) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = node.services.kv_list(prefix, keys.last().map(String::as_str), limit);
        assert!(page.entries.len() <= limit);
        keys.extend(page.entries.iter().map(|(key, _)| key.to_string()));
        if !page.more {
            return keys;
        }
    }
}

/// An answer that no message could carry is no answer.
#[test]
fn pages_are_bounded_in_bytes() {
    let mut node = Node::default();
    let value = "v".repeat(900 << 10);
    for key in ["a", "b", "c", "d", "e"] {
        node.run(Action::KvPut { key, value: &value, fence: None });
    }
    assert_eq!(node.services.kv_list("", None, 100).entries.len(), 2);
    assert_eq!(node.services.kv_watch("", 0, 100).unwrap().events.len(), 2);
    assert_eq!(paged(&node, "", 100), ["a", "b", "c", "d", "e"]);
}
