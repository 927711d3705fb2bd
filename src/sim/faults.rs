//! What can go wrong, how often in a given seed, and which of it is let through.
//!
//! Swarm testing: every fault is off in half of the seeds, so that some seeds know only loss, some only crashes, and some
//! everything at once. Each fault draws from a stream of its own, and everything about a strike is decided by one number
//! drawn with it: so a run with one fault turned off, or with some of its strikes left out, is the same run up to the
//! first strike that is missing. That is what lets [`super::shrink`] take faults away.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// One kind of fault. What "the occasion" is stands beside each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A message is lost; each direction of each link has a rate of its own. Each message.
    Loss,
    /// A message arrives twice. Each message, but for those that nodes never send twice
    /// ([`crate::protocol::strong::Message::is_sent_once`]).
    Duplication,
    /// A message takes longer, now and then very much. Each message.
    Delay,
    /// A message need not wait for those sent before it on its link. Each message.
    Reorder,
    /// Links are cut, in one of the shapes of [`super::network::Shape`], and mend after a while. Each tick.
    Cut,
    /// A node is stopped (SIGSTOP) and goes on later: what was sent to it waits. Each tick of a node.
    Pause,
    /// A node dies, at a tick or in the middle of a batch; what it had not synced is lost, in part. Each tick of a node,
    /// and each batch.
    Crash,
    /// A crash leaves a record half written: recovery cuts it off. Each crash.
    Tear,
    /// A record that was synced is damaged: the node notices when it starts, and stays down. Each crash of a node, as
    /// long as a majority is sound.
    Rot,
    /// The disk comes back as it was some time ago. Each crash. **Off unless asked for by name**: the store cannot
    /// notice it (see [`super::disk`]), and single-decree Paxos does not survive it.
    Stale,
    /// The disk takes its time; what comes meanwhile joins the batch. Each batch.
    Sync,
    /// A node's clock stands still for a while, or jumps ahead. Each tick of a node.
    Clock,
    /// The lab is restarted, most of its nodes at once: a new generation. Each tick.
    Restart,
    /// The disk is lost, and the node comes back with an empty one. Each crash of a node with a replicated log, as long
    /// as a majority is left that may vote, and nothing is lost that the others lack (see `sim::check::log`).
    Wipe,
    /// A disk is full: for a while there is only a reserve; or a batch cannot be saved, and the node goes back to what is on
    /// its disk, and is out of everything for a while. Each batch of which something must be saved.
    Full,
}

impl Fault {
    /// All of them, in the order of their indices.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Loss,
        Self::Duplication,
        Self::Delay,
        Self::Reorder,
        Self::Cut,
        Self::Pause,
        Self::Crash,
        Self::Tear,
        Self::Rot,
        Self::Stale,
        Self::Sync,
        Self::Clock,
        Self::Restart,
        Self::Wipe,
        Self::Full,
    ];
    /// How many there are.
    pub const COUNT: usize = 15;

    /// Its name, as `--faults` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplication => "duplication",
            Self::Delay => "delay",
            Self::Reorder => "reorder",
            Self::Cut => "cut",
            Self::Pause => "pause",
            Self::Crash => "crash",
            Self::Tear => "tear",
            Self::Rot => "rot",
            Self::Stale => "stale",
            Self::Sync => "sync",
            Self::Clock => "clock",
            Self::Restart => "restart",
            Self::Wipe => "wipe",
            Self::Full => "full",
        }
    }

    /// How often it strikes at most, in thousandths of its occasions.
    const fn most(self) -> u32 {
        match self {
            Self::Loss | Self::Duplication => 250,
            Self::Delay | Self::Reorder | Self::Sync => 1000,
            Self::Cut => 20,
            Self::Pause | Self::Clock => 6,
            Self::Crash | Self::Full => 12,
            Self::Tear => 600,
            Self::Rot | Self::Wipe => 150,
            Self::Stale => 300,
            Self::Restart => 3,
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Which strikes are let through: for each fault those numbered `from..to`, counted from 0 in each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter([(u32, u32); Fault::COUNT]);

impl Filter {
    const ANY: (u32, u32) = (0, u32::MAX);

    /// Nothing goes wrong.
    pub const NONE: Self = Self([(0, 0); Fault::COUNT]);

    /// The strikes of a fault that are let through.
    #[must_use]
    pub const fn window(&self, fault: Fault) -> (u32, u32) {
        self.0[fault.index()]
    }

    /// The same, but for one fault.
    #[must_use]
    pub const fn with(mut self, fault: Fault, window: (u32, u32)) -> Self {
        self.0[fault.index()] = window;
        self
    }

    const fn lets(&self, fault: Fault, number: u32) -> bool {
        let (from, to) = self.0[fault.index()];
        from <= number && number < to
    }
}

impl Default for Filter {
    /// Everything that the protocols must survive.
    fn default() -> Self {
        Self([Self::ANY; Fault::COUNT]).with(Fault::Stale, (0, 0))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("all");
        }
        let mut first = true;
        for fault in Fault::ALL {
            let (from, to) = self.window(fault);
            if from >= to {
                continue;
            }
            f.write_str(if first { "" } else { "," })?;
            first = false;
            match (from, to) {
                Self::ANY => f.write_str(fault.name())?,
                (from, u32::MAX) => write!(f, "{}={from}..", fault.name())?,
                (from, to) => write!(f, "{}={from}..{to}", fault.name())?,
            }
        }
        f.write_str(if first { "none" } else { "" })
    }
}

impl FromStr for Filter {
    type Err = String;

    /// Reads `all`, `none`, or names with commas between them; `crash=2..3` lets only the third crash through.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut filter = Self::NONE;
        for word in text.split(',') {
            let (name, window) = word.split_once('=').map_or((word, None), |(name, window)| (name, Some(window)));
            if window.is_none() && matches!(name, "all" | "none") {
                filter = if name == "all" { Self::default() } else { Self::NONE };
                continue;
            }
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| {
                let names: Vec<&str> = Fault::ALL.into_iter().map(Fault::name).collect();
                format!("'{name}' is no fault; there are all, none, {}", names.join(", "))
            })?;
            let window = window.map_or(Some(Self::ANY), |window| {
                let (from, to) = window.split_once("..")?;
                Some((from.parse().ok()?, if to.is_empty() { u32::MAX } else { to.parse().ok()? }))
            });
            let window =
                window.ok_or_else(|| format!("'{word}' should look like {name}=2..3: the third strike only"))?;
            filter = filter.with(fault, window);
        }
        Ok(filter)
    }
}

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.to_string()
    }
}

/// The faults of one seed: how often each strikes, and from which stream it draws.
#[derive(Debug)]
pub(super) struct Chances {
    rates: [u32; Fault::COUNT],
    streams: [Pcg64Mcg; Fault::COUNT],
    /// How often each has struck, whether or not that was let through.
    struck: [u32; Fault::COUNT],
    filter: Filter,
}

/// All chance about one strike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fortune(u64);

impl Chances {
    /// A swarm: each fault is off in half of the seeds.
    pub(super) fn draw(rng: &mut Pcg64Mcg, filter: Filter) -> Self {
        // Faults that were added later draw apart, so that all earlier seeds still give the runs that they gave.
        let mut apart = Pcg64Mcg::seed_from_u64(rng.clone().random());
        let mut further = Pcg64Mcg::seed_from_u64(apart.clone().random());
        let rates = Fault::ALL.map(|fault| {
            let rng = match fault {
                Fault::Full => &mut further,
                Fault::Wipe => &mut apart,
                _ => &mut *rng,
            };
            let (on, rate) = (rng.random_bool(0.5), rng.random_range(1..=fault.most()));
            if on && filter.window(fault) != (0, 0) { rate } else { 0 }
        });
        let streams = Fault::ALL.map(|fault| {
            let rng = match fault {
                Fault::Full => &mut further,
                Fault::Wipe => &mut apart,
                _ => &mut *rng,
            };
            Pcg64Mcg::seed_from_u64(rng.random())
        });
        Self { rates, streams, struck: [0; Fault::COUNT], filter }
    }

    pub(super) const fn rate(&self, fault: Fault) -> u32 {
        self.rates[fault.index()]
    }

    /// An occasion for a fault: does it strike?
    pub(super) fn strikes(&mut self, fault: Fault) -> Option<Fortune> {
        self.strikes_at(fault, self.rates[fault.index()])
    }

    /// The same, with a rate of one's own.
    pub(super) fn strikes_at(&mut self, fault: Fault, thousandths: u32) -> Option<Fortune> {
        if thousandths == 0 {
            return None;
        }
        let stream = &mut self.streams[fault.index()];
        if !stream.random_ratio(thousandths.min(1000), 1000) {
            return None;
        }
        let fortune = Fortune(stream.next_u64());
        let number = self.struck[fault.index()];
        self.struck[fault.index()] = number.saturating_add(1);
        self.filter.lets(fault, number).then_some(fortune)
    }
}

impl Fortune {
    /// One of these numbers. Each call decides something else.
    pub(super) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        range.start() + (self.0 >> 20) % (range.end() - range.start() + 1)
    }

    /// Whether it is one of so many.
    pub(super) fn is_one_of(&mut self, many: u64) -> bool {
        self.within(1..=many) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_they_are_shown() {
        for text in ["all", "none", "loss", "loss,crash=2..3,clock=7..", "stale"] {
            assert_eq!(text.parse::<Filter>().unwrap().to_string(), text);
        }
        assert_eq!("all,stale".parse::<Filter>().unwrap().window(Fault::Stale), Filter::ANY);
        assert_eq!("none".parse(), Ok(Filter::NONE));
        for (text, says) in
            [("", "'' is no fault"), ("fire", "there are all, none, loss"), ("loss=2", "look like loss=2..3")]
        {
            let error = text.parse::<Filter>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn indices_follow_the_list() {
        for (at, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault.index(), at);
        }
    }

    #[test]
    fn a_window_takes_strikes_away_and_moves_none() {
        let strikes = |filter: Filter| -> Vec<Option<u64>> {
            let mut chances = Chances::draw(&mut Pcg64Mcg::seed_from_u64(3), filter);
            let fortune = |mut fortune: Fortune| fortune.within(0..=1_000_000);
            (0..300).map(|_| chances.strikes_at(Fault::Crash, 100).map(fortune)).collect()
        };
        let all = strikes(Filter::default());
        let some = strikes("crash=2..5".parse().unwrap());
        let numbered: Vec<usize> = (0..300).filter(|&at| all[at].is_some()).collect();
        assert!(numbered.len() > 10);
        for at in 0..300 {
            let expected = if numbered[2..5].contains(&at) { all[at] } else { None };
            assert_eq!(some[at], expected, "occasion {at}");
        }
    }
}
