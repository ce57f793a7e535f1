//! The server in containers: its images, and what of it the engine has.

use crate::dockerd::Dockerd;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where it listens in its container.
pub(crate) const PORT: u16 = 8080;
/// Its images; the bad version ends at once.
pub(crate) const REPOSITORY: &str = "app";
/// Its images; the bad version never becomes healthy.
pub(crate) const SICK: &str = "sick";
const VERSIONS: [&str; 5] = ["v1", "v2", "v3", "next", "bad"];
const STATE: &str = "io.deployctl.state";

/// A container of a state.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// Of the instance or job.
    pub(crate) id: String,
    pub(crate) is_instance: bool,
    /// While it runs.
    pub(crate) pid: Option<u32>,
    /// By which the engine knows it.
    name: String,
}

/// An engine with all images of the server.
pub(crate) fn engine(app: &Path, scratch: &Path) -> Result<Dockerd, String> {
    let engine = Dockerd::start()?;
    for (repository, bad) in [(REPOSITORY, "exit"), (SICK, "sick")] {
        for version in VERSIONS {
            let folder = scratch.join("image");
            let file = |name: &str, text: &str| {
                let path = folder.join(name);
                let made = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text));
                made.map(|()| path.clone()).map_err(|e| format!("{}: {e}", path.display()))
            };
            let mut files: Vec<(PathBuf, &str)> = vec![(app.into(), "app"), (file("VERSION", version)?, "VERSION")];
            if version == "bad" {
                files.push((file("BAD", bad)?, "BAD"));
            }
            engine.image(&format!("{repository}:{version}"), &files, "[\"/app\"]")?;
        }
    }
    Ok(engine)
}

/// Every container of a state, also such as do not run.
pub(crate) fn of(engine: &Dockerd, state: &Path) -> Result<Vec<Container>, String> {
    let Ok(identity) = std::fs::read(state.join("docker/identity.json")) else { return Ok(Vec::new()) };
    let identity: Value = serde_json::from_slice(&identity).map_err(|e| format!("docker/identity.json: {e}"))?;
    let mark = identity["state"].as_str().unwrap_or_default();
    let filters = format!("%7B%22label%22%3A%5B%22{STATE}%3D{mark}%22%5D%7D");
    let all = engine.call("GET", &format!("/containers/json?all=1&filters={filters}"), &Value::Null)?;
    let mut containers = Vec::new();
    for one in all.as_array().into_iter().flatten() {
        let name = one["Id"].as_str().unwrap_or_default().to_owned();
        // It may be gone by now.
        let Ok(seen) = engine.call("GET", &format!("/containers/{name}/json"), &Value::Null) else { continue };
        let label = |key: &str| one["Labels"][key].as_str().unwrap_or_default().to_owned();
        containers.push(Container {
            id: label("io.deployctl.id"),
            is_instance: label("io.deployctl.kind") == "instance",
            pid: seen["State"]["Pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            name,
        });
    }
    Ok(containers)
}

/// Removes everything that a state has on the engine; its volumes too.
pub(crate) fn remove(engine: &Dockerd, state: &Path, project: &str) -> Result<(), String> {
    for one in of(engine, state)? {
        engine.call("DELETE", &format!("/containers/{}?force=1", one.name), &Value::Null)?;
    }
    for volume in engine.docker(&["volume", "ls", "-q", "-f", &format!("name={project}_")])?.lines() {
        engine.docker(&["volume", "rm", volume])?;
    }
    Ok(())
}
