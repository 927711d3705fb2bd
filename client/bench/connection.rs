//! A connection to a node that costs the client next to nothing.
//!
//! Client and nodes share the machine's cores, so what the client spends is taken from what it measures: one write and
//! as few reads as the kernel allows for a call, no allocation, and no more of the reply looked at than is needed to
//! find its end. A node closes a connection only when it stops, so there is no pool and nothing is sent twice.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use synod::rpc::reply_head::{MAX_REPLY_BYTES, ReplyHead};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Enough for most replies; it grows for a longer one, and stays so.
const BUFFER: usize = 4 << 10;

/// A kept connection, with at most one call under way.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Whether the node said that it closes the connection.
    closing: bool,
}

impl Connection {
    /// Connects; no read or write will take longer than `timeout`.
    pub(super) fn open(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT.min(timeout))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, buffer: vec![0; BUFFER], closing: false })
    }

    /// Whether there will be no answer to a further call.
    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Sends a whole request. One reply is to be received before the next.
    ///
    /// After an error, of this or of [`Self::receive`], the connection is of no use: an answer may still come, to the
    /// wrong call.
    pub(super) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// Waits for the whole reply: its body.
    pub(super) fn receive(&mut self) -> io::Result<&[u8]> {
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled)?;
            if let Some(head) = ReplyHead::parse(&self.buffer[..filled]).map_err(io::Error::other)? {
                break head;
            }
        };
        let end = head.bytes + head.body_bytes;
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        while filled < end {
            filled += self.read(filled)?;
        }
        if filled > end {
            return Err(io::Error::other("there is more than one reply"));
        }
        self.closing = head.closes;
        let body = &self.buffer[head.bytes..end];
        match head.status {
            200 => Ok(body),
            status => Err(io::Error::other(format!("HTTP {status}: {}", String::from_utf8_lossy(body).trim_end()))),
        }
    }

    /// Reads what there is behind what is there already.
    fn read(&mut self, filled: usize) -> io::Result<usize> {
        if filled == self.buffer.len() {
            if filled >= MAX_REPLY_BYTES {
                return Err(io::Error::other("the reply is too long"));
            }
            self.buffer.resize(filled * 2, 0);
        }
        loop {
            match self.stream.read(&mut self.buffer[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Sends the parts of a reply one after the other, and gives what the client made of them.
    fn exchanged(parts: &[&[u8]]) -> Result<(Vec<u8>, bool), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                let mut request = [0; 7];
                stream.read_exact(&mut request).unwrap();
                // The client may have seen enough before the last part.
                parts.iter().for_each(|part| _ = stream.write_all(part));
            });
            let mut connection = Connection::open(address, Duration::from_secs(30)).unwrap();
            let body = connection
                .send(b"request")
                .and_then(|()| connection.receive())
                .map(<[u8]>::to_vec)
                .map_err(|error| error.to_string());
            body.map(|body| (body, connection.is_closing()))
        })
    }

    #[test]
    fn a_reply_may_come_in_pieces() {
        let parts: [&[u8]; 4] = [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 4\r\n", b"\r\nfo", b"ur"];
        assert_eq!(exchanged(&parts), Ok((b"four".to_vec(), false)));
    }

    #[test]
    fn the_buffer_grows_for_a_long_head_and_a_long_body() {
        let filler = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 100000\r\n\r\n", "y".repeat(2 * BUFFER));
        let body = vec![b'z'; 100_000];
        assert_eq!(exchanged(&[filler.as_bytes(), &body]), Ok((body, false)));
    }

    #[test]
    fn a_node_that_closes_says_so() {
        let reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(exchanged(&[reply]), Ok((Vec::new(), true)));
    }

    #[test]
    fn what_is_no_good_reply_is_an_error() {
        let refused = exchanged(&[b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nfull\n"]);
        assert_eq!(refused, Err("HTTP 503: full".to_owned()));
        for reply in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfo"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"",
        ] {
            assert!(exchanged(&[reply]).is_err(), "{}", String::from_utf8_lossy(reply));
        }
    }
}
