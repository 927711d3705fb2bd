//! The eventually consistent board: every node answers at once from what it has, and all come to show the same.
//!
//! # The story
//!
//! A client posts, modifies or deletes at any node, which takes the operation for good, saves it, answers, and tells the
//! others. Nobody is asked, so a node alone serves as well as five; the price is that for a while boards differ.
//!
//! Each operation has a [`Stamp`], (logical clock, server): the clock is one past the highest that the server has seen
//! anywhere, so what someone saw is stamped lower than what he did about it. A post's stamp is its entry's id for ever.
//! Of an entry only one operation *stands*, and which one does not hang on the order in which they come
//! ([`Operation::beats`]): a delete stands against every text, of two texts the one with the higher stamp. So merging
//! commutes, associates, and repeats without effect, and nodes that know the same operations show the same board.
//!
//! How all come to know them, in three ways:
//!
//! 1. *Propagation*. An operation is sent to all others in the step that takes it. It names its server's operation before
//!    it; who lacks that one asks.
//! 2. *Anti-entropy*. In turn each node asks each other one: "what do you have that I lack?". Its *version vector* says
//!    what it covers: of each server, all operations up to a clock. The other one tells what stands there beyond that,
//!    in the order of the entries, a page at a time; when the last page has come, the asking node covers all that the other
//!    one covered at the first. Not before: what is between is told, but not in full. (In the order of the entries, because
//!    an entry keeps its place. In that of the stamps, a delete with a lower stamp than the text it stands against would
//!    take an entry from where it is yet to be told to where all has been told, and nobody would hear of it.)
//! 3. *Deletes* leave a tombstone, which is told like any operation. It goes when every member is known to cover it and
//!    the post it deleted; then whatever still comes of that entry is old, and is known to be: an entry whose post is
//!    covered, and that is not there, was deleted. If tombstones grow too many ([`Options::tombstones`]), the oldest go
//!    before everyone has seen them. What the deletes were that have gone is kept as one vector, `forgotten`, and a node
//!    that does not cover what another one has forgotten *was away longer than tombstones are kept*: it no longer knows what
//!    it lacks. It asks that one for everything that stands ([`message::Ask::whole`]), drops what the other one covers and no
//!    longer has, and until then tells it nothing. If between two pages tombstones have gone too soon, it asks from the
//!    beginning ([`message::Tell::era`]): of an entry whose post the other one did not cover yet at the first page, and whose
//!    tombstone was gone at the last, it would never hear; it would cover the delete, and the entry would stay for ever.
//!    A node that hears of operations of its own which it does not remember asks everyone for everything; until it covers
//!    them it takes none from clients either, so that it does not seem to.
//!
//! Who the members are is not decided here: the log does ([`Eventual::meet`]), and each node goes by its own. One that was
//! removed holds back no tombstones, and is neither heard nor told. One that joins is like one that was away longer than
//! tombstones are kept, and also takes nothing from clients before another one has told it what there is: it may bear the
//! name of one that lost its disk. That nodes learn of a change one after the other does no harm: who forgets a tombstone
//! that a member has not seen says so in `forgotten`, as always.
//!
//! # Messages
//!
//! | message | who sends it | when, and what for |
//! |---|---|---|
//! | `Spread` | the server of an operation, to all others | a client did something there |
//! | `Have` | who heard a `Spread` | covers it now: tombstones may go sooner |
//! | `Ask` | any node, to any other, in turn | what do you have that I lack? Also on a `Spread` with a gap before it, and by who is asked by a node that has more |
//! | `Tell` | who is asked | a page of what stands |
//!
//! Every message also says how far its sender is ([`message::Have`]). Any may be lost, doubled, or come late.
//!
//! # Invariants
//!
//! - Nodes that have long been able to talk show the same. What a node shows it tells, covered or not.
//! - What is covered is known: the operation stands, or another one of its entry does, or its entry was deleted.
//! - An operation is saved before anyone hears of it, its client included; so is what a node says that it covers.
//! - The stamps of a server rise, and none is used twice, also across a crash.
//! - What was deleted never comes back: no operation stands against a delete, and no tombstone goes before it can be
//!   done without.
//! - No stamp wins for ever: a message raises a node's clock by at most [`MAX_LEAP`], and an operation from beyond that is
//!   not taken. What is stamped far in the future is *clamped* so; honest nodes are never that far apart, and if they were,
//!   each message would bring them closer. So clocks are not used up, and any text can be modified once more.
//!
//! # Caveats
//!
//! - Two halves that are cut apart show different boards, and of two modifications of an entry one is lost when they meet:
//!   that is what the strong board's majorities are paid for.
//! - A delete beats even a modification with a higher stamp that was made without knowing of it. The alternative, that the
//!   highest stamp wins, would bring back on one half what a client there saw deleted.
//! - A node whose directory was wiped, or put back from an old copy, notices when it meets another one that knows of later
//!   operations of it. What it took before that under stamps it had used in its forgotten life is lost. If it took more than
//!   it had forgotten, it cannot notice, and boards may differ until those entries are modified: as with an acceptor of
//!   Paxos, a lost disk is not to be taken for an empty one.
//! - What a node took and told nobody before it was removed is on its disk only. If it joins again, it is told then.
//! - Limits hold at the node that takes an operation. Together nodes can exceed them, up to [`Options::merged`] times; a
//!   node takes no more than that, and repairs end without covering what they did not bring.

pub mod board;
pub mod memory;
pub mod message;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::clock::VectorClock;
use super::quorum::Members;
use super::types::NodeId;
use super::{Out, Record as AnyRecord};
use board::{Board, Tombstone};
use memory::{Memory, Operation, Stamp};
pub use message::Message;
use message::{Have, Spread};
use repair::Repair;

/// How far one message raises a node's clock at most.
pub const MAX_LEAP: u64 = 1 << 20;
/// Where clocks end.
pub const MAX_CLOCK: u64 = 1 << 61;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Ticks between two askings, each of another node, while some node is not known to have all that is here.
    pub gossip_ticks: u64,
    /// The same while all are.
    pub idle_ticks: u64,
    /// Operations in one answer, and the bytes of their texts.
    pub page: usize,
    /// See `page`.
    pub page_bytes: usize,
    /// How many tombstones are kept, whoever has not seen them.
    pub tombstones: usize,
    /// Bytes of one text.
    pub text_bytes: usize,
    /// Entries up to which posts are taken, tombstones included.
    pub entries: usize,
    /// Bytes of all texts up to which posts and modifications are taken.
    pub bytes: usize,
    /// How many times those may be reached by what other nodes took.
    pub merged: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gossip_ticks: 20,
            idle_ticks: 100,
            page: 256,
            page_bytes: 512 << 10,
            tombstones: 10_000,
            text_bytes: 64 << 10,
            entries: 100_000,
            bytes: 32 << 20,
            merged: 4,
        }
    }
}

/// Why an operation was not taken; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such entry here, or none any more.
    #[error("there is no entry {id} on the eventual board of this node")]
    Unknown {
        /// The id.
        id: Stamp,
    },
    /// The text is too long.
    #[error("the text has {bytes} bytes, and may have {most}")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// The board is full.
    #[error("the eventual board of this node is full: it holds {entries} entries with {bytes} bytes")]
    Full {
        /// How many entries there are, deleted ones included that not everyone knows to be.
        entries: usize,
        /// How many bytes of texts.
        bytes: usize,
    },
    /// This node has heard of operations of its own that it does not remember.
    #[error("this node has lost some of its memory of the eventual board, and must be told it by another node first")]
    Forgetful,
    /// This node has joined, and nobody has told it yet what there is.
    #[error("this node has just joined the cluster, and must be told the eventual board by another member first")]
    Newcomer,
    /// This node does not belong to the cluster.
    #[error("this node is no member of the cluster, so it has no part in the eventual board")]
    NoMember,
    /// Clocks have ended.
    #[error("the logical clock of this node has been driven to its end")]
    Spent,
}

/// How the board of a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The logical clock: the highest seen.
    pub clock: u64,
    /// What is covered.
    pub versions: VectorClock,
    /// A hash of what can be seen.
    pub digest: u64,
    /// Entries that can be seen.
    pub posts: usize,
    /// Deleted entries that not everyone is known to have seen deleted.
    pub tombstones: usize,
    /// Operations that stand here and that some member is not known to have.
    pub pending: usize,
    /// The number of the last change here.
    pub changes: u64,
    /// Whether this node was away for so long, or lost so much, that some node must tell it everything before it tells that
    /// one anything; or has joined, and was told nothing yet.
    pub astray: bool,
}

/// One node's part.
#[derive(Debug)]
pub struct Eventual {
    id: NodeId,
    members: Members,
    options: Options,
    board: Board,
    clock: u64,
    /// How far each other node is, as it said last.
    known: BTreeMap<NodeId, Have>,
    /// What is being asked for, by whom it is asked of.
    repairs: BTreeMap<NodeId, Repair>,
    /// Up to where others cover operations of this node's own, if it has heard of more than it remembers, and has not been
    /// told everything since.
    lost: Option<u64>,
    /// Whether this node joined, and has not been told yet what there is.
    is_newcomer: bool,
    /// Changes when entries go before everyone is known to have seen them deleted, and with the members.
    era: u64,
    /// What every member covered when tombstones were last looked through, and how many were left.
    looked_at: (VectorClock, usize),
    next_repair: u64,
    next_peer: usize,
    now_ticks: u64,
    ask_at: u64,
}

impl Eventual {
    /// Starts from what the node remembers, among these members. Without being one of them it takes no part, until
    /// [`Eventual::meet`] tells that it is.
    #[must_use]
    pub fn new(id: NodeId, members: Members, options: Options, memory: Memory, mut rng: Pcg64Mcg) -> Self {
        let clock = memory.clock();
        Self {
            id,
            options,
            board: Board::new(memory),
            clock,
            known: BTreeMap::new(),
            repairs: BTreeMap::new(),
            lost: None,
            is_newcomer: false,
            era: rng.random::<u64>() >> 2,
            looked_at: Default::default(),
            // By chance: what is told to an earlier life must not be taken for an answer to this one.
            next_repair: rng.random::<u64>() >> 2,
            next_peer: rng.random_range(0..members.len()),
            now_ticks: 0,
            ask_at: rng.random_range(1..=options.gossip_ticks.max(1)),
            members,
        }
    }

    /// The node did not found the cluster, but joins it: see [`Refusal::Newcomer`].
    #[must_use]
    pub fn joining(self) -> Self {
        let is_newcomer = self.board.memory().versions == VectorClock::default() && !mutant!(NewcomerWrites);
        Self { is_newcomer, ..self }
    }

    /// From now on these are the members.
    pub fn meet(&mut self, members: &Members, out: &mut Out) {
        if *members == self.members || mutant!(FoundersForEver) {
            return;
        }
        self.members = members.clone();
        // If one of the others comes back, it is not to be taken for as far as it was: it may have lost its disk.
        self.known.retain(|peer, _| members.contains(*peer));
        self.repairs.retain(|peer, _| members.contains(*peer));
        // Whoever comes back in the middle of being told begins again: tombstones went without it.
        self.era += 1;
        self.ask_at = self.now_ticks + 1;
        self.forget(out);
    }

    // Clients.

    /// A client posts. The stamp is the new entry's id; it may be told when the records of this step are saved.
    ///
    /// # Errors
    /// Why nothing was done.
    pub fn post(&mut self, text: &str, out: &mut Out) -> Result<Stamp, Refusal> {
        self.take(None, Some(text), out)
    }

    /// A client gives an entry another text. The stamp is the operation's.
    ///
    /// # Errors
    /// Why nothing was done.
    pub fn modify(&mut self, id: Stamp, text: &str, out: &mut Out) -> Result<Stamp, Refusal> {
        self.take(Some(id), Some(text), out)
    }

    /// A client deletes an entry. The stamp is the operation's.
    ///
    /// # Errors
    /// Why nothing was done.
    pub fn delete(&mut self, id: Stamp, out: &mut Out) -> Result<Stamp, Refusal> {
        self.take(Some(id), None, out)
    }

    fn take(&mut self, id: Option<Stamp>, text: Option<&str>, out: &mut Out) -> Result<Stamp, Refusal> {
        if !self.is_member() {
            return Err(Refusal::NoMember);
        }
        if self.is_newcomer() {
            return Err(Refusal::Newcomer);
        }
        if let Some(id) = id
            && self.board.text(id).is_none()
        {
            return Err(Refusal::Unknown { id });
        }
        if let Some(text) = text {
            self.room(text.len(), id.is_none())?;
        }
        if self.lost.is_some() && !mutant!(NeverAstray) {
            return Err(Refusal::Forgetful);
        }
        if self.clock >= MAX_CLOCK {
            return Err(Refusal::Spent);
        }
        let previous = self.board.memory().versions.of(self.id);
        let seen = if mutant!(ClockSeesNothing) { previous } else { self.clock };
        let stamp = Stamp { clock: seen + 1, server: self.id };
        self.clock = self.clock.max(stamp.clock);
        let operation = Operation { id: id.unwrap_or(stamp), stamp, text: text.map(Arc::from) };
        self.board.put(&operation, false);
        self.board.cover(self.id, stamp.clock);
        self.save(out);
        let have = self.have();
        for to in self.members.others(self.id) {
            if !self.is_astray_for(to) {
                let spread = Spread { have: have.clone(), previous, operation: operation.clone() };
                out.send(to, Message::Spread(spread));
            }
        }
        self.ask_at = self.ask_at.min(self.now_ticks + self.options.gossip_ticks);
        self.forget(out);
        Ok(stamp)
    }

    fn room(&self, bytes: usize, is_new: bool) -> Result<(), Refusal> {
        let Options { text_bytes, entries, bytes: all_bytes, .. } = self.options;
        if bytes > text_bytes {
            return Err(Refusal::TooLarge { bytes, most: text_bytes });
        }
        if self.board.bytes() + bytes > all_bytes || (is_new && self.board.len() >= entries) {
            return Err(Refusal::Full { entries: self.board.len(), bytes: self.board.bytes() });
        }
        Ok(())
    }

    // Messages.

    /// Handles one message of a member.
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        if from == self.id || !self.members.contains(from) {
            return out.ignore(from, "the eventual board is told by other members only");
        }
        self.hear(
            from,
            match &message {
                Message::Spread(spread) => &spread.have,
                Message::Have(have) => have,
                Message::Ask(ask) => &ask.have,
                Message::Tell(tell) => &tell.have,
            },
        );
        match message {
            Message::Spread(spread) => self.on_spread(from, spread, out),
            Message::Have(_) => {}
            Message::Ask(ask) => self.on_ask(from, ask, out),
            Message::Tell(tell) => self.on_tell(from, tell, out),
        }
        self.forget(out);
    }

    /// Every message says how far its sender is.
    fn hear(&mut self, from: NodeId, have: &Have) {
        let leap = if mutant!(ClockLeaps) { MAX_CLOCK } else { MAX_LEAP };
        self.clock = self.clock.max(have.clock.min(self.clock + leap)).min(MAX_CLOCK);
        let own = have.versions.of(self.id).min(self.clock);
        if own > self.board.memory().versions.of(self.id) {
            if self.lost.is_none() {
                // What runs would let this node seem to know what it was not told in full.
                self.repairs.clear();
            }
            self.lost = self.lost.max(Some(own));
        }
        self.known.insert(from, have.clone());
    }

    fn on_spread(&mut self, from: NodeId, spread: Spread, out: &mut Out) {
        let Spread { previous, operation, .. } = spread;
        if operation.stamp.server != from {
            return out.ignore(from, "the operation is another server's");
        }
        if let Err(reason) = self.is_credible(&operation) {
            return out.ignore(from, reason);
        }
        let covered = self.board.memory().versions.of(from);
        if covered < previous && !mutant!(GapsIgnored) {
            return self.repair(from, out);
        }
        if covered < operation.stamp.clock {
            self.board.put(&operation, false);
            self.board.cover(from, operation.stamp.clock);
            self.save(out);
        }
        out.send(from, Message::Have(self.have()));
    }

    /// What no honest node sends is not taken.
    fn is_credible(&self, operation: &Operation) -> Result<(), &'static str> {
        let Operation { id, stamp, text } = operation;
        if stamp.clock > self.clock || id.clock > self.clock {
            return Err("the stamp is too far in the future");
        }
        if id > stamp || (id == stamp && text.is_none()) {
            return Err("the operation is older than its entry");
        }
        if text.as_ref().is_some_and(|text| text.len() > self.options.text_bytes) {
            return Err("the text is too long");
        }
        let most = self.options.merged;
        if self.board.len() >= self.options.entries * most || self.board.bytes() >= self.options.bytes * most {
            return Err("the board is full, however many nodes took what is on it");
        }
        Ok(())
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now_ticks += 1;
        if self.now_ticks < self.ask_at || self.members.len() < 2 || !self.is_member() {
            return;
        }
        let pause = if self.is_level() { self.options.idle_ticks } else { self.options.gossip_ticks };
        self.ask_at = self.now_ticks + pause.max(1);
        self.next_peer = (self.next_peer + 1) % (self.members.len() - 1);
        let peer = self.members.others(self.id).nth(self.next_peer);
        if let Some(peer) = peer {
            self.repair(peer, out);
        }
    }

    /// Whether every member is known to be as far as this one.
    fn is_level(&self) -> bool {
        let mine = &self.board.memory().versions;
        self.repairs.is_empty()
            && self.members.others(self.id).all(|peer| self.known.get(&peer).is_some_and(|have| have.versions == *mine))
    }

    // Tombstones.

    /// Lets the tombstones go that can be done without.
    fn forget(&mut self, out: &mut Out) {
        if self.board.tombstones().is_empty() {
            return;
        }
        let everywhere = self.covered_everywhere();
        let looked_at = (everywhere, self.board.tombstones().len());
        if looked_at == self.looked_at {
            return;
        }
        let everywhere = &looked_at.0;
        let can_go = |place: &&Tombstone| everywhere.covers(place.stamp) && everywhere.covers(place.id);
        let mut going: BTreeSet<Tombstone> = self.board.tombstones().iter().filter(can_go).copied().collect();
        let forgets_all = mutant!(ForgetsTooSoon);
        if forgets_all || mutant!(ForgetsThatItForgot) {
            going.extend(self.board.tombstones().iter());
        }
        let (left, most) = (self.board.tombstones().len() - going.len(), self.options.tombstones);
        // Of these the others may not know. But the post must be covered here, so that it is known to be old. Many go at
        // once, so that eras are long: whoever is being told everything begins again with each.
        let too_many = if left > most { left - most + most / 4 } else { 0 };
        let versions = &self.board.memory().versions;
        let known = |place: &&Tombstone| versions.covers(place.id) && versions.covers(place.stamp);
        let oldest = self.board.tombstones().iter().filter(|place| !going.contains(place)).filter(known).take(too_many);
        let oldest: Vec<Tombstone> = oldest.copied().collect();
        self.era += u64::from(!oldest.is_empty());
        for place in going.into_iter().chain(oldest) {
            self.board.forget(place);
        }
        self.looked_at = (looked_at.0, self.board.tombstones().len());
        if let Some(record) = self.board.take_record() {
            // Nothing rests on it: after a crash the tombstone is simply there again.
            out.note(AnyRecord::Eventual(Box::new(record)));
        }
    }

    /// What every member is known to cover.
    fn covered_everywhere(&self) -> VectorClock {
        let mut everywhere = self.board.memory().versions.clone();
        for peer in self.members.others(self.id) {
            match self.known.get(&peer) {
                Some(have) => everywhere.meet(&have.versions),
                None => return VectorClock::default(),
            }
        }
        everywhere
    }

    /// Whether this node was away longer than tombstones are kept at another one, or has lost some of its memory: it must
    /// be told everything by that one, and tells it nothing before.
    fn is_astray_for(&self, peer: NodeId) -> bool {
        let versions = &self.board.memory().versions;
        let lacks = self.known.get(&peer).is_some_and(|have| !versions.covers_all(&have.forgotten));
        (self.lost.is_some() || lacks) && !mutant!(NeverAstray)
    }

    /// Whether there is somebody else who must tell it first.
    fn is_newcomer(&self) -> bool {
        self.is_newcomer && self.members.len() > 1
    }

    fn have(&self) -> Have {
        let memory = self.board.memory();
        let (versions, forgotten) = (memory.versions.clone(), memory.forgotten.clone());
        Have { clock: self.clock, versions, forgotten, digest: self.board.digest() >> 2 }
    }

    fn save(&mut self, out: &mut Out) {
        if let Some(record) = self.board.take_record() {
            out.save(AnyRecord::Eventual(Box::new(record)));
        }
    }

    // Observers.

    /// Who the members are, as far as this node knows.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Whether this node is one of them.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.members.contains(self.id)
    }

    /// The board.
    #[must_use]
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// How this node's board is.
    #[must_use]
    pub fn status(&self) -> Status {
        let everywhere = self.covered_everywhere();
        Status {
            clock: self.clock,
            versions: self.board.memory().versions.clone(),
            digest: self.board.digest(),
            posts: self.board.len() - self.board.tombstones().len(),
            tombstones: self.board.tombstones().len(),
            pending: self.board.entries(None).filter(|(_, entry)| !everywhere.covers(entry.stamp)).count(),
            changes: self.board.memory().changes,
            astray: self.is_newcomer() || self.members.others(self.id).any(|peer| self.is_astray_for(peer)),
        }
    }

    /// Whether this node has asked for something and not been told all of it.
    #[must_use]
    pub fn is_repairing(&self) -> bool {
        !self.repairs.is_empty()
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        if self.board.len() < 64 {
            self.board.check_invariants(self.clock);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
