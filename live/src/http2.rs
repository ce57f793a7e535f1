//! HTTP/2, over a few connections that are used in turn.

use crate::http1::judged;
use crate::load::Context;
use crate::outcome::{Answer, Kind, Loss, Lost};
use crate::wire::Wire;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::cell::Cell;
use std::error::Error;
use tokio::sync::Mutex;
use tokio::time::timeout;

type Sender = SendRequest<Empty<Bytes>>;

/// The connections, each made again when it ended.
pub(crate) struct Http2 {
    slots: Vec<Mutex<Option<Sender>>>,
    next: Cell<usize>,
}

/// What became of one try.
enum Try {
    Ended(Result<Answer, Lost>),
    /// It was not sent, or declared never looked at: it may be sent again.
    Declined(String),
}

impl Http2 {
    pub(crate) fn new(connections: u32) -> Self {
        Self { slots: (0..connections.max(1)).map(|_| Mutex::new(None)).collect(), next: Cell::new(0) }
    }

    /// One request.
    pub(crate) async fn get(&self, context: &Context, path: &str) -> Result<Answer, Lost> {
        let slot = self.next.get();
        self.next.set((slot + 1) % self.slots.len());
        timeout(context.load.timeout, self.get_on(slot, context, path))
            .await
            .unwrap_or_else(|_| Err(Lost::new(Loss::Timeout, "no complete answer within the timeout")))
    }

    async fn get_on(&self, slot: usize, context: &Context, path: &str) -> Result<Answer, Lost> {
        let mut why = String::new();
        for _ in 0..5 {
            let sender = self.sender(slot, context).await?;
            match once(sender, context, path).await {
                Try::Ended(result) => return result,
                Try::Declined(reason) => {
                    context.tally.note(Kind::H2, |seen| seen.declined += 1);
                    why = reason;
                }
            }
        }
        Err(Lost::new(Loss::Unsent, format!("declined five times: {why}")))
    }

    async fn sender(&self, slot: usize, context: &Context) -> Result<Sender, Lost> {
        let mut slot = self.slots[slot].lock().await;
        if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        if slot.is_some() {
            context.tally.note(Kind::H2, |seen| seen.closed_between += 1);
        }
        let wire = Wire::connect(&context.load.target, "h2", context.load.timeout).await?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|e| Lost::new(Loss::Unconnected, chain(&e)))?;
        tokio::spawn(connection);
        context.tally.note(Kind::H2, |seen| seen.connections += 1);
        *slot = Some(sender.clone());
        Ok(sender)
    }
}

async fn once(mut sender: Sender, context: &Context, path: &str) -> Try {
    if let Err(e) = sender.ready().await {
        return Try::Declined(chain(&e));
    }
    let scheme = if context.load.target.tls { "https" } else { "http" };
    let uri = format!("{scheme}://{}{path}", context.load.target.authority());
    let request = match http::Request::get(uri).body(Empty::new()) {
        Ok(request) => request,
        Err(e) => return Try::Ended(Err(Lost::new(Loss::Malformed, e))),
    };
    match sender.try_send_request(request).await {
        Ok(response) => Try::Ended(read(response).await),
        Err(e) if e.message().is_some() => Try::Declined(chain(e.error())),
        Err(e) if declined(e.error()) => Try::Declined(chain(e.error())),
        Err(e) => Try::Ended(Err(Lost::new(Loss::NoAnswer, chain(e.error())))),
    }
}

async fn read(response: http::Response<Incoming>) -> Result<Answer, Lost> {
    let mut answer = Answer { status: response.status().as_u16(), body: Vec::new(), length: 0 };
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Lost::new(Loss::Truncated, chain(&e)))?;
        if let Some(piece) = frame.data_ref() {
            answer.take(piece);
        }
    }
    judged(answer)
}

/// Whether the other side said that it never looked at the request.
fn declined(error: &hyper::Error) -> bool {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|e| e.is_remote() && (e.is_go_away() || e.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
