//! What it costs that nodes keep what happens: the same load with it and without, in turns, on one cluster.

use std::sync::atomic::AtomicBool;

use synod::xmlrpc::Value;

use super::site::Site;
use super::workload::Plan;
use super::{Failure, load, report, run_name};
use crate::args::LoadArgs;
use crate::shell::Status;

/// How often each is measured: the machine's own ups and downs are larger than what is looked for.
const TURNS: usize = 5;

/// Operations a second of every turn.
#[derive(Debug, Default)]
pub(super) struct Cost {
    pub(super) with: Vec<f64>,
    pub(super) without: Vec<f64>,
}

/// Measures, and prints.
pub(super) fn run(site: &Site, args: &LoadArgs, interrupted: &AtomicBool) -> Result<Status, Failure> {
    let mut cost = Cost::default();
    for turn in 0..2 * TURNS {
        // The first and the last of four are alike, so that what only gets slower with time favours neither.
        let on = [true, false, false, true][turn % 4];
        for node in 0..site.nodes.count() {
            let answer: Result<Value, _> = site.nodes.client(node).call("lab.trace.switch", &(on,));
            answer.map_err(|error| Failure::Refused(format!("{}: {error}", site.nodes.port(node))))?;
        }
        let plan = Plan { args, run: run_name() };
        load::fill(&site.nodes, &plan, interrupted)?;
        let measured = load::run(&site.nodes, &plan, interrupted)?;
        if measured.operations == 0 {
            return Ok(Status::Unavailable);
        }
        #[allow(clippy::cast_precision_loss, reason = "so many operations nobody waits for")]
        let per_second = measured.operations as f64 / args.seconds;
        if on { &mut cost.with } else { &mut cost.without }.push(per_second);
    }
    report::trace(args, &cost);
    Ok(Status::Done)
}
