//! The textbook races of two proposers, on the real nodes.
//!
//! Names and pictures are those of the usual lecture on Paxos: a proposer comes late, and either the earlier value is
//! already chosen (A_wins), or it is not and the late one sees it (B_wins), or it is not and the late one does not see it
//! (BB_wins). What decides is who hears whom first; so that is what a race controls. It holds messages at the gates of
//! the nodes that send them, lets them go one by one, and waits for what it needs to see. Nothing hangs on time.

mod stage;

use serde_json::json;
use synod::protocol::types::{Ballot, Value};
use synod::rpc::answers::Proposed;
use synod::rpc::peers::Kind;
use synod::rpc::text::shown;

use crate::command::{Port, Race};
use crate::execute::Lab;
use crate::shell::Status;
use stage::{Stage, Stop};

const DEFAULT_ROUNDS: u32 = 9;
/// All that a proposer sends.
const PROPOSER: [Kind; 3] = [Kind::Prepare, Kind::Accept, Kind::Commit];

/// Runs a race of two proposers, each with its value, and says how it went.
pub(crate) fn run(
    lab: &mut Lab,
    race: Race,
    (p1, p2): (Port, Port),
    (v1, v2): (Value, Value),
    rounds: Option<u32>,
) -> Status {
    for port in [p1, p2] {
        if lab.cluster.member(port).is_none() {
            return lab.no_such_node(port);
        }
        if !lab.cluster.founders().contains(&port) {
            lab.console.error(&format!(
                "{port} joined later, and is no acceptor: a race takes nodes that founded the cluster"
            ));
            return Status::Refused;
        }
    }
    // Dropping the stage opens all gates again, however the race ends.
    let mut stage = Stage::new(lab, p1, p2, v1, v2);
    let played = stage.check(race == Race::BWins).and_then(|()| match race {
        Race::AWins => a_wins(&mut stage),
        Race::BWins => b_wins(&mut stage),
        Race::BbWins => bb_wins(&mut stage),
        Race::Livelock => livelock(&mut stage, rounds.unwrap_or(DEFAULT_ROUNDS)),
    });
    let ended = played.and_then(|(expected, answers)| stage.conclude(expected.as_ref(), &answers));
    drop(stage);
    match ended {
        Ok(()) => Status::Done,
        Err(Stop { status, text }) => {
            lab.console.error(&text);
            status
        }
    }
}

/// What a race leads to: the value that must have been chosen, if the race decides that, and both answers.
type Played = Result<(Option<Value>, [(Port, Proposed); 2]), Stop>;

/// *Previous value already chosen.* The second proposer finds the first one's value at a majority, and adopts it.
fn a_wins(stage: &mut Stage<'_>) -> Played {
    let (p1, p2) = (stage.p1, stage.p2);
    // The second proposer must find out by Paxos, and not because it was told.
    stage.hold(p1, &[p2], &[Kind::Commit])?;
    stage.hold(p2, &stage.all(), &[Kind::Learn])?;
    stage.tell(format!("{p1} proposes '{}', and nobody else does.", shown(&stage.v1)));
    let first = stage.propose(p1, 0)?.answer(stage)?;
    stage.wait_all_accepted(first.ballot)?;
    stage.tell(format!("It is chosen in ballot {}: a majority accepted it.", first.ballot));
    stage.tell(format!("{p2} has not heard of that, and proposes '{}'.", shown(&stage.v2)));
    let second = stage.propose(p2, 0)?.answer(stage)?;
    stage.tell(format!(
        "Whatever majority promises ballot {}, one of it has accepted '{}' and says so: {p2} must adopt it.",
        second.ballot,
        shown(&second.value)
    ));
    Ok((Some(stage.v1.clone()), [(p1, first), (p2, second)]))
}

/// *Previous value not chosen, but the new proposer sees it.* Two majorities share one acceptor; only that one accepts
/// the first value before the second proposer asks.
fn b_wins(stage: &mut Stage<'_>) -> Played {
    let (p1, p2) = (stage.p1, stage.p2);
    let (beside_p1, shared, _) = stage.sides();
    let without_shared: Vec<Port> = stage.all().into_iter().filter(|&port| port != shared).collect();
    let first_side: Vec<Port> = beside_p1.iter().copied().chain([p1]).collect();
    stage.hold(p1, &without_shared, &[Kind::Accept])?;
    stage.hold(p1, &stage.all(), &[Kind::Learn])?;
    stage.tell(format!("{p1} proposes '{}': all promise it its ballot.", shown(&stage.v1)));
    let first = stage.propose(p1, 0)?;
    stage.wait_held(p1, &without_shared, Kind::Accept)?;
    let accepted = stage.wait_accepted(shared)?;
    stage.wait_all_promised(accepted)?;
    stage.tell(format!("Its Accept reaches {shared} only, the acceptor that both majorities share ({accepted})."));

    stage.hold(p2, &first_side, &PROPOSER)?;
    stage.hold(p2, &stage.all(), &[Kind::Learn])?;
    stage.tell(format!("{p2} proposes '{}' with a higher ballot, and asks the other majority.", shown(&stage.v2)));
    let second = stage.propose(p2, 0)?.answer(stage)?;
    stage.tell(format!(
        "{shared} promises it, and says that it has accepted '{}': {p2} adopts that, gets it chosen in {}, and is the \
         first to answer.",
        shown(&second.value),
        second.ballot
    ));

    stage.open(p1, &first_side, &[Kind::Accept])?;
    let first = first.answer(stage)?;
    stage.tell(format!("The Accepts of {p1} arrive where nobody has promised more: chosen in {} too.", first.ballot));
    Ok((Some(stage.v1.clone()), [(p2, second), (p1, first)]))
}

/// *Previous value not chosen, and the new proposer does not see it.* The first value is promised everywhere, and
/// accepted nowhere, when the second proposer asks.
fn bb_wins(stage: &mut Stage<'_>) -> Played {
    let (p1, p2) = (stage.p1, stage.p2);
    let but_p1: Vec<Port> = stage.all().into_iter().filter(|&port| port != p1).collect();
    stage.hold(p1, &stage.all(), &[Kind::Accept, Kind::Learn])?;
    stage.tell(format!(
        "{p1} proposes '{}': all promise it its ballot, and its Accepts are under way.",
        shown(&stage.v1)
    ));
    let first = stage.propose(p1, 0)?;
    stage.wait_held(p1, &stage.all(), Kind::Accept)?;
    let early = stage.wait_ballot(p1, None)?;
    stage.wait_all_promised(early)?;

    stage.hold(p2, &[p1], &PROPOSER)?;
    stage.tell(format!("{p2} proposes '{}' with a higher ballot: nobody has accepted anything.", shown(&stage.v2)));
    let second = stage.propose(p2, 0)?.answer(stage)?;
    stage.tell(format!("So it is free to take its own value, and gets it chosen in {}.", second.ballot));

    stage.open(p1, &but_p1, &[Kind::Accept])?;
    // Nobody else's Prepare reaches it, so this is the promise that it gives itself.
    stage.wait_promised_above(p1, early)?;
    stage.open(p1, &[p1], &[Kind::Accept])?;
    let first = first.answer(stage)?;
    stage.tell(format!(
        "The Accepts of {p1} for {early} are refused: higher was promised. It tries again with {}, hears of '{}', and \
         adopts it.",
        first.ballot,
        shown(&first.value)
    ));
    Ok((Some(stage.v2.clone()), [(p2, second), (p1, first)]))
}

/// The two pre-empt each other: each Prepare comes before the other's Accepts. Only when they pause for a random time
/// is one of them left alone for long enough.
fn livelock(stage: &mut Stage<'_>, rounds: u32) -> Played {
    let (p1, p2) = (stage.p1, stage.p2);
    let all = stage.all();
    for proposer in [p1, p2] {
        stage.hold(proposer, &all, &[Kind::Accept, Kind::Learn])?;
    }
    // Each is refused as often as there are rounds of its; it must not pause before the last of them.
    let first = stage.propose(p1, rounds.div_ceil(2))?;
    stage.wait_held(p1, &all, Kind::Accept)?;
    // Also by those whose promise was not needed: a Prepare that comes after the other's would be refused, a round early.
    let lowest = stage.wait_ballot(p1, None)?;
    stage.wait_all_promised(lowest)?;
    let second = stage.propose(p2, rounds / 2)?;
    stage.wait_held(p2, &all, Kind::Accept)?;
    let mut highest = stage.wait_ballot(p2, None)?;
    stage.wait_all_promised(highest)?;
    let mut shown_rounds = Vec::new();
    for round in 1..=rounds {
        let (refused, by) = if round % 2 == 1 { (p1, p2) } else { (p2, p1) };
        let (late, higher) = (stage.wait_ballot(refused, None)?, stage.wait_ballot(by, None)?);
        stage.tell(format!(
            "Round {round}: {refused} sends Accept({late}), refused everywhere: {by} has Prepare({higher})."
        ));
        shown_rounds.push(json!({ "refused": late.to_string(), "by": higher.to_string() }));
        stage.let_through(refused, &all, Kind::Accept)?;
        highest = stage.wait_ballot(refused, Some(highest))?;
        stage.wait_held(refused, &all, Kind::Accept)?;
        stage.wait_all_promised(highest)?;
    }
    stage.put("rounds", json!(shown_rounds));
    stage.tell(format!("After {rounds} rounds both become patient: who is refused pauses for a random time."));
    let (behind, ahead) = if rounds % 2 == 1 { (p2, p1) } else { (p1, p2) };
    stage.open(behind, &all, &[Kind::Accept, Kind::Learn])?;
    stage.open(ahead, &all, &[Kind::Accept, Kind::Learn])?;
    let answers = [(p1, first.answer(stage)?), (p2, second.answer(stage)?)];
    let winner: Ballot = answers[0].1.ballot.max(answers[1].1.ballot);
    stage.tell(format!("One is left alone for long enough: '{}' is chosen in {winner}.", shown(&answers[0].1.value)));
    Ok((None, answers))
}
