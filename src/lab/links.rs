//! Links: per receiver, what goes wrong on the way from this node: cut, late, or lost by chance.
//!
//! A fault of a link stands in the sending node and is about one direction. It concerns all messages of this node to
//! another, whatever their kind, and also the answers that travel back with the other's calls: a lost answer is left
//! out, and a late one goes at once with a note that says how late, which the receiver honours. What a node says to
//! itself passes no link. Every fault ends by itself after a while, so that a forgotten cut does not stay.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::node::input::Arrival;
use crate::protocol::types::NodeId;
use crate::rpc::peers::Outgoing;

/// The longest delay of a link.
pub const MAX_DELAY: Duration = Duration::from_secs(60);
/// Late messages of a node: what comes when so many are under way is lost, as in a network whose buffers are full.
const MAX_LATE: usize = 4096;

/// All links of a node.
#[derive(Debug)]
pub struct Links {
    /// Whether any fault stands or any message is late: a node without them does not take the lock.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    links: BTreeMap<NodeId, Link>,
    /// By when they are due; the number keeps apart what is due at once, in its order.
    late: BTreeMap<(Instant, u64), Late>,
    next: u64,
    rng: Pcg64Mcg,
}

/// What is wrong with the way to one node, each until its time.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    cut: Option<Instant>,
    delay: Option<(Duration, Instant)>,
    loss: Option<(u8, Instant)>,
}

/// A message under way for longer than usual.
#[derive(Debug)]
pub(crate) enum Late {
    /// One of this node.
    Leaves(Outgoing),
    /// An answer that came back with a call of this node.
    Arrives(Arrival),
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes.
    Passes,
    /// It arrives so much later.
    Late(Duration),
    /// It does not arrive.
    Lost,
}

/// One link as it stands, if anything is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The receiver.
    pub to: NodeId,
    /// Whether it is cut.
    pub cut: bool,
    /// How much later messages arrive.
    pub delay: Option<Duration>,
    /// How many of a hundred are lost, by chance.
    pub loss_percent: Option<u8>,
    /// How long until the last of these faults ends by itself.
    pub ends_in: Duration,
}

impl Links {
    /// Links on which nothing is wrong; the seed decides which messages a lossy one loses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (links, late) = (BTreeMap::new(), BTreeMap::new());
        let state = State { links, late, next: 0, rng: Pcg64Mcg::seed_from_u64(seed) };
        Self { any: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// Nothing arrives at a node for so long.
    pub fn cut(&self, to: NodeId, for_at_most: Duration) {
        self.set(to, |link| link.cut = Some(Instant::now() + for_at_most));
    }

    /// For so long, everything arrives later, by at most [`MAX_DELAY`].
    pub fn delay(&self, to: NodeId, delay: Duration, for_at_most: Duration) {
        self.set(to, |link| link.delay = Some((delay.min(MAX_DELAY), Instant::now() + for_at_most)));
    }

    /// For so long, so many of a hundred messages do not arrive.
    pub fn lose(&self, to: NodeId, percent: u8, for_at_most: Duration) {
        self.set(to, |link| link.loss = Some((percent, Instant::now() + for_at_most)));
    }

    fn set(&self, to: NodeId, change: impl FnOnce(&mut Link)) {
        let mut state = self.state.lock();
        change(state.links.entry(to).or_default());
        self.any.store(true, Ordering::Release);
    }

    /// Ends the faults of the link to a node, or of all; says how many links that were. What is late stays late.
    pub fn heal(&self, to: Option<NodeId>) -> usize {
        let mut state = self.state.lock();
        state.expire(Instant::now());
        let before = state.links.len();
        match to {
            Some(to) => _ = state.links.remove(&to),
            None => state.links.clear(),
        }
        let healed = before - state.links.len();
        self.any.store(!state.is_quiet(), Ordering::Release);
        healed
    }

    /// Ends all faults, and loses what is late: it was said before a restart.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.links.clear();
        state.late.clear();
        self.any.store(false, Ordering::Release);
    }

    /// What becomes of a message to a node that is sent now.
    #[must_use]
    pub fn fate(&self, to: NodeId) -> Fate {
        if !self.any.load(Ordering::Acquire) {
            return Fate::Passes;
        }
        let mut state = self.state.lock();
        state.expire(Instant::now());
        let Some(&link) = state.links.get(&to) else { return Fate::Passes };
        let mut loses = |(percent, _): (u8, Instant)| state.rng.random_range(0..100) < percent;
        match link {
            Link { cut: Some(_), .. } => Fate::Lost,
            Link { loss: Some(loss), .. } if loses(loss) => Fate::Lost,
            Link { delay: Some((delay, _)), .. } => Fate::Late(delay),
            _ => Fate::Passes,
        }
    }

    /// Keeps a message until it is due; false if too many are late already, and it is lost.
    pub(crate) fn postpone(&self, late: Late, delay: Duration) -> bool {
        let mut state = self.state.lock();
        if state.late.len() >= MAX_LATE {
            return false;
        }
        let key = (Instant::now() + delay.min(MAX_DELAY), state.next);
        state.next += 1;
        state.late.insert(key, late);
        self.any.store(true, Ordering::Release);
        true
    }

    /// Takes out the late messages that are due, in the order in which they are.
    #[must_use]
    pub(crate) fn due(&self) -> Vec<Late> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let now = Instant::now();
        state.expire(now);
        let still_late = state.late.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.late, still_late);
        self.any.store(!state.is_quiet(), Ordering::Release);
        due.into_values().collect()
    }

    /// The links with which something is wrong.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.expire(now);
        let standing = |(&to, link): (&NodeId, &Link)| Standing {
            to,
            cut: link.cut.is_some(),
            delay: link.delay.map(|(delay, _)| delay),
            loss_percent: link.loss.map(|(percent, _)| percent),
            ends_in: link.ends().map_or(Duration::ZERO, |end| end.saturating_duration_since(now)),
        };
        state.links.iter().map(standing).collect()
    }
}

impl State {
    fn expire(&mut self, now: Instant) {
        self.links.retain(|_, link| {
            link.cut = link.cut.filter(|end| *end > now);
            link.delay = link.delay.filter(|(_, end)| *end > now);
            link.loss = link.loss.filter(|(_, end)| *end > now);
            link.ends().is_some()
        });
    }

    fn is_quiet(&self) -> bool {
        self.links.is_empty() && self.late.is_empty()
    }
}

impl Link {
    /// When the last of its faults ends; `None` if there is none.
    fn ends(&self) -> Option<Instant> {
        let ends = [self.cut, self.delay.map(|(_, end)| end), self.loss.map(|(_, end)| end)];
        ends.into_iter().flatten().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::clock::Stamp;
    use crate::protocol::log;

    const LONG: Duration = Duration::from_secs(600);

    fn node(number: u32) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn late(to: u32) -> Late {
        Late::Leaves(Outgoing {
            to: node(to),
            generation: 1,
            clock: Stamp::default(),
            message: log::Message::Blank.into(),
        })
    }

    fn receivers(due: Vec<Late>) -> Vec<u32> {
        let receiver = |late| match late {
            Late::Leaves(outgoing) => outgoing.to.number(),
            Late::Arrives(arrival) => arrival.sender.from.number(),
        };
        due.into_iter().map(receiver).collect()
    }

    #[test]
    fn a_cut_is_about_one_direction_and_one_node() {
        let links = Links::new(1);
        assert_eq!(links.fate(node(1)), Fate::Passes);
        links.cut(node(1), LONG);
        links.delay(node(1), Duration::from_millis(5), LONG);
        assert_eq!(links.fate(node(1)), Fate::Lost);
        assert_eq!(links.fate(node(2)), Fate::Passes);
        assert_eq!((links.heal(Some(node(2))), links.heal(None), links.heal(None)), (0, 1, 0));
        assert_eq!(links.fate(node(1)), Fate::Passes);
    }

    #[test]
    fn faults_end_by_themselves() {
        let links = Links::new(1);
        links.cut(node(1), Duration::ZERO);
        links.lose(node(1), 100, Duration::ZERO);
        links.delay(node(2), Duration::from_millis(7), LONG);
        assert_eq!(links.fate(node(1)), Fate::Passes);
        let standing = links.standing();
        assert_eq!((standing.len(), standing[0].to), (1, node(2)));
        assert_eq!((standing[0].cut, standing[0].delay), (false, Some(Duration::from_millis(7))));
        assert!(standing[0].ends_in > LONG / 2 && standing[0].ends_in <= LONG);
    }

    #[test]
    fn a_lossy_link_loses_about_so_many() {
        let links = Links::new(7);
        links.lose(node(1), 30, LONG);
        let lost = (0..10_000).filter(|_| links.fate(node(1)) == Fate::Lost).count();
        assert!((2500..3500).contains(&lost), "{lost}");
        links.lose(node(1), 0, LONG);
        assert!((0..1000).all(|_| links.fate(node(1)) == Fate::Passes));
    }

    #[test]
    fn late_messages_keep_their_order_and_are_bounded() {
        let links = Links::new(1);
        links.delay(node(1), 2 * MAX_DELAY, LONG);
        assert_eq!(links.fate(node(1)), Fate::Late(MAX_DELAY));
        links.heal(None);
        for to in [3, 1, 2] {
            assert!(links.postpone(late(to), Duration::ZERO));
        }
        assert!(links.postpone(late(9), MAX_DELAY));
        assert_eq!(receivers(links.due()), [3, 1, 2]);
        assert_eq!(receivers(links.due()), [] as [u32; 0]);
        for _ in 1..MAX_LATE {
            assert!(links.postpone(late(5), MAX_DELAY));
        }
        assert!(!links.postpone(late(5), MAX_DELAY), "one too many is lost");
        links.forget();
        assert!(links.postpone(late(5), Duration::ZERO), "a restart forgets them");
    }
}
