//! The store's twin in memory: for tests that need no disk.

use super::{Decision, Store, StoreError};
use crate::protocol::Record;
use crate::protocol::durable::Durable;

/// Keeps what the records come to, for as long as the process lives.
#[derive(Debug, Default)]
pub struct Memory {
    durable: Durable,
    decisions: Vec<Decision>,
}

impl Store for Memory {
    fn load(&mut self) -> Result<Durable, StoreError> {
        Ok(self.durable.clone())
    }

    fn write(&mut self, records: &[Record], at: &str, _sync: bool) -> Result<(), StoreError> {
        for record in records {
            self.durable.apply(record);
            match record {
                Record::Decide { instance, value, .. } => {
                    let (instance, value) = (instance.clone(), value.clone());
                    self.decisions.push(Decision { instance, value, at: at.to_owned() });
                }
                Record::Generation { .. } => self.decisions.clear(),
                Record::Promise { .. }
                | Record::Accept { .. }
                | Record::Log(_)
                | Record::Eventual(_)
                | Record::Register(_)
                | Record::Overlay(_) => {}
            }
        }
        Ok(())
    }

    fn decisions(&mut self) -> Result<Vec<Decision>, StoreError> {
        Ok(self.decisions.clone())
    }
}
