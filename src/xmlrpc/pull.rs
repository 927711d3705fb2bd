//! From text to tokens: quick-xml cuts, and what it leaves to its user is checked here.
//!
//! After [`Pull::token`] a document is well formed as far as it was read: one root and nothing beside it, no DOCTYPE,
//! only the five entities and legal character references.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::Limits;
use super::error::DecodeError;
use super::escape::{is_white, is_xml_char};

/// The tags of XML-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    MethodCall,
    MethodResponse,
    MethodName,
    Params,
    Param,
    Fault,
    Value,
    Data,
    Member,
    Name,
    Type(Type),
    Unknown,
}

/// The tags that stand within a `<value>`, those with the same meaning as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Boolean,
    Double,
    String,
    DateTime,
    Base64,
    Array,
    Struct,
    Nil,
}

impl Type {
    /// The tag as messages show it.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Int => "<int>",
            Self::Boolean => "<boolean>",
            Self::Double => "<double>",
            Self::String => "<string>",
            Self::DateTime => "<dateTime.iso8601>",
            Self::Base64 => "<base64>",
            Self::Array => "<array>",
            Self::Struct => "<struct>",
            Self::Nil => "<nil/>",
        }
    }
}

/// One piece of a document. Comments and processing instructions are not among them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'de> {
    Open(Tag),
    Close,
    /// Character data as it stands in the document, line ends included.
    Text(&'de str),
    /// What a reference stands for.
    Char(char),
    End,
}

/// The reader of one document.
pub(super) struct Pull<'de> {
    reader: Reader<&'de [u8]>,
    text: &'de str,
    limits: Limits,
    /// Whether any text needs its line ends looked at; mostly none does.
    has_return: bool,
    /// An empty tag was handed out as opened; its close is still to come. Cheaper than quick-xml's own way, which
    /// allocates.
    empty: bool,
    /// Where the last token began, in bytes.
    at: usize,
    /// Elements opened and not yet closed.
    open: usize,
    rooted: bool,
    /// Arrays and structs that are being read.
    depth: usize,
    /// Values opened so far.
    values: usize,
    /// The member names of all structs that are being read, the innermost last; one vector for all, so that a struct
    /// costs no allocation.
    pub(super) names: Vec<Cow<'de, str>>,
}

impl<'de> Pull<'de> {
    pub(super) fn new(text: &'de str, limits: &Limits) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        Self {
            reader,
            text,
            limits: *limits,
            has_return: text.as_bytes().contains(&b'\r'),
            empty: false,
            at: 0,
            open: 0,
            rooted: false,
            depth: 0,
            values: 0,
            names: Vec::new(),
        }
    }

    /// The next token. [`Token::End`] comes only after a complete document, and then for ever.
    pub(super) fn token(&mut self) -> Result<Token<'de>, DecodeError> {
        if self.empty {
            self.empty = false;
            self.open -= 1;
            return Ok(Token::Close);
        }
        loop {
            // A position in a slice fits `usize`.
            self.at = self.reader.buffer_position() as usize;
            match self.reader.read_event() {
                Ok(Event::Start(start)) => return self.opened(tag(start.name().0)),
                Ok(Event::Empty(start)) => {
                    self.empty = true;
                    return self.opened(tag(start.name().0));
                }
                Ok(Event::End(_)) => {
                    // quick-xml pairs the tags, so there is one to close.
                    self.open -= 1;
                    return Ok(Token::Close);
                }
                Ok(Event::Text(text)) => {
                    let text = lent(text.into_inner());
                    if self.open > 0 {
                        return Ok(Token::Text(text));
                    }
                    if !is_white(text) {
                        return Err(self.stray());
                    }
                }
                Ok(Event::CData(text)) if self.open > 0 => {
                    return Ok(Token::Text(lent(text.into_inner())));
                }
                Ok(Event::GeneralRef(name)) if self.open > 0 => {
                    return resolve(&name).map(Token::Char);
                }
                Ok(Event::Comment(_) | Event::PI(_)) => {}
                Ok(Event::Decl(_)) if self.at == 0 => {}
                Ok(Event::Eof) => return self.ended(),
                Ok(other) => return Err(self.refused(&other)),
                Err(error) => return Err(DecodeError::not_well_formed(error.to_string())),
            }
        }
    }

    fn opened(&mut self, tag: Tag) -> Result<Token<'de>, DecodeError> {
        if self.open == 0 && self.rooted {
            return Err(DecodeError::not_well_formed("a second root element"));
        }
        self.rooted = true;
        self.open += 1;
        Ok(Token::Open(tag))
    }

    fn ended(&self) -> Result<Token<'de>, DecodeError> {
        if !self.rooted {
            return Err(DecodeError::not_well_formed("the document is empty"));
        }
        if self.open > 0 {
            return Err(DecodeError::not_well_formed("the document ends within an element"));
        }
        Ok(Token::End)
    }

    #[cold]
    fn refused(&self, event: &Event<'_>) -> DecodeError {
        match event {
            Event::DocType(_) => DecodeError::not_well_formed("a DOCTYPE is not allowed"),
            Event::Decl(_) => DecodeError::not_well_formed("the XML declaration must come first of all"),
            _ => self.stray(),
        }
    }

    #[cold]
    fn stray(&self) -> DecodeError {
        DecodeError::not_well_formed(if self.rooted {
            "text after the root element"
        } else {
            "text before the root element; not XML"
        })
    }

    /// Character data up to the next tag: its pieces joined, its line ends made LF. The tag is `None` if it closes.
    pub(super) fn text_to_tag(&mut self) -> Result<(Cow<'de, str>, Option<Tag>), DecodeError> {
        let mut text = Cow::Borrowed("");
        loop {
            match self.token()? {
                Token::Text(piece) => {
                    let returns = self.has_return && piece.contains('\r');
                    if text.is_empty() && !returns {
                        text = Cow::Borrowed(piece);
                    } else if returns {
                        text.to_mut().push_str(&piece.replace("\r\n", "\n").replace('\r', "\n"));
                    } else {
                        text.to_mut().push_str(piece);
                    }
                }
                Token::Char(c) => text.to_mut().push(c),
                Token::Open(tag) => return Ok((text, Some(tag))),
                // Within an element there is no end; `ended` saw to that.
                Token::Close | Token::End => return Ok((text, None)),
            }
        }
    }

    /// The text of an element that holds nothing else, its end tag consumed.
    pub(super) fn text(&mut self) -> Result<Cow<'de, str>, DecodeError> {
        match self.text_to_tag()? {
            (text, None) => Ok(text),
            (_, Some(_)) => Err(self.unexpected("text")),
        }
    }

    /// Like [`text`](Self::text), for a text that nobody wants.
    pub(super) fn skip_text(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.token()? {
                Token::Text(_) | Token::Char(_) => {}
                Token::Close | Token::End => return Ok(()),
                Token::Open(_) => return Err(self.unexpected("text")),
            }
        }
    }

    /// The next tag where only white space may stand between tags; `None` if it closes.
    pub(super) fn tag(&mut self) -> Result<Option<Tag>, DecodeError> {
        loop {
            match self.token()? {
                Token::Open(tag) => return Ok(Some(tag)),
                Token::Close | Token::End => return Ok(None),
                Token::Text(text) if is_white(text) => {}
                Token::Char(' ' | '\t' | '\n' | '\r') => {}
                Token::Text(_) | Token::Char(_) => {
                    return Err(DecodeError::request("text between tags"));
                }
            }
        }
    }

    /// Consumes an end tag, and white space before it.
    pub(super) fn close(&mut self) -> Result<(), DecodeError> {
        match self.tag()? {
            None => Ok(()),
            Some(_) => Err(self.unexpected("an end tag")),
        }
    }

    /// Consumes a start tag, and white space before it.
    pub(super) fn expect(&mut self, wanted: Tag, name: &str) -> Result<(), DecodeError> {
        match self.tag()? {
            Some(tag) if tag == wanted => Ok(()),
            _ => Err(self.unexpected(name)),
        }
    }

    /// Consumes what may follow the root element.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        loop {
            if let Token::End = self.token()? {
                return Ok(());
            }
        }
    }

    /// Counts a value that was just opened.
    pub(super) fn count_value(&mut self) -> Result<(), DecodeError> {
        self.values += 1;
        if self.values > self.limits.values {
            let limit = self.limits.values;
            return Err(DecodeError::request(format!("more than {limit} values, the limit")));
        }
        if self.depth >= self.limits.depth {
            let limit = self.limits.depth;
            return Err(DecodeError::request(format!("values nest deeper than {limit}, the limit")));
        }
        Ok(())
    }

    /// An array or struct begins.
    pub(super) fn descend(&mut self) {
        self.depth += 1;
    }

    /// It has ended.
    pub(super) fn ascend(&mut self) {
        self.depth -= 1;
    }

    /// The complaint about the last tag.
    #[cold]
    pub(super) fn unexpected(&self, expected: &str) -> DecodeError {
        let found = self.text.get(self.at..).unwrap_or_default();
        let name: String = found
            .trim_start_matches('<')
            .chars()
            .take_while(|c| !matches!(c, '>' | ' ' | '\t' | '\n' | '\r'))
            .take(40)
            .collect();
        DecodeError::request(format!("expected {expected}, found <{name}>"))
    }
}

/// What a reader over a slice hands out is part of the slice.
fn lent(text: Cow<'_, str>) -> &str {
    match text {
        Cow::Borrowed(text) => text,
        Cow::Owned(_) => unreachable!("a reader over a slice borrows from the slice"),
    }
}

fn tag(name: &str) -> Tag {
    // Bytes, because the compiler makes a decision tree of their patterns, but a row of comparisons of strings'.
    match name.as_bytes() {
        b"value" => Tag::Value,
        b"string" => Tag::Type(Type::String),
        b"int" | b"i4" | b"i8" | b"i1" | b"i2" | b"biginteger" => Tag::Type(Type::Int),
        b"member" => Tag::Member,
        b"name" => Tag::Name,
        b"struct" => Tag::Type(Type::Struct),
        b"array" => Tag::Type(Type::Array),
        b"data" => Tag::Data,
        b"boolean" => Tag::Type(Type::Boolean),
        b"double" => Tag::Type(Type::Double),
        b"base64" => Tag::Type(Type::Base64),
        b"dateTime.iso8601" => Tag::Type(Type::DateTime),
        b"nil" => Tag::Type(Type::Nil),
        b"param" => Tag::Param,
        b"params" => Tag::Params,
        b"methodName" => Tag::MethodName,
        b"methodCall" => Tag::MethodCall,
        b"methodResponse" => Tag::MethodResponse,
        b"fault" => Tag::Fault,
        _ => extension(name),
    }
}

/// Only the extension types may have a prefix, and any will do: their name space is a matter of the sender.
fn extension(name: &str) -> Tag {
    match name.split_once(':') {
        Some((_, "i1" | "i2" | "i8" | "biginteger")) => Tag::Type(Type::Int),
        Some((_, "float")) => Tag::Type(Type::Double),
        Some((_, "nil")) => Tag::Type(Type::Nil),
        _ => Tag::Unknown,
    }
}

/// What `&name;` stands for: one of the five entities, or a character by its number.
fn resolve(name: &str) -> Result<char, DecodeError> {
    let (digits, radix) = match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        _ => match name.strip_prefix('#') {
            None => return Err(DecodeError::not_well_formed("an unknown entity")),
            Some(number) => match number.strip_prefix('x') {
                Some(digits) => (digits, 16),
                None => (number, 10),
            },
        },
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(DecodeError::not_well_formed("a malformed character reference"));
    }
    // Digits only, so what fails to parse is too large.
    u32::from_str_radix(digits, radix)
        .ok()
        .and_then(char::from_u32)
        .filter(|&c| is_xml_char(c))
        .ok_or_else(|| DecodeError::character("a character reference to no character of XML"))
}
