//! The example in containers, on an engine of its own.

use crate::On;
use crate::dockerd::{self, Dockerd};
use crate::stage::{Stage, get};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The example's versions.
const VERSIONS: [&str; 3] = ["v1.0.0", "v1.1.0", "v1.2.0"];
/// Those that become healthy.
pub(crate) const GOOD: [&str; 2] = ["v1.0.0", "v1.1.0"];
/// Where the API listens in its container.
pub(crate) const PORT: u16 = 8080;
const STORE_PORT: u16 = 7070;
/// A container is healthy by then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An engine with an image `shop:VERSION` for each version, and the store that all of them use, a process of this machine.
pub(crate) struct Containers {
    pub(crate) engine: Dockerd,
    /// Where the store is.
    pub(crate) store: String,
    process: Child,
    _folder: TempDir,
}

impl Containers {
    /// Makes it from the archives of the example.
    pub(crate) fn start(example: &Path) -> Result<Self, String> {
        let engine = Dockerd::start()?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        for version in VERSIONS {
            let files = unpack(example, version, &folder.path().join(version))?;
            let command = format!("[\"/shop-api\", \"--host\", \"0.0.0.0\", \"--port\", \"{PORT}\"]");
            engine.image(&format!("shop:{version}"), &files, &command)?;
        }
        let mut store = Command::new(folder.path().join(VERSIONS[0]).join("shop-db"));
        store.args(["--host", &engine.gateway(), "--port", &STORE_PORT.to_string()]);
        store.arg("--data").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let process = store.spawn().map_err(|e| format!("the store cannot be started: {e}"))?;
        let store = format!("{}:{STORE_PORT}", engine.gateway());
        Ok(Self { engine, store, process, _folder: folder })
    }

    /// Has the app `api` of a stage run here: as a container, or as the service `web` of a Compose file, whose published
    /// port is the variable `PORT`, to be set for each environment.
    pub(crate) fn host(&self, stage: &mut Stage, on: On) -> Result<(), String> {
        stage.set_var("DOCKER_HOST", self.engine.host());
        let app = match on {
            On::Compose => {
                let plugin = plugin()?;
                stage.set_var("DOCKER_CONFIG", plugin.display().to_string());
                stage.write("compose.yaml", &compose_file())?;
                format!(
                    "    target: compose\n    project_name: \"shop-{{{{ environment }}}}\"\n    \
                     env: {{ VERSION: \"{{{{ version }}}}\", DB: \"{}\", PORT: \"0\" }}\n    \
                     services: {{ web: {{ health: {{ http: /healthz, interval: 100ms }} }} }}\n",
                    self.store
                )
            }
            _ => format!(
                "    target: docker\n    image: \"shop:{{{{ version }}}}\"\n    port: {PORT}\n    \
                 env: {{ DB: \"{}\" }}\n    instances: 2\n    route: {{ host: shop.localhost }}\n    \
                 health: {{ http: /healthz, interval: 100ms }}\n    drain: 10s\n",
                self.store
            ),
        };
        stage.write("deployctl.yaml", &format!("project: shop\nenvironments: {{ dev: {{}} }}\napps:\n  api:\n{app}"))
    }
}

/// Asks for the health of who listens there until it is well.
pub(crate) fn answers(address: &str) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match get(address, "shop.localhost", "/healthz") {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Where Docker Compose is.
pub(crate) fn plugin() -> Result<PathBuf, String> {
    dockerd::compose().ok_or_else(|| "Docker Compose is not there; `cargo xtask compose` builds it".into())
}

fn compose_file() -> String {
    format!(
        "services:
  web:
    image: \"shop:${{VERSION}}\"
    ports: [\"127.0.0.1:${{PORT}}:{PORT}\"]
    environment: {{ DB: \"${{DB}}\" }}
    deploy: {{ replicas: 2 }}
    stop_grace_period: 10s
"
    )
}

impl Drop for Containers {
    fn drop(&mut self) {
        crate::stage::kill(self.process.id());
        let _ = self.process.wait();
    }
}

/// The files of a version's archive, and where they are in its image.
fn unpack(example: &Path, version: &str, to: &Path) -> Result<Vec<(PathBuf, &'static str)>, String> {
    let archive = example.join(format!("dist/shop-{version}.tar.gz"));
    std::fs::create_dir_all(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(to).status();
    match unpacked.is_ok_and(|status| status.success()) {
        true => Ok(["shop-api", "release.conf"].map(|name| (to.join(name), name)).into()),
        false => Err(format!("{} cannot be unpacked", archive.display())),
    }
}
