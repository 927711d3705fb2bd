//! What forms do.
//!
//! A browser is sent back to the page (303), so that reloading does nothing twice; whoever does not ask for a page gets
//! a status and a line of JSON.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tiny_http::Method;

use super::form::Form;
use super::nodes::Caller;
use super::{Web, json, lab, refusal, status_of, wants_html};
use crate::protocol::types::{Instance, Value};
use crate::rpc::answers::Proposed;
use crate::rpc::door::{Reply, Request};
use crate::xmlrpc::{self, Fault};

/// How long a browser waits for its own node to have what it wrote.
const CATCH_UP_MS: i32 = 2000;

const FORM: &str = "application/x-www-form-urlencoded";

/// What can be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// A new post.
    Board(Board),
    /// A post that is there, by its id as it stands in the path.
    Post(Board, &'a str),
    /// A proposal.
    Propose,
    /// Faults by hand.
    Lab,
}

/// One of the two boards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Board {
    Strong,
    Eventual,
}

impl Board {
    /// Where it is, and the beginning of its methods' names; the part of the page is named as the methods are.
    const fn path(self) -> &'static str {
        match self {
            Self::Strong => "/board",
            Self::Eventual => "/eventual",
        }
    }

    const fn part(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Eventual => "eventual",
        }
    }

    fn method(self, name: &str) -> String {
        format!("board.{}.{name}", self.part())
    }
}

/// The id of a post: a number on the strong board, `clock.server` on the eventual one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum PostId {
    Number(u64),
    Stamp(String),
}

impl PostId {
    fn read(board: Board, text: &str) -> Result<Self, Undone> {
        let id = match board {
            Board::Strong => text.parse().ok().map(Self::Number),
            Board::Eventual => {
                let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                let is_stamp =
                    text.split_once('.').is_some_and(|(clock, server)| is_number(clock) && is_number(server));
                is_stamp.then(|| Self::Stamp(text.to_owned()))
            }
        };
        id.ok_or_else(|| Undone { status: 404, why: format!("There is no post '{text}'; nothing was done.") })
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Stamp(stamp) => stamp.fmt(f),
        }
    }
}

/// What matters here of a board's answer to a new post.
#[derive(Deserialize)]
struct Posted {
    id: PostId,
    counter: Option<u64>,
}

/// What matters here of a board's answer to a change.
#[derive(Deserialize)]
struct Changed {
    counter: Option<u64>,
}

/// What was done.
pub(super) struct Done {
    pub(super) status: u16,
    /// For people.
    pub(super) message: String,
    /// Where a new thing is.
    pub(super) location: Option<String>,
    /// The part of the page to go back to.
    pub(super) back_to: &'static str,
}

/// What was not done.
pub(super) struct Undone {
    pub(super) status: u16,
    pub(super) why: String,
}

impl From<Fault> for Undone {
    fn from(fault: Fault) -> Self {
        Self { status: status_of(&fault), why: fault.string }
    }
}

pub(super) fn bad(why: &str) -> Undone {
    Undone { status: 400, why: why.to_owned() }
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path {
            "/board" => Some(Self::Board(Board::Strong)),
            "/eventual" => Some(Self::Board(Board::Eventual)),
            "/propose" => Some(Self::Propose),
            "/lab" => Some(Self::Lab),
            path => [Board::Strong, Board::Eventual].into_iter().find_map(|board| {
                let id = path.strip_prefix(board.path())?.strip_prefix('/')?;
                (!id.is_empty() && !id.contains('/')).then_some(Self::Post(board, id))
            }),
        }
    }
}

pub(super) fn answer(web: &Web, request: &Request<'_>, caller: &Caller) -> Reply {
    debug_assert_eq!(request.method, Method::Post);
    match act(web, request, caller) {
        Ok(done) if wants_html(request) => {
            Reply::new(303_u16, "", "").with_header("Location", &format!("/#{}", done.back_to))
        }
        Ok(Done { status, message, location, .. }) => {
            let reply = json(status, &serde_json::json!({ "ok": true, "message": message }));
            location.into_iter().fold(reply, |reply, location| reply.with_header("Location", &location))
        }
        Err(Undone { status, why }) => refusal(request, status, &why),
    }
}

fn act(web: &Web, request: &Request<'_>, caller: &Caller) -> Result<Done, Undone> {
    let media = request.headers.value("Content-Type").map(|media| media.split(';').next().unwrap_or(media).trim());
    if media.is_some_and(|media| !media.eq_ignore_ascii_case(FORM)) {
        return Err(Undone { status: 415, why: format!("A form here is {FORM}; nothing was done.") });
    }
    let form = Form::read(request.body).map_err(|error| bad(&format!("{error}; nothing was done")))?;
    web.token.check(request.headers, &form).map_err(|why| Undone { status: 403, why: why.to_owned() })?;
    match Route::of(request.path) {
        Some(Route::Board(board)) => post(web, caller, board, &form),
        Some(Route::Post(board, id)) => change(web, caller, (board, id), &form),
        Some(Route::Propose) => propose(web, caller, &form),
        Some(Route::Lab) => lab::act(&web.nodes, caller, &form),
        None => Err(Undone { status: 404, why: "Nothing here takes a form.".to_owned() }),
    }
}

fn entry(form: &Form) -> Result<&str, Undone> {
    let entry = form.value("entry").filter(|entry| !entry.trim().is_empty());
    entry.ok_or_else(|| bad("The form has no entry, or an empty one; nothing was done."))
}

fn post(web: &Web, caller: &Caller, board: Board, form: &Form) -> Result<Done, Undone> {
    let Posted { id, counter } = web.nodes.here(caller, &board.method("post"), &(entry(form)?,))?;
    await_here(web, caller, counter);
    Ok(Done {
        status: 201,
        message: format!("Posted, with id {id}."),
        location: Some(format!("{}/{id}/", board.path())),
        back_to: board.part(),
    })
}

/// Waits until this node has the entry that the leader has written for it, if it is one of the strong board's: the page
/// that comes next shows what this node has.
fn await_here(web: &Web, caller: &Caller, counter: Option<u64>) {
    let Some(counter) = counter else { return };
    // What is written is written, also if this node does not hear of it for long.
    let _: Result<IgnoredAny, Fault> =
        web.nodes.here(caller, "board.strong.watch", &(counter.saturating_sub(1), CATCH_UP_MS));
}

fn change(web: &Web, caller: &Caller, (board, id): (Board, &str), form: &Form) -> Result<Done, Undone> {
    let id = PostId::read(board, id)?;
    let message = match form.value("delete").unwrap_or("0") {
        "0" => {
            let Changed { counter } = web.nodes.here(caller, &board.method("modify"), &(&id, entry(form)?))?;
            await_here(web, caller, counter);
            format!("Post {id} has a new text.")
        }
        "1" => {
            let Changed { counter } = web.nodes.here(caller, &board.method("delete"), &(&id,))?;
            await_here(web, caller, counter);
            format!("Post {id} is deleted.")
        }
        _ => return Err(bad("The field delete is 0, to change the post, or 1, to delete it; nothing was done.")),
    };
    Ok(Done { status: 200, message, location: None, back_to: board.part() })
}

fn propose(web: &Web, caller: &Caller, form: &Form) -> Result<Done, Undone> {
    let value = form.value("value").filter(|value| !value.is_empty());
    let value = meant(value.ok_or_else(|| bad("The form has no value; nothing was proposed."))?);
    let instance: Result<Instance, _> =
        form.value("instance").filter(|name| !name.is_empty()).map_or_else(|| Ok(Instance::default()), str::parse);
    let instance = instance.map_err(|error| bad(&format!("{error}; nothing was proposed")))?;
    let fragment = xmlrpc::to_fragment(&value).map_err(|error| bad(&format!("{error}; nothing was proposed")))?;
    let proposed: Proposed = web.nodes.here(caller, "propose", &(Value::new(&fragment), instance))?;
    Ok(Done { status: 200, message: proposed.message, location: None, back_to: "paxos" })
}

/// A number if it is written like one, else the text.
fn meant(text: &str) -> xmlrpc::Value {
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    number.map_or_else(|| xmlrpc::Value::String(text.to_owned()), xmlrpc::Value::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_routes() {
        for (path, route) in [
            ("/board", Some(Route::Board(Board::Strong))),
            ("/board/", Some(Route::Board(Board::Strong))),
            ("/board/3/", Some(Route::Post(Board::Strong, "3"))),
            ("/board/3", Some(Route::Post(Board::Strong, "3"))),
            ("/eventual", Some(Route::Board(Board::Eventual))),
            ("/eventual/7.8000/", Some(Route::Post(Board::Eventual, "7.8000"))),
            ("/eventual7", None),
            ("/board/3/4", None),
            ("/board//", None),
            ("/boards", None),
            ("/propose", Some(Route::Propose)),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn ids_are_as_their_boards_make_them() {
        assert_eq!(PostId::read(Board::Strong, "17").ok(), Some(PostId::Number(17)));
        assert_eq!(PostId::read(Board::Eventual, "7.8000").ok(), Some(PostId::Stamp("7.8000".to_owned())));
        for text in ["", "x", "1.2", "-1"] {
            assert!(PostId::read(Board::Strong, text).is_err(), "{text}");
        }
        for text in ["", "x", "7", "7.", ".8", "7.8.9", "7.x"] {
            assert!(PostId::read(Board::Eventual, text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_number_is_one() {
        assert_eq!(meant("5"), xmlrpc::Value::Int(5));
        assert_eq!(meant("-5"), xmlrpc::Value::Int(-5));
        for text in ["05", "+5", "5.0", " 5", "9223372036854775808", "red"] {
            assert_eq!(meant(text), xmlrpc::Value::String(text.to_owned()));
        }
    }
}
