//! Images for the node, of files of this machine.

use super::{Cluster, printed};
use crate::registry::digest_of;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

impl Cluster {
    /// Makes the image `name` (with host and tag) of these files (from, to), with the libraries that they need, and gives it to the
    /// node. Pods must not say `imagePullPolicy: Always`.
    pub fn image(&self, name: &str, files: &[(PathBuf, &str)], command: &[&str]) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let image = folder.path().join("image");
        std::fs::create_dir(&image).map_err(|e| e.to_string())?;
        let layer = crate::dockerd::archive(files)?;
        std::fs::write(image.join("layer.tar"), &layer).map_err(|e| e.to_string())?;
        let put = |file: &str, value: &Value| super::write(&image.join(file), &value.to_string());
        put(
            "config.json",
            &json!({
                "os": "linux", "architecture": architecture(), "config": { "Entrypoint": command, "Env": [format!("PATH={}", super::programs::PATH)] },
                "rootfs": { "type": "layers", "diff_ids": [digest_of(&layer)] },
            }),
        )?;
        put("manifest.json", &json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]))?;
        let whole = folder.path().join("image.tar");
        archive(&image, &whole)?;
        let mut import = Command::new("ctr");
        import.arg("-a").arg(self.folder.join("containerd.sock")).args(["-n", "k8s.io", "images", "import"]);
        printed(import.arg(&whole).env("PATH", super::programs::PATH).output(), "ctr images import").map(drop)
    }
}

impl Cluster {
    /// Lets the node ask a registry (`HOST:PORT`) without TLS. Also one that is no registry at all.
    pub fn trust(&self, registry: &str) -> Result<(), String> {
        let folder = self.folder.join("registries").join(registry);
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let server = format!("http://{registry}");
        let text = format!("server = {server:?}\n[host.{server:?}]\ncapabilities = [\"pull\", \"resolve\"]\n");
        super::write(&folder.join("hosts.toml"), &text)
    }
}

fn archive(folder: &Path, into: &Path) -> Result<(), String> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--file"]).arg(into).arg("-C").arg(folder).arg(".");
    printed(tar.output(), "tar").map(drop)
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
