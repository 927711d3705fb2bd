//! The tokens are those of quick-xml: what `pull.rs` cuts by itself it cuts alike.

use proptest::collection::vec;
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::pull::{Pull, Token};
use super::*;

/// What a document says, piece by piece; texts joined, because where they are cut does not matter.
#[derive(Debug, PartialEq)]
enum Piece {
    Open,
    Close,
    Text(String),
}

fn push_text(pieces: &mut Vec<Piece>, more: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push_str(more),
        _ if more.is_empty() => {}
        _ => pieces.push(Piece::Text(more.to_owned())),
    }
}

/// Our pieces, and whether the document is well formed.
fn ours(document: &str) -> (Vec<Piece>, bool) {
    let mut pull = Pull::new(document, &Limits::default());
    let mut pieces = Vec::new();
    loop {
        match pull.token() {
            Ok(Token::Open(_)) => pieces.push(Piece::Open),
            Ok(Token::Close) => pieces.push(Piece::Close),
            Ok(Token::Text(text)) => push_text(&mut pieces, text),
            Ok(Token::Char(c)) => push_text(&mut pieces, c.encode_utf8(&mut [0; 4])),
            Ok(Token::End) => return (pieces, true),
            Err(_) => return (pieces, false),
        }
    }
}

/// The same by quick-xml alone, with all its checks on, and the rules about the root added. `None` for what it does not
/// judge: declarations, document types, references.
fn theirs(document: &str) -> Option<(Vec<Piece>, bool)> {
    let mut reader = Reader::from_str(document);
    reader.config_mut().check_comments = true;
    let mut pieces = Vec::new();
    let (mut open, mut rooted) = (0, false);
    loop {
        let Ok(event) = reader.read_event() else { return Some((pieces, false)) };
        if open == 0 {
            let stray = match &event {
                Event::Start(_) | Event::Empty(_) => std::mem::replace(&mut rooted, true),
                Event::Text(text) => !escape::is_white(text),
                Event::CData(_) => true,
                _ => false,
            };
            if stray {
                return Some((pieces, false));
            }
        }
        match event {
            Event::Start(_) => {
                open += 1;
                pieces.push(Piece::Open);
            }
            Event::Empty(_) => pieces.extend([Piece::Open, Piece::Close]),
            Event::End(_) => {
                open -= 1;
                pieces.push(Piece::Close);
            }
            Event::Text(text) if open > 0 => push_text(&mut pieces, &text),
            Event::CData(text) => push_text(&mut pieces, &text),
            Event::Text(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return Some((pieces, rooted && open == 0)),
            Event::Decl(_) | Event::DocType(_) | Event::GeneralRef(_) => return None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn tokens_are_those_of_quick_xml(pieces in vec(prop::sample::select(vec![
        "<a>", "</a>", "<a>", "</a>", "<a/>", "<b>", "</b>", "<a >", "</a >", "<a x='>'>", "<a x=\"/>\"/>", "<a\n/>", "<ns:a-b.c_1>",
        "</ns:a-b.c_1>", "<é>", "</é>", "<a", "</a", "</", "<", ">", "/>", "/", "'", "\"", "text", " ", "\r\n", "ü", "<!-- c -->",
        "<!-- -- -->", "<![CDATA[", "]]>", "<![CDATA[x]]>", "<?pi ?>", "<?", "?>", "<!", "<1>", "<>", "</>", "<a<b>", "<a'>", "</a'>",
    ]), 0..14)) {
        for document in [pieces.concat(), format!("<a>{}</a>", pieces.concat())] {
            if let Some(theirs) = theirs(&document) {
                prop_assert_eq!(ours(&document), theirs, "{}", document);
            }
        }
    }
}

#[test]
fn a_name_that_holds_the_end_of_a_tag_is_never_closed() {
    let document = "<a'><a x='>'></a'><a>";
    assert_eq!(Some(ours(document)), theirs(document));
}
