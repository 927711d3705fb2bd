//! The commands about the overlays: `dht`, `flood` and `index`.

use comfy_table::{Table, presets};
use serde_json::json;
use synod::protocol::types::NodeId;
use synod::rpc::overlay::{FingerRow, KeyAnswer, RingAnswer};
use synod::rpc::text::shown;

use crate::command::overlay::{Act, Overlay, OverlayCommand};
use crate::command::{Literal, Port};
use crate::execute::{Lab, value_of};
use crate::shell::Status;
use crate::strong::caller::{Answered, Failed};
use crate::strong::{Ended, one_line};

impl Lab {
    /// Carries out one of these commands.
    pub(crate) fn overlay(&mut self, command: &OverlayCommand) -> Ended {
        let OverlayCommand { overlay, act, on } = command;
        match act {
            Act::Set { key, value } => self.set_in_overlay(*overlay, key, value, *on),
            Act::Get(key) => self.get_of_overlay(*overlay, key, *on),
            Act::Remove(key) => {
                let done = self.at_key(*overlay, "remove", &(key,), *on)?;
                let (key, copies) = (one_line(key), many(done.answer.copies, "copy", "copies"));
                self.console.say_good(format!("Key '{key}' was removed, {copies} of it. {}", route(&done.answer.hops)));
                Ok(Status::Done)
            }
            Act::Ring => self.show_ring(*on),
            Act::Fingers => self.show_fingers(*on),
            Act::Join => {
                let done = self.at_key(*overlay, "join", &(), *on)?;
                self.console.say_good(format!("Node {} is part of the ring.", done.node));
                Ok(Status::Done)
            }
            Act::Leave => {
                let done = self.at_key(*overlay, "leave", &(), *on)?;
                let keys = many(done.answer.copies, "key", "keys");
                self.console.say_good(format!("Node {} has handed over {keys} and left the ring.", done.node));
                Ok(Status::Done)
            }
        }
    }

    /// Calls a method that answers with a route, and notes that for programs.
    fn at_key<P: serde::Serialize>(
        &mut self,
        overlay: Overlay,
        verb: &str,
        params: &P,
        on: Option<Port>,
    ) -> Result<Answered<KeyAnswer>, Failed> {
        let done: Answered<KeyAnswer> = self.caller.once(on, &format!("{}.{verb}", overlay.name()), params)?;
        self.console.put("node", json!(done.node.number()));
        self.console.put("hops", json!(done.answer.hops));
        self.console.put("copies", json!(done.answer.copies));
        Ok(done)
    }

    fn set_in_overlay(&mut self, overlay: Overlay, key: &str, literal: &Literal, on: Option<Port>) -> Ended {
        let value = match value_of(literal) {
            Ok(value) => value,
            Err(error) => return Ok(self.cannot_send(&error)),
        };
        let done = self.at_key(overlay, "set", &(key, &value), on)?;
        let (key, value, route) = (one_line(key), one_line(&shown(&value)), route(&done.answer.hops));
        let copies = many(done.answer.copies, "copy", "copies");
        self.console.say_good(format!("Key '{key}' is '{value}', in {copies}. {route}"));
        Ok(Status::Done)
    }

    fn get_of_overlay(&mut self, overlay: Overlay, key: &str, on: Option<Port>) -> Ended {
        let Answered { answer: got, .. } = self.at_key(overlay, "get", &(key,), on)?;
        self.console.put("found", json!(got.found));
        let Some(value) = got.value else {
            let (key, name, route) = (one_line(key), overlay.name(), route(&got.hops));
            return Err(Failed::refused(format!("{name} finds no key '{key}'. {route}")));
        };
        let value = shown(&value);
        self.console.put("value", json!(value));
        self.console.say(value);
        self.console.say(route(&got.hops));
        Ok(Status::Done)
    }

    fn show_ring(&mut self, on: Option<Port>) -> Ended {
        let Answered { node, answer: ring } = self.caller.once::<_, RingAnswer>(on, "dht.ring", &())?;
        self.console.put("node", json!(node.number()));
        self.console.put("state", json!(ring.state));
        self.console.put("keys", json!(ring.keys));
        self.console.put("points", json!(ring.points));
        let own = ring.own.iter().map(|row| row.position).collect::<Vec<_>>();
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["position", "node", "successors as it knows them"]);
        for point in &ring.points {
            let row = own.iter().position(|at| *at == point.position).and_then(|at| ring.own.get(at));
            let next = row.map_or_else(String::new, |row| listed(&row.successors));
            table.add_row([point.position.to_string(), point.node.to_string(), next]);
        }
        let keys = many(ring.keys, "key", "keys");
        self.console.say(format!("Node {node}: {}, with {keys}.", ring.state));
        if !ring.points.is_empty() {
            self.show_table(&mut table, &[1]);
        }
        Ok(Status::Done)
    }

    fn show_fingers(&mut self, on: Option<Port>) -> Ended {
        let Answered { node, answer: rows } = self.caller.once::<_, Vec<FingerRow>>(on, "dht.fingers", &())?;
        self.console.put("node", json!(node.number()));
        self.console.put("fingers", json!(rows));
        let cells = rows.iter().map(|row| {
            [
                row.position.to_string(),
                format!("2^{}", row.exponent),
                row.start.to_string(),
                row.node.to_string(),
                row.at.to_string(),
            ]
        });
        self.table(["position", "plus", "from", "node", "at"], &[1, 3], cells, &format!("Node {node} has no fingers."));
        Ok(Status::Done)
    }
}

/// The route, as a sentence: `Route: 8000 → 8003 → 8004.`
fn route(hops: &[NodeId]) -> String {
    let hops: Vec<String> = hops.iter().map(NodeId::to_string).collect();
    format!("Route: {}.", hops.join(" → "))
}

fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ")
}

fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
