//! Reading archives into a sink.

use super::error::{IngestError, IngestKind};
use super::limits::Limits;
use super::sink::{Sink, corrupt};
use deployctl_core::config::ArtifactFormat;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::{Archive, EntryType};

/// Unpacks the bytes at `blob` into the empty folder `into`. `name` is what a plain file is called there.
pub(super) fn unpack(
    blob: &Path,
    format: ArtifactFormat,
    name: &str,
    into: &Path,
    limits: &Limits,
) -> Result<(), IngestError> {
    let file = File::open(blob).map_err(|e| IngestError::store(blob, &e))?;
    let mut sink = Sink::new(into, limits);
    match format {
        ArtifactFormat::File => sink.file(name.as_bytes(), true, &mut &file)?,
        ArtifactFormat::Tar => tar(BufReader::new(file), &mut sink, limits)?,
        ArtifactFormat::TarGz => {
            begins_with(&file, &[0x1f, 0x8b], "gzip")?;
            tar(flate2::read::MultiGzDecoder::new(BufReader::new(file)), &mut sink, limits)?;
        }
        ArtifactFormat::TarZst => {
            begins_with(&file, &[0x28, 0xb5, 0x2f, 0xfd], "zstd")?;
            let decoder = zstd::stream::read::Decoder::new(file).map_err(|e| corrupt(Path::new(""), &e))?;
            tar(decoder, &mut sink, limits)?;
        }
        ArtifactFormat::Zip => {
            begins_with(&file, b"PK", "zip")?;
            zip(BufReader::new(file), &mut sink)?;
        }
        ArtifactFormat::ImageId | ArtifactFormat::ImageManifest | ArtifactFormat::Pulled => {
            let message = "this is a container image, and processes do not run in one";
            return Err(IngestError::new(IngestKind::Refused, message));
        }
    }
    sink.close()
}

fn begins_with(mut file: &File, magic: &[u8], what: &str) -> Result<(), IngestError> {
    let mut start = Vec::new();
    let read = file.take(magic.len() as u64).read_to_end(&mut start).and_then(|_| file.rewind());
    read.map_err(|e| corrupt(Path::new(""), &e))?;
    if start == magic {
        return Ok(());
    }
    Err(IngestError::new(IngestKind::Corrupt, format!("the file is not a {what} archive, as its name says")))
}

fn tar(reader: impl Read, sink: &mut Sink<'_>, limits: &Limits) -> Result<(), IngestError> {
    let mut archive = Archive::new(reader);
    let mut some = false;
    for entry in archive.entries().map_err(|e| corrupt(Path::new(""), &e))? {
        let mut entry = entry.map_err(|e| corrupt(Path::new(""), &e))?;
        some = true;
        let name = entry.path_bytes().into_owned();
        let damaged = |e: io::Error| corrupt(Path::new(std::ffi::OsStr::from_bytes(&name)), &e);
        let mode = entry.header().mode().map_err(damaged)?;
        let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => sink.file(&name, mode & 0o111 != 0, &mut entry)?,
            EntryType::Directory => sink.folder(&name)?,
            EntryType::Symlink => sink.link(&name, &link)?,
            EntryType::Link => sink.hard_link(&name, &link)?,
            EntryType::XGlobalHeader => {}
            EntryType::Char | EntryType::Block => return Err(sink.refuse(&name, "a device")),
            EntryType::Fifo => return Err(sink.refuse(&name, "a FIFO")),
            _ => return Err(sink.refuse(&name, "neither a file nor a folder nor a link")),
        }
    }
    if !some {
        return Err(IngestError::new(IngestKind::Corrupt, "the archive is empty"));
    }
    drain(archive.into_inner(), limits)
}

/// Reads to the end of what was compressed: only there its checksum stands.
fn drain(reader: impl Read, limits: &Limits) -> Result<(), IngestError> {
    let copied = io::copy(&mut reader.take(limits.unpacked_bytes_max), &mut io::sink());
    copied.map(drop).map_err(|e| corrupt(Path::new(""), &e))
}

fn zip(reader: impl Read + Seek, sink: &mut Sink<'_>) -> Result<(), IngestError> {
    let damaged = |e: zip::result::ZipError| {
        IngestError::new(IngestKind::Corrupt, format!("the archive is damaged, or of a kind not known: {e}"))
    };
    let mut archive = zip::ZipArchive::new(reader).map_err(damaged)?;
    if archive.is_empty() {
        return Err(IngestError::new(IngestKind::Corrupt, "the archive is empty"));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.name_raw().to_vec();
        let mode = entry.unix_mode().unwrap_or(0o755);
        match mode & 0o170_000 {
            _ if entry.is_dir() => sink.folder(&name)?,
            0o120_000 => {
                let mut target = Vec::new();
                let read = (&mut entry).take(4096).read_to_end(&mut target);
                read.map_err(|e| corrupt(Path::new(std::ffi::OsStr::from_bytes(&name)), &e))?;
                sink.link(&name, &target)?;
            }
            0 | 0o100_000 => sink.file(&name, mode & 0o111 != 0, &mut entry)?,
            _ => return Err(sink.refuse(&name, "neither a file nor a folder nor a link")),
        }
    }
    Ok(())
}
