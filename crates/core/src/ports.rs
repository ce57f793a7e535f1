//! The remaining ports: time, artifacts, secrets at rest.

use crate::config::{Artifact, ArtifactSource, SecretRef};
use crate::fault::Fault;
use crate::id::Sha256Hex;
use crate::instance::SecretValues;
use crate::time::Millis;
use async_trait::async_trait;

/// The time of day. For people and due times; decides nothing about who owns what.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Millis;
}

/// Why an artifact was not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// What happened. Of kind `Spec` if the source is missing or wrong, `Platform` if it cannot be reached now or there is
    /// no room.
    pub fault: Fault,
    /// Whether the source was seen and has what it must not have, such as other bytes than expected. If not, nothing is
    /// known of its bytes: it is gone, or cannot be reached.
    pub is_wrong: bool,
    /// Under which name it is explained.
    pub code: &'static str,
}

/// The code of an artifact that is not taken in, where nothing more is known.
pub const ARTIFACT_MISSING: &str = "artifact-missing";

impl From<Fault> for NotTaken {
    fn from(fault: Fault) -> Self {
        Self { fault, is_wrong: false, code: ARTIFACT_MISSING }
    }
}

/// Artifacts, kept by their digest.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Fetches, checks and keeps an artifact.
    async fn ingest(&self, source: &ArtifactSource, expected: Option<&Sha256Hex>) -> Result<Artifact, NotTaken>;
    /// Whether an artifact is kept, unpacked.
    async fn has(&self, artifact: &Artifact) -> Result<bool, Fault>;
    /// Forgets everything but these.
    async fn retain(&self, keep: &[Sha256Hex]) -> Result<(), Fault>;
}

/// Secrets at rest: sealed, one set per release. And signatures with the state's own key.
#[async_trait]
pub trait Vault: Send + Sync {
    /// A keyed digest, from which no value can be read.
    fn digest(&self, reference: &SecretRef, value: &[u8]) -> Sha256Hex;
    /// Seals the values of a release, durably.
    async fn seal(&self, release: &Sha256Hex, values: &SecretValues) -> Result<(), Fault>;
    /// Whether the values of a release are kept.
    async fn has(&self, release: &Sha256Hex) -> Result<bool, Fault>;
    /// Forgets everything but these releases' values.
    async fn retain(&self, keep: &[Sha256Hex]) -> Result<(), Fault>;
    /// A signature over `bytes`, in hex.
    fn sign(&self, bytes: &[u8]) -> String;
    /// Whether `signature` is ours over `bytes`.
    fn is_ours(&self, bytes: &[u8], signature: &str) -> bool;
}
