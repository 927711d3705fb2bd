//! What goes out: a service's reply, a refusal of the door's own, and how either becomes bytes.
//!
//! The head is printed by tiny_http's `Response::raw_print`, which supplies `Date` and the reason phrase, at 0.4 µs a
//! reply (a writer of our own took 0.1 µs; an exchange takes 10 µs and more). Left to itself it would switch to chunks
//! for a large body or for a client's `TE`, drop any `Connection` header, and put a `Content-Length` into a 204, which
//! RFC 9110 (8.6) forbids. So it gets an unreachable threshold and no request headers, prints no body, and we finish
//! the head ourselves.

use std::{fmt, io};

use tiny_http::{HTTPVersion, Header, Response, StatusCode};

use super::Stream;
use super::gzip;

/// The `Server` header.
const SERVER: &str = concat!("synod/", env!("CARGO_PKG_VERSION"));
/// The methods that are not answered 405.
pub(super) const ALLOW: &str = "GET, HEAD, POST, OPTIONS";
/// After how many seconds a client may come back to a full door.
const RETRY_AFTER_S: &str = "1";

/// The answer to one request.
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// The `Content-Type`; empty for none.
    pub content_type: &'static str,
    /// The body, sent with its length. Left out for HEAD, 204 and 304.
    pub body: Vec<u8>,
    headers: Vec<Header>,
    /// What follows in the place of a body, if it has no end yet.
    pub(super) stream: Option<Box<dyn Stream>>,
    /// Whether this stands for a reply that was promised, and says nothing itself.
    pub(super) is_promised: bool,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, content_type, body, headers, stream, is_promised } = self;
        let mut reply = f.debug_struct("Reply");
        reply.field("status", status).field("content_type", content_type).field("body", body);
        reply.field("headers", headers).field("is_stream", &stream.is_some()).field("is_promised", is_promised).finish()
    }
}

impl Reply {
    /// 200 with an XML document in UTF-8.
    pub fn xml(body: impl Into<Vec<u8>>) -> Self {
        Self::new(StatusCode(200), "text/xml; charset=utf-8", body)
    }

    /// A plain text, for people.
    pub fn text(status: impl Into<StatusCode>, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// A body of any other type.
    pub fn new(status: impl Into<StatusCode>, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: status.into(),
            content_type,
            body: body.into(),
            headers: Vec::new(),
            stream: None,
            is_promised: false,
        }
    }

    /// 200 with what comes from `stream`, for as long as something does. The connection ends with it.
    pub fn stream(content_type: &'static str, stream: Box<dyn Stream>) -> Self {
        Self { stream: Some(stream), ..Self::new(200_u16, content_type, "") }
    }

    /// What a service returns that has taken a promise.
    pub(super) fn promised() -> Self {
        Self { is_promised: true, ..Self::new(200_u16, "", "") }
    }

    /// Adds a header. What cannot stand in one (control characters, anything beyond ASCII) becomes a `?`, so that no
    /// value can end the line. The headers the door writes itself are ignored: `Connection`, `Content-Encoding`,
    /// `Content-Length`, `Content-Type` and `Transfer-Encoding`.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let ours = ["Connection", "Content-Encoding", "Content-Length", "Content-Type", "Transfer-Encoding"];
        let value: String = value.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
        if !ours.iter().any(|our| our.eq_ignore_ascii_case(name)) {
            self.headers.extend(header(name, &value));
        }
        self
    }

    /// Whether a header of that name was added.
    pub fn has_header(&self, name: &'static str) -> bool {
        self.headers.iter().any(|header| header.field.equiv(name))
    }

    /// Gzips a body that is worth it, if the client takes that. Whether it does or not, caches learn that it matters.
    pub(super) fn suit(&mut self, gzip_is_welcome: impl FnOnce() -> bool) {
        if self.body.len() <= gzip::WORTHWHILE_BYTES || !self.has_body() {
            return;
        }
        self.headers.extend(header("Vary", "Accept-Encoding"));
        if gzip_is_welcome()
            && let Some(coded) = gzip::encode(&self.body)
        {
            self.body = coded;
            self.headers.extend(header("Content-Encoding", "gzip"));
        }
    }

    /// Whether the status allows a body.
    fn has_body(&self) -> bool {
        !matches!(self.status.0, 100..=199 | 204 | 304)
    }

    /// Appends the whole reply to `out`. `connection` is the value of the header of that name, if any.
    pub(super) fn print(self, version: HTTPVersion, connection: Option<&str>, with_body: bool, out: &mut Vec<u8>) {
        let has_body = self.has_body();
        let body = self.print_head(version, has_body, out);
        if let Some(connection) = connection {
            out.extend_from_slice(b"Connection: ");
            out.extend_from_slice(connection.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if has_body && with_body {
            out.extend_from_slice(&body);
        }
    }

    /// Appends the head of a reply whose body ends with the connection.
    pub(super) fn print_endless(self, version: HTTPVersion, out: &mut Vec<u8>) {
        self.print_head(version, false, out);
        out.extend_from_slice(b"Connection: close\r\n\r\n");
    }

    /// Appends the head without the empty line, with the length of the body or without one, and gives the body back.
    fn print_head(self, version: HTTPVersion, with_length: bool, out: &mut Vec<u8>) -> Vec<u8> {
        let Self { status, content_type, body, headers: mut extra, .. } = self;
        let mut headers: Vec<Header> = header("Server", SERVER).into_iter().collect();
        if !content_type.is_empty() {
            headers.extend(header("Content-Type", content_type));
        }
        headers.append(&mut extra);
        let length = if with_length { body.len() } else { 0 };
        Response::new(status, headers, io::empty(), Some(length), None)
            .with_chunked_threshold(usize::MAX)
            .raw_print(&mut *out, version, &[], true, None)
            .expect("a vector takes every write");
        // The empty line; it comes back with the last header.
        out.truncate(out.len() - 2);
        if !with_length && out.ends_with(b"Content-Length: 0\r\n") {
            out.truncate(out.len() - b"Content-Length: 0\r\n".len());
        }
        body
    }
}

fn header(name: &str, value: &str) -> Option<Header> {
    Header::from_bytes(name, value).ok()
}

/// Why the door does not let a request through to the service. It is answered, and the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// What the client did, in a few words.
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) fn new(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }

    pub(super) fn reply(self) -> Reply {
        let reply = Reply::text(self.status, format!("{}\n", self.why));
        match self.status {
            405 => reply.with_header("Allow", ALLOW),
            415 => reply.with_header("Accept-Encoding", "gzip"),
            503 => reply.with_header("Retry-After", RETRY_AFTER_S),
            _ => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the head without `Date`, and the body.
    fn printed(reply: Reply, connection: Option<&str>, with_body: bool) -> (Vec<String>, String) {
        let mut out = Vec::new();
        reply.print(HTTPVersion(1, 1), connection, with_body, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let lines = head.split("\r\n").filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect();
        (lines, body.to_owned())
    }

    #[test]
    fn a_reply_has_its_length_however_large() {
        let (head, body) = printed(Reply::xml("x".repeat(100_000)), Some("close"), true);
        let server = format!("Server: {SERVER}");
        let expected = [
            "HTTP/1.1 200 OK",
            server.as_str(),
            "Content-Type: text/xml; charset=utf-8",
            "Content-Length: 100000",
            "Connection: close",
        ];
        assert_eq!((head.as_slice(), body.len()), (expected.map(str::to_owned).as_slice(), 100_000));
    }

    #[test]
    fn the_reply_to_a_head_keeps_the_length_and_drops_the_body() {
        let (head, body) = printed(Reply::text(200_u16, "four"), None, false);
        assert!(head.contains(&"Content-Length: 4".to_owned()), "{head:?}");
        assert_eq!(body, "");
    }

    #[test]
    fn a_204_has_neither_length_nor_body() {
        let (head, body) = printed(Reply::new(204_u16, "", "ignored"), None, true);
        assert_eq!(head.len(), 2, "{head:?}");
        assert_eq!(body, "");
    }

    #[test]
    fn no_header_value_can_end_its_line_or_change_the_framing() {
        let reply = Reply::xml("four").with_header("X-A", "a\r\nSet-Cookie: é").with_header("content-length", "1");
        let (head, _) = printed(reply, None, true);
        assert!(head.contains(&"X-A: a??Set-Cookie: ?".to_owned()), "{head:?}");
        assert!(head.contains(&"Content-Length: 4".to_owned()), "{head:?}");
    }
}
