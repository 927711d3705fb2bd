//! The table of these methods.

use crate::rpc::access::Role;
use crate::rpc::methods::{Id as AnyId, Method};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum Id {
    KvPut,
    KvDelete,
    KvCas,
    KvGet,
    KvList,
    KvWatch,
    BoardPost,
    BoardModify,
    BoardDelete,
    BoardList,
    BoardWatch,
    FileCreate,
    FileAppend,
    FileRead,
    FileDelete,
    FileList,
    FileHistory,
    LockAcquire,
    LockRenew,
    LockRelease,
    LockList,
    Outcome,
    Elect,
    Leader,
    MemberAdd,
    MemberRemove,
    Members,
}

const fn client(
    name: &'static str,
    id: Id,
    signatures: &'static [&'static [&'static str]],
    usage: &'static str,
    help: &'static str,
) -> Method {
    Method { name, id: AnyId::Strong(id), signatures, usage, help, lab: false, role: Role::Client }
}

const fn admin(
    name: &'static str,
    id: Id,
    signatures: &'static [&'static [&'static str]],
    usage: &'static str,
    help: &'static str,
) -> Method {
    Method { role: Role::Admin, ..client(name, id, signatures, usage, help) }
}

const S: &str = "string";
const I: &str = "int";
const M: &str = "struct";

/// All of them; the table of [`crate::rpc::methods`] sorts them in.
pub(in crate::rpc) static METHODS: &[Method] = &[
    client(
        "board.strong.delete",
        Id::BoardDelete,
        &[&[M, I], &[M, I, M]],
        "id [, options]",
        "Takes a post from the board. Returns id, epoch and counter. Options of all writes: request (string \
         'client/sequence': applied once however often it is called), deadline_ms (int, default 5000).",
    ),
    client(
        "board.strong.list",
        Id::BoardList,
        &[&["array"], &["array", M]],
        "[options]",
        "The posts in the leader's order: an array of structs of id, text, author (node), epoch and counter; of 2 MiB of \
         texts at most, so go on after the last. Options: limit (int), after (string, an id: only what comes after it).",
    ),
    client(
        "board.strong.modify",
        Id::BoardModify,
        &[&[M, I, S], &[M, I, S, M]],
        "id, text [, options]",
        "Gives a post another text. Returns id, epoch and counter.",
    ),
    client(
        "board.strong.post",
        Id::BoardPost,
        &[&[M, S], &[M, S, M]],
        "text [, options]",
        "Posts to the board that all nodes show in one order. Returns id, which is never used again, epoch and counter.",
    ),
    client(
        "board.strong.watch",
        Id::BoardWatch,
        &[&[M, I, I]],
        "since, timeout_ms",
        "Waits for changes of the board after the counter since. Returns events, in order, each a struct of what \
         ('posted', 'modified', 'deleted'), id, author, epoch, counter and perhaps text; and next, to go on from.",
    ),
    client(
        "bully.status",
        Id::Leader,
        &[&[M]],
        "",
        "Who leads, as this node sees it: leader (absent when none is known), epoch, eligible (boolean), hears (array \
         of nodes), state.",
    ),
    admin(
        "cluster.add",
        Id::MemberAdd,
        &[&[M, I, S], &[M, I, S, M]],
        "node, address [, options]",
        "Makes a node, started with --join and listening at HOST:PORT, a member of the cluster, once the leader has \
         brought it up to date. Members change one at a time. Returns epoch, counter and message. Options: deadline_ms \
         (int, default 30000). Faults: 124, 126, 127, 128 (not changed), 102 (unknown). Single values (propose) stay with \
         the nodes that founded the cluster.",
    ),
    client(
        "cluster.members",
        Id::Members,
        &[&[M], &[M, M]],
        "[options]",
        "The members of the cluster, by its log. Returns members (an array of structs of node and address) and changing \
         (boolean: the last change is not committed yet).",
    ),
    admin(
        "cluster.remove",
        Id::MemberRemove,
        &[&[M, I], &[M, I, M]],
        "node [, options]",
        "Takes a node out of the cluster, also one that is down, or the leader: that one steps down when it is done. \
         Returns epoch, counter and message. Options: deadline_ms (int, default 30000). Faults: 125, 126, 127 (not \
         changed), 102 (unknown).",
    ),
    client(
        "files.append",
        Id::FileAppend,
        &[&[M, S, S], &[M, S, S, M]],
        "name, line [, options]",
        "Adds a line to a file. Returns message, epoch and counter. Options of kv and files writes, beside those of all \
         writes: token (int) and lock (string): refused unless the lock's grant with this token still holds.",
    ),
    client(
        "files.create",
        Id::FileCreate,
        &[&[M, S], &[M, S, M]],
        "name [, options]",
        "Makes an empty file. Returns message, epoch and counter.",
    ),
    client(
        "files.delete",
        Id::FileDelete,
        &[&[M, S], &[M, S, M]],
        "name [, options]",
        "Deletes a file. Returns message, epoch and counter.",
    ),
    client(
        "files.history",
        Id::FileHistory,
        &[&[M], &[M, I], &[M, I, M]],
        "[since [, options]]",
        "What was done to files after the counter since, or all that is kept. Returns lines, an array of \
         '<command> <epoch> <counter>', and next, to go on from.",
    ),
    client(
        "files.list",
        Id::FileList,
        &[&["array"], &["array", M]],
        "[options]",
        "The files: an array of structs of name, lines, bytes, epoch and counter (of the last change).",
    ),
    client(
        "files.read",
        Id::FileRead,
        &[&[M, S], &[M, S, M]],
        "name [, options]",
        "A file, whole, as of one moment. Returns name, text (the lines, joined by line ends), lines (int), epoch and \
         counter (of the last change). Options of all reads: read ('linearizable', the default, or 'local', which says \
         applied and behind), deadline_ms.",
    ),
    client(
        "kv.cas",
        Id::KvCas,
        &[&[M, S, I, S], &[M, S, I, S, M]],
        "key, version, value [, options]",
        "Sets a key if it still has this version; 0 if it must not exist. Returns epoch, counter and version. A fault \
         (116) names the version that it has instead.",
    ),
    client(
        "kv.delete",
        Id::KvDelete,
        &[&[M, S], &[M, S, M]],
        "key [, options]",
        "Deletes a key. Returns epoch, counter and, if there was such a key, the version that was deleted.",
    ),
    client(
        "kv.get",
        Id::KvGet,
        &[&[M, S], &[M, S, M]],
        "key [, options]",
        "Returns found (boolean) and, if found, value, version, epoch and counter.",
    ),
    client(
        "kv.list",
        Id::KvList,
        &[&[M, S], &[M, S, M]],
        "prefix [, options]",
        "The keys that begin like this, in order. Returns entries (an array of structs of key, value and version) and \
         more (boolean). Options: limit (int, default and at most 1000), after (a key: only what comes after it).",
    ),
    client(
        "kv.put",
        Id::KvPut,
        &[&[M, S, S], &[M, S, S, M]],
        "key, value [, options]",
        "Sets a key to a value of any type but nil. Returns epoch, counter and version.",
    ),
    client(
        "kv.watch",
        Id::KvWatch,
        &[&[M, S, I, I]],
        "prefix, since, timeout_ms",
        "Waits for changes of keys that begin like this, after the counter since. Returns events, in order, each a \
         struct of key, what ('put', 'deleted'), version, epoch, counter and perhaps value; and next, to go on from. A \
         node tells what it has applied, which may be less than what another has answered already.",
    ),
    client(
        "lock.acquire",
        Id::LockAcquire,
        &[&[M, S, S, I], &[M, S, S, I, I], &[M, S, S, I, I, M]],
        "name, owner, ttl_ms [, wait_ms [, options]]",
        "Takes a lock for ttl_ms, waiting for it for up to wait_ms, first come first served. Returns granted (boolean), \
         and token (int, only grows: give it with what you write) or the position in the queue. With deadline_ms it answers \
         by then also while it waits: ask again within wait_ms, and the place is kept.",
    ),
    client(
        "lock.list",
        Id::LockList,
        &[&["array"], &["array", M]],
        "[options]",
        "The locks that are held: an array of structs of name, owner, token, expires_in_ms and queue (array of owners).",
    ),
    client(
        "lock.release",
        Id::LockRelease,
        &[&[M, S, S], &[M, S, S, I], &[M, S, S, I, M]],
        "name, owner [, token [, options]]",
        "Lets go of a lock, or leaves its queue. Returns released (boolean), epoch and counter.",
    ),
    client(
        "lock.renew",
        Id::LockRenew,
        &[&[M, S, S], &[M, S, S, I], &[M, S, S, I, I], &[M, S, S, I, I, M]],
        "name, owner [, token [, ttl_ms [, options]]]",
        "Holds a lock for longer: for ttl_ms from now, or for as long as when it was taken. Returns granted and token.",
    ),
    client(
        "synod.outcome",
        Id::Outcome,
        &[&[M, S], &[M, S, M]],
        "request [, options]",
        "What became of a call that carried this request id. Returns applied (boolean) and, if applied, answer (what \
         the call returned) or fault_code and fault_string; last (int), the client's latest call that was applied, if any.",
    ),
];

/// The lab's.
pub(in crate::rpc) static LAB_METHODS: &[Method] = &[Method {
    name: "bully.elect",
    id: AnyId::Strong(Id::Elect),
    signatures: &[&[M]],
    usage: "",
    help: "Holds an election here, although a coordinator may live. Returns what bully.status returns.",
    lab: true,
    role: Role::Admin,
}];
