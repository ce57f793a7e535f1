//! Images for the node, of files of this machine.

use super::{Cluster, printed};
use crate::registry::{Image, digest_of};
use serde_json::{Value, json};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

impl Cluster {
    /// Makes the image `name` (with host and tag) of these files (from, to), with the libraries that they need, and gives it to the
    /// node. Pods must not say `imagePullPolicy: Always`.
    pub fn image(&self, name: &str, files: &[(PathBuf, &str)], command: &[&str]) -> Result<(), String> {
        self.image_of(name, files, command, "")
    }

    /// The same for a user that its containers are, unless they say otherwise.
    pub fn image_of(&self, name: &str, files: &[(PathBuf, &str)], command: &[&str], user: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let image = folder.path().join("image");
        std::fs::create_dir(&image).map_err(|e| e.to_string())?;
        let layer = crate::dockerd::archive(files)?;
        std::fs::write(image.join("layer.tar"), &layer).map_err(|e| e.to_string())?;
        let put = |file: &str, value: &Value| super::write(&image.join(file), &value.to_string());
        put(
            "config.json",
            &json!({
                "os": "linux", "architecture": architecture(), "config": { "User": user, "Entrypoint": command, "Env": [format!("PATH={}", super::programs::PATH)] },
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
        self.ask_at(registry, &format!("http://{registry}"))
    }

    /// Lets the node get images of a registry on this machine's loopback, under the name that it has here. The way to it is
    /// there until this program ends.
    pub fn mirror(&self, registry: &str) -> Result<(), String> {
        let way = TcpListener::bind((self.gateway(), 0)).map_err(|e| format!("{}: {e}", self.gateway()))?;
        let at = way.local_addr().map_err(|e| e.to_string())?;
        let to = registry.to_owned();
        std::thread::spawn(move || way.incoming().flatten().for_each(|from| pass(from, &to)));
        self.ask_at(registry, &format!("http://{at}"))
    }

    fn ask_at(&self, registry: &str, server: &str) -> Result<(), String> {
        let folder = self.folder.join("registries").join(registry);
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let text = format!("server = {server:?}\n[host.{server:?}]\ncapabilities = [\"pull\", \"resolve\"]\n");
        super::write(&folder.join("hosts.toml"), &text)
    }
}

/// An image of these files, as [`Cluster::image`] makes it, for a registry.
pub fn packed(files: &[(PathBuf, &str)], command: &[&str]) -> Result<Image, String> {
    let config = json!({ "Entrypoint": command, "Env": [format!("PATH={}", super::programs::PATH)] });
    Ok(Image::new(&format!("linux/{}", architecture()), &config, vec![crate::dockerd::archive(files)?]))
}

/// Passes a connection on, in both directions, until both have ended.
fn pass(from: TcpStream, to: &str) {
    let Ok(to) = TcpStream::connect(to) else { return };
    let (Ok(from_again), Ok(to_again)) = (from.try_clone(), to.try_clone()) else { return };
    for (mut from, mut to) in [(from, to), (to_again, from_again)] {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
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
