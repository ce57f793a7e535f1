//! Connections to an engine that is behind no socket of this machine. Each is greeted before it is used: what is wrong with
//! it is known then, and said by who knows it best.

pub(crate) mod ssh;
mod tls;

use crate::address::{Address, Tcp};
use crate::client::USUAL;
use deployctl_core::fault::{Applied, Fault, FaultKind};
use deployctl_runner::say;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_service::Service;

/// So many are made at once: a server of SSH turns more away.
const AT_ONCE: usize = 4;
/// A peer that is gone without a word is noticed after a silence of this and three of the next.
const SILENCE: Duration = Duration::from_secs(10);
const ASKED_AGAIN: Duration = Duration::from_secs(5);
/// An answer's head has no more.
const HEAD_MAX: usize = 16 * 1024;
const GREETING: &[u8] = b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n";

/// Makes connections to one engine.
#[derive(Clone)]
pub(crate) struct Connector {
    address: Arc<Address>,
    turns: Arc<Semaphore>,
}

impl Connector {
    pub(crate) fn new(address: Address) -> Self {
        Self { address: Arc::new(address), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn connect(self) -> Result<TokioIo<Stream>, Fault> {
        let _turn = self.turns.acquire().await;
        let at = &*self.address;
        let stream = async {
            match at {
                Address::Socket { .. } => Err(Fault::refused(FaultKind::Bug, "a socket needs no connector")),
                Address::Ssh { ssh } => Ok(Stream(Box::new(ssh::connect(ssh, at).await?))),
                Address::Tcp { tcp } => by_tcp(tcp, at).await,
            }
        };
        let slow = |_| unreachable(at, &format!("no connection comes about within {}", say(USUAL)));
        tokio::time::timeout(USUAL, stream).await.map_err(slow)?.map(TokioIo::new)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

async fn by_tcp(tcp: &Tcp, at: &Address) -> Result<Stream, Fault> {
    let mut stream = open(tcp, at).await?;
    let Some(folder) = &tcp.certs else {
        greet(&mut stream).await.map_err(|e| unreachable(at, &e.to_string()))?;
        return Ok(Stream(Box::new(stream)));
    };
    let trouble = |e: &io::Error| tls::trouble(e, tcp, folder, at);
    let mut stream = tls::connect(stream, tcp, folder, at).await?;
    greet(&mut stream).await.map_err(|e| trouble(&e))?;
    Ok(Stream(Box::new(stream)))
}

async fn open(tcp: &Tcp, at: &Address) -> Result<TcpStream, Fault> {
    let found = tokio::net::lookup_host((tcp.host.as_str(), tcp.port)).await;
    let unknown = |e: io::Error| unreachable(at, &format!("the name `{}` is not known: {e}", tcp.host));
    let all: Vec<_> = found.map_err(unknown)?.collect();
    let stream = TcpStream::connect(&*all).await.map_err(|e| match e.kind() {
        io::ErrorKind::ConnectionRefused => unreachable(at, "nothing listens there (connection refused)"),
        _ => unreachable(at, &e.to_string()),
    })?;
    let watched = sockopt::set_socket_keepalive(&stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(&stream, SILENCE))
        .and_then(|()| sockopt::set_tcp_keepintvl(&stream, ASKED_AGAIN))
        .and_then(|()| sockopt::set_tcp_keepcnt(&stream, 3));
    watched.map_err(|e| unreachable(at, &io::Error::from(e).to_string()))?;
    Ok(stream)
}

/// Has the engine say that it is one.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(GREETING).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::other("it ends the connection without an answer"));
        }
        if head.len() > HEAD_MAX || !is_http(&head) {
            return Err(io::Error::other("what answers is no Docker Engine"));
        }
    }
    match head.get(9..12) {
        Some(b"200") => Ok(()),
        _ => {
            let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            Err(io::Error::other(format!("what answers is no Docker Engine: {first}")))
        }
    }
}

fn is_http(head: &[u8]) -> bool {
    let start = b"HTTP/1.1 ";
    let many = head.len().min(start.len());
    head[..many] == start[..many]
}

/// A fault of a connection that did not come about: nothing was asked of the engine.
pub(crate) fn unreachable(at: &Address, why: &str) -> Fault {
    let message = format!("the Docker Engine at {at} cannot be reached: {why}");
    let hint = "look whether it runs, and whether this machine may go there; what runs there is not affected";
    Fault { applied: Applied::No, ..Fault::platform(message) }.hint(hint)
}

/// The other side said no, or cannot be believed. Somebody may mend that: what waits for it goes on then.
pub(crate) fn denied(at: &Address, why: &str) -> Fault {
    Fault { kind: FaultKind::Denied, ..unreachable(at, why) }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection of any kind.
pub(crate) struct Stream(Box<dyn Duplex>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
