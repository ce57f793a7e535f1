//! The bytes of a client connection, as the HTTP library sees them: for HTTP/1 only what the guard passes.

use crate::conn::Conn;
use crate::strict::Refusal;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What the HTTP library gets in place of a request that was refused; it leads to the answer that says so.
const IN_PLACE: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// The transport of a client.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A client connection under the HTTP library.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: Stream,
    conn: Rc<Conn>,
    /// Passed by the guard, not yet read by the library, from `at` on.
    ready: Vec<u8>,
    at: usize,
    /// HTTP/1, so that the guard looks at what comes.
    guarded: bool,
    /// What follows what was passed is no good.
    fault: Option<&'static str>,
}

impl ClientIo {
    /// `first` was read already, to see which protocol it is.
    pub(crate) fn new(stream: Stream, conn: Rc<Conn>, first: Vec<u8>, guarded: bool) -> Self {
        let mut io = Self { stream, conn, ready: Vec::new(), at: 0, guarded, fault: None };
        if guarded {
            io.pass(&first, None);
        } else {
            io.ready = first;
        }
        io
    }

    /// Keeps what the library read of it and gave back; it was passed already.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.ready.shrink_to_fit();
            return;
        }
        self.ready = [bytes, &self.ready[self.at..]].concat();
        self.at = 0;
    }

    /// Waits until there is something to read, or the end. Takes no memory, reads nothing.
    pub(crate) fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ready.is_empty() || self.fault.is_some() {
            return Poll::Ready(());
        }
        // Below TLS, too: a connection is parked only after a read that waited, so the TLS library has nothing left.
        self.stream.socket().poll_read_ready(cx).map(drop)
    }

    /// The transport, and what was read of it that nobody has seen.
    pub(crate) fn into_parts(mut self) -> (Stream, Vec<u8>) {
        let mut unseen = self.ready.split_off(self.at);
        unseen.extend(self.conn.guard.borrow_mut().kept_back());
        (self.stream, unseen)
    }

    /// Lets the guard look at `input`; what passes goes to `direct` if it fits, else to `ready`.
    fn pass(&mut self, input: &[u8], mut direct: Option<&mut ReadBufCursor<'_>>) {
        let Self { conn, ready, fault, .. } = self;
        let mut guard = conn.guard.borrow_mut();
        let fed = guard.feed(input, |bytes| match &mut direct {
            Some(buf) if ready.is_empty() && bytes.len() <= buf.remaining() => buf.put_slice(bytes),
            _ => ready.extend_from_slice(bytes),
        });
        conn.head_begun(guard.in_head());
        match fed {
            Ok(()) => {}
            Err(Refusal::Head(reject)) => {
                conn.refuse(reject, guard.heads());
                ready.extend_from_slice(IN_PLACE);
            }
            Err(Refusal::Body(why)) => {
                conn.linger.set(true);
                *fault = Some(why.0);
            }
        }
    }

    fn hand_out(&mut self, buf: &mut ReadBufCursor<'_>) {
        let count = buf.remaining().min(self.ready.len() - self.at);
        buf.put_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        if self.at == self.ready.len() {
            (self.ready, self.at) = (Vec::new(), 0);
        }
    }
}

impl Read for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                this.hand_out(&mut buf);
                return Poll::Ready(Ok(()));
            }
            if let Some(why) = this.fault {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            if this.guarded {
                if this.conn.wait_for_decision(cx) {
                    return Poll::Pending;
                }
                let kept = this.conn.take_kept_back();
                if !kept.is_empty() {
                    this.pass(&kept, None);
                    continue;
                }
            }
            let before = buf.remaining();
            let end = SCRATCH.with_borrow_mut(|scratch| {
                let room = before.min(SCRATCH_BYTES);
                let mut read = ReadBuf::new(&mut scratch[..room]);
                match Pin::new(&mut this.stream).poll_read(cx, &mut read) {
                    Poll::Pending => {
                        this.conn.read_waits();
                        return Poll::Pending;
                    }
                    Poll::Ready(result) => result?,
                }
                this.conn.read_goes_on();
                if !this.guarded {
                    buf.put_slice(read.filled());
                } else {
                    this.pass(read.filled(), Some(&mut buf));
                }
                Poll::Ready(io::Result::Ok(read.filled().is_empty()))
            });
            if ready!(end)? || buf.remaining() < before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl ClientIo {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.conn.write_waits(polled.is_pending().then(Instant::now));
        polled
    }
}

impl Write for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if self.guarded {
            self.conn.write_waits(polled.is_pending().then(Instant::now));
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.guarded {
            // `conn` does it, when it is clear that this is no upgrade and the answer was read.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
