//! Golden scripts for the overlays: a few nodes, what is asked of them, and what they say to each other.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --lib overlay` writes the outputs anew, to be read as a diff.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use goldenscript::{ArgumentConsumer, Command, Context};

use super::net::{Member, Net, Outcome, id};
use crate::protocol::Out;
use crate::protocol::overlay::{Call, Key, Message, Options};
use crate::protocol::types::{NodeId, RequestId, Value};

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

/// What scripts can do with one kind of overlay beyond keys.
pub(crate) trait Scripted: Member {
    /// A message as one reads it; `None` for what goes on all the time.
    fn shown(message: &Message) -> Option<String>;
    /// What a node holds, in a line.
    fn holds(&self) -> String;
    /// What there is to see beside.
    fn show(&self) -> String;
    /// Leaves, or joins again.
    fn moves(&mut self, name: &str, request: RequestId, deadline_ticks: u64, out: &mut Out) -> bool;
}

/// A script's network.
pub(crate) struct Script<P>(Option<Net<P>>);

impl<P> Default for Script<P> {
    fn default() -> Self {
        Self(None)
    }
}

fn show<P: Scripted>(from: NodeId, to: NodeId, message: &Message) -> Option<String> {
    P::shown(message).map(|text| format!("{from} → {to} {text}"))
}

impl<P: Scripted> goldenscript::Runner for Script<P> {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Fallible<String> {
        let mut args = command.consume_args();
        if command.name == "nodes" {
            self.0 = Some(nodes(&mut args)?);
        }
        let net = self.0.as_mut().ok_or("a script begins with `nodes`")?;
        let mut text = run(net, &command.name, &mut args)?;
        args.reject_next()?;
        let shown = std::mem::take(&mut net.shown);
        shown.iter().rev().for_each(|line| text.insert_str(0, &format!("{line}\n")));
        Ok(text)
    }
}

/// nodes 5 [seed=1] [run=600] [neighbours=3] [ttl=7]: which all know each other
fn nodes<P: Scripted>(args: &mut ArgumentConsumer<'_>) -> Fallible<Net<P>> {
    let count: u32 = args.next_pos().ok_or("how many?")?.parse()?;
    let mut options = Options::default();
    options.flood.neighbours = option(args, "neighbours")?.unwrap_or(options.flood.neighbours);
    options.flood.time_to_live = option(args, "ttl")?.unwrap_or(options.flood.time_to_live);
    let mut net = Net::new(options, option(args, "seed")?.unwrap_or(1));
    net.durable = true;
    let chain: bool = option(args, "chain")?.unwrap_or(false);
    for node in 1..=count {
        let others = (1..=count).filter(|&other| other != node && (!chain || u32::abs_diff(other, node) == 1));
        net.add(others.map(id).collect());
    }
    net.run(option(args, "run")?.unwrap_or(600));
    Ok(net)
}

fn run<P: Scripted>(net: &mut Net<P>, name: &str, args: &mut ArgumentConsumer<'_>) -> Fallible<String> {
    let mut text = String::new();
    match name {
        "nodes" => {}
        "run" => net.run(word(args)?.parse()?),
        "trace" => net.watch = if word(args)? == "on" { Some(show::<P>) } else { None },
        "set" | "get" | "remove" => {
            let (on, key) = (node(args)?, key(args)?);
            let call = match name {
                "set" => Call::Set { key, value: Value::new(&word(args)?) },
                "get" => Call::Get { key },
                _ => Call::Remove { key },
            };
            let deadline = option(args, "deadline")?.unwrap_or(500);
            let outcome = net.ask(on, call, deadline);
            writeln!(text, "{}", told(&outcome))?;
        }
        "leave" | "join" => {
            let (on, request) = (node(args)?, net.name());
            let mut knows = false;
            net.step(on, |node, out| knows = node.moves(name, request, 3000, out));
            if !knows {
                return Err(format!("this overlay knows no '{name}'").into());
            }
            let outcome = (0..3000).find_map(|_| {
                net.tick();
                net.take(request)
            });
            writeln!(text, "{}", outcome.map_or_else(|| "no answer".to_owned(), |outcome| told(&outcome)))?;
        }
        "crash" => net.crash(node(args)?),
        "start" => net.start(node(args)?),
        // cut 1,2 3,4,5: both ways
        "cut" => {
            let (one, other) = (word(args)?, word(args)?);
            for one in one.split(',') {
                for other in other.split(',') {
                    let (one, other) = (id(one.parse()?), id(other.parse()?));
                    net.cut(one, other);
                    net.cut(other, one);
                }
            }
        }
        // lose 1 2: one way
        "lose" => {
            let (from, to) = (node(args)?, node(args)?);
            net.cut(from, to);
        }
        "heal" => net.heal(),
        "holds" => {
            for (id, node) in net.running() {
                writeln!(text, "{id}: {}", node.holds())?;
            }
        }
        "show" => {
            let node = net.node(node(args)?).ok_or("it is down")?;
            writeln!(text, "{}", node.show())?;
        }
        name => return Err(format!("there is no command '{name}'").into()),
    }
    Ok(text)
}

fn word(args: &mut ArgumentConsumer<'_>) -> Fallible<String> {
    Ok(args.next_pos().ok_or("a word is missing")?.to_owned())
}

/// `name=value`, if it is there.
fn option<T: FromStr>(args: &mut ArgumentConsumer<'_>, name: &str) -> Fallible<Option<T>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(name).map(str::parse).transpose()?)
}

fn node(args: &mut ArgumentConsumer<'_>) -> Fallible<NodeId> {
    Ok(id(word(args)?.parse()?))
}

fn key(args: &mut ArgumentConsumer<'_>) -> Fallible<Key> {
    Key::new(&word(args)?).ok_or_else(|| "the key is too long".into())
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Ok(answer) => {
            let value = answer.value.as_ref().map_or_else(|| "-".to_owned(), |value| format!("'{value}'"));
            let hops: Vec<String> = answer.hops.iter().map(NodeId::to_string).collect();
            let copies = answer.copies;
            format!("{value}, copies {copies}, by {}", hops.join(" → "))
        }
        Err(failure) => failure.to_string(),
    }
}

/// Whether a script in a folder of `tests/scripts` still gives what stands in its file, quietly.
pub(crate) fn holds<P: Scripted>(folder: &str, name: &str) -> bool {
    let script = std::fs::read_to_string(path(folder).join(name)).unwrap();
    goldenscript::generate(&mut Script::<P>::default(), &script).is_ok_and(|output| output == script)
}

/// Runs a script, and says what differs.
pub(crate) fn check<P: Scripted>(folder: &str, name: &str) {
    goldenscript::run(&mut Script::<P>::default(), path(folder).join(name)).unwrap();
}

/// The scripts of a folder.
pub(crate) fn files(folder: &str) -> std::collections::BTreeSet<String> {
    path(folder).read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn path(folder: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts")).join(folder)
}

/// One test for each script, and the list of all.
macro_rules! scripts {
    ($kind:ty, $folder:literal: $($name:ident)*) => {
        $(#[test]
        fn $name() {
            crate::sim::overlay::script::check::<$kind>($folder, stringify!($name));
        })*

        /// All there are.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Whether a script still gives what stands in its file.
        pub(crate) fn holds(name: &str) -> bool {
            crate::sim::overlay::script::holds::<$kind>($folder, name)
        }

        #[test]
        fn every_script_is_run() {
            let names: std::collections::BTreeSet<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(crate::sim::overlay::script::files($folder), names);
        }
    };
}
pub(crate) use scripts;

/// Keys with their values, in a line.
pub(crate) fn listed(items: &crate::protocol::overlay::items::Items) -> String {
    let mut items: Vec<String> = items
        .iter()
        .map(|(key, version)| {
            let value = version.value.as_ref().map_or_else(|| "removed".to_owned(), |value| format!("'{value}'"));
            format!("{key} = {value} ({}.{})", version.stamp.counter, version.stamp.node)
        })
        .collect();
    items.sort();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}
