//! What of HTTP/2 counts as lost, and what does not.

use crate::{load_for, losses};
use bytes::Bytes;
use deployctl_live::{Kind, Load, Loss, Rates, Report};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What happens to every tenth request.
#[derive(Clone, Copy, Debug)]
enum Bad {
    Status,
    /// The stream is reset after a part of the body.
    CutBody,
    /// The connection is dropped while the request waits.
    DropConnection,
    /// The connection says GOAWAY, and ends when the request was answered.
    GoAway,
}

struct Server {
    bad: Bad,
    requests: AtomicU64,
    connections: AtomicU64,
}

type Body = BoxBody<Bytes, io::Error>;

async fn answer(server: Arc<Server>, stop: Arc<Notify>) -> io::Result<Response<Body>> {
    let number = server.requests.fetch_add(1, SeqCst) + 1;
    let whole = || Full::new(Bytes::from("v1.0.0")).map_err(|never| match never {}).boxed();
    if !number.is_multiple_of(10) {
        return Ok(Response::new(whole()));
    }
    match server.bad {
        Bad::Status => {
            let mut response = Response::new(whole());
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            Ok(response)
        }
        Bad::CutBody => {
            let (frames, body) = tokio::sync::mpsc::channel(2);
            tokio::spawn(async move {
                frames.send(Ok(Frame::data(Bytes::from("v1.")))).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await; // an instance that dies after its answer began
                let _ = frames.send(Err(io::Error::other("cut"))).await;
            });
            Ok(Response::new(BodyExt::boxed(StreamBody::new(Receiver(body)))))
        }
        Bad::DropConnection => {
            stop.notify_one();
            std::future::pending().await
        }
        Bad::GoAway => {
            stop.notify_one();
            tokio::task::yield_now().await;
            Ok(Response::new(whole()))
        }
    }
}

/// The frames of a channel, as a stream.
struct Receiver(tokio::sync::mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl futures_core::Stream for Receiver {
    type Item = io::Result<Frame<Bytes>>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

async fn serve(listener: TcpListener, server: Arc<Server>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        server.connections.fetch_add(1, SeqCst);
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let stop = Arc::new(Notify::new());
            let (asked, bad) = (Arc::clone(&stop), server.bad);
            let service = service_fn(move |_: Request<Incoming>| answer(Arc::clone(&server), Arc::clone(&asked)));
            let mut connection =
                pin!(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = &mut connection => return,
                () = stop.notified() => {}
            }
            if matches!(bad, Bad::GoAway) {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        });
    }
}

fn run(bad: Bad) -> (Arc<Server>, Report) {
    let server = Arc::new(Server { bad, requests: AtomicU64::new(0), connections: AtomicU64::new(0) });
    let shared = Arc::clone(&server);
    let (tell, address) = std::sync::mpsc::channel::<SocketAddr>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, shared).await;
        });
    });
    let rates = Rates { h2: 100, ..Rates::default() };
    let load = Load { rates, h2_connections: 1, ..load_for(address.recv().unwrap()) };
    let report = load.run_for(Duration::from_millis(900));
    (server, report)
}

#[test]
fn loses_exactly_what_was_lost() {
    let _turn = crate::together();
    let kinds =
        [(Bad::Status, Loss::GatewayStatus), (Bad::CutBody, Loss::Truncated), (Bad::DropConnection, Loss::NoAnswer)];
    std::thread::scope(|scope| {
        for (bad, loss) in kinds {
            scope.spawn(move || {
                let (server, report) = run(bad);
                let requests = server.requests.load(SeqCst);
                assert!(requests > 50, "{bad:?}: {}", report.summary());
                let (lost, treated) = (report.sent - report.answered, requests / 10);
                assert_eq!(losses(&report, Kind::H2), BTreeMap::from([(loss, lost)]), "{bad:?}\n{}", report.summary());
                match bad {
                    // What was under way on a connection is lost with it, whether the server saw it or not.
                    Bad::DropConnection => assert!(lost >= treated, "{treated} dropped\n{}", report.summary()),
                    _ => assert_eq!((lost, report.sent), (treated, requests), "{bad:?}\n{}", report.summary()),
                }
            });
        }
    });
}

#[test]
fn a_connection_that_says_goaway_loses_nothing() {
    let _turn = crate::together();
    let (server, report) = crate::undisturbed(|| run(Bad::GoAway));
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert_eq!(report.answered, report.sent);
    let connections = server.connections.load(SeqCst);
    assert!(connections > 5, "{connections} connections\n{}", report.summary());
    assert_eq!(report.kinds[&Kind::H2].connections, connections);
}
