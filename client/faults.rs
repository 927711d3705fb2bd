//! Carries out what breaks links, holds messages and stops nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use synod::rpc::answers::GateRow;
use synod::rpc::client::CallError;
use synod::rpc::lab::{LinkRow, NextRow};
use synod::xmlrpc::Value as Wire;

use crate::command::Port;
use crate::command::faults::{Ends, Fault, Way};
use crate::execute::Lab;
use crate::shell::Status;

/// Faults of links and closed gates end by themselves after this, should the shell be killed.
const TTL_MS: u32 = 600_000;

/// A link: who sends, and who hears.
type Link = (Port, Port);

impl Lab {
    /// Carries out one of these commands.
    pub(crate) fn fault(&mut self, fault: &Fault) -> Status {
        match fault {
            Fault::Partition(parts) => self.partition(parts),
            Fault::Cut(way) => self.on_links(way, "is cut", |to| ("lab.link.cut", (to, TTL_MS))),
            Fault::Heal => self.heal(),
            Fault::Delay { delay, way } => {
                let ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
                self.on_links(way, &format!("takes {ms} ms longer"), |to| ("lab.link.delay", (to, ms, TTL_MS)))
            }
            Fault::Drop { percent, way } => {
                let what = format!("loses {percent}% of the messages");
                self.on_links(way, &what, |to| ("lab.link.drop", (to, *percent, TTL_MS)))
            }
            Fault::Hold { kind, way } => {
                self.on_links(way, &format!("holds {kind}"), |to| ("lab.gate.hold", (kind.as_str(), to, TTL_MS)))
            }
            Fault::Release => self.release_all(),
            Fault::Step => self.step(),
            Fault::Pause(port) => self.signal(*port, Signal::STOP, "stands still, and does not notice"),
            Fault::Resume(port) => self.signal(*port, Signal::CONT, "goes on"),
            Fault::Faults => self.show_faults(),
        }
    }

    fn partition(&mut self, parts: &[Vec<Port>]) -> Status {
        let ports = self.cluster.ports();
        if let Some(&stranger) = parts.iter().flatten().find(|port| !ports.contains(port)) {
            return self.no_such_node(stranger);
        }
        if let Some(left) = ports.iter().find(|port| !parts.iter().flatten().any(|known| known == *port)) {
            self.console.error(&format!("{left} is in no part; every node must be in one; nothing was done"));
            return Status::Usage;
        }
        let mut links = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let others = parts.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, part)| part);
            let others: Vec<Port> = others.copied().collect();
            links.extend(part.iter().flat_map(|&from| others.iter().map(move |&to| (from, to))));
        }
        let healed = self.tell_nodes(&ports, "lab.link.heal", &());
        let done = healed.and_then(|()| self.tell_links(&links, |to| ("lab.link.cut", (to, TTL_MS))));
        if let Err(status) = done {
            return status;
        }
        for part in parts {
            let names: Vec<String> = part.iter().map(Port::to_string).collect();
            let majority = if part.len() * 2 > ports.len() { ": a majority" } else { "" };
            self.console.say(format!("{} hear only each other{majority}.", names.join(", ")));
        }
        Status::Done
    }

    /// Does the same to some links.
    fn on_links<T: Serialize>(&mut self, way: &Way, what: &str, call: impl Fn(u32) -> (&'static str, T)) -> Status {
        let links = match self.links(way) {
            Ok(links) => links,
            Err(stranger) => return self.no_such_node(stranger),
        };
        if let Err(status) = self.tell_links(&links, call) {
            return status;
        }
        let named: Vec<String> = links.iter().map(|(from, to)| format!("{from} → {to}")).collect();
        self.console.put("links", json!(links.iter().map(|(a, b)| [a.number(), b.number()]).collect::<Vec<_>>()));
        self.console.say(match named.as_slice() {
            [one] => format!("{one} {what}."),
            [one, .., last] if named.len() > 4 => format!("{one} to {last} ({} links): each {what}.", named.len()),
            all => format!("{}: each {what}.", all.join(", ")),
        });
        Status::Done
    }

    /// The links that a way means; the port that is no node's, if there is one.
    fn links(&self, way: &Way) -> Result<Vec<Link>, Port> {
        let ports = self.cluster.ports();
        let ends = |ends: &Ends| match ends {
            Ends::All => Ok(ports.clone()),
            Ends::Ports(named) => match named.iter().find(|port| !ports.contains(port)) {
                Some(stranger) => Err(*stranger),
                None => Ok(named.clone()),
            },
        };
        let (from, to) = (ends(&way.from)?, ends(&way.to)?);
        let there = from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to)));
        let back = to.iter().flat_map(|&to| from.iter().map(move |&from| (to, from))).filter(|_| way.both);
        let mut links: Vec<Link> = there.chain(back).filter(|(from, to)| from != to).collect();
        links.sort_unstable();
        links.dedup();
        Ok(links)
    }

    fn tell_links<T: Serialize>(
        &mut self,
        links: &[Link],
        call: impl Fn(u32) -> (&'static str, T),
    ) -> Result<(), Status> {
        for &(from, to) in links {
            let (method, params) = call(to.number());
            let _: Option<Wire> = self.lab_call(from, method, &params)?;
        }
        Ok(())
    }

    fn tell_nodes(&mut self, ports: &[Port], method: &str, params: &impl Serialize) -> Result<(), Status> {
        for &port in ports {
            let _: Option<Wire> = self.lab_call(port, method, params)?;
        }
        Ok(())
    }

    /// Calls a method of the lab; `None` if the node is down, which is said.
    fn lab_call<T: DeserializeOwned>(
        &mut self,
        port: Port,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Option<T>, Status> {
        let Some(member) = self.cluster.member(port) else { return Err(self.no_such_node(port)) };
        match member.quick.call(method, params) {
            Ok(answer) => Ok(Some(answer)),
            Err(CallError::Unreachable(_)) => {
                let line = format!("Node {port} is down: what it says once it is started goes as it should.");
                if !self.console.has_said(&line) {
                    self.console.say_bad(line);
                }
                Ok(None)
            }
            Err(error) => Err(self.call_failed(port, &error)),
        }
    }

    fn heal(&mut self) -> Status {
        let mut healed = 0;
        for port in self.cluster.ports() {
            match self.lab_call::<BTreeMap<String, u64>>(port, "lab.link.heal", &()) {
                Ok(answer) => healed += answer.and_then(|answer| answer.get("healed").copied()).unwrap_or(0),
                Err(status) => return status,
            }
        }
        self.console.put("healed", json!(healed));
        self.console.say_good(match healed {
            0 => "No link was broken.".to_owned(),
            1 => "1 link is mended.".to_owned(),
            _ => format!("{healed} links are mended."),
        });
        Status::Done
    }

    fn release_all(&mut self) -> Status {
        let mut released = 0;
        for port in self.cluster.ports() {
            match self.lab_call::<BTreeMap<String, u64>>(port, "lab.gate.clear", &()) {
                Ok(answer) => released += answer.and_then(|answer| answer.get("released").copied()).unwrap_or(0),
                Err(status) => return status,
            }
        }
        self.console.put("released", json!(released));
        let messages = if released == 1 { "message was" } else { "messages were" };
        self.console.say_good(format!("Nothing is held any more; {released} {messages} sent."));
        Status::Done
    }

    fn step(&mut self) -> Status {
        let mut oldest: Option<(u64, Port, NextRow)> = None;
        for port in self.cluster.ports() {
            let next = match self.lab_call::<NextRow>(port, "lab.gate.next", &()) {
                Ok(next) => next.filter(|next| next.held),
                Err(status) => return status,
            };
            if let Some(next) = next {
                let waiting = next.waiting_ms.unwrap_or(0);
                if oldest.as_ref().is_none_or(|(longest, ..)| waiting > *longest) {
                    oldest = Some((waiting, port, next));
                }
            }
        }
        let Some((_, port, NextRow { method: Some(kind), to: Some(to), .. })) = oldest else {
            self.console.error("nothing is held; 'hold accept 8000 -> 8001' holds something");
            return Status::Refused;
        };
        match self.lab_call::<Wire>(port, "lab.gate.release", &(&kind, to, 1)) {
            Ok(_) => {}
            Err(status) => return status,
        }
        self.console.put("from", json!(port.number()));
        self.console.put("to", json!(to.number()));
        self.console.put("kind", json!(kind));
        self.console.say(format!("Delivered: {kind} {port} → {to}."));
        Status::Done
    }

    fn signal(&mut self, port: Port, signal: Signal, what: &str) -> Status {
        match self.cluster.signal(port, signal) {
            Ok(()) => {
                self.console.say(format!("Node {port} {what}."));
                Status::Done
            }
            Err(error) => self.cluster_failed(&error),
        }
    }

    fn show_faults(&mut self) -> Status {
        let mut rows: Vec<Json> = Vec::new();
        let mut lines = Vec::new();
        for port in self.cluster.ports() {
            if self.cluster.is_paused(port) {
                rows.push(json!({ "node": port.number(), "state": "paused" }));
                lines.push(format!("{port} stands still: 'resume {port}' lets it go on."));
                continue;
            }
            let Some(member) = self.cluster.member(port) else { continue };
            let links: Result<Vec<LinkRow>, _> = member.quick.call("lab.link.list", &());
            let gates: Result<Vec<GateRow>, _> = member.quick.call("lab.gate.list", &());
            let (links, gates) = match (links, gates) {
                (Ok(links), Ok(gates)) => (links, gates),
                (Err(CallError::Fault(fault)), _) | (_, Err(CallError::Fault(fault))) => {
                    return self.call_failed(port, &CallError::Fault(fault));
                }
                _ => {
                    rows.push(json!({ "node": port.number(), "state": "down" }));
                    lines.push(format!("{port} is down: 'start {port}' starts it."));
                    continue;
                }
            };
            for link in links {
                lines.push(format!("{port} → {}: {}, for {} more.", link.to, wrong(&link), time(link.ttl_ms)));
                rows.push(json!({
                    "from": port.number(), "to": link.to.number(), "cut": link.cut, "delay_ms": link.delay_ms,
                    "drop_percent": link.drop_percent, "ttl_ms": link.ttl_ms,
                }));
            }
            for GateRow { method, to, held } in gates {
                let messages = if held == 1 { "message waits" } else { "messages wait" };
                lines.push(format!("{port} → {to}: {method} is held; {held} {messages}."));
                rows.push(json!({ "from": port.number(), "to": to.number(), "holds": method, "held": held }));
            }
        }
        if lines.is_empty() {
            self.console.say_good("Nothing is broken: all links work, nothing is held, and all nodes are up.");
        }
        self.console.put("faults", json!(rows));
        lines.into_iter().for_each(|line| self.console.say(line));
        Status::Done
    }

    /// What a race cannot be played with: the link with which something is wrong, if there is one.
    pub(crate) fn broken_link(&self) -> Option<String> {
        let lists = self
            .ask_each(&self.cluster.all_ports(), |member| member.quick.call::<_, Vec<LinkRow>>("lab.link.list", &()));
        lists.into_iter().find_map(|(port, links)| {
            let link = links.ok()?.into_iter().next()?;
            Some(format!("{port} → {}: {}", link.to, wrong(&link)))
        })
    }
}

/// What is wrong with a link.
fn wrong(link: &LinkRow) -> String {
    if link.cut {
        return "cut".to_owned();
    }
    let delay = link.delay_ms.map(|ms| format!("{ms} ms late"));
    let loss = link.drop_percent.map(|percent| format!("{percent}% lost"));
    delay.into_iter().chain(loss).collect::<Vec<_>>().join(", ")
}

fn time(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs();
    if seconds >= 120 { format!("{} minutes", seconds / 60) } else { format!("{seconds} seconds") }
}
