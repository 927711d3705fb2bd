//! What the shell says about itself: one table that drives `help`, hints, completion and the parser's choice.

mod faults;
mod overlay;
mod seeing;
mod services;

use super::Race;
use super::faults::FaultVerb;
use super::seeing::SeeVerb;
use super::services::ServiceVerb;

/// Which command a row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `set value`
    Set,
    /// One of the races.
    Race(Race),
    /// `restart`
    Restart,
    /// `status`
    Status,
    /// `crash`
    Crash,
    /// `start`
    Start,
    /// One about what breaks.
    Fault(FaultVerb),
    /// One about what happened.
    See(SeeVerb),
    /// One about the services.
    Service(ServiceVerb),
    /// `sleep`
    Sleep,
    /// `help`
    Help,
    /// `history`
    History,
    /// `exit`
    Exit,
}

/// What there is to say about one command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Help {
    /// The command it is about.
    pub(crate) verb: Verb,
    /// Its first word, in its canonical spelling.
    pub(crate) name: &'static str,
    /// Other first words that mean the same.
    pub(crate) aliases: &'static [&'static str],
    /// The whole line; `<v>` is to be filled in, `[v]` may be left out.
    pub(crate) usage: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// The long explanation, with an example, for someone who has never seen Paxos.
    pub(crate) text: &'static str,
}

/// Every command, in the order in which `help` lists them.
pub(crate) const COMMANDS: &[Help] = &all();

const TABLES: [&[Help]; 6] = [&LAB, &seeing::SEEING, &faults::FAULTS, &services::SERVICES, &overlay::OVERLAYS, &SHELL];
const COUNT: usize = LAB.len()
    + seeing::SEEING.len()
    + faults::FAULTS.len()
    + services::SERVICES.len()
    + overlay::OVERLAYS.len()
    + SHELL.len();

const fn all() -> [Help; COUNT] {
    let mut all = [LAB[0]; COUNT];
    // Iterators are not for constants yet.
    let (mut at, mut table) = (0, 0);
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            all[at] = TABLES[table][row];
            (at, row) = (at + 1, row + 1);
        }
        table += 1;
    }
    all
}

/// About the nodes, and the agreement that the races are about.
const LAB: [Help; 9] = [
    Help {
        verb: Verb::Set,
        name: "set",
        aliases: &[],
        usage: "set value <v> on <port>",
        summary: "ask one node to get a value agreed on",
        text: "\
The node at <port> becomes a proposer. It picks a ballot (a number that nobody
has used before) and asks every node to promise to ignore lower ballots. When
a majority has promised, it asks them to accept the value. When a majority has
accepted, the value is chosen, and that can never change.

If the promises tell of a value that somebody accepted before, the proposer
must carry on with that one instead of its own. So once a value is chosen,
every later 'set value' answers with that value and says that yours was not
chosen. That is not a failure: it is what agreement means.

A value is a number or a text. Write it as it is, or in quotes: \"...\" knows
\\\" \\\\ \\n \\t \\r, and '...' takes everything as it stands. 5 is a number;
007 and \"5\" are texts; \"\" is the empty text.

Examples:
  set value 5 on 8000
  set value hello big world on 8003
  set value \"lights on at 8\" on 8001",
    },
    Help {
        verb: Verb::Race(Race::AWins),
        name: "A_wins",
        aliases: &[],
        usage: "A_wins <p1> <p2> <v1> <v2>",
        summary: "race: v1 is chosen before p2 comes",
        text: "\
The node p1 proposes v1 and gets it chosen. Then p2 comes with v2. The
promises it collects tell it about v1, so it gives up its own value and
proposes v1 again.

Watch for: both nodes answer v1, although p2 has the higher ballot. A chosen
value stays chosen.

Example:
  A_wins 8000 8001 red blue",
    },
    Help {
        verb: Verb::Race(Race::BWins),
        name: "B_wins",
        aliases: &[],
        usage: "B_wins <p1> <p2> <v1> <v2>",
        summary: "race: v1 is not chosen, but p2 sees it",
        text: "\
The node p1 proposes v1, but only one node accepts it before p1 is held up:
the one node that both majorities share. Then p2 comes with a higher ballot
and v2. That one node tells it about v1, so p2 adopts v1, gets it chosen and
answers first. After that p1 goes on and succeeds too.

Watch for: p2 cannot know whether v1 was chosen. It must assume so, because a
chosen value would look exactly like this. Both answer v1.

Example:
  B_wins 8000 8001 red blue",
    },
    Help {
        verb: Verb::Race(Race::BbWins),
        name: "BB_wins",
        aliases: &[],
        usage: "BB_wins <p1> <p2> <v1> <v2>",
        summary: "race: v1 is not chosen, p2 misses it",
        text: "\
The node p1 collects its promises and is held up before a node that p2 asks
has accepted v1. Then p2 comes with a higher ballot, hears of no earlier
value, and gets v2 chosen. When p1 goes on, its accepts are refused, because a
majority has promised p2's ballot by now. It tries again with a higher ballot,
and this time it learns v2.

Watch for: the refused accepts, p1's second ballot, and that both answer v2.
The one who started first does not always win.

Example:
  BB_wins 8000 8001 red blue",
    },
    Help {
        verb: Verb::Race(Race::Livelock),
        name: "livelock",
        aliases: &[],
        usage: "livelock <p1> <p2> <v1> <v2> [rounds]",
        summary: "race: they keep blocking each other",
        text: "\
Each proposer gets its promises just before the other one's accepts arrive, so
all those accepts are refused and each must try again with a higher ballot.
Nothing wrong is ever decided, but nothing is decided at all. After the given
rounds (1 to 50, or 9 if you do not say) both pause for a random time before
they try again, so that one of them gets through alone.

Watch for: the ballots that climb while nothing is accepted, and the random
pauses that end it. Both report the same value, and which one it is may differ
from run to run. This is why real systems elect a leader.

Examples:
  livelock 8000 8001 red blue
  livelock 8000 8004 1 2 20",
    },
    Help {
        verb: Verb::Restart,
        name: "restart",
        aliases: &[],
        usage: "restart",
        summary: "put all nodes back to the beginning",
        text: "\
Every node forgets what it promised, accepted and decided, so that you can try
something else. A real cluster must never do this: forgetting a promise is how
two different values get chosen.

Example:
  restart",
    },
    Help {
        verb: Verb::Status,
        name: "status",
        aliases: &["show"],
        usage: "status",
        summary: "show what each node knows",
        text: "\
One line for each node: whether it is up, the highest ballot it has promised,
what it has accepted and at which ballot, and the value it knows to be
decided. A ballot such as 3.8000 is round 3 of the node 8000.

Watch for: a node may have accepted a value without knowing that it is
decided, and a node that was down shows nothing until it has learned what it
missed.

A second table is about the replicated log: whom each node takes for the
leader and in which epoch, how far the log is committed (chosen, as the node
knows) and applied there, and whether the node votes. A node whose memory was
wiped or damaged does not vote until the others have repaired it.

Example:
  status",
    },
    Help {
        verb: Verb::Crash,
        name: "crash",
        aliases: &[],
        usage: "crash <port>",
        summary: "kill a node without warning",
        text: "\
The node's process is killed on the spot, as if the power had failed. What it
had promised or accepted is on its disk and is there again after 'start'. With
two of five nodes down the others still agree; with three down nobody can, and
proposals say so.

This works only on nodes that this shell has started.

Example:
  crash 8002",
    },
    Help {
        verb: Verb::Start,
        name: "start",
        aliases: &[],
        usage: "start <port>",
        summary: "start a node again that was killed",
        text: "\
The node reads from its disk what it had promised and accepted, and learns
from the others what was decided while it was away.

This works only on nodes that this shell has started.

Example:
  start 8002",
    },
];

/// About the shell itself.
const SHELL: [Help; 4] = [
    Help {
        verb: Verb::Sleep,
        name: "sleep",
        aliases: &[],
        usage: "sleep <seconds>",
        summary: "wait, for scripts",
        text: "\
Waits for that many seconds, from 0 to 86400; fractions are fine. Ctrl-C ends
it early.

Example:
  sleep 0.5",
    },
    Help {
        verb: Verb::Help,
        name: "help",
        aliases: &["?"],
        usage: "help [command]",
        summary: "list the commands, or explain one",
        text: "\
Examples:
  help
  help B_wins",
    },
    Help {
        verb: Verb::History,
        name: "history",
        aliases: &[],
        usage: "history",
        summary: "list the commands given so far",
        text: "\
At the prompt the list goes back to earlier sessions; in a script it has the
lines of that script. At the prompt the arrow keys walk through it and Ctrl-R
searches it.

Example:
  history",
    },
    Help {
        verb: Verb::Exit,
        name: "exit",
        aliases: &["quit"],
        usage: "exit",
        summary: "leave the shell",
        text: "\
Leaves the shell, as Ctrl-D does, and stops the nodes that it has started.
Their state stays on disk and is there again next time.

Example:
  exit",
    },
];

/// The row whose name or alias is `word`, in any case.
pub(crate) fn find(word: &str) -> Option<&'static Help> {
    COMMANDS.iter().find(|help| names(help).any(|name| name.eq_ignore_ascii_case(word)))
}

/// The name of a command and then its aliases.
pub(crate) fn names(help: &'static Help) -> impl Iterator<Item = &'static str> {
    std::iter::once(help.name).chain(help.aliases.iter().copied())
}

/// What `help` says. Ends in a line feed.
pub(crate) fn overview() -> String {
    let width = COMMANDS.iter().map(|help| help.usage.len()).max().unwrap_or(0);
    let rows: String = COMMANDS.iter().map(|help| format!("  {:width$}  {}\n", help.usage, help.summary)).collect();
    format!("{INTRODUCTION}\n{rows}\n{CONCLUSION}")
}

/// What `help <command>` says. Ends in a line feed.
pub(crate) fn details(help: &Help) -> String {
    let aliases = match help.aliases {
        [] => String::new(),
        aliases => format!("Also: {}\n", aliases.join(", ")),
    };
    format!("{}\n  {}\n{aliases}\n{}\n", help.usage, help.summary, help.text)
}

const INTRODUCTION: &str = "\
Some nodes, each a process named by its port, agree on one value although any
of them may be slow or down. The method is called Paxos: what a majority has
accepted is chosen, for good. On the same method stand a store of files, a
board, keys and locks, which survive the death of a minority.
";

const CONCLUSION: &str = "\
Start with 'set value 5 on 8000', then 'status' and 'explain'; then 'restart',
a race and 'diagram'.
Or with 'put color blue', 'leader', a 'crash' of that node, and 'get color'.
Commands may be typed in any case, values are kept as typed, and a line that
starts with '#' is a comment. 'help <command>' explains one command.
";
