//! Names of temporary files, and what a crash left of them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Makes a temporary file beside `path` that nobody else has.
pub(super) fn create<F>(path: &Path, open: impl Fn(&Path) -> io::Result<F>) -> io::Result<(PathBuf, F)> {
    let name = path.file_name().ok_or_else(|| io::Error::other(format!("{} names no file", path.display())))?;
    loop {
        let temporary = path.with_file_name(temporary_name(name, writer(), NEXT.fetch_add(1, Ordering::Relaxed)));
        match open(&temporary) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((temporary, opened?)),
        }
    }
}

/// Removes the temporary files in `folder` (not below it) whose writer is dead; returns how many. Files of any other
/// name are left alone, and so are those of writers that live. Durable only by the next fsync of the folder: what
/// comes back is swept the next time.
pub fn sweep(folder: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(writer) = writer_in(&entry.file_name()) else { continue };
        if is_alive(&writer) {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Ok(()) => removed += 1,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(removed)
}

/// A process: its id, and when it started in ticks since boot, so that another one with its id is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) pid: u32,
    pub(super) start: u64,
}

fn writer() -> Writer {
    static WRITER: OnceLock<Writer> = OnceLock::new();
    let own = |pid| Writer { pid, start: crate::process::stat(pid).map_or(0, |stat| stat.start) };
    // A child of fork has its parent's value here.
    let pid = std::process::id();
    let known = *WRITER.get_or_init(|| own(pid));
    if known.pid == pid { known } else { own(pid) }
}

pub(super) fn temporary_name(name: &OsStr, writer: Writer, number: u64) -> OsString {
    let mut temporary = OsString::from(".");
    // A name has at most 255 bytes.
    temporary.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(180)]));
    temporary.push(format!(".{}-{}.{number}.tmp", writer.pid, writer.start));
    temporary
}

pub(super) fn writer_in(name: &OsStr) -> Option<Writer> {
    let name = name.as_bytes().strip_prefix(b".")?.strip_suffix(b".tmp")?;
    let mut fields = name.rsplitn(3, |b| *b == b'.');
    let (number, writer, file) = (fields.next()?, std::str::from_utf8(fields.next()?).ok()?, fields.next()?);
    if file.is_empty() || number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (pid, start) = writer.split_once('-')?;
    Some(Writer { pid: pid.parse().ok()?, start: start.parse().ok()? })
}

/// A process that ended writes nothing any more, whether or not somebody took note of its end.
fn is_alive(writer: &Writer) -> bool {
    let stat = crate::process::stat(writer.pid);
    stat.is_some_and(|stat| stat.start == writer.start && !stat.ended())
}
