//! Where entries of an archive are unpacked to, whatever the archive: only inside, only files, folders and links, never
//! two of one name, never more than the limits allow.

use super::error::{IngestError, IngestKind};
use super::limits::Limits;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Link,
}

/// An unpacked tree that grows.
pub(super) struct Sink<'a> {
    root: PathBuf,
    limits: &'a Limits,
    seen: HashMap<PathBuf, Kind>,
    entries: u64,
    bytes: u64,
}

impl<'a> Sink<'a> {
    /// Unpacks into the empty folder `root`.
    pub(super) fn new(root: &Path, limits: &'a Limits) -> Self {
        Self { root: root.to_owned(), limits, seen: HashMap::new(), entries: 0, bytes: 0 }
    }

    /// A folder.
    pub(super) fn folder(&mut self, name: &[u8]) -> Result<(), IngestError> {
        let Some(path) = self.inside(name)? else { return Ok(()) };
        match self.seen.get(&path) {
            Some(Kind::Folder) => Ok(()),
            Some(_) => Err(twice(&path)),
            None => self.make_folder(&path),
        }
    }

    /// A file with what `from` has.
    pub(super) fn file(&mut self, name: &[u8], executable: bool, from: &mut dyn Read) -> Result<(), IngestError> {
        let path = self.fresh(name, Kind::File)?;
        let target = self.root.join(&path);
        let mode = if executable { 0o755 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&target);
        let mut file = file.map_err(|e| IngestError::store(&target, &e))?;
        let mut buffer = vec![0_u8; 128 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(corrupt(&path, &error)),
            };
            self.bytes += count as u64;
            if self.bytes > self.limits.unpacked_bytes_max {
                let message = format!("the archive unpacks to more than {} bytes", self.limits.unpacked_bytes_max);
                return Err(IngestError::new(IngestKind::Refused, message));
            }
            file.write_all(&buffer[..count]).map_err(|e| IngestError::store(&target, &e))?;
        }
        let mode = if executable { 0o555 } else { 0o444 };
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(|e| IngestError::store(&target, &e))
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, name: &[u8], target: &[u8]) -> Result<(), IngestError> {
        let path = self.fresh(name, Kind::Link)?;
        let target = Path::new(std::ffi::OsStr::from_bytes(target));
        if !stays_inside(&path, target) {
            let message = format!("the link `{}` points outside: `{}`", path.display(), target.display());
            return Err(IngestError::new(IngestKind::Refused, message));
        }
        let at = self.root.join(&path);
        std::os::unix::fs::symlink(target, &at).map_err(|e| IngestError::store(&at, &e))
    }

    /// A second name of a file that came before.
    pub(super) fn hard_link(&mut self, name: &[u8], target: &[u8]) -> Result<(), IngestError> {
        let target = self.inside(target)?.filter(|target| self.seen.get(target) == Some(&Kind::File));
        let path = self.fresh(name, Kind::File)?;
        let Some(target) = target else {
            let message = format!("the link `{}` points at no file of the archive before it", path.display());
            return Err(IngestError::new(IngestKind::Refused, message));
        };
        let at = self.root.join(&path);
        fs::hard_link(self.root.join(target), &at).map_err(|e| IngestError::store(&at, &e))
    }

    /// What else an archive can hold.
    pub(super) fn refuse(&self, name: &[u8], what: &str) -> IngestError {
        IngestError::new(IngestKind::Refused, format!("the entry `{}` is {what}", String::from_utf8_lossy(name)))
    }

    /// Makes the folders read-only, innermost first.
    pub(super) fn close(self) -> Result<(), IngestError> {
        let mut folders: Vec<&PathBuf> =
            self.seen.iter().filter(|(_, k)| **k == Kind::Folder).map(|(p, _)| p).collect();
        folders.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        for path in folders {
            let path = self.root.join(path);
            let made = fs::set_permissions(&path, fs::Permissions::from_mode(0o555));
            made.map_err(|e| IngestError::store(&path, &e))?;
        }
        Ok(())
    }

    fn fresh(&mut self, name: &[u8], kind: Kind) -> Result<PathBuf, IngestError> {
        let Some(path) = self.inside(name)? else { return Err(self.refuse(name, "not a folder, as its name says")) };
        if self.seen.contains_key(&path) {
            return Err(twice(&path));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.parents(parent, &path)?;
        }
        self.count()?;
        self.seen.insert(path.clone(), kind);
        Ok(path)
    }

    fn parents(&mut self, parent: &Path, of: &Path) -> Result<(), IngestError> {
        let mut folders: Vec<&Path> = parent.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        folders.reverse();
        for folder in folders {
            match self.seen.get(folder) {
                Some(Kind::Folder) => {}
                None => self.make_folder(folder)?,
                Some(_) => {
                    let message = format!("`{}` lies below `{}`, which is no folder", of.display(), folder.display());
                    return Err(IngestError::new(IngestKind::Refused, message));
                }
            }
        }
        Ok(())
    }

    fn make_folder(&mut self, path: &Path) -> Result<(), IngestError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
            && self.seen.get(parent) != Some(&Kind::Folder)
        {
            self.parents(parent, path)?;
        }
        self.count()?;
        let target = self.root.join(path);
        fs::create_dir(&target).map_err(|e| IngestError::store(&target, &e))?;
        self.seen.insert(path.to_owned(), Kind::Folder);
        Ok(())
    }

    fn count(&mut self) -> Result<(), IngestError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            Err(self.limits.too_many(Path::new("the archive")))
        } else {
            Ok(())
        }
    }

    /// The path of an entry; `None` is the root itself.
    fn inside(&self, name: &[u8]) -> Result<Option<PathBuf>, IngestError> {
        if name.contains(&0) || name.len() > 4000 {
            return Err(self.refuse(&name[..name.len().min(100)], "of a name that no file can have"));
        }
        let mut path = PathBuf::new();
        for component in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
            match component {
                Component::CurDir => {}
                Component::Normal(part) if part.len() <= 255 => path.push(part),
                Component::Normal(_) => return Err(self.refuse(name, "of a name that no file can have")),
                Component::RootDir | Component::Prefix(_) => return Err(self.refuse(name, "of an absolute path")),
                Component::ParentDir => return Err(self.refuse(name, "outside of the archive (`..`)")),
            }
        }
        Ok((!path.as_os_str().is_empty()).then_some(path))
    }
}

/// Whether a link at `path` with `target` can only lead to what is inside. `..` may stand at the beginning alone: the
/// folders above a link are real ones, so going up from there is what it seems to be.
fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let mut went_down = false;
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => went_down = true,
            Component::ParentDir if went_down || depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

fn twice(path: &Path) -> IngestError {
    IngestError::new(IngestKind::Refused, format!("the archive has `{}` twice", path.display()))
}

pub(super) fn corrupt(path: &Path, error: &io::Error) -> IngestError {
    IngestError::new(IngestKind::Corrupt, format!("the archive is damaged at `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_stay_inside() {
        for (path, target, good) in [
            ("a", "b", true),
            ("d/a", "../b", true),
            ("d/e/a", "../../b/c", true),
            ("a", "../b", false),
            ("d/a", "../../b", false),
            ("a", "/etc/passwd", false),
            ("a", "d/../b", false),
            ("a", "", false),
        ] {
            assert_eq!(stays_inside(Path::new(path), Path::new(target)), good, "{path} -> {target}");
        }
    }
}
