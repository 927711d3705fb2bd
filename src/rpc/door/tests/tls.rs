//! TLS in front: rustls is the client, and the certificates are made on the spot.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::super::{TlsError, server_config, server_config_for_clients_of};
use super::*;

/// A directory with a certificate for `localhost`, its key, the authority behind it, and a client's certificate.
struct Files {
    directory: TempDir,
}

impl Files {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        for (name, host) in [("server", "localhost"), ("client", "client.example")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            fs::write(directory.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            fs::write(directory.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self) -> Options {
        let config = server_config(&self.path("server.pem"), &self.path("server.key")).unwrap();
        Options { tls: Some(config), ..patient() }
    }

    fn client(&self, version: &'static rustls::SupportedProtocolVersion, certified: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        if certified {
            let chain = vec![CertificateDer::from_pem_file(self.path("client.pem")).unwrap()];
            let key = PrivateKeyDer::from_pem_file(self.path("client.key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        } else {
            builder.with_no_client_auth()
        }
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn connect(addr: SocketAddr, config: ClientConfig) -> Stream {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), Client::to(addr).stream)
}

/// The status and the body of one answer.
fn answer(stream: &mut Stream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(body).unwrap())
}

#[test]
fn calls_come_and_go_as_in_the_clear() {
    let files = Files::make();
    let fixture = open(files.options());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = connect(fixture.door.local_addr(), files.client(version, false));
        let large = "x".repeat(3_000_000);
        for body in ["hello", large.as_str(), "again"] {
            stream.write_all(post(body).as_bytes()).unwrap();
            assert!(answer(&mut stream) == (200, body.to_owned()));
        }
        let calls: String = (0..1_000).map(|n| post(&n.to_string())).collect();
        let mut sent = calls.as_bytes();
        for n in 0..1_000 {
            if let Some((piece, rest)) = sent.split_at_checked(20_000.min(sent.len())) {
                stream.write_all(piece).unwrap();
                sent = rest;
            }
            assert_eq!(answer(&mut stream), (200, n.to_string()));
        }
        let own = "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nContent-Length: 2\r\n\r\nhi";
        stream.write_all(own.as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).0, 200);
        stream.write_all(own.replace("https", "http").as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).0, 403, "a page in the clear is not ours");
        // Without a farewell this would be an error.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    fixture.wait_for_connections(0);
}

#[test]
fn closing_says_farewell() {
    let files = Files::make();
    let fixture = open(files.options());
    let addr = fixture.door.local_addr();
    let mut idle = connect(addr, files.client(&rustls::version::TLS13, false));
    let mut busy = connect(addr, files.client(&rustls::version::TLS12, false));
    idle.write_all(post("hello").as_bytes()).unwrap();
    assert_eq!(answer(&mut idle).0, 200);
    busy.write_all(post("wait").as_bytes()).unwrap();
    fixture.entered.recv().unwrap();
    // In one record, which is in the session already when the first call is read.
    busy.write_all([post("second"), post("third")].concat().as_bytes()).unwrap();
    thread::scope(|scope| {
        let closing = scope.spawn(|| fixture.door.close(PATIENCE));
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        fixture.go_on.send(()).unwrap();
        for body in ["waited", "second", "third"] {
            assert_eq!(answer(&mut busy), (200, body.to_owned()));
        }
        assert_eq!(busy.read(&mut [0]).unwrap(), 0);
        closing.join().unwrap();
    });
}

#[test]
fn who_speaks_no_tls_hears_an_alert_and_the_end() {
    let fixture = open(Files::make().options());
    let mut client = fixture.connect();
    client.send(post(&"x".repeat(100_000)));
    while client.more().unwrap() {}
    assert_eq!(client.ahead.first(), Some(&21), "an alert: {:?}", client.ahead);
    drop(client);
    fixture.wait_for_connections(0);
}

#[test]
fn a_handshake_ends_by_its_deadline() {
    let fixture = open(Options { head_deadline: SHORT, ..Files::make().options() });
    let mut silent = fixture.connect();
    let mut slow = fixture.connect();
    // The beginning of a record, which then does not come.
    slow.send([22, 3, 1, 2, 0, 1]);
    let mut trickling = fixture.connect();
    trickling.send([22, 3, 1, 2, 0, 1, 0]);
    wait_until("the end of a trickled handshake", || {
        trickling.stream.write_all(&[0]).is_err() || fixture.door.connections() == 0
    });
    silent.closed();
    slow.closed();
    fixture.wait_for_connections(0);
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let files = Files::make();
    let config =
        server_config_for_clients_of(&files.path("server.pem"), &files.path("server.key"), &files.path("ca.pem"));
    let fixture = open(Options { tls: Some(config.unwrap()), ..patient() });
    let addr = fixture.door.local_addr();
    let mut known = connect(addr, files.client(&rustls::version::TLS13, true));
    known.write_all(post("hello").as_bytes()).unwrap();
    assert_eq!(answer(&mut known).0, 200);
    let mut unknown = connect(addr, files.client(&rustls::version::TLS13, false));
    let refused = unknown.write_all(post("hello").as_bytes()).and_then(|()| unknown.read(&mut [0]));
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let files = Files::make();
    let (certificate, key, client_key) = (files.path("server.pem"), files.path("server.key"), files.path("client.key"));
    fs::write(files.path("empty"), "").unwrap();
    fs::write(files.path("damaged"), "-----BEGIN CERTIFICATE-----\nMII!\n-----END CERTIFICATE-----\n").unwrap();
    let (missing, empty, damaged) = (files.path("missing"), files.path("empty"), files.path("damaged"));
    type Kind = fn(&TlsError) -> bool;
    let checks: [(_, _, _, Kind); 6] = [
        (&missing, &key, &missing, |e| matches!(e, TlsError::Unreadable { .. })),
        (&certificate, &missing, &missing, |e| matches!(e, TlsError::Unreadable { .. })),
        (&empty, &key, &empty, |e| matches!(e, TlsError::Missing { .. })),
        (&certificate, &certificate, &certificate, |e| matches!(e, TlsError::Missing { .. })),
        (&damaged, &key, &damaged, |e| matches!(e, TlsError::Damaged { .. })),
        (&certificate, &client_key, &client_key, |e| matches!(e, TlsError::Unusable { .. })),
    ];
    for (certificate, key, named, is_kind) in checks {
        let error = server_config(certificate, key).unwrap_err();
        assert!(is_kind(&error), "{error:?}");
        assert!(error.to_string().contains(named.to_str().unwrap()), "{error}");
    }
    let authority = server_config_for_clients_of(&certificate, &key, &key).unwrap_err();
    assert!(authority.to_string().contains(key.to_str().unwrap()), "{authority}");
}
