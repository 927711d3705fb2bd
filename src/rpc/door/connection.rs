//! One connection: call after call, until either side has had enough.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;
use std::{io, mem};

use tiny_http::{HTTPVersion, Method};

use super::body::{Collector, Framing};
use super::gzip;
use super::head::{Head, Plan};
use super::outlet::{Debt, Outlet};
use super::reply::{ALLOW, Refusal, Reply};
use super::seats::Seat;
use super::tls::Session;
use super::wire::{self, Silence, Stop, Wire};
use super::{Options, PULSE, Request, Service, Stream};

/// What a connection keeps of its body and reply buffers between calls, in bytes.
const KEPT_BYTES: usize = 16 << 10;

/// The state of one connection's thread.
pub(super) struct Connection {
    wire: Wire,
    peer: SocketAddr,
    options: Arc<Options>,
    service: Arc<dyn Service>,
    /// The body of the current request, as it came if it came gzipped, and the bytes of its reply; kept for their
    /// allocations.
    body: Vec<u8>,
    coded: Vec<u8>,
    out: Vec<u8>,
    /// Where promised replies go, once it is known that they may: there is no session.
    outlet: Option<Arc<Outlet>>,
    /// Whether the reply to the last call was promised, and it is not known yet that it is out.
    owes: bool,
    /// Requests so far.
    calls: u64,
    /// Whether the current request is a HEAD, so that its reply has no body, whoever gives it.
    head_only: bool,
    /// The last field, so that it is dropped last: when the door finds the seat empty, socket and service are released.
    seat: Seat,
}

/// How an exchange ended well.
#[derive(PartialEq, Eq)]
enum After {
    NextCall,
    Close,
}

/// How it ended otherwise.
enum Halt {
    /// The client is told why, and the connection is closed.
    Refused(Refusal),
    /// There is nothing to say: the connection is closed between calls.
    Leave,
    /// There is nobody to tell.
    Gone,
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Silence> for Halt {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::Leave | Silence::Idle => Self::Leave,
            Silence::Gone => Self::Gone,
        }
    }
}

impl Connection {
    pub(super) fn new(
        wire: Wire,
        peer: SocketAddr,
        options: Arc<Options>,
        service: Arc<dyn Service>,
        seat: Seat,
    ) -> Self {
        let (body, coded, out) = (Vec::new(), Vec::new(), Vec::new());
        let (outlet, owes) = (None, false);
        Self { wire, peer, options, service, body, coded, out, outlet, owes, calls: 0, head_only: false, seat }
    }

    /// Serves the connection to its end.
    pub(super) fn serve(mut self) {
        let mut next = self.secure().map(|()| After::NextCall);
        let outlet = |stream: &Arc<_>| Outlet::new(Arc::clone(stream), &self.seat, self.options.write_deadline);
        self.outlet = self.wire.open_socket().map(outlet).map(Arc::new);
        loop {
            match next {
                Ok(After::NextCall) => next = self.exchange(),
                Ok(After::Close) | Err(Halt::Leave) => break,
                Err(Halt::Gone) => return,
                Err(Halt::Refused(refusal)) if self.refuse(refusal).is_ok() => break,
                Err(Halt::Refused(_)) => return,
            }
        }
        // Without this, what the client still sends would turn our last word into a reset.
        self.wire.linger(self.seat.bell());
    }

    /// Shakes hands, if this door speaks TLS.
    fn secure(&mut self) -> Result<(), Halt> {
        let Some(config) = &self.options.tls else { return Ok(()) };
        let deadline = wire::deadline(self.options.head_deadline);
        // Until the first byte comes, the door may close without further ado.
        self.wire.wait_for_bytes(deadline, self.seat.bell())?;
        let left = deadline.saturating_duration_since(Instant::now());
        let secured = match Session::new(config) {
            Ok(session) => self.wire.secure(session, left),
            Err(error) => Err(Stop::Broken(io::Error::other(error))),
        };
        secured.map_err(|stop| {
            // Often a client that does not speak TLS at all. It has been told in the words of TLS, the only ones that a
            // client that does would understand.
            log::debug!("door: no TLS with {}: {stop}", self.peer);
            Halt::Leave
        })
    }

    /// One request and its reply.
    fn exchange(&mut self) -> Result<After, Halt> {
        self.head_only = false;
        let head = self.read_head()?;
        self.calls += 1;
        self.head_only = head.method == Method::Head;
        let plan = head.plan(&self.options, |path| self.service.takes(path))?;
        self.read_body(&plan)?;
        let may_be_promised =
            plan.keep_alive && !self.head_only && head.version >= (1, 1) && self.wire.arrived().is_empty();
        let (mut reply, survived) = self.answer(&head, self.outlet.as_ref().filter(|_| may_be_promised));
        if reply.is_promised {
            self.owes = true;
            self.shrink();
            return Ok(After::NextCall);
        }
        if !survived && may_be_promised && self.settle()? {
            // It had taken a promise, and that was kept.
            return Ok(After::Close);
        }
        if let Some(stream) = reply.stream.take() {
            self.send_streaming(reply, head.version, stream)?;
            return Ok(After::Close);
        }
        reply.suit(|| gzip::is_welcome(head.headers()));
        // A closing door still answers what has arrived already.
        let keep = plan.keep_alive && survived && self.stays();
        let connection = match (keep, head.version < (1, 1)) {
            (false, _) => Some("close"),
            (true, true) => Some("keep-alive"),
            (true, false) => None,
        };
        self.send(reply, head.version, connection)?;
        self.shrink();
        Ok(if keep { After::NextCall } else { After::Close })
    }

    /// Whether there is another call to be answered: a closing door still answers what has arrived already.
    fn stays(&mut self) -> bool {
        !self.seat.bell().rung() || self.wire.has_more(self.seat.bell())
    }

    /// Waits until the promised reply is out, and sends it if that is left to us. `false` if none was promised.
    fn settle(&mut self) -> Result<bool, Halt> {
        match self.outlet.as_ref().map_or(Debt::Nothing, |outlet| outlet.settle()) {
            Debt::Nothing | Debt::Owed { .. } => Ok(false),
            Debt::Sent => Ok(true),
            Debt::Broken => Err(Halt::Gone),
            Debt::Here(reply) => {
                let stays = self.stays();
                self.send(reply, HTTPVersion(1, 1), (!stays).then_some("close"))?;
                if stays { Ok(true) } else { Err(Halt::Leave) }
            }
        }
    }

    /// Waits for the first bytes of a request. What is still owed for the last one goes before.
    fn wait_for_call(&mut self) -> Result<(), Halt> {
        loop {
            let waited = self.wire.wait_for_call(self.options.idle_timeout, self.seat.bell());
            let owed = mem::take(&mut self.owes) && self.settle()?;
            match waited {
                // The time that a reply took is not its client's.
                Err(Silence::Idle) if owed => {}
                waited => return Ok(waited?),
            }
        }
    }

    /// Waits for a request, and reads its head. An idle connection may wait long, one that has begun to speak may not.
    fn read_head(&mut self) -> Result<Head, Halt> {
        if self.wire.arrived().is_empty() {
            self.wait_for_call()?;
        }
        let mut deadline = None;
        loop {
            if let Some(head) = Head::parse(self.wire.arrived(), &self.options)? {
                self.wire.consume(head.len());
                return Ok(head);
            }
            let deadline = *deadline.get_or_insert_with(|| wire::deadline(self.options.head_deadline));
            self.wire.fill_until(deadline).map_err(|stop| match stop {
                Stop::Late => Halt::Refused(Refusal::new(408, "the head took too long")),
                Stop::End | Stop::Broken(_) => Halt::Gone,
            })?;
        }
    }

    fn read_body(&mut self, plan: &Plan) -> Result<(), Halt> {
        let mut collector = Collector::new(plan.framing, self.options.max_body_bytes);
        self.body.clear();
        if plan.expects_continue && !collector.done() && self.wire.arrived().is_empty() {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.wire.send(go_on, self.options.write_deadline).map_err(|_| Halt::Gone)?;
        }
        let mut deadline = None;
        loop {
            let used = collector.feed(self.wire.arrived(), &mut self.body)?;
            self.wire.consume(used);
            if collector.done() {
                break;
            }
            let deadline = *deadline.get_or_insert_with(|| wire::deadline(self.options.body_deadline));
            self.wire.fill_until(deadline).map_err(|stop| match stop {
                Stop::Late => Halt::Refused(Refusal::new(408, "the body took too long")),
                Stop::End => Halt::Refused(Refusal::new(400, "the body ends too early")),
                Stop::Broken(_) => Halt::Gone,
            })?;
        }
        if plan.gzipped && plan.framing != Framing::Absent {
            mem::swap(&mut self.body, &mut self.coded);
            gzip::decode(&self.coded, &mut self.body, self.options.max_body_bytes)?;
        }
        Ok(())
    }

    /// The reply, and whether the service survived giving it.
    fn answer(&self, head: &Head, outlet: Option<&Arc<Outlet>>) -> (Reply, bool) {
        let method = match &head.method {
            Method::Options => {
                return (Reply::new(204_u16, "", "").with_header("Allow", ALLOW), true);
            }
            Method::Head => Method::Get,
            other => other.clone(),
        };
        let (path, query, headers) = (&*head.path, &*head.query, head.headers());
        let request = Request { method, path, query, headers, body: &self.body, peer: self.peer, outlet };
        // Unwind safe as far as we are concerned: the request is not looked at again. What the service shares between
        // calls is its own to keep consistent.
        match panic::catch_unwind(AssertUnwindSafe(|| self.service.answer(&request))) {
            Ok(reply) => (reply, true),
            Err(cause) => {
                let id = format!("{}-{}", self.seat.id(), self.calls);
                log::error!("door: the service panicked [{id}], {} {}: {}", head.method, head.path, message(&*cause));
                (Reply::text(500_u16, format!("internal error; the log has it as {id}\n")), false)
            }
        }
    }

    fn send(&mut self, reply: Reply, version: HTTPVersion, connection: Option<&str>) -> Result<(), Halt> {
        self.out.clear();
        reply.print(version, connection, !self.head_only, &mut self.out);
        self.wire.send(&self.out, self.options.write_deadline).map_err(|stop| {
            log::debug!("door: {} did not take its reply: {stop}", self.peer);
            Halt::Gone
        })
    }

    /// Sends a reply that has no length: its end is that of the connection.
    fn send_streaming(&mut self, reply: Reply, version: HTTPVersion, stream: Box<dyn Stream>) -> Result<(), Halt> {
        // Dropped before the reply is, whoever ends it: a service may count its streams.
        let mut stream = stream;
        self.out.clear();
        reply.print_endless(version, &mut self.out);
        self.wire.send(&self.out, self.options.write_deadline).map_err(|_| Halt::Gone)?;
        self.shrink();
        while !self.head_only && !self.seat.bell().rung() {
            // Unwind safe as far as we are concerned: the stream is not asked again.
            let Ok(piece) = panic::catch_unwind(AssertUnwindSafe(|| stream.next())) else {
                log::error!("door: a stream to {} panicked; it ends", self.peer);
                break;
            };
            let Some(piece) = piece else { break };
            if !piece.is_empty() {
                self.wire.send(&piece, self.options.write_deadline).map_err(|stop| {
                    log::debug!("door: {} does not take its stream: {stop}", self.peer);
                    Halt::Gone
                })?;
            }
            match self.wire.wait_for_bytes(wire::deadline(PULSE), self.seat.bell()) {
                Err(Silence::Idle) => {}
                Err(Silence::Leave) => break,
                // The client's end, or a request that comes too early: a stream answers one only.
                Ok(()) | Err(Silence::Gone) => return Err(Halt::Leave),
            }
        }
        Ok(())
    }

    /// Tells the client why.
    fn refuse(&mut self, refusal: Refusal) -> Result<(), Halt> {
        log::debug!("door: {} is refused: {} {}", self.peer, refusal.status, refusal.why);
        self.send(refusal.reply(), HTTPVersion(1, 1), Some("close"))?;
        self.shrink();
        Ok(())
    }

    /// Gives back what a large call has needed, so that idle connections stay small.
    fn shrink(&mut self) {
        self.wire.shrink();
        for buffer in [&mut self.body, &mut self.coded, &mut self.out] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

/// What a panic said, if it said it in words.
fn message(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<&str>().copied();
    text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}
