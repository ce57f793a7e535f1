//! Descriptions of what is really there: files, folders, archives, and images in archives and registries.

mod binary;
mod folder;
mod image;
mod layers;
mod look;
mod packed;
mod python;
pub mod secrets;
mod unpacked;

pub use binary::start_of;
pub use image::in_registry;
pub use packed::image_of_engine;

use crate::subject::{Kind, Subject};
use deployctl_oci::Platform;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all, unpacked.
    pub bytes_max: u64,
    /// Files, folders and links in all.
    pub entries_max: u64,
    /// Bytes of each file; what comes after them is not looked at.
    pub file_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 8 << 30, entries_max: 500_000, file_bytes_max: 1 << 20 }
    }
}

/// Why something cannot be described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotRead {
    /// What is the matter, and where.
    pub message: String,
}

impl NotRead {
    pub(crate) fn new(path: &Path, why: impl std::fmt::Display) -> Self {
        Self { message: format!("{} cannot be looked at: {why}", path.display()) }
    }
}

/// Describes a folder, or a file by what is in it: a package, an archive, an image in an archive, a program.
pub fn path(path: &Path, platform: &Platform, limits: &Limits) -> Result<Subject, NotRead> {
    let metadata = std::fs::metadata(path).map_err(|e| NotRead::new(path, e))?;
    let name = path.display().to_string();
    if metadata.is_dir() {
        let files = folder::files(path, limits)?;
        return Ok(Subject { name, digest: None, size_bytes: files.scan.bytes, kind: Kind::Files(files) });
    }
    if !metadata.is_file() {
        return Err(NotRead::new(path, "it is neither a file nor a folder"));
    }
    let subject = |kind| Subject { name: name.clone(), digest: None, size_bytes: metadata.len(), kind };
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    read.map_err(|e| NotRead::new(path, e))?;
    let shown = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match unpacked::Packing::of(&start) {
        None => {
            let entry = look::program(&shown, path, &metadata).map_err(|e| NotRead::new(path, e))?;
            Ok(subject(Kind::Program(entry)))
        }
        Some(unpacked::Packing::Zip) => {
            let file = File::open(path).map_err(|e| NotRead::new(path, e))?;
            let (files, texts) = unpacked::zip(file, limits);
            Ok(subject(match shown.ends_with(".whl") {
                true => Kind::Python(python::wheel(&shown, files, &texts)),
                false => Kind::Files(files),
            }))
        }
        Some(packing) => {
            if packing == unpacked::Packing::Tar
                && let Some(image) = packed::image(path, platform, limits)?
            {
                return Ok(Subject { name, ..image });
            }
            let file = File::open(path).map_err(|e| NotRead::new(path, e))?;
            let (files, texts) = unpacked::tar(file, limits);
            Ok(subject(match python::source(&texts) {
                Some(package) => Kind::Python(crate::subject::Package { files, ..package }),
                None => Kind::Files(files),
            }))
        }
    }
}
