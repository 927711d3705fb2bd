//! The names of the invariants of the log and its services.

pub(super) const PROMISE_FALLS: &str = "the promise of an epoch never falls, also across a restart";
pub(super) const KEPT: &str = "what was synced of the log is there after a crash";
pub(super) const DURABLE: &str = "a node's memory is what its disk keeps, once nothing waits for the disk";
pub(super) const SAVED_FIRST: &str = "nothing is heard of a promise or an acceptance of the log before it is saved";
pub(super) const NO_HOLE: &str = "a log has no hole";
pub(super) const CHAIN: &str = "each entry's hash continues the one before it";
pub(super) const ONE_ENTRY: &str = "an epoch has one entry in each slot";
pub(super) const ONE_LEADER: &str = "an epoch has one leader, and begins once";
pub(super) const PROMISED: &str = "a majority has promised an epoch before it is used";
pub(super) const SYNC_WHOLE: &str = "a follower takes the log with which an epoch began whole, or not at all";
pub(super) const LEADER_KEEPS: &str = "a new leader has every entry that is chosen";
pub(super) const KEEPS_CHOSEN: &str = "who has a chosen entry keeps it";
pub(super) const ONE_CHOSEN: &str = "a slot has one chosen entry, and it never changes";
pub(super) const COMMITTED: &str = "what is committed was accepted by a majority in one epoch";
pub(super) const ORDER: &str = "applied is never above committed, nor committed above the log's length";
pub(super) const STATE: &str = "nodes that have applied the same slots have the same state";
pub(super) const SNAPSHOT: &str = "a snapshot is the replay of the entries that it stands for";
pub(super) const PROPOSED: &str = "only what a client asked for is chosen, and once if it has no request id";
pub(super) const ANSWER: &str = "a client is told the truth about its call";
pub(super) const ONCE: &str = "a request is applied once, and answered alike each time";
pub(super) const TOKENS: &str = "fencing tokens only grow";
pub(super) const HOLDER: &str = "a lock has one holder";
pub(super) const EXPIRY: &str = "a grant ends by a release, or by the log's own time";
pub(super) const FENCED: &str = "a write with a token is done exactly while its grant holds";
pub(super) const STALE: &str = "a linearizable read shows all that was acknowledged before it began";
pub(super) const LINEARIZABLE: &str = "what clients saw is linearizable";
