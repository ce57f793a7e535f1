//! The access log: JSON lines, written by a thread of its own. When it cannot keep up, lines are dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Lines that may wait for the disk.
const WAITING_MAX: usize = 16 * 1024;
/// From this size on the file is put aside as `access.log.1`.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Takes lines for the access log.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Starts the writer of the file at `path`; the file is made by the first line.
    pub(crate) fn start(path: PathBuf) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let missed = dropped.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_all(&path, &waiting, &missed))?;
        Ok(Self { lines, dropped })
    }

    /// Queues a line, without its line feed; never waits.
    pub(crate) fn line(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn open(path: &PathBuf) -> std::io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn write_all(path: &PathBuf, waiting: &Receiver<String>, dropped: &AtomicU64) {
    let mut file = None;
    let mut buffer = Vec::new();
    while let Ok(first) = waiting.recv() {
        buffer.clear();
        for line in std::iter::once(first).chain(waiting.try_iter().take(1000)) {
            buffer.extend_from_slice(line.as_bytes());
            buffer.push(b'\n');
        }
        let missed = dropped.swap(0, Relaxed);
        if missed > 0 {
            buffer.extend_from_slice(format!("{{\"dropped\":{missed}}}\n").as_bytes());
        }
        if file.is_none() {
            file = open(path).ok();
        }
        // A full or read-only disk loses lines, never requests.
        let Some((to, length)) = &mut file else { continue };
        if to.write_all(&buffer).is_err() {
            file = None;
            continue;
        }
        *length += buffer.len() as u64;
        if *length > FILE_BYTES_MAX {
            let mut old = path.clone().into_os_string();
            old.push(".1");
            let _ = std::fs::rename(path, old);
            file = None;
        }
    }
}
