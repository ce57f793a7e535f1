//! The example in containers, on an engine of its own.

use crate::dockerd::Dockerd;
use crate::stage::Stage;
use std::path::PathBuf;
use std::process::Command;

/// The example's versions.
pub(super) const VERSIONS: [&str; 3] = ["v1.0.0", "v1.1.0", "v1.2.0"];
/// Where the API listens in its container.
pub(super) const PORT: u16 = 8080;
const STORE_PORT: u16 = 7070;

/// An engine with an image `shop:VERSION` for each version, and the store that all of them use.
pub(super) struct Containers {
    pub(super) engine: Dockerd,
    /// Where the store is.
    pub(super) store: String,
}

impl Containers {
    /// Makes it from the archives of the stage's project, whose specification it replaces.
    pub(super) fn prepare(stage: &mut Stage) -> Result<Self, String> {
        let engine = Dockerd::start()?;
        for version in VERSIONS {
            make_image(&engine, stage, version)?;
        }
        let port = STORE_PORT.to_string();
        let store = ["/shop-db", "--host", "0.0.0.0", "--port", &port, "--data", "/"];
        let container = engine.docker(&[&["run", "-d", "--name", "store", "shop:v1.0.0"][..], &store].concat())?;
        let address = engine.docker(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", &container])?;
        let store = format!("{address}:{STORE_PORT}");
        stage.write("deployctl.yaml", &specification(&store))?;
        stage.set_var("DOCKER_HOST", engine.host());
        Ok(Self { engine, store })
    }
}

/// An image of the version's archive.
fn make_image(engine: &Dockerd, stage: &Stage, version: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let archive = stage.project().join(format!("dist/shop-{version}.tar.gz"));
    let mut unpack = Command::new("tar");
    let unpacked = unpack.arg("-xzf").arg(&archive).arg("-C").arg(folder.path()).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        return Err(format!("{} cannot be unpacked", archive.display()));
    }
    let files = ["shop-api", "shop-db", "release.conf"].map(|name| (folder.path().join(name), name));
    let files: Vec<(PathBuf, &str)> = files.into();
    let command = format!("[\"/shop-api\", \"--host\", \"0.0.0.0\", \"--port\", \"{PORT}\"]");
    engine.image(&format!("shop:{version}"), &files, &command)
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
