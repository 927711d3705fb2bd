//! The rows about what happened.

use super::super::seeing::SeeVerb as V;
use super::{Help, Verb};

const fn row(verb: V, name: &'static str, usage: &'static str, summary: &'static str, text: &'static str) -> Help {
    Help { verb: Verb::See(verb), name, aliases: &[], usage, summary, text }
}

/// In the order in which `help` lists them.
pub(super) const SEEING: [Help; 4] = [
    row(
        V::Explain,
        "explain",
        "explain [question]",
        "tell in words what happened, and why",
        "\
After any command: which ballots ran, who promised what, why a proposer had to
adopt the value it did, which majority chose it, and what it would have taken
for the other to win. After a leader died: who missed it, why the new one won,
and what its epoch had to repair. Of the eventual board: what was done to an
entry without knowing of the rest, and which stamp beat which.

The questions that every learner asks are answered by your own last run:
roles, adopt, ballots, majority, livelock.

With '--from FILE' at its end it tells of a trace in a file.

Examples:
  explain
  explain adopt
  explain --from run.jsonl",
    ),
    row(
        V::Diagram,
        "diagram",
        "diagram [all] [file]",
        "draw what happened",
        "\
A lane for each node, time runs down, a message is an arrow; what is lost ends
in a cross. What one node says to several is one row, and so is what several
answer to one. Without a file it is drawn here; otherwise the file's ending
says how: .svg for a handout, .html to step through it with the keyboard, .mmd
for Mermaid, .log for ShiViz.

'all' also draws what has nothing to do with the decision. '--from FILE' draws
a trace in a file: one of 'trace save', or that of a failing seed.
'set diagram on' draws every race when it has ended, and '--diagram' behind a
race draws that one.

Examples:
  diagram
  diagram B_wins.svg
  diagram all --from sim-42.jsonl",
    ),
    row(
        V::Trace,
        "trace",
        "trace on|off|clear|save|show",
        "what the nodes keep of what happened",
        "\
Every node keeps its last 65536 events; 'off' stops that, 'clear' forgets
them. 'save <file>' joins the events of all nodes in one causal order and
writes them down as JSON lines. 'show [n]' lists the last ones of the last
run, 20 if you do not say how many, each with its name, such as 8000:17.

Examples:
  trace save run.jsonl
  trace show 50",
    ),
    row(
        V::HappenedBefore,
        "happened-before",
        "happened-before <event> <event>",
        "could one event have caused another?",
        "\
Two events are named as 'trace show' names them. Their vector clocks tell
whether the first could have caused the second, the second the first, or
neither: then they are concurrent, and no clock on the wall says which was
first.

Example:
  happened-before 8000:17 8003:9",
    ),
];
