//! Synod: a small cluster that agrees, and shows how.

pub mod rpc;
pub mod xmlrpc;
