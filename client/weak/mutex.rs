//! What a lock is for: several clients count up one number in one file, without and with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::json;
use synod::rpc::strong::answers::{LockAnswer, Wrote};

use crate::execute::Lab;
use crate::shell::Status;
use crate::strong::Ended;
use crate::strong::caller::{ATTEMPT, Answered, Caller, Failed};

/// How often each client counts.
const TIMES: u64 = 5;
/// How long a client thinks between reading and writing.
const THOUGHT: Duration = Duration::from_millis(3);
const LOCK: &str = "mutex-demo";
const TTL_MS: u64 = 10_000;
/// How long a client waits in the queue before it asks again, below what a call may take.
const WAIT_MS: u64 = 3000;

impl Lab {
    pub(super) fn mutex_demo(&mut self, clients: u64) -> Ended {
        let file = File(std::env::temp_dir().join(format!("synod-mutex-demo-{}", std::process::id())));
        let expected = clients * TIMES;
        self.console.say(format!("{clients} clients count up the number in one file, {TIMES} times each."));
        let callers = || (0..clients).map(|_| None).collect();
        let without = self.count(&file, callers())?;
        let lost = expected.saturating_sub(without);
        self.console.put("expected", json!(expected));
        self.console.put("without", json!(without));
        let text = format!(
            "Without the lock: {without} of {expected}; {lost} updates were lost, each one overwritten by a client that had read before it."
        );
        if lost > 0 {
            self.console.say_bad(text)
        } else {
            self.console.say(text)
        }
        let callers = (0..clients).map(|_| Some(self.caller.fork())).collect();
        let with = self.count(&file, callers)?;
        self.console.put("with", json!(with));
        let text = format!("With the lock '{LOCK}': {with} of {expected}.");
        if with == expected {
            self.console.say_good(text);
            Ok(Status::Done)
        } else {
            Err(Failed::refused(format!("{text} A lock must not lose any: this is a bug")))
        }
    }

    /// Lets each client count; those that have a caller take the lock meanwhile. What stands in the file at the end.
    fn count(&self, file: &File, callers: Vec<Option<Caller>>) -> Result<u64, Failed> {
        file.write(0).map_err(|error| file.failed(&error))?;
        thread::scope(|scope| {
            let client = |(number, mut caller): (usize, Option<Caller>)| {
                let owner = format!("client-{}", number + 1);
                scope.spawn(move || (0..TIMES).try_for_each(|_| once(file, caller.as_mut(), &owner)))
            };
            let threads: Vec<_> = callers.into_iter().enumerate().map(client).collect();
            let ended = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(Failed::refused("a client of the demonstration panicked")))
            });
            ended.collect::<Result<(), Failed>>()
        })?;
        file.read().map_err(|error| file.failed(&error))
    }
}

/// Counts once: reads, thinks, writes.
fn once(file: &File, caller: Option<&mut Caller>, owner: &str) -> Result<(), Failed> {
    let count = || {
        let number = file.read()?;
        thread::sleep(THOUGHT);
        file.write(number + 1)
    };
    let Some(caller) = caller else { return count().map_err(|error| file.failed(&error)) };
    loop {
        let Answered { answer, .. } = caller.write_within::<_, LockAnswer>(ATTEMPT, "lock.acquire", |options| {
            (LOCK, owner, TTL_MS, WAIT_MS, options)
        })?;
        if answer.granted {
            break;
        }
    }
    let counted = count().map_err(|error| file.failed(&error));
    // `lock.release(name, owner, token, options)`; the token is not needed to let go of what one holds.
    let released: Result<Answered<Wrote>, Failed> = caller.ask("lock.release", &(LOCK, owner));
    counted.and(released.map(|_| ()))
}

/// The file, which goes when it is no longer needed.
struct File(PathBuf);

impl File {
    fn read(&self) -> io::Result<u64> {
        let text = fs::read_to_string(&self.0)?;
        text.trim().parse().map_err(|_| io::Error::other(format!("'{}' is no number", text.trim())))
    }

    /// Written whole, so that nobody reads half a number.
    fn write(&self, number: u64) -> io::Result<()> {
        let temporary = self.0.with_extension(format!("{:?}", thread::current().id()));
        fs::write(&temporary, format!("{number}\n"))?;
        fs::rename(&temporary, &self.0)
    }

    fn failed(&self, error: &io::Error) -> Failed {
        let path: &Path = &self.0;
        Failed::refused(format!("{}: {error}", path.display()))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}
