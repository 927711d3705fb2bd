//! Who coordinates: elections, with the real log's Prepare and Promise behind them.
//!
//! Clients hold elections by hand now and then, and append entries, so that some nodes know more than others. No disk is
//! damaged or lost here: what that means for an epoch is the log's matter. The rules are named in [`rule`].
//!
//! # Liveness
//!
//! A healed core has one coordinator after a while ([`LATE_TICKS`] for what was under way before, then [`SOON_TICKS`]),
//! and keeps it ten times as long, whatever goes on around it: nodes outside are deaf, mute, cut off in any shape, stopped,
//! and come and go. Two things may still change it, and neither is asked for: who stays outside and coordinates may leave
//! at any time; and a promise of a higher epoch, given before, must be outbid when it comes to light. With `preempt` all
//! must have healed, and the highest rank must coordinate, before it stays.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::{Call, Subject, Verdict, Who, ensure};
use crate::protocol::bully::{self, Announcement, Answer, Message, State};
use crate::protocol::durable::Durable;
use crate::protocol::host::{Host, Sender};
use crate::protocol::log::memory::Record as LogRecord;
use crate::protocol::log::{Message as LogMessage, Options as LogOptions};
use crate::protocol::quorum::Members;
use crate::protocol::strong::{self, Snapshots};
use crate::protocol::types::{Ballot, NodeId, RequestId};
use crate::protocol::{Effect, Message as HostMessage, Record};
use crate::service::command::{Action, Command};
use crate::sim::LIVENESS_TICKS;
use crate::sim::report::Tally;

/// The names of the invariants.
mod rule {
    pub(super) const ONE_COORDINATOR: &str = "an epoch has at most one coordinator, in one of its lives";
    pub(super) const EPOCHS_GROW: &str = "epochs grow, also across a restart";
    pub(super) const SAVED_FIRST: &str = "nothing is heard of an epoch before it is saved";
    pub(super) const MAJORITY: &str = "a majority has promised an epoch before it is used";
    pub(super) const ELIGIBLE: &str = "only who hears a majority in both directions stands, takes over, and wins";
    pub(super) const LEADS: &str = "who leads the log coordinates";
    pub(super) const FEW: &str = "an election costs at most c·n² messages";
    pub(super) const SOON: &str = "when all are healed, one coordinates within a bound";
    pub(super) const KEPT: &str = "a core keeps its coordinator";
}

/// Messages of elections may be so late.
const LATE_TICKS: u64 = 900;
/// Then all that are healed follow one coordinator within so many ticks ...
const SOON_TICKS: u64 = 100;
/// ... and keep it for so many.
const KEPT_TICKS: u64 = 10 * SOON_TICKS;
/// Messages about elections that a healed cluster sends, by n², until it has its coordinator.
const C: u64 = 16;

/// An epoch, in a generation: each is a world of its own.
type Place = (u64, Ballot);

/// What is known of the elections of one world.
#[derive(Debug)]
pub(in crate::sim) struct Watch {
    members: Members,
    options: strong::Options,
    /// How many of a thousand ticks bring an election by hand, and how many an entry.
    hands: u32,
    entries: u32,
    next_request: u64,
    epochs: BTreeMap<Place, Epoch>,
    nodes: BTreeMap<NodeId, Seen>,
    healing: Option<Healing>,
    tally: Tally,
}

/// What is known of one epoch.
#[derive(Debug, Default)]
struct Epoch {
    /// Whose disks promise it.
    promised: BTreeSet<NodeId>,
    /// Who coordinated in it, in which of its lives.
    coordinator: Option<(NodeId, u64)>,
    /// In which life its owner asked for it.
    asked: Option<u64>,
}

/// What was last seen of a node.
#[derive(Debug, Default)]
struct Seen {
    coordinator: Option<Place>,
    /// The rank that its log gives it.
    rank: (Option<Ballot>, u64),
    /// The epoch that its disk promises.
    promised: Option<Place>,
    /// The last epoch that it asked for.
    asked: Option<Place>,
}

/// Some nodes are in touch again.
#[derive(Debug)]
struct Healing {
    core: BTreeSet<NodeId>,
    ticks: u64,
    /// The epoch in which the core has its coordinator for good, and since when.
    kept: Option<(Place, u64)>,
    /// Messages about elections until then.
    messages: u64,
}

impl Watch {
    pub(in crate::sim) fn new(members: Members, rng: &mut Pcg64Mcg) -> Self {
        let bully = bully::Options { preempt: rng.random_ratio(1, 3), ..bully::Options::default() };
        let options = strong::Options { bully, log: LogOptions::default(), snapshots: Snapshots::default() };
        Self {
            options,
            hands: [0, 5, 30][rng.random_range(0..3)],
            entries: [0, 50, 300][rng.random_range(0..3)],
            next_request: 0,
            epochs: BTreeMap::new(),
            nodes: members.iter().map(|id| (id, Seen::default())).collect(),
            members,
            healing: None,
            tally: Tally::default(),
        }
    }

    fn seen(&mut self, node: NodeId) -> &mut Seen {
        self.nodes.entry(node).or_default()
    }

    /// A node asks others for an epoch: never in two lives, and each is above those before.
    fn asks(&mut self, who: Who, epoch: Ballot) -> Verdict {
        let place = (who.generation, epoch);
        let life = *self.epochs.entry(place).or_default().asked.get_or_insert(who.life);
        ensure(life == who.life, rule::EPOCHS_GROW, || {
            format!("{} asks for {epoch}, as it did in its life {life}", who.node)
        })?;
        let before = self.seen(who.node).asked.replace(place);
        ensure(before <= Some(place), rule::EPOCHS_GROW, || format!("{} asks for {epoch} after {before:?}", who.node))
    }

    /// Somebody hears of a coordinator.
    fn used(&mut self, node: NodeId, place: Place) -> Verdict {
        let majority = self.members.majority();
        let promised = &self.epochs.entry(place).or_default().promised;
        ensure(promised.len() >= majority, rule::MAJORITY, || {
            format!("{node} knows of a coordinator in {}, which {promised:?} promised", place.1)
        })
    }

    /// A coordinator says that it is one.
    fn coordinates(&mut self, who: Who, epoch: Ballot) -> Verdict {
        let known = &mut self.epochs.entry((who.generation, epoch)).or_default().coordinator;
        let known = *known.get_or_insert((who.node, who.life));
        ensure(known == (who.node, who.life) && epoch.node == who.node, rule::ONE_COORDINATOR, || {
            format!("{} coordinates in {epoch}, and {} did in its life {}", who.node, known.0, known.1)
        })
    }

    /// Whether nobody has reason to want another coordinator than the one of this epoch.
    fn is_final(&self, place: Place, healing: &Healing) -> bool {
        let core = || healing.core.iter().filter_map(|id| self.nodes.get(id).map(|seen| (*id, seen)));
        let agreed = core().all(|(_, seen)| seen.coordinator == Some(place));
        let outbid = self.nodes.values().any(|seen| seen.promised > Some(place));
        let best = core().map(|(id, seen)| (seen.rank, id)).max();
        let equal = core().all(|(_, seen)| seen.rank.0 == Some(place.1));
        let by_rank = equal && best.is_some_and(|(_, id)| id == place.1.node);
        let all = healing.core.len() == self.members.len();
        // Outside the core, elections by hand and by pre-emption go on, and whoever hears of one stands, too.
        let restless = self.options.bully.preempt || (self.hands > 0 && !all);
        agreed && !outbid && healing.core.contains(&place.1.node) && (!restless || (all && by_rank))
    }

    fn judge_healing(&self, node: NodeId) -> Verdict {
        let Some(healing) = &self.healing else { return Ok(()) };
        let all = healing.core.len() == self.members.len() && !self.options.bully.preempt;
        ensure(!all || healing.kept.is_some() || healing.ticks <= LATE_TICKS + SOON_TICKS, rule::SOON, || {
            let views: Vec<_> = self.nodes.iter().map(|(id, seen)| (id.number(), seen.coordinator)).collect();
            format!("{} ticks after all were healed they see {views:?}", healing.ticks)
        })?;
        let n = self.members.len() as u64;
        ensure(!all || healing.messages <= C * n * n, rule::FEW, || {
            format!("{} messages about elections among {n} nodes", healing.messages)
        })?;
        let Some((epoch, since)) = healing.kept.filter(|_| healing.core.contains(&node)) else { return Ok(()) };
        let view = self.nodes.get(&node).and_then(|seen| seen.coordinator);
        ensure(view == Some(epoch), rule::KEPT, || {
            format!("{epoch:?} was everybody's for {} ticks, and {node} sees {view:?}", healing.ticks - since)
        })
    }

    fn weigh(&mut self, message: &Message) {
        if let Some(healing) = self.healing.as_mut().filter(|healing| healing.kept.is_none())
            && !matches!(message, Message::Heartbeat(_))
        {
            healing.messages += 1;
        }
    }
}

impl Subject for Watch {
    fn strong(&self) -> Option<strong::Options> {
        Some(self.options)
    }

    /// All may vote: a cluster that has been at work before.
    fn founding(&self) -> Option<Record> {
        Some(Record::Log(LogRecord::Prove))
    }

    /// No disk is lost here.
    fn may_lose(&self, _: NodeId, _: &[&Host]) -> bool {
        false
    }

    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        let at = members[rng.random_range(0..members.len())];
        if rng.random_ratio(self.hands, 1000) {
            return Some((at, Call::Elect));
        }
        if !rng.random_ratio(self.entries, 1000) {
            return None;
        }
        self.next_request += 1;
        let (request, deadline_ticks) = (RequestId(self.next_request), 100);
        let command = Command { request: None, time_ms: 0, author: at.number(), action: Action::Expire }.encode();
        Some((at, Call::Command { request, command, keyed: false, deadline_ticks }))
    }

    fn healed(&mut self) {
        self.healing = Some(Healing { core: BTreeSet::new(), ticks: 0, kept: None, messages: 0 });
    }

    /// Nothing is asked of a healed core: it only watches the clock.
    fn urge(&mut self, core: &[NodeId], _: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        let mut healing = self.healing.take()?;
        healing.core = core.iter().copied().collect();
        healing.ticks += 1;
        let place = core.first().and_then(|id| self.nodes.get(id)?.coordinator);
        if let Some(place) = place.filter(|_| healing.kept.is_none() && healing.ticks > LATE_TICKS)
            && self.is_final(place, &healing)
        {
            healing.kept = Some((place, healing.ticks));
        }
        self.healing = Some(healing);
        None
    }

    fn settled(&self, core: &[&Host]) -> Result<(), String> {
        let Some(healing) = &self.healing else { return Ok(()) };
        let views: BTreeSet<_> = core.iter().map(|host| host.strong().and_then(strong::Strong::leader)).collect();
        let late = healing.ticks > LATE_TICKS + SOON_TICKS;
        let agreed = views.len() == 1 && !views.contains(&None) && late;
        // What comes from outside may hold it up; when all are healed, `judge_healing` gives it less time than this.
        let is_over = healing.ticks + SOON_TICKS > LIVENESS_TICKS;
        let outside = |view: &Option<(NodeId, Ballot)>| view.is_some_and(|(node, _)| !healing.core.contains(&node));
        let some = core.len() < self.members.len();
        let may_change = some && (self.options.bully.preempt || self.hands > 0 || is_over || views.iter().all(outside));
        match healing.kept {
            Some((_, since)) if healing.ticks - since >= KEPT_TICKS || is_over => Ok(()),
            None if may_change && agreed => Ok(()),
            Some(((_, epoch), _)) => Err(format!("{epoch} has yet to last")),
            None => Err(format!("the nodes see {views:?}")),
        }
    }

    fn heard(&mut self, _: Who, _: Sender, message: &HostMessage) {
        if let HostMessage::Bully(Message::Election(_)) = message {
            self.tally.elections += 1;
        }
    }

    fn emitted(&mut self, who: Who, host: &Host, effect: &Effect) -> Verdict {
        let Effect::Send { message: HostMessage::Bully(message), .. } = effect else { return Ok(()) };
        self.weigh(message);
        let acts = match message {
            Message::Election(_) | Message::Coordinator(_) => true,
            Message::Answer(Answer { ok, .. }) => *ok == Some(who.node),
            Message::Heartbeat(_) | Message::Resign(_) => false,
        };
        let eligible = || host.strong().is_some_and(|strong| strong.bully().status().eligible);
        ensure(!acts || eligible(), rule::ELIGIBLE, || format!("{} says {message:?}", who.node))
    }

    fn stepped(&mut self, who: Who, host: &Host) -> Verdict {
        let Some(strong) = host.strong() else { return Ok(()) };
        let status = strong.bully().status();
        let stands = matches!(status.state, State::Electing | State::Won);
        ensure(status.eligible || !stands, rule::ELIGIBLE, || format!("{} is {:?}", who.node, status.state))?;
        let leads = strong.log().leads();
        let coordinates = status.epoch.filter(|_| status.state == State::Coordinating);
        ensure(leads.is_none() || leads == coordinates, rule::LEADS, || {
            format!("{} leads {leads:?} and coordinates {coordinates:?}", who.node)
        })?;
        let place = status.epoch.map(|epoch| (who.generation, epoch));
        let seen = self.seen(who.node);
        seen.rank = strong.log().memory().rank();
        let news = std::mem::replace(&mut seen.coordinator, place) != place;
        match place {
            // Its own promise may still be on its way to the disk, and it has told nobody.
            Some(_) if news && coordinates.is_some() => self.tally.epochs += 1,
            Some(place) if news => self.used(who.node, place)?,
            _ => {}
        }
        self.judge_healing(who.node)
    }

    fn saved(&mut self, node: NodeId, records: &[(u64, Record)]) -> Verdict {
        for (generation, record) in records {
            let Record::Log(
                LogRecord::Promise { epoch } | LogRecord::Sync { epoch, .. } | LogRecord::Install { epoch, .. },
            ) = record
            else {
                continue;
            };
            let place = (*generation, *epoch);
            self.epochs.entry(place).or_default().promised.insert(node);
            let before = self.seen(node).promised.replace(place);
            ensure(before <= Some(place), rule::EPOCHS_GROW, || format!("{node} promises {place:?} after {before:?}"))?;
        }
        Ok(())
    }

    fn sent(&mut self, who: Who, message: &HostMessage, disk: &Durable) -> Verdict {
        let epoch = match message {
            HostMessage::Log(LogMessage::Prepare { epoch }) => {
                self.asks(who, *epoch)?;
                *epoch
            }
            HostMessage::Log(LogMessage::Promise { epoch, .. }) => *epoch,
            HostMessage::Bully(Message::Coordinator(Announcement { epoch })) => {
                self.used(who.node, (who.generation, *epoch))?;
                self.coordinates(who, *epoch)?;
                *epoch
            }
            _ => return Ok(()),
        };
        let (kept, moved) = (disk.log.promised, disk.generation != who.generation);
        ensure(moved || kept >= Some(epoch), rule::SAVED_FIRST, || {
            format!("{} tells of {epoch} with {kept:?} on disk", who.node)
        })
    }

    fn crashed(&mut self, node: NodeId) {
        self.seen(node).coordinator = None;
    }

    fn recovered(&mut self, who: Who, host: &Host) -> Verdict {
        let promised = host.strong().and_then(|strong| strong.log().memory().promised);
        let promised = promised.map(|epoch| (who.generation, epoch));
        let saved = self.seen(who.node).promised.filter(|(generation, _)| *generation == who.generation);
        ensure(promised >= saved, rule::EPOCHS_GROW, || {
            format!("{} comes back with {promised:?} promised; saved was {saved:?}", who.node)
        })
    }

    fn count(&self, tally: &mut Tally) {
        *tally += self.tally;
    }
}
