//! What is known of a client connection.

use crate::limits::{HEAD_TIME, IDLE_TIME, LEAVING_IDLE_TIME, PARK_TIME, STALL_TIME};
use crate::shared::Bound;
use crate::strict::{Guard, Reject};
use crate::tunnel::Tunnel;
use crate::upstream::encode::Origin;
use http::HeaderValue;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// A time in the life of a connection: milliseconds from its beginning, odd ones so that none of them is zero.
type Moment = NonZeroU32;

/// What is known of a client connection. There are many, mostly idle: what only some of them need is not kept in it.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) bound: Arc<Bound>,
    pub(crate) peer: IpAddr,
    /// In a box because two small blocks fit into gaps that one large block leaves.
    pub(crate) guard: Box<RefCell<Guard>>,
    /// What the next-to-last request that is answered is refused for, and how many good ones come before it.
    refused: OnceCell<Box<(Reject, u64)>>,
    answered: Cell<u64>,
    /// Requests under way.
    active: Cell<u32>,
    /// Since when it waits for a request, or for the first byte.
    since: Cell<Moment>,
    head_since: Cell<Option<Moment>>,
    read_since: Cell<Option<Moment>>,
    write_since: Cell<Option<Moment>>,
    made: Instant,
    /// No request after the present ones.
    leaving: Cell<bool>,
    killed: Cell<bool>,
    pub(crate) h2: Cell<bool>,
    /// All that came was read, and more is waited for.
    starved: Cell<bool>,
    /// What it has in memory for requests is to be given back, if it still is idle when its task looks.
    parking: Cell<bool>,
    /// Read on after the last answer, so that the client gets to see it.
    pub(crate) linger: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    /// What is to become of the connection once an upgrade is answered.
    pub(crate) tunnel: RefCell<Option<Box<Tunnel>>>,
    origin: RefCell<Option<Rc<Origin>>>,
}

impl Conn {
    pub(crate) fn new(bound: Arc<Bound>, peer: SocketAddr) -> Self {
        Self {
            bound,
            peer: peer.ip().to_canonical(),
            guard: Box::default(),
            refused: OnceCell::new(),
            answered: Cell::new(0),
            active: Cell::new(0),
            since: Cell::new(Moment::MIN),
            head_since: Cell::new(None),
            read_since: Cell::new(None),
            write_since: Cell::new(None),
            made: Instant::now(),
            leaving: Cell::new(false),
            killed: Cell::new(false),
            h2: Cell::new(false),
            starved: Cell::new(false),
            parking: Cell::new(false),
            linger: Cell::new(false),
            waker: RefCell::default(),
            reader: RefCell::default(),
            tunnel: RefCell::default(),
            origin: RefCell::default(),
        }
    }

    fn moment(&self, at: Instant) -> Moment {
        Moment::MIN | at.saturating_duration_since(self.made).as_millis() as u32
    }

    /// From `since` to `now`, to two milliseconds; nothing if `now` is before, right up to 24 days.
    fn between(&self, since: Moment, now: Instant) -> Duration {
        let passed = self.moment(now).get().wrapping_sub(since.get());
        Duration::from_millis(if passed > u32::MAX / 2 { 0 } else { passed.into() })
    }

    /// Ends the connection if it has taken too long over something, and parks it if it has been idle for a while.
    pub(crate) fn look(&self, now: Instant) {
        let passed =
            |since: Option<Moment>, limit: Duration| since.is_some_and(|since| self.between(since, now) > limit);
        let idle = (self.active.get() == 0).then(|| self.since.get());
        let idle_limit = if self.leaving.get() { LEAVING_IDLE_TIME } else { IDLE_TIME };
        let late = passed(idle, idle_limit)
            || passed(self.head_since.get(), HEAD_TIME)
            || passed(self.write_since.get(), STALL_TIME)
            || (self.active.get() > 0 && passed(self.read_since.get(), STALL_TIME));
        if late && self.h2.get() && !self.leaving.get() {
            // Said before it is done, so that the client does not send a request into the end.
            self.since.set(self.moment(now));
            self.set_leaving();
        } else if late {
            self.kill();
        } else {
            self.park_if_idle(now, PARK_TIME);
        }
    }

    /// Asks the task of an idle HTTP/1 connection to park it, if it has been idle for `time`.
    pub(crate) fn park_if_idle(&self, now: Instant, time: Duration) {
        let idle = self.starved.get() && !self.parking.get() && self.may_park();
        if idle && self.between(self.since.get(), now) >= time {
            self.parking.set(true);
            self.wake();
        }
    }

    /// Whether it is to be parked now.
    pub(crate) fn parks_now(&self) -> bool {
        self.parking.take() && self.may_park()
    }

    /// Whether nothing goes on and nothing has begun: every request that came was answered, every byte of that is on its
    /// way, none of the next one is here.
    fn may_park(&self) -> bool {
        let guard = self.guard.borrow();
        self.starved.get()
            && !self.h2.get()
            && self.active.get() == 0
            && self.answered.get() == guard.heads()
            && guard.is_between()
            && self.write_since.get().is_none()
            && self.refused.get().is_none()
            && self.tunnel.borrow().is_none()
    }

    /// Gives back what only requests need.
    pub(crate) fn parked(&self) {
        self.starved.set(false);
        self.origin.take();
        self.guard.borrow_mut().shrink();
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

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.get()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Wakes the task of `cx` when the connection is killed, is to leave or to be parked.
    pub(crate) fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    pub(crate) fn head_begun(&self, begun: bool) {
        if begun != self.head_since.get().is_some() {
            self.head_since.set(begun.then(|| self.moment(Instant::now())));
        }
    }

    pub(crate) fn read_waits(&self) {
        self.starved.set(true);
        if self.read_since.get().is_none() && self.guard.borrow().in_body() {
            self.read_since.set(Some(self.moment(Instant::now())));
        }
    }

    pub(crate) fn read_goes_on(&self) {
        self.starved.set(false);
        self.read_since.set(None);
    }

    pub(crate) fn write_waits(&self, since: Option<Instant>) {
        if since.is_none() || self.write_since.get().is_none() {
            self.write_since.set(since.map(|since| self.moment(since)));
        }
    }

    /// The request after `heads` good ones is refused.
    pub(crate) fn refuse(&self, reject: Reject, heads: u64) {
        self.linger.set(true);
        // Once is enough: the guard lets nothing through after it.
        let _ = self.refused.set(Box::new((reject, heads)));
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
    pub(crate) fn arrived(&self) -> Option<Reject> {
        self.active.set(self.active.get() + 1);
        let number = self.answered.get();
        self.answered.set(number + 1);
        self.refused.get().filter(|refused| refused.1 == number).map(|refused| refused.0)
    }

    /// Counts a request out, its answer and all.
    pub(crate) fn finished(&self) {
        self.active.set(self.active.get() - 1);
        if self.active.get() == 0 {
            self.since.set(self.moment(Instant::now()));
        }
        if self.leaving.get() {
            self.wake();
        }
    }

    /// Where its requests come from, as instances are told.
    pub(crate) fn origin(&self, host: &str) -> Rc<Origin> {
        let mut cached = self.origin.borrow_mut();
        match &*cached {
            Some(origin) if origin.host.as_bytes() == host.as_bytes() => origin.clone(),
            _ => cached.insert(Rc::new(self.new_origin(host))).clone(),
        }
    }

    fn new_origin(&self, host: &str) -> Origin {
        let proto = if self.bound.tls { "https" } else { "http" };
        let ip = self.peer;
        let client = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
        let quoted = if host.contains(':') { format!("\"{host}\"") } else { host.to_owned() };
        let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"));
        Origin {
            client: text(&ip.to_string()),
            proto,
            host: text(host),
            forwarded: text(&format!("for={client};proto={proto};host={quoted}")),
        }
    }
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
    fn only_what_is_between_requests_is_parked() {
        let conn = conn();
        let parks = || {
            conn.look(Instant::now() + PARK_TIME);
            conn.parks_now()
        };
        assert!(!parks(), "it is not known yet whether there is something to read");
        conn.read_waits();
        assert!(parks());
        conn.look(Instant::now());
        assert!(!conn.parks_now(), "it is idle only since just now");
        let feed = |bytes: &[u8]| conn.guard.borrow_mut().feed(bytes, |_| {}).unwrap();
        feed(b"POST / HTTP/1.1\r\nHost: a\r\n");
        assert!(!parks(), "a head has begun");
        feed(b"Content-Length: 2\r\n\r\n");
        assert!(!parks(), "a request was passed on and nobody has seen it yet");
        conn.arrived();
        assert!(!parks(), "a request is under way");
        conn.finished();
        assert!(!parks(), "the body of a request has not come");
        feed(b"ab");
        conn.write_waits(Some(Instant::now()));
        assert!(!parks(), "the client has not taken the answer");
        conn.write_waits(None);
        assert!(parks());
        conn.parked();
        assert!(!parks(), "it is parked");
        conn.read_waits();
        conn.refuse(Reject { status: 400, why: "bad" }, 1);
        assert!(!parks(), "a refusal is to be answered");
    }

    #[test]
    fn times_go_on_after_many_days() {
        let conn = conn();
        let at = |ms: u64| conn.made + Duration::from_millis(ms);
        for days in [0, 30, 49, 50, 300] {
            let start = days * 86_400_000 + 25;
            let since = conn.moment(at(start));
            let passed = |ms: u64| conn.between(since, at(start + ms)).as_millis();
            assert_eq!((passed(0), passed(100), passed(75_000)), (0, 100, 75_000), "after {days} days");
            assert_eq!(conn.between(since, at(start - 10)), Duration::ZERO, "after {days} days");
        }
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
