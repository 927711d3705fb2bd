//! A stale read, step by step on the real nodes: with quorums that do not intersect, and then with ones that do.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::json;
use synod::rpc::answers::Held;
use synod::rpc::text::shown;
use synod::rpc::weak::RegisterOptions;
use synod::rpc::weak::answers::{Quorum, ReadAnswer, Written};
use synod::xmlrpc::Value as Wire;

use super::options;
use crate::command::{Literal, Port};
use crate::execute::{Lab, value_of};
use crate::shell::Status;
use crate::strong::Ended;
use crate::strong::caller::Failed;

/// What holds the value back on its way to the others.
const GATE: &str = "register.store";
/// Gates open by themselves after this, should the shell be killed in the middle.
const GATE_MS: u32 = 20_000;
/// How long the write with majorities is given before it is clear that it cannot finish.
const SHORT: u32 = 300;
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

impl Lab {
    pub(super) fn stale(&mut self) -> Ended {
        let ports = self.cluster.founders();
        let [writer, reader, ..] = ports[..] else {
            return Err(Failed::refused("a stale read takes at least two nodes".to_owned()));
        };
        for (port, status) in self.statuses_of_founders() {
            match status {
                Ok(status) if status.mode == "lab" => {}
                Ok(_) => {
                    let text = format!("node {port} was started for service, and takes no such sizes");
                    return Err(Failed::refused(text));
                }
                Err(error) => return Ok(self.call_failed(port, &error)),
            }
        }
        let before: Quorum = self.on(writer, "register.quorum", &())?;
        let before = (before.read, before.write);
        let shown = self.play_stale(writer, reader, &ports);
        // Whatever happened, nothing is left behind.
        for port in [writer, reader] {
            let _: Quorum = self.on(port, "register.quorum", &before)?;
        }
        for to in ports.iter().filter(|&&port| port != writer) {
            let _: Wire = self.on(writer, "lab.gate.release", &(GATE, to.number()))?;
        }
        shown
    }

    fn play_stale(&mut self, writer: Port, reader: Port, ports: &[Port]) -> Ended {
        let others: Vec<Port> = ports.iter().copied().filter(|&port| port != writer).collect();
        let name = "stale-demo";
        self.tell_step(1, format!("'old' is written at {writer}, to a majority."));
        let _: Written = self.on(writer, "register.write", &(name, text("old")?, options()))?;
        self.tell_step(
            2,
            format!("{writer} and {reader} now ask one node for a read and one for a write: 1 + 1 ≤ {}.", ports.len()),
        );
        for port in [writer, reader] {
            let _: Quorum = self.on(port, "register.quorum", &(1, 1))?;
        }
        self.until_held(reader, name, "old")?;
        self.tell_step(3, format!("What {writer} tells the others to hold is held up at its gates."));
        self.hold_stores(writer, &others)?;
        self.tell_step(
            4,
            format!("'new' is written at {writer}: its own copy is a write quorum, so the client is answered."),
        );
        let written: Written = self.on(writer, "register.write", &(name, text("new")?, options()))?;
        let stale = self.read_demo(reader, name)?;
        let found = stale.clone().unwrap_or_else(|| "nothing".to_owned());
        self.tell_step(5, format!("A read at {reader} begins after that, asks {reader} alone, and returns '{found}'."));
        let is_stale = stale.as_deref() == Some("old");
        self.console.put("stale", json!(is_stale));
        self.console.put("read", json!(stale));
        self.console.put("written", json!(written.timestamp));
        if is_stale {
            self.console.say_bad("That is a stale read: 'new' was written, and answered, before it began.");
        }
        for to in &others {
            let _: Wire = self.on(writer, "lab.gate.release", &(GATE, to.number()))?;
        }
        self.until_held(reader, name, "new")?;
        self.hold_stores(writer, &others)?;
        let majority = (ports.len() / 2 + 1) as u64;
        self.tell_step(
            6,
            format!("The rest has arrived, and is held up anew. With {majority} for both, {majority} + {majority} > {}: any read meets any write.", ports.len()),
        );
        for port in [writer, reader] {
            let _: Quorum = self.on(port, "register.quorum", &(majority, majority))?;
        }
        let short = RegisterOptions { deadline_ms: Some(SHORT) };
        match self.on::<_, Written>(writer, "register.write", &(name, text("newest")?, short)) {
            Ok(_) => return Err(Failed::refused("the write was answered although its messages were held")),
            Err(failed) if failed.code.is_some() => {
                self.tell_step(7, format!("'newest' is written at {writer} in the same way, and is not answered:"));
                self.console.say(format!("   {}", failed.text));
            }
            Err(failed) => return Err(failed),
        }
        let after = self.read_demo(reader, name)?.unwrap_or_else(|| "nothing".to_owned());
        self.console.put("read_with_majorities", json!(after));
        self.tell_step(
            8,
            format!("A read at {reader} asks a majority and returns '{after}': nothing answered was missed."),
        );
        if is_stale { Ok(Status::Done) } else { Err(Failed::refused("the read was not stale; try again")) }
    }

    fn hold_stores(&self, writer: Port, others: &[Port]) -> Result<(), Failed> {
        others
            .iter()
            .try_for_each(|to| self.on::<_, Held>(writer, "lab.gate.hold", &(GATE, to.number(), GATE_MS)).map(|_| ()))
    }

    /// Waits until a node, which asks nobody but itself, reads this.
    fn until_held(&self, port: Port, name: &str, value: &str) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        while self.read_demo(port, name)?.as_deref() != Some(value) {
            if Instant::now() > deadline {
                return Err(Failed::refused(format!("{port} did not come to hold '{value}' in time; try again")));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn tell_step(&mut self, number: u32, text: String) {
        self.console.say(format!("{number}. {text}"));
    }

    fn read_demo(&self, port: Port, name: &str) -> Result<Option<String>, Failed> {
        let read: ReadAnswer = self.on(port, "register.read", &(name, options()))?;
        Ok(read.value.as_ref().map(shown))
    }

    fn on<P: serde::Serialize, T: DeserializeOwned>(&self, port: Port, method: &str, params: &P) -> Result<T, Failed> {
        Ok(self.ask_one(Some(port), method, params)?.answer)
    }
}

fn text(text: &str) -> Result<synod::protocol::types::Value, Failed> {
    value_of(&Literal::Text(text.to_owned())).map_err(|error| Failed::refused(error.to_string()))
}
