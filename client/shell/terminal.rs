//! The prompt: rustyline around the pure functions of [`assist`].

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use anstyle::{AnsiColor, Effects, Style};
use rustyline::completion::Completer;
use rustyline::config::{ColorMode, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, ExternalPrinter as _, Helper};

use super::{MAX_HISTORY, Session, Status, Step, assist, has_colours};
use crate::command::Port;

const PROMPT: &str = "synod> ";
const PROMPT_STYLE: Style = AnsiColor::Green.on_default().effects(Effects::BOLD);
const HINT_STYLE: Style = Style::new().effects(Effects::DIMMED);

/// Asks for lines and runs them until `exit` or Ctrl-D.
pub(super) fn run(mut session: Session<'_>, history: Option<&Path>) -> Status {
    let mut editor = match editor(has_colours()) {
        Ok(editor) => editor,
        Err(error) => {
            log::error!("cannot open the terminal: {error}");
            return Status::Unavailable;
        }
    };
    match editor.create_external_printer() {
        Ok(mut printer) => session.executor.set_printer(Box::new(move |line| {
            if let Err(error) = printer.print(format!("{line}\n")) {
                log::debug!("cannot print above the prompt: {error}");
            }
        })),
        Err(error) => log::debug!("nothing can be printed above the prompt: {error}"),
    }
    load(&mut editor, history);
    session.past = editor.history().iter().cloned().collect();
    let styled = format!("{PROMPT_STYLE}{PROMPT}{PROMPT_STYLE:#}");
    loop {
        if let Some(assistant) = editor.helper_mut() {
            assistant.ports = session.executor.ports();
        }
        let input = match editor.readline(&(PROMPT, &styled)) {
            Ok(input) => input,
            // Ctrl-C throws the line away. A signal is a window that changed its size.
            Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => continue,
            Err(ReadlineError::Eof) => return Status::Done,
            Err(error) if is_broken_pipe(&error) => return Status::Done,
            Err(error) => {
                log::error!("cannot read from the terminal: {error}");
                return Status::Unavailable;
            }
        };
        // What was pasted may be several lines, and each is a command.
        for line in input.lines() {
            remember(&mut editor, history, line);
            // A Ctrl-C from before this command was not meant for it.
            session.interrupted.store(false, Ordering::Relaxed);
            if session.line(line, None) == Step::Leave {
                return Status::Done;
            }
            if session.is_interrupted() {
                break;
            }
        }
    }
}

/// Whether the prompt could not be written because nobody reads stdout any more.
fn is_broken_pipe(error: &ReadlineError) -> bool {
    let kind = match error {
        ReadlineError::Io(error) => error.kind(),
        ReadlineError::Errno(errno) => io::Error::from(*errno).kind(),
        _ => return false,
    };
    kind == io::ErrorKind::BrokenPipe
}

type LineEditor = Editor<Assistant, DefaultHistory>;

fn editor(colours: bool) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(MAX_HISTORY)?
        .history_ignore_dups(true)?
        .completion_type(CompletionType::List)
        // Rustyline has its own reading of NO_COLOR; forcing makes ours the only one.
        .color_mode(if colours { ColorMode::Forced } else { ColorMode::Disabled })
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Assistant { ports: Vec::new(), colours }));
    Ok(editor)
}

/// A history that cannot be kept is no reason to bother anybody.
fn load(editor: &mut LineEditor, history: Option<&Path>) {
    if let Some(path) = history
        && let Err(error) = editor.load_history(path)
    {
        log::debug!("no history from {}: {error}", path.display());
    }
}

/// Keeps a line in the history, at once on disk, so that it survives however the shell ends.
fn remember(editor: &mut LineEditor, history: Option<&Path>, line: &str) {
    if line.trim().is_empty() {
        return;
    }
    match editor.add_history_entry(line) {
        Ok(true) => {}
        Ok(false) => return, // the same line again
        Err(error) => return log::debug!("the history does not take a line: {error}"),
    }
    if let Some(path) = history
        && let Err(error) = editor.append_history(path)
    {
        log::debug!("cannot keep the history in {}: {error}", path.display());
    }
}

/// What rustyline asks while a line is being typed.
struct Assistant {
    ports: Vec<Port>,
    colours: bool,
}

impl Helper for Assistant {}

impl Validator for Assistant {}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(assist::complete(line, pos, &self.ports))
    }
}

impl Hinter for Assistant {
    type Hint = UsageHint;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<UsageHint> {
        // Without colours a hint would look like something typed.
        if self.colours { assist::hint(line, pos).map(UsageHint) } else { None }
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("{HINT_STYLE}{hint}{HINT_STYLE:#}"))
    }
}

/// A hint to read, not to take over: it holds placeholders such as `<port>`.
struct UsageHint(String);

impl Hint for UsageHint {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}
