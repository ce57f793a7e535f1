//! The server in containers: its images, and what of it the engine has.

use crate::dockerd::Dockerd;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where it listens in its container.
pub(crate) const PORT: u16 = 8080;
/// Its images; the bad version ends at once.
pub(crate) const REPOSITORY: &str = "app";
/// Its images; the bad version never becomes healthy.
pub(crate) const SICK: &str = "sick";
pub(crate) const VERSIONS: [&str; 5] = ["v1", "v2", "v3", "next", "bad"];
const STATE: &str = "io.deployctl.state";
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";

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
            let files = files(app, scratch, version, bad)?;
            engine.image(&format!("{repository}:{version}"), &files, "[\"/app\"]")?;
        }
    }
    Ok(engine)
}

/// What the image of a version is made of, until the next one is asked for; `bad` is what is bad about the bad one.
pub(crate) fn files(
    app: &Path,
    scratch: &Path,
    version: &str,
    bad: &str,
) -> Result<Vec<(PathBuf, &'static str)>, String> {
    let folder = scratch.join("image");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        let made = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text));
        made.map(|()| path.clone()).map_err(|e| format!("{}: {e}", path.display()))
    };
    let mut files = vec![(app.to_owned(), "app"), (file("VERSION", version)?, "VERSION")];
    if version == "bad" {
        files.push((file("BAD", bad)?, "BAD"));
    }
    Ok(files)
}

/// Every container of a state, also such as do not run; those included that Compose made and that were taken over.
pub(crate) fn of(engine: &Dockerd, state: &Path) -> Result<Vec<Container>, String> {
    let Ok(identity) = std::fs::read(state.join("docker/identity.json")) else { return Ok(Vec::new()) };
    let identity: Value = serde_json::from_slice(&identity).map_err(|e| format!("docker/identity.json: {e}"))?;
    let mut containers = Vec::new();
    for one in labelled(engine, STATE, identity["state"].as_str().unwrap_or_default(), true)? {
        let label = |key: &str| one["Labels"][key].as_str().unwrap_or_default().to_owned();
        let is_instance = label("io.deployctl.kind") == "instance";
        containers.extend(inspected(
            engine,
            one["Id"].as_str().unwrap_or_default(),
            label("io.deployctl.id"),
            is_instance,
        ));
    }
    for (id, container) in adopted(state) {
        containers.extend(inspected(engine, &container, id, true));
    }
    Ok(containers)
}

/// The containers with a label.
fn labelled(engine: &Dockerd, label: &str, value: &str, all: bool) -> Result<Vec<Value>, String> {
    let filters = format!("%7B%22label%22%3A%5B%22{label}%3D{value}%22%5D%7D");
    let found = engine.call("GET", &format!("/containers/json?all={all}&filters={filters}"), &Value::Null)?;
    Ok(found.as_array().cloned().unwrap_or_default())
}

/// A container by the engine's name for it; none if it is gone by now.
fn inspected(engine: &Dockerd, name: &str, id: String, is_instance: bool) -> Option<Container> {
    let seen = engine.call("GET", &format!("/containers/{name}/json"), &Value::Null).ok()?;
    let pid = seen["State"]["Pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    Some(Container { id, is_instance, pid, name: name.to_owned() })
}

/// What was taken over of Compose's: the ids of instances, and their containers.
fn adopted(state: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(state.join("docker/adopted")).into_iter().flatten().flatten();
    let read = |entry: std::fs::DirEntry| -> Option<(String, String)> {
        let known: Value = serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?;
        Some((known["id"].as_str()?.to_owned(), known["container"].as_str()?.to_owned()))
    };
    entries.filter_map(read).collect()
}

/// The services of which something runs that Compose itself made in this project, and that was not taken over.
pub(crate) fn of_compose(engine: &Dockerd, state: &Path, project: &str) -> Result<Vec<String>, String> {
    let adopted = adopted(state);
    let mut all = labelled(engine, PROJECT, project, false)?;
    all.retain(|one| one["Labels"][STATE].is_null() && !adopted.iter().any(|(_, known)| one["Id"] == known.as_str()));
    Ok(all.iter().filter_map(|one| one["Labels"][SERVICE].as_str().map(str::to_owned)).collect())
}

/// Removes everything that a state and a Compose project have on the engine; their volumes and networks too.
pub(crate) fn remove(engine: &Dockerd, state: &Path, project: &str) -> Result<(), String> {
    let made = labelled(engine, PROJECT, project, true)?;
    let made = made.iter().filter_map(|one| one["Id"].as_str().map(str::to_owned));
    let all: BTreeSet<String> = of(engine, state)?.into_iter().map(|one| one.name).chain(made).collect();
    for one in all {
        engine.call("DELETE", &format!("/containers/{one}?force=1"), &Value::Null)?;
    }
    for what in ["volume", "network"] {
        for one in engine.docker(&[what, "ls", "-q", "-f", &format!("name={project}_")])?.lines() {
            engine.docker(&[what, "rm", one])?;
        }
    }
    Ok(())
}
