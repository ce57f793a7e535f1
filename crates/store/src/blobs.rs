//! Bytes by their digest.

use async_trait::async_trait;
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::{AppendError, Blobs, ReadError};
use deployctl_sys::durable;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// [`Blobs`] as files `ab/cdef...` below a folder: mode 0600, durable, checked when they are read.
///
/// `put`, `get` and `retain` run on tokio's threads for blocking work.
#[derive(Clone, Debug)]
pub struct FileBlobs {
    folder: PathBuf,
}

impl FileBlobs {
    /// Opens the folder, makes it if it is missing, and sweeps what a crash left half written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        durable::create_folders(folder, 0o700)?;
        for shelf in shelves(folder)? {
            durable::sweep(&shelf)?;
        }
        Ok(Self { folder: folder.into() })
    }

    fn path(&self, digest: &Sha256Hex) -> PathBuf {
        let (shelf, name) = digest.as_str().split_at(2);
        self.folder.join(shelf).join(name)
    }

    fn put_now(&self, bytes: &[u8]) -> Result<Sha256Hex, AppendError> {
        let digest = Sha256Hex::of(bytes);
        let path = self.path(&digest);
        // Kept before: durable too, or the one who put it is not through yet and this one makes it so.
        let kept = fs::read(&path).is_ok_and(|kept| kept == bytes);
        let write = || {
            if kept {
                return durable::sync_folder(&path);
            }
            durable::create_folders(path.parent().unwrap_or(&self.folder), 0o700)?;
            durable::replace(&path, bytes, 0o600)
        };
        write().map_err(|e| AppendError::Failed(format!("the blob {}: {}", path.display(), hinted(&e))))?;
        Ok(digest)
    }

    fn get_now(&self, digest: &Sha256Hex) -> Result<Option<Vec<u8>>, ReadError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ReadError::Failed(format!("the blob {}: {e}", path.display()))),
        };
        if Sha256Hex::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        Err(ReadError::Altered(format!("the blob {} does not have the digest of its name", path.display())))
    }

    fn retain_now(&self, keep: &BTreeSet<Sha256Hex>) -> io::Result<usize> {
        let mut dropped = 0;
        for shelf in shelves(&self.folder)? {
            for entry in fs::read_dir(&shelf)? {
                let path = entry?.path();
                let digest = |path: &Path| {
                    let (shelf, name) = (path.parent()?.file_name()?.to_str()?, path.file_name()?.to_str()?);
                    Sha256Hex::new(format!("{shelf}{name}")).ok()
                };
                if digest(&path).is_some_and(|digest| !keep.contains(&digest)) {
                    fs::remove_file(&path)?;
                    dropped += 1;
                }
            }
        }
        Ok(dropped)
    }
}

/// The folders that hold blobs: those with names of two hex digits.
fn shelves(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut shelves = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.len() == 2 && name.to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_hexdigit())) {
            shelves.push(entry.path());
        }
    }
    Ok(shelves)
}

fn hinted(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("{e}; free some space, then try again"),
        _ => e.to_string(),
    }
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(run).await.map_err(|e| format!("the runtime is shutting down: {e}"))
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn put(&self, bytes: Vec<u8>) -> Result<Sha256Hex, AppendError> {
        let this = self.clone();
        blocking(move || this.put_now(&bytes)).await.map_err(AppendError::Unknown)?
    }

    async fn get(&self, digest: &Sha256Hex) -> Result<Option<Vec<u8>>, ReadError> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking(move || this.get_now(&digest)).await.map_err(ReadError::Failed)?
    }

    async fn retain(&self, keep: &[Sha256Hex]) -> Result<usize, AppendError> {
        let (this, keep) = (self.clone(), keep.iter().cloned().collect());
        let dropped = blocking(move || this.retain_now(&keep)).await.map_err(AppendError::Unknown)?;
        dropped.map_err(|e| AppendError::Failed(format!("blobs below {}: {e}", self.folder.display())))
    }
}

/// [`Blobs`] that live as long as their process. Clones are the same.
#[derive(Clone, Default)]
pub struct MemoryBlobs {
    kept: Arc<Mutex<BTreeMap<Sha256Hex, Vec<u8>>>>,
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, bytes: Vec<u8>) -> Result<Sha256Hex, AppendError> {
        let digest = Sha256Hex::of(&bytes);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone(), bytes);
        Ok(digest)
    }

    async fn get(&self, digest: &Sha256Hex) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned())
    }

    async fn retain(&self, keep: &[Sha256Hex]) -> Result<usize, AppendError> {
        let keep: BTreeSet<&Sha256Hex> = keep.iter().collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.len();
        kept.retain(|digest, _| keep.contains(digest));
        Ok(before - kept.len())
    }
}
