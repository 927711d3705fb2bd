//! Single-decree Paxos: what each acceptor of one instance holds, in the lecture's names, and a form to propose.

use std::collections::BTreeMap;

use super::super::html::Html;
use super::super::view::View;
use super::{begin_form, short};
use crate::rpc::answers::InstanceRow;
use crate::rpc::text::shown;

pub(super) fn draw(view: &View, token: &str) -> Html {
    let mut html = Html::new();
    choice(&mut html, view);
    let chosen = chosen(view);
    html.fill("<p class=\"about\">Instance <strong><bdi>{}</bdi></strong>", &[&view.current]);
    match &chosen {
        Some((ballot, value)) => html.fill(
            ": a majority accepted <strong><bdi>{}</bdi></strong> in {}, so it is chosen.</p>",
            &[&short(value), ballot],
        ),
        None => html.raw(": no proposal is seen to be accepted by a majority.</p>"),
    };
    html.raw(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Acceptors of one instance\" tabindex=\"0\">\
         <table class=\"acceptors\"><caption class=\"sr\">What each acceptor holds</caption><thead><tr>\
         <th scope=\"col\">Acceptor</th>\
         <th scope=\"col\" title=\"The highest proposal number it has promised\">minProposal</th>\
         <th scope=\"col\" title=\"The number of the last proposal it accepted\">acceptedProposal</th>\
         <th scope=\"col\" title=\"The value of that proposal\">acceptedValue</th>\
         <th scope=\"col\" title=\"What it knows to be chosen\">Knows as chosen</th></tr></thead><tbody>",
    );
    for (node, status) in view.acceptors() {
        html.fill("<tr data-key=\"{}\"><th scope=\"row\">{}</th>", &[&node, &node]);
        match (status, status.and_then(|status| view.row(status))) {
            (None, _) => html.raw("<td colspan=\"4\" class=\"down\"><span aria-hidden=\"true\">✕</span> down</td>"),
            (_, None) => html.raw("<td colspan=\"4\" class=\"empty\">nothing yet</td>"),
            (_, Some(row)) => cells(&mut html, row, chosen.as_ref().map(|(ballot, _)| ballot.as_str())),
        };
        html.raw("</tr>");
    }
    for node in view.joined() {
        html.fill("<tr data-key=\"{}\"><th scope=\"row\">{}</th>", &[&node, &node]);
        html.raw("<td colspan=\"4\" class=\"empty\">no acceptor: it joined later</td></tr>");
    }
    html.raw("</tbody></table></div>");
    if view.founders().contains(&view.here.node) {
        propose(&mut html, view, token);
    }
    html
}

fn cells<'a>(html: &'a mut Html, row: &InstanceRow, chosen: Option<&str>) -> &'a mut Html {
    let ballot =
        |ballot: Option<crate::protocol::types::Ballot>| ballot.map_or_else(|| "none".to_owned(), |b| b.to_string());
    let value = |value: &Option<_>| value.as_ref().map_or_else(|| "none".to_owned(), |value| short(&shown(value)));
    html.fill("<td>{}", &[&ballot(row.promised_ballot)]);
    if let Some(running) = row.proposing_ballot {
        html.fill(" <small>proposing {}</small>", &[&running]);
    }
    let accepted = ballot(row.accepted_ballot);
    let kind = if chosen == Some(accepted.as_str()) { "quorum" } else { "" };
    html.fill(
        "</td><td class=\"{}\">{}</td><td class=\"{}\"><bdi>{}</bdi></td>",
        &[&kind, &accepted, &kind, &value(&row.accepted_value)],
    );
    html.fill("<td><bdi>{}</bdi></td>", &[&value(&row.value)])
}

/// The ballot and the value that a majority is seen to have accepted.
fn chosen(view: &View) -> Option<(String, String)> {
    let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let majority = view.founders().len() / 2 + 1;
    let rows = view.acceptors().filter_map(|(_, status)| view.row(status?));
    for (ballot, value) in rows.filter_map(|row| row.accepted_ballot.zip(row.accepted_value.as_ref())) {
        counts.entry(ballot.to_string()).or_insert_with(|| (0, shown(value))).0 += 1;
    }
    counts.into_iter().find(|(_, (count, _))| *count >= majority).map(|(ballot, (_, value))| (ballot, value))
}

/// Which instance to look at, if there are several.
fn choice(html: &mut Html, view: &View) {
    let instances = view.instances();
    if instances.len() < 2 {
        return;
    }
    html.raw(
        "<form class=\"choice\" method=\"get\" action=\"/#paxos\"><label for=\"instance\">Instance</label>\
         <select id=\"instance\" name=\"instance\">",
    );
    for instance in instances {
        let selected = if *instance == view.current { "selected" } else { "" };
        // A bare attribute cannot be a value's, so it is one of two literals.
        html.raw("<option ").raw(selected).fill(" value=\"{}\">{}</option>", &[instance, instance]);
    }
    html.raw("</select><button>Show</button></form>");
}

fn propose(html: &mut Html, view: &View, token: &str) {
    begin_form(html, "propose", "/propose", token);
    html.fill(
        "<div><label for=\"propose-value\">Value</label><input id=\"propose-value\" name=\"value\" required \
         autocomplete=\"off\" maxlength=\"60000\"></div><div><label for=\"propose-instance\">Instance</label>\
         <input id=\"propose-instance\" name=\"instance\" value=\"{}\" autocomplete=\"off\" maxlength=\"255\"></div>\
         <button>Propose here</button></form>",
        &[&view.current],
    );
}
