//! Unix sockets below folders of any length: the address holds 108 bytes, so the folder goes by its descriptor.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A short path for a socket; it stands as long as this value lives.
#[derive(Debug)]
pub struct SocketPath {
    _folder: File,
    path: PathBuf,
}

impl SocketPath {
    /// Opens the folder of `path`, which must exist.
    pub fn new(path: &Path) -> io::Result<Self> {
        let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
        let name = path.file_name().ok_or_else(|| io::Error::other(format!("{} names no socket", path.display())))?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self { _folder: folder, path: short })
    }

    /// The short path, to bind or connect to.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}
