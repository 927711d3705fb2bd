//! The replicated log: leader-based Multi-Paxos over a log without holes. Sources: Lamport, "Paxos Made Simple" (2001),
//! section 3; Haridi, Kroll and Carbone, "Lecture Notes on Leader-based Sequence Paxos" (2020); the words for the four
//! messages of a transaction are ZooKeeper's (Junqueira, Reed and Serafini, "Zab", 2011).
//!
//! # What it guarantees
//!
//! All nodes hold the same entry in the same slot, once it is committed, whoever believes itself leader and whatever is
//! lost, doubled, delayed or crashed. Of 2f + 1 nodes f may be down and it still commits.
//!
//! # The story
//!
//! 1. An election (see [`super::bully`]) tells a node to lead. It takes an *epoch* above all it has seen, which is a
//!    ballot for all slots at once, and sends Prepare to all.
//! 2. An acceptor promises to accept nothing of a lower epoch, and says which log it has: the epoch that it accepted
//!    last, and the length.
//! 3. With promises of a majority the leader knows whose log has all that may have been chosen: the highest epoch's, and
//!    of those the longest (P2c, for all slots at once). If that is not its own it fetches what it lacks. Then it adds an
//!    empty entry of its own epoch.
//! 4. It synchronises every follower that promised, from the slot up to which they agree, at once: a follower that held
//!    half of the leader's log under the new epoch's name could pass for one that knows all of it ("the epoch durable
//!    before the history is").
//! 5. Clients' commands become entries. Accept carries them, in order, in batches that grow while the one before is under
//!    way; the commit index rides along.
//! 6. What a majority has accepted *in the leader's epoch* is chosen; the followers hear of it with the next Accept.
//!
//! | Message | From | To | ZooKeeper's word |
//! |---|---|---|---|
//! | Prepare | leader | all | |
//! | Promise, Reject | follower | leader | |
//! | Accept | leader | followers | transaction proposal, and commit |
//! | Accepted | follower | leader | transaction acknowledge |
//! | Fetch, Fetched | who lacks entries | who has them | |
//! | Confirm, Confirmed | leader | followers | |
//! | Blank, Known | a node without a memory | all | |
//!
//! A transaction id is (epoch, counter): the epoch's round and the slot.
//!
//! # Reads
//!
//! A read need not become an entry. The leader notes the commit index, asks a majority whether it still leads (Confirm;
//! many reads share one round), and answers from the state at that index. No clock is involved.
//!
//! # Members
//!
//! They change one at a time, by entries: see [`members`]. Every majority here is of the members in force.
//!
//! # A node without a memory
//!
//! A node that comes up with an empty or damaged disk may have promised and accepted what it does not know. So it does
//! not vote until either all other members say that they have never accepted anything either (a new cluster), or an
//! elected leader has synchronised it. *Caveats*: so the first time all members must be up together; and a promise that a
//! node gave before its disk was lost is believed by a candidate that collects promises at that very moment.
//!
//! # Absences
//!
//! There is no hole in a log, no entry whose hash does not continue the one before, no partial synchronisation, no lease,
//! and no timeout whose length matters for safety.

mod campaign;
mod changing;
pub mod entries;
mod fetch;
mod follower;
mod leader;
pub mod members;
pub mod memory;
mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Out;
use super::types::{Ballot, NodeId};
use campaign::Campaign;
use entries::{Command, Entry};
use fetch::Fetching;
use leader::Leading;
use members::{Membership, Unchanged};
use memory::{Memory, Record, Snapshot};

pub use changing::Begun;

/// What nodes say to each other about the log; see the table above.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the module's table says who sends what; the fields are described in the types")]
pub enum Message {
    Prepare {
        epoch: Ballot,
    },
    Promise {
        epoch: Ballot,
        holds: Holding,
        /// Whether the promise counts; see "A node without a memory".
        votes: bool,
        /// The last membership in the sender's log; absent while it is the one that the cluster was founded with.
        members: Option<Arc<Membership>>,
    },
    Reject {
        epoch: Ballot,
        promised: Ballot,
    },
    Accept {
        epoch: Ballot,
        /// How the epoch began; only to a follower that has not yet been synchronised.
        began: Option<Beginning>,
        /// The slot before the first entry, and the hash of the chain up to it.
        after: u64,
        hash: u64,
        entries: Vec<Entry>,
        /// All up to this slot are chosen.
        committed: u64,
    },
    Accepted {
        epoch: Ballot,
        /// The follower's log is the leader's up to this slot; `None` while it is not synchronised.
        length: Option<u64>,
    },
    Fetch {
        epoch: Ballot,
        /// What the asker has.
        after: u64,
        /// How many bytes of a snapshot it has.
        offset: u64,
    },
    Fetched {
        epoch: Ballot,
        piece: Piece,
    },
    Confirm {
        epoch: Ballot,
        round: u64,
    },
    Confirmed {
        epoch: Ballot,
        round: u64,
    },
    Blank,
    Known {
        /// Whether the sender has never accepted anything either.
        blank: bool,
    },
}

/// Which log a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holding {
    /// The epoch whose leader's log it is, or begins like.
    pub accepted: Option<Ballot>,
    /// Its last slot.
    pub length: u64,
    /// All up to this slot are known to be chosen.
    pub committed: u64,
}

impl Holding {
    /// Up to where this log is surely the same as another that holds all that was chosen: two logs of one epoch begin
    /// alike, and all logs hold what is chosen.
    const fn agrees_through(&self, accepted: Option<Ballot>, length: u64) -> u64 {
        let same = match (self.accepted, accepted) {
            (Some(one), Some(other)) => one.round == other.round && one.node.number() == other.node.number(),
            _ => false,
        };
        if !same {
            return self.committed;
        }
        if self.length < length { self.length } else { length }
    }
}

/// How an epoch began: with which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Beginning {
    /// The epoch and the length of the log that the leader adopted.
    pub accepted: Option<Ballot>,
    /// See above.
    pub length: u64,
    /// A follower is synchronised when it has the leader's log up to this slot.
    pub start: u64,
}

/// What a node that lacks entries is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Entries after the slot asked for.
    Entries {
        /// That slot.
        after: u64,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// The entries are gone: a part of the snapshot that stands for them.
    Snapshot {
        /// The last slot that it stands for.
        slot: u64,
        /// The hash of the chain up to it.
        hash: u64,
        /// Where the part begins.
        offset: u64,
        /// The length of the whole.
        total: u64,
        /// The part.
        bytes: Vec<u8>,
        /// The membership as of that slot; absent while it is the one that the cluster was founded with.
        members: Option<Arc<Membership>>,
    },
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// Entries in one Accept, at most.
    pub batch_entries: usize,
    /// Bytes of commands in one Accept, or in one piece fetched.
    pub batch_bytes: usize,
    /// Accepts under way to one follower, at most.
    pub window: u32,
    /// Whether entries are sent at once only to as many followers as make a majority with the leader. The others get them
    /// now and then, many in one message, and at once when one of the first is late: so a write costs less, and a majority
    /// has it as before.
    pub thrifty: bool,
    /// How long a leader waits for promises, and for what it fetches, in ticks.
    pub campaign_ticks: u64,
    /// How long an answer may take until it is taken for lost, in ticks.
    pub resend_ticks: u64,
    /// How often a leader says that nothing is new, in ticks.
    pub idle_ticks: u64,
    /// For how long a node that is to be a member may be silent until it has the log, in ticks; and for how long one that
    /// was removed is told so.
    pub newcomer_ticks: u64,
    /// So many entries stay behind a snapshot, for followers that are a little late.
    pub tail: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_entries: 1024,
            batch_bytes: 1 << 19,
            window: 2,
            thrifty: false,
            campaign_ticks: 100,
            resend_ticks: 40,
            idle_ticks: 20,
            newcomer_ticks: 200,
            tail: 2000,
        }
    }
}

/// How far above what it knows an acceptor believes an epoch's round; as for single decree.
pub const MAX_ROUND_LEAP: u64 = super::paxos::MAX_ROUND_LEAP;

/// How often it is noted what is committed. After a crash the next leader tells it again; whoever starts alone knows of
/// this much at once.
const NOTE_TICKS: u64 = 50;

/// What the rest of the node must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice {
    /// A majority promised: this node leads the epoch.
    Established(Ballot),
    /// There is a higher epoch, or this one was not to be had.
    Deposed(Option<Ballot>),
    /// The read with this number can be answered when all up to the slot is applied.
    Readable {
        /// The read.
        read: u64,
        /// The slot.
        slot: u64,
    },
    /// The node that was to be added is up to date, and a member by this entry.
    Joined {
        /// The epoch in which it was appended.
        epoch: Ballot,
        /// Its slot.
        slot: u64,
    },
    /// The node that was to be added is not.
    NotJoined {
        /// Why not; absent if this node leads no longer, and another may add it.
        why: Option<Unchanged>,
    },
    /// The read cannot be answered here any more.
    Unreadable {
        /// The read.
        read: u64,
    },
}

#[derive(Debug, Clone, Hash)]
enum Role {
    Follower,
    Candidate(Campaign),
    Leader(Box<Leading>),
}

/// One node's part in the log.
#[derive(Debug, Clone, Hash)]
pub struct Log {
    id: NodeId,
    /// The members before the log says otherwise.
    founding: Membership,
    /// The members in force: by the last such entry, or else the founding ones.
    membership: Membership,
    told_correspondents: BTreeMap<NodeId, Arc<str>>,
    correspondents_changed: bool,
    was_changing: bool,
    options: Options,
    memory: Memory,
    role: Role,
    /// What this node lacks and is fetching.
    fetching: Option<Fetching>,
    now_ticks: u64,
    /// The highest round heard of.
    highest_round: u64,
    /// Members that said, in this life, that they have never accepted anything.
    blank: BTreeSet<NodeId>,
    /// When the last Accept or Prepare of the promised epoch came, and from whom.
    followed: Option<(NodeId, u64)>,
    notices: Vec<Notice>,
    /// What of the commit index is on disk.
    noted: u64,
}

impl Log {
    /// Starts from what the node remembers. The cluster was founded with these members; a node that joined later is given
    /// those whom it knew, and is not among them.
    #[must_use]
    pub fn new(id: NodeId, founding: impl Into<Membership>, options: Options, memory: Memory) -> Self {
        let founding = founding.into();
        let highest_round = memory.promised.map_or(0, |epoch| epoch.round);
        let noted = memory.committed;
        let mut log = Self {
            id,
            membership: founding.clone(),
            told_correspondents: founding.addresses().clone(),
            founding,
            correspondents_changed: false,
            was_changing: false,
            options,
            memory,
            role: Role::Follower,
            fetching: None,
            now_ticks: 0,
            highest_round,
            blank: BTreeSet::new(),
            followed: None,
            notices: Vec::new(),
            noted,
        };
        log.look_at_members();
        if log.memory.promised.is_some_and(|epoch| epoch.node == id) {
            // The epoch was ours; whoever leads by it now, it is not we. A new one is taken when we are elected.
            log.followed = None;
        }
        log
    }

    /// Handles one message of a node, member or not: see [`members`].
    pub fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Prepare { epoch } => self.on_prepare(from, epoch, out),
            Message::Promise { epoch, holds, votes, members } => {
                self.on_promise(from, epoch, holds, votes, members, out);
            }
            Message::Reject { epoch, promised } => self.on_reject(from, epoch, promised, out),
            Message::Accept { epoch, began, after, hash, entries, committed } => {
                self.on_accept(from, epoch, began, (after, hash), entries, committed, out);
            }
            Message::Accepted { epoch, length } => self.on_accepted(from, epoch, length, out),
            Message::Fetch { epoch, after, offset } => self.on_fetch(from, epoch, after, offset, out),
            Message::Fetched { epoch, piece } => self.on_fetched(from, epoch, piece, out),
            Message::Confirm { epoch, round } => self.on_confirm(from, epoch, round, out),
            Message::Confirmed { epoch, round } => self.on_confirmed(from, epoch, round, out),
            Message::Blank => self.on_blank(from, out),
            Message::Known { blank } => self.on_known(from, blank, out),
        }
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        self.now_ticks += 1;
        self.tick_proof(out);
        self.tick_fetching(out);
        match self.role {
            Role::Follower => {}
            Role::Candidate(_) => self.tick_campaign(out),
            Role::Leader(_) => {
                self.tick_leading(out);
                self.tick_changing(out);
            }
        }
        if self.noted < self.memory.committed && self.now_ticks.is_multiple_of(NOTE_TICKS) {
            self.noted = self.memory.committed;
            out.note(super::Record::Log(Record::Commit { slot: self.noted }));
        }
    }

    /// The batch of inputs has ended: what was appended meanwhile goes out together, then to our own disk.
    pub fn flush(&mut self, out: &mut Out) {
        if matches!(self.role, Role::Leader(_)) {
            self.flush_leading(out);
        }
    }

    /// What happened since the last call that the rest of the node must know.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What this node remembers.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The epoch that this node leads.
    #[must_use]
    pub fn leads(&self) -> Option<Ballot> {
        match &self.role {
            Role::Leader(leading) => Some(leading.epoch),
            Role::Follower | Role::Candidate(_) => None,
        }
    }

    /// Whether this node leads, and waits for a batch to be accepted: what comes now goes into the next.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        matches!(&self.role, Role::Leader(leading) if leading.is_writing(self.memory.committed))
    }

    /// Whether this node leads, and waits for a round of confirmations: a read that comes now waits for the next.
    #[must_use]
    pub fn is_confirming(&self) -> bool {
        matches!(&self.role, Role::Leader(leading) if leading.is_confirming())
    }

    /// The epoch for which this node collects promises.
    #[must_use]
    pub fn campaigns(&self) -> Option<Ballot> {
        match &self.role {
            Role::Candidate(campaign) => Some(campaign.epoch()),
            Role::Follower | Role::Leader(_) => None,
        }
    }

    /// Whether this node is fetching what it lacks.
    #[must_use]
    pub const fn is_fetching(&self) -> bool {
        self.fetching.is_some()
    }

    /// The services' state after a slot has been serialised, up to which the chain has this hash: the entries before it may
    /// go. Of no use if there is a newer snapshot, or if the log is another one by now.
    pub fn compact(&mut self, (slot, hash): (u64, u64), state: Arc<[u8]>, out: &mut Out) {
        if self.memory.entries.hash_at(slot) != Some(hash) && !mutant!(SnapshotOfAnotherLog) {
            return;
        }
        if slot > self.memory.committed || self.memory.snapshot.as_ref().is_some_and(|old| old.slot >= slot) {
            return;
        }
        let through = if mutant!(CompactsAll) { self.memory.length() } else { slot.saturating_sub(self.options.tail) };
        let members = self.memory.members_at(slot).cloned();
        self.save(Record::Compact { snapshot: Snapshot { slot, hash, state, members }, through }, out);
    }

    /// The last slot that is on disk here, or on its way there: what comes after it is a leader's, and has not left it.
    fn handed_out(&self) -> u64 {
        match &self.role {
            Role::Leader(leading) => leading.flushed(),
            Role::Follower | Role::Candidate(_) => self.memory.length(),
        }
    }

    /// The last slot that somebody else may have: of a leader what it has sent, or all.
    pub(in crate::protocol) fn handed_to_others(&self) -> u64 {
        match &self.role {
            Role::Leader(leading) => leading.handed(),
            Role::Follower | Role::Candidate(_) => u64::MAX,
        }
    }

    fn holding(&self) -> Holding {
        let Memory { accepted, committed, .. } = self.memory;
        Holding { accepted, length: self.memory.length(), committed }
    }

    /// Applies a record to memory and asks for it to be saved: the two never differ.
    fn save(&mut self, record: Record, out: &mut Out) {
        self.memory.apply(&record);
        self.look_at_members();
        out.save(super::Record::Log(record));
    }

    /// What must hold after every step, whatever came in.
    pub fn check_invariants(&self) {
        let Memory { promised, accepted, entries, committed, snapshot, .. } = &self.memory;
        assert!(accepted <= promised, "accepted {accepted:?} above promised {promised:?}");
        assert!(*committed <= entries.length(), "committed {committed}, but the log ends at {}", entries.length());
        let covered = snapshot.as_ref().map_or(0, |snapshot| snapshot.slot);
        assert!(entries.base() <= covered, "entries up to {} are gone, a snapshot is of {covered}", entries.base());
        if let Role::Leader(leading) = &self.role {
            assert_eq!(Some(leading.epoch), *promised, "leads an epoch that it does not promise");
            assert_eq!(leading.epoch.node, self.id, "leads an epoch that is not its own");
        }
        let in_force = self.memory.members_at(entries.length()).map_or(&self.founding, |members| &**members);
        assert_eq!(self.membership, *in_force, "the members are not those of the log");
        // What is committed, and one step further at most, as far as the leader can know.
        let settled = self.memory.members_at(*committed).map_or(&self.founding, |members| &**members).members();
        let both = settled.iter().chain(self.members().iter()).collect::<BTreeSet<_>>();
        if matches!(&self.role, Role::Leader(leading) if *committed >= leading.start()) {
            let meet = settled.majority() + self.members().majority() > both.len();
            assert!(meet, "{settled:?} and {:?} have majorities apart", self.members());
        }
    }
}

/// The empty command by which an epoch begins.
const fn first_of_epoch() -> Command {
    Command::Noop
}

#[cfg(test)]
pub(crate) mod tests;
