//! The table of these methods.

use super::What;
use crate::protocol::overlay::Which;
use crate::rpc::access::Role;
use crate::rpc::methods::{Id as AnyId, Method};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum Id {
    /// Something about a key.
    Key(Which, What),
    Ring,
    Fingers,
    Join,
    Leave,
}

const fn method(
    name: &'static str,
    id: Id,
    signatures: &'static [&'static [&'static str]],
    usage: &'static str,
    help: &'static str,
) -> Method {
    Method { name, id: AnyId::Overlay(id), signatures, usage, help, lab: false, role: Role::Client }
}

const fn admin(method: Method) -> Method {
    Method { role: Role::Admin, ..method }
}

const S: &str = "string";
const M: &str = "struct";
const SET: &[&[&str]] = &[&[M, S, S], &[M, S, S, M]];
const KEY: &[&[&str]] = &[&[M, S], &[M, S, M]];
const NODE: &[&[&str]] = &[&[M], &[M, M]];

/// All of them; the table of [`crate::rpc::methods`] sorts them in.
pub(in crate::rpc) static METHODS: &[Method] = &[
    method(
        "dht.fingers",
        Id::Fingers,
        &[&["array"]],
        "",
        "The finger tables of this node: an array of structs of position (one of its places on the ring, 16 hexadecimal \
         digits), exponent (int), start (position + 2^exponent), node (the first one known at or behind start) and at \
         (where that node stands).",
    ),
    method(
        "dht.get",
        Id::Key(Which::Dht, What::Get),
        KEY,
        "key [, options]",
        "Looks up a key in the distributed hash table. Returns found (boolean), value if found, hops (array of nodes: the \
         route of the lookup, from this node to the key's owner), copies (int: how many owners had this version) and \
         messages (int). Options of all calls about overlays: deadline_ms (int, default 5000).",
    ),
    admin(method(
        "dht.join",
        Id::Join,
        NODE,
        "[options]",
        "Makes this node part of the ring again, and waits until it is. Returns hops and copies (0). Nodes join by \
         themselves when they start, unless they were told to leave.",
    )),
    admin(method(
        "dht.leave",
        Id::Leave,
        NODE,
        "[options]",
        "Hands over all keys that this node holds to their next owners, and leaves the ring; also after a restart it stays \
         away, until dht.join. Returns hops and copies (int: the keys handed over).",
    )),
    method(
        "dht.remove",
        Id::Key(Which::Dht, What::Remove),
        KEY,
        "key [, options]",
        "Removes a key from the hash table, on all its owners. Returns hops, copies and messages. Fault 140 if there is no \
         such key.",
    ),
    method(
        "dht.ring",
        Id::Ring,
        &[&[M]],
        "",
        "The ring as this node knows it. Returns state ('joining', 'joined', 'leaving' or 'left'), keys (int: copies held \
         here), points (array of structs of position and node, in the order of the ring: all that this node knows) and \
         own (array of structs of position, predecessor if known, and successors, the next nodes).",
    ),
    method(
        "dht.set",
        Id::Key(Which::Dht, What::Set),
        SET,
        "key, value [, options]",
        "Sets a key (any text of up to 512 bytes) in the distributed hash table to a value of any type but nil. All of its \
         three owners have saved it when this returns. Returns hops, copies (int) and messages.",
    ),
    method(
        "flood.get",
        Id::Key(Which::Flood, What::Get),
        KEY,
        "key [, options]",
        "Asks the neighbours for a key, and they theirs, up to seven hops. Returns found, value if found, hops (the route \
         of the query to the holder) and copies. Not found means: not within reach.",
    ),
    method(
        "flood.remove",
        Id::Key(Which::Flood, What::Remove),
        KEY,
        "key [, options]",
        "Has all holders of a key within reach forget it. Returns hops and copies (int: how many had it).",
    ),
    method(
        "flood.set",
        Id::Key(Which::Flood, What::Set),
        SET,
        "key, value [, options]",
        "Sets a key on this node, to be found by flooding; holders of older versions within reach forget theirs. Returns \
         hops (this node) and copies (1).",
    ),
    method(
        "index.get",
        Id::Key(Which::Index, What::Get),
        KEY,
        "key [, options]",
        "Asks the index (the node with the lowest id) who holds a key, and then that node. Returns found, value if found, \
         hops (this node, the index, the holder) and copies.",
    ),
    method(
        "index.remove",
        Id::Key(Which::Index, What::Remove),
        KEY,
        "key [, options]",
        "Takes a key out of the index; its holder drops it. Returns hops and copies.",
    ),
    method(
        "index.set",
        Id::Key(Which::Index, What::Set),
        SET,
        "key, value [, options]",
        "Sets a key on this node, and has the index enter this node as its holder. Returns hops and copies (1).",
    ),
];
