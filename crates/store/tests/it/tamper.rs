//! No edit goes unseen.

use crate::{batch, event, put, stream, write};
use deployctl_core::journal::{Entry, Journal, ReadError, Seq, Verified};
use deployctl_store::SqliteJournal;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// A journal with entries of three streams, closed, in one file.
async fn filled(folder: &Path) -> (PathBuf, Verified) {
    let path = folder.join("journal.db");
    let journal = SqliteJournal::open(&path).unwrap();
    for n in 0..8 {
        put(&journal, "scope/p/dev/default/api", n).await;
        put(&journal, "deployment/1", n).await;
    }
    journal.append(batch(vec![write("deployment/2", 0, vec![event("opened", 1), event("closed", 2)])])).await.unwrap();
    let verified = journal.verify(None).await.unwrap();
    (path, verified)
}

/// What a reader gets of a journal: a refusal to open, an error of the check, or what it says.
async fn look(path: &Path, known: &Verified) -> Result<(Verified, Vec<Entry>), String> {
    let journal = SqliteJournal::open(path).map_err(|e| e.to_string())?;
    let verified = journal.verify(Some(&known.head)).await.map_err(|e| e.to_string())?;
    let mut entries = Vec::new();
    for stream in journal.streams("").await.map_err(|e| e.to_string())? {
        entries.extend(journal.read(&stream, Seq(0), 99).await.map_err(|e| e.to_string())?);
    }
    Ok((verified, entries))
}

fn edit(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}"))
        .unwrap();
}

#[tokio::test]
async fn every_byte_of_every_column_of_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let (path, known) = filled(folder.path()).await;
    let whole = fs::read(&path).unwrap();
    let mut edits = vec![];
    for column in ["position", "stream", "seq", "at"] {
        edits.extend([-1, 1, 1000].map(|by| format!("{column} = {column} + {by}")));
    }
    for column in ["actor", "event", "type"] {
        let length = if column == "event" { 18 } else { 10 };
        edits.extend(
            (1..=length)
                .filter(|n| column != "type" || *n == 1)
                .map(|n| format!("{column} = substr({column}, 1, {n} - 1) || '#' || substr({column}, {n} + 1)")),
        );
    }
    for column in ["prev", "hash", "chain"] {
        edits.extend((0..32).map(|n| {
            let byte = format!("substr({column}, {n} + 1, 1)");
            let other = format!("iif({byte} = x'aa', x'ab', x'aa')");
            format!("{column} = CAST(substr({column}, 1, {n}) || {other} || substr({column}, {n} + 2) AS BLOB)")
        }));
    }
    for (n, set) in edits.iter().enumerate() {
        fs::write(&path, &whole).unwrap();
        // One in the middle, and one that is neither a stream's last nor the chain's.
        let position = if n % 2 == 0 { 5 } else { 8 };
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        if connection.execute(&format!("UPDATE entries SET {set} WHERE position = {position}"), []).is_err() {
            // The schema itself forbids it.
            continue;
        }
        drop(connection);
        let seen = look(&path, &known).await.expect_err(set);
        // What comes to stand at the end of the chain is seen when it is opened.
        let at_once = seen.contains("is damaged or is no journal: entry");
        assert!(at_once || seen.starts_with("the journal was altered: "), "{set}: {seen}");
    }
}

#[tokio::test]
async fn whole_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (path, known) = filled(folder.path()).await;
    let whole = fs::read(&path).unwrap();
    for (sql, seen) in [
        ("DELETE FROM entries WHERE position = 5", "is where the entry at position 5 should be"),
        ("DELETE FROM entries WHERE position = 1", "is where the entry at position 1 should be"),
        ("DELETE FROM entries WHERE position IN (17, 18)", "stream deployment/2 has no entry"),
        ("DELETE FROM streams WHERE name = 'deployment/1'", "at position 2: a column does not hold what it must"),
        (
            "UPDATE streams SET name = 'deployment/x' WHERE name = 'deployment/1'",
            "does not have the hash of its content",
        ),
        ("INSERT INTO streams (name) VALUES ('ghost')", "stream ghost has no entry"),
        (
            "UPDATE entries SET position = -5 WHERE position = 5; UPDATE entries SET position = 5 WHERE position = 6;
             UPDATE entries SET position = 6 WHERE position = -5;",
            "does not continue the chain of hashes",
        ),
    ] {
        fs::write(&path, &whole).unwrap();
        edit(&path, sql);
        let error = look(&path, &known).await.expect_err(sql);
        assert!(error.contains(seen), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_tail_cut_with_care_is_seen_by_who_holds_a_head() {
    let folder = tempfile::tempdir().unwrap();
    let (path, known) = filled(folder.path()).await;
    // Whoever does this knows the format: the last deployment vanishes from every table.
    edit(
        &path,
        "DELETE FROM entries WHERE stream = (SELECT id FROM streams WHERE name = 'deployment/2');
         DELETE FROM streams WHERE name = 'deployment/2';",
    );
    let (verified, entries) = look(&path, &known).await.expect("it is consistent in itself");
    assert_eq!((verified.known_at, verified.entries, entries.len()), (None, 16, 16));
}

#[tokio::test]
async fn reads_refuse_what_was_edited_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = filled(folder.path()).await;
    let journal = SqliteJournal::open(&path).unwrap();
    edit(&path, "UPDATE entries SET actor = 'eve' WHERE position = 4");
    let altered = ReadError::Altered("entry 2 of deployment/1 does not have the hash of its content".into());
    assert_eq!(journal.read(&stream("deployment/1"), Seq(0), 9).await, Err(altered.clone()));
    assert_eq!(journal.newest("", &["x"], None, 99).await, Err(altered));
    assert!(journal.read(&stream("deployment/1"), Seq(2), 9).await.is_ok());
    edit(&path, "DELETE FROM entries WHERE position = 8");
    let gap = journal.read(&stream("deployment/1"), Seq(2), 9).await;
    assert_eq!(gap, Err(ReadError::Altered("entry 5 of deployment/1 does not follow entry 3".into())));
}

/// Whatever byte of the file flips: it is refused, or it changed nothing that anybody reads.
#[tokio::test]
async fn bytes_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, known) = filled(folder.path()).await;
    let whole = fs::read(&path).unwrap();
    let (original, entries) = look(&path, &known).await.unwrap();
    let mut seen = 0;
    for offset in (0..whole.len()).step_by(61) {
        let mut altered = whole.clone();
        altered[offset] ^= 0x15;
        fs::write(&path, &altered).unwrap();
        match look(&path, &known).await {
            Ok(found) => assert_eq!(found, (original.clone(), entries.clone()), "byte {offset}"),
            Err(_) => seen += 1,
        }
        for log in ["journal.db-wal", "journal.db-shm"] {
            let _ = fs::remove_file(path.with_file_name(log));
        }
    }
    assert!(seen > 50, "only {seen} of the flips were in what is read");
}
