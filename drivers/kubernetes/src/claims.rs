//! The claims of a scope that are in no manifest: its StatefulSets made them.

use crate::cluster::collection;
use crate::record::{Entry, Record};
use crate::site::Site;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_kubernetes::{applyset, claims};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const API_VERSION: &str = "v1";
const KIND: &str = "PersistentVolumeClaim";

/// A claim that a StatefulSet of the scope made. It has no label of ours: only which one it was tells it from another's of the
/// same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Claim {
    pub(crate) fn entry(&self) -> Entry {
        Entry { api_version: API_VERSION.into(), kind: KIND.into(), name: self.name.clone() }
    }

    pub(crate) fn is(&self, claim: &Value) -> bool {
        claim["metadata"]["uid"] == self.uid
    }
}

fn is_set(entry: &&&Entry) -> bool {
    entry.kind == "StatefulSet" && entry.name().group() == "apps"
}

impl Site {
    /// Those that StatefulSets among these made; none where they may not be listed.
    pub(crate) async fn claims_of(&self, entries: &[&Entry]) -> Result<Vec<Claim>, Fault> {
        match self.look_for_claims(entries).await {
            Err(fault) if fault.kind == FaultKind::Denied => Ok(Vec::new()),
            made => made,
        }
    }

    /// Those that the record knows of, and those of StatefulSets that are there; a fault where they may not be listed.
    pub(crate) async fn claims(&self, record: &Record) -> Result<Vec<Claim>, Fault> {
        let entries: Vec<&Entry> = record.all().collect();
        let mut all = record.claims.clone();
        all.extend(self.look_for_claims(&entries).await?.into_iter().filter(|made| !record.claims.contains(made)));
        Ok(all)
    }

    async fn look_for_claims(&self, entries: &[&Entry]) -> Result<Vec<Claim>, Fault> {
        let mut sets = Vec::new();
        for entry in entries.iter().filter(is_set) {
            let there = self.find(entry).await?;
            sets.extend(there.filter(|set| {
                !set["spec"]["volumeClaimTemplates"].is_null() && applyset::stranger(set, &self.set()).is_none()
            }));
        }
        if sets.is_empty() {
            return Ok(Vec::new());
        }
        let what = format!("{KIND}s of `{}`", self.namespace);
        let api = self.cluster.api(API_VERSION, KIND).await.map_err(|trouble| self.fault(trouble, &what))?;
        let Some(api) = api else { return Ok(Vec::new()) };
        let list = self.cluster.names(&collection(API_VERSION, &api, &self.namespace)).await;
        let list = list.map_err(|trouble| self.fault(trouble, &what))?;
        let all = list["items"].as_array().into_iter().flatten();
        let made = all.filter(|claim| sets.iter().any(|set| claims::is_made_by(set, claim)));
        let text = |claim: &Value, field: &str| claim["metadata"][field].as_str().unwrap_or_default().to_owned();
        Ok(made.map(|claim| Claim { name: text(claim, "name"), uid: text(claim, "uid") }).collect())
    }
}
