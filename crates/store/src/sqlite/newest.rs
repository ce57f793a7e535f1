//! The newest entries of some types over many streams, with a journal of a million entries too.
//!
//! Few streams: the newest of each stream, merged. Many streams: the newest of each type over all streams,
//! merged, and those of other streams passed over; with many streams asked for, those are few.

use super::read::prefix_end;
use super::row::{self, malformed, number, signed};
use deployctl_core::journal::{Entry, ReadError};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use std::collections::BinaryHeap;

/// Up to so many streams are asked one by one.
const FEW: u16 = 1000;

pub(super) struct Wanted {
    prefix: String,
    types: Vec<String>,
    before: i64,
    limit: usize,
}

impl Wanted {
    pub(super) fn new(prefix: &str, types: &[&str], before: Option<u64>, limit: usize) -> Self {
        let mut types: Vec<String> = types.iter().map(|&t| t.to_owned()).collect();
        types.sort();
        types.dedup();
        Self { prefix: prefix.into(), types, before: before.map_or(i64::MAX, signed), limit }
    }
}

pub(super) fn newest(connection: &Connection, wanted: &Wanted) -> Result<Vec<(u64, Entry)>, ReadError> {
    if wanted.limit == 0 || wanted.types.is_empty() {
        return Ok(Vec::new());
    }
    let positions = positions(connection, wanted).map_err(|e| malformed(&e))?;
    positions.into_iter().map(|position| Ok((position, row::at(connection, position)?))).collect()
}

fn positions(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<u64>> {
    let streams: Vec<i64> = connection
        .prepare_cached("SELECT id FROM streams WHERE name >= ?1 AND name < ?2 LIMIT ?3")?
        .query_map(params![wanted.prefix, prefix_end(&wanted.prefix), FEW + 1], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if streams.len() <= FEW.into() { of_streams(connection, wanted, &streams) } else { of_all(connection, wanted) }
}

fn of_streams(connection: &Connection, wanted: &Wanted, streams: &[i64]) -> rusqlite::Result<Vec<u64>> {
    let types = vec!["?"; wanted.types.len()].join(", ");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT position, seq FROM entries INDEXED BY entries_by_stream
         WHERE stream = ?1 AND seq < ?2 AND position < ?3 AND type IN ({types}) ORDER BY seq DESC LIMIT 1",
    ))?;
    let mut before = |stream: i64, seq: i64| -> rusqlite::Result<_> {
        let numbers = [stream, seq, wanted.before].map(Value::from);
        let values = numbers.into_iter().chain(wanted.types.iter().cloned().map(Value::from));
        let found =
            statement.query_row(params_from_iter(values), |row| Ok((number(row, 0)?, stream, row.get::<_, i64>(1)?)));
        found.optional()
    };
    let mut heads = BinaryHeap::new();
    for &stream in streams {
        heads.extend(before(stream, i64::MAX)?);
    }
    let mut positions = Vec::new();
    while positions.len() < wanted.limit
        && let Some((position, stream, seq)) = heads.pop()
    {
        positions.push(position);
        heads.extend(before(stream, seq)?);
    }
    Ok(positions)
}

fn of_all(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<u64>> {
    let end = prefix_end(&wanted.prefix);
    let mut matches = connection.prepare_cached("SELECT 1 FROM streams WHERE id = ?1 AND name >= ?2 AND name < ?3")?;
    let mut statements = Vec::new();
    for _ in &wanted.types {
        statements.push(connection.prepare(
            "SELECT position, stream FROM entries INDEXED BY entries_by_type
             WHERE type = ?1 AND position < ?2 ORDER BY position DESC",
        )?);
    }
    let mut cursors = Vec::new();
    for (statement, kind) in statements.iter_mut().zip(&wanted.types) {
        cursors.push(statement.query(params![kind, wanted.before])?);
    }
    let mut next = |cursor: usize| -> rusqlite::Result<_> {
        Ok(match cursors[cursor].next()? {
            Some(row) => Some((number(row, 0)?, cursor, row.get::<_, i64>(1)?)),
            None => None,
        })
    };
    let mut heads = BinaryHeap::new();
    for cursor in 0..wanted.types.len() {
        heads.extend(next(cursor)?);
    }
    let mut positions = Vec::new();
    while positions.len() < wanted.limit
        && let Some((position, cursor, stream)) = heads.pop()
    {
        if wanted.prefix.is_empty() || matches.exists(params![stream, wanted.prefix, end])? {
            positions.push(position);
        }
        heads.extend(next(cursor)?);
    }
    Ok(positions)
}
