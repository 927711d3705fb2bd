//! The decided values as text files, one an instance: `data/8000/decided/default.txt` holds the one line
//! `2026-11-20 09:44:00 - Set value to: 5`.
//!
//! The files follow the database and are never read back: at the start they are rebuilt from it. A file is written
//! whole, under another name, synced, renamed, and then the directory is synced; so whoever looks finds either no file
//! or the whole line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::protocol::types::Instance;

/// The directory of a node's decided files.
#[derive(Debug, Clone)]
pub struct DecidedFiles {
    dir: PathBuf,
}

/// One file's content, without the line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The instance, which names the file.
    pub instance: Instance,
    /// The line.
    pub text: String,
}

impl Line {
    /// The line for a value, shown as people write it, that was learned at a local time. Control characters are shown
    /// escaped, so that it stays one line.
    #[must_use]
    pub fn new(instance: Instance, at: &str, shown_value: &str) -> Self {
        let mut text = format!("{at} - Set value to: ");
        for char in shown_value.chars() {
            if char.is_control() {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
        }
        Self { instance, text }
    }
}

impl DecidedFiles {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Writes these files, and syncs the directory once for all of them.
    ///
    /// # Errors
    /// Some file could not be written; those before it may have been.
    pub fn write(&self, lines: &[Line]) -> io::Result<()> {
        for line in lines {
            let name = file_name(&line.instance);
            let temporary = self.dir.join(format!(".{name}.new"));
            let mut file = File::create(&temporary)?;
            file.write_all(format!("{}\n", line.text).as_bytes())?;
            file.sync_data()?;
            fs::rename(&temporary, self.dir.join(name))?;
        }
        if lines.is_empty() { Ok(()) } else { self.sync() }
    }

    /// Makes the files what they should be: those that differ are written, those that should not be are removed.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn rebuild(&self, lines: Vec<Line>) -> io::Result<()> {
        let mut wanted: BTreeMap<String, Line> =
            lines.into_iter().map(|line| (file_name(&line.instance), line)).collect();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_right = wanted.get(&name).is_some_and(|line| {
                fs::read(entry.path()).is_ok_and(|text| text == format!("{}\n", line.text).into_bytes())
            });
            if is_right {
                wanted.remove(&name);
            } else if is_ours(&name) && !wanted.contains_key(&name) {
                fs::remove_file(entry.path())?;
            }
        }
        self.write(&wanted.into_values().collect::<Vec<_>>())
    }

    /// Removes all files.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn clear(&self) -> io::Result<()> {
        self.rebuild(Vec::new())?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// The file of an instance: letters, digits, `-` and `_` stand for themselves, and so does a dot that is not the first;
/// any other byte is `%` and two digits. So no name leaves the directory, and no two instances share a file.
#[must_use]
pub fn file_name(instance: &Instance) -> String {
    let mut name = String::with_capacity(instance.as_str().len() + 4);
    for (at, byte) in instance.as_str().bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            // Writing to a String cannot fail.
            _ => _ = write!(name, "%{byte:02X}"),
        }
    }
    name.push_str(".txt");
    name
}

/// Whether we made a file of this name; what others put here stays.
fn is_ours(name: &str) -> bool {
    name.ends_with(".txt") || (name.starts_with('.') && name.ends_with(".txt.new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(instance: &str, value: &str) -> Line {
        Line::new(instance.parse().unwrap(), "2026-11-20 09:44:00", value)
    }

    #[test]
    fn names_stay_in_the_directory_and_apart() {
        let name = |instance: &str| file_name(&instance.parse().unwrap());
        assert_eq!(name("default"), "default.txt");
        assert_eq!(name("../../etc/passwd"), "%2E./..%2Fetc%2Fpasswd.txt".replace("./", ".%2F"));
        assert_eq!(name(".hidden"), "%2Ehidden.txt");
        assert_eq!(name("a.b"), "a.b.txt");
        assert_eq!(name("é/%"), "%C3%A9%2F%25.txt");
        assert!(name(&"é".repeat(40)).len() + ".".len() + ".new".len() <= 255);
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(line("x", "5").text, "2026-11-20 09:44:00 - Set value to: 5");
        assert_eq!(line("x", "a\nb\u{7f}é").text, "2026-11-20 09:44:00 - Set value to: a\\nb\\u{7f}é");
    }

    #[test]
    fn files_follow() {
        let dir = tempfile::TempDir::new().unwrap();
        let files = DecidedFiles::open(&dir.path().join("decided")).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join("decided").join(name)).ok();
        files.write(&[line("a", "1"), line("b", "2")]).unwrap();
        assert_eq!(read("a.txt").unwrap(), "2026-11-20 09:44:00 - Set value to: 1\n");
        fs::write(dir.path().join("decided/notes"), "mine").unwrap();
        fs::write(dir.path().join("decided/.c.txt.new"), "torn").unwrap();
        files.rebuild(vec![line("b", "3"), line("c", "4")]).unwrap();
        assert_eq!(read("a.txt"), None);
        assert_eq!(read("b.txt").unwrap(), "2026-11-20 09:44:00 - Set value to: 3\n");
        assert_eq!(read("c.txt").unwrap(), "2026-11-20 09:44:00 - Set value to: 4\n");
        assert_eq!(read(".c.txt.new"), None);
        files.clear().unwrap();
        assert_eq!(read("b.txt"), None);
        assert_eq!(read("notes").unwrap(), "mine");
    }
}
