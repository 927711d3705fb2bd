//! The rows about what breaks.

use super::super::faults::FaultVerb as V;
use super::{Help, Verb};

const fn row(verb: V, name: &'static str, usage: &'static str, summary: &'static str, text: &'static str) -> Help {
    Help { verb: Verb::Fault(verb), name, aliases: &[], usage, summary, text }
}

/// In the order in which `help` lists them.
pub(super) const FAULTS: [Help; 11] = [
    row(
        V::Partition,
        "partition",
        "partition <ports> | <ports>",
        "cut the cluster into parts",
        "\
Nodes in different parts no longer hear each other, whatever they say: ballots,
the log, heartbeats. Faults that were on the links before end. The shell still
reaches all of them.

Watch for: only a part with a majority decides anything; the other one answers
that it is unavailable. After 'heal' it learns what it missed.

'restart' also mends everything, and so do ten minutes.

Example:
  partition 8000,8001 | 8002,8003,8004",
    ),
    row(
        V::Cut,
        "cut",
        "cut <ports> -> <ports>",
        "cut links, in one direction or both",
        "\
What the first says no longer reaches the second, answers included; what the
second says still arrives. With <-> both directions are cut, and 'all' stands
for all other nodes.

Watch for: a node that hears but is not heard, or the other way round, must
not upset the rest.

Examples:
  cut 8000 -> 8001
  cut 8000 <-> 8001,8002
  cut all -> 8004",
    ),
    row(
        V::Heal,
        "heal",
        "heal",
        "mend all links",
        "\
Ends what 'partition', 'cut', 'delay' and 'drop' did. Messages that were lost
stay lost: the protocols have to cope.

Example:
  heal",
    ),
    row(
        V::Delay,
        "delay",
        "delay <time> <ports> -> <ports>",
        "make links slow",
        "\
What the first says reaches the second so much later, up to a minute.

Examples:
  delay 200ms 8000 -> 8001
  delay 1s all -> 8004",
    ),
    row(
        V::Drop,
        "drop",
        "drop <percent> <ports> -> <ports>",
        "make links lose messages",
        "\
So many of a hundred messages are lost, by chance.

Examples:
  drop 30% 8000 -> 8001
  drop 50% all <-> all",
    ),
    row(
        V::Hold,
        "hold",
        "hold <kind> <ports> -> <ports>",
        "hold one kind of message back",
        "\
Messages of one kind stay with their sender until 'step' delivers the one that
has waited the longest, or 'release' lets all go. That is how the races are
made. The kinds are the methods' names: prepare, accept, commit and learn of
single decisions, log.accept and others of the log, bully.heartbeat and others
of the election. Answers, such as promises, come back with the call and are
not held.

A proposer whose messages are held waits, so propose from another shell:
synod -c 'set value 5 on 8000'.

Examples:
  hold accept 8000 -> 8001
  hold accept 8000 -> all",
    ),
    row(
        V::Release,
        "release",
        "release",
        "let go what is held",
        "\
Sends all messages that are held, in the order in which they came, and holds
no more.

Example:
  release",
    ),
    row(
        V::Step,
        "step",
        "step",
        "deliver the next held message",
        "\
Sends the one message that has been held the longest, whichever node holds it.

Example:
  step",
    ),
    row(
        V::Pause,
        "pause",
        "pause <port>",
        "stop a node without its noticing",
        "\
The node's process stands still, as a machine that swaps or a program in a
debugger does. It does not answer, but its connections stay open. When it goes
on, it believes that no time has passed.

Watch for: a leader that wakes up after another was elected. It must not be
able to do harm with what it believes.

This works only on nodes that this shell has started.

Example:
  pause 8004",
    ),
    row(
        V::Resume,
        "resume",
        "resume <port>",
        "let a stopped node go on",
        "\
Example:
  resume 8004",
    ),
    row(
        V::Faults,
        "faults",
        "faults",
        "list what is broken",
        "\
Lists the links with which something is wrong and for how much longer, the
messages that are held, and the nodes that are down or stand still.

Example:
  faults",
    ),
];
