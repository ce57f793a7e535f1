//! Getting an artifact's bytes, hashed on the way.

use super::error::{IngestError, IngestKind};
use super::limits::Limits;
use super::pack::pack;
use deployctl_core::config::{ArtifactFormat, ArtifactSource};
use deployctl_core::id::Sha256Hex;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// Bytes that were got.
pub(super) struct Got {
    pub(super) sha256: Sha256Hex,
    pub(super) format: ArtifactFormat,
    /// The last part of where they came from.
    pub(super) name: String,
}

/// Writes the bytes of `source` to the new file `to`, durably.
pub(super) fn get(source: &ArtifactSource, to: &Path, limits: &Limits) -> Result<Got, IngestError> {
    let file = File::create_new(to).map_err(|e| IngestError::store(to, &e))?;
    let mut sink = Hashing { to: BufWriter::with_capacity(256 * 1024, file), hash: Sha256::new(), bytes: 0 };
    let (name, format) = match source {
        ArtifactSource::Path(path) => local(Path::new(path), &mut sink, to, limits)?,
        ArtifactSource::Url(url) => {
            let name = name_of(url);
            download(url, &mut sink, to, limits)?;
            (name.clone(), format_of(&name))
        }
        ArtifactSource::Digests(_) => {
            let message = "images of a cluster are no files, and processes do not run in one";
            return Err(IngestError::new(IngestKind::Refused, message));
        }
        ArtifactSource::Image(image) | ArtifactSource::SignedImage { image, .. } => {
            let message = format!("{image} is a container image, and processes do not run in one");
            return Err(IngestError::new(IngestKind::Refused, message));
        }
    };
    let Hashing { to: writer, hash, .. } = sink;
    let stored = writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
    stored.map_err(|e| IngestError::store(to, &e))?;
    let sha256 = Sha256Hex::new(hex::encode(hash.finalize()));
    let sha256 = sha256.map_err(|e| IngestError::new(IngestKind::Store, e.to_string()))?;
    Ok(Got { sha256, format, name })
}

/// How bytes of this name are to be read.
pub(super) fn format_of(name: &str) -> ArtifactFormat {
    let name = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    match () {
        () if ends(&[".tar.gz", ".tgz"]) => ArtifactFormat::TarGz,
        () if ends(&[".tar.zst", ".tzst", ".tar.zstd"]) => ArtifactFormat::TarZst,
        () if ends(&[".tar"]) => ArtifactFormat::Tar,
        () if ends(&[".zip"]) => ArtifactFormat::Zip,
        () => ArtifactFormat::File,
    }
}

fn local(path: &Path, sink: &mut Hashing, to: &Path, limits: &Limits) -> Result<(String, ArtifactFormat), IngestError> {
    let missing = |e: &io::Error| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            IngestError::new(IngestKind::NotFound, format!("there is no artifact at {}", path.display()))
                .hint("build it there first, or check the version and `artifact:` in deployctl.yaml")
        }
        _ => IngestError::new(IngestKind::Unreadable, format!("{} cannot be read: {e}", path.display())),
    };
    let metadata = fs::metadata(path).map_err(|e| missing(&e))?;
    let name = path.file_name().map_or_else(|| "artifact".into(), |name| name.to_string_lossy().into_owned());
    if metadata.is_dir() {
        pack(path, &mut *sink, limits)?;
        return Ok((name, ArtifactFormat::Tar));
    }
    if !metadata.is_file() {
        let message = format!("{} is neither a file nor a folder", path.display());
        return Err(IngestError::new(IngestKind::Refused, message));
    }
    let file = File::open(path).map_err(|e| missing(&e))?;
    copy(file, sink, to, limits, |e| missing(&e))?;
    let format = format_of(&name);
    Ok((name, format))
}

fn download(url: &str, sink: &mut Hashing, to: &Path, limits: &Limits) -> Result<(), IngestError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limits.download_max))
        .timeout_connect(Some(limits.answer_max))
        .timeout_recv_response(Some(limits.answer_max))
        .http_status_as_error(false)
        .user_agent("deployctl")
        .build()
        .into();
    let shown = without_password(url);
    let unreachable = |e: &dyn std::fmt::Display| {
        IngestError::new(IngestKind::Unreachable, format!("{shown} cannot be fetched: {e}"))
            .hint("check the address and the network, then try again; nothing was changed")
    };
    let mut response = match agent.get(url).call() {
        Ok(response) => response,
        Err(ureq::Error::BadUri(why)) => {
            return Err(IngestError::new(IngestKind::NotFound, format!("{shown} is not an address: {why}")));
        }
        Err(error) => return Err(unreachable(&error)),
    };
    let status = response.status();
    match status.as_u16() {
        200 => {}
        404 | 410 => {
            let message = format!("there is no artifact at {shown} ({status})");
            return Err(IngestError::new(IngestKind::NotFound, message)
                .hint("publish it there first, or check the version and `artifact:` in deployctl.yaml"));
        }
        401 | 403 | 407 => {
            return Err(IngestError::new(IngestKind::Unreadable, format!("{shown} may not be read ({status})")));
        }
        _ => return Err(unreachable(&format!("the server answered {status}"))),
    }
    let body = response.body_mut().with_config().limit(u64::MAX).reader();
    copy(body, sink, to, limits, |e| unreachable(&e))
}

fn copy(
    mut from: impl Read,
    sink: &mut Hashing,
    to: &Path,
    limits: &Limits,
    unreadable: impl Fn(io::Error) -> IngestError,
) -> Result<(), IngestError> {
    let mut buffer = vec![0_u8; 256 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        sink.write_all(&buffer[..count]).map_err(|e| IngestError::store(to, &e))?;
        if sink.bytes > limits.packed_bytes_max {
            let message = format!("the artifact has more than {} bytes", limits.packed_bytes_max);
            return Err(IngestError::new(IngestKind::Refused, message));
        }
    }
}

fn name_of(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() || name == "." || name == ".." { "artifact".into() } else { name.into() }
}

/// An address may hold a password, which nobody should read in an error.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.into(),
    }
}

struct Hashing {
    to: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_names() {
        assert_eq!(format_of("shop-v1.0.0.tar.gz"), ArtifactFormat::TarGz);
        assert_eq!(format_of("shop.TGZ"), ArtifactFormat::TarGz);
        assert_eq!(format_of("shop.tar.zst"), ArtifactFormat::TarZst);
        assert_eq!(format_of("shop.zip"), ArtifactFormat::Zip);
        assert_eq!(format_of("shop-v1.0.0"), ArtifactFormat::File);
        assert_eq!(name_of("https://a/b/shop.zip?x=1/2"), "shop.zip");
        assert_eq!(name_of("https://a/b/.."), "artifact");
        assert_eq!(without_password("https://u:p@h/x@y"), "https://h/x@y");
        assert_eq!(without_password("https://h/x@y"), "https://h/x@y");
    }
}
