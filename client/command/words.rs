//! Cutting a line into words, the one place that knows about quotes.
//!
//! The parser, completion and hints all look at a line through [`Words`], so they cannot disagree about where a quoted
//! value ends. A quote means something only at the start of a word: `it's` is a plain word.

use std::borrow::Cow;

/// How a word was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Without quotes.
    Bare,
    /// In quotes that are closed, with nothing glued behind them.
    Quoted,
    /// In quotes that the line never closes; it reaches to the end of the line.
    Open,
    /// In closed quotes with something glued behind them, as in `"a"b`.
    Glued,
}

/// One word of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    /// The byte at which it starts in the line.
    pub(crate) start: usize,
    /// The word as typed, with its quotes.
    pub(crate) raw: &'a str,
    /// How it was written.
    pub(crate) shape: Shape,
}

impl Word<'_> {
    /// Whether this is the bare word `keyword`, in any case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.shape == Shape::Bare && self.raw.eq_ignore_ascii_case(keyword)
    }
}

/// The words of a line, from the left, each found only when asked for.
#[derive(Clone, Debug)]
pub(crate) struct Words<'a> {
    line: &'a str,
    at: usize,
    quotes: bool,
}

impl<'a> Words<'a> {
    /// Starts at the beginning of `line`.
    pub(crate) fn new(line: &'a str) -> Self {
        Self { line, at: 0, quotes: true }
    }

    /// The rest of the words, none of them quoted: inside a bare value of several words a quote is a plain character.
    pub(crate) fn without_quotes(self) -> Self {
        Self { quotes: false, ..self }
    }

    /// Leaves nothing to be cut: the rest was taken as it stands.
    pub(crate) fn finish(&mut self) {
        self.at = self.line.len();
    }

    /// Whether the next word starts with a quote.
    pub(crate) fn at_quote(&self) -> bool {
        self.rest().trim_start().starts_with(['"', '\''])
    }

    /// What has not been cut yet.
    pub(crate) fn rest(&self) -> &'a str {
        // `at` is 0 or the end of a word, and so on a character boundary.
        &self.line[self.at..]
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        let start = self.at + (rest.len() - trimmed.len());
        let (length, shape) = match trimmed.chars().next()? {
            quote @ ('"' | '\'') if self.quotes => measure_quoted(trimmed, quote),
            _ => (bare_length(trimmed), Shape::Bare),
        };
        self.at = start + length;
        Some(Word { start, raw: &trimmed[..length], shape })
    }
}

/// The length of the quoted word that `text` starts with, and how it ends.
fn measure_quoted(text: &str, quote: char) -> (usize, Shape) {
    let Some(closed) = closing_quote(text, quote) else {
        return (text.trim_end().len(), Shape::Open);
    };
    match bare_length(&text[closed..]) {
        0 => (closed, Shape::Quoted),
        glued => (closed + glued, Shape::Glued),
    }
}

/// The byte after the quote that closes the one at the start of `text`.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some(at + quote.len_utf8());
        }
        if c == '\\' && quote == '"' {
            chars.next();
        }
    }
    None
}

/// How far `text` goes on without white space.
fn bare_length(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

/// What stands between the quotes of a word of shape [`Shape::Quoted`]; `Err` is the escape that does not exist.
pub(crate) fn unquote(raw: &str) -> Result<Cow<'_, str>, char> {
    // A quoted word has a one-byte quote at each end, which is what the shape says.
    let inner = &raw[1..raw.len() - 1];
    if raw.starts_with('\'') || !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        // A backslash is never last: it would have escaped the closing quote.
        match chars.next().unwrap_or('\\') {
            'n' => plain.push('\n'),
            't' => plain.push('\t'),
            'r' => plain.push('\r'),
            c @ ('"' | '\\') => plain.push(c),
            other => return Err(other),
        }
    }
    Ok(Cow::Owned(plain))
}

/// `text` in double quotes, so that [`unquote`] gives it back.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
