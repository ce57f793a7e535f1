//! What a directory has, as far as it matters for a start.

use super::cluster::FOLDERS;
use super::found::COMPOSE;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A directory: its name, and the texts of the files that are looked at, by their relative paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The directory's own name.
    pub name: String,
    /// Path and text of each file; other files have no place here.
    pub files: BTreeMap<String, String>,
}

/// The files that say something.
const TELLING: &[&str] = &[
    "Cargo.toml",
    "package.json",
    "pyproject.toml",
    "requirements.txt",
    "setup.py",
    "manage.py",
    "app.py",
    "main.py",
    "Dockerfile",
    "Containerfile",
    "Procfile",
    "Chart.yaml",
    "kustomization.yaml",
    "chart/Chart.yaml",
    "helm/Chart.yaml",
];
/// Directories whose YAML files may be manifests, an overlay or a chart are so many deep.
const DEPTH: usize = 3;
const BYTES_MAX: u64 = 256 * 1024;
const FILES_MAX: usize = 200;

impl Listing {
    /// Looks at the directory `dir`; what cannot be read is as if it were not there.
    pub fn read(dir: &Path) -> Self {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut files = BTreeMap::new();
        for path in TELLING.iter().chain(COMPOSE) {
            if let Some(text) = text(&dir.join(path)) {
                files.insert((*path).to_string(), text);
            }
        }
        for folder in FOLDERS.iter().chain(&["charts"]) {
            walk(dir.join(folder), folder, DEPTH, &mut files);
        }
        Self { name, files }
    }
}

/// Takes in the YAML files of a directory and below. Links are not followed.
fn walk(dir: PathBuf, name: &str, depth: usize, files: &mut BTreeMap<String, String>) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().take(FILES_MAX);
    for entry in entries {
        let Ok(file) = entry.file_name().into_string() else { continue };
        let (path, at) = (format!("{name}/{file}"), entry.path());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 1 && !file.starts_with('.') {
            walk(at, &path, depth - 1, files);
        } else if !is_folder && files.len() < FILES_MAX && (file.ends_with(".yaml") || file.ends_with(".yml")) {
            files.entry(path).or_insert_with(|| text(&at).unwrap_or_default());
        }
    }
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    if !path.is_file() {
        return None;
    }
    std::fs::File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
