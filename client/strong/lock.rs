//! Locks: taking and releasing one, and running a program while one is held.
//!
//! # The program under a lock
//!
//! A thread renews the lock three times in its time to live. The lock counts as lost when the cluster says so, or when
//! the time to live has passed since the *beginning* of the last call that renewed it: the log's clock began to count
//! after that. Then the program gets SIGTERM, and whatever it still writes with its token is refused. This process waits
//! for the program in any case, so that nothing of it goes on unseen.

use std::env;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use signal_hook::consts::SIGTERM;
use synod::rpc::faults::NOT_HOLDER;
use synod::rpc::strong::answers::{LockAnswer, LockRow, Wrote};

use super::caller::{Answered, Caller, Failed, Fence};
use super::{Ended, lock_json, one_line};
use crate::execute::Lab;
use crate::shell::Status;

/// The token, for the program and for what it starts.
const TOKEN: &str = "SYNOD_LOCK_TOKEN";
/// The lock that the token is of.
const LOCK: &str = "SYNOD_LOCK";

/// How long a place in the queue is kept without being asked for again. A shell that was killed is forgotten after it.
const PLACE: Duration = Duration::from_secs(15);
/// How long one call waits for the lock.
const WAIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);

/// The token that this process was given, if it runs under a lock.
pub(crate) fn fence_of_environment() -> Result<Option<Fence>, String> {
    let Ok(text) = env::var(TOKEN) else { return Ok(None) };
    let token = text.parse().map_err(|_| format!("{TOKEN} is '{}', and a token is a number", one_line(&text)))?;
    Ok(Some(Fence { token, lock: env::var(LOCK).ok() }))
}

/// What SIGTERM does to this process: what it does to others, except while a program runs under a lock.
pub(crate) struct Guard {
    by_default: Arc<AtomicBool>,
    seen: Arc<AtomicBool>,
}

impl Guard {
    pub(crate) fn new() -> io::Result<Self> {
        let guard = Self { by_default: Arc::new(AtomicBool::new(true)), seen: Arc::default() };
        signal_hook::flag::register_conditional_default(SIGTERM, guard.by_default.clone())?;
        signal_hook::flag::register(SIGTERM, guard.seen.clone())?;
        Ok(guard)
    }
}

/// A lock that this process holds for a program.
struct Held<'a> {
    name: &'a str,
    owner: &'a str,
    token: u64,
    ttl: Duration,
}

/// What the thread that renews shares with the one that waits for the program.
struct Renewing {
    /// Until when the lock is held for certain.
    until: Mutex<Instant>,
    lost: Mutex<Option<String>>,
    over: AtomicBool,
}

impl Lab {
    pub(super) fn take_lock(&mut self, name: &str, owner: Option<&str>, ttl: Duration) -> Ended {
        let owner = owner.unwrap_or_else(|| self.caller.name()).to_owned();
        let params = |options| (name, &owner, millis(ttl), 0, options);
        let Answered { node, answer } = self.caller.write::<_, LockAnswer>("lock.acquire", params)?;
        self.console.put("node", json!(node.number()));
        self.console.put("owner", json!(owner));
        self.console.put("lock", lock_json(&answer));
        let (shown_name, shown_owner) = (one_line(name), one_line(&owner));
        if let (true, Some(token)) = (answer.granted, answer.token) {
            let seconds = ttl.as_secs_f64();
            self.console.say_good(format!(
                "Lock '{shown_name}' is held by '{shown_owner}' for {seconds} s, with token {token}."
            ));
            return Ok(Status::Done);
        }
        let holder = self.holder(name).ok().flatten();
        let holder = holder.as_ref().map_or_else(
            || "somebody else held it".to_owned(),
            |lock| {
                let left = lock.expires_in_ms as f64 / 1000.0;
                format!("'{}' holds it, for another {left:.1} s unless it is renewed", one_line(&lock.owner))
            },
        );
        Err(Failed::refused(format!(
            "lock '{shown_name}' was not granted: {holder}; try again, or wait for it with 'lock {shown_name} -- <program>'"
        )))
    }

    fn holder(&mut self, name: &str) -> Result<Option<LockRow>, Failed> {
        let locks: Answered<Vec<LockRow>> = self.caller.read("lock.list", |options| (options,))?;
        Ok(locks.answer.into_iter().find(|lock| lock.name == name))
    }

    pub(super) fn unlock(&mut self, name: &str, owner: Option<&str>) -> Ended {
        let owner = owner.unwrap_or_else(|| self.caller.name()).to_owned();
        let held = self.holder(name)?.filter(|lock| lock.owner == owner);
        let done: Answered<Wrote> = match held {
            Some(held) => self.caller.write("lock.release", |options| (name, &owner, held.token, options))?,
            // It may wait in the queue. Leaving that twice does no harm, and the method takes no options without a token.
            None => self.caller.ask("lock.release", &(name, &owner)).map_err(|failed| {
                let hint = "; name its owner, 'unlock <name> <owner>', as 'locks' shows it";
                let hint = if failed.is(NOT_HOLDER) { hint } else { "" };
                Failed { text: format!("{}{hint}", failed.text), ..failed }
            })?,
        };
        self.put_wrote(&done);
        self.console.say_good(format!("Lock '{}' was released by '{}'.", one_line(name), one_line(&owner)));
        Ok(Status::Done)
    }

    /// Runs a program while the lock is held.
    pub(super) fn run_locked(
        &mut self,
        name: &str,
        owner: Option<&str>,
        ttl: Duration,
        program: &str,
        arguments: &[String],
    ) -> Ended {
        let mut caller = self.caller.fork();
        // An owner of its own: two programs of one shell exclude each other.
        let owner = owner.unwrap_or_else(|| caller.name()).to_owned();
        let Some(token) = self.wait_for_lock(&mut caller, name, &owner, ttl)? else {
            return Err(Failed::refused(format!("lock '{}': no longer waiting for it", one_line(name))));
        };
        let held = Held { name, owner: &owner, token, ttl };
        self.console.put("owner", json!(owner));
        self.console.put("token", json!(token));
        // The grant may have come some time before the answer; from here on it is known how old it is.
        let until = held.renew(&mut caller)?;
        let mut command = Command::new(program);
        command.args(arguments).env(TOKEN, token.to_string()).env(LOCK, name).stdin(self.stdin_for_programs());
        if self.console.is_json() {
            command.stdout(io::stderr());
        }
        if let Err(failed) = self.guard_against_signals() {
            self.release(&mut caller, &held);
            return Err(failed);
        }
        let ended = match command.spawn() {
            Ok(child) => self.mind(child, &mut caller, &held, until),
            Err(error) => {
                self.console.error(&format!("cannot run '{}': {error}; nothing was run", one_line(program)));
                self.release(&mut caller, &held);
                Ok(Status::Program(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
            }
        };
        if let Some(guard) = &self.guard {
            guard.by_default.store(true, Ordering::Relaxed);
            if guard.seen.swap(false, Ordering::Relaxed) {
                self.interrupted.store(true, Ordering::Relaxed);
            }
        }
        ended
    }

    /// The token, or `None` if Ctrl-C was quicker.
    fn wait_for_lock(
        &mut self,
        caller: &mut Caller,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<u64>, Failed> {
        let mut told = None;
        loop {
            let params = |options| (name, owner, millis(ttl), millis(PLACE), options);
            let answer = caller.write_within::<_, LockAnswer>(WAIT, "lock.acquire", params)?.answer;
            if let (true, Some(token)) = (answer.granted, answer.token) {
                return Ok(Some(token));
            }
            if self.is_interrupted() {
                leave_queue(caller, name, owner);
                return Ok(None);
            }
            if answer.position.is_some() && answer.position != told {
                told = answer.position;
                let place = told.unwrap_or(0);
                self.console.tell(format!("Waiting for lock '{}', at place {place} of its queue.", one_line(name)));
            }
        }
    }

    /// Waits for the program, and keeps the lock meanwhile.
    fn mind(&mut self, mut child: Child, caller: &mut Caller, held: &Held<'_>, until: Instant) -> Ended {
        let renewing = Renewing { until: Mutex::new(until), lost: Mutex::new(None), over: AtomicBool::new(false) };
        let ended = thread::scope(|scope| {
            scope.spawn(|| keep(caller, held, &renewing));
            let ended = self.wait_for_program(&mut child, held, &renewing);
            renewing.over.store(true, Ordering::Relaxed);
            ended
        });
        let lost = renewing.lost.into_inner();
        self.console.put("lost", json!(lost.is_some()));
        let in_time = lost.is_none() && self.release(caller, held);
        let code = ended.map(code_of).map_err(|error| Failed::refused(format!("cannot wait for it: {error}")))?;
        self.console.put("program_code", json!(code));
        Ok(match code {
            0 if in_time => Status::Done,
            // It may have done its work while somebody else held the lock.
            0 => Status::Refused,
            code => Status::Program(code),
        })
    }

    fn wait_for_program(&mut self, child: &mut Child, held: &Held<'_>, renewing: &Renewing) -> io::Result<ExitStatus> {
        let (mut lost, mut forwarded) = (false, false);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if !lost && let Some(why) = renewing.why_lost(held) {
                lost = true;
                self.console.error(&format!(
                    "lock '{}' is lost: {why}; the program gets SIGTERM, and what it writes with token {} is refused",
                    one_line(held.name),
                    held.token
                ));
                terminate(child);
            }
            if !forwarded && self.guard.as_ref().is_some_and(|guard| guard.seen.load(Ordering::Relaxed)) {
                forwarded = true;
                terminate(child);
            }
            thread::sleep(POLL);
        }
    }

    /// Says whether the lock was held to the end. If it cannot be released, it ends by itself.
    fn release(&mut self, caller: &mut Caller, held: &Held<'_>) -> bool {
        let params = |options| (held.name, held.owner, held.token, options);
        let Err(failed) = caller.write::<_, Wrote>("lock.release", params) else { return true };
        let name = one_line(held.name);
        if failed.is(NOT_HOLDER) {
            self.console.error(&format!("lock '{name}' was lost before the program ended: {}", failed.text));
            return false;
        }
        let seconds = held.ttl.as_secs_f64();
        self.console.error(&format!("lock '{name}' ends by itself within {seconds} s: {}", failed.text));
        true
    }

    fn guard_against_signals(&mut self) -> Result<(), Failed> {
        if self.guard.is_none() {
            let guard = Guard::new().map_err(|error| Failed::refused(format!("cannot watch for signals: {error}")))?;
            self.guard = Some(guard);
        }
        if let Some(guard) = &self.guard {
            guard.by_default.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A script on stdin is for the shell to read, not for the program.
    fn stdin_for_programs(&self) -> Stdio {
        if self.script_on_stdin { Stdio::null() } else { Stdio::inherit() }
    }
}

impl Held<'_> {
    /// Holds the lock for its time to live from now on; says until when that is certain.
    fn renew(&self, caller: &mut Caller) -> Result<Instant, Failed> {
        let begun = Instant::now();
        let params = |options| (self.name, self.owner, self.token, millis(self.ttl), options);
        let answer: LockAnswer =
            caller.write_within(self.ttl.min(super::caller::ATTEMPT), "lock.renew", params)?.answer;
        if answer.granted { Ok(begun + self.ttl) } else { Err(Failed::refused("it was not renewed")) }
    }
}

impl Renewing {
    /// Why the lock is lost; notes it if it is so only because its time is over.
    fn why_lost(&self, held: &Held<'_>) -> Option<String> {
        let mut lost = self.lost.lock();
        if lost.is_none() && Instant::now() >= *self.until.lock() {
            let seconds = held.ttl.as_secs_f64();
            *lost = Some(format!("it could not be renewed within {seconds} s"));
        }
        lost.clone()
    }
}

/// Renews the lock until the program is over or the lock is lost.
fn keep(caller: &mut Caller, held: &Held<'_>, renewing: &Renewing) {
    let mut next = Instant::now() + held.ttl / 3;
    while !renewing.over.load(Ordering::Relaxed) {
        if Instant::now() < next {
            thread::sleep(POLL);
            continue;
        }
        match held.renew(caller) {
            Ok(until) => {
                *renewing.until.lock() = until;
                next = Instant::now() + held.ttl / 3;
            }
            Err(failed) if failed.status == Status::Refused => {
                _ = renewing.lost.lock().get_or_insert(failed.text);
                return;
            }
            // Nobody could say. While the lock's time runs, it is tried again.
            Err(failed) => log::debug!("renewing '{}': {}", held.name, failed.text),
        }
        if renewing.lost.lock().is_some() {
            return;
        }
    }
}

/// Gives up waiting. Who asks for a lock without waiting gives up its place; should it be granted just then, it goes back.
fn leave_queue(caller: &mut Caller, name: &str, owner: &str) {
    let left = caller.write("lock.acquire", |options| (name, owner, millis(PLACE), 0, options));
    let left = left.and_then(|Answered { answer, .. }: Answered<LockAnswer>| match answer.token {
        Some(token) if answer.granted => {
            caller.write::<_, Wrote>("lock.release", |options| (name, owner, token, options)).map(|_| ())
        }
        _ => Ok(()),
    });
    if let Err(failed) = left {
        log::debug!("leaving the queue of '{name}': {}", failed.text);
    }
}

fn terminate(child: &Child) {
    // It has not been waited for, so its number is still its own.
    if let Err(error) = kill_process(Pid::from_child(child), Signal::TERM) {
        log::debug!("SIGTERM for process {}: {error}", child.id());
    }
}

/// As shells give it: a program that a signal has ended counts from 128.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
