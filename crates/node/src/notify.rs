//! Tells when a file in a run's folder was replaced, by inotify.

use crate::pollable;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// One inotify descriptor for all folders of a node.
#[derive(Debug)]
pub(crate) struct Folders {
    fd: Arc<AsyncFd<File>>,
    watches: Arc<Mutex<HashMap<i32, Arc<Notify>>>>,
    reader: AbortHandle,
}

/// A watched folder; no more events after it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    id: i32,
    fd: Weak<AsyncFd<File>>,
    watches: Arc<Mutex<HashMap<i32, Arc<Notify>>>>,
    /// Notified after a file was moved to its name.
    pub(crate) replaced: Arc<Notify>,
}

impl Folders {
    /// Starts the task that reads events; it ends with this value. Must be called inside a tokio runtime.
    pub(crate) fn open() -> io::Result<Self> {
        let fd = File::from(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?);
        let fd = Arc::new(pollable::file(fd)?);
        let watches: Arc<Mutex<HashMap<i32, Arc<Notify>>>> = Arc::default();
        let reader = tokio::spawn(read_events(Arc::clone(&fd), Arc::clone(&watches))).abort_handle();
        Ok(Self { fd, watches, reader })
    }

    /// Watches `folder`.
    pub(crate) fn watch(&self, folder: &Path) -> io::Result<Watch> {
        let replaced = Arc::new(Notify::new());
        // Locked before the watch exists, so that no event of it is read before it is known.
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let id = inotify::add_watch(self.fd.get_ref(), folder, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
        let replaced = watches.entry(id).or_insert(replaced).clone();
        Ok(Watch { id, fd: Arc::downgrade(&self.fd), watches: Arc::clone(&self.watches), replaced })
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        // The same folder may be watched again by a successor, under the same id: the last one takes it away.
        if Arc::strong_count(&self.replaced) <= 2
            && watches.remove(&self.id).is_some()
            && let Some(fd) = self.fd.upgrade()
        {
            let _ = inotify::remove_watch(fd.get_ref(), self.id);
        }
    }
}

async fn read_events(fd: Arc<AsyncFd<File>>, watches: Arc<Mutex<HashMap<i32, Arc<Notify>>>>) {
    let mut buffer = vec![0_u8; 16 * 1024];
    while let Ok(mut ready) = fd.readable().await {
        let Ok(Ok(count)) = ready.try_io(|fd| fd.get_ref().read(&mut buffer)) else { continue };
        for (id, flags) in events(&buffer[..count]) {
            let watches = watches.lock().unwrap_or_else(PoisonError::into_inner);
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                watches.values().for_each(|replaced| replaced.notify_one());
            } else if let Some(replaced) = watches.get(&id) {
                replaced.notify_one();
            }
        }
    }
}

/// Each event is watch, flags, cookie, length of the name, name.
fn events(mut bytes: &[u8]) -> Vec<(i32, ReadFlags)> {
    let mut found = Vec::new();
    while bytes.len() >= 16 {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let length = usize::try_from(u32::from_ne_bytes(word(12))).unwrap_or(usize::MAX);
        found.push((i32::from_ne_bytes(word(0)), ReadFlags::from_bits_retain(u32::from_ne_bytes(word(4)))));
        bytes = bytes.get(length.saturating_add(16)..).unwrap_or_default();
    }
    found
}
