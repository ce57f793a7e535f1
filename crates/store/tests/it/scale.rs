//! How reads go about a large journal, by the plans that SQLite makes.

use deployctl_store::SqliteJournal;
use rusqlite::Connection;

#[test]
fn no_read_looks_at_every_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    drop(SqliteJournal::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    let by_stream = "entries USING INDEX entries_by_stream";
    for (sql, expected) in [
        (
            "SELECT name FROM streams WHERE name >= ?1 AND name < ?2 ORDER BY name",
            vec!["streams USING COVERING INDEX sqlite_autoindex_streams_1 (name>? AND name<?)".to_owned()],
        ),
        (
            "SELECT event FROM streams JOIN entries ON entries.stream = streams.id
             WHERE streams.name = ?1 AND entries.seq > ?2 ORDER BY entries.seq LIMIT ?3",
            vec![one_stream(), format!("{by_stream} (stream=? AND seq>?)")],
        ),
        (
            "SELECT streams.id, entries.seq, entries.hash FROM streams JOIN entries ON entries.stream = streams.id
             WHERE streams.name = ?1 ORDER BY entries.seq DESC LIMIT 1",
            vec![one_stream(), format!("{by_stream} (stream=?)")],
        ),
        (
            "SELECT position, seq FROM entries INDEXED BY entries_by_stream
             WHERE stream = ?1 AND seq < ?2 AND position < ?3 AND type IN (?, ?) ORDER BY seq DESC LIMIT 1",
            vec!["entries USING COVERING INDEX entries_by_stream (stream=? AND seq<?)".to_owned()],
        ),
        (
            "SELECT position, stream FROM entries INDEXED BY entries_by_type
             WHERE type = ?1 AND position < ?2 ORDER BY position DESC",
            vec!["entries USING COVERING INDEX entries_by_type (type=? AND position<?)".to_owned()],
        ),
    ] {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![rusqlite::types::Null; statement.parameter_count()];
        let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = rows.map(Result::unwrap).collect();
        let expected: Vec<String> = expected.iter().map(|step| format!("SEARCH {step}")).collect();
        assert_eq!(plan, expected, "{sql}");
    }
}

fn one_stream() -> String {
    "streams USING COVERING INDEX sqlite_autoindex_streams_1 (name=?)".into()
}

/// Older ones can damage a WAL database when two connections checkpoint at the wrong moment.
#[test]
fn sqlite_is_new_enough() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}
