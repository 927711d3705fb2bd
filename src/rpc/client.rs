//! Calls to a node: what the shell, the tests and the benchmarks use, and the lines between nodes that speak TLS.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::reply_head::MAX_REPLY_BYTES;
use super::transport::PlainConnector;
use crate::node::measure::Histogram;
use crate::xmlrpc::{EncodeError, Fault, Limits, from_response, to_call};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Shorter than a door's idle timeout, so that a pooled connection is seldom one that the door is closing.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// How long a host name's address is believed.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// A client of one node. May be shared by threads; each keeps a connection of its own busy.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
    traffic: Arc<Traffic>,
}

/// What a client, with all its copies, has sent and received.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of the bodies of calls.
    pub sent: AtomicU64,
    /// Bytes of the bodies of answers.
    pub received: AtomicU64,
    /// Calls that got no answer.
    pub failures: AtomicU64,
    /// How long the answers took.
    pub round_trips: Mutex<Histogram>,
}

/// How calls are made.
#[derive(Debug, Clone)]
pub struct Calling {
    /// How long an answer may take.
    pub timeout: Duration,
    /// The `Authorization` header, see [`super::access::basic`].
    pub authorization: Option<String>,
    /// Whose certificates are trusted; without, calls go in plain text.
    pub authorities: Option<Authorities>,
}

impl Calling {
    /// In plain text, without credentials.
    #[must_use]
    pub const fn plain(timeout: Duration) -> Self {
        Self { timeout, authorization: None, authorities: None }
    }
}

/// The certificate authorities that a client trusts; no others are.
#[derive(Debug, Clone)]
pub struct Authorities(RootCerts);

impl Authorities {
    /// Reads certificates from a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn read(path: &Path) -> io::Result<Self> {
        let pem = fs::read(path)?;
        let mut certificates = Vec::new();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(io::Error::other)? {
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            return Err(io::Error::other("there is no certificate in it"));
        }
        Ok(Self(RootCerts::new_with_certs(&certificates)))
    }
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The node answered with a fault.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Definite: the node could not be reached, nothing was sent.
    #[error("cannot connect: {0}")]
    Unreachable(Error),
    /// Indefinite: the call was sent, and no answer came.
    #[error("no answer: {0}")]
    NoAnswer(Error),
    /// Whoever listens there does not speak XML-RPC over HTTP as it should.
    #[error("not an XML-RPC answer: {0}")]
    Garbled(String),
    /// The arguments cannot be expressed in XML-RPC; nothing was sent.
    #[error("the arguments cannot be sent: {0}")]
    Arguments(#[from] EncodeError),
}

impl CallError {
    /// Whether nobody listens at the address.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let (Self::Unreachable(Error::Io(error)) | Self::NoAnswer(Error::Io(error))) = self else { return false };
        error.kind() == io::ErrorKind::ConnectionRefused
    }
}

impl Client {
    /// A client of `HOST:PORT` that waits so long for an answer.
    #[must_use]
    pub fn new(address: &str, timeout: Duration) -> Self {
        Self::calling(address, &Calling::plain(timeout))
    }

    /// A client of `HOST:PORT` that calls like this.
    #[must_use]
    pub fn calling(address: &str, calling: &Calling) -> Self {
        let Calling { timeout, authorization, authorities } = calling.clone();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .no_delay(true)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(timeout))
            .timeout_send_body(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_recv_body(Some(timeout))
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .max_idle_age(MAX_IDLE);
        let address_known = KnownAddress::new(address);
        let (agent, scheme) = match authorities {
            Some(Authorities(roots)) => {
                let tls = TlsConfig::builder().root_certs(roots).build();
                (Agent::with_parts(config.tls_config(tls).build(), DefaultConnector::default(), address_known), "https")
            }
            None => (Agent::with_parts(config.build(), PlainConnector, address_known), "http"),
        };
        Self { agent, url: format!("{scheme}://{address}/RPC2"), authorization, traffic: Arc::default() }
    }

    /// A client of the same node, over the same connections, with another `Authorization` header or none.
    #[must_use]
    pub fn naming(&self, authorization: Option<String>) -> Self {
        Self { authorization, ..self.clone() }
    }

    /// What it has sent and received.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Calls a method with a tuple of parameters. It is sent once: what was written twice would be answered for the
    /// second time only, `files.create` with a definite fault, say.
    ///
    /// # Errors
    /// See [`CallError`]; each says whether the call may have had its effect.
    pub fn call<P: Serialize + ?Sized, T: DeserializeOwned>(&self, method: &str, params: &P) -> Result<T, CallError> {
        let mut body = Vec::with_capacity(512);
        to_call(method, params, &mut body)?;
        Ok(decode(&self.post(&body, false)?)??)
    }

    /// Sends an encoded call, and answers with the body of the response. If it may be sent `again`, it is, once, if a
    /// connection from the pool broke before any byte of an answer came: the door had closed it meanwhile.
    ///
    /// # Errors
    /// As for [`Client::call`], but for faults, which are bodies like others.
    pub(super) fn post(&self, body: &[u8], again: bool) -> Result<Vec<u8>, CallError> {
        let mut sent_before = false;
        let answer = match self.exchange(body) {
            Err(Error::Io(error)) if again && broke_before_an_answer(&error) => {
                sent_before = true;
                self.exchange(body)
            }
            answer => answer,
        };
        let bytes = answer.map_err(|error| {
            let never_sent = match &error {
                _ if sent_before => false,
                Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
                Error::Timeout(phase) => {
                    matches!(phase, ureq::Timeout::Connect | ureq::Timeout::Resolve)
                }
                Error::ConnectionFailed | Error::HostNotFound | Error::BadUri(_) => true,
                _ => false,
            };
            if never_sent { CallError::Unreachable(error) } else { CallError::NoAnswer(error) }
        })?;
        bytes.map_err(|status| CallError::Garbled(status_hint(status)))
    }

    /// One HTTP exchange: the body, or the status if it is not 200.
    fn exchange(&self, body: &[u8]) -> Result<Result<Vec<u8>, u16>, Error> {
        let began = Instant::now();
        self.traffic.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        let answer = self.try_exchange(body);
        match &answer {
            Ok(answer) => {
                self.traffic.received.fetch_add(answer.as_ref().map_or(0, Vec::len) as u64, Ordering::Relaxed);
                self.traffic.round_trips.lock().observe(began.elapsed());
            }
            Err(_) => _ = self.traffic.failures.fetch_add(1, Ordering::Relaxed),
        }
        answer
    }

    fn try_exchange(&self, body: &[u8]) -> Result<Result<Vec<u8>, u16>, Error> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "text/xml");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        let bytes = response.body_mut().with_config().limit(MAX_REPLY_BYTES as u64).read_to_vec()?;
        Ok(if status == 200 { Ok(bytes) } else { Err(status) })
    }
}

/// What a node answered.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<Result<T, Fault>, CallError> {
    let limits = Limits { body_bytes: MAX_REPLY_BYTES, ..Limits::default() };
    from_response(body, &limits).map_err(|error| CallError::Garbled(error.to_string()))
}

/// What an HTTP status says that is not 200.
pub(super) fn status_hint(status: u16) -> String {
    let hint = if status == 401 { ": the node does not know this name and secret, or none was given" } else { "" };
    format!("HTTP status {status}{hint}")
}

fn broke_before_an_answer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Answers with the one address there is. ureq's own resolver would start a thread at every call.
#[derive(Debug)]
struct KnownAddress {
    name: String,
    found: Mutex<Option<(SocketAddr, Instant)>>,
}

impl KnownAddress {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), found: Mutex::new(None) }
    }
}

impl Resolver for KnownAddress {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.found.lock();
        let address = match *found {
            Some((address, at)) if at.elapsed() < RESOLVE_AGAIN => address,
            _ => {
                let address = self.name.to_socket_addrs()?.next().ok_or(Error::HostNotFound)?;
                *found = Some((address, Instant::now()));
                address
            }
        };
        let mut addresses = self.empty();
        addresses.push(address);
        Ok(addresses)
    }
}
