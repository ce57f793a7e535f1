//! Reads of one stream and of small tables.

use super::row::{self, digest, entry_columns, malformed, number, reading, signed};
use super::write;
use crate::entry::check_order;
use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{Entry, Head, ReadError, Seq, Snapshot, StreamId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn stream(
    connection: &Connection,
    stream: &StreamId,
    after: Seq,
    limit: usize,
) -> Result<Vec<Entry>, ReadError> {
    let sql = concat!(
        "SELECT ",
        entry_columns!(),
        " FROM streams JOIN entries ON entries.stream = streams.id
         WHERE streams.name = ?1 AND entries.seq > ?2 ORDER BY entries.seq LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql).map_err(|e| malformed(&e))?;
    let mut rows = statement.query(params![stream.0, signed(after.0), limit]).map_err(|e| malformed(&e))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(|e| malformed(&e))? {
        entries.push(row::entry(row)?);
    }
    check_order(after, &entries)?;
    Ok(entries)
}

pub(super) fn head(connection: &Connection, stream: &StreamId) -> Result<Option<Head>, ReadError> {
    reading(|| Ok(write::head(connection, stream)?.map(|(_, head)| head)))
}

pub(super) fn streams(connection: &Connection, prefix: &str) -> Result<Vec<StreamId>, ReadError> {
    reading(|| {
        let end = prefix_end(prefix);
        connection
            .prepare_cached("SELECT name FROM streams WHERE name >= ?1 AND name < ?2 ORDER BY name")?
            .query_map(params![prefix, end], |row| row.get(0).map(StreamId))?
            .collect()
    })
}

/// What comes after all names that begin with `prefix`: the next text, or, if there is none, a blob: for SQLite any
/// blob is greater than any text.
pub(super) fn prefix_end(prefix: &str) -> Value {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            end.push(next);
            return Value::Text(end.into_iter().collect());
        }
    }
    Value::Blob(Vec::new())
}

pub(super) fn fence(connection: &Connection, stream: &StreamId) -> Result<Fence, ReadError> {
    write::fence(connection, stream).map(Fence).map_err(|e| malformed(&e))
}

pub(super) fn beats(connection: &Connection, owner: &OwnerId) -> Result<Option<u64>, ReadError> {
    reading(|| {
        connection
            .prepare_cached("SELECT beats FROM beats WHERE owner = ?1")?
            .query_row([owner.as_str()], |row| number(row, 0))
            .optional()
    })
}

/// The kept fold; none if it does not fit the stream or is damaged: it can be made again.
pub(super) fn snapshot(connection: &Connection, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
    let find = || {
        let kept = connection
            .prepare_cached("SELECT seq, hash, state, digest FROM snapshots WHERE stream = ?1")?
            .query_row([&stream.0], |row| {
                let head = Head { seq: Seq(number(row, 0)?), hash: digest(row, 1)? };
                Ok((Snapshot { head, state: row.get(2)? }, digest(row, 3)?))
            })
            .optional()?;
        match kept {
            Some((snapshot, digest))
                if Sha256Hex::of(&snapshot.state) == digest
                    && write::has_entry(connection, stream, &snapshot.head)? =>
            {
                Ok(Some(snapshot))
            }
            _ => Ok(None),
        }
    };
    match find() {
        Ok(found) => Ok(found),
        Err(e) if super::trouble::code(&e).is_none() => Ok(None),
        Err(e) => Err(super::trouble::read(&e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end("scope/"), Value::Text("scope0".into()));
        assert_eq!(prefix_end(""), Value::Blob(vec![]));
        assert_eq!(prefix_end("a\u{10FFFF}"), Value::Text("b".into()));
        assert_eq!(prefix_end("\u{D7FF}"), Value::Text("\u{E000}".into()));
    }
}
