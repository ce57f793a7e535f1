//! Unused connections to one address, of one worker.

use super::Failure;
use super::h1::H1;
use super::h2::Sender;
use crate::limits::{CONNECT_TIME, POOL_FRESH_TIME, POOL_IDLE_MAX, POOL_IDLE_TIME};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpStream;

/// Unused connections to one address.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) address: SocketAddr,
    idle: RefCell<Vec<H1>>,
    /// The HTTP/2 connection, if instances speak that.
    pub(crate) h2: RefCell<Option<Sender>>,
    closed: Cell<bool>,
}

impl Pool {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, idle: RefCell::default(), h2: RefCell::default(), closed: Cell::new(false) }
    }

    /// A connection that was used before and is alive. With `only_fresh`, because the request must not be sent twice,
    /// one on which the instance hardly can be about to close.
    pub(crate) fn take(&self, now: Instant, only_fresh: bool) -> Option<H1> {
        let mut idle = self.idle.borrow_mut();
        while let Some(connection) = idle.pop() {
            let age = connection.idle_since.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
            if only_fresh && age > POOL_FRESH_TIME {
                idle.push(connection);
                return None;
            }
            if connection.is_alive(only_fresh || age > POOL_FRESH_TIME) {
                return Some(connection);
            }
        }
        None
    }

    /// Puts a connection aside whose answer was read to its end.
    pub(crate) fn put(&self, mut connection: H1, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if !self.closed.get() && idle.len() < POOL_IDLE_MAX && connection.clean(now) {
            idle.push(connection);
        }
    }

    /// Closes what was unused for too long; the oldest are in front.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let old = |connection: &H1| {
            connection.idle_since.is_none_or(|since| now.saturating_duration_since(since) > POOL_IDLE_TIME)
        };
        let keep_from = idle.iter().position(|connection| !old(connection)).unwrap_or(idle.len());
        idle.drain(..keep_from);
    }

    /// Closes all unused connections, now and later.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.idle.borrow_mut().clear();
        self.h2.borrow_mut().take();
    }
}

/// A new connection.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let connecting = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(address)).await;
    let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Failure::Connect)?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
