//! Trouble with files as faults that a person understands.

use deployctl_core::fault::{Applied, Fault, FaultKind, Retry};
use std::io;
use std::path::Path;

/// The fault for an error at `path`: `what` ends before the path, as in `X cannot be written to`.
pub fn trouble(what: &str, path: &Path, error: &io::Error) -> Fault {
    let message = format!("{what} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Fault { applied: Applied::No, ..Fault::platform(message) }
                .hint("free some space there; nothing that runs is affected")
        }
        io::ErrorKind::ReadOnlyFilesystem => Fault { applied: Applied::No, ..Fault::platform(message) }
            .hint("the state folder must be writable; `--state DIR` names another one"),
        io::ErrorKind::PermissionDenied => Fault { retry: Retry::Never, ..Fault::platform(message) }
            .kind(FaultKind::Denied)
            .hint("the state folder belongs to another user, or its modes were changed"),
        _ => Fault::platform(message),
    }
}

trait WithKind {
    fn kind(self, kind: FaultKind) -> Self;
}

impl WithKind for Fault {
    fn kind(mut self, kind: FaultKind) -> Self {
        self.kind = kind;
        self
    }
}
