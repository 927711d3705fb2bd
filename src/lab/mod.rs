//! What a lab node can do beyond a node in service: hold messages back, so that a race comes out the same every time,
//! and have its links fail on demand.

pub mod gates;
pub mod links;
