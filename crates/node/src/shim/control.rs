//! The FIFO on which a shim takes orders. It needs no space on the disk, and nobody listening is seen at once.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The shim's end.
#[derive(Debug)]
pub(super) struct Control {
    fifo: OwnedFd,
    partial: Vec<u8>,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The process has ended.
    Ended,
    /// An order to stop, with this much time to end by itself.
    Stop(Duration),
    /// Time is up.
    Due,
}

impl Control {
    /// Makes the FIFO, or takes over the one of a shim that was killed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // Open for writing too: so it never is at its end.
        let fifo = rustix::fs::open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fifo, partial: Vec::new() })
    }

    /// Waits until `process` has ended, an order comes, or `span` is over.
    pub(super) fn wait(&mut self, process: Option<&OwnedFd>, span: Duration) -> io::Result<Woken> {
        if let Some(grace) = self.order()? {
            return Ok(Woken::Stop(grace));
        }
        let control = PollFd::new(&self.fifo, PollFlags::IN);
        let mut watched = match process {
            Some(process) => vec![control, PollFd::new(process, PollFlags::IN)],
            None => vec![control],
        };
        let span = Timespec::try_from(span).map_err(|_| io::Error::other("a pause is too long"))?;
        match poll(&mut watched, Some(&span)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = watched.get(1).is_some_and(|fd| !fd.revents().is_empty());
        match self.order()? {
            Some(grace) => Ok(Woken::Stop(grace)),
            None if ended => Ok(Woken::Ended),
            None => Ok(Woken::Due),
        }
    }

    /// Takes all orders that came; the shortest grace of them counts.
    fn order(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0_u8; 256];
        loop {
            match rustix::io::read(&self.fifo, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => self.partial.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut shortest = None;
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            if let Some(grace) = parse(&line) {
                shortest = Some(shortest.map_or(grace, |s: Duration| s.min(grace)));
            }
        }
        Ok(shortest)
    }
}

fn parse(line: &[u8]) -> Option<Duration> {
    let ms = std::str::from_utf8(line).ok()?.trim_end().strip_prefix("stop ")?;
    ms.parse().ok().map(Duration::from_millis)
}

/// Tells the shim that listens at `path` to stop its run; `false` if none listens.
pub(crate) fn tell_stop(path: &Path, grace: Duration) -> io::Result<bool> {
    let fifo = match rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fifo) => fifo,
        Err(Errno::NXIO | Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    match rustix::io::write(fifo.as_fd(), format!("stop {}\n", grace.as_millis()).as_bytes()) {
        // Full of orders that nobody has read yet: they say the same.
        Ok(_) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::PIPE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
