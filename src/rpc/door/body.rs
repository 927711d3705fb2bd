//! The body of a request: how its end is known, and how it is collected. Nothing here reads; bytes are fed in.

use tiny_http::HTTPVersion;

use super::head::Headers;
use super::reply::Refusal;

/// The longest line that may give the size of a chunk, in bytes, with its extensions and its end.
const MAX_CHUNK_LINE: usize = 256;
/// The longest trailer field, in bytes. It must fit into the read buffer.
const MAX_TRAILER_LINE: usize = 1 << 10;
/// All trailer fields together, in bytes.
const MAX_TRAILERS: usize = 8 << 10;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none: neither a length nor chunks were announced.
    Absent,
    /// It has this many bytes, which is within the limit.
    Length(usize),
    /// It comes in chunks, the last of which is empty.
    Chunked,
}

/// Reads the framing off the headers, strictly: where two readers could disagree about the end of a body, a second
/// request can be smuggled in.
pub(super) fn framing(headers: Headers<'_>, version: &HTTPVersion, max_bytes: usize) -> Result<Framing, Refusal> {
    let (mut lengths, mut encodings) = (headers.all("content-length"), headers.all("transfer-encoding"));
    match (lengths.next(), encodings.next()) {
        (None, None) => Ok(Framing::Absent),
        (Some(_), Some(_)) => Err(Refusal::new(400, "Content-Length and Transfer-Encoding contradict each other")),
        (Some(_), None) if lengths.next().is_some() => Err(Refusal::new(400, "the Content-Length is repeated")),
        (Some(length), None) => content_length(length, max_bytes).map(Framing::Length),
        // RFC 9112, 6.1: with HTTP/1.0 the framing is to be taken as faulty.
        (None, Some(_)) if *version < (1, 1) => Err(Refusal::new(400, "HTTP/1.0 knows no Transfer-Encoding")),
        (None, Some(encoding)) if encodings.next().is_none() && encoding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        (None, Some(_)) => Err(Refusal::new(400, "the only Transfer-Encoding read here is chunked")),
    }
}

fn content_length(digits: &[u8], max_bytes: usize) -> Result<usize, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::new(400, "the Content-Length is no number"));
    }
    // Saturated, a number beyond 64 bits is as far above the limit as it ever was.
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    let length = usize::try_from(digits.iter().fold(0, add)).unwrap_or(usize::MAX);
    if length > max_bytes { Err(TOO_LARGE) } else { Ok(length) }
}

const TOO_LARGE: Refusal = Refusal { status: 413, why: "the body is too large" };

/// Collects one body from the pieces in which it arrives.
///
/// Invariant: the body never outgrows `max_bytes`, and its allocation not twice what has arrived.
#[derive(Debug)]
pub(super) struct Collector {
    state: State,
    max_bytes: usize,
}

#[derive(Debug)]
enum State {
    /// This many bytes of a body of known length are still to come.
    Length(usize),
    /// The line with a chunk's size is next.
    ChunkSize,
    /// This many bytes of a chunk are still to come.
    ChunkData(usize),
    /// The line end after a chunk's data is next.
    ChunkEnd,
    /// A trailer field or the empty line is next; this many bytes of trailers have been passed over.
    Trailers(usize),
    Done,
}

impl Collector {
    pub(super) fn new(framing: Framing, max_bytes: usize) -> Self {
        let state = match framing {
            Framing::Absent | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
        };
        Self { state, max_bytes }
    }

    /// Whether the body is complete.
    pub(super) fn done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes what it can use from the start of `input` into `body`, and returns how many bytes that was. It leaves at
    /// most the beginning of a line unused, unless the body is complete.
    pub(super) fn feed(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<usize, Refusal> {
        let mut used = 0;
        while let Some(count) = self.step(&input[used..], body)? {
            used += count;
        }
        Ok(used)
    }

    /// One step from one state to another; `None` if it needs more input or is done.
    fn step(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        let (next, count) = match self.state {
            State::Done => return Ok(None),
            State::Length(0) => (State::Done, 0),
            State::ChunkData(0) => (State::ChunkEnd, 0),
            State::Length(_) | State::ChunkData(_) if input.is_empty() => return Ok(None),
            State::Length(left) => {
                let count = take(input, left, body);
                (State::Length(left - count), count)
            }
            State::ChunkData(left) => {
                let count = take(input, left, body);
                (State::ChunkData(left - count), count)
            }
            State::ChunkSize => {
                let Some(line) = line(input, MAX_CHUNK_LINE)? else { return Ok(None) };
                let next = match chunk_size(line)? {
                    0 => State::Trailers(0),
                    size if size > (self.max_bytes - body.len()) as u64 => return Err(TOO_LARGE),
                    // It fits: the limit is a `usize`.
                    size => State::ChunkData(size as usize),
                };
                (next, line.len() + 2)
            }
            State::ChunkEnd => match line(input, 2)? {
                None => return Ok(None),
                Some(line) => (State::ChunkSize, line.len() + 2),
            },
            State::Trailers(passed) => match line(input, MAX_TRAILER_LINE)? {
                None => return Ok(None),
                Some([]) => (State::Done, 2),
                Some(line) if passed + line.len() > MAX_TRAILERS => {
                    return Err(Refusal::new(400, "the trailers are too large"));
                }
                // Nothing here asks for one, and none may become a header (RFC 9110, 6.5.1).
                Some(line) => (State::Trailers(passed + line.len() + 2), line.len() + 2),
            },
        };
        self.state = next;
        Ok(Some(count))
    }
}

/// Moves up to `left` bytes from `input` to `body`, and returns how many.
fn take(input: &[u8], left: usize, body: &mut Vec<u8>) -> usize {
    let count = input.len().min(left);
    if body.capacity() - body.len() < count {
        // Doubled as it grows, but never beyond what is still announced.
        body.reserve_exact(left.min(count.max(body.len())));
    }
    body.extend_from_slice(&input[..count]);
    count
}

/// The line at the start of `input`, without its end; `None` if the end has not arrived. A bare CR or LF is refused,
/// since readers disagree about it.
fn line(input: &[u8], max_bytes: usize) -> Result<Option<&[u8]>, Refusal> {
    let malformed = Refusal::new(400, "the chunks are malformed");
    let window = &input[..input.len().min(max_bytes)];
    let Some(end) = window.iter().position(|&b| b == b'\n') else {
        return if window.len() == max_bytes { Err(malformed) } else { Ok(None) };
    };
    match window[..end].strip_suffix(b"\r") {
        Some(line) if !line.contains(&b'\r') => Ok(Some(line)),
        _ => Err(malformed),
    }
}

/// The size in the first line of a chunk; what follows a semicolon is ignored.
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let malformed = Refusal::new(400, "the size of a chunk is malformed");
    let digits = line.split(|&b| b == b';').next().unwrap_or(line).trim_ascii_end();
    // Neither a sign nor an underscore passes, whatever the standard parser makes of them.
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| malformed)?;
    u64::from_str_radix(digits, 16).map_err(|_| malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100;

    /// Feeds `input` in pieces of every size; all must agree. `Ok` holds the body and the unused rest, or `None` if the
    /// body is not complete.
    fn collect(framing: Framing, input: &str) -> Result<Option<(String, String)>, u16> {
        let run = |piece: usize| {
            let (mut collector, mut body, mut used) = (Collector::new(framing, MAX), Vec::new(), 0);
            for end in (0..input.len()).step_by(piece).chain([input.len()]) {
                used += collector.feed(&input.as_bytes()[used..end.max(used)], &mut body).map_err(|r| r.status)?;
            }
            Ok(collector.done().then(|| (String::from_utf8(body).unwrap(), input[used..].to_owned())))
        };
        let whole = run(input.len().max(1));
        for piece in 1..input.len() {
            assert_eq!(run(piece), whole, "{input:?} in pieces of {piece}");
        }
        whole
    }

    fn complete(body: &str, rest: &str) -> Result<Option<(String, String)>, u16> {
        Ok(Some((body.to_owned(), rest.to_owned())))
    }

    #[test]
    fn lengths_are_digits_within_the_limit() {
        for (value, expected) in [
            ("0", Ok(0)),
            ("100", Ok(100)),
            ("000000000000000000000000100", Ok(100)),
            ("101", Err(413)),
            ("9223372036854775808", Err(413)),
            ("18446744073709551616", Err(413)),
            ("99999999999999999999999999999999", Err(413)),
            ("", Err(400)),
            ("abc", Err(400)),
            ("-1", Err(400)),
            ("+5", Err(400)),
            ("5, 5", Err(400)),
            ("0x5", Err(400)),
            ("5 5", Err(400)),
        ] {
            assert_eq!(content_length(value.as_bytes(), MAX).map_err(|r| r.status), expected, "{value:?}");
        }
    }

    #[test]
    fn a_length_takes_exactly_its_bytes() {
        assert_eq!(collect(Framing::Length(3), "abcdef"), complete("abc", "def"));
        assert_eq!(collect(Framing::Length(7), "abcdef"), Ok(None));
        assert_eq!(collect(Framing::Absent, "abc"), complete("", "abc"));
    }

    #[test]
    fn chunks_are_joined() {
        let input = "3\r\nabc\r\nA;name=\"value\"\r\n0123456789\r\n0\r\n\r\nrest";
        assert_eq!(collect(Framing::Chunked, input), complete("abc0123456789", "rest"));
        assert_eq!(collect(Framing::Chunked, "0 ;x\r\nTrailer: a\r\nOther: b\r\n\r\nrest"), complete("", "rest"));
        for end in 0..input.len() - 5 {
            assert_eq!(collect(Framing::Chunked, &input[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let (long, longer) = ("a".repeat(300), "a".repeat(2_000));
        let many = "a: b\r\n".repeat(2_000);
        for (input, status) in [
            ("\r\n", 400),
            ("-1\r\n", 400),
            ("+3\r\nabc\r\n", 400),
            ("0x3\r\nabc\r\n", 400),
            ("g\r\n", 400),
            ("3\nabc\r\n", 400),
            ("3\r\nabcd\r\n", 400),
            ("3\r\nabc\n0\r\n\r\n", 400),
            ("3;\rx\r\nabc\r\n", 400),
            ("00000000000000003\r\nabc\r\n", 400),
            ("65\r\n", 413),
            ("ffffffffffffffff\r\n", 413),
            (&format!("3;{long}"), 400),
            (&format!("0\r\nX: {longer}"), 400),
            (&format!("0\r\n{many}"), 400),
        ] {
            let (mut collector, mut body) = (Collector::new(Framing::Chunked, MAX), Vec::new());
            let refused = collector.feed(input.as_bytes(), &mut body).map_err(|r| r.status);
            assert_eq!(refused, Err(status), "{input:?}");
        }
    }

    #[test]
    fn what_is_announced_is_not_allocated() {
        let (mut collector, mut body) = (Collector::new(Framing::Length(1 << 30), 1 << 30), Vec::new());
        collector.feed(&[0; 1000], &mut body).unwrap();
        assert!(body.capacity() <= 2000, "{}", body.capacity());
    }
}
