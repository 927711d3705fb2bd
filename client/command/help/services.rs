//! The rows about the services on the replicated log.

use super::super::services::ServiceVerb as V;
use super::{Help, Verb};

const fn row(verb: V, name: &'static str, usage: &'static str, summary: &'static str, text: &'static str) -> Help {
    Help { verb: Verb::Service(verb), name, aliases: &[], usage, summary, text }
}

/// In the order in which `help` lists them.
pub(super) const SERVICES: [Help; 24] = [
    row(
        V::Leader,
        "leader",
        "leader",
        "who leads the replicated log",
        "\
Files, board, keys and locks stand on a replicated log: one node, the leader,
puts all writes in one order, and a write is answered when a majority has it
on disk. This asks every node whom it takes for the leader, and since which
epoch (each new leader begins a new one).

Example:
  leader",
    ),
    row(
        V::Elect,
        "elect",
        "elect <port>",
        "hold an election at a node",
        "\
The node at <port> begins an election although a leader may live. By the
rules of Bully the node that knows most wins, and among those that know as
much the one with the highest id: so the one that calls the election need not
be the one that wins it, and a living leader of higher rank just leads on.
Nothing that was answered is lost by it.

Watch for: the epoch in 'leader' and 'status' grows with each new leader.

Example:
  elect 8001",
    ),
    row(
        V::Members,
        "members",
        "members [add|remove <node> ...]",
        "who belongs to the cluster",
        "\
  members                          lists the members, by the log
  members add <node> [host:port]   makes a node a member
  members remove <node>            takes one out, also one that is down

Members change one at a time, and the change is an entry of the log like any
other. A shell that has started the cluster starts the node that is added, on
this machine, and stops it when it is removed. Otherwise it is started first:
  synod serve --id 8005 --listen 127.0.0.1:8005 --join \\
      --member 8000=127.0.0.1:8000
The leader brings it up to date, and only then it counts. Without an address
127.0.0.1 and the node's id as port are meant. A leader that is removed steps
down when its removal is committed. Single values ('set') and registers stay
with the nodes that founded the cluster, which run on if they are removed.

Watch for: of two members one that is down cannot be removed, since both are
needed to commit that.

Examples:
  members add 8005
  members remove 8000",
    ),
    row(
        V::Create,
        "create",
        "create <file>",
        "make an empty file",
        "\
Files are kept by all nodes, and every node has the same ones. Any node takes
the command; it is done once, even if a node dies on the way and another one
has to be asked. A name with spaces needs quotes.

Examples:
  create file.txt
  create \"two words.txt\"",
    ),
    row(
        V::Append,
        "append",
        "append <file> <text>",
        "add a line to a file",
        "\
The text is the rest of the line as typed, or one text in quotes.

Examples:
  append file.txt Lorem ipsum dolor sit amet
  append file.txt \"  with spaces around it  \"",
    ),
    row(
        V::Read,
        "read",
        "read <file>",
        "show a file",
        "\
Shows the file with everything in it that was answered before you asked,
whichever node you ask.

Example:
  read file.txt",
    ),
    row(
        V::Delete,
        "delete",
        "delete <file>",
        "delete a file",
        "\
Example:
  delete file.txt",
    ),
    row(
        V::Ls,
        "ls",
        "ls",
        "list the files",
        "\
Example:
  ls",
    ),
    row(
        V::Files,
        "files",
        "files history [since]",
        "list what was done to files",
        "\
One line for each change: the command, the leader's epoch, and the counter,
which is the entry's place in the log. The order is the same on every node.
With a counter only what came after it is listed.

Example:
  files history",
    ),
    row(
        V::Board,
        "board",
        "board post|modify|delete|show [...]",
        "the boards that all nodes share",
        "\
  board post <text>          puts a text on the board; it gets an id
  board modify <id> <text>   gives a post another text
  board delete <id>          takes a post from the board
  board show                 shows all posts, in the leader's order

Every node shows the same posts in the same order, and an id is never used
again. A second board asks nobody: each node answers at once, also if it is cut
off, and all come to show the same when they can reach each other.

  board eventual post <text> [on <port>]         posts at a node
  board eventual modify <id> <text> [on <port>]  the higher stamp stands
  board eventual delete <id> [on <port>]         for good
  board eventual show [on <port>]                the board as a node has it
  board eventual status                          how far each node is
  board diff                                     both boards, node by node

Without a port, the first node that answers is asked. The text is the rest of
the line as typed, or one text in quotes.

Examples:
  board post The lecture begins at nine
  board modify 1 The lecture begins at ten
  board show
  board delete 1",
    ),
    row(
        V::Put,
        "put",
        "put <key> <v>",
        "set a key to a value",
        "\
The value is the rest of the line as typed, or one text in quotes; a number
is kept as a number, as with 'set value'. Each change gives the key a new
version.

Examples:
  put color blue
  put limits/users 40",
    ),
    row(
        V::Get,
        "get",
        "get <key>",
        "show a key's value",
        "\
Prints the value and nothing else, so that scripts can use it. A key that
does not exist is refused.

Example:
  get color",
    ),
    row(
        V::Cas,
        "cas",
        "cas <key> <version> <v>",
        "set a key unless it has changed",
        "\
Compare and set: the key gets the value only if it still has the version;
version 0 says that it must not exist. If somebody was quicker, the command is
refused and names the version that the key has now. So two programs that both
read, change and write cannot overwrite each other.

Examples:
  cas color 0 blue
  cas color 1 green",
    ),
    row(
        V::Del,
        "del",
        "del <key>",
        "delete a key",
        "\
Example:
  del color",
    ),
    row(
        V::List,
        "list",
        "list [prefix]",
        "list keys and values",
        "\
Lists the keys that begin with the prefix, or all.

Examples:
  list
  list limits/",
    ),
    row(
        V::Watch,
        "watch",
        "watch <prefix> [seconds]",
        "show changes of keys as they come",
        "\
Shows what happens from now on to the keys that begin with the prefix; \"\" is
every key. At the prompt the changes appear above it while you go on typing,
until 'unwatch' or until the seconds are over. In a script the command waits:
for that many seconds, or 10 if you do not say. Ctrl-C ends it early.

Examples:
  watch color
  watch \"\" 2.5",
    ),
    row(
        V::Unwatch,
        "unwatch",
        "unwatch [prefix]",
        "stop showing changes",
        "\
Stops the 'watch' of that prefix, or every one.

Examples:
  unwatch color
  unwatch",
    ),
    row(
        V::Lock,
        "lock",
        "lock <name> [owner] [s] [-- <cmd>]",
        "take a lock, or run a program with it",
        "\
Takes the lock for the given seconds (0.1 to 86400, or 30 if you do not say).
If somebody else holds it, the command is refused and says who. The answer has
a token, a number that only grows. The owner is this shell unless you name
one; a name that is a number needs quotes.

With '--' and a program: waits for the lock, first come first served, runs the
program while the lock is held and renews it meanwhile, lets go of it
afterwards, and ends with the program's code. The program finds the token in
SYNOD_LOCK_TOKEN and the lock's name in SYNOD_LOCK. If the lock is lost, the
program gets SIGTERM. No shell reads the program's words: for a pipe or a
variable write sh -c '...'.

A shell that finds SYNOD_LOCK_TOKEN sends it along with its writes to files
and keys, and they are refused once the lock has been lost. That is what makes
a lock safe when its holder was stopped for too long.

Examples:
  lock printer
  lock printer alice 5
  lock printer -- echo printing
  lock nightly 10 -- sh -c 'echo token $SYNOD_LOCK_TOKEN'",
    ),
    row(
        V::Unlock,
        "unlock",
        "unlock <name> [owner]",
        "let go of a lock",
        "\
Lets go of a lock that this shell, or the named owner, holds. The next one
who waits for it gets it.

Examples:
  unlock printer
  unlock printer alice",
    ),
    row(
        V::Locks,
        "locks",
        "locks",
        "list the locks that are held",
        "\
One line for each: its holder, the token, when it ends unless it is renewed,
and who waits for it.

Example:
  locks",
    ),
    row(
        V::Outcome,
        "outcome",
        "outcome <request>",
        "what became of a write",
        "\
Every write of this shell has a request id, and is done once however often it
has to be sent. When no node could say how a write ended, the message names
its id; ask for it here as soon as a majority is up again.

Example:
  outcome shell-5f3a91c20b7d/3",
    ),
    row(
        V::Register,
        "register",
        "register write|read|quorum [...]",
        "registers kept by quorums",
        "\
  register write <name> <value> [on <port>]  done when a write quorum has it
  register read <name> [on <port>]           asks a read quorum, and repairs
  register quorum [<read> <write>]           shows or sets the sizes
  register stale                             shows what too small ones do

A majority for both is the default: then any read meets any write. In service
no size below a majority is taken. A lab takes any; 'register stale' sets both
to one, holds some messages back, and shows a read that misses a write that
was answered before it began.

Examples:
  register write x 5
  register read x on 8002",
    ),
    row(
        V::Clock,
        "clock",
        "clock",
        "show each node's logical clocks",
        "\
Each event of a node raises its clocks; each message carries its sender's, and
whoever receives it goes on from the higher ones. Lamport's clock is a number:
what could have caused something has a lower one. The vector clock counts each
node's events apart: of two events one could have caused the other exactly if
its clock is nowhere higher.

Example:
  clock",
    ),
    row(
        V::Mutex,
        "mutex",
        "mutex demo [<clients>]",
        "show what a lock is for",
        "\
Several clients count up one number in one file: each reads it, adds one, and
writes it back. First they do it as they please, then each holds the lock
'mutex-demo' meanwhile. Shows how many updates were lost.

Example:
  mutex demo",
    ),
];
