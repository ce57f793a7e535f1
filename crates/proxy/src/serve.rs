//! A client connection, from its accept to its end. Between requests it is parked after a moment: the HTTP library and its
//! buffers go, what stays is a socket that is waited for and a few counters.

use crate::conn::Conn;
use crate::forward;
use crate::io::{ClientIo, Stream};
use crate::limits::{HANDSHAKE_TIME, HEAD_BYTES_MAX, LINGER_TIME, SEND_BUFFER_BYTES, STREAMS_MAX};
use crate::shared::Bound;
use crate::spawn::Local;
use crate::tunnel;
use crate::worker::Worker;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a client connection to its end.
pub(crate) fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    bound: Arc<Bound>,
) -> impl Future<Output = ()> + 'static {
    let _ = stream.set_nodelay(true);
    let conn = Rc::new(Conn::new(bound, peer));
    let key = worker.enter(conn.clone());
    {
        let plan = worker.shared.plan.borrow();
        if plan.draining || !plan.listeners.iter().any(|bound| Arc::ptr_eq(bound, &conn.bound)) {
            conn.set_leaving();
        }
    }
    let stage = Stage::Active(Box::pin(establish(worker.clone(), conn.clone(), stream)));
    Serving { worker, conn, key, stage }
}

/// The task of a connection. There are many of them, mostly parked: what a stage needs besides is in a box of its own.
struct Serving {
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    key: usize,
    stage: Stage,
}

enum Stage {
    Active(Pin<Box<dyn Future<Output = Next>>>),
    Parked(ClientIo),
    Over,
}

/// What follows a stage.
enum Next {
    Speak(Established),
    Park(ClientIo),
    Over,
}

impl Future for Serving {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let worker_and_conn = || (this.worker.clone(), this.conn.clone());
        loop {
            this.stage = match &mut this.stage {
                Stage::Active(stage) => match ready!(stage.as_mut().poll(cx)) {
                    Next::Speak(Established { stream, first, h2 }) => {
                        let (worker, conn) = worker_and_conn();
                        let io = ClientIo::new(stream, conn.clone(), first, !h2);
                        conn.h2.set(h2);
                        if h2 {
                            Stage::Active(Box::pin(serve_http2(worker, conn, io)))
                        } else {
                            Stage::Active(Box::pin(serve_http1(worker, conn, io, true)))
                        }
                    }
                    Next::Park(io) => Stage::Parked(io),
                    Next::Over => Stage::Over,
                },
                Stage::Parked(_) if this.conn.is_killed() => Stage::Over,
                Stage::Parked(io) => {
                    this.conn.remember(cx);
                    ready!(io.poll_arrival(cx));
                    let Stage::Parked(io) = std::mem::replace(&mut this.stage, Stage::Over) else { continue };
                    let (worker, conn) = worker_and_conn();
                    Stage::Active(Box::pin(serve_http1(worker, conn, io, false)))
                }
                Stage::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.worker.leave(self.key);
    }
}

/// A connection of which it is known what it speaks.
struct Established {
    stream: Stream,
    /// What was read of it already.
    first: Vec<u8>,
    h2: bool,
}

/// Polls `work` until it is ready or the connection is killed.
async fn until_killed<F: Future>(conn: &Conn, mut work: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        if conn.is_killed() {
            return Poll::Ready(None);
        }
        conn.remember(cx);
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

async fn establish(worker: Rc<Worker>, conn: Rc<Conn>, stream: TcpStream) -> Next {
    let established = async {
        if !conn.bound.tls {
            poll_fn(|cx| stream.poll_read_ready(cx)).await.ok()?;
            return see_protocol(&conn, stream).await;
        }
        let stream = tokio::time::timeout(HANDSHAKE_TIME, shake_hands(&worker, &conn, stream)).await.ok()??;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Some(Established { stream: Stream::Tls(Box::new(stream)), first: Vec::new(), h2 })
    };
    until_killed(&conn, pin!(established)).await.flatten().map_or(Next::Over, Next::Speak)
}

/// Takes memory for TLS only when the client begins.
async fn shake_hands(worker: &Worker, conn: &Conn, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    poll_fn(|cx| stream.poll_read_ready(cx)).await.ok()?;
    let config = worker.local().table.tls.get(&conn.bound.key)?.config.clone();
    Box::pin(tokio_rustls::TlsAcceptor::from(config).accept(stream)).await.ok()
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

/// Counts among the connections with buffers as long as it lives.
struct Warm<'a>(&'a Worker, usize);

impl Drop for Warm<'_> {
    fn drop(&mut self) {
        self.0.cold(self.1);
    }
}

/// Serves HTTP/1 until the connection ends or is to be parked.
async fn serve_http1(worker: Rc<Worker>, conn: Rc<Conn>, io: ClientIo, new: bool) -> Next {
    let warm = Warm(&worker, worker.warm(&conn, new));
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, conn) = (worker.clone(), conn.clone());
        let reject = conn.arrived();
        async move { Ok::<_, Infallible>(forward::answer(worker, conn, request, reject).await) }
    });
    let mut connection = http1::Builder::new()
        .half_close(false)
        .header_read_timeout(None)
        .max_buf_size(SEND_BUFFER_BYTES)
        .serve_connection(io, service);
    let mut parks = false;
    let polling = poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        if polled.is_pending() && conn.parks_now() {
            // An idle connection of the library ends at once, without a word; `ClientIo` leaves the socket open.
            Pin::new(&mut connection).graceful_shutdown();
            let ended = Pin::new(&mut connection).poll(cx);
            parks = matches!(ended, Poll::Ready(Ok(())));
            return ended;
        }
        polled
    });
    let Some(done) = until_killed(&conn, pin!(polling)).await else { return Next::Over };
    let mut parts = connection.into_parts();
    drop(warm);
    if parks {
        parts.io.put_back(&parts.read_buf);
        conn.parked();
        return Next::Park(parts.io);
    }
    let tunnel = conn.tunnel.take();
    match tunnel {
        // The tunnel is on its own: it ends by its instance, not by the limits of HTTP.
        Some(tunnel) if done.is_ok() => {
            let (stream, unseen) = parts.io.into_parts();
            Box::pin(tunnel::run(*tunnel, stream, [&parts.read_buf[..], &unseen].concat())).await;
        }
        _ => {
            let (stream, _) = parts.io.into_parts();
            let _ = until_killed(&conn, Box::pin(end(stream, conn.linger.get())).as_mut()).await;
        }
    }
    Next::Over
}

async fn serve_http2(worker: Rc<Worker>, conn: Rc<Conn>, io: ClientIo) -> Next {
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, conn) = (worker.clone(), conn.clone());
        let reject = conn.arrived();
        async move { Ok::<_, Infallible>(forward::answer(worker, conn, request, reject).await) }
    });
    let mut connection = pin!(h2_builder().serve_connection(io, service));
    let mut told = false;
    let polling = poll_fn(|cx| {
        if conn.is_leaving() && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        conn.remember(cx);
        connection.as_mut().poll(cx)
    });
    until_killed(&conn, pin!(polling)).await;
    Next::Over
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

    #[test]
    fn what_stays_of_a_parked_connection_is_small() {
        let (task, conn) = (size_of::<Serving>(), size_of::<Conn>());
        assert!(task <= 128 && conn <= 192, "the task takes {task} bytes, the connection {conn}");
    }
}
