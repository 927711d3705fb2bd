//! Faults by hand: what the forms of a lab do, to links of any node of the cluster.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;

use super::actions::{Done, Undone, bad};
use super::form::Form;
use super::nodes::{Caller, Nodes};
use crate::protocol::types::NodeId;
use crate::rpc::answers::Status;
use crate::rpc::client::CallError;
use crate::xmlrpc::Value;

/// A call of one node.
struct Call {
    node: NodeId,
    method: &'static str,
    params: Vec<Value>,
}

impl Call {
    fn new(node: NodeId, method: &'static str, params: impl IntoIterator<Item = u32>) -> Self {
        Self { node, method, params: params.into_iter().map(|number| Value::Int(number.into())).collect() }
    }
}

/// Does what a form asks for.
pub(super) fn act(nodes: &Nodes, caller: &Caller, form: &Form) -> Result<Done, Undone> {
    let here: Status = nodes.here(caller, "status", &())?;
    let members: Vec<NodeId> = here.members.iter().map(|member| member.node).collect();
    let link = |name: &str| {
        let node = form.value(name).and_then(|node| node.parse().ok()).filter(|node| members.contains(node));
        node.ok_or_else(|| bad(&format!("The field {name} is no member of this cluster; nothing was done.")))
    };
    let (calls, message) = match form.value("do") {
        Some("partition") => partition(&members, form)?,
        Some("heal") => {
            let heal = |&node: &NodeId| Call::new(node, "lab.link.heal", []);
            (members.iter().map(heal).collect(), "All links are whole.".to_owned())
        }
        Some("elect") => (vec![Call::new(nodes.core.id, "bully.elect", [])], "An election is held.".to_owned()),
        Some(fault @ ("cut" | "delay" | "drop" | "mend")) => {
            let (from, to) = (link("from")?, link("to")?);
            let (method, how, says) = match fault {
                "cut" => ("lab.link.cut", None, "is cut"),
                "delay" => ("lab.link.delay", Some(200), "is 200 ms late"),
                "drop" => ("lab.link.drop", Some(30), "loses 30 % of the messages"),
                _ => ("lab.link.heal", None, "is whole"),
            };
            let params = [Some(to.number()), how];
            (
                vec![Call::new(from, method, params.into_iter().flatten())],
                format!("The link from {from} to {to} {says}."),
            )
        }
        _ => return Err(bad("The field do is partition, cut, delay, drop, mend, heal or elect; nothing was done.")),
    };
    make(nodes, caller, calls)?;
    Ok(Done { status: 200, message, location: None, back_to: "faults" })
}

/// Both directions between those that were chosen and those that were not.
fn partition(members: &[NodeId], form: &Form) -> Result<(Vec<Call>, String), Undone> {
    let is_chosen = |node: &&NodeId| form.value(&format!("side-{node}")).is_some();
    let one: BTreeSet<NodeId> = members.iter().filter(is_chosen).copied().collect();
    let other: Vec<NodeId> = members.iter().filter(|node| !one.contains(node)).copied().collect();
    if one.is_empty() || other.is_empty() {
        return Err(bad("Choose some of the nodes, and not all; nothing was done."));
    }
    let both =
        |a: NodeId, b: NodeId| [Call::new(a, "lab.link.cut", [b.number()]), Call::new(b, "lab.link.cut", [a.number()])];
    let calls = one.iter().flat_map(|&a| other.iter().flat_map(move |&b| both(a, b))).collect();
    let names: Vec<String> = one.iter().map(ToString::to_string).collect();
    Ok((calls, format!("Cut off: {}.", names.join(", "))))
}

/// Makes all the calls, and says of which nodes they failed.
fn make(nodes: &Nodes, caller: &Caller, calls: Vec<Call>) -> Result<(), Undone> {
    let mut failed = Vec::new();
    let mut silent = BTreeSet::new();
    for Call { node, method, params } in &calls {
        // One that does not answer is not waited for again.
        if silent.contains(node) {
            continue;
        }
        match nodes.at::<_, IgnoredAny>(*node, caller, method, params) {
            Ok(_) => {}
            Err(CallError::Fault(fault)) if calls.len() == 1 => return Err(fault.into()),
            Err(error) => {
                silent.insert(*node);
                failed.push(format!("{node}: {error}"));
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Undone { status: 502, why: format!("Not all nodes have done it. {}", failed.join("; ")) })
}
