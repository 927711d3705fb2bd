//! From text to tokens.
//!
//! What nearly every document consists of, tags without attributes and text without references, is cut here, in
//! [`Pull::token`]; that is a few comparisons each. Everything else in XML is cut by quick-xml, in [`Pull::unusual`],
//! one event at a time. What quick-xml leaves to its user is checked here, so that a document is well formed as far as
//! it was read: end tags match, one root and nothing beside it, no DOCTYPE, only the five entities and legal character
//! references. A test compares the tokens with those of quick-xml alone.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::Limits;
use super::error::DecodeError;
use super::escape::{is_white, is_xml_char, position};

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
    text: &'de str,
    limits: Limits,
    /// Whether any text needs its line ends looked at; mostly none does.
    has_return: bool,
    /// Where the last token began, in bytes.
    at: usize,
    /// Where the next one begins.
    next: usize,
    /// The names of the elements opened and not yet closed, the innermost last.
    open: Vec<&'de str>,
    /// An empty tag was handed out as opened; its close is still to come.
    empty: bool,
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
        Self {
            text,
            limits: *limits,
            has_return: position(text.as_bytes(), |byte| byte == b'\r').is_some(),
            at: 0,
            next: 0,
            open: Vec::with_capacity(16),
            empty: false,
            rooted: false,
            depth: 0,
            values: 0,
            names: Vec::new(),
        }
    }

    /// What is being read, and within which limits.
    pub(super) fn source(&self) -> (&'de str, &Limits) {
        (self.text, &self.limits)
    }

    /// The next token. [`Token::End`] comes only after a complete document, and then for ever.
    pub(super) fn token(&mut self) -> Result<Token<'de>, DecodeError> {
        if self.empty {
            self.empty = false;
            return Ok(self.closed());
        }
        loop {
            self.at = self.next;
            let rest = &self.text[self.at..];
            match rest.as_bytes() {
                [] => return self.ended(),
                [b'<', b'/', ..] if self.closes(&rest[2..]) => return Ok(self.closed()),
                [b'<', ..] => {
                    if let Some((name, empty)) = plain_tag(&rest[1..]) {
                        self.next = self.at + name.len() + if empty { 3 } else { 2 };
                        return self.opened(name, empty);
                    }
                    if let Some(token) = self.unusual()? {
                        return Ok(token);
                    }
                }
                [b'&', ..] => {
                    if let Some(token) = self.unusual()? {
                        return Ok(token);
                    }
                }
                bytes => {
                    let length = position(bytes, |byte| (byte == b'<') | (byte == b'&')).unwrap_or(bytes.len());
                    self.next = self.at + length;
                    let text = &rest[..length];
                    if !self.open.is_empty() {
                        return Ok(Token::Text(text));
                    }
                    if !is_white(text) {
                        return Err(self.stray());
                    }
                }
            }
        }
    }

    /// Whether `rest`, which follows `</`, ends the innermost element in the usual way; if so, it is consumed.
    fn closes(&mut self, rest: &str) -> bool {
        let Some(name) = self.open.last() else { return false };
        // quick-xml takes `<a'>'>` for one tag, but lets no end tag go on beyond the first `>`.
        let closes = rest.as_bytes().get(name.len()) == Some(&b'>') && rest.starts_with(name) && !name.contains('>');
        if closes {
            self.next = self.at + name.len() + 3;
        }
        closes
    }

    fn closed(&mut self) -> Token<'de> {
        self.open.pop();
        Token::Close
    }

    fn opened(&mut self, name: &'de str, empty: bool) -> Result<Token<'de>, DecodeError> {
        if self.open.is_empty() {
            if self.rooted {
                return Err(DecodeError::not_well_formed("a second root element"));
            }
            self.rooted = true;
        }
        self.open.push(name);
        self.empty = empty;
        Ok(Token::Open(tag(name)))
    }

    /// Has quick-xml cut the one piece of markup, or the reference, that begins here. `None` if it is no token.
    #[cold]
    fn unusual(&mut self) -> Result<Option<Token<'de>>, DecodeError> {
        let mut reader = Reader::from_str(&self.text[self.at..]);
        let config = reader.config_mut();
        config.check_comments = true;
        // Which elements are open is known here, not there.
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        let event = reader.read_event().map_err(|error| DecodeError::not_well_formed(error.to_string()))?;
        // A position in a slice fits `usize`.
        self.next = self.at + reader.buffer_position() as usize;
        let inside = !self.open.is_empty();
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                let name = &self.text[self.at + 1..][..start.name().0.len()];
                self.opened(name, matches!(event, Event::Empty(_))).map(Some)
            }
            Event::End(end) if self.open.last() == Some(&end.name().0) => Ok(Some(self.closed())),
            Event::End(_) => Err(DecodeError::not_well_formed("an end tag that ends nothing, or not what is open")),
            Event::CData(text) if inside => {
                // Within `<![CDATA[` and `]]>`.
                Ok(Some(Token::Text(&self.text[self.at + 9..][..text.len()])))
            }
            Event::GeneralRef(name) if inside => resolve(name).map(Token::Char).map(Some),
            Event::Comment(_) | Event::PI(_) => Ok(None),
            Event::Decl(_) if self.at == 0 => Ok(None),
            Event::Decl(_) => Err(DecodeError::not_well_formed("the XML declaration must come first of all")),
            Event::DocType(_) => Err(DecodeError::not_well_formed("a DOCTYPE is not allowed")),
            _ => Err(self.stray()),
        }
    }

    fn ended(&self) -> Result<Token<'de>, DecodeError> {
        if !self.rooted {
            return Err(DecodeError::not_well_formed("the document is empty"));
        }
        if !self.open.is_empty() {
            return Err(DecodeError::not_well_formed("the document ends within an element"));
        }
        Ok(Token::End)
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

/// The name in a start tag without attributes and white space, whose `<` is consumed, and whether the tag is empty.
fn plain_tag(rest: &str) -> Option<(&str, bool)> {
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
    let length = rest.bytes().position(|byte| !of_name(&byte))?;
    match rest.as_bytes()[length..] {
        _ if length == 0 => None,
        [b'>', ..] => Some((&rest[..length], false)),
        [b'/', b'>', ..] => Some((&rest[..length], true)),
        _ => None,
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
