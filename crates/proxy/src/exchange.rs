//! One try to get an answer from one instance.

use crate::conn::Conn;
use crate::flight::{Ended, Flight};
use crate::forward::{Asked, keep_client};
use crate::limits::{EJECT_FAILURES, EJECT_TIME, TRIES_MAX};
use crate::own;
use crate::pick::Picked;
use crate::reply::Turn;
use crate::table::Service;
use crate::tunnel::Tunnel;
use crate::upstream::answer::{Answer, Framing as AnswerFraming};
use crate::upstream::body::{AnswerBody, RequestBody, Streaming};
use crate::upstream::encode::{self, Framing};
use crate::upstream::h1::{H1, Sending};
use crate::upstream::pool;
use crate::upstream::{BodyFault, Failure};
use crate::worker::Worker;
use http::header::{self, HeaderValue};
use http::{Method, Response};
use hyper::body::Body;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Instant;

/// What a try came to.
pub(crate) enum Exchanged {
    /// This is the answer, of the instance or about its failure.
    Answer(Response<AnswerBody>),
    /// Nothing happened; the request may be tried elsewhere.
    Again,
}

/// One try.
pub(crate) struct Attempt<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) conn: &'a Rc<Conn>,
    pub(crate) asked: &'a Asked,
    pub(crate) service: &'a Service,
    /// How many tries this makes.
    pub(crate) tries: usize,
}

/// Whether a failed request may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Safety {
    /// The connection was used before: that it is closed says nothing about the instance.
    used: bool,
    /// Sending it twice is as good as once, and there is no body.
    idempotent: bool,
    /// Nothing of its body was taken.
    whole: bool,
}

impl Safety {
    /// A request that was never sent can be sent; one that may have been seen only if it is idempotent, and only if the
    /// connection was an old one, which says that it was closed by the way and not because of this request.
    fn allows(self, failure: &Failure) -> bool {
        match failure {
            Failure::Connect(_) | Failure::Closed { sent: false } => self.whole,
            Failure::Closed { sent: true } => self.used && self.idempotent,
            _ => false,
        }
    }
}

impl Attempt<'_> {
    /// Tries it. `body` stays what it was if the answer is [`Exchanged::Again`].
    pub(crate) async fn run(&self, picked: Picked, body: &mut Option<RequestBody>, turn: &mut Turn) -> Exchanged {
        if self.service.config.route.h2 {
            return Box::pin(self.run_h2(picked, body, turn)).await;
        }
        let method = &self.asked.parts.method;
        let upgrade = self.asked.parts.headers.get(header::UPGRADE).filter(|_| self.conn.guard.borrow().undecided());
        let idempotent = body.is_none() && is_idempotent(method) && upgrade.is_none();
        let kept =
            (upgrade.is_none() && self.tries == 1).then(|| picked.pool.take(turn.start(), !idempotent)).flatten();
        let used = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            // Boxed, as all that is rare: the future of a request stays as long as its connection.
            None => match Box::pin(self.connect(&picked)).await {
                Ok(connection) => connection,
                Err(failure) => {
                    return self.failed(&picked, failure, Safety { used, idempotent, whole: true }, turn);
                }
            },
        };
        let mut sending = self.begin(&mut connection, body, upgrade);
        let answer = poll_fn(|cx| match picked.flight.ended(cx) {
            Some(Ended::Late) => Poll::Ready(Err(Failure::Timeout)),
            Some(Ended::Cut) => Poll::Ready(Err(Failure::Cut)),
            None => connection.poll_answer(&mut sending, method, cx),
        })
        .await;
        match answer {
            Ok(answer) => Exchanged::Answer(self.answered(picked, connection, sending, answer, turn)),
            Err(failure) => {
                let whole = !sending.body_used;
                if whole {
                    *body = sending.body.take();
                }
                self.failed(&picked, failure, Safety { used, idempotent, whole }, turn)
            }
        }
    }

    async fn connect(&self, picked: &Picked) -> Result<H1, Failure> {
        let mut connecting = std::pin::pin!(pool::connect(picked.pool.address));
        let stream = poll_fn(|cx| match picked.flight.ended(cx) {
            Some(_) => Poll::Ready(Err(Failure::Timeout)),
            None => connecting.as_mut().poll(cx),
        });
        Ok(H1::new(stream.await?))
    }

    fn begin(&self, connection: &mut H1, body: &mut Option<RequestBody>, upgrade: Option<&HeaderValue>) -> Sending {
        let parts = &self.asked.parts;
        let framing = match body.as_ref().map(|body| body.size_hint().exact()) {
            Some(Some(length)) => Framing::Length(length),
            Some(None) => Framing::Chunked,
            // Servers differ on a POST that says nothing about its body.
            None if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) => Framing::Length(0),
            None => Framing::None,
        };
        let origin = self.conn.origin(&self.asked.host);
        let target = self.asked.target(self.service);
        encode::request_head(connection.head(), parts, &target, &origin, framing, upgrade);
        connection.begin(body.take(), framing)
    }

    fn answered(
        &self,
        picked: Picked,
        mut connection: H1,
        sending: Sending,
        answer: Answer,
        turn: &mut Turn,
    ) -> Response<AnswerBody> {
        let Picked { side, flight, pool, bucket } = picked;
        self.passed(side, &flight, answer.status.as_u16(), turn);
        let mut response = Response::new(AnswerBody::Whole(None));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        if answer.status.as_u16() == 101 {
            let undecided = self.conn.guard.borrow().undecided();
            if !undecided || !response.headers().contains_key(header::UPGRADE) {
                return own::answer(
                    502,
                    "the instance changed the protocol without being asked to",
                    Some(self.service),
                );
            }
            let websocket = response.headers()[header::UPGRADE].as_bytes().eq_ignore_ascii_case(b"websocket");
            let tunnel = Tunnel::new(connection.into_parts(), flight, websocket);
            self.conn.tunnel.replace(Some(Box::new(tunnel)));
            return response;
        }
        keep_client(response.headers_mut(), self.service, bucket, self.conn.bound.tls);
        let body = match answer.framing {
            AnswerFraming::Length(length) if sending.done() && length <= connection.unread().len() as u64 => {
                let whole = connection.unread().split_to(length as usize).freeze();
                if answer.keep {
                    pool.put(connection, turn.start());
                }
                AnswerBody::Whole((!whole.is_empty()).then_some(whole))
            }
            framing => {
                let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
                let open_ended = kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
                AnswerBody::H1(Box::new(Streaming {
                    connection: Some(connection),
                    sending,
                    rest: framing.into(),
                    keep: answer.keep,
                    pool,
                    flight: Some(flight),
                    open_ended,
                }))
            }
        };
        *response.body_mut() = body;
        response
    }

    /// The head of an answer is there.
    pub(crate) fn passed(&self, side: usize, flight: &Flight, status: u16, turn: &mut Turn) {
        flight.answered();
        let side = &self.service.sides[side];
        side.counters.count(status, turn.start().elapsed());
        turn.answered_by(&side.revision, &flight.instance);
        if flight.instance.failures.load(Relaxed) > 0 {
            flight.instance.failures.store(0, Relaxed);
        }
    }

    fn failed(&self, picked: &Picked, failure: Failure, safety: Safety, turn: &mut Turn) -> Exchanged {
        if !safety.used && matches!(failure, Failure::Connect(_) | Failure::Closed { .. } | Failure::Broken) {
            self.blame(picked);
        }
        let others = self.service.sides[picked.side].members.len() > self.tries;
        if safety.allows(&failure) && self.tries < TRIES_MAX && (others || (safety.used && self.tries == 1)) {
            return Exchanged::Again;
        }
        self.no_answer(picked, &failure, turn)
    }

    /// The answer to a request that an instance gave none to.
    pub(crate) fn no_answer(&self, picked: &Picked, failure: &Failure, turn: &mut Turn) -> Exchanged {
        let (status, why) = match failure {
            Failure::Body(BodyFault::TooLarge) => (413, "the request body is too large"),
            Failure::Body(BodyFault::Broken) => (400, "the request body is malformed or broke off"),
            Failure::Timeout => (504, "the instance did not answer in time"),
            Failure::Connect(_) => (502, "the instance cannot be reached"),
            Failure::Closed { .. } => (502, "the instance closed the connection without an answer"),
            Failure::Broken | Failure::Malformed(_) => (502, "the instance sent no proper answer"),
            Failure::Cut => (502, "the instance left before it answered"),
        };
        let side = &self.service.sides[picked.side];
        if status >= 500 {
            side.counters.count(status, turn.start().elapsed());
        }
        turn.failed(&side.revision, &picked.flight.instance, failure);
        Exchanged::Answer(own::answer(status, why, Some(self.service)))
    }

    /// Counts a failure of the instance itself; too many in a row take it out for a while.
    pub(crate) fn blame(&self, picked: &Picked) {
        let instance = &picked.flight.instance;
        if instance.failures.fetch_add(1, Relaxed) + 1 >= EJECT_FAILURES {
            instance.failures.store(0, Relaxed);
            let until = self.worker.shared.clock.ms(Instant::now() + EJECT_TIME);
            instance.out_until.store(until, Relaxed);
            self.worker.shared.changes.tell();
        }
    }

    /// The same for HTTP/2, whose connection is shared and so always one that was used before.
    pub(crate) fn failed_h2(&self, picked: &Picked, failure: Failure, whole: bool, turn: &mut Turn) -> Exchanged {
        self.failed(picked, failure, Safety { used: true, idempotent: false, whole }, turn)
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}
