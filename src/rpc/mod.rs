//! The transport: XML-RPC over HTTP, in ([`door`]) and out ([`peers`]), and the methods in between.

pub mod access;
pub mod answers;
pub mod client;
pub mod door;
pub mod faults;
mod introspect;
pub mod lab;
mod line;
pub mod methods;
mod multicall;
pub mod overlay;
pub mod peers;
mod promised;
pub mod reply_head;
pub(crate) mod service;
pub mod strong;
pub mod text;
mod transport;
mod validator1;
pub mod weak;
pub mod wire;
mod wire_overlay;
pub(crate) mod wire_strong;
