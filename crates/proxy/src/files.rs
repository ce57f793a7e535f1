//! Where the data plane keeps what it keeps: `STATE/proxy`, for the owner only.

use deployctl_core::route::RouteTable;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The paths below one state directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(state: &Path) -> Self {
        Self { folder: state.join("proxy") }
    }

    /// Makes the folder if it is not there.
    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// The published table.
    pub(crate) fn table(&self) -> PathBuf {
        self.folder.join("routes.json")
    }

    /// Held by the process that owns the listeners.
    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Held while somebody publishes, starts or upgrades.
    pub(crate) fn writer_lock(&self) -> PathBuf {
        self.folder.join("writer.lock")
    }

    pub(crate) fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    /// What a proxy process says of itself.
    pub(crate) fn process_log(&self) -> PathBuf {
        self.folder.join("proxy.log")
    }

    /// The control socket of a process.
    pub(crate) fn socket(&self, pid: u32) -> PathBuf {
        self.folder.join(format!("{pid}.sock"))
    }

    /// All control sockets, those of dead processes included.
    pub(crate) fn sockets(&self) -> io::Result<Vec<(u32, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let pid = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sock")?.parse().ok());
            all.extend(pid.map(|pid| (pid, path)));
        }
        all.sort();
        Ok(all)
    }

    /// Reads the published table; an empty one if none was published.
    pub(crate) fn read_table(&self) -> io::Result<RouteTable> {
        match std::fs::read(self.table()) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", self.table().display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RouteTable::default()),
            Err(error) => Err(error),
        }
    }
}
