//! Known good and known bad histories, in `tests/histories`; the scripts in `tests/scripts/histories` tell what each
//! shows, and what the checker says of it.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --lib history::tests::scripts` writes that anew, to be read as a diff.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use goldenscript::{Command, Context, Runner};

use super::*;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/histories");
const HISTORIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/histories");

#[derive(Debug, Default)]
struct Checking {
    checked: BTreeSet<String>,
}

impl Runner for Checking {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let name = args.next_pos().ok_or("which history?")?.to_owned();
        args.reject_next()?;
        let file = BufReader::new(File::open(format!("{HISTORIES}/{name}.jsonl"))?);
        let report = check(&History::read(file)?, Options::default())?;
        let (folder, _) = name.split_once('/').ok_or("valid or invalid?")?;
        assert_eq!(folder, if report.is_valid() { "valid" } else { "invalid" }, "{name}: {report:?}");
        self.checked.insert(name);
        let witnesses: Vec<String> = report.witnesses().map(ToString::to_string).collect();
        Ok(if witnesses.is_empty() { "valid".to_owned() } else { witnesses.join("\n") })
    }
}

#[test]
fn known_histories_are_told_apart() {
    let mut checking = Checking::default();
    for script in names(SCRIPTS) {
        goldenscript::run(&mut checking, Path::new(SCRIPTS).join(script)).unwrap();
    }
    let in_folder = |folder: &'static str| {
        let names = names(&format!("{HISTORIES}/{folder}")).into_iter();
        names.map(move |name| format!("{folder}/{}", name.trim_end_matches(".jsonl")))
    };
    let all: BTreeSet<String> = in_folder("valid").chain(in_folder("invalid")).collect();
    assert_eq!(checking.checked, all, "every history is checked by a script");
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
