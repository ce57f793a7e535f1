//! Images that must be signed, as the engine is asked for them: with the key, since it reads no file of the project.

use crate::fail::Failure;
use deployctl_core::config::{AppConfig, ArtifactFormat, ArtifactSource, TargetConfig};
use deployctl_core::release::Release;
use deployctl_oci::PublicKey;
use deployctl_spec::ResolvedApp;
use std::io::Read;

/// No key is larger.
pub(crate) const KEY_BYTES_MAX: u64 = 64 << 10;

/// Where the artifact of an app comes from; for an image that must be signed, with the key.
pub(crate) fn source(app: &ResolvedApp) -> Result<Option<ArtifactSource>, Failure> {
    let (Some(ArtifactSource::Image(image)), Some(key)) = (&app.artifact, &app.verify) else {
        return Ok(app.artifact.clone());
    };
    let bad =
        |why: String| Failure::usage("key-unusable", format!("the key with which {} must be signed: {why}", app.app));
    let key = match key.contains("-----BEGIN") {
        true => key.clone(),
        false => {
            let mut text = String::new();
            let read = std::fs::File::open(key).and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut text));
            read.map_err(|e| bad(format!("{key} cannot be read: {e}")))?;
            text
        }
    };
    PublicKey::parse(key.as_bytes()).map_err(|trouble| bad(trouble.message))?;
    Ok(Some(ArtifactSource::SignedImage { image: image.clone(), key }))
}

/// What a promotion takes in: the kept artifact, unless it must be signed where it goes. Then that is looked at again, for the
/// very digest that was current where it comes from.
pub(crate) fn again(source: ArtifactSource, config: &AppConfig, release: &Release) -> Option<ArtifactSource> {
    let ArtifactSource::SignedImage { image, key } = source else { return None };
    let pinned = match (&config.target, &release.artifact) {
        (TargetConfig::Docker(docker), Some(artifact)) if artifact.format == ArtifactFormat::ImageManifest => {
            format!("{}@sha256:{}", docker.image, artifact.sha256)
        }
        _ => image,
    };
    Some(ArtifactSource::SignedImage { image: pinned, key })
}
