//! Logical clocks: what happened before what, without asking the time of day.
//!
//! - [`Lamport`]'s clock is one number ("Time, Clocks, and the Ordering of Events in a Distributed System", 1978). If one
//!   event could have caused another, its number is lower. The reverse does not hold.
//! - A [`VectorClock`] counts the events of each node apart (Fidge, Mattern, 1988). One event could have caused another
//!   *exactly if* its clock is nowhere higher and somewhere lower ([`VectorClock::compare`]); if each is somewhere higher,
//!   the two are [`Relation::Concurrent`].
//!
//! The rules, for both: an event of a node raises the node's own count by one; a message carries its sender's clocks as
//! they were at its send; whoever receives it takes the higher of each, and then counts the receipt as an event of its
//! own. [`Clocks`] is a node's two clocks and follows them; a [`Stamp`] is what a message carries. It stands on the wire
//! as one text: `17 8000:12,8001:4`, Lamport's number and then the entries, by node.
//!
//! # Invariants
//!
//! - Nothing a clock shows ever falls, but when its process ends.
//! - Of two events, one with the lower vector clock has the lower Lamport number.
//! - What is read from the wire is believed within bounds: at most [`MAX_ENTRIES`] nodes, and at most [`MAX_LEAP`] above
//!   what is known, so that no message uses a clock up.
//!
//! # Caveats
//!
//! Clocks are not kept across the end of a process: no protocol rests on them, and a synced write an event would cost
//! more than the event. A node that comes back takes its own count from the first message it hears, like the others'; what
//! it does before that cannot be told from what it did as early in its life before.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::types::{Malformed, NodeId, digits};

/// How many nodes a vector clock counts at most.
pub const MAX_ENTRIES: usize = 256;
/// How far above its own a node believes a clock to be: thousands of messages a second for years.
pub const MAX_LEAP: u64 = 1 << 40;
/// Where clocks stop: what XML-RPC's integers hold, with room to spare.
const MAX: u64 = 1 << 62;

/// The higher of two counts, unless theirs is beyond belief.
const fn higher(mine: u64, theirs: u64) -> u64 {
    if theirs > mine && theirs - mine <= MAX_LEAP && theirs <= MAX { theirs } else { mine }
}

/// Lamport's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lamport(u64);

impl Lamport {
    /// A clock that shows this.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number.min(MAX))
    }

    /// What it shows.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// An event happens here.
    pub fn tick(&mut self) {
        self.0 = (self.0 + 1).min(MAX);
    }

    /// Takes the higher of the two, as whoever receives a message does before it counts the receipt.
    pub const fn merge(&mut self, theirs: Self) {
        self.0 = higher(self.0, theirs.0);
    }
}

impl fmt::Display for Lamport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the events of two vector clocks stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The first happened before the second: it could have caused it.
    Before,
    /// The second happened before the first.
    After,
    /// The same event, or the same moment of a node.
    Equal,
    /// Neither could have caused the other.
    Concurrent,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Equal => "equal",
            Self::Concurrent => "concurrent",
        })
    }
}

/// How many events of each node are known; none of a node that is not in it. Sorted by node, no count is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct VectorClock(Vec<(NodeId, u64)>);

impl VectorClock {
    /// How many events of a node are known.
    #[must_use]
    pub fn of(&self, node: NodeId) -> u64 {
        self.place(node).map_or(0, |at| self.0[at].1)
    }

    /// All entries, by node.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        self.0.iter().copied()
    }

    /// An event happens at a node.
    pub fn tick(&mut self, node: NodeId) {
        self.raise(node, (self.of(node) + 1).min(MAX));
    }

    /// Takes the higher of each entry.
    pub fn merge(&mut self, theirs: &Self) {
        for &(node, count) in &theirs.0 {
            self.raise(node, higher(self.of(node), count));
        }
    }

    /// How the event of this clock stands to the event of another.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Relation {
        let lower = self.0.iter().any(|&(node, count)| count < other.of(node))
            || other.0.iter().any(|&(node, count)| self.of(node) < count);
        let higher = self.0.iter().any(|&(node, count)| count > other.of(node));
        match (lower, higher) {
            (true, false) => Relation::Before,
            (false, true) => Relation::After,
            (false, false) => Relation::Equal,
            (true, true) => Relation::Concurrent,
        }
    }

    /// Takes the higher of each entry, however far above: for counts whose bound the caller has seen to.
    pub fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|&(node, count)| self.raise_to(node, count));
    }

    /// Takes the lower of each entry.
    pub fn meet(&mut self, other: &Self) {
        self.0.retain_mut(|(node, count)| {
            *count = other.of(*node).min(*count);
            *count > 0
        });
    }

    /// The same, with no entry above this.
    #[must_use]
    pub fn capped(&self, most: u64) -> Self {
        Self(self.iter().map(|(node, count)| (node, count.min(most))).filter(|(_, count)| *count > 0).collect())
    }

    /// So many events of a node are known, or more.
    pub fn raise_to(&mut self, node: NodeId, count: u64) {
        self.raise(node, count.max(self.of(node)).min(MAX));
    }

    fn place(&self, node: NodeId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&node, |&(node, _)| node)
    }

    fn raise(&mut self, node: NodeId, count: u64) {
        match self.place(node) {
            Ok(at) => self.0[at].1 = count,
            Err(at) if count > 0 && self.0.len() < MAX_ENTRIES => self.0.insert(at, (node, count)),
            Err(_) => {}
        }
    }
}

/// `8000:12,8001:4`; nothing for a clock that has seen nothing.
impl fmt::Display for VectorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (node, count)) in self.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{node}:{count}")?;
        }
        Ok(())
    }
}

impl FromStr for VectorClock {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::new(text, "a vector clock: write node:count, as in 8000:12,8001:4");
        let mut entries: Vec<(NodeId, u64)> = Vec::new();
        for entry in text.split(',').filter(|_| !text.is_empty()) {
            let (node, count) = entry.split_once(':').ok_or_else(wrong)?;
            let (node, count) = (node.parse().map_err(|_| wrong())?, digits(count).ok_or_else(wrong)?);
            let ascends = entries.last().is_none_or(|&(last, _)| last < node);
            if !ascends || count == 0 || count > MAX || entries.len() == MAX_ENTRIES {
                return Err(wrong());
            }
            entries.push((node, count));
        }
        Ok(Self(entries))
    }
}

/// Both clocks of a node as they were at one event: what a message carries from its send. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Lamport's clock.
    pub lamport: Lamport,
    /// The vector clock.
    pub vector: Arc<VectorClock>,
}

/// `17 8000:12,8001:4`.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.lamport, self.vector)
    }
}

impl FromStr for Stamp {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::new(text, "a stamp of clocks: write it as in 17 8000:12,8001:4");
        let (lamport, vector) = text.split_once(' ').ok_or_else(wrong)?;
        let lamport = Lamport::new(digits(lamport).ok_or_else(wrong)?);
        Ok(Self { lamport, vector: Arc::new(vector.parse()?) })
    }
}

/// A node's two clocks.
#[derive(Debug, Clone)]
pub struct Clocks {
    id: NodeId,
    now: Stamp,
}

impl Clocks {
    /// Clocks of a node whose process has just started.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self { id, now: Stamp::default() }
    }

    /// An event of this node's own, a send among them: the stamp is the event's, and what its message carries.
    pub fn tick(&mut self) -> Stamp {
        self.now.lamport.tick();
        Arc::make_mut(&mut self.now.vector).tick(self.id);
        self.now.clone()
    }

    /// A message is received: the stamp is the receipt's.
    pub fn receive(&mut self, theirs: &Stamp) -> Stamp {
        self.now.lamport.merge(theirs.lamport);
        Arc::make_mut(&mut self.now.vector).merge(&theirs.vector);
        self.tick()
    }

    /// What the clocks show: the stamp of the last event.
    #[must_use]
    pub const fn now(&self) -> &Stamp {
        &self.now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn clock(text: &str) -> VectorClock {
        text.parse().unwrap()
    }

    #[test]
    fn relations() {
        for (one, other, relation) in [
            ("", "", Relation::Equal),
            ("", "1:1", Relation::Before),
            ("1:1,2:3", "1:1,2:3", Relation::Equal),
            ("1:1,2:3", "1:2,2:3", Relation::Before),
            ("1:1,2:3", "2:3", Relation::After),
            ("1:1", "2:1", Relation::Concurrent),
            ("1:2,2:1", "1:1,2:2", Relation::Concurrent),
        ] {
            assert_eq!(clock(one).compare(&clock(other)), relation, "{one} against {other}");
        }
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [",", "1:1,", "1", "1:", ":1", "0:1", "1:0", "2:1,1:1", "1:1,1:2", "1:-1", "1:18446744073709551615"]
        {
            assert!(text.parse::<VectorClock>().is_err(), "{text}");
        }
        let many: Vec<String> = (1..=MAX_ENTRIES + 1).map(|node| format!("{node}:1")).collect();
        assert!(many.join(",").parse::<VectorClock>().is_err());
        assert!(many[1..].join(",").parse::<VectorClock>().is_ok());
        for text in ["", "5", "x 1:1", " 1:1", "-1 1:1"] {
            assert!(text.parse::<Stamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_message_uses_a_clock_up() {
        let mut clocks = Clocks::new(node(1));
        clocks.receive(&format!("{MAX} 1:{MAX},2:{MAX},3:7").parse().unwrap());
        assert_eq!(clocks.now().to_string(), "1 1:1,3:7");
        clocks.receive(&format!("{MAX_LEAP} 2:{MAX_LEAP}").parse().unwrap());
        assert_eq!(clocks.now().to_string(), format!("{} 1:2,2:{MAX_LEAP},3:7", MAX_LEAP + 1));
        let mut last = Lamport::new(u64::MAX);
        last.tick();
        assert_eq!(last.number(), MAX);
    }

    /// What happened in a run, one event a step: at which node, and if a message came, the stamp of its send.
    fn play(steps: &[(u8, Option<u8>)]) -> Vec<(NodeId, Option<usize>, Stamp)> {
        let mut clocks: Vec<Clocks> = (1..=4).map(|id| Clocks::new(node(id))).collect();
        let mut events: Vec<(NodeId, Option<usize>, Stamp)> = Vec::new();
        for &(at, heard) in steps {
            let clocks = &mut clocks[usize::from(at % 4)];
            let heard = heard.map(usize::from).filter(|&event| event < events.len());
            let stamp = match heard {
                Some(event) => clocks.receive(&events[event].2),
                None => clocks.tick(),
            };
            events.push((clocks.id, heard, stamp));
        }
        events
    }

    proptest! {
        /// The definition itself, computed the slow way: the order in a node, and from a send to its receipt.
        #[test]
        fn vector_clocks_tell_exactly_what_could_have_caused_what(steps in prop::collection::vec(any::<(u8, Option<u8>)>(), 1..40)) {
            let events = play(&steps);
            let mut causes: Vec<std::collections::BTreeSet<usize>> = Vec::new();
            for (at, (node, heard, _)) in events.iter().enumerate() {
                let earlier = events[..at].iter().rposition(|(other, ..)| other == node);
                let mut all = std::collections::BTreeSet::new();
                for cause in earlier.into_iter().chain(*heard) {
                    all.insert(cause);
                    all.extend(causes[cause].iter().copied());
                }
                causes.push(all);
            }
            for (one, (_, _, first)) in events.iter().enumerate() {
                for (two, (_, _, second)) in events.iter().enumerate() {
                    let expected = match (causes[two].contains(&one), causes[one].contains(&two)) {
                        (true, _) => Relation::Before,
                        (_, true) => Relation::After,
                        _ if one == two => Relation::Equal,
                        _ => Relation::Concurrent,
                    };
                    prop_assert_eq!(first.vector.compare(&second.vector), expected);
                    prop_assert!(expected != Relation::Before || first.lamport < second.lamport);
                }
            }
        }

        #[test]
        fn stamps_survive_the_wire(steps in prop::collection::vec(any::<(u8, Option<u8>)>(), 1..20)) {
            for (_, _, stamp) in play(&steps) {
                prop_assert_eq!(stamp.to_string().parse::<Stamp>().unwrap(), stamp);
            }
        }
    }
}
