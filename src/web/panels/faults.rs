//! Faults by hand, in a lab: which links fail, and the forms that cut and heal them.

use super::super::html::Html;
use super::super::view::View;
use super::begin_form;
use crate::protocol::types::NodeId;
use crate::rpc::lab::LinkRow;

pub(super) fn draw(view: &View, token: &str) -> Html {
    let mut html = Html::new();
    let is_member = |node: NodeId| view.here.members.iter().any(|member| member.node == node);
    let between_members = |(from, row): &(NodeId, &LinkRow)| is_member(*from) && is_member(row.to);
    let failing: Vec<(NodeId, &LinkRow)> = view
        .links
        .iter()
        .flat_map(|(from, rows)| rows.iter().map(|row| (*from, row)))
        .filter(between_members)
        .collect();
    html.raw("<div class=\"verdict-line\">");
    if failing.is_empty() {
        html.raw("<p class=\"verdict\"><strong><span aria-hidden=\"true\">●</span> All links are whole.</strong></p>");
    } else {
        html.fill(
            "<p class=\"verdict bad\"><strong><span aria-hidden=\"true\">✕</span> {} links fail.</strong></p>",
            &[&failing.len()],
        );
    }
    begin_form(&mut html, "heal", "/lab", token);
    html.raw("<button name=\"do\" value=\"heal\">Heal all</button> ");
    html.raw("<button class=\"plain\" name=\"do\" value=\"elect\">Hold an election here</button></form></div>");
    cut(&mut html, view, token);
    link(&mut html, view, token);
    if !failing.is_empty() {
        links(&mut html, &failing);
    }
    html
}

/// Cuts some nodes off from the others.
fn cut(html: &mut Html, view: &View, token: &str) {
    begin_form(html, "cut", "/lab", token);
    html.raw("<fieldset><legend>Cut these off from the others</legend>");
    for (node, _) in view.nodes() {
        html.fill("<label><input type=\"checkbox\" name=\"side-{}\"> {}</label> ", &[&node, &node]);
    }
    html.raw("<button name=\"do\" value=\"partition\">Cut</button></fieldset></form>");
}

/// Makes one link fail, in one direction.
fn link(html: &mut Html, view: &View, token: &str) {
    begin_form(html, "link", "/lab", token);
    html.raw("<fieldset><legend>One link, one direction</legend>");
    choice(html, view, "from", "From");
    choice(html, view, "to", "to");
    html.raw(
        "<label for=\"link-do\">is</label><select id=\"link-do\" name=\"do\"><option value=\"cut\">cut</option>\
         <option value=\"delay\">200 ms late</option><option value=\"drop\">30 % lost</option>\
         <option value=\"mend\">whole</option></select><button>Apply</button></fieldset></form>",
    );
}

fn choice(html: &mut Html, view: &View, name: &'static str, label: &'static str) {
    html.fill("<label for=\"link-{}\">{}</label><select id=\"link-{}\" name=\"{}\">", &[&name, &label, &name, &name]);
    // The first two, so that what stands there at first can be meant.
    let default = usize::from(name == "to");
    for (at, (node, _)) in view.nodes().enumerate() {
        html.raw(if at == default { "<option selected" } else { "<option" });
        html.fill(" value=\"{}\">{}</option>", &[&node, &node]);
    }
    html.raw("</select>");
}

fn links(html: &mut Html, failing: &[(NodeId, &LinkRow)]) {
    html.raw(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Links that fail\" tabindex=\"0\"><table>\
         <caption class=\"sr\">Links that fail</caption><thead><tr><th scope=\"col\">From</th><th scope=\"col\">To</th>\
         <th scope=\"col\">Fault</th><th scope=\"col\">Ends by itself</th></tr></thead><tbody>",
    );
    for (from, row) in failing {
        let mut faults = Vec::new();
        faults.extend(row.cut.then(|| "cut".to_owned()));
        faults.extend(row.delay_ms.map(|ms| format!("{ms} ms late")));
        faults.extend(row.drop_percent.map(|percent| format!("{percent} % lost")));
        // In whole minutes: it is looked at all the time.
        let ends = format!("within {} min", row.ttl_ms.div_ceil(60_000));
        html.fill(
            "<tr data-key=\"{}-{}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            &[from, &row.to, from, &row.to, &faults.join(", "), &ends],
        );
    }
    html.raw("</tbody></table></div>");
}
