//! The scenarios: one script each in `tests/scripts/index`, which tells what it shows.

use crate::protocol::Out;
use crate::protocol::overlay::Message as Any;
use crate::protocol::overlay::index::{Index, Message};
use crate::protocol::types::RequestId;
use crate::sim::overlay::script::{Scripted, listed, scripts};

impl Scripted for Index {
    fn shown(message: &Any) -> Option<String> {
        let Any::Index(message) = message else { return None };
        Some(match message {
            Message::Claim { .. } => return None,
            Message::Ask { key, .. } => format!("Ask({key})"),
            Message::Holder { entry: Some(entry), .. } => format!("Holder({})", entry.node),
            Message::Holder { entry: None, .. } => "Holder(nobody)".to_owned(),
            Message::Enter { key, .. } => format!("Enter({key})"),
            Message::Strike { key, .. } => format!("Strike({key})"),
            Message::Entered { done: true, .. } => "Entered".to_owned(),
            Message::Entered { done: false, .. } => "Entered(not)".to_owned(),
            Message::Fetch { key, .. } => format!("Fetch({key})"),
            Message::Held { version: Some(_), .. } => "Held(a value)".to_owned(),
            Message::Held { version: None, .. } => "Held(nothing)".to_owned(),
            Message::Drop { key, .. } => format!("Drop({key})"),
        })
    }

    /// Serial numbers begin by chance, so they are not shown.
    fn holds(&self) -> String {
        let bare = |items: &crate::protocol::overlay::items::Items| {
            let all = listed(items);
            all.split(", ").map(|item| item.split(" (").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let entries: Vec<String> =
            self.directory().iter().map(|(key, version)| format!("{key} → {}", version.stamp.node)).collect();
        let entries = if entries.is_empty() { String::new() } else { format!("; entries: {}", entries.join(", ")) };
        format!("{}{entries}", bare(self.items()).join(", "))
    }

    fn show(&self) -> String {
        format!("the index is {}", self.server())
    }

    fn moves(&mut self, _: &str, _: RequestId, _: u64, _: &mut Out) -> bool {
        false
    }
}

scripts! { Index, "index":
    a_key_moves_to_who_sets_it
    all_start_again
    the_holder_is_down
    the_index_is_down
    two_hops
}
