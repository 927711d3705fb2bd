//! The specifications that a node keeps to.

use std::collections::BTreeMap;

use serde::Serialize;

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
