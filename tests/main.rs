//! The integration tests: an index.

/// What is pure stays pure.
mod tidy;
