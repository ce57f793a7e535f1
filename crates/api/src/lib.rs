//! The interface between clients and an engine: HTTP/1.1 with JSON over a Unix socket, version 1.
//!
//! The bodies are the plain data of `core::ask` and `core::view`; this crate adds paths, queries and the client.
//! Knows no engine and no command line.

pub mod client;
pub mod paths;

use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName, Sha256Hex, Version};
use deployctl_core::release::Release;
use serde::{Deserialize, Serialize};

/// The name of the engine's socket in a state directory.
pub const SOCKET: &str = "engine.sock";

/// The version of this interface. An engine answers clients of the same and of the previous number.
pub const API: u32 = 1;

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the interface.
    pub api: u32,
    /// The digest of the binary that the engine runs from.
    pub build: Sha256Hex,
    /// Its process.
    pub pid: u32,
}

/// Which scopes, and more, as a query string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Of this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// In this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvName>,
    /// In this region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// This app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// So many of the last lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Go on with what comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
    /// A release by what a person calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// A head that was handed out earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Sha256Hex>,
}

impl Query {
    /// As a query string with its question mark; names need no escaping, other texts get it.
    pub fn text(&self) -> String {
        let serde_json::Value::Object(fields) = serde_json::to_value(self).unwrap_or_default() else {
            return String::new();
        };
        let pairs: Vec<String> = fields
            .iter()
            .map(|(key, value)| match value {
                serde_json::Value::String(text) => format!("{key}={}", escape(text)),
                other => format!("{key}={other}"),
            })
            .collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// A release that was asked for by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Its id.
    pub id: Sha256Hex,
    /// The release.
    pub release: Release,
    /// The specification that it was resolved from.
    pub spec: Option<String>,
}

/// Whether a version is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VersionKnown {
    /// The digest of its artifact, if it is.
    pub sha256: Option<Sha256Hex>,
}

/// Which scopes were changed by a switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Switched {
    /// Their apps.
    pub apps: Vec<String>,
}
