//! Forms of this page only.
//!
//! A page of another site can make a browser POST a form here, with the credentials that the browser has for us. The
//! door refuses what says that it comes from there (`Origin`); here stands what remains: a browser must say that the form
//! is ours (`Sec-Fetch-Site`), and show the token that stands in our forms and that no other site can read. A program
//! that is no browser is led by nobody, and needs neither: `curl -d entry=hello 127.0.0.1:8000/board`.

use subtle::ConstantTimeEq as _;

use super::form::Form;
use crate::rpc::door::Headers;

/// The name of the field with the token.
pub(super) const FIELD: &str = "token";
const TOKEN_BYTES: usize = 16;

/// What our forms know, and nobody else's: made anew at every start of the node.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// As it stands in our forms.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a form may act.
    ///
    /// # Errors
    /// Why not, for people.
    pub(super) fn check(&self, headers: Headers<'_>, form: &Form) -> Result<(), &'static str> {
        if headers.value("Sec-Fetch-Site").is_some_and(|site| site != "same-origin") {
            return Err("forms of other sites are not taken; nothing was done");
        }
        let is_right = |token: &str| bool::from(self.0.as_bytes().ct_eq(token.as_bytes()));
        match form.value(FIELD) {
            Some(token) if is_right(token) => Ok(()),
            Some(_) => Err("the form is of an earlier start of this node; nothing was done. Load the page anew"),
            None if is_browser(headers) => Err("the form lacks its token; nothing was done. Load the page anew"),
            None => Ok(()),
        }
    }
}

/// Whether a browser sent this, as far as can be seen: then somebody else may have led it.
fn is_browser(headers: Headers<'_>) -> bool {
    let signs = ["Origin", "Referer", "Cookie", "Sec-Fetch-Site"];
    signs.iter().any(|sign| headers.value(sign).is_some())
        || headers.value("User-Agent").is_some_and(|agent| agent.contains("Mozilla/"))
}
