//! The document, before a version is put in.

use crate::reader::{At, Problem, Problems};
use crate::service::{self, Service};
use crate::{mounts, networks};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Stands in the document where the version will: Compose is given this as the value of the version's variable. So one
/// document serves every version, and it is known which services change with it.
pub const MARKER: &str = "0deployctl0version0";

/// What Compose made of a project's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Value);

impl Document {
    /// The document as `docker compose config` prints it, in which a `$` is written twice.
    pub fn new(mut printed: Value) -> Self {
        replace(&mut printed, "$$", "$");
        Self(printed)
    }

    /// The document as [`Document::kept`] gave it.
    pub fn restored(kept: Value) -> Self {
        Self(kept)
    }

    /// The document, to be kept.
    pub fn kept(&self) -> &Value {
        &self.0
    }

    pub(crate) fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// The services, in the order of their names, at a version; `images` go before what the file says, and may have
    /// [`MARKER`] in them.
    pub fn services(&self, version: &str, images: &BTreeMap<String, String>) -> Result<Vec<Service>, Vec<Problem>> {
        let mut value = self.0.clone();
        let problems = Problems::default();
        for (name, image) in images {
            let service = value.get_mut("services").and_then(|all| all.get_mut(name)).and_then(Value::as_object_mut);
            if let Some(service) = service {
                service.insert("image".into(), Value::String(image.clone()));
                service.remove("build");
            }
        }
        let changing = changing(&value);
        replace(&mut value, MARKER, version);
        let top = At::top(&value, &problems);
        refuse(&top);
        let project = service::Project {
            name: top.get("name").map(|at| at.text()).unwrap_or_default(),
            version,
            networks: networks::networks(&top),
            volumes: mounts::volumes(&top),
            changing,
        };
        let all = top.get("services").map(|at| at.entries()).unwrap_or_default();
        let mut services: Vec<Service> =
            all.iter().map(|(name, at)| service::service(name, at, &top, &project)).collect();
        service::find_one_offs(&mut services);
        let found = problems.take();
        if found.is_empty() { Ok(services) } else { Err(found) }
    }

    /// The names of the services.
    pub fn service_names(&self) -> Vec<&str> {
        let services = self.0.get("services").and_then(Value::as_object);
        services.into_iter().flat_map(|all| all.keys().map(String::as_str)).collect()
    }
}

/// What stands beside the services.
fn refuse(top: &At<'_>) {
    for (key, value) in top.entries() {
        match key.as_str() {
            "name" | "services" | "networks" | "volumes" | "configs" | "secrets" => {}
            key if key.starts_with("x-") => {}
            _ => value.not_built("take it out"),
        }
    }
}

/// The services that another version changes: it stands in them, or they are built.
fn changing(value: &Value) -> BTreeSet<String> {
    let services = value.get("services").and_then(Value::as_object);
    let has = |service: &Value| service.get("build").is_some_and(|build| !build.is_null()) || mentions(service);
    services.into_iter().flatten().filter(|(_, service)| has(service)).map(|(name, _)| name.clone()).collect()
}

fn mentions(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(MARKER),
        Value::Array(items) => items.iter().any(mentions),
        Value::Object(map) => map.values().any(mentions),
        _ => false,
    }
}

fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text.contains(from) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, from, to)),
        _ => {}
    }
}
