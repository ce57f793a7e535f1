//! Space set aside for the day when the disk is full: a rollback must be able to start what ran before.

use crate::layout::Layout;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Enough for the records of some dozens of instances.
const BYTES: u64 = 1 << 20;

/// A file that is nothing but space.
#[derive(Debug)]
pub(crate) struct Reserve(PathBuf);

impl Reserve {
    /// The reserve of a state; what is missing of it is set aside if there is space.
    pub(crate) fn open(layout: &Layout) -> Self {
        let reserve = Self(layout.runs().join(".reserve"));
        reserve.fill();
        reserve
    }

    /// Sets the space aside, if it is not and can be.
    pub(crate) fn fill(&self) {
        if fs::metadata(&self.0).is_ok_and(|file| file.len() >= BYTES) {
            return;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.0);
        let filled = file.and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, BYTES)?));
        if filled.is_err() {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// Does `act`; if the disk is full, gives the space back and does it once more.
    pub(crate) fn with<T>(&self, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && fs::remove_file(&self.0).is_ok() => act(),
            done => done,
        }
    }
}
