//! A node without a memory: when it may vote.

use super::memory::Record;
use super::{Log, Message};
use crate::protocol::Out;
use crate::protocol::types::NodeId;

/// How often such a node asks the others, in ticks.
const ASK_TICKS: u64 = 5;

impl Log {
    pub(super) fn tick_proof(&mut self, out: &mut Out) {
        // Who joins later has no vote to prove before a leader has synchronised it.
        if self.memory.proven || !self.members().contains(self.id) {
            return;
        }
        self.prove_if_all_are_blank(out);
        if !self.memory.proven && self.now_ticks % ASK_TICKS == 1 {
            for to in self.membership.members().others(self.id) {
                out.send(to, Message::Blank);
            }
        }
    }

    /// Another node has no memory, and asks whether we have.
    pub(super) fn on_blank(&mut self, from: NodeId, out: &mut Out) {
        out.send(from, Message::Known { blank: self.memory.accepted.is_none() });
        self.on_known(from, true, out);
    }

    pub(super) fn on_known(&mut self, from: NodeId, blank: bool, out: &mut Out) {
        if self.memory.proven {
            return;
        }
        if blank {
            self.blank.insert(from);
        } else {
            self.blank.remove(&from);
        }
        self.prove_if_all_are_blank(out);
    }

    /// If no other member had accepted anything when this life of ours began, nothing was chosen then, and there is
    /// nothing that we could have forgotten.
    fn prove_if_all_are_blank(&mut self, out: &mut Out) {
        let fresh = self.memory.accepted.is_none() && self.members().contains(self.id);
        if fresh && self.members().others(self.id).all(|other| self.blank.contains(&other)) {
            self.save(Record::Prove, out);
        }
    }
}
