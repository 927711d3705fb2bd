//! The scenarios: one script each in `tests/scripts/dht`, which tells what it shows.

use crate::protocol::Out;
use crate::protocol::overlay::Message as Any;
use crate::protocol::overlay::chord::{Chord, Message};
use crate::protocol::types::RequestId;
use crate::sim::overlay::script::{Scripted, listed, scripts};

impl Scripted for Chord {
    fn shown(message: &Any) -> Option<String> {
        let Any::Dht(message) = message else { return None };
        if message.is_upkeep() {
            return None;
        }
        Some(match message {
            Message::Find { .. } => "Find".to_owned(),
            Message::Next { .. } => "Next".to_owned(),
            Message::Found { .. } => "Found".to_owned(),
            Message::Fetch { key, .. } => format!("Fetch({key})"),
            Message::Held { version, .. } => match version {
                Some(version) => format!("Held({}.{})", version.stamp.counter, version.stamp.node),
                None => "Held(nothing)".to_owned(),
            },
            Message::Copies { items, .. } => {
                let of = |version: &crate::protocol::overlay::Version| {
                    version.value.as_ref().map_or_else(|| "removed".to_owned(), |value| format!("'{value}'"))
                };
                let items: Vec<String> =
                    items.iter().map(|item| format!("{} = {}", item.key, of(&item.version))).collect();
                format!("Copies({})", items.join(", "))
            }
            Message::Copied { .. } => "Copied".to_owned(),
            Message::Leaving {} => "Leaving".to_owned(),
            _ => return None,
        })
    }

    fn holds(&self) -> String {
        listed(self.items())
    }

    fn show(&self) -> String {
        let rows = self.virtuals().iter().map(|table| {
            let before = table.predecessor.map_or_else(|| "-".to_owned(), |(point, _)| point.node.to_string());
            let next: Vec<String> = table.successors.iter().map(|point| point.node.to_string()).collect();
            format!("{} behind {before}, before {}", table.at, next.join(" "))
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    fn moves(&mut self, name: &str, request: RequestId, deadline_ticks: u64, out: &mut Out) -> bool {
        match name {
            "leave" => self.leave(request, deadline_ticks, out),
            _ => self.join(request, deadline_ticks, out),
        }
        true
    }
}

scripts! { Chord, "dht":
    a_key_has_three_owners
    an_owner_is_down_and_the_next_one_takes_its_place
    owners_that_missed_a_set_are_repaired
    removed_stays_removed
    routes_end_at_the_same_owner
    the_last_of_a_ring_keeps_its_keys
    two_sides_of_a_cut_go_on
    who_leaves_hands_over
}
