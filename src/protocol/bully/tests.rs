//! Golden scripts for whole scenarios, and properties over many seeds.

use super::*;

mod properties;
mod scripts;
mod show;
mod world;

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}
