//! The shell, run as a script or line by line.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tempfile::TempDir;

use super::files::decided_file;
use super::nodes::address_of;
use super::ports::Ports;
use super::process::{Process, Ran, Running};
use super::{PATIENCE, until};

/// How the shell is to be started.
pub(crate) struct Shell {
    command: Command,
}

impl Shell {
    /// `synod` with nothing.
    pub(crate) fn bare() -> Self {
        Self::of(env!("CARGO_BIN_EXE_synod").as_ref())
    }

    fn of(program: &Path) -> Self {
        let mut command = Command::new(program);
        // What the tester's terminal is like makes no difference.
        command.env_remove("RUST_LOG").env_remove("NO_COLOR").env("TERM", "xterm-256color");
        Self { command }
    }

    /// With nodes of its own, or those that run on these ports.
    fn on(self, ports: &Ports, data: &Path) -> Self {
        let (count, first) = (ports.count().to_string(), ports.first().to_string());
        self.with(["--nodes", &count, "--base-port", &first, "--data"]).with([data])
    }

    /// A shell for nodes that run already.
    pub(crate) fn connect(port: u16) -> Self {
        Self::bare().with(["--connect", &address_of(port)])
    }

    pub(crate) fn with<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs a script from a pipe.
    #[track_caller]
    pub(crate) fn run(mut self, script: &str) -> Ran {
        Ran::of(&mut self.command, script)
    }

    /// Runs commands given with `-c`.
    #[track_caller]
    pub(crate) fn commands<C: AsRef<str>>(mut self, commands: impl IntoIterator<Item = C>) -> Ran {
        commands.into_iter().for_each(|command| _ = self.command.args(["-c", command.as_ref()]));
        Ran::of(&mut self.command, "")
    }

    /// Starts it with `-c`, and does not wait.
    pub(crate) fn start(mut self, command: &str) -> Running {
        self.command.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::gather(Process(self.command.spawn().unwrap()))
    }

    /// Starts it with a pipe for stdin, to give it one line at a time.
    pub(crate) fn session(mut self) -> Session {
        let mut process = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map(Process).unwrap();
        let stdin = process.0.stdin.take();
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Session { process, stdin, lines }
    }
}

/// A shell that is given one line at a time.
pub(crate) struct Session {
    process: Process,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Session {
    /// Gives it a line, and reads what it prints up to the line that begins so.
    #[track_caller]
    pub(crate) fn tell(&mut self, command: &str, last: &str) -> Vec<String> {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut lines = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line =
                line.unwrap_or_else(|_| panic!("{command}: no line begins with '{last}':\n{}", lines.join("\n")));
            let is_last = line.starts_with(last);
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    }

    /// Puts all nodes back to the beginning.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.tell("restart", "All nodes are restarted and their states reset.");
    }

    /// Closes its stdin, which must end it well, having said no more.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        drop(self.stdin.take());
        assert_eq!(self.process.ended().code(), Some(0));
        assert_eq!(self.lines.iter().collect::<Vec<_>>(), Vec::<String>::new());
    }
}

/// Ports and a directory for a shell that starts nodes of its own.
pub(crate) struct Place {
    pub(crate) ports: Ports,
    pub(crate) data: TempDir,
}

impl Place {
    /// For five nodes.
    pub(crate) fn new() -> Self {
        Self { ports: Ports::take(5), data: TempDir::new().unwrap() }
    }

    pub(crate) fn shell(&self) -> Shell {
        Shell::bare().on(&self.ports, self.data.path())
    }

    /// A shell that is a copy of the program.
    pub(crate) fn shell_of(&self, program: &Path) -> Shell {
        Shell::of(program).on(&self.ports, self.data.path())
    }

    /// Waits until the decided files of all nodes, which must be running, say this.
    #[track_caller]
    pub(crate) fn until_files_say(&self, value: &str) {
        for port in self.ports.all() {
            let found = until("a decided file", || decided_file(self.data.path(), port, "default"));
            assert_eq!(found, value, "the file of {port}");
        }
    }

    /// The same, with a shell that runs the nodes meanwhile.
    #[track_caller]
    pub(crate) fn files_come_to_say(&self, value: &str) {
        let session = self.shell().session();
        self.until_files_say(value);
        session.leave();
    }

    /// The port of the node with this index.
    pub(crate) fn port(&self, index: usize) -> u16 {
        self.ports.at(index)
    }
}
