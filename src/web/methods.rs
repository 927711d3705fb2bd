//! The page for people at `GET /RPC2`: every method with its signatures, its help and a line to try.

use super::html::Html;
use super::page;
use crate::node::core::Core;
use crate::rpc::methods::METHODS;

pub(super) fn page(core: &Core) -> String {
    let mut html = Html::new();
    let (node, address) = (core.id, core.address);
    page::begin(&mut html, &format!("node {node}: methods"), false);
    html.fill(
        "<body class=\"text\"><main><h1>Methods of node {}</h1><p>This is a node of a Synod cluster. It speaks XML-RPC: \
         POST to this address, or, in Python:</p><pre>from xmlrpc.client import ServerProxy\nnode = \
         ServerProxy(\"http://{}\")\nprint(node.propose(5)[\"value\"])</pre><p><a href=\"/\">The page of this node</a></p>",
        &[&node, &address],
    );
    for method in METHODS.iter() {
        html.fill(
            "<h2 id=\"{}\"><code>{}({})</code></h2><p>{}",
            &[&method.name, &method.name, &method.usage, &method.help],
        );
        html.raw(if method.lab { " <small>Lab nodes only.</small></p>" } else { "</p>" });
        html.raw("<ul class=\"signatures\">");
        for signature in method.signatures {
            let (result, parameters) = signature.split_first().unwrap_or((&"", &[]));
            html.fill("<li><code>{} ({})</code></li>", &[result, &parameters.join(", ")]);
        }
        html.raw("</ul>");
    }
    html.raw("</main></body></html>");
    html.into_string()
}
