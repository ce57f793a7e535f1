//! What the record has of a release that runs beside the one with the names.

use crate::record::{Entry, Phase};
use deployctl_core::desired::Extent;
use deployctl_core::id::{Revision, Sha256Hex};
use deployctl_kubernetes::sides::{Parted, Sided, Sizes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// So much of the digest tells a side from every other.
const MARK: usize = 8;

/// A release beside that of the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside {
    pub(crate) revision: Revision,
    /// The Deployments that are doubled.
    pub(crate) sided: Vec<Sided>,
    /// How many pods each has.
    pub(crate) sizes: Sizes,
    /// The StatefulSets some of whose pods are of it, as many as the share takes that it has or is on its way to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parted: Vec<Parted>,
    /// Everything that is there because of it, or may be.
    pub(crate) inventory: Vec<Entry>,
    pub(crate) phase: Phase,
    /// When it was made as it is, by the cluster's clock.
    pub(crate) since: Option<String>,
    /// Its share of the traffic, in basis points, and how far it extends.
    pub(crate) share: u32,
    pub(crate) extent: Extent,
    /// The share that it is on its way to: until it is there, the share may be the one or the other.
    pub(crate) towards: Option<u32>,
    /// Whether it is being taken away: not all of it is there any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) going: bool,
}

impl Beside {
    /// Its share, if it is known.
    pub(crate) fn settled(&self) -> Option<u32> {
        self.towards.is_none().then_some(self.share)
    }

    /// What tells it from every other side.
    pub(crate) fn mark(&self) -> String {
        mark(&self.revision)
    }

    /// Whether an object is a StatefulSet some of whose pods may be of it.
    pub(crate) fn parts(&self, object: &Value) -> bool {
        let is_set = object["kind"] == "StatefulSet" && object["apiVersion"] == "apps/v1";
        is_set && self.parted.iter().any(|one| object["metadata"]["name"] == *one.name)
    }

    /// Whether it takes more of the traffic on the way to `share`.
    pub(crate) fn gains(&self, share: u32) -> bool {
        match self.towards.unwrap_or(self.share) {
            from if from == share => share >= self.share,
            from => share > from,
        }
    }
}

/// What tells the side of a revision from every other.
pub(crate) fn mark(revision: &Revision) -> String {
    let digest = Sha256Hex::of(format!("{}.{}", revision.release.as_str(), revision.nonce).as_bytes());
    digest.as_str()[..MARK].to_owned()
}
