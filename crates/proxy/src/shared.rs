//! What the workers and the control side of one process share.

use crate::access_log::AccessLog;
use crate::table::{Clock, ListenKey, Table};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};

/// A bound address.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) key: ListenKey,
    pub(crate) tls: bool,
    pub(crate) address: SocketAddr,
    socket: Mutex<Option<TcpListener>>,
}

impl Bound {
    /// `socket` must not block.
    pub(crate) fn new(key: ListenKey, tls: bool, address: SocketAddr, socket: TcpListener) -> Self {
        Self { key, tls, address, socket: Mutex::new(Some(socket)) }
    }

    fn with<T>(&self, with: impl FnOnce(&TcpListener) -> Option<T>) -> Option<T> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(with)
    }

    /// Another handle of the same socket; none if it is closed.
    pub(crate) fn copy(&self) -> Option<TcpListener> {
        self.with(|socket| socket.try_clone().ok())
    }

    /// A connection that waits to be taken.
    pub(crate) fn accept_waiting(&self) -> Option<(std::net::TcpStream, SocketAddr)> {
        self.with(|socket| socket.accept().ok())
    }

    /// Lets go of the socket. Connections that were made through it remain, and refer to this value.
    pub(crate) fn close(&self) {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What workers have to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) listeners: Vec<Arc<Bound>>,
    /// Another process takes the connections from now on.
    pub(crate) draining: bool,
    /// Everything ends now.
    pub(crate) over: bool,
}

/// Counts changes that the control plane waits for.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    count: AtomicU64,
    notify: Notify,
}

impl Changes {
    /// Something changed.
    pub(crate) fn tell(&self) {
        self.count.fetch_add(1, SeqCst);
        self.notify.notify_waiters();
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    /// Returns when the count is not `seen`.
    pub(crate) async fn after(&self, seen: u64) -> u64 {
        loop {
            let notified = self.notify.notified();
            let count = self.count();
            if count != seen {
                return count;
            }
            notified.await;
        }
    }
}

/// How busy a worker is, and how to give it a connection.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) connections: AtomicUsize,
    pub(crate) give: tokio::sync::mpsc::UnboundedSender<(std::net::TcpStream, SocketAddr, Arc<Bound>)>,
}

/// What the workers and the control side of one process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// Grows with every table in use.
    epoch: AtomicU64,
    table: Mutex<Arc<Table>>,
    /// Tells the epoch to whoever waits for a new table.
    pub(crate) tables: watch::Sender<u64>,
    pub(crate) plan: watch::Sender<Plan>,
    pub(crate) changes: Changes,
    pub(crate) draining: AtomicBool,
    pub(crate) workers: Vec<Port>,
    pub(crate) log: AccessLog,
    /// The most requests held for one service.
    pub(crate) held_max: u64,
}

impl Shared {
    pub(crate) fn new(clock: Clock, workers: Vec<Port>, log: AccessLog, held_max: u64) -> Self {
        Self {
            clock,
            held_max,
            epoch: AtomicU64::new(0),
            table: Mutex::default(),
            tables: watch::Sender::new(0),
            plan: watch::Sender::new(Plan::default()),
            changes: Changes::default(),
            draining: AtomicBool::new(false),
            workers,
            log,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// The table in use and its epoch.
    pub(crate) fn table(&self) -> (u64, Arc<Table>) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        (self.epoch(), table.clone())
    }

    /// Every request that is counted in from now on sees `table`; who counted itself in before is in the counts.
    pub(crate) fn install(&self, next: Arc<Table>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        *table = next;
        let epoch = self.epoch.fetch_add(1, SeqCst) + 1;
        drop(table);
        self.tables.send_replace(epoch);
        self.changes.tell();
    }

    /// Connections of clients, over all workers.
    pub(crate) fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.connections.load(SeqCst)).sum()
    }
}
