//! Engine, proxy and shims run from a content-addressed copy of this binary in the state directory, so that rebuilding
//! or replacing it disturbs nothing that runs.

use deployctl_core::id::Sha256Hex;
use deployctl_sys::durable;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// This binary's digest and its copy in the state directory, made if it is not there yet.
pub(crate) fn copy_of_self(state: &Path) -> io::Result<(Sha256Hex, PathBuf)> {
    let folder = state.join("bin");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let me = std::fs::metadata("/proc/self/exe")?;
    // What the file is known by, so that it is not hashed at every start.
    let key = format!("{:x}-{:x}-{:x}-{:x}", me.dev(), me.ino(), me.size(), me.mtime_nsec() ^ (me.mtime() << 20));
    let known = folder.join(format!("{key}.sha256"));
    if let Some(digest) = std::fs::read_to_string(&known).ok().and_then(|text| Sha256Hex::new(text).ok()) {
        let copy = path_of(&folder, &digest);
        if copy.is_file() {
            return Ok((digest, copy));
        }
    }
    let bytes = std::fs::read("/proc/self/exe")?;
    let digest = Sha256Hex::of(&bytes);
    let copy = path_of(&folder, &digest);
    if !copy.is_file() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(digest.as_str()))?;
        durable::replace(&copy, &bytes, 0o700)?;
    }
    durable::replace(&known, digest.as_str().as_bytes(), 0o600)?;
    Ok((digest, copy))
}

fn path_of(folder: &Path, digest: &Sha256Hex) -> PathBuf {
    folder.join(digest.as_str()).join("deployctl")
}
