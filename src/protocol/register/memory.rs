//! What a node remembers of the registers: for each the highest timestamp that it was told of, and its value.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::types::{Malformed, NodeId, Value, digits};

/// When a value was written, in the register's own order: by the counter, then by the node that wrote. Shown `3.8000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// One past the highest that the writer found.
    pub counter: u64,
    /// The node that the client wrote at.
    pub node: NodeId,
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.counter, self.node)
    }
}

impl FromStr for Timestamp {
    type Err = Malformed;

    /// Reads `3.8000`. Counters begin at 1.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parse = || {
            let (counter, node) = text.split_once('.')?;
            Some(Self { counter: digits(counter).filter(|&counter| counter > 0)?, node: node.parse().ok()? })
        };
        parse().ok_or_else(|| Malformed::new(text, "a timestamp: write counter.node, as in 3.8000"))
    }
}

/// A value with its timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// When it was written.
    pub timestamp: Timestamp,
    /// What was written.
    pub value: Value,
}

/// A register holds this now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// The register.
    pub name: Arc<str>,
    /// What it holds.
    pub held: Held,
}

/// A node's copies of all registers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// By name; a register that was never written is not there.
    pub registers: BTreeMap<Arc<str>, Held>,
}

impl Memory {
    /// Takes one record more.
    pub fn apply(&mut self, record: &Record) {
        self.registers.insert(record.name.clone(), record.held.clone());
    }
}
