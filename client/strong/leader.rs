//! Who leads: `leader`, `elect`, and the part of `status` about the replicated log.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use serde_json::{Value as Json, json};
use synod::node::status::StrongStatus;
use synod::rpc::answers::Status as NodeStatus;
use synod::rpc::client::CallError;

use crate::command::Port;
use crate::execute::Lab;
use crate::shell::Status;

/// How long an election is watched.
const ELECTION: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// A leader and its epoch, as nodes name them.
type Reign = (u32, u64);

impl Lab {
    pub(super) fn leader(&mut self) -> Status {
        let total = self.cluster.ports().len();
        let deadline = Instant::now() + ELECTION;
        // Nodes that have just been started, or have just lost their leader, are about to elect one.
        let reigns = loop {
            let reigns = self.reigns();
            let hopeless = reigns.values().filter(|reign| reign.is_some()).count() <= total / 2;
            let known = most(&reigns).is_some_and(|(.., voices)| voices > total / 2);
            if known || hopeless || Instant::now() > deadline || self.is_interrupted() {
                break reigns;
            }
            thread::sleep(POLL);
        };
        let rows: Vec<Json> = reigns
            .iter()
            .map(|(port, reign)| {
                let mut row = json!({ "node": port.number(), "up": reign.is_some() });
                if let Some(Some((leader, epoch))) = reign {
                    row["leader"] = json!(leader);
                    row["epoch"] = json!(epoch);
                }
                row
            })
            .collect();
        self.console.put("nodes", json!(rows));
        let Some((leader, epoch, voices)) = most(&reigns) else {
            let up = reigns.values().filter(|reign| reign.is_some()).count();
            self.console.error(&format!(
                "unavailable: no leader is known ({up} of {total} nodes are up, and a leader takes {}); start the nodes \
                 that are down, or try again in a moment",
                total / 2 + 1
            ));
            return Status::Unavailable;
        };
        self.console.put("leader", json!(leader));
        self.console.put("epoch", json!(epoch));
        self.console.say_good(format!("{leader} leads, in epoch {epoch}: so say {voices} of {total} nodes."));
        for (port, reign) in &reigns {
            match reign {
                None => self.console.say_bad(format!("Node {port} is down.")),
                Some(None) => self.console.say_bad(format!("Node {port} knows no leader.")),
                Some(Some(other)) if *other != (leader, epoch) => {
                    self.console.say_bad(format!("Node {port} says {}, in epoch {}.", other.0, other.1));
                }
                Some(_) => {}
            }
        }
        Status::Done
    }

    /// An election is held where it was asked for, not wherever somebody answers.
    pub(super) fn elect(&mut self, port: Port) -> Status {
        let Some(member) = self.cluster.member(port) else { return self.no_such_node(port) };
        let client = member.service.clone();
        let before = most(&self.reigns());
        match client.call::<_, StrongStatus>("bully.elect", &()) {
            Err(error) => return self.call_failed(port, &error),
            Ok(status) if !status.eligible => {
                self.console.error(&format!(
                    "node {port} held no election: it hears no majority of the nodes, so it could not win one; nothing \
                     has changed"
                ));
                return Status::Refused;
            }
            Ok(_) => {}
        }
        self.console.put("node", json!(port.number()));
        self.console.say(format!("Node {port} holds an election."));
        let majority = self.cluster.ports().len() / 2 + 1;
        let deadline = Instant::now() + ELECTION;
        loop {
            // The election is over when the node itself knows a leader again.
            let over = client.call::<_, StrongStatus>("bully.status", &()).is_ok_and(|status| status.leader.is_some());
            let settled = most(&self.reigns()).filter(|(.., voices)| over && *voices >= majority);
            if let Some((leader, epoch, voices)) = settled {
                self.console.put("leader", json!(leader));
                self.console.put("epoch", json!(epoch));
                let same = before.is_some_and(|before| (before.0, before.1) == (leader, epoch));
                self.console.say_good(if same {
                    format!("{leader} leads on in epoch {epoch}: it lives, and its rank is higher.")
                } else {
                    format!("{leader} has won, and leads in epoch {epoch}: so say {voices} nodes.")
                });
                return Status::Done;
            }
            if Instant::now() > deadline || self.is_interrupted() {
                self.console
                    .error("outcome unknown: no leader is known to a majority yet; 'leader' tells who leads by then");
                return Status::Unknown;
            }
            thread::sleep(POLL);
        }
    }

    /// What each node says: `None` from one that is down, `Some(None)` from one that knows no leader.
    fn reigns(&self) -> BTreeMap<Port, Option<Option<Reign>>> {
        let statuses = self.ask_all(|member| member.quick.call::<_, StrongStatus>("bully.status", &()));
        statuses.into_iter().map(|(port, status)| (port, status.ok().map(|status| reign_of(&status)))).collect()
    }

    /// A table of each node's log, and the sentences about nodes that may not vote.
    pub(crate) fn show_logs(&mut self, statuses: &[(Port, Result<NodeStatus, CallError>)]) {
        let logs: Vec<(Port, Option<&StrongStatus>)> = statuses
            .iter()
            .map(|(port, status)| (*port, status.as_ref().ok().and_then(|status| status.log.as_ref())))
            .collect();
        if logs.iter().all(|(_, log)| log.is_none()) {
            return;
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["log of", "leader", "epoch", "election", "committed", "applied", "votes"]);
        for (port, log) in &logs {
            let Some(log) = log else {
                table.add_row([port.to_string(), "-".to_owned()]);
                continue;
            };
            let reign = reign_of(log);
            let part = |part: Option<u64>| part.map_or_else(|| "-".to_owned(), |part| part.to_string());
            table.add_row([
                port.to_string(),
                part(reign.map(|(leader, _)| leader.into())),
                part(reign.map(|(_, epoch)| epoch)),
                log.state.clone(),
                log.committed.to_string(),
                log.applied.to_string(),
                if log.votes { "yes" } else { "no" }.to_owned(),
            ]);
        }
        self.show_table(&mut table, &[2, 4, 5]);
        for (port, _) in logs.iter().filter(|(_, log)| log.is_some_and(|log| !log.votes)) {
            self.console.say_bad(format!(
                "Node {port} does not vote: its memory was wiped or damaged, or it has not proved yet that it was not; \
                 the others repair it while a majority of them is up."
            ));
        }
    }
}

/// The members of a node's JSON object about its log.
pub(crate) fn log_json(log: &StrongStatus) -> Json {
    let reign = reign_of(log);
    json!({
        "leader": reign.map(|(leader, _)| leader),
        "epoch": reign.map(|(_, epoch)| epoch),
        "election": log.state,
        "committed": log.committed,
        "applied": log.applied,
        "votes": log.votes,
        "state_hash": log.state_hash,
    })
}

fn reign_of(status: &StrongStatus) -> Option<Reign> {
    Some((status.leader?.number(), status.epoch.map_or(0, |epoch| epoch.round)))
}

/// The leader and epoch that most nodes name, the newer one of two, and how many name it. A node that does not answer
/// leads nobody, although some have not noticed yet.
fn most(reigns: &BTreeMap<Port, Option<Option<Reign>>>) -> Option<(u32, u64, usize)> {
    let answers =
        |leader: u32| Port::new(leader).is_none_or(|port| !reigns.get(&port).is_some_and(|reign| reign.is_none()));
    let mut voices: BTreeMap<Reign, usize> = BTreeMap::new();
    for reign in reigns.values().flatten().flatten().filter(|(leader, _)| answers(*leader)) {
        *voices.entry(*reign).or_default() += 1;
    }
    let ((leader, epoch), voices) = voices.into_iter().max_by_key(|((_, epoch), voices)| (*voices, *epoch))?;
    Some((leader, epoch, voices))
}
