//! Why a journal cannot be opened, and what to do about it.

use std::path::PathBuf;

/// Why a journal cannot be opened. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A newer deployctl wrote it.
    #[error("the journal {path} has schema version {found}; this deployctl knows up to {known}", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// It is damaged, or was never a journal.
    #[error("the journal {path} is damaged or is no journal: {detail}", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was seen.
        detail: String,
    },
    /// It may not be written here.
    #[error("the journal {path} cannot be written: {detail}", path = .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What was seen.
        detail: String,
    },
    /// The disk is full.
    #[error("the journal {path} cannot be opened: the disk is full", path = .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process keeps it locked.
    #[error("the journal {path} is locked by another process", path = .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("the journal {path} cannot be opened: {detail}", path = .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was seen.
        detail: String,
    },
}

impl OpenError {
    /// What a person can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "use the newer deployctl; a journal is never written by an older one",
            Self::Corrupt { .. } => {
                "keep the file with its -wal and -shm as they are, and restore a backup of all three beside it; \
                 what runs goes on running meanwhile"
            }
            Self::ReadOnly { .. } => "make the folder and the file writable for the user who runs deployctl",
            Self::Full { .. } => "free some space on that disk, then run the same command again",
            Self::Busy { .. } => "run the same command again; if it stays so, see who has the file open (fuser, lsof)",
            Self::Failed { .. } => "check that the state directory exists and is on a local disk",
        }
    }
}
