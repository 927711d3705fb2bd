//! The clients and the invariants of the eventual board.
//!
//! Generations are worlds apart, so everything is kept per generation. The rules are named in [`rule`].

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::{BoardCall, Call, Subject, Verdict, Who, ensure};
use crate::protocol::durable::Durable;
use crate::protocol::eventual::memory::{Memory, Operation, Stamp};
use crate::protocol::eventual::message::Have;
use crate::protocol::eventual::{Message, Options};
use crate::protocol::host::Host;
use crate::protocol::types::NodeId;
use crate::protocol::{Effect, Message as HostMessage, Record};
use crate::sim::report::Tally;

/// The names of the invariants.
mod rule {
    pub(super) const WRITTEN: &str = "no value appears that nobody wrote";
    pub(super) const ONE_OPERATION: &str = "a stamp names one operation";
    pub(super) const ABOVE: &str = "an operation is stamped above all that its server has seen";
    pub(super) const SAVED_FIRST: &str = "nothing is heard of an operation, or that it is covered, before it is saved";
    pub(super) const KEPT: &str = "what was synced of the board is there after a crash";
    pub(super) const GONE: &str = "what was deleted never comes back";
    pub(super) const FALLS: &str = "what a node covers never falls";
}

/// What is known of the boards of one world.
#[derive(Debug)]
pub(in crate::sim) struct Boards {
    options: Options,
    /// How many of a thousand ticks bring a wish.
    haste: u32,
    /// Of a hundred wishes so many delete.
    deletes: u32,
    texts: u64,
    goals: u64,
    /// By generation: what clients wrote.
    written: BTreeMap<u64, BTreeSet<String>>,
    /// By generation: what every stamp names.
    operations: BTreeMap<u64, BTreeMap<Stamp, Operation>>,
    /// What each disk is certain to keep, and in which generation.
    shelves: BTreeMap<NodeId, (u64, Memory)>,
    /// By node and generation: the entries that it has seen deleted for certain.
    deleted: BTreeMap<(NodeId, u64), BTreeSet<Stamp>>,
    tally: Tally,
}

impl Boards {
    pub(in crate::sim) fn new(rng: &mut Pcg64Mcg) -> Self {
        let defaults = Options::default();
        let options = Options {
            tombstones: [0, 1, 3, 10_000][rng.random_range(0..4)],
            page: [1, 2, 5, 256][rng.random_range(0..4)],
            gossip_ticks: rng.random_range(5..=30),
            idle_ticks: rng.random_range(20..=100),
            ..defaults
        };
        Self {
            options,
            haste: rng.random_range(20..=300),
            deletes: rng.random_range(5..=40),
            texts: 0,
            goals: 0,
            written: BTreeMap::new(),
            operations: BTreeMap::new(),
            shelves: BTreeMap::new(),
            deleted: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        self.texts.to_string()
    }

    /// An operation is told: it is the only one of its stamp, and someone asked for it.
    fn told(&mut self, who: Who, operation: &Operation) -> Verdict {
        let known = self.operations.entry(who.generation).or_default();
        let first = known.entry(operation.stamp).or_insert_with(|| operation.clone());
        ensure(first == operation, rule::ONE_OPERATION, || {
            format!("{} tells of {operation:?}, and {first:?} was told before", who.node)
        })?;
        let Some(text) = &operation.text else { return Ok(()) };
        let written = self.written.get(&who.generation).is_some_and(|written| written.contains(&**text));
        ensure(written, rule::WRITTEN, || format!("{} tells of {operation:?}", who.node))
    }

    /// Whoever hears of it may rely on it.
    fn is_saved(who: Who, have: &Have, disk: &Durable) -> Verdict {
        let (versions, forgotten) = (&disk.eventual.versions, &disk.eventual.forgotten);
        ensure(disk.generation != who.generation || versions.covers_all(&have.versions), rule::SAVED_FIRST, || {
            format!("{} says that it covers {}, with {versions} and {forgotten} on disk", who.node, have.versions)
        })
    }

    fn shelf(&mut self, node: NodeId) -> &mut (u64, Memory) {
        self.shelves.entry(node).or_insert_with(|| (1, Memory::default()))
    }
}

impl Subject for Boards {
    fn eventual(&self) -> Option<Options> {
        Some(self.options)
    }

    /// A board has no defence against a disk that forgets what others were told.
    fn may_lose(&self, _node: NodeId, _hosts: &[&Host]) -> bool {
        true
    }

    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        if !rng.random_ratio(self.haste, 1000) {
            return None;
        }
        let (at, kind, pick) = (members[rng.random_range(0..members.len())], rng.random_range(0..100), rng.random());
        let call = match kind {
            kind if kind < self.deletes => BoardCall::Delete { pick },
            kind if kind < 70 => BoardCall::Modify { pick, text: self.text() },
            _ => BoardCall::Post { text: self.text() },
        };
        Some((at, Call::Board(call)))
    }

    fn healed(&mut self) {
        self.goals = 0;
    }

    fn urge(&mut self, core: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)> {
        // A few more posts, and then it must become quiet and equal.
        self.goals += 1;
        let text = (self.goals < 4).then(|| self.text())?;
        Some((core[rng.random_range(0..core.len())], Call::Board(BoardCall::Post { text })))
    }

    /// All live in one generation, show the same, cover the same, and nothing is lost of what any of them saved.
    fn settled(&self, core: &[&Host]) -> Result<(), String> {
        let Some(first) = core.first() else { return Ok(()) };
        let generation = first.generation();
        if core.iter().any(|host| host.generation() != generation) {
            return Err("the nodes live in several generations".to_owned());
        }
        let Some(board) = first.eventual() else { return Ok(()) };
        let status = board.status();
        for host in core {
            let Some(other) = host.eventual().map(|other| other.status()) else { continue };
            if (other.digest, &other.versions) != (status.digest, &status.versions) {
                let (one, two) = (&status.versions, &other.versions);
                return Err(format!(
                    "{} covers {one}, and {} {two}, or they show different boards",
                    first.id(),
                    host.id()
                ));
            }
            let back = self.deleted.get(&(host.id(), generation)).into_iter().flatten();
            if let Some(id) = back.clone().find(|id| board.board().text(**id).is_some()) {
                return Err(format!("{} had deleted {id}, which is on the boards", host.id()));
            }
        }
        // What a server of the core saved stands, unless something later does.
        let own = self.operations.get(&generation).into_iter().flatten();
        for (stamp, operation) in own.filter(|(stamp, _)| core.iter().any(|host| host.id() == stamp.server)) {
            let entry = board.board().memory().entries.get(&operation.id);
            let stands = entry.is_none_or(|entry| entry.text.is_none() || entry.stamp >= *stamp);
            let is_deleted = entry.is_none_or(|entry| entry.text.is_none());
            if !stands || (operation.text.is_none() && !is_deleted) {
                return Err(format!("{operation:?} was taken, and {entry:?} stands"));
            }
        }
        Ok(())
    }

    fn called(&mut self, who: Who, call: &Call) {
        let Call::Board(BoardCall::Post { text } | BoardCall::Modify { text, .. }) = call else { return };
        self.tally.proposals += 1;
        self.written.entry(who.generation).or_default().insert(text.clone());
    }

    fn emitted(&mut self, who: Who, host: &Host, effect: &Effect) -> Verdict {
        let Effect::Send { message: HostMessage::Eventual(Message::Spread(spread)), .. } = effect else {
            return Ok(());
        };
        let Some(board) = host.eventual() else { return Ok(()) };
        let highest = board.board().memory().clock();
        ensure(spread.operation.stamp.clock >= highest, rule::ABOVE, || {
            format!("{} stamps {}, and has seen {highest}", who.node, spread.operation.stamp)
        })
    }

    fn sent(&mut self, who: Who, message: &HostMessage, disk: &Durable) -> Verdict {
        let HostMessage::Eventual(message) = message else { return Ok(()) };
        match message {
            Message::Spread(spread) => {
                Self::is_saved(who, &spread.have, disk)?;
                self.told(who, &spread.operation)
            }
            Message::Tell(tell) => {
                Self::is_saved(who, &tell.have, disk)?;
                tell.operations.iter().try_for_each(|operation| self.told(who, operation))
            }
            Message::Have(have) => Self::is_saved(who, have, disk),
            Message::Ask(ask) => Self::is_saved(who, &ask.have, disk),
        }
    }

    fn saved(&mut self, node: NodeId, records: &[(u64, Record)]) -> Verdict {
        for (generation, record) in records {
            match record {
                Record::Eventual(record) => {
                    self.tally.commands += record.put.len() as u64;
                    let deletes = record.put.iter().filter(|operation| operation.text.is_none());
                    let gone = deletes.map(|operation| operation.id).chain(record.gone.iter().copied());
                    self.deleted.entry((node, *generation)).or_default().extend(gone);
                    let (_, shelf) = self.shelf(node);
                    let falls = !record.versions.covers_all(&shelf.versions);
                    let (before, after) = (shelf.versions.clone(), record.versions.clone());
                    shelf.apply(record);
                    ensure(!falls, rule::FALLS, || format!("{node} covered {before}, and covers {after}"))?;
                }
                Record::Generation { generation, .. } => {
                    self.shelves.insert(node, (*generation, Memory::default()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn stepped(&mut self, who: Who, host: &Host) -> Verdict {
        let Some(board) = host.eventual() else { return Ok(()) };
        for id in self.deleted.get(&(who.node, who.generation)).into_iter().flatten() {
            ensure(board.board().text(*id).is_none(), rule::GONE, || {
                format!("{} had deleted {id}, and shows it again", who.node)
            })?;
        }
        Ok(())
    }

    fn recovered(&mut self, who: Who, host: &Host) -> Verdict {
        let Some(board) = host.eventual() else { return Ok(()) };
        let (generation, shelf) = self.shelf(who.node);
        let same = *generation != who.generation || board.board().memory() == shelf;
        ensure(same, rule::KEPT, || {
            format!("{} comes back with {:?}, and had saved {shelf:?}", who.node, board.board().memory())
        })?;
        self.stepped(who, host)
    }

    fn count(&self, tally: &mut Tally) {
        *tally += self.tally;
    }
}
