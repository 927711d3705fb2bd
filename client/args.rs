//! The command line of `synod`.

mod bench;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use synod::history::Options as CheckOptions;
use synod::sim::{Filter, MAX_NODES, Protocol, overlay};

use crate::command::help;

pub(crate) use bench::{At, BenchAction, BenchArgs, FailoverArgs, How, LoadArgs, OwnArgs, Workload};

/// A small cluster that agrees, and shows how: five Paxos nodes and a shell to drive them.
///
/// Without a subcommand it opens the shell. If no nodes listen on the ports yet, the shell starts them and stops them
/// when it leaves; their state stays on disk. If nodes answer there, it uses them.
#[derive(Debug, Parser)]
#[command(name = "synod", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do instead of opening the shell.
    #[command(subcommand)]
    pub(crate) action: Option<Action>,

    /// How the shell runs.
    #[command(flatten)]
    pub(crate) shell: ShellArgs,

    /// Log more to stderr: -v what happens, -vv how, -vvv every detail; RUST_LOG does without it.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

/// The ways to run nodes without a shell.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run one node in the foreground, until Ctrl-C or SIGTERM.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Show how a running cluster is, once or again and again.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Run a local cluster without a shell, for other programs to call, until Ctrl-C or SIGTERM.
    #[command(after_help = UP_EXAMPLES)]
    Up(LocalArgs),
    /// Run simulated clusters in which everything fails, and check what must hold all the same.
    #[command(after_help = SIM_EXAMPLES)]
    Sim(SimArgs),
    /// Check whether a recorded history is linearizable: whether some order explains all that clients saw.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Make and remove the credentials by which callers and nodes are known.
    #[command(after_help = CREDENTIALS_EXAMPLES)]
    Credentials {
        /// What to do.
        #[command(subcommand)]
        action: CredentialsAction,
    },
    /// Measure operations a second and latency under load, or how long writes stand still when the leader dies.
    #[command(after_help = bench::EXAMPLES)]
    Bench(BenchArgs),
}

/// Which simulated clusters to run.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct SimArgs {
    /// The protocol whose clients ask, and whose invariants are checked: paxos, log (with election and services), eventual, register or
    /// overlay (hash table, flooding, index).
    #[arg(long, value_name = "NAME", default_value_t)]
    pub(crate) protocol: Protocol,

    /// How many seeds to run, counted from --seed [default: 1 if a seed is given, else 1000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,

    /// The first seed; alone, the only one.
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,

    /// How many nodes each cluster has [default: 3, 4, 5 or 7, by the seed]; more than 15, up to 10000, have overlays: of
    /// these it is measured what they cost.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(overlay::MAX_NODES)))]
    pub(crate) nodes: Option<u32>,

    /// How many protocol steps things go wrong, before the clusters heal [default: 1500; of the log 6000].
    #[arg(long, value_name = "K")]
    pub(crate) steps: Option<u64>,

    /// What may go wrong: all, none, or names with commas between them; crash=2..3 is the third crash only.
    #[arg(long, value_name = "LIST", default_value_t = Filter::default())]
    pub(crate) faults: Filter,

    /// Where to write what happened [default: sim-SEED.jsonl, after a violation only].
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

/// A history to check.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct CheckArgs {
    /// The recording, as JSON lines; `-` is stdin.
    #[arg(value_name = "HISTORY.jsonl")]
    pub(crate) file: PathBuf,

    /// How many steps to search for each object before it counts as undecided.
    #[arg(long, value_name = "STEPS", default_value_t = CheckOptions::BUDGET, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) budget: u64,
}

/// What can be done about credentials.
#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsAction {
    /// Add a caller, or give one a new secret; prints the secret, which stands nowhere else.
    Add {
        /// The caller's name: letters, digits, '-', '_' and '.'.
        name: String,
        /// What it may do: propose and ask, or all of that and restart, gates and acceptors by hand.
        #[arg(long, value_enum, default_value_t = RoleArg::Client)]
        role: RoleArg,
        /// The credentials file.
        #[arg(long, default_value = "credentials.toml")]
        file: PathBuf,
    },
    /// Remove a caller.
    Remove {
        /// The caller's name.
        name: String,
        /// The credentials file.
        #[arg(long, default_value = "credentials.toml")]
        file: PathBuf,
    },
    /// List the callers and their roles.
    List {
        /// The credentials file.
        #[arg(long, default_value = "credentials.toml")]
        file: PathBuf,
    },
    /// Make the secret by which the nodes of a cluster know each other.
    Cluster {
        /// The file to make; copy it to every node.
        #[arg(default_value = "cluster.secret")]
        file: PathBuf,
    },
}

/// The roles that callers can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Propose and ask.
    Client,
    /// Everything.
    Admin,
}

/// A cluster on this machine, whose nodes are named by their ports.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct LocalArgs {
    /// How many nodes the cluster has; a majority of them must be up to agree.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub(crate) nodes: u32,

    /// The port of the first node; the others take the ports behind it.
    #[arg(long, value_name = "PORT", default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub(crate) base_port: u32,

    /// Where the nodes keep their state, each in a directory named after its port.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) data: PathBuf,
}

/// Whose status to show, and how often.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct StatusArgs {
    /// A node of the cluster; it knows the others.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000", value_parser = to_address)]
    pub(crate) connect: String,

    /// The name to call the nodes by; its secret is read from the environment variable SYNOD_SECRET.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Call the nodes with TLS, and trust certificates from these authorities, in PEM form.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Show it again every so many seconds, until Ctrl-C.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = to_pause)]
    pub(crate) watch: Option<f64>,

    /// How it is written to stdout.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How the shell runs.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct ShellArgs {
    /// The cluster that the shell uses if it is not told to `connect`.
    #[command(flatten)]
    pub(crate) local: LocalArgs,

    /// Use a running cluster instead; any of its nodes will do, it knows the others.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["nodes", "base_port", "data"], value_parser = to_address)]
    pub(crate) connect: Option<String>,

    /// The name to call the nodes by; its secret is read from the environment variable SYNOD_SECRET.
    #[arg(long, value_name = "NAME", requires = "connect")]
    pub(crate) user: Option<String>,

    /// Call the nodes with TLS, and trust certificates from these authorities, in PEM form.
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Run this command and leave; may be given several times.
    #[arg(short, long, value_name = "CMD", conflicts_with = "file")]
    pub(crate) command: Vec<String>,

    /// Run the commands of this file, one on a line, and leave; `-` is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Go on after a command that failed; the exit code is still that of the first failure.
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// How results are written to stdout.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object on a line for each result.
    Json,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct ServeArgs {
    /// The id of this node; in a local cluster it is its port.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) id: u32,

    /// Where this node listens; port 0 takes any free port.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "cluster", value_parser = to_listen_address)]
    pub(crate) listen: Option<String>,

    /// A member of the cluster; given once for each, this node included.
    #[arg(long = "member", value_name = "ID=HOST:PORT", required_unless_present = "cluster")]
    pub(crate) members: Vec<MemberArg>,

    /// Join a cluster that runs already: the node takes part once a member has been told 'members add'. Give it members
    /// that it can reach.
    #[arg(long)]
    pub(crate) join: bool,

    /// A file that lists the members, instead of --listen and --member.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) cluster: Option<PathBuf>,

    /// Where this node keeps its state [default: a directory named after its id in `data`].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Allow what only a lab may do: restart, gates and faults.
    #[arg(long)]
    pub(crate) lab: bool,

    /// Do not keep the last events for 'trace', 'diagram' and 'explain'; 'trace on' starts it later.
    #[arg(long)]
    pub(crate) no_trace: bool,

    /// Who may call this node, and what: made by 'synod credentials add'. Needed to listen beyond 127.0.0.1.
    #[arg(long, value_name = "FILE", requires = "cluster_secret")]
    pub(crate) credentials: Option<PathBuf>,

    /// The secret by which the nodes know each other: made by 'synod credentials cluster', the same for all.
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_secret: Option<PathBuf>,

    /// The certificate that this node shows, with those that vouch for it, in PEM form: it then listens with TLS only.
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "tls_ca")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM form.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// The authorities that the nodes' certificates must come from, in PEM form: this node calls the others with TLS.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Stop when stdin reaches its end, so that a node never outlives the shell that started it.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

/// A member of the cluster, as `8001=127.0.0.1:8001`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberArg {
    /// Its id, from 1.
    pub(crate) id: u32,
    /// Its address, `HOST:PORT`.
    pub(crate) address: String,
}

impl FromStr for MemberArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, address) =
            text.split_once('=').ok_or("a member looks like ID=HOST:PORT, as in 8001=127.0.0.1:8001")?;
        let id = to_number(id)
            .filter(|&id| id > 0)
            .ok_or_else(|| format!("the id must be a number from 1 to {}, not '{id}'", u32::MAX))?;
        Ok(Self { id, address: to_address(address)? })
    }
}

impl Args {
    /// Reads the process's arguments; prints and exits by itself for `--help` (0) and for mistakes (2).
    pub(crate) fn from_process() -> Self {
        Self::read(env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads arguments, the program's name first.
    fn read<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words).map_err(explain_shell_command)?;
        let args = Self::from_arg_matches(&matches)?;
        match &args.action {
            None if args.shell.connect.is_none() => check_ports(args.shell.local.base_port, args.shell.local.nodes)?,
            None | Some(Action::Credentials { .. } | Action::Check(_)) => {}
            Some(Action::Sim(sim)) => check_size(sim)?,
            Some(Action::Status(_)) => {}
            Some(Action::Up(local)) => check_ports(local.base_port, local.nodes)?,
            Some(Action::Bench(bench)) => check_ports(bench.own().base_port, bench.own().nodes)?,
            Some(Action::Serve(serve)) => check_members(serve)?,
        }
        if args.action.is_some() {
            check_no_shell_arguments(&matches)?;
        }
        Ok(args)
    }
}

/// What is meant for the shell must not silently do nothing in front of a subcommand. Clap could forbid it by itself,
/// but then `-v` as well.
fn check_no_shell_arguments(matches: &ArgMatches) -> Result<(), clap::Error> {
    let command = Args::command();
    let given = command.get_arguments().find(|arg| {
        arg.get_id() != "verbose" && matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
    });
    match given.and_then(Arg::get_long) {
        Some(name) => Err(mistake(format!("--{name} is for the shell; what is meant for a subcommand goes behind it"))),
        None => Ok(()),
    }
}

/// `synod status` is an easy mistake, so its message says how it is meant.
fn explain_shell_command(error: clap::Error) -> clap::Error {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if help::find(word).is_some() => {
            mistake(format!("'{word}' is a command of the shell; to run it from here: synod -c '{word} ...'"))
        }
        _ => error,
    }
}

fn check_ports(base_port: u32, nodes: u32) -> Result<(), clap::Error> {
    let last = base_port + nodes - 1;
    if last <= u32::from(u16::MAX) {
        return Ok(());
    }
    Err(mistake(format!(
        "the last of {nodes} nodes from port {base_port} would need the port {last}, but ports end at 65535"
    )))
}

fn check_size(sim: &SimArgs) -> Result<(), clap::Error> {
    match sim.nodes {
        Some(nodes) if nodes > MAX_NODES && sim.protocol != Protocol::Overlay => Err(mistake(format!(
            "a simulated cluster has at most {MAX_NODES} nodes, not {nodes}; only --protocol overlay has more"
        ))),
        Some(nodes) if nodes > MAX_NODES && (sim.seeds.or(sim.steps).is_some() || sim.trace.is_some()) => Err(mistake(
            "so many nodes are measured, with one --seed: --seeds, --steps and --trace are for clusters in which everything \
             fails"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

fn check_members(serve: &ServeArgs) -> Result<(), clap::Error> {
    let mut ids = BTreeSet::new();
    match serve.members.iter().find(|member| !ids.insert(member.id)) {
        Some(member) => Err(mistake(format!("the member {} is given twice", member.id))),
        None => Ok(()),
    }
}

fn mistake(message: String) -> clap::Error {
    Args::command().error(ErrorKind::ValueValidation, message)
}

/// Seconds between two looks.
fn to_pause(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.1 to 3600 is wanted".to_owned()),
    }
}

/// An address somebody can be reached at.
fn to_address(text: &str) -> Result<String, String> {
    match to_listen_address(text)?.ends_with(":0") {
        true => Err("port 0 is only good for listening".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// An address to listen at, where port 0 stands for any free port. An IPv6 host stands in brackets.
fn to_listen_address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("an address looks like HOST:PORT, as in 127.0.0.1:8000")?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("the host is missing; an address looks like 127.0.0.1:8000".to_owned());
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err("an IPv6 host needs brackets, as in [::1]:8000".to_owned());
    }
    match to_number(port) {
        // Leading zeros would make two spellings of one address.
        Some(number) if number <= 65535 && number.to_string() == port => Ok(text.to_owned()),
        _ => Err(format!("the port must be a number up to 65535, not '{port}'")),
    }
}

/// A number of digits only; `parse` alone would take `+5`.
fn to_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

const EXAMPLES: &str = "\
Examples:
  synod                                       open the shell on nodes 8000 to 8004
  synod -c 'set value 5 on 8000' -c status    run two commands and leave
  synod -f demo.synod --keep-going            run a script to its end
  echo status | synod --output json           take commands from a pipe
  synod --nodes 3 --base-port 9000            a smaller cluster on other ports
  synod --connect 127.0.0.1:8000              use a cluster that runs elsewhere

Exit codes: 0 done, 1 refused or not chosen as asked, 2 usage, 3 unavailable, 4 outcome unknown.
Type 'help' in the shell for its commands.";

const SERVE_EXAMPLES: &str = "\
Examples:
  synod serve --id 8000 --listen 127.0.0.1:8000 \\
      --member 8000=127.0.0.1:8000 --member 8001=127.0.0.1:8001 --member 8002=127.0.0.1:8002
  synod serve --id 8001 --cluster cluster.toml --data /var/lib/synod
  synod serve --id 8005 --listen 127.0.0.1:8005 --join --member 8000=127.0.0.1:8000
      (then, at a member: cluster.add(8005, '127.0.0.1:8005'), or in its shell: members add 8005)";

const CREDENTIALS_EXAMPLES: &str = "\
Example, a cluster that other machines may call:
  synod credentials cluster cluster.secret
  synod credentials add alice --role client
  synod serve --id 1 --cluster cluster.toml --credentials credentials.toml --cluster-secret cluster.secret
and from Python
  ServerProxy('http://alice:SECRET@10.0.0.1:7001').propose(5)";

const SIM_EXAMPLES: &str = "\
Examples:
  synod sim                                     a thousand clusters
  synod sim --seeds 100000                      more of them
  synod sim --protocol log --seeds 20000        the replicated log, its election and its services
  synod sim --seed 42 --trace run.jsonl         one again, and what happened in it
  synod sim --nodes 5 --faults loss,crash       with nothing but lost messages and crashes
  synod sim --faults all,stale                  with disks put back from old copies: Paxos does not survive that
  synod sim --protocol overlay --nodes 10000    routes, messages, balance and churn of overlays of 10 to 10000 nodes

Exit codes: 0 all invariants held, 1 one did not, 2 usage.";
const CHECK_EXAMPLES: &str = "\
Exit codes: 0 valid, 1 invalid, 2 undecided, or there was nothing to check; the last line says which.

Examples:
  synod check history.jsonl
  synod check --budget 20000000 history.jsonl";

const STATUS_EXAMPLES: &str = "\
Examples:
  synod status                                       the cluster of the shell on this machine
  synod status --watch                               every second, until Ctrl-C
  synod status --connect 10.0.0.1:7001 --user alice --output json";

const UP_EXAMPLES: &str = "\
Examples:
  synod up
  synod up --nodes 3 --base-port 9000 --data /tmp/synod";
