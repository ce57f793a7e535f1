//! Why an artifact could not be taken in.

use std::io;
use std::path::Path;

/// What kind of trouble it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestKind {
    /// There is no such file or address: the version does not exist. Exit 2.
    NotFound,
    /// The bytes are not what their name says, or cut short. Exit 2.
    Corrupt,
    /// The bytes are not those that were expected. Exit 2.
    WrongDigest,
    /// An entry that could do harm, or too many, or too large. Exit 2.
    Refused,
    /// It may not be read. Exit 2.
    Unreadable,
    /// The server cannot be reached, or is in trouble itself; a retry may help. Exit 5.
    Unreachable,
    /// The state folder's disk is full. Exit 5.
    Full,
    /// The state folder cannot be written to. Exit 5.
    Store,
}

/// Why an artifact could not be taken in. Nothing of it is left in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct IngestError {
    /// What kind of trouble.
    pub kind: IngestKind,
    /// What happened, and where.
    pub message: String,
    /// What a person can do next, if anything.
    pub hint: Option<String>,
}

impl IngestError {
    pub(crate) fn new(kind: IngestKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Trouble with the store's own files.
    pub(crate) fn store(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::new(IngestKind::Full, format!("no space is left for {}", path.display()))
                    .hint("free some space there; nothing that runs is affected")
            }
            _ => Self::new(IngestKind::Store, format!("{} cannot be written: {error}", path.display())),
        }
    }
}
