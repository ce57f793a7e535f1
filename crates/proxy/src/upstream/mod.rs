//! Connections to instances. One pool per worker thread and address; a connection is driven by the task of the client
//! whose request it carries, so that a request costs no hop between tasks.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod encode;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod pool;

use std::io;

/// Why there is no answer of an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection could not be made; nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It was closed before a byte of the answer; `sent` tells whether anything of the request had left.
    #[error("the instance closed the connection before it answered")]
    Closed {
        /// Whether the instance may have seen the request.
        sent: bool,
    },
    /// The answer broke off within its head.
    #[error("the answer broke off in its head")]
    Broken,
    /// What came is not an HTTP answer that can be passed on.
    #[error("not a proper answer: {0}")]
    Malformed(&'static str),
    /// The client's body came to a bad end.
    #[error("the request body broke off")]
    Body(BodyFault),
    /// No head of an answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The instance left and the time for that is over.
    #[error("the instance left")]
    Cut,
}

/// What is wrong with a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// It is larger than the route allows.
    TooLarge,
    /// The client went away or broke the framing.
    Broken,
}
