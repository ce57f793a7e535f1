//! How objects of a Kubernetes cluster are run.

use crate::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Objects of a Kubernetes cluster, as they were read and rendered: a way back reads no file again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesConfig {
    /// The context of the kubeconfig; none: the cluster that deployctl itself runs in.
    pub context: Option<String>,
    /// The namespace of every object that does not say another one.
    pub namespace: String,
    /// How long an object may be in trouble that may heal by itself, such as an image that cannot be pulled.
    pub patience: Span,
    /// Whether objects of others that are there already are taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// The objects, as `KIND/NAME`, that may be deleted and made anew where something changes that cannot change in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<String>,
    /// As what commands of a deployment run; none if there is no such command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobsAs>,
    /// The port on which pods of that workload answer the requests of smoke tests, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke_port: Option<u16>,
    /// The objects, images put in, in the order of the files. A plan has none: they stand in the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ManifestObject>,
}

/// The container whose image, environment and mounts the commands of a deployment have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsAs {
    /// The workload, by name.
    pub workload: String,
    /// The container in it.
    pub container: String,
}

/// An object of a cluster and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestObject {
    /// `FILE:LINE`, for people.
    pub from: String,
    /// The object. A Secret has references in place of values.
    pub object: Value,
}
