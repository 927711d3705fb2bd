//! What watches a run: for each protocol a [`Subject`], which plays its clients and knows its invariants.
//!
//! The world reports everything to every subject, at the moment named beside each hook, and a subject that returns
//! [`Broken`] ends the run. A subject knows what nobody in the cluster knows: all messages, all disks, all lives.

pub(super) mod paxos;

use rand_pcg::Pcg64Mcg;

use super::report::Tally;
use crate::protocol::durable::Durable;
use crate::protocol::host::{Host, Sender};
use crate::protocol::paxos::Proposal;
use crate::protocol::types::{Instance, NodeId};
use crate::protocol::{Effect, Event, Message, Record};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Which one, in the same words each time.
    pub(super) rule: String,
    /// Who broke it, and how.
    pub(super) what: String,
}

/// What a hook finds.
pub(super) type Verdict = Result<(), Broken>;

/// The check itself; `what` is only put into words when it fails.
pub(super) fn ensure(holds: bool, rule: &str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken { rule: rule.to_owned(), what: what() }) }
}

/// What a client asks of a node.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// To get a value chosen.
    Propose(Proposal),
    /// To tell what it knows of an instance.
    Ask(Instance),
}

/// Which node, in which of its lives, out of which generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) node: NodeId,
    /// Counts the node's starts.
    pub(super) life: u64,
    /// The generation it lives in when this is reported.
    pub(super) generation: u64,
}

/// One protocol under test.
pub(super) trait Subject: std::fmt::Debug {
    /// The storm rages: what does a client ask now, and of whom? Asked at every tick. What is drawn must not depend on
    /// anything but the generator, so that a run with fewer faults has the same clients.
    fn wish(&mut self, members: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)>;

    /// Some nodes are in touch again. From here on they are urged.
    fn healed(&mut self);

    /// These nodes are in touch again, and must make progress: what does a client ask of them? Asked at every tick.
    fn urge(&mut self, core: &[NodeId], rng: &mut Pcg64Mcg) -> Option<(NodeId, Call)>;

    /// Have these nodes made all the progress they must? Says what is missing.
    fn settled(&self, core: &[&Host]) -> Result<(), String>;

    /// A call reaches a node.
    fn called(&mut self, _who: Who, _call: &Call) {}

    /// A message reaches a node, which has not handled it yet.
    fn heard(&mut self, _who: Who, _sender: Sender, _message: &Message) {}

    /// A step has had this effect, which is not carried out yet.
    fn emitted(&mut self, _who: Who, _host: &Host, _effect: &Effect) -> Verdict {
        Ok(())
    }

    /// A node has taken a step.
    fn stepped(&mut self, _who: Who, _host: &Host) -> Verdict {
        Ok(())
    }

    /// Records of a node have become certain to last, each with its generation.
    fn saved(&mut self, _node: NodeId, _records: &[(u64, Record)]) -> Verdict {
        Ok(())
    }

    /// A message leaves a node for another, or has been held back for a while and reaches the node itself; the disk is
    /// certain to keep this.
    fn sent(&mut self, _who: Who, _message: &Message, _disk: &Durable) -> Verdict {
        Ok(())
    }

    /// The outside is told, with what the disk is certain to keep.
    fn told(&mut self, _who: Who, _event: &Event, _disk: &Durable) -> Verdict {
        Ok(())
    }

    /// A client that asked is answered.
    fn answered(
        &mut self,
        _who: Who,
        _instance: &Instance,
        _known: Option<&crate::protocol::durable::Remembered>,
        _disk: &Durable,
    ) -> Verdict {
        Ok(())
    }

    /// A node has lost its memory, and what its disk had not synced may be lost or not.
    fn crashed(&mut self, _node: NodeId) {}

    /// A node has started again from its disk.
    fn recovered(&mut self, _who: Who, _host: &Host) -> Verdict {
        Ok(())
    }

    /// What there is to count at the end of a run.
    fn count(&self, _tally: &mut Tally) {}
}
