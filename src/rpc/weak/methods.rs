//! The table of these methods.

use crate::rpc::access::Role;
use crate::rpc::methods::{Id as AnyId, Method};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum Id {
    Post,
    Modify,
    Delete,
    List,
    Watch,
    Status,
    Read,
    Write,
    Quorum,
}

const fn client(
    name: &'static str,
    id: Id,
    signatures: &'static [&'static [&'static str]],
    usage: &'static str,
    help: &'static str,
) -> Method {
    Method { name, id: AnyId::Weak(id), signatures, usage, help, lab: false, role: Role::Client }
}

const S: &str = "string";
const I: &str = "int";
const M: &str = "struct";

/// All of them; the table of [`crate::rpc::methods`] sorts them in.
pub(in crate::rpc) static METHODS: &[Method] = &[
    client(
        "board.eventual.delete",
        Id::Delete,
        &[&[M, S]],
        "id",
        "Takes an entry from the eventual board, for good: no modification made elsewhere brings it back. Answered at once, \
         also by a node that is cut off. Returns id, author, clock and server (node) of the delete.",
    ),
    client(
        "board.eventual.list",
        Id::List,
        &[&["array"], &["array", M]],
        "[options]",
        "The entries as this node has them, ordered by id: an array of structs of id (string, 'clock.server'), text, author \
         (node), clock and server (of the last change); of 2 MiB at most, so go on after the last. Options: limit (int), \
         after (string, an id), newest (boolean: the last entries instead of the first).",
    ),
    client(
        "board.eventual.modify",
        Id::Modify,
        &[&[M, S, S]],
        "id, text",
        "Gives an entry another text, at once. Of modifications made without knowing of each other the one with the higher \
         (clock, server) stands in the end, on all nodes. Returns id, text, author, clock and server.",
    ),
    client(
        "board.eventual.post",
        Id::Post,
        &[&[M, S]],
        "text",
        "Posts to the eventual board of this node, at once, also if no other node can be reached; the others come to show it \
         when they can. Returns id (string, 'clock.server'), text, author, clock and server.",
    ),
    client(
        "board.eventual.status",
        Id::Status,
        &[&[M]],
        "",
        "How this node's eventual board is: clock, versions (of each server, the clock up to which all is known here), digest \
         (equal on nodes that show the same), posts, tombstones, pending (operations not yet known to be everywhere), \
         changes, astray (boolean).",
    ),
    client(
        "board.eventual.watch",
        Id::Watch,
        &[&[M, I, I]],
        "since, timeout_ms",
        "Waits for changes of this node's eventual board after its change number since (status tells the last). Returns \
         events, in the order in which they came to be known here, each a struct of what ('posted', 'modified', 'deleted'), \
         id, author, clock, server, counter and perhaps text; and next, to go on from on this node.",
    ),
    client(
        "register.read",
        Id::Read,
        &[&[M, S], &[M, S, M]],
        "name [, options]",
        "Reads a quorum register. Returns found (boolean) and, if it was written, value and timestamp ('counter.node'). \
         Options: deadline_ms (int, default 5000). Fault 100: no read quorum answered.",
    ),
    client(
        "register.write",
        Id::Write,
        &[&[M, S, S], &[M, S, S, M]],
        "name, value [, options]",
        "Writes a quorum register: any value but nil, under any name of at most 512 bytes. Returns timestamp \
         ('counter.node'). Options: deadline_ms (int, default 5000). Faults: 100 (not written), 130 (it may be read).",
    ),
    Method {
        name: "register.quorum",
        id: AnyId::Weak(Id::Quorum),
        signatures: &[&[M], &[M, I, I]],
        usage: "[read, write]",
        help: "How many nodes the reads and the writes of this node ask; with two numbers, sets that until the node is started \
               again. In service both are at least a majority; a lab's node takes any. Returns read, write, nodes and \
               intersect (boolean: no read misses a write, if all nodes have these sizes).",
        lab: false,
        role: Role::Admin,
    },
];
