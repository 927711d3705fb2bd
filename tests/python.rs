//! Python's standard library as the client, and as the terminal.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::nodes::Nodes;
use crate::support::process::Ran;
use crate::support::shell::Place;

#[test]
fn the_stock_client_of_python_sees_the_interface_as_it_is_described() {
    let nodes = Nodes::lab(5);
    run("stock_client.py", nodes.ports.all().iter().map(ToString::to_string));
}

#[test]
fn a_connection_of_python_is_kept() {
    let nodes = Nodes::lab(5);
    run("keep_alive.py", nodes.ports.all().iter().map(ToString::to_string));
}

#[test]
fn the_prompt_edits_colours_and_remembers() {
    let state = TempDir::new().unwrap();
    at_the_prompt(state.path());
}

#[test]
fn the_prompt_remembers_for_a_user_who_has_no_state_yet() {
    let home = TempDir::new().unwrap();
    at_the_prompt(&home.path().join(".local/state"));
}

#[track_caller]
fn at_the_prompt(state: &Path) {
    let place = Place::new();
    let port = place.port(0).to_string();
    let program: &OsStr = env!("CARGO_BIN_EXE_synod").as_ref();
    run("prompt.py", [program, port.as_ref(), place.data.path().as_os_str(), state.as_os_str()]);
}

/// Runs a script of `tests/python` with the `python3` of this machine.
#[track_caller]
fn run<S: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = S>) {
    if Command::new("python3").arg("--version").output().is_err() {
        panic!("this test needs python3, any version from 3.9, on the PATH; there is none on this machine");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let mut command = Command::new("python3");
    // Isolated: no site packages, and nothing written beside the script.
    command.args(["-I", "-B"]).arg(path).args(args);
    let ran = Ran::of(&mut command, "");
    assert_eq!(ran.ended_with(0), ["ok"], "{}", ran.stderr);
}
