//! The entries of a log: numbered without a gap, each chained to the one before it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use super::members::Membership;
use crate::protocol::types::{Ballot, NodeId};

/// What an entry asks the services to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Nothing: the first entry of an epoch, by which the leader finds out what is committed.
    Noop,
    /// A command of the services, opaque to the log.
    Service(Arc<[u8]>),
    /// Nothing of the services: from here on these are the members.
    Members(Arc<Membership>),
}

impl Command {
    /// Its weight in bytes, for limits.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Noop => 0,
            Self::Service(bytes) => bytes.len(),
            Self::Members(members) => members.encoded_len(),
        }
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The epoch whose leader appended it. With the slot it names the entry for good.
    pub epoch: Ballot,
    /// What it asks for.
    pub command: Command,
    /// The hash of this entry and, through the one before it, of all before it.
    pub hash: u64,
}

impl Entry {
    /// An entry after one with this hash.
    #[must_use]
    pub fn after(previous: u64, epoch: Ballot, command: Command) -> Self {
        let hash = chained(previous, epoch, &command);
        Self { epoch, command, hash }
    }

    /// Whether it is what was appended after an entry with this hash.
    #[must_use]
    pub fn follows(&self, previous: u64) -> bool {
        self.hash == chained(previous, self.epoch, &self.command)
    }
}

fn chained(previous: u64, epoch: Ballot, command: &Command) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&previous.to_le_bytes());
    hasher.update(&epoch.round.to_le_bytes());
    hasher.update(&epoch.node.number().to_le_bytes());
    match command {
        Command::Noop => hasher.update(&[0]),
        Command::Service(bytes) => {
            hasher.update(&[1]);
            hasher.update(bytes);
        }
        Command::Members(members) => {
            hasher.update(&[2]);
            hasher.update(&members.encode());
        }
    }
    hasher.digest()
}

/// A contiguous run of entries; what came before it is in a snapshot. Slots count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Entries {
    base: u64,
    base_hash: u64,
    entries: VecDeque<Entry>,
    weight: usize,
    /// The memberships among them, by slot.
    members: BTreeMap<u64, Arc<Membership>>,
}

impl Entries {
    /// No entries, after the slot `base`, whose entry has this hash.
    #[must_use]
    pub const fn after(base: u64, base_hash: u64) -> Self {
        Self { base, base_hash, entries: VecDeque::new(), weight: 0, members: BTreeMap::new() }
    }

    /// The last slot that is not held any more; 0 if the log is held from its beginning.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// The last slot.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The bytes of all commands held.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// The entry in a slot.
    #[must_use]
    pub fn get(&self, slot: u64) -> Option<&Entry> {
        let at = slot.checked_sub(self.base)?.checked_sub(1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The hash of the chain up to this slot, if it is known.
    #[must_use]
    pub fn hash_at(&self, slot: u64) -> Option<u64> {
        if slot == self.base { Some(self.base_hash) } else { self.get(slot).map(|entry| entry.hash) }
    }

    /// The hash of the chain up to the last slot.
    #[must_use]
    pub fn last_hash(&self) -> u64 {
        self.entries.back().map_or(self.base_hash, |entry| entry.hash)
    }

    /// Appends a command, in an epoch.
    pub fn append(&mut self, epoch: Ballot, command: Command) {
        let entry = Entry::after(self.last_hash(), epoch, command);
        self.push(entry);
    }

    /// Appends an entry that was made elsewhere; `false`, and nothing done, if it does not fit the chain.
    pub fn extend(&mut self, entry: Entry) -> bool {
        let fits = entry.follows(self.last_hash());
        if fits {
            self.push(entry);
        }
        fits
    }

    fn push(&mut self, entry: Entry) {
        self.weight += entry.command.weight();
        if let Command::Members(members) = &entry.command {
            self.members.insert(self.length() + 1, members.clone());
        }
        self.entries.push_back(entry);
    }

    /// Forgets all entries after this slot.
    pub fn truncate(&mut self, last: u64) {
        while self.length() > last {
            let Some(entry) = self.entries.pop_back() else { break };
            self.weight -= entry.command.weight();
        }
        while self.members.last_key_value().is_some_and(|(slot, _)| *slot > last) {
            self.members.pop_last();
        }
    }

    /// Forgets all entries up to this slot.
    pub fn forget(&mut self, through: u64) {
        while self.base < through {
            let Some(entry) = self.entries.pop_front() else { break };
            self.weight -= entry.command.weight();
            self.base += 1;
            self.base_hash = entry.hash;
        }
        while self.members.first_key_value().is_some_and(|(slot, _)| *slot <= self.base) {
            self.members.pop_first();
        }
    }

    /// The last membership among the entries after one slot up to another, and its slot.
    #[must_use]
    pub fn members(&self, after: u64, through: u64) -> Option<(u64, &Arc<Membership>)> {
        let (slot, members) = self.members.range(..=through).next_back()?;
        (*slot > after).then_some((*slot, members))
    }

    /// The entries after a slot, no more than so many, and no more than so many bytes unless the first alone is larger.
    #[must_use]
    pub fn page(&self, after: u64, most: usize, most_bytes: usize) -> Vec<Entry> {
        let Some(skip) = after.checked_sub(self.base).and_then(|skip| usize::try_from(skip).ok()) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let fits = |(at, entry): &(usize, &Entry)| {
            bytes += entry.command.weight();
            *at == 0 || bytes <= most_bytes
        };
        self.entries.iter().skip(skip).take(most).enumerate().take_while(fits).map(|(_, entry)| entry.clone()).collect()
    }
}

/// Entries as bytes, for disk and wire: of each, in little-endian, the epoch's round (8 bytes) and node (4), the hash (8),
/// the command's length (4), and the command. An empty entry has the length `u32::MAX`, a membership's has its highest bit
/// set.
#[must_use]
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let weight: usize = entries.iter().map(|entry| HEADER + entry.command.weight()).sum();
    let mut bytes = Vec::with_capacity(weight);
    for Entry { epoch, command, hash } in entries {
        let encoded;
        let (length, content): (u32, &[u8]) = match command {
            Command::Noop => (u32::MAX, &[]),
            // The door lets no command in that is longer than a body, far below 4 GiB.
            Command::Service(content) => (u32::try_from(content.len()).unwrap_or(MEMBERS - 1), content),
            Command::Members(members) => {
                encoded = members.encode();
                (MEMBERS | u32::try_from(encoded.len()).unwrap_or_default(), &encoded)
            }
        };
        bytes.extend_from_slice(&epoch.round.to_le_bytes());
        bytes.extend_from_slice(&epoch.node.number().to_le_bytes());
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}

/// What [`encode`] made; `None` for anything else. The hashes are read, not checked.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let round = u64::from_le_bytes(*bytes.split_off(..8)?.first_chunk()?);
        let node = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
        let hash = u64::from_le_bytes(*bytes.split_off(..8)?.first_chunk()?);
        let length = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
        let command = match length {
            u32::MAX => Command::Noop,
            length if length & MEMBERS != 0 => {
                let content = bytes.split_off(..usize::try_from(length & !MEMBERS).ok()?)?;
                Command::Members(Arc::new(Membership::decode(content)?))
            }
            length => Command::Service(Arc::from(bytes.split_off(..usize::try_from(length).ok()?)?)),
        };
        entries.push(Entry { epoch: Ballot { round, node: NodeId::new(node)? }, command, hash });
    }
    Some(entries)
}

const HEADER: usize = 24;
/// In the length of a command: it is a membership.
const MEMBERS: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(round: u64) -> Ballot {
        Ballot { round, node: NodeId::new(1).unwrap() }
    }

    fn command(text: &str) -> Command {
        Command::Service(Arc::from(text.as_bytes()))
    }

    fn members(count: u32) -> Arc<Membership> {
        let ids = (1..=count).map(|id| NodeId::new(id).unwrap());
        Arc::new(crate::protocol::quorum::Members::new(ids).unwrap().into())
    }

    fn log(texts: &[&str]) -> Entries {
        let mut entries = Entries::default();
        texts.iter().for_each(|text| entries.append(epoch(1), command(text)));
        entries
    }

    #[test]
    fn slots_survive_cutting_at_both_ends() {
        let mut entries = log(&["a", "b", "c", "d"]);
        let whole = entries.clone();
        entries.forget(2);
        assert_eq!((entries.base(), entries.length(), entries.weight()), (2, 4, 2));
        assert_eq!(entries.get(2), None);
        assert_eq!(entries.get(3), whole.get(3));
        assert_eq!(entries.hash_at(2), whole.hash_at(2));
        entries.truncate(3);
        assert_eq!((entries.base(), entries.length()), (2, 3));
        entries.truncate(0);
        assert_eq!((entries.base(), entries.length(), entries.weight()), (2, 2, 0));
        assert_eq!(Some(entries.last_hash()), whole.hash_at(2));
        assert!(entries.extend(whole.get(3).unwrap().clone()));
        assert!(entries.extend(whole.get(4).unwrap().clone()));
        assert_eq!(entries.last_hash(), whole.last_hash());
    }

    #[test]
    fn memberships_come_and_go_with_their_entries() {
        let mut entries = log(&["a"]);
        for count in [3, 4] {
            entries.append(epoch(1), Command::Members(members(count)));
            entries.append(epoch(1), command("b"));
        }
        let found = |entries: &Entries, after, through| {
            entries.members(after, through).map(|(slot, members)| (slot, members.members().len()))
        };
        assert_eq!([5, 3, 1].map(|through| found(&entries, 0, through)), [Some((4, 4)), Some((2, 3)), None]);
        assert_eq!(found(&entries, 4, 5), None);
        let mut shorter = entries.clone();
        shorter.truncate(3);
        assert_eq!(found(&shorter, 0, 9), Some((2, 3)));
        entries.forget(2);
        assert_eq!((found(&entries, 0, 3), found(&entries, 0, 5)), (None, Some((4, 4))));
    }

    #[test]
    fn the_chain_notices_what_was_changed_left_out_or_exchanged() {
        let entries = log(&["a", "b", "c"]);
        let mut other = log(&["a"]);
        assert!(!other.extend(entries.get(3).unwrap().clone()), "left out");
        let mut changed = entries.get(2).unwrap().clone();
        changed.command = command("x");
        assert!(!other.extend(changed), "changed");
        let mut later = entries.get(2).unwrap().clone();
        later.epoch = epoch(2);
        assert!(!other.extend(later), "of another epoch");
        assert!(other.extend(entries.get(2).unwrap().clone()));
    }

    #[test]
    fn bytes_and_back() {
        let mut entries = log(&["", "b", "cc"]);
        entries.append(epoch(u64::MAX), Command::Noop);
        entries.append(epoch(u64::MAX), Command::Members(members(3)));
        let all = entries.page(0, 10, 100);
        let bytes = encode(&all);
        assert_eq!(decode(&bytes).unwrap(), all);
        for cut in 1..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none_or(|some| some.len() < all.len()), "cut at {cut}");
        }
        assert_eq!(decode(&[0; 24]), None, "node 0 is the guest");
    }

    #[test]
    fn pages_are_bounded_but_never_empty_before_the_end() {
        let entries = log(&["aaaa", "bbbb", "cccc", "dddd"]);
        assert_eq!(entries.page(0, 10, 8).len(), 2);
        assert_eq!(entries.page(1, 10, 1).len(), 1);
        assert_eq!(entries.page(0, 3, 100).len(), 3);
        assert_eq!(entries.page(4, 10, 100).len(), 0);
        assert_eq!(entries.page(9, 10, 100).len(), 0);
    }
}
