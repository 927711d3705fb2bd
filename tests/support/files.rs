//! The decided files.

use std::fs;
use std::path::Path;

/// The value in a node's decided file, if there is one. The file must be the one line that it should be.
#[track_caller]
pub(crate) fn decided_file(data: &Path, port: u16, instance: &str) -> Option<String> {
    let path = data.join(port.to_string()).join("decided").join(format!("{instance}.txt"));
    let text = fs::read_to_string(&path).ok()?;
    let line = text.strip_suffix('\n').unwrap_or_else(|| panic!("{}: no line end: {text:?}", path.display()));
    assert!(!line.contains('\n'), "{}: more than one line: {text:?}", path.display());
    let (at, value) = line.split_once(" - Set value to: ").unwrap_or_else(|| panic!("{}: {text:?}", path.display()));
    let shape: String = at.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    assert_eq!(shape, "0000-00-00 00:00:00", "{}: {text:?}", path.display());
    Some(value.to_owned())
}
