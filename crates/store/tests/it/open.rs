//! Opening: what is no journal is refused in clear words and left as it is.

use crate::{batch, event, put, stream, write};
use deployctl_core::journal::{Journal, Seq};
use deployctl_store::{OpenError, SqliteJournal};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { path: folder.path().join("journal.db"), _folder: folder }
}

fn refused(path: &Path) -> OpenError {
    match SqliteJournal::open(path) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(e) => e,
    }
}

/// A journal with some entries, closed.
async fn filled(path: &Path) {
    let journal = SqliteJournal::open(path).unwrap();
    for n in 0..40 {
        put(&journal, "s", n).await;
    }
}

#[tokio::test]
async fn it_is_private_and_keeps_what_it_got() {
    let place = place();
    filled(&place.path).await;
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o644)).unwrap();
    let journal = SqliteJournal::open(&place.path).unwrap();
    put(&journal, "s", 40).await;
    assert_eq!(journal.read(&stream("s"), Seq(0), 99).await.unwrap().len(), 41);
    for entry in fs::read_dir(place.path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn two_processes_on_one_file_still_compare_and_swap() {
    let place = place();
    let (one, two) = (SqliteJournal::open(&place.path).unwrap(), SqliteJournal::open(&place.path).unwrap());
    for n in 0..20 {
        put(if n % 2 == 0 { &one } else { &two }, "s", n).await;
        let late = batch(vec![write("s", n, vec![event("x", n)])]);
        assert!(if n % 2 == 0 { &two } else { &one }.append(late).await.is_err());
    }
    assert_eq!(one.verify(None).await, two.verify(None).await);
}

#[tokio::test]
async fn a_newer_one_is_refused() {
    let place = place();
    filled(&place.path).await;
    Connection::open(&place.path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(&place.path).unwrap();
    let e = refused(&place.path);
    assert_eq!(e, OpenError::Newer { path: place.path.clone(), found: 7, known: 1 });
    let text = format!("the journal {} has schema version 7; this deployctl knows up to 1", place.path.display());
    assert_eq!(
        (e.to_string(), e.hint()),
        (text, "use the newer deployctl; a journal is never written by an older one")
    );
    assert_eq!(fs::read(&place.path).unwrap(), before);
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let place = place();
    for text in ["hello", "SQLite format 3", &"x".repeat(10_000)] {
        fs::write(&place.path, text).unwrap();
        let e = refused(&place.path);
        let why = format!("the journal {} is damaged or is no journal: file is not a database", place.path.display());
        assert_eq!(e.to_string(), why);
        assert!(e.hint().starts_with("keep the file with its -wal and -shm as they are, and restore a backup"));
        assert_eq!(fs::read_to_string(&place.path).unwrap(), text);
    }
    fs::write(&place.path, [b"SQLite format 3\0".as_slice(), &[7; 5000]].concat()).unwrap();
    assert!(matches!(refused(&place.path), OpenError::Corrupt { .. }));
}

#[tokio::test]
async fn the_database_of_another_application_is_refused() {
    let place = place();
    Connection::open(&place.path).unwrap().execute_batch("CREATE TABLE theirs (x);").unwrap();
    let e = refused(&place.path);
    assert!(e.to_string().ends_with("is damaged or is no journal: it is the database of another application"), "{e}");
}

#[tokio::test]
async fn a_cut_file_is_refused() {
    let place = place();
    filled(&place.path).await;
    let whole = fs::read(&place.path).unwrap();
    for keep in [100, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&place.path, &whole[..keep]).unwrap();
        assert!(matches!(refused(&place.path), OpenError::Corrupt { .. }), "{keep} of {} bytes", whole.len());
    }
}

#[tokio::test]
async fn an_edited_tail_is_seen_at_once() {
    let place = place();
    filled(&place.path).await;
    Connection::open(&place.path).unwrap().execute("UPDATE entries SET actor = 'eve' WHERE position = 40", []).unwrap();
    let e = refused(&place.path).to_string();
    assert!(e.ends_with("is no journal: entry 40 of s does not have the hash of its content"), "{e}");
}

#[tokio::test]
async fn a_lost_file_with_its_log_left_is_no_fresh_start() {
    let place = place();
    let log = place.path.with_file_name("journal.db-wal");
    let journal = SqliteJournal::open(&place.path).unwrap();
    put(&journal, "s", 0).await;
    let kept = fs::read(&log).unwrap();
    drop(journal);
    fs::remove_file(&place.path).unwrap();
    fs::write(&log, &kept).unwrap();
    let e = refused(&place.path).to_string();
    assert!(e.ends_with("the file is missing, but its -wal is there with what was written last"), "{e}");
    assert!(!place.path.exists());
    assert_eq!(fs::read(&log).unwrap(), kept);
}

#[test]
fn places_that_cannot_be() {
    let place = place();
    let nowhere = refused(&place.path.with_file_name("none").join("journal.db"));
    assert!(matches!(&nowhere, OpenError::Failed { detail, .. } if detail.contains("No such file")), "{nowhere}");
    assert_eq!(nowhere.hint(), "check that the state directory exists and is on a local disk");
    fs::create_dir(&place.path).unwrap();
    assert!(matches!(refused(&place.path), OpenError::Failed { .. } | OpenError::Corrupt { .. }));
}

#[tokio::test]
async fn dropping_it_waits_for_what_was_handed_over() {
    let place = place();
    let journal = SqliteJournal::open(&place.path).unwrap();
    for n in 0..50 {
        let append = journal.append(batch(vec![write("s", n, vec![event("x", n)])]));
        // Nobody waits for the answer.
        let mut append = std::pin::pin!(append);
        std::future::poll_fn(|context| {
            assert!(append.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(journal);
    let journal = SqliteJournal::open(&place.path).unwrap();
    assert_eq!(journal.head(&stream("s")).await.unwrap().unwrap().seq, Seq(50));
}
