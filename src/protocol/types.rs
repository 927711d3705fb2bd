//! The words that every protocol shares: who, which ballot, which instance, which value.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A node's id: a positive number that fits an XML-RPC `<int>`. In the lab it is the node's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// A caller that is no member: a person with `ServerProxy`, who may send `prepare` to a lab node. Owns no vote.
    pub const GUEST: Self = Self(0);

    /// A member's id; `None` for 0, which is the guest's, and for what an XML-RPC `<int>` cannot hold.
    #[must_use]
    pub fn new(id: u32) -> Option<Self> {
        (id != 0 && i32::try_from(id).is_ok()).then_some(Self(id))
    }

    /// The bare number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        digits(text)
            .and_then(|id| u32::try_from(id).ok())
            .and_then(Self::new)
            .ok_or_else(|| Malformed::new(text, &format!("a node id: a number from 1 to {}", i32::MAX)))
    }
}

/// A proposal number, shown `3.8000`: compared by round first, then by the node that owns it, so no two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// The round. Grows with every attempt.
    pub round: u64,
    /// The proposer that owns the ballot.
    pub node: NodeId,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

impl FromStr for Ballot {
    type Err = Malformed;

    /// Reads `3.8000`. The node may be 0, the guest.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parse = || {
            let (round, node) = text.split_once('.')?;
            let node = u32::try_from(digits(node)?).ok()?;
            let node = if node == 0 { NodeId::GUEST } else { NodeId::new(node)? };
            Some(Self { round: digits(round)?, node })
        };
        parse().ok_or_else(|| Malformed::new(text, "a ballot: write round.node, as in 3.8000"))
    }
}

/// The name of one agreement: 1 to 80 bytes of any text without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(Arc<str>);

impl Instance {
    /// So that the name, escaped three bytes for one, still is a file name.
    pub const MAX_BYTES: usize = 80;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Instance {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Instance {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            let should = format!("an instance name: write 1 to {} bytes without control characters", Self::MAX_BYTES);
            return Err(Malformed::new(text, &should));
        }
        Ok(Self(Arc::from(text)))
    }
}

/// What is agreed upon: opaque text to the protocols. The node keeps the XML-RPC form in it, `<int>5</int>`, so the
/// type is kept and a student can read it in the database. Equal text is an equal value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Arc<str>);

impl Value {
    /// Wraps the text as it stands.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text as it was wrapped.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a client's call until it is answered. Chosen by whoever hands the call in; never reused while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A text that is not what it should be; says what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    /// What was read, and what it should be: `a node id: a number above 0`.
    pub(super) fn new(text: &str, should: &str) -> Self {
        Self(format!("'{}' is not {should}", shorten(text).escape_debug()))
    }
}

/// Decimal digits only: `u64::from_str` would also take a sign.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Keeps a stranger's text from filling a log or an error message.
fn shorten(text: &str) -> &str {
    let end = (0..=40.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_order_by_round_then_node() {
        let ballot = |text: &str| text.parse::<Ballot>().unwrap();
        assert!(ballot("2.8000") > ballot("1.8004"));
        assert!(ballot("1.8004") > ballot("1.8000"));
        assert_eq!(ballot("18446744073709551615.2147483647").to_string(), "18446744073709551615.2147483647");
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in
            ["", ".", "1", "1.", ".1", "+1.1", "1.-1", "1.1.1", " 1.1", "18446744073709551616.1", "1.2147483648"]
        {
            assert!(text.parse::<Ballot>().is_err(), "{text}");
        }
        for text in ["", "0", "-1", "+1", "2147483648", "x"] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
        for text in ["", "a\nb", "\u{7f}", &"é".repeat(41)] {
            assert!(text.parse::<Instance>().is_err(), "{text}");
        }
        assert!("é".repeat(40).parse::<Instance>().is_ok());
    }
}
