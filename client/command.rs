//! The language of the shell: one line in, one [`Command`] or one [`UsageError`] out.
//!
//! Nothing here reads, prints or waits, so the prompt, `-c`, `-f` and a pipe all speak exactly the same language. Words
//! of the language are taken in any case; values are kept as typed. Every line has an answer and none panics, whatever
//! it holds. [`Command`]'s `Display` is the canonical spelling and parses back to the same command.

pub(crate) mod faults;
pub(crate) mod help;
pub(crate) mod overlay;
pub(crate) mod seeing;
pub(crate) mod services;
#[cfg(test)]
mod tests;
pub(crate) mod usage;
pub(crate) mod words;

use std::fmt;
use std::time::Duration;

use faults::Fault;
use help::{Help, Verb};
use seeing::See;
use services::Service;
pub(crate) use usage::UsageError;
use usage::shown;
use words::{Shape, Word, Words};

/// The port of a node, which is also its id: 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port(u32);

impl Port {
    /// The port `number`, if there is one.
    pub(crate) fn new(number: u32) -> Option<Self> {
        (1..=u32::from(u16::MAX)).contains(&number).then_some(Self(number))
    }

    /// The plain number, as node ids are written on the wire.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value as the shell understands it. Its `Display` is how it is typed, not what it says: text gets quotes if it needs
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    /// A bare word that is exactly how an `i64` is printed: `5`, `-3`, `0`.
    Int(i64),
    /// Everything else, also `007`, `+5`, `-0` and whatever stands in quotes.
    Text(String),
}

impl Literal {
    /// What the bare words `text` mean. Only the canonical decimal is a number, so that printing a value gives back what
    /// was typed.
    fn bare(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Self::Int(number),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) if is_safe_bare(text) => f.write_str(text),
            Self::Text(text) => f.write_str(&words::quote(text)),
        }
    }
}

/// Whether `text`, typed without quotes, is one word that means this text.
fn is_safe_bare(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['"', '\''])
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && matches!(Literal::bare(text), Literal::Text(_))
}

/// One of the textbook races of two proposers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Race {
    /// The previous value is already chosen.
    AWins,
    /// The previous value is not chosen, but the new proposer sees it.
    BWins,
    /// The previous value is not chosen and the new proposer does not see it.
    BbWins,
    /// Two proposers pre-empt each other round after round.
    Livelock,
}

impl Race {
    /// Every race, in the order of the lecture.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Self::AWins, Self::BWins, Self::BbWins, Self::Livelock];

    /// The command that runs it, in its canonical spelling.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AWins => "A_wins",
            Self::BWins => "B_wins",
            Self::BbWins => "BB_wins",
            Self::Livelock => "livelock",
        }
    }
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most rounds that `livelock` may be asked for.
pub(crate) const MAX_ROUNDS: u32 = 50;

/// The longest `sleep`: a day.
pub(crate) const MAX_SLEEP: Duration = Duration::from_secs(86_400);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Have one node propose a value.
    Set {
        /// What to propose.
        value: Literal,
        /// The node that proposes it.
        on: Port,
    },
    /// Run two proposers against each other on a fixed schedule.
    Race {
        /// Which schedule.
        race: Race,
        /// The proposer that starts.
        first: Port,
        /// The proposer that comes second; never the same node.
        second: Port,
        /// What the first one proposes.
        first_value: Literal,
        /// What the second one proposes.
        second_value: Literal,
        /// How many rounds they pre-empt each other, 1 to [`MAX_ROUNDS`]; only `livelock` takes it.
        rounds: Option<u32>,
        /// Whether to draw it when it has ended.
        diagram: bool,
    },
    /// Put all nodes back to their initial state.
    Restart,
    /// Show what each node knows.
    Status,
    /// Kill a node without warning.
    Crash(Port),
    /// Start a node that was killed.
    Start(Port),
    /// Break something, or mend it.
    Fault(Fault),
    /// Show what happened.
    See(See),
    /// Use a service on the replicated log.
    Service(Service),
    /// Wait.
    Sleep(Duration),
    /// Explain everything, or one command, given by its canonical name.
    Help(Option<String>),
    /// List the commands given so far.
    History,
    /// Leave.
    Exit,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { value, on } => write!(f, "set value {value} on {on}"),
            Self::Race { race, first, second, first_value, second_value, rounds, diagram } => {
                write!(f, "{race} {first} {second} {first_value} {second_value}")?;
                rounds.map_or(Ok(()), |rounds| write!(f, " {rounds}"))?;
                f.write_str(if *diagram { " --diagram" } else { "" })
            }
            Self::Restart => f.write_str("restart"),
            Self::Status => f.write_str("status"),
            Self::Crash(port) => write!(f, "crash {port}"),
            Self::Start(port) => write!(f, "start {port}"),
            Self::Fault(fault) => fault.fmt(f),
            Self::See(see) => see.fmt(f),
            Self::Service(service) => service.fmt(f),
            Self::Sleep(duration) => write!(f, "sleep {}", decimal_seconds(*duration)),
            Self::Help(None) => f.write_str("help"),
            Self::Help(Some(topic)) => write!(f, "help {topic}"),
            Self::History => f.write_str("history"),
            Self::Exit => f.write_str("exit"),
        }
    }
}

/// Reads one line. `None` is a line that asks for nothing: blank, or a comment that starts with `#`.
pub(crate) fn parse(line: &str) -> Result<Option<Command>, UsageError> {
    let mut words = Words::new(line);
    let Some(first) = words.next() else {
        return Ok(None);
    };
    if first.raw.starts_with('#') {
        return Ok(None);
    }
    let Some(help) = help::find(first.raw) else {
        return Err(UsageError::unknown_command(first.raw));
    };
    Arguments { words, help }.parse().map(Some)
}

/// What stands behind the name of a command.
struct Arguments<'a> {
    words: Words<'a>,
    help: &'static Help,
}

impl<'a> Arguments<'a> {
    fn parse(mut self) -> Result<Command, UsageError> {
        match self.help.verb {
            Verb::Set => return self.set(),
            Verb::Race(race) => return self.race(race),
            Verb::Help => return self.topic(),
            Verb::Fault(verb) => return self.fault(verb).map(Command::Fault),
            Verb::See(verb) => return self.see(verb).map(Command::See),
            Verb::Service(verb) => return self.service(verb).map(Command::Service),
            _ => {}
        }
        let command = match self.help.verb {
            Verb::Crash => Command::Crash(self.port("port")?),
            Verb::Start => Command::Start(self.port("port")?),
            Verb::Sleep => Command::Sleep(self.seconds()?),
            Verb::Restart => Command::Restart,
            Verb::Status => Command::Status,
            Verb::History => Command::History,
            Verb::Exit => Command::Exit,
            Verb::Set | Verb::Race(_) | Verb::Help | Verb::Fault(_) | Verb::See(_) | Verb::Service(_) => {
                unreachable!("returned above")
            }
        };
        self.end()?;
        Ok(command)
    }

    /// `value <v> on <port>`, where only quotes keep `<v>` from being everything up to the last `on`.
    fn set(mut self) -> Result<Command, UsageError> {
        match self.words.next() {
            Some(word) if word.is("value") => {}
            Some(word) if word.is("diagram") => return self.draw_races().map(Command::See),
            _ => return Err(self.error("after 'set' comes the word 'value', or 'diagram'")),
        }
        if self.words.at_quote() {
            let value = self.value("value")?;
            if !self.words.next().is_some_and(|word| word.is("on")) {
                return Err(
                    self.error("after the closing quote comes 'on <port>'; put the quotes around the whole value")
                );
            }
            let on = self.port("port")?;
            self.end()?;
            return Ok(Command::Set { value, on });
        }
        let (value, port) = self.split_at_on()?;
        let value = match value {
            "" => return Err(self.error("the value is missing; the empty text is typed \"\"")),
            value => Literal::bare(value),
        };
        Ok(Command::Set { value, on: self.to_port(port, "port")? })
    }

    /// Splits the rest of the line at its last `on <port>`, with the value as typed in front.
    fn split_at_on(&self) -> Result<(&'a str, &'a str), UsageError> {
        let rest = self.words.rest().trim();
        let (before, port) = split_last_word(rest);
        let (value, on) = split_last_word(before);
        if on.eq_ignore_ascii_case("on") {
            return Ok((value, port));
        }
        if port.eq_ignore_ascii_case("on") {
            return Err(self.error("the port behind 'on' is missing"));
        }
        Err(self.error("the line must end with 'on <port>', the node that shall propose the value"))
    }

    fn race(mut self, race: Race) -> Result<Command, UsageError> {
        let first = self.port("first port")?;
        let second = self.port("second port")?;
        if first == second {
            return Err(self.error(&format!("a race needs two different nodes, but both ports are {first}")));
        }
        let first_value = self.value("first value")?;
        let second_value = self.value("second value")?;
        let rounds = if race == Race::Livelock { self.rounds()? } else { None };
        let diagram = self.words.clone().next().is_some_and(|word| word.is("--diagram"));
        if diagram {
            self.words.next();
        }
        self.end()?;
        Ok(Command::Race { race, first, second, first_value, second_value, rounds, diagram })
    }

    fn rounds(&mut self) -> Result<Option<u32>, UsageError> {
        let Some(word) = self.words.clone().next().filter(|word| !word.is("--diagram")) else {
            return Ok(None);
        };
        self.words.next();
        match whole_number(word.raw) {
            Some(rounds @ 1..=MAX_ROUNDS) => Ok(Some(rounds)),
            _ => Err(self.error(&format!(
                "the number of rounds must be from 1 to {MAX_ROUNDS}, not '{}'; a value with spaces needs quotes",
                shown(word.raw)
            ))),
        }
    }

    /// The topic of `help`, which may be the whole beginning of a command, as in `help set value`.
    fn topic(mut self) -> Result<Command, UsageError> {
        let Some(word) = self.words.next() else {
            return Ok(Command::Help(None));
        };
        let Some(topic) = help::find(word.raw) else {
            return Err(UsageError::unknown_command(word.raw));
        };
        if topic.verb == Verb::Set && self.words.rest().trim().eq_ignore_ascii_case("value") {
            self.words.next();
        }
        self.end()?;
        Ok(Command::Help(Some(topic.name.to_owned())))
    }

    fn seconds(&mut self) -> Result<Duration, UsageError> {
        let word = self.word("number of seconds")?;
        match to_duration(word.raw) {
            Some(duration) if duration <= MAX_SLEEP => Ok(duration),
            _ => Err(self.error(&format!(
                "the seconds must be a number from 0 to {} such as 2 or 0.5, not '{}'",
                MAX_SLEEP.as_secs(),
                shown(word.raw)
            ))),
        }
    }

    /// A value of one word or one quoted text.
    fn value(&mut self, what: &str) -> Result<Literal, UsageError> {
        let word = self.word(what)?;
        match word.shape {
            Shape::Bare => Ok(Literal::bare(word.raw)),
            Shape::Quoted => words::unquote(word.raw).map(|text| Literal::Text(text.into_owned())).map_err(|escape| {
                self.error(&format!(
                    "there is no escape '\\{}'; there are \\\" \\\\ \\n \\t \\r, and '...' takes text as it is",
                    shown(escape.encode_utf8(&mut [0; 4]))
                ))
            }),
            Shape::Open => Err(self.error(&format!(
                "the quote at {} is never closed; a text that starts with a quote needs quotes around it",
                shown(word.raw)
            ))),
            Shape::Glued => Err(self.error(&format!(
                "something follows the closing quote in {}; put the quotes around the whole value",
                shown(word.raw)
            ))),
        }
    }

    fn port(&mut self, what: &str) -> Result<Port, UsageError> {
        let word = self.word(what)?;
        self.to_port(word.raw, what)
    }

    fn to_port(&self, text: &str, what: &str) -> Result<Port, UsageError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.error(&format!("the {what} must be a number such as 8000, not '{}'", shown(text))));
        }
        // Only digits: what does not fit into the number is too large for a port as well.
        whole_number(text)
            .and_then(Port::new)
            .ok_or_else(|| self.error(&format!("the {what} must be from 1 to 65535, not {}", shown(text))))
    }

    fn word(&mut self, what: &str) -> Result<Word<'a>, UsageError> {
        self.words.next().ok_or_else(|| self.error(&format!("the {what} is missing")))
    }

    fn end(&mut self) -> Result<(), UsageError> {
        let Some(word) = self.words.next() else {
            return Ok(());
        };
        let extra = shown(word.raw);
        let name = self.help.name;
        Err(match self.help.verb {
            Verb::Race(_) => {
                self.error(&format!("'{extra}' is one word too many for '{name}'; a value with spaces needs quotes"))
            }
            Verb::Set => self.error(&format!("'{extra}' is one word too many behind the port")),
            _ => self.error(&format!("'{extra}' is one word too many for '{name}'")),
        })
    }

    fn error(&self, message: &str) -> UsageError {
        UsageError::about(self.help, message)
    }
}

/// The last word of `text`, behind what stands before it; both without the white space between and around them.
fn split_last_word(text: &str) -> (&str, &str) {
    let text = text.trim_end();
    match text.char_indices().rev().find(|(_, c)| c.is_whitespace()) {
        Some((at, space)) => (text[..at].trim_end(), &text[at + space.len_utf8()..]),
        None => ("", text),
    }
}

/// A number of digits only; `parse` alone would take `+5`.
fn whole_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Decimal seconds to the nanosecond, without the rounding of a float, so that printing gives back what was meant.
fn to_duration(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let seconds = if whole.is_empty() { 0 } else { whole_number(whole)? };
    let nanos = whole_number(&format!("{fraction:0<9}"))?;
    Some(Duration::new(seconds.into(), nanos))
}

/// The inverse of [`to_duration`].
fn decimal_seconds(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => duration.as_secs().to_string(),
        nanos => format!("{}.{nanos:09}", duration.as_secs()).trim_end_matches('0').to_owned(),
    }
}
