//! The head of an HTTP reply, as a node's door writes it: what lines between nodes and the benchmark's clients read.

/// The longest body of a reply. It may be somewhat larger than a call: it carries what calls brought, and more around it.
pub const MAX_REPLY_BYTES: usize = 16 << 20;
const MAX_HEADERS: usize = 64;
/// A head is not longer than this.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Where a reply ends, and what it says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHead {
    /// How long the head is.
    pub bytes: usize,
    /// How long the body is.
    pub body_bytes: usize,
    /// The HTTP status.
    pub status: u16,
    /// Whether it is the last reply on its connection.
    pub closes: bool,
}

impl ReplyHead {
    /// The head that these bytes begin with, if all of it has come.
    ///
    /// # Errors
    /// No door writes it: why, in a few words.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) if bytes.len() > MAX_HEAD_BYTES => {
                return Err("its head is too long".to_owned());
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let field = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            str::from_utf8(header.value).ok()
        };
        if field("Transfer-Encoding").is_some() || field("Content-Encoding").is_some() {
            return Err("it is coded in a way that was not asked for".to_owned());
        }
        // A door always says it; without, only the end of the connection would be the end of the reply.
        let length = field("Content-Length").and_then(|length| length.trim().parse().ok());
        let body_bytes = length.filter(|&length| length <= MAX_REPLY_BYTES).ok_or("it has no usable length")?;
        let closes = field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Some(Self { bytes: head_bytes, body_bytes, status: response.code.unwrap_or_default(), closes }))
    }
}
