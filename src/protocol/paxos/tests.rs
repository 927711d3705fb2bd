//! Golden scripts for whole scenarios, and tables where a script would be clumsy.

use super::*;
use crate::protocol::Effect;

pub(crate) mod acceptor;
pub(crate) mod learning;
mod model;
mod open;
mod order;
pub(crate) mod proposing;
pub(crate) mod scripts;
mod world;

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn ballot(text: &str) -> Ballot {
    text.parse().unwrap()
}

fn value(text: &str) -> Value {
    Value::new(text)
}

fn members(count: u32) -> Members {
    Members::new((8000..8000 + count).map(node)).unwrap()
}

/// Node 8000 of so many, with this memory.
fn first_of(count: u32, durable: Durable) -> Paxos {
    let rng = rand::SeedableRng::seed_from_u64(1);
    Paxos::new(node(8000), members(count), Options::default(), durable, rng)
}

/// A client's proposal in the default instance.
fn proposal(request: u64, text: &str) -> Proposal {
    Proposal {
        request: RequestId(request),
        instance: Instance::default(),
        value: value(text),
        deadline_ticks: 500,
        impatient: 0,
        ballot_ticks: None,
    }
}

/// The effects of one step, which leaves the invariants intact.
fn effects(paxos: &mut Paxos, input: impl FnOnce(&mut Paxos, &mut Out)) -> Vec<Effect> {
    let mut out = Out::default();
    input(paxos, &mut out);
    paxos.check_invariants();
    out.drain().collect()
}

/// What effects are, in the words of the scripts.
fn shown(effects: &[Effect]) -> Vec<String> {
    let each = |effect: &Effect| match effect {
        Effect::Save(record) => format!("saves {}", world::shown_record(record)),
        Effect::Note(record) => format!("notes {}", world::shown_record(record)),
        Effect::Send { to, message } => format!("→ {to} {}", world::shown_message(message)),
        Effect::Notify(event) => world::told(node(8000), event).trim_end().to_owned(),
    };
    effects.iter().map(each).collect()
}
