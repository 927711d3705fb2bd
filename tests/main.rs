//! The integration tests: the program as its users meet it, as processes on loopback.
//!
//! Every test has nodes, ports and directories of its own, so all run at once; nothing of them outlives the test
//! process, not even if that is killed. There is one binary, because linking is what takes time. What each module asks:
//!
//! - [`races`]: do the four textbook races end as the textbook says, the same way every time, and leave no gate behind?
//! - [`shell`]: what do the shell's commands print, and with which exit code does a script end?
//! - [`services`]: files, board, keys and locks from the shell: is anything lost or done twice when the leader dies?
//! - [`members`]: nodes join and leave under load: is anything lost that was answered, and who belongs to the cluster?
//! - [`strong`]: election, log and services while leaders are killed, sleep or are cut off, and disks are damaged.
//! - [`overlays`]: does a hash table keep its keys while nodes leave, die and join? What do flooding and an index find?
//! - [`sessions`]: whose nodes are they? Shells that share nodes, ports that are taken, signals, directories in use.
//! - [`durability`]: does SIGKILL of some or all nodes lose anything that was answered, or use a ballot twice?
//! - [`failures`]: with how many nodes down does the cluster still decide, and what does it say when it cannot?
//! - [`links`]: cuts, delays and losses by hand: who still hears whom, what is decided on which side, and does it end?
//! - [`histories`]: does some order explain what clients saw while nodes were killed? And what does `synod check` say?
//! - [`wire`]: values, faults, arities, guests and batches, called from Rust.
//! - [`access`]: who may call what; credentials, the cluster's secret, and a cluster that decides over TLS.
//! - [`generations`]: does a message from before a restart act after it?
//! - [`python`]: does Python's stock client see the same?
//! - [`simulate`]: what does `synod sim` print, and does what it found show itself again?
//! - [`door`]: hostile bytes, few descriptors and a stop under load, met by a real node.
//! - [`seeing`]: is what happened kept, joined in causal order, drawn, explained and saved?
//! - [`fuzz`]: the codec against whatever comes; replays a corpus, then bends it at random.
//! - [`bench`]: is what the benchmark counts really there, and does it find what a lost leader loses?
//! - [`web`]: the page without scripts: its forms, its live events, who may not use them; health and metrics.
//! - [`weak`]: the eventual board on both sides of a cut, quorum registers, logical clocks, and the shell about them.
//! - [`tidy`]: is what is pure still pure?
//!
//! [`support`] holds what they share: ports, nodes, shells, and waiting for what must happen.

mod access;
mod bench;
mod door;
mod durability;
mod failures;
mod fuzz;
mod generations;
mod histories;
mod links;
mod members;
mod overlays;
mod python;
mod races;
mod seeing;
mod services;
mod sessions;
mod shell;
mod simulate;
mod strong;
mod support;
mod tidy;
mod weak;
mod web;
mod wire;
