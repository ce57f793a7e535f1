//! Requests of which a fixed number is always open.

use crate::arrivals::request_to;
use crate::http1::{Framing, Http1, judged};
use crate::load::Context;
use crate::outcome::{Answer, Kind, Loss, Lost, Outcome};
use crate::websocket;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Starts the clients; each ends with the request it is at when the load is to stop.
pub(crate) fn start(context: &Rc<Context>) -> Vec<JoinHandle<()>> {
    let held = context.load.held;
    let mut clients = Vec::new();
    for number in 0..held.slow {
        clients.push(tokio::task::spawn_local(again(Rc::clone(context), Kind::Slow, number, slow)));
    }
    for number in 0..held.streams {
        clients.push(tokio::task::spawn_local(again(Rc::clone(context), Kind::Stream, number, stream)));
    }
    for number in 0..held.websockets {
        clients.push(tokio::task::spawn_local(again(Rc::clone(context), Kind::Websocket, number, websocket::session)));
    }
    clients
}

/// One client: a request after the other. Clients begin 50 ms apart, and pause after a loss, to leave the server air.
async fn again<F>(context: Rc<Context>, kind: Kind, number: u32, request: impl Fn(Rc<Context>) -> F)
where
    F: Future<Output = Result<Answer, Lost>>,
{
    context.rest(Duration::from_millis(50) * number).await;
    while !context.stopping() {
        let sent = Instant::now();
        context.tally.note(kind, |seen| seen.connections += 1);
        let result = request(Rc::clone(&context)).await;
        let failed = result.is_err();
        context.tally.record(Outcome { kind, due: sent, sent, result });
        if failed {
            context.rest(Duration::from_millis(100)).await;
        }
    }
}

async fn slow(context: Rc<Context>) -> Result<Answer, Lost> {
    let limit = context.load.timeout;
    let mut connection = Http1::connect(&context.load.target, limit).await?;
    connection.exchange(&request_to(&context, "GET", &context.load.paths.slow, ""), limit).await
}

async fn stream(context: Rc<Context>) -> Result<Answer, Lost> {
    let limit = context.load.timeout;
    let mut connection = Http1::connect(&context.load.target, limit).await?;
    let request = request_to(&context, "GET", &context.load.paths.stream, "Accept: text/event-stream\r\n");
    let late = |_| Err(Lost::new(Loss::Timeout, "the stream took longer than the timeout"));
    let head = timeout(limit, connection.begin(&request)).await.unwrap_or_else(late)?;
    let mut answer = Answer { status: head.status, body: Vec::new(), length: 0 };
    let mut tail = Vec::new();
    let late = |_| Err(Lost::new(Loss::Timeout, "the stream took longer than the timeout"));
    let read = connection.body(&head, |piece| {
        answer.take(piece);
        tail.extend_from_slice(piece);
        let surplus = tail.len().saturating_sub(256);
        tail.drain(..surplus);
    });
    timeout(limit, read).await.unwrap_or_else(late)?;
    let whole = String::from_utf8_lossy(&tail).contains("event: end");
    if head.framing == Framing::UntilEnd && !whole {
        return Err(Lost::new(Loss::Truncated, "the stream has no length and no end"));
    }
    if head.status == 200 && !whole {
        context.tally.note(Kind::Stream, |seen| seen.ended_early += 1);
    }
    judged(answer)
}
