//! The scenarios: one script each in `tests/scripts/eventual` and `tests/scripts/register`, which tells what it shows.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --lib eventual::tests::scripts` writes the outputs anew, to be read as a diff.

use std::error::Error;
use std::path::Path;
use std::str::FromStr;

use goldenscript::{ArgumentConsumer, Command, Context};

use super::world::World;
use crate::protocol::eventual::memory::{Operation, Stamp};
use crate::protocol::eventual::message::{Have, Spread};
use crate::protocol::eventual::{Message, Options};
use crate::protocol::quorum::Members;
use crate::protocol::register::Sizes;
use crate::protocol::types::{NodeId, Value};

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
/// The kinds of messages that can be held.
const KINDS: [&str; 8] = ["Spread", "Have", "Ask", "Tell", "Query", "Held", "Store", "Stored"];

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

/// cluster nodes=3 [page=256] [tombstones=10000] [all=true]
fn cluster(args: &mut ArgumentConsumer<'_>) -> Fallible<World> {
    let mut options = Options::default();
    options.page = key(args, "page")?.unwrap_or(options.page);
    options.tombstones = key(args, "tombstones")?.unwrap_or(options.tombstones);
    let mut world = World::new(key(args, "nodes")?.unwrap_or(3), options);
    world.shows_all = key(args, "all")?.unwrap_or(false);
    Ok(world)
}

fn run(world: &mut World, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible {
    match name {
        "cluster" => {}
        "tick" => {
            let ticks: u64 = next(args)?;
            (0..ticks).for_each(|_| world.tick());
        }
        "start" => world.start(next(args)?),
        "crash" => world.crash(next(args)?),
        "wipe" => world.wipe(next(args)?),
        "heal" => world.heal(),
        // newcomer 8003: a node that is to join
        "newcomer" => world.newcomer(next(args)?),
        // members 8000/8001/8003 [at=8000/8001]: the logs of these, or of all, have those for members
        "members" => {
            let members: List = next(args)?;
            let at: Option<List> = key(args, "at")?;
            let members = Members::new(members.0).ok_or("a cluster has members")?;
            at.map_or_else(|| world.ids(), |at| at.0).into_iter().for_each(|at| world.members(at, &members));
        }
        // release [Store 8000 8001]
        "release" => match args.next_pos().map(str::to_owned) {
            None => world.release(),
            Some(kind) => {
                let (kind, from, to) = (known_kind(&kind)?, next(args)?, next(args)?);
                world.release_some(from, to, kind);
            }
        },
        "drop" => world.drop_held(),
        // cut 8000/8001 8002: every link between the two sides
        "cut" => {
            let (one, other): (List, List) = (next(args)?, next(args)?);
            for &a in &one.0 {
                other.0.iter().for_each(|&b| world.cut(a, b));
            }
        }
        // hold Store 8000 8001/8002: what the first sends to the others
        "hold" => {
            let (kind, from, to): (String, NodeId, List) = (next(args)?, next(args)?, next(args)?);
            let kind = known_kind(&kind)?;
            to.0.into_iter().for_each(|to| world.hold(from, to, kind));
        }
        "post" | "modify" | "delete" | "boards" | "status" | "forge" => return board(world, name, args),
        _ => return register(world, name, args),
    }
    Ok(())
}

fn board(world: &mut World, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible {
    if name == "boards" || name == "status" {
        return if name == "boards" { boards(world) } else { status(world) };
    }
    if name == "forge" {
        // forge 8001 8000 9000000 text: 8001 claims to have posted with this clock
        let (server, to, clock): (NodeId, NodeId, u64) = (next(args)?, next(args)?, next(args)?);
        let stamp = Stamp { clock, server };
        let operation = Operation { id: stamp, stamp, text: Some("forged".into()) };
        let have = Have { clock, ..Have::default() };
        world.say(server, to, Message::Spread(Spread { have, previous: 0, operation }));
        return Ok(());
    }
    let at: NodeId = next(args)?;
    let done = match name {
        "post" => {
            let text: String = next(args)?;
            world.act(at, |board, out| board.post(&text, out))
        }
        "modify" => {
            let (id, text): (Stamp, String) = (next(args)?, next(args)?);
            world.act(at, |board, out| board.modify(id, &text, out))
        }
        _ => {
            let id: Stamp = next(args)?;
            world.act(at, |board, out| board.delete(id, out))
        }
    };
    if let Err(refusal) = done {
        world.tell(&format!("{at} refuses: {refusal}"));
    }
    Ok(())
}

fn boards(world: &mut World) -> Fallible {
    for id in world.ids() {
        if !world.is_up(id) {
            continue;
        }
        let row = |(id, by, text): (Stamp, Stamp, &std::sync::Arc<str>)| {
            if id == by { format!("{id} {text:?}") } else { format!("{id} {text:?} by {by}") }
        };
        let rows: Vec<String> = world.board(id).board().posts(None).map(row).collect();
        let digest = world.board(id).board().digest() >> 48;
        world.tell(&format!("{id} [{digest:04x}] {}", rows.join(", ")));
    }
    Ok(())
}

fn status(world: &mut World) -> Fallible {
    for id in world.ids() {
        if world.is_up(id) {
            let status = world.board(id).status();
            let astray = if status.astray { ", astray" } else { "" };
            world.tell(&format!(
                "{id} clock {}, covers {}, {} posts, {} tombstones, {} pending{astray}",
                status.clock, status.versions, status.posts, status.tombstones, status.pending
            ));
        }
    }
    Ok(())
}

fn register(world: &mut World, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible {
    match name {
        // write 8000 x 5 [deadline=100]
        "write" => {
            let (at, register, value): (NodeId, String, String) = (next(args)?, next(args)?, next(args)?);
            let deadline = key(args, "deadline")?.unwrap_or(100);
            let value = Value::new(&value);
            world.call(at, |copies, request, out| copies.write(request, &register, value, deadline, out));
        }
        "read" => {
            let (at, register): (NodeId, String) = (next(args)?, next(args)?);
            let deadline = key(args, "deadline")?.unwrap_or(100);
            world.call(at, |copies, request, out| copies.read(request, &register, deadline, out));
        }
        // sizes 8000 1 1 [service=true]
        "sizes" => {
            let (at, read, write): (NodeId, usize, usize) = (next(args)?, next(args)?, next(args)?);
            let allow_all = !key(args, "service")?.unwrap_or(false);
            let mut said = String::new();
            world.call(at, |copies, _, _| {
                if let Err(error) = copies.set_sizes(Sizes { read, write }, allow_all) {
                    said = format!("{at} refuses: {error}");
                }
            });
            if !said.is_empty() {
                world.tell(&said);
            }
        }
        _ => return Err(format!("unknown command {name}").into()),
    }
    Ok(())
}

fn known_kind(kind: &str) -> Fallible<&'static str> {
    KINDS.into_iter().find(|known| *known == kind).ok_or_else(|| "no such kind".into())
}

/// Nodes, as in `8000/8001`.
struct List(Vec<NodeId>);

impl FromStr for List {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nodes = text.split('/').map(|node| node.parse().map_err(|error| format!("{error}")));
        nodes.collect::<Result<_, _>>().map(Self)
    }
}

fn next<T: FromStr<Err: std::fmt::Display>>(args: &mut ArgumentConsumer<'_>) -> Fallible<T> {
    let value = args.next_pos().ok_or("an argument is missing")?;
    value.parse().map_err(|error| format!("{value}: {error}").into())
}

/// The argument of a name, if it is there.
fn key<T: FromStr<Err: std::fmt::Display>>(args: &mut ArgumentConsumer<'_>, name: &str) -> Fallible<Option<T>> {
    let Some(value) = args.take_key(name) else { return Ok(None) };
    value.parse().map(Some).map_err(|error| format!("{value}: {error}").into())
}

/// All scripts, with their folders.
pub(crate) const NAMES: &[&str] = &[
    "eventual/away_for_too_long",
    "eventual/both_sides_modify_and_delete",
    "eventual/delete_stamped_lower_between_pages",
    "eventual/far_future_is_clamped",
    "eventual/joined_node_is_told_first",
    "eventual/lost_operation_is_repaired",
    "eventual/old_modification_of_a_deleted_entry",
    "eventual/page_by_page",
    "eventual/posts_reach_all",
    "eventual/refused",
    "eventual/removed_node_comes_back",
    "eventual/removed_node_is_not_waited_for",
    "eventual/tombstone_gone_between_pages",
    "eventual/tombstone_waits_for_all",
    "eventual/wiped_node",
    "eventual/wiped_node_waits_for_who_knows",
    "eventual/told_in_part_by_the_dead",
    "register/crash_between_the_rounds",
    "register/minority",
    "register/read_repair",
    "register/sizes",
    "register/stale_read",
    "register/two_writers",
];

/// Whether a script's output is what is recorded.
pub(crate) fn holds(name: &str) -> bool {
    let text = std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap();
    goldenscript::generate(&mut Script::default(), &text).is_ok_and(|output| output == text)
}

#[test]
fn scripts() {
    for name in NAMES {
        let path = Path::new(FOLDER).join(name);
        goldenscript::run(&mut Script::default(), path).unwrap();
    }
}

#[test]
fn every_script_is_run() {
    for folder in ["eventual", "register"] {
        let files = std::fs::read_dir(Path::new(FOLDER).join(folder)).unwrap();
        for file in files {
            let name = format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap());
            assert!(NAMES.contains(&name.as_str()), "{name} is not in the list");
        }
    }
}
