//! The head of a request: parsed, and judged before a byte of the body is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use tiny_http::{HTTPVersion, Method};

use super::Options;
use super::body::{self, Framing};
use super::gzip;
use super::reply::Refusal;

/// A complete head, with a copy of its text: the read buffer moves on to the body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// The path, without scheme, authority and query.
    pub(super) path: String,
    /// What follows the `?`; empty if there is none.
    pub(super) query: String,
    pub(super) version: HTTPVersion,
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// Where a header field stands in the text of its head.
#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// What a head that passed the checks asks of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) framing: Framing,
    /// The body is gzipped.
    pub(super) gzipped: bool,
    /// The client wants the connection to stay open.
    pub(super) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
}

impl Head {
    /// Parses the head at the start of `bytes`; `None` if its end has not arrived yet.
    pub(super) fn parse(bytes: &[u8], options: &Options) -> Result<Option<Self>, Refusal> {
        let too_large = Refusal::new(431, "the head is too large");
        // Not on the stack, whose pages every connection would keep for as long as it lives.
        let mut slots = Box::new_uninit_slice(options.max_headers);
        let mut parsed = httparse::Request::new(&mut []);
        let len = match parsed.parse_with_uninit_headers(bytes, &mut slots) {
            Ok(httparse::Status::Complete(len)) if len <= options.max_head_bytes => len,
            Ok(httparse::Status::Partial) if bytes.len() < options.max_head_bytes => {
                return Ok(None);
            }
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(too_large),
            Err(_) => return Err(Refusal::new(400, "the head is malformed")),
        };
        let malformed = Refusal::new(400, "the request line is malformed");
        let method = parsed.method.and_then(|method| method.parse().ok()).ok_or(malformed)?;
        let (path, query) = path_and_query(parsed.path.ok_or(malformed)?);
        let (path, query) = (path.to_owned(), query.to_owned());
        let version = HTTPVersion(1, parsed.version.ok_or(malformed)?);
        let text = bytes[..len].to_vec();
        let field = |header: &httparse::Header<'_>| Field {
            name: range_of(header.name.as_bytes(), bytes),
            value: range_of(header.value, bytes),
        };
        let fields = parsed.headers.iter().map(field).collect();
        Ok(Some(Self { method, path, query, version, text, fields }))
    }

    /// The length of the head in bytes, with the empty line at its end.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn headers(&self) -> Headers<'_> {
        Headers { text: &self.text, fields: &self.fields }
    }

    /// Decides whether the request may come in, and how its body will arrive. In order: what makes the rest of the
    /// stream unintelligible, who is asking, what is asked for. `takes` says to which paths one may POST.
    pub(super) fn plan(&self, options: &Options, takes: impl Fn(&str) -> bool) -> Result<Plan, Refusal> {
        let headers = self.headers();
        let host = self.host()?;
        let framing = body::framing(headers, &self.version, options.max_body_bytes)?;
        guard_against_browsers(&self.method, host, headers, options)?;
        match self.method {
            Method::Get | Method::Head | Method::Options => {}
            Method::Post if !takes(&self.path) => {
                return Err(Refusal::new(404, "nothing here takes a POST; calls go to / or /RPC2"));
            }
            Method::Post if framing == Framing::Absent => {
                return Err(Refusal::new(411, "a call needs a Content-Length or chunks"));
            }
            Method::Post => {}
            _ => return Err(Refusal::new(405, "this method is not allowed")),
        }
        let gzipped = gzip::is_coded(headers)?;
        let modern = self.version >= (1, 1);
        let expects_continue = modern && headers.all("expect").next().is_some();
        if expects_continue && !headers.all("expect").all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
            return Err(Refusal::new(417, "the only expectation met here is 100-continue"));
        }
        let keep_alive = !headers.lists("connection", "close") && (modern || headers.lists("connection", "keep-alive"));
        Ok(Plan { framing, gzipped, keep_alive, expects_continue })
    }

    /// The value of `Host`, which HTTP/1.1 demands exactly once; `None` only for HTTP/1.0.
    fn host(&self) -> Result<Option<&str>, Refusal> {
        let mut hosts = self.headers().all("host");
        match (hosts.next(), hosts.next()) {
            (None, _) if self.version < (1, 1) => Ok(None),
            (None, _) => Err(Refusal::new(400, "HTTP/1.1 needs a Host")),
            (Some(host), None) => match std::str::from_utf8(host) {
                Ok(host) => Ok(Some(host)),
                Err(_) => Err(Refusal::new(400, "the Host is malformed")),
            },
            (Some(_), Some(_)) => Err(Refusal::new(400, "the Host is repeated")),
        }
    }
}

/// Keeps out the pages of other sites that a browser on this machine or network may be showing.
///
/// A page can make its browser POST here, but not hide its `Origin`; and a page whose name has been rebound to our
/// address sends that name as `Host`. Neither matters to clients that are not browsers: they send no `Origin`, and call
/// us by address or by a name that the options allow.
fn guard_against_browsers(
    method: &Method,
    host: Option<&str>,
    headers: Headers<'_>,
    options: &Options,
) -> Result<(), Refusal> {
    let own = host.and_then(Authority::parse);
    if host.is_some() && !own.is_some_and(|own| is_own_name(own.name, options)) {
        return Err(Refusal::new(403, "this Host is not served here"));
    }
    let (own_scheme, usual_port) = if options.tls.is_some() { ("https", 443) } else { ("http", 80) };
    let is_ours = |origin: &[u8]| {
        let origin = std::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"));
        let Some((scheme, authority)) = origin else { return false };
        let (Some(theirs), Some(own)) = (Authority::parse(authority), own) else { return false };
        // A page on another port of the same host is the page of another program.
        scheme.eq_ignore_ascii_case(own_scheme)
            && theirs.name.eq_ignore_ascii_case(own.name)
            && theirs.port.unwrap_or(usual_port) == own.port.unwrap_or(usual_port)
    };
    if *method == Method::Post && !headers.all("origin").all(is_ours) {
        return Err(Refusal::new(403, "calls from pages of other sites are not served"));
    }
    Ok(())
}

/// Whether a `Host` can be us without any name server's word for it.
fn is_own_name(name: &str, options: &Options) -> bool {
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address: Option<IpAddr> = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    };
    address.is_some_and(|address| !options.loopback_only || address.is_loopback())
        || name.eq_ignore_ascii_case("localhost")
        || options.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// The parts of `host[:port]`.
#[derive(Clone, Copy)]
struct Authority<'a> {
    /// With its brackets, if it is an address of IPv6.
    name: &'a str,
    /// `None` for the usual one.
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (name, port) = text.split_at(end);
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            // A colon with nothing behind it is allowed (RFC 3986, 3.2.3).
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { name, port })
    }
}

/// The path of a request's target, which proxies may send with scheme and authority (RFC 9112, 3.2.2), and its query.
fn path_and_query(target: &str) -> (&str, &str) {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
        _ => target,
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

/// Where `part` stands in `whole`, of which it is a slice. An empty part may come from anywhere.
fn range_of(part: &[u8], whole: &[u8]) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// The header fields of a request. Names are compared without regard to case.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    text: &'a [u8],
    fields: &'a [Field],
}

impl<'a> Headers<'a> {
    /// The value of the first field of that name, without the space around it; `None` if there is none or if it is not
    /// UTF-8.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.all(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of that name, in order.
    pub(super) fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let text = self.text;
        let named = move |field: &&Field| text[field.name.clone()].eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(named).map(move |field| &text[field.value.clone()])
    }

    /// Whether the comma-separated lists in the fields of that name hold `token`.
    fn lists(&self, name: &str, token: &str) -> bool {
        self.items(name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The items of the comma-separated lists in the fields of that name, without the empty ones.
    pub(super) fn items<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let lists = self.all(name);
        lists.flat_map(|list| list.split(|&b| b == b',')).map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(head: &str) -> Result<Plan, u16> {
        let options = Options { allowed_hosts: vec!["node1.example".to_owned()], ..Options::default() };
        let head = Head::parse(head.as_bytes(), &options).map_err(|refusal| refusal.status)?;
        let takes = |path: &str| path == "/";
        head.expect("the head is complete").plan(&options, takes).map_err(|refusal| refusal.status)
    }

    /// The status of a POST with a length and these headers; 0 if it may come in.
    fn post(headers: &str) -> u16 {
        plan(&format!("POST / HTTP/1.1\r\nContent-Length: 1\r\n{headers}\r\n")).err().unwrap_or(0)
    }

    #[test]
    fn a_head_is_taken_apart() {
        let text = b"\r\nGET /a?b HTTP/1.0\r\nX-One:  1 \r\nEmpty:\r\nx-one: 2\r\n\r\nrest";
        for end in 0..text.len() - 4 {
            assert!(Head::parse(&text[..end], &Options::default()).unwrap().is_none(), "{end}");
        }
        let head = Head::parse(text, &Options::default()).unwrap().unwrap();
        assert_eq!((&head.method, head.path.as_str(), head.version.clone()), (&Method::Get, "/a", HTTPVersion(1, 0)));
        assert_eq!(head.len(), text.len() - 4);
        let headers = head.headers();
        assert_eq!((headers.value("X-ONE"), headers.value("empty"), headers.value("two")), (Some("1"), Some(""), None));
        assert_eq!(headers.all("x-one").count(), 2);
    }

    #[test]
    fn malformed_heads_are_refused() {
        for head in [
            "nonsense\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: local\rhost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        ] {
            assert_eq!(plan(head), Err(400), "{head:?}");
        }
    }

    #[test]
    fn large_heads_are_refused() {
        let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert_eq!(plan(&many), Err(431));
        let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(16 << 10));
        assert_eq!(plan(&long), Err(431));
        assert_eq!(plan(&long[..16 << 10]), Err(431), "and not waited for");
    }

    #[test]
    fn only_own_hosts_are_served() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7001", "[::1]", "[::1]:7001", "node1.example:1"] {
            assert_eq!(post(&format!("Host: {host}\r\n")), 0, "{host}");
        }
        for host in
            ["evil.example", "", "127.0.0.1.evil.example", "[::1", "[evil]", "localhost:x", "a@localhost", "::1"]
        {
            assert_eq!(post(&format!("Host: {host}\r\n")), 403, "{host}");
        }
    }

    #[test]
    fn a_door_on_loopback_answers_to_no_other_address() {
        let options = Options { loopback_only: true, ..Options::default() };
        for (name, is_own) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("192.168.0.7", false),
            ("8.8.8.8", false),
            ("[fe80::1]", false),
            ("evil.example", false),
        ] {
            assert_eq!(is_own_name(name, &options), is_own, "{name}");
        }
        assert!(is_own_name("192.168.0.7", &Options::default()));
    }

    #[test]
    fn only_paths_that_take_calls_are_posted_to() {
        assert_eq!(plan("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n"), Err(404));
        assert!(plan("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok());
    }

    #[test]
    fn pages_of_other_sites_are_kept_out() {
        for (host, origin) in [
            ("localhost:1", "http://localhost:1"),
            ("localhost:1", "HTTP://LocalHost:1"),
            ("localhost", "http://localhost"),
            ("localhost:80", "http://localhost"),
            ("localhost", "http://localhost:80"),
            ("[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(post(&format!("Host: {host}\r\nOrigin: {origin}\r\n")), 0, "{host} {origin}");
        }
        for origin in [
            "null",
            "",
            "localhost:1",
            "http://evil.example:1",
            "http://localhost.evil.example:1",
            "http://[::1]:1",
            "http://localhost",
            "http://localhost:2",
            "http://localhost:x",
            "http://localhost:65537",
            "http://localhost:1/",
            "https://localhost:1",
        ] {
            assert_eq!(post(&format!("Host: localhost:1\r\nOrigin: {origin}\r\n")), 403, "{origin}");
        }
        assert_eq!(post("Host: localhost\r\nOrigin: http://localhost:3000\r\n"), 403, "of another program");
        assert_eq!(post("Host: localhost\r\nOrigin: https://localhost\r\n"), 403, "of another program");
        assert_eq!(post("Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n"), 403);
        let old = "POST / HTTP/1.0\r\nContent-Length: 1\r\nOrigin: http://localhost\r\n\r\n";
        assert_eq!(plan(old), Err(403), "an origin that cannot be compared is foreign");
    }

    #[test]
    fn connections_stay_open_by_the_rules_of_their_version() {
        let keep_alive = |line: &str, header: &str| {
            plan(&format!("GET / {line}\r\nHost: localhost\r\n{header}\r\n")).unwrap().keep_alive
        };
        assert!(keep_alive("HTTP/1.1", ""));
        assert!(!keep_alive("HTTP/1.1", "Connection: Close\r\n"));
        assert!(!keep_alive("HTTP/1.1", "Connection: keep-alive, close\r\n"));
        assert!(!keep_alive("HTTP/1.0", ""));
        assert!(keep_alive("HTTP/1.0", "Connection: x\r\nConnection: TE , Keep-Alive\r\n"));
    }

    #[test]
    fn targets_are_reduced_to_their_path() {
        for (target, path, query) in [
            ("/RPC2?a=/b", "/RPC2", "a=/b"),
            ("http://localhost:1/RPC2?x", "/RPC2", "x"),
            ("http://localhost", "/", ""),
            ("http://localhost?x", "/", "x"),
            ("/a?b?c", "/a", "b?c"),
            ("/a://b", "/a://b", ""),
            ("*", "*", ""),
        ] {
            assert_eq!(path_and_query(target), (path, query), "{target}");
        }
    }
}
