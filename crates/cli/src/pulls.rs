//! Images that a cluster pulls by itself: what their tags mean is asked of their registries, once, when a release is made.

use crate::fail::Failure;
use crate::registry;
use deployctl_core::config::{AppConfig, ArtifactSource, TargetConfig};
use deployctl_core::id::Sha256Hex;
use deployctl_kubernetes::images;
use deployctl_oci::{Reference, Trouble};
use deployctl_spec::ResolvedApp;
use std::collections::{BTreeMap, BTreeSet};

/// Digests, by what the specification calls the image.
pub(crate) type Known = BTreeMap<String, Sha256Hex>;

/// The digests that a release has already.
pub(crate) fn known(config: &AppConfig) -> Known {
    let TargetConfig::Kubernetes(kubernetes) = &config.target else { return Known::new() };
    let pinned = images::pinned(kubernetes.objects.iter().map(|object| &object.object));
    pinned.into_iter().filter_map(|(image, hex)| Some((image, Sha256Hex::new(hex).ok()?))).collect()
}

/// Puts digests in place of tags. `known` goes before what registries say.
pub(crate) async fn pin(apps: &mut [ResolvedApp], mut known: Known) -> Result<(), Failure> {
    let wanted: BTreeSet<&String> = apps.iter().flat_map(|app| &app.pulls).map(|pull| &pull.image).collect();
    let asked: Vec<String> = wanted.into_iter().filter(|image| !known.contains_key(*image)).cloned().collect();
    if !asked.is_empty() {
        known.extend(
            registry::with(move |registry| {
                asked.into_iter().map(|image| one(registry, image)).collect::<Result<Known, _>>()
            })
            .await?,
        );
    }
    for app in apps.iter_mut().filter(|app| !app.pulls.is_empty()) {
        let TargetConfig::Kubernetes(kubernetes) = &mut app.config.target else { continue };
        let (mut pinned, mut moving) = (BTreeMap::new(), Vec::new());
        for pull in &app.pulls {
            let Some(digest) = known.get(&pull.image) else { continue };
            let (name, _) = pull.image.split_once("@sha256:").unwrap_or((&pull.image, ""));
            pinned.insert(pull.container.clone(), format!("{name}@sha256:{digest}"));
            moving.extend(pull.moves.then(|| digest.clone()));
        }
        images::put(kubernetes.objects.iter_mut().map(|object| &mut object.object), &pinned);
        app.artifact = (!moving.is_empty()).then_some(ArtifactSource::Digests(moving));
    }
    Ok(())
}

/// What an image is now; it must be there.
fn one(registry: &deployctl_oci::Registry, image: String) -> Result<(String, Sha256Hex), Trouble> {
    let reference: Reference = image.parse()?;
    let digest = registry.manifest(&reference)?.digest;
    Ok((image, digest))
}
