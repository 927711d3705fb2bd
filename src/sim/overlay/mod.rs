//! Overlays of up to ten thousand nodes: what they cost, and what they bear.
//!
//! [`net`] runs the protocols of [`crate::protocol::overlay`] as they are on the nodes, over messages that take a tick or
//! two; [`measure`] has them grow and asks them, and [`churn`] has their nodes come and go. This is not the world of
//! [`super`], which has every fault and a few nodes: here are few faults and many nodes.

pub mod churn;
pub mod measure;
pub mod net;
#[cfg(test)]
pub(crate) mod script;

/// How many nodes an overlay may have.
pub const MAX_NODES: u32 = 10_000;

/// The sizes that are measured: ten, and ten times more each, up to this one.
#[must_use]
pub fn sizes(nodes: u32) -> Vec<u32> {
    let mut sizes: Vec<u32> = [10, 100, 1000, 10_000].into_iter().filter(|&size| size < nodes).collect();
    sizes.push(nodes);
    sizes
}
