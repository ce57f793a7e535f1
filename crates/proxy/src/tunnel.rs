//! Connections that left HTTP: bytes both ways until one side ends, or the instance leaves and its time is over.

use crate::flight::Flight;
use crate::io::Stream;
use crate::limits::LINGER_TIME;
use crate::ws::{self, Frames};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// How long an end waits for the border of a frame.
const BORDER_TIME: Duration = Duration::from_secs(1);
const BUFFER_BYTES: usize = 16 * 1024;

/// An upgraded connection; counted with its instance as long as it lives.
#[derive(Debug)]
pub(crate) struct Tunnel {
    instance: TcpStream,
    /// Of the instance, read and not passed on.
    unread: Bytes,
    flight: Flight,
    websocket: bool,
}

impl Tunnel {
    pub(crate) fn new((instance, unread): (TcpStream, Bytes), flight: Flight, websocket: bool) -> Self {
        Self { instance, unread, flight, websocket }
    }
}

/// One direction.
struct Way {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    shut: bool,
    frames: Frames,
}

impl Way {
    fn new(first: &[u8]) -> Self {
        let mut frames = Frames::default();
        frames.feed(first);
        let mut buffer = vec![0; BUFFER_BYTES.max(first.len())];
        buffer[..first.len()].copy_from_slice(first);
        Self { buffer, start: 0, end: first.len(), ended: false, shut: false, frames }
    }

    /// Copies as long as it goes; ready at the end of this direction.
    fn poll<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while self.start < self.end {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += written;
            }
            if self.ended {
                if !self.shut {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut read = ReadBuf::new(&mut self.buffer);
            if Pin::new(&mut *from).poll_read(cx, &mut read)?.is_pending() {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                return Poll::Pending;
            }
            let count = read.filled().len();
            self.frames.feed(&self.buffer[..count]);
            (self.start, self.end, self.ended) = (0, count, count == 0);
        }
    }

    /// Whether a frame of our own may be written now.
    fn at_border(&self) -> bool {
        self.start == self.end && self.frames.at_border() && !self.frames.closed()
    }
}

/// Carries the tunnel to its end; `unseen` came from the client already.
pub(crate) async fn run(tunnel: Tunnel, mut client: Stream, unseen: Vec<u8>) {
    let Tunnel { mut instance, unread, flight, websocket } = tunnel;
    // A side that vanished without a word is noticed by the kernel.
    let _ = rustix::net::sockopt::set_socket_keepalive(&instance, true);
    let _ = rustix::net::sockopt::set_socket_keepalive(client.socket(), true);
    let (mut up, mut down) = (Way::new(&unseen), Way::new(&unread));
    let mut both = |cx: &mut Context<'_>| {
        let up = up.poll(&mut client, &mut instance, cx);
        let down = down.poll(&mut instance, &mut client, cx);
        match (up, down) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            (Poll::Ready(_), Poll::Ready(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    };
    let cut = poll_fn(|cx| if flight.is_cut(cx) { Poll::Ready(true) } else { both(cx).map(|()| false) }).await;
    if cut && websocket {
        let mut late = pin!(tokio::time::sleep(BORDER_TIME));
        poll_fn(|cx| {
            if (up.at_border() && down.at_border()) || late.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let ended = [up.poll(&mut client, &mut instance, cx), down.poll(&mut instance, &mut client, cx)];
            if ended.iter().any(|polled| matches!(polled, Poll::Ready(Err(_)))) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let (tell_client, tell_instance) = (down.at_border(), up.at_border());
        let farewell = async {
            if tell_instance && instance.write_all(ws::CLOSE_TO_SERVER).await.is_ok() {
                let _ = instance.shutdown().await;
            }
            if tell_client && client.write_all(ws::CLOSE_TO_CLIENT).await.is_ok() {
                let _ = client.flush().await;
                let _ = client.shutdown().await;
                let mut scratch = [0; 1024];
                while matches!(client.read(&mut scratch).await, Ok(1..)) {}
            }
        };
        let _ = tokio::time::timeout(LINGER_TIME, farewell).await;
    }
}
