//! Synod: a small cluster that agrees, and shows how.

pub mod lab;
pub mod node;
pub mod protocol;
pub mod rpc;
pub mod sim;
pub mod store;
pub mod xmlrpc;
