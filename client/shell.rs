//! The shell: takes lines from a prompt or a script, and has each command run.
//!
//! What is about the shell itself (`help`, `history`, `sleep`, `exit`) happens here; everything else goes to an
//! [`Executor`]. At the prompt a failing command is just an answer; in a script it is the end, unless told to go on.

mod assist;
mod script;
mod terminal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{self, Command, Port, UsageError, help};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// It did what it was asked to.
    Done,
    /// It was refused, or something else was chosen than asked for.
    Refused,
    /// The command itself was wrong.
    Usage,
    /// Too few nodes could be reached; nothing happened.
    Unavailable,
    /// It may have happened, or may yet.
    Unknown,
    /// A program that it ran ended with this code, which is not 0.
    Program(u8),
}

impl Status {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::Unknown => 4,
            Self::Program(code) => code,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Prints a line above the prompt.
pub(crate) type Printer = Box<dyn FnMut(&str) + Send>;

/// Whoever carries out commands and says what came of them.
pub(crate) trait Executor {
    /// Carries out a command; never one of those that the shell keeps for itself.
    fn run(&mut self, command: &Command) -> Status;

    /// The ports of the nodes, for completion. Asked before each prompt, so it must not wait for the network.
    fn ports(&self) -> Vec<Port>;

    /// Says, in the output format, what was wrong with a line.
    fn report_usage(&mut self, error: &UsageError);

    /// Ends a command that the shell itself carried out; its text for people (help, history) ends in a line feed.
    fn conclude(&mut self, _command: &Command, text: &str, status: Status) -> Status {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => status,
            Err(error) => {
                log::debug!("cannot write to stdout: {error}");
                Status::Unavailable
            }
        }
    }

    /// Is given a way to print lines above the prompt while somebody types at it.
    fn set_printer(&mut self, _print: Printer) {}

    /// Whether a write to stdout has met a closed pipe. Nobody reads any more, so the shell then ends quietly.
    fn is_reader_gone(&self) -> bool {
        false
    }
}

/// Where lines come from.
pub(crate) enum Source {
    /// The prompt.
    Terminal,
    /// A script, and what to call it in messages.
    Lines(Box<dyn BufRead>, String),
}

impl Source {
    /// What stdin is called.
    pub(crate) const STDIN: &'static str = "stdin";

    /// What the arguments ask for: the commands of `-c`, else the file of `-f` (`-` is stdin), else stdin, which is the
    /// prompt if it is a terminal.
    pub(crate) fn choose(commands: &[String], file: Option<&Path>) -> Result<Self, UsageError> {
        if !commands.is_empty() {
            let script = io::Cursor::new(commands.join("\n"));
            return Ok(Self::Lines(Box::new(script), "-c".to_owned()));
        }
        match file {
            Some(path) if path != Path::new("-") => match File::open(path) {
                Ok(file) => Ok(Self::Lines(Box::new(BufReader::new(file)), path.display().to_string())),
                Err(error) => Err(UsageError::new(format!("cannot open the script '{}': {error}", path.display()), "")),
            },
            None if io::stdin().is_terminal() => Ok(Self::Terminal),
            _ => Ok(Self::Lines(Box::new(io::stdin().lock()), Self::STDIN.to_owned())),
        }
    }
}

/// Runs all commands of `source`. A script ends at the first command that is not [`Status::Done`], unless `keep_going`,
/// and the result is the first status that was not `Done`. At the prompt nothing ends it but leaving, with `Done`.
///
/// `history` is the file that the prompt remembers lines in. Whoever handles Ctrl-C sets `interrupted`, which ends a
/// `sleep` and a script; the prompt clears it before each command.
pub(crate) fn run(
    source: Source,
    executor: &mut dyn Executor,
    keep_going: bool,
    history: Option<PathBuf>,
    interrupted: &AtomicBool,
) -> Status {
    let session = Session { executor, interrupted, past: VecDeque::new() };
    match source {
        Source::Terminal => terminal::run(session, history.as_deref()),
        Source::Lines(mut reader, name) => script::run(session, &mut *reader, &name, keep_going),
    }
}

/// Whether output to stdout may be coloured: it is a terminal that can, and `NO_COLOR` does not forbid it.
pub(crate) fn has_colours() -> bool {
    may_colour(io::stdout().is_terminal(), env::var_os("NO_COLOR").as_deref(), env::var_os("TERM").as_deref())
}

fn may_colour(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

/// The longest line that is taken, in bytes.
const MAX_LINE: usize = 1 << 20;

/// How many lines `history` remembers.
const MAX_HISTORY: usize = 1000;

/// What running a line leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It was carried out or was wrong; `None` if there was nothing to do.
    Ran(Option<Status>),
    /// The session is over: `exit`, or nobody reads the output any more.
    Leave,
}

/// What stays from one line to the next.
struct Session<'a> {
    executor: &'a mut dyn Executor,
    interrupted: &'a AtomicBool,
    past: VecDeque<String>,
}

impl Session<'_> {
    /// Runs one line. `place` is the script and the line in it.
    fn line(&mut self, line: &str, place: Option<(&str, usize)>) -> Step {
        if line.len() > MAX_LINE {
            return self.usage(too_long(), place);
        }
        self.remember(line);
        match command::parse(line) {
            Ok(None) => Step::Ran(None),
            Ok(Some(command)) => self.command(&command),
            Err(error) => self.usage(error, place),
        }
    }

    fn command(&mut self, command: &Command) -> Step {
        let (text, status) = match command {
            Command::Exit => return Step::Leave,
            Command::Help(None) => (help::overview(), Status::Done),
            // The parser only lets topics of the table through.
            Command::Help(Some(topic)) => (help::find(topic).map(help::details).unwrap_or_default(), Status::Done),
            Command::History => (self.numbered_past(), Status::Done),
            Command::Sleep(duration) => (String::new(), self.sleep(*duration)),
            other => {
                let status = self.executor.run(other);
                return self.ran(status);
            }
        };
        let status = self.executor.conclude(command, &text, status);
        self.ran(status)
    }

    fn ran(&self, status: Status) -> Step {
        if self.executor.is_reader_gone() { Step::Leave } else { Step::Ran(Some(status)) }
    }

    fn usage(&mut self, error: UsageError, place: Option<(&str, usize)>) -> Step {
        let error = match place {
            Some((source, line)) => error.at(source, line),
            None => error,
        };
        self.executor.report_usage(&error);
        if self.executor.is_reader_gone() {
            return Step::Leave;
        }
        Step::Ran(Some(Status::Usage))
    }

    /// Waits in slices, because the thread that sleeps is also the one that must notice Ctrl-C.
    fn sleep(&self, duration: Duration) -> Status {
        const SLICE: Duration = Duration::from_millis(20);
        let started = Instant::now();
        loop {
            if self.is_interrupted() {
                return Status::Refused;
            }
            let left = duration.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Status::Done;
            }
            thread::sleep(left.min(SLICE));
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.past.len() == MAX_HISTORY {
            self.past.pop_front();
        }
        self.past.push_back(line.trim_end().to_owned());
    }

    fn numbered_past(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.past.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:>5}  {line}", index + 1);
        }
        text
    }
}

fn too_long() -> UsageError {
    UsageError::new("the line is longer than 1 MiB", "")
}
