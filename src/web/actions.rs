//! What forms do.
//!
//! A browser is sent back to the page (303), so that reloading does nothing twice; whoever does not ask for a page gets
//! a status and a line of JSON.

use tiny_http::Method;

use super::form::Form;
use super::nodes::Caller;
use super::{Web, json, lab, refusal, status_of, wants_html};
use crate::protocol::types::{Instance, Value};
use crate::rpc::answers::Proposed;
use crate::rpc::door::{Reply, Request};
use crate::rpc::strong::answers::Wrote;
use crate::xmlrpc::{self, Fault};

const FORM: &str = "application/x-www-form-urlencoded";

/// What can be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// A new post.
    Board,
    /// A post that is there, by its id as it stands in the path.
    Post(&'a str),
    /// A proposal.
    Propose,
    /// Faults by hand.
    Lab,
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
            "/board" => Some(Self::Board),
            "/propose" => Some(Self::Propose),
            "/lab" => Some(Self::Lab),
            path => path.strip_prefix("/board/").filter(|id| !id.is_empty() && !id.contains('/')).map(Self::Post),
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
        Some(Route::Board) => post(web, caller, &form),
        Some(Route::Post(id)) => change(web, caller, id, &form),
        Some(Route::Propose) => propose(web, caller, &form),
        Some(Route::Lab) => lab::act(&web.nodes, caller, &form),
        None => Err(Undone { status: 404, why: "Nothing here takes a form.".to_owned() }),
    }
}

fn entry(form: &Form) -> Result<&str, Undone> {
    let entry = form.value("entry").filter(|entry| !entry.trim().is_empty());
    entry.ok_or_else(|| bad("The form has no entry, or an empty one; nothing was done."))
}

fn post(web: &Web, caller: &Caller, form: &Form) -> Result<Done, Undone> {
    let wrote: Wrote = web.nodes.here(caller, "board.strong.post", &(entry(form)?,))?;
    let id = wrote.id.unwrap_or_default();
    Ok(Done {
        status: 201,
        message: format!("Posted, with id {id}."),
        location: Some(format!("/board/{id}/")),
        back_to: "strong",
    })
}

fn change(web: &Web, caller: &Caller, id: &str, form: &Form) -> Result<Done, Undone> {
    let id: u64 = id.parse().map_err(|_| Undone { status: 404, why: format!("There is no post '{id}'.") })?;
    let message = match form.value("delete").unwrap_or("0") {
        "0" => {
            let _: Wrote = web.nodes.here(caller, "board.strong.modify", &(id, entry(form)?))?;
            format!("Post {id} has a new text.")
        }
        "1" => {
            let _: Wrote = web.nodes.here(caller, "board.strong.delete", &(id,))?;
            format!("Post {id} is deleted.")
        }
        _ => return Err(bad("The field delete is 0, to change the post, or 1, to delete it; nothing was done.")),
    };
    Ok(Done { status: 200, message, location: None, back_to: "strong" })
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
            ("/board", Some(Route::Board)),
            ("/board/", Some(Route::Board)),
            ("/board/3/", Some(Route::Post("3"))),
            ("/board/3", Some(Route::Post("3"))),
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
    fn what_looks_like_a_number_is_one() {
        assert_eq!(meant("5"), xmlrpc::Value::Int(5));
        assert_eq!(meant("-5"), xmlrpc::Value::Int(-5));
        for text in ["05", "+5", "5.0", " 5", "9223372036854775808", "red"] {
            assert_eq!(meant(text), xmlrpc::Value::String(text.to_owned()));
        }
    }
}
