//! Between rows and values.

use super::trouble;
use crate::entry::checked;
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::{Entry, NewEntry, ReadError, Seq, StreamId};
use deployctl_core::time::Millis;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

/// The columns that [`entry`] wants, in its order; `streams` must be joined.
macro_rules! entry_columns {
    () => {
        "streams.name, entries.seq, at, actor, event, prev, entries.hash"
    };
}
pub(super) use entry_columns;

/// The bytes of a digest, as kept.
pub(super) fn bytes(digest: &Sha256Hex) -> Vec<u8> {
    hex::decode(digest.as_str()).unwrap_or_default()
}

/// A digest from a column.
pub(super) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Sha256Hex> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Sha256Hex::new(hex::encode(bytes))
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(e)))
}

/// A number that is never negative.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let kept: i64 = row.get(column)?;
    u64::try_from(kept).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, kept))
}

/// A number as it is kept; those that do not fit are refused when they are given.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An entry from a row, checked against its hash.
pub(super) fn entry(row: &Row<'_>) -> Result<Entry, ReadError> {
    let (stream, seq, new, prev, kept) = reading(|| {
        let new = NewEntry { at: Millis(number(row, 2)?), actor: row.get(3)?, event: row.get(4)? };
        Ok((StreamId(row.get(0)?), Seq(number(row, 1)?), new, digest(row, 5)?, digest(row, 6)?))
    })?;
    checked(stream, seq, new, prev, &kept)
}

/// Runs what reads, and tells an altered journal from one that cannot be read.
pub(super) fn reading<T>(read: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, ReadError> {
    read().map_err(|e| malformed(&e))
}

/// A column that does not hold what we write into it was altered; anything else is the disk's.
pub(super) fn malformed(e: &rusqlite::Error) -> ReadError {
    match trouble::code(e) {
        Some(_) => trouble::read(e),
        None => ReadError::Altered(format!("a column does not hold what it must: {e}")),
    }
}

/// The entry at a position.
pub(super) fn at(connection: &Connection, position: u64) -> Result<Entry, ReadError> {
    let sql = concat!(
        "SELECT ",
        entry_columns!(),
        " FROM entries JOIN streams ON streams.id = entries.stream WHERE position = ?1"
    );
    let mut statement = connection.prepare_cached(sql).map_err(|e| trouble::read(&e))?;
    let mut rows = statement.query([signed(position)]).map_err(|e| trouble::read(&e))?;
    match rows.next().map_err(|e| trouble::read(&e))? {
        Some(row) => entry(row),
        None => Err(ReadError::Altered(format!("the entry at position {position}, or its stream, is missing"))),
    }
}

/// The last position and the chain's head there.
pub(super) fn tail(connection: &Connection) -> rusqlite::Result<Option<(u64, Sha256Hex)>> {
    connection
        .prepare_cached("SELECT position, chain FROM entries ORDER BY position DESC LIMIT 1")?
        .query_row([], |row| Ok((number(row, 0)?, digest(row, 1)?)))
        .optional()
}

/// The chain's head at a position.
pub(super) fn chain_at(connection: &Connection, position: u64) -> rusqlite::Result<Option<Sha256Hex>> {
    connection
        .prepare_cached("SELECT chain FROM entries WHERE position = ?1")?
        .query_row([signed(position)], |row| digest(row, 0))
        .optional()
}
