//! The repository as the rules see it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Files and packages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// The text of every file that is in Git or could be, by its path from the root; files that are not text are left out.
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// From the root, such as `crates/core`.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// What a package depends on.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only for its tests.
    pub(crate) dev: bool,
}

/// What is compiled as one.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `lib`, `bin`, `test`, ...
    pub(crate) kind: String,
    /// Its first file, from the root.
    pub(crate) source: String,
}

impl Tree {
    /// Reads the repository at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let list = output(Command::new("git").current_dir(root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files = BTreeMap::new();
        for name in list.split('\0').filter(|name| !name.is_empty()) {
            // A file that was deleted but not yet in Git is none, nor is one that is not text.
            if let Ok(text) = std::fs::read_to_string(root.join(name)) {
                files.insert(name.to_owned(), text);
            }
        }
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let metadata = output(Command::new(cargo).current_dir(root).args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ]))?;
        let metadata: Value = serde_json::from_str(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
        let packages = array(&metadata["packages"]).map(|package| read_package(root, package)).collect();
        Ok(Self { files, packages })
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().filter(|(name, _)| name.ends_with(".rs"));
        files.map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

fn read_package(root: &Path, package: &Value) -> Package {
    let local = |path: &Value| {
        let path = Path::new(path.as_str().unwrap_or_default());
        path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
    };
    let manifest = local(&package["manifest_path"]);
    Package {
        name: text(&package["name"]),
        folder: manifest.strip_suffix("/Cargo.toml").unwrap_or(&manifest).to_owned(),
        dependencies: array(&package["dependencies"])
            .map(|d| Dependency { name: text(&d["name"]), dev: d["kind"] == "dev" })
            .collect(),
        targets: array(&package["targets"])
            .map(|t| Target { kind: text(&t["kind"][0]), source: local(&t["src_path"]) })
            .collect(),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program} cannot be run: {e}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("{program}: {e}"))
}
