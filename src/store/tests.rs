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
fn overlays_are_kept_and_damaged_copies_dropped() {
    use crate::protocol::overlay::{Item, Key, Memory as Held, Record as Overlay, Shelf, Stamp, Version};
    let dir = TempDir::new().unwrap();
    let item = |key: &str, counter: u64, value: Option<&str>| {
        let stamp = Stamp { counter, node: id(8003) };
        Item { key: Key::new(key).unwrap(), version: Version { stamp, value: value.map(Value::new) } }
    };
    let hold = |shelf, item| Record::Overlay(Overlay::Hold { shelf, item });
    let records = [
        hold(Shelf::Dht, item("a", 1, Some("<int>1</int>"))),
        hold(Shelf::Dht, item("a", 2, Some("<int>2</int>"))),
        hold(Shelf::Dht, item("b", Stamp::MAX_COUNTER, None)),
        hold(Shelf::Dht, item("", 1, Some(""))),
        hold(Shelf::Flood, item("a", 1, Some("<int>3</int>"))),
        hold(Shelf::Index, item("c", 1, Some("<int>4</int>"))),
        Record::Overlay(Overlay::Release { shelf: Shelf::Index, key: Key::new("c").unwrap() }),
        hold(Shelf::Directory, item("c", 7, None)),
        Record::Overlay(Overlay::Membership { joined: false }),
    ];
    let mut memory = Memory::default();
    let mut sqlite = Sqlite::open(dir.path(), id(8000)).unwrap();
    memory.write(&records, "now", true).unwrap();
    sqlite.write(&records, "now", true).unwrap();
    drop(sqlite);
    let mut sqlite = Sqlite::open(dir.path(), id(8000)).unwrap();
    let held = sqlite.load().unwrap().overlay;
    assert_eq!(held, memory.load().unwrap().overlay);
    assert!(held.left && held.dht.len() == 3 && held.directory.len() == 1);
    // A copy that is not what was written is not there any more; the others are.
    for change in ["value = '<int>9</int>'", "counter = 9", "node = 8004", "value = NULL"] {
        let change = format!("UPDATE overlay SET {change} WHERE shelf = 'dht' AND key = 'a'");
        Connection::open(dir.path().join("node.db")).unwrap().execute(&change, []).unwrap();
        let held = sqlite.load().unwrap().overlay;
        assert!(held.dht.version(&Key::new("a").unwrap()).is_none() && held.dht.len() == 2, "{change}");
        assert_eq!(sqlite.load().unwrap().overlay, held, "it is dropped for good");
        sqlite.write(&records[1..2], "now", true).unwrap();
    }
    // A restart of the lab forgets them.
    sqlite.write(&[Record::Generation { generation: 2, followed: false }], "now", true).unwrap();
    assert_eq!(sqlite.load().unwrap().overlay, Held::default());
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

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("node.db"), "not a database, but long enough to look like one? ".repeat(50))
        .unwrap();
    assert!(matches!(Sqlite::open(dir.path(), id(8000)), Err(StoreError::Sqlite { .. })));
}
