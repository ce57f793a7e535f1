//! A client connection, from its accept to its end.

use crate::forward;
use crate::io::{ClientIo, Stream};
use crate::limits::{
    HANDSHAKE_TIME, HEAD_BYTES_MAX, HEAD_TIME, IDLE_TIME, LEAVING_IDLE_TIME, LINGER_TIME, SEND_BUFFER_BYTES,
    STALL_TIME, STREAMS_MAX,
};
use crate::shared::Bound;
use crate::spawn::Local;
use crate::strict::{Guard, Reject};
use crate::tunnel::{self, Tunnel};
use crate::upstream::encode::Origin;
use crate::worker::Worker;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is known of a client connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) bound: Arc<Bound>,
    pub(crate) peer: SocketAddr,
    pub(crate) guard: RefCell<Guard>,
    /// What the next-to-last request that is answered is refused for, and how many good ones come before it.
    refused: Cell<Option<(Reject, u64)>>,
    answered: Cell<u64>,
    /// Requests under way.
    active: Cell<u32>,
    /// Since when it waits for a request, or for the first byte.
    since: Cell<Instant>,
    head_since: Cell<Option<Instant>>,
    read_since: Cell<Option<Instant>>,
    write_since: Cell<Option<Instant>>,
    /// No request after the present ones.
    leaving: Cell<bool>,
    killed: Cell<bool>,
    h2: Cell<bool>,
    /// Read on after the last answer, so that the client gets to see it.
    pub(crate) linger: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    /// What is to become of the connection once an upgrade is answered.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
    client: HeaderValue,
    origin: RefCell<Option<Origin>>,
}

impl Conn {
    fn new(bound: Arc<Bound>, peer: SocketAddr) -> Self {
        let client = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
        Self {
            bound,
            peer,
            guard: RefCell::default(),
            refused: Cell::new(None),
            answered: Cell::new(0),
            active: Cell::new(0),
            since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            read_since: Cell::new(None),
            write_since: Cell::new(None),
            leaving: Cell::new(false),
            killed: Cell::new(false),
            h2: Cell::new(false),
            linger: Cell::new(false),
            waker: RefCell::default(),
            reader: RefCell::default(),
            tunnel: RefCell::default(),
            client: client.unwrap_or(HeaderValue::from_static("unknown")),
            origin: RefCell::default(),
        }
    }

    /// Ends the connection if it has taken too long over something.
    pub(crate) fn look(&self, now: Instant) {
        let passed = |since: Option<Instant>, limit: Duration| {
            since.is_some_and(|since| now.saturating_duration_since(since) > limit)
        };
        let idle = (self.active.get() == 0).then(|| self.since.get());
        let idle_limit = if self.leaving.get() { LEAVING_IDLE_TIME } else { IDLE_TIME };
        let late = passed(idle, idle_limit)
            || passed(self.head_since.get(), HEAD_TIME)
            || passed(self.write_since.get(), STALL_TIME)
            || (self.active.get() > 0 && passed(self.read_since.get(), STALL_TIME));
        if late && self.h2.get() && !self.leaving.get() {
            // Said before it is done, so that the client does not send a request into the end.
            self.since.set(now);
            self.set_leaving();
        } else if late {
            self.kill();
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.killed.set(true);
        self.wake();
    }

    /// Lets it end with what is under way; a client that waits for nothing may send one more request.
    pub(crate) fn set_leaving(&self) {
        self.leaving.set(true);
        self.wake();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    pub(crate) fn head_begun(&self, begun: bool) {
        if begun != self.head_since.get().is_some() {
            self.head_since.set(begun.then(Instant::now));
        }
    }

    pub(crate) fn read_waits(&self) {
        if self.read_since.get().is_none() && self.guard.borrow().in_body() {
            self.read_since.set(Some(Instant::now()));
        }
    }

    pub(crate) fn read_goes_on(&self) {
        self.read_since.set(None);
    }

    pub(crate) fn write_waits(&self, since: Option<Instant>) {
        if since.is_none() || self.write_since.get().is_none() {
            self.write_since.set(since);
        }
    }

    /// The request after `heads` good ones is refused.
    pub(crate) fn refuse(&self, reject: Reject, heads: u64) {
        self.linger.set(true);
        self.refused.set(Some((reject, heads)));
    }

    /// Whether nothing may be read because an upgrade is undecided; the task of `cx` is woken when it is.
    pub(crate) fn wait_for_decision(&self, cx: &Context<'_>) -> bool {
        let undecided = self.guard.borrow().undecided();
        if undecided {
            *self.reader.borrow_mut() = Some(cx.waker().clone());
        }
        undecided
    }

    /// Decides an upgrade that was asked for.
    pub(crate) fn decide(&self, tunnel: bool) {
        self.guard.borrow_mut().decide(tunnel);
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) fn take_kept_back(&self) -> Vec<u8> {
        self.guard.borrow_mut().kept_back()
    }

    /// Counts a request in; says why it is refused, if it is.
    fn arrived(&self) -> Option<Reject> {
        self.active.set(self.active.get() + 1);
        let number = self.answered.get();
        self.answered.set(number + 1);
        self.refused.get().filter(|(_, heads)| *heads == number).map(|(reject, _)| reject)
    }

    /// Counts a request out, its answer and all.
    pub(crate) fn finished(&self) {
        self.active.set(self.active.get() - 1);
        if self.active.get() == 0 {
            self.since.set(Instant::now());
        }
        if self.leaving.get() {
            self.wake();
        }
    }

    /// Where its requests come from, as instances are told.
    pub(crate) fn origin(&self, host: &str) -> Origin {
        let mut cached = self.origin.borrow_mut();
        match &*cached {
            Some(origin) if origin.host.as_bytes() == host.as_bytes() => origin.clone(),
            _ => cached.insert(self.new_origin(host)).clone(),
        }
    }

    fn new_origin(&self, host: &str) -> Origin {
        let proto = if self.bound.tls { "https" } else { "http" };
        let ip = self.peer.ip().to_canonical();
        let client = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
        let quoted = if host.contains(':') { format!("\"{host}\"") } else { host.to_owned() };
        let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"));
        Origin {
            client: self.client.clone(),
            proto,
            host: text(host),
            forwarded: text(&format!("for={client};proto={proto};host={quoted}")),
        }
    }
}

/// Serves a client connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, bound: Arc<Bound>) {
    let _ = stream.set_nodelay(true);
    let conn = Rc::new(Conn::new(bound, peer));
    let key = worker.enter(conn.clone());
    {
        let plan = worker.shared.plan.borrow();
        if plan.draining || !plan.listeners.iter().any(|bound| Arc::ptr_eq(bound, &conn.bound)) {
            conn.leaving.set(true);
        }
    }
    if let Some(http) = until_killed(&conn, pin!(establish(&worker, &conn, stream))).await.flatten() {
        serve_http(&worker, &conn, http).await;
    }
    worker.leave(key);
}

/// A connection of which it is known what it speaks.
struct Established {
    stream: Stream,
    /// What was read of it already.
    first: Vec<u8>,
    h2: bool,
}

/// Polls `work` until it is ready or the connection is killed. Memory per idle connection counts: what is polled for long
/// is pinned by the caller, not moved into one more future.
async fn until_killed<F: Future>(conn: &Conn, mut work: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        if conn.killed.get() {
            return Poll::Ready(None);
        }
        conn.remember(cx);
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

async fn establish(worker: &Rc<Worker>, conn: &Rc<Conn>, stream: TcpStream) -> Option<Established> {
    if !conn.bound.tls {
        return see_protocol(conn, stream).await;
    }
    let config = worker.local().table.tls.get(&conn.bound.key)?.config.clone();
    let handshake = Box::pin(tokio_rustls::TlsAcceptor::from(config).accept(stream));
    let stream = tokio::time::timeout(HANDSHAKE_TIME, handshake).await.ok()?.ok()?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Some(Established { stream: Stream::Tls(Box::new(stream)), first: Vec::new(), h2 })
}

/// Reads until it is clear whether the client speaks HTTP/2 by prior knowledge.
async fn see_protocol(conn: &Conn, mut stream: TcpStream) -> Option<Established> {
    let mut first = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut first).await.ok()? == 0 {
            return None;
        }
        conn.head_begun(true);
        if first.len() >= PREFACE.len() || !PREFACE.starts_with(&first) {
            conn.head_begun(false);
            let h2 = first.starts_with(PREFACE);
            return Some(Established { stream: Stream::Plain(stream), first, h2 });
        }
    }
}

async fn serve_http(worker: &Rc<Worker>, conn: &Rc<Conn>, Established { stream, first, h2 }: Established) {
    let io = ClientIo::new(stream, conn.clone(), first, !h2);
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, conn) = (worker.clone(), conn.clone());
        let reject = conn.arrived();
        async move { Ok::<_, std::convert::Infallible>(forward::answer(worker, conn, request, reject).await) }
    });
    conn.h2.set(h2);
    if h2 {
        let mut connection = Box::pin(h2_builder().serve_connection(io, service));
        let mut told = false;
        let polling = poll_fn(|cx| {
            if conn.is_leaving() && !told {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            conn.remember(cx);
            connection.as_mut().poll(cx)
        });
        until_killed(conn, pin!(polling)).await;
        return;
    }
    let mut connection = http1::Builder::new()
        .half_close(false)
        .header_read_timeout(None)
        .max_buf_size(SEND_BUFFER_BYTES)
        .serve_connection(io, service);
    let Some(done) = until_killed(conn, Pin::new(&mut connection)).await else { return };
    let parts = connection.into_parts();
    let tunnel = conn.tunnel.take();
    match tunnel {
        // The tunnel is on its own: it ends by its instance, not by the limits of HTTP.
        Some(tunnel) if done.is_ok() => {
            let (stream, unseen) = parts.io.into_parts();
            Box::pin(tunnel::run(tunnel, stream, [&parts.read_buf[..], &unseen].concat())).await;
        }
        _ => {
            let (stream, _) = parts.io.into_parts();
            let _ = until_killed(conn, Box::pin(end(stream, conn.linger.get())).as_mut()).await;
        }
    }
}

fn h2_builder() -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Ends a connection. With `linger` it is read on for a moment: closed with bytes unread it would be reset, and the client
/// may lose the answer.
async fn end(mut stream: Stream, linger: bool) {
    if stream.shutdown().await.is_err() || !linger {
        return;
    }
    let mut scratch = vec![0; 16 * 1024];
    let reading = async { while matches!(stream.read(&mut scratch).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER_TIME, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ListenKey;

    fn conn() -> Conn {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let key = ListenKey { only: None, environment: "shop/dev".into() };
        Conn::new(Arc::new(Bound::new(key, false, address, socket)), address)
    }

    /// Whether it is ended after `time`.
    fn ends(conn: &Conn, time: Duration) -> bool {
        conn.killed.set(false);
        conn.look(Instant::now() + time);
        conn.killed.get()
    }

    const LATER: Duration = Duration::from_secs(1);

    #[test]
    fn idle_connections_end() {
        let conn = conn();
        assert!(!ends(&conn, IDLE_TIME - LATER));
        assert!(ends(&conn, IDLE_TIME + LATER));
        conn.arrived();
        assert!(!ends(&conn, IDLE_TIME * 9), "a request is under way");
        conn.finished();
        conn.set_leaving();
        assert!(ends(&conn, LEAVING_IDLE_TIME + LATER));
    }

    #[test]
    fn a_head_that_trickles_in_has_a_total_time() {
        let conn = conn();
        conn.head_begun(true);
        let begun = conn.head_since.get();
        conn.head_begun(true);
        assert_eq!(conn.head_since.get(), begun, "each byte gives no more time");
        assert!(!ends(&conn, HEAD_TIME - LATER));
        assert!(ends(&conn, HEAD_TIME + LATER));
        conn.head_begun(false);
        assert!(!ends(&conn, HEAD_TIME + LATER));
    }

    #[test]
    fn bodies_and_answers_may_not_stand_still() {
        let conn = conn();
        conn.arrived();
        conn.guard.borrow_mut().feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", |_| {}).unwrap();
        conn.read_waits();
        assert!(!ends(&conn, STALL_TIME - LATER) && ends(&conn, STALL_TIME + LATER));
        conn.read_goes_on();
        assert!(!ends(&conn, STALL_TIME + LATER));
        conn.write_waits(Some(Instant::now()));
        assert!(!ends(&conn, STALL_TIME - LATER) && ends(&conn, STALL_TIME + LATER));
        conn.write_waits(None);
        assert!(!ends(&conn, STALL_TIME + LATER));
    }

    #[test]
    fn origins_follow_the_host() {
        let conn = conn();
        assert_eq!(conn.origin("a").forwarded, "for=127.0.0.1;proto=http;host=a");
        assert_eq!(conn.origin("b:1").forwarded, "for=127.0.0.1;proto=http;host=\"b:1\"");
        assert_eq!(conn.origin("a").host, "a");
    }
}
