//! Pods of StatefulSets that are replaced in their places: waited for, and freed where the cluster would wait for them for ever.

use super::Walk;
use crate::apply::Wanted;
use crate::kinds::Kind;
use crate::record::{Entry, Phase, Record};
use crate::site::Site;
use deployctl_core::fault::Fault;
use deployctl_core::id::Revision;
use deployctl_kubernetes::sides::{has_template_of, turn};
use serde_json::Value;

impl Walk<'_> {
    /// Until the controller of a StatefulSet has replaced as many of its pods as it is told to. Who may not look at pods goes by the
    /// verdict on it alone.
    pub(super) async fn not_replaced(&self, set: &Wanted) -> Result<Option<String>, Fault> {
        let Some(there) = self.site.find(&set.entry).await? else { return Ok(None) };
        let Some(pods) = self.site.pods().await? else { return Ok(None) };
        Ok(match turn(&there, &pods) {
            None => Some(format!("{}: its controller is to see what it is now", set.name)),
            Some(turn) if turn.left == 0 => None,
            Some(turn) => Some(format!("{}: {} of its pods are to be replaced", set.name, turn.left)),
        })
    }

    /// On a way back: deletes pods of the release that is left and that are not ready. The controller of a StatefulSet would wait until
    /// they are before it replaces any, and they may never be. Who may not delete pods leaves them there, and the verdict says so.
    pub(super) async fn tend(&self) -> Result<(), Fault> {
        let Some(record) = self.site.admitted(self.way.fence).await? else { return Ok(()) };
        let weight = |revision: &&Revision| self.to.desired.weight(revision);
        let Some(goal) = self.to.desired.parts.keys().max_by_key(weight) else { return Ok(()) };
        let sets = record.inventory.iter().filter(|entry| entry.kind == "StatefulSet");
        for entry in sets.filter(|entry| entry.name().group() == "apps") {
            let Some(there) = self.site.find(entry).await? else { continue };
            if template_of(&there, &record) != Some(goal) {
                // It is still to be what is gone back to.
                continue;
            }
            let pods = self.site.pods().await?.unwrap_or_default();
            for pod in turn(&there, &pods).into_iter().flat_map(|turn| turn.stuck) {
                self.site.free(pod).await?;
            }
        }
        Ok(())
    }
}

/// The release whose template a StatefulSet has, if that is certain.
fn template_of<'a>(set: &Value, record: &'a Record) -> Option<&'a Revision> {
    match record.side.as_ref().filter(|side| has_template_of(set, &side.mark())) {
        Some(side) => Some(&side.revision),
        None => record.revision.as_ref().filter(|_| record.phase == Phase::Applied),
    }
}

impl Site {
    /// All pods of the namespace; none if they may not be looked at.
    async fn pods(&self) -> Result<Option<Vec<Value>>, Fault> {
        let listed = self.list(&Kind::near("v1", "Pod", false)).await.map_err(|trouble| self.fault(trouble, "pods"))?;
        Ok(listed.path.is_some().then(|| listed.items.into_values().collect()))
    }

    async fn free(&self, pod: &Value) -> Result<(), Fault> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let entry = Entry { api_version: "v1".into(), kind: "Pod".into(), name };
        self.still_admitted().await?;
        self.delete_seen(&entry, pod).await
    }
}
