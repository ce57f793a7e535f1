//! What a directory has, as far as it matters for a start.

use super::found::COMPOSE;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

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
    "deploy/kustomization.yaml",
    "k8s/kustomization.yaml",
];
/// Directories whose YAML files may be manifests.
const MANIFESTS: &[&str] = &["k8s", "kubernetes", "manifests", "deploy"];
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
        for folder in MANIFESTS {
            let entries = std::fs::read_dir(dir.join(folder)).into_iter().flatten().flatten().take(FILES_MAX);
            for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
                if name.ends_with(".yaml") || name.ends_with(".yml") {
                    files.entry(format!("{folder}/{name}")).or_default();
                }
            }
        }
        Self { name, files }
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
