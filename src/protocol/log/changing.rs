//! The leader's side of a change of the members; the rule and its reasons are in [`super::members`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::leader::Leading;
use super::members::{Change, Membership, Unchanged};
use super::{Command, Log, Message, Notice, Role};
use crate::protocol::Out;
use crate::protocol::quorum::Members;
use crate::protocol::types::{Ballot, NodeId};

/// A node that is brought up to date, to be a member then.
#[derive(Debug, Clone, Hash)]
pub(super) struct Newcomer {
    pub(super) node: NodeId,
    address: Arc<str>,
    /// It is a member as soon as it has so much of the log.
    goal: u64,
    pub(super) heard_ticks: u64,
}

/// A node that was removed, and is to hear of that.
#[derive(Debug, Clone, Hash)]
pub(super) struct Removed {
    node: NodeId,
    address: Arc<str>,
    /// The entry that removed it.
    slot: u64,
    /// Waited for since that was committed.
    since_ticks: Option<u64>,
}

/// How a change begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// As an entry.
    Entered {
        /// The epoch in which it was appended.
        epoch: Ballot,
        /// Its slot.
        slot: u64,
    },
    /// The new node is brought up to date first; a [`Notice`] says when there is an entry.
    Preparing,
}

impl Log {
    /// Begins a change of the members, if this node leads: `None` if it does not.
    ///
    /// # Errors
    /// The change makes no sense, or cannot be begun now.
    pub fn change(&mut self, change: &Change, out: &mut Out) -> Option<Result<Begun, Unchanged>> {
        let (now, length) = (self.now_ticks, self.memory.length());
        let settled = !self.memory.is_changing();
        let Role::Leader(leading) = &mut self.role else { return None };
        let next = match self.membership.after(change) {
            Ok(next) => next,
            Err(why) => return Some(Err(why)),
        };
        // Before an entry of its own epoch is committed the leader does not know what else is; see the module's rule 3.
        if !settled || leading.newcomer.is_some() || self.memory.committed < leading.start() {
            return Some(Err(Unchanged::Busy));
        }
        let epoch = leading.epoch;
        Some(Ok(match change {
            Change::Add { node, address } => {
                let (node, address) = (*node, address.clone());
                // It may have been a member before: what was known of it then is not known now.
                leading.followers.remove(&node);
                leading.removed.retain(|removed| removed.node != node);
                leading.newcomer = Some(Newcomer { node, address, goal: length, heard_ticks: now });
                self.note_correspondents();
                out.send(node, Message::Prepare { epoch });
                Begun::Preparing
            }
            Change::Remove { node } => {
                let address = self.membership.addresses().get(node).cloned().unwrap_or_default();
                if *node != self.id {
                    leading.removed.push(Removed { node: *node, address, slot: length + 1, since_ticks: None });
                }
                let slot = self.enter(next);
                Begun::Entered { epoch, slot }
            }
        }))
    }

    /// A membership becomes an entry of the leader's, and is in force.
    fn enter(&mut self, next: Membership) -> u64 {
        if let Role::Leader(leading) = &self.role {
            self.memory.entries.append(leading.epoch, Command::Members(Arc::new(next)));
            self.look_at_members();
        }
        self.memory.length()
    }

    /// The newcomer has said something.
    pub(super) fn hear_newcomer(&mut self, from: NodeId) {
        let now = self.now_ticks;
        if let Role::Leader(leading) = &mut self.role
            && let Some(newcomer) = leading.newcomer.as_mut().filter(|newcomer| newcomer.node == from)
        {
            newcomer.heard_ticks = now;
        }
    }

    /// Makes the newcomer a member once it has what there was when it was announced.
    pub(super) fn admit_newcomer(&mut self) {
        let Role::Leader(leading) = &mut self.role else { return };
        let Some(Newcomer { node, address, goal, .. }) = &leading.newcomer else { return };
        if leading.matched(*node).is_none_or(|length| length < *goal) {
            return;
        }
        let next = self.membership.after(&Change::Add { node: *node, address: address.clone() });
        let epoch = leading.epoch;
        leading.newcomer = None;
        let notice = match next {
            Ok(next) => Notice::Joined { epoch, slot: self.enter(next) },
            Err(why) => Notice::NotJoined { why: Some(why) },
        };
        self.notices.push(notice);
        self.note_correspondents();
    }

    /// Waits no longer for a newcomer that is silent, nor for removed nodes that know or do not answer.
    pub(super) fn tick_changing(&mut self, out: &mut Out) {
        let (now, committed, patience) = (self.now_ticks, self.memory.committed, self.options.newcomer_ticks);
        let resend = now.is_multiple_of(self.options.resend_ticks);
        let Role::Leader(leading) = &mut self.role else { return };
        let epoch = leading.epoch;
        match &leading.newcomer {
            Some(newcomer) if newcomer.heard_ticks + patience <= now => {
                leading.followers.remove(&newcomer.node);
                leading.newcomer = None;
                self.notices.push(Notice::NotJoined { why: Some(Unchanged::Silent) });
                return self.note_correspondents();
            }
            Some(newcomer) if resend && !leading.followers.contains_key(&newcomer.node) => {
                out.send(newcomer.node, Message::Prepare { epoch });
            }
            _ => {}
        }
        if leading.removed.is_empty() {
            return;
        }
        let Leading { removed, followers, .. } = &mut **leading;
        removed.retain_mut(|removed| {
            let Some(follower) = followers.get(&removed.node) else { return false };
            if committed < removed.slot {
                return true;
            }
            let since = *removed.since_ticks.get_or_insert(now);
            let stays = !follower.knows(removed.slot) && since + patience > now;
            if !stays {
                followers.remove(&removed.node);
            }
            stays
        });
        self.note_correspondents();
    }

    /// After the log has changed: takes the membership that is in force now.
    pub(super) fn look_at_members(&mut self) {
        let found = self.memory.members_at(self.memory.length());
        let in_force = found.map_or(&self.founding, |members| &**members);
        if *in_force != self.membership {
            self.membership = in_force.clone();
            self.note_correspondents();
        }
    }

    /// A former member whose removal is not known to be committed: it has no voice, but may still lead.
    #[must_use]
    pub fn leaving(&self) -> Option<NodeId> {
        if !self.memory.is_changing() {
            return None;
        }
        let before = self.before_change();
        before.members().iter().find(|node| !self.membership.members().contains(*node))
    }

    /// The membership as far as it is committed.
    fn before_change(&self) -> &Membership {
        self.memory.members_at(self.memory.committed).map_or(&self.founding, |members| &**members)
    }

    /// Whom this node may have something to say to has perhaps changed.
    pub(super) const fn note_correspondents(&mut self) {
        self.correspondents_changed = true;
    }

    /// Whom this node may have something to say to, and where they listen, if that has changed since the last call.
    pub fn take_correspondents(&mut self) -> Option<BTreeMap<NodeId, Arc<str>>> {
        // Who is leaving may be of the past when more is committed.
        let changing = self.memory.is_changing();
        let settled = std::mem::replace(&mut self.was_changing, changing) && !changing;
        if !std::mem::take(&mut self.correspondents_changed) && !settled {
            return None;
        }
        let now = self.correspondents();
        let changed = now != self.told_correspondents;
        changed.then(|| {
            self.told_correspondents.clone_from(&now);
            now
        })
    }

    /// Whom this node may have something to say to, itself perhaps included, and where they listen.
    #[must_use]
    pub fn correspondents(&self) -> BTreeMap<NodeId, Arc<str>> {
        let mut all = self.membership.addresses().clone();
        let mut add = |node: NodeId, address: &Arc<str>| _ = all.entry(node).or_insert_with(|| address.clone());
        if self.memory.is_changing() {
            self.before_change().addresses().iter().for_each(|(node, address)| add(*node, address));
        }
        match &self.role {
            Role::Follower => {}
            Role::Candidate(campaign) => {
                let known = campaign.memberships().flat_map(|members| members.addresses());
                known.for_each(|(node, address)| add(*node, address));
            }
            Role::Leader(leading) => {
                leading.newcomer.iter().for_each(|newcomer| add(newcomer.node, &newcomer.address));
                leading.removed.iter().for_each(|removed| add(removed.node, &removed.address));
            }
        }
        all
    }

    /// The members that are in force here.
    #[must_use]
    pub const fn members(&self) -> &Members {
        self.membership.members()
    }

    /// The members that are in force here, and where they listen.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }
}
