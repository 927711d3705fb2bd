//! HTTP/1.1 as a line speaks it: one call at a time, one write a call, answers with their length.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::rpc::client::{CONNECT_TIMEOUT, status_hint};
use crate::rpc::door::send_now;
use crate::rpc::reply_head::ReplyHead;
use crate::rpc::transport::open;

/// So much is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How often a thread that waits for an answer looks whether it has waited too long.
const LOOK: Duration = Duration::from_millis(500);

/// Connects to `HOST:PORT`; what waits for the peer there waits at most so long.
pub(super) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match open(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
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

    /// Waits for the next answer, for as long as `waits` says, which is asked now and then, and whenever a part has come.
    pub(super) fn next(
        &mut self,
        mut stream: impl Read,
        waits: impl Fn() -> io::Result<()>,
    ) -> Result<Answer, Silence> {
        let mut head = None;
        loop {
            if head.is_none() {
                head = ReplyHead::parse(&self.bytes).map_err(Silence::Garbled)?;
            }
            if let Some(ReplyHead { bytes, body_bytes, status, closes }) = head {
                if status != 200 {
                    return Err(Silence::Garbled(status_hint(status)));
                }
                if self.bytes.len() >= bytes + body_bytes {
                    let body = self.bytes[bytes..bytes + body_bytes].to_vec();
                    self.bytes.drain(..bytes + body_bytes);
                    return Ok(Answer { body, is_last: closes });
                }
            }
            if !self.bytes.is_empty() {
                // Who sends a byte now and then must not keep the line for longer than who sends none.
                waits().map_err(Silence::Broken)?;
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
    fn an_answer_that_comes_byte_by_byte_may_come_too_late() {
        let left = std::cell::Cell::new(20);
        let waits = || match left.replace(left.get() - 1) {
            0 => Err(ErrorKind::TimedOut.into()),
            _ => Ok(()),
        };
        let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        let next = Answers::new().next(OneByOne(&mut bytes), waits).map(|answer| answer.body);
        assert!(matches!(&next, Err(Silence::Broken(error)) if error.kind() == ErrorKind::TimedOut), "{next:?}");
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
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(16 << 10));
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
