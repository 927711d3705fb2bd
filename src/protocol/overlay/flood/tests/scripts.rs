//! The scenarios: one script each in `tests/scripts/flood`, which tells what it shows.

use crate::protocol::Out;
use crate::protocol::overlay::Message as Any;
use crate::protocol::overlay::flood::{Flood, Message};
use crate::protocol::types::RequestId;
use crate::sim::overlay::script::{Scripted, listed, scripts};

impl Scripted for Flood {
    fn shown(message: &Any) -> Option<String> {
        let Any::Flood(message) = message else { return None };
        Some(match message {
            Message::Hello {} | Message::Welcome { .. } => return None,
            Message::Query { key, time_to_live, .. } => format!("Query({key}, {time_to_live} to live)"),
            Message::Hit { version, .. } => format!("Hit({}.{})", version.stamp.counter, version.stamp.node),
            Message::Forget { key, upto, .. } => format!("Forget({key} up to {}.{})", upto.counter, upto.node),
            Message::Forgot { .. } => "Forgot".to_owned(),
        })
    }

    fn holds(&self) -> String {
        listed(self.items())
    }

    fn show(&self) -> String {
        let neighbours: Vec<String> = self.neighbours().map(|node| node.to_string()).collect();
        format!("neighbours {}", neighbours.join(" "))
    }

    fn moves(&mut self, _: &str, _: RequestId, _: u64, _: &mut Out) -> bool {
        false
    }
}

scripts! { Flood, "flood":
    a_query_spreads_and_dies
    beyond_the_time_to_live
    newest_of_two_holders
    removal_reaches_all_holders
    the_holder_is_down
}
