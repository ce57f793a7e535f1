//! What a version is.

use super::{AppConfig, TargetConfig};
use crate::id::Sha256Hex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where an artifact comes from, resolved for a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactSource {
    /// A file or directory, absolute.
    Path(String),
    /// An HTTP or HTTPS address.
    Url(String),
    /// A container image, by reference with tag or digest.
    Image(String),
    /// The same, in a registry, and only if it is signed there with a key.
    SignedImage {
        /// The reference.
        image: String,
        /// The public key, in PEM.
        key: String,
    },
    /// Images that a cluster pulls by itself, by their digests, which were asked of their registries already.
    Digests(Vec<Sha256Hex>),
}

/// What a release runs: the folder that an artifact unpacks to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Artifact {
    /// The digest of its bytes; of its canonical archive if it was a directory.
    pub sha256: Sha256Hex,
    /// How the bytes are to be read.
    pub format: ArtifactFormat,
}

/// How an artifact's bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactFormat {
    /// A tar.gz archive.
    TarGz,
    /// A tar.zst archive.
    TarZst,
    /// A plain tar archive (also what a directory becomes).
    Tar,
    /// A zip archive.
    Zip,
    /// One executable file.
    File,
    /// A container image that only its engine has: the digest is the image's id.
    ImageId,
    /// A container image of a registry: the digest is its manifest's (or its index's), and it can be pulled by it.
    ImageManifest,
    /// One or several such images, which a cluster pulls by itself: the digest of the one, or one over those of all.
    Pulled,
}

impl Artifact {
    /// Images that a cluster pulls by itself.
    pub fn pulled(digests: &[Sha256Hex]) -> Self {
        let all: BTreeSet<&Sha256Hex> = digests.iter().collect();
        let sha256 = match all.first() {
            Some(one) if all.len() == 1 => (*one).clone(),
            _ => Sha256Hex::of(all.iter().map(|one| format!("{one}\n")).collect::<String>().as_bytes()),
        };
        Self { sha256, format: ArtifactFormat::Pulled }
    }
}

impl AppConfig {
    /// Where an artifact of it can be had again, if it is named by what it is in a place that others keep.
    pub fn source_again(&self, artifact: &Artifact) -> Option<ArtifactSource> {
        match (&self.target, artifact.format) {
            (TargetConfig::Docker(docker), ArtifactFormat::ImageManifest) => {
                Some(ArtifactSource::Image(format!("{}@sha256:{}", docker.image, artifact.sha256)))
            }
            _ => None,
        }
    }
}
