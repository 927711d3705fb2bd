//! Calls of the services: to any node that answers, and done once however often they are sent.
//!
//! Any node takes any call and forwards it to the leader. So a node that is down, or that knows no leader, is no reason
//! to give up while there is another one. A write carries a request id: after an answer that was lost it is sent again,
//! with the same id, and the log applies it once.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use synod::rpc::client::{CallError, Client};
use synod::rpc::faults::{
    BAD_OPTION, COMPARE, EXISTS, FENCED, FULL, FaultKind, NOT_FOUND, NOT_HOLDER, RESTARTED, REUSED, STOPPED, TOO_LARGE,
    UNAVAILABLE, UNKNOWN,
};
use synod::rpc::strong::{ReadOptions, WriteOptions};

use crate::cluster::Cluster;
use crate::command::Port;
use crate::execute::explain;
use crate::shell::Status;

/// How long a node is given to answer, for instance while there is no leader: a few times what an election takes.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(2);
/// No other node is asked after this: time for five that take all they are given, as those do that are cut off.
const PATIENCE: Duration = ATTEMPT.saturating_mul(5);
/// Between two rounds of nodes that answer at once that they cannot.
const PAUSE: Duration = Duration::from_millis(50);

/// What the services themselves say to a request, so that it is settled also if it was in doubt before.
const SETTLED: [FaultKind; 9] = [COMPARE, EXISTS, FENCED, FULL, NOT_FOUND, NOT_HOLDER, REUSED, TOO_LARGE, BAD_OPTION];

/// A client of the whole cluster.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Shared with all forks, so that each goes by the present members.
    nodes: Arc<RwLock<Vec<(Port, Client)>>>,
    /// Which of them answered last.
    at: usize,
    /// Under which name the writes are numbered; nobody else's.
    name: String,
    /// The number of the last write.
    sequence: u64,
    forks: u64,
    /// The lock under which this process runs.
    fence: Option<Fence>,
}

/// A token, and perhaps the lock that it is of.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    pub(crate) token: u64,
    pub(crate) lock: Option<String>,
}

/// An answer, and which node gave it.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub(crate) node: Port,
    pub(crate) answer: T,
}

/// Why there is no answer, and what is known of the outcome.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) status: Status,
    /// Who said so; `None` if it is about all nodes.
    pub(crate) node: Option<Port>,
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Failed {
    /// A refusal of the shell's own.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self { status: Status::Refused, node: None, code: None, text: text.into() }
    }

    pub(crate) fn is(&self, kind: FaultKind) -> bool {
        self.code == Some(kind.code)
    }
}

/// What a failed attempt means for the call.
enum Verdict {
    /// Another node would say the same.
    Final,
    /// Nothing happened; another node may do better.
    Nothing,
    /// It may have happened.
    Doubt,
}

impl Caller {
    /// A caller under this name, which must be used by nobody else.
    pub(crate) fn new(cluster: &Cluster, name: String, fence: Option<Fence>) -> Self {
        let caller = Self { nodes: Arc::default(), at: 0, name, sequence: 0, forks: 0, fence };
        caller.meet(cluster);
        caller
    }

    /// From now on these are the nodes.
    pub(crate) fn meet(&self, cluster: &Cluster) {
        *self.nodes.write() = cluster.members().map(|(port, member)| (port, member.service.clone())).collect();
    }

    /// Another one for the same nodes, to be used at the same time. Its writes carry no token: it keeps locks itself.
    pub(crate) fn fork(&mut self) -> Self {
        self.forks += 1;
        let name = format!("{}-{}", self.name, self.forks);
        Self { nodes: self.nodes.clone(), at: self.at, name, sequence: 0, forks: 0, fence: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads, from whichever node answers.
    pub(crate) fn read<P: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl FnOnce(ReadOptions) -> P,
    ) -> Result<Answered<T>, Failed> {
        let options = ReadOptions { deadline_ms: Some(millis(ATTEMPT)), ..ReadOptions::default() };
        self.call(method, &params(options), None)
    }

    /// Asks what takes no options.
    pub(crate) fn ask<P: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &P,
    ) -> Result<Answered<T>, Failed> {
        self.call(method, params, None)
    }

    /// Writes, exactly once; a node is told to answer after so long.
    pub(crate) fn write_within<P: Serialize, T: DeserializeOwned>(
        &mut self,
        deadline: Duration,
        method: &str,
        params: impl FnOnce(WriteOptions) -> P,
    ) -> Result<Answered<T>, Failed> {
        self.sequence += 1;
        let request = format!("{}/{}", self.name, self.sequence);
        let deadline_ms = Some(millis(deadline));
        let options = WriteOptions { request: Some(request.clone()), deadline_ms, ..WriteOptions::default() };
        self.call(method, &params(options), Some(&request))
    }

    /// Writes, exactly once.
    pub(crate) fn write<P: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl FnOnce(WriteOptions) -> P,
    ) -> Result<Answered<T>, Failed> {
        self.write_within(ATTEMPT, method, params)
    }

    /// The same for what a lock can guard: keys and files.
    pub(crate) fn guarded<P: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl FnOnce(WriteOptions) -> P,
    ) -> Result<Answered<T>, Failed> {
        let fence = self.fence.clone();
        self.write(method, move |options| {
            let (token, lock) = fence.map_or((None, None), |fence| (Some(fence.token), fence.lock));
            params(WriteOptions { token, lock, ..options })
        })
    }

    /// Asks this node, or else the first that can be reached, once: nothing is known of a call whose answer is lost.
    pub(crate) fn once<P: Serialize, T: DeserializeOwned>(
        &mut self,
        on: Option<Port>,
        method: &str,
        params: &P,
    ) -> Result<Answered<T>, Failed> {
        if let Some(port) = on {
            let known = self.nodes.read().iter().position(|(known, _)| *known == port);
            self.at = known.ok_or_else(|| Failed::refused(format!("{port} is no node of this cluster")))?;
        }
        for _ in 0..self.count() {
            let Some((port, client)) = self.node() else { break };
            match client.call(method, params) {
                Ok(answer) => return Ok(Answered { node: port, answer }),
                Err(CallError::Unreachable(_)) if on.is_none() => self.at += 1,
                Err(error) => return Err(self.failed(port, &error)),
            }
        }
        Err(self.nobody(false))
    }

    fn call<P: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &P,
        request: Option<&str>,
    ) -> Result<Answered<T>, Failed> {
        let started = Instant::now();
        let (mut doubt, mut nothing): (Option<Failed>, Option<Failed>) = (None, None);
        for tried in 1.. {
            let Some((port, client)) = self.node() else { break };
            let answer = client.call(method, params);
            let error = match answer {
                Ok(answer) => return Ok(Answered { node: port, answer }),
                Err(error) => error,
            };
            log::debug!("{method} at {port}: {error}");
            let failed = self.failed(port, &error);
            match judge(&error, request.is_some(), doubt.is_some()) {
                Verdict::Final => return Err(failed),
                Verdict::Doubt => _ = doubt.get_or_insert(failed),
                // That nobody listens there says less than what another node said.
                Verdict::Nothing if failed.code.is_some() || nothing.is_none() => nothing = Some(failed),
                Verdict::Nothing => {}
            }
            self.at += 1;
            let round_over = tried % self.count().max(1) == 0;
            let all_down = doubt.is_none() && nothing.as_ref().is_some_and(|failed| failed.code.is_none());
            if round_over && all_down || started.elapsed() >= PATIENCE {
                break;
            }
            if round_over {
                thread::sleep(PAUSE);
            }
        }
        Err(match (doubt, request, nothing) {
            (Some(doubt), Some(request), _) => in_doubt(doubt, request),
            (_, _, Some(nothing)) if nothing.code.is_some() => nothing,
            _ => self.nobody(request.is_some()),
        })
    }

    fn count(&self) -> usize {
        self.nodes.read().len()
    }

    /// The node that is asked next.
    fn node(&self) -> Option<(Port, Client)> {
        let nodes = self.nodes.read();
        nodes.get(self.at % nodes.len().max(1)).cloned()
    }

    fn failed(&self, port: Port, error: &CallError) -> Failed {
        let (status, text) = explain(port, error);
        let code = if let CallError::Fault(fault) = error { Some(fault.code) } else { None };
        Failed { status, node: Some(port), code, text }
    }

    /// No node could be asked at all.
    fn nobody(&self, write: bool) -> Failed {
        let ports: Vec<String> = self.nodes.read().iter().map(|(port, _)| port.to_string()).collect();
        let first = ports.first().map_or("<port>", String::as_str);
        let text = format!(
            "unavailable: none of the nodes {} answers; nothing was {}; start them ('start {first}'), and try again",
            ports.join(", "),
            if write { "written" } else { "read" }
        );
        Failed { status: Status::Unavailable, node: None, code: None, text }
    }
}

/// A failed attempt of a call; `doubted` if an earlier one may have had its effect.
fn judge(error: &CallError, write: bool, doubted: bool) -> Verdict {
    let in_doubt = if write { Verdict::Doubt } else { Verdict::Nothing };
    let fault = match error {
        CallError::Arguments(_) => return Verdict::Final,
        CallError::Unreachable(_) => return Verdict::Nothing,
        CallError::NoAnswer(_) | CallError::Garbled(_) => return in_doubt,
        CallError::Fault(fault) => fault,
    };
    match FaultKind::of_code(fault.code) {
        Some(UNAVAILABLE) => Verdict::Nothing,
        Some(UNKNOWN | STOPPED) => in_doubt,
        // A restart has forgotten the request id too: sent again, the write would be done in the new life.
        Some(RESTARTED) if write => Verdict::Final,
        Some(RESTARTED) => Verdict::Nothing,
        kind if doubted && !kind.is_some_and(|kind| SETTLED.contains(&kind)) => Verdict::Doubt,
        _ => Verdict::Final,
    }
}

/// No node could tell how a write ended.
fn in_doubt(first: Failed, request: &str) -> Failed {
    // What the node says of the outcome and of what to do is said better here.
    let cause = first.text.replacen("outcome unknown: ", "", 1);
    let cause = cause.split("; ").next().unwrap_or_default();
    let text = format!(
        "outcome unknown: {cause}; it was sent again as the same request, and no node could say; it was done once or \
         not at all: 'outcome {request}' tells, once a majority is up"
    );
    Failed { status: Status::Unknown, text, ..first }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
