//! The tables, and how older ones become today's.

use rusqlite::Connection;

/// Says in the file's header that it is ours: `DPLY`.
pub(super) const APPLICATION: i64 = 0x4450_4c59;

/// What leads from one schema version to the next; the n-th makes version n. Never edit one that was released.
pub(super) const MIGRATIONS: &[&str] = &[V1];

const V1: &str = "
CREATE TABLE streams (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE entries (
    position INTEGER PRIMARY KEY,   -- in the order of all streams, from 1 without a gap
    stream   INTEGER NOT NULL REFERENCES streams (id),
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,      -- milliseconds since 1970 in UTC
    actor    TEXT NOT NULL,
    event    TEXT NOT NULL,
    type     TEXT NOT NULL,         -- as in the event
    prev     BLOB NOT NULL,
    hash     BLOB NOT NULL,
    chain    BLOB NOT NULL
) STRICT;
CREATE INDEX entries_by_type ON entries (type, position, stream);
CREATE INDEX entries_by_stream ON entries (stream, seq, type);
CREATE TABLE fences (stream TEXT PRIMARY KEY, fence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE beats (id INTEGER PRIMARY KEY, owner TEXT NOT NULL UNIQUE, beats INTEGER NOT NULL) STRICT;
CREATE TABLE snapshots (
    stream TEXT PRIMARY KEY,
    seq    INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    state  BLOB NOT NULL,
    digest BLOB NOT NULL            -- sha256 of state
) STRICT;
CREATE VIEW journal AS
    SELECT position, streams.name AS stream, entries.seq, at,
           strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS time,
           actor, type, event, lower(hex(entries.prev)) AS prev, lower(hex(entries.hash)) AS hash,
           lower(hex(chain)) AS chain
    FROM entries JOIN streams ON streams.id = entries.stream ORDER BY position;
";

/// Why a file's schema is not today's.
#[derive(Debug)]
pub(super) enum MigrateError {
    Newer(u32),
    Foreign,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

/// Brings the schema to the newest of `migrations`; all of it or nothing. Doing it twice is doing it once.
pub(super) fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), MigrateError> {
    let newest = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if is_current(connection, newest)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Again: another process may have been faster.
    if is_current(&transaction, newest)? {
        return Ok(());
    }
    let from = version(&transaction)?;
    for (number, migration) in (1..).zip(migrations) {
        if number > from {
            transaction.execute_batch(migration)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", newest)?;
    Ok(transaction.commit()?)
}

fn is_current(connection: &Connection, newest: u32) -> Result<bool, MigrateError> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && tables > 0 {
        return Err(MigrateError::Foreign);
    }
    match version(connection)? {
        found if found > newest => Err(MigrateError::Newer(found)),
        found => Ok(found == newest && tables > 0),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: &[&str] = &[V1, "ALTER TABLE beats ADD COLUMN at INTEGER NOT NULL DEFAULT 0;"];

    fn schema(connection: &Connection) -> String {
        let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.map(|sql| sql.unwrap().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn twice_is_once() {
        let mut once = Connection::open_in_memory().unwrap();
        migrate(&mut once, MIGRATIONS).unwrap();
        let after_one = schema(&once);
        migrate(&mut once, MIGRATIONS).unwrap();
        assert_eq!(schema(&once), after_one);
    }

    #[test]
    fn step_by_step_is_at_once() {
        let mut steps = Connection::open_in_memory().unwrap();
        migrate(&mut steps, MIGRATIONS).unwrap();
        steps.execute("INSERT INTO beats (owner, beats) VALUES ('a', 3)", []).unwrap();
        migrate(&mut steps, LATER).unwrap();
        let mut at_once = Connection::open_in_memory().unwrap();
        migrate(&mut at_once, LATER).unwrap();
        assert_eq!(schema(&steps), schema(&at_once));
        let beats: i64 = steps.query_row("SELECT beats FROM beats WHERE at = 0", [], |row| row.get(0)).unwrap();
        assert_eq!(beats, 3);
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, LATER).unwrap();
        let before = schema(&connection);
        assert!(matches!(migrate(&mut connection, MIGRATIONS), Err(MigrateError::Newer(2))));
        assert_eq!(schema(&connection), before);
    }

    #[test]
    fn a_failing_migration_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate(&mut connection, &[V1, "CREATE TABLE beats (id);"]).is_err());
        assert_eq!(schema(&connection), "");
        assert_eq!(version(&connection).unwrap(), 0);
    }
}
