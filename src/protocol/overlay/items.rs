//! Keys with their versions, in the order of the ring: what a node holds of an overlay.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use xxhash_rust::xxh3::Xxh3;

use super::ring::Position;
use super::{Item, Key, Stamp, Version};

/// A node holds so many keys of one overlay at most ...
pub const MAX_KEYS: usize = 65_536;
/// ... and so many bytes of them.
pub const MAX_BYTES: usize = 64 << 20;

/// Keys with their newest known versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Items {
    versions: BTreeMap<(Position, Key), Version>,
    bytes: usize,
}

impl Items {
    /// The version of a key, which may be that it was removed.
    #[must_use]
    pub fn version(&self, key: &Key) -> Option<&Version> {
        // A key that stands alone at its position, as nearly all do, is found without being cloned.
        self.versions.get(&(key.position(), key.clone()))
    }

    /// Whether this version would replace what is held.
    #[must_use]
    pub fn is_news(&self, item: &Item) -> bool {
        self.version(&item.key).is_none_or(|held| held.stamp < item.version.stamp || mutant!(DhtOlderReplaces))
    }

    /// Whether a version of this weight still fits. One that replaces another of its key always does, if it is a removal.
    #[must_use]
    pub fn has_room(&self, item: &Item) -> bool {
        let held = self.version(&item.key);
        let freed = held.map_or(0, |version| weight(&item.key, version));
        let one_more = usize::from(held.is_none());
        let bytes = (self.bytes + weight(&item.key, &item.version)).saturating_sub(freed);
        (held.is_some() && item.version.value.is_none())
            || (self.versions.len() + one_more <= MAX_KEYS && bytes <= MAX_BYTES)
    }

    /// Takes a version, whatever was held.
    pub fn put(&mut self, item: Item) {
        let Item { key, version } = item;
        self.bytes += weight(&key, &version);
        let held = self.versions.insert((key.position(), key.clone()), version);
        self.bytes -= held.map_or(0, |held| weight(&key, &held));
    }

    /// Forgets a key.
    pub fn forget(&mut self, key: &Key) {
        if let Some(held) = self.versions.remove(&(key.position(), key.clone())) {
            self.bytes -= weight(key, &held);
        }
    }

    /// All keys in (from, to], clockwise.
    pub fn between(&self, from: Position, to: Position) -> impl Iterator<Item = (Position, &Key, &Version)> {
        let end = |at: Position| Key::highest(at);
        // Up to the end of the numbers, and from their beginning, if the arc passes it.
        let wraps = from >= to;
        let first_end = if wraps { Unbounded } else { Included(end(to)) };
        let second = wraps.then(|| self.versions.range((Unbounded, Included(end(to)))));
        let first = self.versions.range((Excluded(end(from)), first_end));
        first.chain(second.into_iter().flatten()).map(|((at, key), version)| (*at, key, version))
    }

    /// The keys behind this one, in order; without, all.
    pub fn behind(&self, key: Option<&Key>) -> impl Iterator<Item = (&Key, &Version)> {
        let from = key.map_or(Unbounded, |key| Excluded((key.position(), key.clone())));
        self.versions.range((from, Unbounded)).map(|((_, key), version)| (key, version))
    }

    /// All keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Version)> {
        self.versions.iter().map(|((_, key), version)| (key, version))
    }

    /// A hash of the positions and stamps in (from, to], written like a position: equal, as good as certainly, if and only
    /// if those are.
    #[must_use]
    pub fn digest(&self, from: Position, to: Position) -> Position {
        let mut hash = Xxh3::new();
        for (at, _, Version { stamp: Stamp { counter, node }, .. }) in self.between(from, to) {
            hash.update(&at.0.to_le_bytes());
            hash.update(&counter.to_le_bytes());
            hash.update(&node.number().to_le_bytes());
        }
        Position(hash.digest())
    }

    /// How many keys there are, those that were removed included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// How many keys have a value.
    #[must_use]
    pub fn live(&self) -> usize {
        self.versions.values().filter(|version| version.value.is_some()).count()
    }
}

fn weight(key: &Key, version: &Version) -> usize {
    64 + key.as_str().len() + version.value.as_ref().map_or(0, |value| value.as_str().len())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::types::{NodeId, Value};

    fn item(key: &str, counter: u64, value: Option<&str>) -> Item {
        let stamp = Stamp { counter, node: NodeId::new(1).unwrap() };
        Item { key: Key::new(key).unwrap(), version: Version { stamp, value: value.map(Value::new) } }
    }

    proptest::proptest! {
        /// Against the dumb twin: every key asked whether it lies in the arc.
        #[test]
        fn an_arc_is_what_lies_in_it(keys in proptest::collection::btree_set("[a-z]{1,3}", 0..40), from: u64, to: u64) {
            let mut items = Items::default();
            keys.iter().for_each(|key| items.put(item(key, 1, None)));
            let (from, to) = (Position(from), Position(to));
            let mut found: Vec<String> = items.between(from, to).map(|(_, key, _)| key.to_string()).collect();
            found.sort();
            let expected: Vec<String> =
                keys.iter().filter(|key| Position::of_key(key).is_within(from, to)).cloned().collect();
            assert_eq!(found, expected);
            assert_eq!(items.between(from, from).count(), keys.len(), "all the way round");
        }
    }

    #[test]
    fn counted() {
        what_is_held_is_counted();
    }

    pub(crate) fn what_is_held_is_counted() {
        let mut items = Items::default();
        items.put(item("a", 1, Some("12345")));
        items.put(item("a", 2, Some("1")));
        assert_eq!(items.bytes, 64 + 1 + 1);
        assert!(!items.is_news(&item("a", 2, None)) && items.is_news(&item("a", 3, None)));
        items.bytes = MAX_BYTES;
        assert!(!items.has_room(&item("b", 1, None)));
        assert!(items.has_room(&item("a", 3, None)), "what is full can be emptied");
        items.bytes = 66;
        items.forget(&Key::new("a").unwrap());
        assert_eq!(items, Items::default());
    }
}
