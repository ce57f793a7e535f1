//! Images for tests.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image: how it is run, and its layers.
#[derive(Clone, Debug)]
pub struct Image {
    /// The configuration.
    pub config: Value,
    /// The layers, unpacked archives.
    pub layers: Vec<Vec<u8>>,
}

impl Image {
    /// An image for `OS/ARCHITECTURE` with these layers; `config` is its `config`.
    pub fn new(platform: &str, config: &Value, layers: Vec<Vec<u8>>) -> Self {
        let (os, architecture) = platform.split_once('/').unwrap_or((platform, ""));
        let diffs: Vec<String> = layers.iter().map(|layer| digest_of(layer)).collect();
        let config = json!({
            "os": os, "architecture": architecture, "config": config, "rootfs": { "type": "layers", "diff_ids": diffs },
        });
        Self { config, layers }
    }
}

/// `sha256:HEX` of bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
