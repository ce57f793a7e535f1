//! Blobs as files.

use deployctl_core::journal::{Blobs, ReadError};
use deployctl_store::FileBlobs;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn files_are_private_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state/blobs");
    let blobs = FileBlobs::open(&root).unwrap();
    let digest = blobs.put(b"release".to_vec()).await.unwrap();
    let path = root.join(&digest.as_str()[..2]).join(&digest.as_str()[2..]);
    assert_eq!(fs::read(&path).unwrap(), b"release");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(&path, b"releasf").unwrap();
    let why = format!("the blob {} does not have the digest of its name", path.display());
    assert_eq!(blobs.get(&digest).await, Err(ReadError::Altered(why)));
    blobs.put(b"release".to_vec()).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap().unwrap(), b"release", "putting it again repairs it");
}

#[tokio::test]
async fn what_a_crash_left_is_swept_and_strangers_stay() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path()).unwrap();
    let digest = blobs.put(b"release".to_vec()).await.unwrap();
    let shelf = folder.path().join(&digest.as_str()[..2]);
    // No process has an id this high.
    let (left, stranger) = (shelf.join(".abc.4294967294-7.0.tmp"), shelf.join("README"));
    fs::write(&left, b"half").unwrap();
    fs::write(&stranger, b"hello").unwrap();
    let blobs = FileBlobs::open(folder.path()).unwrap();
    assert!(!left.exists());
    assert_eq!(blobs.retain(&[]).await, Ok(1));
    assert!(stranger.exists());
}
