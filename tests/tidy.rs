//! The absences that `src/lib.rs` claims: what is pure stays pure.

use std::fs;
use std::path::{Path, PathBuf};

/// What nothing under `src/protocol` or `src/service` may name.
const IMPURE: [&str; 13] = [
    "std::net",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "tiny_http",
    "ureq",
    "rand::rng",
    "getrandom",
];

#[test]
fn protocols_name_nothing_of_the_outside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut looked_at = 0;
    for folder in ["protocol", "service"] {
        for file in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            looked_at += 1;
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                for name in IMPURE {
                    assert!(!line.contains(name), "{}:{}: names {name}", file.display(), number + 1);
                }
            }
        }
    }
    assert!(looked_at > 5, "only {looked_at} files were looked at");
}

/// The sources below a folder, without their tests; none if there is no such folder yet.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests")
        {
            files.push(path);
        }
    }
    files
}
