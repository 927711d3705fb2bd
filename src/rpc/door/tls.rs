//! TLS: a session between the socket and the buffer of a [`Wire`](super::wire::Wire), and the files it takes.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::wire::{Stop, Timed};

/// Why the files of a TLS server are of no use. Every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not PEM, or what is in it is damaged.
    #[error("{}: the PEM is damaged: {source}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        source: pem::Error,
    },
    /// The file does not hold what it is for.
    #[error("{}: there is no {what} in it, which begins with {begins}", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// How its PEM would begin.
        begins: &'static str,
    },
    /// The certificates and the key cannot be used together, or one of them not at all.
    #[error("{} with the key {}: {source}", certificates.display(), key.display())]
    Unusable {
        /// The file with the certificates.
        certificates: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A certificate of the authority for clients cannot be used.
    #[error("{}: not usable as an authority: {source}", path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
}

/// What a [`Door`](super::Door) needs for TLS 1.2 and 1.3: the chain of certificates, the server's own first, and the
/// private key (PKCS#8, PKCS#1 or SEC1), both PEM.
///
/// # Errors
///
/// A file cannot be read, does not hold what it should, or the two do not belong together.
pub fn server_config(cert_pem: &Path, key_pem: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    build(cert_pem, key_pem, None)
}

/// As [`server_config`], but clients must show a certificate that was signed by one of those in `client_ca_pem`.
///
/// # Errors
///
/// As with [`server_config`].
pub fn server_config_for_clients_of(
    cert_pem: &Path,
    key_pem: &Path,
    client_ca_pem: &Path,
) -> Result<Arc<ServerConfig>, TlsError> {
    build(cert_pem, key_pem, Some(client_ca_pem))
}

fn build(cert_pem: &Path, key_pem: &Path, client_ca_pem: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key_pem)?).map_err(|source| match source {
        pem::Error::NoItemsFound => {
            TlsError::Missing { path: key_pem.to_owned(), what: "private key", begins: "-----BEGIN PRIVATE KEY-----" }
        }
        source => TlsError::Damaged { path: key_pem.to_owned(), source },
    })?;
    let unusable = |source| TlsError::Unusable { certificates: cert_pem.to_owned(), key: key_pem.to_owned(), source };
    // Named, so that no other crate's choice of a default provider matters here.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |source| TlsError::Authority { path: path.to_owned(), source };
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|_| unusable(VerifierBuilderError::NoRootAnchors))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(unusable)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(TlsError::Missing { path: path.to_owned(), what: "certificate", begins: "-----BEGIN CERTIFICATE-----" })
        }
        Ok(found) => Ok(found),
        Err(source) => Err(TlsError::Damaged { path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

/// The server's side of one TLS session. It has no socket: each task is lent one, with a deadline.
pub(super) struct Session {
    connection: ServerConnection,
}

impl Session {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        ServerConnection::new(Arc::clone(config)).map(|connection| Self { connection })
    }

    /// To the end of the handshake.
    pub(super) fn shake_hands(&mut self, socket: &mut Timed<'_>) -> Result<(), Stop> {
        while self.connection.is_handshaking() {
            self.receive(socket)?;
        }
        Ok(())
    }

    /// Waits for plain text, at least one byte; 0 at the end.
    pub(super) fn read(&mut self, socket: &mut Timed<'_>, room: &mut [u8]) -> Result<usize, Stop> {
        loop {
            match self.connection.reader().read(room) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.receive(socket)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether there is plain text that needs no further bytes from the socket.
    pub(super) fn holds_more(&mut self) -> bool {
        self.connection.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    pub(super) fn send(&mut self, socket: &mut Timed<'_>, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            // As much as the session is willing to hold at a time.
            let count = self.connection.writer().write(bytes)?;
            bytes = &bytes[count..];
            self.flush(socket)?;
        }
        Ok(())
    }

    /// Says that no more will come, as well as that goes.
    pub(super) fn end(&mut self, socket: &mut Timed<'_>) {
        self.connection.send_close_notify();
        if let Err(stop) = self.flush(socket) {
            log::debug!("door: the end of a TLS session was not heard: {stop}");
        }
    }

    /// One read from the socket, and what has to be said in return.
    fn receive(&mut self, socket: &mut Timed<'_>) -> Result<(), Stop> {
        // An end without a farewell is an end like any other: what HTTP counts cannot be cut short unseen.
        if self.connection.read_tls(socket)? == 0 {
            return Err(Stop::End);
        }
        let processed = self.connection.process_new_packets();
        // Also after an error, since the peer is told of it by an alert.
        let flushed = self.flush(socket);
        processed.map_err(|error| Stop::Broken(io::Error::new(ErrorKind::InvalidData, error)))?;
        flushed
    }

    fn flush(&mut self, socket: &mut Timed<'_>) -> Result<(), Stop> {
        while self.connection.wants_write() {
            if self.connection.write_tls(socket)? == 0 {
                return Err(Stop::Broken(ErrorKind::WriteZero.into()));
            }
        }
        Ok(())
    }
}
