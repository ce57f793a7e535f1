//! Reading the files of a specification.

use crate::code::Code;
use crate::diagnostic::Diagnostics;
use crate::manifests::{ManifestSource, Manifests};
use crate::source::Source;
use crate::spec::Spec;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The names that a specification's file may have.
pub const FILE_NAMES: &[&str] = &["deployctl.yaml", "deployctl.yml"];

impl Spec {
    /// Reads the specification of the project in `dir`, and lays `overlays` over it, the last one last.
    pub fn load(dir: &Path, overlays: &[PathBuf]) -> Result<Self, Diagnostics> {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let mut sources = vec![main_file(&dir)?];
        for overlay in overlays {
            sources.push(read(overlay, &overlay.display().to_string())?);
        }
        Self::parse(&dir, sources)?.read_manifests()
    }

    fn read_manifests(self) -> Result<Self, Diagnostics> {
        let mut manifests = Vec::new();
        for source in self.manifest_sources(None)? {
            if let ManifestSource::Directory(directory) = source {
                manifests.push(self::manifests(&self.dir, directory)?);
            }
        }
        self.with_manifests(manifests)
    }

    /// The same specification with the manifests that are in its directories now: one that was kept with a release has no values
    /// of Secrets. What is to be rendered is not.
    pub fn read_again(&self) -> Result<Self, Diagnostics> {
        let spec = Self::parse(&self.dir, self.sources().to_vec())?.for_version(self.version.clone());
        spec.read_manifests()
    }
}

/// No honest set of manifests has more files, or folders in folders.
const FILES_MAX: usize = 1_000;
const DEPTH_MAX: usize = 8;

/// All manifests in a directory and below, by their paths.
fn manifests(dir: &Path, directory: String) -> Result<Manifests, Diagnostics> {
    let mut paths = Vec::new();
    collect(dir, Path::new(&directory), 0, &mut paths)?;
    paths.sort();
    let files: Result<Vec<Source>, Diagnostics> = paths.iter().map(|path| read(path, &name_of(dir, path))).collect();
    Ok(Manifests { from: ManifestSource::Directory(directory), files: files? })
}

fn name_of(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

fn collect(dir: &Path, directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Diagnostics> {
    let name = name_of(dir, directory);
    let entries = std::fs::read_dir(directory).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|error| {
        let code = if error.kind() == ErrorKind::NotFound { Code::NotFound } else { Code::Unreadable };
        let help = "`manifests` names the directory, relative to the project; each environment needs its own";
        Diagnostics::one(code, format!("cannot read the manifests in `{name}`: {error}"), Some(help.into()))
    })?;
    for path in entries.into_iter().map(|entry| entry.path()) {
        let ends = |ends: &[&str]| path.extension().is_some_and(|end| ends.iter().any(|known| end == *known));
        if path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() && depth < DEPTH_MAX {
            collect(dir, &path, depth + 1, found)?;
        } else if ends(&["yaml", "yml", "json"]) {
            found.push(path);
        }
        if found.len() > FILES_MAX {
            let message = format!("`{name}` has more than {FILES_MAX} manifests");
            return Err(Diagnostics::one(Code::TooLarge, message, Some("is this the right directory?".into())));
        }
    }
    Ok(())
}

/// The nearest directory from `start` upwards that has a specification.
pub fn find_project(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    start.ancestors().find(|dir| FILE_NAMES.iter().any(|name| dir.join(name).is_file())).map(Path::to_path_buf)
}

fn main_file(dir: &Path) -> Result<Source, Diagnostics> {
    let found: Vec<&&str> = FILE_NAMES.iter().filter(|name| dir.join(name).exists()).collect();
    match found[..] {
        [] => {
            let message = format!("there is no `{}` in {}", FILE_NAMES[0], dir.display());
            let help = "`deployctl init` writes one; `--project DIR` names another directory";
            Err(Diagnostics::one(Code::NotFound, message, Some(help.into())))
        }
        [name] => read(&dir.join(name), name),
        _ => {
            let message = format!("both {} are in {}", FILE_NAMES.join(" and "), dir.display());
            Err(Diagnostics::one(Code::Contradiction, message, Some("remove one of them".into())))
        }
    }
}

fn read(path: &Path, name: &str) -> Result<Source, Diagnostics> {
    let mut bytes = Vec::new();
    let limit = crate::yaml::BYTES_MAX as u64 + 1;
    let file = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    if let Err(error) = file {
        let code = if error.kind() == ErrorKind::NotFound { Code::NotFound } else { Code::Unreadable };
        return Err(Diagnostics::one(code, format!("cannot read `{name}`: {error}"), None));
    }
    if bytes.len() as u64 == limit {
        let message = format!("`{name}` has more than {} bytes", crate::yaml::BYTES_MAX);
        return Err(Diagnostics::one(Code::TooLarge, message, Some("is this the right file?".into())));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name: name.into(), text }),
        Err(error) => {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            let message = format!("`{name}` is not text: line {line} is not UTF-8");
            Err(Diagnostics::one(Code::Unreadable, message, Some("is this the right file?".into())))
        }
    }
}
