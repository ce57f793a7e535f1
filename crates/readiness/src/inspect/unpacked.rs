//! Archives, read from their beginning to their end without being unpacked anywhere.

use super::{Limits, look};
use crate::subject::{Files, Secret};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek};
use tar::EntryType;

/// How files are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Tar,
    Gzip,
    Zstd,
    Zip,
}

impl Packing {
    /// By how it begins; at least 512 bytes tell.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [b'P', b'K', 3 | 5, ..] => Some(Self::Zip),
            tar if tar.get(257..262) == Some(b"ustar") => Some(Self::Tar),
            _ => None,
        }
    }
}

/// What is packed by gzip, zstd or not at all, as it was before.
pub(super) fn plain<'a>(from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = BufReader::with_capacity(64 << 10, from);
    Ok(match Packing::of(from.fill_buf()?) {
        Some(Packing::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        Some(Packing::Zstd) => Box::new(zstd::stream::read::Decoder::with_buffer(from)?),
        _ => Box::new(from),
    })
}

/// Texts of an archive that say what kind of package it is, by their paths.
pub(super) type Texts = BTreeMap<String, String>;

/// What is in a tar archive, whatever it is packed with.
pub(super) fn tar(from: impl Read, limits: &Limits) -> (Files, Texts) {
    let mut reading = Reading::new(limits);
    if let Err(error) = reading.tar(from) {
        reading.files.damaged = Some(error.to_string());
    }
    reading.finish()
}

/// What is in a zip archive.
pub(super) fn zip(from: impl Read + Seek, limits: &Limits) -> (Files, Texts) {
    let mut reading = Reading::new(limits);
    if let Err(error) = reading.zip(from) {
        reading.files.damaged = Some(error.to_string());
    }
    reading.finish()
}

struct Reading<'a> {
    files: Files,
    texts: Texts,
    limits: &'a Limits,
    entries: u64,
}

impl<'a> Reading<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self { files: Files::default(), texts: Texts::new(), limits, entries: 0 }
    }

    fn finish(mut self) -> (Files, Texts) {
        self.files.programs.sort_by(|a, b| a.path.cmp(&b.path));
        self.files.secrets.sort();
        (self.files, self.texts)
    }

    /// Whether there is room for one entry more.
    fn fits(&mut self) -> bool {
        self.entries += 1;
        let Limits { entries_max, bytes_max, .. } = *self.limits;
        if self.entries > entries_max {
            self.files.scan.stopped = Some(format!("there are more than {entries_max} entries"));
        } else if self.files.scan.bytes > bytes_max {
            self.files.scan.stopped = Some(format!("there is more than {} MiB", bytes_max >> 20));
        }
        self.files.scan.stopped.is_none()
    }

    fn tar(&mut self, from: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(plain(from)?.take(self.limits.bytes_max.saturating_mul(2)));
        for entry in archive.entries()? {
            let mut entry = entry?;
            if !self.fits() {
                return Ok(());
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            self.name(&path);
            match kind {
                EntryType::Regular | EntryType::Continuous => {
                    let executable = entry.header().mode()? & 0o111 != 0;
                    let size = entry.size();
                    self.file(&path, executable, size, &mut entry)?;
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
                    // Hard links are from the archive's root, others from beside.
                    let base = if kind == EntryType::Link { "" } else { path.as_str() };
                    self.link(&path, base, &target.unwrap_or_default());
                }
                EntryType::Directory | EntryType::XGlobalHeader => {}
                _ => self.unsafe_entry(&path, "it is a device or a pipe"),
            }
        }
        Ok(())
    }

    fn zip(&mut self, from: impl Read + Seek) -> io::Result<()> {
        let mut archive = zip::ZipArchive::new(from).map_err(io::Error::other)?;
        for index in 0..archive.len() {
            if !self.fits() {
                return Ok(());
            }
            let mut entry = archive.by_index(index).map_err(io::Error::other)?;
            let path = String::from_utf8_lossy(entry.name_raw()).into_owned();
            let mode = entry.unix_mode().unwrap_or(0o755);
            self.name(&path);
            if entry.is_symlink() {
                let mut target = String::new();
                (&mut entry).take(4_096).read_to_string(&mut target)?;
                self.link(&path, &path, &target);
            } else if entry.is_file() {
                let size = entry.size();
                self.file(&path, mode & 0o111 != 0, size, &mut entry)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, executable: bool, size: u64, from: &mut impl Read) -> io::Result<()> {
        let looked = look::at(path, executable, &mut *from, self.limits.file_bytes_max)?;
        let kept = looked.bytes.len() as u64;
        // To its end, so that a checksum is compared; not further than it says.
        let rest = io::copy(&mut from.take(self.limits.bytes_max), &mut io::sink())?;
        self.files.count += 1;
        self.files.scan.bytes += kept + rest;
        if kept + rest < size {
            return Err(io::Error::other(format!("{path} is cut short")));
        }
        self.files.programs.extend(looked.program);
        for what in looked.secrets {
            let what = what.to_owned();
            self.files.secrets.push(Secret { place: path.to_owned(), what, in_env: false, hidden: false });
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if matches!(name, "METADATA" | "WHEEL" | "PKG-INFO" | "entry_points.txt" | "RECORD") {
            self.texts.insert(path.to_owned(), String::from_utf8_lossy(&looked.bytes).into_owned());
        }
        Ok(())
    }

    fn name(&mut self, path: &str) {
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            self.unsafe_entry(path, "its path leads out of the archive");
        }
    }

    fn link(&mut self, path: &str, base: &str, target: &str) {
        let mut depth: i64 = base.split('/').filter(|part| !part.is_empty() && *part != ".").count() as i64 - 1;
        if base.is_empty() {
            depth = 0;
        }
        let leads_out = target.starts_with('/')
            || target.split('/').filter(|part| !part.is_empty() && *part != ".").any(|part| {
                depth += if part == ".." { -1 } else { 1 };
                depth < 0
            });
        if leads_out {
            self.unsafe_entry(path, "it links to somewhere outside");
        }
    }

    fn unsafe_entry(&mut self, path: &str, why: &str) {
        self.files.unsafe_entries.push((path.to_owned(), why.to_owned()));
    }
}
