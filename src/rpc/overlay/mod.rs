//! The methods of the overlays: what is asked, how it is answered.

pub(super) mod methods;

use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use super::faults::{
    BAD_OPTION, KEY_TOO_LONG, NO_KEY, NOT_CONFIRMED, NOT_NOW, NOT_REACHED, OVERLAY_FULL, RESTARTED, TOO_LARGE,
};
use super::service::{ticks, wait};
use super::wire::MAX_VALUE_BYTES;
use crate::node::core::Core;
use crate::node::overlay::Outcome;
use crate::protocol::overlay::chord::{Chord, Phase};
use crate::protocol::overlay::ring::Position;
use crate::protocol::overlay::{Call, Failure, Key, Which};
use crate::protocol::types::{NodeId, Value};
use crate::xmlrpc::Fault;
use methods::Id;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
const MAX_DEADLINE: Duration = Duration::from_secs(60);

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Set,
    Get,
    Remove,
}

/// A call whose arguments have been read.
#[derive(Debug)]
pub(super) enum Request {
    Key { which: Which, key: String, what: Action, options: OverlayOptions },
    Ring,
    Fingers,
    Join(OverlayOptions),
    Leave(OverlayOptions),
}

/// What is done with a key, and with what.
#[derive(Debug)]
pub(super) enum Action {
    Set(Value),
    Get,
    Remove,
}

/// The last argument of these methods.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverlayOptions {
    /// How long to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
}

/// A call that was started.
pub(super) enum Started {
    Key { what: What, key: String, outcome: Receiver<Outcome> },
    Membership(Receiver<Outcome>),
    Looked(Receiver<Answer>),
}

/// The result of one of these methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "each is described at its type")]
pub enum Answer {
    Key(KeyAnswer),
    Ring(RingAnswer),
    Fingers(Vec<FingerRow>),
}

/// The result of a call about a key, and of `dht.join` and `dht.leave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct KeyAnswer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    pub hops: Vec<NodeId>,
    pub copies: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
}

/// The result of `dht.ring`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct RingAnswer {
    pub state: String,
    pub keys: u64,
    pub points: Vec<PointRow>,
    pub own: Vec<OwnRow>,
}

/// A place on the ring, and who stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct PointRow {
    pub position: Position,
    pub node: NodeId,
}

/// One of the node's own places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct OwnRow {
    pub position: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<NodeId>,
    pub successors: Vec<NodeId>,
}

/// A finger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are the interface's, and described in the method table")]
pub struct FingerRow {
    pub position: Position,
    pub exponent: u32,
    pub start: Position,
    pub node: NodeId,
    pub at: Position,
}

/// Reads the arguments of one of these methods.
pub(super) fn read<'de, D: Deserializer<'de>>(id: Id, params: D) -> Result<Request, D::Error> {
    Ok(match id {
        Id::Key(which, What::Set) => {
            let (key, value, options): (_, _, Option<_>) = Deserialize::deserialize(params)?;
            Request::Key { which, key, what: Action::Set(value), options: options.unwrap_or_default() }
        }
        Id::Key(which, what) => {
            let (key, options): (_, Option<_>) = Deserialize::deserialize(params)?;
            let what = if what == What::Get { Action::Get } else { Action::Remove };
            Request::Key { which, key, what, options: options.unwrap_or_default() }
        }
        Id::Ring | Id::Fingers => {
            <[u8; 0]>::deserialize(params)?;
            if id == Id::Ring { Request::Ring } else { Request::Fingers }
        }
        Id::Join | Id::Leave => {
            let (options,): (Option<_>,) = Deserialize::deserialize(params)?;
            let options = options.unwrap_or_default();
            if id == Id::Join { Request::Join(options) } else { Request::Leave(options) }
        }
    })
}

/// Hands a call to the driver.
pub(super) fn start(core: &Core, request: Request) -> Result<Started, Fault> {
    Ok(match request {
        Request::Key { which, key: text, what, options } => {
            let deadline_ticks = deadline(options)?;
            let Some(key) = Key::new(&text) else {
                let (most, got) = (Key::MAX_BYTES, text.len());
                let text = format!("a key has at most {most} bytes, and this one {got}; nothing was done");
                return Err(KEY_TOO_LONG.fault(text));
            };
            let (what, call) = match what {
                Action::Set(value) if value.as_str().len() > MAX_VALUE_BYTES => {
                    let text = format!("the value is larger than {MAX_VALUE_BYTES} bytes; it was not written");
                    return Err(TOO_LARGE.fault(text));
                }
                Action::Set(value) => (What::Set, Call::Set { key, value }),
                Action::Get => (What::Get, Call::Get { key }),
                Action::Remove => (What::Remove, Call::Remove { key }),
            };
            Started::Key { what, key: text, outcome: core.seek(which, call, deadline_ticks) }
        }
        Request::Ring => Started::Looked(core.look(|overlay| Answer::Ring(ring(overlay.chord())))),
        Request::Fingers => Started::Looked(core.look(|overlay| Answer::Fingers(fingers(overlay.chord())))),
        Request::Join(options) => Started::Membership(core.join_ring(deadline(options)?)),
        Request::Leave(options) => Started::Membership(core.leave_ring(deadline(options)?)),
    })
}

fn deadline(options: OverlayOptions) -> Result<u64, Fault> {
    let deadline = options.deadline_ms.map_or(DEFAULT_DEADLINE, |ms| Duration::from_millis(ms.into()));
    if deadline > MAX_DEADLINE {
        return Err(BAD_OPTION.fault("deadline_ms is above 60000; nothing was done"));
    }
    Ok(ticks(deadline))
}

/// Waits for a call.
pub(super) fn finish(core: &Core, started: Started) -> Result<Answer, Fault> {
    let me = core.id;
    match started {
        Started::Looked(answer) => wait(answer),
        Started::Membership(outcome) => {
            let answer = wait(outcome)?.map_err(|failure| failed(me, &failure, "the ring"))?;
            let (hops, copies) = (answer.hops, answer.copies as u64);
            Ok(Answer::Key(KeyAnswer { found: None, value: None, hops, copies, messages: None }))
        }
        Started::Key { what, key, outcome } => {
            let answer = wait(outcome)?.map_err(|failure| {
                let shown: String = key.chars().take(40).flat_map(char::escape_debug).collect();
                failed(me, &failure, &format!("the key '{shown}'"))
            })?;
            Ok(Answer::Key(KeyAnswer {
                found: (what == What::Get).then_some(answer.value.is_some()),
                value: answer.value,
                hops: answer.hops,
                copies: answer.copies as u64,
                messages: (answer.messages > 0).then_some(answer.messages as u64),
            }))
        }
    }
}

fn failed(me: NodeId, failure: &Failure, about: &str) -> Fault {
    match failure {
        Failure::NotFound => NO_KEY.fault(format!("{me} found no trace of {about}; nothing was changed")),
        Failure::Unavailable(why) => {
            NOT_REACHED.fault(format!("{me} did not get through about {about}: {why}; nothing was changed; try again"))
        }
        Failure::Unknown(why) => NOT_CONFIRMED
            .fault(format!("outcome unknown: {me} sent out its part about {about}, but {why}; look, or do it again")),
        Failure::Full => OVERLAY_FULL
            .fault(format!("a node that would hold {about} holds as much as it may; nothing was changed; remove keys")),
        Failure::Refused(why) => NOT_NOW.fault(format!("{me} refuses about {about}: {why}; nothing was changed")),
        Failure::Restarted => {
            RESTARTED.fault(format!("{me} was restarted during the call about {about}, and has forgotten it"))
        }
    }
}

fn ring(chord: &Chord) -> RingAnswer {
    let state = match chord.phase() {
        Phase::Joining { .. } => "joining",
        Phase::Joined => "joined",
        Phase::Leaving { .. } => "leaving",
        Phase::Left => "left",
    };
    let own = chord.virtuals().iter().map(|table| OwnRow {
        position: table.at,
        predecessor: table.predecessor.map(|(point, _)| point.node),
        successors: table.successors.iter().map(|point| point.node).collect(),
    });
    // What has left has no place there.
    let outside = *chord.phase() == Phase::Left;
    let points = chord.points().into_iter().filter(|_| !outside);
    RingAnswer {
        state: state.to_owned(),
        keys: chord.items().live() as u64,
        points: points.map(|point| PointRow { position: point.at, node: point.node }).collect(),
        own: own.filter(|_| !outside).collect(),
    }
}

fn fingers(chord: &Chord) -> Vec<FingerRow> {
    let rows = chord.virtuals().iter().flat_map(|table| {
        table.fingers.iter().map(|&(exponent, point)| FingerRow {
            position: table.at,
            exponent,
            start: table.start(exponent),
            node: point.node,
            at: point.at,
        })
    });
    rows.collect()
}
