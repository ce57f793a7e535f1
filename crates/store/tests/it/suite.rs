//! One suite on all journals, and on all keepers of blobs.

use deployctl_core::journal::{Blobs, Journal};
use deployctl_store::{FileBlobs, MemoryBlobs, MemoryJournal, SqliteJournal, conformance};
use std::sync::Arc;

#[tokio::test]
async fn memory_journal() {
    conformance::journal(async || Arc::new(MemoryJournal::default()) as Arc<dyn Journal>).await;
}

#[tokio::test]
async fn sqlite_journal() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::cell::Cell::new(0);
    let make = async || {
        next.set(next.get() + 1);
        let path = folder.path().join(format!("{}.db", next.get()));
        Arc::new(SqliteJournal::open(&path).unwrap()) as Arc<dyn Journal>
    };
    conformance::journal(make).await;
}

#[tokio::test]
async fn memory_blobs() {
    conformance::blobs(async || Arc::new(MemoryBlobs::default()) as Arc<dyn Blobs>).await;
}

#[tokio::test]
async fn file_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::cell::Cell::new(0);
    let make = async || {
        next.set(next.get() + 1);
        Arc::new(FileBlobs::open(&folder.path().join(next.get().to_string())).unwrap()) as Arc<dyn Blobs>
    };
    conformance::blobs(make).await;
}
