//! What a node tells about its methods: the capabilities, and the page for people at `GET /RPC2`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::methods::METHODS;

/// A specification that a node keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Capability {
    #[serde(rename = "specUrl")]
    url: &'static str,
    #[serde(rename = "specVersion")]
    version: i32,
}

/// The result of `system.getCapabilities`.
pub(super) fn capabilities() -> BTreeMap<&'static str, Capability> {
    let rows = [
        ("xmlrpc", "http://www.xmlrpc.com/spec", 1),
        ("introspect", "http://xmlrpc-c.sourceforge.net/introspection.html", 1),
        ("introspection", "http://xmlrpc.usefulinc.com/doc/reserved.html", 1),
        ("system.multicall", "http://www.xmlrpc.com/discuss/msgReader$1208", 1),
        ("faults_interop", "http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php", 20_010_516),
        ("nil", "http://www.ontosys.com/xml-rpc/extensions.php", 20_010_518),
    ];
    rows.into_iter().map(|(name, url, version)| (name, Capability { url, version })).collect()
}

/// What a browser may do with the page: show it, with the one style sheet in it, and nothing else.
pub(super) const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                                      form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{max-width:50rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif;\
                     color:#1b1b1b;background:#fff}code,pre{font:0.95em ui-monospace,monospace}pre{background:#f2f2f2;\
                     padding:.7rem;overflow-x:auto}h2{font-size:1.1rem;margin-top:2rem}small{color:#555}";

/// The page: every method with its signatures, its help and a line to try.
pub(super) fn page(node: &str, address: &str) -> String {
    let mut html = String::with_capacity(16 << 10);
    let (node, address) = (escape(node), escape(address));
    // Writing to a String cannot fail, here and below.
    _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Synod, node {node}: methods</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>Methods of node {node}</h1>\n<p>This is a node of a Synod cluster. It speaks XML-RPC: POST to this address, \
         or, in Python:</p>\n<pre>from xmlrpc.client import ServerProxy\nnode = ServerProxy(\"http://{address}\")\n\
         print(node.propose(5)[\"value\"])</pre>\n"
    );
    for method in METHODS.iter() {
        let name = escape(method.name);
        _ = write!(
            html,
            "<h2 id=\"{name}\"><code>{name}({})</code></h2>\n<p>{}",
            escape(method.usage),
            escape(method.help)
        );
        if method.lab {
            html.push_str(" <small>Lab nodes only.</small>");
        }
        html.push_str("</p>\n<p><small>");
        for (at, signature) in method.signatures.iter().enumerate() {
            let (result, parameters) = signature.split_first().unwrap_or((&"", &[]));
            let between = if at > 0 { "<br>" } else { "" };
            _ = write!(html, "{between}<code>{} ({})</code>", escape(result), escape(&parameters.join(", ")));
        }
        html.push_str("</small></p>\n");
    }
    html.push_str("</body></html>\n");
    html
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_method_and_escapes() {
        let page = page("<script>", "a\"b'&");
        assert!(page.contains("node &lt;script&gt;") && page.contains("a&quot;b&#39;&amp;"));
        assert!(!page.contains("<script"));
        for method in METHODS.iter() {
            assert!(page.contains(&format!("id=\"{}\"", method.name)), "{}", method.name);
        }
    }
}
