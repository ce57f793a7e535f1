//! Connections: read with a buffer, and known to whoever stops the server.

use crate::http::{Framing, HEAD_BYTES_MAX, Head};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const IDLE: u8 = 0;
const BUSY: u8 = 1;
const CLOSING: u8 = 2;

/// All open connections of a server.
#[derive(Default)]
pub struct Connections {
    open: Mutex<(u64, HashMap<u64, Arc<Entry>>)>,
    closed: Condvar,
    stopping: AtomicBool,
}

struct Entry {
    stream: TcpStream,
    state: AtomicU8,
}

impl Connections {
    /// Takes up a connection until the result is dropped.
    pub fn open(self: &Arc<Self>, stream: TcpStream) -> Conn {
        let entry = Arc::new(Entry { stream, state: AtomicU8::new(IDLE) });
        let mut open = self.lock();
        open.0 += 1;
        let id = open.0;
        open.1.insert(id, Arc::clone(&entry));
        Conn { all: Arc::clone(self), id, entry, buffer: Vec::with_capacity(8192), start: 0 }
    }

    /// Whether the server is about to stop: every answer is the last one of its connection.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends idle connections, and waits until the busy ones have had their answers.
    ///
    /// What has arrived on an idle connection is still answered.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let mut open = self.lock();
        for entry in open.1.values() {
            if entry.state.compare_exchange(IDLE, CLOSING, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                let _ = entry.stream.shutdown(Shutdown::Read);
            }
        }
        while !open.1.is_empty() {
            open = self.closed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Arc<Entry>>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
pub struct Conn {
    all: Arc<Connections>,
    id: u64,
    entry: Arc<Entry>,
    buffer: Vec<u8>,
    start: usize,
}

/// Why there is no request.
#[derive(Debug)]
pub enum NoHead {
    /// The client, or [`Connections::stop`], ended the connection between requests.
    End,
    /// It broke off in the middle of a head.
    Broken,
    /// It sent something else than a request.
    Bad(u16, &'static str),
}

impl Conn {
    /// Whether the server is about to stop.
    pub fn stopping(&self) -> bool {
        self.all.stopping()
    }

    /// Waits for the next request's head.
    pub fn head(&mut self) -> Result<Head, NoHead> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(length) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                self.set_busy();
                let head = Head::parse(&unread[..length + 4]).map_err(|why| NoHead::Bad(400, why))?;
                self.start += length + 4;
                return Ok(head);
            }
            if unread.len() > HEAD_BYTES_MAX {
                return Err(NoHead::Bad(431, "the head is too large"));
            }
            let nothing_yet = unread.is_empty();
            match self.fill() {
                Ok(0) if nothing_yet => return Err(NoHead::End),
                Ok(0) | Err(_) => return Err(NoHead::Broken),
                Ok(_) => self.set_busy(),
            }
        }
    }

    /// Says that the request has been answered: from here to the next head, the connection may be ended.
    pub fn set_idle(&self) {
        let _ = self.entry.state.compare_exchange(BUSY, IDLE, Ordering::SeqCst, Ordering::SeqCst);
        if self.stopping() {
            let _ = self.entry.stream.shutdown(Shutdown::Read);
        }
    }

    /// Passes the body on, piece by piece as it arrives.
    pub fn body(
        &mut self,
        framing: Framing,
        mut piece: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.pass(length, &mut piece),
            Framing::Chunked => loop {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| bad("a chunk's size is not a number"))?;
                self.pass(size, &mut piece)?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    return Ok(());
                }
                if !self.line()?.is_empty() {
                    return Err(bad("a chunk is longer than its size"));
                }
            },
        }
    }

    /// Sends all of `bytes`.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.entry.stream).write_all(bytes)
    }

    /// Ends the connection so that the client can still read what it was sent, whatever it sends meanwhile.
    pub fn linger(&mut self) -> io::Result<()> {
        self.entry.stream.shutdown(Shutdown::Write)?;
        self.entry.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut left = 1 << 20;
        while left > 0 {
            self.start = self.buffer.len();
            match self.fill()? {
                0 => break,
                got => left -= got.min(left),
            }
        }
        Ok(())
    }

    /// The next `length` bytes.
    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.pass(length as u64, &mut |_, piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn pass(&mut self, mut left: u64, piece: &mut impl FnMut(&TcpStream, &[u8]) -> io::Result<()>) -> io::Result<()> {
        while left > 0 {
            if self.start == self.buffer.len() && self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let unread = &self.buffer[self.start..];
            let now = unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            piece(&self.entry.stream, &unread[..now])?;
            self.start += now;
            left -= now as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(length) = unread.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&unread[..length]).into_owned();
                self.start += length + 2;
                return Ok(line);
            }
            if unread.len() > HEAD_BYTES_MAX {
                return Err(bad("a line is too long"));
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + 8192, 0);
        let got = loop {
            match (&self.entry.stream).read(&mut self.buffer[length..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                got => break got,
            }
        };
        self.buffer.truncate(length + *got.as_ref().unwrap_or(&0));
        got
    }

    fn set_busy(&self) {
        let _ = self.entry.state.compare_exchange(IDLE, BUSY, Ordering::SeqCst, Ordering::SeqCst);
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.all.lock().1.remove(&self.id);
        self.all.closed.notify_all();
    }
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
