//! SQLite's errors in words that say what to do.

use crate::error::OpenError;
use deployctl_core::journal::ReadError;
use rusqlite::ffi::ErrorCode;
use std::path::Path;

pub(super) fn code(e: &rusqlite::Error) -> Option<ErrorCode> {
    e.sqlite_error_code()
}

/// Whether it is the full disk, as far as SQLite can tell.
pub(super) fn is_full(e: &rusqlite::Error) -> bool {
    code(e) == Some(ErrorCode::DiskFull)
}

/// What went wrong with a write, and what to do.
pub(super) fn write(e: &rusqlite::Error) -> String {
    let hint = match code(e) {
        Some(ErrorCode::DiskFull) => "the disk is full; free some space, then try again",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "make the state directory writable for the user who runs deployctl"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds the file; try again, and see who has it open if it stays so"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "it is damaged; keep the file with its -wal and -shm, and restore a backup"
        }
        Some(ErrorCode::SystemIoFailure) => "the disk reports errors; look at the kernel's log",
        _ => return e.to_string(),
    };
    format!("{e}: {hint}")
}

pub(super) fn read(e: &rusqlite::Error) -> ReadError {
    ReadError::Failed(write(e))
}

pub(super) fn open(path: &Path, e: &rusqlite::Error) -> OpenError {
    let (path, detail) = (path.to_path_buf(), e.to_string());
    match code(e) {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Corrupt { path, detail },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::ReadOnly { path, detail },
        Some(ErrorCode::DiskFull) => OpenError::Full { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Busy { path },
        _ => OpenError::Failed { path, detail },
    }
}
