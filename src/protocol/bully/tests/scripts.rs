//! The scenarios: one script each in `tests/scripts/bully`, which tells what it shows.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --lib bully::tests::scripts` writes the outputs anew, to be read as a diff. Each
//! line begins with the tick (10 ms) in which it happened. Heartbeats and the log's messages are not shown.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::str::FromStr;

use goldenscript::{ArgumentConsumer, Command, Context};

use super::super::{Announcement, Answer, Election, Heartbeat, Message, Options, Rank};
use super::show;
use super::world::{Said, World};
use crate::protocol::quorum::Members;
use crate::protocol::types::NodeId;

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/bully");

/// A world, once the script has made it.
#[derive(Default)]
struct Script(Option<World>);

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Fallible<String> {
        let mut args = command.consume_args();
        if command.name == "cluster" {
            self.0 = Some(cluster(&mut args)?);
        }
        let world = self.0.as_mut().ok_or("a script begins with `cluster`")?;
        run(world, &command.name, &mut args)?;
        args.reject_next()?;
        Ok(std::mem::take(&mut world.text))
    }
}

/// cluster nodes=5 [seed=1] [delay=0] [preempt=true] [heartbeats=true] [up=false] [settled=true]: with the highest id as
/// coordinator since long
fn cluster(args: &mut ArgumentConsumer<'_>) -> Fallible<World> {
    let options = Options { preempt: key(args, "preempt")?.unwrap_or(false), ..Options::default() };
    let mut world = World::new(key(args, "nodes")?.unwrap_or(5), options, key(args, "seed")?.unwrap_or(1));
    world.delay = key(args, "delay")?.unwrap_or(0);
    world.shows_heartbeats = key(args, "heartbeats")?.unwrap_or(false);
    let last = *world.ids().last().ok_or("no nodes")?;
    if key(args, "up")?.unwrap_or(true) {
        world.start_all();
    }
    if key(args, "settled")?.unwrap_or(false) {
        (0..50).for_each(|_| world.tick());
        world.text = format!("{}\n", show::status(last, world.bully(last)));
    }
    Ok(world)
}

fn run(world: &mut World, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible {
    match name {
        "cluster" => {}
        // start ID ...
        "start" => rest(args)?.into_iter().for_each(|id| world.start(id)),
        // tick [N]: time passes
        "tick" => {
            for _ in 0..args.next_pos().map_or(Ok(1), str::parse)? {
                world.tick();
            }
        }
        // crash ID [silently]: the process dies; silently, nobody's connections are closed
        "crash" => {
            let id = pos(args)?;
            let silently = args.next_pos() == Some("silently");
            world.crash(id, silently);
            world.deliver();
        }
        // disconnect AT PEER: at AT it looks as if PEER had died
        "disconnect" => {
            let (at, peer) = (pos(args)?, pos(args)?);
            world.disconnect(at, peer);
            world.deliver();
        }
        // stop | resume ID: the process stands still, and what arrives waits
        "stop" => world.stop(pos(args)?, true),
        "resume" => world.stop(pos(args)?, false),
        // know ID counter=N [epoch=B]: how far its log is
        "know" => {
            let (id, epoch) = (pos(args)?, key(args, "epoch")?);
            world.know(id, epoch, key(args, "counter")?.unwrap_or(0));
        }
        // promised ID B: its log has promised this epoch
        "promised" => world.promise(pos(args)?, pos(args)?),
        "elect" => {
            world.elect(pos(args)?);
            world.deliver();
        }
        // members ID ...: a change of the membership reaches all
        "members" => {
            let members = Members::new(rest(args)?).ok_or("no members")?;
            world.set_members(&members);
            world.deliver();
        }
        // deaf | mute | isolate ID
        "deaf" | "mute" | "isolate" => {
            let id: NodeId = pos(args)?;
            for other in world.ids().into_iter().filter(|&other| other != id) {
                if name != "mute" {
                    world.cut(other, id);
                }
                if name != "deaf" {
                    world.cut(id, other);
                }
            }
        }
        // cut FROM TO: in this direction
        "cut" => world.cut(pos(args)?, pos(args)?),
        // only 8000-8001 8001-8002 ...: these hear each other, and no others
        "only" => {
            let pair = |text: &str| -> Fallible<(NodeId, NodeId)> {
                let (one, other) = text.split_once('-').ok_or("write 8000-8001")?;
                Ok((one.parse()?, other.parse()?))
            };
            let pairs: Vec<_> = std::iter::from_fn(|| args.next_pos()).map(pair).collect::<Fallible<_>>()?;
            world.only(&pairs);
        }
        "heal" => {
            for from in world.ids() {
                world.ids().into_iter().for_each(|to| world.heal(from, to));
            }
            world.lose_nothing();
        }
        // lose FROM TO KIND: messages of one kind, from now on
        "lose" => {
            let (from, to, kind): (_, _, String) = (pos(args)?, pos(args)?, pos(args)?);
            world.lose(from, to, show::KINDS.into_iter().find(|known| *known == kind).ok_or("no such kind")?);
        }
        // forge FROM TO KIND ...: what nobody sent; see `forged`
        "forge" => {
            let (from, to) = (pos(args)?, pos(args)?);
            let message = forged(world, from, to, args)?;
            world.hand_over(from, to, Said::Bully(message));
            world.deliver();
        }
        "status" => {
            for id in world.ids() {
                world.text += &show::status(id, world.bully(id));
                world.text.push('\n');
            }
        }
        _ => return Err(format!("there is no command '{name}'").into()),
    }
    Ok(())
}

/// election counter=N [epoch=B] [of=ID] | answer [ok=ID] [coordinator=B] [late=true] | coordinator B | resign B |
/// heartbeat [coordinator=B] [hears=true] [of=ID]
fn forged(world: &World, from: NodeId, to: NodeId, args: &mut ArgumentConsumer<'_>) -> Fallible<Message> {
    let kind: String = pos(args)?;
    let of = key(args, "of")?.unwrap_or(from);
    let rank = Rank { epoch: key(args, "epoch")?, counter: key(args, "counter")?.unwrap_or(0), id: of };
    Ok(match kind.as_str() {
        "election" => Message::Election(Election { rank, number: 1, forced: false }),
        "answer" => {
            let (running, before) = world.numbers.get(&to).copied().unwrap_or_default();
            let number = if key(args, "late")?.unwrap_or(false) { before } else { running };
            Message::Answer(Answer { number, ok: key(args, "ok")?, coordinator: key(args, "coordinator")? })
        }
        "coordinator" => Message::Coordinator(Announcement { epoch: pos(args)? }),
        "resign" => Message::Resign(Announcement { epoch: pos(args)? }),
        "heartbeat" => Message::Heartbeat(Heartbeat {
            rank,
            coordinator: key(args, "coordinator")?,
            hears_coordinator: key(args, "hears")?.unwrap_or(false),
            eligible: true,
            hears: world.ids().into_iter().collect(),
            asks: false,
        }),
        _ => return Err(format!("there is no message '{kind}'").into()),
    })
}

fn pos<T: FromStr<Err: Error + 'static>>(args: &mut ArgumentConsumer<'_>) -> Fallible<T> {
    Ok(args.next_pos().ok_or("an argument is missing")?.parse()?)
}

fn rest(args: &mut ArgumentConsumer<'_>) -> Fallible<Vec<NodeId>> {
    Ok(std::iter::from_fn(|| args.next_pos()).map(str::parse).collect::<Result<_, _>>()?)
}

fn key<T: FromStr<Err: Error + 'static>>(args: &mut ArgumentConsumer<'_>, name: &str) -> Fallible<Option<T>> {
    Ok(args.take_key(name).map(str::parse).transpose()?)
}

/// Whether a script still gives what it says.
pub(crate) fn holds(name: &str) -> bool {
    let script = std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap();
    goldenscript::generate(&mut Script::default(), &script).is_ok_and(|output| output == script)
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            goldenscript::run(&mut Script::default(), Path::new(FOLDER).join(stringify!($name))).unwrap();
        })*

        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    believable_lie_heals
    bridge
    chain
    chain_of_five
    cluster_of_one
    coordinator_dies
    coordinator_dies_among_three
    coordinator_message_lost
    coordinator_restarts_unnoticed
    deaf_coordinator_resigns
    deaf_node_starts_nothing
    elect_by_hand
    epoch_refused
    false_alarm
    flapping_highest
    heartbeats_at_start
    highest_id_wins_at_start
    implausible_messages
    isolated_coordinator
    last_words_of_a_dead_coordinator
    late_answer_counts_for_nothing
    lost_answers
    machine_of_the_coordinator_dies
    membership_changes
    minority_cut_off
    minority_missing_at_start
    mute_coordinator_resigns
    mute_node_starts_nothing
    no_preemption_by_default
    preemption_when_asked_for
    quorum_lost_and_back
    ring
    ring_of_strangers
    silent_higher_rank
    stale_coordinator
    stall_is_no_death
    star
    vouching
    vouching_ends_with_the_coordinator
    who_dies_is_not_waited_for
    who_knows_more_wins
    winner_dies
    winner_is_cut_off
    winner_waits_for_its_epoch
}

#[test]
fn every_script_is_run() {
    let files: BTreeSet<String> =
        Path::new(FOLDER).read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let names: BTreeSet<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(files, names);
}
