//! What was asked, held, saved and said, of all nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Key, KeyCall, Message, NodeId, Origin, Stamp, Value, Verdict, Which, Who, chord, ensure, flood, index, rule,
};
use crate::protocol::overlay::{Item, Memory, Overlay, Record, Shelf, Version};

/// A key of a shelf, in a generation: each is a world of its own.
type Place = (u64, Shelf, Key);

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    origins: BTreeMap<Value, Origin>,
    /// Which keys somebody asked to remove.
    removals: BTreeSet<(u64, Which, Key)>,
    /// Every version that a disk kept, or that was sent.
    versions: BTreeMap<(Place, Stamp), Option<Value>>,
    /// The first stamp of a value of the hash table, as far as anybody was told.
    first: BTreeMap<Value, Stamp>,
    /// Values that a node wanted to hold.
    held: BTreeSet<Value>,
    /// What each node holds of the hash table in its present life.
    copies: BTreeMap<(u64, NodeId, Key), Stamp>,
    /// The newest version of each key that each disk kept at any time.
    saved: BTreeMap<(Place, NodeId), Stamp>,
    /// The entries of the index, as its disk has them.
    entries: BTreeMap<(u64, Key), Stamp>,
    /// All that there ever were.
    entered: BTreeSet<(u64, Key, Stamp)>,
    /// By who was asked and the message's id: what it was to keep, or to strike out.
    asked: BTreeMap<(NodeId, u64), (Key, Stamp)>,
    /// And what it was to forget of what is found by flooding, unless it was set there again since: whoever sets a key does
    /// not hear of all versions of it, so what is new need not be the newest.
    forgets: BTreeMap<(NodeId, u64), (Key, Stamp)>,
}

const fn which(shelf: Shelf) -> Which {
    match shelf {
        Shelf::Dht => Which::Dht,
        Shelf::Flood => Which::Flood,
        Shelf::Index | Shelf::Directory => Which::Index,
    }
}

const fn shelf(which: Which) -> Shelf {
    match which {
        Which::Dht => Shelf::Dht,
        Which::Flood => Shelf::Flood,
        Which::Index => Shelf::Index,
    }
}

impl Ledger {
    pub(super) fn origin(&self, value: &Value) -> Option<&Origin> {
        self.origins.get(value)
    }

    /// Whether some node wanted to hold it.
    pub(super) fn is_held(&self, value: &Value) -> bool {
        self.held.contains(value)
    }

    /// The client was told that it was not set.
    pub(super) fn refused(&mut self, value: &Value) {
        if let Some(origin) = self.origins.get_mut(value) {
            origin.refused = true;
        }
    }

    /// How many disks kept this value of a key of the hash table, or a newer one.
    pub(super) fn keepers(&self, generation: u64, key: &Key, value: &Value) -> usize {
        let place = (generation, Shelf::Dht, key.clone());
        let Some(first) = self.first.get(value) else { return 0 };
        self.saved.iter().filter(|((saved, _), newest)| *saved == place && *newest >= first).count()
    }

    /// Whether a node's disk kept this value at some time.
    pub(super) fn has_saved(&self, generation: u64, of: Which, node: NodeId, value: &Value) -> bool {
        let Some(origin) = self.origins.get(value) else { return false };
        let place = (generation, shelf(of), origin.key.clone());
        let own = |(stamp, held): &(Stamp, &Option<Value>)| stamp.node == node && held.as_ref() == Some(value);
        let Some((stamp, _)) = self.stamps(&place).find(own) else { return false };
        self.saved.get(&(place, node)).is_some_and(|saved| *saved >= stamp)
    }

    fn stamps(&self, place: &Place) -> impl Iterator<Item = (Stamp, &Option<Value>)> {
        let first = (place.clone(), Stamp { counter: 0, node: NodeId::GUEST });
        let rows = self.versions.range(first..).take_while(|((of, _), _)| *of == *place);
        rows.map(|((_, stamp), value)| (*stamp, value)).collect::<Vec<_>>().into_iter()
    }

    /// The newest version of a key that any disk kept; `None` if there was none.
    pub(super) fn newest(&self, generation: u64, of: Which, key: &Key) -> Option<(Stamp, Option<&Value>)> {
        let place = (generation, shelf(of), key.clone());
        let of_it = self.saved.iter().filter(|((saved, _), _)| *saved == place);
        let stamp = of_it.map(|(_, stamp)| *stamp).max()?;
        Some((stamp, self.versions.get(&(place, stamp)).and_then(Option::as_ref)))
    }

    /// All keys of which some disk kept a version.
    pub(super) fn keys(&self, generation: u64, of: Which) -> BTreeSet<Key> {
        let of_it = self.saved.keys().filter(|((at, on, _), _)| *at == generation && *on == shelf(of));
        of_it.map(|((_, _, key), _)| key.clone()).collect()
    }

    /// Whether somebody asked to remove it.
    pub(super) fn may_be_removed(&self, generation: u64, of: Which, key: &Key) -> bool {
        self.removals.contains(&(generation, of, key.clone()))
    }

    /// The index's entry of a key.
    pub(super) fn entry(&self, generation: u64, key: &Key) -> Option<Stamp> {
        self.entries.get(&(generation, key.clone())).copied()
    }

    /// The values that an entry may stand for: its own, and those with which its holder has replaced it.
    pub(super) fn entered_values(&self, generation: u64, key: &Key, entry: Stamp) -> BTreeSet<&Value> {
        let from = ((generation, Shelf::Index, key.clone()), Stamp { counter: entry.counter, node: NodeId::GUEST });
        let rows = self.versions.range(from.clone()..).take_while(|((of, _), _)| *of == from.0);
        rows.filter(|((_, stamp), _)| stamp.node == entry.node).filter_map(|(_, value)| value.as_ref()).collect()
    }

    /// A client's call reaches a node.
    pub(super) fn asked(&mut self, generation: u64, which: Which, call: &KeyCall) {
        let key = call.key().clone();
        match call {
            KeyCall::Set { value, .. } => {
                let origin = Origin { which, key, generation, refused: false };
                self.origins.insert(value.clone(), origin);
            }
            KeyCall::Remove { .. } => _ = self.removals.insert((generation, which, key)),
            KeyCall::Get { .. } => {}
        }
    }

    /// A node wants to keep this.
    pub(super) fn emitted(&mut self, who: Who, record: &Record) -> Verdict {
        match record {
            Record::Hold { shelf: Shelf::Directory, .. } => Ok(()),
            Record::Hold { shelf, item } => self.holds(who, *shelf, item),
            Record::Release { shelf: Shelf::Dht, key } => {
                self.copies.remove(&(who.generation, who.node, key.clone()));
                Ok(())
            }
            Record::Release { .. } | Record::Membership { .. } | Record::Reserve { .. } => Ok(()),
        }
    }

    fn holds(&mut self, who: Who, shelf: Shelf, Item { key, version }: &Item) -> Verdict {
        if shelf == Shelf::Flood {
            self.forgets.retain(|(node, _), (of, _)| *node != who.node || of != key);
        }
        let about = || format!("{} holds {version:?} of '{key}' ({})", who.node, shelf.name());
        if let Some(value) = &version.value {
            self.held.insert(value.clone());
            let origin = self.origins.get(value);
            let fits = origin.is_some_and(|origin| {
                (origin.generation, origin.which) == (who.generation, which(shelf)) && origin.key == *key
            });
            ensure(fits, rule::WRITTEN, about)?;
            ensure(!origin.is_some_and(|origin| origin.refused), rule::DEFINITE, about)?;
        }
        if shelf == Shelf::Dht {
            let before = self.copies.insert((who.generation, who.node, key.clone()), version.stamp);
            ensure(before < Some(version.stamp), rule::NEWER, || format!("{} after {before:?}", about()))?;
        }
        Ok(())
    }

    /// A version is known beyond the memory of one node.
    fn names(&mut self, node: NodeId, place: Place, version: &Version) -> Verdict {
        let key = place.2.clone();
        let before = self.versions.entry((place, version.stamp)).or_insert_with(|| version.value.clone());
        ensure(*before == version.value, rule::ONE_VALUE, || {
            format!("{node} has {version:?} of '{key}', and somebody {before:?}")
        })
    }

    /// It is certain to last.
    pub(super) fn saved(&mut self, generation: u64, node: NodeId, record: &Record) -> Verdict {
        match record {
            Record::Hold { shelf: Shelf::Directory, item } => {
                let stamp = item.version.stamp;
                self.entries.insert((generation, item.key.clone()), stamp);
                self.entered.insert((generation, item.key.clone(), stamp));
            }
            Record::Release { shelf: Shelf::Directory, key } => _ = self.entries.remove(&(generation, key.clone())),
            Record::Hold { shelf, item } => {
                self.names(node, (generation, *shelf, item.key.clone()), &item.version)?;
                let newest =
                    self.saved.entry(((generation, *shelf, item.key.clone()), node)).or_insert(item.version.stamp);
                *newest = item.version.stamp.max(*newest);
            }
            Record::Release { .. } | Record::Membership { .. } | Record::Reserve { .. } => {}
        }
        Ok(())
    }

    /// A message reaches a node.
    pub(super) fn heard(&mut self, who: Who, message: &Message) {
        match message {
            Message::Dht(chord::Message::Copies { id: Some(id), items }) => {
                for Item { key, version } in items {
                    if let Some(value) = &version.value {
                        let first = self.first.entry(value.clone()).or_insert(version.stamp);
                        *first = version.stamp.min(*first);
                    }
                    self.asked.insert((who.node, *id), (key.clone(), version.stamp));
                }
            }
            Message::Flood(flood::Message::Forget { id, key, upto }) => {
                self.forgets.insert((who.node, *id), (key.clone(), *upto));
            }
            Message::Index(index::Message::Strike { id, key, entry }) => {
                self.asked.insert((who.node, *id), (key.clone(), *entry));
            }
            _ => {}
        }
    }

    /// A message leaves; so much is certain to last, unless the node has forgotten all since.
    pub(super) fn sent(&mut self, who: Who, message: &Message, held: Option<&Memory>) -> Verdict {
        if let Message::Dht(chord::Message::Copies { items, .. }) = message {
            items.iter().try_for_each(|Item { key, version }| {
                self.names(who.node, (who.generation, Shelf::Dht, key.clone()), version)
            })?;
        }
        let about = || format!("{} says {message:?}", who.node);
        let saved = |shelf: Shelf, key: &Key| self.saved.get(&((who.generation, shelf, key.clone()), who.node));
        match message {
            Message::Dht(chord::Message::Copied { id, kept: true }) => {
                let Some((key, stamp)) = self.asked.get(&(who.node, *id)) else { return Ok(()) };
                ensure(saved(Shelf::Dht, key) >= Some(stamp), rule::SAVED_FIRST, about)
            }
            Message::Flood(flood::Message::Forgot { id }) => {
                let (Some((key, upto)), Some(held)) = (self.forgets.get(&(who.node, *id)), held) else { return Ok(()) };
                let left = held.flood.version(key).map(|version| version.stamp);
                ensure(left.is_none_or(|left| left > *upto), rule::SAVED_FIRST, about)
            }
            Message::Index(index::Message::Enter { key, serial, .. }) => {
                let is_saved = saved(Shelf::Index, key).is_some_and(|newest| newest.counter >= *serial);
                ensure(is_saved, rule::SAVED_FIRST, about)
            }
            Message::Index(index::Message::Entered { id, done: true, serial }) => {
                let made = self.entered.iter().any(|(at, _, entry)| *at == who.generation && entry.counter == *serial);
                ensure(made, rule::SAVED_FIRST, about)?;
                let (Some((key, entry)), Some(held)) = (self.asked.get(&(who.node, *id)), held) else { return Ok(()) };
                let there = held.directory.version(key).is_some_and(|version| version.stamp == *entry);
                ensure(!there, rule::SAVED_FIRST, about)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn crashed(&mut self, node: NodeId) {
        self.copies.retain(|(_, holder, _), _| *holder != node);
    }

    pub(super) fn recovered(&mut self, who: Who, overlay: &Overlay) {
        for (key, version) in overlay.chord().items().iter() {
            self.copies.insert((who.generation, who.node, key.clone()), version.stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is set while a release waits for its sync is another copy than the one that was to be forgotten.
    #[test]
    fn a_new_copy_is_not_the_forgotten_one() {
        let node = |number| NodeId::new(number).unwrap();
        let (who, key) = (Who { node: node(1), life: 1, generation: 1 }, Key::new("a").unwrap());
        let of = |counter, text| Item {
            key: key.clone(),
            version: Version { stamp: Stamp { counter, node: node(1) }, value: Some(Value::new(text)) },
        };
        let (old, new) = (of(3, "<int>1</int>"), of(4, "<int>2</int>"));
        let mut ledger = Ledger::default();
        for Item { version, .. } in [&old, &new] {
            let value = version.value.clone().unwrap();
            ledger.asked(1, Which::Flood, &KeyCall::Set { key: key.clone(), value });
        }
        let hold = |item: &Item| Record::Hold { shelf: Shelf::Flood, item: item.clone() };
        let mut memory = Memory::default();
        ledger.emitted(who, &hold(&old)).unwrap();
        memory.apply(&hold(&old));
        let upto = Stamp { counter: 9, node: node(2) };
        ledger.heard(who, &Message::Flood(flood::Message::Forget { id: 7, key: key.clone(), upto }));
        let forgot = Message::Flood(flood::Message::Forgot { id: 7 });
        assert!(ledger.sent(who, &forgot, Some(&memory)).is_err(), "the old copy is there");
        memory.apply(&Record::Release { shelf: Shelf::Flood, key: key.clone() });
        assert!(ledger.sent(who, &forgot, Some(&memory)).is_ok());
        ledger.emitted(who, &hold(&new)).unwrap();
        memory.apply(&hold(&new));
        assert!(ledger.sent(who, &forgot, Some(&memory)).is_ok(), "it was set again");
    }
}
