//! Opening the file, and telling a person why that cannot be.

use super::schema::{self, MigrateError};
use super::{row, trouble};
use crate::error::OpenError;
use crate::reserve::Reserve;
use deployctl_core::journal::{ReadError, chain_link, chain_start};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one process waits for another's write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the file at `path` for one writer and one reader; makes it if there is none. If the disk is full, with the
/// room that was set aside.
pub(super) fn connections(path: &Path) -> Result<(Connection, Connection), OpenError> {
    let mut reserve = Reserve::beside(path);
    match try_connections(path) {
        // SQLite has many words for it, as it needs room in several places.
        Err(OpenError::Full { .. } | OpenError::Failed { .. }) if reserve.is_needed() => {
            if reserve.release() {
                try_connections(path)
            } else {
                Err(OpenError::Full { path: path.into() })
            }
        }
        opened => opened,
    }
}

fn try_connections(path: &Path) -> Result<(Connection, Connection), OpenError> {
    prepare_file(path)?;
    let mut writer = connect(path).map_err(|e| trouble::open(path, &e))?;
    if writer.is_readonly("main").map_err(|e| trouble::open(path, &e))? {
        let detail = "this user may only read it".into();
        return Err(OpenError::ReadOnly { path: path.into(), detail });
    }
    schema::migrate(&mut writer, schema::MIGRATIONS).map_err(|e| match e {
        MigrateError::Newer(found) => OpenError::Newer { path: path.into(), found, known: newest() },
        MigrateError::Foreign => corrupt(path, "it is the database of another application"),
        MigrateError::Sqlite(e) => trouble::open(path, &e),
    })?;
    // Outside the migration: the mode is part of the file and cannot change within a transaction.
    let mode: String =
        writer.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(|e| trouble::open(path, &e))?;
    if mode != "wal" {
        let detail = format!("its disk has no shared memory for WAL mode (journal mode {mode})");
        return Err(OpenError::Failed { path: path.into(), detail });
    }
    check_tail(path, &writer)?;
    Ok((writer, reader(path)?))
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let reader = connect(path).map_err(|e| trouble::open(path, &e))?;
    reader.pragma_update(None, "query_only", true).map_err(|e| trouble::open(path, &e))?;
    Ok(reader)
}

fn newest() -> u32 {
    u32::try_from(schema::MIGRATIONS.len()).unwrap_or(u32::MAX)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

/// Makes the file if it is missing, mode 0600, and looks at it from outside.
///
/// Never opens one that is there: closing it again would take away the locks of a journal that this process has
/// open on it.
fn prepare_file(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return made(path),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(from_io(path, &e)),
    }
    let about = fs::metadata(path).map_err(|e| from_io(path, &e))?;
    if !about.is_file() {
        return Err(corrupt(path, "it is no regular file"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|e| from_io(path, &e))?;
    }
    Ok(())
}

/// A file that was just made must not meet the log of one that was lost: SQLite would drop that log.
fn made(path: &Path) -> Result<(), OpenError> {
    if fs::metadata(beside(path, "-wal")).is_ok_and(|m| m.len() > 0) {
        let _ = fs::remove_file(path);
        return Err(corrupt(path, "the file is missing, but its -wal is there with what was written last"));
    }
    deployctl_sys::durable::sync_folder(path).map_err(|e| from_io(path, &e))
}

/// A cheap look at the end of the chain; the whole of it is for `audit verify`.
fn check_tail(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let read = |e: ReadError| match e {
        ReadError::Altered(detail) | ReadError::Failed(detail) => corrupt(path, detail),
    };
    let sqlite = |e: rusqlite::Error| trouble::open(path, &e);
    let Some((position, chain)) = row::tail(connection).map_err(sqlite)? else { return Ok(()) };
    let before = row::chain_at(connection, position - 1).map_err(sqlite)?;
    let entry = row::at(connection, position).map_err(read)?;
    let start = if position == 1 { Some(chain_start()) } else { before };
    match start {
        Some(before) if chain_link(&before, &entry.hash) == chain => Ok(()),
        _ => Err(corrupt(path, format!("entry {position} does not continue the chain of hashes"))),
    }
}

fn corrupt(path: &Path, detail: impl Into<String>) -> OpenError {
    OpenError::Corrupt { path: path.into(), detail: detail.into() }
}

fn from_io(path: &Path, e: &io::Error) -> OpenError {
    let path = path.to_path_buf();
    match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path, detail: e.to_string() }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { path },
        _ => OpenError::Failed { path, detail: e.to_string() },
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
