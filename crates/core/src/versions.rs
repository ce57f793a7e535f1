//! A version names one artifact for good: the stream `versions/PROJECT/APP` remembers which.

use crate::config::Artifact;
use crate::id::{AppName, ProjectName, Version};
use crate::journal::StreamId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happened to the versions of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// A version was seen for the first time.
    VersionKnown {
        /// The version.
        version: Version,
        /// What it names.
        artifact: Artifact,
        /// Whether it was built from a tree with local changes or without a revision.
        built_here: bool,
    },
}

/// The versions of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(pub BTreeMap<Version, (Artifact, bool)>);

impl Known {
    /// The state after one more event. The first artifact of a version stays.
    pub fn evolve(&mut self, event: &Event) {
        let Event::VersionKnown { version, artifact, built_here } = event;
        self.0.entry(version.clone()).or_insert_with(|| (artifact.clone(), *built_here));
    }
}

/// The stream of an app's versions.
pub fn stream(project: &ProjectName, app: &AppName) -> StreamId {
    StreamId(format!("versions/{project}/{app}"))
}
