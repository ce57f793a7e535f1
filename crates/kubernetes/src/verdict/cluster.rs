//! What belongs to the cluster: definitions, namespaces, nodes, aggregated APIs, certificates.

use super::finding::Finding;
use super::read::{self, Condition};
use serde_json::Value;

/// Right when the API server serves it. Names that belong to another definition never become its own.
pub(super) fn judge_definition(object: &Value) -> Finding {
    let of = |kind| Condition::of(object, kind);
    if let Some(taken) = of("NamesAccepted").filter(|c| c.is_false()) {
        return Finding::failed(format!("{}: {}", taken.reason(), taken.says()));
    }
    match of("Established") {
        Some(established) if established.is_true() => Finding::ready("it is established"),
        Some(established) if !established.reason().is_empty() => Finding::waits(established.says()),
        _ => Finding::waits("it is not established yet"),
    }
}

/// Right when it is active. One that is being deleted takes nothing new.
pub(super) fn judge_namespace(object: &Value) -> Finding {
    if read::text(object, "/status/phase") == "Active" && !is_going(object) {
        return Finding::ready("it is active");
    }
    if !is_going(object) {
        return Finding::waits("it is not active yet");
    }
    let left = [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceFinalizersRemaining",
        "NamespaceContentRemaining",
    ];
    let mut left = left.into_iter().filter_map(|kind| Condition::of(object, kind)).filter(|c| c.is_true());
    match left.next() {
        Some(left) => Finding::trouble(format!("it is being deleted: {}", left.says())),
        None => Finding::waits("it is being deleted"),
    }
}

pub(super) fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// Anything that is to be there and is being deleted. It goes when its finalizers are gone.
pub(super) fn judge_going(object: &Value) -> Finding {
    let finalizers: Vec<&str> = read::list(object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect();
    match finalizers.is_empty() {
        true => Finding::waits("it is being deleted"),
        false => Finding::trouble(format!("it is being deleted, and waits for {}", finalizers.join(", "))),
    }
}

/// Right when its kubelet says so.
pub(super) fn judge_node(object: &Value) -> Finding {
    match Condition::of(object, "Ready") {
        Some(ready) if ready.is_true() && read::is(object, "/spec/unschedulable") => {
            Finding::ready("it is ready, and takes no new pods")
        }
        Some(ready) if ready.is_true() => Finding::ready("it is ready"),
        Some(ready) => Finding::trouble(format!("{}: {}", ready.reason(), ready.says())),
        None => Finding::waits("its kubelet has not reported yet"),
    }
}

/// Right when the API server reaches what answers for it. While it does not, no namespace can be deleted.
pub(super) fn judge_api(object: &Value) -> Finding {
    match Condition::of(object, "Available") {
        Some(available) if available.is_true() => Finding::ready("it answers"),
        Some(available) => Finding::trouble(format!("{}: {}", available.reason(), available.says())),
        None => Finding::waits("nobody has asked it yet"),
    }
}

/// Right when it is issued; denied and failed are final.
pub(super) fn judge_signing(object: &Value) -> Finding {
    let is = |kind| Condition::of(object, kind).filter(|c| c.is_true());
    match is("Denied").or_else(|| is("Failed")) {
        Some(no) => Finding::failed(format!("{}: {}", no.reason(), no.says())),
        None if !read::text(object, "/status/certificate").is_empty() => Finding::ready("it is issued"),
        None if is("Approved").is_some() => Finding::waits("it is approved, and not issued yet"),
        None => Finding::waits("nobody has approved it yet"),
    }
}

/// Right when the quota's controller has taken it up.
pub(super) fn judge_quota(object: &Value) -> Finding {
    match object.pointer("/status/hard") == object.pointer("/spec/hard") {
        true => Finding::ready("it is in force"),
        false => Finding::waits("its controller has not taken it up yet"),
    }
}
