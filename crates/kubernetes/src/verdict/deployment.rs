//! Deployments and ReplicaSets.

use super::finding::Finding;
use super::pod;
use super::read::{self, Condition};
use super::set::Set;
use super::workload::{available, current, left, refused, status, unseen, wanted};
use super::{Trouble, Word, cause};
use serde_json::Value;

const OVERDUE: &str = "ProgressDeadlineExceeded";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Right when all pods are of the current template, available, and no other is left: what `kubectl rollout status` waits
/// for.
///
/// Before that, only pods of the current ReplicaSet explain it; those of earlier ones may crash as they like. A condition
/// `ReplicaFailure` says why pods cannot be made. `Progressing=False` is the Deployment's own verdict:
/// `progressDeadlineSeconds` went by without progress.
pub(super) fn judge(set: &Set<'_>, object: &Value) -> Finding {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = wanted(object);
    let [all, updated, ready] = ["replicas", "updatedReplicas", "availableReplicas"].map(|name| status(object, name));
    if updated >= wanted && all <= updated && ready >= updated {
        return Finding::ready(available(ready, wanted));
    }
    let progress = match () {
        () if updated < wanted => current(updated, wanted),
        () if all > updated => left(all - updated, "of the earlier version"),
        () => available(ready, wanted),
    };
    let replicas = current_set(set, object);
    let members = current_pods(set, object, replicas);
    let found = match refusal(set, object).or_else(|| replicas.and_then(|one| refused(set, one))) {
        Some(refusal) => refusal.after(&progress),
        None => pod::explain(set, &progress, members),
    };
    let stuck = Condition::of(object, "Progressing").filter(|c| c.is_false());
    match stuck {
        Some(stuck) if found.word != Word::Failed => {
            let failed = Finding::failed(format!("{}; {}", stuck.says().trim_end_matches('.'), found.reason));
            let trouble = if stuck.reason() == OVERDUE { Trouble::Overdue } else { failed.trouble };
            Finding { trouble, ..failed }
        }
        _ if found.word != Word::Failed && read::is(object, "/spec/paused") => {
            Finding::trouble(format!("it is paused; {}", found.reason))
        }
        _ => found,
    }
}

/// Right when all of its pods are available.
pub(super) fn judge_replicas(set: &Set<'_>, object: &Value) -> Finding {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let (wanted, ready) = (wanted(object), status(object, "availableReplicas"));
    let all = status(object, "replicas");
    if ready >= wanted && all <= wanted {
        return Finding::ready(available(ready, wanted));
    }
    let progress = match all > wanted {
        true => left(all - wanted, "too many"),
        false => available(ready, wanted),
    };
    match refusal(set, object).or_else(|| refused(set, object)) {
        Some(refusal) => refusal.after(&progress),
        None => pod::explain(set, &progress, set.owned(object, "Pod")),
    }
}

fn refusal(set: &Set<'_>, object: &Value) -> Option<Finding> {
    let failure = Condition::of(object, "ReplicaFailure").filter(|c| c.is_true())?;
    Some(cause::of_admission(set, read::namespace(object), failure.says()).after("pods cannot be made"))
}

/// The ReplicaSet of the current template: it has the Deployment's own revision.
fn current_set<'a>(set: &Set<'a>, object: &Value) -> Option<&'a Value> {
    let revision = read::annotation(object, REVISION)?;
    set.owned(object, "ReplicaSet").into_iter().find(|one| read::annotation(one, REVISION) == Some(revision))
}

/// Pods of the current ReplicaSet. Where that is not in the set, its name stands in the condition `Progressing`; where it does
/// not either, nobody's pods are taken for the current ones.
fn current_pods<'a>(set: &Set<'a>, object: &'a Value, replicas: Option<&'a Value>) -> Vec<&'a Value> {
    if let Some(replicas) = replicas {
        return set.owned(replicas, "Pod");
    }
    let said = Condition::of(object, "Progressing").map_or("", Condition::message);
    let Some(name) = said.split('"').nth(1) else { return Vec::new() };
    let is_owner = |owner: &Value| read::text(owner, "/kind") == "ReplicaSet" && read::text(owner, "/name") == name;
    let is_owned = |pod: &&Value| read::list(pod, "/metadata/ownerReferences").iter().any(is_owner);
    set.all("Pod", read::namespace(object)).filter(is_owned).collect()
}
