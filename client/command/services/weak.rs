//! The commands about what is kept without a leader: the eventual board, quorum registers, logical clocks; and the lesson
//! about locks.

use std::fmt;

use super::{text_of, word_of};
use crate::command::usage::UsageError;
use crate::command::{Arguments, Literal, Port};

/// How many clients `mutex demo` has if nobody says how many, and at most.
pub(crate) const MUTEX_CLIENTS: u64 = 4;
const MAX_MUTEX_CLIENTS: u64 = 16;

/// One thing to do. `on` is the node that is asked; the first that answers, if it is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weak {
    /// Post to the eventual board.
    Post { text: String, on: Option<Port> },
    /// Give an entry another text.
    Modify { id: String, text: String, on: Option<Port> },
    /// Delete an entry.
    Delete { id: String, on: Option<Port> },
    /// Show a node's eventual board.
    Show { on: Option<Port> },
    /// Show how every node's eventual board is.
    Status,
    /// Show the strong board against the eventual one, node by node.
    Diff,
    /// Write a register.
    Write { name: String, value: Literal, on: Option<Port> },
    /// Read a register.
    Read { name: String, on: Option<Port> },
    /// Show or set the quorum sizes of all nodes.
    Quorum { sizes: Option<(u64, u64)> },
    /// Show a stale read.
    Stale,
    /// Show every node's logical clocks.
    Clock,
    /// Show what a lock is for.
    Mutex { clients: Option<u64> },
}

impl fmt::Display for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = match self {
            Self::Post { text, on } => {
                write!(f, "board eventual post {}", word_of(text))?;
                on
            }
            Self::Modify { id, text, on } => {
                write!(f, "board eventual modify {} {}", word_of(id), word_of(text))?;
                on
            }
            Self::Delete { id, on } => {
                write!(f, "board eventual delete {}", word_of(id))?;
                on
            }
            Self::Show { on } => {
                f.write_str("board eventual show")?;
                on
            }
            Self::Write { name, value, on } => {
                write!(f, "register write {} {value}", word_of(name))?;
                on
            }
            Self::Read { name, on } => {
                write!(f, "register read {}", word_of(name))?;
                on
            }
            Self::Quorum { sizes: Some((read, write)) } => return write!(f, "register quorum {read} {write}"),
            Self::Quorum { sizes: None } => return f.write_str("register quorum"),
            Self::Mutex { clients: Some(clients) } => return write!(f, "mutex demo {clients}"),
            Self::Mutex { clients: None } => return f.write_str("mutex demo"),
            Self::Status => return f.write_str("board eventual status"),
            Self::Diff => return f.write_str("board diff"),
            Self::Stale => return f.write_str("register stale"),
            Self::Clock => return f.write_str("clock"),
        };
        on.map_or(Ok(()), |port| write!(f, " on {port}"))
    }
}

impl Arguments<'_> {
    /// What stands behind `board eventual`.
    pub(super) fn eventual(&mut self) -> Result<Weak, UsageError> {
        Ok(match self.keyword(&["post", "modify", "delete", "show", "status"])? {
            "post" => {
                let (text, on) = self.rest_and_node("text")?;
                Weak::Post { text: text_of(text), on }
            }
            "modify" => {
                let id = self.text("entry's id")?;
                let (text, on) = self.rest_and_node("text")?;
                Weak::Modify { id, text: text_of(text), on }
            }
            "delete" => Weak::Delete { id: self.text("entry's id")?, on: self.on_node()? },
            "show" => Weak::Show { on: self.on_node()? },
            _ => Weak::Status,
        })
    }

    /// What stands behind `register`.
    pub(super) fn register(&mut self) -> Result<Weak, UsageError> {
        Ok(match self.keyword(&["write", "read", "quorum", "stale"])? {
            "write" => {
                let name = self.text("register's name")?;
                let (value, on) = self.rest_and_node("value")?;
                Weak::Write { name, value, on }
            }
            "read" => Weak::Read { name: self.text("register's name")?, on: self.on_node()? },
            "quorum" if self.is_at_end() => Weak::Quorum { sizes: None },
            "quorum" => Weak::Quorum { sizes: Some((self.number("read quorum")?, self.number("write quorum")?)) },
            _ => Weak::Stale,
        })
    }

    /// What stands behind `mutex`.
    pub(super) fn mutex(&mut self) -> Result<Weak, UsageError> {
        self.keyword(&["demo"])?;
        if self.is_at_end() {
            return Ok(Weak::Mutex { clients: None });
        }
        let clients = self.number("number of clients")?;
        if !(2..=MAX_MUTEX_CLIENTS).contains(&clients) {
            return Err(self.error(&format!("the demonstration has 2 to {MAX_MUTEX_CLIENTS} clients")));
        }
        Ok(Weak::Mutex { clients: Some(clients) })
    }

    /// `on <port>`, or nothing.
    fn on_node(&mut self) -> Result<Option<Port>, UsageError> {
        if self.is_at_end() {
            return Ok(None);
        }
        self.keyword(&["on"])?;
        self.port("port").map(Some)
    }

    /// Everything up to the end of the line as typed, but for `on <port>` there, or one quoted text before that.
    fn rest_and_node(&mut self, what: &str) -> Result<(Literal, Option<Port>), UsageError> {
        if self.words.at_quote() {
            return Ok((self.value(what)?, self.on_node()?));
        }
        let rest = self.words.rest().trim();
        let node = || {
            let (before, port) = rest.rsplit_once(char::is_whitespace)?;
            let (text, on) = before.trim_end().rsplit_once(char::is_whitespace)?;
            let port = Port::new(port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?)?;
            on.eq_ignore_ascii_case("on").then_some((text.trim(), port))
        };
        let (text, on) = node().map_or((rest, None), |(text, port)| (text, Some(port)));
        if text.is_empty() {
            return Err(self.error(&format!("the {what} is missing; the empty text is typed \"\"")));
        }
        self.words.finish();
        Ok((Literal::bare(text), on))
    }
}
