//! The cluster strip: who leads, who is how far, who hears whom, and how many more may fail.

use super::super::html::Html;
use super::super::view::View;
use crate::protocol::types::NodeId;
use crate::rpc::answers::Status;

pub(super) fn draw(view: &View) -> Html {
    let mut html = Html::new();
    verdict(&mut html, view);
    html.raw(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Nodes of the cluster\" tabindex=\"0\">\
         <table class=\"cluster\"><caption class=\"sr\">The nodes, as each tells of itself</caption><thead><tr>\
         <th scope=\"col\" rowspan=\"2\">Node</th><th scope=\"col\" rowspan=\"2\">State</th>\
         <th scope=\"col\" rowspan=\"2\">Leader</th><th scope=\"col\" rowspan=\"2\">Epoch</th>\
         <th scope=\"col\" rowspan=\"2\" class=\"number\">Applied</th>\
         <th scope=\"col\" rowspan=\"2\" class=\"number\">Behind</th>",
    );
    html.fill(
        "<th scope=\"colgroup\" colspan=\"{}\">hears, and is heard by</th></tr><tr>",
        &[&view.here.members.len()],
    );
    for (node, _) in view.nodes() {
        html.fill("<th scope=\"col\" class=\"hears\">{}</th>", &[&node]);
    }
    html.raw("</tr></thead><tbody>");
    for (node, status) in view.nodes() {
        row(&mut html, view, node, status);
    }
    html.raw("</tbody></table></div>");
    html
}

fn verdict(html: &mut Html, view: &View) {
    let (all, up, majority) = (view.here.members.len(), view.up().len(), view.majority());
    let log = view.here.log.as_ref();
    let leader = log.and_then(|log| log.leader.zip(log.epoch));
    let kind = if up >= majority && leader.is_some() { "good" } else { "bad" };
    html.fill("<p class=\"verdict {}\">", &[&kind]);
    match leader {
        Some((leader, epoch)) => html.fill(
            "<strong><span aria-hidden=\"true\">★</span> {} leads</strong> in epoch {}",
            &[&leader, &epoch.round],
        ),
        None => html.raw("<strong><span aria-hidden=\"true\">✕</span> No leader</strong> is known here"),
    };
    html.fill(" <span class=\"count\">{} of {} up, ", &[&up, &all]);
    let together = together(view, leader.map(|(leader, _)| leader));
    if log.is_some_and(|log| !log.eligible) {
        html.fill("this node hears {}, no majority", &[&together]);
    } else {
        if together < up {
            html.fill("{} with the leader, ", &[&together]);
        }
        match together.min(up).checked_sub(majority) {
            Some(0) => html.raw("none may fail"),
            Some(more) => html.fill("can lose {} more", &[&more]),
            None => html.fill("{} too few for a majority", &[&(majority - together.min(up))]),
        };
    }
    html.raw("</span></p>");
}

/// How many nodes, itself included, the leader hears; or this node, if none is known.
fn together(view: &View, leader: Option<NodeId>) -> usize {
    let center = leader.unwrap_or(view.here.node);
    let log_of = |status: Option<&Status>| status.and_then(|status| status.log.as_ref()).map(|log| log.hears.len() + 1);
    let said = view.nodes().find(|(node, _)| *node == center).and_then(|(_, status)| log_of(status));
    said.unwrap_or_else(|| view.up().len())
}

fn row(html: &mut Html, view: &View, node: NodeId, status: Option<&Status>) {
    let is_here = node == view.here.node;
    html.fill("<tr data-key=\"{}\"", &[&node]);
    html.raw(if is_here { " class=\"here\">" } else { ">" });
    html.raw("<th scope=\"row\">");
    let address = view.here.members.iter().find(|member| member.node == node).map(|member| member.address.as_str());
    match address {
        Some(address) if !is_here => html.fill("<a href=\"//{}/\">{}</a></th>", &[&address, &node]),
        _ => html.fill("{} <small>this one</small></th>", &[&node]),
    };
    let Some(status) = status else {
        html.raw("<td class=\"state down\"><span aria-hidden=\"true\">✕</span> down</td>");
        (0..4).for_each(|_| _ = html.raw("<td><span class=\"sr\">unknown</span></td>"));
        view.nodes().for_each(|_| _ = html.raw("<td class=\"hears\"><span class=\"sr\">unknown</span></td>"));
        html.raw("</tr>");
        return;
    };
    let Some(log) = &status.log else {
        html.raw("<td class=\"state\">up</td>");
        (0..4 + view.here.members.len()).for_each(|_| _ = html.raw("<td><span class=\"sr\">none</span></td>"));
        html.raw("</tr>");
        return;
    };
    let (kind, mark, state) = match log.state.as_str() {
        "coordinating" => ("leads", "★", "leads"),
        "following" => ("follows", "●", "follows"),
        other => ("unsure", "◌", other),
    };
    html.fill("<td class=\"state {}\"><span aria-hidden=\"true\">{}</span> {}", &[&kind, &mark, &state]);
    html.raw(if log.votes { "</td>" } else { ", may not vote</td>" });
    match (log.leader, log.epoch) {
        (Some(leader), Some(epoch)) => html.fill("<td>{}</td><td>{}</td>", &[&leader, &epoch.round]),
        _ => html.raw("<td>none</td><td>none</td>"),
    };
    let behind = view.committed().saturating_sub(log.applied);
    html.fill("<td class=\"number\">{}</td><td class=\"number\">{}</td>", &[&log.applied, &behind]);
    for (other, _) in view.nodes() {
        let (kind, mark, said) = match other {
            other if other == node => ("self", "·", "itself"),
            other if log.hears.contains(&other) => ("yes", "✓", "yes"),
            _ => ("no", "✕", "no"),
        };
        html.fill(
            "<td class=\"hears {}\"><span aria-hidden=\"true\">{}</span><span class=\"sr\">{}</span></td>",
            &[&kind, &mark, &said],
        );
    }
    html.raw("</tr>");
}
