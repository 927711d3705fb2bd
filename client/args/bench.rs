//! The command line of `synod bench`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::to_address;

/// A benchmark: load, unless a subcommand says otherwise.
#[derive(Clone, Debug, PartialEq, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    /// What to measure instead of load.
    #[command(subcommand)]
    pub(crate) action: Option<BenchAction>,

    /// The load.
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

impl BenchArgs {
    /// The cluster that is started, if one is.
    pub(crate) fn own(&self) -> &OwnArgs {
        match &self.action {
            Some(BenchAction::Failover(failover)) => &failover.own,
            None => &self.load.own,
        }
    }
}

/// What else can be measured.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub(crate) enum BenchAction {
    /// Take the leader away under load, again and again: how long is no write acknowledged, and is any lost or doubled?
    Failover(FailoverArgs),
}

/// A cluster that is started for the benchmark and gone after it.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct OwnArgs {
    /// How many nodes to start; every write is on the disks of a majority before it is answered.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub(crate) nodes: u32,

    /// The port of the first node; the others take the ports behind it.
    #[arg(long, value_name = "PORT", default_value_t = 8900, value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub(crate) base_port: u32,

    /// Where to make the nodes' directory, which is removed at the end: on the disk that is to be measured [default: the
    /// system's directory for temporary files].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Load from many clients.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct LoadArgs {
    /// The cluster to start.
    #[command(flatten)]
    pub(crate) own: OwnArgs,

    /// Load a running cluster instead; any of its nodes will do. What is written there (kv keys, files and instances
    /// whose names begin with 'bench') stays.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["nodes", "base_port", "data"], value_parser = to_address)]
    pub(crate) connect: Option<String>,

    /// The name to call a running cluster by; its secret is read from the environment variable SYNOD_SECRET.
    #[arg(long, value_name = "NAME", requires = "connect")]
    pub(crate) user: Option<String>,

    /// What the clients call.
    #[arg(long, value_enum, default_value_t = Workload::Put)]
    pub(crate) workload: Workload,

    /// How many clients call at once, each on a connection of its own; a node serves 1024.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) clients: u32,

    /// How long to measure.
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = to_positive_seconds)]
    pub(crate) seconds: f64,

    /// How long the load runs before it is measured.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = to_seconds)]
    pub(crate) warm_up: f64,

    /// The size of a value or line.
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=65_000))]
    pub(crate) value_bytes: u32,

    /// How many puts a multicall holds; each counts as an operation.
    #[arg(long, value_name = "CALLS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) batch: u32,

    /// Whom the clients call.
    #[arg(long, value_enum, default_value_t = At::Leader)]
    pub(crate) at: At,

    /// How many keys puts and gets choose from, each as likely as the other.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) keys: u32,

    /// Measure what it costs that nodes keep what happens: in 48 slices, each a tenth of --seconds, with it and without by
    /// turns.
    #[arg(long)]
    pub(crate) trace_cost: bool,

    /// Print one JSON object on a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Losing leaders.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct FailoverArgs {
    /// The cluster to start.
    #[command(flatten)]
    pub(crate) own: OwnArgs,

    /// How many leaders are taken away, one after the other.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// How the leader is taken away.
    #[arg(long, value_enum, default_value_t = How::Kill)]
    pub(crate) how: How,

    /// How many clients write meanwhile.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) clients: u32,

    /// The size of a value.
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=65_000))]
    pub(crate) value_bytes: u32,

    /// Whom the clients call, as long as it answers; then the next node.
    #[arg(long, value_enum, default_value_t = At::Any)]
    pub(crate) at: At,

    /// How long a client waits for an answer before it calls the next node.
    #[arg(long, value_name = "MS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub(crate) timeout_ms: u32,

    /// Print one JSON object on a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the clients of a load call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// kv.put.
    Put,
    /// kv.get, linearizable.
    Get,
    /// One half each of kv.put and kv.get.
    Mixed,
    /// propose, each time in a new instance of Paxos.
    Propose,
    /// files.append, each client to files of its own.
    Append,
    /// system.multicall of kv.put.
    Multicall,
}

/// Whom the clients call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum At {
    /// The leader; they follow when it changes.
    Leader,
    /// The nodes in turn, whether they lead or not.
    Any,
}

/// How a leader is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    /// SIGKILL; later it is started again on what it has on disk.
    Kill,
    /// SIGSTOP: its connections stay open, but it says nothing; later SIGCONT.
    Stop,
}

fn to_seconds(text: &str) -> Result<f64, String> {
    const MOST: f64 = 86_400.0;
    match text.parse() {
        Ok(seconds) if (0.0..=MOST).contains(&seconds) => Ok(seconds),
        _ => Err(format!("a number of seconds is wanted, up to {MOST}")),
    }
}

fn to_positive_seconds(text: &str) -> Result<f64, String> {
    const LEAST: f64 = 0.01;
    to_seconds(text)
        .and_then(|seconds| if seconds < LEAST { Err(format!("{LEAST} is the least")) } else { Ok(seconds) })
}

pub(super) const EXAMPLES: &str = "\
Examples:
  synod bench                                        puts on three nodes of its own, 16 clients, 5 seconds
  synod bench --workload get --clients 64 --nodes 5 --json
  synod bench --workload multicall --batch 100 --data /mnt/disk
  synod bench --connect 127.0.0.1:8000 --at any      load on a cluster that runs; what it writes stays there
  synod bench --clients 64 --trace-cost              the same load with and without the nodes' traces, and the ratio
  synod bench failover --rounds 5 --how stop         stop the leader five times

Own nodes are processes of this program, in service mode, each syncing to disk; they are gone at the end. Results go to
stdout. Exit code 1 if a failover lost or doubled a write.";
