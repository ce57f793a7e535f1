//! One file, looked at.

use super::binary::start_of;
use super::secrets;
use crate::subject::{Entry, Start};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What is enough to see how a file is started.
const START_BYTES: u64 = 64 << 10;

/// What one file is.
pub(super) struct Looked {
    /// The program, if it may be one.
    pub(super) program: Option<Entry>,
    /// What looks secret in it.
    pub(super) secrets: Vec<&'static str>,
    /// The bytes that were looked at.
    pub(super) bytes: Vec<u8>,
}

/// Looks at the first `bytes_max` of a file; reads no more.
pub(super) fn at(path: &str, executable: bool, from: impl Read, bytes_max: u64) -> io::Result<Looked> {
    let mut bytes = Vec::new();
    from.take(bytes_max).read_to_end(&mut bytes)?;
    let start = start_of(&bytes);
    let program = executable || matches!(start, Start::Binary(_));
    let program = program.then(|| Entry { path: path.to_owned(), executable, start });
    Ok(Looked { program, secrets: secrets::in_file(path, &bytes), bytes })
}

/// A file of its own; it becomes executable when it is taken in.
pub(super) fn program(name: &str, path: &Path, metadata: &Metadata) -> io::Result<Entry> {
    let mut bytes = Vec::new();
    File::open(path)?.take(START_BYTES).read_to_end(&mut bytes)?;
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(Entry { path: name.to_owned(), executable, start: start_of(&bytes) })
}
