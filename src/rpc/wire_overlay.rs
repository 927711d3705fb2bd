//! What a message of an overlay must be, beyond what its type says, before the protocols see it.

use super::wire::MAX_VALUE_BYTES;
use crate::protocol::overlay::{Message, Version, chord, flood, index};
use crate::xmlrpc::from_fragment;

/// Whether all values are values, and not larger than they may be: they go into answers as they stand.
pub(super) fn is_sound(message: &Message) -> bool {
    let is_value = |version: &Version| {
        version
            .value
            .as_ref()
            .is_none_or(|value| value.as_str().len() <= MAX_VALUE_BYTES && from_fragment(value.as_str()).is_ok())
    };
    match message {
        Message::Dht(chord::Message::Copies { items, .. }) => items.iter().all(|item| is_value(&item.version)),
        Message::Dht(chord::Message::Held { version: Some(version), .. })
        | Message::Flood(flood::Message::Hit { version, .. })
        | Message::Index(index::Message::Held { version: Some(version), .. }) => is_value(version),
        _ => true,
    }
}

/// How much a message weighs, about, where that can be much.
pub(super) fn weight(message: &Message) -> usize {
    let of = |version: &Version| version.value.as_ref().map_or(0, |value| value.as_str().len());
    match message {
        Message::Dht(chord::Message::Copies { items, .. }) => {
            items.iter().map(|item| item.key.as_str().len() + of(&item.version) + 64).sum()
        }
        Message::Dht(chord::Message::Holding { have, .. }) => 256 * have.len(),
        Message::Index(index::Message::Claim { copies }) => copies.iter().map(|(key, _)| key.as_str().len() + 64).sum(),
        Message::Dht(chord::Message::Held { version: Some(version), .. })
        | Message::Flood(flood::Message::Hit { version, .. })
        | Message::Index(index::Message::Held { version: Some(version), .. }) => of(version),
        _ => 0,
    }
}
