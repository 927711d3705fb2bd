//! What the shell says: lines for people, or one JSON object a command for programs.

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};
use serde_json::{Map, Value as Json, json};

use crate::args::Output;
use crate::shell::{Status, has_colours};

const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const FAINT: Style = Style::new().dimmed();

/// Writes results to stdout and, as text, errors to stderr.
pub(crate) struct Console {
    output: Output,
    colours: bool,
    /// The members of the object that this command is going to be, in the order in which they were given.
    object: Map<String, Json>,
    /// What was said while the object was gathered.
    said: Vec<String>,
    /// The line that was said last.
    last: String,
    /// Whether nobody reads stdout any more.
    reader_gone: bool,
}

impl Console {
    pub(crate) fn new(output: Output) -> Self {
        let colours = output == Output::Text && has_colours();
        Self { output, colours, object: Map::new(), said: Vec::new(), last: String::new(), reader_gone: false }
    }

    pub(crate) const fn is_reader_gone(&self) -> bool {
        self.reader_gone
    }

    /// Whether programs read it, which want one object a command and nothing else.
    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.output, Output::Json)
    }

    /// A line of the result.
    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.line(line.into(), Style::new());
    }

    /// A line that says that all is well.
    pub(crate) fn say_good(&mut self, line: impl Into<String>) {
        self.line(line.into(), GOOD);
    }

    /// A line that says that something is not as the user wanted it.
    pub(crate) fn say_bad(&mut self, line: impl Into<String>) {
        self.line(line.into(), BAD);
    }

    /// A line that tells what is going on.
    pub(crate) fn tell(&mut self, line: impl Into<String>) {
        self.line(line.into(), FAINT);
    }

    /// A member of the JSON object.
    pub(crate) fn put(&mut self, name: &str, value: Json) {
        self.object.insert(name.to_owned(), value);
    }

    /// Ends a command: as JSON, its object is written now.
    pub(crate) fn end(&mut self, command: &str, status: Status) -> Status {
        self.last.clear();
        let (object, said) = (std::mem::take(&mut self.object), std::mem::take(&mut self.said));
        if self.output == Output::Json {
            let mut all = Map::new();
            all.insert("command".to_owned(), json!(command));
            all.insert("status".to_owned(), json!(name_of(status)));
            all.insert("exit_code".to_owned(), json!(status.code()));
            all.extend(object);
            all.insert("lines".to_owned(), json!(said));
            self.write(&format!("{}\n", Json::Object(all)));
        }
        status
    }

    /// Something went wrong.
    pub(crate) fn error(&mut self, text: &str) {
        match self.output {
            Output::Json => self.put("error", json!(text)),
            Output::Text => {
                // Nowhere is left to complain if stderr is closed.
                _ = writeln!(io::stderr().lock(), "error: {text}");
            }
        }
    }

    /// Whether this line was the last one, and need not be said again.
    pub(crate) fn has_said(&self, line: &str) -> bool {
        self.last == line
    }

    fn line(&mut self, line: String, style: Style) {
        self.last.clone_from(&line);
        match self.output {
            Output::Json => self.said.push(line),
            Output::Text if self.colours => self.write(&format!("{style}{line}{style:#}\n")),
            Output::Text => self.write(&format!("{line}\n")),
        }
    }

    /// Writes to a terminal as it stands.
    pub(crate) fn raw(&mut self, text: &str) {
        self.write(text);
    }

    fn write(&mut self, text: &str) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            self.reader_gone |= error.kind() == io::ErrorKind::BrokenPipe;
        }
    }
}

const fn name_of(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::Refused => "refused",
        Status::Usage => "usage",
        Status::Unavailable => "unavailable",
        Status::Unknown => "unknown",
        Status::Program(_) => "program",
    }
}
