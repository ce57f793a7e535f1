//! What a reference means: a digest, for good, and what is behind it.

use crate::manifest::{Document, ImageManifest, Platform};
use crate::reference::Reference;
use crate::registry::{Fetched, Registry};
use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::id::Sha256Hex;
use serde::Deserialize;

const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// A reference, resolved.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What was asked for.
    pub reference: Reference,
    /// What it means: its digest is the image's identity. An index where there is one, never one platform's manifest of it.
    pub top: Fetched,
    /// The platforms that there are.
    pub platforms: Vec<Platform>,
}

impl Resolved {
    /// The reference that means the same for good.
    pub fn pinned(&self) -> Reference {
        self.reference.at(&self.top.digest)
    }
}

/// What a manifest's configuration says of the platform.
#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Registry {
    /// What a reference means now.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolved, Trouble> {
        let top = self.manifest(reference)?;
        let platforms = match &top.document {
            Document::Index(index) => index.manifests.iter().filter_map(|one| known(one.platform.as_ref()?)).collect(),
            Document::Image(image) => self.platform(reference, image)?.into_iter().collect(),
        };
        Ok(Resolved { reference: reference.clone(), top, platforms })
    }

    /// The manifest for a platform: that of the index, or the image itself if it suits.
    pub fn for_platform(&self, resolved: &Resolved, platform: &Platform) -> Result<Fetched, Trouble> {
        let none = || {
            let there: Vec<String> = resolved.platforms.iter().map(ToString::to_string).collect();
            let there = if there.is_empty() { "none that is known".to_owned() } else { there.join(", ") };
            let message = format!("the image {} has nothing for {platform}; it has {there}", resolved.reference);
            Trouble::new(TroubleKind::Missing, message).hint("build the image for this platform")
        };
        match &resolved.top.document {
            Document::Image(_) if resolved.platforms.first().is_none_or(|one| one.suits(platform)) => {
                Ok(resolved.top.clone())
            }
            Document::Image(_) => Err(none()),
            Document::Index(index) => {
                let suits = |one: &&crate::Descriptor| one.platform.as_ref().is_some_and(|one| one.suits(platform));
                let chosen = index.manifests.iter().find(suits).ok_or_else(none)?;
                self.manifest(&resolved.reference.at(&chosen.digest))
            }
        }
    }

    /// The configuration of an image, as it stands.
    pub fn config(&self, of: &Reference, image: &ImageManifest) -> Result<Vec<u8>, Trouble> {
        self.small_blob(of, &image.config, CONFIG_BYTES_MAX)
    }

    /// The platform of a single image; none of an artifact that is no image.
    fn platform(&self, of: &Reference, image: &ImageManifest) -> Result<Option<Platform>, Trouble> {
        let kind = image.config.media_type.as_str();
        if !kind.ends_with("image.v1+json") && !kind.ends_with("image.config.v1+json") {
            return Ok(None);
        }
        let config: Option<RawConfig> = serde_json::from_slice(&self.config(of, image)?).ok();
        let platform = config.map(|RawConfig { os, architecture, variant }| Platform { os, architecture, variant });
        Ok(platform.as_ref().and_then(known))
    }
}

/// A platform that is one: builders put attestations into indexes under `unknown/unknown`.
fn known(platform: &Platform) -> Option<Platform> {
    let is_known = |part: &str| !part.is_empty() && part != "unknown";
    (is_known(&platform.os) && is_known(&platform.architecture)).then(|| platform.clone())
}

/// The digest in hex of what a tag of the fallback schema is about.
pub(crate) fn fallback_tag(digest: &Sha256Hex) -> String {
    format!("sha256-{digest}")
}
