//! HTTP/1.1 as a line speaks it: one call at a time, one write a call, answers with their length.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::rpc::client::{CONNECT_TIMEOUT, MAX_REPLY_BYTES, status_hint};
use crate::rpc::door::send_now;

/// Headers of an answer at most.
const MAX_HEADERS: usize = 64;
/// A head is not longer than this.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// So much is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How often a thread that waits for an answer looks whether it has waited too long.
const LOOK: Duration = Duration::from_millis(500);

/// Connects to `HOST:PORT`; what waits for the peer there waits at most so long.
pub(super) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(LOOK))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What all requests of a line begin with.
pub(super) fn request_head(address: &str, authorization: Option<&str>) -> String {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    format!("POST /RPC2 HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/xml\r\n{authorization}Content-Length: ")
}

/// A whole request.
pub(super) fn request(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(head.len() + 16 + body.len());
    bytes.extend_from_slice(head.as_bytes());
    write!(bytes, "{}\r\n\r\n", body.len()).expect("a vector takes every write");
    bytes.extend_from_slice(body);
    bytes
}

/// Sends without waiting: what the socket does not take at once is sent by a thread of its own. If that fails, whoever
/// reads there finds the connection broken.
pub(super) fn send(wire: &Arc<TcpStream>, mut bytes: Vec<u8>) {
    let rest = match send_now(wire, &bytes) {
        Ok(sent) if sent == bytes.len() => return,
        Ok(sent) => {
            bytes.drain(..sent);
            let wire = wire.clone();
            let rest = move || (&*wire).write_all(&bytes).or_else(|_| wire.shutdown(Shutdown::Both));
            thread::Builder::new().name("line-rest".to_owned()).spawn(rest).map(drop)
        }
        Err(error) => Err(error),
    };
    if rest.is_err() {
        _ = wire.shutdown(Shutdown::Both);
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// The connection has ended, or was broken, and of the answer nothing had come.
    Closed(io::Error),
    /// The answer came in part.
    Broken(io::Error),
    /// It is no answer that a node gives.
    Garbled(String),
}

/// An answer's head.
#[derive(Debug, Clone, Copy)]
struct Head {
    bytes: usize,
    body_bytes: usize,
    closes: bool,
}

/// Reads the answers on a connection, one after the other.
pub(super) struct Answers {
    bytes: Vec<u8>,
    chunk: Box<[u8]>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// Whether it is the last one on this connection.
    pub(super) is_last: bool,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), chunk: vec![0; CHUNK_BYTES].into() }
    }

    /// Waits for the next answer, for as long as `waits` says, which is asked now and then.
    pub(super) fn next(
        &mut self,
        mut stream: impl Read,
        waits: impl Fn() -> io::Result<()>,
    ) -> Result<Answer, Silence> {
        let mut head = None;
        loop {
            if head.is_none() {
                head = parse(&self.bytes)?;
            }
            if let Some(Head { bytes, body_bytes, closes }) = head
                && self.bytes.len() >= bytes + body_bytes
            {
                let body = self.bytes[bytes..bytes + body_bytes].to_vec();
                self.bytes.drain(..bytes + body_bytes);
                return Ok(Answer { body, is_last: closes });
            }
            let read = match stream.read(&mut self.chunk) {
                Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed")),
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    waits().map(|()| 0)
                }
                read => read,
            };
            match read {
                Ok(count) => self.bytes.extend_from_slice(&self.chunk[..count]),
                Err(error) if self.bytes.is_empty() && error.kind() != ErrorKind::TimedOut => {
                    return Err(Silence::Closed(error));
                }
                Err(error) => return Err(Silence::Broken(error)),
            }
        }
    }
}

/// The head that these bytes begin with, if it is whole.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Silence> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let garbled = |why: String| Err(Silence::Garbled(why));
    let bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) if bytes.len() > MAX_HEAD_BYTES => {
            return garbled("its head is too long".to_owned());
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return garbled(error.to_string()),
    };
    let status = response.code.unwrap_or_default();
    if status != 200 {
        return garbled(status_hint(status));
    }
    let field = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(header.value).ok()
    };
    if field("Transfer-Encoding").is_some() || field("Content-Encoding").is_some() {
        return garbled("it is coded in a way that was not asked for".to_owned());
    }
    match field("Content-Length").and_then(|length| length.trim().parse().ok()) {
        Some(body_bytes) if body_bytes <= MAX_REPLY_BYTES => {
            let closes = field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            Ok(Some(Head { bytes, body_bytes, closes }))
        }
        Some(body_bytes) => garbled(format!("it would be {body_bytes} bytes long")),
        None => garbled("it has no length".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(mut bytes: &[u8]) -> Vec<Result<(Vec<u8>, bool), Silence>> {
        let mut answers = Answers::new();
        let mut all = Vec::new();
        loop {
            // A byte at a time: an answer may come in any pieces.
            let next = answers.next(OneByOne(&mut bytes), || Ok(()));
            let is_last = next.is_err();
            all.push(next.map(|answer| (answer.body, answer.is_last)));
            if is_last {
                return all;
            }
        }
    }

    struct OneByOne<'a, 'b>(&'a mut &'b [u8]);

    impl Read for OneByOne<'_, '_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    #[test]
    fn answers_are_read_in_any_pieces_one_after_the_other() {
        let one = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 3\r\n\r\nabc";
        let two = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let all = answers(&[one.as_slice(), two].concat());
        assert!(matches!(&all[0], Ok((body, false)) if body == b"abc"), "{all:?}");
        assert!(matches!(&all[1], Ok((body, true)) if body.is_empty()), "{all:?}");
        assert!(matches!(&all[2], Err(Silence::Closed(_))), "{all:?}");
    }

    #[test]
    fn an_answer_that_ends_too_early_is_broken() {
        let all = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab");
        assert!(matches!(&all[..], [Err(Silence::Broken(_))]), "{all:?}");
    }

    #[test]
    fn what_no_node_answers_is_garbled() {
        for wrong in [
            "SMTP ready\r\n\r\n",
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let all = answers(wrong.as_bytes());
            assert!(matches!(&all[..], [Err(Silence::Garbled(_))]), "{wrong:?}: {all:?}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        assert!(matches!(&answers(endless.as_bytes())[..], [Err(Silence::Garbled(_))]));
    }

    #[test]
    fn a_request_has_its_length() {
        let head = request_head("127.0.0.1:8000", Some("Basic x"));
        let text = String::from_utf8(request(&head, b"<a/>")).unwrap();
        let expected = "POST /RPC2 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: text/xml\r\n\
                        Authorization: Basic x\r\nContent-Length: 4\r\n\r\n<a/>";
        assert_eq!(text, expected);
    }
}
