//! The commands that show what happened: `trace`, `diagram`, `explain`, `happened-before`.

use std::fmt;

use synod::lab::explain::questions::Question;

use super::services::word_of;
use super::usage::{UsageError, shown};
use super::words::quote;
use super::{Arguments, whole_number};

/// Which of these commands a row of the help table is about; each is the first word of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeeVerb {
    Trace,
    Diagram,
    Explain,
    HappenedBefore,
}

/// One thing to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum See {
    /// Keep what happens, or not.
    Trace(bool),
    /// Forget what happened.
    TraceClear,
    /// Write down what happened.
    TraceSave(String),
    /// List the last events.
    TraceShow(Option<u32>),
    /// Draw the last run.
    Diagram {
        /// Everything, and not only what fits together.
        all: bool,
        /// Into this file, whose ending says how; to the terminal if not given.
        to: Option<String>,
        /// What this file has, and not the last run.
        from: Option<String>,
    },
    /// Draw every race when it has ended, or not.
    DrawRaces(bool),
    /// Tell of the last run, or answer a question by it.
    Explain {
        /// The question.
        question: Option<Question>,
        /// By what this file has, and not the last run.
        from: Option<String>,
    },
    /// Say whether one event could have caused another.
    HappenedBefore {
        /// The first, as `8000:17`.
        first: String,
        /// The second.
        second: String,
        /// In this file, and not in what the nodes keep.
        from: Option<String>,
    },
}

impl fmt::Display for See {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on: bool| if on { "on" } else { "off" };
        let from = match self {
            Self::Diagram { from, .. } | Self::Explain { from, .. } | Self::HappenedBefore { from, .. } => {
                from.as_ref()
            }
            _ => None,
        };
        match self {
            Self::Trace(set) => write!(f, "trace {}", on(*set))?,
            Self::TraceClear => f.write_str("trace clear")?,
            Self::TraceSave(file) => write!(f, "trace save {}", word_of(file))?,
            Self::TraceShow(None) => f.write_str("trace show")?,
            Self::TraceShow(Some(count)) => write!(f, "trace show {count}")?,
            Self::Diagram { all, to, .. } => {
                write!(f, "diagram{}", if *all { " all" } else { "" })?;
                if let Some(file) = to {
                    // Bare, these words would mean something else.
                    let is_word = ["all", "--from"].iter().any(|word| word.eq_ignore_ascii_case(file));
                    write!(f, " {}", if is_word { quote(file) } else { word_of(file) })?;
                }
            }
            Self::DrawRaces(set) => write!(f, "set diagram {}", on(*set))?,
            Self::Explain { question, .. } => {
                f.write_str("explain")?;
                if let Some(question) = question {
                    write!(f, " {}", question.word())?;
                }
            }
            Self::HappenedBefore { first, second, .. } => write!(f, "happened-before {first} {second}")?,
        }
        from.map_or(Ok(()), |file| write!(f, " --from {}", word_of(file)))
    }
}

impl Arguments<'_> {
    /// What stands behind the first word of one of these commands.
    pub(super) fn see(mut self, verb: SeeVerb) -> Result<See, UsageError> {
        let see = match verb {
            SeeVerb::Trace => self.trace()?,
            SeeVerb::Diagram => self.diagram()?,
            SeeVerb::Explain => {
                let question = match self.words.clone().next() {
                    Some(word) if !word.is("--from") => {
                        self.words.next();
                        Some(self.question(word.raw)?)
                    }
                    _ => None,
                };
                See::Explain { question, from: self.from()? }
            }
            SeeVerb::HappenedBefore => {
                let (first, second) = (self.event("first event")?, self.event("second event")?);
                See::HappenedBefore { first, second, from: self.from()? }
            }
        };
        self.end()?;
        Ok(see)
    }

    fn trace(&mut self) -> Result<See, UsageError> {
        Ok(match self.keyword(&["on", "off", "clear", "save", "show"])? {
            "on" => See::Trace(true),
            "off" => See::Trace(false),
            "clear" => See::TraceClear,
            "save" => See::TraceSave(self.text("file")?),
            _ => match self.words.next() {
                None => See::TraceShow(None),
                Some(word) => {
                    let count = whole_number(word.raw).filter(|count| *count > 0);
                    let wrong = format!("the number of events must be a number such as 20, not '{}'", shown(word.raw));
                    See::TraceShow(Some(count.ok_or_else(|| self.error(&wrong))?))
                }
            },
        })
    }

    fn diagram(&mut self) -> Result<See, UsageError> {
        let (mut all, mut to, mut from) = (false, None, None);
        while let Some(word) = self.words.clone().next() {
            if word.is("--from") && from.is_none() {
                from = self.from()?;
            } else if word.is("all") && !all && to.is_none() {
                self.words.next();
                all = true;
            } else if to.is_none() {
                to = Some(self.text("file")?);
            } else {
                break;
            }
        }
        Ok(See::Diagram { all, to, from })
    }

    /// `--from FILE`, if it comes next.
    fn from(&mut self) -> Result<Option<String>, UsageError> {
        match self.words.clone().next() {
            Some(word) if word.is("--from") => {
                self.words.next();
                self.text("file behind --from").map(Some)
            }
            _ => Ok(None),
        }
    }

    fn question(&self, text: &str) -> Result<Question, UsageError> {
        let found = Question::ALL.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, question)| *question).ok_or_else(|| {
            let words: Vec<&str> = Question::ALL.iter().map(|(word, _)| *word).collect();
            self.error(&format!("what can be explained is {}, not '{}'", words.join(", "), shown(text)))
        })
    }

    /// `8000:17`.
    fn event(&mut self, what: &str) -> Result<String, UsageError> {
        let word = self.word(what)?;
        let is_event = word.raw.split_once(':').is_some_and(|(node, count)| {
            [node, count].iter().all(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if is_event {
            return Ok(word.raw.to_owned());
        }
        let message = format!("an event is written 8000:17, as 'trace show' shows it, not '{}'", shown(word.raw));
        Err(self.error(&message))
    }

    /// `on` or `off`, behind `set diagram`.
    pub(super) fn draw_races(mut self) -> Result<See, UsageError> {
        let word = self.words.next();
        let on = match word {
            Some(word) if word.is("on") => true,
            Some(word) if word.is("off") => false,
            _ => return Err(self.error("after 'set diagram' comes 'on' or 'off'")),
        };
        self.end()?;
        Ok(See::DrawRaces(on))
    }
}
