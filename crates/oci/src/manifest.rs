//! Manifests and indexes, as far as they matter here.

use crate::reference::sha256;
use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::id::Sha256Hex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The media types that are understood.
pub mod media {
    /// An index of OCI.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A manifest of OCI.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An index of Docker.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A manifest of Docker.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// All of them, as a registry is asked.
    pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
        application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
}

/// What a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Sha256Hex,
    /// Its size, in bytes.
    pub size: u64,
    /// In an index: for which platform.
    pub platform: Option<Platform>,
    /// What kind of artifact it is, if it is no image.
    pub artifact_type: Option<String>,
    /// What else is said of it.
    pub annotations: BTreeMap<String, String>,
    /// Whether it must not be copied, such as a base layer of Windows.
    pub foreign: bool,
}

/// A platform: `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// That of this machine.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self { os: std::env::consts::OS.into(), architecture: architecture.into(), variant: None }
    }

    /// Whether what is made for `self` runs where `wanted` is asked for: a variant counts only if both have one.
    pub fn suits(&self, wanted: &Self) -> bool {
        let variants = (&self.variant, &wanted.variant);
        let same = self.os == wanted.os && self.architecture == wanted.architecture;
        same && (variants.0 == variants.1 || variants.0.is_none() || variants.1.is_none())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain =
            |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture, ..] if parts.len() <= 3 && parts.iter().all(plain) => {
                let variant = parts.get(2).map(|variant| (*variant).to_owned());
                Ok(Self { os: os.into(), architecture: architecture.into(), variant })
            }
            _ => Err(format!("`{text}` is no platform; write linux/amd64 or linux/arm64/v8")),
        }
    }
}

/// Manifests for several platforms, or of several artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// In the order in which a client chooses.
    pub manifests: Vec<Descriptor>,
}

/// The manifest of one image or artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    /// How it is run; of an artifact, anything.
    pub config: Descriptor,
    /// Its file system, the lowest first; of an artifact, its files.
    pub layers: Vec<Descriptor>,
    /// What kind of artifact it is, if it is no image.
    pub artifact_type: Option<String>,
    /// What it is about, such as the image that it signs.
    pub subject: Option<Descriptor>,
    /// What else is said of it.
    pub annotations: BTreeMap<String, String>,
}

/// What a registry has under a tag or a digest of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An index.
    Index(Index),
    /// A manifest.
    Image(Box<ImageManifest>),
}

impl Document {
    /// Reads a manifest or an index. Bytes that could be read as both are refused: who signs and who runs must see the same.
    pub fn parse(bytes: &[u8]) -> Result<Self, Trouble> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|e| wrong(format!("it is no manifest: {e}")))?;
        if raw.schema_version != Some(2) {
            return Err(wrong(
                "it is a manifest of another schema than 2; push the image again with a newer client".into(),
            ));
        }
        let is_index = raw.media_type.as_deref().map(|kind| kind == media::OCI_INDEX || kind == media::DOCKER_INDEX);
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if is_index != Some(false) => {
                Ok(Self::Index(Index { manifests: manifests.into_iter().map(descriptor).collect::<Result<_, _>>()? }))
            }
            (None, Some(config), layers) if is_index != Some(true) => Ok(Self::Image(Box::new(ImageManifest {
                config: descriptor(config)?,
                layers: layers.unwrap_or_default().into_iter().map(descriptor).collect::<Result<_, _>>()?,
                artifact_type: raw.artifact_type,
                subject: raw.subject.map(descriptor).transpose()?,
                annotations: raw.annotations.unwrap_or_default(),
            }))),
            _ => Err(wrong("it is neither the manifest of an image nor an index, or could be read as both".into())),
        }
    }

    /// The media type that it is served with where the registry does not say.
    pub(crate) fn usual_media_type(&self) -> &'static str {
        match self {
            Self::Index(_) => media::OCI_INDEX,
            Self::Image(_) => media::OCI_MANIFEST,
        }
    }
}

fn wrong(message: String) -> Trouble {
    Trouble::new(TroubleKind::Wrong, message)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

fn descriptor(raw: RawDescriptor) -> Result<Descriptor, Trouble> {
    let digest = sha256(&raw.digest, &raw.digest)
        .map_err(|_| wrong("it has a digest that is no sha256 in lower-case hex".into()))?;
    let foreign = raw.media_type.contains("nondistributable") || raw.media_type.contains("foreign");
    let platform = raw.platform.map(|RawPlatform { os, architecture, variant }| Platform {
        os,
        architecture,
        variant: variant.filter(|variant| !variant.is_empty()),
    });
    Ok(Descriptor {
        foreign: foreign && raw.urls.is_some_and(|urls| !urls.is_empty()),
        media_type: raw.media_type,
        digest,
        size: raw.size,
        platform,
        artifact_type: raw.artifact_type,
        annotations: raw.annotations.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn documents_are_told_apart() {
        let one = format!(
            r#"{{"mediaType":"m","digest":"sha256:{HEX}","size":3,"platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}"#
        );
        let parse = |text: String| Document::parse(text.as_bytes());
        let Ok(Document::Index(index)) = parse(format!(r#"{{"schemaVersion":2,"manifests":[{one}]}}"#)) else {
            panic!()
        };
        assert_eq!(index.manifests[0].platform.as_ref().unwrap().to_string(), "linux/arm64/v8");
        let Ok(Document::Image(image)) = parse(format!(r#"{{"schemaVersion":2,"config":{one},"layers":[{one}]}}"#))
        else {
            panic!()
        };
        assert_eq!((image.layers.len(), image.config.size), (1, 3));
        for (text, says) in [
            ("[]".into(), "it is no manifest"),
            (format!(r#"{{"schemaVersion":2,"config":{one},"manifests":[{one}]}}"#), "could be read as both"),
            (format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{one}}}"#, media::OCI_INDEX), "neither"),
            (format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media::OCI_MANIFEST), "neither"),
            (format!(r#"{{"schemaVersion":1,"config":{one}}}"#), "another schema"),
            (r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1}}"#.into(), "a digest that is no"),
            (r#"{"schemaVersion":2,"config":{"digest":"x","size":-1}}"#.into(), "it is no manifest"),
        ] {
            let trouble = parse(text).unwrap_err();
            assert!(trouble.message.contains(says), "{trouble}");
        }
    }

    #[test]
    fn platforms_suit() {
        let of = |text: &str| text.parse::<Platform>().unwrap();
        assert!(of("linux/arm64/v8").suits(&of("linux/arm64")));
        assert!(of("linux/arm64").suits(&of("linux/arm64/v8")));
        assert!(!of("linux/arm/v6").suits(&of("linux/arm/v7")));
        assert!(!of("linux/amd64").suits(&of("linux/arm64")));
        assert!("linux".parse::<Platform>().is_err() && "linux/a/b/c".parse::<Platform>().is_err());
    }
}
