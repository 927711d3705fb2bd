//! Both stores mean the same by the same records; a damaged, foreign or busy one is refused.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::memory::Memory;
use super::sqlite::Sqlite;
use super::*;
use crate::protocol::log::entries::{Command, Entry};
use crate::protocol::log::members::Membership;
use crate::protocol::log::{self, memory::Snapshot};
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
        Record::Overlay(Overlay::Reserve { shelf: Shelf::Dht, upto: 1000 }),
        Record::Overlay(Overlay::Reserve { shelf: Shelf::Dht, upto: Stamp::MAX_COUNTER }),
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
    // Which numbers were given nobody else knows.
    let mut bend = |change: &str| {
        Connection::open(dir.path().join("node.db")).unwrap().execute(change, []).unwrap();
        sqlite.load().map_err(|error| error.to_string())
    };
    let error = bend("UPDATE overlay_reserved SET upto = 1").unwrap_err();
    assert!(error.contains("the numbers reserved for the overlay dht are damaged"), "{error}");
    assert_eq!(bend(&format!("UPDATE overlay_reserved SET upto = {}", Stamp::MAX_COUNTER)).unwrap().overlay, held);
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

/// A log whose members have changed, and a snapshot of that.
fn changed_members() -> Vec<Record> {
    let epoch = Ballot { round: 1, node: id(8000) };
    let members = |ids: &[u32]| {
        Arc::new(Membership::new(ids.iter().map(|&node| (id(node), Arc::from(format!("h:{node}")))).collect()).unwrap())
    };
    let mut entries = vec![Entry::after(0, epoch, Command::Noop)];
    for ids in [&[8000, 8001][..], &[8000, 8001, 8002]] {
        let previous = entries.last().unwrap().hash;
        entries.push(Entry::after(previous, epoch, Command::Members(members(ids))));
    }
    let (slot, hash) = (2, entries[1].hash);
    let snapshot = Snapshot { slot, hash, state: Arc::from(&b"state"[..]), members: Some(members(&[8000, 8001])) };
    let log = [
        log::memory::Record::Promise { epoch },
        log::memory::Record::Sync { epoch, after: 0, entries },
        log::memory::Record::Commit { slot: 3 },
        log::memory::Record::Compact { snapshot, through: 0 },
    ];
    log.into_iter().map(Record::Log).collect()
}

#[test]
fn the_members_are_there_again() {
    let dir = TempDir::new().unwrap();
    let (mut memory, mut sqlite) = (Memory::default(), Sqlite::open(dir.path(), id(8000)).unwrap());
    memory.write(&changed_members(), "", true).unwrap();
    sqlite.write(&changed_members(), "", true).unwrap();
    drop(sqlite);
    let found = Sqlite::open(dir.path(), id(8000)).unwrap().load().unwrap();
    assert_eq!(found, memory.load().unwrap());
    let count = |slot| found.log.members_at(slot).map(|members| members.members().len());
    assert_eq!((count(2), count(3)), (Some(2), Some(3)));
}

#[test]
fn other_members_put_under_a_snapshot_are_damage() {
    let dir = TempDir::new().unwrap();
    Sqlite::open(dir.path(), id(8000)).unwrap().write(&changed_members(), "", true).unwrap();
    let connection = Connection::open(dir.path().join("node.db")).unwrap();
    let others = [&8000_u32.to_le_bytes()[..], &[0]].concat();
    assert_eq!(connection.execute("UPDATE snapshot SET members = ?1", [others]).unwrap(), 1);
    drop(connection);
    let found = Sqlite::open(dir.path(), id(8000)).unwrap().load().unwrap();
    assert!(found.log_damaged && !found.log.proven);
}

#[test]
fn format_2_is_taken_over() {
    let dir = TempDir::new().unwrap();
    let mut records = changed_members();
    // Format 2 knew no other members than the founding ones.
    let Some(Record::Log(log::memory::Record::Compact { snapshot, .. })) = records.last_mut() else { panic!() };
    snapshot.members = None;
    let mut sqlite = Sqlite::open(dir.path(), id(8000)).unwrap();
    sqlite.write(&records, "", true).unwrap();
    let before = sqlite.load().unwrap();
    drop(sqlite);
    let connection = Connection::open(dir.path().join("node.db")).unwrap();
    connection
        .execute_batch(
            "ALTER TABLE snapshot DROP COLUMN members; ALTER TABLE log DROP COLUMN batch;
             ALTER TABLE log_epoch DROP COLUMN batch; DROP TABLE batches;
             DROP TABLE eventual; DROP TABLE eventual_reach; DROP TABLE register; PRAGMA user_version = 2",
        )
        .unwrap();
    drop(connection);
    std::fs::remove_file(dir.path().join("seal")).unwrap();
    is_taken_over(dir.path(), before);
}

#[test]
fn format_3_is_taken_over() {
    let dir = TempDir::new().unwrap();
    let mut sqlite = Sqlite::open(dir.path(), id(8000)).unwrap();
    sqlite.write(&changed_members(), "", true).unwrap();
    let before = sqlite.load().unwrap();
    drop(sqlite);
    let connection = Connection::open(dir.path().join("node.db")).unwrap();
    let undo = "DROP TABLE eventual; DROP TABLE eventual_reach; DROP TABLE register; PRAGMA user_version = 3";
    connection.execute_batch(undo).unwrap();
    drop(connection);
    is_taken_over(dir.path(), before);
}

/// What an earlier format kept is there, and what it knew nothing of can be kept from now on.
fn is_taken_over(dir: &Path, before: Durable) {
    let (mut memory, mut sqlite) = (Memory::default(), Sqlite::open(dir, id(8000)).unwrap());
    assert_eq!(sqlite.load().unwrap(), before);
    memory.write(&weak_records(), "", true).unwrap();
    sqlite.write(&weak_records(), "", true).unwrap();
    drop(sqlite);
    let Durable { eventual, register, .. } = memory.load().unwrap();
    let after = Durable { eventual, register, ..before };
    assert_eq!(Sqlite::open(dir, id(8000)).unwrap().load().unwrap(), after);
}

/// A store that was written to while it ran, as SIGKILL leaves it: its files, in another directory.
fn killed(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for name in ["node.db", "node.db-wal", "seal"] {
        std::fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

/// Where the frames end that were written since the log of writes was begun anew: what follows is older.
fn end_of_frames(wal: &[u8]) -> usize {
    let page_bytes = u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize;
    let newest = wal[32..].chunks(24 + page_bytes).take_while(|frame| frame.len() > 24 && frame[8..16] == wal[16..24]);
    32 + newest.count() * (24 + page_bytes)
}

fn log_promise(round: u64) -> Record {
    Record::Log(log::memory::Record::Promise { epoch: Ballot { round, node: id(8000) } })
}

fn single_promise(round: u64) -> Record {
    Record::Promise { instance: Instance::default(), ballot: Ballot { round, node: id(8000) } }
}

#[test]
fn damage_that_looks_like_the_end_of_the_log_of_writes_is_noticed() {
    for is_cut in [false, true] {
        let dir = TempDir::new().unwrap();
        let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
        store.write(&[log_promise(1), Record::Log(log::memory::Record::Prove)], "now", true).unwrap();
        store.write(&[log_promise(2)], "now", true).unwrap();
        let whole = killed(dir.path());
        let whole = Sqlite::open(whole.path(), id(8000)).unwrap().load().unwrap();
        assert!(whole.log.proven && !whole.log_damaged && whole.log.promised.unwrap().round == 2);

        let harmed = killed(dir.path());
        let wal = harmed.path().join("node.db-wal");
        let mut bytes = std::fs::read(&wal).unwrap();
        let end = end_of_frames(&bytes);
        if is_cut {
            bytes.truncate(end - 1);
        } else {
            bytes[end - 100] ^= 1;
        }
        std::fs::write(&wal, bytes).unwrap();
        let mut store = Sqlite::open(harmed.path(), id(8000)).unwrap();
        let durable = store.load().unwrap();
        assert!(durable.log_damaged && !durable.log.proven, "{durable:?}");
        // It is known also at the next start, and once it is repaired the database is whole again.
        drop(store);
        let mut store = Sqlite::open(harmed.path(), id(8000)).unwrap();
        assert!(!store.load().unwrap().log.proven);
        store.write(&[log_promise(3), Record::Log(log::memory::Record::Prove)], "now", true).unwrap();
        drop(store);
        let repaired = Sqlite::open(harmed.path(), id(8000)).unwrap().load().unwrap();
        assert!(repaired.log.proven && !repaired.log_damaged, "{repaired:?}");
    }
}

#[test]
fn a_database_that_was_set_back_is_noticed() {
    let dir = TempDir::new().unwrap();
    let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
    store.write(&[single_promise(1)], "now", true).unwrap();
    drop(store);
    let old = std::fs::read(dir.path().join("node.db")).unwrap();
    let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
    store.write(&[single_promise(2)], "now", true).unwrap();
    drop(store);
    let new = std::fs::read(dir.path().join("node.db")).unwrap();
    std::fs::write(dir.path().join("node.db"), old).unwrap();
    for _ in 0..2 {
        let loaded = Sqlite::open(dir.path(), id(8000)).unwrap().load();
        assert!(matches!(&loaded, Err(StoreError::Damaged { what, .. }) if what.contains("set back")), "{loaded:?}");
    }
    std::fs::write(dir.path().join("node.db"), new).unwrap();
    assert!(Sqlite::open(dir.path(), id(8000)).unwrap().load().is_ok());
}

#[test]
fn a_seal_that_is_behind_or_gone_accuses_nobody() {
    let dir = TempDir::new().unwrap();
    let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
    store.write(&[log_promise(1), single_promise(1)], "now", true).unwrap();
    let old = std::fs::read(dir.path().join("seal")).unwrap();
    store.write(&[log_promise(2), single_promise(2)], "now", true).unwrap();
    drop(store);
    for seal in [&old[..], b"", b"nonsense"] {
        std::fs::write(dir.path().join("seal"), seal).unwrap();
        let durable = Sqlite::open(dir.path(), id(8000)).unwrap().load().unwrap();
        assert!(!durable.log_damaged && durable.log.promised.unwrap().round == 2, "{durable:?}");
    }
}

/// How often the log of writes was begun anew.
fn beginnings(dir: &Path) -> u32 {
    let wal = std::fs::read(dir.join("node.db-wal")).unwrap();
    u32::from_be_bytes(wal[12..16].try_into().unwrap())
}

#[test]
fn a_long_log_of_writes_is_folded_beside_the_writes_and_begun_anew() {
    let dir = TempDir::new().unwrap();
    let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
    let records = values(64);
    store.write(&records, "now", true).unwrap();
    let written = store.load().unwrap();
    let first = beginnings(dir.path());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut beside = 0;
    while beginnings(dir.path()) < first + 3 {
        assert!(Instant::now() < deadline, "after {} beginnings", beginnings(dir.path()) - first);
        store.write(&records, "now", true).unwrap();
        if store.is_folding() {
            // It can be killed at any time.
            let killed = killed(dir.path());
            assert_eq!(Sqlite::open(killed.path(), id(8000)).unwrap().load().unwrap(), written);
            beside += 1;
        }
    }
    assert!(beside > 0, "it was never folded beside the writes");
    let frames = std::fs::metadata(dir.path().join("node.db-wal")).unwrap().len() / 4096;
    assert!(frames < 8 * 1024, "{frames}");
    store.idle().unwrap();
    assert!(!store.is_folding());
    drop(store);
    assert_eq!(Sqlite::open(dir.path(), id(8000)).unwrap().load().unwrap(), written);
}

/// Values of a page each.
fn values(count: u64) -> Vec<Record> {
    let accept = |round| Record::Accept {
        instance: format!("i{round}").parse().unwrap(),
        ballot: Ballot { round, node: id(8000) },
        value: Value::new(&"x".repeat(5000)),
    };
    (1..=count).map(accept).collect()
}

#[test]
fn a_batch_for_which_there_is_no_room_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let mut store = Sqlite::open(dir.path(), id(8000)).unwrap();
    let reserve = dir.path().join("reserve");
    store.write(&[single_promise(1)], "now", true).unwrap();
    let before = store.load().unwrap();
    assert!(reserve.exists() && !store.is_short());
    store.limit_pages(Some(20));
    for _ in 0..2 {
        let refused = store.write(&values(50), "now", true);
        assert!(matches!(refused, Err(StoreError::NoRoom { .. })), "{refused:?}");
        // What room the reserve held was tried, too.
        assert!(!reserve.exists() && store.is_short());
        assert_eq!(store.load().unwrap(), before);
        // Nor is it there for who is killed now.
        let killed = killed(dir.path());
        assert_eq!(Sqlite::open(killed.path(), id(8000)).unwrap().load().unwrap(), before);
        // What fits is kept, with a sync and without one.
        store.write(&[single_promise(1)], "now", true).unwrap();
        store.write(&[single_promise(1)], "now", false).unwrap();
    }
    store.limit_pages(None);
    assert!(store.find_room().unwrap() && !store.is_short() && reserve.exists());
    store.write(&values(50), "now", true).unwrap();
    let after = store.load().unwrap();
    assert_eq!(after.instances.len(), 51);
    drop(store);
    let mut again = Sqlite::open(dir.path(), id(8000)).unwrap();
    assert_eq!(again.load().unwrap(), after);
    assert!(!again.is_short());
}
