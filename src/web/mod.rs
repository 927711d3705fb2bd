//! What a node serves beside XML-RPC: the page, the course's plain routes, and what operators ask for.
//!
//! | route | what it is |
//! |---|---|
//! | `POST /`, `POST /RPC2` | XML-RPC, see [`crate::rpc`] |
//! | `GET /` | the page; `?instance=NAME` chooses the instance whose acceptors are shown |
//! | `GET /board` | the strong board, as a page or as JSON |
//! | `POST /board` | a new post: `entry` |
//! | `POST /board/<id>/` | changes a post (`entry`, `delete` is 0) or deletes it (`delete` is 1) |
//! | `GET /eventual`, `POST /eventual`, `POST /eventual/<id>/` | the same for the eventual board |
//! | `POST /propose` | proposes `value` in `instance`, here |
//! | `POST /lab` | faults by hand, in a lab: `do`, and whom (`from`, `to`, or `side-<node>` for each on one side) |
//! | `GET /live` | what has changed since `after` or `Last-Event-ID`, with `trace=1` also what happened; streamed, or as JSON |
//! | `GET /panel/<name>` | one part of the page |
//! | `GET /RPC2` | the methods, described |
//! | `GET /assets/<name>` | style, scripts, icon |
//! | `GET /livez`, `GET /readyz` | whether the process lives; whether it can serve, and if not (503), why |
//! | `GET /metrics` | counters, for Prometheus |
//!
//! The page is whole without scripts: what it shows is drawn here, and its forms post. Scripts only keep it up to date,
//! send the forms without leaving the page, and draw.
//!
//! # What is not possible
//!
//! - Nothing that somebody wrote becomes markup: [`html`] has no way to let it. Scripts and styles come from files of
//!   their own, and the content security policy lets no others run.
//! - No other site's page can make a browser act here ([`guard`]), read here (there is no CORS header), or frame this.
//! - Nobody sees or does more than by XML-RPC: every panel and every form calls the methods, in process, with the roles of
//!   whoever asks ([`nodes`]).
//! - Open pages cannot use up the door's threads: there are 64 streams at most, and who comes later polls.
//!
//! # Caveats
//!
//! All users of a node share one token, which protects against other sites, not against each other: each user's own
//! credentials do. A post that is sent twice, because its answer was lost, is there twice: the page gives no request ids.

mod actions;
mod assets;
mod form;
mod guard;
mod health;
mod html;
mod lab;
mod lookout;
mod methods;
mod metrics;
mod nodes;
mod page;
mod panels;
mod trace;
mod view;

use std::io;
use std::sync::Arc;

use tiny_http::Method;

use self::form::Form;
use self::guard::Token;
use self::lookout::Lookout;
use self::nodes::{Caller, Nodes};
use self::panels::Panel;
use crate::node::core::Core;
use crate::protocol::types::Instance;
use crate::rpc::access::Role;
use crate::rpc::client::Calling;
use crate::rpc::door::{self, Reply, Request};
use crate::rpc::faults::FaultKind;
use crate::rpc::service::Service;
use crate::xmlrpc::Fault;

/// What a browser may do with our pages: load style, scripts and data from here, post forms to here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// All that stands behind the door of a node.
pub(crate) struct Web {
    service: Arc<Service>,
    nodes: Arc<Nodes>,
    lookout: Arc<Lookout>,
    token: Token,
}

impl door::Service for Web {
    fn answer(&self, request: &Request<'_>) -> Reply {
        if let Some(reply) = health::answer(&self.nodes.core, request) {
            return reply;
        }
        let authorization = request.headers.value("Authorization");
        let Some(grant) = self.nodes.core.access.check(authorization) else {
            let text = "Name yourself: http://NAME:SECRET@HOST:PORT. 'synod credentials' makes names and secrets.\n";
            return Reply::text(401_u16, text).with_header("WWW-Authenticate", "Basic realm=\"synod\"");
        };
        if request.method == Method::Post && is_for_calls(request.path) {
            return self.service.answer(request.body, grant, || request.promise());
        }
        let caller = Caller { grant, authorization: authorization.map(str::to_owned) };
        let reply = if !grant.includes(Role::Client) {
            refusal(request, 403, "This page is for clients and administrators; a node's own secret does not open it.")
        } else if request.method == Method::Post {
            actions::answer(self, request, &caller)
        } else {
            self.show(request, &caller)
        };
        guarded(reply)
    }

    fn takes(&self, path: &str) -> bool {
        is_for_calls(path) || actions::Route::of(path).is_some()
    }
}

fn is_for_calls(path: &str) -> bool {
    matches!(path, "/" | "/RPC2")
}

impl Web {
    /// # Errors
    /// The system gives no random numbers.
    pub(crate) fn new(core: Arc<Core>, calling: &Calling) -> io::Result<Self> {
        let random = |_| io::Error::other("the system gives no random numbers");
        let (token, life) = (Token::random().map_err(random)?, getrandom::u64().map_err(random)?);
        let service = Arc::new(Service::new(Arc::clone(&core)));
        let nodes = Arc::new(Nodes::new(core, Arc::clone(&service), calling));
        let lookout = Lookout::new(Arc::clone(&nodes), token.as_str().to_owned(), format!("{life:016x}"));
        Ok(Self { service, nodes, lookout: Arc::new(lookout), token })
    }

    fn show(&self, request: &Request<'_>, caller: &Caller) -> Reply {
        let Ok(query) = Form::read(request.query.as_bytes()) else {
            return refusal(request, 400, "The address has a query that cannot be read.");
        };
        match request.path {
            "/" => self.page(request, caller, &query),
            "/board" | "/board/" => self.board(request, caller, Panel::Strong),
            "/eventual" | "/eventual/" => self.board(request, caller, Panel::Eventual),
            "/live" => self.live(request, caller, &query),
            "/metrics" => match metrics::text(&self.nodes.core, self.lookout.streams()) {
                Ok(text) => Reply::new(200_u16, metrics::CONTENT_TYPE, text),
                Err(why) => refusal(request, 503, why),
            },
            "/RPC2" => Reply::new(200_u16, page::HTML, methods::page(&self.nodes.core)),
            path => self.part(path, caller, &query).or_else(|| assets::asset(request)).unwrap_or_else(|| {
                refusal(request, 404, "There is nothing here. The page is at /, and XML-RPC calls are POSTed to /RPC2.")
            }),
        }
    }

    fn page(&self, request: &Request<'_>, caller: &Caller, query: &Form) -> Reply {
        let Ok(instance) = query.value("instance").map(str::parse::<Instance>).transpose() else {
            return refusal(request, 400, "That is not the name of an instance.");
        };
        let after = self.lookout.now();
        match self.lookout.look(caller, instance.clone()) {
            Ok(view) => {
                let token = self.token.as_str();
                let about = page::About { after: &after, pinned: instance.as_ref(), token, grant: caller.grant };
                Reply::new(200_u16, page::HTML, page::whole(&view, &about))
            }
            Err(fault) => refusal(request, status_of(&fault), &fault.string),
        }
    }

    fn board(&self, request: &Request<'_>, caller: &Caller, panel: Panel) -> Reply {
        match self.lookout.look(caller, None) {
            Ok(view) if wants_html(request) => {
                Reply::new(200_u16, page::HTML, page::board(panel, &view, self.token.as_str()))
            }
            Ok(view) if panel == Panel::Eventual => {
                json(200, &view.eventual.map(|eventual| eventual.entries).unwrap_or_default())
            }
            Ok(view) => json(200, &view.services.posts),
            Err(fault) => refusal(request, status_of(&fault), &fault.string),
        }
    }

    /// One panel, drawn for an instance of the caller's choice.
    fn part(&self, path: &str, caller: &Caller, query: &Form) -> Option<Reply> {
        let name = path.strip_prefix("/panel/")?;
        let panel = Panel::ALL.into_iter().find(|panel| panel.name() == name)?;
        if !caller.grant.includes(panel.role()) {
            return Some(Reply::text(403_u16, "This part of the page is for administrators.\n"));
        }
        let instance = query.value("instance").and_then(|name| name.parse().ok());
        Some(match self.lookout.look(caller, instance) {
            Ok(view) => Reply::new(200_u16, page::HTML, panels::draw(panel, &view, self.token.as_str()).into_string()),
            Err(fault) => Reply::text(status_of(&fault), format!("{}\n", fault.string)),
        })
    }

    /// What has changed since the id that the caller has seen last.
    fn live(&self, request: &Request<'_>, caller: &Caller, query: &Form) -> Reply {
        // A browser that connects anew by itself says it in the header, and repeats the query of the first time.
        let after = request.headers.value("Last-Event-ID").or_else(|| query.value("after")).unwrap_or_default();
        let with_trace = query.value("trace") == Some("1");
        if !accepts(request, "text/event-stream") {
            return json(200, &self.lookout.news(caller, after, with_trace));
        }
        match self.lookout.stream(caller.clone(), after, with_trace) {
            Some(events) => Reply::stream("text/event-stream", Box::new(events)),
            None => Reply::text(503_u16, "Too many pages are open on this node; this one may poll.\n")
                .with_header("Retry-After", "5"),
        }
    }
}

/// Adds what every answer to a browser must say.
fn guarded(reply: Reply) -> Reply {
    let reply = if reply.has_header("Cache-Control") { reply } else { reply.with_header("Cache-Control", "no-store") };
    reply
        .with_header("Content-Security-Policy", POLICY)
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Referrer-Policy", "same-origin")
        .with_header("Cross-Origin-Resource-Policy", "same-origin")
        .with_header("Cross-Origin-Opener-Policy", "same-origin")
}

/// Why a request was not done, in the form that the caller reads.
fn refusal(request: &Request<'_>, status: u16, why: &str) -> Reply {
    let reply = if wants_html(request) {
        Reply::new(status, page::HTML, page::refusal(status, why))
    } else {
        json(status, &serde_json::json!({ "ok": false, "message": why }))
    };
    if status == 503 { reply.with_header("Retry-After", "1") } else { reply }
}

fn json(status: u16, value: &impl serde::Serialize) -> Reply {
    // What is sent here has texts for names, so it can be written.
    Reply::new(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// Whether a person's browser asks, for a page.
fn wants_html(request: &Request<'_>) -> bool {
    accepts(request, "text/html")
}

fn accepts(request: &Request<'_>, media: &str) -> bool {
    request.headers.value("Accept").is_some_and(|accept| {
        accept.split(',').any(|item| item.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(media)))
    })
}

/// The HTTP status that says what a fault says.
fn status_of(fault: &Fault) -> u16 {
    let Some(kind) = FaultKind::of_code(fault.code) else { return 500 };
    match kind.code {
        100 | 101 | 103 | 104 => 503,
        110 | 115 => 403,
        112 => 507,
        113 => 413,
        114 => 400,
        117 => 404,
        123 => 410,
        _ if kind.definite => 409,
        // It may have been done.
        _ => 504,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::faults::FAULTS;

    #[test]
    fn a_status_says_whether_it_may_have_been_done() {
        for kind in FAULTS {
            let status = status_of(&kind.fault("x"));
            assert_ne!(status, 500, "{}", kind.name);
            assert!(kind.definite || status >= 500, "{}: {status}", kind.name);
        }
        assert_eq!(status_of(&Fault { code: -32603, string: String::new() }), 500);
    }
}
