//! What a node remembers: the meaning of its records.
//!
//! Both stores come down to this: SQLite loads it, the simulation replays records into it, and a node starts from it.

use std::collections::BTreeMap;

use super::Record;
use super::log::memory::Memory;
use super::overlay;
use super::types::{Ballot, Instance, Value};
use super::{eventual, register};

/// A node's memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Durable {
    /// Counts the restarts of the lab; the first life is 1.
    pub generation: u64,
    /// Whether the node followed the others into its generation, and was not itself told to restart since.
    pub followed: bool,
    /// What it promised, accepted and learned, by instance.
    pub instances: BTreeMap<Instance, Remembered>,
    /// The decided instances, in the order in which this node learned them.
    pub decided: Vec<Instance>,
    /// The replicated log.
    pub log: Memory,
    /// The eventual board.
    pub eventual: eventual::memory::Memory,
    /// The registers.
    pub register: register::memory::Memory,
    /// Whether the log was found damaged, and is empty for that reason.
    pub log_damaged: bool,
    /// What it holds of the overlays.
    pub overlay: overlay::Memory,
}

/// What is remembered of one instance. Lamport's acceptor keeps the first two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Remembered {
    /// The highest ballot promised.
    pub promised: Option<Ballot>,
    /// The highest ballot accepted, and its value.
    pub accepted: Option<(Ballot, Value)>,
    /// What was chosen, and the ballot in which this node learned it.
    pub decided: Option<(Ballot, Value)>,
}

impl Default for Durable {
    fn default() -> Self {
        Self {
            generation: 1,
            followed: false,
            instances: BTreeMap::new(),
            decided: Vec::new(),
            log: Memory::default(),
            eventual: eventual::memory::Memory::default(),
            register: register::memory::Memory::default(),
            log_damaged: false,
            overlay: overlay::Memory::default(),
        }
    }
}

impl Durable {
    /// Takes one record more.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Promise { instance, ballot } => self.instance(instance).promised = Some(*ballot),
            Record::Accept { instance, ballot, value } => {
                let remembered = self.instance(instance);
                remembered.promised = Some(*ballot);
                remembered.accepted = Some((*ballot, value.clone()));
            }
            Record::Decide { instance, ballot, value } => {
                let remembered = self.instance(instance);
                if remembered.decided.is_none() {
                    remembered.decided = Some((*ballot, value.clone()));
                    self.decided.push(instance.clone());
                }
            }
            Record::Log(record) => self.log.apply(record),
            Record::Eventual(record) => self.eventual.apply(record),
            Record::Register(record) => self.register.apply(record),
            Record::Overlay(record) => self.overlay.apply(record),
            Record::Generation { generation, followed } => {
                // A restart forgets the log, but not whether this node's memory was whole: see `log`.
                let log = Memory { proven: self.log.proven, ..Memory::default() };
                *self = Self { generation: *generation, followed: *followed, log, ..Self::default() };
            }
        }
    }

    fn instance(&mut self, instance: &Instance) -> &mut Remembered {
        if !self.instances.contains_key(instance) {
            self.instances.insert(instance.clone(), Remembered::default());
        }
        self.instances.get_mut(instance).expect("it was just inserted")
    }
}
