//! What can become of a request.

use serde::Serialize;
use std::time::Instant;

/// What sort of client a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// GET over kept-alive HTTP/1.1 connections, used in turn.
    Kept,
    /// GET over an HTTP/1.1 connection of its own.
    Fresh,
    /// POST of a body that comes back, over kept-alive HTTP/1.1 connections.
    Upload,
    /// GET over a few HTTP/2 connections.
    H2,
    /// A GET that takes seconds; a fixed number is always in flight.
    Slow,
    /// A stream of events; a fixed number is always open.
    Stream,
    /// A WebSocket whose messages come back; a fixed number is always open.
    Websocket,
}

/// How a request was lost: it was sent on a live connection, and no complete answer of an instance followed.
///
/// Not lost: a kept-alive connection that was closed between requests, if the close could be seen before the next
/// request was sent; a request that HTTP/2 declares never looked at (GOAWAY with a lower stream id, REFUSED_STREAM); a
/// WebSocket closed with a close frame; a stream that ends in order before its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// No connection: refused, reset, or no TLS. Told apart from the others, because no request was sent.
    Unconnected,
    /// The connection broke while the request was being sent.
    Unsent,
    /// The connection ended without a byte of an answer.
    NoAnswer,
    /// The answer broke off.
    Truncated,
    /// The answer is none: not HTTP, or another body than the one that was sent.
    Malformed,
    /// 502, 503 or 504: the proxy's words, not an instance's.
    GatewayStatus,
    /// Nothing within the timeout.
    Timeout,
    /// A WebSocket ended without a close frame.
    NoClose,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body's start, as much as a version may take.
    pub(crate) body: Vec<u8>,
    /// The body's length.
    pub(crate) length: u64,
}

impl Answer {
    /// Keeps what of the body is looked at.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        const KEPT: usize = 256;
        let room = KEPT.saturating_sub(self.body.len());
        self.body.extend_from_slice(&piece[..piece.len().min(room)]);
        self.length += piece.len() as u64;
    }
}

/// A loss and what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) loss: Loss,
    pub(crate) detail: String,
}

impl Lost {
    pub(crate) fn new(loss: Loss, detail: impl std::fmt::Display) -> Self {
        Self { loss, detail: detail.to_string() }
    }
}

/// The end of a request.
pub(crate) struct Outcome {
    pub(crate) kind: Kind,
    /// When it should have been sent.
    pub(crate) due: Instant,
    /// When it was sent.
    pub(crate) sent: Instant,
    pub(crate) result: Result<Answer, Lost>,
}
