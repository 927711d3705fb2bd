//! `synod`: the shell and the nodes.

mod args;
mod bench;
mod check;
mod cluster;
mod command;
mod console;
mod credentials;
mod execute;
mod faults;
mod logging;
mod overlay;
mod scenario;
mod seeing;
mod serve;
mod shell;
mod simulate;
mod strong;
mod weak;

use std::env;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use args::{Action, Args, Output, ShellArgs, StatusArgs};
use cluster::{Cluster, ClusterError};
use command::Command;
use console::Console;
use execute::Lab;
use seeing::Seeing;
use shell::{Executor, Source, Status};
use strong::caller::Caller;
use strong::{Watches, fence_of_environment};
use synod::rpc::access::basic;
use synod::rpc::client::Calling;

fn main() -> ExitCode {
    let args = Args::from_process();
    let is_a_node = matches!(args.action, Some(Action::Serve(_) | Action::Up(_)));
    logging::start(args.verbose, is_a_node);
    let status = match &args.action {
        None => run_shell(&args.shell),
        Some(Action::Serve(args)) => serve::serve(args),
        Some(Action::Status(args)) => status(args),
        Some(Action::Up(args)) => serve::up(args),
        Some(Action::Sim(args)) => simulate::run(args),
        Some(Action::Bench(args)) => bench::run(args),
        Some(Action::Credentials { action }) => credentials::run(action),
        Some(Action::Check(args)) => return check::run(args),
    };
    status.into()
}

fn run_shell(args: &ShellArgs) -> Status {
    let mut console = Console::new(args.output);
    // Read before any node is started: a script that is not there starts nothing.
    let source = match Source::choose(&args.command, args.file.as_deref()) {
        Ok(source) => source,
        Err(error) => {
            console.error(&error.to_string());
            return console.end("", Status::Usage);
        }
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone()) {
        log::warn!("Ctrl-C will end the shell: {error}");
    }
    let cluster = match &args.connect {
        Some(address) => calling(args.user.as_deref(), args.tls_ca.as_deref())
            .and_then(|calling| Cluster::connect(address, &calling)),
        None => Cluster::open(&args.local),
    };
    let script_on_stdin = matches!(&source, Source::Lines(_, name) if name == Source::STDIN);
    let mut lab = match open(cluster, console, interrupted.clone(), script_on_stdin) {
        Ok(lab) => lab,
        Err(status) => return status,
    };
    if matches!(source, Source::Terminal) {
        let greeting = greeting(&lab.cluster);
        lab.console.say(greeting);
    }
    shell::run(source, &mut lab, args.keep_going, history_file(), &interrupted)
}

/// What commands work on, once there is a cluster.
fn open(
    cluster: Result<Cluster, ClusterError>,
    mut console: Console,
    interrupted: Arc<AtomicBool>,
    script_on_stdin: bool,
) -> Result<Lab, Status> {
    let opened = cluster.and_then(|cluster| {
        // A race makes two calls that block, and asks all nodes meanwhile.
        let threads = cluster.ports().len() + 2;
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|at| format!("caller {at}")).build();
        let pool = pool.map_err(|error| ClusterError::NotOurs(format!("cannot start threads: {error}")))?;
        let caller = caller(&cluster)?;
        Ok((cluster, pool, caller))
    });
    match opened {
        Ok((cluster, pool, caller)) => Ok(Lab {
            watches: Watches::default(),
            cluster,
            console,
            seeing: Seeing::default(),
            interrupted,
            pool,
            caller,
            script_on_stdin,
            guard: None,
        }),
        Err(error) => {
            console.error(&error.to_string());
            Err(console.end("", Status::Unavailable))
        }
    }
}

/// `synod status`: the shell's command of this name, of a cluster that runs; again and again if wanted.
fn status(args: &StatusArgs) -> Status {
    const CLEAR: &str = "\x1b[H\x1b[2J";
    let interrupted = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone()) {
        log::warn!("Ctrl-C will end this at once: {error}");
    }
    let calling = calling(args.user.as_deref(), args.tls_ca.as_deref());
    let cluster = calling.and_then(|calling| Cluster::connect(&args.connect, &calling));
    let mut lab = match open(cluster, Console::new(args.output), interrupted.clone(), false) {
        Ok(lab) => lab,
        Err(status) => return status,
    };
    let clears = args.output == Output::Text && std::io::stdout().is_terminal();
    loop {
        if args.watch.is_some() && clears {
            lab.console.raw(CLEAR);
        }
        let status = lab.run(&Command::Status);
        let Some(pause) = args.watch else { return status };
        let until = Instant::now() + Duration::from_secs_f64(pause);
        while Instant::now() < until {
            if interrupted.load(Ordering::Relaxed) || lab.is_reader_gone() {
                return status;
            }
            thread::sleep(Duration::from_millis(20).min(until.saturating_duration_since(Instant::now())));
        }
    }
}

/// Whoever calls the services for this shell, under a name that no other shell has.
fn caller(cluster: &Cluster) -> Result<Caller, ClusterError> {
    let fence = fence_of_environment().map_err(ClusterError::NotOurs)?;
    let random = getrandom::u64().map_err(|error| ClusterError::NotOurs(format!("no random numbers: {error}")))?;
    Ok(Caller::new(cluster, format!("shell-{:012x}", random >> 16), fence))
}

/// How the shell calls nodes that it has not started.
fn calling(user: Option<&str>, tls_ca: Option<&Path>) -> Result<Calling, ClusterError> {
    let authorization = user.map(|user| basic(user, &env::var("SYNOD_SECRET").unwrap_or_default()));
    let authorities = tls_ca.map(serve::authorities).transpose().map_err(ClusterError::NotOurs)?;
    Ok(Calling { timeout: cluster::TIMEOUT, authorization, authorities })
}

fn greeting(cluster: &Cluster) -> String {
    let ports: Vec<String> = cluster.ports().iter().map(ToString::to_string).collect();
    let whose = if cluster.is_own() { "started" } else { "found running" };
    format!(
        "Synod: {} nodes {whose}, on ports {}. Type help, or try: set value 5 on {}",
        ports.len(),
        ports.join(" "),
        ports.first().map_or("8000", String::as_str)
    )
}

/// Where the prompt remembers lines, if there is a prompt and a home.
fn history_file() -> Option<PathBuf> {
    let home = env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(|| {
        let home = PathBuf::from(env::var_os("HOME")?);
        Some(home.join(".local").join("state"))
    })?;
    if !std::io::stdin().is_terminal() {
        return None;
    }
    if let Err(error) = std::fs::create_dir_all(&home) {
        log::debug!("no history is kept: {}: {error}", home.display());
    }
    Some(home.join("synod_history"))
}
