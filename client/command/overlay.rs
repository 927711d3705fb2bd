//! The commands about the overlays: who holds which key, and by which way it is found.

use std::fmt;

use super::services::word_of;
use super::usage::UsageError;
use super::{Arguments, Literal, Port};

/// One of the overlays; its name is the command's first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// The distributed hash table.
    Dht,
    /// Flooding.
    Flood,
    /// The central index.
    Index,
}

impl Overlay {
    /// The command's first word, and the first part of the methods' names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dht => "dht",
            Self::Flood => "flood",
            Self::Index => "index",
        }
    }
}

/// One thing to do with an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverlayCommand {
    /// With which.
    pub(crate) overlay: Overlay,
    /// What.
    pub(crate) act: Act,
    /// Which node is asked; any, if none is named.
    pub(crate) on: Option<Port>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Set a key.
    Set {
        /// Which.
        key: String,
        /// To what.
        value: Literal,
    },
    /// Show a key's value, and the way to it.
    Get(String),
    /// Remove a key.
    Remove(String),
    /// Show the ring.
    Ring,
    /// Show the finger tables.
    Fingers,
    /// Become part of the ring.
    Join,
    /// Leave the ring.
    Leave,
}

impl fmt::Display for OverlayCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.overlay.name())?;
        match &self.act {
            Act::Set { key, value } => write!(f, "set {} {value}", word_of(key))?,
            Act::Get(key) => write!(f, "get {}", word_of(key))?,
            Act::Remove(key) => write!(f, "remove {}", word_of(key))?,
            Act::Ring => f.write_str("ring")?,
            Act::Fingers => f.write_str("fingers")?,
            Act::Join => f.write_str("join")?,
            Act::Leave => f.write_str("leave")?,
        }
        self.on.map_or(Ok(()), |port| write!(f, " {port}"))
    }
}

impl Arguments<'_> {
    /// What stands behind the first word of one of these commands.
    pub(super) fn overlay(&mut self, overlay: Overlay) -> Result<OverlayCommand, UsageError> {
        let known: &[&'static str] = match overlay {
            Overlay::Dht => &["set", "get", "remove", "ring", "fingers", "join", "leave"],
            Overlay::Flood | Overlay::Index => &["set", "get", "remove"],
        };
        let act = match self.keyword(known)? {
            "set" => Act::Set { key: self.text("key")?, value: self.value("value")? },
            "get" => Act::Get(self.text("key")?),
            "remove" => Act::Remove(self.text("key")?),
            "ring" => Act::Ring,
            "fingers" => Act::Fingers,
            "join" => Act::Join,
            _ => Act::Leave,
        };
        // Which node comes or goes is never left to chance.
        let needs_port = matches!(act, Act::Join | Act::Leave);
        let on = if self.is_at_end() && !needs_port { None } else { Some(self.port("port")?) };
        Ok(OverlayCommand { overlay, act, on })
    }
}
