//! A folder as one archive, the same bytes whenever the same files are in it: sorted, no times, no owners.

use super::error::{IngestError, IngestKind};
use super::limits::Limits;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Writes the folder `root` as an archive to `to`.
pub(super) fn pack(root: &Path, to: impl Write, limits: &Limits) -> Result<(), IngestError> {
    let mut packer = Packer { root, builder: Builder::new(to), entries: 0, limits };
    packer.folder(Path::new(""))?;
    packer.builder.finish().map_err(|e| IngestError::store(root, &e))
}

struct Packer<'a, W: Write> {
    root: &'a Path,
    builder: Builder<W>,
    entries: u64,
    limits: &'a Limits,
}

impl<W: Write> Packer<'_, W> {
    fn folder(&mut self, inside: &Path) -> Result<(), IngestError> {
        let folder = self.root.join(inside);
        let unreadable = |e: io::Error| unreadable(&folder, &e);
        let mut names: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            names.push(PathBuf::from(entry.map_err(unreadable)?.file_name()));
        }
        names.sort();
        for name in names {
            self.entry(&inside.join(name))?;
        }
        Ok(())
    }

    fn entry(&mut self, inside: &Path) -> Result<(), IngestError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(self.limits.too_many(self.root));
        }
        let path = self.root.join(inside);
        let metadata = fs::symlink_metadata(&path).map_err(|e| unreadable(&path, &e))?;
        let mut header = Header::new_gnu();
        header.set_mode(if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        let kind = metadata.file_type();
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            self.append(&mut header, inside, io::empty())?;
            self.folder(inside)
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(|e| unreadable(&path, &e))?;
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            let appended = self.builder.append_link(&mut header, inside, target);
            appended.map_err(|e| IngestError::store(&path, &e))
        } else if kind.is_file() {
            header.set_size(metadata.len());
            let file = fs::File::open(&path).map_err(|e| unreadable(&path, &e))?;
            let mut exact = Exact { inner: file.take(metadata.len()), left: metadata.len() };
            self.append(&mut header, inside, &mut exact)?;
            if exact.left > 0 {
                let message = format!("{} became shorter while it was read", path.display());
                return Err(IngestError::new(IngestKind::Corrupt, message));
            }
            Ok(())
        } else {
            let message = format!("{} is neither a file nor a folder nor a link", path.display());
            Err(IngestError::new(IngestKind::Refused, message))
        }
    }

    fn append(&mut self, header: &mut Header, inside: &Path, data: impl Read) -> Result<(), IngestError> {
        self.builder.append_data(header, inside, data).map_err(|e| IngestError::store(&self.root.join(inside), &e))
    }
}

/// Says how much of what was promised is missing.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left -= count as u64;
        Ok(count)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> IngestError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => IngestKind::NotFound,
        _ => IngestKind::Unreadable,
    };
    IngestError::new(kind, format!("{} cannot be read: {error}", path.display()))
}
