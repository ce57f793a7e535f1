//! A release: what runs, for good.

use crate::config::{AppConfig, Artifact, SecretRef};
use crate::id::{AppName, EnvName, ProjectName, RegionName, Sha256Hex, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// App, version, artifact and configuration with references; immutable, identified by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The project.
    pub project: ProjectName,
    /// The environment that it was resolved for.
    pub environment: EnvName,
    /// The region that it was resolved for.
    pub region: RegionName,
    /// The app.
    pub app: AppName,
    /// The name of the artifact.
    pub version: Version,
    /// What is run; none for an app whose command is on the machine already.
    pub artifact: Option<Artifact>,
    /// How it is run.
    pub config: AppConfig,
    /// A keyed digest per secret, so that a changed value makes another release; no value can be read from it.
    pub secrets: BTreeMap<SecretRef, Sha256Hex>,
    /// Built from a tree with local changes or without a revision.
    pub built_here: bool,
}

impl Release {
    /// Its identity: the digest of its canonical JSON.
    ///
    /// Maps are ordered and no floating-point number occurs, so equal releases have equal bytes.
    pub fn id(&self) -> Sha256Hex {
        Sha256Hex::of(&self.bytes())
    }

    /// Its canonical JSON, as kept among the blobs.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|e| unreachable!("a release has string keys only: {e}"))
    }
}

/// Finds releases by their id.
#[async_trait::async_trait]
pub trait Releases: Send + Sync {
    /// The release; a fault if it is not kept (any more) or cannot be read.
    async fn release(&self, id: &Sha256Hex) -> Result<std::sync::Arc<Release>, crate::fault::Fault>;
}
