//! What is written, within a transaction of the writer.

use super::row::{bytes, digest, number, signed, tail};
use crate::entry::{Prepared, PreparedWrite, no_head};
use deployctl_core::id::{OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Entry, Head, Seq, Snapshot, StreamId, chain_link, chain_start};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Why something was not written: it was refused, and nothing was touched; or the database failed.
pub(super) enum Stop {
    Refused(AppendError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

impl From<AppendError> for Stop {
    fn from(e: AppendError) -> Self {
        Self::Refused(e)
    }
}

/// Owners of which the counter is kept; there is a new one at every start of an engine.
const OWNERS: i64 = 4096;

/// Looks at everything first and writes then, so that a refusal leaves nothing behind.
pub(super) fn append(connection: &Connection, batch: &Prepared) -> Result<Vec<Head>, Stop> {
    let fences = check_fences(connection, batch)?;
    let mut streams = Vec::with_capacity(batch.writes.len());
    for write in &batch.writes {
        let (id, head) = stream(connection, &write.stream)?;
        write.check(&head)?;
        streams.push((id, head));
    }
    for (stream, fence) in fences {
        connection
            .prepare_cached("INSERT INTO fences VALUES (?1, ?2) ON CONFLICT DO UPDATE SET fence = excluded.fence")?
            .execute(params![stream.0, signed(fence)])?;
    }
    let mut chain = Chain::of(connection)?;
    let mut heads = Vec::with_capacity(batch.writes.len());
    for (write, (id, head)) in batch.writes.iter().zip(streams) {
        heads.push(write_stream(connection, &mut chain, write, id, head)?);
    }
    Ok(heads)
}

/// The fences that are higher than what was seen.
fn check_fences<'a>(connection: &Connection, batch: &'a Prepared) -> Result<BTreeMap<&'a StreamId, u64>, Stop> {
    let mut higher = BTreeMap::new();
    for (stream, given) in &batch.fences {
        let seen = match higher.get(stream) {
            Some(seen) => *seen,
            None => fence(connection, stream)?,
        };
        if given.0 < seen {
            let found = deployctl_core::id::Fence(seen);
            return Err(AppendError::Fenced { stream: stream.clone(), given: *given, found }.into());
        }
        if given.0 > seen {
            higher.insert(stream, given.0);
        }
    }
    Ok(higher)
}

/// The highest fence seen for a stream.
pub(super) fn fence(connection: &Connection, stream: &StreamId) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT fence FROM fences WHERE stream = ?1")?;
    Ok(statement.query_row([&stream.0], |row| number(row, 0)).optional()?.unwrap_or(0))
}

/// A stream's id and where it stands; none if it has no entry.
pub(super) fn head(connection: &Connection, stream: &StreamId) -> rusqlite::Result<Option<(i64, Head)>> {
    connection
        .prepare_cached(
            "SELECT streams.id, entries.seq, entries.hash FROM streams JOIN entries ON entries.stream = streams.id
             WHERE streams.name = ?1 ORDER BY entries.seq DESC LIMIT 1",
        )?
        .query_row([&stream.0], |row| Ok((row.get(0)?, Head { seq: Seq(number(row, 1)?), hash: digest(row, 2)? })))
        .optional()
}

/// A stream's id, if it has one, and where it stands.
fn stream(connection: &Connection, stream: &StreamId) -> rusqlite::Result<(Option<i64>, Head)> {
    let found = head(connection, stream)?.map(|(id, head)| (Some(id), head));
    Ok(found.unwrap_or_else(|| (None, no_head(stream))))
}

/// The end of the chain over all entries.
struct Chain {
    position: u64,
    head: Sha256Hex,
}

impl Chain {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let (position, head) = tail(connection)?.unwrap_or_else(|| (0, chain_start()));
        Ok(Self { position, head })
    }

    fn push(&mut self, entry: &Entry) {
        self.position += 1;
        self.head = chain_link(&self.head, &entry.hash);
    }
}

fn write_stream(
    connection: &Connection,
    chain: &mut Chain,
    write: &PreparedWrite,
    id: Option<i64>,
    head: Head,
) -> rusqlite::Result<Head> {
    let entries = write.entries_after(&head);
    let Some((last, _)) = entries.last() else { return Ok(head) };
    let head = Head { seq: last.seq, hash: last.hash.clone() };
    let id = match id {
        Some(id) => id,
        None => connection.prepare_cached("INSERT INTO streams (name) VALUES (?1)")?.insert([&write.stream.0])?,
    };
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (position, stream, seq, at, actor, event, type, prev, hash, chain)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (entry, kind) in &entries {
        chain.push(entry);
        insert.execute(params![
            signed(chain.position),
            id,
            signed(entry.seq.0),
            signed(entry.at.0),
            entry.actor,
            entry.event,
            kind,
            bytes(&entry.prev),
            bytes(&entry.hash),
            bytes(&chain.head),
        ])?;
    }
    Ok(head)
}

/// Keeps a fold, if it is of this stream and newer than the kept one.
pub(super) fn snapshot(connection: &Connection, stream: &StreamId, snapshot: &Snapshot) -> Result<(), Stop> {
    let (seq, hash) = (signed(snapshot.head.seq.0), bytes(&snapshot.head.hash));
    if !has_entry(connection, stream, &snapshot.head)? {
        let seq = snapshot.head.seq.0;
        return Err(AppendError::Failed(format!("a snapshot at {seq} does not fit stream {stream}")).into());
    }
    connection
        .prepare_cached(
            "INSERT INTO snapshots VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
             SET seq = excluded.seq, hash = excluded.hash, state = excluded.state, digest = excluded.digest
             WHERE excluded.seq >= seq",
        )?
        .execute(params![stream.0, seq, hash, snapshot.state, bytes(&Sha256Hex::of(&snapshot.state))])?;
    Ok(())
}

/// Whether a stream ever stood at `head`.
pub(super) fn has_entry(connection: &Connection, stream: &StreamId, head: &Head) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM streams JOIN entries ON entries.stream = streams.id
             WHERE streams.name = ?1 AND entries.seq = ?2 AND entries.hash = ?3",
        )?
        .exists(params![stream.0, signed(head.seq.0), bytes(&head.hash)])
}

/// Moves an owner's counter by one.
pub(super) fn beat(connection: &Connection, owner: &OwnerId) -> rusqlite::Result<()> {
    let known =
        connection.prepare_cached("UPDATE beats SET beats = beats + 1 WHERE owner = ?1")?.execute([owner.as_str()])?;
    if known == 0 {
        connection.prepare_cached("INSERT INTO beats (owner, beats) VALUES (?1, 1)")?.execute([owner.as_str()])?;
        connection
            .prepare_cached("DELETE FROM beats WHERE id <= (SELECT max(id) FROM beats) - ?1")?
            .execute([OWNERS])?;
    }
    Ok(())
}
