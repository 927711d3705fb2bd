//! Whether a node lives, and whether it can serve: for whoever starts nodes and sends them work.
//!
//! These two are answered to everybody, credentials or not: they tell nothing but yes or no, and why.

use std::time::Duration;

use crate::node::core::Core;
use crate::node::driver::TICK;
use crate::node::status::Snapshot;
use crate::rpc::door::{Reply, Request};

/// How long the driver may take to say how it is: longer, and it does not serve.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn answer(core: &Core, request: &Request<'_>) -> Option<Reply> {
    if request.method != tiny_http::Method::Get {
        return None;
    }
    let judged = match request.path {
        "/livez" => lives(core),
        "/readyz" => is_ready(core),
        _ => return None,
    };
    let reply = match judged {
        Ok(()) => Reply::text(200_u16, "ok\n"),
        Err(why) => Reply::text(503_u16, format!("{why}\n")).with_header("Retry-After", "1"),
    };
    Some(reply.with_header("Cache-Control", "no-store"))
}

/// The driver answers: disk and protocols are at work.
fn lives(core: &Core) -> Result<(), String> {
    status(core).map(drop)
}

/// A leader is known, and what it commits arrives here.
fn is_ready(core: &Core) -> Result<(), String> {
    let Snapshot { strong, members, .. } = status(core)?;
    let Some(log) = strong else { return Ok(()) };
    if !log.votes {
        return Err("this node's memory is empty or damaged, and not repaired yet".to_owned());
    }
    let Some(leader) = log.leader else {
        let hears = log.hears.len() + 1;
        return Err(format!("no leader is known: this node hears {hears} of {} nodes", members.len()));
    };
    if log.applied < log.committed {
        return Err(format!("behind the log: {} of {} entries are applied", log.applied, log.committed));
    }
    // Knowing who leads is not enough where the leader cannot be heard: a read of the newest state goes there and back.
    let ticks = (PATIENCE.as_millis() / TICK.as_millis()) as u64;
    match core.query(Some(ticks), |_| ()).recv_timeout(2 * PATIENCE) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(format!("{leader} leads, and does not confirm it within {} s", PATIENCE.as_secs())),
        Err(_) => Err("the node is stopping, or its driver is stuck".to_owned()),
    }
}

fn status(core: &Core) -> Result<Snapshot, String> {
    let stuck = |_| "the node is stopping, or its driver is stuck".to_owned();
    core.status(None, 0).recv_timeout(PATIENCE).map_err(stuck)
}
