//! Volumes, configs and secrets: what is mounted.

use crate::reader::At;
use deployctl_core::config::{ComposeVolume, SecretRef, Volume};
use std::collections::BTreeMap;

/// Where secrets are in a container.
const SECRETS: &str = "/run/secrets/";

/// The volumes of the project, by the name that the file has for them.
pub(crate) fn volumes(top: &At<'_>) -> BTreeMap<String, ComposeVolume> {
    let Some(all) = top.get("volumes") else { return BTreeMap::new() };
    all.entries().into_iter().map(|(key, at)| (key.clone(), volume(key, &at))).collect()
}

fn volume(key: String, at: &At<'_>) -> ComposeVolume {
    let mut volume = ComposeVolume { key, ..ComposeVolume::default() };
    for (key, value) in at.entries() {
        match key.as_str() {
            "name" => volume.name = value.text(),
            "external" => volume.external = value.flag(),
            "driver" => volume.driver = Some(value.text()),
            "driver_opts" => volume.driver_opts = value.text_map(),
            "labels" => volume.labels = value.text_map(),
            key if key.starts_with("x-") => {}
            _ => value.not_built("make the volume by hand and say `external: true`"),
        }
    }
    volume
}

/// What a service mounts.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub(crate) volumes: Vec<Volume>,
    pub(crate) named: Vec<ComposeVolume>,
    pub(crate) tmpfs: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, SecretRef>,
    pub(crate) files: BTreeMap<String, SecretRef>,
}

pub(crate) fn of_service(service: &At<'_>, top: &At<'_>, named: &BTreeMap<String, ComposeVolume>) -> Mounts {
    let mut mounts = Mounts::default();
    for at in service.get("volumes").map(|at| at.items()).unwrap_or_default() {
        mount(&at, named, &mut mounts);
    }
    for text in service.get("tmpfs").map(|at| at.texts()).unwrap_or_default() {
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
        mounts.tmpfs.insert(path.to_owned(), options.to_owned());
    }
    for at in service.get("configs").map(|at| at.items()).unwrap_or_default() {
        config(&at, top, &mut mounts);
    }
    for at in service.get("secrets").map(|at| at.items()).unwrap_or_default() {
        secret(&at, top, &mut mounts);
    }
    mounts
}

fn mount(at: &At<'_>, named: &BTreeMap<String, ComposeVolume>, mounts: &mut Mounts) {
    let said = |key: &str| at.get(key).map(|at| at.text()).unwrap_or_default();
    let (source, target) = (said("source"), said("target"));
    let read_only = at.get("read_only").is_some_and(|at| at.flag());
    for (key, value) in at.entries() {
        match key.as_str() {
            "type" | "source" | "target" | "read_only" => {}
            // Which folders are made, and how they are labelled, is for systems that need it.
            "bind" => only(&value, &["create_host_path"]),
            "volume" => only(&value, &[]),
            "tmpfs" => only(&value, &["size", "mode"]),
            "consistency" => {}
            key if key.starts_with("x-") => {}
            _ => value.not_built("take it out"),
        }
    }
    match said("type").as_str() {
        "volume" if source.is_empty() => at.bad(
            format!("`{}` is a volume without a name: what is in it would go with its container", at.name()),
            format!("name it: `data:{target}`, and `data:` under `volumes`"),
        ),
        "volume" => {
            let Some(volume) = named.get(&source) else { return };
            if !mounts.named.iter().any(|known| known.name == volume.name) {
                mounts.named.push(volume.clone());
            }
            mounts.volumes.push(Volume { source: volume.name.clone(), path: target, read_only });
        }
        "bind" => mounts.volumes.push(Volume { source, path: target, read_only }),
        "tmpfs" => {
            let option =
                |key: &str| at.get("tmpfs").and_then(|at| at.get(key)).map(|at| format!("{key}={}", at.text()));
            let options: Vec<String> = ["size", "mode"].into_iter().filter_map(option).collect();
            mounts.tmpfs.insert(target, options.join(","));
        }
        kind => at.not_built(format!("`volume`, `bind` and `tmpfs` are, `{kind}` is not")),
    }
}

fn only(at: &At<'_>, known: &[&str]) {
    for (key, value) in at.entries() {
        if !known.contains(&key.as_str()) && !key.starts_with("x-") {
            value.not_built("take it out");
        }
    }
}

/// A config of a file is that file, mounted for reading; one with a content is a file in memory, like a secret.
fn config(at: &At<'_>, top: &At<'_>, mounts: &mut Mounts) {
    only(at, &["source", "target", "mode"]);
    let source = at.get("source").map(|at| at.text()).unwrap_or_default();
    let target = at.get("target").map_or_else(|| format!("/{source}"), |at| at.text());
    let Some(said) = top.get("configs").and_then(|all| all.get(&source)) else { return };
    let content = said.get("content").and_then(|content| content.get("secret"));
    match (said.get("file"), content, said.get("environment")) {
        (Some(file), ..) => mounts.volumes.push(Volume { source: file.text(), path: target, read_only: true }),
        (None, Some(reference), _) => drop(mounts.files.insert(target, SecretRef(reference.text()))),
        (None, None, Some(name)) => drop(mounts.files.insert(target, SecretRef(format!("env:{}", name.text())))),
        (None, None, None) => said.not_built("configs with `file:`, `content:` or `environment:` are"),
    }
}

/// A secret is a file in memory, with the value of a file or of a variable.
fn secret(at: &At<'_>, top: &At<'_>, mounts: &mut Mounts) {
    let source = at.get("source").map(|at| at.text()).unwrap_or_default();
    for (key, value) in at.entries() {
        match key.as_str() {
            "source" | "target" => {}
            "uid" | "gid" | "mode" => value.not_built("every program in the container may read it, nobody may write"),
            _ => value.not_built("take it out"),
        }
    }
    let target = at.get("target").map_or_else(|| source.clone(), |at| at.text());
    let name = target.strip_prefix(SECRETS).unwrap_or(&target);
    if name.contains('/') {
        at.not_built(format!("secrets are files in {SECRETS}; give it a name there"));
    }
    let Some(said) = top.get("secrets").and_then(|all| all.get(&source)) else { return };
    let reference = match (said.get("file"), said.get("environment")) {
        (Some(file), _) => format!("file:{}", file.text()),
        (None, Some(name)) => format!("env:{}", name.text()),
        (None, None) => return said.not_built("only secrets with `file:` or `environment:` are"),
    };
    mounts.secrets.insert(name.to_owned(), SecretRef(reference));
}
