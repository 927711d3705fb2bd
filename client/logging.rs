//! What the program says about itself, on stderr: lines for people on a terminal; where a node's stderr goes anywhere
//! else, JSON lines for programs.

use std::io::{self, IsTerminal, Write as _};
use std::thread;

use env_logger::fmt::Formatter;
use env_logger::{Builder, Env};
use log::Record;

/// Starts the log. Without `-v` RUST_LOG decides, and without that warnings are shown; `for_programs` if it is a node's.
pub(crate) fn start(verbose: u8, for_programs: bool) {
    let mut builder = match verbose {
        0 => Builder::from_env(Env::new().default_filter_or("warn")),
        1 => filtered("warn,synod=info"),
        2 => filtered("warn,synod=debug"),
        // Rustyline logs every key, on the very terminal where they are typed.
        _ => filtered("trace,rustyline=warn"),
    };
    if for_programs && !io::stderr().is_terminal() {
        builder.format(line);
    }
    builder.init();
}

fn filtered(filters: &str) -> Builder {
    let mut builder = Builder::new();
    builder.parse_filters(filters);
    builder
}

/// One record as a line of JSON.
fn line(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let at = out.timestamp_millis().to_string();
    let line = serde_json::json!({
        "at": at,
        "level": record.level().as_str(),
        "target": record.target(),
        "thread": thread::current().name().unwrap_or_default(),
        "message": record.args().to_string(),
    });
    writeln!(out, "{line}")
}

/// What a line of a node's log says, without when, where and how loud.
pub(crate) fn message_of(line: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let message = parsed.as_ref().and_then(|line| line.get("message")?.as_str());
    message.unwrap_or_else(|| line.split_once("] ").map_or(line, |(_, message)| message)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_says() {
        assert_eq!(message_of(r#"{"at":"x","message":"it \"ended\""}"#), "it \"ended\"");
        assert_eq!(message_of("[2026-11-20T10:00:00Z ERROR synod] it ended"), "it ended");
        assert_eq!(message_of("thread 'main' panicked"), "thread 'main' panicked");
    }
}
