//! A request that is encoded once and sent many times, each time with other numbers in it.
//!
//! The numbers stand where the arguments had [`BLANK`]: eight digits, so that the length never changes.

use std::net::SocketAddr;

use memchr::memmem::find_iter;
use serde::Serialize;
use synod::xmlrpc::{EncodeError, to_call};

/// What is replaced by a number. Nothing else in the arguments may contain it.
pub(super) const BLANK: &str = "~~~~~~~~";
/// The numbers that there is room for.
pub(super) const NUMBERS: u64 = 100_000_000;

/// A request, head and body in one run of bytes.
pub(super) struct Template {
    bytes: Vec<u8>,
    /// Where the body begins.
    body: usize,
    /// Where the numbers stand, from the beginning of the body.
    blanks: Vec<usize>,
}

impl Template {
    /// A call; to nobody, until [`Self::address`].
    pub(super) fn new<P: Serialize + ?Sized>(method: &str, params: &P) -> Result<Self, EncodeError> {
        let mut bytes = Vec::new();
        to_call(method, params, &mut bytes)?;
        let blanks = find_iter(&bytes, BLANK).collect();
        Ok(Self { bytes, body: 0, blanks })
    }

    /// Directs the call to a node.
    pub(super) fn address(&mut self, to: SocketAddr, authorization: Option<&str>) {
        let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        let length = self.bytes.len() - self.body;
        let head = format!(
            "POST /RPC2 HTTP/1.1\r\nHost: {to}\r\n{authorization}Content-Type: text/xml\r\nContent-Length: {length}\r\n\r\n"
        );
        self.bytes.splice(..self.body, head.bytes());
        self.body = head.len();
    }

    /// How many numbers there are.
    pub(super) fn blanks(&self) -> usize {
        self.blanks.len()
    }

    /// Writes a number, by the order in which they stand in the text.
    pub(super) fn set(&mut self, blank: usize, number: u64) {
        let mut rest = number % NUMBERS;
        let start = self.body + self.blanks[blank];
        for digit in self.bytes[start..start + BLANK.len()].iter_mut().rev() {
            *digit = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
        }
    }

    /// Writes the same number everywhere.
    pub(super) fn set_all(&mut self, number: u64) {
        (0..self.blanks()).for_each(|blank| self.set(blank, number));
    }

    /// What is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use synod::xmlrpc::{Call, Limits};

    use super::*;

    fn params(template: &Template) -> (String, String) {
        let text = std::str::from_utf8(template.bytes()).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        Call::parse(body, &Limits::default()).unwrap().params().unwrap()
    }

    #[test]
    fn numbers_take_the_place_of_the_blanks() {
        let mut template = Template::new("kv.put", &(format!("a/{BLANK}"), format!("x{BLANK}<y>"))).unwrap();
        template.address(SocketAddr::from(([127, 0, 0, 1], 8000)), None);
        assert_eq!(template.blanks(), 2);
        template.set(0, 7);
        template.set(1, 12_345_678);
        assert_eq!(params(&template), ("a/00000007".to_owned(), "x12345678<y>".to_owned()));
        template.set_all(NUMBERS + 1);
        assert_eq!(params(&template), ("a/00000001".to_owned(), "x00000001<y>".to_owned()));
    }

    #[test]
    fn a_request_can_be_directed_elsewhere() {
        let mut template = Template::new("kv.put", &(BLANK, "x")).unwrap();
        template.address(SocketAddr::from(([127, 0, 0, 1], 8000)), Some("Basic Zm9v"));
        template.set(0, 1);
        let text = String::from_utf8(template.bytes().to_vec()).unwrap();
        assert!(text.starts_with("POST /RPC2 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"), "{text}");
        assert!(text.contains("\r\nAuthorization: Basic Zm9v\r\n"), "{text}");
        template.address("[::1]:65535".parse().unwrap(), None);
        template.set(0, 2);
        let text = String::from_utf8(template.bytes().to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Host: [::1]:65535"), "{text}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
        assert!(!head.contains("Authorization"), "{text}");
        assert_eq!(params(&template).0, "00000002");
    }
}
