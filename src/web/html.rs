//! HTML that cannot be broken by what stands in it.
//!
//! Whatever is not a literal of this program is escaped, and there is no way around it: [`Html`] grows only
//! by templates, which are `'static`, by values, which are escaped, and by other [`Html`].

use std::fmt::{self, Display, Write as _};

/// A piece of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    pub(super) const fn new() -> Self {
        Self(String::new())
    }

    /// Appends a template, with the values, escaped, in the places of its `{}`, in order.
    ///
    /// # Panics
    /// In debug builds, if there are not as many values as places.
    pub(super) fn fill(&mut self, template: &'static str, values: &[&dyn Display]) -> &mut Self {
        debug_assert_eq!(template.matches("{}").count(), values.len(), "{template}");
        let mut values = values.iter();
        for (at, literal) in template.split("{}").enumerate() {
            if at > 0
                && let Some(value) = values.next()
            {
                // Writing to a String cannot fail, unless a value's own Display does; then it stays out.
                _ = write!(Escaping(&mut self.0), "{value}");
            }
            self.0.push_str(literal);
        }
        self
    }

    /// Appends a template without places.
    pub(super) fn raw(&mut self, literal: &'static str) -> &mut Self {
        self.0.push_str(literal);
        self
    }

    pub(super) fn push(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Escapes what is written through it, such that in HTML, as content or between quotes, it is nothing but text.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Browsers drop it in one place and replace it in another.
                '\0' => self.0.push('\u{fffd}'),
                // Normalised to a line feed if it stood there as it is.
                '\r' => self.0.push_str("&#13;"),
                char => self.0.push(char),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escape(text: &str) -> String {
        let mut html = Html::new();
        html.fill("{}", &[&text]);
        html.into_string()
    }

    /// What a browser reads: the five names and the one number are all that may stand after an ampersand.
    fn unescape(html: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = html;
        while let Some(at) = rest.find('&') {
            out.push_str(&rest[..at]);
            let (reference, after) = rest[at + 1..].split_once(';')?;
            out.push(match reference {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "#39" => '\'',
                "#13" => '\r',
                _ => return None,
            });
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_only_text(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\0', '\r']));
            prop_assert_eq!(unescape(&escaped), Some(text.replace('\0', "\u{fffd}")));
        }

        #[test]
        fn values_cannot_leave_their_places(a in "[<>&\"'{}/a-z=]{0,20}", b in any::<String>()) {
            let mut html = Html::new();
            html.fill("<p title=\"{}\">{}</p>", &[&a, &b]);
            let expected = format!("<p title=\"{}\">{}</p>", escape(&a), escape(&b));
            prop_assert_eq!(html.as_str(), expected);
            prop_assert_eq!(html.as_str().matches('<').count(), 2);
            prop_assert_eq!(html.as_str().matches('"').count(), 2);
        }
    }

    #[test]
    fn a_place_in_a_value_is_no_place() {
        let mut html = Html::new();
        html.fill("{}{}", &[&"{}", &5]);
        assert_eq!(html.as_str(), "{}5");
    }
}
