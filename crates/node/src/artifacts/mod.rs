//! Artifacts: taken in from a folder, a file, an archive, local or by HTTP, kept by their content.
//!
//! `artifacts/blobs/SHA` has the bytes, `artifacts/trees/SHA` what they unpack to, read-only. Both appear whole, under
//! their final name, after they are on the disk, or not at all; what was cut short is removed by the next store.

mod error;
mod limits;
mod pack;
mod sink;
mod source;
mod unpack;

pub use error::{IngestError, IngestKind};
pub use limits::Limits;

use crate::layout::make_private;
use deployctl_core::config::{Artifact, ArtifactFormat, ArtifactSource};
use deployctl_core::id::Sha256Hex;
use deployctl_sys::process::Identity;
use deployctl_sys::{crash, durable};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A file as an artifact is called this in its folder, beside the name that it came with.
const PLAIN: &str = "artifact";

/// The store of artifacts of one state folder. Its functions block.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    limits: Limits,
    spare: Duration,
    /// Held while a tree is given its name.
    publishing: Arc<Mutex<()>>,
}

static COUNT: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// The store below the state folder. Removes what processes that are gone left half done.
    pub fn new(state: &Path) -> Self {
        let spare = Duration::from_secs(15 * 60);
        let store =
            Self { root: state.join("artifacts"), limits: Limits::default(), spare, publishing: Arc::default() };
        store.remove_half_done();
        store
    }

    /// The same store with other limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same store, but [`Store::retain`] spares only what was taken in within `spare`.
    pub fn with_spare(mut self, spare: Duration) -> Self {
        self.spare = spare;
        self
    }

    /// Takes in what `source` has and checks it against `expected`, if anything is. Taking in the same bytes again
    /// changes nothing. After an error nothing is left behind.
    pub fn ingest(&self, source: &ArtifactSource, expected: Option<&Sha256Hex>) -> Result<Artifact, IngestError> {
        let work = self.work()?;
        let blob = work.0.join("blob");
        let got = source::get(source, &blob, &self.limits)?;
        if let Some(expected) = expected.filter(|expected| **expected != got.sha256) {
            let message = format!("{} has the sha256 {}, expected was {expected}", shown(source), got.sha256);
            return Err(IngestError::new(IngestKind::WrongDigest, message)
                .hint("these are other bytes than before under the same name; give them a version of their own"));
        }
        let artifact = Artifact { sha256: got.sha256, format: got.format };
        if !self.is_known_as(&artifact, &got.name) {
            let named =
                |error: IngestError| IngestError { message: format!("{}: {}", shown(source), error.message), ..error };
            let tree = self.unpack(&work, &blob, &artifact, &got.name).map_err(named)?;
            crash::point("artifacts.unpacked");
            self.publish(&blob, &self.blob(&artifact))?;
            crash::point("artifacts.blob-published");
            self.publish_tree(&tree, &artifact, &got.name)?;
        } else {
            touch(&self.blob(&artifact));
        }
        Ok(artifact)
    }

    /// Where the artifact is unpacked.
    pub fn tree(&self, artifact: &Artifact) -> PathBuf {
        self.root.join("trees").join(key(artifact))
    }

    /// The same, after unpacking it again if it is missing.
    pub fn ensure(&self, artifact: &Artifact) -> Result<PathBuf, IngestError> {
        let tree = self.tree(artifact);
        if tree.is_dir() {
            return Ok(tree);
        }
        let blob = self.blob(artifact);
        if !blob.is_file() {
            let message = format!("the artifact {} is not in the store any more", artifact.sha256);
            return Err(IngestError::new(IngestKind::NotFound, message));
        }
        let work = self.work()?;
        let unpacked = self.unpack(&work, &blob, artifact, PLAIN)?;
        self.publish_tree(&unpacked, artifact, PLAIN)?;
        Ok(tree)
    }

    /// Removes all artifacts but `kept`, and those taken in a moment ago; returns how many.
    pub fn retain(&self, kept: &[Sha256Hex]) -> io::Result<usize> {
        let kept: HashSet<&str> = kept.iter().map(Sha256Hex::as_str).collect();
        let mut gone = HashSet::new();
        for folder in ["trees", "blobs"] {
            let Ok(entries) = fs::read_dir(self.root.join(folder)) else { continue };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let digest = name.split('.').next().unwrap_or_default().to_owned();
                if kept.contains(digest.as_str()) || self.is_spared(&digest) {
                    continue;
                }
                self.remove(&entry.path())?;
                gone.insert(digest);
            }
        }
        Ok(gone.len())
    }

    fn blob(&self, artifact: &Artifact) -> PathBuf {
        self.root.join("blobs").join(artifact.sha256.as_str())
    }

    fn is_known_as(&self, artifact: &Artifact, name: &str) -> bool {
        let tree = self.tree(artifact);
        let named = artifact.format != ArtifactFormat::File || tree.join(name).is_file();
        named && tree.is_dir() && self.blob(artifact).is_file()
    }

    fn unpack(&self, work: &Work, blob: &Path, artifact: &Artifact, name: &str) -> Result<PathBuf, IngestError> {
        let tree = work.0.join("tree");
        let store = |e: io::Error| IngestError::store(&tree, &e);
        fs::create_dir(&tree).map_err(store)?;
        unpack::unpack(blob, artifact.format, name, &tree, &self.limits)?;
        if artifact.format == ArtifactFormat::File {
            self.add_names(artifact, &tree, name).map_err(store)?;
        }
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o555)).map_err(store)?;
        // One call for all of its files: they must be on the disk before the name is.
        File::open(&tree).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)).map_err(store)?;
        Ok(tree)
    }

    /// A file is called as it came, as it came before, and by the plain name.
    fn add_names(&self, artifact: &Artifact, tree: &Path, name: &str) -> io::Result<()> {
        let mut names: Vec<PathBuf> = vec![PLAIN.into()];
        if let Ok(entries) = fs::read_dir(self.tree(artifact)) {
            names.extend(entries.flatten().map(|entry| entry.file_name().into()));
        }
        for other in names {
            let target = tree.join(other);
            if !target.exists() {
                fs::hard_link(tree.join(name), target)?;
            }
        }
        Ok(())
    }

    fn publish(&self, from: &Path, to: &Path) -> Result<(), IngestError> {
        let store = |e: io::Error| IngestError::store(to, &e);
        if let Some(folder) = to.parent() {
            make_private(folder).map_err(store)?;
        }
        fs::rename(from, to).and_then(|()| durable::sync_folder(to)).map_err(store)
    }

    fn publish_tree(&self, tree: &Path, artifact: &Artifact, name: &str) -> Result<(), IngestError> {
        let _one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let to = self.tree(artifact);
        if self.is_known_as(artifact, name) {
            // Somebody else was quicker, and instances may be starting from what they published.
            return Ok(());
        }
        if to.exists() {
            // A file under another name: instances may run from the old folder, so it is put aside whole.
            self.remove(&to).map_err(|e| IngestError::store(&to, &e))?;
        }
        // A folder is renamed by its owner's right to write it.
        let writable = fs::set_permissions(tree, fs::Permissions::from_mode(0o755));
        writable.map_err(|e| IngestError::store(tree, &e))?;
        self.publish(tree, &to)?;
        let closed = fs::set_permissions(&to, fs::Permissions::from_mode(0o555));
        closed.map_err(|e| IngestError::store(&to, &e))
    }

    fn is_spared(&self, digest: &str) -> bool {
        let taken_in = fs::metadata(self.root.join("blobs").join(digest)).and_then(|blob| blob.modified());
        taken_in.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < self.spare))
    }

    /// Out of sight by one rename, then away.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let work = self.work().map_err(io::Error::other)?;
        if path.is_dir() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        fs::rename(path, work.0.join("old"))
    }

    fn work(&self) -> Result<Work, IngestError> {
        let owner = Identity::own().map_err(|e| IngestError::store(&self.root, &e))?;
        let name = format!("{}-{}-{}", owner.pid, owner.start, COUNT.fetch_add(1, Ordering::Relaxed));
        let work = self.root.join("tmp").join(name);
        make_private(&work).map_err(|e| IngestError::store(&work, &e))?;
        Ok(Work(work))
    }

    fn remove_half_done(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("tmp")) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut fields = name.split('-').map(|field| field.parse::<u64>().ok());
            let (pid, start) = (fields.next().flatten(), fields.next().flatten());
            let runs = pid.and_then(|pid| u32::try_from(pid).ok()).and_then(deployctl_sys::process::stat);
            if runs.is_none() || runs.map(|stat| stat.start) != start {
                drop(Work(entry.path()));
            }
        }
    }
}

/// A folder that is removed with what is in it.
struct Work(PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        open_up(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes folders writable again, so that who is not root can empty them.
fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn key(artifact: &Artifact) -> String {
    match artifact.format {
        ArtifactFormat::File => format!("{}.file", artifact.sha256),
        _ => artifact.sha256.as_str().to_owned(),
    }
}

fn touch(path: &Path) {
    let now = std::time::SystemTime::now();
    let _ = File::open(path).and_then(|file| file.set_modified(now));
}

fn shown(source: &ArtifactSource) -> String {
    match source {
        ArtifactSource::Path(path) | ArtifactSource::Image(path) => path.clone(),
        ArtifactSource::SignedImage { image, .. } => image.clone(),
        ArtifactSource::Url(url) => source::without_password(url),
        ArtifactSource::Digests(_) => "images of a cluster".into(),
    }
}
