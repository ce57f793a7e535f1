//! Deployments.

use super::finding::Finding;
use super::read::{self, Condition};
use super::set::Set;
use serde_json::Value;

/// Right when all pods are of the current template, available, and no other is left: what `kubectl rollout status` waits
/// for. `Progressing=False` is the Deployment's own verdict: `progressDeadlineSeconds` went by.
pub(super) fn judge(_set: &Set<'_>, object: &Value) -> Finding {
    let generation = read::count(object, "/metadata/generation");
    if read::count(object, "/status/observedGeneration") < generation {
        return Finding::progressing(format!("its controller has not seen generation {generation} yet"));
    }
    let wanted = read::number(object, "/spec/replicas").unwrap_or(1);
    let [all, updated, available] = ["replicas", "updatedReplicas", "availableReplicas"]
        .map(|name| read::count(object, &format!("/status/{name}")));
    if updated >= wanted && all <= updated && available >= updated {
        return Finding::ready(format!("{available} of {wanted} pods are available"));
    }
    if let Some(stuck) = Condition::of(object, "Progressing").filter(|c| c.is_false()) {
        return Finding::failed(stuck.says());
    }
    Finding::progressing(match () {
        () if updated < wanted => format!("{updated} of {wanted} pods are of the new version"),
        () if all > updated => format!("{} pods of the earlier version are still there", all - updated),
        () => format!("{available} of {wanted} pods are available"),
    })
}
