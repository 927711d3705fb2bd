//! The transport: XML-RPC over HTTP, in (`door`) and out (`peers`).

pub mod door;
