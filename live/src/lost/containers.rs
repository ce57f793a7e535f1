//! The example in containers, on an engine of its own.

use crate::dockerd::Dockerd;
use crate::stage::Stage;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The example's versions.
pub(super) const VERSIONS: [&str; 3] = ["v1.0.0", "v1.1.0", "v1.2.0"];
/// Where the API listens in its container.
pub(super) const PORT: u16 = 8080;
const STORE_PORT: u16 = 7070;

/// An engine with an image `shop:VERSION` for each version, and the store that all of them use, a process of this machine.
pub(super) struct Containers {
    pub(super) engine: Dockerd,
    /// Where the store is.
    pub(super) store: String,
    process: Child,
    _folder: TempDir,
}

impl Containers {
    /// Makes it from the archives of the stage's project, whose specification it replaces.
    pub(super) fn prepare(stage: &mut Stage) -> Result<Self, String> {
        let engine = Dockerd::start()?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        for version in VERSIONS {
            let files = unpack(stage, version, &folder.path().join(version))?;
            let command = format!("[\"/shop-api\", \"--host\", \"0.0.0.0\", \"--port\", \"{PORT}\"]");
            engine.image(&format!("shop:{version}"), &files, &command)?;
        }
        let mut store = Command::new(folder.path().join(VERSIONS[0]).join("shop-db"));
        store.args(["--host", &engine.gateway(), "--port", &STORE_PORT.to_string()]);
        store.arg("--data").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let process = store.spawn().map_err(|e| format!("the store cannot be started: {e}"))?;
        let store = format!("{}:{STORE_PORT}", engine.gateway());
        stage.write("deployctl.yaml", &specification(&store))?;
        stage.set_var("DOCKER_HOST", engine.host());
        Ok(Self { engine, store, process, _folder: folder })
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        crate::stage::kill(self.process.id());
        let _ = self.process.wait();
    }
}

/// The files of a version's archive, and where they are in its image.
fn unpack(stage: &Stage, version: &str, to: &Path) -> Result<Vec<(PathBuf, &'static str)>, String> {
    let archive = stage.project().join(format!("dist/shop-{version}.tar.gz"));
    std::fs::create_dir_all(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(to).status();
    match unpacked.is_ok_and(|status| status.success()) {
        true => Ok(["shop-api", "release.conf"].map(|name| (to.join(name), name)).into()),
        false => Err(format!("{} cannot be unpacked", archive.display())),
    }
}

fn specification(store: &str) -> String {
    format!(
        "project: shop
environments: {{ dev: {{}} }}
apps:
  api:
    target: docker
    image: \"shop:{{{{ version }}}}\"
    port: {PORT}
    env: {{ DB: \"{store}\" }}
    instances: 2
    route: {{ host: shop.localhost }}
    health: {{ http: /healthz, within: 3s, interval: 100ms }}
    drain: 10s
"
    )
}
