//! The answer on its way to the client, and the turn that a request takes on its connection.

use crate::conn::Conn;
use crate::shared::Shared;
use crate::table::{Instance, Service};
use crate::upstream::Failure;
use crate::upstream::body::AnswerBody;
use crate::worker::Worker;
use bytes::Bytes;
use deployctl_core::id::Revision;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A request under way on a client connection, from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct Turn {
    conn: Rc<Conn>,
    start: Instant,
    shared: Arc<Shared>,
    entry: Option<Box<Entry>>,
    line: Option<(http::Method, http::Uri)>,
}

/// A line of the access log.
#[derive(Debug, serde::Serialize)]
struct Entry {
    #[serde(rename = "@timestamp")]
    time_ms: u64,
    client: String,
    method: String,
    path: String,
    scope: String,
    status: u16,
    revision: Option<String>,
    instance: Option<String>,
    failure: Option<String>,
    head_us: u64,
    total_us: u64,
    bytes: u64,
}

impl Turn {
    pub(crate) fn begin(worker: &Rc<Worker>, conn: &Rc<Conn>, request: &Request<Incoming>) -> Self {
        // Copies of both are needed only where requests are logged; that is known when the service is.
        let line = worker.logs().then(|| (request.method().clone(), request.uri().clone()));
        Self { conn: conn.clone(), start: Instant::now(), shared: worker.shared.clone(), entry: None, line }
    }

    /// When it began.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Which service it is for.
    pub(crate) fn served_by(&mut self, service: &Service) {
        if !service.config.route.access_log {
            return;
        }
        let Some((method, uri)) = self.line.take() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.entry = Some(Box::new(Entry {
            time_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            client: self.conn.peer.to_string(),
            method: method.to_string(),
            path: uri.path().to_owned(),
            scope: service.scope.to_string(),
            status: 0,
            revision: None,
            instance: None,
            failure: None,
            head_us: 0,
            total_us: 0,
            bytes: 0,
        }));
    }

    pub(crate) fn answered_by(&mut self, revision: &Revision, instance: &Instance) {
        if let Some(entry) = &mut self.entry {
            entry.revision = Some(revision.to_string());
            entry.instance = Some(instance.id.to_string());
        }
    }

    pub(crate) fn failed(&mut self, revision: &Revision, instance: &Instance, failure: &Failure) {
        self.answered_by(revision, instance);
        if let Some(entry) = &mut self.entry {
            entry.failure = Some(failure.to_string());
        }
    }

    /// The head of the answer goes out.
    pub(crate) fn head(&mut self, status: u16) {
        if let Some(entry) = &mut self.entry {
            entry.status = status;
            entry.head_us = micros(self.start);
        }
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.total_us = micros(self.start);
            if let Ok(line) = serde_json::to_string(&entry) {
                self.shared.log.line(line);
            }
        }
        self.conn.finished();
    }
}

/// The body of an answer, on its way to the client.
#[derive(Debug)]
pub(crate) struct Reply {
    body: AnswerBody,
    turn: Turn,
}

impl Reply {
    pub(crate) fn new(body: AnswerBody, turn: Turn) -> Self {
        Self { body, turn }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(entry), Poll::Ready(Some(Ok(frame)))) = (&mut self.turn.entry, &polled) {
            entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
