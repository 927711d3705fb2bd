//! The whole page, and the small ones beside it.

use super::assets::VERSION;
use super::html::Html;
use super::panels::{self, Panel};
use super::view::View;
use crate::protocol::types::Instance;
use crate::rpc::access::{Grant, Role};

/// The type of all pages and panels.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// What a page is told beside the view.
pub(super) struct About<'a> {
    /// The id of what it shows: what has changed since is what it must be told.
    pub(super) after: &'a str,
    /// The instance that was asked for.
    pub(super) pinned: Option<&'a Instance>,
    pub(super) token: &'a str,
    /// What the caller may see.
    pub(super) grant: Grant,
}

/// Up to the body.
pub(super) fn begin(html: &mut Html, title: &str, with_script: bool) {
    html.fill(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Synod, {}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\
         <link rel=\"stylesheet\" href=\"/assets/style.css?{}\">",
        &[&title, &*VERSION],
    );
    if with_script {
        html.fill("<script type=\"module\" src=\"/assets/page.js?{}\"></script>", &[&*VERSION]);
    }
    html.raw("</head>");
}

/// The page.
pub(super) fn whole(view: &View, about: &About<'_>) -> String {
    let mut html = Html::new();
    let node = view.here.node;
    begin(&mut html, &format!("node {node}"), true);
    html.fill(
        "<body data-after=\"{}\" data-pinned=\"{}\">",
        &[&about.after, &about.pinned.map_or("", Instance::as_str)],
    );
    html.raw("<a class=\"skip\" href=\"#main\">Skip to the boards</a><header class=\"top\">");
    html.fill("<h1>Synod <span>node {}</span></h1><p class=\"mode\">{}</p>", &[&node, &view.here.mode]);
    html.raw(
        "<p id=\"live\" class=\"live\" role=\"status\"><noscript>As of now. <a href=\"/\">Look again</a></noscript></p>\
         <nav aria-label=\"Also here\"><a href=\"/RPC2\">Methods</a> <a href=\"/metrics\">Metrics</a></nav></header>\
         <main id=\"main\">",
    );
    section(&mut html, Section { id: "nodes", title: "Cluster", hint: "" }, &[Panel::Cluster], view, about);
    html.raw("<div class=\"boards\">");
    let hint = "The leader's order is everyone's. A post stands here once a majority has it on disk.";
    section(&mut html, Section { id: "strong", title: "Strong board", hint }, &[Panel::Strong], view, about);
    if view.eventual.is_some() {
        let hint = "Taken at once, also by a node that is cut off; the others come to show it when they can.";
        section(&mut html, Section { id: "eventual", title: "Eventual board", hint }, &[Panel::Eventual], view, about);
    }
    html.raw("</div>");
    let hint = "One value an instance, chosen once, for good.";
    section(&mut html, Section { id: "paxos", title: "Paxos", hint }, &[Panel::Acceptors], view, about);
    if view.here.mode == "lab" && about.grant.includes(Panel::Faults.role()) {
        let hint = "Links fail until they are healed, or for five minutes.";
        section(&mut html, Section { id: "faults", title: "Faults by hand", hint }, &[Panel::Faults], view, about);
    }
    if about.grant.includes(Role::Admin) {
        diagram(&mut html, view);
    }
    html.raw("<div class=\"tables\">");
    section(&mut html, Section { id: "keys", title: "Keys", hint: "" }, &[Panel::Keys], view, about);
    section(&mut html, Section { id: "files", title: "Files", hint: "" }, &[Panel::Files], view, about);
    section(&mut html, Section { id: "locks", title: "Locks", hint: "" }, &[Panel::Locks], view, about);
    html.raw("</div></main><footer><p class=\"hint\">From Python: <code>from xmlrpc.client import ServerProxy; ");
    html.fill("ServerProxy(\"http://{}\").propose(5)</code></p></footer>", &[&view.here.address]);
    html.raw("<p id=\"said\" class=\"said\" role=\"status\" aria-live=\"polite\"></p></body></html>");
    html.into_string()
}

struct Section {
    id: &'static str,
    title: &'static str,
    hint: &'static str,
}

fn section(html: &mut Html, section: Section, panels: &[Panel], view: &View, about: &About<'_>) {
    let Section { id, title, hint } = section;
    html.fill("<section id=\"{}\" aria-labelledby=\"{}-title\"><h2 id=\"{}-title\">{}</h2>", &[&id, &id, &id, &title]);
    if !hint.is_empty() {
        html.fill("<p class=\"hint\">{}</p>", &[&hint]);
    }
    for panel in panels {
        html.fill("<div class=\"panel\" data-panel=\"{}\">", &[&panel.name()]);
        html.push(&panels::draw(*panel, view, about.token)).raw("</div>");
    }
    html.raw("</section>");
}

/// The place of the space-time diagram, which scripts draw.
fn diagram(html: &mut Html, view: &View) {
    let nodes: Vec<String> = view.nodes().map(|(node, _)| node.to_string()).collect();
    html.fill("<section id=\"diagram\" aria-labelledby=\"diagram-title\" data-nodes=\"{}\">", &[&nodes.join(" ")]);
    html.raw(
        "<h2 id=\"diagram-title\">What the nodes say to each other</h2>\
         <p class=\"hint\">A lane for each node, time down, an arrow for each message, a cross where one is lost.</p>\
         <noscript><p>The diagram is drawn by a script. Without one, the shell's <code>diagram</code> shows the \
         same.</p></noscript><div class=\"tools\" hidden>\
         <button data-do=\"pause\" aria-pressed=\"false\">Pause</button>\
         <button class=\"plain\" data-do=\"step\" disabled>Step</button>\
         <button class=\"plain\" data-do=\"clear\">Clear</button>\
         <label><input type=\"checkbox\" data-family=\"paxos\" checked> Paxos</label>\
         <label><input type=\"checkbox\" data-family=\"log\" checked> log and boards</label>\
         <label><input type=\"checkbox\" data-family=\"election\" checked> election</label>\
         <label><input type=\"checkbox\" data-family=\"learn\"> learning</label>\
         <span data-waiting role=\"status\"></span></div>\
         <div class=\"canvas\" data-diagram tabindex=\"0\" role=\"region\" aria-label=\"Space-time diagram\"></div>\
         <details class=\"events\"><summary>The same as text</summary><ol data-events></ol></details></section>",
    );
}

/// One board alone.
pub(super) fn board(panel: Panel, view: &View, token: &str) -> String {
    let mut html = Html::new();
    begin(&mut html, &format!("node {}: {} board", view.here.node, panel.name()), false);
    html.fill("<body class=\"text\"><main><h1>The {} board</h1>", &[&panel.name()]);
    html.push(&panels::draw(panel, view, token));
    html.raw("<p><a href=\"/\">The whole page</a></p></main></body></html>");
    html.into_string()
}

/// Why there is no page.
pub(super) fn refusal(status: u16, why: &str) -> String {
    let mut html = Html::new();
    begin(&mut html, &status.to_string(), false);
    html.fill("<body class=\"text\"><main><h1>{}</h1><p>{}</p>", &[&status, &why]);
    html.raw("<p><a href=\"/\">Back to the page</a></p></main></body></html>");
    html.into_string()
}
