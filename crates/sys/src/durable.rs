//! The one place for writes that must survive a crash.
//!
//! Each function here says what is there after a crash at any instant, the loss of power included. What they do is
//! a handful of operations on a disk; the test records them, drops whatever was not fsynced, and looks at what is
//! left after every prefix.
//!
//! Temporary files have names of the form `.NAME.PID-START.N.tmp`, with the writer's process id and start time;
//! [`sweep`] removes those whose writer is dead.

mod disk;
mod temporary;
#[cfg(test)]
mod tests;

use disk::{Disk, Real};
use std::fs::{self, File};
use std::io;
use std::path::Path;
pub use temporary::sweep;

/// Replaces the file at `path` by `bytes`: a temporary file beside it, fsync, rename, fsync of the folder.
/// After a crash the old or the new content is there, whole. `mode` is that of the new file.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_on(&Real, path, bytes, mode)
}

/// Makes a file at `path` that was not there: [`io::ErrorKind::AlreadyExists`] if it was, and nothing is changed.
/// After a crash there is no file or the whole one. Of several that try at once, exactly one succeeds.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    create_new_on(&Real, path, bytes, mode)
}

/// Appends `bytes` to the file at `path`, which is made with `mode` if it is missing, and fsyncs it. After a crash
/// any prefix of `bytes` may be there, until this returned: then all of it is. Readers must know a torn tail.
pub fn append(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    append_on(&Real, path, bytes, mode)
}

/// Makes the folder at `path` and those above it that are missing, each durable before the next, with `mode`.
pub fn create_folders(path: &Path, mode: u32) -> io::Result<()> {
    create_folders_on(&Real, path, mode)
}

/// Removes the file at `path` for good; it is fine if there is none.
pub fn remove(path: &Path) -> io::Result<()> {
    remove_on(&Real, path)
}

/// Renames a file or a folder whose content is durable already (see [`sync_tree`]): prepare, then publish.
/// After a crash it has the old or the new name; while both folders differ and are fsynced in turn, possibly both.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    publish_on(&Real, from, to)
}

/// Makes the entries of the folder that holds `path` durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    Real.sync_folder(folder_of(path))
}

/// Makes a whole folder durable: all files and folders below it, and its own entries. Links are not followed.
pub fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn replace_on<D: Disk>(disk: &D, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    with_temporary(disk, path, bytes, mode, |temporary| disk.rename(temporary, path))?;
    disk.sync_folder(folder_of(path))
}

fn create_new_on<D: Disk>(disk: &D, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    with_temporary(disk, path, bytes, mode, |temporary| {
        disk.link(temporary, path)?;
        disk.remove(temporary)
    })?;
    disk.sync_folder(folder_of(path))
}

/// Writes and fsyncs a temporary file beside `path`, and lets `publish` do the rest; cleans up if either fails.
fn with_temporary<D: Disk>(
    disk: &D,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    publish: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let (temporary, mut file) = temporary::create(path, |name| disk.create_new(name, mode))?;
    let written = disk.write(&mut file, bytes).and_then(|()| disk.sync(&file)).and_then(|()| publish(&temporary));
    if written.is_err() {
        let _ = disk.remove(&temporary);
    }
    written
}

fn append_on<D: Disk>(disk: &D, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = disk.open_append(path, mode)?;
    disk.write(&mut file, bytes)?;
    disk.sync(&file)?;
    // Always: whoever made the file may have died before its name was durable.
    disk.sync_folder(folder_of(path))
}

fn create_folders_on<D: Disk>(disk: &D, path: &Path, mode: u32) -> io::Result<()> {
    match disk.create_folder(path, mode) {
        // Also if it was there: whoever made it may have died before its name was durable.
        Ok(()) => disk.sync_folder(folder_of(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound && folder_of(path) != path => {
            create_folders_on(disk, folder_of(path), mode)?;
            create_folders_on(disk, path, mode)
        }
        Err(e) => Err(e),
    }
}

fn remove_on<D: Disk>(disk: &D, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => disk.sync_folder(folder_of(path)),
    }
}

fn publish_on<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    disk.rename(from, to)?;
    disk.sync_folder(folder_of(to))?;
    if folder_of(from) != folder_of(to) { disk.sync_folder(folder_of(from)) } else { Ok(()) }
}
