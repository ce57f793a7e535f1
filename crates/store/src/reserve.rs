//! Room set aside on the disk, so that a rollback can be journaled when the disk is full.
//!
//! The reserve is a file of real blocks beside the journal. A write that finds the disk full removes it and tries
//! again; it comes back when there is room for several of it.

use rustix::fs::{FallocateFlags, Mode, OFlags};
use std::fs;
use std::path::{Path, PathBuf};

/// How much is set aside: room for some hundred events.
pub(crate) const BYTES: u64 = 8 << 20;

/// Below this much room, a failure that does not name its cause is taken for the full disk's.
const NEARLY_NOTHING: u64 = 1 << 20;

/// The file comes back when this many times its size is free.
const ROOM: u64 = 4;

pub(crate) struct Reserve {
    path: PathBuf,
    kept: bool,
}

impl Reserve {
    /// The reserve of the journal at `journal`: `journal.db` has `journal.reserve`.
    pub(crate) fn beside(journal: &Path) -> Self {
        Self { path: journal.with_extension("reserve"), kept: false }
    }

    /// Gives the room free; says whether there was any to give.
    pub(crate) fn release(&mut self) -> bool {
        let was = self.kept || self.path.exists();
        self.kept = false;
        was && fs::remove_file(&self.path).is_ok()
    }

    /// Sets the room aside again, if there is enough of it. That it cannot is no error: the journal works without.
    pub(crate) fn restore(&mut self) {
        if self.kept {
            return;
        }
        let whole = fs::metadata(&self.path).is_ok_and(|m| m.len() == BYTES);
        if !whole && self.free() < BYTES * ROOM {
            return;
        }
        self.kept = whole || allocate(&self.path).is_ok();
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Whether next to nothing is free on this disk.
    pub(crate) fn is_needed(&self) -> bool {
        self.free() < NEARLY_NOTHING
    }

    /// How many bytes are free on this disk.
    fn free(&self) -> u64 {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        rustix::fs::statvfs(folder).map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize))
    }
}

fn allocate(path: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BYTES)
}
