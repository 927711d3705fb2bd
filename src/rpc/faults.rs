//! The faults of Synod's own: positive, stable codes, each definite (it did not happen) or indefinite (it may have).
//!
//! The negative codes are the standard ones of the `faults_interop` specification.

use crate::xmlrpc::Fault;

/// One kind of fault. The codes are part of the interface and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultKind {
    /// The `faultCode`.
    pub code: i32,
    /// A name for programs and for people.
    pub name: &'static str,
    /// Whether it is certain that the call had no effect.
    pub definite: bool,
    /// What it means, and what to do.
    pub meaning: &'static str,
}

/// No majority answered before the deadline, and the value was never sent out.
pub const UNAVAILABLE: FaultKind = FaultKind {
    code: 100,
    name: "unavailable",
    definite: true,
    meaning: "no majority of the nodes answered in time; the value was not written. Start the nodes that are down, or \
              try again with a longer deadline_ms.",
};
/// Others kept promising higher ballots, and the value was never sent out.
pub const PREEMPTED: FaultKind = FaultKind {
    code: 101,
    name: "preempted",
    definite: true,
    meaning: "other proposers' higher ballots stood in the way until the deadline; the value was not written. Try again.",
};
/// The value was sent out, and no majority was heard.
pub const UNKNOWN: FaultKind = FaultKind {
    code: 102,
    name: "unknown",
    definite: false,
    meaning: "the value was sent to the acceptors, but no majority was heard in time: it may or may not be chosen. Ask \
              again with decided(instance), or propose again.",
};
/// The node was restarted during the call.
pub const RESTARTED: FaultKind = FaultKind {
    code: 103,
    name: "restarted",
    definite: false,
    meaning: "the node was restarted while the call was running and has forgotten it. Propose again.",
};
/// The node stopped during the call.
pub const STOPPED: FaultKind = FaultKind {
    code: 104,
    name: "stopped",
    definite: false,
    meaning: "the node stopped before it could answer: the call may or may not have had its effect. Ask another node.",
};
/// The node was not started for the lab.
pub const NOT_A_LAB: FaultKind = FaultKind {
    code: 110,
    name: "not a lab",
    definite: true,
    meaning: "the method is for nodes started with --lab; this one was started for service.",
};
/// The protocol dropped the message.
pub const IGNORED: FaultKind = FaultKind {
    code: 111,
    name: "ignored",
    definite: true,
    meaning: "the acceptor dropped the message and changed nothing; the text says why.",
};
/// The node holds as many instances as it may.
pub const FULL: FaultKind = FaultKind {
    code: 112,
    name: "full",
    definite: true,
    meaning: "the node holds as many instances as it may; the value was not written. Use an instance that exists, or \
              restart the lab.",
};
/// The value is larger than a node takes.
pub const TOO_LARGE: FaultKind = FaultKind {
    code: 113,
    name: "too large",
    definite: true,
    meaning: "the value is larger than 1 MiB in its XML-RPC form; it was not written. Store a reference to it instead.",
};
/// A gate or a timeout was asked for that cannot be.
pub const BAD_OPTION: FaultKind = FaultKind {
    code: 114,
    name: "bad option",
    definite: true,
    meaning: "an option or argument has a value that cannot be meant; the text says which. Nothing was done.",
};

/// The caller has not the role that the method is for.
pub const FORBIDDEN: FaultKind = FaultKind {
    code: 115,
    name: "forbidden",
    definite: true,
    meaning: "these credentials do not allow the method; nothing was done. An administrator gives roles with \
              'synod credentials add NAME --role ROLE'.",
};

/// A compare-and-set lost.
pub const COMPARE: FaultKind = FaultKind {
    code: 116,
    name: "compare",
    definite: true,
    meaning: "the key has another version than the one compared with, which the text names; nothing was written. Get it,               and compare again.",
};
/// There is no such post or file.
pub const NOT_FOUND: FaultKind = FaultKind {
    code: 117,
    name: "not found",
    definite: true,
    meaning: "there is no such post or file; nothing was changed.",
};
/// There is such a file already.
pub const EXISTS: FaultKind = FaultKind {
    code: 118,
    name: "exists",
    definite: true,
    meaning: "there is such a file already; it was not changed.",
};
/// The token's grant is over.
pub const FENCED: FaultKind = FaultKind {
    code: 119,
    name: "fenced",
    definite: true,
    meaning: "the token's lock has a newer holder, or none any more; nothing was written. Acquire the lock anew.",
};
/// The caller does not hold the lock.
pub const NOT_HOLDER: FaultKind = FaultKind {
    code: 120,
    name: "not the holder",
    definite: true,
    meaning: "the owner neither holds the lock nor waits for it; nothing was changed.",
};
/// A later call of the client was applied.
pub const SUPERSEDED: FaultKind = FaultKind {
    code: 121,
    name: "superseded",
    definite: false,
    meaning: "a later call of the same client was applied: this one was not applied now, but may have been before. Number               your calls in the order in which you make them.",
};
/// The request id was another call's.
pub const REUSED: FaultKind = FaultKind {
    code: 122,
    name: "reused",
    definite: true,
    meaning: "the request id was given to another call before; nothing was done. Give each call a number of its own.",
};
/// What happened since then is not kept.
pub const FORGOTTEN: FaultKind = FaultKind {
    code: 123,
    name: "forgotten",
    definite: true,
    meaning: "not all that happened since that counter is kept. List anew, and go on from there.",
};

/// The node to be added belongs to the cluster already.
pub const MEMBER: FaultKind = FaultKind {
    code: 124,
    name: "member",
    definite: true,
    meaning: "the node is a member already, or its address is another member's; the members were not changed.",
};
/// The node does not belong to the cluster.
pub const NO_MEMBER: FaultKind = FaultKind {
    code: 125,
    name: "no member",
    definite: true,
    meaning: "the node that the text names is no member of the cluster; nothing was changed. cluster.members() lists them.",
};
/// A cluster has members, but not any number of them.
pub const MEMBER_COUNT: FaultKind = FaultKind {
    code: 126,
    name: "member count",
    definite: true,
    meaning: "a cluster has at least one member and at most 64; the members were not changed.",
};
/// Members change one at a time.
pub const CHANGING: FaultKind = FaultKind {
    code: 127,
    name: "changing",
    definite: true,
    meaning: "another change of the members is under way, or the leader has only just been elected; this one was not begun. \
              Try again in a moment.",
};
/// The node to be added cannot be brought up to date.
pub const NEWCOMER_SILENT: FaultKind = FaultKind {
    code: 128,
    name: "newcomer silent",
    definite: true,
    meaning: "the node to be added does not answer the leader at that address; the members were not changed. Start it with \
              --join, and try again.",
};

/// There is no room on the disk.
pub const DISK_FULL: FaultKind = FaultKind {
    code: 129,
    name: "disk full",
    definite: true,
    meaning: "the disk of the node that the text names is full; nothing was changed. Free space there: the node goes on by \
              itself. Until then, what it has can be read from it with the option read = 'local'.",
};

/// The value of a register was sent out, and no write quorum was heard.
pub const HALF_WRITTEN: FaultKind = FaultKind {
    code: 130,
    name: "half written",
    definite: false,
    meaning: "the value was sent to the nodes, but fewer than a write quorum said in time that they hold it: some reads may \
              find it and others not, until one writes it back. Read the register, or write again.",
};
/// The quorum sizes let reads miss writes.
pub const APART: FaultKind = FaultKind {
    code: 131,
    name: "quorums apart",
    definite: true,
    meaning: "with these quorum sizes a read can miss a write, so a node in service does not take them; nothing was changed. \
              A lab's node takes them.",
};
/// There is no such key in the overlay.
pub const NO_KEY: FaultKind = FaultKind {
    code: 140,
    name: "no key",
    definite: true,
    meaning: "there is no such key in the overlay, or none within reach; nothing was changed.",
};
/// The overlay's nodes could not be reached, and nothing was sent out that changes anything.
pub const NOT_REACHED: FaultKind = FaultKind {
    code: 141,
    name: "not reached",
    definite: true,
    meaning: "the nodes that the overlay's call needs did not answer in time; nothing was changed. The text says which \
              were missing. Try again, or start the nodes that are down.",
};
/// Not all of the overlay's nodes have confirmed a change.
pub const NOT_CONFIRMED: FaultKind = FaultKind {
    code: 142,
    name: "not confirmed",
    definite: false,
    meaning: "the change was sent out, and not all that must confirm it did so in time: it may have happened, on some \
              nodes or on all. Get the key, or do it again.",
};
/// The node is not in a state for that.
pub const NOT_NOW: FaultKind = FaultKind {
    code: 143,
    name: "not now",
    definite: true,
    meaning: "the node's place in the overlay does not allow it at present; the text says why. Nothing was changed.",
};
/// The key is too long.
pub const KEY_TOO_LONG: FaultKind = FaultKind {
    code: 144,
    name: "key too long",
    definite: true,
    meaning: "a key of an overlay is a text of at most 512 bytes; nothing was done.",
};
/// A node of the overlay is full.
pub const OVERLAY_FULL: FaultKind = FaultKind {
    code: 145,
    name: "overlay full",
    definite: true,
    meaning: "a node that would hold the key holds as many keys or bytes as it may; nothing was changed. Remove keys.",
};

/// There is no way between these nodes that could fail.
pub const NO_LINK: FaultKind = FaultKind {
    code: 150,
    name: "no link",
    definite: true,
    meaning: "there is no link from this node to the one that is named: it is no member of the cluster, or the node \
              itself. Nothing was done. status() names the members.",
};

/// All of them, by code.
pub const FAULTS: [FaultKind; 34] = [
    UNAVAILABLE,
    PREEMPTED,
    UNKNOWN,
    RESTARTED,
    STOPPED,
    NOT_A_LAB,
    IGNORED,
    FULL,
    TOO_LARGE,
    BAD_OPTION,
    FORBIDDEN,
    COMPARE,
    NOT_FOUND,
    EXISTS,
    FENCED,
    NOT_HOLDER,
    SUPERSEDED,
    REUSED,
    FORGOTTEN,
    MEMBER,
    NO_MEMBER,
    MEMBER_COUNT,
    CHANGING,
    NEWCOMER_SILENT,
    DISK_FULL,
    HALF_WRITTEN,
    APART,
    NO_KEY,
    NOT_REACHED,
    NOT_CONFIRMED,
    NOT_NOW,
    KEY_TOO_LONG,
    OVERLAY_FULL,
    NO_LINK,
];

impl FaultKind {
    /// A fault of this kind.
    #[must_use]
    pub fn fault(self, text: impl Into<String>) -> Fault {
        Fault { code: self.code, string: text.into() }
    }

    /// The kind of a code, if it is one of ours.
    #[must_use]
    pub fn of_code(code: i32) -> Option<Self> {
        FAULTS.into_iter().find(|kind| kind.code == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_positive_and_apart() {
        for pair in FAULTS.windows(2) {
            assert!(0 < pair[0].code && pair[0].code < pair[1].code);
        }
    }
}
