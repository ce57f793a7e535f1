//! One HTTP/1 connection to an instance: sends a request while it reads the answer, polled by its user.

use super::answer::{self, Answer};
use super::body::RequestBody;
use super::{Failure, encode};
use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use http_body::Body;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

/// How much is read at once while little is expected, and while much is.
const READ_SMALL: usize = 8 * 1024;
const READ_LARGE: usize = 64 * 1024;

/// What waits to be written: framing, content, framing.
#[derive(Debug, Default)]
struct Out {
    before: BytesMut,
    content: Bytes,
    after: &'static [u8],
}

impl Out {
    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.content.is_empty() && self.after.is_empty()
    }

    fn advance(&mut self, mut written: usize) {
        let taken = written.min(self.before.len());
        self.before.advance(taken);
        written -= taken;
        let taken = written.min(self.content.len());
        self.content.advance(taken);
        self.after = &self.after[written - taken..];
    }
}

/// A connection to an instance.
#[derive(Debug)]
pub(crate) struct H1 {
    io: TcpStream,
    read: BytesMut,
    out: Out,
    /// When it was put aside; none while it has carried no request yet.
    pub(crate) idle_since: Option<Instant>,
}

/// A request under way on a connection.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) body: Option<RequestBody>,
    chunked: bool,
    /// Whether a byte of it was written.
    pub(crate) started: bool,
    /// Whether a frame of the body was taken.
    pub(crate) body_used: bool,
}

impl Sending {
    /// Whether the whole request is with the kernel.
    pub(crate) fn done(&self) -> bool {
        self.body.is_none()
    }
}

impl H1 {
    pub(crate) fn new(io: TcpStream) -> Self {
        Self { io, read: BytesMut::new(), out: Out::default(), idle_since: None }
    }

    /// The buffer that a request head is written to.
    pub(crate) fn head(&mut self) -> &mut BytesMut {
        self.out.before.clear();
        &mut self.out.before
    }

    /// Begins to send what was written to [`H1::head`], and `body` after it.
    pub(crate) fn begin(&self, body: Option<RequestBody>, framing: encode::Framing) -> Sending {
        Sending { body, chunked: framing == encode::Framing::Chunked, started: false, body_used: false }
    }

    /// Whether the instance said or ended nothing since the connection was put aside. `look` asks the kernel even if
    /// no event was seen.
    pub(crate) fn is_alive(&self, look: bool) -> bool {
        if !self.read.is_empty() {
            return false;
        }
        if look {
            let mut byte = [std::mem::MaybeUninit::<u8>::uninit()];
            let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
            return matches!(rustix::net::recv(&self.io, &mut byte[..], flags), Err(rustix::io::Errno::AGAIN));
        }
        matches!(self.io.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn poll_flush(&mut self, sending: &mut Sending, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let io = Pin::new(&mut self.io);
            let written = if self.out.content.is_empty() && self.out.after.is_empty() {
                ready!(io.poll_write(cx, &self.out.before))?
            } else {
                let slices =
                    [IoSlice::new(&self.out.before), IoSlice::new(&self.out.content), IoSlice::new(self.out.after)];
                ready!(io.poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            sending.started = true;
            self.out.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much as goes. Ready when all is sent or it cannot be.
    pub(crate) fn poll_send(&mut self, sending: &mut Sending, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if ready!(self.poll_flush(sending, cx)).is_err() {
                return Poll::Ready(Err(Failure::Closed { sent: sending.started }));
            }
            let Some(body) = &mut sending.body else { return Poll::Ready(Ok(())) };
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
            sending.body_used = true;
            match frame {
                None => {
                    sending.body = None;
                    if sending.chunked {
                        self.out.after = b"0\r\n\r\n";
                    }
                }
                Some(Err(fault)) => {
                    // The instance must not take what it got for a whole request: the connection ends with it.
                    return Poll::Ready(Err(Failure::Body(fault)));
                }
                Some(Ok(frame)) => self.queue(sending, frame),
            }
        }
    }

    fn queue(&mut self, sending: &mut Sending, frame: http_body::Frame<Bytes>) {
        self.out.before.clear();
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                if sending.chunked {
                    self.out.before.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    self.out.after = b"\r\n";
                }
                self.out.content = data;
            }
            Err(frame) => {
                if let (true, Ok(trailers)) = (sending.chunked, frame.into_trailers()) {
                    encode::trailers(&mut self.out.before, &trailers);
                    sending.chunked = false;
                }
            }
        }
    }

    /// Waits for the head of the answer, while the request is sent on.
    pub(crate) fn poll_answer(
        &mut self,
        sending: &mut Sending,
        method: &Method,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Failure>> {
        let mut failed = match self.poll_send(sending, cx) {
            Poll::Ready(Err(Failure::Body(fault))) => return Poll::Ready(Err(Failure::Body(fault))),
            Poll::Ready(Err(failure)) => Some(failure),
            _ => None,
        };
        loop {
            // An instance may answer and close before it read all: what it said counts, even after a failed write.
            match answer::take(&mut self.read, method)? {
                Some(answer) if answer.status.is_informational() && answer.status.as_u16() != 101 => continue,
                Some(mut answer) => {
                    answer.keep &= failed.is_none();
                    return Poll::Ready(Ok(answer));
                }
                None => {}
            }
            let read = match self.poll_read(cx, READ_SMALL) {
                Poll::Ready(read) => read,
                Poll::Pending if failed.is_some() && !sending.started => {
                    return Poll::Ready(Err(failed.take().unwrap_or(Failure::Broken)));
                }
                Poll::Pending => return Poll::Pending,
            };
            if !matches!(read, Ok(1..)) {
                let nothing = self.read.is_empty();
                let failure = failed.take().unwrap_or(Failure::Closed { sent: sending.started });
                return Poll::Ready(Err(if nothing { failure } else { Failure::Broken }));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < room / 4 {
            self.read.reserve(room);
        }
        let reading = std::pin::pin!(self.io.read_buf(&mut self.read));
        reading.poll(cx)
    }

    /// More bytes of the answer, up to `most`; empty at the end of the connection.
    pub(crate) fn poll_more(&mut self, most: u64, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.read.is_empty() {
            ready!(self.poll_fill(most, cx))?;
        }
        let taken = usize::try_from(most).unwrap_or(usize::MAX).min(self.read.len());
        Poll::Ready(Ok(self.read.split_to(taken).freeze()))
    }

    /// Reads more behind what is there; ready with the number of new bytes, 0 at the end.
    pub(crate) fn poll_fill(&mut self, expected: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read(cx, if expected > READ_SMALL as u64 { READ_LARGE } else { READ_SMALL })
    }

    /// What was read and not taken.
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        &mut self.read
    }

    /// Makes it ready to be put aside; whether it may be.
    pub(crate) fn clean(&mut self, now: Instant) -> bool {
        if !self.read.is_empty() || !self.out.is_empty() {
            return false;
        }
        if self.read.capacity() > READ_SMALL * 2 {
            self.read = BytesMut::new();
        }
        self.idle_since = Some(now);
        true
    }

    /// The bare connection and what was read of it beyond the answer.
    pub(crate) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.io, self.read.freeze())
    }
}
