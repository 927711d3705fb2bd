//! The board on a table, in scripts, and in random orders.

mod properties;
pub(crate) mod scripts;
pub(crate) mod world;
