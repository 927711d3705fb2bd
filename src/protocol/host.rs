//! One node's protocols together, and the generation they live in.
//!
//! # Generations
//!
//! `restart` wipes a lab node between two tests. Nodes are told one after the other, while messages are under way, so
//! every message carries its sender's generation, and a node listens only to its own: what was said before a restart
//! never acts after it.
//!
//! - A restart moves the node to the next generation. It forgets all it knew, and clients that wait are told so.
//! - A node that hears of a higher generation follows: it forgets everything too. So the whole lab moves on together,
//!   also a node that was down when the others were told; and the forgetful acceptor that a restarted node is never
//!   votes beside others that remember.
//! - A node that has followed, and knows nothing yet, is as good as restarted: told to restart it stays. So telling all
//!   nodes, in any order, ends with all in the same generation.
//!
//! Only a lab's nodes do this. A node in service lives in one generation for good, and ignores what comes from any other.
//! And like a ballot, a generation is believed only within a bound ([`MAX_GENERATION_LEAP`]): no single message uses them
//! up.
//!
//! *Caveat*: while the lab is cut in two and only one side is restarted, both sides count generations on their own. When
//! they meet, the side that counted less forgets.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::durable::{Durable, Remembered};
use super::eventual::Eventual;
use super::log::members::Membership;
use super::log::memory::Memory;
use super::overlay::{self, Overlay};
use super::paxos::{self, Outcome, Paxos, Proposal};
use super::quorum::Members;
use super::register::Register;
use super::strong::{self, Strong};
use super::types::{Instance, NodeId};
use super::{Event, Message, Out, Record};
use super::{eventual, register};

/// Who sent a message, out of which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The sender; [`NodeId::GUEST`] for someone who is no member.
    pub from: NodeId,
    /// The sender's generation; a guest has none, and speaks to whatever is there.
    pub generation: Option<u64>,
}

impl Sender {
    /// Someone who is no member.
    pub const GUEST: Self = Self { from: NodeId::GUEST, generation: None };
}

/// How far above its own a node believes a generation to be.
pub const MAX_GENERATION_LEAP: u64 = 1 << 20;

/// What can be set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether this is a lab's node, which may be restarted and follows the others' restarts.
    pub lab: bool,
    /// What can be set about single-decree Paxos.
    pub paxos: paxos::Options,
    /// What can be set about the replicated log; without, the node has none.
    pub strong: Option<strong::Options>,
    /// What can be set about the eventual board; without, the node has none.
    pub eventual: Option<eventual::Options>,
    /// What can be set about the quorum registers; without, the node has none.
    pub register: Option<register::Options>,
    /// What can be set about the overlays; without, the node has none.
    pub overlay: Option<overlay::Options>,
}

/// All protocols of a node.
#[derive(Debug)]
pub struct Host {
    id: NodeId,
    /// Who founded the cluster, and decides single values.
    founding: Membership,
    options: Options,
    generation: u64,
    /// Whether the node merely followed the others into its generation.
    followed: bool,
    paxos: Paxos,
    strong: Option<Strong>,
    /// Whether the disk is short of room.
    short: bool,
    eventual: Option<Eventual>,
    register: Option<Register>,
    overlay: Option<Overlay>,
    rng: Pcg64Mcg,
}

impl Host {
    /// Starts from what the node remembers. The cluster was founded with these members; a node that is to join later is
    /// not among those whom it is given. The seed decides the lengths of pauses, and nothing else.
    #[must_use]
    pub fn new(id: NodeId, founding: impl Into<Membership>, options: Options, mut durable: Durable, seed: u64) -> Self {
        let founding = founding.into();
        let members = founding.members();
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let (generation, followed) = (durable.generation, durable.followed);
        let log = std::mem::take(&mut durable.log);
        let (board, copies) = (std::mem::take(&mut durable.eventual), std::mem::take(&mut durable.register));
        let held = std::mem::take(&mut durable.overlay);
        let paxos = Paxos::new(id, members.clone(), options.paxos, durable, Pcg64Mcg::seed_from_u64(rng.random()));
        let strong = options.strong.map(|options| {
            let rng = Pcg64Mcg::seed_from_u64(rng.random());
            Strong::new(id, founding.clone(), options, log, rng)
        });
        let is_founder = members.contains(id);
        let eventual = options.eventual.map(|options| {
            let members = strong.as_ref().map_or(members, |strong| strong.log().members()).clone();
            let eventual = Eventual::new(id, members, options, board, Pcg64Mcg::seed_from_u64(rng.random()));
            if is_founder { eventual } else { eventual.joining() }
        });
        // Like single values, these stay with the nodes that founded the cluster.
        let register = options
            .register
            .filter(|_| is_founder)
            .map(|options| Register::new(id, members.clone(), options, copies, Pcg64Mcg::seed_from_u64(rng.random())));
        let overlay = options.overlay.map(|options| {
            let rng = Pcg64Mcg::seed_from_u64(rng.random());
            Overlay::new(id, members, options, held, rng)
        });
        let short = false;
        Self { id, founding, options, generation, followed, paxos, strong, eventual, register, overlay, short, rng }
    }

    /// Handles one message, unless it comes from a stranger or out of another generation. To the log nobody is a stranger:
    /// a leader may be a member of which this node has yet to hear; see [`super::log::members`].
    pub fn on_message(&mut self, sender: Sender, message: Message, out: &mut Out) {
        let from = sender.from;
        if let Some(generation) = sender.generation {
            let founded = self.members().contains(from) && !matches!(message, Message::Overlay(_));
            let heard = founded || !matches!(message, Message::Paxos(_)) && self.meets(from, &message);
            if !heard && !mutant!(StrangersHeard) {
                return out.ignore(from, "the sender is no member");
            }
            if generation > self.generation {
                if !self.options.lab && !mutant!(ServiceFollows) {
                    return out.ignore(from, "the sender was restarted, and nodes in service are not");
                }
                if generation - self.generation > MAX_GENERATION_LEAP {
                    return out.ignore(from, "the sender's generation leaps too far above this one");
                }
                if !mutant!(LaterGenerationHeard) {
                    self.enter(generation, true, out);
                }
            }
            if generation < self.generation && !mutant!(EarlierGenerationHeard) {
                if message != Message::Elsewhere {
                    out.send(from, Message::Elsewhere);
                }
                return out.ignore(from, "the sender lives in an earlier generation");
            }
        }
        match message {
            Message::Paxos(message) if self.decides() => self.paxos.on_message(from, message, out),
            Message::Paxos(_) => {
                out.ignore(from, "this node joined later, and the founding members decide single values")
            }
            Message::Elsewhere => {}
            Message::Eventual(message) => match &mut self.eventual {
                Some(eventual) => eventual.on_message(from, message, out),
                None => out.ignore(from, "this node has no eventual board"),
            },
            Message::Register(message) => match &mut self.register {
                Some(register) => register.on_message(from, message, out),
                None => out.ignore(from, "this node has no registers"),
            },
            Message::Overlay(message) => match &mut self.overlay {
                Some(overlay) => overlay.on_message(from, message, out),
                None => out.ignore(from, "this node has no overlays"),
            },
            message => match &mut self.strong {
                Some(strong) => strong.on_message(from, message, out),
                None => out.ignore(from, "this node has no replicated log"),
            },
        }
        self.check();
    }

    /// Whether one who did not found the cluster is heard with this; and who did, with what is for members of today.
    fn meets(&self, from: NodeId, message: &Message) -> bool {
        match (message, &self.strong) {
            (Message::Overlay(_), None) => self.members().contains(from),
            (Message::Eventual(_), _) => self.eventual.as_ref().is_some_and(|board| board.members().contains(from)),
            (_, None) => false,
            (Message::Log(_) | Message::Strong(_), Some(_)) => true,
            (_, Some(strong)) => strong.log().members().contains(from),
        }
    }

    /// Whether this node has a part in single-decree Paxos: who joins later has none.
    #[must_use]
    pub fn decides(&self) -> bool {
        self.members().contains(self.id)
    }

    /// One tick (10 ms) has passed.
    pub fn on_tick(&mut self, out: &mut Out) {
        if self.decides() {
            self.paxos.on_tick(out);
        }
        if let Some(strong) = &mut self.strong {
            strong.on_tick(out);
        }
        if let Some(eventual) = &mut self.eventual {
            if let Some(strong) = &self.strong {
                eventual.meet(strong.log().members(), out);
            }
            eventual.on_tick(out);
        }
        if let Some(register) = &mut self.register {
            register.on_tick(out);
        }
        if let Some(overlay) = &mut self.overlay {
            if let Some(strong) = &self.strong {
                overlay.meet(strong.log().members());
            }
            overlay.on_tick(out);
        }
        self.check();
    }

    /// A client proposes a value.
    pub fn propose(&mut self, proposal: Proposal, out: &mut Out) {
        self.paxos.propose(proposal, out);
        self.check();
    }

    /// Somebody asks what is known of an instance; what they are told is saved first.
    pub fn tell(&mut self, instance: &Instance, out: &mut Out) -> Option<Remembered> {
        self.paxos.tell(instance, out)
    }

    /// The batch of inputs has ended: what may leave together leaves now.
    pub fn flush(&mut self, out: &mut Out) {
        if let Some(strong) = &mut self.strong {
            strong.flush(out);
        }
        self.check();
    }

    /// The election, the log and the services; absent in a node without a replicated log.
    #[must_use]
    pub const fn strong(&self) -> Option<&Strong> {
        self.strong.as_ref()
    }

    /// The same, for clients' calls. Every step ends with [`Host::flush`], sooner or later.
    pub const fn strong_mut(&mut self) -> Option<&mut Strong> {
        self.strong.as_mut()
    }

    /// The eventual board; absent in a node without one.
    #[must_use]
    pub const fn eventual(&self) -> Option<&Eventual> {
        self.eventual.as_ref()
    }

    /// The same, for clients' calls.
    pub const fn eventual_mut(&mut self) -> Option<&mut Eventual> {
        self.eventual.as_mut()
    }

    /// The quorum registers; absent in a node without any.
    #[must_use]
    pub const fn register(&self) -> Option<&Register> {
        self.register.as_ref()
    }

    /// The same, for clients' calls.
    pub const fn register_mut(&mut self) -> Option<&mut Register> {
        self.register.as_mut()
    }
    /// The overlays; absent in a node without.
    #[must_use]
    pub const fn overlay(&self) -> Option<&Overlay> {
        self.overlay.as_ref()
    }

    /// The same, for clients' calls.
    pub const fn overlay_mut(&mut self) -> Option<&mut Overlay> {
        self.overlay.as_mut()
    }

    /// Forgets everything, and moves to a new generation. The lab's `restart`.
    pub fn restart(&mut self, out: &mut Out) {
        // A promise of an epoch binds as much as what was accepted: forgotten in the same generation it would be broken.
        let logged = self.strong.as_ref().is_some_and(|strong| strong.log().memory().promised.is_some());
        let noted = self.eventual.as_ref().is_some_and(|eventual| *eventual.board().memory() != Default::default())
            || self.register.as_ref().is_some_and(|register| !register.memory().registers.is_empty());
        let holds = self.overlay.as_ref().is_some_and(|overlay| !overlay.is_blank()) && !mutant!(RestartForgetsKeys);
        let stays = self.followed && self.paxos.instances().is_empty() && !logged && !noted && !holds;
        let generation = if stays { self.generation } else { self.generation.saturating_add(1) };
        self.enter(generation, false, out);
    }

    /// Whether the disk is short of room, from now on: see [`super::strong::room`].
    pub fn set_short(&mut self, short: bool) {
        self.short = short;
        self.paxos.set_short(short);
        if let Some(strong) = &mut self.strong {
            strong.set_short(short);
        }
    }

    /// A save has failed for want of room. The node goes back to what is on its disk, as if it had crashed there and
    /// started again, and is short of room; whoever waits is told what is known. Nothing in `out` needs a save. Gives the
    /// slot up to which an entry of the log may be on our disk, or with somebody else.
    pub fn lose_room(&mut self, durable: Durable, out: &mut Out) -> u64 {
        self.paxos.lose_room(out);
        let kept = durable.log.length();
        let reached = self.strong.as_mut().map_or(0, |strong| strong.lose_room(kept, out));
        self.register.iter_mut().for_each(|register| register.abandon(out));
        self.overlay.iter_mut().for_each(|overlay| overlay.abandon(out));
        *self = Self::new(self.id, self.founding.clone(), self.options, durable, self.rng.random());
        self.set_short(true);
        if let Some(strong) = &self.strong {
            out.notify(Event::Correspondents { addresses: strong.log().correspondents() });
        }
        reached
    }

    fn enter(&mut self, generation: u64, followed: bool, out: &mut Out) {
        for request in self.paxos.waiting() {
            out.notify(Event::Answered { request, outcome: Outcome::Restarted });
        }
        (self.generation, self.followed) = (generation, followed);
        let seed = Pcg64Mcg::seed_from_u64(self.rng.random());
        let fresh = Durable { generation, followed, ..Durable::default() };
        if !mutant!(RestartForgetsNothing) {
            self.paxos = Paxos::new(self.id, self.members().clone(), self.options.paxos, fresh, seed);
        }
        if let (Some(strong), Some(options)) = (&mut self.strong, self.options.strong) {
            strong.abandon(out);
            // A restart forgets the log, but not whether this node's memory was whole.
            let log = Memory { proven: strong.log().memory().proven, ..Memory::default() };
            let rng = Pcg64Mcg::seed_from_u64(self.rng.random());
            let before = strong.log().correspondents();
            *strong = Strong::new(self.id, self.founding.clone(), options, log, rng);
            let addresses = strong.log().correspondents();
            if addresses != before {
                out.notify(Event::Correspondents { addresses });
            }
        }
        self.set_short(self.short);
        self.forget_weak(out);
        if let (Some(overlay), Some(options)) = (&mut self.overlay, self.options.overlay) {
            overlay.abandon(out);
            let rng = Pcg64Mcg::seed_from_u64(self.rng.random());
            *overlay = Overlay::new(self.id, self.founding.members(), options, overlay::Memory::default(), rng);
        }
        out.save(Record::Generation { generation, followed });
        out.notify(Event::Restarted { generation });
    }

    /// The board and the registers begin anew.
    fn forget_weak(&mut self, out: &mut Out) {
        let (id, members) = (self.id, self.founding.members());
        if let (Some(eventual), Some(options)) = (&mut self.eventual, self.options.eventual) {
            let rng = Pcg64Mcg::seed_from_u64(self.rng.random());
            let anew = Eventual::new(id, members.clone(), options, Default::default(), rng);
            *eventual = if members.contains(id) { anew } else { anew.joining() };
        }
        if let (Some(register), Some(options)) = (&mut self.register, self.options.register) {
            register.abandon(out);
            let rng = Pcg64Mcg::seed_from_u64(self.rng.random());
            *register = Register::new(id, members.clone(), options, Default::default(), rng);
        }
    }

    fn check(&self) {
        if cfg!(debug_assertions) && self.paxos.instances().len() < 64 {
            self.paxos.check_invariants();
        }
        if cfg!(debug_assertions)
            && let Some(strong) = &self.strong
        {
            strong.check_invariants();
        }
        if cfg!(debug_assertions) {
            self.eventual.iter().for_each(Eventual::check_invariants);
            self.register.iter().for_each(Register::check_invariants);
        }
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Who founded the cluster.
    #[must_use]
    pub const fn members(&self) -> &Members {
        self.founding.members()
    }

    /// The generation that this node lives in, and that its messages carry.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The single-decree protocol, for observers.
    #[must_use]
    pub const fn paxos(&self) -> &Paxos {
        &self.paxos
    }
}

#[cfg(test)]
pub(crate) mod tests;
