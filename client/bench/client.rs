//! One client of a load: its connection, what it asks for, and the one call that is under way.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use super::load::{Measured, TIMEOUT, Window, call};
use super::site::{Caller, Nodes};
use super::workload::{Plan, Verdict, Wanted, Work};

/// A client that can reach nobody must not take the cores from those who are about to answer.
const PAUSE: Duration = Duration::from_millis(5);

/// A client that makes one call after the other.
pub(super) struct Client<'a> {
    pub(super) number: usize,
    nodes: &'a Nodes,
    caller: Caller<'a>,
    work: Work,
    pub(super) measured: Measured,
    /// The call that is under way: what its reply should be, and since when it is due.
    asked: Option<(Wanted, Instant)>,
    /// Of every kind of reply, the first is read as a whole.
    seen: [bool; 2],
}

impl<'a> Client<'a> {
    pub(super) fn new(nodes: &'a Nodes, plan: &Plan<'_>, number: usize) -> Result<Self, Failure> {
        Ok(Self {
            number,
            nodes,
            caller: Caller::new(nodes, plan.args.at, number, TIMEOUT),
            work: plan.work(number)?,
            measured: Measured::new()?,
            asked: None,
            seen: [false; 2],
        })
    }

    /// Whether it has nothing to ask for any more.
    pub(super) fn is_done(&self) -> bool {
        self.asked.is_none() && self.work.is_exhausted()
    }

    /// Sees to it that there is a connection. If there can be none, that counts as an error, and it is `false`.
    pub(super) fn connect(&mut self) -> bool {
        match self.caller.connect(self.work.requests()) {
            Ok(()) => true,
            Err(error) => {
                self.no_answer(&error);
                false
            }
        }
    }

    /// Calls, unless it has nothing to ask for. What has to be done before its next call is done first.
    pub(super) fn send(&mut self) -> Result<(), Failure> {
        if self.work.is_exhausted() {
            return Ok(());
        }
        // Here, as the next call begins when the last one has ended.
        let now = Instant::now();
        if let Some(chore) = self.work.chore()? {
            match call(&mut self.caller, &mut [chore], Wanted::Wrote) {
                Ok(verdict) => {
                    self.measured.count(Verdict { done: 0, ..verdict }, None);
                    self.work.chore_done()?;
                    // The requests are new ones.
                    self.caller.readdress(self.work.requests());
                }
                Err(error) => self.no_answer(&error),
            }
            return Ok(());
        }
        if self.connect() {
            let (request, wanted) = self.work.next();
            match self.caller.send(request) {
                Ok(()) => self.asked = Some((wanted, now)),
                Err(error) => self.no_answer(&error),
            }
        }
        Ok(())
    }

    /// Waits for the reply to its call, if one is under way, and counts it.
    pub(super) fn receive(&mut self, window: Window) {
        let Some((wanted, since)) = self.asked.take() else { return };
        let seen = &mut self.seen[usize::from(wanted == Wanted::Got)];
        let answer = self.caller.receive().map(|body| wanted.judge(body, !*seen));
        let now = Instant::now();
        match answer {
            Ok(verdict) => {
                *seen = true;
                self.measured.count(verdict, window.holds(now).then(|| now - since));
            }
            Err(error) => self.no_answer(&error),
        }
    }

    /// A call came to nothing, or nobody knows to what: it counts as an error, and the next goes elsewhere.
    fn no_answer(&mut self, error: &io::Error) {
        let node = self.nodes.port(self.caller.node());
        self.measured.count(Verdict::failed(1, format!("node {node}: {error}")), None);
        self.caller.turn_away();
        thread::sleep(PAUSE);
    }
}
