//! How reads go about a large journal, by the plans that SQLite makes.

use deployctl_store::SqliteJournal;
use rusqlite::Connection;

#[test]
fn no_read_looks_at_every_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    drop(SqliteJournal::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    for sql in [
        "SELECT seq, hash FROM streams WHERE name = ?1",
        "SELECT name FROM streams WHERE name >= ?1 AND (?2 IS NULL OR name < ?2) ORDER BY name",
        "SELECT event FROM streams JOIN entries ON entries.stream = streams.id
         WHERE streams.name = ?1 AND entries.seq > ?2 ORDER BY entries.seq LIMIT ?3",
        "SELECT position FROM entries INDEXED BY entries_by_stream
         WHERE stream = ?1 AND type = ?2 AND position < ?3 ORDER BY position DESC LIMIT 1",
        "SELECT position, stream FROM entries INDEXED BY entries_by_type
         WHERE type = ?1 AND position < ?2 ORDER BY position DESC",
    ] {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![rusqlite::types::Null; statement.parameter_count()];
        let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = rows.map(Result::unwrap).collect();
        assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{sql}: {plan:?}");
    }
}

/// Older ones can damage a WAL database when two connections checkpoint at the wrong moment.
#[test]
fn sqlite_is_new_enough() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}
