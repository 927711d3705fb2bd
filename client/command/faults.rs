//! The commands that break links, hold messages and stop nodes.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::usage::{UsageError, shown};
use super::{Arguments, Port, whole_number};

/// Which of these commands a row of the help table is about; each is the first word of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultVerb {
    Partition,
    Cut,
    Heal,
    Delay,
    Drop,
    Hold,
    Release,
    Step,
    Pause,
    Resume,
    Faults,
}

/// The longest `delay`, which is what a node takes.
pub(crate) const MAX_DELAY: Duration = synod::lab::links::MAX_DELAY;

/// Some nodes: those named, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// All that there are.
    All,
    /// These.
    Ports(Vec<Port>),
}

/// Links: from each of some nodes to each of others, and back if `both`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Who sends.
    pub(crate) from: Ends,
    /// Who no longer hears it as it was.
    pub(crate) to: Ends,
    /// Whether the other direction is meant too.
    pub(crate) both: bool,
}

/// One thing to break or to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Cut all links between these parts.
    Partition(Vec<Vec<Port>>),
    /// Cut links.
    Cut(Way),
    /// Mend all links.
    Heal,
    /// Make links slow.
    Delay {
        /// By how much, in whole milliseconds.
        delay: Duration,
        /// Which.
        way: Way,
    },
    /// Make links lose messages by chance.
    Drop {
        /// So many of a hundred.
        percent: u32,
        /// Which.
        way: Way,
    },
    /// Hold messages of one kind back.
    Hold {
        /// The method's name: `accept`, `log.accept`.
        kind: String,
        /// On which links.
        way: Way,
    },
    /// Let go what is held, and hold no more.
    Release,
    /// Deliver the message that is held the longest.
    Step,
    /// Stop a node's process without its noticing.
    Pause(Port),
    /// Let it go on.
    Resume(Port),
    /// Say what is broken.
    Faults,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Ports(ports) => f.write_str(&comma_separated(ports)),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.from, if self.both { "<->" } else { "->" }, self.to)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(parts) => {
                let parts: Vec<String> = parts.iter().map(|ports| comma_separated(ports)).collect();
                write!(f, "partition {}", parts.join(" | "))
            }
            Self::Cut(way) => write!(f, "cut {way}"),
            Self::Heal => f.write_str("heal"),
            Self::Delay { delay, way } => write!(f, "delay {}ms {way}", delay.as_millis()),
            Self::Drop { percent, way } => write!(f, "drop {percent}% {way}"),
            Self::Hold { kind, way } => write!(f, "hold {kind} {way}"),
            Self::Release => f.write_str("release"),
            Self::Step => f.write_str("step"),
            Self::Pause(port) => write!(f, "pause {port}"),
            Self::Resume(port) => write!(f, "resume {port}"),
            Self::Faults => f.write_str("faults"),
        }
    }
}

fn comma_separated(ports: &[Port]) -> String {
    ports.iter().map(Port::to_string).collect::<Vec<_>>().join(",")
}

impl Arguments<'_> {
    /// What stands behind the first word of one of these commands.
    pub(super) fn fault(mut self, verb: FaultVerb) -> Result<Fault, UsageError> {
        let fault = match verb {
            FaultVerb::Partition => Fault::Partition(self.parts()?),
            FaultVerb::Cut => Fault::Cut(self.way()?),
            FaultVerb::Heal => Fault::Heal,
            FaultVerb::Delay => Fault::Delay { delay: self.milliseconds()?, way: self.way()? },
            FaultVerb::Drop => Fault::Drop { percent: self.percent()?, way: self.way()? },
            FaultVerb::Hold => Fault::Hold { kind: self.kind()?, way: self.way()? },
            FaultVerb::Release => Fault::Release,
            FaultVerb::Step => Fault::Step,
            FaultVerb::Pause => Fault::Pause(self.port("port")?),
            FaultVerb::Resume => Fault::Resume(self.port("port")?),
            FaultVerb::Faults => Fault::Faults,
        };
        self.end()?;
        Ok(fault)
    }

    /// `8000,8001 | 8002,8003`: at least two parts, and no port twice.
    fn parts(&mut self) -> Result<Vec<Vec<Port>>, UsageError> {
        let rest = self.take_rest();
        let parts: Vec<&str> = rest.split('|').collect();
        if parts.len() < 2 {
            return Err(self.error("a partition has at least two parts, with '|' between them"));
        }
        let parts = parts.into_iter().map(|part| self.ports(part)).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::new();
        match parts.iter().flatten().find(|port| !seen.insert(**port)) {
            Some(port) => Err(self.error(&format!("{port} is in two parts"))),
            None => Ok(parts),
        }
    }

    /// `8000 -> 8001,8002`, `8000 <-> all`.
    fn way(&mut self) -> Result<Way, UsageError> {
        let rest = self.take_rest();
        let (both, arrow) = if rest.contains("<->") { (true, "<->") } else { (false, "->") };
        let Some((from, to)) = rest.split_once(arrow) else {
            return Err(self.error("a link is written 8000 -> 8001, and 8000 <-> 8001 is both directions"));
        };
        let (from, to) = (self.ends(from)?, self.ends(to)?);
        if let (Ends::Ports(from), Ends::Ports(to)) = (&from, &to)
            && from == to
            && from.len() == 1
        {
            return Err(self.error(&format!("{} always hears itself: a link has two ends", from[0])));
        }
        Ok(Way { from, to, both })
    }

    fn ends(&self, text: &str) -> Result<Ends, UsageError> {
        if text.trim().eq_ignore_ascii_case("all") { Ok(Ends::All) } else { self.ports(text).map(Ends::Ports) }
    }

    fn ports(&self, text: &str) -> Result<Vec<Port>, UsageError> {
        text.split(',').map(|port| self.to_port(port.trim(), "port")).collect()
    }

    fn take_rest(&mut self) -> String {
        let rest = self.words.rest().trim().to_owned();
        self.words.finish();
        rest
    }

    /// `200ms`, `2s`.
    fn milliseconds(&mut self) -> Result<Duration, UsageError> {
        let word = self.word("delay")?;
        let number = |unit| word.raw.strip_suffix(unit).filter(|digits| !digits.is_empty()).and_then(whole_number);
        let millis = number("ms").or_else(|| number("s")?.checked_mul(1000));
        let delay = millis.map(|millis| Duration::from_millis(millis.into())).filter(|delay| *delay <= MAX_DELAY);
        delay.ok_or_else(|| {
            let longest = MAX_DELAY.as_secs();
            self.error(&format!("a delay is written 200ms or 2s, up to {longest}s, not '{}'", shown(word.raw)))
        })
    }

    /// `30%`.
    fn percent(&mut self) -> Result<u32, UsageError> {
        let word = self.word("percentage")?;
        let number = word.raw.strip_suffix('%').filter(|digits| !digits.is_empty()).and_then(whole_number);
        number.filter(|percent| *percent <= 100).ok_or_else(|| {
            self.error(&format!("how much is lost is written 30%, from 0% to 100%, not '{}'", shown(word.raw)))
        })
    }

    fn kind(&mut self) -> Result<String, UsageError> {
        let word = self.word("kind of message")?;
        let kind = word.raw.to_lowercase();
        if kind.parse::<synod::rpc::peers::Kind>().is_ok() {
            return Ok(kind);
        }
        Err(self.error(&format!(
            "what is held is prepare, accept, commit, learn, or one of the log's or the election's messages such as \
             log.accept or bully.heartbeat, not '{}'",
            shown(word.raw)
        )))
    }
}
