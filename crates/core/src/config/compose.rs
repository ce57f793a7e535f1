//! What a service of a Compose project says of its container beyond what the specification of a container can say.

use super::SecretRef;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A container's part in a Compose project. Its volumes and networks are named as Compose names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeService {
    /// The Compose project.
    pub project: String,
    /// The service, as the file calls it: also its name in the project's networks.
    pub service: String,
    /// The networks, in the order of `DockerConfig::networks`.
    pub networks: Vec<ComposeNetwork>,
    /// The named volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<ComposeVolume>,
    /// What runs instead of the image's entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The check that the engine makes, instead of the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<EngineCheck>,
    /// Ports of this machine that the container itself holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// Environment variables whose values are kept like secrets. Whoever may ask the engine can read them all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_secrets: BTreeMap<String, SecretRef>,
    /// Files that are mounted for reading, by their paths inside, with contents that are kept like secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, SecretRef>,
    /// All else.
    pub options: EngineOptions,
}

/// A network of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeNetwork {
    /// What the engine calls it.
    pub name: String,
    /// What the file calls it.
    pub key: String,
    /// Whether it must be there already, made by somebody else.
    pub external: bool,
    /// The names by which the container is reached in it.
    pub aliases: Vec<String>,
    /// Its driver, if not the engine's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Whether it leads nowhere outside.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internal: bool,
    /// Whether containers can be attached by hand.
    #[serde(default, skip_serializing_if = "is_false")]
    pub attachable: bool,
    /// Whether it has IPv6 addresses.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ipv6: bool,
    /// Its subnets, each with a gateway if one is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<(String, Option<String>)>,
    /// Labels of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A named volume of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeVolume {
    /// What the engine calls it.
    pub name: String,
    /// What the file calls it.
    pub key: String,
    /// Whether it must be there already, made by somebody else.
    pub external: bool,
    /// Its driver, if not the engine's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Labels of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A check that the engine makes inside of the container. What is not said is the engine's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCheck {
    /// As the engine takes it, with `CMD`, `CMD-SHELL` or `NONE` first; empty: the image's.
    pub test: Vec<String>,
    /// The pause between two checks.
    pub interval: Option<Span>,
    /// How long one may take.
    pub timeout: Option<Span>,
    /// How long failures do not count.
    pub start_period: Option<Span>,
    /// The pause between two checks in that time.
    pub start_interval: Option<Span>,
    /// So many failures in a row make it unhealthy.
    pub retries: Option<u32>,
}

/// A port of this machine that leads to one of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Publish {
    /// The address of this machine; empty for all.
    pub ip: String,
    /// The port of this machine; 0 for any.
    pub port: u16,
    /// The port of the container.
    pub target: u16,
    /// Whether it is UDP.
    pub udp: bool,
}

/// Settings of a container that are passed on to the engine as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineOptions {
    /// Its own host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The folder that its program starts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Whether the engine puts a first process of its own into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// The signal that ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ports that it names as its own, such as `80/tcp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Host names that it knows besides, as `NAME:ADDRESS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Domains in which names are looked up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Folders in memory, with options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// Groups that its program is in besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Options of security modules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security: Vec<String>,
    /// Settings of the kernel that belong to it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Limits of its processes, soft and hard.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// The size of `/dev/shm`, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_bytes: Option<u64>,
    /// Memory that is kept for it, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reserved: Option<u64>,
    /// The most processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Whether it may do everything that its host may.
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}
