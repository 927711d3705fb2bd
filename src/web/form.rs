//! What forms and queries say: `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode;

/// Fields of one form.
const MAX_FIELDS: usize = 32;

/// The fields of a form or of a query, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<(String, String)>);

/// Why a form cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("the form has more than {MAX_FIELDS} fields")]
    TooMany,
    #[error("the form is not in UTF-8")]
    NotUtf8,
    #[error("the form has a field twice")]
    Twice,
}

impl Form {
    /// Reads `a=1&b=2`. A field without `=` is empty.
    ///
    /// # Errors
    /// There are more fields than any form here has, or one of them twice, or they are not in UTF-8: what was meant is
    /// not known then, and a text with replaced characters is not what somebody wrote.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, FormError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|&byte| byte == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Twice);
            }
            if fields.len() == MAX_FIELDS {
                return Err(FormError::TooMany);
            }
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    /// The field of a name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn decoded(bytes: &[u8]) -> Result<String, FormError> {
    let spaced: Vec<u8> = bytes.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    let text = percent_decode(&spaced).decode_utf8().map_err(|_| FormError::NotUtf8)?;
    // Browsers send the line ends of a text area as CR LF, whatever was typed.
    Ok(text.replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, FormError> {
        Form::read(text.as_bytes()).map(|form| form.0)
    }

    #[test]
    fn forms_as_browsers_send_them() {
        let pairs = |pairs: &[(&str, &str)]| -> Result<Vec<(String, String)>, FormError> {
            Ok(pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        assert_eq!(read("entry=a+b%20c%2Bd&delete=0"), pairs(&[("entry", "a b c+d"), ("delete", "0")]));
        assert_eq!(read(""), pairs(&[]));
        assert_eq!(read("&&a&b=&=c&"), pairs(&[("a", ""), ("b", ""), ("", "c")]));
        assert_eq!(read("a=1=2"), pairs(&[("a", "1=2")]));
        assert_eq!(read("a=%E2%82%AC%0D%0Ax"), pairs(&[("a", "€\nx")]));
        assert_eq!(read("a=100%&b=%zz%4"), pairs(&[("a", "100%"), ("b", "%zz%4")]), "not an escape: as it stands");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(read("a=%FF"), Err(FormError::NotUtf8));
        assert_eq!(read("%C3=1"), Err(FormError::NotUtf8));
        assert_eq!(read("a=1&a=2"), Err(FormError::Twice));
        let many: String = (0..=MAX_FIELDS).map(|field| format!("f{field}=&")).collect();
        assert_eq!(read(&many), Err(FormError::TooMany));
    }

    proptest! {
        #[test]
        fn every_text_arrives_as_it_was(name in "[a-z]{1,5}", value in any::<String>()) {
            let encoded = format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
            let form = Form::read(encoded.as_bytes()).unwrap();
            let expected = value.replace("\r\n", "\n");
            prop_assert_eq!(form.value(&name), Some(expected.as_str()));
        }
    }

    /// Any bytes: read within the bounds, or refused; read again from what was read, they are the same.
    #[test]
    fn whatever_comes_is_read_or_refused() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let Ok(Form(fields)) = Form::read(bytes) else { return };
            assert!(fields.len() <= MAX_FIELDS);
            let size: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(size <= bytes.len(), "grew");
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let again: Vec<_> =
                fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            assert_eq!(Form::read(again.join("&").as_bytes()).map(|form| form.0.len()), Ok(fields.len()));
        });
    }
}
