//! Images: their configuration, and images in registries.

use super::layers::Layers;
use super::{Limits, secrets};
use crate::subject::{Content, Health, Image, Kind, Place, Secret, Subject};
use deployctl_oci::{Document, Platform, Reference, Registry, Trouble, TroubleKind};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where engines look programs up for an image that does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Describes what a reference means in its registry: its image for `platform`, all layers read once, in pieces.
pub fn in_registry(
    registry: &Registry,
    reference: &Reference,
    platform: &Platform,
    limits: &Limits,
) -> Result<Subject, Trouble> {
    let resolved = registry.resolve(reference)?;
    let digest = Some(format!("sha256:{}", resolved.top.digest));
    let name = reference.to_string();
    let chosen = match registry.for_platform(&resolved, platform) {
        Ok(chosen) => chosen,
        // That is a finding.
        Err(trouble) if trouble.kind == TroubleKind::Missing && !resolved.platforms.is_empty() => {
            match &resolved.top.document {
                Document::Image(_) => resolved.top.clone(),
                Document::Index(_) => {
                    let mut image = empty(Place::Registry);
                    image.tag = tag(reference);
                    image.platforms = resolved.platforms;
                    return Ok(Subject { name, digest, size_bytes: 0, kind: Kind::Image(Box::new(image)) });
                }
            }
        }
        Err(trouble) => return Err(trouble),
    };
    let Document::Image(manifest) = &chosen.document else {
        return Err(registry.for_platform(&resolved, platform).err().unwrap_or_else(|| unreachable_index(reference)));
    };
    if resolved.platforms.is_empty() {
        let kind = manifest.artifact_type.clone().unwrap_or_else(|| manifest.config.media_type.clone());
        return Ok(Subject { name, digest, size_bytes: 0, kind: Kind::Other(kind) });
    }
    let config = registry.config(reference, manifest)?;
    let mut layers = Layers::new(limits);
    for (number, layer) in manifest.layers.iter().enumerate().filter(|(_, layer)| !layer.foreign) {
        if layers.is_full() {
            break;
        }
        let added = layers.add(registry.blob(reference, layer)?);
        if let Err(error) = added {
            match error.into_inner().map(|inner| inner.downcast::<Trouble>()) {
                Some(Ok(trouble)) => return Err(*trouble),
                _ => layers.stop(format!("layer {} is no archive that can be read", number + 1)),
            }
        }
    }
    let size_bytes = manifest.layers.iter().map(|layer| layer.size).sum();
    let mut image = describe(&config, layers.finish(), Place::Registry);
    image.layers = manifest.layers.len();
    image.tag = tag(reference);
    image.platforms = resolved.platforms;
    Ok(Subject { name, digest, size_bytes, kind: Kind::Image(Box::new(image)) })
}

fn unreachable_index(reference: &Reference) -> Trouble {
    Trouble {
        kind: TroubleKind::Wrong,
        message: format!("{reference} has an index where there should be an image"),
        hint: None,
        retry_after: None,
    }
}

/// The tag by which an image is asked for; none by digest.
fn tag(reference: &Reference) -> Option<String> {
    match reference.digest() {
        Some(_) => None,
        None => Some(reference.tag().unwrap_or("latest").to_owned()),
    }
}

pub(super) fn empty(place: Place) -> Image {
    Image {
        place,
        tag: None,
        platforms: Vec::new(),
        platform: None,
        entrypoint: Vec::new(),
        command: Vec::new(),
        folder: "/".into(),
        path: PATH.split(':').map(str::to_owned).collect(),
        user: String::new(),
        ports: Vec::new(),
        health: Health::Unsaid,
        stop_signal: None,
        volumes: Vec::new(),
        labels: BTreeMap::new(),
        layers: 0,
        content: Content::default(),
        trial: None,
    }
}

#[derive(Default, Deserialize)]
struct RawImage {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    config: Option<RawConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, Value>>,
    volumes: Option<BTreeMap<String, Value>>,
    healthcheck: Option<RawHealth>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawHealth {
    #[serde(default)]
    test: Option<Vec<String>>,
}

/// An image from its configuration; what is not understood in it is left out.
pub(super) fn describe(config: &[u8], mut content: Content, place: Place) -> Image {
    let raw: RawImage = serde_json::from_slice(config).unwrap_or_default();
    let variant = raw.variant.filter(|variant| !variant.is_empty());
    let platform = Platform { os: raw.os, architecture: raw.architecture, variant };
    let raw = raw.config.unwrap_or_default();
    let health = match raw.healthcheck.and_then(|health| health.test).as_deref() {
        None | Some([]) => Health::Unsaid,
        Some([first, ..]) if first == "NONE" => Health::Off,
        Some(_) => Health::Asked,
    };
    for variable in raw.env.iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if let Some(what) = secrets::in_variable(name, value) {
            let secret = Secret { place: name.to_owned(), what: what.to_owned(), in_env: true, hidden: false };
            content.secrets.push(secret);
        }
    }
    let path = raw.env.iter().flatten().find_map(|variable| variable.strip_prefix("PATH="));
    let path = path.filter(|path| !path.is_empty()).unwrap_or(PATH).split(':').map(str::to_owned).collect();
    let known = !platform.os.is_empty() && !platform.architecture.is_empty();
    Image {
        platform: known.then(|| platform.clone()),
        platforms: if known { vec![platform] } else { Vec::new() },
        entrypoint: raw.entrypoint.unwrap_or_default(),
        command: raw.cmd.unwrap_or_default(),
        folder: raw.working_dir.filter(|folder| !folder.is_empty()).unwrap_or_else(|| "/".into()),
        path,
        user: raw.user.unwrap_or_default(),
        ports: raw.exposed_ports.unwrap_or_default().into_keys().collect(),
        health,
        stop_signal: raw.stop_signal,
        volumes: raw.volumes.unwrap_or_default().into_keys().collect(),
        labels: raw.labels.unwrap_or_default(),
        content,
        ..empty(place)
    }
}
