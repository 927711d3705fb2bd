//! Numbers that a node gives but once.

use super::{Record, Shelf, Stamp};
use crate::protocol::Out;

/// So many numbers are reserved at a time: a crash loses the rest of them, and each save serves so many.
const AHEAD: u64 = 1000;
/// A number is believed so far above the own ones: no single message uses them up.
const MAX_LEAP: u64 = 1 << 40;

/// Counts up, also across a crash: how far it may go is saved in advance.
///
/// Two versions of a key must never have the same stamp, or their copies would count as equal and stay different. The
/// versions that are in reach do not tell which numbers are used: another call of this node may be about to write, and
/// what was written before a crash may be on a node that does not answer.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    shelf: Shelf,
    last: u64,
    reserved: u64,
}

impl Numbers {
    /// Goes on behind what the node has reserved.
    pub(super) const fn new(shelf: Shelf, reserved: u64) -> Self {
        Self { shelf, last: reserved, reserved }
    }

    /// Whether none was ever given.
    pub(super) const fn is_blank(&self) -> bool {
        self.reserved == 0
    }

    /// The next number, above this one; `None` if that is beyond what is believed.
    pub(super) fn next(&mut self, above: u64, out: &mut Out) -> Option<u64> {
        if above > self.last.saturating_add(MAX_LEAP).min(Stamp::MAX_COUNTER - 1) || self.last >= Stamp::MAX_COUNTER {
            return None;
        }
        let last = if mutant!(NumbersFollowWhatIsHeld) { 0 } else { self.last };
        self.last = last.max(above) + 1;
        if self.last > self.reserved {
            self.reserved = self.last.saturating_add(AHEAD);
            if !mutant!(NumbersUnreserved) {
                out.save(Record::Reserve { shelf: self.shelf, upto: self.reserved }.into());
            }
        }
        Some(self.last)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::overlay::Memory;
    use crate::protocol::{Effect, Record as AnyRecord};

    /// What must also find the mutants.
    pub(crate) const TABLES: &[(&str, fn())] = &[("no_number_is_given_twice", no_number_is_given_twice)];

    #[test]
    fn given_once() {
        no_number_is_given_twice();
    }

    fn no_number_is_given_twice() {
        let mut memory = Memory::default();
        let mut given = std::collections::BTreeSet::new();
        for above in [0, 0, 7, 3, 20_000, 0] {
            let mut numbers = Numbers::new(Shelf::Dht, memory.reserved(Shelf::Dht));
            for _ in 0..1500 {
                let mut out = Out::default();
                let number = numbers.next(above, &mut out).unwrap();
                assert!(number > above && given.insert(number), "{number} above {above}");
                for effect in out.drain() {
                    let Effect::Save(AnyRecord::Overlay(record)) = effect else { panic!("{effect:?}") };
                    memory.apply(&record);
                }
                assert!(memory.reserved(Shelf::Dht) >= number && memory.reserved(Shelf::Flood) == 0);
            }
        }
        assert!(given.len() == 9000 && given.last() < Some(&100_000), "few are lost");
    }

    #[test]
    fn a_leap_is_not_believed() {
        let mut numbers = Numbers::new(Shelf::Dht, 0);
        let mut out = Out::default();
        assert_eq!(numbers.next(Stamp::MAX_COUNTER, &mut out), None);
        assert_eq!(numbers.next(u64::MAX, &mut out), None);
        assert_eq!(numbers.next(0, &mut out), Some(1), "what was not believed has changed nothing");
        let mut numbers = Numbers::new(Shelf::Dht, Stamp::MAX_COUNTER - 1);
        assert_eq!(numbers.next(Stamp::MAX_COUNTER - 1, &mut out), Some(Stamp::MAX_COUNTER));
        assert_eq!(numbers.next(0, &mut out), None, "they are used up");
    }
}
