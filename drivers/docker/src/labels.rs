//! What a container says of itself, so that it can be adopted by whoever finds it.

use deployctl_core::config::{ComposeService, Health};
use deployctl_core::id::{Fence, Revision, Scope, Sha256Hex, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Which state it belongs to.
pub(crate) const STATE: &str = "io.deployctl.state";
/// Whether it is an [`INSTANCE`] or a [`JOB`].
pub(crate) const KIND: &str = "io.deployctl.kind";
/// The id of the instance or job.
pub(crate) const ID: &str = "io.deployctl.id";
/// Where it belongs.
pub(crate) const SCOPE: &str = "io.deployctl.scope";
const VERSION: &str = "io.deployctl.version";
const FENCE: &str = "io.deployctl.fence";
const RECORD: &str = "io.deployctl.record";
const DIGEST: &str = "io.deployctl.digest";

pub(crate) const INSTANCE: &str = "instance";
pub(crate) const JOB: &str = "job";

/// On an image that deployctl had built: nobody else misses it.
pub const BUILT: &str = "io.deployctl.build";

/// All that is needed to look after a container without its release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) scope: Scope,
    pub(crate) revision: Revision,
    pub(crate) slot: u32,
    pub(crate) version: Version,
    /// The port that it listens on, inside.
    pub(crate) port: Option<u16>,
    /// Its networks; it is reached in the first one.
    pub(crate) networks: Vec<String>,
    /// How it is called in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    /// The service of a Compose project that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<ServiceName>,
    /// Whether the proxy takes over a published port for it, when it has traffic.
    #[serde(default)]
    pub(crate) fronted: bool,
    /// What its container is called, if that was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) called: Option<String>,
    /// How many instances its release has.
    #[serde(default)]
    pub(crate) of: u32,
    /// What the specification says of its health.
    pub(crate) health: Option<Health>,
    /// The command of a health check, bound.
    pub(crate) check: Vec<String>,
    pub(crate) h2: bool,
    pub(crate) artifact: Option<Sha256Hex>,
    /// Whether files with secrets are mounted into it.
    pub(crate) secrets: bool,
    /// Limits, as the engine counts them.
    #[serde(default)]
    pub(crate) memory_bytes: Option<i64>,
    #[serde(default)]
    pub(crate) nano_cpus: Option<i64>,
    /// How long a job may take, in milliseconds.
    #[serde(default)]
    pub(crate) timeout_ms: Option<u64>,
}

/// A service of a Compose project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceName {
    pub(crate) project: String,
    pub(crate) service: String,
}

impl ServiceName {
    pub(crate) fn of(service: &ComposeService) -> Self {
        Self { project: service.project.clone(), service: service.service.clone() }
    }
}

impl Record {
    /// The network where it is reached.
    pub(crate) fn network(&self) -> &str {
        self.networks.first().map_or("bridge", String::as_str)
    }
}

/// The labels of a container; `digest` is that of all that it was made from.
pub(crate) fn write(
    state: &str,
    kind: &str,
    id: &str,
    fence: Fence,
    record: &Record,
    digest: &Sha256Hex,
) -> HashMap<String, String> {
    let json = serde_json::to_string(record).unwrap_or_else(|e| unreachable!("a record has string keys only: {e}"));
    [
        (STATE, state.to_owned()),
        (KIND, kind.to_owned()),
        (ID, id.to_owned()),
        (SCOPE, record.scope.to_string()),
        (VERSION, record.version.to_string()),
        (FENCE, fence.0.to_string()),
        (DIGEST, digest.to_string()),
        (RECORD, json),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// What the labels say; none if they are not ours.
pub(crate) fn read(labels: &HashMap<String, String>, state: &str) -> Option<Record> {
    if labels.get(STATE).is_none_or(|of| of != state) {
        return None;
    }
    serde_json::from_str(labels.get(RECORD)?).ok()
}
