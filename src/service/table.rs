//! An ordered map that is copied in no time and always knows the hash of what it holds.
//!
//! The state of all services is in tables. A copy shares all nodes of the tree with the original, so a snapshot is taken
//! from a copy while the original goes on. The hash is the sum of the hashes of the rows, so a change costs what the
//! changed row costs, and the order in which rows came does not matter.
//!
//! The sum is meant to find faults, not forgers: two nodes that differ by accident have equal sums once in 2⁶⁴.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use imbl::OrdMap;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use xxhash_rust::xxh64::Xxh64;

/// The map.
#[derive(Debug, Clone)]
pub(super) struct Table<K: Ord, V> {
    rows: OrdMap<K, Row<V>>,
    sum: u64,
}

#[derive(Debug, Clone)]
struct Row<V> {
    value: V,
    /// Kept, because the row's part of the sum must be taken away again when it goes.
    digest: u64,
}

impl<K: Ord, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: OrdMap::new(), sum: 0 }
    }
}

impl<K: Ord + Clone + Serialize, V: Clone + Serialize> Table<K, V> {
    pub(super) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The hash of all rows.
    pub(super) const fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key).map(|row| &row.value)
    }

    /// The row as it is kept: its key need not be made anew by whoever writes it again.
    pub(super) fn row<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.rows.get_key_value(key).map(|(key, row)| (key, &row.value))
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let digest = digest(&(&key, &value));
        self.sum = self.sum.wrapping_add(digest);
        if let Some(old) = self.rows.insert(key, Row { value, digest }) {
            self.sum = self.sum.wrapping_sub(old.digest);
        }
    }

    /// Gives the row of a key another value, and tells what else came of it; or leaves it as it is, and says why. The tree
    /// is searched once, where [`Table::row`] and [`Table::insert`] search it twice. `None` if there is no such row.
    pub(super) fn change<Q: Ord + ?Sized, T, E>(
        &mut self,
        key: &Q,
        change: impl FnOnce(&K, &V) -> Result<(V, T), E>,
    ) -> Option<Result<T, E>>
    where
        K: Borrow<Q>,
    {
        let (key, row) = self.rows.get_key_value_mut(key)?;
        let changed = change(key, &row.value).map(|(value, told)| {
            let digest = digest(&(key, &value));
            self.sum = self.sum.wrapping_add(digest).wrapping_sub(row.digest);
            *row = Row { value, digest };
            told
        });
        Some(changed)
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let (key, row) = self.rows.remove_with_key(key)?;
        self.sum = self.sum.wrapping_sub(row.digest);
        Some((key, row.value))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, row)| (key, &row.value))
    }

    pub(super) fn range<Q: Ord + ?Sized>(&self, range: impl RangeBounds<Q>) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.rows.range(range).map(|(key, row)| (key, &row.value))
    }
}

/// The hash of one thing: of its postcard form, which is the same on every platform and in every build.
pub(super) fn digest(what: &impl Serialize) -> u64 {
    // Hashing cannot fail, and neither can writing the plain types that tables hold.
    postcard::serialize_with_flavor(what, Hashing(Xxh64::new(0))).unwrap_or_default()
}

/// Takes what postcard writes into a hash.
struct Hashing(Xxh64);

impl postcard::ser_flavors::Flavor for Hashing {
    type Output = u64;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.update(&[byte]);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.update(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u64> {
        Ok(self.0.digest())
    }
}

impl<K: Ord + Clone + Serialize, V: Clone + Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in self.iter() {
            rows.serialize_element(&row)?;
        }
        rows.end()
    }
}

impl<'de, K, V> Deserialize<'de> for Table<K, V>
where
    K: Ord + Clone + Serialize + Deserialize<'de>,
    V: Clone + Serialize + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Rows(PhantomData))
    }
}

/// Puts rows into a table one by one: no length that the bytes claim is believed.
struct Rows<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for Rows<K, V>
where
    K: Ord + Clone + Serialize + Deserialize<'de>,
    V: Clone + Serialize + Deserialize<'de>,
{
    type Value = Table<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rows of a table")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Table<K, V>, A::Error> {
        let mut table = Table::default();
        while let Some((key, value)) = rows.next_element()? {
            table.insert(key, value);
        }
        Ok(table)
    }
}
