//! The table of clients against a list in the order of last calls.

use proptest::prelude::*;

use super::*;
use crate::service::command::Action;
use crate::service::tests::{Node, small};

#[derive(Debug, Clone)]
enum Op {
    Call {
        client: String,
        sequence: u64,
        key: &'static str,
    },
    /// Without an id: applied however often it comes.
    Plain,
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let client = "c[0-4]|cccccccccccc[0-9]?";
    prop_oneof![
        9 => (client, 0..5_u64, proptest::sample::select(&["a", "b"][..]))
            .prop_map(|(client, sequence, key)| Op::Call { client, sequence, key }),
        1 => Just(Op::Plain),
        1 => Just(Op::Snapshot),
    ]
}

#[derive(Debug, Clone)]
struct Entry {
    client: String,
    sequence: u64,
    key: &'static str,
    at: Position,
    reply: Reply,
}

#[derive(Debug, Default)]
struct Model {
    /// The latest last.
    entries: Vec<Entry>,
    /// How often each of the two keys was put.
    puts: [u64; 2],
}

impl Model {
    fn put(&mut self, at: Position, key: &str) -> Reply {
        let puts = &mut self.puts[usize::from(key == "b")];
        *puts += 1;
        Reply::Put { at, version: *puts }
    }

    fn call(&mut self, at: Position, client: &str, sequence: u64, key: &'static str) -> Reply {
        if let Some(entry) = self.entries.iter().find(|entry| entry.client == client && entry.sequence >= sequence) {
            let client: Arc<str> = client.into();
            return if entry.sequence > sequence {
                Reply::Refused(Refusal::Superseded { client, sequence, last: entry.sequence })
            } else if entry.key == key {
                entry.reply.clone()
            } else {
                Reply::Refused(Refusal::Reused { client, sequence })
            };
        }
        let most = small().name_bytes;
        if client.len() > most {
            let (bytes, most) = (client.len() as u64, most as u64);
            return Reply::Refused(Refusal::TooLarge { what: crate::service::reply::Resource::Client, bytes, most });
        }
        let reply = self.put(at, key);
        self.entries.retain(|entry| entry.client != client);
        self.entries.push(Entry { client: client.to_owned(), sequence, key, at, reply: reply.clone() });
        while self.entries.len() as u64 > small().clients
            || self.entries.iter().map(|entry| entry.client.len() as u64 + ENTRY_BYTES).sum::<u64>()
                > small().clients_bytes
        {
            self.entries.remove(0);
        }
        reply
    }
}

proptest! {
    #[test]
    fn each_call_is_applied_once(ops in proptest::collection::vec(op(), 0..60)) {
        let (mut node, mut model) = (Node::new(small()), Model::default());
        for op in ops {
            match op {
                Op::Call { client, sequence, key } => {
                    let got = node.command(Some((&client, sequence)), 0, Action::KvPut { key, value: "v", fence: None });
                    prop_assert_eq!(got, model.call(node.at(), &client, sequence, key));
                }
                Op::Plain => {
                    let got = node.run(Action::KvPut { key: "a", value: "v", fence: None });
                    prop_assert_eq!(got, model.put(node.at(), "a"));
                }
                Op::Snapshot => node.reincarnate(),
            }
            for (key, puts) in [("a", model.puts[0]), ("b", model.puts[1])] {
                prop_assert_eq!(node.services.kv_get(key).map_or(0, |entry| entry.version), puts);
            }
            for client in ["c0", "c1", "c2", "c3", "c4"] {
                let entry = model.entries.iter().find(|entry| entry.client == client);
                for sequence in 0..5 {
                    let expected = match entry {
                        None => Outcome::NotApplied { last: None },
                        Some(entry) if entry.sequence < sequence => Outcome::NotApplied { last: Some(entry.sequence) },
                        Some(entry) if entry.sequence > sequence => Outcome::Superseded { last: entry.sequence },
                        Some(entry) => Outcome::Applied { at: entry.at, reply: entry.reply.clone() },
                    };
                    prop_assert_eq!(node.services.outcome(&RequestKey { client, sequence }), expected);
                }
            }
        }
    }
}

/// A refusal is an answer: when the reason for it has gone, the same call is still refused.
#[test]
fn refusals_are_kept() {
    let mut node = Node::default();
    let cas = Action::KvCas { key: "k", version: 1, value: "new", fence: None };
    let lost = node.command(Some(("c", 1)), 0, cas);
    assert!(matches!(lost, Reply::Refused(Refusal::Compare { current: None, .. })));
    node.run(Action::KvPut { key: "k", value: "old", fence: None });
    node.reincarnate();
    assert_eq!(node.command(Some(("c", 1)), 0, cas), lost);
    assert!(matches!(node.command(Some(("c", 2)), 0, cas), Reply::Put { version: 2, .. }));
}

/// The call came in at another node the second time, and later: it is the same call.
#[test]
fn repeated_call_may_take_another_way() {
    let mut node = Node::default();
    let request = Some(RequestKey { client: "c", sequence: 1 });
    let command =
        crate::service::command::Command { request, time_ms: 5, author: 8000, action: Action::BoardPost { text: "x" } };
    let first = node.apply(&command.encode());
    let again = crate::service::command::Command { time_ms: 9, author: 8003, ..command };
    assert_eq!(node.apply(&again.encode()), first);
    assert_eq!(node.services.board_list(0, 10).entries.len(), 1);
}
