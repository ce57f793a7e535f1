//! StatefulSets and DaemonSets: controllers that replace their pods one by one, in place.

use super::finding::Finding;
use super::read;
use super::set::Set;
use super::workload::{available, current, left, refused, status, unseen, wanted};
use super::{Word, pod};
use serde_json::Value;

const HASH: &str = "controller-revision-hash";
const TEMPLATE: &str = "pod-template-generation";
const OF_TEMPLATE: &str = "deprecated.daemonset.template.generation";

/// Right when all pods that are to be of the current revision are, and all are available. Below the partition of a rolling
/// update they keep the earlier one.
///
/// Only pods of `status.updateRevision` explain it, but for one thing: the controller waits for a pod that is not
/// ready, also one of the earlier revision, before it replaces the next. That is said, and nobody's failure.
pub(super) fn judge(set: &Set<'_>, object: &Value) -> Finding {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = wanted(object);
    let partition = read::count(object, "/spec/updateStrategy/rollingUpdate/partition");
    let [all, ready] = ["replicas", "availableReplicas"].map(|name| status(object, name));
    let update = read::text(object, "/status/updateRevision");
    let is_one_revision = update == read::text(object, "/status/currentRevision");
    // With one revision alone all pods have it, and the controller does not count them; unless it was gone back to before all pods were
    // of another one.
    let updated = match is_one_revision {
        true => all - strays(set, object, update, all),
        false => status(object, "updatedReplicas"),
    };
    let to_update = (wanted - partition).max(0);
    if all == wanted && ready >= wanted && updated >= to_update {
        return Finding::ready(match partition {
            0 => available(ready, wanted),
            _ => {
                format!("{}, {updated} of the current version: the partition is {partition}", available(ready, wanted))
            }
        });
    }
    let progress = match () {
        () if updated < to_update => current(updated, to_update),
        () if all > wanted => left(all - wanted, "too many"),
        () => available(ready, wanted),
    };
    if let Some(refused) = refused(set, object).filter(|_| all < wanted) {
        return refused.after(&progress);
    }
    if updated < to_update && read::text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return on_delete(&progress);
    }
    let (new, old): (Vec<&Value>, Vec<&Value>) =
        set.owned(object, "Pod").into_iter().partition(|pod| read::label(pod, HASH) == Some(update));
    let found = pod::explain(set, &progress, new);
    match pod::worst(set, old) {
        Some(before) if !found.is_trouble() => {
            Finding::trouble(format!("{progress}; the update waits for one of the earlier version: {}", before.reason))
        }
        _ => found,
    }
}

/// How many pods are of another revision than the only one that the status speaks of.
fn strays(set: &Set<'_>, object: &Value, update: &str, all: i64) -> i64 {
    let pods = set.owned(object, "Pod");
    if pods.is_empty() {
        let counted = status(object, "updatedReplicas");
        return if counted > 0 { (all - counted).max(0) } else { 0 };
    }
    let strays = pods.into_iter().filter(|pod| read::label(pod, HASH).is_some_and(|hash| hash != update));
    strays.filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none()).count().try_into().unwrap_or(i64::MAX)
}

/// Right when every node that is to have a pod has one, of the current template and available.
pub(super) fn judge_daemons(set: &Set<'_>, object: &Value) -> Finding {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let [wanted, updated, ready] =
        ["desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"].map(|name| status(object, name));
    if updated >= wanted && ready >= wanted {
        return Finding::ready(match wanted {
            0 => "no node is to have a pod of it".into(),
            _ => available(ready, wanted),
        });
    }
    let progress = match updated < wanted {
        true => current(updated, wanted),
        false => available(ready, wanted),
    };
    let all = set.owned(object, "Pod");
    if let Some(refused) = refused(set, object).filter(|_| status(object, "currentNumberScheduled") < wanted) {
        return refused.after(&progress);
    }
    let template = read::annotation(object, OF_TEMPLATE);
    let is_current = |pod: &&Value| template.is_none() || read::label(pod, TEMPLATE) == template;
    let found = pod::explain(set, &progress, all.into_iter().filter(is_current));
    let by_hand = updated < wanted && read::text(object, "/spec/updateStrategy/type") == "OnDelete";
    if by_hand && found.word != Word::Failed { on_delete(&progress) } else { found }
}

fn on_delete(progress: &str) -> Finding {
    Finding::trouble(format!("{progress}; its pods are replaced when somebody deletes them (updateStrategy OnDelete)"))
}
