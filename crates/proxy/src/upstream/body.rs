//! Bodies: what a client sends, and what an instance answers, piece by piece as they come.

use super::BodyFault;
use super::answer::Framing;
use super::h1::{H1, Sending};
use super::pool::Pool;
use crate::chunked::{Scanner, Step};
use crate::flight::Flight;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// A client's body, bounded.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    left: u64,
}

impl RequestBody {
    /// No body.
    pub(crate) fn none() -> Self {
        Self { incoming: None, left: 0 }
    }

    /// `most` bounds it, if anything does.
    pub(crate) fn new(incoming: Incoming, most: Option<u64>) -> Self {
        Self { incoming: Some(incoming), left: most.unwrap_or(u64::MAX) }
    }
}

impl std::fmt::Display for BodyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the request body is too large",
            Self::Broken => "the request body broke off",
        })
    }
}

impl std::error::Error for BodyFault {}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(incoming).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(_)) => return Poll::Ready(Some(Err(BodyFault::Broken))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Some(Err(BodyFault::TooLarge))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// All of it.
    Whole(Option<Bytes>),
    /// Of an HTTP/1 instance, as it comes.
    H1(Box<Streaming>),
    /// Of an HTTP/2 instance, as it comes.
    H2(Incoming, Flight),
}

/// The body of an HTTP/1 answer under way.
#[derive(Debug)]
pub(crate) struct Streaming {
    pub(crate) connection: Option<H1>,
    pub(crate) sending: Sending,
    pub(crate) rest: Rest,
    pub(crate) keep: bool,
    pub(crate) pool: Rc<Pool>,
    pub(crate) flight: Option<Flight>,
    /// Whether an instance that leaves may end it early as if it were whole: event streams, whose clients come again.
    pub(crate) open_ended: bool,
}

/// What is left of it.
#[derive(Debug)]
pub(crate) enum Rest {
    Length(u64),
    Chunked(Scanner, Vec<u8>),
    Close,
}

impl From<Framing> for Rest {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Scanner::new(), Vec::new()),
            Framing::Close => Self::Close,
        }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, io::Error>>>;

impl Streaming {
    fn finish(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.keep
            && self.sending.done()
        {
            self.pool.put(connection, Instant::now());
        }
        self.flight = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let cut = self.flight.as_ref().is_some_and(|flight| flight.is_cut(cx));
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        if cut {
            self.connection = None;
            self.flight = None;
            return Poll::Ready((!self.open_ended).then(|| Err(io::Error::other("the instance left"))));
        }
        if !self.sending.done()
            && let Poll::Ready(Err(_)) = connection.poll_send(&mut self.sending, cx)
        {
            // The instance may stop to listen and go on to speak; the connection is not used again.
            self.keep = false;
            self.sending.body = None;
        }
        let polled = match &mut self.rest {
            Rest::Length(0) => Poll::Ready(None),
            Rest::Length(left) => {
                let data = ready!(connection.poll_more(*left, cx))?;
                *left -= data.len() as u64;
                if data.is_empty() {
                    Poll::Ready(Some(Err(broken())))
                } else {
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
            }
            Rest::Close => {
                let data = ready!(connection.poll_more(u64::MAX, cx))?;
                Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
            }
            Rest::Chunked(scanner, trailer) => chunk(connection, scanner, trailer, cx),
        };
        let ended = match &polled {
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || matches!(self.rest, Rest::Length(0)),
            Poll::Pending => false,
        };
        if ended {
            self.keep &= !matches!(polled, Poll::Ready(Some(Err(_))));
            self.finish();
        }
        polled
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off")
}

fn chunk(connection: &mut H1, scanner: &mut Scanner, trailer: &mut Vec<u8>, cx: &mut Context<'_>) -> Polled {
    loop {
        if scanner.done() {
            let trailers = trailers(trailer);
            trailer.clear();
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if connection.unread().is_empty() && ready!(connection.poll_fill(u64::MAX, cx))? == 0 {
            return Poll::Ready(Some(Err(broken())));
        }
        let input = connection.unread();
        match scanner.step(input).map_err(io::Error::other)? {
            Step::Skip(count) | Step::End(count) => drop(input.split_to(count)),
            Step::Trailer(count) => trailer.extend_from_slice(&input.split_to(count)),
            Step::Data(count) => return Poll::Ready(Some(Ok(Frame::data(input.split_to(count).freeze())))),
        }
    }
}

fn trailers(bytes: &[u8]) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(bytes, &mut fields) else { return None };
    let mut map = HeaderMap::new();
    for field in fields {
        let name = http::HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if crate::headers::may_trail(&name) {
            map.append(name, http::HeaderValue::from_bytes(field.value).ok()?);
        }
    }
    (!map.is_empty()).then_some(map)
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::H1(streaming) => streaming.poll(cx),
            Self::H2(incoming, flight) => {
                if flight.is_cut(cx) {
                    return Poll::Ready(Some(Err(io::Error::other("the instance left"))));
                }
                Pin::new(incoming).poll_frame(cx).map_err(io::Error::other)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::H1(streaming) => streaming.connection.is_none(),
            Self::H2(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::H1(streaming) => match streaming.rest {
                Rest::Length(length) => SizeHint::with_exact(length),
                _ => SizeHint::default(),
            },
            Self::H2(incoming, _) => incoming.size_hint(),
        }
    }
}
