//! Child processes that end with the test.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use super::until;

/// A child process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Process {
    /// SIGKILL: the process does nothing any more, not even close what it has open.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status().unwrap();
        assert!(status.success(), "kill -{name} {}", self.0.id());
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("a process to end", || self.0.try_wait().unwrap())
    }
}

/// What a process said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Ran {
    /// Runs a command to its end, with this text on stdin.
    #[track_caller]
    pub(crate) fn of(command: &mut Command, stdin: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let mut pipe = process.0.stdin.take().unwrap();
        let text = stdin.to_owned();
        // It may end before it has read all, which breaks the pipe.
        let writer = thread::spawn(move || _ = pipe.write_all(text.as_bytes()));
        let running = Running::gather(process);
        let ran = running.finish();
        writer.join().unwrap();
        ran
    }

    /// The lines of stdout of a process that must have ended with this code.
    #[track_caller]
    pub(crate) fn ended_with(&self, code: i32) -> Vec<&str> {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout.lines().collect()
    }

    /// The lines of stdout of a process that must have done all it was asked to, and complained about nothing.
    #[track_caller]
    pub(crate) fn good(&self) -> Vec<&str> {
        let lines = self.ended_with(0);
        assert_eq!(self.stderr, "", "stdout:\n{}", self.stdout);
        lines
    }

    /// Whether all these texts stand in stderr.
    #[track_caller]
    pub(crate) fn complains(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.stderr.contains(text), "no '{text}' in stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        }
    }
}

/// A process whose output is being gathered.
pub(crate) struct Running {
    pub(crate) process: Process,
    stdout: thread::JoinHandle<String>,
    stderr: thread::JoinHandle<String>,
}

impl Running {
    /// Gathers the output of a process that was started with pipes.
    pub(crate) fn gather(mut process: Process) -> Self {
        let stdout = read_all(process.0.stdout.take().unwrap());
        let stderr = read_all(process.0.stderr.take().unwrap());
        Self { process, stdout, stderr }
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ran {
        let code = self.process.ended().code();
        Ran { stdout: self.stdout.join().unwrap(), stderr: self.stderr.join().unwrap(), code }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}
