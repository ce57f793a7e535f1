//! The check of everything.

use super::row::{self, digest, entry_columns, number, reading};
use super::trouble;
use crate::entry::{event_type, no_head};
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::{Entry, Head, ReadError, Verified, chain_link, chain_start};
use rusqlite::{Connection, Row};
use std::collections::HashMap;

/// Where each stream stands as far as the chain was followed, by its id.
type Heads = HashMap<i64, Head>;

pub(super) fn verify(connection: &Connection, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
    let sql = concat!(
        "SELECT ",
        entry_columns!(),
        ", position, entries.stream, type, chain
         FROM entries LEFT JOIN streams ON streams.id = entries.stream ORDER BY position"
    );
    let mut statement = connection.prepare(sql).map_err(|e| trouble::read(&e))?;
    let mut rows = statement.query([]).map_err(|e| trouble::read(&e))?;
    let mut heads = Heads::new();
    let mut found = Verified { streams: 0, entries: 0, head: chain_start(), known_at: None };
    if known == Some(&found.head) {
        found.known_at = Some(0);
    }
    while let Some(row) = rows.next().map_err(|e| trouble::read(&e))? {
        let link = Link::from(row)?;
        link.follow(&mut heads, &found)?;
        found.entries += 1;
        found.head = link.chain;
        if known == Some(&found.head) {
            found.known_at = Some(found.entries);
        }
    }
    found.streams = check_streams(connection, &heads)?;
    check_file(connection)?;
    Ok(found)
}

/// A row of the chain.
struct Link {
    entry: Entry,
    position: u64,
    stream: i64,
    kind: String,
    chain: Sha256Hex,
}

impl Link {
    fn from(row: &Row<'_>) -> Result<Self, ReadError> {
        let (position, stream, kind, chain) =
            reading(|| Ok((number(row, 7)?, row.get(8)?, row.get(9)?, digest(row, 10)?)))?;
        let at = |e: ReadError| match e {
            ReadError::Altered(why) => ReadError::Altered(format!("at position {position}: {why}")),
            failed => failed,
        };
        Ok(Self { entry: row::entry(row).map_err(at)?, position, stream, kind, chain })
    }

    /// Checks it against what came before, and steps on.
    fn follow(&self, heads: &mut Heads, before: &Verified) -> Result<(), ReadError> {
        let (Entry { stream, seq, .. }, position) = (&self.entry, self.position);
        let altered =
            |why: &str| Err(ReadError::Altered(format!("at position {position}: entry {} of {stream} {why}", seq.0)));
        if position != before.entries + 1 {
            return altered(&format!("is where the entry at position {} should be", before.entries + 1));
        }
        let head = heads.entry(self.stream).or_insert_with(|| no_head(stream));
        if seq.0 != head.seq.0 + 1 || self.entry.prev != head.hash {
            return altered(&format!("does not follow entry {} of its stream", head.seq.0));
        }
        if chain_link(&before.head, &self.entry.hash) != self.chain {
            return altered("does not continue the chain of hashes");
        }
        if event_type(&self.entry.event).as_ref() != Ok(&self.kind) {
            return altered("is filed under a type that it does not have");
        }
        *head = Head { seq: *seq, hash: self.entry.hash.clone() };
        Ok(())
    }
}

/// Every stream must have an entry, under its own name only.
fn check_streams(connection: &Connection, heads: &Heads) -> Result<u64, ReadError> {
    let mut statement = connection.prepare("SELECT id, name FROM streams").map_err(|e| trouble::read(&e))?;
    let mut rows = statement.query([]).map_err(|e| trouble::read(&e))?;
    let mut count = 0;
    while let Some(row) = rows.next().map_err(|e| trouble::read(&e))? {
        let (id, name): (i64, String) = reading(|| Ok((row.get(0)?, row.get(1)?)))?;
        count += 1;
        if !heads.contains_key(&id) {
            return Err(ReadError::Altered(format!("stream {name} has no entry")));
        }
    }
    Ok(count)
}

/// Reads go by the indexes: what they hide is as good as gone. SQLite itself compares them with the tables.
fn check_file(connection: &Connection) -> Result<(), ReadError> {
    let problem: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|e| trouble::read(&e))?;
    if problem == "ok" { Ok(()) } else { Err(ReadError::Altered(format!("the file is damaged: {problem}"))) }
}
