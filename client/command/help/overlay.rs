//! The rows about the overlays.

use super::super::overlay::Overlay;
use super::super::services::ServiceVerb as V;
use super::{Help, Verb};

const fn row(overlay: Overlay, usage: &'static str, summary: &'static str, text: &'static str) -> Help {
    Help { verb: Verb::Service(V::Overlay(overlay)), name: overlay.name(), aliases: &[], usage, summary, text }
}

/// In the order in which `help` lists them.
pub(super) const OVERLAYS: [Help; 3] = [
    row(
        Overlay::Dht,
        "dht set|get|ring|leave|... [...]",
        "keys in a distributed hash table",
        "\
  dht set <key> <v> [port]   sets a key; its three owners save it
  dht get <key> [port]       shows its value, and the route to its owner
  dht remove <key> [port]    removes it
  dht ring [port]            shows the ring as a node knows it
  dht fingers [port]         shows a node's finger tables
  dht leave <port>           a node hands over its keys and leaves the ring
  dht join <port>            it becomes part of the ring again

Keys and nodes stand on one ring of hashes, each node at four places. A key
belongs to the first three nodes behind its own place (Chord). No node knows
all others when there are many; each knows some that are ever farther away, so
that every step of a lookup halves what is left of the way. With a port that
node is asked, otherwise any. Words with spaces need quotes.

Watch for: the route from different nodes ends at the same owner. Crash two
nodes at once, and the key is still found.

Examples:
  dht set color blue
  dht get color 8003
  dht ring
  dht leave 8001",
    ),
    row(
        Overlay::Flood,
        "flood set|get|remove <key> [...]",
        "keys that are found by asking around",
        "\
  flood set <key> <v> [port]   sets a key on the node that is asked
  flood get <key> [port]       asks the neighbours, and they theirs
  flood remove <key> [port]    all holders in reach forget it

There is no order: a node that is asked passes the question on to a few
neighbours, at most seven hops far, and nobody passes on a question twice.
What is not found may be there, but too far away, or on a node that is down.

Examples:
  flood set song tune 8002
  flood get song 8004",
    ),
    row(
        Overlay::Index,
        "index set|get|remove <key> [...]",
        "keys whose holders one node knows",
        "\
  index set <key> <v> [port]   sets a key on the node that is asked
  index get <key> [port]       asks the index, then the holder
  index remove <key> [port]    takes it out of the index

One node, the one with the lowest id, is the index: it knows who holds which
key. That takes two hops, however many nodes there are.

Watch for: crash the index, and nothing is found any more.

Examples:
  index set song tune 8002
  index get song 8004
  index remove song",
    ),
];
