//! The boards: posts with author, id, order and how far each has come, and the forms to post, modify and delete.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::super::html::Html;
use super::super::view::{Eventual, ROWS, Reach, View};
use super::begin_form;

/// A post of either board.
struct Post<'a> {
    id: &'a dyn Display,
    /// The part of the path of its forms that names it.
    path: &'a str,
    text: &'a str,
    author: u32,
    order: &'a dyn Display,
    reach: Reach,
}

/// The board in the leader's order.
pub(super) fn strong(view: &View, token: &str) -> Html {
    let mut html = Html::new();
    entry(&mut html, "strong", "/board", token);
    let posts = &view.services.posts;
    if posts.is_empty() {
        html.raw("<p class=\"empty\">No posts yet.</p>");
        return html;
    }
    if posts.len() == ROWS as usize {
        html.fill("<p class=\"note\">The latest {} posts.</p>", &[&ROWS]);
    }
    html.raw("<ol class=\"posts\">");
    for row in posts {
        let (id, order) = (row.id.to_string(), format!("{}.{}", row.epoch, row.counter));
        let path = format!("/board/{id}/");
        let reach = view.reach(row);
        let post = Post { id: &id, path: &path, text: &row.text, author: row.author, order: &order, reach };
        one(&mut html, "strong", &post, token);
    }
    html.raw("</ol>");
    html
}

/// The board of this node, which the others come to share.
pub(super) fn eventual(view: &View, token: &str) -> Html {
    let mut html = Html::new();
    let Some(eventual) = &view.eventual else { return html };
    entry(&mut html, "eventual", "/eventual", token);
    agreement(&mut html, eventual);
    let entries = &eventual.entries;
    if entries.is_empty() {
        html.raw("<p class=\"empty\">No posts yet.</p>");
        return html;
    }
    if entries.len() == ROWS as usize {
        html.fill("<p class=\"note\">The latest {} posts.</p>", &[&ROWS]);
    }
    html.raw("<ol class=\"posts\">");
    for row in entries {
        let path = format!("/eventual/{}/", row.id);
        let order = format!("{}.{}", row.clock, row.server);
        let reach = view.spread(row);
        let post = Post { id: &row.id, path: &path, text: &row.text, author: row.author, order: &order, reach };
        one(&mut html, "eventual", &post, token);
    }
    html.raw("</ol>");
    html
}

/// Which nodes show the same.
fn agreement(html: &mut Html, eventual: &Eventual) {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (node, status) in &eventual.nodes {
        groups.entry(&status.digest).or_default().push(node.to_string());
    }
    let all = eventual.nodes.len();
    if groups.len() < 2 {
        html.fill(
            "<p class=\"agreement same\"><span aria-hidden=\"true\">●</span> All {} that answer show the same.</p>",
            &[&all],
        );
        return;
    }
    let groups: Vec<String> = groups.values().map(|nodes| nodes.join(" ")).collect();
    html.fill(
        "<p class=\"agreement differ\"><span aria-hidden=\"true\">◐</span> Boards differ: {}.</p>",
        &[&groups.join(" | ")],
    );
}

/// The form for a new post.
fn entry(html: &mut Html, board: &'static str, action: &str, token: &str) {
    begin_form(html, "entry", action, token);
    html.fill(
        "<label for=\"{}-entry\">New post</label><input id=\"{}-entry\" name=\"entry\" required autocomplete=\"off\" \
         maxlength=\"60000\"><button>Post</button></form>",
        &[&board, &board],
    );
}

fn one(html: &mut Html, board: &'static str, post: &Post<'_>, token: &str) {
    let Post { id, path, text, author, order, reach } = post;
    let (kind, mark, said) = match reach {
        Reach::Local => ("local", "○", "local"),
        Reach::Sent => ("sent", "◐", "sent"),
        Reach::Everywhere => ("everywhere", "●", "everywhere"),
    };
    html.fill(
        "<li class=\"post\" data-key=\"{}-{}\" data-id=\"{}\"><p class=\"text\"><bdi>{}</bdi></p>",
        &[&board, id, id, text],
    );
    html.fill(
        "<p class=\"meta\"><span>id {}</span> <span>by {}</span> <span>order {}</span> \
         <span class=\"reach {}\"><span aria-hidden=\"true\">{}</span> {}</span></p>",
        &[id, author, order, &kind, &mark, &said],
    );
    html.fill("<details class=\"edit\"><summary>Edit<span class=\"sr\"> post {}</span></summary>", &[id]);
    begin_form(html, "change", path, token);
    // The first line end in a text area is dropped.
    html.fill(
        "<label class=\"sr\" for=\"{}-{}\">Text of post {}</label><textarea id=\"{}-{}\" name=\"entry\" rows=\"2\">\n{}\
         </textarea><div class=\"buttons\"><button name=\"delete\" value=\"0\">Save</button>\
         <button class=\"danger\" name=\"delete\" value=\"1\">Delete</button></div></form></details></li>",
        &[&board, id, id, &board, id, text],
    );
}
