//! The invariants of single-decree Paxos, watched from outside.
//!
//! The checker sees every message at the moment it leaves a node, with what that node's disk is certain to keep, and
//! every state after a step. It knows what nobody in the cluster knows: what was chosen. Generations are worlds apart,
//! so everything is kept per generation and instance.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::durable::Durable;
use crate::protocol::host::Host;
use crate::protocol::paxos::{Message, Outcome};
use crate::protocol::quorum::Members;
use crate::protocol::types::{Ballot, Instance, NodeId, RequestId, Value};
use crate::protocol::{Message as HostMessage, Record};

type Place = (u64, Instance);

/// Watches one world.
#[derive(Debug)]
pub struct Checker {
    members: Members,
    places: BTreeMap<Place, Watched>,
    requests: BTreeMap<RequestId, (Place, Value)>,
    ballots: u64,
}

/// What is known of one instance in one generation.
#[derive(Debug, Default)]
struct Watched {
    /// The values that clients proposed.
    proposed: BTreeSet<Value>,
    /// The values whose clients were told that they are definitely not chosen.
    refused: BTreeSet<Value>,
    /// The highest promise that each node told anyone of.
    told: BTreeMap<NodeId, Ballot>,
    /// The highest promise that each node had in its present life.
    promised: BTreeMap<NodeId, Ballot>,
    ballots: BTreeMap<Ballot, Run>,
    chosen: Option<Value>,
    /// Whether a client was told what is chosen.
    answered: bool,
}

/// What is known of one ballot.
#[derive(Debug, Default)]
struct Run {
    /// The life of its owner in which its Prepare left.
    prepared_in: Option<u64>,
    /// The life of its owner in which it was last started.
    started_in: Option<u64>,
    /// Who promised it, and what each had accepted by then.
    promises: BTreeMap<NodeId, Option<(Ballot, Value)>>,
    /// The value that it carries, once an Accept has left.
    value: Option<Value>,
    accepted_by: BTreeSet<NodeId>,
}

impl Checker {
    pub(super) fn new(members: Members) -> Self {
        Self { members, places: BTreeMap::new(), requests: BTreeMap::new(), ballots: 0 }
    }

    pub(super) fn chosen_count(&self) -> usize {
        self.places.values().filter(|place| place.chosen.is_some()).count()
    }

    pub(super) const fn ballots(&self) -> u64 {
        self.ballots
    }

    /// The instances of a generation in which a client was told what is chosen.
    pub(super) fn answered_in(&self, generation: u64) -> impl Iterator<Item = &Instance> {
        let answered = move |((of, _), watched): &(&Place, &Watched)| *of == generation && watched.answered;
        self.places.iter().filter(answered).map(|((_, instance), _)| instance)
    }

    fn place(&mut self, generation: u64, instance: &Instance) -> &mut Watched {
        self.places.entry((generation, instance.clone())).or_default()
    }

    pub(super) fn proposed(&mut self, request: RequestId, generation: u64, instance: &Instance, value: &Value) {
        self.place(generation, instance).proposed.insert(value.clone());
        self.requests.insert(request, ((generation, instance.clone()), value.clone()));
    }

    /// A node lost its memory. What it told others binds it all the same.
    pub(super) fn crashed(&mut self, node: NodeId) {
        for watched in self.places.values_mut() {
            watched.promised.remove(&node);
        }
    }

    /// A node starts a ballot, having accepted this.
    pub(super) fn proposing(
        &mut self,
        node: NodeId,
        life: u64,
        generation: u64,
        instance: &Instance,
        ballot: Ballot,
        accepted: Option<(Ballot, Value)>,
    ) -> Result<(), String> {
        self.ballots += 1;
        let run = self.place(generation, instance).ballots.entry(ballot).or_default();
        ensure(ballot.node == node, || format!("{node} runs ballot {ballot}, which it does not own"))?;
        ensure(run.started_in != Some(life), || format!("{node} starts ballot {ballot} twice in one life"))?;
        ensure(run.prepared_in.is_none(), || format!("{node} uses ballot {ballot} again, which others have heard of"))?;
        run.started_in = Some(life);
        run.promises.insert(node, accepted);
        Ok(())
    }

    /// A message leaves a node whose disk is certain to keep this.
    pub(super) fn sent(
        &mut self,
        node: NodeId,
        generation: u64,
        message: &HostMessage,
        disk: &Durable,
    ) -> Result<(), String> {
        let HostMessage::Paxos(message) = message else { return Ok(()) };
        let majority = self.members.majority();
        match message {
            Message::Prepare { instance, ballot } => {
                let saved = saved(disk, generation, instance, |state| state.promised);
                ensure(saved >= Some(*ballot), || {
                    format!("{node} sends Prepare({ballot}) with {saved:?} promised on disk")
                })?;
                let watched = self.place(generation, instance);
                let run = watched.ballots.entry(*ballot).or_default();
                run.prepared_in = run.started_in;
                watched.tell(node, *ballot);
                Ok(())
            }
            Message::Promise { instance, ballot, accepted } => {
                let saved = saved(disk, generation, instance, |state| state.promised);
                ensure(saved >= Some(*ballot), || format!("{node} promises {ballot} with {saved:?} promised on disk"))?;
                let watched = self.place(generation, instance);
                watched.ballots.entry(*ballot).or_default().promises.insert(node, accepted.clone());
                watched.tell(node, *ballot);
                Ok(())
            }
            Message::Accept { instance, ballot, value } => {
                self.place(generation, instance).accept(node, *ballot, value, majority)
            }
            Message::Accepted { instance, ballot } => {
                let saved =
                    saved(disk, generation, instance, |state| state.accepted.as_ref().map(|(ballot, _)| *ballot));
                ensure(saved >= Some(*ballot), || {
                    format!("{node} says it accepted {ballot}, and {saved:?} is on disk")
                })?;
                self.place(generation, instance).tell(node, *ballot);
                Ok(())
            }
            Message::Commit { instance, value, .. } => self.decided(node, generation, instance, value),
            Message::Learned(answer) => answer
                .decided
                .iter()
                .try_for_each(|known| self.decided(node, generation, &known.instance, &known.value)),
            Message::Reject { .. } | Message::Committed { .. } | Message::Learn(_) => Ok(()),
        }
    }

    /// Records of a node that are certain to last. An acceptance that lasts counts, whether or not anyone hears of it.
    pub(super) fn kept(&mut self, node: NodeId, records: &[(u64, Record)]) -> Result<(), String> {
        let majority = self.members.majority();
        for (generation, record) in records {
            if let Record::Accept { instance, ballot, .. } = record {
                self.place(*generation, instance).accepted(node, *ballot, majority)?;
            }
        }
        Ok(())
    }

    /// A node has taken a step: its promises have not fallen, nor below what it told others.
    pub(super) fn stepped(&mut self, node: NodeId, host: &Host) -> Result<(), String> {
        host.paxos().check_invariants();
        for (instance, state) in host.paxos().instances() {
            let Some(promised) = state.promised else { continue };
            let watched = self.place(host.generation(), instance);
            let before = watched.promised.insert(node, promised);
            ensure(before <= Some(promised), || format!("{instance}: {node} promised {before:?}, and now {promised}"))?;
            let told = watched.told.get(&node).copied();
            ensure(told <= Some(promised), || {
                format!("{instance}: {node} told of {told:?}, and promises {promised} now")
            })?;
        }
        Ok(())
    }

    /// A node believes, or says, that a value was chosen.
    pub(super) fn decided(
        &mut self,
        node: NodeId,
        generation: u64,
        instance: &Instance,
        value: &Value,
    ) -> Result<(), String> {
        let chosen = &self.place(generation, instance).chosen;
        ensure(chosen.as_ref() == Some(value), || {
            format!("{instance}: {node} holds {value} for chosen, and {chosen:?} is")
        })
    }

    /// A client was answered by a node whose disk is certain to keep this.
    pub(super) fn answered(&mut self, request: RequestId, outcome: &Outcome, disk: &Durable) -> Result<(), String> {
        let Some(((generation, instance), proposed)) = self.requests.remove(&request) else {
            return Err(format!("{request:?} was answered twice"));
        };
        match outcome {
            Outcome::Chosen { value, yours, ballot, .. } => {
                ensure(*yours == (proposed == *value), || format!("{request:?}: yours is {yours} for {value}"))?;
                let saved = disk.instances.get(&instance).is_some_and(|state| state.decided.is_some());
                ensure(saved || disk.generation != generation, || {
                    format!("{instance}: a client is told {value}, and no decision is on disk")
                })?;
                self.place(generation, &instance).answered = true;
                self.decided(ballot.node, generation, &instance, value)
            }
            Outcome::Preempted { .. } | Outcome::Unavailable { .. } | Outcome::Full => {
                let watched = self.place(generation, &instance);
                ensure(watched.chosen.as_ref() != Some(&proposed), || {
                    format!("{instance}: {proposed} is chosen, and its client was told {outcome:?}")
                })?;
                watched.refused.insert(proposed);
                Ok(())
            }
            Outcome::Unknown { .. } | Outcome::Restarted => Ok(()),
        }
    }
}

impl Watched {
    /// A node tells others of a promise.
    fn tell(&mut self, node: NodeId, ballot: Ballot) {
        let told = self.told.entry(node).or_insert(ballot);
        *told = ballot.max(*told);
    }

    /// P2c: the value of an Accept is that of the highest ballot that some majority of its promisers had accepted.
    fn accept(&mut self, node: NodeId, ballot: Ballot, value: &Value, majority: usize) -> Result<(), String> {
        ensure(self.proposed.contains(value), || format!("nobody proposed {value}, which {node} sends in {ballot}"))?;
        let run = self.ballots.entry(ballot).or_default();
        ensure(ballot.node == node, || format!("{node} sends Accept({ballot}), which it does not own"))?;
        ensure(run.value.as_ref().is_none_or(|other| other == value), || {
            format!("ballot {ballot} carries {value}, and {:?} before", run.value)
        })?;
        run.value = Some(value.clone());
        let had_accepted = run.promises.values();
        ensure(had_accepted.len() >= majority, || {
            format!("Accept({ballot}) left with {} promises", run.promises.len())
        })?;
        let free = had_accepted.clone().filter(|accepted| accepted.is_none()).count() >= majority;
        let bound = had_accepted.clone().flatten().any(|(highest, adopted)| {
            let below =
                |accepted: &&Option<(Ballot, Value)>| accepted.as_ref().is_none_or(|(ballot, _)| ballot <= highest);
            adopted == value && had_accepted.clone().filter(below).count() >= majority
        });
        ensure(free || bound, || format!("Accept({ballot}, {value}) is not what a majority's promises allow"))
    }

    /// A node has accepted a ballot for good: with a majority the ballot's value is chosen, and only one ever is.
    fn accepted(&mut self, node: NodeId, ballot: Ballot, majority: usize) -> Result<(), String> {
        let run = self.ballots.entry(ballot).or_default();
        run.accepted_by.insert(node);
        let Some(value) = run.value.clone() else {
            return Err(format!("{node} accepted {ballot}, in which no Accept was sent"));
        };
        if run.accepted_by.len() < majority {
            return Ok(());
        }
        ensure(!self.refused.contains(&value), || {
            format!("{value} is chosen in {ballot}, and its client was told that it is not")
        })?;
        ensure(self.chosen.as_ref().is_none_or(|chosen| *chosen == value), || {
            format!("{value} is chosen in {ballot}, and {:?} before", self.chosen)
        })?;
        self.chosen = Some(value);
        Ok(())
    }
}

/// What a disk keeps of an instance, if it is of the generation in question; a disk that has moved on cannot lie about
/// the past, so it passes.
fn saved(
    disk: &Durable,
    generation: u64,
    instance: &Instance,
    what: impl Fn(&crate::protocol::durable::Remembered) -> Option<Ballot>,
) -> Option<Ballot> {
    if disk.generation == generation { disk.instances.get(instance).and_then(what) } else { Some(HIGHEST) }
}

const HIGHEST: Ballot = Ballot { round: u64::MAX, node: NodeId::GUEST };

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
