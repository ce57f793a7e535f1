//! Connections, with or without TLS.

mod target;
mod tls;

pub use target::Target;

use crate::outcome::{Loss, Lost};
use rustix::net::RecvFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    /// The same socket, to look at what arrived.
    socket: OwnedFd,
    tls: bool,
}

impl Wire {
    /// Connects; `protocol` is offered by ALPN where there is TLS.
    pub(crate) async fn connect(target: &Target, protocol: &'static str, limit: Duration) -> Result<Self, Lost> {
        match timeout(limit, Self::try_connect(target, protocol)).await {
            Ok(Ok(wire)) => Ok(wire),
            Ok(Err(e)) => Err(Lost::new(Loss::Unconnected, e)),
            Err(_) => Err(Lost::new(Loss::Unconnected, "no connection within the timeout")),
        }
    }

    async fn try_connect(target: &Target, protocol: &'static str) -> io::Result<Self> {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        let socket = stream.as_fd().try_clone_to_owned()?;
        let stream: Box<dyn Stream> = match target.tls {
            true => Box::new(tls::wrap(stream, target.name(), protocol).await?),
            false => Box::new(stream),
        };
        Ok(Self { stream, socket, tls: target.tls })
    }

    /// Whether anything has arrived, be it the end.
    pub(crate) fn readable(&self) -> bool {
        let looked = rustix::net::recv(&self.socket, &mut [0u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(looked, Err(rustix::io::Errno::AGAIN))
    }

    /// Whether the other side has ended this idle connection, as far as this machine can know now.
    ///
    /// It asks the kernel, not the runtime, which may not have looked yet.
    pub(crate) async fn ended(&mut self) -> bool {
        match rustix::net::recv(&self.socket, &mut [0u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN) => false,
            Ok((1.., _)) if self.tls => {
                // A session ticket is read away; the end of the session ends the connection.
                let read = timeout(Duration::from_millis(5), self.stream.read_u8()).await;
                read.is_ok()
            }
            _ => true,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
