//! Objects as manifests and the API server write them, and what they are called.

use serde_json::Value;
use std::fmt;

/// What an object is called: enough to find it in one place of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Group and version, such as `apps/v1` or `v1`.
    pub api_version: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace that it says itself.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl Name {
    /// The name of an object; none if it is no object.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Self {
            api_version: text(&object["apiVersion"])?,
            kind: text(&object["kind"])?,
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"])?,
        })
    }

    /// The API group; empty for the core one.
    pub fn group(&self) -> &str {
        group_of(&self.api_version)
    }

    /// Whether it is a namespace.
    pub fn is_namespace(&self) -> bool {
        self.kind == "Namespace" && self.group().is_empty()
    }

    /// Whether both mean one object, whatever version of its group they name.
    pub fn is_same(&self, other: &Self) -> bool {
        let key = |of: &Self| (of.group().to_owned(), of.kind.clone(), of.namespace.clone(), of.name.clone());
        key(self) == key(other)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// The group of an `apiVersion`; empty for the core one.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
