//! The integration tests: an index.

/// The door of a real process: hostile bytes, few descriptors, a stop under load.
mod door;
/// What is pure stays pure.
mod tidy;
