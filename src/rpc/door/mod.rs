//! The door: HTTP/1.0 and HTTP/1.1 in.
//!
//! One thread accepts, one thread serves each connection. A connection's thread reads a head, decides from the head
//! alone how the body will come, reads it, asks the [`Service`], writes the [`Reply`] and starts again. Nothing here
//! knows XML-RPC, and the service sees no socket.
//!
//! | File | What is in it |
//! |---|---|
//! | `connection` | the loop of one connection: head, body, service, reply |
//! | `head`, `body` | parsing and every check on what a client says; pure functions over bytes |
//! | `gzip` | the one content coding, both ways |
//! | `outlet` | replies that come after the service has returned |
//! | `reply` | replies and refusals, and their bytes |
//! | `wire` | a socket with its buffer and its deadlines |
//! | `tls` | a session in front of that socket, and the files it takes |
//! | `seats`, `bell` | who is inside, how many may be, how they are asked to leave |
//!
//! # Why not tiny_http's own server
//!
//! It loses connections when eight connect at once, stops accepting after any accept error, allocates what a
//! `Content-Length` claims, and has neither limits nor deadlines. So the loop is ours, on `httparse`; tiny_http serves
//! the vocabulary (`Method`, `StatusCode`, `Header`, `HTTPVersion`) and prints the heads of the replies.
//!
//! # What it guarantees
//!
//! - Each phase of an exchange ends by its deadline, however slowly the bytes come or go: a thread is held by its peer
//!   for at most head + body + write deadline a call, and the idle timeout between calls.
//! - Memory per connection is bounded by the limits in [`Options`], and falls back to a few KiB after a large call.
//!   What a client declares is never allocated before it has arrived.
//! - Calls of one connection are answered in the order they came in, each reply with its `Content-Length` and in one
//!   write.
//! - Every refusal by the door itself (a 4xx or 503 that the service did not choose) closes the connection: what
//!   follows in the stream may be a body nobody wants to read, or the second half of a smuggled request.
//! - An accept error, a panic in the service or a thread that cannot be started costs at most that connection.
//! - A reply without end ([`Stream`]) holds its thread for as long as its service wants, or until the client leaves, the
//!   client does not take a piece within the write deadline, or the door closes. How many there are is the service's to
//!   bound.
//! - A gzipped body counts with what comes out of it, and no more than the limit ever does.
//!
//! # How it closes
//!
//! A call is in flight from its first byte on, and a connection that has been accepted by the kernel is one that has
//! been accepted. When the door closes, a bell wakes whoever waits. The accept thread takes in what stands in the
//! backlog, then the port is free. Each connection answers what has arrived, pipelined calls included, the last with
//! `Connection: close`; one that was called within the last 50 ms listens for the rest of them, so that a busy client
//! hears it from an answer. Then it ends its own side only, and reads on for up to 100 ms: a call that crosses our end
//! on the way finds an end without an answer, never a reset.
//!
//! # Who owns what
//!
//! | Thread | Started by | Ends |
//! |---|---|---|
//! | `door-accept` | [`Door::open`] | in [`Door::close`], woken by the bell |
//! | `door-N` | the accept thread, one per connection | when the connection does |
//! | `door-rest` | whoever keeps a promise, for a reply that is large or not taken at once | when that is sent |
//!
//! # Caveats
//!
//! A service that never returns keeps its thread: [`Door::close`] stops waiting when the grace is over, but nothing can
//! end a thread from outside. A connection's thread may outlive its entry in the door by the microseconds it needs to
//! exit.
//!
//! A burst of connects that fills the listener's backlog waits for the kernel's next try, a second later. `std` binds
//! with a backlog of only 128, with which 5,000 connects in a row took 28 to 34 s here; with 4,096 it was 0.3 s.
//!
//! A client whose connect is completed in the microseconds between the last accept and the end of the listener sees a
//! reset: the kernel offers no way to stop one without the other.
//!
//! A client without TLS that comes to a door with it reads an alert and the end, no 400: that would be noise to every
//! client that does speak TLS. For the same reason a connection above the cap is closed there without a word.
//!
//! A connection that has had its last answer keeps its place until its client ends it, for up to a second.
//!
//! A call in flight whose rest never comes makes closing wait for its deadline or for the whole grace.
//!
//! Gzipped replies that hold a secret beside text of the caller's choice tell its length, TLS or not. No page of another
//! site can call here, which is what an attack by that needs.
//!
//! There is no authentication here.

mod bell;
mod body;
mod connection;
mod gzip;
mod head;
mod outlet;
mod reply;
mod seats;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ServerConfig;
use tiny_http::{HTTPVersion, Method};

pub use self::head::Headers;
pub use self::outlet::Promise;
pub(super) use self::outlet::send_now;
pub use self::reply::Reply;
pub use self::tls::{TlsError, server_config, server_config_for_clients_of};

use self::connection::Connection;
use self::outlet::Outlet;
use self::reply::Refusal;
use self::seats::{Admission, Seats};
use self::wire::Wire;

/// How long the accept thread rests after an error that waiting may cure, such as too many descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the accept thread goes on accepting once the door closes, if the backlog does not become empty.
const SWEEP: Duration = Duration::from_millis(50);
/// How long closing waits for threads whose sockets it has just shut down. They need microseconds, unless they are in
/// the service.
const SETTLE: Duration = Duration::from_millis(250);

/// Connections that wait to be accepted; the kernel may allow fewer.
const BACKLOG: i32 = 4096;
/// How often a [`Stream`] is asked for its next piece.
const PULSE: Duration = Duration::from_millis(100);

/// The limits of a [`Door`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections served at once; a further one is answered 503 and closed.
    pub max_connections: usize,
    /// From the first byte of a request to the end of its head; then 408 and close. Also from the beginning of a
    /// connection to the end of the TLS handshake; then it is closed.
    pub head_deadline: Duration,
    /// From the end of the head to the end of the body; then 408 and close.
    pub body_deadline: Duration,
    /// For one whole reply, however many writes it takes; then the connection is dropped.
    pub write_deadline: Duration,
    /// How long a connection may wait for the first byte of a request, its first one included; then it is closed.
    pub idle_timeout: Duration,
    /// The size of a request line with its headers, in bytes; above it 431.
    pub max_head_bytes: usize,
    /// Header fields in a request; above it 431.
    pub max_headers: usize,
    /// The size of a body in bytes, without the framing of chunks, before and after it is decoded; above it 413.
    pub max_body_bytes: usize,
    /// Host names (without port) under which clients may call, besides `localhost` and every IP literal. Any other
    /// `Host` is answered 403, or else a page whose name is rebound to our address could call from a browser.
    pub allowed_hosts: Vec<String>,
    /// Of the IP literals, serve only those of loopback: for a door that can be reached under no other.
    pub loopback_only: bool,
    /// Speaks TLS if there is a configuration, as [`server_config`] makes it from files.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            head_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            write_deadline: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_head_bytes: 16 << 10,
            max_headers: 100,
            max_body_bytes: 4 << 20,
            allowed_hosts: Vec::new(),
            loopback_only: false,
            tls: None,
        }
    }
}

/// What stands behind the door. It is called from many threads at once.
pub trait Service: Send + Sync + 'static {
    /// Answers one request: a POST to a path that takes one, or a GET of any path.
    ///
    /// A panic is answered 500 and logged, and costs this connection only.
    fn answer(&self, request: &Request<'_>) -> Reply;

    /// Whether a path takes POSTs. What does not is answered 404, before its body is read.
    fn takes(&self, path: &str) -> bool {
        matches!(path, "/" | "/RPC2")
    }
}

/// A reply that has no end yet: what comes after its head, piece by piece, as it becomes known. The connection asks for
/// the next piece ten times a second.
pub trait Stream: Send {
    /// The bytes that are there now, maybe none; `None` ends the reply, and with it the connection.
    ///
    /// It must not wait: meanwhile neither the client's end nor the door's closing would be noticed.
    fn next(&mut self) -> Option<Vec<u8>>;
}

/// One request, complete, as a [`Service`] sees it.
#[derive(Clone)]
pub struct Request<'a> {
    /// [`Method::Get`] or [`Method::Post`]; a HEAD is shown as a GET, and the door leaves out the body of the reply.
    pub method: Method,
    /// The path without the query, as it was sent, percent escapes and all.
    pub path: &'a str,
    /// The query, without its `?`, as it was sent; empty if there was none.
    pub query: &'a str,
    /// The header fields.
    pub headers: Headers<'a>,
    /// The body with its framing and its content coding removed; empty if there was none.
    pub body: &'a [u8],
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Where a reply may come from another thread, if it may.
    outlet: Option<&'a Arc<Outlet>>,
}

impl Request<'_> {
    /// The duty to reply to this, which another thread may have, and what to return meanwhile. `None` if this connection
    /// replies only from its own thread: under TLS, without keep-alive, to HTTP/1.0 and HEAD, and to pipelined calls.
    pub fn promise(&self) -> Option<(Promise, Reply)> {
        Some((self.outlet?.promise(gzip::is_welcome(self.headers)), Reply::promised()))
    }
}

/// A running HTTP server. Dropping it closes it without grace.
pub struct Door {
    local_addr: SocketAddr,
    seats: Arc<Seats>,
    /// `None` once a call of [`Door::close`] has taken it.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Door {
    /// Starts to accept connections from `listener`, which is made non-blocking.
    ///
    /// # Errors
    ///
    /// The listener's address or mode cannot be had, or there are no descriptors left, or the accept thread cannot be
    /// started.
    pub fn open(listener: TcpListener, options: Options, service: Arc<dyn Service>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?;
        let local_addr = listener.local_addr()?;
        let seats = Arc::new(Seats::new(options.max_connections)?);
        let acceptor = Acceptor { listener, seats: Arc::clone(&seats), options: Arc::new(options), service };
        let thread = thread::Builder::new().name("door-accept".to_owned()).spawn(move || acceptor.run())?;
        Ok(Self { local_addr, seats, accepting: Mutex::new(Some(thread)) })
    }

    /// The address it listens on, with the real port if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The connections being served at the moment, idle ones included, refused ones not.
    pub fn connections(&self) -> usize {
        self.seats.served()
    }

    /// Stops accepting, ends the connections that are between calls, and waits up to `grace` for the calls in flight,
    /// the last of which on each connection is answered with `Connection: close`. What then remains is shut down.
    ///
    /// A call is in flight from its first byte on, read or not. Clients that keep idle connections open make this take
    /// up to 0.2 s (see the module's page), if the grace is as long. Closing twice is harmless. A service must not
    /// close its own door from within `answer`: it would wait for itself for the whole grace.
    pub fn close(&self, grace: Duration) {
        let end = wire::deadline(grace);
        self.seats.bell().ring();
        let accepting = self.accepting.lock().take();
        if let Some(accepting) = accepting {
            // It cannot panic short of a bug here, and then there is nothing left to wait for.
            let _ = accepting.join();
        }
        if !self.seats.wait_until_empty(end) {
            self.seats.shut_all();
            if !self.seats.wait_until_empty(wire::deadline(SETTLE)) {
                log::warn!("door {}: closed, but some calls are still in the service", self.local_addr);
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

/// The accept thread.
struct Acceptor {
    listener: TcpListener,
    seats: Arc<Seats>,
    options: Arc<Options>,
    service: Arc<dyn Service>,
}

impl Acceptor {
    fn run(self) {
        let mut failing = false;
        // Once the bell has rung: how long to go on.
        let mut end = None;
        loop {
            if self.seats.bell().rung() && Instant::now() > *end.get_or_insert_with(|| wire::deadline(SWEEP)) {
                return;
            }
            let accepted = self.listener.accept().and_then(|(stream, peer)| self.admit(stream, peer));
            let paused = match accepted {
                Ok(()) => {
                    failing = false;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && end.is_some() => return,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.seats.bell().wait(self.listener.as_fd(), Duration::MAX).map(drop)
                }
                // The client went away before we came to it, or a signal came: nothing that waiting would cure.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = paused {
                // Said once for a series, since it is tried again twenty times a second.
                if !failing {
                    log::warn!("door: cannot accept a connection, trying on: {error}");
                }
                failing = true;
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    /// Gives the connection a thread, or turns it away.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        match self.seats.admit(stream) {
            Admission::Served(seat, stream) => {
                let (options, service) = (Arc::clone(&self.options), Arc::clone(&self.service));
                let name = format!("door-{}", seat.id());
                let serve = move || match Wire::open(stream) {
                    Ok(wire) => Connection::new(wire, peer, options, service, seat).serve(),
                    // Some systems refuse options of a connection that its client has already reset.
                    Err(error) => log::debug!("door: {peer} was gone at once: {error}"),
                };
                thread::Builder::new().name(name).spawn(serve)?;
            }
            // Nothing can be said without a handshake, which is more than a full door has time for.
            Admission::TurnedAway(..) | Admission::Full(_) if self.options.tls.is_some() => {}
            Admission::TurnedAway(seat, stream) => {
                turn_away(&stream);
                // On a thread of its own, or else a client that is still sending would never see the 503.
                let linger = move || {
                    if let Ok(mut wire) = Wire::open(stream) {
                        wire.linger(seat.bell());
                    }
                    drop(seat);
                };
                thread::Builder::new().name("door-full".to_owned()).spawn(linger)?;
            }
            Admission::Full(stream) => turn_away(&stream),
        }
        Ok(())
    }
}

/// Says 503 without ever blocking: the buffer of a new socket has room for it.
fn turn_away(mut stream: &TcpStream) {
    let mut out = Vec::new();
    Refusal::new(503, "too many connections").reply().print(HTTPVersion(1, 1), Some("close"), true, &mut out);
    let said = stream.set_nonblocking(true).and_then(|()| stream.write(&out));
    if let Err(error) = said.and_then(|_| stream.shutdown(Shutdown::Write)) {
        log::debug!("door: full, and the client did not wait to hear it: {error}");
    }
}
