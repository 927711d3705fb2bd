//! The commands about the services on the replicated log, and about who leads it.

pub(crate) mod weak;

use std::fmt;
use std::time::Duration;

use super::overlay::{Overlay, OverlayCommand};
use super::usage::{UsageError, shown};
use super::words::{self, Shape};
use super::{Arguments, Literal, MAX_SLEEP, Port, decimal_seconds, to_duration};
use weak::Weak;

/// Which of these commands a row of the help table is about; each is the first word of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceVerb {
    Elect,
    Leader,
    Members,
    Create,
    Append,
    Read,
    Delete,
    Ls,
    Files,
    Board,
    Put,
    Get,
    Cas,
    Del,
    List,
    Watch,
    Unwatch,
    Lock,
    Unlock,
    Locks,
    Outcome,
    Register,
    Clock,
    Mutex,
    Overlay(Overlay),
}

/// One thing to do with a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Have a node hold an election.
    Elect(Port),
    /// Say who leads.
    Leader,
    /// List the members of the cluster.
    Members,
    /// Make a node a member.
    AddMember {
        /// Which.
        node: Port,
        /// Where it listens, if not on this machine at the port that is its id.
        address: Option<String>,
    },
    /// Take a node out of the cluster.
    RemoveMember(Port),
    /// Make an empty file.
    Create(String),
    /// Add a line to a file.
    Append {
        /// Which file.
        name: String,
        /// The line.
        line: String,
    },
    /// Show a file.
    Read(String),
    /// Delete a file.
    Delete(String),
    /// List the files.
    Ls,
    /// List what was done to files, after this counter if one is given.
    FilesHistory(Option<u64>),
    /// Post to the board.
    Post(String),
    /// Give a post another text.
    Modify {
        /// Which post.
        id: u64,
        /// The new text.
        text: String,
    },
    /// Take a post from the board.
    Unpost(u64),
    /// Show the board.
    Board,
    /// Set a key.
    Put {
        /// Which key.
        key: String,
        /// To what.
        value: Literal,
    },
    /// Show a key's value.
    Get(String),
    /// Set a key if it still has a version.
    Cas {
        /// Which key.
        key: String,
        /// The version that it must have; 0 if it must not exist.
        version: u64,
        /// To what.
        value: Literal,
    },
    /// Delete a key.
    Del(String),
    /// List the keys that begin like this.
    List(String),
    /// Show changes of the keys that begin like this.
    Watch {
        /// How they begin.
        prefix: String,
        /// For how long.
        time: Option<Duration>,
    },
    /// Stop showing them; all, if no prefix is given.
    Unwatch(Option<String>),
    /// Take a lock, or run a program while it is held.
    Lock {
        /// Which lock.
        name: String,
        /// As whom; this shell if not given.
        owner: Option<String>,
        /// For how long, unless renewed.
        ttl: Option<Duration>,
        /// The program and its arguments; empty if only the lock is wanted.
        program: Vec<String>,
    },
    /// Let go of a lock.
    Unlock {
        /// Which lock.
        name: String,
        /// Whose; this shell's if not given.
        owner: Option<String>,
    },
    /// List the locks that are held.
    Locks,
    /// Say what became of a write.
    Outcome(String),
    /// Use what is kept without a leader.
    Weak(Weak),
    /// Use an overlay.
    Overlay(OverlayCommand),
}

/// How long a lock is held if nobody says for how long.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(30);

/// The shortest time for which a lock may be taken: below, renewing it would be a matter of luck.
pub(crate) const MIN_TTL: Duration = Duration::from_millis(100);

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |f: &mut fmt::Formatter<'_>, verb: &str, text: &str| write!(f, "{verb} {}", word_of(text));
        match self {
            Self::Elect(port) => write!(f, "elect {port}"),
            Self::Leader => f.write_str("leader"),
            Self::Members => f.write_str("members"),
            Self::AddMember { node, address: None } => write!(f, "members add {node}"),
            Self::AddMember { node, address: Some(address) } => write!(f, "members add {node} {}", word_of(address)),
            Self::RemoveMember(node) => write!(f, "members remove {node}"),
            Self::Create(name) => one(f, "create", name),
            Self::Append { name, line } => write!(f, "append {} {}", word_of(name), word_of(line)),
            Self::Read(name) => one(f, "read", name),
            Self::Delete(name) => one(f, "delete", name),
            Self::Ls => f.write_str("ls"),
            Self::FilesHistory(None) => f.write_str("files history"),
            Self::FilesHistory(Some(since)) => write!(f, "files history {since}"),
            Self::Post(text) => one(f, "board post", text),
            Self::Modify { id, text } => write!(f, "board modify {id} {}", word_of(text)),
            Self::Unpost(id) => write!(f, "board delete {id}"),
            Self::Board => f.write_str("board show"),
            Self::Put { key, value } => write!(f, "put {} {value}", word_of(key)),
            Self::Get(key) => one(f, "get", key),
            Self::Cas { key, version, value } => write!(f, "cas {} {version} {value}", word_of(key)),
            Self::Del(key) => one(f, "del", key),
            Self::List(prefix) if prefix.is_empty() => f.write_str("list"),
            Self::List(prefix) => one(f, "list", prefix),
            Self::Watch { prefix, time } => {
                one(f, "watch", prefix)?;
                time.map_or(Ok(()), |time| write!(f, " {}", decimal_seconds(time)))
            }
            Self::Unwatch(None) => f.write_str("unwatch"),
            Self::Unwatch(Some(prefix)) => one(f, "unwatch", prefix),
            Self::Lock { name, owner, ttl, program } => lock(f, name, owner.as_deref(), *ttl, program),
            Self::Unlock { name, owner: None } => one(f, "unlock", name),
            Self::Unlock { name, owner: Some(owner) } => write!(f, "unlock {} {}", word_of(name), word_of(owner)),
            Self::Locks => f.write_str("locks"),
            Self::Outcome(request) => one(f, "outcome", request),
            Self::Weak(weak) => weak.fmt(f),
            Self::Overlay(command) => command.fmt(f),
        }
    }
}

fn lock(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    owner: Option<&str>,
    ttl: Option<Duration>,
    program: &[String],
) -> fmt::Result {
    write!(f, "lock {}", word_of(name))?;
    if let Some(owner) = owner {
        // A bare number would be the time.
        let typed = if to_duration(owner).is_some() { words::quote(owner) } else { word_of(owner) };
        write!(f, " {typed}")?;
    }
    if let Some(ttl) = ttl {
        write!(f, " {}", decimal_seconds(ttl))?;
    }
    for (at, word) in program.iter().enumerate() {
        write!(f, "{}{}", if at == 0 { " -- " } else { " " }, word_of(word))?;
    }
    Ok(())
}

/// `text` as one word that means it, where a word is a text and never a number.
pub(super) fn word_of(text: &str) -> String {
    let bare = !text.is_empty()
        && text != "--"
        && !text.starts_with(['"', '\''])
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if bare { text.to_owned() } else { words::quote(text) }
}

fn text_of(literal: Literal) -> String {
    match literal {
        // Only canonical numbers are read as such, so this is what was typed.
        Literal::Int(number) => number.to_string(),
        Literal::Text(text) => text,
    }
}

impl Arguments<'_> {
    /// What stands behind the first word of one of these commands.
    pub(super) fn service(mut self, verb: ServiceVerb) -> Result<Service, UsageError> {
        let service = match verb {
            ServiceVerb::Elect => Service::Elect(self.port("port")?),
            ServiceVerb::Leader => Service::Leader,
            ServiceVerb::Members if self.is_at_end() => Service::Members,
            ServiceVerb::Members => match self.keyword(&["add", "remove"])? {
                "add" => Service::AddMember { node: self.port("node")?, address: self.optional_text("address")? },
                _ => Service::RemoveMember(self.port("node")?),
            },
            ServiceVerb::Create => Service::Create(self.text("file's name")?),
            ServiceVerb::Append => {
                Service::Append { name: self.text("file's name")?, line: text_of(self.rest_of_line("line")?) }
            }
            ServiceVerb::Read => Service::Read(self.text("file's name")?),
            ServiceVerb::Delete => Service::Delete(self.text("file's name")?),
            ServiceVerb::Ls => Service::Ls,
            ServiceVerb::Files => {
                self.keyword(&["history"])?;
                Service::FilesHistory(if self.is_at_end() { None } else { Some(self.number("counter")?) })
            }
            ServiceVerb::Board => self.board()?,
            ServiceVerb::Put => Service::Put { key: self.text("key")?, value: self.rest_of_line("value")? },
            ServiceVerb::Get => Service::Get(self.text("key")?),
            ServiceVerb::Cas => Service::Cas {
                key: self.text("key")?,
                version: self.number("version")?,
                value: self.rest_of_line("value")?,
            },
            ServiceVerb::Del => Service::Del(self.text("key")?),
            ServiceVerb::List => Service::List(self.optional_text("prefix")?.unwrap_or_default()),
            ServiceVerb::Watch => {
                let prefix = self.text("prefix")?;
                Service::Watch { prefix, time: if self.is_at_end() { None } else { Some(self.seconds()?) } }
            }
            ServiceVerb::Unwatch => Service::Unwatch(self.optional_text("prefix")?),
            ServiceVerb::Lock => self.lock()?,
            ServiceVerb::Unlock => {
                Service::Unlock { name: self.text("lock's name")?, owner: self.optional_text("owner")? }
            }
            ServiceVerb::Locks => Service::Locks,
            ServiceVerb::Outcome => Service::Outcome(self.text("request")?),
            ServiceVerb::Register => Service::Weak(self.register()?),
            ServiceVerb::Clock => Service::Weak(Weak::Clock),
            ServiceVerb::Mutex => Service::Weak(self.mutex()?),
            ServiceVerb::Overlay(overlay) => Service::Overlay(self.overlay(overlay)?),
        };
        self.end()?;
        Ok(service)
    }

    fn board(&mut self) -> Result<Service, UsageError> {
        Ok(match self.keyword(&["post", "modify", "delete", "show", "eventual", "diff"])? {
            "post" => Service::Post(text_of(self.rest_of_line("text")?)),
            "modify" => Service::Modify { id: self.number("post's id")?, text: text_of(self.rest_of_line("text")?) },
            "delete" => Service::Unpost(self.number("post's id")?),
            "eventual" => Service::Weak(self.eventual()?),
            "diff" => Service::Weak(Weak::Diff),
            _ => Service::Board,
        })
    }

    /// `<name> [owner] [seconds] [-- <program> <argument>…]`: a bare number is the time, a quoted one the owner.
    fn lock(&mut self) -> Result<Service, UsageError> {
        let name = self.text("lock's name")?;
        let (mut owner, mut ttl, mut program) = (None, None, Vec::new());
        while let Some(word) = self.words.clone().next() {
            let bare = word.shape == Shape::Bare;
            if bare && word.raw == "--" {
                self.words.next();
                while !self.is_at_end() {
                    program.push(self.text("argument")?);
                }
                if program.is_empty() {
                    return Err(self.error("the program behind '--' is missing"));
                }
            } else if bare && ttl.is_none() && to_duration(word.raw).is_some() {
                ttl = Some(self.ttl()?);
            } else if owner.is_none() && ttl.is_none() {
                owner = Some(self.text("owner")?);
            } else {
                let text = format!("'{}' is one word too many; a program goes behind '--'", shown(word.raw));
                return Err(self.error(&text));
            }
        }
        Ok(Service::Lock { name, owner, ttl, program })
    }

    fn ttl(&mut self) -> Result<Duration, UsageError> {
        let seconds = self.seconds()?;
        if (MIN_TTL..=MAX_SLEEP).contains(&seconds) {
            return Ok(seconds);
        }
        Err(self.error("a lock is held for 0.1 to 86400 seconds; an owner that is a number needs quotes"))
    }

    /// One word that is a text, whatever it looks like.
    pub(super) fn text(&mut self, what: &str) -> Result<String, UsageError> {
        self.value(what).map(text_of)
    }

    fn optional_text(&mut self, what: &str) -> Result<Option<String>, UsageError> {
        if self.is_at_end() { Ok(None) } else { self.text(what).map(Some) }
    }

    /// Everything up to the end of the line as typed, or one quoted text.
    fn rest_of_line(&mut self, what: &str) -> Result<Literal, UsageError> {
        if self.words.at_quote() {
            let value = self.value(what)?;
            if !self.is_at_end() {
                return Err(self.error(&format!(
                    "something follows the closing quote; a {what} that starts with a quote needs quotes around it all"
                )));
            }
            return Ok(value);
        }
        let rest = self.words.rest().trim();
        if rest.is_empty() {
            return Err(self.error(&format!("the {what} is missing; the empty text is typed \"\"")));
        }
        self.words.finish();
        Ok(Literal::bare(rest))
    }

    fn number(&mut self, what: &str) -> Result<u64, UsageError> {
        let word = self.word(what)?;
        let digits = word.raw.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| word.raw.parse().ok())
            .flatten()
            .ok_or_else(|| self.error(&format!("the {what} must be a number such as 3, not '{}'", shown(word.raw))))
    }

    /// One of these words, in any case.
    pub(super) fn keyword(&mut self, known: &[&'static str]) -> Result<&'static str, UsageError> {
        let word = self.words.next();
        known.iter().copied().find(|known| word.is_some_and(|word| word.is(known))).ok_or_else(|| {
            let known: Vec<String> = known.iter().map(|known| format!("'{known}'")).collect();
            self.error(&format!("after '{}' comes {}", self.help.name, known.join(" or ")))
        })
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.words.rest().trim_start().is_empty()
    }
}
