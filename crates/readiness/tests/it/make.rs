//! Archives and images for tests.

use deployctl_oci::Platform;
use deployctl_readiness::inspect::{self, Limits};
use deployctl_readiness::{Finding, Report, Target, judge};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Where the other machines are.
pub(crate) fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// The beginning of an ELF program for a machine (62 is amd64, 183 arm64), with or without a loader.
pub(crate) fn elf(machine: u16, loader: Option<&str>) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(64_u64.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, u16::from(loader.is_some()), 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    if let Some(loader) = loader {
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        let length = loader.len() as u64 + 1;
        for word in [120_u64, 0, 0, length, length, 1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(loader.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// A tar archive, entry by entry.
pub(crate) struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub(crate) fn file(mut self, path: &str, mode: u32, bytes: &[u8]) -> Self {
        self.entry(path, mode, EntryType::Regular, "", bytes);
        self
    }

    pub(crate) fn link(mut self, path: &str, to: &str) -> Self {
        self.entry(path, 0o777, EntryType::Symlink, to, b"");
        self
    }

    pub(crate) fn device(mut self, path: &str) -> Self {
        self.entry(path, 0o666, EntryType::Char, "", b"");
        self
    }

    /// The name is written as it is: `..` and all.
    fn entry(&mut self, path: &str, mode: u32, kind: EntryType, link: &str, bytes: &[u8]) {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_entry_type(kind);
        if !link.is_empty() {
            header.set_link_name_literal(link).unwrap();
        }
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// What `docker save` writes for an image with this configuration and these layers.
pub(crate) fn saved(config: &Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["shop:v1"], "Layers": names }]);
    let mut tar = Tar::new().file("config.json", 0o644, config.to_string().as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        tar = tar.file(name, 0o644, layer);
    }
    tar.file("manifest.json", 0o644, manifest.to_string().as_bytes()).bytes()
}

/// A configuration for amd64; `more` is its `config`.
pub(crate) fn config(more: &Value) -> Value {
    json!({ "os": "linux", "architecture": "amd64", "config": more })
}

/// A folder for the files of one test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// What the rules say of a file, for all targets on amd64.
pub(crate) fn report(path: &Path) -> Report {
    judge(inspect::path(path, &amd64(), &Limits::default()).unwrap(), &amd64(), Target::ALL)
}

/// The same of an image in an archive.
pub(crate) fn image(config: &Value, layers: &[Vec<u8>]) -> Report {
    let folder = Folder::new();
    report(&folder.write("image.tar", &saved(config, layers)))
}

/// Findings about a target, as `code: message`, with `!` in front of those that block.
pub(crate) fn about(report: &Report, target: Target) -> Vec<String> {
    let shown = |one: &Finding| format!("{}{}: {}", if one.blocks { "!" } else { "" }, one.code.word(), one.message);
    report.findings.iter().filter(|one| one.targets.contains(&target)).map(shown).collect()
}

/// Which targets can run it.
pub(crate) fn can_run(report: &Report) -> BTreeMap<&'static str, bool> {
    report.verdicts.iter().map(|verdict| (verdict.target.word(), verdict.can_run)).collect()
}
