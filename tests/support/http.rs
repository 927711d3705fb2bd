//! Plain HTTP, as a browser or curl would speak it: one request a connection.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// The value of a header, in the case in which the node writes it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// `GET path`, with further headers, each `Name: value`.
#[track_caller]
pub(crate) fn get(port: u16, path: &str, headers: &[&str]) -> Response {
    exchange(port, &head(port, "GET", path, headers))
}

/// `POST path` with a form.
#[track_caller]
pub(crate) fn post(port: u16, path: &str, form: &str, headers: &[&str]) -> Response {
    let length = format!("Content-Length: {}", form.len());
    let media = "Content-Type: application/x-www-form-urlencoded";
    let is_other = headers.iter().any(|header| header.starts_with("Content-Type"));
    let own: &[&str] = if is_other { &[&length] } else { &[&length, media] };
    exchange(port, &format!("{}{form}", head(port, "POST", path, &[own, headers].concat())))
}

fn head(port: u16, method: &str, path: &str, headers: &[&str]) -> String {
    let has_host = headers.iter().any(|header| header.starts_with("Host: "));
    let host = if has_host { String::new() } else { format!("Host: 127.0.0.1:{port}\r\n") };
    let rest: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{rest}\r\n")
}

#[track_caller]
fn exchange(port: u16, request: &str) -> Response {
    let mut stream = send(port, request);
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not an answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

#[track_caller]
fn send(port: u16, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// A stream of events that is open.
#[derive(Debug)]
pub(crate) struct Events {
    stream: TcpStream,
    pub(crate) read: String,
}

/// One event: its id, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) data: String,
}

impl Events {
    #[track_caller]
    pub(crate) fn open(port: u16, path: &str, headers: &[&str]) -> Self {
        let headers = [&["Accept: text/event-stream"], headers].concat();
        let mut events = Self { stream: send(port, &head(port, "GET", path, &headers)), read: String::new() };
        while !events.read.contains("\r\n\r\n") {
            events.more();
        }
        events
    }

    pub(crate) fn status(&self) -> u16 {
        self.read.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the first event, of those that were not asked for yet, that is as wanted.
    #[track_caller]
    pub(crate) fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            while let Some(end) = self.read.find("\n\n") {
                let block: String = self.read.drain(..end + 2).collect();
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some((id, data)) = field("id: ").zip(field("data: ")) {
                    let event = Event { id, data };
                    if wanted(&event) {
                        return event;
                    }
                }
            }
            self.more();
        }
    }

    #[track_caller]
    fn more(&mut self) {
        let mut piece = [0; 4096];
        let count = self.stream.read(&mut piece).unwrap();
        assert!(count > 0, "the stream ended: {:?}", self.read);
        // What is cut in the middle of a character is not looked for by any test.
        self.read.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
}
