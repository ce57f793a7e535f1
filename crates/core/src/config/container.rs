//! How containers are run.

use super::{LateText, Limits, SecretRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a container is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerConfig {
    /// The image's repository, without tag or digest: these are the release's artifact.
    pub image: String,
    /// What runs instead of the image's own command; the image's entrypoint stays.
    pub command: Option<Vec<LateText>>,
    /// Environment variables, over the image's. Never a secret: everybody who may ask the engine can read them.
    pub env: BTreeMap<String, LateText>,
    /// Secrets, each a file of this name under `/run/secrets`.
    pub secrets: BTreeMap<String, SecretRef>,
    /// The port that the program listens on inside its container.
    pub port: Option<u16>,
    /// The user to run as, `NAME` or `UID` or with `:GROUP`, if not the image's.
    pub user: Option<String>,
    /// Limits.
    pub limits: Limits,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// The networks, which must exist; the first one is where it is reached. The engine's own bridge if there are none.
    pub networks: Vec<String>,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Folders in memory.
    pub tmpfs: Vec<String>,
    /// Capabilities added to the engine's usual ones, without `CAP_`.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken away; `ALL` takes all.
    pub capabilities_drop: Vec<String>,
    /// How much output is kept per container, in bytes.
    pub log_bytes_max: u64,
}

/// Something mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// A name, of a volume that belongs to the app in its environment; or a path of this machine.
    pub source: String,
    /// Where it is in the container.
    pub path: String,
    /// Whether it can only be read.
    pub read_only: bool,
}

impl Volume {
    /// Whether it is a path of this machine.
    pub fn is_path(&self) -> bool {
        self.source.starts_with('/')
    }
}
