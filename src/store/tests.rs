//! Both stores mean the same by the same records; a damaged, foreign or busy one is refused.

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::memory::Memory;
use super::sqlite::Sqlite;
use super::*;
use crate::protocol::types::{Ballot, NodeId};

fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Records as a node writes them: promises only grow, an instance is decided once. The numbers are choices.
fn history(choices: &[(u8, u8)]) -> Vec<Record> {
    let mut state = Durable::default();
    let mut records = Vec::new();
    for (round, &(kind, name)) in choices.iter().enumerate() {
        let instance: Instance = format!("i{}", name % 4).parse().unwrap();
        let ballot = Ballot { round: round as u64 + 1, node: id(8000 + u32::from(kind % 5)) };
        let value = Value::new(&format!("<int>{kind}</int>"));
        let record = match kind % 8 {
            0..=2 => Record::Promise { instance, ballot },
            3..=5 => Record::Accept { instance, ballot, value },
            6 if state.instances.get(&instance).is_none_or(|state| state.decided.is_none()) => {
                Record::Decide { instance, ballot, value }
            }
            _ if kind == 255 => Record::Generation { generation: state.generation + 1, followed: name % 2 == 0 },
            _ => continue,
        };
        state.apply(&record);
        records.push(record);
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sqlite_and_memory_agree(choices in prop::collection::vec(any::<(u8, u8)>(), 0..60), batch in 1..10_usize, sync: bool) {
        let dir = TempDir::new().unwrap();
        let mut memory = Memory::default();
        let mut sqlite = Sqlite::open(dir.path(), id(8000)).unwrap();
        for records in history(&choices).chunks(batch) {
            memory.write(records, "2026-11-20 09:44:00", sync).unwrap();
            sqlite.write(records, "2026-11-20 09:44:00", sync).unwrap();
        }
        prop_assert_eq!(sqlite.load().unwrap(), memory.load().unwrap());
        drop(sqlite);
        let mut again = Sqlite::open(dir.path(), id(8000)).unwrap();
        prop_assert_eq!(again.load().unwrap(), memory.load().unwrap());
        prop_assert_eq!(again.decisions().unwrap(), memory.decisions().unwrap());
    }
}

#[test]
fn the_second_opener_is_refused() {
    let dir = TempDir::new().unwrap();
    let first = Sqlite::open(dir.path(), id(8000)).unwrap();
    assert!(matches!(Sqlite::open(dir.path(), id(8000)), Err(StoreError::InUse { .. })));
    drop(first);
    assert!(Sqlite::open(dir.path(), id(8000)).is_ok());
}

#[test]
fn another_nodes_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(Sqlite::open(dir.path(), id(8000)).unwrap());
    assert!(matches!(Sqlite::open(dir.path(), id(8001)), Err(StoreError::Foreign { owner: 8000, id: 8001, .. })));
}

#[test]
fn a_changed_row_is_noticed() {
    let changes = [
        "UPDATE promised SET ballot = '9.8000'",
        "UPDATE accepted SET value = '<int>6</int>'",
        "UPDATE accepted SET crc = crc + 1",
        "UPDATE decided SET at = ''",
        "UPDATE node SET generation = 7",
    ];
    for change in changes {
        let dir = TempDir::new().unwrap();
        let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
        let (instance, ballot) = (Instance::default(), Ballot { round: 1, node: id(8000) });
        let value = Value::new("<int>5</int>");
        let records = [
            Record::Promise { instance: instance.clone(), ballot },
            Record::Accept { instance: instance.clone(), ballot, value: value.clone() },
            Record::Decide { instance, ballot, value },
        ];
        store.write(&records, "now", true).unwrap();
        assert!(store.load().is_ok());
        Connection::open(dir.path().join("node.db")).unwrap().execute(change, []).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Damaged { .. })), "{change}");
    }
}

/// What is kept without a leader: a post, its deletion, what is covered, and a register.
fn weak_records() -> Vec<Record> {
    use crate::protocol::eventual::memory::{Operation, Record as Board, Stamp};
    use crate::protocol::register::Timestamp;
    use crate::protocol::register::memory::{Held, Record as Register};

    let stamp = |clock| Stamp { clock, server: id(8000) };
    let board = |put, gone, changes| {
        let (versions, forgotten) = (format!("8000:{changes},8001:7").parse().unwrap(), "8001:3".parse().unwrap());
        Record::Eventual(Box::new(Board { put, gone, versions, forgotten, changes }))
    };
    let operation =
        |at, by, text: Option<&str>| Operation { id: stamp(at), stamp: stamp(by), text: text.map(Into::into) };
    let register = |counter, value| {
        let held = Held { timestamp: Timestamp { counter, node: id(8001) }, value: Value::new(value) };
        Record::Register(Box::new(Register { name: "a name\n".into(), held }))
    };
    vec![
        board(vec![operation(1, 1, Some("")), operation(2, 2, Some("two"))], vec![], 2),
        board(vec![operation(1, 3, Some("ü\0")), operation(2, 4, None)], vec![], 4),
        register(1, "<int>5</int>"),
        board(vec![operation(5, 5, Some("five"))], vec![stamp(2)], 5),
        register(2, "<string></string>"),
    ]
}

#[test]
fn the_board_and_the_registers_are_kept() {
    let dir = TempDir::new().unwrap();
    let (mut memory, mut sqlite) = (Memory::default(), Sqlite::open(dir.path(), id(8000)).unwrap());
    for record in weak_records() {
        memory.write(std::slice::from_ref(&record), "now", true).unwrap();
        sqlite.write(&[record], "now", true).unwrap();
    }
    let expected = memory.load().unwrap();
    assert_eq!((expected.eventual.entries.len(), expected.register.registers.len()), (2, 1));
    assert_eq!(sqlite.load().unwrap(), expected);
    drop(sqlite);
    let mut again = Sqlite::open(dir.path(), id(8000)).unwrap();
    assert_eq!(again.load().unwrap(), expected);
    again.write(&[Record::Generation { generation: 2, followed: false }], "now", true).unwrap();
    let empty = again.load().unwrap();
    assert_eq!((empty.eventual, empty.register), Default::default());
}

#[test]
fn a_changed_row_of_the_board_or_a_register_is_noticed() {
    for change in [
        "UPDATE eventual SET text = 'another' WHERE id = '5.8000'",
        "UPDATE eventual SET deleted = 'yes' WHERE id = '5.8000'",
        "UPDATE eventual_reach SET value = '8000:9' WHERE name = 'versions'",
        "UPDATE register SET timestamp = '9.8001'",
    ] {
        let dir = TempDir::new().unwrap();
        let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
        store.write(&weak_records(), "now", true).unwrap();
        assert!(store.load().is_ok());
        let changed = Connection::open(dir.path().join("node.db")).unwrap().execute(change, []).unwrap();
        assert_eq!(changed, 1, "{change}");
        assert!(matches!(store.load(), Err(StoreError::Damaged { .. })), "{change}");
    }
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("node.db"), "not a database, but long enough to look like one? ".repeat(50))
        .unwrap();
    assert!(matches!(Sqlite::open(dir.path(), id(8000)), Err(StoreError::Sqlite { .. })));
}
