//! Gzip over raw sockets, in both directions.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::*;

fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn coded_post(coding: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: {coding}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn gzipped_calls() {
    let good = gzipped(b"hello");
    let mut corrupt = good.clone();
    corrupt[12] ^= 0xff;
    let limit = Options::default().max_body_bytes;
    for (coding, body, status) in [
        ("gzip", good.clone(), 200),
        ("X-GZIP", good.clone(), 200),
        ("identity", b"hello".to_vec(), 200),
        ("gzip", corrupt, 400),
        ("gzip", b"hello".to_vec(), 400),
        ("gzip", good[..good.len() - 1].to_vec(), 400),
        ("gzip", [good.as_slice(), b"!"].concat(), 400),
        ("gzip", Vec::new(), 400),
        ("gzip", gzipped(&vec![0; limit + 1]), 413),
        ("gzip", gzipped(&vec![0; 4 * limit]), 413),
        ("deflate", good.clone(), 415),
        ("br", good.clone(), 415),
        ("gzip, gzip", good.clone(), 415),
    ] {
        let fixture = open(patient());
        let mut client = fixture.connect();
        client.send(coded_post(coding, &body));
        let answer = client.answer(true);
        assert_eq!(answer.status, status, "{coding} {} bytes: {answer:?}", body.len());
        if status == 200 {
            assert_eq!((answer.body.as_str(), client.call("plain again").0), ("hello", 200));
        } else {
            assert_eq!(answer.head.contains("Accept-Encoding: gzip\r\n"), status == 415, "{answer:?}");
            client.closed();
        }
    }
}

#[test]
fn gzip_in_chunks_and_up_to_the_limit() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    let coded = gzipped(b"hello");
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in coded.chunks(7) {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer(true).body, "hello");
    let largest = "x".repeat(Options::default().max_body_bytes);
    client.send(coded_post("gzip", &gzipped(largest.as_bytes())));
    assert!(client.answer(true).body == largest);
}

#[test]
fn large_replies_are_gzipped_for_those_who_ask() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    let (small, large) = ("x".repeat(1_400), "x".repeat(1_401));
    for (accept, body, coded) in [
        ("gzip, deflate", &large, true),
        ("gzip;q=0.5", &large, true),
        ("gzip;q=0", &large, false),
        ("deflate", &large, false),
        ("", &large, false),
        ("gzip", &small, false),
    ] {
        let length = body.len();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accept}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let (head, bytes) = client.raw_answer(true);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(head.contains("Content-Encoding: gzip\r\n"), coded, "{accept:?}: {head}");
        assert_eq!(head.contains("Vary: Accept-Encoding\r\n"), body == &large, "{accept:?}: {head}");
        let mut plain = String::new();
        if coded {
            assert!(bytes.len() < 100, "{}", bytes.len());
            GzDecoder::new(bytes.as_slice()).read_to_string(&mut plain).unwrap();
        } else {
            plain = String::from_utf8(bytes).unwrap();
        }
        assert_eq!(&plain, body, "{accept:?}");
    }
}
