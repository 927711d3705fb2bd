//! The one content coding: gzip, in requests and in replies.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::head::Headers;
use super::reply::Refusal;

/// The size of a reply from which it is worth compressing, in bytes: below, it fits into one packet anyway.
pub(super) const WORTHWHILE_BYTES: usize = 1_400;

/// Whether the body is gzipped. `identity` says nothing, in whatever company.
pub(super) fn is_coded(headers: Headers<'_>) -> Result<bool, Refusal> {
    let mut codings = headers.items("content-encoding").filter(|item| !item.eq_ignore_ascii_case(b"identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if is_gzip(coding) => Ok(true),
        _ => Err(Refusal::new(415, "the only Content-Encoding read here is gzip")),
    }
}

/// Decodes the whole body into `plain`, which never grows beyond `max_bytes`, whatever the sender claims.
///
/// One member of gzip is one body. RFC 1952 would allow a series of them, but no client sends that, and a body of
/// nothing but empty members costs far more time than its bytes.
pub(super) fn decode(coded: &[u8], plain: &mut Vec<u8>, max_bytes: usize) -> Result<(), Refusal> {
    let mut decoder = GzDecoder::new(coded);
    plain.clear();
    let mut piece = vec![0; 8 << 10];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) if decoder.get_ref().is_empty() => return Ok(()),
            Ok(0) => return Err(Refusal::new(400, "something follows the gzipped body")),
            Ok(count) if plain.len() + count > max_bytes => {
                return Err(Refusal::new(413, "the body is too large when decoded"));
            }
            Ok(count) => {
                let spare = plain.capacity() - plain.len();
                if spare < count {
                    // Doubled as it grows, but never beyond the limit.
                    plain.reserve_exact(plain.len().max(count).min(max_bytes - plain.len()));
                }
                plain.extend_from_slice(&piece[..count]);
            }
            Err(_) => return Err(Refusal::new(400, "the gzipped body is damaged")),
        }
    }
}

/// The body gzipped, fast rather than small; `None` if that makes it no smaller.
pub(super) fn encode(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    // A vector takes every write, but there is no need to insist on it.
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().filter(|coded| coded.len() < plain.len())
}

/// Whether the client takes gzip, and does not say that it would rather have the plain body (RFC 9110, 12.5.3).
pub(super) fn is_welcome(headers: Headers<'_>) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in headers.items("accept-encoding") {
        let mut parts = item.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.next().map_or(1000, weight);
        let known = match name {
            b"*" => &mut any,
            name if is_gzip(name) => &mut gzip,
            name if name.eq_ignore_ascii_case(b"identity") => &mut identity,
            _ => continue,
        };
        // Of two for the same coding the more cautious one counts.
        *known = Some(known.map_or(weight, |other: u16| other.min(weight)));
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && identity.is_none_or(|identity| identity <= gzip)
}

fn is_gzip(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip")
}

/// The weight `q=…` in thousandths; 0 if it is not understood.
fn weight(parameter: &[u8]) -> u16 {
    let Some((name, value)) = parameter.split_at_checked(2) else { return 0 };
    let (whole, fraction) = match value {
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        [whole] => (whole, &[][..]),
        _ => return 0,
    };
    if !name.eq_ignore_ascii_case(b"q=") || !fraction.iter().chain([whole]).all(u8::is_ascii_digit) {
        return 0;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |b| u16::from(b - b'0'));
    (u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2)).min(1000)
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::head::Head;
    use super::*;

    fn with_headers<T>(headers: &str, look: impl FnOnce(Headers<'_>) -> T) -> T {
        let text = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        look(Head::parse(text.as_bytes(), &Options::default()).unwrap().unwrap().headers())
    }

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn content_encodings() {
        for (headers, expected) in [
            ("", Ok(false)),
            ("Content-Encoding: identity\r\n", Ok(false)),
            ("Content-Encoding: \r\n", Ok(false)),
            ("Content-Encoding: GZip\r\n", Ok(true)),
            ("Content-Encoding: x-gzip\r\n", Ok(true)),
            ("Content-Encoding: identity, gzip\r\n", Ok(true)),
            ("Content-Encoding: gzip, gzip\r\n", Err(415)),
            ("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", Err(415)),
            ("Content-Encoding: deflate\r\n", Err(415)),
            ("Content-Encoding: gzip;q=1\r\n", Err(415)),
        ] {
            assert_eq!(with_headers(headers, is_coded).map_err(|r| r.status), expected, "{headers:?}");
        }
    }

    #[test]
    fn accepted_encodings() {
        for (value, expected) in [
            ("gzip", true),
            ("deflate, GZIP", true),
            ("x-gzip", true),
            ("*", true),
            ("gzip;q=0.001", true),
            ("gzip ; Q=1.000", true),
            ("identity, gzip", true),
            ("br;q=1.0, *;q=0.1", true),
            ("", false),
            ("deflate", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("gzip, gzip;q=0", false),
            ("identity, gzip;q=0.5", false),
            ("gzip;q=x", false),
            ("gzip;q=", false),
            ("gzip;", false),
            ("gzip;q=0.0001", false),
        ] {
            assert_eq!(with_headers(&format!("Accept-Encoding: {value}\r\n"), is_welcome), expected, "{value:?}");
        }
        assert!(!with_headers("", is_welcome));
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let plain = b"<value><string>x</string></value>".repeat(1000);
        let coded = encode(&plain).unwrap();
        let mut body = Vec::new();
        assert!(coded.len() < plain.len() / 4, "{}", coded.len());
        assert_eq!((decode(&coded, &mut body, plain.len()), &body), (Ok(()), &plain));
        assert_eq!(encode(b""), None, "no smaller");
    }

    #[test]
    fn every_cut_and_every_addition_is_noticed() {
        let (coded, mut body) = (gzipped(b"some text, some text, some more text"), Vec::new());
        for end in 0..coded.len() {
            let refused = decode(&coded[..end], &mut body, 100).map_err(|r| r.status);
            assert_eq!(refused, Err(400), "cut at {end}");
        }
        for tail in [&b"\0"[..], b"garbage", &coded] {
            assert_eq!(decode(&[&coded, tail].concat(), &mut body, 100).map_err(|r| r.status), Err(400), "{tail:?}");
        }
        let mut damaged = coded.clone();
        let at = damaged.len() - 6;
        damaged[at] ^= 1;
        assert_eq!(decode(&damaged, &mut body, 100).map_err(|r| r.status), Err(400), "the checksum");
        assert_eq!(decode(b"no gzip at all", &mut body, 100).map_err(|r| r.status), Err(400));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let (bomb, mut body) = (gzipped(&vec![0; 8 << 20]), Vec::new());
        assert_eq!(decode(&bomb, &mut body, 1 << 20).map_err(|r| r.status), Err(413));
        assert!(body.capacity() <= 1 << 20, "{}", body.capacity());
        assert_eq!(decode(&gzipped(&[7; 1000]), &mut body, 1000), Ok(()), "up to the limit");
        assert_eq!(decode(&gzipped(&[7; 1001]), &mut body, 1000).map_err(|r| r.status), Err(413));
    }
}
