//! Synod: a small cluster that agrees, and shows how.
//!
//! Five nodes speak XML-RPC. Each decides named values by Basic Paxos with the others, keeps what it promised in SQLite,
//! and writes what was decided into a text file. Beside that they elect a leader by Bully, and replicate a log that feeds
//! files, a board, keys and locks; and keep a board that asks nobody and registers that ask a quorum. A shell starts them, proposes, breaks them on purpose, and plays the textbook races the
//! same way every time. This page is the architecture; start here.
//!
//! # Bird's-eye view
//!
//! ```text
//!   ServerProxy, shell, curl                      the other nodes
//!            │  HTTP POST                              ▲ │
//!            ▼                                         │ ▼
//!      rpc::door ── a thread per connection      rpc::peers ── a sender per peer, gates before it
//!            │  a call, decoded by its method          ▲ │
//!            ▼                                         │ │ answers come back as messages
//!      rpc::service ───────────┐       ┌───────────────┘ │
//!                              ▼       │                 ▼
//!                        node::driver: one thread, takes all that waits as one batch
//!                              │  inputs in, effects out
//!                              ▼
//!                        protocol::host ── protocol::paxos, eventual, register, and strong: bully, log, service; pure
//!                              │  Save, Note
//!                              ▼
//!                        store::sqlite ── one synced transaction a batch; then what waited is sent
//! ```
//!
//! A proposal on node 8000, with nobody in its way: the connection's thread hands it to the driver; Paxos picks ballot
//! `1.8000` and saves its own promise; when that is on disk, Prepare goes to the other four, whose promises come back in
//! the answers of the very calls; with a majority, Accept goes to all; with a majority again the value is chosen, Commit
//! goes out, the client is answered, and five text files say so.
//!
//! A `kv.put` on node 8000 while 8004 leads: the connection's thread makes a command of it; 8000 forwards it to 8004, whose
//! log it enters; at the end of the driver's batch Accept leaves for the followers with all that came together, and then
//! 8004 writes the same to its own disk; with a majority's acceptances it is committed, the services apply it, and their
//! reply goes back to 8000 and the client. The followers hear with the next Accept that it is committed.
//!
//! A `dht.get` needs no leader: 8000 looks into its finger tables, asks who is closer to the key, and that node whom to ask
//! next, until one knows the three owners; it asks those, and the newest version is the answer.
//!
//! # Entry points
//!
//! Read [`protocol`] for the contract of a protocol, then [`protocol::paxos`] beside Lamport's "Paxos Made Simple", and
//! [`protocol::log`] after it, [`protocol::eventual`] for the opposite, and [`protocol::overlay::chord`] for what works
//! without either;
//! [`node::driver`] for how it meets a disk and a network, and [`sim`] for how it meets much worse ones. `client/` is the
//! program: arguments, the shell, and the races in `client/scenario.rs`.
//!
//! # Code map
//!
//! | module | what it is |
//! |---|---|
//! | [`protocol`] | the protocols, pure: inputs in, ordered effects out |
//! | [`service`] | what the replicated log feeds: keys and values, board, files, locks, exactly once |
//! | [`xmlrpc`] | the wire format: a serde data format over quick-xml |
//! | [`rpc`] | the transport: door (HTTP in), peers and client (HTTP out), the method table, faults |
//! | `web` | the page, its forms and its live panels; health and metrics |
//! | [`store`] | what a node remembers: SQLite, its twin in memory, the decided files |
//! | [`node`] | the driver, and the assembly and disassembly of a node |
//! | [`lab`] | gates and links that fail on demand; what happened: its trace, its pictures, its explanations |
//! | [`sim`] | the world in which the same protocols run simulated |
//! | `mutants` | only in tests: defects put in on purpose, and the proof that each is found |
//! | [`history`] | what clients saw: a recorder, and a checker for linearizability |
//!
//! # Invariants, as absences
//!
//! - Nothing in [`protocol`] or [`service`] names a socket, a thread, a file, a clock or an unseeded random number.
//! - Nothing but the driver touches a protocol or the store, and one thread at a time has the driver; so neither has a
//!   lock of its own.
//! - Nothing that rests on a record leaves the node before the record is synced.
//! - Nothing waits for a peer: what its connection does not take at once waits in a queue that drops its oldest when full.
//! - Nothing that comes from the wire or from a file is `unwrap`ped, and nothing grows with it beyond a stated bound.
//! - Nothing in [`xmlrpc`] knows of Paxos, and nothing in [`protocol`] knows of XML.
//!
//! A test (`tests/tidy.rs`) keeps the first one true. The threads of a node are listed in [`node`].

#[macro_use]
mod mutants;

pub mod history;
pub mod lab;
pub mod node;
pub mod protocol;
pub mod rpc;
pub mod service;
pub mod sim;
pub mod store;
mod web;
pub mod xmlrpc;
