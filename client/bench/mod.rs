//! `synod bench`: load on a cluster, and leaders lost under load.
//!
//! The clients are threads of this process that call over plain sockets, see [`connection`]: on a machine that clients
//! and nodes share, every microsecond that a client takes is missing where it is measured.

mod client;
mod connection;
mod failover;
mod load;
mod report;
mod site;
mod template;
#[cfg(test)]
mod tests;
mod trace;
mod workload;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{error, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use synod::rpc::access::basic;
use synod::xmlrpc::EncodeError;

use crate::args::{BenchAction, BenchArgs, LoadArgs};
use crate::cluster::ClusterError;
use crate::shell::Status;
use site::Site;
use workload::Plan;

/// How often it is looked whether something has happened that takes milliseconds.
const POLL: Duration = Duration::from_millis(2);
/// What a multicall may weigh: a node takes 4 MiB.
const MAX_MULTICALL: u64 = 3 << 20;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The arguments do not fit each other.
    #[error("{0}")]
    Usage(String),
    /// The cluster is not there, or not any more.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// What was asked for was not done.
    #[error("{0}")]
    Refused(String),
    #[error("a call cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error("interrupted")]
    Interrupted,
}

/// Whether somebody asked the benchmark to end.
trait Interrupted {
    fn check(&self) -> Result<(), Failure>;
}

impl Interrupted for AtomicBool {
    fn check(&self) -> Result<(), Failure> {
        if self.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

/// Runs a benchmark to its end.
pub(crate) fn run(args: &BenchArgs) -> Status {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Asked twice, it ends at once: the nodes end with it, but their directory stays.
        let twice = signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&interrupted));
        let registered = twice.and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)));
        if let Err(error) = registered {
            warn!("signals: {error}; if you stop this early, the nodes' directory stays");
        }
    }
    let ended = match &args.action {
        None => load(&args.load, &interrupted),
        Some(BenchAction::Failover(failover)) => failover::run(failover, &interrupted),
    };
    ended.unwrap_or_else(|failure| {
        error!("{failure}");
        match failure {
            Failure::Usage(_) => Status::Usage,
            Failure::Unavailable(_) | Failure::Cluster(_) => Status::Unavailable,
            Failure::Refused(_) | Failure::Encode(_) => Status::Refused,
            Failure::Interrupted => Status::Unknown,
        }
    })
}

fn load(args: &LoadArgs, interrupted: &AtomicBool) -> Result<Status, Failure> {
    if u64::from(args.batch) * u64::from(args.value_bytes) > MAX_MULTICALL {
        return Err(Failure::Usage(format!(
            "a multicall of {} values of {} bytes is more than a node takes; choose a smaller --batch or --value-bytes",
            args.batch, args.value_bytes
        )));
    }
    let site = match &args.connect {
        Some(address) => {
            let secret = || env::var("SYNOD_SECRET").unwrap_or_default();
            Site::connect(address, args.user.as_ref().map(|user| basic(user, &secret())))?
        }
        None => Site::start(&args.own)?,
    };
    site.nodes.wait_for_leader(None, None, interrupted)?;
    if args.trace_cost {
        return trace::run(&site, args, interrupted);
    }
    let plan = Plan { args, run: run_name() };
    load::fill(&site.nodes, &plan, interrupted)?;
    let measured = load::run(&site.nodes, &plan, interrupted)?;
    report::load(args, &plan.run, site.nodes.count(), &measured);
    if let Some(why) = &measured.why {
        warn!("{} operations failed; the first: {why}", measured.errors);
    }
    Ok(if measured.operations == 0 { Status::Unavailable } else { Status::Done })
}

/// A name that no earlier run on the same cluster had.
fn run_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", since.as_micros())
}
