//! Golden scripts for whole scenarios, and properties over many seeds.

use super::*;

pub(crate) mod model;
pub(crate) mod properties;
pub(crate) mod scripts;
mod show;
mod world;

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}
