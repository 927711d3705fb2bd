//! `synod check`: says whether a recorded history is linearizable.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use synod::history::{self, History, Options, ReadError, Report};

use crate::args::CheckArgs;

/// What came of it; the number is the exit code, which has a meaning of its own here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Valid = 0,
    Invalid = 1,
    /// Undecided, or there was nothing to check; what is printed tells them apart.
    Unsaid = 2,
}

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let checked = read(&args.file).map_err(|error| error.to_string()).and_then(|history| {
        let options = Options { budget: args.budget, ..Options::default() };
        let report = history::check(&history, options).map_err(|error| error.to_string())?;
        Ok((history, report))
    });
    let outcome = match checked {
        Ok((history, report)) => {
            let (text, outcome) = tell(&history, &report, args.budget);
            // Whoever started this may not read what it says.
            _ = io::stdout().lock().write_all(text.as_bytes());
            outcome
        }
        Err(error) => {
            _ = writeln!(io::stderr().lock(), "error: not checked: {}: {error}", args.file.display());
            Outcome::Unsaid
        }
    };
    ExitCode::from(outcome as u8)
}

fn read(path: &Path) -> Result<History, ReadError> {
    let lines: Box<dyn BufRead> = match path {
        path if path == Path::new("-") => Box::new(io::stdin().lock()),
        path => Box::new(BufReader::new(File::open(path).map_err(|error| ReadError::Io { line: 1, error })?)),
    };
    History::read(lines)
}

/// The witnesses first, then one line that says how it ended.
fn tell(history: &History, report: &Report, budget: u64) -> (String, Outcome) {
    let mut text = String::new();
    for witness in report.witnesses() {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{witness}\n");
    }
    for object in report.undecided() {
        _ = writeln!(text, "{object}: undecided after {budget} steps; a larger --budget may help");
    }
    let invalid = report.witnesses().count();
    let undecided = report.undecided().count();
    let outcome = match (invalid, undecided) {
        (0, 0) => Outcome::Valid,
        (0, _) => Outcome::Unsaid,
        _ => Outcome::Invalid,
    };
    _ = match outcome {
        Outcome::Valid => write!(text, "valid: some order explains each object"),
        Outcome::Invalid => write!(text, "invalid: {invalid} of {} objects", report.trials.len()),
        Outcome::Unsaid => write!(text, "undecided: {undecided} of {} objects", report.trials.len()),
    };
    let (count, open, failed) = (history.count(), history.open(), history.failed());
    _ = writeln!(
        text,
        " ({} objects, {count} operations, {open} of them with an unknown outcome; {failed} others failed)",
        report.trials.len()
    );
    (text, outcome)
}
